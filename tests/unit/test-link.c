/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The link alone, then link and hub back to back over a transport that is only
 * memory. What happens is written down as text and compared, as in test-hub.c.
 */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sdm/sdm-hub.h"
#include "sdm/sdm-life.h"
#include "sdm/sdm-link.h"

#define MiB       (1ull << 20)
#define RAM_BASE  0x40000000ull
#define RAM_SIZE  (64 * MiB)
#define MEMORY    (1024 * MiB)
#define PAGE      (2 * MiB)

static struct sdm_msg hello_msg(uint16_t role, uint32_t want, const char *name)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.u.hello.role = role;
    m.u.hello.want_id = want;
    if (role == SDM_ROLE_SLAVE) {
        m.u.hello.machine = 40;
        m.u.hello.features = 0x3;
        m.u.hello.ram_base = RAM_BASE;
        m.u.hello.ram_size = RAM_SIZE;
    }
    strcpy(m.u.hello.name, name);
    return m;
}

static struct sdm_msg plain(uint16_t type, uint32_t seq)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = type;
    m.seq = seq;
    return m;
}

/* --------------------------------------------------------------- link alone */

struct alone {
    struct sdm_link link;
    char log[8192];
    size_t used;
    int send_error;
    int in_event;
    int take_fd;
    uint32_t answer_now;        /* + 1; 0: no */
};

static void __attribute__((format(printf, 2, 3)))
note(struct alone *a, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    a->used += vsnprintf(a->log + a->used, sizeof(a->log) - a->used, format,
                         args);
    va_end(args);
    assert_true(a->used < sizeof(a->log));
}

static void expect_at(struct alone *a, const char *expected, const char *file,
                      int line)
{
    if (strcmp(a->log, expected)) {
        print_error("expected:\n%sgot:\n%s", expected, a->log);
        _fail(file, line);
    }
    a->used = 0;
    a->log[0] = 0;
}

#define expect(a, expected)  expect_at(a, expected, __FILE__, __LINE__)

static int alone_send(void *opaque, const void *buf, size_t len,
                      const int *fds, unsigned nfds)
{
    struct alone *a = opaque;
    struct sdm_msg m;

    if (a->send_error) {
        return -a->send_error;
    }
    assert_int_equal(sdm_msg_decode(&m, buf, len, nfds), 0);
    switch (m.type) {
    case SDM_WIRE_HELLO:
        note(a, "> HELLO %u to %u role %u machine %u want %u name '%s'\n",
             m.u.hello.version_min, m.u.hello.version_max, m.u.hello.role,
             m.u.hello.machine, m.u.hello.want_id, m.u.hello.name);
        break;
    case SDM_WIRE_ERROR:
        note(a, "> ERROR %u %s\n", m.u.answer.status, m.u.answer.text);
        break;
    case SDM_WIRE_ANSWER:
        note(a, "> ANSWER#%u %u %s\n", m.seq, m.u.answer.status,
             m.u.answer.text);
        break;
    case SDM_WIRE_DTB:
        note(a, "> DTB#%u %llu fd %d\n", m.seq, m.u.dtb.size + 0ull, fds[0]);
        break;
    case SDM_WIRE_STATE:
        note(a, "> STATE %s\n", sdm_state_text(m.u.state.state));
        break;
    default:
        fail_msg("a link must not send type %u", m.type);
    }
    return 0;
}

static void alone_event(void *opaque, struct sdm_link_event *event)
{
    struct alone *a = opaque;
    unsigned i;

    assert_false(a->in_event);
    a->in_event = 1;
    switch (event->type) {
    case SDM_LINK_WELCOME:
        note(a, "welcome id %u bits 0x%x fds", event->msg->u.welcome.id,
             event->msg->u.welcome.fds);
        for (i = 0; i < event->nfds; i++) {
            note(a, " %d", event->fds[i]);
        }
        note(a, "\n");
        if (a->take_fd) {
            event->fds[0] = -1;
        }
        break;
    case SDM_LINK_REQUEST:
        note(a, "request %u#%u", event->msg->type, event->msg->seq);
        if (event->msg->type == SDM_WIRE_BOOT) {
            note(a, " %llu+%llu", event->msg->u.boot.offset / MiB + 0ull,
                 event->msg->u.boot.size / MiB + 0ull);
        }
        note(a, "\n");
        if (a->answer_now) {
            assert_int_equal(sdm_link_answer(&a->link, event->msg->seq,
                                             a->answer_now - 1, "now"), 0);
        }
        break;
    case SDM_LINK_PEER:
        note(a, "peer %u %s\n", event->msg->u.peer.id,
             sdm_state_text(event->msg->u.peer.state));
        break;
    case SDM_LINK_ERROR:
        note(a, "error %u %s\n", event->msg->u.answer.status,
             event->msg->u.answer.text);
        break;
    }
    a->in_event = 0;
}

static const struct sdm_link_ops alone_ops = {
    .send = alone_send,
    .event = alone_event,
};

static void start(struct alone *a, uint16_t role, uint32_t want)
{
    struct sdm_msg hello = hello_msg(role, want, "me");

    memset(a, 0, sizeof(*a));
    sdm_link_init(&a->link, &alone_ops, a, &hello);
    assert_int_equal(a->link.phase, SDM_LINK_DOWN);
    assert_int_equal(sdm_link_connected(&a->link), 0);
    assert_int_equal(a->link.phase, SDM_LINK_HELLO_SENT);
    a->used = 0;
    a->log[0] = 0;
}

static void give_fds(struct alone *a, const struct sdm_msg *m, int *fds,
                     unsigned nfds)
{
    unsigned char buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(m, buf);

    assert_true(len > 0);
    sdm_link_receive(&a->link, buf, len, fds, nfds);
}

static void give(struct alone *a, const struct sdm_msg *m)
{
    int fd = 40;

    give_fds(a, m, &fd, m->type == SDM_WIRE_DTB ? 1 : 0);
}

static struct sdm_msg welcome_msg(uint32_t id)
{
    struct sdm_msg m = plain(SDM_WIRE_WELCOME, 0);

    m.u.welcome.version = 1;
    m.u.welcome.id = id;
    m.u.welcome.num_slaves = 3;
    m.u.welcome.memory_size = MEMORY;
    m.u.welcome.page_size = PAGE;
    return m;
}

static struct sdm_msg boot_msg(uint32_t seq, uint64_t offset, uint64_t size)
{
    struct sdm_msg m = plain(SDM_WIRE_BOOT, seq);

    m.u.boot.offset = offset;
    m.u.boot.size = size;
    return m;
}

static void start_up(struct alone *a, uint16_t role)
{
    struct sdm_msg m = welcome_msg(role == SDM_ROLE_SLAVE ? 2 : 0);

    start(a, role, 0);
    give(a, &m);
    assert_int_equal(a->link.phase, SDM_LINK_UP);
    a->used = 0;
    a->log[0] = 0;
}

static void test_welcome(void **state)
{
    struct sdm_msg hello = hello_msg(SDM_ROLE_SLAVE, 0, "me");
    struct sdm_msg m = welcome_msg(2);
    int fds[2] = { 40, 41 };
    struct alone a;

    (void)state;
    memset(&a, 0, sizeof(a));
    sdm_link_init(&a.link, &alone_ops, &a, &hello);
    assert_int_equal(sdm_link_connected(&a.link), 0);
    expect(&a, "> HELLO 1 to 1 role 1 machine 40 want 0 name 'me'\n");
    m.u.welcome.fds = SDM_WIRE_FD_MEMORY | SDM_WIRE_FD_RING;
    a.take_fd = 1;
    give_fds(&a, &m, fds, 2);
    expect(&a, "welcome id 2 bits 0x3 fds 40 41\n");
    assert_int_equal(fds[0], -1);
    assert_int_equal(fds[1], 41);
    assert_int_equal(a.link.phase, SDM_LINK_UP);
    assert_int_equal(a.link.id, 2);
    /* lost and back: it asks for the id that it had */
    sdm_link_lost(&a.link);
    assert_int_equal(a.link.phase, SDM_LINK_DOWN);
    assert_int_equal(sdm_link_connected(&a.link), 0);
    expect(&a, "> HELLO 1 to 1 role 1 machine 40 want 2 name 'me'\n");
}

static void test_connect_fails(void **state)
{
    struct sdm_msg hello = hello_msg(SDM_ROLE_SLAVE, 0, "me");
    struct sdm_msg m = welcome_msg(2);
    struct alone a;

    (void)state;
    memset(&a, 0, sizeof(a));
    sdm_link_init(&a.link, &alone_ops, &a, &hello);
    a.send_error = EPIPE;
    assert_int_equal(sdm_link_connected(&a.link), -EPIPE);
    assert_int_equal(a.link.phase, SDM_LINK_DOWN);
    give(&a, &m);           /* nothing is heard while down */
    expect(&a, "");
}

static void test_bad_welcome(void **state)
{
    struct sdm_msg m = welcome_msg(2);
    int fds[2] = { 40, 41 };
    struct alone a;

    (void)state;
    start(&a, SDM_ROLE_SLAVE, 0);
    m.u.welcome.version = 2;
    give(&a, &m);
    expect(&a, "> ERROR 12 the master chose a protocol version that was not "
               "offered: 2\n"
               "error 12 the master chose a protocol version that was not "
               "offered: 2\n");
    assert_int_equal(a.link.phase, SDM_LINK_DOWN);

    start(&a, SDM_ROLE_SLAVE, 0);
    m = welcome_msg(0);
    give(&a, &m);
    expect(&a, "> ERROR 13 the master gave an id that was not asked for: 0\n"
               "error 13 the master gave an id that was not asked for: 0\n");

    start(&a, SDM_ROLE_SLAVE, 1);
    m = welcome_msg(2);
    give(&a, &m);
    expect(&a, "> ERROR 13 the master gave an id that was not asked for: 2\n"
               "error 13 the master gave an id that was not asked for: 2\n");

    start(&a, SDM_ROLE_OBSERVER, 0);
    give(&a, &m);
    expect(&a, "> ERROR 13 the master gave an id that was not asked for: 2\n"
               "error 13 the master gave an id that was not asked for: 2\n");

    start(&a, SDM_ROLE_OBSERVER, 0);
    m = welcome_msg(0);
    m.u.welcome.fds = SDM_WIRE_FD_MEMORY | SDM_WIRE_FD_RING;
    give_fds(&a, &m, fds, 2);
    expect(&a, "> ERROR 1 the master gave an observer fds: 2\n"
               "error 1 the master gave an observer fds: 2\n");
    assert_int_equal(fds[0], 40);

    /* a second one */
    start_up(&a, SDM_ROLE_SLAVE);
    m = welcome_msg(2);
    give(&a, &m);
    expect(&a, "> ERROR 1 the master must not send this now: message of type "
               "2\n"
               "error 1 the master must not send this now: message of type "
               "2\n");
}

static void test_refused(void **state)
{
    struct sdm_msg m = plain(SDM_WIRE_ERROR, 0);
    struct alone a;

    (void)state;
    m.u.answer.status = SDM_ERR_ID;
    strcpy(m.u.answer.text, "slave-id=7 is too high");
    start(&a, SDM_ROLE_SLAVE, 0);
    give(&a, &m);
    expect(&a, "error 13 slave-id=7 is too high\n");
    assert_int_equal(a.link.phase, SDM_LINK_DOWN);

    start_up(&a, SDM_ROLE_SLAVE);
    give(&a, &m);
    expect(&a, "error 13 slave-id=7 is too high\n");
    assert_int_equal(a.link.phase, SDM_LINK_DOWN);
}

static void test_garbage(void **state)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_msg m = plain(SDM_WIRE_RESET, 1);
    int fds[1] = { 40 };
    struct alone a;
    int len;

    (void)state;
    start_up(&a, SDM_ROLE_SLAVE);
    sdm_link_receive(&a.link, "garbage", 7, NULL, 0);
    expect(&a, "> ERROR 1 malformed message of length 7\n"
               "error 1 malformed message of length 7\n");
    sdm_link_receive(&a.link, "garbage", 7, NULL, 0);
    expect(&a, "");

    start(&a, SDM_ROLE_SLAVE, 0);
    len = sdm_msg_encode(&m, buf);
    sdm_link_receive(&a.link, buf, len + 1, NULL, 0);
    expect(&a, "> ERROR 1 message of wrong length: 17\n"
               "error 1 message of wrong length: 17\n");

    start_up(&a, SDM_ROLE_SLAVE);
    sdm_link_receive(&a.link, buf, len, fds, 1);
    expect(&a, "> ERROR 1 message with wrong number of fds: 1\n"
               "error 1 message with wrong number of fds: 1\n");
    assert_int_equal(fds[0], 40);

    /* a master that hears nothing: we find it at fault all the same */
    start_up(&a, SDM_ROLE_SLAVE);
    a.send_error = EPIPE;
    sdm_link_receive(&a.link, "garbage", 7, NULL, 0);
    expect(&a, "error 1 malformed message of length 7\n");
}

static void test_wrong_time(void **state)
{
    static const uint16_t requests[] = {
        SDM_WIRE_BOOT, SDM_WIRE_RESET, SDM_WIRE_STOP, SDM_WIRE_GET_DTB,
    };
    struct sdm_msg m;
    struct alone a;
    unsigned i;

    (void)state;
    for (i = 0; i < ARRAY_SIZE(requests); i++) {
        char expected[256];

        m = plain(requests[i], 1);
        m.u.boot.size = RAM_SIZE;
        snprintf(expected, sizeof(expected),
                 "> ERROR 1 the master must not send this now: message of "
                 "type %u\n"
                 "error 1 the master must not send this now: message of type "
                 "%u\n", requests[i], requests[i]);
        start(&a, SDM_ROLE_SLAVE, 0);
        give(&a, &m);
        expect(&a, expected);
        start_up(&a, SDM_ROLE_OBSERVER);
        give(&a, &m);
        expect(&a, expected);
    }
    m = plain(SDM_WIRE_PEER, 0);
    start_up(&a, SDM_ROLE_SLAVE);
    give(&a, &m);
    assert_non_null(strstr(a.log, "> ERROR 1 the master must not send this"));
    start(&a, SDM_ROLE_OBSERVER, 0);
    give(&a, &m);
    assert_non_null(strstr(a.log, "> ERROR 1 the master must not send this"));
    m = plain(SDM_WIRE_STATE, 0);
    m.u.state.state = SDM_STATE_RUNNING;
    start_up(&a, SDM_ROLE_SLAVE);
    give(&a, &m);
    assert_non_null(strstr(a.log, "> ERROR 1 the master must not send this"));
}

static void test_requests(void **state)
{
    struct sdm_msg m = boot_msg(9, 512 * MiB, RAM_SIZE);
    struct alone a;

    (void)state;
    start_up(&a, SDM_ROLE_SLAVE);
    assert_int_equal(sdm_link_answer(&a.link, 9, SDM_OK, NULL), -ENOENT);
    give(&a, &m);
    expect(&a, "request 4#9 512+64\n");
    assert_int_equal(sdm_link_answer(&a.link, 8, SDM_OK, NULL), -ENOENT);
    assert_int_equal(sdm_link_answer_dtb(&a.link, 9, 44, 100), -ENOENT);
    assert_int_equal(sdm_link_answer(&a.link, 9, SDM_OK, NULL), 0);
    expect(&a, "> ANSWER#9 0 \n");
    assert_int_equal(sdm_link_answer(&a.link, 9, SDM_OK, NULL), -ENOENT);

    m = plain(SDM_WIRE_GET_DTB, 10);
    give(&a, &m);
    assert_int_equal(sdm_link_answer(&a.link, 10, SDM_OK, ""), -EINVAL);
    assert_int_equal(sdm_link_answer_dtb(&a.link, 11, 44, 100), -ENOENT);
    assert_int_equal(sdm_link_answer_dtb(&a.link, 10, 44, 100), 0);
    assert_int_equal(sdm_link_answer_dtb(&a.link, 10, 44, 100), -ENOENT);
    expect(&a, "request 7#10\n> DTB#10 100 fd 44\n");
    give(&a, &m);
    assert_int_equal(sdm_link_answer(&a.link, 10, SDM_ERR_UNSUPPORTED,
                                     "no dtb"), 0);
    expect(&a, "request 7#10\n> ANSWER#10 4 no dtb\n");

    /* out of the event itself */
    a.answer_now = 1 + SDM_ERR_STATE;
    m = plain(SDM_WIRE_STOP, 11);
    give(&a, &m);
    expect(&a, "request 6#11\n> ANSWER#11 3 now\n");
}

/* The newest request counts: the master has given the older one up. */
static void test_request_replaced(void **state)
{
    struct sdm_msg m = boot_msg(1, 0, RAM_SIZE);
    struct alone a;

    (void)state;
    start_up(&a, SDM_ROLE_SLAVE);
    give(&a, &m);
    m = plain(SDM_WIRE_RESET, 2);
    give(&a, &m);
    assert_int_equal(sdm_link_answer(&a.link, 1, SDM_OK, ""), -ENOENT);
    assert_int_equal(sdm_link_answer(&a.link, 2, SDM_OK, ""), 0);
    expect(&a, "request 4#1 0+64\nrequest 5#2\n> ANSWER#2 0 \n");
}

static void test_answer_fails(void **state)
{
    struct sdm_msg m = plain(SDM_WIRE_GET_DTB, 1);
    struct alone a;

    (void)state;
    start_up(&a, SDM_ROLE_SLAVE);
    give(&a, &m);
    a.send_error = EAGAIN;
    assert_int_equal(sdm_link_answer_dtb(&a.link, 1, 44, 100), -EAGAIN);
    assert_int_equal(sdm_link_answer(&a.link, 1, SDM_ERR_BUSY, ""), -EAGAIN);
    a.send_error = 0;
    assert_int_equal(sdm_link_answer_dtb(&a.link, 1, 44, 100), 0);
    /* gone: so is the request */
    give(&a, &m);
    sdm_link_lost(&a.link);
    assert_int_equal(sdm_link_answer_dtb(&a.link, 1, 44, 100), -ENOENT);
    assert_int_equal(sdm_link_answer(&a.link, 1, SDM_ERR_BUSY, ""), -ENOENT);
}

/* A text that is longer than a message holds is cut. */
static void test_long_text(void **state)
{
    struct sdm_msg m = plain(SDM_WIRE_STOP, 1);
    char *text = malloc(3000);
    struct alone a;

    (void)state;
    memset(text, 't', 2999);
    text[2999] = 0;
    start_up(&a, SDM_ROLE_SLAVE);
    give(&a, &m);
    a.used = 0;
    assert_int_equal(sdm_link_answer(&a.link, 1, SDM_ERR_INTERNAL, text), 0);
    assert_int_equal(strlen(a.log), strlen("> ANSWER#1 15 \n") +
                     SDM_WIRE_TEXT_MAX);
    free(text);
}

static void assert_boot_refused(struct alone *a, uint64_t offset,
                                uint64_t size, const char *expected)
{
    struct sdm_msg m = boot_msg(5, offset, size);

    give(a, &m);
    expect(a, expected);
    assert_int_equal(a->link.phase, SDM_LINK_UP);
    assert_int_equal(a->link.open_type, 0);
}

static void test_bad_windows(void **state)
{
    struct sdm_msg m = welcome_msg(1);
    struct alone a;

    (void)state;
    start_up(&a, SDM_ROLE_SLAVE);
    assert_boot_refused(&a, 0, RAM_SIZE / 2,
        "> ANSWER#5 5 the slave cannot map a window of 32 MiB at offset 0x0: "
        "its memory has 64 MiB, the fd 1 GiB in pages of 2 MiB\n");
    assert_boot_refused(&a, MEMORY, RAM_SIZE,
        "> ANSWER#5 5 the slave cannot map a window of 64 MiB at offset "
        "0x40000000: its memory has 64 MiB, the fd 1 GiB in pages of 2 MiB\n");
    assert_boot_refused(&a, 4096, RAM_SIZE,
        "> ANSWER#5 5 the slave cannot map a window of 64 MiB at offset "
        "0x1000: its memory has 64 MiB, the fd 1 GiB in pages of 2 MiB\n");

    /* no memory at all */
    start(&a, SDM_ROLE_SLAVE, 0);
    m.u.welcome.memory_size = 0;
    m.u.welcome.page_size = 0;
    give(&a, &m);
    a.used = 0;
    assert_boot_refused(&a, 0, RAM_SIZE,
        "> ANSWER#5 5 the slave cannot map a window of 64 MiB at offset 0x0: "
        "its memory has 64 MiB, the fd 0 B in pages of 0 B\n");

    /* not the fixed one */
    start(&a, SDM_ROLE_SLAVE, 0);
    m = welcome_msg(1);
    m.u.welcome.window_offset = 128 * MiB;
    m.u.welcome.window_size = RAM_SIZE;
    give(&a, &m);
    a.used = 0;
    assert_boot_refused(&a, 0, RAM_SIZE,
        "> ANSWER#5 5 the slave cannot map a window of 64 MiB at offset 0x0: "
        "its memory has 64 MiB, the fd 1 GiB in pages of 2 MiB\n");
    assert_boot_refused(&a, 128 * MiB, 2 * RAM_SIZE,
        "> ANSWER#5 5 the slave cannot map a window of 128 MiB at offset "
        "0x8000000: its memory has 64 MiB, the fd 1 GiB in pages of 2 MiB\n");
    m = boot_msg(6, 128 * MiB, RAM_SIZE);
    give(&a, &m);
    expect(&a, "request 4#6 128+64\n");
}

static void test_state(void **state)
{
    struct alone a;

    (void)state;
    start(&a, SDM_ROLE_SLAVE, 0);
    assert_int_equal(sdm_link_state(&a.link, SDM_STATE_RUNNING), -ENOTCONN);
    start_up(&a, SDM_ROLE_OBSERVER);
    assert_int_equal(sdm_link_state(&a.link, SDM_STATE_RUNNING), -ENOTCONN);
    start_up(&a, SDM_ROLE_SLAVE);
    assert_int_equal(sdm_link_state(&a.link, SDM_STATE_CRASHED), 0);
    a.send_error = EAGAIN;
    assert_int_equal(sdm_link_state(&a.link, SDM_STATE_CRASHED), -EAGAIN);
    sdm_link_lost(&a.link);
    assert_int_equal(sdm_link_state(&a.link, SDM_STATE_CRASHED), -ENOTCONN);
    expect(&a, "> STATE crashed\n");
}

static void test_observer(void **state)
{
    struct sdm_msg m = plain(SDM_WIRE_PEER, 0);
    struct alone a;

    (void)state;
    start_up(&a, SDM_ROLE_OBSERVER);
    m.u.peer.id = 2;
    m.u.peer.state = SDM_STATE_RUNNING;
    give(&a, &m);
    m = plain(SDM_WIRE_PEER, 0);
    give(&a, &m);
    expect(&a, "peer 2 running\npeer 0 absent\n");
}

/* ------------------------------------------------------------- back to back */

#define LINKS    5              /* 0..2 slaves, 3 and 4 observers */
#define SLAVES   3
#define QUEUE    256

struct packet {
    size_t len;
    unsigned nfds;
    int fds[SDM_WIRE_MAX_FDS];
    unsigned char buf[SDM_WIRE_MAX];
};

struct queue {
    unsigned head, tail;
    struct packet packets[QUEUE];
};

struct both;

struct end {
    struct both *both;
    struct sdm_link link;
    int conn;                   /* at the hub, -1: not connected */
    int closed;                 /* by the hub, once its packets are read */
    int full;                   /* it does not read: sends to it fail */
    struct queue to_link, to_hub;
    uint32_t request_seq;
    uint16_t request_type;
    uint32_t state;             /* what a slave believes of itself */
    uint32_t table[SLAVES + 1]; /* what an observer has been told */
    int rows_end;
    char error[SDM_WIRE_TEXT_MAX + 1];
    uint32_t error_status;
};

struct both {
    struct sdm_hub hub;
    struct end ends[LINKS];
    uint32_t open_seq[SLAVES + 1];
    unsigned answers, asked;
    uint32_t last_status;
    int last_fd;
    uint32_t events_state[SLAVES + 1];
};

static int push(struct queue *q, const void *buf, size_t len, const int *fds,
                unsigned nfds)
{
    struct packet *p = &q->packets[q->head % QUEUE];

    if (q->head - q->tail == QUEUE) {
        return -EAGAIN;
    }
    p->len = len;
    p->nfds = nfds;
    memcpy(p->buf, buf, len);
    if (nfds) {
        memcpy(p->fds, fds, nfds * sizeof(*fds));
    }
    q->head++;
    return 0;
}

static struct end *end_of(struct both *b, unsigned conn)
{
    unsigned i;

    for (i = 0; i < LINKS; i++) {
        if (b->ends[i].conn == (int)conn) {
            return &b->ends[i];
        }
    }
    return NULL;
}

static int hub_send(void *opaque, unsigned conn, const void *buf, size_t len,
                    const int *fds, unsigned nfds)
{
    struct end *e = end_of(opaque, conn);

    assert_non_null(e);
    return e->full ? -EAGAIN : push(&e->to_link, buf, len, fds, nfds);
}

static void hub_close(void *opaque, unsigned conn)
{
    struct end *e = end_of(opaque, conn);

    assert_non_null(e);
    e->conn = -1;
    e->closed = 1;
    e->to_hub.tail = e->to_hub.head;
}

static uint32_t hub_grant(void *opaque, uint32_t id, uint64_t ram_size,
                          struct sdm_grant *grant, const char **text)
{
    (void)opaque;
    (void)text;
    assert_int_equal(ram_size, RAM_SIZE);
    grant->memory_size = MEMORY;
    grant->page_size = PAGE;
    grant->features = 0xf;
    grant->fds[0] = 10;
    grant->fds[1] = 100 + id;
    return SDM_OK;
}

static void hub_event(void *opaque, const struct sdm_hub_event *event)
{
    struct both *b = opaque;

    switch (event->type) {
    case SDM_HUB_JOINED:
    case SDM_HUB_STATE:
    case SDM_HUB_LEFT:
        assert_int_equal(event->old, b->events_state[event->id]);
        b->events_state[event->id] = event->state;
        assert_int_equal(b->open_seq[event->id] != 0 &&
                         event->state == SDM_STATE_ABSENT, 0);
        break;
    case SDM_HUB_ANSWER:
        assert_int_equal(event->seq, b->open_seq[event->id]);
        b->open_seq[event->id] = 0;
        b->answers++;
        b->last_status = event->status;
        b->last_fd = event->fd;
        break;
    case SDM_HUB_REJECTED:
        break;
    }
}

static const struct sdm_hub_ops hub_ops = {
    .send = hub_send,
    .close = hub_close,
    .grant = hub_grant,
    .event = hub_event,
};

static int link_send(void *opaque, const void *buf, size_t len,
                     const int *fds, unsigned nfds)
{
    struct end *e = opaque;

    return e->conn < 0 ? -EPIPE : push(&e->to_hub, buf, len, fds, nfds);
}

static void link_event(void *opaque, struct sdm_link_event *event)
{
    struct end *e = opaque;
    const struct sdm_msg *m = event->msg;

    switch (event->type) {
    case SDM_LINK_WELCOME:
        e->state = SDM_STATE_WAITING;
        e->rows_end = 0;
        if (m->u.welcome.id) {
            assert_int_equal(event->nfds, 2);
            assert_int_equal(event->fds[1], 100 + m->u.welcome.id);
        }
        break;
    case SDM_LINK_REQUEST:
        e->request_seq = m->seq;
        e->request_type = m->type;
        break;
    case SDM_LINK_PEER:
        assert_in_range(m->u.peer.id, 0, SLAVES);
        if (m->u.peer.id) {
            e->table[m->u.peer.id] = m->u.peer.state;
        } else {
            e->rows_end++;
        }
        break;
    case SDM_LINK_ERROR:
        strcpy(e->error, m->u.answer.text);
        e->error_status = m->u.answer.status;
        break;
    }
}

static const struct sdm_link_ops link_ops = {
    .send = link_send,
    .event = link_event,
};

/* A slave that is lost comes back, as one of QEMU does, without its window. */
static void end_lost(struct end *e)
{
    sdm_link_lost(&e->link);
    e->to_link.tail = e->to_link.head;
    e->closed = 0;
    e->request_type = 0;
    e->state = SDM_STATE_ABSENT;
}

static void deliver_one(struct end *e)
{
    struct packet p;

    if (!e->full && e->to_link.tail != e->to_link.head) {
        p = e->to_link.packets[e->to_link.tail++ % QUEUE];
        sdm_link_receive(&e->link, p.buf, p.len, p.fds, p.nfds);
    } else if (e->closed) {
        end_lost(e);
    }
    if (e->conn >= 0 && e->to_hub.tail != e->to_hub.head) {
        p = e->to_hub.packets[e->to_hub.tail++ % QUEUE];
        sdm_hub_receive(&e->both->hub, e->conn, p.buf, p.len, p.fds, p.nfds);
    }
}

static void deliver(struct both *b)
{
    unsigned i, busy;

    do {
        busy = 0;
        for (i = 0; i < LINKS; i++) {
            struct end *e = &b->ends[i];

            busy |= (!e->full && e->to_link.tail != e->to_link.head) ||
                    e->closed ||
                    (e->conn >= 0 && e->to_hub.tail != e->to_hub.head);
            deliver_one(e);
        }
    } while (busy);
}

static void connect_end(struct both *b, unsigned i)
{
    struct end *e = &b->ends[i];

    assert_int_equal(e->conn, -1);
    e->conn = sdm_hub_accept(&b->hub, 1000 + i);
    assert_true(e->conn >= 0);
    assert_int_equal(sdm_link_connected(&e->link), 0);
}

/* kill -9 of the peer */
static void kill_end(struct both *b, unsigned i)
{
    struct end *e = &b->ends[i];
    int conn = e->conn;

    if (conn >= 0) {
        /* what it had sent is still read */
        while (e->conn >= 0 && e->to_hub.tail != e->to_hub.head) {
            struct packet p = e->to_hub.packets[e->to_hub.tail++ % QUEUE];

            sdm_hub_receive(&b->hub, conn, p.buf, p.len, p.fds, p.nfds);
        }
        if (e->conn >= 0) {
            sdm_hub_lost(&b->hub, conn);
        }
    }
    end_lost(e);
    e->full = 0;
}

static void restart_hub(struct both *b)
{
    unsigned i;

    sdm_hub_init(&b->hub, &hub_ops, b, SLAVES);
    sdm_hub_memory(&b->hub, MEMORY, PAGE);
    memset(b->events_state, 0, sizeof(b->events_state));
    memset(b->open_seq, 0, sizeof(b->open_seq));
    for (i = 0; i < LINKS; i++) {
        b->ends[i].conn = -1;
        b->ends[i].to_hub.tail = b->ends[i].to_hub.head;
        end_lost(&b->ends[i]);
    }
}

static int setup(void **state)
{
    static const char *const names[LINKS] = { "a", "b", "", "", "" };
    struct both *b = calloc(1, sizeof(*b));
    unsigned i;

    for (i = 0; i < LINKS; i++) {
        struct sdm_msg hello = hello_msg(i < SLAVES ? SDM_ROLE_SLAVE :
                                         SDM_ROLE_OBSERVER, 0, names[i]);

        b->ends[i].both = b;
        sdm_link_init(&b->ends[i].link, &link_ops, &b->ends[i], &hello);
    }
    restart_hub(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static uint32_t ask(struct both *b, uint32_t id, uint16_t type)
{
    struct sdm_window w = { id * RAM_SIZE, RAM_SIZE };
    struct sdm_text why;
    uint32_t seq = 0;
    uint32_t status = sdm_hub_request(&b->hub, id, type, &w, &seq, &why);

    if (status == SDM_OK) {
        assert_int_equal(b->open_seq[id], 0);
        b->open_seq[id] = seq;
        b->asked++;
    }
    return status;
}

/* What QEMU does with a request, without QEMU. */
static void serve(struct end *e, uint32_t status)
{
    uint16_t type = e->request_type;
    int err;

    e->request_type = 0;
    if (type == SDM_WIRE_GET_DTB && status == SDM_OK) {
        err = sdm_link_answer_dtb(&e->link, e->request_seq, 44, 100);
    } else {
        err = sdm_link_answer(&e->link, e->request_seq, status, "text");
    }
    if (err == 0 && status == SDM_OK) {
        e->state = type == SDM_WIRE_BOOT ? SDM_STATE_RUNNING :
                   type == SDM_WIRE_RESET ? SDM_STATE_WAITING :
                   type == SDM_WIRE_STOP && e->state == SDM_STATE_RUNNING ?
                   SDM_STATE_STOPPED : e->state;
    }
}

static void test_both_life(void **state)
{
    struct both *b = *state;
    struct end *e = &b->ends[0];

    connect_end(b, 3);
    connect_end(b, 0);
    deliver(b);
    assert_int_equal(e->link.id, 1);
    assert_int_equal(b->ends[3].rows_end, 1);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_WAITING);

    assert_int_equal(ask(b, 1, SDM_WIRE_GET_DTB), SDM_OK);
    deliver(b);
    assert_int_equal(e->request_type, SDM_WIRE_GET_DTB);
    serve(e, SDM_OK);
    deliver(b);
    assert_int_equal(b->answers, 1);
    assert_int_equal(b->last_fd, 44);

    assert_int_equal(ask(b, 1, SDM_WIRE_BOOT), SDM_OK);
    deliver(b);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_BOOTING);
    serve(e, SDM_ERR_RECORD);
    deliver(b);
    assert_int_equal(b->last_status, SDM_ERR_RECORD);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_WAITING);

    assert_int_equal(ask(b, 1, SDM_WIRE_BOOT), SDM_OK);
    deliver(b);
    serve(e, SDM_OK);
    deliver(b);
    assert_int_equal(b->last_status, SDM_OK);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_RUNNING);

    assert_int_equal(sdm_link_state(&e->link, SDM_STATE_CRASHED), 0);
    deliver(b);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_CRASHED);
    assert_int_equal(ask(b, 1, SDM_WIRE_RESET), SDM_OK);
    deliver(b);
    serve(e, SDM_OK);
    deliver(b);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_WAITING);
    kill_end(b, 0);
    deliver(b);
    assert_int_equal(b->ends[3].table[1], SDM_STATE_ABSENT);
    assert_int_equal(b->asked, b->answers);
}

static void test_both_refused(void **state)
{
    struct both *b = *state;

    b->ends[0].link.hello.u.hello.want_id = 4;
    connect_end(b, 0);
    deliver(b);
    assert_int_equal(b->ends[0].error_status, SDM_ERR_ID);
    assert_non_null(strstr(b->ends[0].error, "slave-id=4"));
    assert_non_null(strstr(b->ends[0].error, "num-slaves=3"));
    assert_int_equal(b->ends[0].link.phase, SDM_LINK_DOWN);
    assert_int_equal(b->ends[0].conn, -1);
}

/* A new master finds its slaves again, in whatever order they come. */
static void test_both_new_master(void **state)
{
    struct both *b = *state;
    unsigned i;

    for (i = 0; i < SLAVES; i++) {
        connect_end(b, i);
    }
    deliver(b);
    restart_hub(b);
    for (i = SLAVES; i-- > 0;) {
        connect_end(b, i);
        deliver(b);
    }
    for (i = 0; i < SLAVES; i++) {
        assert_int_equal(b->ends[i].link.id, i + 1);
    }
    assert_int_equal(sdm_hub_find(&b->hub, "a"), 1);
    assert_int_equal(sdm_hub_find(&b->hub, "b"), 2);
}

/* A slave that does not read: the request fails or ends, nobody else waits. */
static void test_both_stops_reading(void **state)
{
    struct both *b = *state;
    unsigned i;

    for (i = 0; i < 2; i++) {
        connect_end(b, i);
    }
    deliver(b);
    b->ends[0].full = 1;
    assert_int_equal(ask(b, 1, SDM_WIRE_BOOT), SDM_ERR_GONE);
    assert_int_equal(sdm_hub_peer(&b->hub, 1)->state, SDM_STATE_ABSENT);
    assert_int_equal(ask(b, 2, SDM_WIRE_BOOT), SDM_OK);
    deliver(b);
    serve(&b->ends[1], SDM_OK);
    deliver(b);
    assert_int_equal(b->last_status, SDM_OK);
}

/*
 * Everything at random: joins, kills, requests, answers, time limits, states,
 * a peer that stops reading, garbage, a new master. After every step the events
 * must have told exactly what the table says; once all is quiet observers and
 * slaves must agree with it, and every request must have had one answer.
 */
static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 16) % n;
}

static void step(struct both *b)
{
    static const uint16_t types[] = {
        SDM_WIRE_BOOT, SDM_WIRE_BOOT, SDM_WIRE_RESET, SDM_WIRE_STOP,
        SDM_WIRE_GET_DTB,
    };
    unsigned i = random_below(LINKS);
    struct end *e = &b->ends[i];
    uint32_t id;

    switch (random_below(16)) {
    case 0:
        if (e->conn < 0 && !e->closed) {
            connect_end(b, i);
        }
        break;
    case 1:
        if (random_below(8) == 0) {
            kill_end(b, i);
        }
        break;
    case 2:
        if (random_below(16) == 0) {
            e->full = 1;
        }
        break;
    case 3:
        if (random_below(32) == 0 && e->conn >= 0) {
            sdm_hub_receive(&b->hub, e->conn, "garbage", 7, NULL, 0);
        }
        break;
    case 4:
        id = 1 + random_below(SLAVES);
        if (random_below(4) == 0 && b->open_seq[id]) {
            sdm_hub_timeout(&b->hub, id, b->open_seq[id]);
        }
        break;
    case 5:
        if (random_below(200) == 0) {
            b->asked = b->answers = 0;
            restart_hub(b);
        }
        break;
    case 6:
    case 7:
        ask(b, 1 + random_below(SLAVES), types[random_below(5)]);
        break;
    case 8:
    case 9:
        if (e->request_type) {
            serve(e, random_below(3) ? SDM_OK : SDM_ERR_RECORD);
        }
        break;
    case 10:
        if (i < SLAVES && e->state == SDM_STATE_RUNNING &&
            e->request_type == 0) {
            uint32_t said = random_below(2) ? SDM_STATE_WAITING :
                            SDM_STATE_CRASHED;

            if (sdm_link_state(&e->link, said) == 0) {
                e->state = said;
            }
        }
        break;
    default:
        deliver_one(e);
    }
}

static void test_both_random(void **state)
{
    struct both *b = *state;
    unsigned round, i, id, agreed = 0;

    seed = 1;
    for (round = 0; round < 2000; round++) {
        for (i = 0; i < 200; i++) {
            step(b);
            for (id = 1; id <= SLAVES; id++) {
                const struct sdm_peer *peer = sdm_hub_peer(&b->hub, id);

                assert_int_equal(b->events_state[id], peer->state);
                assert_int_equal(peer->open_type != 0, b->open_seq[id] != 0);
                assert_int_equal(peer->conn < 0,
                                 peer->state == SDM_STATE_ABSENT);
                if (peer->open_type) {
                    assert_int_equal(peer->open_seq, b->open_seq[id]);
                }
            }
        }
        /* let it come to rest */
        for (i = 0; i < LINKS; i++) {
            if (b->ends[i].full) {
                kill_end(b, i);
            }
        }
        deliver(b);
        for (i = 0; i < SLAVES; i++) {
            if (b->ends[i].request_type) {
                serve(&b->ends[i], SDM_OK);
            }
        }
        deliver(b);
        for (id = 1; id <= SLAVES; id++) {
            if (b->open_seq[id]) {
                sdm_hub_timeout(&b->hub, id, b->open_seq[id]);
            }
            assert_int_equal(b->open_seq[id], 0);
        }
        assert_int_equal(b->asked, b->answers);
        for (i = 0; i < LINKS; i++) {
            const struct end *e = &b->ends[i];

            if (e->link.phase != SDM_LINK_UP) {
                continue;
            }
            if (i >= SLAVES) {
                for (id = 1; id <= SLAVES; id++) {
                    assert_int_equal(e->table[id],
                                     sdm_hub_peer(&b->hub, id)->state);
                }
                agreed++;
            } else if (sdm_hub_peer(&b->hub, e->link.id)->state !=
                       SDM_STATE_BOOTING) {
                /* but for a BOOT that was answered after a newer request */
                assert_int_equal(e->state,
                                 sdm_hub_peer(&b->hub, e->link.id)->state);
                agreed++;
            }
        }
    }
    assert_true(agreed > 1000);
}

#define BOTH(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_welcome),
        cmocka_unit_test(test_connect_fails),
        cmocka_unit_test(test_bad_welcome),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_wrong_time),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_request_replaced),
        cmocka_unit_test(test_answer_fails),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_bad_windows),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_observer),
        BOTH(test_both_life),
        BOTH(test_both_refused),
        BOTH(test_both_new_master),
        BOTH(test_both_stops_reading),
        BOTH(test_both_random),
    };

    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
