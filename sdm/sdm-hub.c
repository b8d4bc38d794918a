/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/sdm-hub.h"

#include <errno.h>
#include <string.h>

#include "sdm/sdm-life.h"

/* ---------------------------------------------------------------- outwards */

static struct sdm_peer *conn_peer(struct sdm_hub *hub, unsigned conn)
{
    return &hub->peers[hub->conns[conn].id];
}

/* Not to a connection that has failed: the rest of a burst is not tried. */
static int send_msg(struct sdm_hub *hub, unsigned conn,
                    const struct sdm_msg *msg, const int *fds, unsigned nfds)
{
    unsigned char buf[SDM_WIRE_MAX];
    struct sdm_hub_conn *c = &hub->conns[conn];

    if (c->failed == 0) {
        c->failed = hub->ops->send(hub->opaque, conn, buf,
                                   sdm_msg_encode(msg, buf), fds, nfds);
    }
    return c->failed;
}

static void emit(struct sdm_hub *hub, struct sdm_hub_event *event)
{
    if (event->text == NULL) {
        event->text = "";
    }
    hub->depth++;
    hub->ops->event(hub->opaque, event);
    hub->depth--;
}

static void send_row(struct sdm_hub *hub, unsigned conn, uint32_t id)
{
    const struct sdm_peer *peer = &hub->peers[id];
    struct sdm_msg msg;

    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_PEER;
    msg.u.peer.id = id;
    msg.u.peer.state = peer->state;
    msg.u.peer.machine = peer->machine;
    msg.u.peer.pid = peer->pid;
    msg.u.peer.ram_base = peer->ram_base;
    msg.u.peer.ram_size = peer->ram_size;
    msg.u.peer.window_offset = peer->window.offset;
    msg.u.peer.window_size = peer->window.size;
    msg.u.peer.boots = peer->boots;
    memcpy(msg.u.peer.name, peer->name, sizeof(msg.u.peer.name));
    if (hub->ops->counters) {
        hub->ops->counters(hub->opaque, id, &msg.u.peer.sent,
                           &msg.u.peer.taken, &msg.u.peer.refused);
    }
    send_msg(hub, conn, &msg, NULL, 0);
}

/*
 * The row goes out before the event: what the event's receiver then asks for
 * changes the row again, and observers get them in order.
 */
static void show_row(struct sdm_hub *hub, uint32_t id)
{
    unsigned conn;

    hub->peers[id].told = hub->peers[id].state;
    for (conn = 0; conn < SDM_HUB_CONNS; conn++) {
        if (hub->conns[conn].kind == SDM_CONN_OBSERVER) {
            send_row(hub, conn, id);
        }
    }
}

static void tell_state(struct sdm_hub *hub, uint32_t id)
{
    struct sdm_peer *peer = &hub->peers[id];
    struct sdm_hub_event event = {
        .type = SDM_HUB_STATE,
        .id = id,
        .state = peer->state,
        .old = peer->told,
        .fd = -1,
    };

    if (peer->told != peer->state) {
        show_row(hub, id);
        emit(hub, &event);
    }
}

/* What the slave says of itself, by STATE or by an answer. */
static void set_state(struct sdm_hub *hub, uint32_t id, uint32_t state)
{
    struct sdm_peer *peer = &hub->peers[id];

    if (peer->state == SDM_STATE_BOOTING && state == SDM_STATE_RUNNING) {
        peer->boots++;
    }
    peer->state = state;
    tell_state(hub, id);
}

static void end_request(struct sdm_hub *hub, uint32_t id, uint32_t status,
                        const char *text, int fd, uint64_t size)
{
    struct sdm_peer *peer = &hub->peers[id];
    struct sdm_hub_event event = {
        .type = SDM_HUB_ANSWER,
        .id = id,
        .state = peer->state,
        .old = peer->state,
        .seq = peer->open_seq,
        .request = peer->open_type,
        .status = status,
        .text = text,
        .fd = fd,
        .size = size,
    };

    peer->open_type = 0;
    emit(hub, &event);
}

/* ----------------------------------------------------------------- closing */

static void drop(struct sdm_hub *hub, unsigned conn)
{
    struct sdm_hub_conn c = hub->conns[conn];
    struct sdm_peer *peer = &hub->peers[c.id];
    struct sdm_hub_event event = {
        .type = SDM_HUB_LEFT,
        .id = c.id,
        .state = SDM_STATE_ABSENT,
        .old = peer->state,
        .fd = -1,
    };

    memset(&hub->conns[conn], 0, sizeof(hub->conns[conn]));
    hub->ops->close(hub->opaque, conn);
    if (c.kind != SDM_CONN_SLAVE) {
        return;
    }
    peer->conn = -1;
    peer->pid = 0;
    peer->state = sdm_life_next(peer->state, SDM_LIFE_LOST);
    show_row(hub, c.id);
    if (peer->open_type) {
        end_request(hub, c.id, SDM_ERR_GONE,
                    "the slave was lost before it answered", -1, 0);
    }
    emit(hub, &event);
}

/* The peer is told why if it still listens, then the world. Then it is over. */
static void reject(struct sdm_hub *hub, unsigned conn, uint32_t status,
                   const char *text, int say_error)
{
    struct sdm_hub_event event = {
        .type = SDM_HUB_REJECTED,
        .id = hub->conns[conn].id,
        .status = status,
        .text = text,
        .fd = -1,
    };

    if (say_error) {
        struct sdm_msg msg;

        memset(&msg, 0, sizeof(msg));
        msg.type = SDM_WIRE_ERROR;
        msg.u.answer.status = status;
        strncpy(msg.u.answer.text, text, SDM_WIRE_TEXT_MAX);
        send_msg(hub, conn, &msg, NULL, 0);
    }
    /* No request may be sent to it from inside the event. */
    if (hub->conns[conn].failed == 0) {
        hub->conns[conn].failed = -ESHUTDOWN;
    }
    emit(hub, &event);
    drop(hub, conn);
}

static void reject_text(struct sdm_hub *hub, unsigned conn, uint32_t status,
                        const struct sdm_text *text)
{
    reject(hub, conn, status, text->buf, 1);
}

/* What was put off; see the theory of operation in the header. */
static void settle(struct sdm_hub *hub)
{
    unsigned i, busy;

    if (hub->depth) {
        return;
    }
    do {
        busy = 0;
        for (i = 0; i < SDM_HUB_CONNS; i++) {
            struct sdm_text text;

            if (hub->conns[i].failed == 0) {
                continue;
            }
            busy = 1;
            sdm_text_init(&text);
            sdm_text_add(&text, "the peer takes no messages (error ");
            sdm_text_add_u64(&text, -hub->conns[i].failed);
            sdm_text_add(&text, "): closing its connection");
            reject(hub, i, SDM_ERR_GONE, text.buf, 0);
        }
        for (i = 1; i <= hub->num_slaves; i++) {
            if (hub->peers[i].told != hub->peers[i].state) {
                busy = 1;
                tell_state(hub, i);
            }
        }
    } while (busy);
}

/* ------------------------------------------------------------------- HELLO */

static void add_slave(struct sdm_text *text, uint32_t id)
{
    sdm_text_add(text, "slave ");
    sdm_text_add_u64(text, id);
}

static void add_num_slaves(struct sdm_text *text, uint32_t num_slaves)
{
    sdm_text_add(text, " (num-slaves=");
    sdm_text_add_u64(text, num_slaves);
    sdm_text_add(text, ")");
}

static void add_range(struct sdm_text *text, uint32_t min, uint32_t max)
{
    sdm_text_add_u64(text, min);
    sdm_text_add(text, " to ");
    sdm_text_add_u64(text, max);
}

static uint32_t find_name(const struct sdm_hub *hub, const char *name)
{
    uint32_t id;

    for (id = 1; id <= hub->num_slaves && name[0]; id++) {
        if (strcmp(hub->peers[id].name, name) == 0) {
            return id;
        }
    }
    return 0;
}

/* The id for a slave that says @name and @want; 0: none, with @text. */
static uint32_t choose_id(const struct sdm_hub *hub, uint32_t want,
                          const char *name, struct sdm_text *text)
{
    uint32_t named = find_name(hub, name);
    uint32_t id, absent = 0;

    if (want > hub->num_slaves) {
        sdm_text_add(text, "slave-id=");
        sdm_text_add_u64(text, want);
        sdm_text_add(text, " is too high");
        add_num_slaves(text, hub->num_slaves);
        sdm_text_add(text, ": ask for 1 to num-slaves, or for none");
        return 0;
    }
    if (named && hub->peers[named].conn >= 0) {
        sdm_text_add(text, "name=");
        sdm_text_add(text, name);
        sdm_text_add(text, " is taken by ");
        add_slave(text, named);
        add_num_slaves(text, hub->num_slaves);
        sdm_text_add(text, ": give every slave a name of its own");
        return 0;
    }
    if (want) {
        if (hub->peers[want].conn < 0) {
            return want;
        }
        sdm_text_add(text, "slave-id=");
        sdm_text_add_u64(text, want);
        sdm_text_add(text, " is taken by process ");
        sdm_text_add_u64(text, hub->peers[want].pid);
        add_num_slaves(text, hub->num_slaves);
        sdm_text_add(text, ": ask for another id, or for none");
        return 0;
    }
    if (named) {
        return named;
    }
    for (id = 1; id <= hub->num_slaves; id++) {
        if (hub->peers[id].conn >= 0) {
            continue;
        }
        if (hub->peers[id].name[0] == 0) {
            return id;
        }
        if (absent == 0) {
            absent = id;
        }
    }
    if (absent == 0) {
        sdm_text_add(text, "every slave id is taken");
        add_num_slaves(text, hub->num_slaves);
        sdm_text_add(text, ": start the master with a higher num-slaves");
    }
    return absent;
}

static int choose_version(struct sdm_hub *hub, unsigned conn,
                          const struct sdm_msg *hello, uint16_t *version)
{
    struct sdm_text text;

    if (hello->u.hello.version_min <= SDM_WIRE_VERSION_MAX &&
        hello->u.hello.version_max >= SDM_WIRE_VERSION_MIN) {
        *version = hello->u.hello.version_max < SDM_WIRE_VERSION_MAX ?
                   hello->u.hello.version_max : SDM_WIRE_VERSION_MAX;
        return 0;
    }
    sdm_text_init(&text);
    sdm_text_add(&text, "the master speaks protocol versions ");
    add_range(&text, SDM_WIRE_VERSION_MIN, SDM_WIRE_VERSION_MAX);
    sdm_text_add(&text, ", the peer ");
    add_range(&text, hello->u.hello.version_min, hello->u.hello.version_max);
    sdm_text_add(&text, ": use the same qemu-sdm on both sides");
    reject_text(hub, conn, SDM_ERR_VERSION, &text);
    return -EPROTO;
}

static void admit_observer(struct sdm_hub *hub, unsigned conn,
                           uint16_t version)
{
    struct sdm_msg msg;
    uint32_t id;

    hub->conns[conn].kind = SDM_CONN_OBSERVER;
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_WELCOME;
    msg.u.welcome.version = version;
    msg.u.welcome.num_slaves = hub->num_slaves;
    msg.u.welcome.memory_size = hub->memory_size;
    msg.u.welcome.page_size = hub->page_size;
    send_msg(hub, conn, &msg, NULL, 0);
    for (id = 1; id <= hub->num_slaves; id++) {
        send_row(hub, conn, id);
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_PEER;
    send_msg(hub, conn, &msg, NULL, 0);
}

static void admit_slave(struct sdm_hub *hub, unsigned conn, uint16_t version,
                        const struct sdm_msg *hello)
{
    struct sdm_hub_event event = { .type = SDM_HUB_JOINED, .fd = -1 };
    struct sdm_grant grant;
    struct sdm_text text;
    struct sdm_peer *peer;
    struct sdm_msg msg;
    const char *why = NULL;
    int fds[SDM_WIRE_MAX_FDS];
    unsigned nfds = 0, i;
    uint32_t id, named, status;

    sdm_text_init(&text);
    id = choose_id(hub, hello->u.hello.want_id, hello->u.hello.name, &text);
    if (id == 0) {
        reject_text(hub, conn, SDM_ERR_ID, &text);
        return;
    }

    memset(&grant, 0, sizeof(grant));
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        grant.fds[i] = -1;
    }
    status = hub->ops->grant(hub->opaque, id, hello->u.hello.ram_size, &grant,
                             &why);
    if (status != SDM_OK) {
        reject(hub, conn, status, why ? why : sdm_status_text(status), 1);
        return;
    }

    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_WELCOME;
    msg.u.welcome.version = version;
    msg.u.welcome.id = id;
    msg.u.welcome.num_slaves = hub->num_slaves;
    msg.u.welcome.features = grant.features;
    msg.u.welcome.memory_size = grant.memory_size;
    msg.u.welcome.window_offset = grant.window.offset;
    msg.u.welcome.window_size = grant.window.size;
    msg.u.welcome.page_size = grant.page_size;
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        if (grant.fds[i] >= 0) {
            msg.u.welcome.fds |= 1u << i;
            fds[nfds++] = grant.fds[i];
        }
    }
    if (send_msg(hub, conn, &msg, fds, nfds)) {
        return;
    }

    /* A name moves with its owner: it must not be found at two ids. */
    named = find_name(hub, hello->u.hello.name);
    if (named && named != id) {
        hub->peers[named].name[0] = 0;
    }
    peer = &hub->peers[id];
    memcpy(peer->name, hello->u.hello.name, sizeof(peer->name));
    peer->machine = hello->u.hello.machine;
    peer->pid = hub->conns[conn].pid;
    peer->features = hello->u.hello.features;
    peer->ram_base = hello->u.hello.ram_base;
    peer->ram_size = hello->u.hello.ram_size;
    peer->boots = 0;
    peer->conn = conn;
    peer->fd_offset = grant.window.offset;
    if (!peer->fixed) {
        memset(&peer->window, 0, sizeof(peer->window));
    }
    hub->conns[conn].kind = SDM_CONN_SLAVE;
    hub->conns[conn].id = id;

    event.id = id;
    event.old = peer->state;
    peer->state = sdm_life_next(peer->state, SDM_LIFE_JOIN);
    event.state = peer->state;
    show_row(hub, id);
    emit(hub, &event);
}

/* --------------------------------------------------------- from the slave */

static void reject_fault(struct sdm_hub *hub, unsigned conn, const char *what,
                         uint64_t number)
{
    struct sdm_text text;

    sdm_text_init(&text);
    sdm_text_add(&text, what);
    sdm_text_add_u64(&text, number);
    reject_text(hub, conn, SDM_ERR_INVAL, &text);
}

static enum sdm_life_event said(uint32_t state)
{
    switch (state) {
    case SDM_STATE_WAITING:
        return SDM_LIFE_SAID_WAITING;
    case SDM_STATE_RUNNING:
        return SDM_LIFE_SAID_RUNNING;
    case SDM_STATE_STOPPED:
        return SDM_LIFE_SAID_STOPPED;
    default:
        return SDM_LIFE_SAID_CRASHED;
    }
}

static void slave_state(struct sdm_hub *hub, unsigned conn, uint32_t state)
{
    struct sdm_peer *peer = conn_peer(hub, conn);
    int next = sdm_life_next(peer->state, said(state));

    /* It said so before BOOT reached it; what became of that is to come. */
    if (peer->state == SDM_STATE_BOOTING && next == SDM_STATE_WAITING) {
        return;
    }
    if (next < 0) {
        struct sdm_text text;

        sdm_text_init(&text);
        add_slave(&text, hub->conns[conn].id);
        sdm_text_add(&text, " says that it is ");
        sdm_text_add(&text, sdm_state_text(state));
        sdm_text_add(&text, ", but it was ");
        sdm_text_add(&text, sdm_state_text(peer->state));
        reject_text(hub, conn, SDM_ERR_STATE, &text);
        return;
    }
    set_state(hub, hub->conns[conn].id, next);
}

/* The slave's state when it answers @type with @status; -EPROTO: impossible. */
static int answered(const struct sdm_peer *peer, uint16_t type,
                    uint32_t status)
{
    switch (type) {
    case SDM_WIRE_BOOT:
        return sdm_life_next(peer->state, status == SDM_OK ?
                             SDM_LIFE_BOOT_OK : SDM_LIFE_BOOT_FAILED);
    case SDM_WIRE_RESET:
        return status == SDM_OK ?
               sdm_life_next(peer->state, SDM_LIFE_SAID_WAITING) :
               (int)peer->state;
    case SDM_WIRE_STOP:
        /* Stopped before it waited: what it says of itself goes further. */
        if (status == SDM_OK && peer->state == SDM_STATE_WAITING) {
            return -EPROTO;
        }
        return status == SDM_OK ?
               sdm_life_next(peer->state, SDM_LIFE_SAID_STOPPED) :
               (int)peer->state;
    default:
        return peer->state;
    }
}

/* The number of a request; its low bits are the type. Never 0. */
static uint32_t next_seq(struct sdm_hub *hub, uint16_t type)
{
    hub->requests = hub->requests < UINT32_MAX >> 2 ? hub->requests + 1 : 1;
    return hub->requests << 2 | (type - SDM_WIRE_BOOT);
}

SDM_STATIC_ASSERT(SDM_WIRE_GET_DTB - SDM_WIRE_BOOT == 3,
                  "the type of a request no longer fits in two bits");

static uint16_t seq_type(uint32_t seq)
{
    return SDM_WIRE_BOOT + (seq & 3);
}

static const char *request_text(uint16_t type)
{
    static const char *const texts[] = { "BOOT", "RESET", "STOP", "GET_DTB" };

    return texts[type - SDM_WIRE_BOOT];
}

static void reject_answer(struct sdm_hub *hub, unsigned conn, const char *what,
                          uint16_t type)
{
    struct sdm_text text;

    sdm_text_init(&text);
    sdm_text_add(&text, what);
    sdm_text_add(&text, request_text(type));
    reject_text(hub, conn, SDM_ERR_INVAL, &text);
}

/* ANSWER and DTB */
static void slave_answer(struct sdm_hub *hub, unsigned conn, uint32_t seq,
                         int is_dtb, uint32_t status, const char *text, int fd,
                         uint64_t size)
{
    uint32_t id = hub->conns[conn].id;
    struct sdm_peer *peer = &hub->peers[id];
    int open = peer->open_type && peer->open_seq == seq;
    uint16_t type = seq_type(seq);
    int next = answered(peer, type, status);

    /* An answer older than the BOOT on its way says nothing of that. */
    if (peer->state == SDM_STATE_BOOTING &&
        (int32_t)(seq - peer->boot_seq) < 0) {
        return;
    }

    if (is_dtb != (type == SDM_WIRE_GET_DTB && status == SDM_OK)) {
        if (open) {
            reject_answer(hub, conn, is_dtb ?
                          "a device tree is no answer to " :
                          "success without a device tree is no answer to ",
                          type);
        }
        return;
    }
    if (next < 0) {
        if (open) {
            reject_answer(hub, conn, "in this state the slave cannot have "
                          "done ", type);
        }
        return;
    }
    set_state(hub, id, next);
    /* No new request can have come in from that event: this one is open. */
    if (open) {
        end_request(hub, id, status, text, fd, size);
    }
}

static void receive_slave(struct sdm_hub *hub, unsigned conn,
                          const struct sdm_msg *msg, const int *fds)
{
    switch (msg->type) {
    case SDM_WIRE_STATE:
        slave_state(hub, conn, msg->u.state.state);
        break;
    case SDM_WIRE_ANSWER:
        slave_answer(hub, conn, msg->seq, 0, msg->u.answer.status,
                     msg->u.answer.text, -1, 0);
        break;
    case SDM_WIRE_DTB:
        slave_answer(hub, conn, msg->seq, 1, SDM_OK, "", fds[0],
                     msg->u.dtb.size);
        break;
    default:
        reject_fault(hub, conn, "a slave must not send messages of type ",
                     msg->type);
    }
}

static void receive_new(struct sdm_hub *hub, unsigned conn,
                        const struct sdm_msg *msg)
{
    uint16_t version;

    if (msg->type != SDM_WIRE_HELLO) {
        reject_fault(hub, conn, "the first message must be HELLO, not type ",
                     msg->type);
    } else if (choose_version(hub, conn, msg, &version) == 0) {
        if (msg->u.hello.role == SDM_ROLE_SLAVE) {
            admit_slave(hub, conn, version, msg);
        } else {
            admit_observer(hub, conn, version);
        }
    }
}

/* ------------------------------------------------------------------ public */

void sdm_hub_init(struct sdm_hub *hub, const struct sdm_hub_ops *ops,
                  void *opaque, uint32_t num_slaves)
{
    unsigned i;

    memset(hub, 0, sizeof(*hub));
    hub->ops = ops;
    hub->opaque = opaque;
    hub->num_slaves = num_slaves;
    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        hub->peers[i].conn = -1;
    }
}

void sdm_hub_memory(struct sdm_hub *hub, uint64_t memory_size,
                    uint64_t page_size)
{
    hub->memory_size = memory_size;
    hub->page_size = page_size;
}

int sdm_hub_accept(struct sdm_hub *hub, uint32_t pid)
{
    unsigned conn;

    for (conn = 0; conn < SDM_HUB_CONNS; conn++) {
        if (hub->conns[conn].kind == SDM_CONN_FREE) {
            hub->conns[conn].kind = SDM_CONN_NEW;
            hub->conns[conn].pid = pid;
            return conn;
        }
    }
    return -ENOSPC;
}

int sdm_hub_conn_is_new(const struct sdm_hub *hub, unsigned conn)
{
    return conn < SDM_HUB_CONNS && hub->conns[conn].kind == SDM_CONN_NEW;
}

static int in_use(const struct sdm_hub *hub, unsigned conn)
{
    return conn < SDM_HUB_CONNS && hub->conns[conn].kind != SDM_CONN_FREE;
}

void sdm_hub_receive(struct sdm_hub *hub, unsigned conn, const void *buf,
                     size_t len, const int *fds, unsigned nfds)
{
    struct sdm_msg msg;
    int err;

    if (!in_use(hub, conn)) {
        return;
    }
    err = sdm_msg_decode(&msg, buf, len, nfds);
    if (err == -EMSGSIZE) {
        reject_fault(hub, conn, "message of wrong length: ", len);
    } else if (err == -EPROTO) {
        reject_fault(hub, conn, "message with wrong number of fds: ", nfds);
    } else if (err) {
        reject_fault(hub, conn, "malformed message of length ", len);
    } else if (msg.type == SDM_WIRE_ERROR) {
        reject(hub, conn, msg.u.answer.status, msg.u.answer.text, 0);
    } else if (hub->conns[conn].kind == SDM_CONN_NEW) {
        receive_new(hub, conn, &msg);
    } else if (hub->conns[conn].kind == SDM_CONN_SLAVE) {
        receive_slave(hub, conn, &msg, fds);
    } else {
        reject(hub, conn, SDM_ERR_DENIED, "an observer must not send", 1);
    }
    settle(hub);
}

void sdm_hub_reject(struct sdm_hub *hub, unsigned conn, uint32_t status,
                    const char *text)
{
    if (in_use(hub, conn)) {
        reject(hub, conn, status, text, 1);
        settle(hub);
    }
}

void sdm_hub_lost(struct sdm_hub *hub, unsigned conn)
{
    if (in_use(hub, conn)) {
        drop(hub, conn);
        settle(hub);
    }
}

static void add_window(struct sdm_text *why, const struct sdm_window *w)
{
    sdm_text_add(why, "window of ");
    sdm_text_add_size(why, w->size);
    sdm_text_add(why, " at offset ");
    sdm_text_add_hex(why, w->offset);
}

/* Is @w good for slave @id? SDM_OK or SDM_ERR_WINDOW with @why. */
static uint32_t check_window(const struct sdm_hub *hub, uint32_t id,
                             const struct sdm_window *w, struct sdm_text *why)
{
    const struct sdm_peer *peer = &hub->peers[id];
    uint32_t other;

    add_window(why, w);
    if (peer->fixed && (w->offset != peer->window.offset ||
                        w->size != peer->window.size)) {
        sdm_text_add(why, ": windows= gives ");
        add_slave(why, id);
        sdm_text_add(why, " the ");
        add_window(why, &peer->window);
        sdm_text_add(why, "; leave offset and size out");
        return SDM_ERR_WINDOW;
    }
    switch (sdm_window_check(w, hub->memory_size, hub->page_size)) {
    case 0:
        break;
    case -EINVAL:
        sdm_text_add(why, ": give a size");
        return SDM_ERR_WINDOW;
    case -ERANGE:
        sdm_text_add(why, ": both must be multiples of the page size, ");
        sdm_text_add_size(why, hub->page_size);
        return SDM_ERR_WINDOW;
    default:
        sdm_text_add(why, ": it does not lie in the master's memory of ");
        sdm_text_add_size(why, hub->memory_size);
        return SDM_ERR_WINDOW;
    }
    if (w->size != peer->ram_size) {
        sdm_text_add(why, ": ");
        add_slave(why, id);
        sdm_text_add(why, " was started with ");
        sdm_text_add_size(why, peer->ram_size);
        sdm_text_add(why, "; give it a window of that size");
        return SDM_ERR_WINDOW;
    }
    for (other = 1; other <= hub->num_slaves; other++) {
        const struct sdm_peer *p = &hub->peers[other];

        /* Not its own: it waits, or it could not be booted. */
        if (p->state != SDM_STATE_ABSENT &&
            p->state != SDM_STATE_WAITING &&
            sdm_window_overlaps(w, &p->window)) {
            sdm_text_add(why, ": it overlaps the one of ");
            add_slave(why, other);
            sdm_text_add(why, ", a ");
            add_window(why, &p->window);
            return SDM_ERR_WINDOW;
        }
    }
    sdm_text_init(why);
    return SDM_OK;
}

uint32_t sdm_hub_request(struct sdm_hub *hub, uint32_t id, uint16_t type,
                         const struct sdm_window *window, uint32_t *seq,
                         struct sdm_text *why)
{
    struct sdm_window w = { 0, 0 };
    struct sdm_peer *peer;
    struct sdm_msg msg;
    uint32_t status;

    sdm_text_init(why);
    if (type != SDM_WIRE_BOOT && type != SDM_WIRE_RESET &&
        type != SDM_WIRE_STOP && type != SDM_WIRE_GET_DTB) {
        sdm_text_add(why, "no request of type ");
        sdm_text_add_u64(why, type);
        return SDM_ERR_INVAL;
    }
    add_slave(why, id);
    if (id == 0 || id > hub->num_slaves) {
        sdm_text_add(why, ": no such id");
        add_num_slaves(why, hub->num_slaves);
        return SDM_ERR_NO_PEER;
    }
    peer = &hub->peers[id];
    status = sdm_life_may(peer->state, type);
    if (status == SDM_OK && hub->conns[peer->conn].failed) {
        status = SDM_ERR_NO_PEER;
    }
    if (status == SDM_ERR_NO_PEER) {
        sdm_text_add(why, " is not connected");
        return status;
    }
    if (status != SDM_OK) {
        sdm_text_add(why, " is ");
        sdm_text_add(why, sdm_state_text(peer->state));
        sdm_text_add(why, type == SDM_WIRE_BOOT ? ": reset it first" :
                          type == SDM_WIRE_STOP ? ": only a running one stops"
                                                : ": it waits already");
        return status;
    }
    if (peer->open_type) {
        sdm_text_add(why, " has not answered ");
        sdm_text_add(why, request_text(peer->open_type));
        sdm_text_add(why, " yet: try again");
        return SDM_ERR_BUSY;
    }

    memset(&msg, 0, sizeof(msg));
    msg.type = type;
    if (type == SDM_WIRE_BOOT) {
        if (hub->memory_size == 0) {
            sdm_text_add(why, ": the master has no shared memory: give it a "
                         "memory-backend-shared with this socket");
            return SDM_ERR_MEMORY;
        }
        if (window) {
            w = *window;
        }
        if (peer->fixed && w.size == 0) {
            w = peer->window;
        }
        sdm_text_init(why);
        status = check_window(hub, id, &w, why);
        if (status != SDM_OK) {
            return status;
        }
        msg.u.boot.offset = peer->fixed ? peer->fd_offset : w.offset;
        msg.u.boot.size = w.size;
    }
    msg.seq = next_seq(hub, type);
    if (send_msg(hub, peer->conn, &msg, NULL, 0)) {
        sdm_text_init(why);
        add_slave(why, id);
        sdm_text_add(why, " takes no messages: its connection is closed");
        settle(hub);
        return SDM_ERR_GONE;
    }

    sdm_text_init(why);
    *seq = msg.seq;
    peer->open_seq = msg.seq;
    peer->open_type = type;
    if (type == SDM_WIRE_BOOT) {
        peer->boot_seq = msg.seq;
        peer->window = w;
        peer->state = sdm_life_next(peer->state, SDM_LIFE_BOOT);
    }
    settle(hub);
    return SDM_OK;
}

void sdm_hub_timeout(struct sdm_hub *hub, uint32_t id, uint32_t seq)
{
    struct sdm_peer *peer;

    if (id == 0 || id > hub->num_slaves) {
        return;
    }
    peer = &hub->peers[id];
    if (peer->open_type == 0 || peer->open_seq != seq) {
        return;
    }
    end_request(hub, id, SDM_ERR_TIMEOUT, "the slave did not answer in time",
                -1, 0);
    settle(hub);
}

const struct sdm_peer *sdm_hub_peer(const struct sdm_hub *hub, uint32_t id)
{
    return id >= 1 && id <= hub->num_slaves ? &hub->peers[id] : NULL;
}

uint32_t sdm_hub_find(const struct sdm_hub *hub, const char *name)
{
    return find_name(hub, name);
}

void sdm_hub_fixed_window(struct sdm_hub *hub, uint32_t id,
                          const struct sdm_window *window)
{
    if (id >= 1 && id <= hub->num_slaves) {
        hub->peers[id].window = *window;
        hub->peers[id].fixed = 1;
    }
}
