/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file that is truncated takes its pages, those that were written to as well,
 * out of a private mapping. Who touches one gets SIGBUS with BUS_ADRERR and its
 * address; a handler may map a page of zeros there and return, and the access
 * succeeds. In a system call it is EFAULT. backends/sdm-filemap-qemu.c relies on
 * it, for flash and boot images.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include "host.h"

#define PAGES 4

static size_t page;
static volatile sig_atomic_t hits;
static char *volatile hit;

static void handler(int sig, siginfo_t *info, void *context)
{
    char *addr = (char *)((uintptr_t)info->si_addr & ~(page - 1));

    (void)sig;
    (void)context;
    hits++;
    hit = info->si_addr;
    if (info->si_code != BUS_ADRERR ||
        mmap(addr, page, PROT_READ | PROT_WRITE,
             MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) {
        _exit(1);
    }
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = handler,
                                .sa_flags = SA_SIGINFO };
    FILE *file = tmpfile();
    volatile char *p;
    unsigned i;
    int fd, null;

    page = sysconf(_SC_PAGESIZE);
    CHECK(file);
    fd = fileno(file);
    CHECK(ftruncate(fd, PAGES * page) == 0);
    for (i = 0; i < PAGES; i++) {
        CHECK(pwrite(fd, "x", 1, i * page) == 1);
    }
    p = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    p[page] = 'y';
    CHECK(ftruncate(fd, page) == 0);

    CHECK(p[0] == 'x' && hits == 0);
    CHECK(p[page] == 0 && hits == 1 && hit == p + page);
    p[2 * page + 5] = 'z';
    CHECK(p[2 * page + 5] == 'z' && p[2 * page] == 0 && hits == 2);

    null = open("/dev/zero", O_RDONLY);
    CHECK(null >= 0);
    CHECK_ERRNO(read(null, (char *)p + 3 * page, 1), EFAULT);
    CHECK(hits == 2);
    return 0;
}
