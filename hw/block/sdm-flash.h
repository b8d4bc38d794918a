/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flash that costs what it holds: the memory of a CFI flash, filled from its
 * drive.
 *
 * Theory of operation. The region is one RAM block of full size, as ever: who
 * wants a flat pointer has one. What differs is what lies behind it.
 * - A read-only drive whose data are plain in one file: the file is mapped over
 *   the block, privately and writable, so that gdb, -device loader and an
 *   incoming migration can write there. All QEMUs share the file's pages, and
 *   each lets go of them when its guest's firmware has become quiet.
 * - Anything else is read, and a page of zeros is not written to: it stays
 *   without memory.
 * - A drive smaller than the region (short-backing=on): the rest is memory that
 *   nobody has touched, which reads as zeros; or, to read as 0xff, many
 *   mappings of one small file of 0xff. What the guest would write there is
 *   refused in the status register.
 * While a migration comes in, nothing is mapped, as postcopy cannot place pages
 * over a file; when the machine starts, a part that equals the file is mapped.
 * (Rejected: an I/O region behind a short backing, which makes reads slow and
 * leaves no flat pointer. Mapping a writable drive: guests' writes would have
 * to reach the file by other ways than the block layer's.)
 *
 * Everything here runs under the big lock.
 */
#ifndef SDM_FLASH_H
#define SDM_FLASH_H

#include "exec/memory.h"
#include "qemu/queue.h"
#include "sysemu/block-backend.h"
#include "backends/sdm-filemap-qemu.h"

/**
 * struct SdmFlash - a member of the device's state, zeroed at first
 * @mapped, @short_backing, @fill: properties
 */
typedef struct SdmFlash {
    OnOffAuto mapped;
    bool short_backing;
    uint8_t fill;

    const char *name;
    BlockBackend *blk;
    bool ro;
    void *storage;
    uint64_t size;
    uint64_t backed;            /* bytes that the drive has */
    uint64_t refused;

    SdmFilemap *map;
    char *file;                 /* that is mapped; the drive may change */
    uint64_t map_size;          /* whole pages of @backed */
    const char *why;            /* it is not mapped */
    char *why_text;             /* owned, if @why is not constant */
    int fill_fd;                /* -1: none */
    bool settle;                /* map what equals the file when running */
    QTAILQ_ENTRY(SdmFlash) next;
} SdmFlash;

#define DEFINE_SDM_FLASH_MAPPED(_state, _field) \
    DEFINE_PROP_ON_OFF_AUTO("mapped", _state, _field.mapped, \
                            ON_OFF_AUTO_AUTO)

#define DEFINE_SDM_FLASH_PROPERTIES(_state, _field) \
    DEFINE_SDM_FLASH_MAPPED(_state, _field), \
    DEFINE_PROP_BOOL("short-backing", _state, _field.short_backing, false), \
    DEFINE_PROP_UINT8("fill", _state, _field.fill, 0)

/**
 * sdm_flash_describe() - give the properties their text in -device NAME,help
 */
void sdm_flash_describe(ObjectClass *klass);

/**
 * sdm_flash_add_aliases() - let a machine have the properties, too
 * @prefix: name of the machine's property for the drive: "pflash0" gives
 *          pflash0-mapped, pflash0-short-backing and pflash0-fill
 */
void sdm_flash_add_aliases(Object *machine, const char *prefix, Object *dev);

/**
 * sdm_flash_load() - fill the flash from its drive and let the monitor see it
 * @f:    its properties are set; kept, must live as long as QEMU
 * @name: of the device, for people; kept
 * @mr:   a rom device of full size, untouched
 * @blk:  with its permissions held; NULL: there is no drive
 * @ro:   the guest may not write
 *
 * Takes the place of blk_check_size_and_read_all().
 * Returns: true, or false with @errp: a property or the drive's size is wrong,
 * it cannot be read, or mapped=on was asked for and it cannot be mapped.
 */
bool sdm_flash_load(SdmFlash *f, const char *name, MemoryRegion *mr,
                    BlockBackend *blk, bool ro, Error **errp);

/** sdm_flash_backed() - bytes that reach the drive when they are written */
uint64_t sdm_flash_backed(const SdmFlash *f);

/**
 * sdm_flash_may_write() - may the guest program or erase this range?
 * Returns: true, or false (which is counted) if the flash is read-only or the
 * range does not lie in the backing; the device sets its error bit then.
 */
bool sdm_flash_may_write(SdmFlash *f, uint64_t offset, uint64_t len);

/**
 * sdm_flash_written() - what the guest wrote has gone to the drive
 * To be called in the same thread after each blk_pwrite(). Never fails.
 */
void sdm_flash_written(void);

/** sdm_flash_post_load() - the memory has been loaded from a snapshot. */
void sdm_flash_post_load(SdmFlash *f);

#endif /* SDM_FLASH_H */
