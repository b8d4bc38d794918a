/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SO_PEERCRED: the accepting side sees who called connect(), the connecting
 * side who called listen(), as they were then and after they are gone. Both
 * ends of the control socket check the uid so, and the pid is shown to users.
 */
#include <sys/un.h>
#include "host.h"

static struct ucred peer_of(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0);
    return cred;
}

int main(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char dir[] = "/tmp/sdm-host-XXXXXX";
    int fd, conn, status;
    pid_t pid;

    CHECK(mkdtemp(dir));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(fd, 1) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        conn = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        CHECK(connect(conn, (struct sockaddr *)&address,
                      sizeof(address)) == 0);
        CHECK(peer_of(conn).pid == getppid());
        CHECK(peer_of(conn).uid == geteuid());
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    conn = accept(fd, NULL, NULL);
    CHECK(conn >= 0);
    CHECK(peer_of(conn).pid == pid);
    CHECK(peer_of(conn).uid == geteuid());
    CHECK(unlink(address.sun_path) == 0);
    CHECK(rmdir(dir) == 0);
    return 0;
}
