/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both ends of a signal ring. Input: first byte: how it starts; then steps of
 * one byte and their operands. As long as the other side is honest, signals
 * arrive in order, and none waits behind a kick that did not come. From the
 * first hostile store on, all that is promised is that our end stays in the
 * ring and says -EPROTO or something that is in range.
 */
#include <errno.h>

#include "sdm/sdm-ring.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "ring";

enum { PUT, TAKE, PUT_MANY, TAKE_MANY, USED, HOSTILE_INDEX, HOSTILE_SLOT,
       HOSTILE_NEAR, HOLD, RELEASE, WATCH, STEPS };

/**
 * struct world - the two ends and what must be true of them
 * @honest:  nobody has written where it must not
 * @put, @taken: how many have been, and the next payload
 * @released: how many left the ring
 * @early:   by slot: taken while an older one was held
 * @watched: index + 1 that must kick when it is released; 0: none
 * @asleep:  the consumer saw it empty: the next put must kick
 * @stalled: the producer saw it full: the next drop must kick
 */
struct world {
    struct sdm_ring *ring;
    struct sdm_ring_end producer, consumer;
    int honest;
    uint64_t put, taken, released;
    uint8_t early[SDM_RING_SLOTS];
    uint64_t watched;
    uint32_t start;
    int asleep, stalled;
};

static int step_put(struct world *w)
{
    struct sdm_signal s;
    uint32_t before = w->producer.index;
    int kick = 77, ret;

    memset(&s, 0, sizeof(s));
    s.payload[0] = sdm_to_le64(w->put);
    ret = sdm_ring_put(&w->producer, &s, w->put, &kick);
    CHECK(kick == 0 || kick == 1);
    if (ret) {
        CHECK(ret == -EAGAIN || (ret == -EPROTO && !w->honest));
        CHECK(w->producer.index == before);
        CHECK(!w->honest || w->put - w->released == SDM_RING_SLOTS);
        w->stalled = ret == -EAGAIN;
        w->watched = 0;     /* the kick for space comes first: ask again then */
        return ret;
    }
    CHECK(w->producer.index == before + 1);
    CHECK(memcmp(&w->ring->slots[before % SDM_RING_SLOTS], &s, sizeof(s)) ==
          0);
    if (w->honest) {
        CHECK(w->put - w->released < SDM_RING_SLOTS);
        CHECK(kick || !w->asleep);
    }
    w->asleep = 0;
    w->stalled = 0;
    w->put++;
    return 0;
}

/* What has left the ring, and was it told to who wanted to know? */
static void gone(struct world *w, int kick)
{
    uint64_t from = w->released;

    while (w->released < w->taken && w->early[w->released % SDM_RING_SLOTS]) {
        w->released++;
    }
    if (!w->honest || w->released == from) {
        return;
    }
    CHECK(w->consumer.done == w->start + (uint32_t)w->released);
    CHECK(kick || !w->stalled);
    CHECK(kick || !w->watched || w->watched > w->released);
    w->stalled = 0;
    if (w->watched <= w->released) {
        w->watched = 0;
    }
}

static int step_take(struct world *w, int hold)
{
    struct sdm_signal s, untouched;
    uint32_t before = w->consumer.index;
    int kick = 77, ret;

    memset(&s, 0x5a, sizeof(s));
    untouched = s;
    ret = sdm_ring_peek(&w->consumer, &s);
    CHECK(w->consumer.index == before);
    if (ret != 1) {
        CHECK(ret == 0 || (ret == -EPROTO && !w->honest));
        CHECK(!w->honest || w->put == w->taken);
        CHECK(memcmp(&s, &untouched, sizeof(s)) == 0);
        w->asleep = ret == 0;
        return ret ? ret : -EAGAIN;
    }
    CHECK(memcmp(&w->ring->slots[before % SDM_RING_SLOTS], &s, sizeof(s)) ==
          0);
    CHECK(!w->honest || sdm_from_le64(s.payload[0]) == w->taken);
    CHECK(!w->honest || sdm_ring_stamp(&w->consumer, before) == w->taken);
    if (hold) {
        sdm_ring_hold(&w->consumer);
    } else {
        sdm_ring_drop(&w->consumer, (uint32_t)w->taken % SDM_ERRS, &kick);
        CHECK(kick == 0 || kick == 1);
    }
    CHECK(w->consumer.index == before + 1);
    w->early[w->taken % SDM_RING_SLOTS] = !hold;
    w->taken++;
    gone(w, hold ? 0 : kick);
    return 0;
}

static void step_release(struct world *w)
{
    int kick = 77;

    if (!sdm_ring_holds(&w->consumer)) {
        CHECK(w->released == w->taken);
        return;
    }
    w->early[w->released % SDM_RING_SLOTS] = 1;
    sdm_ring_release(&w->consumer, (uint32_t)w->released % SDM_ERRS, &kick);
    CHECK(kick == 0 || kick == 1);
    gone(w, kick);
}

/* A signal's fate is known as soon as it and all before it are released. */
static void step_watch(struct world *w, uint8_t back)
{
    uint32_t index = w->producer.index - 1 - back;
    uint64_t n = w->put - 1 - back;
    int ret;

    if (w->put <= back || (w->honest && w->watched)) {
        return;
    }
    ret = sdm_ring_watch(&w->producer, index);
    CHECK(ret == -EAGAIN || (ret >= 0 && ret < (int)SDM_ERRS) ||
          (ret == -EPROTO && !w->honest));
    if (w->honest) {
        CHECK(ret == (n < w->released ? (int)(n % SDM_ERRS) : -EAGAIN));
        CHECK(sdm_ring_passed(&w->producer, index) == (n < w->released));
        if (ret == -EAGAIN && !w->stalled) {
            w->watched = n + 1;
        }
    }
}

static void hostile_index(struct world *w, uint8_t which, uint32_t value)
{
    sdm_le32 *fields[] = { &w->ring->head, &w->ring->tail, &w->ring->event,
                           &w->ring->space_event };

    w->ring->status[value % SDM_RING_SLOTS] = (uint8_t)(value >> 8);

    *fields[which % 4] = sdm_to_le32(value);
    w->honest = 0;
}

static void step(struct world *w, struct input *in)
{
    uint8_t op = input_u8(in), which;
    unsigned n;

    switch (op % STEPS) {
    case PUT:
        step_put(w);
        break;
    case TAKE:
        step_take(w, 0);
        break;
    case PUT_MANY:
        for (n = input_u16(in) % 600; n && !step_put(w); n--) {
        }
        break;
    case TAKE_MANY:
        for (n = input_u16(in) % 600; n && !step_take(w, 0); n--) {
        }
        break;
    case USED:
        n = sdm_ring_used(&w->producer);
        CHECK(n <= SDM_RING_SLOTS);
        CHECK(!w->honest || n == w->put - w->released);
        break;
    case HOLD:
        step_take(w, 1);
        break;
    case RELEASE:
        step_release(w);
        break;
    case WATCH:
        step_watch(w, input_u8(in));
        break;
    case HOSTILE_INDEX:
        which = input_u8(in);
        hostile_index(w, which, input_u32(in));
        break;
    case HOSTILE_SLOT:
        input_bytes(in, &w->ring->slots[input_u8(in)],
                    sizeof(w->ring->slots[0]));
        w->honest = 0;
        break;
    case HOSTILE_NEAR:      /* around the true indexes, where the edges are */
        which = input_u8(in);
        hostile_index(w, which, w->producer.index + (int8_t)input_u8(in) * 64 +
                                (int8_t)input_u8(in) % 4);
        break;
    }
}

static void check_pair(struct input *in)
{
    struct sdm_ring_pair *pair = calloc(1, sizeof(*pair));
    int ok;

    CHECK(pair);
    sdm_ring_pair_init(pair);
    CHECK(sdm_ring_pair_check(pair) == 0);
    input_bytes(in, pair, 16);
    ok = sdm_from_le32(pair->magic) == SDM_RING_MAGIC &&
         sdm_from_le32(pair->version) == SDM_RING_VERSION &&
         sdm_from_le32(pair->slots) == SDM_RING_SLOTS;
    CHECK(sdm_ring_pair_check(pair) == (ok ? 0 : -EPROTO));
    free(pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    uint8_t how = input_u8(&in);
    struct sdm_ring_pair *pair;
    struct world w = { .honest = 1 };

    if (how & 1) {
        check_pair(&in);
    }
    /* Only what is a struct sdm_ring, so that a sanitizer sees its end. */
    pair = calloc(1, sizeof(*pair));
    w.ring = malloc(sizeof(*w.ring));
    CHECK(pair && w.ring);
    sdm_ring_pair_init(pair);
    memcpy(w.ring, &pair->ring[0], sizeof(*w.ring));
    free(pair);
    sdm_ring_end_init(&w.producer, w.ring);
    sdm_ring_end_init(&w.consumer, w.ring);
    if (how & 2) {      /* just before the indexes wrap around */
        w.start = -(uint32_t)input_u16(&in);
        w.producer.index = w.consumer.index = w.consumer.done = w.start;
        w.ring->head = w.ring->tail = w.ring->event = sdm_to_le32(w.start);
        w.ring->space_event = sdm_to_le32(w.start - 1);
    }
    while (in.left) {
        step(&w, &in);
    }
    free(w.ring);
    return 0;
}
