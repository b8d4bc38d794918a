/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: a lock file beside the socket decides who is the master,
 * because a socket file says nothing about the life of its owner, and bind()
 * refuses a path that a killed master has left. flock() ends with the process
 * however that ends, and stays with a master that forks into the background.
 * Rejected: fcntl() locks (gone after that fork), and deciding by connect()
 * alone (two masters that start at once would both unlink and bind).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "backends/sdm-fail.h"
#include "backends/sdm-socket.h"

#define SOCKET_TYPE  (SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC)
#define PATH_BYTES   sizeof(((struct sockaddr_un *)0)->sun_path)
#define LOCK_SUFFIX  ".lock"

union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(SDM_WIRE_MAX_FDS * sizeof(int))];
};

static int make_address(struct sockaddr_un *address, const char *path,
                        struct sdm_text *why)
{
    size_t len = strlen(path);

    if (!len) {
        return sdm_fail(why, EINVAL, "the socket path is empty: give a file "
                        "name");
    }
    if (len >= PATH_BYTES) {
        return sdm_fail(why, ENAMETOOLONG, "the socket path has %zu bytes, "
                        "the limit is %zu: use a shorter one, or start in its "
                        "directory and give a relative one: '%s'", len,
                        PATH_BYTES - 1, path);
    }
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, len);
    return 0;
}

static void lock_name(const char *path, char *name, size_t size)
{
    snprintf(name, size, "%s" LOCK_SUFFIX, path);
}

/* 1 while the name still leads to the file that we hold the lock on. */
static int lock_is_current(const char *name, int lock_fd)
{
    struct stat named, held;

    return !lstat(name, &named) && !fstat(lock_fd, &held) &&
           named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

static int take_lock(const char *path, struct sdm_text *why)
{
    char name[PATH_BYTES + sizeof(LOCK_SUFFIX)];
    int fd, error;

    lock_name(path, name, sizeof(name));
    for (;;) {
        fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            error = errno;
            return sdm_fail(why, error, "cannot open the lock file '%s': %s; "
                            "the socket's directory must exist and be "
                            "writable", name, strerror(error));
        }
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            error = errno;
            close(fd);
            if (error == EWOULDBLOCK) {
                return sdm_fail(why, EADDRINUSE, "another master listens at "
                                "'%s': stop it, or choose another path", path);
            }
            return sdm_fail(why, error, "cannot lock '%s': %s", name,
                            strerror(error));
        }
        /* A master that was leaving may have unlinked it under our hands. */
        if (lock_is_current(name, fd)) {
            return fd;
        }
        close(fd);
    }
}

/* Remove what a killed master has left, and nothing else. */
static int clear_path(const struct sockaddr_un *address, struct sdm_text *why)
{
    const char *path = address->sun_path;
    struct stat st;
    int fd, error;

    if (lstat(path, &st)) {
        error = errno;
        if (error == ENOENT) {
            return 0;
        }
        return sdm_fail(why, error, "cannot look at '%s': %s", path,
                        strerror(error));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return sdm_fail(why, EEXIST, "'%s' exists and is no socket: remove "
                        "it, or choose another path", path);
    }
    /* Another program's socket has no lock of ours: ask whether it lives. */
    fd = socket(AF_UNIX, SOCKET_TYPE, 0);
    if (fd < 0) {
        error = errno;
        return sdm_fail(why, error, "cannot make a socket: %s",
                        strerror(error));
    }
    error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ?
            errno : 0;
    close(fd);
    if (error != ECONNREFUSED) {
        return sdm_fail(why, EADDRINUSE, "another program listens at '%s': "
                        "stop it, or choose another path", path);
    }
    if (unlink(path) && errno != ENOENT) {
        error = errno;
        return sdm_fail(why, error, "cannot remove the stale socket '%s': %s",
                        path, strerror(error));
    }
    return 0;
}

static int bind_and_listen(const struct sockaddr_un *address,
                           struct sdm_text *why)
{
    int fd, error;

    fd = socket(AF_UNIX, SOCKET_TYPE, 0);
    if (fd < 0) {
        error = errno;
        return sdm_fail(why, error, "cannot make a socket: %s",
                        strerror(error));
    }
    /* The file gets the socket's mode; umask() would hit all threads. */
    if (fchmod(fd, 0600) ||
        bind(fd, (const struct sockaddr *)address, sizeof(*address))) {
        error = errno;
        close(fd);
        return sdm_fail(why, error, "cannot bind a socket to '%s': %s",
                        address->sun_path, strerror(error));
    }
    if (listen(fd, SDM_MAX_SLAVES)) {
        error = errno;
        unlink(address->sun_path);
        close(fd);
        return sdm_fail(why, error, "cannot listen at '%s': %s",
                        address->sun_path, strerror(error));
    }
    return fd;
}

int sdm_socket_listen(const char *path, int *lock_fd, struct sdm_text *why)
{
    char name[PATH_BYTES + sizeof(LOCK_SUFFIX)];
    struct sockaddr_un address;
    int fd, lock;

    fd = make_address(&address, path, why);
    if (fd < 0) {
        return fd;
    }
    lock = take_lock(path, why);
    if (lock < 0) {
        return lock;
    }
    fd = clear_path(&address, why);
    if (!fd) {
        fd = bind_and_listen(&address, why);
    }
    if (fd < 0) {
        lock_name(path, name, sizeof(name));
        unlink(name);
        close(lock);
        return fd;
    }
    *lock_fd = lock;
    return fd;
}

void sdm_socket_unlisten(const char *path, int fd, int lock_fd)
{
    char name[PATH_BYTES + sizeof(LOCK_SUFFIX)];

    lock_name(path, name, sizeof(name));
    /* Whoever took the names away from us may have given them to another. */
    if (lock_is_current(name, lock_fd)) {
        unlink(path);
        unlink(name);
    }
    close(fd);
    close(lock_fd);
}

static int check_credentials(int fd, pid_t *pid, uid_t *uid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
        return -errno;
    }
    *pid = cred.pid;
    *uid = cred.uid;
    return cred.uid == geteuid() || cred.uid == 0 ? 0 : -EACCES;
}

int sdm_socket_accept(int listen_fd, pid_t *pid, struct sdm_text *why)
{
    pid_t peer = 0;
    uid_t uid = 0;
    int fd, ret;

    do {
        fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0) {
        ret = errno;
        return sdm_fail(why, ret, "cannot accept a connection: %s",
                        strerror(ret));
    }
    ret = check_credentials(fd, &peer, &uid);
    if (ret) {
        close(fd);
        return sdm_fail(why, -ret, "process %d of uid %u was refused: run it "
                        "as uid %u or as root", (int)peer, (unsigned)uid,
                        (unsigned)geteuid());
    }
    *pid = peer;
    return fd;
}

static int connect_failed(const char *path, int error, struct sdm_text *why)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return sdm_fail(why, error, "no master at '%s': start one that "
                        "listens there", path);
    case EAGAIN:
        return sdm_fail(why, error, "the master at '%s' does not accept "
                        "connections fast enough: try again", path);
    case EPROTOTYPE:
        return sdm_fail(why, error, "'%s' is a socket of another program: "
                        "give the path of a master's multi-socket-backend",
                        path);
    default:
        return sdm_fail(why, error, "cannot connect to '%s': %s", path,
                        strerror(error));
    }
}

int sdm_socket_connect(const char *path, struct sdm_text *why)
{
    struct sockaddr_un address;
    pid_t pid = 0;
    uid_t uid = 0;
    int fd, ret;

    ret = make_address(&address, path, why);
    if (ret) {
        return ret;
    }
    fd = socket(AF_UNIX, SOCKET_TYPE, 0);
    if (fd < 0) {
        ret = errno;
        return sdm_fail(why, ret, "cannot make a socket: %s", strerror(ret));
    }
    /* Never in progress: a local connect succeeds or fails at once. */
    do {
        ret = connect(fd, (struct sockaddr *)&address, sizeof(address)) ?
              errno : 0;
    } while (ret == EINTR);
    if (ret) {
        close(fd);
        return connect_failed(path, ret, why);
    }
    ret = check_credentials(fd, &pid, &uid);
    if (ret) {
        close(fd);
        return sdm_fail(why, -ret, "the master at '%s' runs as uid %u: only "
                        "one of uid %u or of root is trusted", path,
                        (unsigned)uid, (unsigned)geteuid());
    }
    return fd;
}

int sdm_socket_send(int fd, const void *buf, size_t len, const int *fds,
                    unsigned nfds)
{
    union fd_control control;
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct cmsghdr *cmsg;
    int pass[SDM_WIRE_MAX_FDS];
    unsigned i, n = 0;
    ssize_t sent;

    if (!len || len > SDM_WIRE_MAX) {
        return -EMSGSIZE;
    }
    for (i = 0; i < nfds; i++) {
        if (fds[i] < 0) {
            continue;
        }
        if (n == SDM_WIRE_MAX_FDS) {
            return -EINVAL;
        }
        pass[n++] = fds[i];
    }
    if (n) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(cmsg), pass, n * sizeof(int));
    }
    do {
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

static void close_all(const int *fds, unsigned n)
{
    while (n--) {
        close(fds[n]);
    }
}

/* Every fd of the message is ours already: it goes to @fds or is closed. */
static unsigned collect_fds(struct msghdr *msg, int *fds)
{
    struct cmsghdr *cmsg;
    unsigned n = 0;
    size_t i, count;
    int fd;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (i = 0; i < count; i++) {
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (n < SDM_WIRE_MAX_FDS) {
                fds[n++] = fd;
            } else {
                close(fd);
            }
        }
    }
    return n;
}

ssize_t sdm_socket_recv(int fd, void *buf, int *fds, unsigned *nfds)
{
    union fd_control control;
    struct iovec iov = { .iov_base = buf, .iov_len = SDM_WIRE_MAX };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    unsigned n;
    ssize_t len;

    *nfds = 0;
    /*
     * A peer that closed with packets of ours unread is reported by one
     * ECONNRESET, ahead of what it had sent: why it closed may be there.
     */
    do {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (len < 0 && (errno == EINTR || errno == ECONNRESET));
    if (len < 0) {
        return -errno;
    }
    n = collect_fds(&msg, fds);
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        close_all(fds, n);
        return -EMSGSIZE;
    }
    /* An empty packet looks like the end, but may carry fds. */
    if (len == 0) {
        close_all(fds, n);
        return 0;
    }
    *nfds = n;
    return len;
}
