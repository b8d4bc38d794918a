/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that closes with unread packets of ours makes the next recv() fail
 * with ECONNRESET - once, and ahead of what it had sent before. So the ERROR
 * message behind a refusal is still there: sdm_socket_recv() asks again.
 */
#include "host.h"

int main(void)
{
    int pair[2];
    char buf[16];

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(send(pair[0], "unread", 6, 0) == 6);
    CHECK(send(pair[1], "why", 3, 0) == 3);
    close(pair[1]);
    CHECK_ERRNO(recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT), ECONNRESET);
    CHECK(recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT) == 3);
    CHECK(!memcmp(buf, "why", 3));
    CHECK(recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT) == 0);
    CHECK_ERRNO(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);

    /* Without unread packets it is the plain end, behind what was sent. */
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(send(pair[1], "why", 3, 0) == 3);
    close(pair[1]);
    CHECK(recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT) == 3);
    CHECK(recv(pair[0], buf, sizeof(buf), MSG_DONTWAIT) == 0);
    return 0;
}
