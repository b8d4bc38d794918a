/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where kernel, device tree and initrd go in a window, and putting them there.
 * Pure but for libfdt: QEMU's monitor command and the guest tool sdm-test
 * compile the same code. No allocation: the caller lends the room for the dtb.
 *
 * Layout (offsets in the window): a zImage at 0x10000 with the initrd in the
 * middle of the window (at most 128 MiB up) and the dtb behind it, as QEMU's
 * own hw/arm/boot.c places them; an arm64 Image at its text_offset from a 2 MiB
 * boundary of the guest address, and its dtb at a 2 MiB boundary; the boot
 * record in the last 4 KiB, which the memory node of the dtb leaves out. A
 * kernel that needs more than half of the window, unpacked and with its BSS,
 * moves the two others up.
 */
#ifndef SDM_BOOTPLAN_H
#define SDM_BOOTPLAN_H

#include "sdm/boot.h"
#include "sdm/sdm-text.h"

/**
 * struct sdm_boot_images - what to boot; the pointers are borrowed
 * @kernel:  zImage (arm) or Image, not compressed (aarch64)
 * @dtb:     flattened device tree, 8-byte aligned
 * @initrd:  may be NULL
 * @append:  kernel arguments, 0-terminated; NULL: what the dtb has
 */
struct sdm_boot_images {
    const void *kernel;
    size_t kernel_size;
    const void *dtb;
    size_t dtb_size;
    const void *initrd;
    size_t initrd_size;
    const char *append;
};

/**
 * struct sdm_boot_plan - offsets in the window, bytes
 * @kernel_size: bytes of the kernel to copy: what a zImage's header says, so
 *            that a dtb appended to it does not win over the one given here
 * @initrd:   0 if there is none
 * @dtb_room: bytes kept for the patched dtb
 */
struct sdm_boot_plan {
    uint32_t machine;
    uint64_t ram_base;
    uint64_t size;
    uint64_t kernel;
    uint64_t kernel_size;
    uint64_t initrd;
    uint64_t dtb;
    uint64_t dtb_room;
    uint64_t entry;     /* guest-physical */
};

/**
 * sdm_boot_plan() - lay the images out
 * @machine:  ELF e_machine of the slave
 * @ram_base: guest-physical start of the slave's memory
 * @size:     of the window, bytes
 * @plan:     untouched on error
 * @why:      what is wrong, with values and remedy
 *
 * Returns: SDM_OK; SDM_ERR_INVAL: kernel truncated or none, dtb refused by
 * libfdt or without a memory node; SDM_ERR_WINDOW: they overlap or do not fit;
 * SDM_ERR_ISA: no plan for this machine, or the kernel is for another one
 */
uint32_t sdm_boot_plan(const struct sdm_boot_images *images, uint32_t machine,
                       uint64_t ram_base, uint64_t size,
                       struct sdm_boot_plan *plan, struct sdm_text *why);

/**
 * sdm_boot_dtb() - the slave's own copy of the device tree
 * @out:  8-byte aligned, @plan->dtb_room bytes; written, never read, so that it
 *        may lie in memory that the slave's process can write too
 *
 * Memory nodes (all of them) become one that covers the window without the
 * record's page; /chosen gets bootargs and the initrd's place (or loses it).
 * Packed at the end. Returns: SDM_OK; SDM_ERR_INVAL/_WINDOW with @why, never
 * for the images that @plan was made of
 */
uint32_t sdm_boot_dtb(const struct sdm_boot_images *images,
                      const struct sdm_boot_plan *plan, void *out,
                      struct sdm_text *why);

/**
 * sdm_boot_load() - plan, copy everything into the window, write the record
 * @window: @size bytes, mapped
 *
 * Nothing is written unless the plan holds. Returns: as the two above
 */
uint32_t sdm_boot_load(const struct sdm_boot_images *images, uint32_t machine,
                       uint64_t ram_base, void *window, uint64_t size,
                       struct sdm_text *why);

#endif /* SDM_BOOTPLAN_H */
