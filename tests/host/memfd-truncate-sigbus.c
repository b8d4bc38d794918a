/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whoever maps a memfd that is not sealed is killed when another truncates it.
 * It is why sdm_fd_check() asks for seals and the docs call a peer that is
 * handed a file under mem-path trusted.
 */
#include <sys/mman.h>
#include "host.h"

int main(void)
{
    volatile char *p;
    int fd, status;
    pid_t pid;

    fd = memfd_create("truncate", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, 4096) == 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    p[0] = 1;
    CHECK(ftruncate(fd, 0) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGBUS, SIG_DFL);
        _exit(p[0]);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    return 0;
}
