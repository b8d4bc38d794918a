/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/sdm-ring.h"

#include <errno.h>
#include <string.h>

/* An index is loaded here and nowhere else: once, for good. */
static uint32_t load(const sdm_le32 *index)
{
    return sdm_from_le32(__atomic_load_n(index, __ATOMIC_ACQUIRE));
}

static void store(sdm_le32 *index, uint32_t value)
{
    __atomic_store_n(index, sdm_to_le32(value), __ATOMIC_RELEASE);
}

/*
 * Each side publishes its index and then looks at the other side's event, or
 * publishes its event and then looks at the other side's index. With a full
 * barrier between the two, on both sides, at least one of them sees what the
 * other has written: release and acquire alone would let both miss it.
 */
static void full_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void sdm_ring_pair_init(struct sdm_ring_pair *pair)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        /*
         * Nobody waits for space, so the index just behind the start. event
         * stays 0: the first signal kicks a consumer that has not looked yet.
         */
        pair->ring[i].space_event = sdm_to_le32(UINT32_MAX);
    }
    pair->slots = sdm_to_le32(SDM_RING_SLOTS);
    pair->version = sdm_to_le32(SDM_RING_VERSION);
    store(&pair->magic, SDM_RING_MAGIC);
}

int sdm_ring_pair_check(const struct sdm_ring_pair *pair)
{
    if (load(&pair->magic) != SDM_RING_MAGIC ||
        load(&pair->version) != SDM_RING_VERSION ||
        load(&pair->slots) != SDM_RING_SLOTS) {
        return -EPROTO;
    }
    return 0;
}

void sdm_ring_end_init(struct sdm_ring_end *end, struct sdm_ring *ring)
{
    end->ring = ring;
    end->index = 0;
}

int sdm_ring_put(struct sdm_ring_end *end, const struct sdm_signal *sig,
                 int *kick)
{
    struct sdm_ring *ring = end->ring;
    uint32_t head = end->index;
    uint32_t used = head - load(&ring->tail);

    *kick = 0;
    if (used == SDM_RING_SLOTS) {
        store(&ring->space_event, head - SDM_RING_SLOTS);
        full_barrier();
        used = head - load(&ring->tail);
        if (used == SDM_RING_SLOTS) {
            return -EAGAIN;
        }
    }
    if (used > SDM_RING_SLOTS) {
        return -EPROTO;
    }

    memcpy(&ring->slots[head & (SDM_RING_SLOTS - 1)], sig, sizeof(*sig));
    end->index = head + 1;
    store(&ring->head, head + 1);
    full_barrier();
    *kick = load(&ring->event) == head;
    return 0;
}

int sdm_ring_peek(struct sdm_ring_end *end, struct sdm_signal *sig)
{
    struct sdm_ring *ring = end->ring;
    uint32_t tail = end->index;
    uint32_t used = load(&ring->head) - tail;

    if (used == 0) {
        store(&ring->event, tail);
        full_barrier();
        used = load(&ring->head) - tail;
        if (used == 0) {
            return 0;
        }
    }
    if (used > SDM_RING_SLOTS) {
        return -EPROTO;
    }
    memcpy(sig, &ring->slots[tail & (SDM_RING_SLOTS - 1)], sizeof(*sig));
    return 1;
}

void sdm_ring_drop(struct sdm_ring_end *end, int *kick)
{
    struct sdm_ring *ring = end->ring;
    uint32_t tail = end->index;

    end->index = tail + 1;
    store(&ring->tail, tail + 1);
    full_barrier();
    *kick = load(&ring->space_event) == tail;
}

uint32_t sdm_ring_used(const struct sdm_ring_end *end)
{
    uint32_t tail = load(&end->ring->tail);
    uint32_t used = load(&end->ring->head) - tail;

    /* The peer writes one of the two: keep the promise whatever it says. */
    return used < SDM_RING_SLOTS ? used : SDM_RING_SLOTS;
}
