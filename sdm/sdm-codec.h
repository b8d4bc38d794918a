/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages of the control socket, host byte order, and their bytes.
 *
 * Both directions go through struct sdm_msg: a decoded message is complete and
 * checked (magic, length for its type, text inside the packet and printable or
 * replaced by '?', names 0-terminated and printable, ids, states and roles in
 * range, reserved fields 0, number of fds as the type demands, a number in
 * requests and answers and none elsewhere, no size or end that overflows). One
 * field is left as it came: HELLO's want_id, so that the hub can name it.
 * Nothing here allocates, keeps a pointer or does I/O.
 */
#ifndef SDM_CODEC_H
#define SDM_CODEC_H

#include "sdm/wire.h"

/**
 * struct sdm_msg - one message
 * @type: SDM_WIRE_*
 * @seq:  request number, else 0
 * The union is read by @type; RESET, STOP and GET_DTB have no body.
 */
struct sdm_msg {
    uint16_t type;
    uint32_t seq;
    union {
        struct {
            uint16_t version_min, version_max, role, machine;
            uint32_t features, want_id;
            uint64_t ram_base, ram_size;
            char name[SDM_NAME_MAX + 1];
        } hello;
        struct {
            uint16_t version, fds;
            uint32_t id, num_slaves, features;
            uint64_t memory_size, window_offset, window_size, page_size;
        } welcome;
        struct {
            uint64_t offset, size;
        } boot;
        struct {
            uint32_t status;
            char text[SDM_WIRE_TEXT_MAX + 1];
        } answer;               /* SDM_WIRE_ANSWER and SDM_WIRE_ERROR */
        struct {
            uint64_t size;
        } dtb;
        struct {
            uint32_t state;
        } state;
        struct {
            uint32_t id, state, machine, pid;
            uint64_t ram_base, ram_size, window_offset, window_size;
            uint64_t boots, sent, taken, refused;
            char name[SDM_NAME_MAX + 1];
        } peer;
    } u;
};

/**
 * sdm_msg_encode() - message to bytes
 * @msg: a valid message
 * @buf: at least SDM_WIRE_MAX bytes
 *
 * Returns: the length in bytes, or -EINVAL for an unknown type.
 */
int sdm_msg_encode(const struct sdm_msg *msg, void *buf);

/**
 * sdm_msg_decode() - bytes from a peer to a checked message
 * @msg:  filled on success, untouched otherwise
 * @buf:  one whole packet, any alignment, any content
 * @len:  its length
 * @nfds: fds that came with it
 *
 * Returns: 0, or -EBADMSG: not a message, or its fields are out of range;
 * -EMSGSIZE: wrong length for its type; -EPROTO: wrong number of fds for it.
 */
int sdm_msg_decode(struct sdm_msg *msg, const void *buf, size_t len,
                   unsigned nfds);

/** sdm_name_ok() - 1 if @name is 1..SDM_NAME_MAX of [A-Za-z0-9._-]. */
int sdm_name_ok(const char *name);

#endif /* SDM_CODEC_H */
