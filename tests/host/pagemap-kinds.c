/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /proc/self/pagemap tells, of each page, without privileges: is it there, is
 * it a file's, has it one mapping only. sdm_memory_usage() relies on it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include "host.h"

#define THERE (1ull << 63)
#define FILE_ (1ull << 61)
#define ALONE (1ull << 56)

static size_t page;

static uint64_t kind(const volatile char *p)
{
    uint64_t entry;
    int fd = open("/proc/self/pagemap", O_RDONLY);

    CHECK(fd >= 0);
    CHECK(pread(fd, &entry, sizeof(entry),
                (uintptr_t)p / page * sizeof(entry)) == sizeof(entry));
    close(fd);
    return entry & (THERE | FILE_ | ALONE);
}

int main(void)
{
    FILE *file = tmpfile();
    volatile char *p, *q;
    int fd;

    page = sysconf(_SC_PAGESIZE);
    CHECK(file);
    fd = fileno(file);
    CHECK(ftruncate(fd, page) == 0 && pwrite(fd, "x", 1, 0) == 1);
    p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    q = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
    CHECK(p != MAP_FAILED && q != MAP_FAILED);

    CHECK(kind(p) == 0);
    CHECK(p[0] == 'x');
    CHECK((kind(p) & (THERE | FILE_)) == (THERE | FILE_));
    p[0] = 'y';
    CHECK(kind(p) == (THERE | ALONE));

    CHECK(kind(q) == 0);
    CHECK(q[0] == 0);                   /* the page of zeros, nobody's own */
    CHECK(kind(q) == THERE);
    q[0] = 1;
    CHECK(kind(q) == (THERE | ALONE));
    return 0;
}
