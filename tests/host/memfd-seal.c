/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sealed memfd cannot be truncated by anyone who is handed it, nor can the
 * seals be changed: sdm_region_create() and sdm_memfd() rely on it.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "host.h"

#define SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int main(void)
{
    char path[64];
    char *p;
    int fd, other;

    fd = memfd_create("seal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, 8192) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, SEALS) == 0);

    CHECK_ERRNO(ftruncate(fd, 4096), EPERM);
    CHECK_ERRNO(ftruncate(fd, 16384), EPERM);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    CHECK_ERRNO(fallocate(fd, 0, 0, 16384), EPERM);

    /* Another open file description of it is bound as well. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    other = open(path, O_RDWR | O_CLOEXEC);
    CHECK(other >= 0);
    CHECK_ERRNO(ftruncate(other, 0), EPERM);
    CHECK_ERRNO(open(path, O_RDWR | O_TRUNC | O_CLOEXEC), EPERM);
    CHECK(fcntl(other, F_GET_SEALS) == SEALS);

    /* Writing and mapping go on. */
    p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    CHECK(p != MAP_FAILED);
    p[8191] = 'x';
    CHECK(pread(fd, path, 1, 8191) == 1 && path[0] == 'x');

    /* Write seals are refused while a writable mapping lives. */
    fd = memfd_create("busy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, 4096) == 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    CHECK(munmap(p, 4096) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
          MAP_FAILED && errno == EPERM);
    return 0;
}
