/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A receiver that is at its own limit of fds gets the message, those fds that
 * it can still have, and MSG_CTRUNC: sdm_socket_recv() treats it as a message
 * with too many.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include "host.h"

int main(void)
{
    int pair[2], fds[4], pass[4], flags;
    struct rlimit limit, saved;
    unsigned i, n;
    char c;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    for (i = 0; i < 4; i++) {
        pass[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(pass[i] >= 0);
    }
    CHECK(send_fds(pair[0], "x", 1, pass, 4) == 1);
    /* Below the limit exactly two numbers are free. */
    for (i = 0; i < 2; i++) {
        fds[i] = dup(pass[0]);
        CHECK(fds[i] >= 0);
    }
    CHECK(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    limit = saved;
    limit.rlim_cur = fds[1] + 1;
    close(fds[0]);
    close(fds[1]);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(recv_fds(pair[1], &c, 1, fds, 4, &n, &flags) == 1);
    CHECK(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    CHECK(c == 'x');
    CHECK(flags & MSG_CTRUNC);
    CHECK(n == 2);
    return 0;
}
