/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A memfd of huge pages takes the same seals as one of base pages: it is why
 * memory-backend-shared uses MFD_HUGETLB when no mem-path is given. Needs no
 * huge page: nothing is mapped.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "hugepages.h"

#define SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int main(void)
{
    long page = huge_page_bytes();
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB;
    int fd;

    if (page <= 0) {
        skip_test("this kernel has no huge pages");
    }
    fd = memfd_create("seal", flags | (unsigned)__builtin_ctzl(page) << 26);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, 2 * page) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, SEALS) == 0);
    CHECK(fcntl(fd, F_GET_SEALS) == SEALS);
    CHECK_ERRNO(ftruncate(fd, page), EPERM);
    CHECK_ERRNO(ftruncate(fd, 3 * page), EPERM);
    CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);

    /* The size is in units of the huge page, else the kernel refuses. */
    fd = memfd_create("odd", flags);
    CHECK(fd >= 0);
    CHECK_ERRNO(ftruncate(fd, page + 4096), EINVAL);
    return 0;
}
