/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/sdm-kick.h"

int sdm_kick_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}

/* 1 if @fd is an eventfd: the only other thing that older masters send. */
static int is_eventfd(int fd)
{
    char link[32], target[32] = "";

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof(target) - 1) < 0) {
        return 0;
    }
    return !strcmp(target, "anon_inode:[eventfd]");
}

int sdm_kick_adopt(int fd, int write)
{
    char link[32];
    struct stat st;
    int own;

    if (fstat(fd, &st) < 0 || (!S_ISFIFO(st.st_mode) && !is_eventfd(fd))) {
        close(fd);
        return -EPROTO;
    }
    if (!S_ISFIFO(st.st_mode)) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    own = open(link, (write ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
    if (own < 0) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
    }
    close(fd);
    return own;
}

void sdm_kick(int fd)
{
    /* 8 bytes, as an eventfd wants them. A full pipe has woken its reader. */
    const uint64_t one = 1;

    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void sdm_kick_clear(int fd)
{
    char buf[4096];

    /* Once: what is left makes the fd readable again; no peer can hold us. */
    while (read(fd, buf, sizeof(buf)) < 0 && errno == EINTR) {
    }
}
