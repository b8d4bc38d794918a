/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot record. Input: what to do (1 byte), machine of the slave, ram_base,
 * ram_size, the record. Bit 0 of the first byte puts the right checksum into
 * the record, which no fuzzer finds by itself.
 */
#include "migration/sdm-bootrecord.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "record";

static uint32_t crc(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t c = ~0u;

    for (size_t i = 0; i < len * 8; i++) {
        c ^= p[i / 8] >> (i % 8) & 1;
        c = (c >> 1) ^ (c & 1 ? 0xedb88320u : 0);
    }
    return ~c;
}

static void check_inside(uint64_t addr, uint64_t len, uint64_t base,
                         uint64_t size)
{
    CHECK(addr >= base);
    CHECK(addr + (len - 1) >= addr);
    CHECK(addr + (len - 1) - base < size - SDM_BOOT_PAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    uint8_t what = input_u8(&in);
    uint32_t machine = input_u8(&in);
    uint64_t base = input_u64(&in);
    uint64_t ram = input_u64(&in);
    struct sdm_boot_entry e, again, untouched;
    struct sdm_boot_record r;
    struct sdm_text why;
    uint32_t status;

    input_bytes(&in, &r, sizeof(r));
    if (what & 1) {
        r.checksum = 0;
        r.checksum = sdm_to_le32(crc(&r, sizeof(r)));
    }
    memset(&e, 0x5a, sizeof(e));
    memset(&untouched, 0x5a, sizeof(untouched));
    why.len = SIZE_MAX;
    status = sdm_boot_record_read(&r, base, ram, machine, &e, &why);
    if (status) {
        CHECK(status == SDM_ERR_RECORD || status == SDM_ERR_ISA);
        CHECK(memcmp(&e, &untouched, sizeof(e)) == 0);
        CHECK(why.len > 0 && why.len < sizeof(why.buf));
        CHECK(strlen(why.buf) == why.len);
        return 0;
    }
    CHECK(e.machine == machine);
    CHECK(e.nargs <= SDM_BOOT_ARGS);
    CHECK(e.entry % 4 == 0);
    check_inside(e.entry, 4, base, ram);
    CHECK(!e.dtb == !e.dtb_size);
    if (e.dtb) {
        check_inside(e.dtb, e.dtb_size, base, ram);
    }

    sdm_boot_record_write(&r, &e);
    CHECK(sdm_boot_record_read(&r, base, ram, machine, &again, &why) ==
          SDM_OK);
    CHECK(memcmp(&e, &again, sizeof(e)) == 0);
    return 0;
}
