/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a socket file: its mode is the socket's own at bind(); it stays
 * when the owner is gone, and then refuses both connect() (ECONNREFUSED) and
 * bind() (EADDRINUSE). A connect() is never in progress: a full backlog is
 * EAGAIN. sdm_socket_listen() and sdm_socket_connect() rely on all of it.
 */
#include <sys/stat.h>
#include <sys/un.h>
#include "host.h"

#define TYPE  (SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK)
#define BACKLOG  2

static struct sockaddr_un address = { .sun_family = AF_UNIX };

static int make(void)
{
    int fd = socket(AF_UNIX, TYPE, 0);

    CHECK(fd >= 0);
    return fd;
}

static int try_connect(int fd)
{
    return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static int try_bind(int fd)
{
    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

int main(void)
{
    char dir[] = "/tmp/sdm-host-XXXXXX";
    struct stat st;
    int fd, i, stream;

    CHECK(mkdtemp(dir));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
    CHECK_ERRNO(try_connect(make()), ENOENT);

    umask(0);
    fd = make();
    CHECK(fchmod(fd, 0600) == 0);
    CHECK(try_bind(fd) == 0);
    CHECK(stat(address.sun_path, &st) == 0);
    CHECK(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    CHECK_ERRNO(try_connect(make()), ECONNREFUSED);     /* not listening yet */

    CHECK(listen(fd, BACKLOG) == 0);
    stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_ERRNO(try_connect(stream), EPROTOTYPE);
    for (i = 0; i <= BACKLOG; i++) {
        CHECK(try_connect(make()) == 0);
    }
    CHECK_ERRNO(try_connect(make()), EAGAIN);
    close(fd);

    CHECK_ERRNO(try_connect(make()), ECONNREFUSED);
    fd = make();
    CHECK_ERRNO(try_bind(fd), EADDRINUSE);
    CHECK(unlink(address.sun_path) == 0);
    CHECK(try_bind(fd) == 0);
    CHECK(unlink(address.sun_path) == 0);
    CHECK(rmdir(dir) == 0);
    return 0;
}
