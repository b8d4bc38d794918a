/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * join --fault: a peer that does what none may do, to see that a master refuses
 * it, says why, and goes on. Blocking and by hand: nothing of the code that
 * keeps a peer honest is in the way. Ends when the master closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backends/sdm-socket.h"
#include "sdm/ring.h"
#include "tools/sdmctl.h"

/**
 * struct attack - one run
 * @fds: from WELCOME, by the number of their SDM_WIRE_FD_* bit; -1: none
 */
struct attack {
    struct sdmctl *ctl;
    const struct sdm_msg *hello;
    int sock;
    struct sdm_msg last;
    int fds[SDM_WIRE_MAX_FDS];
};

static void print_bytes(struct attack *a, const char *event, const char *what,
                        uint64_t bytes)
{
    struct sdmctl_line line;

    sdmctl_line_begin(&line, a->ctl, event);
    sdmctl_line_string(&line, "what", what);
    sdmctl_line_number(&line, "bytes", bytes);
    sdmctl_line_end(&line);
}

static gboolean is_closed(GError **error)
{
    g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                "the master closed the connection without a word");
    return FALSE;
}

/* Send as it is; @fd goes along @nfds times. */
static gboolean send_raw(struct attack *a, const char *what, const void *buf,
                         size_t len, int fd, unsigned nfds, GError **error)
{
    char control[CMSG_SPACE(16 * sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct cmsghdr *cmsg;
    unsigned i;

    if (nfds) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        for (i = 0; i < nfds; i++) {
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(fd));
        }
    }
    if (sendmsg(a->sock, &msg, MSG_NOSIGNAL) < 0) {
        return is_closed(error);
    }
    print_bytes(a, "sent", what, len);
    return TRUE;
}

static gboolean send_msg(struct attack *a, const char *what,
                         const struct sdm_msg *msg, GError **error)
{
    char buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(msg, buf);

    return send_raw(a, what, buf, len, -1, 0, error);
}

static void wait_for(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };

    while (poll(&p, 1, -1) < 0 && errno == EINTR) {
    }
}

/* The next message into a->last, its fds into a->fds. */
static gboolean receive(struct attack *a, GError **error)
{
    int fds[SDM_WIRE_MAX_FDS];
    char buf[SDM_WIRE_MAX];
    struct sdmctl_line line;
    unsigned i, n = 0, nfds;
    ssize_t len;

    wait_for(a->sock, POLLIN);
    len = sdm_socket_recv(a->sock, buf, fds, &nfds);
    if (len <= 0) {
        return is_closed(error);
    }
    if (sdm_msg_decode(&a->last, buf, len, nfds)) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the master sent a malformed message");
        return FALSE;
    }
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        if (a->last.type == SDM_WIRE_WELCOME &&
            a->last.u.welcome.fds & (1u << i)) {
            a->fds[i] = fds[n++];
        }
    }
    sdmctl_line_begin(&line, a->ctl, "received");
    sdmctl_line_number(&line, "type", a->last.type);
    sdmctl_line_end(&line);
    if (a->last.type == SDM_WIRE_ERROR) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the master at '%s' refused: %s", a->ctl->path,
                    a->last.u.answer.text);
        return FALSE;
    }
    return TRUE;
}

/* Listen until the master has had enough. */
static gboolean receive_all(struct attack *a, GError **error)
{
    while (receive(a, error)) {
    }
    return FALSE;
}

static gboolean receive_until(struct attack *a, uint16_t type, GError **error)
{
    do {
        if (!receive(a, error)) {
            return FALSE;
        }
    } while (a->last.type != type);
    return TRUE;
}

static gboolean handshake(struct attack *a, GError **error)
{
    return send_msg(a, "HELLO", a->hello, error) &&
           receive_until(a, SDM_WIRE_WELCOME, error);
}

/* ------------------------------------------------------------------- faults */

static gboolean garbage(struct attack *a, GError **error)
{
    char buf[80];

    memset(buf, 0xa5, sizeof(buf));
    return send_raw(a, "garbage", buf, sizeof(buf), -1, 0, error) &&
           receive_all(a, error);
}

static gboolean half_a_message(struct attack *a, GError **error)
{
    char buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(a->hello, buf);

    return send_raw(a, "half a HELLO", buf, len / 2, -1, 0, error) &&
           receive_all(a, error);
}

static gboolean too_long(struct attack *a, GError **error)
{
    static char buf[2 * SDM_WIRE_MAX];

    sdm_msg_encode(a->hello, buf);
    return send_raw(a, "a message too long", buf, sizeof(buf), -1, 0, error) &&
           receive_all(a, error);
}

static gboolean empty(struct attack *a, GError **error)
{
    return send_raw(a, "an empty packet", NULL, 0, a->sock, 1, error) &&
           receive_all(a, error);
}

static gboolean fds(struct attack *a, GError **error)
{
    char buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(a->hello, buf);

    return send_raw(a, "HELLO with an fd", buf, len, a->sock, 1, error) &&
           receive_all(a, error);
}

static gboolean many_fds(struct attack *a, GError **error)
{
    char buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(a->hello, buf);

    return send_raw(a, "HELLO with 16 fds", buf, len, a->sock, 16, error) &&
           receive_all(a, error);
}

static gboolean version(struct attack *a, GError **error)
{
    struct sdm_msg hello = *a->hello;

    hello.u.hello.version_min = SDM_WIRE_VERSION_MAX + 1;
    hello.u.hello.version_max = SDM_WIRE_VERSION_MAX + 2;
    return send_msg(a, "HELLO of another version", &hello, error) &&
           receive_all(a, error);
}

static gboolean is_silent(struct attack *a, GError **error)
{
    return receive_all(a, error);
}

static gboolean no_fd(struct attack *a, GError **error)
{
    char buf[SDM_WIRE_MAX];
    struct sdm_msg msg;
    int len;

    if (!handshake(a, error) ||
        !receive_until(a, SDM_WIRE_GET_DTB, error)) {
        return FALSE;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_DTB;
    msg.seq = a->last.seq;
    msg.u.dtb.size = 4096;
    len = sdm_msg_encode(&msg, buf);
    return send_raw(a, "DTB without its fd", buf, len, -1, 0, error) &&
           receive_all(a, error);
}

static gboolean no_answer(struct attack *a, GError **error)
{
    return handshake(a, error) && receive_all(a, error);
}

static gboolean wrong_answer(struct attack *a, GError **error)
{
    struct sdm_msg msg;

    if (!handshake(a, error)) {
        return FALSE;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_ANSWER;
    msg.seq = 12345;
    return send_msg(a, "ANSWER to nothing", &msg, error) &&
           receive_all(a, error);
}

static gboolean wrong_state(struct attack *a, GError **error)
{
    struct sdm_msg msg;

    if (!handshake(a, error)) {
        return FALSE;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_STATE;
    msg.u.state.state = SDM_STATE_BOOTING;
    return send_msg(a, "STATE booting, which is the master's to say", &msg,
                    error) &&
           receive_all(a, error);
}

static gboolean second_hello(struct attack *a, GError **error)
{
    return handshake(a, error) &&
           send_msg(a, "a second HELLO", a->hello, error) &&
           receive_all(a, error);
}

static gboolean stop_reading(struct attack *a, GError **error)
{
    if (!handshake(a, error)) {
        return FALSE;
    }
    print_bytes(a, "deaf", "nothing is read any more", 0);
    wait_for(a->sock, 0);       /* until it is closed */
    return is_closed(error);
}

static gboolean flood(struct attack *a, GError **error)
{
    struct sdm_msg msg;
    char buf[SDM_WIRE_MAX];
    uint64_t n = 0;
    int len, ret;

    if (!handshake(a, error)) {
        return FALSE;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_STATE;
    msg.u.state.state = SDM_STATE_WAITING;
    len = sdm_msg_encode(&msg, buf);
    print_bytes(a, "flood", "STATE waiting, without end", len);
    for (;;) {
        ret = sdm_socket_send(a->sock, buf, len, NULL, 0);
        if (ret == -EAGAIN) {
            wait_for(a->sock, POLLOUT);
        } else if (ret) {
            break;
        }
        n++;
    }
    print_bytes(a, "sent", "flood", n * len);
    return receive_all(a, error);
}

/* Indexes that no ring can have, and a kick. */
static gboolean break_ring(struct attack *a, GError **error)
{
    const uint64_t one = 1;
    struct sdm_ring_pair *pair;
    unsigned i;

    if (!handshake(a, error)) {
        return FALSE;
    }
    pair = mmap(NULL, SDM_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                a->fds[1], 0);
    if (pair == MAP_FAILED) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "cannot map the ring: %s", g_strerror(errno));
        return FALSE;
    }
    for (i = 0; i < 2; i++) {
        pair->ring[i].head = sdm_to_le32(0x80000000u);
        pair->ring[i].tail = sdm_to_le32(0x40000000u);
    }
    munmap(pair, SDM_RING_BYTES);
    if (write(a->fds[3], &one, sizeof(one)) != sizeof(one)) {
        return is_closed(error);
    }
    print_bytes(a, "sent", "impossible ring indexes", SDM_RING_BYTES);
    return receive_all(a, error);
}

/*
 * Both eventfds full and blocking: flags and counter are shared with the
 * master, which must neither wait to kick us nor wait for our kick.
 */
static gboolean jam(struct attack *a, GError **error)
{
    const uint64_t top = UINT64_MAX - 1;
    int i;

    if (!handshake(a, error)) {
        return FALSE;
    }
    for (i = 2; i < 4; i++) {
        if (write(a->fds[i], &top, sizeof(top)) < 0 ||
            fcntl(a->fds[i], F_SETFL, 0)) {
            g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                        "cannot jam the eventfds: %s", g_strerror(errno));
            return FALSE;
        }
    }
    print_bytes(a, "jammed", "both eventfds", 0);
    return receive_all(a, error);
}

/* Take away what was lent: TRUE if the kernel denies it all. */
static gboolean truncate_all(struct attack *a, GError **error)
{
    static const char *const names[] = { "memory", "ring" };
    struct sdmctl_line line;
    gboolean denied = TRUE;
    int i, ret;

    if (!handshake(a, error)) {
        return FALSE;
    }
    for (i = 0; i < 2; i++) {
        ret = ftruncate(a->fds[i], 0) ? errno : 0;
        sdmctl_line_begin(&line, a->ctl, "truncate");
        sdmctl_line_string(&line, "what", names[i]);
        sdmctl_line_string(&line, "result", ret ? g_strerror(ret) : "done");
        sdmctl_line_end(&line);
        denied = denied && ret == EPERM;
    }
    if (!denied) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the master's memory is not sealed");
    }
    return denied;
}

static const struct {
    const char *name;
    gboolean (*run)(struct attack *a, GError **error);
} faults[] = {
    { "garbage", garbage },
    { "short", half_a_message },
    { "long", too_long },
    { "empty", empty },
    { "fds", fds },
    { "many-fds", many_fds },
    { "version", version },
    { "silent", is_silent },
    { "second-hello", second_hello },
    { "nofd", no_fd },
    { "no-answer", no_answer },
    { "wrong-answer", wrong_answer },
    { "wrong-state", wrong_state },
    { "stop-reading", stop_reading },
    { "flood", flood },
    { "ring", break_ring },
    { "jam", jam },
    { "truncate", truncate_all },
};

const char *sdmctl_fault_name(unsigned i)
{
    return i < G_N_ELEMENTS(faults) ? faults[i].name : NULL;
}

gboolean sdmctl_fault(struct sdmctl *ctl, const char *fault,
                      const struct sdm_msg *hello, GError **error)
{
    struct sdm_msg honest = *hello;
    struct attack a = { .ctl = ctl, .hello = &honest,
                        .fds = { -1, -1, -1, -1 } };
    struct sdm_text why;
    gboolean ok;
    unsigned i, f;

    for (f = 0; f < G_N_ELEMENTS(faults); f++) {
        if (!strcmp(faults[f].name, fault)) {
            break;
        }
    }
    if (f == G_N_ELEMENTS(faults)) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--fault=%s: no such fault; --print-capabilities lists "
                    "them", fault);
        return FALSE;
    }
    honest.u.hello.version_min = SDM_WIRE_VERSION_MIN;
    honest.u.hello.version_max = SDM_WIRE_VERSION_MAX;
    a.sock = sdm_socket_connect(ctl->path, &why);
    if (a.sock < 0) {
        sdmctl_link_error(a.sock, &why, error);
        return FALSE;
    }
    ok = faults[f].run(&a, error);
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        if (a.fds[i] >= 0) {
            close(a.fds[i]);
        }
    }
    close(a.sock);
    return ok;
}
