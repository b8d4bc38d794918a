/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing and checking the boot record (include/sdm/boot.h). Pure. */
#ifndef SDM_BOOTRECORD_H
#define SDM_BOOTRECORD_H

#include "sdm/boot.h"
#include "sdm/sdm-text.h"

/** struct sdm_boot_entry - a checked record, host byte order. */
struct sdm_boot_entry {
    uint32_t machine;
    uint32_t nargs;
    uint64_t entry;
    uint64_t dtb;
    uint64_t dtb_size;
    uint64_t args[SDM_BOOT_ARGS];
};

/** sdm_boot_record_write() - fill in @record (any alignment) with checksum. */
void sdm_boot_record_write(void *record, const struct sdm_boot_entry *entry);

/**
 * sdm_boot_record_read() - copy once, then check
 * @record:   in shared memory, any content; read exactly once
 * @ram_base: guest-physical start and
 * @ram_size: size of the slave's memory, bytes
 * @machine:  ELF e_machine of the slave's CPUs
 * @out:      untouched on error
 * @why:      what is wrong: field, value, what was expected
 *
 * Returns: SDM_OK; SDM_ERR_RECORD: magic, version, length, checksum, flags,
 * number of arguments, entry or dtb outside the window or in the record's own
 * page, entry not aligned to 4; SDM_ERR_ISA
 */
uint32_t sdm_boot_record_read(const void *record, uint64_t ram_base,
                              uint64_t ram_size, uint32_t machine,
                              struct sdm_boot_entry *out,
                              struct sdm_text *why);

#endif /* SDM_BOOTRECORD_H */
