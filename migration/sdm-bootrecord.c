/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "migration/sdm-bootrecord.h"

/* Bit by bit: 88 bytes once a boot are not worth a table. */
static uint32_t crc32(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t crc = ~0u;

    while (len--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

static uint32_t checksum(const struct sdm_boot_record *record)
{
    struct sdm_boot_record r = *record;

    r.checksum = 0;
    return crc32(&r, sizeof(r));
}

void sdm_boot_record_write(void *record, const struct sdm_boot_entry *entry)
{
    struct sdm_boot_record r;

    memset(&r, 0, sizeof(r));
    r.magic = sdm_to_le64(SDM_BOOT_MAGIC);
    r.version = sdm_to_le32(SDM_BOOT_VERSION);
    r.length = sdm_to_le32(sizeof(r));
    r.machine = sdm_to_le32(entry->machine);
    r.nargs = sdm_to_le32(entry->nargs);
    r.entry = sdm_to_le64(entry->entry);
    r.dtb = sdm_to_le64(entry->dtb);
    r.dtb_size = sdm_to_le64(entry->dtb_size);
    for (unsigned i = 0; i < entry->nargs && i < SDM_BOOT_ARGS; i++) {
        r.args[i] = sdm_to_le64(entry->args[i]);
    }
    r.checksum = sdm_to_le32(checksum(&r));
    memcpy(record, &r, sizeof(r));
}

/* "the boot record's FIELD is 0xVALUE", the start of most refusals. */
static void say_field(struct sdm_text *why, const char *field, uint64_t value)
{
    sdm_text_init(why);
    sdm_text_add(why, "the boot record's ");
    sdm_text_add(why, field);
    sdm_text_add(why, " is ");
    sdm_text_add_hex(why, value);
}

static uint32_t refuse(struct sdm_text *why, const char *field, uint64_t value,
                       const char *wanted, uint64_t expected)
{
    say_field(why, field, value);
    sdm_text_add(why, wanted);
    sdm_text_add_hex(why, expected);
    return SDM_ERR_RECORD;
}

static uint32_t outside(struct sdm_text *why, const char *field,
                        uint64_t value, uint64_t size, uint64_t base,
                        uint64_t room)
{
    say_field(why, field, value);
    if (size) {
        sdm_text_add(why, " with ");
        sdm_text_add_u64(why, size);
        sdm_text_add(why, " bytes");
    }
    sdm_text_add(why, ", outside the slave's memory ");
    sdm_text_add_hex(why, base);
    sdm_text_add(why, "..");
    sdm_text_add_hex(why, base + room - 1);
    sdm_text_add(why, " (the record's own page left out)");
    return SDM_ERR_RECORD;
}

static int inside(uint64_t addr, uint64_t len, uint64_t base, uint64_t room)
{
    return addr >= base && addr - base < room && len <= room - (addr - base);
}

uint32_t sdm_boot_record_read(const void *record, uint64_t ram_base,
                              uint64_t ram_size, uint32_t machine,
                              struct sdm_boot_entry *out,
                              struct sdm_text *why)
{
    const volatile uint8_t *shared = record;
    struct sdm_boot_record r;
    struct sdm_boot_entry e;
    uint64_t room;
    uint32_t sum;

    if (ram_size <= SDM_BOOT_PAGE || ram_base + (ram_size - 1) < ram_base) {
        sdm_text_init(why);
        sdm_text_add(why, "memory of ");
        sdm_text_add_hex(why, ram_size);
        sdm_text_add(why, " bytes at ");
        sdm_text_add_hex(why, ram_base);
        sdm_text_add(why, " has no room for a boot record: more than 4 KiB "
                     "below the end of the address space are needed");
        return SDM_ERR_RECORD;
    }
    room = ram_size - SDM_BOOT_PAGE;

    /*
     * volatile, because the peer may write while we look: with memcpy() the
     * compiler could drop the copy and read the shared page again.
     */
    for (size_t i = 0; i < sizeof(r); i++) {
        ((uint8_t *)&r)[i] = shared[i];
    }

    if (sdm_from_le64(r.magic) != SDM_BOOT_MAGIC) {
        uint32_t status = refuse(why, "magic", sdm_from_le64(r.magic),
                                 " instead of ", SDM_BOOT_MAGIC);

        sdm_text_add(why, ": load a kernel into this window first");
        return status;
    }
    if (sdm_from_le32(r.version) != SDM_BOOT_VERSION) {
        return refuse(why, "version", sdm_from_le32(r.version),
                      ", this QEMU reads ", SDM_BOOT_VERSION);
    }
    if (sdm_from_le32(r.length) != sizeof(r)) {
        return refuse(why, "length", sdm_from_le32(r.length),
                      " instead of ", sizeof(r));
    }
    sum = checksum(&r);
    if (sdm_from_le32(r.checksum) != sum) {
        return refuse(why, "checksum", sdm_from_le32(r.checksum),
                      ", its bytes give ", sum);
    }
    if (r.flags) {
        return refuse(why, "flags field", sdm_from_le32(r.flags),
                      " instead of ", 0);
    }

    memset(&e, 0, sizeof(e));
    e.machine = sdm_from_le32(r.machine);
    e.nargs = sdm_from_le32(r.nargs);
    e.entry = sdm_from_le64(r.entry);
    e.dtb = sdm_from_le64(r.dtb);
    e.dtb_size = sdm_from_le64(r.dtb_size);

    if (e.machine != machine) {
        sdm_text_init(why);
        sdm_text_add(why, "the boot record is for ");
        sdm_text_add(why, sdm_machine_text(e.machine));
        sdm_text_add(why, " (ELF machine ");
        sdm_text_add_u64(why, e.machine);
        sdm_text_add(why, "), the slave is ");
        sdm_text_add(why, sdm_machine_text(machine));
        sdm_text_add(why, " (");
        sdm_text_add_u64(why, machine);
        sdm_text_add(why, "): load a kernel for the slave's instruction set");
        return SDM_ERR_ISA;
    }
    if (e.nargs > SDM_BOOT_ARGS) {
        return refuse(why, "number of arguments", e.nargs,
                      ", the most is ", SDM_BOOT_ARGS);
    }
    if (e.entry % 4) {
        return refuse(why, "entry", e.entry, ", no multiple of ", 4);
    }
    if (!inside(e.entry, 4, ram_base, room)) {
        return outside(why, "entry", e.entry, 0, ram_base, room);
    }
    if (e.dtb ? !e.dtb_size || !inside(e.dtb, e.dtb_size, ram_base, room)
              : e.dtb_size) {
        return outside(why, "dtb address", e.dtb, e.dtb_size, ram_base, room);
    }
    for (unsigned i = 0; i < e.nargs; i++) {
        e.args[i] = sdm_from_le64(r.args[i]);
    }
    *out = e;
    return SDM_OK;
}
