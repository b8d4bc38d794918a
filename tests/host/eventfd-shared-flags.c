/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kicks add up in an eventfd and one read takes them all: who is kicked must
 * drain its ring. A counter at its top makes a kick fail with EAGAIN, and no
 * wake-up is lost by that. But O_NONBLOCK belongs to the open file that both
 * sides share: the peer can take it away, so who kicks looks at it first.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include "host.h"

int main(void)
{
    int pair[2], fd, theirs, flags;
    uint64_t v = 1;
    unsigned n;
    char c;

    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, &v, sizeof(v)), EAGAIN);
    CHECK(write(fd, &v, sizeof(v)) == sizeof(v));
    CHECK(write(fd, &v, sizeof(v)) == sizeof(v));
    CHECK(read(fd, &v, sizeof(v)) == sizeof(v) && v == 2);

    v = UINT64_MAX - 1;
    CHECK(write(fd, &v, sizeof(v)) == sizeof(v));
    v = 1;
    CHECK_ERRNO(write(fd, &v, sizeof(v)), EAGAIN);
    CHECK(read(fd, &v, sizeof(v)) == sizeof(v) && v == UINT64_MAX - 1);

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(send_fds(pair[0], "x", 1, &fd, 1) == 1);
    CHECK(recv_fds(pair[1], &c, 1, &theirs, 1, &n, &flags) == 1 && n == 1);
    CHECK(fcntl(theirs, F_SETFL, 0) == 0);
    CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    return 0;
}
