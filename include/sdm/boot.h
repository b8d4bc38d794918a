/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot record: the last 4 KiB of a slave's window, written by whoever
 * loaded the images, read once by the slave's QEMU. It says how the first CPU
 * starts. Specification: docs/specs/boot-record.rst
 */
#ifndef SDM_BOOT_H
#define SDM_BOOT_H

#include "base.h"

#define SDM_BOOT_MAGIC    0x544f4f424d4453ull   /* "SDMBOOT" */
#define SDM_BOOT_VERSION  1u
#define SDM_BOOT_PAGE     4096u     /* bytes at the end of the window */
#define SDM_BOOT_ARGS     4u

/* ELF e_machine values that have an entry setter. */
#define SDM_EM_ARM      40u
#define SDM_EM_X86_64   62u
#define SDM_EM_AARCH64  183u

/**
 * struct sdm_boot_record - how the slave starts, little-endian
 * @magic:    SDM_BOOT_MAGIC
 * @version:  SDM_BOOT_VERSION
 * @length:   sizeof(struct sdm_boot_record)
 * @machine:  ELF e_machine of the code at @entry
 * @flags:    0
 * @checksum: CRC-32 (IEEE 802.3, reflected, as zlib's crc32()) of these
 *            @length bytes with this field as 0
 * @nargs:    number of @args that are used
 * @entry:    guest-physical address of the first instruction, in the window
 * @dtb:      guest-physical address of the device tree, in the window; or 0
 * @dtb_size: bytes of it
 * @args:     first arguments: r0.. on arm, x0.. on aarch64
 */
struct sdm_boot_record {
    sdm_le64 magic;
    sdm_le32 version;
    sdm_le32 length;
    sdm_le32 machine;
    sdm_le32 flags;
    sdm_le32 checksum;
    sdm_le32 nargs;
    sdm_le64 entry;
    sdm_le64 dtb;
    sdm_le64 dtb_size;
    sdm_le64 args[SDM_BOOT_ARGS];
};
SDM_ASSERT_SIZE(struct sdm_boot_record, 88);
SDM_ASSERT_OFFSET(struct sdm_boot_record, checksum, 24);
SDM_ASSERT_OFFSET(struct sdm_boot_record, entry, 32);
SDM_ASSERT_OFFSET(struct sdm_boot_record, args, 56);

#endif /* SDM_BOOT_H */
