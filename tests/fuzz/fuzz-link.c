/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connecting side against a master that sends anything. Input: one byte of
 * setup, then steps of one byte and their operands. What reaches the user of
 * the link is always something that he may act on without another look.
 */
#include <errno.h>

#include "sdm/sdm-link.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "link";

#define MIB (1u << 20)
#define RAM (4u * MIB)

enum { CONNECTED, RAW, WELCOME, BOOT, REQUEST, PEER, ERROR, ANSWER,
       ANSWER_DTB, STATE, LOST, FAIL_SEND, STEPS };

struct world {
    struct sdm_link link;
    int slave;
    int fail_send;
    int in_event;
    int answer_at_once;     /* from inside the event */
    int welcomed;           /* since the last HELLO */
    int over;               /* since the last ERROR event */
    uint32_t id;            /* given at the first WELCOME */
    uint64_t memory_size, page_size;
    struct sdm_window window;
};

static int op_send(void *opaque, const void *buf, size_t len, const int *fds,
                   unsigned nfds)
{
    struct world *w = opaque;
    struct sdm_msg m;

    CHECK(len <= SDM_WIRE_MAX);
    CHECK(sdm_msg_decode(&m, buf, len, nfds) == 0);
    switch (m.type) {
    case SDM_WIRE_HELLO:
        CHECK(m.u.hello.want_id == w->id);
        break;
    case SDM_WIRE_ERROR:
        CHECK(m.u.answer.text[0]);
        break;
    case SDM_WIRE_DTB:
        CHECK(fds[0] == 300);
        /* fall through */
    case SDM_WIRE_ANSWER:
    case SDM_WIRE_STATE:
        CHECK(w->slave && w->welcomed && !w->over);
        break;
    default:
        CHECK(!"a link does not send this");
    }
    return w->fail_send ? -EPIPE : 0;
}

static void on_welcome(struct world *w, struct sdm_link_event *event)
{
    const struct sdm_msg *m = event->msg;

    CHECK(!w->welcomed);
    CHECK((m->u.welcome.id != 0) == w->slave);
    CHECK(!w->id || m->u.welcome.id == w->id);
    CHECK(event->nfds == (unsigned)__builtin_popcount(m->u.welcome.fds));
    CHECK(w->slave || event->nfds == 0);
    w->welcomed = 1;
    w->id = m->u.welcome.id;
    w->memory_size = m->u.welcome.memory_size;
    w->page_size = m->u.welcome.page_size;
    w->window.offset = m->u.welcome.window_offset;
    w->window.size = m->u.welcome.window_size;
    for (unsigned i = 0; i < event->nfds; i++) {
        CHECK(event->fds[i] == 200 + (int)i);
        event->fds[i] = -1;
    }
}

/* Whoever maps this window maps what it was given, and no more. */
static void on_boot(const struct world *w, const struct sdm_msg *m)
{
    CHECK(m->u.boot.size == RAM);
    CHECK(m->u.boot.size <= w->memory_size);
    CHECK(m->u.boot.offset <= w->memory_size - m->u.boot.size);
    CHECK(m->u.boot.offset % w->page_size == 0);
    CHECK(m->u.boot.size % w->page_size == 0);
    CHECK(!w->window.size || (m->u.boot.offset == w->window.offset &&
                              m->u.boot.size == w->window.size));
}

static void on_request(struct world *w, const struct sdm_msg *m)
{
    CHECK(w->slave && w->welcomed);
    CHECK(m->seq);
    CHECK(w->link.open_type == m->type && w->link.open_seq == m->seq);
    switch (m->type) {
    case SDM_WIRE_BOOT:
        on_boot(w, m);
        break;
    case SDM_WIRE_RESET:
    case SDM_WIRE_STOP:
    case SDM_WIRE_GET_DTB:
        break;
    default:
        CHECK(!"not a request");
    }
    if (w->answer_at_once) {
        int ret = sdm_link_answer(&w->link, m->seq, SDM_ERR_STATE, "no");

        CHECK(ret == (w->fail_send ? -EPIPE : 0));
        CHECK(ret || !w->link.open_type);
    }
}

static void op_event(void *opaque, struct sdm_link_event *event)
{
    struct world *w = opaque;

    CHECK(!w->in_event && !w->over);
    w->in_event = 1;
    switch (event->type) {
    case SDM_LINK_WELCOME:
        on_welcome(w, event);
        break;
    case SDM_LINK_REQUEST:
        on_request(w, event->msg);
        break;
    case SDM_LINK_PEER:
        CHECK(!w->slave && w->welcomed);
        CHECK(event->msg->u.peer.id <= SDM_MAX_SLAVES);
        break;
    case SDM_LINK_ERROR:
        CHECK(event->msg->u.answer.status != SDM_OK);
        CHECK(w->link.phase == SDM_LINK_DOWN);
        w->over = 1;
        break;
    }
    w->in_event = 0;
}

static const struct sdm_link_ops ops = { op_send, op_event };

static void receive(struct world *w, const void *buf, size_t len,
                    unsigned nfds)
{
    int fds[SDM_WIRE_MAX_FDS] = { 200, 201, 202, 203 };
    int was_down = w->link.phase == SDM_LINK_DOWN;
    int over = w->over;

    sdm_link_receive(&w->link, buf, len, fds, nfds);
    /* Either it is ignored, or it is taken, or it is the end. */
    CHECK(!was_down || w->over == over);
    CHECK(was_down || w->over == (w->link.phase == SDM_LINK_DOWN));
}

static void receive_msg(struct world *w, const struct sdm_msg *m,
                        unsigned nfds)
{
    uint8_t buf[SDM_WIRE_MAX];
    int len = sdm_msg_encode(m, buf);

    CHECK(len > 0);
    receive(w, buf, len, nfds);
}

static void read_welcome(struct input *in, struct sdm_msg *m)
{
    uint8_t how = input_u8(in);

    m->type = SDM_WIRE_WELCOME;
    m->u.welcome.version = 1 + ((how & 7) == 7);
    m->u.welcome.fds = input_u8(in) & SDM_WIRE_FDS;
    m->u.welcome.id = input_u8(in) % 6;
    m->u.welcome.num_slaves = 4;
    m->u.welcome.memory_size = (uint64_t)(how >> 4) * MIB;
    m->u.welcome.page_size = 1ull << input_u8(in) % 64;
    if (how & 8) {
        m->u.welcome.window_offset = (uint64_t)input_u8(in) % 8 * MIB;
        m->u.welcome.window_size = (uint64_t)input_u8(in) % 8 * MIB;
    }
}

static void answer(struct world *w, struct input *in, int with_dtb)
{
    uint32_t seq = input_u8(in) & 1 ? w->link.open_seq : input_u8(in);
    uint32_t status = input_u8(in) % SDM_ERRS;
    uint16_t type = w->link.open_type;
    int open = type && w->link.open_seq == seq;
    int ret;

    if (with_dtb) {
        ret = sdm_link_answer_dtb(&w->link, seq, 300, 4096);
        open = open && type == SDM_WIRE_GET_DTB;
    } else {
        ret = sdm_link_answer(&w->link, seq, status, status & 1 ? "x" : NULL);
        if (open && type == SDM_WIRE_GET_DTB && status == SDM_OK) {
            CHECK(ret == -EINVAL);
            return;
        }
    }
    CHECK(ret == (!open ? -ENOENT : w->fail_send ? -EPIPE : 0));
    CHECK(ret || !w->link.open_type);
}

static void step(struct world *w, struct input *in)
{
    static const uint16_t requests[] = {
        SDM_WIRE_RESET, SDM_WIRE_STOP, SDM_WIRE_GET_DTB,
    };
    uint8_t op = input_u8(in) % STEPS;
    const uint8_t *raw;
    struct sdm_msg m;
    unsigned nfds;
    size_t len;
    int ret;

    memset(&m, 0, sizeof(m));
    switch (op) {
    case CONNECTED:
        if (w->link.phase != SDM_LINK_DOWN) {
            break;
        }
        w->over = 0;
        w->welcomed = 0;
        ret = sdm_link_connected(&w->link);
        CHECK(ret == (w->fail_send ? -EPIPE : 0));
        CHECK(w->link.phase == (ret ? SDM_LINK_DOWN : SDM_LINK_HELLO_SENT));
        break;
    case RAW:
        nfds = input_u8(in) % (SDM_WIRE_MAX_FDS + 1);
        raw = input_rest(in, input_u8(in), &len);
        receive(w, raw, len, nfds);
        break;
    case WELCOME:
        read_welcome(in, &m);
        receive_msg(w, &m, __builtin_popcount(m.u.welcome.fds));
        break;
    case BOOT:
        m.type = SDM_WIRE_BOOT;
        m.seq = input_u8(in);
        m.u.boot.size = input_u8(in) & 1 ? input_u64(in) : RAM;
        m.u.boot.offset = input_u8(in) & 1 ? input_u64(in) :
                          (uint64_t)input_u8(in) * MIB / 2;
        receive_msg(w, &m, 0);
        break;
    case REQUEST:
        m.type = requests[input_u8(in) % 3];
        m.seq = input_u8(in);
        receive_msg(w, &m, 0);
        break;
    case PEER:
        m.type = SDM_WIRE_PEER;
        m.u.peer.id = input_u8(in);
        m.u.peer.state = input_u8(in) % (SDM_STATES + 1);
        receive_msg(w, &m, 0);
        break;
    case ERROR:
        m.type = SDM_WIRE_ERROR;
        m.u.answer.status = input_u8(in) % SDM_ERRS;
        receive_msg(w, &m, 0);
        break;
    case ANSWER:
        answer(w, in, 0);
        break;
    case ANSWER_DTB:
        answer(w, in, 1);
        break;
    case STATE:
        ret = sdm_link_state(&w->link, SDM_STATE_CRASHED);
        CHECK(ret == (w->link.phase != SDM_LINK_UP || !w->slave ? -ENOTCONN :
                      w->fail_send ? -EPIPE : 0));
        break;
    case LOST:
        sdm_link_lost(&w->link);
        CHECK(w->link.phase == SDM_LINK_DOWN);
        break;
    case FAIL_SEND:
        w->fail_send = !w->fail_send;
        break;
    }
}

static void check_link(const struct world *w)
{
    const struct sdm_link *link = &w->link;

    CHECK(link->phase == SDM_LINK_DOWN || link->phase == SDM_LINK_UP ||
          link->phase == SDM_LINK_HELLO_SENT);
    if (link->phase == SDM_LINK_UP) {
        CHECK(w->welcomed);
        CHECK((link->id != 0) == w->slave);
        CHECK(link->id <= SDM_MAX_SLAVES);
    } else {
        CHECK(!link->open_type);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    uint8_t how = input_u8(&in);
    struct world w;
    struct sdm_msg hello;

    memset(&w, 0, sizeof(w));
    memset(&hello, 0, sizeof(hello));
    w.slave = how & 1;
    w.answer_at_once = how >> 1 & 1;
    w.id = w.slave ? (how >> 2) % 5 : 0;
    hello.u.hello.role = w.slave ? SDM_ROLE_SLAVE : SDM_ROLE_OBSERVER;
    hello.u.hello.machine = 40;
    hello.u.hello.want_id = w.id;
    hello.u.hello.ram_base = 0x40000000;
    hello.u.hello.ram_size = w.slave ? RAM : 0;
    strcpy(hello.u.hello.name, "fuzz");
    sdm_link_init(&w.link, &ops, &w, &hello);
    while (in.left) {
        step(&w, &in);
        check_link(&w);
    }
    return 0;
}
