/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * More fds than the receiver has room for: as many as fit arrive, in order and
 * close-on-exec, MSG_CTRUNC is set, and the kernel drops the rest itself. So
 * sdm_socket_recv() must close what came, and leaks nothing by it.
 */
#include <fcntl.h>
#include <poll.h>
#include "host.h"

#define SENT  6
#define ROOM  4

static int hung_up(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    CHECK(poll(&p, 1, 0) >= 0);
    return !!(p.revents & POLLHUP);
}

int main(void)
{
    int pair[2], ends[SENT][2], fds[ROOM], flags;
    int pass[SENT];
    unsigned i, n;
    char c;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    for (i = 0; i < SENT; i++) {
        CHECK(pipe2(ends[i], O_CLOEXEC) == 0);
        pass[i] = ends[i][1];
    }
    CHECK(send_fds(pair[0], "x", 1, pass, SENT) == 1);
    for (i = 0; i < SENT; i++) {
        close(ends[i][1]);
        CHECK(!hung_up(ends[i][0]));    /* in flight they are open */
    }
    CHECK(recv_fds(pair[1], &c, 1, fds, ROOM, &n, &flags) == 1);
    CHECK(flags & MSG_CTRUNC);
    CHECK(n == ROOM);
    for (i = 0; i < SENT; i++) {
        CHECK(hung_up(ends[i][0]) == (i >= ROOM));
    }
    for (i = 0; i < ROOM; i++) {
        CHECK(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
        close(fds[i]);
        CHECK(hung_up(ends[i][0]));
    }
    return 0;
}
