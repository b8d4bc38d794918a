/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The boot record: one case per refusal, each with its words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "migration/sdm-bootrecord.h"

#define BASE 0x40000000ull
#define SIZE 0x4000000ull

/* By nibbles, so that it shares nothing with the code under test. */
static uint32_t crc(const void *data, size_t len)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const uint8_t *p = data;
    uint32_t c = ~0u;

    for (size_t i = 0; i < len; i++) {
        c = (c >> 4) ^ table[(c ^ p[i]) & 15];
        c = (c >> 4) ^ table[(c ^ (p[i] >> 4)) & 15];
    }
    return ~c;
}

static void seal(struct sdm_boot_record *r)
{
    r->checksum = 0;
    r->checksum = sdm_to_le32(crc(r, sizeof(*r)));
}

static struct sdm_boot_record good(void)
{
    const struct sdm_boot_entry entry = {
        .machine = SDM_EM_ARM,
        .nargs = 3,
        .entry = BASE + 0x10000,
        .dtb = BASE + 0x2000000,
        .dtb_size = 0x1234,
        .args = { 0, 0xffffffff, BASE + 0x2000000 },
    };
    struct sdm_boot_record r;

    sdm_boot_record_write(&r, &entry);
    return r;
}

/* Refused with @status, @words in the text, and nothing in the output. */
static void refused(const struct sdm_boot_record *r, uint64_t base,
                    uint64_t size, uint32_t status, const char *words)
{
    struct sdm_boot_entry out, before;
    struct sdm_text why;

    memset(&out, 0x5a, sizeof(out));
    before = out;
    assert_int_equal(sdm_boot_record_read(r, base, size, SDM_EM_ARM, &out,
                                          &why), status);
    if (!strstr(why.buf, words)) {
        fail_msg("'%s' is not in '%s'", words, why.buf);
    }
    assert_memory_equal(&out, &before, sizeof(out));
}

static void check(struct sdm_boot_record r, const char *words)
{
    seal(&r);
    refused(&r, BASE, SIZE, SDM_ERR_RECORD, words);
}

static void there_and_back(void **state)
{
    struct sdm_boot_record r = good();
    uint8_t bytes[sizeof(r) + 1];
    struct sdm_boot_entry out;
    struct sdm_text why;

    (void)state;
    memcpy(bytes + 1, &r, sizeof(r));   /* any alignment */
    assert_int_equal(sdm_boot_record_read(bytes + 1, BASE, SIZE, SDM_EM_ARM,
                                          &out, &why), SDM_OK);
    assert_int_equal(out.machine, SDM_EM_ARM);
    assert_int_equal(out.nargs, 3);
    assert_int_equal(out.entry, BASE + 0x10000);
    assert_int_equal(out.dtb, BASE + 0x2000000);
    assert_int_equal(out.dtb_size, 0x1234);
    assert_int_equal(out.args[0], 0);
    assert_int_equal(out.args[1], 0xffffffff);
    assert_int_equal(out.args[2], BASE + 0x2000000);
    assert_int_equal(out.args[3], 0);
}

/* The bytes on the wire, worked out by hand and by zlib's crc32(). */
static void bytes_are_the_specification(void **state)
{
    static const uint8_t wanted[88] = {
        'S', 'D', 'M', 'B', 'O', 'O', 'T', 0,   1, 0, 0, 0,   88, 0, 0, 0,
        183, 0, 0, 0,   0, 0, 0, 0,   0xe9, 0xfe, 0x97, 0x3c,   2, 0, 0, 0,
        0, 0, 0x20, 0x40, 0, 0, 0, 0,           /* entry */
        0, 0, 0, 0x41, 0, 0, 0, 0,              /* dtb */
        0, 0x10, 0, 0, 0, 0, 0, 0,              /* dtb_size */
        0, 0, 0, 0x41, 0, 0, 0, 0,              /* args[0] */
        8, 7, 6, 5, 4, 3, 2, 1,                 /* args[1] */
    };
    const struct sdm_boot_entry entry = {
        .machine = SDM_EM_AARCH64,
        .nargs = 2,
        .entry = 0x40200000,
        .dtb = 0x41000000,
        .dtb_size = 0x1000,
        .args = { 0x41000000, 0x0102030405060708, 3, 4 },   /* two count */
    };
    uint8_t got[88];

    (void)state;
    sdm_boot_record_write(got, &entry);
    assert_memory_equal(got, wanted, sizeof(wanted));
}

static void without_dtb(void **state)
{
    struct sdm_boot_record r = good();
    struct sdm_boot_entry out;
    struct sdm_text why;

    (void)state;
    r.dtb = 0;
    r.dtb_size = 0;
    r.nargs = 0;
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, BASE, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
    assert_int_equal(out.dtb, 0);
    assert_int_equal(out.args[1], 0);   /* not one of nargs */

    r.dtb_size = sdm_to_le64(1);
    check(r, "dtb address is 0x0 with 1 bytes");
}

static void magic(void **state)
{
    struct sdm_boot_record r;

    (void)state;
    memset(&r, 0, sizeof(r));
    check(r, "magic is 0x0 instead of 0x544f4f424d4453: load a kernel");
}

static void version(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    r.version = sdm_to_le32(2);
    check(r, "version is 0x2, this QEMU reads 0x1");
}

static void length(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    r.length = sdm_to_le32(96);
    check(r, "length is 0x60 instead of 0x58");
    r.length = sdm_to_le32(0xffffffff);
    check(r, "length is 0xffffffff");
}

static void checksum(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    r.args[3] ^= sdm_to_le64(1);
    refused(&r, BASE, SIZE, SDM_ERR_RECORD, "checksum is 0x");
    refused(&r, BASE, SIZE, SDM_ERR_RECORD, "its bytes give 0x");
}

static void flags(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    r.flags = sdm_to_le32(4);
    check(r, "flags field is 0x4 instead of 0x0");
}

static void isa(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    r.machine = sdm_to_le32(SDM_EM_AARCH64);
    seal(&r);
    refused(&r, BASE, SIZE, SDM_ERR_ISA,
            "for aarch64 (ELF machine 183), the slave is arm (40)");
    r.machine = sdm_to_le32(9999);
    seal(&r);
    refused(&r, BASE, SIZE, SDM_ERR_ISA, "ELF machine 9999");
}

static void nargs(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    r.nargs = sdm_to_le32(SDM_BOOT_ARGS + 1);
    check(r, "number of arguments is 0x5, the most is 0x4");
}

static void entry(void **state)
{
    const uint64_t bad[] = {
        0, BASE - 4, BASE + SIZE, BASE + SIZE - SDM_BOOT_PAGE, ~3ull,
    };
    struct sdm_boot_record r = good();
    struct sdm_boot_entry out;
    struct sdm_text why;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        r.entry = sdm_to_le64(bad[i]);
        check(r, "outside the slave's memory 0x40000000..0x43ffefff");
    }
    r.entry = sdm_to_le64(BASE + 2);
    check(r, "entry is 0x40000002, no multiple of 0x4");

    /* First and last word of the window. */
    r.entry = sdm_to_le64(BASE);
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, BASE, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
    r.entry = sdm_to_le64(BASE + SIZE - SDM_BOOT_PAGE - 4);
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, BASE, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
}

static void dtb(void **state)
{
    static const struct { uint64_t at, size; } bad[] = {
        { BASE - 8, 16 },
        { BASE + SIZE, 16 },
        { BASE + SIZE - SDM_BOOT_PAGE - 8, 9 },     /* into the record */
        { BASE, SIZE - SDM_BOOT_PAGE + 1 },
        { BASE + 8, ~0ull },
        { ~0ull, 16 },
        { BASE + 8, 0 },
    };
    struct sdm_boot_record r = good();
    struct sdm_boot_entry out;
    struct sdm_text why;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        r.dtb = sdm_to_le64(bad[i].at);
        r.dtb_size = sdm_to_le64(bad[i].size);
        check(r, "dtb address is 0x");
    }
    r.dtb = sdm_to_le64(BASE + SIZE - SDM_BOOT_PAGE - 8);
    r.dtb_size = sdm_to_le64(8);
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, BASE, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
}

/* All four arguments, and what lies behind those that count. */
static void arguments(void **state)
{
    struct sdm_boot_record r = good();
    struct sdm_boot_entry out;
    struct sdm_text why;

    (void)state;
    r.args[3] = sdm_to_le64(7);
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, BASE, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
    assert_int_equal(out.args[3], 0);
    r.nargs = sdm_to_le32(SDM_BOOT_ARGS);
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, BASE, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
    assert_int_equal(out.args[3], 7);
}

static void memory(void **state)
{
    struct sdm_boot_record r = good();

    (void)state;
    refused(&r, BASE, SDM_BOOT_PAGE, SDM_ERR_RECORD,
            "memory of 0x1000 bytes at 0x40000000 has no room");
    refused(&r, BASE, 0, SDM_ERR_RECORD, "has no room");
    refused(&r, ~0ull - 0xfff, 0x2000, SDM_ERR_RECORD, "has no room");
}

/* The very top of the address space is memory like any other. */
static void top_of_memory(void **state)
{
    const uint64_t base = ~0ull - SIZE + 1;
    struct sdm_boot_record r = good();
    struct sdm_boot_entry out;
    struct sdm_text why;

    (void)state;
    r.entry = sdm_to_le64(base);
    r.dtb = sdm_to_le64(base + 8);
    seal(&r);
    assert_int_equal(sdm_boot_record_read(&r, base, SIZE, SDM_EM_ARM, &out,
                                          &why), SDM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(bytes_are_the_specification),
        cmocka_unit_test(without_dtb),
        cmocka_unit_test(magic),
        cmocka_unit_test(version),
        cmocka_unit_test(length),
        cmocka_unit_test(checksum),
        cmocka_unit_test(flags),
        cmocka_unit_test(isa),
        cmocka_unit_test(nargs),
        cmocka_unit_test(entry),
        cmocka_unit_test(dtb),
        cmocka_unit_test(arguments),
        cmocka_unit_test(memory),
        cmocka_unit_test(top_of_memory),
    };

    return cmocka_run_group_tests_name("boot record", tests, NULL, NULL);
}
