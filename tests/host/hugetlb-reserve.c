/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A shared mapping of huge pages without MAP_NORESERVE takes its reservation
 * when it is made: sdm_region_create() relies on it to fail with ENOMEM rather
 * than have a guest die of SIGBUS later. A second mapping of the same file
 * needs no more pages, and they come back when the last holder is killed.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include "hugepages.h"

static int huge_memfd(size_t size)
{
    int fd = memfd_create("reserve", MFD_CLOEXEC | MFD_HUGETLB);

    CHECK(fd >= 0);
    CHECK(ftruncate(fd, size) == 0);
    return fd;
}

static long usable(void)
{
    return meminfo("HugePages_Free") - meminfo("HugePages_Rsvd");
}

int main(void)
{
    long page, before;
    int fd, big, ready[2];
    void *a, *b;
    pid_t pid;
    char c;

    guard_hugepages(4);
    page = huge_page_bytes();
    before = usable();
    CHECK(before >= 4);

    fd = huge_memfd(3 * page);
    CHECK(usable() == before);          /* a file reserves nothing */
    a = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(a != MAP_FAILED);
    CHECK(usable() == before - 3);      /* its mapping does, untouched */
    b = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(b != MAP_FAILED);
    CHECK(usable() == before - 3);      /* once */

    big = huge_memfd((before + 1) * page);
    CHECK(mmap(NULL, (before + 1) * page, PROT_READ | PROT_WRITE, MAP_SHARED,
               big, 0) == MAP_FAILED && errno == ENOMEM);
    close(big);

    /* What another process has mapped lives on without us, ... */
    CHECK(pipe(ready) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        *(volatile char *)a = 1;
        CHECK(write(ready[1], "", 1) == 1);
        pause();
        _exit(0);
    }
    CHECK(read(ready[0], &c, 1) == 1);
    CHECK(munmap(a, 3 * page) == 0 && munmap(b, 3 * page) == 0);
    close(fd);
    CHECK(usable() == before - 3);
    /* ... and comes back when that one is killed. */
    kill_and_reap(pid, SIGKILL);
    CHECK(usable() == before);
    return 0;
}
