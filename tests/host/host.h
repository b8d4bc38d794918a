/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs of this folder share. Each shows one kernel behaviour that
 * the project relies on; its first comment says who relies on it. Exit status:
 * 0 the kernel behaves so, 1 it does not, 77 it could not be tried here.
 */
#ifndef TESTS_HOST_H
#define TESTS_HOST_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIP_STATUS  77

/* The test fails unless @cond holds; errno is that of the call in it. */
#define CHECK(cond)                                                     \
    do {                                                                \
        if (!(cond)) {                                                  \
            fprintf(stderr, "%s:%d: not so: %s (errno: %s)\n", __FILE__, \
                    __LINE__, #cond, strerror(errno));                  \
            exit(1);                                                    \
        }                                                               \
    } while (0)

/* The call must fail, and with this errno. */
#define CHECK_ERRNO(call, error)                                        \
    do {                                                                \
        errno = 0;                                                      \
        CHECK((call) == -1 && errno == (error));                        \
    } while (0)

static inline void skip_test(const char *reason)
{
    printf("skipped: %s\n", reason);
    exit(SKIP_STATUS);
}

static inline void kill_and_reap(pid_t pid, int signal)
{
    int status;

    CHECK(kill(pid, signal) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signal);
}

/* Send @n fds with @len bytes of @buf; returns what sendmsg() returns. */
static inline ssize_t send_fds(int sock, const void *buf, size_t len,
                               const int *fds, unsigned n)
{
    char control[CMSG_SPACE(32 * sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
        .msg_controllen = CMSG_SPACE(n * sizeof(int)),
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    CHECK(n <= 32);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
    return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * Receive with room for @room fds; @n is how many came, @flags are msg_flags.
 * Returns what recvmsg() returns.
 */
static inline ssize_t recv_fds(int sock, void *buf, size_t len, int *fds,
                               unsigned room, unsigned *n, int *flags)
{
    char control[CMSG_SPACE(32 * sizeof(int))];
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
        .msg_controllen = CMSG_SPACE(room * sizeof(int)),
    };
    struct cmsghdr *cmsg;
    ssize_t ret;

    ret = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *n = 0;
    *flags = msg.msg_flags;
    if (ret < 0) {
        return ret;
    }
    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        CHECK(cmsg->cmsg_level == SOL_SOCKET);
        CHECK(cmsg->cmsg_type == SCM_RIGHTS);
        CHECK(*n == 0);
        *n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(cmsg), *n * sizeof(int));
    }
    return ret;
}

#endif /* TESTS_HOST_H */
