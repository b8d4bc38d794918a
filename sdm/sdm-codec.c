/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/sdm-codec.h"

#include <errno.h>
#include <string.h>

/* Every body starts with the header, so one buffer holds any of them. */
union body {
    struct sdm_wire_header header;
    struct sdm_wire_hello hello;
    struct sdm_wire_welcome welcome;
    struct sdm_wire_boot boot;
    struct sdm_wire_answer answer;
    struct sdm_wire_dtb dtb;
    struct sdm_wire_state state;
    struct sdm_wire_peer peer;
};

/* Length without the text of ANSWER and ERROR; 0: no such type. */
static size_t body_size(uint16_t type)
{
    switch (type) {
    case SDM_WIRE_HELLO:
        return sizeof(struct sdm_wire_hello);
    case SDM_WIRE_WELCOME:
        return sizeof(struct sdm_wire_welcome);
    case SDM_WIRE_BOOT:
        return sizeof(struct sdm_wire_boot);
    case SDM_WIRE_RESET:
    case SDM_WIRE_STOP:
    case SDM_WIRE_GET_DTB:
        return sizeof(struct sdm_wire_header);
    case SDM_WIRE_ANSWER:
    case SDM_WIRE_ERROR:
        return sizeof(struct sdm_wire_answer);
    case SDM_WIRE_DTB:
        return sizeof(struct sdm_wire_dtb);
    case SDM_WIRE_STATE:
        return sizeof(struct sdm_wire_state);
    case SDM_WIRE_PEER:
        return sizeof(struct sdm_wire_peer);
    default:
        return 0;
    }
}

/* What a text may follow. */
static int has_text(uint16_t type)
{
    return type == SDM_WIRE_ANSWER || type == SDM_WIRE_ERROR;
}

/* Requests and what ends them carry a number, all else none. */
static int has_seq(uint16_t type)
{
    switch (type) {
    case SDM_WIRE_BOOT:
    case SDM_WIRE_RESET:
    case SDM_WIRE_STOP:
    case SDM_WIRE_GET_DTB:
    case SDM_WIRE_ANSWER:
    case SDM_WIRE_DTB:
        return 1;
    default:
        return 0;
    }
}

int sdm_name_ok(const char *name)
{
    size_t i;

    for (i = 0; i <= SDM_NAME_MAX && name[i]; i++) {
        char c = name[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-')) {
            return 0;
        }
    }
    return i > 0 && i <= SDM_NAME_MAX;
}

/*
 * Bytes of the well-formed UTF-8 sequence at @s that a terminal may be shown;
 * 0: none. C0 and C1 controls are well-formed, but they move cursors and forge
 * log lines.
 */
static size_t utf8_printable(const unsigned char *s, size_t len)
{
    static const uint32_t lowest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t c = s[0];
    size_t n, i;

    if (c < 0x80) {
        return c >= 0x20 && c != 0x7f;
    } else if (c >= 0xc0 && c < 0xe0) {
        n = 2;
        c &= 0x1f;
    } else if (c >= 0xe0 && c < 0xf0) {
        n = 3;
        c &= 0x0f;
    } else if (c >= 0xf0 && c < 0xf8) {
        n = 4;
        c &= 0x07;
    } else {
        return 0;
    }
    if (n > len) {
        return 0;
    }
    for (i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < lowest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ||
        (c >= 0x80 && c < 0xa0)) {
        return 0;
    }
    return n;
}

static void copy_text(char *out, const unsigned char *in, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t n = utf8_printable(in + i, len - i);

        if (n == 0) {
            out[i++] = '?';
        } else {
            memcpy(out + i, in + i, n);
            i += n;
        }
    }
    out[len] = 0;
}

/* @out is all zeros. */
static void put_name(char *out, const char *in)
{
    memcpy(out, in, strnlen(in, SDM_NAME_MAX));
}

/* Names may be empty; what lies behind the terminating 0 is not passed on. */
static int copy_name(char *out, const char *in)
{
    if (in[0] && !sdm_name_ok(in)) {
        return -EBADMSG;
    }
    put_name(out, in);
    return 0;
}

int sdm_msg_encode(const struct sdm_msg *msg, void *buf)
{
    union body b;
    size_t size = body_size(msg->type);
    size_t text = 0;

    if (size == 0) {
        return -EINVAL;
    }
    memset(&b, 0, sizeof(b));
    switch (msg->type) {
    case SDM_WIRE_HELLO:
        b.hello.version_min = sdm_to_le16(msg->u.hello.version_min);
        b.hello.version_max = sdm_to_le16(msg->u.hello.version_max);
        b.hello.role = sdm_to_le16(msg->u.hello.role);
        b.hello.machine = sdm_to_le16(msg->u.hello.machine);
        b.hello.features = sdm_to_le32(msg->u.hello.features);
        b.hello.want_id = sdm_to_le32(msg->u.hello.want_id);
        b.hello.ram_base = sdm_to_le64(msg->u.hello.ram_base);
        b.hello.ram_size = sdm_to_le64(msg->u.hello.ram_size);
        put_name(b.hello.name, msg->u.hello.name);
        break;
    case SDM_WIRE_WELCOME:
        b.welcome.version = sdm_to_le16(msg->u.welcome.version);
        b.welcome.fds = sdm_to_le16(msg->u.welcome.fds);
        b.welcome.id = sdm_to_le32(msg->u.welcome.id);
        b.welcome.num_slaves = sdm_to_le32(msg->u.welcome.num_slaves);
        b.welcome.features = sdm_to_le32(msg->u.welcome.features);
        b.welcome.memory_size = sdm_to_le64(msg->u.welcome.memory_size);
        b.welcome.window_offset = sdm_to_le64(msg->u.welcome.window_offset);
        b.welcome.window_size = sdm_to_le64(msg->u.welcome.window_size);
        b.welcome.page_size = sdm_to_le64(msg->u.welcome.page_size);
        break;
    case SDM_WIRE_BOOT:
        b.boot.offset = sdm_to_le64(msg->u.boot.offset);
        b.boot.size = sdm_to_le64(msg->u.boot.size);
        break;
    case SDM_WIRE_ANSWER:
    case SDM_WIRE_ERROR:
        text = strnlen(msg->u.answer.text, SDM_WIRE_TEXT_MAX);
        b.answer.status = sdm_to_le32(msg->u.answer.status);
        b.answer.text_length = sdm_to_le32(text);
        break;
    case SDM_WIRE_DTB:
        b.dtb.size = sdm_to_le64(msg->u.dtb.size);
        break;
    case SDM_WIRE_STATE:
        b.state.state = sdm_to_le32(msg->u.state.state);
        break;
    case SDM_WIRE_PEER:
        b.peer.id = sdm_to_le32(msg->u.peer.id);
        b.peer.state = sdm_to_le32(msg->u.peer.state);
        b.peer.machine = sdm_to_le32(msg->u.peer.machine);
        b.peer.pid = sdm_to_le32(msg->u.peer.pid);
        b.peer.ram_base = sdm_to_le64(msg->u.peer.ram_base);
        b.peer.ram_size = sdm_to_le64(msg->u.peer.ram_size);
        b.peer.window_offset = sdm_to_le64(msg->u.peer.window_offset);
        b.peer.window_size = sdm_to_le64(msg->u.peer.window_size);
        b.peer.boots = sdm_to_le64(msg->u.peer.boots);
        b.peer.sent = sdm_to_le64(msg->u.peer.sent);
        b.peer.taken = sdm_to_le64(msg->u.peer.taken);
        b.peer.refused = sdm_to_le64(msg->u.peer.refused);
        put_name(b.peer.name, msg->u.peer.name);
        break;
    }
    b.header.magic = sdm_to_le32(SDM_WIRE_MAGIC);
    b.header.type = sdm_to_le16(msg->type);
    b.header.length = sdm_to_le32(size + text);
    b.header.seq = sdm_to_le32(msg->seq);
    memcpy(buf, &b, size);
    memcpy((char *)buf + size, msg->u.answer.text, text);
    return size + text;
}

static int decode_hello(struct sdm_msg *m, const struct sdm_wire_hello *w)
{
    m->u.hello.version_min = sdm_from_le16(w->version_min);
    m->u.hello.version_max = sdm_from_le16(w->version_max);
    m->u.hello.role = sdm_from_le16(w->role);
    m->u.hello.machine = sdm_from_le16(w->machine);
    m->u.hello.features = sdm_from_le32(w->features);
    m->u.hello.want_id = sdm_from_le32(w->want_id);
    m->u.hello.ram_base = sdm_from_le64(w->ram_base);
    m->u.hello.ram_size = sdm_from_le64(w->ram_size);

    if (m->u.hello.version_min == 0 ||
        m->u.hello.version_min > m->u.hello.version_max) {
        return -EBADMSG;
    }
    /* want_id is left to the hub, whose error names it and num-slaves. */
    switch (m->u.hello.role) {
    case SDM_ROLE_SLAVE:
        if (m->u.hello.ram_size == 0 ||
            m->u.hello.ram_base > UINT64_MAX - m->u.hello.ram_size) {
            return -EBADMSG;
        }
        break;
    case SDM_ROLE_OBSERVER:
        if (m->u.hello.ram_size) {
            return -EBADMSG;
        }
        break;
    default:
        return -EBADMSG;
    }
    return copy_name(m->u.hello.name, w->name);
}

static int decode_welcome(struct sdm_msg *m, const struct sdm_wire_welcome *w,
                          unsigned nfds)
{
    uint64_t memory = sdm_from_le64(w->memory_size);
    uint64_t offset = sdm_from_le64(w->window_offset);
    uint64_t size = sdm_from_le64(w->window_size);
    uint64_t page = sdm_from_le64(w->page_size);
    uint16_t fds = sdm_from_le16(w->fds);
    unsigned bits = 0, bit;

    m->u.welcome.version = sdm_from_le16(w->version);
    m->u.welcome.fds = fds;
    m->u.welcome.id = sdm_from_le32(w->id);
    m->u.welcome.num_slaves = sdm_from_le32(w->num_slaves);
    m->u.welcome.features = sdm_from_le32(w->features);
    m->u.welcome.memory_size = memory;
    m->u.welcome.window_offset = offset;
    m->u.welcome.window_size = size;
    m->u.welcome.page_size = page;

    if (m->u.welcome.version == 0 || (fds & ~SDM_WIRE_FDS) ||
        m->u.welcome.num_slaves == 0 ||
        m->u.welcome.num_slaves > SDM_MAX_SLAVES ||
        m->u.welcome.id > m->u.welcome.num_slaves) {
        return -EBADMSG;
    }
    if ((page & (page - 1)) || (memory && !page) ||
        ((fds & SDM_WIRE_FD_MEMORY) && !memory) ||
        size > memory || offset > memory - size) {
        return -EBADMSG;
    }
    for (bit = 0; bit < SDM_WIRE_MAX_FDS; bit++) {
        bits += fds >> bit & 1;
    }
    return nfds == bits ? 0 : -EPROTO;
}

static int decode_boot(struct sdm_msg *m, const struct sdm_wire_boot *w)
{
    m->u.boot.offset = sdm_from_le64(w->offset);
    m->u.boot.size = sdm_from_le64(w->size);

    if (m->u.boot.size == 0 ||
        m->u.boot.offset > UINT64_MAX - m->u.boot.size) {
        return -EBADMSG;
    }
    return 0;
}

static int decode_answer(struct sdm_msg *m, const struct sdm_wire_answer *w,
                         const unsigned char *text, size_t text_len)
{
    m->u.answer.status = sdm_from_le32(w->status);

    if (m->u.answer.status >= SDM_ERRS ||
        sdm_from_le32(w->text_length) > SDM_WIRE_TEXT_MAX ||
        (m->type == SDM_WIRE_ERROR && m->u.answer.status == SDM_OK)) {
        return -EBADMSG;
    }
    if (sdm_from_le32(w->text_length) != text_len) {
        return -EMSGSIZE;
    }
    copy_text(m->u.answer.text, text, text_len);
    return 0;
}

static int decode_dtb(struct sdm_msg *m, const struct sdm_wire_dtb *w)
{
    m->u.dtb.size = sdm_from_le64(w->size);
    return m->u.dtb.size ? 0 : -EBADMSG;
}

static int decode_state(struct sdm_msg *m, const struct sdm_wire_state *w)
{
    m->u.state.state = sdm_from_le32(w->state);

    switch (m->u.state.state) {
    case SDM_STATE_WAITING:
    case SDM_STATE_RUNNING:
    case SDM_STATE_STOPPED:
    case SDM_STATE_CRASHED:
        return w->reserved ? -EBADMSG : 0;
    default:
        return -EBADMSG;
    }
}

static int decode_peer(struct sdm_msg *m, const struct sdm_wire_peer *w)
{
    m->u.peer.id = sdm_from_le32(w->id);
    m->u.peer.state = sdm_from_le32(w->state);
    m->u.peer.machine = sdm_from_le32(w->machine);
    m->u.peer.pid = sdm_from_le32(w->pid);
    m->u.peer.ram_base = sdm_from_le64(w->ram_base);
    m->u.peer.ram_size = sdm_from_le64(w->ram_size);
    m->u.peer.window_offset = sdm_from_le64(w->window_offset);
    m->u.peer.window_size = sdm_from_le64(w->window_size);
    m->u.peer.boots = sdm_from_le64(w->boots);
    m->u.peer.sent = sdm_from_le64(w->sent);
    m->u.peer.taken = sdm_from_le64(w->taken);
    m->u.peer.refused = sdm_from_le64(w->refused);

    if (m->u.peer.id > SDM_MAX_SLAVES || m->u.peer.state >= SDM_STATES) {
        return -EBADMSG;
    }
    return copy_name(m->u.peer.name, w->name);
}

int sdm_msg_decode(struct sdm_msg *msg, const void *buf, size_t len,
                   unsigned nfds)
{
    struct sdm_msg m;
    union body b;
    size_t size;
    int err = 0;

    if (len < sizeof(b.header)) {
        return -EBADMSG;
    }
    memcpy(&b.header, buf, sizeof(b.header));
    memset(&m, 0, sizeof(m));
    m.type = sdm_from_le16(b.header.type);
    m.seq = sdm_from_le32(b.header.seq);
    size = body_size(m.type);
    if (sdm_from_le32(b.header.magic) != SDM_WIRE_MAGIC || size == 0 ||
        b.header.flags || has_seq(m.type) != (m.seq != 0)) {
        return -EBADMSG;
    }
    if (sdm_from_le32(b.header.length) != len || len < size ||
        (len > size && !has_text(m.type))) {
        return -EMSGSIZE;
    }
    /* The fds of WELCOME are counted against its own bits, below. */
    if (m.type != SDM_WIRE_WELCOME && nfds != (m.type == SDM_WIRE_DTB)) {
        return -EPROTO;
    }
    memcpy(&b, buf, size);

    switch (m.type) {
    case SDM_WIRE_HELLO:
        err = decode_hello(&m, &b.hello);
        break;
    case SDM_WIRE_WELCOME:
        err = decode_welcome(&m, &b.welcome, nfds);
        break;
    case SDM_WIRE_BOOT:
        err = decode_boot(&m, &b.boot);
        break;
    case SDM_WIRE_ANSWER:
    case SDM_WIRE_ERROR:
        err = decode_answer(&m, &b.answer, (const unsigned char *)buf + size,
                            len - size);
        break;
    case SDM_WIRE_DTB:
        err = decode_dtb(&m, &b.dtb);
        break;
    case SDM_WIRE_STATE:
        err = decode_state(&m, &b.state);
        break;
    case SDM_WIRE_PEER:
        err = decode_peer(&m, &b.peer);
        break;
    }
    if (err == 0) {
        *msg = m;
    }
    return err;
}
