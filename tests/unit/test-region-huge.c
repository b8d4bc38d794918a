/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions of huge pages. Needs root: it reserves pages, which are given back at
 * its end, and mounts hugetlbfs where only it sees it. libhugetlbfs looks at
 * the mounts once, when a program starts, so the program starts itself again:
 * with one mount (argument "mounted") and with none ("bare").
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/sdm-region.h"
#include "tests/host/hugepages.h"
#include "tests/unit/fd-count.h"

#define PAGES  8
#define SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const char *mount_point;
static char file[64];
static uint64_t page;
static uint64_t usable;         /* pages, before each test */
static int fds_before;
static struct sdm_text why;
static struct sdm_region region;

static uint64_t count_usable(void)
{
    return meminfo("HugePages_Free") - meminfo("HugePages_Rsvd");
}

static int setup(void **state)
{
    (void)state;
    snprintf(file, sizeof(file), "%s/file", mount_point);
    sdm_text_init(&why);
    memset(&region, 0, sizeof(region));
    fds_before = count_fds();
    usable = count_usable();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(file);
    if (count_fds() != fds_before || count_usable() != usable) {
        print_error("%d fds and %llu pages before, %d and %llu behind\n",
                    fds_before, (unsigned long long)usable, count_fds(),
                    (unsigned long long)count_usable());
        return -1;
    }
    return 0;
}

static void assert_says(const char *what)
{
    if (!strstr(why.buf, what)) {
        fail_msg("'%s' does not say '%s'", why.buf, what);
    }
}

static void assert_too_few(struct sdm_region_config *config)
{
    char text[96];

    config->size = (usable + 3) * page;
    assert_int_equal(sdm_region_create(&region, config, &why), -ENOMEM);
    assert_says("too few huge pages");
    snprintf(text, sizeof(text), "need %llu pages of ",
             (unsigned long long)usable + 3);
    assert_says(text);
    assert_says(", 3 are missing");
    snprintf(text, sizeof(text), "echo %ld > /proc/sys/vm/nr_hugepages",
             meminfo("HugePages_Total") + 3);
    assert_says(text);
}

static void memfd_of_huge_pages(void **state)
{
    const uint64_t windows[] = { page, 2 * page };
    struct sdm_region_config config = {
        .size = 6 * page, .seal = 1, .hugetlbsize = page,
        .windows = windows, .nwindows = 2,
    };
    uint64_t size = 0;
    unsigned i;
    char c;

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.sealed, 1);
    assert_int_equal(region.page_size, page);
    assert_int_equal((uintptr_t)region.addr % page, 0);
    assert_int_equal(region.windows[1].offset, 3 * page);
    assert_int_equal(count_usable(), usable - 6);
    for (i = 0; i < region.nsegments; i++) {
        assert_int_equal(sdm_fd_check(region.segments[i].fd,
                                      region.segments[i].size, SEALS, &size),
                         0);
        assert_int_equal(size, page);
    }
    ((char *)region.addr)[region.windows[0].offset] = 'w';
    /* A hugetlbfs file is read through a mapping or read(), not written. */
    assert_int_equal(pread(region.segments[1].fd, &c, 1, 0), 1);
    assert_int_equal(c, 'w');
    sdm_region_destroy(&region);
}

static void windows_are_whole_huge_pages(void **state)
{
    const uint64_t windows[] = { 4096 };
    struct sdm_region_config config = {
        .size = 2 * page, .seal = 1, .hugetlbsize = page,
        .windows = windows, .nwindows = 1,
    };

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), -EINVAL);
    assert_says("window 1 of 4 KiB is not a multiple of the page size");
}

static void shortage_is_an_error_with_a_remedy(void **state)
{
    const uint64_t windows[] = { page, page };
    struct sdm_region_config config = { .seal = 1, .hugetlbsize = page };

    (void)state;
    assert_too_few(&config);
    config.windows = windows;
    config.nwindows = 2;
    assert_too_few(&config);
    config.mem_path = mount_point;
    assert_too_few(&config);
    config.nwindows = 0;
    config.mem_path = file;
    assert_too_few(&config);
    assert_int_equal(access(file, F_OK), -1);
}

static void limit_of_the_mount_is_told_apart(void **state)
{
    struct sdm_region_config config = { .size = 2 * page, .seal = 1 };
    char dir[] = "/tmp/sdm-region-XXXXXX", options[32];
    int ret;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(options, sizeof(options), "size=%llu", (unsigned long long)page);
    assert_int_equal(mount("none", dir, "hugetlbfs", 0, options), 0);
    config.mem_path = dir;
    ret = sdm_region_create(&region, &config, &why);
    umount(dir);
    rmdir(dir);
    assert_int_equal(ret, -ENOMEM);
    assert_says("although enough are free");
    assert_says("size=");
}

static void mount_gives_its_page_size(void **state)
{
    struct sdm_region_config config = {
        .size = 2 * page, .seal = 1, .mem_path = mount_point,
    };

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.page_size, page);
    assert_int_equal(region.sealed, 0);
    sdm_region_destroy(&region);
    config.hugetlbsize = page;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    sdm_region_destroy(&region);

    config.size = page + 4096;
    assert_int_equal(sdm_region_create(&region, &config, &why), -EINVAL);
    assert_says("is not a multiple of the page size");
    if (page == 2u << 20 &&
        !access("/sys/kernel/mm/hugepages/hugepages-1048576kB", F_OK)) {
        config.hugetlbsize = 1u << 30;
        assert_int_equal(sdm_region_create(&region, &config, &why),
                         -EMEDIUMTYPE);
        assert_says("has pages of 2 MiB, but hugetlbsize asks for 1 GiB");
        assert_says("pagesize=1048576K");
    }
}

static void mount_is_found_for_a_size(void **state)
{
    struct sdm_region_config config = {
        .size = 2 * page, .hugetlbsize = page,
    };

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    assert_int_equal(region.sealed, 0);
    assert_int_equal(region.page_size, page);
    sdm_region_destroy(&region);
}

static void kept_file_is_counted_once(void **state)
{
    struct sdm_region_config config = { .seal = 1, .mem_path = file };
    struct stat st;

    (void)state;
    config.size = usable * page;
    assert_int_equal(sdm_region_create(&region, &config, &why), 0);
    memset(region.addr, 1, region.size);
    sdm_region_destroy(&region);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, config.size);
    /* Its pages are still taken: asking for two more lacks two. */
    assert_int_equal(count_usable(), 0);
    config.size += 2 * page;
    assert_int_equal(sdm_region_create(&region, &config, &why), -ENOMEM);
    assert_says(", 2 are missing");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, config.size - 2 * page);
}

static void failed_window_leaves_the_reservation(void **state)
{
    uint64_t size = (usable + 1) * page;
    char *p, *other;
    int fd;

    (void)state;
    p = sdm_reserve(size, page);
    assert_non_null(p);
    fd = memfd_create("window", MFD_CLOEXEC | MFD_HUGETLB);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(sdm_reserve_map(p, size, fd, 0), -ENOMEM);
    other = mmap(p, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
                 MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    assert_true(other == MAP_FAILED && errno == EEXIST);
    assert_int_equal(munmap(p, size), 0);
    close(fd);
}

static void no_mount_is_an_error_with_a_remedy(void **state)
{
    struct sdm_region_config config = {
        .size = 2 * page, .hugetlbsize = page,
    };
    char remedy[64];

    (void)state;
    assert_int_equal(sdm_region_create(&region, &config, &why), -ENOENT);
    assert_says("no hugetlbfs for pages of");
    snprintf(remedy, sizeof(remedy), "mount -t hugetlbfs -o pagesize=%lluK",
             (unsigned long long)page >> 10);
    assert_says(remedy);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Leave no hugetlbfs mount in sight, or just ours. */
static void settle_mounts(const char *dir)
{
    char line[1024], where[512], type[64];
    FILE *f;

    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        skip_test("mounting needs root");
    }
    f = fopen("/proc/self/mounts", "re");
    CHECK(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%*s %511s %63s", where, type) == 2 &&
            !strcmp(type, "hugetlbfs")) {
            CHECK(umount2(where, MNT_DETACH) == 0);
        }
    }
    fclose(f);
    if (dir && mount("none", dir, "hugetlbfs", 0, NULL)) {
        skip_test("cannot mount hugetlbfs here");
    }
}

/* Run ourselves with argument @how; returns the exit status. */
static int run_again(const char *how, const char *dir)
{
    int status;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        settle_mounts(dir);
        execl("/proc/self/exe", "test-region-huge", how, dir, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest mounted[] = {
        TEST(memfd_of_huge_pages),
        TEST(windows_are_whole_huge_pages),
        TEST(shortage_is_an_error_with_a_remedy),
        TEST(limit_of_the_mount_is_told_apart),
        TEST(mount_gives_its_page_size),
        TEST(mount_is_found_for_a_size),
        TEST(kept_file_is_counted_once),
        TEST(failed_window_leaves_the_reservation),
    };
    const struct CMUnitTest bare[] = {
        TEST(no_mount_is_an_error_with_a_remedy),
    };
    char dir[] = "/tmp/sdm-region-XXXXXX";
    int status;

    page = huge_page_bytes();
    if (argc == 3 && !strcmp(argv[1], "mounted")) {
        mount_point = argv[2];
        return cmocka_run_group_tests(mounted, NULL, NULL);
    }
    if (argc == 2 && !strcmp(argv[1], "bare")) {
        mount_point = "/nowhere";
        return cmocka_run_group_tests(bare, NULL, NULL);
    }
    guard_hugepages(PAGES);
    CHECK(mkdtemp(dir));
    status = run_again("mounted", dir);
    if (!status) {
        status = run_again("bare", NULL);
    }
    CHECK(rmdir(dir) == 0);
    return status;
}
