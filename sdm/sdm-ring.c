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
    memset(end, 0, sizeof(*end));
    end->ring = ring;
}

static unsigned slot(uint32_t index)
{
    return index & (SDM_RING_SLOTS - 1);
}

int sdm_ring_full(struct sdm_ring_end *end)
{
    struct sdm_ring *ring = end->ring;

    end->full = end->index - load(&ring->tail) == SDM_RING_SLOTS;
    if (end->full) {
        store(&ring->space_event, end->index - SDM_RING_SLOTS);
        full_barrier();
        end->full = end->index - load(&ring->tail) == SDM_RING_SLOTS;
    }
    return end->full;
}

int sdm_ring_put(struct sdm_ring_end *end, const struct sdm_signal *sig,
                 uint64_t stamp, int *kick)
{
    struct sdm_ring *ring = end->ring;
    uint32_t head = end->index;

    *kick = 0;
    if (sdm_ring_full(end)) {
        return -EAGAIN;
    }
    if (head - load(&ring->tail) > SDM_RING_SLOTS) {
        return -EPROTO;
    }

    memcpy(&ring->slots[slot(head)], sig, sizeof(*sig));
    ring->stamp[slot(head)] = sdm_to_le64(stamp);
    end->index = head + 1;
    store(&ring->head, head + 1);
    full_barrier();
    *kick = load(&ring->event) == head;
    return 0;
}

int sdm_ring_status(const struct sdm_ring_end *end, uint32_t index)
{
    uint32_t used = end->index - load(&end->ring->tail);
    uint8_t status;

    if (used > SDM_RING_SLOTS) {
        return -EPROTO;
    }
    if (used >= end->index - index) {
        return -EAGAIN;
    }
    status = __atomic_load_n(&end->ring->status[slot(index)],
                             __ATOMIC_RELAXED);
    return status < SDM_ERRS ? status : SDM_ERR_INTERNAL;
}

int sdm_ring_watch(struct sdm_ring_end *end, uint32_t index)
{
    if (!end->full || !sdm_ring_full(end)) {
        store(&end->ring->space_event, index);
        full_barrier();
    }
    return sdm_ring_status(end, index);
}

int sdm_ring_passed(const struct sdm_ring_end *end, uint32_t index)
{
    return (int32_t)(load(&end->ring->tail) - index) > 0;
}

int sdm_ring_ready(const struct sdm_ring_end *end)
{
    return load(&end->ring->head) !=
           __atomic_load_n(&end->index, __ATOMIC_RELAXED);
}

int sdm_ring_peek(struct sdm_ring_end *end, struct sdm_signal *sig)
{
    struct sdm_ring *ring = end->ring;
    uint32_t unread = load(&ring->head) - end->index;

    if (unread == 0) {
        store(&ring->event, end->index);
        full_barrier();
        unread = load(&ring->head) - end->index;
        if (unread == 0) {
            return 0;
        }
    }
    if (unread + (end->index - end->done) > SDM_RING_SLOTS ||
        unread > SDM_RING_SLOTS) {
        return -EPROTO;
    }
    memcpy(sig, &ring->slots[slot(end->index)], sizeof(*sig));
    return 1;
}

static uint32_t held_bit(uint32_t index)
{
    return 1u << slot(index) % 32;
}

static uint32_t *held_word(struct sdm_ring_end *end, uint32_t index)
{
    return &end->held[slot(index) / 32];
}

void sdm_ring_hold(struct sdm_ring_end *end)
{
    *held_word(end, end->index) |= held_bit(end->index);
    __atomic_store_n(&end->index, end->index + 1, __ATOMIC_RELAXED);
}

static void set_status(struct sdm_ring_end *end, uint32_t index,
                       uint32_t status)
{
    __atomic_store_n(&end->ring->status[slot(index)], (uint8_t)status,
                     __ATOMIC_RELAXED);
}

/* Publish all that is released and has nothing held before it. */
static int advance(struct sdm_ring_end *end)
{
    uint32_t from = end->done;

    while (end->done != end->index &&
           !(*held_word(end, end->done) & held_bit(end->done))) {
        end->done++;
    }
    if (end->done == from) {
        return 0;
    }
    store(&end->ring->tail, end->done);
    full_barrier();
    return load(&end->ring->space_event) - from < end->done - from;
}

void sdm_ring_drop(struct sdm_ring_end *end, uint32_t status, int *kick)
{
    set_status(end, end->index, status);
    __atomic_store_n(&end->index, end->index + 1, __ATOMIC_RELAXED);
    *kick = advance(end);
}

void sdm_ring_release(struct sdm_ring_end *end, uint32_t status, int *kick)
{
    set_status(end, end->done, status);
    *held_word(end, end->done) &= ~held_bit(end->done);
    *kick = advance(end);
}

int sdm_ring_holds(const struct sdm_ring_end *end)
{
    return end->done != end->index;
}

uint64_t sdm_ring_stamp(const struct sdm_ring_end *end, uint32_t index)
{
    return sdm_from_le64(__atomic_load_n(&end->ring->stamp[slot(index)],
                                         __ATOMIC_RELAXED));
}

uint32_t sdm_ring_used(const struct sdm_ring_end *end)
{
    uint32_t tail = load(&end->ring->tail);
    uint32_t used = load(&end->ring->head) - tail;

    /* The peer writes one of the two: keep the promise whatever it says. */
    return used < SDM_RING_SLOTS ? used : SDM_RING_SLOTS;
}
