/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One end of one signal ring (include/sdm/ring.h). The other end is another
 * process that may write anything at any time: indexes are read once, checked,
 * and a slot is copied before it is looked at. An end has one user at a time.
 *
 * Theory of operation: the producer fills a slot, publishes head with a store
 * barrier, then (full barrier) reads the consumer's event and kicks only if
 * head passed it. The consumer that runs dry publishes event = tail, (full
 * barrier) looks once more, and sleeps. Space is signalled the same way round.
 * Rejected: a flag "asleep" in place of the index - it costs one kick too many
 * for every wake-up that is still on its way.
 */
#ifndef SDM_RING_END_H
#define SDM_RING_END_H

#include "sdm/ring.h"

/**
 * struct sdm_ring_end - private to one side
 * @ring:  shared memory, at least sizeof(struct sdm_ring), 8-byte aligned
 * @index: own index: head of a producer, tail of a consumer
 */
struct sdm_ring_end {
    struct sdm_ring *ring;
    uint32_t index;
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
 * sdm_ring_put() - producer: append one signal
 * @kick: set to 1 if the consumer must be kicked, else 0
 *
 * Returns: 0; -EAGAIN: full, and a kick will come when there is space;
 * -EPROTO: the consumer's index is impossible: give the peer up.
 */
int sdm_ring_put(struct sdm_ring_end *end, const struct sdm_signal *sig,
                 int *kick);

/**
 * sdm_ring_peek() - consumer: copy the oldest signal, leave it in the ring
 * Returns: 1 and @sig filled; 0: empty, and a kick will come with the next
 * one; -EPROTO: the producer's index is impossible: give the peer up.
 */
int sdm_ring_peek(struct sdm_ring_end *end, struct sdm_signal *sig);

/**
 * sdm_ring_drop() - consumer: take away what sdm_ring_peek() has just shown
 * @kick: set to 1 if the producer waits for space and must be kicked
 */
void sdm_ring_drop(struct sdm_ring_end *end, int *kick);

/** sdm_ring_used() - signals between tail and head, 0..SDM_RING_SLOTS. */
uint32_t sdm_ring_used(const struct sdm_ring_end *end);

#endif /* SDM_RING_END_H */
