/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An empty packet makes recvmsg() return 0, as the end of the connection does,
 * and may carry fds all the same: sdm_socket_recv() closes them.
 */
#include <fcntl.h>
#include "host.h"

int main(void)
{
    int pair[2], fd, got, flags;
    unsigned n;
    char c;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(send_fds(pair[0], NULL, 0, &fd, 1) == 0);
    CHECK(recv_fds(pair[1], &c, 1, &got, 1, &n, &flags) == 0);
    CHECK(n == 1);
    CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC);
    CHECK_ERRNO(recv(pair[1], &c, 1, MSG_DONTWAIT), EAGAIN);
    close(pair[0]);
    CHECK(recv(pair[1], &c, 1, MSG_DONTWAIT) == 0);
    return 0;
}
