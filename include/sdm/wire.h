/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: AF_UNIX, SOCK_SEQPACKET, one message a packet, fds by
 * SCM_RIGHTS. Little-endian. Specification: docs/specs/socket.rst
 */
#ifndef SDM_WIRE_H
#define SDM_WIRE_H

#include "signal.h"

#define SDM_WIRE_MAGIC        0x574d4453u   /* "SDMW" */
#define SDM_WIRE_VERSION_MIN  1u
#define SDM_WIRE_VERSION_MAX  1u
#define SDM_WIRE_MAX          4096u         /* longest message, bytes */
#define SDM_WIRE_MAX_FDS      4u
#define SDM_WIRE_TEXT_MAX     1024u         /* longest text, bytes */

/* Message types: who sends them, fds that travel with them. */
enum {
    SDM_WIRE_HELLO   = 1,   /* peer -> master, first message */
    SDM_WIRE_WELCOME = 2,   /* master -> peer, struct sdm_wire_welcome.fds */
    SDM_WIRE_ERROR   = 3,   /* both ways, the last message before the close */
    SDM_WIRE_BOOT    = 4,   /* master -> slave, a request */
    SDM_WIRE_RESET   = 5,   /* master -> slave, a request */
    SDM_WIRE_STOP    = 6,   /* master -> slave, a request */
    SDM_WIRE_GET_DTB = 7,   /* master -> slave, a request */
    SDM_WIRE_ANSWER  = 8,   /* slave -> master, ends a request */
    SDM_WIRE_DTB     = 9,   /* slave -> master, ends GET_DTB, one sealed memfd */
    SDM_WIRE_STATE   = 10,  /* slave -> master, the slave's own state changed */
    SDM_WIRE_PEER    = 11,  /* master -> observer, one row of the peer table */
    SDM_WIRE_TYPES   = 12,
};

/**
 * struct sdm_wire_header - the start of every message
 * @magic:  SDM_WIRE_MAGIC
 * @type:   SDM_WIRE_*
 * @flags:  0
 * @length: of the whole message with this header; equals the packet's length
 * @seq:    number of a request, repeated in its answer; else 0
 */
struct sdm_wire_header {
    sdm_le32 magic;
    sdm_le16 type;
    sdm_le16 flags;
    sdm_le32 length;
    sdm_le32 seq;
};
SDM_ASSERT_SIZE(struct sdm_wire_header, 16);

enum {
    SDM_ROLE_SLAVE    = 1,
    SDM_ROLE_OBSERVER = 2,  /* has no id, gets PEER messages, sends nothing */
};

/**
 * struct sdm_wire_hello - who connects
 * @version_min: lowest and
 * @version_max: highest protocol version spoken
 * @role:        SDM_ROLE_*
 * @machine:     ELF e_machine of the slave's CPUs (40 EM_ARM, 183 EM_AARCH64)
 * @features:    bit N: signal type N understood
 * @want_id:     1..num-slaves, or 0 for any
 * @ram_base:    guest-physical address of the slave's main memory
 * @ram_size:    its size in bytes; 0 for an observer
 * @name:        0-terminated, may be empty
 */
struct sdm_wire_hello {
    struct sdm_wire_header header;
    sdm_le16 version_min;
    sdm_le16 version_max;
    sdm_le16 role;
    sdm_le16 machine;
    sdm_le32 features;
    sdm_le32 want_id;
    sdm_le64 ram_base;
    sdm_le64 ram_size;
    char name[SDM_NAME_MAX + 1];
};
SDM_ASSERT_SIZE(struct sdm_wire_hello, 80);

/* Bits of sdm_wire_welcome.fds: which fds came along, in this order. */
#define SDM_WIRE_FD_MEMORY   (1u << 0)  /* what a window is mapped from */
#define SDM_WIRE_FD_RING     (1u << 1)  /* sealed memfd, see ring.h */
#define SDM_WIRE_FD_TO_SLAVE (1u << 2)  /* pipe end that the slave waits on */
#define SDM_WIRE_FD_TO_MASTER (1u << 3) /* pipe end that the slave kicks */
#define SDM_WIRE_FDS         0xfu

/**
 * struct sdm_wire_welcome - the peer is admitted
 * @version:     chosen protocol version
 * @fds:         SDM_WIRE_FD_* bits
 * @id:          the slave's id; 0 for an observer
 * @num_slaves:  highest id
 * @features:    bit N: signal type N offered by the master
 * @memory_size: bytes behind the memory fd
 * @window_offset: offset in the memory fd and
 * @window_size: size of this slave's fixed window; 0 where windows= is not used
 * @page_size:   of the memory fd: a window's offset and size are multiples
 */
struct sdm_wire_welcome {
    struct sdm_wire_header header;
    sdm_le16 version;
    sdm_le16 fds;
    sdm_le32 id;
    sdm_le32 num_slaves;
    sdm_le32 features;
    sdm_le64 memory_size;
    sdm_le64 window_offset;
    sdm_le64 window_size;
    sdm_le64 page_size;
};
SDM_ASSERT_SIZE(struct sdm_wire_welcome, 64);

/**
 * struct sdm_wire_boot - map the window, check its boot record, start
 * @offset: in the memory fd, bytes
 * @size:   bytes; equals the slave's ram_size
 */
struct sdm_wire_boot {
    struct sdm_wire_header header;
    sdm_le64 offset;
    sdm_le64 size;
};
SDM_ASSERT_SIZE(struct sdm_wire_boot, 32);

/* RESET, STOP and GET_DTB are a bare struct sdm_wire_header. */

/**
 * struct sdm_wire_answer - ANSWER and ERROR: a status and why
 * @status: SDM_OK or SDM_ERR_*
 * @text_length: bytes of UTF-8 text behind this struct, no terminating 0,
 *          at most SDM_WIRE_TEXT_MAX
 */
struct sdm_wire_answer {
    struct sdm_wire_header header;
    sdm_le32 status;
    sdm_le32 text_length;
};
SDM_ASSERT_SIZE(struct sdm_wire_answer, 24);

/**
 * struct sdm_wire_dtb - a flattened device tree in the one fd that comes along
 * @size: bytes of it; the memfd is sealed against shrinking and writing
 */
struct sdm_wire_dtb {
    struct sdm_wire_header header;
    sdm_le64 size;
};
SDM_ASSERT_SIZE(struct sdm_wire_dtb, 24);

/**
 * struct sdm_wire_state - the slave's new state
 * @state:  SDM_STATE_WAITING, _RUNNING, _STOPPED or _CRASHED
 * @reserved: 0
 */
struct sdm_wire_state {
    struct sdm_wire_header header;
    sdm_le32 state;
    sdm_le32 reserved;
};
SDM_ASSERT_SIZE(struct sdm_wire_state, 24);

/**
 * struct sdm_wire_peer - what an observer learns of one slave
 * @id: 1..num_slaves; sent for every id at the start, then at every change.
 *      0 is the mark behind the last row of the start
 */
struct sdm_wire_peer {
    struct sdm_wire_header header;
    sdm_le32 id;
    sdm_le32 state;
    sdm_le32 machine;
    sdm_le32 pid;
    sdm_le64 ram_base;
    sdm_le64 ram_size;
    sdm_le64 window_offset;
    sdm_le64 window_size;
    sdm_le64 boots;
    sdm_le64 sent;
    sdm_le64 taken;
    sdm_le64 refused;
    char name[SDM_NAME_MAX + 1];
};
SDM_ASSERT_SIZE(struct sdm_wire_peer, 128);

#endif /* SDM_WIRE_H */
