/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flock() ends when its holder is killed, and outlives a parent that forks
 * into the background: sdm_socket_listen() tells a living master by it.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include "host.h"

int main(void)
{
    char name[] = "/tmp/sdm-host-XXXXXX";
    int fd, mine, ready[2];
    pid_t pid;
    char c;

    mine = mkostemp(name, O_CLOEXEC);
    CHECK(mine >= 0);
    CHECK(pipe(ready) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fd = open(name, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
        CHECK(write(ready[1], "", 1) == 1);
        pause();
        _exit(0);
    }
    CHECK(read(ready[0], &c, 1) == 1);
    CHECK_ERRNO(flock(mine, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    kill_and_reap(pid, SIGKILL);
    CHECK(flock(mine, LOCK_EX | LOCK_NB) == 0);

    /* A fork shares the lock: it stays when the parent's fd is closed. */
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        CHECK(write(ready[1], "", 1) == 1);
        pause();
        _exit(0);
    }
    CHECK(read(ready[0], &c, 1) == 1);
    close(mine);
    fd = open(name, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_ERRNO(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    kill_and_reap(pid, SIGKILL);
    CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0);
    CHECK(unlink(name) == 0);
    return 0;
}
