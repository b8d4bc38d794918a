/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"
#include <errno.h>
#include <string.h>
#include "sdm/sdm-window.h"

#define MiB  (1ull << 20)
#define PAGE 4096ull
#define TOP  UINT64_MAX

static int check(uint64_t offset, uint64_t size, uint64_t memory,
                 uint64_t page)
{
    struct sdm_window w = { offset, size };

    return sdm_window_check(&w, memory, page);
}

static void test_check(void **state)
{
    (void)state;
    assert_int_equal(check(0, PAGE, PAGE, PAGE), 0);
    assert_int_equal(check(0, 512 * MiB, 512 * MiB, PAGE), 0);
    assert_int_equal(check(512 * MiB, 512 * MiB, 1024 * MiB, 2 * MiB), 0);
    assert_int_equal(check(1, 1, 2, 1), 0);

    assert_int_equal(check(0, 0, PAGE, PAGE), -EINVAL);
    assert_int_equal(check(1, 0, PAGE, PAGE), -EINVAL);

    assert_int_equal(check(0, PAGE + 1, 4 * PAGE, PAGE), -ERANGE);
    assert_int_equal(check(0, PAGE - 1, 4 * PAGE, PAGE), -ERANGE);
    assert_int_equal(check(1, PAGE, 4 * PAGE, PAGE), -ERANGE);
    assert_int_equal(check(PAGE, 2 * MiB, 8 * MiB, 2 * MiB), -ERANGE);
    assert_int_equal(check(2 * MiB, PAGE, 8 * MiB, 2 * MiB), -ERANGE);

    assert_int_equal(check(0, 2 * PAGE, PAGE, PAGE), -EFBIG);
    assert_int_equal(check(PAGE, PAGE, PAGE, PAGE), -EFBIG);
    assert_int_equal(check(2 * PAGE, PAGE, PAGE, PAGE), -EFBIG);
    assert_int_equal(check(0, PAGE, 0, PAGE), -EFBIG);
    assert_int_equal(check(0, PAGE, PAGE - 1, PAGE), -EFBIG);
}

/* Sums that wrap around must not look small. */
static void test_check_overflow(void **state)
{
    uint64_t last = TOP & ~(PAGE - 1);

    (void)state;
    assert_int_equal(check(last, PAGE, 4 * PAGE, PAGE), -EFBIG);
    assert_int_equal(check(last, 2 * PAGE, 4 * PAGE, PAGE), -EFBIG);
    assert_int_equal(check(PAGE, last, 4 * PAGE, PAGE), -EFBIG);
    assert_int_equal(check(last, last, TOP, PAGE), -EFBIG);
    assert_int_equal(check(1ull << 63, 1ull << 63, 4 * PAGE, PAGE), -EFBIG);
    assert_int_equal(check(0, last, TOP, PAGE), 0);
    assert_int_equal(check(last - PAGE, PAGE, last, PAGE), 0);
    assert_int_equal(check(last, PAGE, last, PAGE), -EFBIG);
}

static void assert_overlap(uint64_t ao, uint64_t as, uint64_t bo, uint64_t bs,
                           int expected)
{
    struct sdm_window a = { ao, as }, b = { bo, bs };

    assert_int_equal(!!sdm_window_overlaps(&a, &b), expected);
    assert_int_equal(!!sdm_window_overlaps(&b, &a), expected);
}

static void test_overlaps(void **state)
{
    (void)state;
    assert_overlap(0, 10, 0, 10, 1);
    assert_overlap(0, 10, 5, 10, 1);
    assert_overlap(0, 10, 9, 1, 1);
    assert_overlap(0, 10, 3, 2, 1);
    assert_overlap(0, 10, 0, 1, 1);
    assert_overlap(0, 10, 10, 10, 0);
    assert_overlap(0, 10, 11, 10, 0);
    /* size 0 shares nothing, not even in the middle of another */
    assert_overlap(0, 10, 5, 0, 0);
    assert_overlap(5, 0, 5, 0, 0);
    assert_overlap(0, 10, 0, 0, 0);
    /* ends beyond 2^64 */
    assert_overlap(TOP, 10, TOP, 1, 1);
    assert_overlap(TOP - 5, TOP, 0, 10, 0);
    assert_overlap(0, TOP, TOP, 1, 0);
    assert_overlap(0, TOP, TOP - 1, 1, 1);
}

static void test_layout(void **state)
{
    uint64_t sizes[3] = { 256 * MiB, 128 * MiB, 64 * MiB };
    struct sdm_window out[3];
    unsigned bad = 77;

    (void)state;
    assert_int_equal(sdm_windows_layout(sizes, 3, 1024 * MiB, 2 * MiB, out,
                                        &bad), 0);
    assert_int_equal(out[0].offset, 768 * MiB);
    assert_int_equal(out[0].size, 256 * MiB);
    assert_int_equal(out[1].offset, 640 * MiB);
    assert_int_equal(out[1].size, 128 * MiB);
    assert_int_equal(out[2].offset, 576 * MiB);
    assert_int_equal(out[2].size, 64 * MiB);
    assert_int_equal(bad, 77);
}

/* Each result is a window that sdm_window_check() takes, down to one page. */
static void test_layout_full(void **state)
{
    uint64_t sizes[SDM_MAX_SLAVES];
    struct sdm_window out[SDM_MAX_SLAVES];
    uint64_t memory = (SDM_MAX_SLAVES + 1) * PAGE;
    unsigned bad, i, j;

    (void)state;
    for (i = 0; i < SDM_MAX_SLAVES; i++) {
        sizes[i] = PAGE;
    }
    assert_int_equal(sdm_windows_layout(sizes, SDM_MAX_SLAVES, memory, PAGE,
                                        out, &bad), 0);
    for (i = 0; i < SDM_MAX_SLAVES; i++) {
        assert_int_equal(sdm_window_check(&out[i], memory, PAGE), 0);
        assert_true(out[i].offset >= PAGE);
        for (j = 0; j < i; j++) {
            assert_false(sdm_window_overlaps(&out[i], &out[j]));
        }
    }
    assert_int_equal(out[SDM_MAX_SLAVES - 1].offset, PAGE);

    /* a memory that ends inside a page: windows start below */
    assert_int_equal(sdm_windows_layout(sizes, 1, memory + 7, PAGE, out,
                                        &bad), 0);
    assert_int_equal(out[0].offset, memory - PAGE);
}

static void assert_layout_fails(const uint64_t *sizes, unsigned n,
                                uint64_t memory, uint64_t page, int err,
                                unsigned bad_index)
{
    struct sdm_window out[SDM_MAX_SLAVES], before[SDM_MAX_SLAVES];
    unsigned bad = 77;

    memset(out, 0x5a, sizeof(out));
    memcpy(before, out, sizeof(out));
    assert_int_equal(sdm_windows_layout(sizes, n, memory, page, out, &bad),
                     err);
    assert_int_equal(bad, bad_index);
    assert_memory_equal(out, before, sizeof(out));
}

static void test_layout_errors(void **state)
{
    uint64_t good[2] = { 2 * MiB, 2 * MiB };
    uint64_t zero[3] = { 2 * MiB, 2 * MiB, 0 };
    uint64_t odd[2] = { 2 * MiB, 3 * MiB };
    uint64_t huge[2] = { 2 * MiB, TOP & ~(2 * MiB - 1) };

    (void)state;
    assert_layout_fails(good, 0, 64 * MiB, 2 * MiB, -EINVAL, 0);
    assert_layout_fails(good, SDM_MAX_SLAVES + 1, 64 * MiB, 2 * MiB, -EINVAL,
                        0);
    assert_layout_fails(zero, 3, 64 * MiB, 2 * MiB, -EINVAL, 2);
    assert_layout_fails(odd, 2, 64 * MiB, 2 * MiB, -ERANGE, 1);
    assert_layout_fails(huge, 2, 64 * MiB, 2 * MiB, -EFBIG, 1);
    /* nothing left for the master */
    assert_layout_fails(good, 2, 4 * MiB, 2 * MiB, -EFBIG, 1);
    assert_layout_fails(good, 2, 5 * MiB, 2 * MiB, -EFBIG, 1);
    assert_layout_fails(good, 1, 0, 2 * MiB, -EFBIG, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_check_overflow),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_full),
        cmocka_unit_test(test_layout_errors),
    };

    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
