/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file on a mounted hugetlbfs, and one on tmpfs, cannot be sealed: only a
 * memfd can. So a region under mem-path is never marked as sealed.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include "host.h"

static void try_filesystem(const char *type)
{
    char dir[] = "/tmp/sdm-host-XXXXXX";
    char file[64];
    int fd;

    CHECK(mkdtemp(dir));
    if (mount("none", dir, type, 0, NULL)) {
        rmdir(dir);
        skip_test("cannot mount hugetlbfs here");
    }
    snprintf(file, sizeof(file), "%s/file", dir);
    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GET_SEALS) == F_SEAL_SEAL);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
    close(fd);
    CHECK(umount(dir) == 0);
    CHECK(rmdir(dir) == 0);
}

int main(void)
{
    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        skip_test("mounting needs root");
    }
    try_filesystem("hugetlbfs");
    try_filesystem("tmpfs");
    return 0;
}
