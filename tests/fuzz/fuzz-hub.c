/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The master's table under fire: many connections that send anything, requests
 * from inside and outside of events, sends that fail. Input: a byte of setup,
 * then steps of one byte and their operands. After each step the table is
 * consistent, and each request is answered exactly once.
 */
#include <errno.h>

#include "sdm/sdm-hub.h"
#include "sdm/sdm-life.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "hub";

#define MIB     (1u << 20)
#define MEMORY  (64u * MIB)
#define PAGE    4096u

enum { ACCEPT, RAW, HELLO, STATE, ANSWER, DTB, ERROR, LOST, REJECT, REQUEST,
       TIMEOUT, FAIL_SEND, GRANT, REACT, MEMORY_SIZE, STEPS };

/** struct watcher - what an observer has been told */
struct watcher {
    int welcome;
    uint32_t rows;      /* of the start */
    uint32_t state[SDM_MAX_SLAVES + 1];
};

struct wish {
    int set;
    uint32_t id;
    uint16_t type;
    struct sdm_window window;
};

struct world {
    struct sdm_hub hub;
    uint32_t n;
    unsigned conns;         /* numbers that steps speak of */
    int fixed;
    int alive[SDM_HUB_CONNS];
    int fail_send[SDM_HUB_CONNS];
    int in_op, in_event, in_request;
    uint32_t grant_status;
    uint32_t told[SDM_MAX_SLAVES + 1];
    uint32_t open[SDM_MAX_SLAVES + 1];      /* seq of the open request, or 0 */
    uint32_t last[SDM_MAX_SLAVES + 1];      /* seq of the last request */
    uint16_t open_type[SDM_MAX_SLAVES + 1];
    struct wish wish;       /* to be asked for inside the next event */
    struct watcher watchers[SDM_HUB_CONNS];
};

static struct sdm_window window_of(uint32_t id)
{
    struct sdm_window w = { MEMORY - id * MIB, MIB };

    return w;
}

/* ------------------------------------------------------------- the ops */

static void watch(struct world *w, unsigned conn, const struct sdm_msg *m)
{
    struct watcher *o = &w->watchers[conn];

    if (m->type == SDM_WIRE_WELCOME) {
        CHECK(!o->welcome);
        o->welcome = 1;
        return;
    }
    CHECK(m->type == SDM_WIRE_PEER && o->welcome);
    if (o->rows <= w->n) {      /* every id once, then the mark */
        CHECK(m->u.peer.id == (o->rows + 1) % (w->n + 1));
        o->rows++;
    } else {
        CHECK(m->u.peer.id >= 1);
    }
    CHECK(m->u.peer.id <= w->n);
    o->state[m->u.peer.id] = m->u.peer.state;
}

static int op_send(void *opaque, unsigned conn, const void *buf, size_t len,
                   const int *fds, unsigned nfds)
{
    struct world *w = opaque;
    struct sdm_msg m;

    CHECK(!w->in_op);
    CHECK(conn < SDM_HUB_CONNS && w->alive[conn]);
    CHECK(len <= SDM_WIRE_MAX);
    CHECK(nfds <= SDM_WIRE_MAX_FDS);
    CHECK(sdm_msg_decode(&m, buf, len, nfds) == 0);
    for (unsigned i = 0; i < nfds; i++) {
        CHECK(fds[i] >= 100);
    }
    if (w->fail_send[conn]) {
        return -EAGAIN;
    }
    if (m.type == SDM_WIRE_ERROR) {
        CHECK(m.u.answer.text[0]);
    } else if (w->hub.conns[conn].kind == SDM_CONN_OBSERVER) {
        watch(w, conn, &m);
    } else if (m.type == SDM_WIRE_WELCOME) {
        CHECK(w->hub.conns[conn].kind == SDM_CONN_NEW);
        CHECK(m.u.welcome.id >= 1 && m.u.welcome.id <= w->n);
    } else {
        CHECK(w->hub.conns[conn].kind == SDM_CONN_SLAVE);
        CHECK(m.type == SDM_WIRE_BOOT || m.type == SDM_WIRE_RESET ||
              m.type == SDM_WIRE_STOP || m.type == SDM_WIRE_GET_DTB);
        CHECK(w->in_request);
    }
    return 0;
}

static void op_close(void *opaque, unsigned conn)
{
    struct world *w = opaque;

    CHECK(!w->in_op);
    CHECK(conn < SDM_HUB_CONNS && w->alive[conn]);
    w->alive[conn] = 0;
    w->fail_send[conn] = 0;
    memset(&w->watchers[conn], 0, sizeof(w->watchers[conn]));
}

static uint32_t op_grant(void *opaque, uint32_t id, uint64_t ram_size,
                         struct sdm_grant *grant, const char **text)
{
    struct world *w = opaque;
    uint32_t status = w->grant_status;

    CHECK(!w->in_op);
    CHECK(id >= 1 && id <= w->n);
    CHECK(ram_size > 0);
    w->grant_status = SDM_OK;
    if (status) {
        *text = status % 2 ? "not granted" : NULL;
        return status;
    }
    grant->memory_size = MEMORY;
    grant->page_size = PAGE;
    grant->features = 0xf;
    if (w->fixed) {
        grant->window = window_of(id);
    }
    for (int i = 0; i < 3; i++) {
        grant->fds[i] = 100 + i;
    }
    return SDM_OK;
}

static void request(struct world *w, const struct wish *wish)
{
    const struct sdm_peer *peer = sdm_hub_peer(&w->hub, wish->id);
    struct sdm_text why;
    uint32_t seq = 0, status;

    why.len = SIZE_MAX;
    w->in_request++;
    status = sdm_hub_request(&w->hub, wish->id, wish->type, &wish->window,
                             &seq, &why);
    w->in_request--;
    CHECK(status < SDM_ERRS);
    CHECK(strlen(why.buf) == why.len);
    CHECK((status == SDM_OK) == (why.len == 0));
    if (status == SDM_OK) {
        CHECK(peer && !w->open[wish->id] && seq);
        w->open[wish->id] = seq;
        w->last[wish->id] = seq;
        w->open_type[wish->id] = wish->type;
    }
}

static void op_event(void *opaque, const struct sdm_hub_event *event)
{
    struct world *w = opaque;
    const uint32_t id = event->id;
    struct wish wish = w->wish;

    CHECK(!w->in_op && !w->in_event);
    CHECK(event->text);
    CHECK(id <= w->n);
    w->in_event = 1;
    switch (event->type) {
    case SDM_HUB_JOINED:
        CHECK(w->told[id] == SDM_STATE_ABSENT);
        CHECK(event->state == SDM_STATE_WAITING);
        w->told[id] = event->state;
        break;
    case SDM_HUB_STATE:
        CHECK(event->old == w->told[id] && event->state != event->old);
        CHECK(event->state != SDM_STATE_ABSENT);
        w->told[id] = event->state;
        break;
    case SDM_HUB_ANSWER:
        CHECK(event->seq && event->seq == w->open[id]);
        CHECK(event->request == w->open_type[id]);
        CHECK((event->fd >= 0) == (event->request == SDM_WIRE_GET_DTB &&
                                   event->status == SDM_OK));
        w->open[id] = 0;
        break;
    case SDM_HUB_LEFT:
        CHECK(!w->open[id]);
        CHECK(w->told[id] != SDM_STATE_ABSENT);
        w->told[id] = SDM_STATE_ABSENT;
        break;
    case SDM_HUB_REJECTED:
        CHECK(event->status != SDM_OK);
        CHECK(event->text[0] || event->status);
        break;
    }
    if (wish.set) {
        w->wish.set = 0;
        request(w, &wish);
    }
    w->in_event = 0;
}

static void op_counters(void *opaque, uint32_t id, uint64_t *sent,
                        uint64_t *taken, uint64_t *refused)
{
    struct world *w = opaque;

    CHECK(id >= 1 && id <= w->n);
    *sent = 3;
    *taken = 2;
    *refused = 1;
}

static const struct sdm_hub_ops ops = {
    op_send, op_close, op_grant, op_event, op_counters,
};

/* ------------------------------------------------------------- the steps */

static unsigned read_conn(struct world *w, struct input *in)
{
    return input_u8(in) % w->conns;
}

static uint32_t read_id(struct world *w, struct input *in)
{
    return input_u8(in) % (w->n + 2);
}

/* Mostly the one that is open, or was. */
static uint32_t read_seq(struct world *w, struct input *in, unsigned conn)
{
    uint32_t id = w->hub.conns[conn].id;
    uint8_t which = input_u8(in);

    return which < 128 && id ? w->last[id] : which % 64;
}

static void read_wish(struct world *w, struct input *in, struct wish *wish)
{
    static const uint16_t types[] = {
        SDM_WIRE_BOOT, SDM_WIRE_RESET, SDM_WIRE_STOP, SDM_WIRE_GET_DTB,
    };
    uint8_t how = input_u8(in);

    wish->set = 1;
    wish->type = how % 8 == 7 ? input_u8(in) : types[how % 4];
    wish->id = read_id(w, in);
    wish->window.size = MIB * ((how >> 3) % 3);
    wish->window.offset = (uint64_t)input_u8(in) * MIB / 4;
    if (how & 0x80) {
        wish->window.size = input_u64(in);
        wish->window.offset = input_u64(in);
    } else if (how & 0x40) {
        wish->window = window_of(wish->id);
    }
}

static void receive(struct world *w, unsigned conn, const void *buf,
                    size_t len, unsigned nfds)
{
    static const int fds[SDM_WIRE_MAX_FDS] = { 200, 201, 202, 203 };

    if (w->alive[conn]) {
        sdm_hub_receive(&w->hub, conn, buf, len, fds, nfds);
    }
}

static void receive_msg(struct world *w, unsigned conn,
                        const struct sdm_msg *m, unsigned nfds)
{
    uint8_t buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(m, buf);

    CHECK(len > 0);
    receive(w, conn, buf, len, nfds);
}

static void read_hello(struct world *w, struct input *in, struct sdm_msg *m)
{
    static const char *const names[] = { "", "a", "b", "c" };
    uint8_t how = input_u8(in);

    m->type = SDM_WIRE_HELLO;
    m->u.hello.version_min = 1;
    m->u.hello.version_max = 1 + (how & 3);
    if ((how & 0xf) == 0xf) {
        m->u.hello.version_min = 2;
    }
    m->u.hello.role = how & 0x10 ? SDM_ROLE_OBSERVER : SDM_ROLE_SLAVE;
    m->u.hello.machine = 40;
    m->u.hello.want_id = how & 0x20 ? read_id(w, in) : 0;
    m->u.hello.ram_base = 0x40000000;
    m->u.hello.ram_size = how & 0x10 ? 0 : how & 0x40 ? 2 * MIB : MIB;
    strcpy(m->u.hello.name, names[input_u8(in) % 4]);
}

static void step(struct world *w, struct input *in)
{
    static const uint32_t states[] = {
        SDM_STATE_WAITING, SDM_STATE_RUNNING, SDM_STATE_STOPPED,
        SDM_STATE_CRASHED,
    };
    uint8_t op = input_u8(in) % STEPS;
    struct sdm_msg m;
    struct wish wish;
    const uint8_t *raw;
    unsigned conn, nfds;
    uint32_t id;
    size_t len;
    int ret;

    memset(&m, 0, sizeof(m));
    switch (op) {
    case ACCEPT:
        ret = sdm_hub_accept(&w->hub, 1234);
        if (ret < 0) {
            CHECK(ret == -ENOSPC);
            break;
        }
        CHECK(ret < (int)SDM_HUB_CONNS && !w->alive[ret]);
        w->alive[ret] = 1;
        CHECK(sdm_hub_conn_is_new(&w->hub, ret));
        break;
    case RAW:
        conn = read_conn(w, in);
        nfds = input_u8(in) % (SDM_WIRE_MAX_FDS + 1);
        raw = input_rest(in, input_u8(in), &len);
        receive(w, conn, raw, len, nfds);
        break;
    case HELLO:
        conn = read_conn(w, in);
        read_hello(w, in, &m);
        receive_msg(w, conn, &m, 0);
        break;
    case STATE:
        conn = read_conn(w, in);
        m.type = SDM_WIRE_STATE;
        m.u.state.state = states[input_u8(in) % 4];
        receive_msg(w, conn, &m, 0);
        break;
    case ANSWER:
    case ERROR:
        conn = read_conn(w, in);
        m.type = op == ANSWER ? SDM_WIRE_ANSWER : SDM_WIRE_ERROR;
        m.seq = op == ANSWER ? read_seq(w, in, conn) : 0;
        m.u.answer.status = input_u8(in) % SDM_ERRS;
        input_bytes(in, m.u.answer.text, input_u8(in) % 8);
        receive_msg(w, conn, &m, 0);
        break;
    case DTB:
        conn = read_conn(w, in);
        m.type = SDM_WIRE_DTB;
        m.seq = read_seq(w, in, conn);
        m.u.dtb.size = 4096;
        receive_msg(w, conn, &m, 1);
        break;
    case LOST:
        sdm_hub_lost(&w->hub, read_conn(w, in));
        break;
    case REJECT:
        sdm_hub_reject(&w->hub, read_conn(w, in), SDM_ERR_TIMEOUT, "no HELLO");
        break;
    case REQUEST:
        read_wish(w, in, &wish);
        request(w, &wish);
        break;
    case TIMEOUT:
        id = read_id(w, in);
        sdm_hub_timeout(&w->hub, id, input_u8(in) < 200 && id <= w->n ?
                                     w->open[id] : 7);
        break;
    case FAIL_SEND:
        conn = read_conn(w, in);
        w->fail_send[conn] = w->alive[conn];
        break;
    case GRANT:
        w->grant_status = input_u8(in) % SDM_ERRS;
        break;
    case REACT:
        read_wish(w, in, &w->wish);
        break;
    case MEMORY_SIZE:
        sdm_hub_memory(&w->hub, MEMORY, PAGE);
        break;
    }
}

/* -------------------------------------------------------- the invariants */

static int holds_window(const struct sdm_peer *p)
{
    return p->state != SDM_STATE_ABSENT && p->state != SDM_STATE_WAITING;
}

static void check_slaves(const struct world *w)
{
    const struct sdm_hub *hub = &w->hub;

    for (uint32_t id = 1; id <= w->n; id++) {
        const struct sdm_peer *p = &hub->peers[id];

        CHECK(p->state < SDM_STATES);
        CHECK((p->conn >= 0) == (p->state != SDM_STATE_ABSENT));
        CHECK(p->state == w->told[id]);
        CHECK((p->open_type != 0) == (w->open[id] != 0));
        if (p->conn >= 0) {
            CHECK(p->conn < (int)SDM_HUB_CONNS);
            CHECK(hub->conns[p->conn].kind == SDM_CONN_SLAVE);
            CHECK(hub->conns[p->conn].id == id);
        } else {
            CHECK(!p->open_type);
        }
        CHECK(!p->name[0] || sdm_name_ok(p->name));
        /* One that ran under a master before has none that we know. */
        if (holds_window(p) && p->window.size) {
            CHECK(sdm_window_check(&p->window, MEMORY, PAGE) == 0);
        }
    }
}

/* Each with each: not after every step where there are 64. */
static void check_pairs(const struct world *w)
{
    const struct sdm_peer *p, *q;

    for (uint32_t id = 1; id <= w->n; id++) {
        p = &w->hub.peers[id];
        for (uint32_t other = id + 1; other <= w->n; other++) {
            q = &w->hub.peers[other];
            CHECK(!p->name[0] || strcmp(p->name, q->name) != 0);
            CHECK(!holds_window(p) || !holds_window(q) ||
                  !sdm_window_overlaps(&p->window, &q->window));
        }
    }
}

static void check_world(const struct world *w)
{
    const struct sdm_hub *hub = &w->hub;

    CHECK(hub->depth == 0);
    check_slaves(w);
    for (unsigned c = 0; c < SDM_HUB_CONNS; c++) {
        CHECK((hub->conns[c].kind != SDM_CONN_FREE) == w->alive[c]);
        CHECK(hub->conns[c].failed == 0);
        if (hub->conns[c].kind == SDM_CONN_SLAVE) {
            CHECK(hub->peers[hub->conns[c].id].conn == (int)c);
        }
        if (hub->conns[c].kind == SDM_CONN_OBSERVER) {
            CHECK(w->watchers[c].rows == w->n + 1);
            for (uint32_t id = 1; id <= w->n; id++) {
                CHECK(w->watchers[c].state[id] == hub->peers[id].state);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct world *w = calloc(1, sizeof(*w));
    uint8_t how;

    CHECK(w);
    how = input_u8(&in);
    w->n = how & 0x80 ? SDM_MAX_SLAVES : 1u + how % 4;
    w->conns = how & 0x80 ? SDM_HUB_CONNS : 8;
    w->fixed = how >> 6 & 1;
    sdm_hub_init(&w->hub, &ops, w, w->n);
    for (uint32_t id = 1; w->fixed && id <= w->n; id++) {
        struct sdm_window window = window_of(id);

        sdm_hub_fixed_window(&w->hub, id, &window);
    }
    if (how & 0x20) {
        sdm_hub_memory(&w->hub, MEMORY, PAGE);
    }
    while (in.left) {
        step(w, &in);
        check_world(w);
        if (w->n <= 4 || !in.left) {
            check_pairs(w);
        }
    }

    w->wish.set = 0;
    for (unsigned c = 0; c < SDM_HUB_CONNS; c++) {
        sdm_hub_lost(&w->hub, c);
        CHECK(!w->alive[c]);
    }
    check_world(w);
    for (uint32_t id = 1; id <= w->n; id++) {
        CHECK(w->hub.peers[id].state == SDM_STATE_ABSENT);
        CHECK(!w->open[id]);
    }
    free(w);
    return 0;
}
