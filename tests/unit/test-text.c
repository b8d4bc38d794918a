/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"
#include <string.h>
#include "sdm/boot.h"
#include "sdm/sdm-text.h"

static void test_init(void **state)
{
    struct sdm_text t;

    (void)state;
    memset(&t, 'x', sizeof(t));
    sdm_text_init(&t);
    assert_int_equal(t.len, 0);
    assert_string_equal(t.buf, "");
}

static void test_add(void **state)
{
    struct sdm_text t;

    (void)state;
    sdm_text_init(&t);
    sdm_text_add(&t, "");
    assert_int_equal(t.len, 0);
    sdm_text_add(&t, "one ");
    sdm_text_add(&t, "two");
    assert_string_equal(t.buf, "one two");
    assert_int_equal(t.len, 7);
}

/* A text that is too long is cut to 511 bytes, however it is put together. */
static void test_cut(void **state)
{
    struct {
        struct sdm_text t;
        char behind[16];
    } s;
    char longer[600];
    unsigned i;

    (void)state;
    memset(&s, '#', sizeof(s));
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;

    sdm_text_init(&s.t);
    sdm_text_add(&s.t, longer);
    assert_int_equal(s.t.len, sizeof(s.t.buf) - 1);
    assert_int_equal(strlen(s.t.buf), sizeof(s.t.buf) - 1);

    sdm_text_init(&s.t);
    for (i = 0; i < 600; i++) {
        sdm_text_add_u64(&s.t, 1234567);
        assert_int_equal(strlen(s.t.buf), s.t.len);
        assert_true(s.t.len < sizeof(s.t.buf));
    }
    assert_int_equal(s.t.len, sizeof(s.t.buf) - 1);
    assert_memory_equal(s.behind, "################", 16);
}

static void assert_u64(uint64_t v, const char *expected)
{
    struct sdm_text t;

    sdm_text_init(&t);
    sdm_text_add_u64(&t, v);
    assert_string_equal(t.buf, expected);
}

static void test_u64(void **state)
{
    (void)state;
    assert_u64(0, "0");
    assert_u64(9, "9");
    assert_u64(10, "10");
    assert_u64(4294967296, "4294967296");
    assert_u64(UINT64_MAX, "18446744073709551615");
}

static void assert_hex(uint64_t v, const char *expected)
{
    struct sdm_text t;

    sdm_text_init(&t);
    sdm_text_add_hex(&t, v);
    assert_string_equal(t.buf, expected);
}

static void test_hex(void **state)
{
    (void)state;
    assert_hex(0, "0x0");
    assert_hex(0x40000000, "0x40000000");
    assert_hex(0xabcdef, "0xabcdef");
    assert_hex(UINT64_MAX, "0xffffffffffffffff");
}

static void assert_size(uint64_t v, const char *expected)
{
    struct sdm_text t;

    sdm_text_init(&t);
    sdm_text_add_size(&t, v);
    assert_string_equal(t.buf, expected);
}

static void test_size(void **state)
{
    (void)state;
    assert_size(0, "0 B");
    assert_size(5, "5 B");
    assert_size(1023, "1023 B");
    assert_size(1024, "1 KiB");
    assert_size(1025, "1025 B");
    assert_size(4096, "4 KiB");
    assert_size(512ull << 20, "512 MiB");
    assert_size((1ull << 30) + (512ull << 20), "1536 MiB");
    assert_size(1ull << 30, "1 GiB");
    assert_size(1ull << 40, "1 TiB");
    assert_size(1ull << 63, "8388608 TiB");
    assert_size(UINT64_MAX, "18446744073709551615 B");
}

/* Every number that the contracts name has a text of its own. */
static void test_tables(void **state)
{
    uint32_t i, j;

    (void)state;
    for (i = 0; i < SDM_ERRS; i++) {
        assert_non_null(sdm_status_text(i));
        assert_string_not_equal(sdm_status_text(i), "unknown status");
        for (j = 0; j < i; j++) {
            assert_string_not_equal(sdm_status_text(i), sdm_status_text(j));
        }
    }
    assert_string_equal(sdm_status_text(SDM_ERRS), "unknown status");
    assert_string_equal(sdm_status_text(UINT32_MAX), "unknown status");

    for (i = 0; i < SDM_STATES; i++) {
        assert_non_null(sdm_state_text(i));
        assert_string_not_equal(sdm_state_text(i), "?");
    }
    assert_string_equal(sdm_state_text(SDM_STATE_ABSENT), "absent");
    assert_string_equal(sdm_state_text(SDM_STATE_WAITING), "waiting");
    assert_string_equal(sdm_state_text(SDM_STATE_CRASHED), "crashed");
    assert_string_equal(sdm_state_text(SDM_STATES), "?");
    assert_string_equal(sdm_state_text(UINT32_MAX), "?");

    assert_string_equal(sdm_machine_text(SDM_EM_ARM), "arm");
    assert_string_equal(sdm_machine_text(SDM_EM_AARCH64), "aarch64");
    assert_string_equal(sdm_machine_text(SDM_EM_X86_64), "x86_64");
    assert_string_equal(sdm_machine_text(0), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_tables),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
