/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hub and honest slaves, joined by queues that the input delays: messages
 * cross, time limits pass, sockets break. Nobody misbehaves, so nobody may be
 * rejected; and when all is delivered, the master's table says what the slaves
 * are. Input: one byte of setup, then steps of two bytes.
 */
#include <errno.h>

#include "sdm/sdm-hub.h"
#include "sdm/sdm-link.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "pair";

#define SLAVES  3u
#define MIB     (1u << 20)
#define MEMORY  (16u * MIB)
#define QUEUE   64u

struct packet {
    size_t len;
    unsigned nfds;
    uint8_t data[256];
};

/** struct queue - packets on their way; a full one is a peer that is stuck */
struct queue {
    struct packet packets[QUEUE];
    unsigned first, count;
};

/** struct slave - one that behaves, whatever its guest does */
struct slave {
    struct sdm_link link;
    int conn;           /* -1: not connected */
    uint32_t state;     /* what it is */
    uint32_t refuse;    /* the next BOOT ends with this */
    int held;           /* a request waits for its answer */
    uint16_t held_type;
    uint32_t held_seq;
    struct queue to_hub, from_hub;
};

struct world {
    struct sdm_hub hub;
    struct slave slaves[SLAVES];
    uint32_t open[SLAVES + 1];
    uint32_t told[SLAVES + 1];
};

static int queue_put(struct queue *q, const void *buf, size_t len,
                     unsigned nfds)
{
    struct packet *p = &q->packets[(q->first + q->count) % QUEUE];

    if (q->count == QUEUE) {
        return -EAGAIN;
    }
    CHECK(len <= sizeof(p->data));
    memcpy(p->data, buf, len);
    p->len = len;
    p->nfds = nfds;
    q->count++;
    return 0;
}

static int queue_get(struct queue *q, struct packet *p)
{
    if (!q->count) {
        return 0;
    }
    *p = q->packets[q->first];
    q->first = (q->first + 1) % QUEUE;
    q->count--;
    return 1;
}

static struct slave *slave_of(struct world *w, unsigned conn)
{
    for (unsigned i = 0; i < SLAVES; i++) {
        if (w->slaves[i].conn == (int)conn) {
            return &w->slaves[i];
        }
    }
    return NULL;
}

/* --------------------------------------------------------------- the hub */

static int hub_send(void *opaque, unsigned conn, const void *buf, size_t len,
                    const int *fds, unsigned nfds)
{
    struct slave *s = slave_of(opaque, conn);

    (void)fds;
    CHECK(s);
    return queue_put(&s->from_hub, buf, len, nfds);
}

static void disconnect(struct slave *s)
{
    s->conn = -1;
    s->held = 0;
    s->to_hub.count = 0;
    s->from_hub.count = 0;
    sdm_link_lost(&s->link);
}

static void hub_close(void *opaque, unsigned conn)
{
    struct slave *s = slave_of(opaque, conn);

    CHECK(s);
    disconnect(s);
    s->state = SDM_STATE_WAITING;   /* as a new process would be */
}

static uint32_t hub_grant(void *opaque, uint32_t id, uint64_t ram_size,
                          struct sdm_grant *grant, const char **text)
{
    (void)opaque, (void)id, (void)ram_size, (void)text;
    grant->memory_size = MEMORY;
    grant->page_size = 4096;
    return SDM_OK;
}

static void hub_event(void *opaque, const struct sdm_hub_event *event)
{
    struct world *w = opaque;

    switch (event->type) {
    case SDM_HUB_REJECTED:
        fprintf(stderr, "rejected: %s\n", event->text);
        CHECK(event->status == SDM_ERR_GONE);   /* a full queue, only */
        break;
    case SDM_HUB_ANSWER:
        CHECK(event->seq == w->open[event->id]);
        w->open[event->id] = 0;
        break;
    default:
        CHECK(event->id >= 1 && event->id <= SLAVES);
        w->told[event->id] = event->state;
        break;
    }
}

static const struct sdm_hub_ops hub_ops = {
    hub_send, hub_close, hub_grant, hub_event, NULL,
};

/* ------------------------------------------------------------- the slave */

static int link_send(void *opaque, const void *buf, size_t len,
                     const int *fds, unsigned nfds)
{
    struct slave *s = opaque;

    (void)fds;
    return queue_put(&s->to_hub, buf, len, nfds);
}

/* Do what was asked, and answer. A STATE may be in the queue before it. */
static void slave_answer(struct slave *s)
{
    uint32_t status = SDM_OK;

    s->held = 0;
    switch (s->held_type) {
    case SDM_WIRE_BOOT:
        status = s->state == SDM_STATE_WAITING ? s->refuse : SDM_ERR_STATE;
        if (status == SDM_OK) {
            s->state = SDM_STATE_RUNNING;
        }
        s->refuse = SDM_OK;
        break;
    case SDM_WIRE_RESET:
        s->state = SDM_STATE_WAITING;
        break;
    case SDM_WIRE_STOP:
        if (s->state == SDM_STATE_RUNNING) {
            s->state = SDM_STATE_STOPPED;
        } else if (s->state != SDM_STATE_STOPPED) {
            status = SDM_ERR_STATE;
        }
        break;
    case SDM_WIRE_GET_DTB:
        sdm_link_answer_dtb(&s->link, s->held_seq, 5, 4096);
        return;
    }
    sdm_link_answer(&s->link, s->held_seq, status, NULL);
}

static void link_event(void *opaque, struct sdm_link_event *event)
{
    struct slave *s = opaque;

    switch (event->type) {
    case SDM_LINK_WELCOME:
        break;
    case SDM_LINK_REQUEST:
        s->held = 1;
        s->held_type = event->msg->type;
        s->held_seq = event->msg->seq;
        break;
    default:
        CHECK(!"an honest master does not send this");
    }
}

static const struct sdm_link_ops link_ops = { link_send, link_event };

/* What the slave's guest or user does to it. */
static void slave_becomes(struct slave *s, uint32_t state)
{
    const uint32_t from = s->state;
    int can = 0;

    switch (state) {
    case SDM_STATE_WAITING:     /* the guest reboots, or a reset by hand */
        can = from != SDM_STATE_WAITING;
        break;
    case SDM_STATE_STOPPED:
    case SDM_STATE_CRASHED:
        can = from == SDM_STATE_RUNNING;
        break;
    case SDM_STATE_RUNNING:     /* "cont" at the slave's monitor */
        can = from == SDM_STATE_STOPPED;
        break;
    }
    if (can && sdm_link_state(&s->link, state) == 0) {
        s->state = state;
    }
}

/* -------------------------------------------------------------- the steps */

static void connect_slave(struct world *w, struct slave *s)
{
    if (s->conn >= 0) {
        return;
    }
    s->conn = sdm_hub_accept(&w->hub, 1);
    CHECK(s->conn >= 0);
    s->state = SDM_STATE_WAITING;
    CHECK(sdm_link_connected(&s->link) == 0);
}

static void deliver_to_hub(struct world *w, struct slave *s)
{
    static const int fds[SDM_WIRE_MAX_FDS] = { 5, 6, 7, 8 };
    struct packet p;

    if (s->conn >= 0 && queue_get(&s->to_hub, &p)) {
        sdm_hub_receive(&w->hub, s->conn, p.data, p.len, fds, p.nfds);
    }
}

static void deliver_to_slave(struct slave *s)
{
    int fds[SDM_WIRE_MAX_FDS] = { 5, 6, 7, 8 };
    struct packet p;

    if (s->conn >= 0 && !s->held && queue_get(&s->from_hub, &p)) {
        sdm_link_receive(&s->link, p.data, p.len, fds, p.nfds);
    }
}

static void request(struct world *w, uint32_t id, uint16_t type)
{
    const struct sdm_window window = { id * 2 * MIB, MIB };
    struct sdm_text why;
    uint32_t seq;

    if (sdm_hub_request(&w->hub, id, type, &window, &seq, &why) == SDM_OK) {
        w->open[id] = seq;
    }
}

static void drain(struct world *w)
{
    unsigned busy;

    do {
        busy = 0;
        for (unsigned i = 0; i < SLAVES; i++) {
            struct slave *s = &w->slaves[i];

            if (s->conn < 0) {
                continue;
            }
            busy += s->to_hub.count + s->from_hub.count + s->held;
            if (s->held) {
                slave_answer(s);
            }
            deliver_to_slave(s);
            if (s->conn >= 0) {
                deliver_to_hub(w, s);
            }
        }
    } while (busy);
}

static void check_agreed(const struct world *w)
{
    for (unsigned i = 0; i < SLAVES; i++) {
        const struct slave *s = &w->slaves[i];
        const struct sdm_peer *p = sdm_hub_peer(&w->hub, i + 1);

        CHECK(p->state == w->told[i + 1]);
        CHECK(!p->open_type && !w->open[i + 1]);
        if (s->conn < 0) {
            CHECK(p->state == SDM_STATE_ABSENT);
        } else if (p->state != s->state) {
            fprintf(stderr, "slave %u is %s, the master says %s\n", i + 1,
                    sdm_state_text(s->state), sdm_state_text(p->state));
            CHECK(p->state == s->state);
        }
    }
}

static void step(struct world *w, uint8_t op, uint8_t arg)
{
    static const uint16_t types[] = {
        SDM_WIRE_BOOT, SDM_WIRE_RESET, SDM_WIRE_STOP, SDM_WIRE_GET_DTB,
    };
    const uint32_t id = 1 + op % SLAVES;
    struct slave *s = &w->slaves[id - 1];

    switch (op / SLAVES % 8) {
    case 0:
        connect_slave(w, s);
        break;
    case 1:
        deliver_to_hub(w, s);
        break;
    case 2:
        deliver_to_slave(s);
        break;
    case 3:
        request(w, id, types[arg % 4]);
        break;
    case 4:
        if (s->held) {
            s->refuse = arg & 1 ? SDM_ERR_RECORD : SDM_OK;
            slave_answer(s);
        }
        break;
    case 5:
        slave_becomes(s, arg % SDM_STATES);
        break;
    case 6:
        if (w->open[id]) {
            sdm_hub_timeout(&w->hub, id, w->open[id]);
        }
        break;
    case 7:
        if (arg % 4 == 0 && s->conn >= 0) {
            sdm_hub_lost(&w->hub, s->conn);
        } else if (arg % 4 == 1) {
            drain(w);
            check_agreed(w);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct world *w = calloc(1, sizeof(*w));
    struct sdm_msg hello;
    uint8_t op;

    CHECK(w);
    sdm_hub_init(&w->hub, &hub_ops, w, SLAVES);
    sdm_hub_memory(&w->hub, MEMORY, 4096);
    memset(&hello, 0, sizeof(hello));
    hello.u.hello.role = SDM_ROLE_SLAVE;
    hello.u.hello.machine = 40;
    hello.u.hello.ram_size = MIB;
    for (unsigned i = 0; i < SLAVES; i++) {
        hello.u.hello.want_id = i + 1;
        w->slaves[i].conn = -1;
        sdm_link_init(&w->slaves[i].link, &link_ops, &w->slaves[i], &hello);
    }
    while (in.left) {
        op = input_u8(&in);
        step(w, op, input_u8(&in));
    }
    drain(w);
    check_agreed(w);
    free(w);
    return 0;
}
