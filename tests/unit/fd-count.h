/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fds of a process, counted: what a test leaves open is a leak. */
#ifndef TESTS_FD_COUNT_H
#define TESTS_FD_COUNT_H

#include <dirent.h>

/* Open fds of this process. */
static inline int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (dir && readdir(dir)) {
        n++;
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

#endif /* TESTS_FD_COUNT_H */
