/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The signal: one 32-byte message, the same on the ring between two QEMUs, in
 * the virtqueues, and in read(2) and write(2) of the guest's /dev/sdmN; and the
 * numbers that all layers share: signal types, peer ids, peer states, status.
 * Specification: docs/specs/signals.rst
 */
#ifndef SDM_SIGNAL_H
#define SDM_SIGNAL_H

#include "base.h"

/*
 * Signal types. A device offers the types named by its signals[] list, one
 * feature bit each: bit N for type N.
 */
enum {
    SDM_SIGNAL_INTERRUPT = 0,   /* nothing but the message itself */
    SDM_SIGNAL_BOOT      = 1,   /* payload[0] size, payload[1] offset, bytes */
    SDM_SIGNAL_RESET     = 2,   /* the slave returns to waiting */
    SDM_SIGNAL_STOP      = 3,   /* the slave's vCPUs stop, its window stays */
    SDM_SIGNAL_STATE     = 4,   /* peer state change: payload[0] is the state;
                                   sent by the device itself, never by a guest */
    SDM_SIGNAL_DTB       = 5,   /* the slave's own device tree is written into
                                   shared memory: payload[0] room, payload[1]
                                   offset there, bytes; comes along with BOOT */
    SDM_SIGNAL_USER      = 8,   /* first of the user-defined types */
    SDM_SIGNAL_TYPES     = 24,  /* number of types */
};

/* Peer ids: the master is 0, slaves are 1..num-slaves. */
#define SDM_ID_MASTER   0u
#define SDM_ID_ALL      0xffffu
#define SDM_MAX_SLAVES  64u

/* Longest peer name, in bytes, without the terminating 0. */
#define SDM_NAME_MAX    31u

/* Peer states (docs/specs/lifecycle.rst). */
enum {
    SDM_STATE_ABSENT  = 0,      /* no process behind this id */
    SDM_STATE_WAITING = 1,      /* connected, no main memory, can be booted */
    SDM_STATE_BOOTING = 2,      /* BOOT sent, no answer yet */
    SDM_STATE_RUNNING = 3,
    SDM_STATE_STOPPED = 4,      /* vCPUs stopped, window still mapped */
    SDM_STATE_CRASHED = 5,      /* the guest panicked, window still mapped */
    SDM_STATES        = 6,
};

/* Status of a request, from the peer's answer down to the guest's ioctl. */
enum {
    SDM_OK              = 0,
    SDM_ERR_INVAL       = 1,    /* malformed */
    SDM_ERR_NO_PEER     = 2,    /* no such id, or nobody behind it */
    SDM_ERR_STATE       = 3,    /* not in this state of the peer */
    SDM_ERR_UNSUPPORTED = 4,    /* signal type not offered */
    SDM_ERR_WINDOW      = 5,    /* unaligned, zero, outside or overlapping */
    SDM_ERR_RECORD      = 6,    /* no boot record, or a bad one */
    SDM_ERR_ISA         = 7,    /* record or peer of another instruction set */
    SDM_ERR_MEMORY      = 8,    /* the host could not map the window */
    SDM_ERR_BUSY        = 9,    /* ring full or request pending: try again */
    SDM_ERR_GONE        = 10,   /* the peer was lost before it answered */
    SDM_ERR_TIMEOUT     = 11,
    SDM_ERR_VERSION     = 12,   /* no protocol version in common */
    SDM_ERR_ID          = 13,   /* id taken, 0 or above num-slaves */
    SDM_ERR_DENIED      = 14,   /* not allowed to this peer */
    SDM_ERR_INTERNAL    = 15,
    SDM_ERRS            = 16,
};

#define SDM_SIGNAL_F_ACK  (1u << 0)  /* the sender wants to know it was taken */

/**
 * struct sdm_signal - one signal, little-endian
 * @type:    SDM_SIGNAL_*
 * @source:  id of the sender; set by the device, ignored from a guest
 * @target:  id of the receiver, or SDM_ID_ALL (master only)
 * @flags:   SDM_SIGNAL_F_*; other bits are 0
 * @cookie:  the sender's own number, given back in acknowledgements
 * @payload: two words, meaning by @type
 */
struct sdm_signal {
    sdm_le32 type;
    sdm_le16 source;
    sdm_le16 target;
    sdm_le32 flags;
    sdm_le32 cookie;
    sdm_le64 payload[2];
};
SDM_ASSERT_SIZE(struct sdm_signal, 32);
SDM_ASSERT_OFFSET(struct sdm_signal, source, 4);
SDM_ASSERT_OFFSET(struct sdm_signal, target, 6);
SDM_ASSERT_OFFSET(struct sdm_signal, flags, 8);
SDM_ASSERT_OFFSET(struct sdm_signal, cookie, 12);
SDM_ASSERT_OFFSET(struct sdm_signal, payload, 16);

#endif /* SDM_SIGNAL_H */
