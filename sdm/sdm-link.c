/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/sdm-link.h"

#include <errno.h>
#include <string.h>

static int send_msg(struct sdm_link *link, const struct sdm_msg *msg,
                    const int *fds, unsigned nfds)
{
    unsigned char buf[SDM_WIRE_MAX];

    return link->ops->send(link->opaque, buf, sdm_msg_encode(msg, buf), fds,
                           nfds);
}

static void emit(struct sdm_link *link, enum sdm_link_event_type type,
                 const struct sdm_msg *msg, int *fds, unsigned nfds)
{
    struct sdm_link_event event = {
        .type = type,
        .msg = msg,
        .fds = fds,
        .nfds = nfds,
    };

    link->ops->event(link->opaque, &event);
}

static int is_slave(const struct sdm_link *link)
{
    return link->hello.u.hello.role == SDM_ROLE_SLAVE;
}

/* The master is at fault: it hears why, our user hears the same; it is over. */
static void fault(struct sdm_link *link, uint32_t status, const char *what,
                  uint64_t number)
{
    struct sdm_text text;
    struct sdm_msg msg;

    sdm_text_init(&text);
    sdm_text_add(&text, what);
    sdm_text_add_u64(&text, number);
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_ERROR;
    msg.u.answer.status = status;
    memcpy(msg.u.answer.text, text.buf, text.len);
    send_msg(link, &msg, NULL, 0);
    sdm_link_lost(link);
    emit(link, SDM_LINK_ERROR, &msg, NULL, 0);
}

static void receive_welcome(struct sdm_link *link, const struct sdm_msg *msg,
                            int *fds, unsigned nfds)
{
    struct sdm_msg *hello = &link->hello;
    uint32_t id = msg->u.welcome.id;

    if (msg->u.welcome.version < SDM_WIRE_VERSION_MIN ||
        msg->u.welcome.version > SDM_WIRE_VERSION_MAX) {
        fault(link, SDM_ERR_VERSION,
              "the master chose a protocol version that was not offered: ",
              msg->u.welcome.version);
        return;
    }
    if (is_slave(link) != (id != 0) ||
        (hello->u.hello.want_id && id != hello->u.hello.want_id)) {
        fault(link, SDM_ERR_ID, "the master gave an id that was not asked "
              "for: ", id);
        return;
    }
    if (!is_slave(link) && nfds) {
        fault(link, SDM_ERR_INVAL, "the master gave an observer fds: ", nfds);
        return;
    }
    link->id = id;
    link->phase = SDM_LINK_UP;
    link->memory_size = msg->u.welcome.memory_size;
    link->page_size = msg->u.welcome.page_size;
    link->window.offset = msg->u.welcome.window_offset;
    link->window.size = msg->u.welcome.window_size;
    /* To a new master we come back as who we were. */
    hello->u.hello.want_id = id;
    emit(link, SDM_LINK_WELCOME, msg, fds, nfds);
}

static int window_ok(const struct sdm_link *link, const struct sdm_window *w)
{
    if (link->window.size && (w->offset != link->window.offset ||
                              w->size != link->window.size)) {
        return 0;
    }
    return w->size == link->hello.u.hello.ram_size &&
           sdm_window_check(w, link->memory_size, link->page_size) == 0;
}

static void receive_request(struct sdm_link *link, const struct sdm_msg *msg)
{
    struct sdm_window w = { 0, 0 };

    link->open_type = msg->type;
    link->open_seq = msg->seq;
    if (msg->type == SDM_WIRE_BOOT) {
        w.offset = msg->u.boot.offset;
        w.size = msg->u.boot.size;
    }
    if (msg->type == SDM_WIRE_BOOT && !window_ok(link, &w)) {
        struct sdm_text text;

        sdm_text_init(&text);
        sdm_text_add(&text, "the slave cannot map a window of ");
        sdm_text_add_size(&text, w.size);
        sdm_text_add(&text, " at offset ");
        sdm_text_add_hex(&text, w.offset);
        sdm_text_add(&text, ": its memory has ");
        sdm_text_add_size(&text, link->hello.u.hello.ram_size);
        sdm_text_add(&text, ", the fd ");
        sdm_text_add_size(&text, link->memory_size);
        sdm_text_add(&text, " in pages of ");
        sdm_text_add_size(&text, link->page_size);
        sdm_link_answer(link, msg->seq, SDM_ERR_WINDOW, text.buf);
        return;
    }
    emit(link, SDM_LINK_REQUEST, msg, NULL, 0);
}

void sdm_link_init(struct sdm_link *link, const struct sdm_link_ops *ops,
                   void *opaque, const struct sdm_msg *hello)
{
    memset(link, 0, sizeof(*link));
    link->ops = ops;
    link->opaque = opaque;
    link->phase = SDM_LINK_DOWN;
    link->hello = *hello;
    link->hello.type = SDM_WIRE_HELLO;
    link->hello.seq = 0;
    link->hello.u.hello.version_min = SDM_WIRE_VERSION_MIN;
    link->hello.u.hello.version_max = SDM_WIRE_VERSION_MAX;
}

int sdm_link_connected(struct sdm_link *link)
{
    int err = send_msg(link, &link->hello, NULL, 0);

    if (err == 0) {
        link->phase = SDM_LINK_HELLO_SENT;
    }
    return err;
}

void sdm_link_receive(struct sdm_link *link, const void *buf, size_t len,
                      int *fds, unsigned nfds)
{
    struct sdm_msg msg;
    int err;

    if (link->phase == SDM_LINK_DOWN) {
        return;
    }
    err = sdm_msg_decode(&msg, buf, len, nfds);
    if (err == -EMSGSIZE) {
        fault(link, SDM_ERR_INVAL, "message of wrong length: ", len);
        return;
    } else if (err == -EPROTO) {
        fault(link, SDM_ERR_INVAL, "message with wrong number of fds: ", nfds);
        return;
    } else if (err) {
        fault(link, SDM_ERR_INVAL, "malformed message of length ", len);
        return;
    }
    switch (msg.type) {
    case SDM_WIRE_ERROR:
        sdm_link_lost(link);
        emit(link, SDM_LINK_ERROR, &msg, NULL, 0);
        return;
    case SDM_WIRE_WELCOME:
        if (link->phase == SDM_LINK_HELLO_SENT) {
            receive_welcome(link, &msg, fds, nfds);
            return;
        }
        break;
    case SDM_WIRE_BOOT:
    case SDM_WIRE_RESET:
    case SDM_WIRE_STOP:
    case SDM_WIRE_GET_DTB:
        if (link->phase == SDM_LINK_UP && is_slave(link)) {
            receive_request(link, &msg);
            return;
        }
        break;
    case SDM_WIRE_PEER:
        if (link->phase == SDM_LINK_UP && !is_slave(link)) {
            emit(link, SDM_LINK_PEER, &msg, NULL, 0);
            return;
        }
        break;
    }
    fault(link, SDM_ERR_INVAL, "the master must not send this now: message of "
          "type ", msg.type);
}

int sdm_link_answer(struct sdm_link *link, uint32_t seq, uint32_t status,
                    const char *text)
{
    struct sdm_msg msg;
    int err;

    if (link->open_type == 0 || link->open_seq != seq) {
        return -ENOENT;
    }
    if (link->open_type == SDM_WIRE_GET_DTB && status == SDM_OK) {
        return -EINVAL;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_ANSWER;
    msg.seq = seq;
    msg.u.answer.status = status;
    if (text) {
        strncpy(msg.u.answer.text, text, SDM_WIRE_TEXT_MAX);
    }
    err = send_msg(link, &msg, NULL, 0);
    if (err == 0) {
        link->open_type = 0;
    }
    return err;
}

int sdm_link_answer_dtb(struct sdm_link *link, uint32_t seq, int fd,
                        uint64_t size)
{
    struct sdm_msg msg;
    int err;

    if (link->open_type != SDM_WIRE_GET_DTB || link->open_seq != seq) {
        return -ENOENT;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_DTB;
    msg.seq = seq;
    msg.u.dtb.size = size;
    err = send_msg(link, &msg, &fd, 1);
    if (err == 0) {
        link->open_type = 0;
    }
    return err;
}

int sdm_link_state(struct sdm_link *link, uint32_t state)
{
    struct sdm_msg msg;

    if (link->phase != SDM_LINK_UP || !is_slave(link)) {
        return -ENOTCONN;
    }
    memset(&msg, 0, sizeof(msg));
    msg.type = SDM_WIRE_STATE;
    msg.u.state.state = state;
    return send_msg(link, &msg, NULL, 0);
}

void sdm_link_lost(struct sdm_link *link)
{
    link->phase = SDM_LINK_DOWN;
    link->open_type = 0;
}
