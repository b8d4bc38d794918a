/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals between two QEMUs: a pair of single-producer single-consumer rings
 * in a sealed memfd, one pair a slave. Specification: docs/specs/ring.rst
 *
 * Indexes run free (modulo 2^32); a slot is index & (SDM_RING_SLOTS - 1).
 * Each side writes only its own cache lines, and trusts nothing it reads.
 */
#ifndef SDM_RING_H
#define SDM_RING_H

#include "signal.h"

#define SDM_RING_MAGIC    0x524d4453u   /* "SDMR" */
#define SDM_RING_VERSION  2u
#define SDM_RING_SLOTS    256u          /* a power of two */
#define SDM_RING_TO_SLAVE  0
#define SDM_RING_TO_MASTER 1

/**
 * struct sdm_ring - one direction
 * @head:  written by the producer: next index to fill
 * @space_event: written by the producer: it wants a kick once @tail passes
 *         this index (it found the ring full, or waits for an acknowledgement)
 * @tail:  written by the consumer: all before this index were taken by the
 *         guest, or refused
 * @event: written by the consumer: it wants a kick once @head passes this
 *         index; a consumer that is awake leaves it behind
 * @status: written by the consumer: SDM_OK or SDM_ERR_*, what has become of the
 *         signal in the slot; valid below @tail
 * @stamp: written by the producer: when the signal was put, CLOCK_MONOTONIC,
 *         ns; 0: not told
 */
struct sdm_ring {
    sdm_le32 head;
    sdm_le32 space_event;
    uint8_t pad0[56];
    sdm_le32 tail;
    sdm_le32 event;
    uint8_t pad1[56];
    uint8_t status[SDM_RING_SLOTS];
    sdm_le64 stamp[SDM_RING_SLOTS];
    struct sdm_signal slots[SDM_RING_SLOTS];
};
SDM_ASSERT_OFFSET(struct sdm_ring, tail, 64);
SDM_ASSERT_OFFSET(struct sdm_ring, status, 128);
SDM_ASSERT_OFFSET(struct sdm_ring, stamp, 128 + SDM_RING_SLOTS);
SDM_ASSERT_OFFSET(struct sdm_ring, slots, 128 + 9 * SDM_RING_SLOTS);
SDM_ASSERT_SIZE(struct sdm_ring, 128 + 41 * SDM_RING_SLOTS);

/**
 * struct sdm_ring_pair - the whole memfd
 * @magic, @version, @slots: written once by the master before the fd is sent
 */
struct sdm_ring_pair {
    sdm_le32 magic;
    sdm_le32 version;
    sdm_le32 slots;
    sdm_le32 reserved;
    uint8_t pad[112];
    struct sdm_ring ring[2];
};
SDM_ASSERT_OFFSET(struct sdm_ring_pair, ring, 128);

#define SDM_RING_BYTES  sizeof(struct sdm_ring_pair)

#endif /* SDM_RING_H */
