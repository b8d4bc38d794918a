/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet of 4 KiB (SDM_WIRE_MAX) passes under default limits, one of 1 MiB
 * (a device tree as QEMU makes it) does not: it travels as a memfd. A longer
 * packet than the buffer is cut with MSG_TRUNC, and its rest is gone. A peer
 * that does not read costs its sender an EAGAIN, not a wait.
 */
#include "host.h"

int main(void)
{
    static char big[1 << 20];
    char buf[16];
    int pair[2], flags, fd;
    unsigned n, sent = 0;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK_ERRNO(send(pair[0], big, sizeof(big), MSG_DONTWAIT), EMSGSIZE);
    CHECK(send(pair[0], big, 4096, MSG_DONTWAIT) == 4096);
    CHECK(send(pair[0], "next", 4, MSG_DONTWAIT) == 4);

    CHECK(recv_fds(pair[1], buf, sizeof(buf), &fd, 1, &n, &flags) ==
          sizeof(buf));
    CHECK(flags & MSG_TRUNC);
    CHECK(recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) == 4);
    CHECK(!memcmp(buf, "next", 4));

    while (send(pair[0], big, 4096, MSG_DONTWAIT) == 4096) {
        CHECK(++sent < 1000000);
    }
    CHECK(errno == EAGAIN);
    CHECK(sent >= 4);   /* room for a handshake and a request at least */
    return 0;
}
