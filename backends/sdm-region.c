/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: the whole region is reserved as address space first and
 * each segment's fd is mapped over its part, so that the master sees one piece
 * of memory while every window has an fd of its own to hand out. Huge pages are
 * reserved by these mappings (MAP_SHARED without MAP_NORESERVE): what is lacking
 * is an error here, and not a SIGBUS in a running guest.
 * Rejected: one fd with windows at offsets in it - whoever is handed the fd can
 * map all of it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <hugetlbfs.h>
#include "backends/sdm-fail.h"
#include "backends/sdm-region.h"

#define SHM_DIR         "/dev/shm"
#define PAGE_SIZES_MAX  16
#define STAT_BLOCK      512u    /* unit of st_blocks, whatever the filesystem */

/* MFD_HUGETLB takes the page size as its logarithm in the upper bits. */
#define MFD_SIZE_SHIFT  26

/*
 * Where a region's fds come from; settled before the first one is made.
 * @dir:   unlinked files are made in it
 * @file:  or this one file is opened, or made and kept
 * Neither: memfds.
 */
struct source {
    const char *dir;
    const char *file;
    int hugetlb;
    uint64_t page_size;
};

/*
 * A file under mem-path that must be as it was if the region cannot be made.
 * @made:     1: it was not there before
 * @old_size: what it had; only with @made 0
 * @in_use:   bytes that it holds already
 */
struct kept_file {
    int made;
    off_t old_size;
    uint64_t in_use;
};

static uint64_t base_page(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t default_huge_page(void)
{
    long size = gethugepagesize();

    return size > 0 ? (uint64_t)size : 2u << 20;
}

static int is_power_of_2(uint64_t v)
{
    return v && !(v & (v - 1));
}

static void remember(int *result, int error)
{
    if (!*result) {
        *result = -error;
    }
}

/* ---- huge pages of the host ---- */

static uint64_t read_count(uint64_t page_size, const char *name, int *known)
{
    char path[128];
    unsigned long long v = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
             (unsigned long long)(page_size >> 10), name);
    f = fopen(path, "re");
    if (!f) {
        *known = 0;
        return 0;
    }
    if (fscanf(f, "%llu", &v) != 1) {
        *known = 0;
    }
    fclose(f);
    return v;
}

uint64_t sdm_hugepages_missing(uint64_t page_size, uint64_t need)
{
    uint64_t pages, free_pages, reserved, limit, surplus, usable;
    int known = 1;

    if (!page_size) {
        return 0;
    }
    pages = need / page_size + (need % page_size != 0);
    free_pages = read_count(page_size, "free_hugepages", &known);
    reserved = read_count(page_size, "resv_hugepages", &known);
    limit = read_count(page_size, "nr_overcommit_hugepages", &known);
    surplus = read_count(page_size, "surplus_hugepages", &known);
    if (!known) {
        return 0;
    }
    usable = free_pages > reserved ? free_pages - reserved : 0;
    usable += limit > surplus ? limit - surplus : 0;
    return pages > usable ? pages - usable : 0;
}

static int too_few_pages(uint64_t page_size, uint64_t need,
                         struct sdm_text *why)
{
    uint64_t missing = sdm_hugepages_missing(page_size, need);
    struct sdm_text a, b;
    char file[96];
    int known = 1;

    if (!missing) {
        return sdm_fail(why, ENOMEM, "the kernel grants no %s of huge pages "
                        "of %s although enough are free: raise the limit of "
                        "the hugetlbfs mount (size=) or of the cgroup "
                        "(hugetlb.*.max)", sdm_size(&a, need),
                        sdm_size(&b, page_size));
    }
    if (page_size == default_huge_page()) {
        snprintf(file, sizeof(file), "/proc/sys/vm/nr_hugepages");
    } else {
        snprintf(file, sizeof(file),
                 "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
                 (unsigned long long)(page_size >> 10));
    }
    return sdm_fail(why, ENOMEM, "too few huge pages: %s need %llu pages of "
                    "%s, %llu are missing: echo %llu > %s",
                    sdm_size(&a, need), (unsigned long long)(need / page_size),
                    sdm_size(&b, page_size), (unsigned long long)missing,
                    (unsigned long long)(missing + read_count(page_size,
                    "nr_hugepages", &known)), file);
}

/* Is it a huge page size of this host? The text lists those that it has. */
static int check_hugetlbsize(uint64_t size, struct sdm_text *why)
{
    long sizes[PAGE_SIZES_MAX];
    struct sdm_text list, one;
    int i, n;

    n = gethugepagesizes(sizes, PAGE_SIZES_MAX);
    sdm_text_init(&list);
    for (i = 0; i < n; i++) {
        if ((uint64_t)sizes[i] == size) {
            return 0;
        }
        sdm_text_add(&list, i ? ", " : "");
        sdm_text_add_size(&list, sizes[i]);
    }
    return sdm_fail(why, EINVAL, "this host has no huge pages of %s "
                    "(hugetlbsize): it has %s", sdm_size(&one, size),
                    n > 0 ? list.buf : "none");
}

static int no_mount(const char *where, uint64_t page_size,
                    struct sdm_text *why)
{
    struct sdm_text size;

    return sdm_fail(why, ENOENT, "no hugetlbfs for pages of %s is mounted: "
                    "mkdir -p %s && mount -t hugetlbfs -o pagesize=%lluK none "
                    "%s", sdm_size(&size, page_size), where,
                    (unsigned long long)(page_size >> 10), where);
}

/* ---- settling the source ---- */

/*
 * A path in /dev itself is one below which nothing is mounted, as
 * /dev/hugepages without its hugetlbfs: a file there would fill devtmpfs.
 */
static int lies_in_dev(const char *path, dev_t dev)
{
    struct stat st;

    return !strncmp(path, "/dev/", 5) &&
           strncmp(path, SHM_DIR, strlen(SHM_DIR)) &&
           !stat("/dev", &st) && st.st_dev == dev;
}

/* The directory of @path, with which a file that is to be made is judged. */
static int stat_parent(const char *path, struct stat *st)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    if (!slash) {
        return stat(".", st);
    }
    if (len >= sizeof(parent)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(parent, path, len);
    parent[len] = '\0';
    return stat(len ? parent : "/", st);
}

/* What is at mem-path: sets dir or file of @src. */
static int classify_path(const char *path, uint64_t hugetlbsize,
                         struct source *src, struct sdm_text *why)
{
    uint64_t huge = hugetlbsize ? hugetlbsize : default_huge_page();
    struct stat st;
    int error, exists;

    exists = !stat(path, &st);
    error = errno;
    if (!exists && error == ENOENT && stat_parent(path, &st)) {
        error = errno;
        return sdm_fail(why, error, "mem-path '%s': %s: give a mounted "
                        "directory, or a file in one", path, strerror(error));
    }
    if (!exists && error != ENOENT) {
        return sdm_fail(why, error, "mem-path '%s': %s", path,
                        strerror(error));
    }
    if (lies_in_dev(path, st.st_dev)) {
        return no_mount(path, huge, why);
    }
    if (exists && S_ISDIR(st.st_mode)) {
        src->dir = path;
        return 0;
    }
    if (exists && !S_ISREG(st.st_mode)) {
        return sdm_fail(why, EINVAL, "mem-path '%s' is neither a directory "
                        "nor a regular file", path);
    }
    src->file = path;
    return 0;
}

/* Which pages does the filesystem at mem-path have, and are they wanted? */
static int check_filesystem(const char *path, int fd, uint64_t hugetlbsize,
                            struct source *src, struct sdm_text *why)
{
    struct sdm_text a, b;
    struct statfs fs;
    int error;

    if (fstatfs(fd, &fs)) {
        error = errno;
        return sdm_fail(why, error, "mem-path '%s': %s", path,
                        strerror(error));
    }
    if (fs.f_type != HUGETLBFS_MAGIC) {
        if (hugetlbsize) {
            return sdm_fail(why, EMEDIUMTYPE, "mem-path '%s' is not on "
                            "hugetlbfs, but huge pages of %s were asked for "
                            "(hugetlbsize): give a path on hugetlbfs, or "
                            "leave mem-path out", path,
                            sdm_size(&a, hugetlbsize));
        }
        src->page_size = base_page();
        return 0;
    }
    src->hugetlb = 1;
    src->page_size = fs.f_bsize;
    if (hugetlbsize && hugetlbsize != src->page_size) {
        return sdm_fail(why, EMEDIUMTYPE, "mem-path '%s' has pages of %s, "
                        "but hugetlbsize asks for %s: give the path of a "
                        "mount with pagesize=%lluK, or leave hugetlbsize out",
                        path, sdm_size(&a, src->page_size),
                        sdm_size(&b, hugetlbsize),
                        (unsigned long long)(hugetlbsize >> 10));
    }
    return 0;
}

static int find_source(const struct sdm_region_config *config,
                       struct source *src, struct sdm_text *why)
{
    int ret;

    if (config->hugetlbsize) {
        ret = check_hugetlbsize(config->hugetlbsize, why);
        if (ret) {
            return ret;
        }
    }
    if (config->mem_path) {
        return classify_path(config->mem_path, config->hugetlbsize, src, why);
    }
    if (config->seal) {
        src->hugetlb = config->hugetlbsize != 0;
        src->page_size = src->hugetlb ? config->hugetlbsize : base_page();
        return 0;
    }
    if (!config->hugetlbsize) {
        src->dir = SHM_DIR;
        return 0;
    }
    src->dir = hugetlbfs_find_path_for_size(config->hugetlbsize);
    if (!src->dir) {
        return no_mount("/dev/hugepages", config->hugetlbsize, why);
    }
    return 0;
}

/* ---- making fds ---- */

static int open_memfd(const char *name, uint64_t huge_page)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

    if (huge_page) {
        flags |= MFD_HUGETLB;
        flags |= (unsigned)__builtin_ctzll(huge_page) << MFD_SIZE_SHIFT;
    }
    return memfd_create(name, flags);
}

static int open_unlinked(const char *dir)
{
    char name[PATH_MAX];
    int fd, len;

    len = snprintf(name, sizeof(name), "%s/sdm-XXXXXX", dir);
    if (len >= (int)sizeof(name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0) {
        unlink(name);
    }
    return fd;
}

static int open_kept(const char *path, struct kept_file *kept)
{
    struct stat st;
    int fd;

    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        kept->made = 1;
        return fd;
    }
    if (errno != EEXIST) {
        return -1;
    }
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    kept->made = 0;
    kept->old_size = st.st_size;
    kept->in_use = (uint64_t)st.st_blocks * STAT_BLOCK;
    return fd;
}

static int open_segment(const struct source *src, struct kept_file *kept,
                        struct sdm_text *why)
{
    int fd, error;

    if (src->dir) {
        fd = open_unlinked(src->dir);
    } else if (src->file) {
        fd = open_kept(src->file, kept);
    } else {
        fd = open_memfd("sdm-region", src->hugetlb ? src->page_size : 0);
    }
    if (fd < 0) {
        error = errno;
        return sdm_fail(why, error, "cannot make memory in '%s': %s",
                        src->dir ? src->dir : src->file ? src->file : "memfd",
                        strerror(error));
    }
    return fd;
}

/* A kept file may be longer than asked for: what is behind stays as it is. */
static int size_segment(int fd, uint64_t size)
{
    struct stat st;

    if (fstat(fd, &st)) {
        return -errno;
    }
    if ((uint64_t)st.st_size >= size) {
        return 0;
    }
    return ftruncate(fd, size) ? -errno : 0;
}

int sdm_memfd(const char *name, const void *data, uint64_t size,
              int seal_write)
{
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const char *from = data;
    uint64_t done = 0;
    ssize_t n;
    int fd, ret = 0;

    fd = open_memfd(name, 0);
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, size)) {
        remember(&ret, errno);
    }
    while (!ret && from && done < size) {
        n = pwrite(fd, from + done, size - done, done);
        if (n < 0 && errno != EINTR) {
            remember(&ret, errno);
        } else if (n > 0) {
            done += n;
        }
    }
    if (!ret && fcntl(fd, F_ADD_SEALS,
                      seals | (seal_write ? F_SEAL_WRITE : 0))) {
        remember(&ret, errno);
    }
    if (ret) {
        close(fd);
        return ret;
    }
    return fd;
}

/* ---- address space ---- */

void *sdm_reserve(uint64_t size, uint64_t align)
{
    uint64_t page = base_page(), extra, head;
    char *p;

    if (!size || size % page || !is_power_of_2(align)) {
        errno = EINVAL;
        return NULL;
    }
    extra = align > page ? align - page : 0;
    if (size + extra < size || size + extra > SIZE_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    p = mmap(NULL, size + extra, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    head = -(uintptr_t)p & (align - 1);
    if (head) {
        munmap(p, head);
    }
    if (extra - head) {
        munmap(p + head + size, extra - head);
    }
    return p + head;
}

int sdm_reserve_unmap(void *addr, uint64_t size)
{
    void *p = mmap(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
                   MAP_NORESERVE | MAP_FIXED, -1, 0);

    return p == MAP_FAILED ? -errno : 0;
}

int sdm_reserve_map(void *addr, uint64_t size, int fd, uint64_t offset)
{
    int error;
    void *p;

    p = mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             offset);
    if (p != MAP_FAILED) {
        return 0;
    }
    error = errno;
    /* A late failure leaves a hole where another thread's mmap() could land. */
    sdm_reserve_unmap(addr, size);
    return -error;
}

int sdm_fd_check(int fd, uint64_t size, int seals, uint64_t *page_size)
{
    struct statfs fs;
    struct stat st;
    int have;

    if (fstat(fd, &st) || fstatfs(fd, &fs) || !S_ISREG(st.st_mode)) {
        return -EBADF;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size < size) {
        return -EFBIG;
    }
    if (seals) {
        have = fcntl(fd, F_GET_SEALS);
        if (have < 0 || (have & seals) != seals) {
            return -EPERM;
        }
    }
    if (page_size) {
        *page_size = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize :
                     base_page();
    }
    return 0;
}

/* ---- the region ---- */

static int check_sizes(const struct sdm_region_config *config,
                       const struct source *src, struct sdm_region *region,
                       struct sdm_text *why)
{
    uint64_t page = src->page_size, size = config->size, total = 0;
    struct sdm_text a, b;
    unsigned i, bad = 0;
    int ret;

    if (size > INT64_MAX) {
        return sdm_fail(why, EINVAL, "size=%llu is more than any file holds",
                        (unsigned long long)size);
    }
    if (!size || size % page) {
        return sdm_fail(why, EINVAL, "size=%llu is not a multiple of the page "
                        "size: use %llu (a page has %s)",
                        (unsigned long long)size,
                        (unsigned long long)(size / page + 1) *
                        (unsigned long long)page, sdm_size(&b, page));
    }
    if (!config->nwindows) {
        return 0;
    }
    if (src->file) {
        return sdm_fail(why, EINVAL, "windows= needs a file each, but "
                        "mem-path '%s' names one: give a directory, or leave "
                        "mem-path out", src->file);
    }
    ret = sdm_windows_layout(config->windows, config->nwindows, size, page,
                             region->windows, &bad);
    switch (ret) {
    case 0:
        return 0;
    case -ERANGE:
        return sdm_fail(why, EINVAL, "windows=: window %u of %s is not a "
                        "multiple of the page size %s", bad + 1,
                        sdm_size(&a, config->windows[bad]),
                        sdm_size(&b, page));
    case -EFBIG:
        for (i = 0; i <= bad; i++) {
            total += config->windows[i];
        }
        return sdm_fail(why, EINVAL, "windows=: window %u does not fit: "
                        "windows 1 to %u take %llu bytes of size=%llu, and "
                        "the master needs a page of its own", bad + 1,
                        bad + 1, (unsigned long long)total,
                        (unsigned long long)size);
    default:
        if (config->nwindows > SDM_MAX_SLAVES) {
            return sdm_fail(why, EINVAL, "windows= lists %u windows, the "
                            "limit is %u", config->nwindows, SDM_MAX_SLAVES);
        }
        return sdm_fail(why, EINVAL, "windows=: window %u has size 0",
                        bad + 1);
    }
}

static void lay_out(const struct sdm_region_config *config,
                    struct sdm_region *region)
{
    uint64_t own = config->size;
    unsigned i;

    for (i = 0; i < config->nwindows; i++) {
        own -= region->windows[i].size;
        region->segments[i + 1].offset = region->windows[i].offset;
        region->segments[i + 1].size = region->windows[i].size;
    }
    region->segments[0].offset = 0;
    region->segments[0].size = own;
    region->nwindows = config->nwindows;
    region->nsegments = config->nwindows + 1;
}

/* A tmpfs that is full shows as SIGBUS in the guest: look while one can. */
static int check_space(const char *path, int fd, uint64_t need,
                       struct sdm_text *why)
{
    struct sdm_text a, b;
    struct statfs fs;
    uint64_t avail;

    if (fstatfs(fd, &fs) || !fs.f_blocks) {
        return 0;       /* no limit is known */
    }
    avail = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    if (avail >= need) {
        return 0;
    }
    return sdm_fail(why, ENOSPC, "%s are needed at '%s' and %llu bytes are "
                    "free: make room, enlarge it (mount -o remount,size=%s), "
                    "or choose another mem-path", sdm_size(&a, need), path,
                    (unsigned long long)avail,
                    sdm_size(&b, fs.f_blocks * (uint64_t)fs.f_bsize -
                             avail + need));
}

/* Make the fd of segment @i, with its final size and, if it can be, seals. */
static int make_segment(struct sdm_region *region, unsigned i,
                        const struct source *src, struct kept_file *kept,
                        struct sdm_text *why)
{
    struct sdm_segment *seg = &region->segments[i];
    struct sdm_text size;
    int ret;

    if (seg->fd < 0) {
        seg->fd = open_segment(src, kept, why);
        if (seg->fd < 0) {
            return seg->fd;
        }
    }
    ret = size_segment(seg->fd, seg->size);
    if (!ret && region->sealed && fcntl(seg->fd, F_ADD_SEALS, F_SEAL_SHRINK |
                                        F_SEAL_GROW | F_SEAL_SEAL)) {
        ret = -errno;
    }
    if (ret) {
        return sdm_fail(why, -ret, "cannot give a piece of memory its size "
                        "of %s: %s", sdm_size(&size, seg->size),
                        strerror(-ret));
    }
    return 0;
}

static int map_segments(struct sdm_region *region, struct sdm_text *why)
{
    struct sdm_text size;
    unsigned i;
    int ret;

    region->addr = sdm_reserve(region->size, region->page_size);
    if (!region->addr) {
        ret = errno;
        return sdm_fail(why, ret, "no address space for %s: %s",
                        sdm_size(&size, region->size), strerror(ret));
    }
    for (i = 0; i < region->nsegments; i++) {
        ret = sdm_reserve_map((char *)region->addr +
                              region->segments[i].offset,
                              region->segments[i].size,
                              region->segments[i].fd, 0);
        if (ret) {
            return sdm_fail(why, -ret, "cannot map %s: %s",
                            sdm_size(&size, region->segments[i].size),
                            strerror(-ret));
        }
    }
    return 0;
}

static void undo_kept(const char *path, int fd, const struct kept_file *kept)
{
    if (kept->made) {
        unlink(path);
    } else if (fd >= 0 && ftruncate(fd, kept->old_size)) {
        /* It stays longer than it was; its content is as before. */
        return;
    }
}

int sdm_region_create(struct sdm_region *region,
                      const struct sdm_region_config *config,
                      struct sdm_text *why)
{
    struct kept_file kept = { 0 };
    struct source src = { 0 };
    struct sdm_region r;
    uint64_t need;
    const char *path;
    unsigned i;
    int ret;

    memset(&r, 0, sizeof(r));
    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        r.segments[i].fd = -1;
    }
    ret = find_source(config, &src, why);
    if (ret) {
        return ret;
    }
    path = src.dir ? src.dir : src.file;
    if (path) {
        /* The first fd tells the filesystem, before any size is judged. */
        r.nsegments = 1;
        ret = open_segment(&src, &kept, why);
        if (ret < 0) {
            return ret;
        }
        r.segments[0].fd = ret;
        ret = check_filesystem(path, ret, config->hugetlbsize, &src, why);
    }
    if (!ret) {
        ret = check_sizes(config, &src, &r, why);
    }
    need = config->size > kept.in_use ? config->size - kept.in_use : 0;
    if (!ret && path && !src.hugetlb) {
        ret = check_space(path, r.segments[0].fd, need, why);
    }
    if (!ret) {
        r.size = config->size;
        r.page_size = src.page_size;
        r.sealed = !path;
        lay_out(config, &r);
    }
    for (i = 0; !ret && i < r.nsegments; i++) {
        ret = make_segment(&r, i, &src, &kept, why);
    }
    if (!ret) {
        ret = map_segments(&r, why);
    }
    if (ret) {
        if (src.file) {
            undo_kept(src.file, r.segments[0].fd, &kept);
        }
        sdm_region_destroy(&r);
        /* Only now, with ours given back, do the kernel's counts tell. */
        if (ret == -ENOMEM && src.hugetlb) {
            ret = too_few_pages(src.page_size, need, why);
        }
        return ret;
    }
    *region = r;
    return 0;
}

void sdm_region_destroy(struct sdm_region *region)
{
    unsigned i;

    if (region->addr) {
        munmap(region->addr, region->size);
    }
    for (i = 0; i < region->nsegments; i++) {
        if (region->segments[i].fd >= 0) {
            close(region->segments[i].fd);
        }
    }
    memset(region, 0, sizeof(*region));
}
