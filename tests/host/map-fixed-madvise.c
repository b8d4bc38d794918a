/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MAP_FIXED over reserved address space replaces the mapping with its madvise()
 * state: who maps a window must apply MADV_DONTFORK, MADV_DONTDUMP and the rest
 * again (sdm_reserve_map() does not).
 */
#include <stdint.h>
#include <sys/mman.h>
#include "host.h"

/* Has the mapping at @addr this flag in VmFlags of /proc/self/smaps? */
static int has_flag(void *addr, const char *flag)
{
    unsigned long start, end;
    char line[512];
    int inside = 0, found = -1;
    FILE *f = fopen("/proc/self/smaps", "re");

    CHECK(f);
    while (found < 0 && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            inside = (uintptr_t)addr >= start && (uintptr_t)addr < end;
        } else if (inside && !strncmp(line, "VmFlags:", 8)) {
            found = strstr(line, flag) != NULL;
        }
    }
    fclose(f);
    return found;
}

int main(void)
{
    const size_t size = 1 << 20;
    void *p;
    int fd;

    p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
             MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    if (has_flag(p, " mr") < 0) {
        skip_test("this kernel shows no VmFlags");
    }
    CHECK(madvise(p, size, MADV_DONTFORK) == 0);
    CHECK(madvise(p, size, MADV_DONTDUMP) == 0);
    CHECK(has_flag(p, " dc") == 1);
    CHECK(has_flag(p, " dd") == 1);

    fd = memfd_create("window", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, size) == 0);
    CHECK(mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
               0) == p);
    CHECK(has_flag(p, " dc") == 0);
    CHECK(has_flag(p, " dd") == 0);
    return 0;
}
