/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regions without huge pages: needs no privilege. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/sdm-region.h"
#include "tests/unit/fd-count.h"

#define PAGE    4096u
#define SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static char dir[40];
static char file[64];
static int fds_before;
static struct sdm_text why;
static struct sdm_region region;

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s/sdm-region-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(file, sizeof(file), "%s/file", dir);
    sdm_text_init(&why);
    memset(&region, 0, sizeof(region));
    fds_before = count_fds();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    if (count_fds() != fds_before) {
        print_error("%d fds before, %d behind\n", fds_before, count_fds());
        return -1;
    }
    return rmdir(dir);      /* fails if a file was left in it */
}

static void assert_says(const char *what)
{
    if (!strstr(why.buf, what)) {
        fail_msg("'%s' does not say '%s'", why.buf, what);
    }
}

static void assert_refused(const struct sdm_region_config *config, int error)
{
    struct sdm_region untouched;

    memset(&untouched, 0x5a, sizeof(untouched));
    region = untouched;
    sdm_text_init(&why);
    assert_int_equal(sdm_region_create(&region, config, &why), -error);
    assert_true(why.len > 0);
    assert_memory_equal(&region, &untouched, sizeof(region));
}

/* 1 if anything is mapped in the page at @addr. */
static int is_mapped(void *addr)
{
    void *p = mmap(addr, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
                   MAP_FIXED_NOREPLACE, -1, 0);

    if (p == MAP_FAILED) {
        assert_int_equal(errno, EEXIST);
        return 1;
    }
    munmap(p, PAGE);
    return 0;
}

static void memfd_is_sealed_and_mapped(void **state)
{
    struct sdm_region_config config = { .size = 16 * PAGE, .seal = 1 };
    void *addr;
    char c;

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.size, 16 * PAGE);
    assert_int_equal(region.page_size, PAGE);
    assert_int_equal(region.sealed, 1);
    assert_int_equal(region.nsegments, 1);
    assert_int_equal(region.nwindows, 0);
    assert_int_equal(region.segments[0].offset, 0);
    assert_int_equal(region.segments[0].size, 16 * PAGE);
    assert_int_equal(sdm_fd_check(region.segments[0].fd, 16 * PAGE, SEALS,
                                  NULL), 0);
    assert_int_equal(ftruncate(region.segments[0].fd, PAGE), -1);
    assert_int_equal(fcntl(region.segments[0].fd, F_GETFD), FD_CLOEXEC);

    ((char *)region.addr)[5 * PAGE] = 'x';
    assert_int_equal(pread(region.segments[0].fd, &c, 1, 5 * PAGE), 1);
    assert_int_equal(c, 'x');
    addr = region.addr;
    sdm_region_destroy(&region);
    assert_false(is_mapped(addr));
}

static void each_window_is_its_own_fd(void **state)
{
    const uint64_t windows[] = { 2 * PAGE, 3 * PAGE };
    struct sdm_region_config config = {
        .size = 16 * PAGE, .seal = 1, .windows = windows, .nwindows = 2,
    };
    struct stat st;
    unsigned i;
    char c;

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.nsegments, 3);
    assert_int_equal(region.nwindows, 2);
    assert_int_equal(region.windows[0].offset, 14 * PAGE);
    assert_int_equal(region.windows[0].size, 2 * PAGE);
    assert_int_equal(region.windows[1].offset, 11 * PAGE);
    assert_int_equal(region.segments[0].size, 11 * PAGE);

    memset(region.addr, 'm', region.size);
    for (i = 0; i < 2; i++) {
        assert_int_equal(region.segments[i + 1].offset,
                         region.windows[i].offset);
        memset((char *)region.addr + region.windows[i].offset, 'a' + i,
               region.windows[i].size);
    }
    for (i = 0; i < 3; i++) {
        assert_int_equal(fstat(region.segments[i].fd, &st), 0);
        assert_int_equal(st.st_size, region.segments[i].size);
        assert_int_equal(fcntl(region.segments[i].fd, F_GET_SEALS), SEALS);
        assert_int_equal(pread(region.segments[i].fd, &c, 1, 0), 1);
        assert_int_equal(c, i ? 'a' + (int)i - 1 : 'm');
        assert_int_equal(pread(region.segments[i].fd, &c, 1,
                               st.st_size - 1), 1);
        assert_int_equal(c, i ? 'a' + (int)i - 1 : 'm');
    }
    sdm_region_destroy(&region);
}

static void bad_sizes_are_named(void **state)
{
    uint64_t windows[SDM_MAX_SLAVES + 1] = { PAGE, PAGE };
    struct sdm_region_config config = { .seal = 1, .windows = windows };

    (void)state;
    assert_refused(&config, EINVAL);
    assert_says("size=0 is not a multiple");
    config.size = 5 * PAGE + 1;
    assert_refused(&config, EINVAL);
    assert_says("size=20481");
    assert_says("use 24576");
    config.size = UINT64_MAX;
    assert_refused(&config, EINVAL);
    assert_says("size=18446744073709551615");

    config.size = 8 * PAGE;
    config.nwindows = 2;
    windows[1] = 0;
    assert_refused(&config, EINVAL);
    assert_says("window 2 has size 0");
    windows[1] = PAGE + 512;
    assert_refused(&config, EINVAL);
    assert_says("window 2 of 4608 B is not a multiple");
    assert_says("4 KiB");
    windows[1] = 7 * PAGE;
    assert_refused(&config, EINVAL);
    assert_says("window 2 does not fit");
    assert_says("windows 1 to 2 take 32768 bytes of size=32768");
    windows[0] = UINT64_MAX - PAGE + 1;
    windows[1] = 2 * PAGE;
    assert_refused(&config, EINVAL);
    assert_says("window 1 does not fit");
    config.nwindows = SDM_MAX_SLAVES + 1;
    assert_refused(&config, EINVAL);
    assert_says("lists 65 windows, the limit is 64");
}

static void directory_gets_unlinked_files(void **state)
{
    const uint64_t windows[] = { PAGE };
    struct sdm_region_config config = {
        .size = 4 * PAGE, .mem_path = dir, .seal = 1, .windows = windows,
        .nwindows = 1,
    };
    struct stat st;

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.sealed, 0);
    assert_int_equal(region.nsegments, 2);
    assert_int_equal(rmdir(dir), 0);    /* nothing has a name in it */
    assert_int_equal(fstat(region.segments[1].fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(sdm_fd_check(region.segments[1].fd, PAGE, 0, NULL), 0);
    assert_int_equal(sdm_fd_check(region.segments[1].fd, PAGE, SEALS, NULL),
                     -EPERM);
    memset(region.addr, 1, region.size);
    sdm_region_destroy(&region);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void unsealed_without_a_path_is_in_shm(void **state)
{
    struct sdm_region_config config = { .size = 4 * PAGE };

    (void)state;
    if (access("/dev/shm", W_OK)) {
        skip();
    }
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.sealed, 0);
    sdm_region_destroy(&region);
}

static void file_is_made_and_kept(void **state)
{
    struct sdm_region_config config = {
        .size = 4 * PAGE, .mem_path = file, .seal = 1,
    };
    struct stat st;
    char c;

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.sealed, 0);
    ((char *)region.addr)[PAGE] = 'k';
    sdm_region_destroy(&region);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 4 * PAGE);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* Again: what is in it stays. A longer file stays as long as it is. */
    assert_int_equal(truncate(file, 8 * PAGE), 0);
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    c = ((char *)region.addr)[PAGE];
    sdm_region_destroy(&region);
    assert_int_equal(c, 'k');
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 8 * PAGE);

    /* A shorter one grows. */
    config.size = 12 * PAGE;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    sdm_region_destroy(&region);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 12 * PAGE);
}

static void failure_leaves_files_as_they_were(void **state)
{
    struct sdm_region_config config = {
        .size = 1ull << 50, .mem_path = file, .seal = 1,
    };
    struct stat st;
    int fd;

    (void)state;
    assert_refused(&config, ENOSPC);
    assert_says("1024 TiB are needed");
    assert_says("mount -o remount,size=");
    assert_int_equal(access(file, F_OK), -1);

    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 3 * PAGE), 0);
    close(fd);
    assert_refused(&config, ENOSPC);
    config.size = PAGE + 1;
    assert_refused(&config, EINVAL);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 3 * PAGE);
}

static void failed_mapping_gives_all_back(void **state)
{
    const uint64_t windows[] = { PAGE, PAGE, PAGE };
    struct sdm_region_config config = {
        .size = 1ull << 30, .mem_path = file, .seal = 1,
    };
    struct rlimit saved, small;
    int ret;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small = saved;
    small.rlim_cur = 0;
    /* The file cannot get its size. */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ret = sdm_region_create(&region, &config, &why);
    setrlimit(RLIMIT_FSIZE, &saved);
    assert_int_equal(ret, -EFBIG);
    assert_says("its size of 1 GiB");
    assert_int_equal(access(file, F_OK), -1);

    /* The third window gets no fd. */
    config.mem_path = NULL;
    config.windows = windows;
    config.nwindows = 3;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    small = saved;
    small.rlim_cur = dup(0) + 3;
    close(small.rlim_cur - 3);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    ret = sdm_region_create(&region, &config, &why);
    setrlimit(RLIMIT_NOFILE, &saved);
    assert_int_equal(ret, -EMFILE);
    assert_says("cannot make memory in 'memfd'");
}

static void bad_paths_are_named(void **state)
{
    const uint64_t windows[] = { PAGE };
    struct sdm_region_config config = { .size = 4 * PAGE, .seal = 1 };
    char missing[64];

    (void)state;
    snprintf(missing, sizeof(missing), "%s/none/file", dir);
    config.mem_path = missing;
    assert_refused(&config, ENOENT);
    assert_says(missing);
    assert_says("give a mounted directory, or a file in one");

    assert_int_equal(mkfifo(file, 0600), 0);
    config.mem_path = file;
    assert_refused(&config, EINVAL);
    assert_says("neither a directory nor a regular file");
    unlink(file);

    config.windows = windows;
    config.nwindows = 1;
    assert_refused(&config, EINVAL);
    assert_says("windows= needs a file each");
    assert_int_equal(access(file, F_OK), -1);
}

static void unmounted_place_in_dev_is_refused(void **state)
{
    struct sdm_region_config config = {
        .size = 4 * PAGE, .seal = 1, .mem_path = "/dev/sdm-no-such-mount",
    };

    (void)state;
    assert_refused(&config, ENOENT);
    assert_says("no hugetlbfs for pages of");
    assert_says("mkdir -p /dev/sdm-no-such-mount && mount -t hugetlbfs");
    assert_int_equal(access(config.mem_path, F_OK), -1);
}

static void huge_page_size_is_checked(void **state)
{
    struct sdm_region_config config = {
        .size = 4 * PAGE, .seal = 1, .hugetlbsize = 3u << 20,
    };

    (void)state;
    assert_refused(&config, EINVAL);
    assert_says("this host has no huge pages of 3 MiB");
    assert_says("it has ");
    if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK)) {
        skip();
    }
    assert_says("2 MiB");
    config.hugetlbsize = 2u << 20;
    config.size = 8u << 20;
    config.mem_path = dir;
    assert_refused(&config, EMEDIUMTYPE);
    assert_says("is not on hugetlbfs");
    assert_says("2 MiB");
    config.mem_path = file;
    assert_refused(&config, EMEDIUMTYPE);
    assert_int_equal(access(file, F_OK), -1);
    config.mem_path = NULL;
    config.size = 3u << 20;
    assert_refused(&config, EINVAL);
    assert_says("size=3145728");
    assert_says("use 4194304");
}

static void reservation_is_aligned_and_empty(void **state)
{
    const uint64_t align = 2u << 20;
    char *p;
    int fd;

    (void)state;
    p = sdm_reserve(3 * PAGE, align);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % align, 0);
    assert_true(is_mapped(p) && is_mapped(p + 2 * PAGE));

    fd = sdm_memfd("window", "abc", 3, 0);
    assert_true(fd >= 0);
    close(fd);
    fd = sdm_memfd("window", NULL, 4 * PAGE, 0);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, PAGE), 1);
    assert_int_equal(sdm_reserve_map(p, 3 * PAGE, fd, PAGE), 0);
    assert_int_equal(p[0], 'x');
    p[1] = 'y';
    assert_int_equal(sdm_reserve_unmap(p, 3 * PAGE), 0);
    assert_true(is_mapped(p) && is_mapped(p + 2 * PAGE));

    /* What cannot be mapped leaves the reservation. */
    assert_int_equal(sdm_reserve_map(p, 3 * PAGE, -1, 0), -EBADF);
    assert_true(is_mapped(p) && is_mapped(p + 2 * PAGE));
    assert_int_equal(sdm_reserve_map(p, 3 * PAGE, fd, 1), -EINVAL);
    assert_true(is_mapped(p));
    assert_int_equal(munmap(p, 3 * PAGE), 0);
    close(fd);

    assert_null(sdm_reserve(0, PAGE));
    assert_int_equal(errno, EINVAL);
    assert_null(sdm_reserve(PAGE, 3 * PAGE));
    assert_null(sdm_reserve(-(uint64_t)PAGE, align));
    assert_int_equal(errno, ENOMEM);
}

static void fds_are_checked(void **state)
{
    uint64_t page = 0;
    int fd, pipes[2];

    (void)state;
    fd = sdm_memfd("check", NULL, 2 * PAGE, 0);
    assert_true(fd >= 0);
    assert_int_equal(sdm_fd_check(fd, 2 * PAGE, F_SEAL_SHRINK, &page), 0);
    assert_int_equal(page, PAGE);
    assert_int_equal(sdm_fd_check(fd, 2 * PAGE + 1, 0, NULL), -EFBIG);
    assert_int_equal(sdm_fd_check(fd, PAGE, F_SEAL_WRITE, NULL), -EPERM);
    close(fd);
    assert_int_equal(sdm_fd_check(-1, 0, 0, NULL), -EBADF);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(sdm_fd_check(pipes[0], 0, 0, NULL), -EBADF);
    close(pipes[0]);
    close(pipes[1]);
}

static void memfd_carries_data(void **state)
{
    char data[3 * PAGE + 5], back[sizeof(data)];
    unsigned i;
    int fd;

    (void)state;
    for (i = 0; i < sizeof(data); i++) {
        data[i] = (char)(i * 7);
    }
    fd = sdm_memfd("data", data, sizeof(data), 1);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), SEALS | F_SEAL_WRITE);
    assert_int_equal(pread(fd, back, sizeof(back), 0), sizeof(back));
    assert_memory_equal(data, back, sizeof(data));
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    close(fd);
}

static void missing_pages_are_counted(void **state)
{
    (void)state;
    assert_int_equal(sdm_hugepages_missing(0, 1), 0);
    assert_int_equal(sdm_hugepages_missing(3u << 20, 1u << 30), 0);
    if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK)) {
        skip();
    }
    assert_int_equal(sdm_hugepages_missing(2u << 20, 0), 0);
    /* More than any host has: one byte more is one page more. */
    assert_int_equal(sdm_hugepages_missing(2u << 20, (1ull << 60) + 1),
                     sdm_hugepages_missing(2u << 20, 1ull << 60) + 1);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memfd_is_sealed_and_mapped),
        TEST(each_window_is_its_own_fd),
        TEST(bad_sizes_are_named),
        TEST(directory_gets_unlinked_files),
        TEST(unsealed_without_a_path_is_in_shm),
        TEST(file_is_made_and_kept),
        TEST(failure_leaves_files_as_they_were),
        TEST(failed_mapping_gives_all_back),
        TEST(bad_paths_are_named),
        TEST(unmounted_place_in_dev_is_refused),
        TEST(huge_page_size_is_checked),
        TEST(reservation_is_aligned_and_empty),
        TEST(fds_are_checked),
        TEST(memfd_carries_data),
        TEST(missing_pages_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
