/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hub against a transport that is only memory. What the hub does is written
 * down as text, one line each, and compared:
 *
 *   0< TYPE ...            sent to connection 0
 *   0x                     connection 0 closed
 *   +1 absent>waiting      JOINED        -1 running>absent  LEFT
 *   1 waiting>booting      STATE
 *   1 BOOT#3 0 TEXT        ANSWER of slave 1 to the third request: status, text
 *   !1 4 TEXT              REJECTED: id, status, text
 */
#include "unit.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "sdm/sdm-hub.h"

#define MiB       (1ull << 20)
#define RAM_BASE  0x40000000ull
#define RAM_SIZE  (64 * MiB)
#define MEMORY    (1024 * MiB)
#define PAGE      (2 * MiB)

struct world {
    struct sdm_hub hub;
    char log[65536];
    size_t used;
    int in_event;               /* and no op may come back into it */
    int in_close;
    int send_error[SDM_HUB_CONNS];
    uint32_t grant_status;
    const char *grant_text;
    struct sdm_grant grant;
    uint32_t last_seq;          /* as the hub numbers it */
    uint16_t types[64];         /* of the requests sent, counted from 1 */
    void (*on_event)(struct world *w, const struct sdm_hub_event *event);
    uint32_t nested_status;
    char nested_why[512];
};

static void __attribute__((format(printf, 2, 3)))
note(struct world *w, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    w->used += vsnprintf(w->log + w->used, sizeof(w->log) - w->used, format,
                         args);
    va_end(args);
    assert_true(w->used < sizeof(w->log));
}

static void expect_at(struct world *w, const char *expected, const char *file,
                      int line)
{
    if (strcmp(w->log, expected)) {
        print_error("expected:\n%sgot:\n%s", expected, w->log);
        _fail(file, line);
    }
    w->used = 0;
    w->log[0] = 0;
}

#define expect(w, expected)  expect_at(w, expected, __FILE__, __LINE__)

static const char *type_text(uint16_t type)
{
    static const char *const texts[SDM_WIRE_TYPES] = {
        "?", "HELLO", "WELCOME", "ERROR", "BOOT", "RESET", "STOP", "GET_DTB",
        "ANSWER", "DTB", "STATE", "PEER",
    };

    return texts[type < SDM_WIRE_TYPES ? type : 0];
}

static int op_send(void *opaque, unsigned conn, const void *buf, size_t len,
                   const int *fds, unsigned nfds)
{
    struct world *w = opaque;
    struct sdm_msg m;
    unsigned i;

    assert_false(w->in_close);
    assert_true(sdm_hub_conn_is_new(&w->hub, conn) ||
                w->hub.conns[conn].kind != SDM_CONN_FREE);
    if (w->send_error[conn]) {
        note(w, "%u< fails\n", conn);
        return -w->send_error[conn];
    }
    assert_int_equal(sdm_msg_decode(&m, buf, len, nfds), 0);
    note(w, "%u< %s", conn, type_text(m.type));
    if (m.seq) {
        note(w, "#%u", m.seq >> 2);
        w->types[(m.seq >> 2) % 64] = m.type;
    }
    switch (m.type) {
    case SDM_WIRE_WELCOME:
        note(w, " v%u id %u of %u features 0x%x memory %llu window %llu+%llu"
             " page %llu fds 0x%x:", m.u.welcome.version, m.u.welcome.id,
             m.u.welcome.num_slaves, m.u.welcome.features,
             m.u.welcome.memory_size / MiB + 0ull,
             m.u.welcome.window_offset / MiB + 0ull,
             m.u.welcome.window_size / MiB + 0ull,
             m.u.welcome.page_size / MiB + 0ull, m.u.welcome.fds);
        for (i = 0; i < nfds; i++) {
            note(w, " %d", fds[i]);
        }
        break;
    case SDM_WIRE_ERROR:
        note(w, " %u %s", m.u.answer.status, m.u.answer.text);
        break;
    case SDM_WIRE_BOOT:
        note(w, " %llu+%llu", m.u.boot.offset / MiB + 0ull,
             m.u.boot.size / MiB + 0ull);
        break;
    case SDM_WIRE_PEER:
        if (m.u.peer.id == 0) {
            note(w, " end");
        } else {
            note(w, " %u %s machine %u pid %u name '%s' ram 0x%llx+%llu"
                 " window %llu+%llu boots %llu counters %llu %llu %llu",
                 m.u.peer.id, sdm_state_text(m.u.peer.state),
                 m.u.peer.machine, m.u.peer.pid, m.u.peer.name,
                 m.u.peer.ram_base + 0ull, m.u.peer.ram_size / MiB + 0ull,
                 m.u.peer.window_offset / MiB + 0ull,
                 m.u.peer.window_size / MiB + 0ull, m.u.peer.boots + 0ull,
                 m.u.peer.sent + 0ull, m.u.peer.taken + 0ull,
                 m.u.peer.refused + 0ull);
        }
        break;
    }
    note(w, "\n");
    return 0;
}

static void op_close(void *opaque, unsigned conn)
{
    struct world *w = opaque;

    assert_false(w->in_event);
    assert_false(w->in_close);
    w->in_close = 1;
    note(w, "%ux\n", conn);
    w->in_close = 0;
}

static uint32_t op_grant(void *opaque, uint32_t id, uint64_t ram_size,
                         struct sdm_grant *grant, const char **text)
{
    struct world *w = opaque;

    assert_false(w->in_event);
    assert_in_range(id, 1, w->hub.num_slaves);
    assert_true(ram_size > 0);
    *grant = w->grant;
    *text = w->grant_text;
    return w->grant_status;
}

static void op_event(void *opaque, const struct sdm_hub_event *event)
{
    struct world *w = opaque;
    const struct sdm_peer *peer = sdm_hub_peer(&w->hub, event->id);

    assert_false(w->in_event);
    assert_false(w->in_close);
    assert_non_null(event->text);
    w->in_event = 1;
    switch (event->type) {
    case SDM_HUB_JOINED:
    case SDM_HUB_LEFT:
    case SDM_HUB_STATE:
        assert_non_null(peer);
        assert_int_equal(peer->state, event->state);
        note(w, "%s%u %s>%s\n", event->type == SDM_HUB_JOINED ? "+" :
             event->type == SDM_HUB_LEFT ? "-" : "", event->id,
             sdm_state_text(event->old), sdm_state_text(event->state));
        break;
    case SDM_HUB_ANSWER:
        note(w, "%u %s#%u %u %s", event->id, type_text(event->request),
             event->seq >> 2, event->status, event->text);
        if (event->fd >= 0) {
            note(w, "fd %d of %llu", event->fd, event->size + 0ull);
        }
        note(w, "\n");
        break;
    case SDM_HUB_REJECTED:
        note(w, "!%u %u %s\n", event->id, event->status, event->text);
        break;
    }
    if (w->on_event) {
        w->on_event(w, event);
    }
    w->in_event = 0;
}

static void op_counters(void *opaque, uint32_t id, uint64_t *sent,
                        uint64_t *taken, uint64_t *refused)
{
    (void)opaque;
    *sent = id * 10 + 1;
    *taken = id * 10 + 2;
    *refused = id * 10 + 3;
}

static const struct sdm_hub_ops ops = {
    .send = op_send,
    .close = op_close,
    .grant = op_grant,
    .event = op_event,
    .counters = op_counters,
};

static const struct sdm_hub_ops ops_no_counters = {
    .send = op_send,
    .close = op_close,
    .grant = op_grant,
    .event = op_event,
};

static struct world the_world;

static int setup(void **state)
{
    struct world *w = &the_world;
    int i;

    memset(w, 0, sizeof(*w));
    for (i = 0; i < (int)SDM_WIRE_MAX_FDS; i++) {
        w->grant.fds[i] = -1;
    }
    w->grant.memory_size = MEMORY;
    w->grant.page_size = PAGE;
    w->grant.features = 0xf;
    sdm_hub_init(&w->hub, &ops, w, 3);
    sdm_hub_memory(&w->hub, MEMORY, PAGE);
    *state = w;
    return 0;
}

/* ------------------------------------------------------------ what peers do */

static void receive(struct world *w, unsigned conn, const struct sdm_msg *m)
{
    unsigned char buf[SDM_WIRE_MAX];
    int fd = 50;
    int len = sdm_msg_encode(m, buf);

    assert_true(len > 0);
    sdm_hub_receive(&w->hub, conn, buf, len, &fd,
                    m->type == SDM_WIRE_DTB ? 1 : 0);
}

static struct sdm_msg hello_msg(uint16_t role, uint32_t want, const char *name)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = SDM_WIRE_HELLO;
    m.u.hello.version_min = 1;
    m.u.hello.version_max = 1;
    m.u.hello.role = role;
    if (role == SDM_ROLE_SLAVE) {
        m.u.hello.machine = 40;
        m.u.hello.features = 0x3;
        m.u.hello.want_id = want;
        m.u.hello.ram_base = RAM_BASE;
        m.u.hello.ram_size = RAM_SIZE;
    }
    strcpy(m.u.hello.name, name);
    return m;
}

/* Connect and say HELLO; what comes of it is in the log. */
static unsigned hello(struct world *w, uint32_t want, const char *name)
{
    struct sdm_msg m = hello_msg(SDM_ROLE_SLAVE, want, name);
    int conn = sdm_hub_accept(&w->hub, 100);

    assert_true(conn >= 0);
    receive(w, conn, &m);
    return conn;
}

static unsigned observe(struct world *w)
{
    struct sdm_msg m = hello_msg(SDM_ROLE_OBSERVER, 0, "");
    int conn = sdm_hub_accept(&w->hub, 200);

    assert_true(conn >= 0);
    receive(w, conn, &m);
    return conn;
}

static void forget(struct world *w)
{
    w->used = 0;
    w->log[0] = 0;
}

static unsigned join(struct world *w)
{
    unsigned conn = hello(w, 0, "");

    assert_int_equal(w->hub.conns[conn].kind, SDM_CONN_SLAVE);
    forget(w);
    return conn;
}

static void say_state(struct world *w, unsigned conn, uint32_t state)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = SDM_WIRE_STATE;
    m.u.state.state = state;
    receive(w, conn, &m);
}

/* The hub's number of the n-th request. */
static uint32_t nth(const struct world *w, uint32_t n)
{
    return n << 2 | (w->types[n % 64] - SDM_WIRE_BOOT);
}

static uint32_t last(const struct world *w)
{
    return w->last_seq >> 2;
}

static void answer(struct world *w, unsigned conn, uint32_t n,
                   uint32_t status, const char *text)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = SDM_WIRE_ANSWER;
    m.seq = nth(w, n);
    m.u.answer.status = status;
    strcpy(m.u.answer.text, text);
    receive(w, conn, &m);
}

static void answer_dtb(struct world *w, unsigned conn, uint32_t n)
{
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = SDM_WIRE_DTB;
    m.seq = nth(w, n);
    m.u.dtb.size = 999;
    receive(w, conn, &m);
}

/* ---------------------------------------------------------- what we ask for */

static uint32_t request(struct world *w, uint32_t id, uint16_t type)
{
    struct sdm_text why;
    uint32_t status;

    memset(&why, 0x5a, sizeof(why));
    status = sdm_hub_request(&w->hub, id, type, NULL, &w->last_seq, &why);
    assert_int_equal(status == SDM_OK, why.len == 0);
    assert_int_equal(strlen(why.buf), why.len);
    if (status) {
        note(w, "%u refused %u %s\n", id, status, why.buf);
    }
    return status;
}

static uint32_t boot(struct world *w, uint32_t id, uint64_t offset,
                     uint64_t size)
{
    struct sdm_window window = { offset, size };
    struct sdm_text why;
    uint32_t status;

    status = sdm_hub_request(&w->hub, id, SDM_WIRE_BOOT, &window,
                             &w->last_seq, &why);
    if (status) {
        note(w, "%u refused %u %s\n", id, status, why.buf);
    }
    return status;
}

static void boot_ok(struct world *w, unsigned conn, uint32_t id,
                    uint64_t offset)
{
    assert_int_equal(boot(w, id, offset, RAM_SIZE), SDM_OK);
    answer(w, conn, last(w), SDM_OK, "");
    assert_int_equal(sdm_hub_peer(&w->hub, id)->state, SDM_STATE_RUNNING);
    forget(w);
}

/* ----------------------------------------------------------------- joining */

static void test_join(void **state)
{
    struct world *w = *state;
    const struct sdm_peer *peer;
    int conn;

    w->grant.fds[0] = 10;
    w->grant.fds[1] = 11;
    w->grant.fds[2] = 12;
    w->grant.fds[3] = 13;
    conn = sdm_hub_accept(&w->hub, 4711);
    assert_int_equal(conn, 0);
    assert_int_equal(sdm_hub_conn_is_new(&w->hub, 0), 1);
    expect(w, "");
    {
        struct sdm_msg m = hello_msg(SDM_ROLE_SLAVE, 0, "dsp");

        receive(w, 0, &m);
    }
    expect(w, "0< WELCOME v1 id 1 of 3 features 0xf memory 1024 window 0+0 "
              "page 2 fds 0xf: 10 11 12 13\n"
              "+1 absent>waiting\n");
    assert_int_equal(sdm_hub_conn_is_new(&w->hub, 0), 0);
    peer = sdm_hub_peer(&w->hub, 1);
    assert_int_equal(peer->state, SDM_STATE_WAITING);
    assert_int_equal(peer->machine, 40);
    assert_int_equal(peer->pid, 4711);
    assert_int_equal(peer->features, 3);
    assert_int_equal(peer->conn, 0);
    assert_int_equal(peer->ram_base, RAM_BASE);
    assert_int_equal(peer->ram_size, RAM_SIZE);
    assert_string_equal(peer->name, "dsp");
    assert_int_equal(sdm_hub_find(&w->hub, "dsp"), 1);
    assert_int_equal(sdm_hub_find(&w->hub, "dsq"), 0);
    assert_int_equal(sdm_hub_find(&w->hub, ""), 0);
    assert_null(sdm_hub_peer(&w->hub, 0));
    assert_null(sdm_hub_peer(&w->hub, 4));
}

/* Only the fds that there are, in their order, named by their bits. */
static void test_join_some_fds(void **state)
{
    struct world *w = *state;

    w->grant.fds[1] = 0;
    w->grant.fds[3] = 7;
    hello(w, 0, "");
    expect(w, "0< WELCOME v1 id 1 of 3 features 0xf memory 1024 window 0+0 "
              "page 2 fds 0xa: 0 7\n"
              "+1 absent>waiting\n");
}

static void test_ids_lowest_free(void **state)
{
    struct world *w = *state;

    assert_int_equal(join(w), 0);
    assert_int_equal(join(w), 1);
    assert_int_equal(join(w), 2);
    assert_int_equal(w->hub.conns[0].id, 1);
    assert_int_equal(w->hub.conns[1].id, 2);
    assert_int_equal(w->hub.conns[2].id, 3);
    hello(w, 0, "");
    expect(w, "3< ERROR 13 every slave id is taken (num-slaves=3): start the "
              "master with a higher num-slaves\n"
              "!0 13 every slave id is taken (num-slaves=3): start the master "
              "with a higher num-slaves\n"
              "3x\n");
    sdm_hub_lost(&w->hub, 1);
    expect(w, "1x\n-2 waiting>absent\n");
    join(w);
    assert_int_equal(w->hub.conns[1].id, 2);
}

static void test_ids_wanted(void **state)
{
    struct world *w = *state;

    hello(w, 3, "");
    assert_int_equal(w->hub.conns[0].id, 3);
    forget(w);
    hello(w, 4, "");
    expect(w, "1< ERROR 13 slave-id=4 is too high (num-slaves=3): ask for 1 "
              "to num-slaves, or for none\n"
              "!0 13 slave-id=4 is too high (num-slaves=3): ask for 1 to "
              "num-slaves, or for none\n"
              "1x\n");
    hello(w, UINT32_MAX, "");
    assert_non_null(strstr(w->log, "slave-id=4294967295 is too high"));
    forget(w);
    hello(w, 3, "");
    expect(w, "1< ERROR 13 slave-id=3 is taken by process 100 (num-slaves=3): "
              "ask for another id, or for none\n"
              "!0 13 slave-id=3 is taken by process 100 (num-slaves=3): ask "
              "for another id, or for none\n"
              "1x\n");
    hello(w, 1, "");
    assert_int_equal(w->hub.conns[1].id, 1);
    hello(w, 0, "");
    assert_int_equal(w->hub.conns[2].id, 2);
}

/* A name that comes back gets its id back, and its id is given away last. */
static void test_ids_by_name(void **state)
{
    struct world *w = *state;

    hello(w, 0, "a");
    hello(w, 0, "b");
    sdm_hub_lost(&w->hub, 0);
    assert_string_equal(sdm_hub_peer(&w->hub, 1)->name, "a");
    assert_int_equal(sdm_hub_find(&w->hub, "a"), 1);
    forget(w);

    /* somebody else: not 1, which is a's, but 3, which is nobody's */
    hello(w, 0, "c");
    assert_int_equal(w->hub.conns[0].id, 3);
    hello(w, 0, "a");
    assert_int_equal(w->hub.conns[2].id, 1);
    forget(w);

    /* with nothing else left, the first absent name loses its id */
    sdm_hub_lost(&w->hub, 1);
    sdm_hub_lost(&w->hub, 0);
    forget(w);
    hello(w, 0, "d");
    assert_int_equal(w->hub.conns[0].id, 2);
    hello(w, 0, "c");
    assert_int_equal(w->hub.conns[1].id, 3);
    assert_int_equal(sdm_hub_find(&w->hub, "b"), 0);
    assert_int_equal(sdm_hub_find(&w->hub, "d"), 2);
    forget(w);

    hello(w, 0, "d");
    expect(w, "3< ERROR 13 name=d is taken by slave 2 (num-slaves=3): give "
              "every slave a name of its own\n"
              "!0 13 name=d is taken by slave 2 (num-slaves=3): give every "
              "slave a name of its own\n"
              "3x\n");
}

static void test_name_moves(void **state)
{
    struct world *w = *state;

    hello(w, 1, "a");
    sdm_hub_lost(&w->hub, 0);
    hello(w, 2, "a");
    assert_int_equal(sdm_hub_find(&w->hub, "a"), 2);
    assert_string_equal(sdm_hub_peer(&w->hub, 1)->name, "");
    /* and one without a name clears the name of the id that it takes */
    sdm_hub_lost(&w->hub, 0);
    hello(w, 2, "");
    assert_int_equal(sdm_hub_find(&w->hub, "a"), 0);
}

static void test_versions(void **state)
{
    struct world *w = *state;
    struct sdm_msg m = hello_msg(SDM_ROLE_SLAVE, 0, "");
    int conn = sdm_hub_accept(&w->hub, 1);

    m.u.hello.version_min = 2;
    m.u.hello.version_max = 9;
    receive(w, conn, &m);
    expect(w, "0< ERROR 12 the master speaks protocol versions 1 to 1, the "
              "peer 2 to 9: use the same qemu-sdm on both sides\n"
              "!0 12 the master speaks protocol versions 1 to 1, the peer 2 "
              "to 9: use the same qemu-sdm on both sides\n"
              "0x\n");
    /* an observer's as well */
    m = hello_msg(SDM_ROLE_OBSERVER, 0, "");
    m.u.hello.version_min = 2;
    m.u.hello.version_max = 2;
    conn = sdm_hub_accept(&w->hub, 1);
    receive(w, conn, &m);
    assert_non_null(strstr(w->log, "0< ERROR 12 "));
    forget(w);
    /* one that speaks more gets the highest that we speak */
    m = hello_msg(SDM_ROLE_SLAVE, 0, "");
    m.u.hello.version_max = 9;
    conn = sdm_hub_accept(&w->hub, 1);
    receive(w, conn, &m);
    assert_non_null(strstr(w->log, "0< WELCOME v1 id 1 "));
}

static void test_grant_refused(void **state)
{
    struct world *w = *state;

    w->grant_status = SDM_ERR_MEMORY;
    w->grant_text = "no ring: out of fds";
    hello(w, 0, "a");
    expect(w, "0< ERROR 8 no ring: out of fds\n"
              "!0 8 no ring: out of fds\n"
              "0x\n");
    w->grant_text = NULL;
    hello(w, 0, "a");
    expect(w, "0< ERROR 8 memory could not be mapped\n"
              "!0 8 memory could not be mapped\n"
              "0x\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_ABSENT);
    assert_int_equal(sdm_hub_find(&w->hub, "a"), 0);
}

static void test_welcome_fails(void **state)
{
    struct world *w = *state;

    w->send_error[0] = EAGAIN;
    hello(w, 0, "a");
    expect(w, "0< fails\n"
              "!0 10 the peer takes no messages (error 11): closing its "
              "connection\n"
              "0x\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_ABSENT);
    w->send_error[0] = 0;
    hello(w, 0, "b");
    assert_int_equal(w->hub.conns[0].id, 1);
}

static void test_conns_full(void **state)
{
    struct world *w = *state;
    unsigned i;

    for (i = 0; i < SDM_HUB_CONNS; i++) {
        assert_int_equal(sdm_hub_accept(&w->hub, 1), i);
    }
    assert_int_equal(sdm_hub_accept(&w->hub, 1), -ENOSPC);
    sdm_hub_lost(&w->hub, 17);
    expect(w, "17x\n");
    assert_int_equal(sdm_hub_accept(&w->hub, 1), 17);
    assert_int_equal(sdm_hub_accept(&w->hub, 1), -ENOSPC);
}

static void test_all_slaves(void **state)
{
    struct world *w = *state;
    unsigned i;

    sdm_hub_init(&w->hub, &ops, w, SDM_MAX_SLAVES);
    for (i = 0; i < SDM_MAX_SLAVES; i++) {
        join(w);
        assert_int_equal(w->hub.conns[i].id, i + 1);
    }
    hello(w, 0, "");
    assert_non_null(strstr(w->log, "every slave id is taken (num-slaves=64)"));
}

/* ------------------------------------------------------ garbage and faults */

static void raw(struct world *w, unsigned conn, const void *buf, size_t len,
                unsigned nfds)
{
    int fds[SDM_WIRE_MAX_FDS] = { 50, 51, 52, 53 };

    sdm_hub_receive(&w->hub, conn, buf, len, fds, nfds);
}

static void test_garbage(void **state)
{
    struct world *w = *state;
    unsigned char buf[SDM_WIRE_MAX] = { 0 };
    struct sdm_msg m = hello_msg(SDM_ROLE_SLAVE, 0, "");
    unsigned other = join(w);
    int len;

    /* before HELLO ... */
    sdm_hub_accept(&w->hub, 1);
    raw(w, 1, "garbage of some length", 22, 0);
    expect(w, "1< ERROR 1 malformed message of length 22\n"
              "!0 1 malformed message of length 22\n"
              "1x\n");
    sdm_hub_accept(&w->hub, 1);
    raw(w, 1, buf, 0, 0);
    expect(w, "1< ERROR 1 malformed message of length 0\n"
              "!0 1 malformed message of length 0\n"
              "1x\n");
    len = sdm_msg_encode(&m, buf);
    sdm_hub_accept(&w->hub, 1);
    raw(w, 1, buf, len - 1, 0);
    expect(w, "1< ERROR 1 message of wrong length: 79\n"
              "!0 1 message of wrong length: 79\n"
              "1x\n");
    sdm_hub_accept(&w->hub, 1);
    raw(w, 1, buf, len, 3);
    expect(w, "1< ERROR 1 message with wrong number of fds: 3\n"
              "!0 1 message with wrong number of fds: 3\n"
              "1x\n");
    /* ... and after it, with a request open */
    join(w);
    request(w, 2, SDM_WIRE_GET_DTB);
    forget(w);
    raw(w, 1, buf, 5, 0);
    expect(w, "1< ERROR 1 malformed message of length 5\n"
              "!2 1 malformed message of length 5\n"
              "1x\n"
              "2 GET_DTB#1 10 the slave was lost before it answered\n"
              "-2 waiting>absent\n");
    /* nobody else has noticed */
    boot_ok(w, other, 1, 0);
}

static void test_wrong_type(void **state)
{
    static const uint16_t from_slave[] = {
        SDM_WIRE_HELLO, SDM_WIRE_WELCOME, SDM_WIRE_BOOT, SDM_WIRE_RESET,
        SDM_WIRE_STOP, SDM_WIRE_GET_DTB, SDM_WIRE_PEER,
    };
    struct world *w = *state;
    uint16_t type;
    unsigned i;

    for (type = 2; type < SDM_WIRE_TYPES; type++) {
        struct sdm_msg m;
        char expected[64];
        int conn;

        if (type == SDM_WIRE_ERROR || type == SDM_WIRE_WELCOME) {
            continue;
        }
        memset(&m, 0, sizeof(m));
        m.type = type;
        m.seq = type >= SDM_WIRE_BOOT && type <= SDM_WIRE_DTB;
        m.u.boot.size = 1;
        if (type == SDM_WIRE_STATE) {
            m.u.state.state = SDM_STATE_RUNNING;
        } else if (type == SDM_WIRE_ANSWER) {
            m.u.answer.status = SDM_OK;
        } else if (type == SDM_WIRE_DTB) {
            m.u.dtb.size = 1;
        } else if (type == SDM_WIRE_PEER) {
            memset(&m.u, 0, sizeof(m.u));
        }
        conn = sdm_hub_accept(&w->hub, 1);
        receive(w, conn, &m);
        snprintf(expected, sizeof(expected),
                 "must be HELLO, not type %u\n0x\n", type);
        assert_non_null(strstr(w->log, expected));
        forget(w);
    }
    for (i = 0; i < ARRAY_SIZE(from_slave); i++) {
        struct sdm_msg m;
        unsigned conn = join(w);

        type = from_slave[i];
        memset(&m, 0, sizeof(m));
        if (type == SDM_WIRE_HELLO) {
            m = hello_msg(SDM_ROLE_SLAVE, 0, "");
        } else if (type == SDM_WIRE_WELCOME) {
            m.u.welcome.version = 1;
            m.u.welcome.num_slaves = 1;
        } else if (type == SDM_WIRE_BOOT) {
            m.u.boot.size = 1;
        }
        m.type = type;
        m.seq = type >= SDM_WIRE_BOOT && type <= SDM_WIRE_GET_DTB;
        receive(w, conn, &m);
        assert_non_null(strstr(w->log, "a slave must not send messages"));
        assert_non_null(strstr(w->log, "-1 waiting>absent\n"));
        forget(w);
    }
}

static void test_error_from_peer(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);
    struct sdm_msg m;

    memset(&m, 0, sizeof(m));
    m.type = SDM_WIRE_ERROR;
    m.u.answer.status = SDM_ERR_INTERNAL;
    strcpy(m.u.answer.text, "bye");
    receive(w, conn, &m);
    expect(w, "!1 15 bye\n0x\n-1 waiting>absent\n");
}

static void test_calls_for_nobody(void **state)
{
    struct world *w = *state;

    raw(w, 5, "garbage", 7, 0);
    raw(w, SDM_HUB_CONNS, "garbage", 7, 0);
    sdm_hub_lost(&w->hub, 5);
    sdm_hub_lost(&w->hub, SDM_HUB_CONNS);
    sdm_hub_reject(&w->hub, 5, SDM_ERR_INVAL, "no");
    sdm_hub_reject(&w->hub, SDM_HUB_CONNS, SDM_ERR_INVAL, "no");
    sdm_hub_timeout(&w->hub, 0, 1);
    sdm_hub_timeout(&w->hub, 4, 1);
    sdm_hub_timeout(&w->hub, 1, nth(w, 1));
    assert_int_equal(sdm_hub_conn_is_new(&w->hub, 5), 0);
    assert_int_equal(sdm_hub_conn_is_new(&w->hub, SDM_HUB_CONNS), 0);
    expect(w, "");
}

static void test_reject_from_outside(void **state)
{
    struct world *w = *state;

    sdm_hub_accept(&w->hub, 1);
    sdm_hub_reject(&w->hub, 0, SDM_ERR_TIMEOUT, "no HELLO within 5 s");
    expect(w, "0< ERROR 11 no HELLO within 5 s\n"
              "!0 11 no HELLO within 5 s\n"
              "0x\n");
    join(w);
    /* one that does not even take the ERROR */
    w->send_error[0] = EPIPE;
    sdm_hub_reject(&w->hub, 0, SDM_ERR_INVAL, "too many fds");
    expect(w, "0< fails\n!1 1 too many fds\n0x\n-1 waiting>absent\n");
}

/* ---------------------------------------------------------------- requests */

static void test_life(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    assert_int_equal(request(w, 1, SDM_WIRE_GET_DTB), SDM_OK);
    assert_int_equal(last(w), 1);
    answer_dtb(w, conn, 1);
    expect(w, "0< GET_DTB#1\n"
              "1 GET_DTB#1 0 fd 50 of 999\n");
    assert_int_equal(boot(w, 1, 512 * MiB, RAM_SIZE), SDM_OK);
    expect(w, "0< BOOT#2 512+64\n"
              "1 waiting>booting\n");
    answer(w, conn, 2, SDM_OK, "");
    expect(w, "1 booting>running\n"
              "1 BOOT#2 0 \n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 1);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.offset, 512 * MiB);
    assert_int_equal(request(w, 1, SDM_WIRE_STOP), SDM_OK);
    answer(w, conn, 3, SDM_OK, "");
    expect(w, "0< STOP#3\n"
              "1 running>stopped\n"
              "1 STOP#3 0 \n");
    assert_int_equal(request(w, 1, SDM_WIRE_RESET), SDM_OK);
    answer(w, conn, 4, SDM_OK, "");
    expect(w, "0< RESET#4\n"
              "1 stopped>waiting\n"
              "1 RESET#4 0 \n");
    boot_ok(w, conn, 1, 0);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 2);
    say_state(w, conn, SDM_STATE_CRASHED);
    expect(w, "1 running>crashed\n");
    say_state(w, conn, SDM_STATE_WAITING);
    expect(w, "1 crashed>waiting\n");
    /* said again: nothing new */
    say_state(w, conn, SDM_STATE_WAITING);
    expect(w, "");
    sdm_hub_lost(&w->hub, conn);
    expect(w, "0x\n-1 waiting>absent\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->conn, -1);
}

static void test_request_fails(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot(w, 1, 0, RAM_SIZE);
    forget(w);
    answer(w, conn, last(w), SDM_ERR_RECORD, "magic is 0x0");
    expect(w, "1 booting>waiting\n"
              "1 BOOT#1 6 magic is 0x0\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 0);
    boot_ok(w, conn, 1, 0);
    /* STOP and RESET that fail leave the state as it was */
    request(w, 1, SDM_WIRE_STOP);
    answer(w, conn, last(w), SDM_ERR_STATE, "not now");
    expect(w, "0< STOP#3\n1 STOP#3 3 not now\n");
    request(w, 1, SDM_WIRE_RESET);
    answer(w, conn, last(w), SDM_ERR_INTERNAL, "cannot");
    expect(w, "0< RESET#4\n1 RESET#4 15 cannot\n");
    request(w, 1, SDM_WIRE_GET_DTB);
    answer(w, conn, last(w), SDM_ERR_UNSUPPORTED, "no device tree");
    expect(w, "0< GET_DTB#5\n1 GET_DTB#5 4 no device tree\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_RUNNING);
}

static void test_request_refused(void **state)
{
    struct world *w = *state;
    unsigned conn;

    assert_int_equal(request(w, 0, SDM_WIRE_RESET), SDM_ERR_NO_PEER);
    assert_int_equal(request(w, 4, SDM_WIRE_RESET), SDM_ERR_NO_PEER);
    assert_int_equal(request(w, UINT32_MAX, SDM_WIRE_BOOT), SDM_ERR_NO_PEER);
    assert_int_equal(boot(w, 2, 0, RAM_SIZE), SDM_ERR_NO_PEER);
    assert_int_equal(request(w, 1, SDM_WIRE_ANSWER), SDM_ERR_INVAL);
    expect(w, "0 refused 2 slave 0: no such id (num-slaves=3)\n"
              "4 refused 2 slave 4: no such id (num-slaves=3)\n"
              "4294967295 refused 2 slave 4294967295: no such id "
              "(num-slaves=3)\n"
              "2 refused 2 slave 2 is not connected\n"
              "1 refused 1 no request of type 8\n");
    conn = join(w);
    assert_int_equal(request(w, 1, SDM_WIRE_RESET), SDM_ERR_STATE);
    assert_int_equal(request(w, 1, SDM_WIRE_STOP), SDM_ERR_STATE);
    expect(w, "1 refused 3 slave 1 is waiting: it waits already\n"
              "1 refused 3 slave 1 is waiting: only a running one stops\n");
    boot(w, 1, 0, RAM_SIZE);
    forget(w);
    assert_int_equal(boot(w, 1, 0, RAM_SIZE), SDM_ERR_STATE);
    assert_int_equal(request(w, 1, SDM_WIRE_RESET), SDM_ERR_BUSY);
    assert_int_equal(request(w, 1, SDM_WIRE_GET_DTB), SDM_ERR_BUSY);
    expect(w, "1 refused 3 slave 1 is booting: reset it first\n"
              "1 refused 9 slave 1 has not answered BOOT yet: try again\n"
              "1 refused 9 slave 1 has not answered BOOT yet: try again\n");
    answer(w, conn, last(w), SDM_OK, "");
    forget(w);
    assert_int_equal(boot(w, 1, 0, RAM_SIZE), SDM_ERR_STATE);
    expect(w, "1 refused 3 slave 1 is running: reset it first\n");
}

static void test_windows_refused(void **state)
{
    struct world *w = *state;

    join(w);
    sdm_hub_memory(&w->hub, 0, 0);
    assert_int_equal(boot(w, 1, 0, RAM_SIZE), SDM_ERR_MEMORY);
    expect(w, "1 refused 8 slave 1: the master has no shared memory: give it "
              "a memory-backend-shared with this socket\n");
    sdm_hub_memory(&w->hub, MEMORY, PAGE);
    assert_int_equal(boot(w, 1, 0, 0), SDM_ERR_WINDOW);
    assert_int_equal(request(w, 1, SDM_WIRE_BOOT), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 4096, RAM_SIZE), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 0, RAM_SIZE + 1), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, MEMORY, RAM_SIZE), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 0 - PAGE, RAM_SIZE), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 0, 2 * MEMORY), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 0, 2 * RAM_SIZE), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 0, RAM_SIZE - PAGE), SDM_ERR_WINDOW);
    expect(w,
        "1 refused 5 window of 0 B at offset 0x0: give a size\n"
        "1 refused 5 window of 0 B at offset 0x0: give a size\n"
        "1 refused 5 window of 64 MiB at offset 0x1000: both must be "
        "multiples of the page size, 2 MiB\n"
        "1 refused 5 window of 67108865 B at offset 0x0: both must be "
        "multiples of the page size, 2 MiB\n"
        "1 refused 5 window of 64 MiB at offset 0x40000000: it does not lie "
        "in the master's memory of 1 GiB\n"
        "1 refused 5 window of 64 MiB at offset 0xffffffffffe00000: it does "
        "not lie in the master's memory of 1 GiB\n"
        "1 refused 5 window of 2 GiB at offset 0x0: it does not lie in the "
        "master's memory of 1 GiB\n"
        "1 refused 5 window of 128 MiB at offset 0x0: slave 1 was started "
        "with 64 MiB; give it a window of that size\n"
        "1 refused 5 window of 62 MiB at offset 0x0: slave 1 was started with "
        "64 MiB; give it a window of that size\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.size, 0);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_WAITING);
}

static void test_windows_overlap(void **state)
{
    struct world *w = *state;
    unsigned a = join(w), b = join(w);
    static const uint32_t states[] = {
        SDM_STATE_BOOTING, SDM_STATE_RUNNING, SDM_STATE_STOPPED,
        SDM_STATE_CRASHED,
    };
    unsigned i;

    boot(w, 1, 512 * MiB, RAM_SIZE);
    forget(w);
    for (i = 0; i < ARRAY_SIZE(states); i++) {
        if (states[i] == SDM_STATE_RUNNING) {
            answer(w, a, last(w), SDM_OK, "");
        } else if (states[i] != SDM_STATE_BOOTING) {
            say_state(w, a, SDM_STATE_RUNNING);
            say_state(w, a, states[i]);
        }
        forget(w);
        assert_int_equal(boot(w, 2, 512 * MiB, RAM_SIZE), SDM_ERR_WINDOW);
        assert_int_equal(boot(w, 2, 450 * MiB, RAM_SIZE), SDM_ERR_WINDOW);
        assert_int_equal(boot(w, 2, 574 * MiB, RAM_SIZE), SDM_ERR_WINDOW);
        expect(w,
            "2 refused 5 window of 64 MiB at offset 0x20000000: it overlaps "
            "the one of slave 1, a window of 64 MiB at offset 0x20000000\n"
            "2 refused 5 window of 64 MiB at offset 0x1c200000: it overlaps "
            "the one of slave 1, a window of 64 MiB at offset 0x20000000\n"
            "2 refused 5 window of 64 MiB at offset 0x23e00000: it overlaps "
            "the one of slave 1, a window of 64 MiB at offset 0x20000000\n");
    }
    /* side by side is fine */
    boot_ok(w, b, 2, 448 * MiB);
    say_state(w, b, SDM_STATE_WAITING);
    /* and one that waits again holds nothing */
    say_state(w, a, SDM_STATE_WAITING);
    boot_ok(w, b, 2, 512 * MiB);
    /* nor does one that is gone */
    sdm_hub_lost(&w->hub, b);
    boot_ok(w, a, 1, 512 * MiB);
}

static void test_fixed_window(void **state)
{
    struct world *w = *state;
    struct sdm_window fixed = { 960 * MiB, RAM_SIZE };
    struct sdm_window beyond = { MEMORY, RAM_SIZE };
    unsigned conn;

    sdm_hub_fixed_window(&w->hub, 0, &beyond);
    sdm_hub_fixed_window(&w->hub, 4, &beyond);
    sdm_hub_fixed_window(&w->hub, 1, &fixed);
    /* the slave's own fd has it at another place */
    w->grant.memory_size = RAM_SIZE;
    w->grant.window.offset = 0;
    w->grant.window.size = RAM_SIZE;
    conn = hello(w, 1, "");
    expect(w, "0< WELCOME v1 id 1 of 3 features 0xf memory 64 window 0+64 "
              "page 2 fds 0x0:\n"
              "+1 absent>waiting\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.offset, 960 * MiB);
    assert_int_equal(boot(w, 1, 512 * MiB, RAM_SIZE), SDM_ERR_WINDOW);
    assert_int_equal(boot(w, 1, 960 * MiB, RAM_SIZE - PAGE), SDM_ERR_WINDOW);
    expect(w, "1 refused 5 window of 64 MiB at offset 0x20000000: windows= "
              "gives slave 1 the window of 64 MiB at offset 0x3c000000; leave "
              "offset and size out\n"
              "1 refused 5 window of 62 MiB at offset 0x3c000000: windows= "
              "gives slave 1 the window of 64 MiB at offset 0x3c000000; leave "
              "offset and size out\n");
    assert_int_equal(boot(w, 1, 960 * MiB, RAM_SIZE), SDM_OK);
    expect(w, "0< BOOT#1 0+64\n1 waiting>booting\n");
    answer(w, conn, 1, SDM_ERR_MEMORY, "");
    forget(w);
    assert_int_equal(boot(w, 1, 0, 0), SDM_OK);
    answer(w, conn, 2, SDM_ERR_MEMORY, "");
    assert_int_equal(request(w, 1, SDM_WIRE_BOOT), SDM_OK);
    answer(w, conn, 3, SDM_OK, "");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.offset, 960 * MiB);
    /* another's window may not reach into it */
    forget(w);
    w->grant.memory_size = MEMORY;
    w->grant.window.size = 0;
    join(w);
    assert_int_equal(boot(w, 2, 958 * MiB, RAM_SIZE), SDM_ERR_WINDOW);
    forget(w);
    /* it stays fixed when the slave leaves and another comes */
    sdm_hub_lost(&w->hub, conn);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.offset, 960 * MiB);
    join(w);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.offset, 960 * MiB);
}

/* A slave that was started with another size than its fixed window. */
static void test_fixed_window_size(void **state)
{
    struct world *w = *state;
    struct sdm_window fixed = { 896 * MiB, 2 * RAM_SIZE };

    sdm_hub_fixed_window(&w->hub, 1, &fixed);
    join(w);
    assert_int_equal(request(w, 1, SDM_WIRE_BOOT), SDM_ERR_WINDOW);
    expect(w, "1 refused 5 window of 128 MiB at offset 0x38000000: slave 1 "
              "was started with 64 MiB; give it a window of that size\n");
}

static void test_window_is_forgotten(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot_ok(w, conn, 1, 512 * MiB);
    sdm_hub_lost(&w->hub, conn);
    join(w);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->window.size, 0);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 0);
}

static void test_timeout(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    request(w, 1, SDM_WIRE_GET_DTB);
    forget(w);
    sdm_hub_timeout(&w->hub, 1, 77);        /* some other request's */
    expect(w, "");
    sdm_hub_timeout(&w->hub, 1, nth(w, 1));
    expect(w, "1 GET_DTB#1 11 the slave did not answer in time\n");
    sdm_hub_timeout(&w->hub, 1, nth(w, 1));
    expect(w, "");
    /* the late answer changes nothing, in either form */
    answer_dtb(w, conn, 1);
    answer(w, conn, 1, SDM_ERR_INTERNAL, "");
    expect(w, "");
    assert_int_equal(request(w, 1, SDM_WIRE_GET_DTB), SDM_OK);
    answer_dtb(w, conn, 1);
    expect(w, "0< GET_DTB#2\n");
    answer_dtb(w, conn, 2);
    expect(w, "1 GET_DTB#2 0 fd 50 of 999\n");
}

/* A late answer to BOOT, RESET or STOP still says where the slave is. */
static void test_late_answers(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot(w, 1, 0, RAM_SIZE);
    sdm_hub_timeout(&w->hub, 1, nth(w, 1));
    expect(w, "0< BOOT#1 0+64\n"
              "1 waiting>booting\n"
              "1 BOOT#1 11 the slave did not answer in time\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_BOOTING);
    answer(w, conn, 1, SDM_OK, "");
    expect(w, "1 booting>running\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 1);
    answer(w, conn, 1, SDM_OK, "");         /* twice says nothing new */
    expect(w, "");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 1);

    request(w, 1, SDM_WIRE_STOP);
    sdm_hub_timeout(&w->hub, 1, nth(w, 2));
    forget(w);
    answer(w, conn, 2, SDM_OK, "");
    expect(w, "1 running>stopped\n");

    request(w, 1, SDM_WIRE_RESET);
    sdm_hub_timeout(&w->hub, 1, nth(w, 3));
    forget(w);
    answer(w, conn, 3, SDM_OK, "");
    expect(w, "1 stopped>waiting\n");

    /* it does not end the request that is open now */
    boot(w, 1, 0, RAM_SIZE);
    sdm_hub_timeout(&w->hub, 1, nth(w, 4));
    request(w, 1, SDM_WIRE_GET_DTB);
    forget(w);
    answer(w, conn, 4, SDM_ERR_ISA, "");
    expect(w, "1 booting>waiting\n");
    answer_dtb(w, conn, 5);
    expect(w, "1 GET_DTB#5 0 fd 50 of 999\n");

    /* nor is it lost on the way to a second try, whatever that one gives */
    boot_ok(w, conn, 1, 0);
    request(w, 1, SDM_WIRE_RESET);
    sdm_hub_timeout(&w->hub, 1, nth(w, 7));
    request(w, 1, SDM_WIRE_RESET);
    forget(w);
    answer(w, conn, 7, SDM_OK, "");
    answer(w, conn, 8, SDM_ERR_STATE, "it waits already");
    expect(w, "1 running>waiting\n"
              "1 RESET#8 3 it waits already\n");
}

/* A late answer that cannot be true any more is no reason to close. */
static void test_late_impossible(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot_ok(w, conn, 1, 0);
    request(w, 1, SDM_WIRE_STOP);
    sdm_hub_timeout(&w->hub, 1, w->last_seq);
    say_state(w, conn, SDM_STATE_WAITING);
    forget(w);
    answer(w, conn, last(w), SDM_OK, "");
    expect(w, "");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_WAITING);
}

static void test_state_after_timeout(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot(w, 1, 0, RAM_SIZE);
    sdm_hub_timeout(&w->hub, 1, nth(w, 1));
    forget(w);
    say_state(w, conn, SDM_STATE_RUNNING);
    expect(w, "1 booting>running\n");
}

/* To nothing that was ever asked, in all four types, and in both forms. */
static void test_unknown_answer(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);
    uint16_t type;

    for (type = SDM_WIRE_BOOT; type <= SDM_WIRE_GET_DTB; type++) {
        w->types[33] = type;
        answer(w, conn, 33, SDM_OK, "");
        answer(w, conn, 33, SDM_ERR_INTERNAL, "");
        answer_dtb(w, conn, 33);
    }
    expect(w, "");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_WAITING);
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->boots, 0);
}

static void test_wrong_answer(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot(w, 1, 0, RAM_SIZE);
    forget(w);
    answer_dtb(w, conn, 1);
    expect(w, "0< ERROR 1 a device tree is no answer to BOOT\n"
              "!1 1 a device tree is no answer to BOOT\n"
              "0x\n"
              "1 BOOT#1 10 the slave was lost before it answered\n"
              "-1 booting>absent\n");
    conn = join(w);
    request(w, 1, SDM_WIRE_GET_DTB);
    forget(w);
    answer(w, conn, 2, SDM_OK, "");
    expect(w, "0< ERROR 1 success without a device tree is no answer to "
              "GET_DTB\n"
              "!1 1 success without a device tree is no answer to GET_DTB\n"
              "0x\n"
              "1 GET_DTB#2 10 the slave was lost before it answered\n"
              "-1 waiting>absent\n");
    /* a BOOT that succeeds although the slave has stopped since */
    conn = join(w);
    boot(w, 1, 0, RAM_SIZE);
    say_state(w, conn, SDM_STATE_RUNNING);
    say_state(w, conn, SDM_STATE_STOPPED);
    forget(w);
    answer(w, conn, 3, SDM_OK, "");
    expect(w, "0< ERROR 1 in this state the slave cannot have done BOOT"
              "\n"
              "!1 1 in this state the slave cannot have done BOOT\n"
              "0x\n"
              "1 BOOT#3 10 the slave was lost before it answered\n"
              "-1 stopped>absent\n");
}

/*
 * A slave that says "waiting" has said so before BOOT reached it, and so has
 * one that answers what was asked before: neither ends the booting.
 */
static void test_older_than_boot(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot_ok(w, conn, 1, 0);
    request(w, 1, SDM_WIRE_RESET);
    sdm_hub_timeout(&w->hub, 1, w->last_seq);
    say_state(w, conn, SDM_STATE_WAITING);      /* the guest's own reset */
    boot(w, 1, 0, RAM_SIZE);
    forget(w);
    answer(w, conn, 2, SDM_OK, "");             /* to RESET */
    say_state(w, conn, SDM_STATE_WAITING);
    expect(w, "");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_BOOTING);
    answer(w, conn, 3, SDM_OK, "");
    expect(w, "1 booting>running\n1 BOOT#3 0 \n");
}

/* It ran under another master before, and tells the new one. */
static void test_ran_before(void **state)
{
    static const uint32_t states[] = {
        SDM_STATE_RUNNING, SDM_STATE_STOPPED, SDM_STATE_CRASHED,
    };
    struct world *w = *state;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(states); i++) {
        unsigned conn = join(w);
        char expected[64];

        say_state(w, conn, states[i]);
        snprintf(expected, sizeof(expected), "1 waiting>%s\n",
                 sdm_state_text(states[i]));
        expect(w, expected);
        sdm_hub_lost(&w->hub, conn);
        forget(w);
    }
}

static void test_impossible_states(void **state)
{
    static const uint32_t states[] = {
        SDM_STATE_STOPPED, SDM_STATE_CRASHED,
    };
    struct world *w = *state;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(states); i++) {
        unsigned conn = join(w);
        char expected[512];

        boot(w, 1, 0, RAM_SIZE);
        forget(w);
        say_state(w, conn, states[i]);
        snprintf(expected, sizeof(expected),
                 "0< ERROR 3 slave 1 says that it is %s, but it was booting\n"
                 "!1 3 slave 1 says that it is %s, but it was booting\n"
                 "0x\n"
                 "1 BOOT#%u 10 the slave was lost before it answered\n"
                 "-1 booting>absent\n", sdm_state_text(states[i]),
                 sdm_state_text(states[i]), last(w));
        expect(w, expected);
    }
}

/* Messages that cross on the way are nobody's fault. */
static void test_crossing(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot_ok(w, conn, 1, 0);
    /* RESET meets the guest's own reset */
    request(w, 1, SDM_WIRE_RESET);
    say_state(w, conn, SDM_STATE_WAITING);
    answer(w, conn, last(w), SDM_OK, "");
    expect(w, "0< RESET#2\n1 running>waiting\n1 RESET#2 0 \n");
    boot_ok(w, conn, 1, 0);
    /* STOP meets a panic */
    request(w, 1, SDM_WIRE_STOP);
    say_state(w, conn, SDM_STATE_CRASHED);
    answer(w, conn, last(w), SDM_OK, "");
    expect(w, "0< STOP#4\n1 running>crashed\n1 STOP#4 0 \n");
}

/* The count of requests starts again before it would lose the type. */
static void test_seq_wraps(void **state)
{
    struct world *w = *state;

    join(w);
    w->hub.requests = (UINT32_MAX >> 2) - 1;
    request(w, 1, SDM_WIRE_GET_DTB);
    assert_int_equal(w->last_seq, UINT32_MAX);
    sdm_hub_timeout(&w->hub, 1, UINT32_MAX);
    assert_int_equal(boot(w, 1, 0, RAM_SIZE), SDM_OK);
    assert_int_equal(last(w), 1);
}

static void test_lost_with_open_request(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot(w, 1, 0, RAM_SIZE);
    forget(w);
    sdm_hub_lost(&w->hub, conn);
    expect(w, "0x\n"
              "1 BOOT#1 10 the slave was lost before it answered\n"
              "-1 booting>absent\n");
    sdm_hub_timeout(&w->hub, 1, nth(w, 1));
    expect(w, "");
    /* its number does not answer for the next one behind this id */
    conn = join(w);
    answer(w, conn, 1, SDM_OK, "");
    expect(w, "");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->state, SDM_STATE_WAITING);
}

/* ------------------------------------------------------------ failing sends */

static void test_request_send_fails(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w), other = join(w);

    w->send_error[conn] = EAGAIN;
    assert_int_equal(boot(w, 1, 0, RAM_SIZE), SDM_ERR_GONE);
    expect(w, "0< fails\n"
              "!1 10 the peer takes no messages (error 11): closing its "
              "connection\n"
              "0x\n"
              "-1 waiting>absent\n"
              "1 refused 10 slave 1 takes no messages: its connection is "
              "closed\n");
    assert_int_equal(sdm_hub_peer(&w->hub, 1)->open_type, 0);
    boot_ok(w, other, 2, 0);
}

/* Inside an event: the close waits until the event's receiver is done. */
static void nested_stop(struct world *w, const struct sdm_hub_event *event)
{
    struct sdm_text why;

    if (event->type == SDM_HUB_STATE && event->id == 2) {
        w->on_event = NULL;
        w->nested_status = sdm_hub_request(&w->hub, 1, SDM_WIRE_STOP, NULL,
                                           &w->last_seq, &why);
        strcpy(w->nested_why, why.buf);
        note(w, "nested: %u\n", w->nested_status);
        /* and a second try finds it closed in all but name */
        if (w->nested_status) {
            note(w, "again: %u\n",
                 sdm_hub_request(&w->hub, 1, SDM_WIRE_STOP, NULL, &w->last_seq,
                                 &why));
        }
    }
}

static void test_nested_send_fails(void **state)
{
    struct world *w = *state;
    unsigned a = join(w), b = join(w);

    boot_ok(w, a, 1, 0);
    boot_ok(w, b, 2, RAM_SIZE);
    w->send_error[a] = EPIPE;
    w->on_event = nested_stop;
    say_state(w, b, SDM_STATE_CRASHED);
    expect(w, "2 running>crashed\n"
              "0< fails\n"
              "nested: 10\n"
              "again: 2\n"
              "!1 10 the peer takes no messages (error 32): closing its "
              "connection\n"
              "0x\n"
              "-1 running>absent\n");
    assert_string_equal(w->nested_why, "slave 1 takes no messages: its "
                        "connection is closed");
}

/* Nothing more is sent to one that is being turned away. */
static void nested_reset(struct world *w, const struct sdm_hub_event *event)
{
    struct sdm_text why;

    note(w, "nested: %u\n",
         sdm_hub_request(&w->hub, event->id, SDM_WIRE_RESET, NULL,
                         &w->last_seq, &why));
}

static void test_nested_in_reject(void **state)
{
    struct world *w = *state;
    unsigned conn = join(w);

    boot_ok(w, conn, 1, 0);
    w->on_event = nested_reset;
    raw(w, conn, "garbage", 7, 0);
    expect(w, "0< ERROR 1 malformed message of length 7\n"
              "!1 1 malformed message of length 7\n"
              "nested: 2\n"
              "0x\n"
              "-1 running>absent\n"
              "nested: 2\n");
}

static void test_nested_request(void **state)
{
    struct world *w = *state;
    unsigned a = join(w), b = join(w);

    boot_ok(w, a, 1, 0);
    boot_ok(w, b, 2, RAM_SIZE);
    w->on_event = nested_stop;
    say_state(w, b, SDM_STATE_WAITING);
    expect(w, "2 running>waiting\n"
              "0< STOP#3\n"
              "nested: 0\n");
    answer(w, a, 3, SDM_OK, "");
    expect(w, "1 running>stopped\n1 STOP#3 0 \n");
}

/* A slave that is booted as soon as it waits, out of the event itself. */
static void nested_boot(struct world *w, const struct sdm_hub_event *event)
{
    struct sdm_window window = { event->id * RAM_SIZE, RAM_SIZE };
    struct sdm_text why;

    if (event->type == SDM_HUB_JOINED ||
        (event->type == SDM_HUB_STATE && event->state == SDM_STATE_WAITING) ||
        event->type == SDM_HUB_ANSWER || event->type == SDM_HUB_LEFT) {
        note(w, "nested: %u\n",
             sdm_hub_request(&w->hub, event->id, SDM_WIRE_BOOT, &window,
                             &w->last_seq, &why));
    }
}

static void test_boot_on_sight(void **state)
{
    struct world *w = *state;
    unsigned conn, watcher = observe(w);

    assert_int_equal(watcher, 0);
    forget(w);
    w->on_event = nested_boot;
    conn = hello(w, 0, "");
    expect(w, "1< WELCOME v1 id 1 of 3 features 0xf memory 1024 window 0+0 "
              "page 2 fds 0x0:\n"
              "0< PEER 1 waiting machine 40 pid 100 name '' ram "
              "0x40000000+64 window 0+0 boots 0 counters 11 12 13\n"
              "+1 absent>waiting\n"
              "1< BOOT#1 64+64\n"
              "nested: 0\n"
              "0< PEER 1 booting machine 40 pid 100 name '' ram "
              "0x40000000+64 window 64+64 boots 0 counters 11 12 13\n"
              "1 waiting>booting\n");
    answer(w, conn, 1, SDM_ERR_RECORD, "");
    /* while the old answer is told a new boot is refused, then it is taken */
    expect(w, "0< PEER 1 waiting machine 40 pid 100 name '' ram "
              "0x40000000+64 window 64+64 boots 0 counters 11 12 13\n"
              "1 booting>waiting\n"
              "nested: 9\n"
              "1 BOOT#1 6 \n"
              "1< BOOT#2 64+64\n"
              "nested: 0\n"
              "0< PEER 1 booting machine 40 pid 100 name '' ram "
              "0x40000000+64 window 64+64 boots 0 counters 11 12 13\n"
              "1 waiting>booting\n");
    /* and of one that is gone nothing more can be asked */
    sdm_hub_lost(&w->hub, conn);
    expect(w, "1x\n"
              "0< PEER 1 absent machine 40 pid 0 name '' ram 0x40000000+64 "
              "window 64+64 boots 0 counters 11 12 13\n"
              "1 BOOT#2 10 the slave was lost before it answered\n"
              "nested: 2\n"
              "-1 booting>absent\n"
              "nested: 2\n");
}

/* ---------------------------------------------------------------- observers */

static void test_observer(void **state)
{
    struct world *w = *state;
    unsigned conn, watcher;

    hello(w, 2, "two");
    forget(w);
    watcher = observe(w);
    expect(w, "1< WELCOME v1 id 0 of 3 features 0x0 memory 1024 window 0+0 "
              "page 2 fds 0x0:\n"
              "1< PEER 1 absent machine 0 pid 0 name '' ram 0x0+0 window 0+0 "
              "boots 0 counters 11 12 13\n"
              "1< PEER 2 waiting machine 40 pid 100 name 'two' ram "
              "0x40000000+64 window 0+0 boots 0 counters 21 22 23\n"
              "1< PEER 3 absent machine 0 pid 0 name '' ram 0x0+0 window 0+0 "
              "boots 0 counters 31 32 33\n"
              "1< PEER end\n");
    conn = hello(w, 0, "x");
    expect(w, "2< WELCOME v1 id 1 of 3 features 0xf memory 1024 window 0+0 "
              "page 2 fds 0x0:\n"
              "1< PEER 1 waiting machine 40 pid 100 name 'x' ram "
              "0x40000000+64 window 0+0 boots 0 counters 11 12 13\n"
              "+1 absent>waiting\n");
    boot(w, 1, 0, RAM_SIZE);
    expect(w, "2< BOOT#1 0+64\n"
              "1< PEER 1 booting machine 40 pid 100 name 'x' ram "
              "0x40000000+64 window 0+64 boots 0 counters 11 12 13\n"
              "1 waiting>booting\n");
    answer(w, conn, 1, SDM_OK, "");
    expect(w, "1< PEER 1 running machine 40 pid 100 name 'x' ram "
              "0x40000000+64 window 0+64 boots 1 counters 11 12 13\n"
              "1 booting>running\n"
              "1 BOOT#1 0 \n");
    sdm_hub_lost(&w->hub, conn);
    expect(w, "2x\n"
              "1< PEER 1 absent machine 40 pid 0 name 'x' ram 0x40000000+64 "
              "window 0+64 boots 1 counters 11 12 13\n"
              "-1 running>absent\n");
    sdm_hub_lost(&w->hub, watcher);
    expect(w, "1x\n");
}

static void test_observer_may_not_speak(void **state)
{
    struct world *w = *state;
    unsigned watcher = observe(w);

    forget(w);
    say_state(w, watcher, SDM_STATE_RUNNING);
    expect(w, "0< ERROR 14 an observer must not send\n"
              "!0 14 an observer must not send\n"
              "0x\n");
    watcher = observe(w);
    forget(w);
    raw(w, watcher, "garbage", 7, 0);
    expect(w, "0< ERROR 1 malformed message of length 7\n"
              "!0 1 malformed message of length 7\n"
              "0x\n");
}

/* One that stops reading is dropped, the other one is not disturbed. */
static void test_observer_send_fails(void **state)
{
    struct world *w = *state;

    observe(w);
    observe(w);
    forget(w);
    w->send_error[0] = EAGAIN;
    hello(w, 0, "");
    expect(w, "2< WELCOME v1 id 1 of 3 features 0xf memory 1024 window 0+0 "
              "page 2 fds 0x0:\n"
              "0< fails\n"
              "1< PEER 1 waiting machine 40 pid 100 name '' ram "
              "0x40000000+64 window 0+0 boots 0 counters 11 12 13\n"
              "+1 absent>waiting\n"
              "!0 10 the peer takes no messages (error 11): closing its "
              "connection\n"
              "0x\n");
    /* in the middle of its first rows: the rest is not tried */
    observe(w);
    expect(w, "0< fails\n"
              "!0 10 the peer takes no messages (error 11): closing its "
              "connection\n"
              "0x\n");
}

static void test_no_counters(void **state)
{
    struct world *w = *state;

    sdm_hub_init(&w->hub, &ops_no_counters, w, 1);
    observe(w);
    assert_non_null(strstr(w->log, "PEER 1 absent machine 0 pid 0 name '' ram "
                           "0x0+0 window 0+0 boots 0 counters 0 0 0\n"));
}

#define TEST(name)  cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_join),
        TEST(test_join_some_fds),
        TEST(test_ids_lowest_free),
        TEST(test_ids_wanted),
        TEST(test_ids_by_name),
        TEST(test_name_moves),
        TEST(test_versions),
        TEST(test_grant_refused),
        TEST(test_welcome_fails),
        TEST(test_conns_full),
        TEST(test_all_slaves),
        TEST(test_garbage),
        TEST(test_wrong_type),
        TEST(test_error_from_peer),
        TEST(test_calls_for_nobody),
        TEST(test_reject_from_outside),
        TEST(test_life),
        TEST(test_request_fails),
        TEST(test_request_refused),
        TEST(test_windows_refused),
        TEST(test_windows_overlap),
        TEST(test_fixed_window),
        TEST(test_fixed_window_size),
        TEST(test_window_is_forgotten),
        TEST(test_timeout),
        TEST(test_late_answers),
        TEST(test_late_impossible),
        TEST(test_state_after_timeout),
        TEST(test_unknown_answer),
        TEST(test_wrong_answer),
        TEST(test_older_than_boot),
        TEST(test_ran_before),
        TEST(test_impossible_states),
        TEST(test_crossing),
        TEST(test_seq_wraps),
        TEST(test_lost_with_open_request),
        TEST(test_request_send_fails),
        TEST(test_nested_send_fails),
        TEST(test_nested_in_reject),
        TEST(test_nested_request),
        TEST(test_boot_on_sight),
        TEST(test_observer),
        TEST(test_observer_may_not_speak),
        TEST(test_observer_send_fails),
        TEST(test_no_counters),
    };

    return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
