/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One end of one signal ring (include/sdm/ring.h). The other end is another
 * process that may write anything at any time: indexes are read once, checked,
 * and a slot is copied before it is looked at. An end has one user at a time;
 * sdm_ring_ready() and sdm_ring_passed() may be called beside it.
 *
 * Theory of operation: the producer fills a slot, publishes head with a store
 * barrier, then (full barrier) reads the consumer's event and kicks only if
 * head passed it. The consumer that runs dry publishes event = its index, (full
 * barrier) looks once more, and sleeps. Space is signalled the same way round.
 * Rejected: a flag "asleep" in place of the index - it costs one kick too many
 * for every wake-up that is still on its way.
 *
 * A consumer may read on before the guest has taken what was read (it holds
 * it). A slot is free, and its status told, when that and all before it were
 * released: so the producer learns the fate of each signal from memory, and no
 * acknowledgement has to find room in the other ring. (Rejected: ACK messages.
 * Two guests that both wait for one while both rings are full would wait for
 * good.)
 */
#ifndef SDM_RING_END_H
#define SDM_RING_END_H

#include "sdm/ring.h"

/**
 * struct sdm_ring_end - private to one side
 * @ring:  shared memory, at least sizeof(struct sdm_ring), 8-byte aligned
 * @index: producer: head; consumer: next to read
 * @done:  consumer: tail; equal to @index, or that of a signal that is held
 * @full:  producer: the last sdm_ring_put() found no space
 * @held:  consumer: bit by slot
 */
struct sdm_ring_end {
    struct sdm_ring *ring;
    uint32_t index;
    uint32_t done;
    uint32_t full;
    uint32_t held[SDM_RING_SLOTS / 32];
};

/** sdm_ring_pair_init() - format @pair, which is SDM_RING_BYTES of zeros. */
void sdm_ring_pair_init(struct sdm_ring_pair *pair);

/**
 * sdm_ring_pair_check() - is it one?
 * Returns: 0, or -EPROTO (magic, version or number of slots).
 */
int sdm_ring_pair_check(const struct sdm_ring_pair *pair);

/** sdm_ring_end_init() - start at index 0 of a freshly formatted ring. */
void sdm_ring_end_init(struct sdm_ring_end *end, struct sdm_ring *ring);

/**
 * sdm_ring_put() - producer: append one signal; its index is end->index before
 * @stamp: now, CLOCK_MONOTONIC, ns; 0: not told
 * @kick:  set to 1 if the consumer must be kicked, else 0
 *
 * Returns: 0; -EAGAIN: full, and a kick will come when there is space;
 * -EPROTO: the consumer's index is impossible: give the peer up.
 */
int sdm_ring_put(struct sdm_ring_end *end, const struct sdm_signal *sig,
                 uint64_t stamp, int *kick);

/**
 * sdm_ring_full() - producer: is there no space for one more?
 * Returns: 1: none, and a kick will come when there is; 0
 */
int sdm_ring_full(struct sdm_ring_end *end);

/**
 * sdm_ring_status() - producer: what has become of the signal put at @index?
 * To be asked before SDM_RING_SLOTS more are put.
 * Returns: SDM_OK or SDM_ERR_*; -EAGAIN: not taken yet; -EPROTO
 */
int sdm_ring_status(const struct sdm_ring_end *end, uint32_t index);

/**
 * sdm_ring_watch() - producer: want a kick when sdm_ring_status() of @index is
 * known. There is one watch: the oldest signal's. While the ring is full, the
 * kick for space comes no later; watch again then.
 * Returns: as sdm_ring_status(); a kick comes if it is -EAGAIN
 */
int sdm_ring_watch(struct sdm_ring_end *end, uint32_t index);

/**
 * sdm_ring_passed() - producer: is @index below tail? A hint without a check,
 * for a poller.
 */
int sdm_ring_passed(const struct sdm_ring_end *end, uint32_t index);

/**
 * sdm_ring_ready() - consumer: is there anything to read, or to complain of?
 * Wants no kick.
 */
int sdm_ring_ready(const struct sdm_ring_end *end);

/**
 * sdm_ring_peek() - consumer: copy the oldest unread signal, leave it unread
 * Returns: 1 and @sig filled; 0: none, and a kick will come with the next
 * one; -EPROTO: the producer's index is impossible: give the peer up.
 */
int sdm_ring_peek(struct sdm_ring_end *end, struct sdm_signal *sig);

/** sdm_ring_hold() - consumer: read on; what was peeked is released later. */
void sdm_ring_hold(struct sdm_ring_end *end);

/**
 * sdm_ring_drop() - consumer: read on, and release what was peeked
 * @status: SDM_OK: the guest has it; SDM_ERR_*: it was refused
 * @kick: set to 1 if the producer waits for this and must be kicked, else 0
 */
void sdm_ring_drop(struct sdm_ring_end *end, uint32_t status, int *kick);

/**
 * sdm_ring_release() - consumer: release the oldest signal that is held; there
 * is one. @status and @kick as above
 */
void sdm_ring_release(struct sdm_ring_end *end, uint32_t status, int *kick);

/** sdm_ring_holds() - consumer: is any signal held? */
int sdm_ring_holds(const struct sdm_ring_end *end);

/** sdm_ring_stamp() - consumer: when was @index put? The producer's word. */
uint64_t sdm_ring_stamp(const struct sdm_ring_end *end, uint32_t index);

/** sdm_ring_used() - signals between tail and head, 0..SDM_RING_SLOTS. */
uint32_t sdm_ring_used(const struct sdm_ring_end *end);

#endif /* SDM_RING_END_H */
