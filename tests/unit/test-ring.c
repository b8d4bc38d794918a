/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "sdm/sdm-ring.h"

struct fixture {
    struct sdm_ring_pair *pair;
    struct sdm_ring *ring;
    struct sdm_ring_end put, get;
};

/* Both ends as if @start signals had gone through and been taken. */
static void start_at(struct fixture *f, uint32_t start)
{
    memset(f->pair, 0, SDM_RING_BYTES);
    sdm_ring_pair_init(f->pair);
    f->ring = &f->pair->ring[SDM_RING_TO_SLAVE];
    sdm_ring_end_init(&f->put, f->ring);
    sdm_ring_end_init(&f->get, f->ring);
    if (start) {
        f->put.index = f->get.index = f->get.done = start;
        f->ring->head = f->ring->tail = sdm_to_le32(start);
        f->ring->event = sdm_to_le32(start);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->pair = aligned_alloc(64, (SDM_RING_BYTES + 63) / 64 * 64);
    start_at(f, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    free(f->pair);
    free(f);
    return 0;
}

static struct sdm_signal numbered(uint64_t n)
{
    struct sdm_signal sig = {
        .type = sdm_to_le32(SDM_SIGNAL_USER),
        .cookie = sdm_to_le32((uint32_t)n),
        .payload = { sdm_to_le64(n), sdm_to_le64(~n) },
    };

    return sig;
}

static void assert_put(struct fixture *f, uint64_t n, int kick)
{
    struct sdm_signal sig = numbered(n);
    int k = 77;

    assert_int_equal(sdm_ring_put(&f->put, &sig, 0, &k), 0);
    assert_int_equal(k, kick);
}

static void assert_put_full(struct fixture *f)
{
    struct sdm_signal sig = numbered(0);
    int k = 77;

    assert_int_equal(sdm_ring_put(&f->put, &sig, 0, &k), -EAGAIN);
    assert_int_equal(k, 0);
}

static void assert_peek(struct fixture *f, uint64_t n)
{
    struct sdm_signal sig, expected = numbered(n);

    assert_int_equal(sdm_ring_peek(&f->get, &sig), 1);
    assert_memory_equal(&sig, &expected, sizeof(sig));
}

static void assert_peek_empty(struct fixture *f)
{
    struct sdm_signal sig, untouched;

    memset(&sig, 0x5a, sizeof(sig));
    untouched = sig;
    assert_int_equal(sdm_ring_peek(&f->get, &sig), 0);
    assert_memory_equal(&sig, &untouched, sizeof(sig));
}

static void assert_drop(struct fixture *f, int kick)
{
    int k = 77;

    sdm_ring_drop(&f->get, SDM_OK, &k);
    assert_int_equal(k, kick);
}

static void test_pair(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(sdm_ring_pair_check(f->pair), 0);
    f->pair->magic ^= sdm_to_le32(1);
    assert_int_equal(sdm_ring_pair_check(f->pair), -EPROTO);
    f->pair->magic ^= sdm_to_le32(1);
    f->pair->version = sdm_to_le32(SDM_RING_VERSION + 1);
    assert_int_equal(sdm_ring_pair_check(f->pair), -EPROTO);
    f->pair->version = sdm_to_le32(SDM_RING_VERSION);
    f->pair->slots = sdm_to_le32(SDM_RING_SLOTS * 2);
    assert_int_equal(sdm_ring_pair_check(f->pair), -EPROTO);
    f->pair->slots = sdm_to_le32(SDM_RING_SLOTS);
    assert_int_equal(sdm_ring_pair_check(f->pair), 0);
    memset(f->pair, 0, sizeof(*f->pair));
    assert_int_equal(sdm_ring_pair_check(f->pair), -EPROTO);
}

/* The two directions of a pair do not touch each other. */
static void test_directions(void **state)
{
    struct fixture *f = *state;
    struct sdm_ring before = f->pair->ring[SDM_RING_TO_MASTER];

    assert_put(f, 1, 1);
    assert_peek(f, 1);
    assert_drop(f, 0);
    assert_memory_equal(&f->pair->ring[SDM_RING_TO_MASTER], &before,
                        sizeof(before));
}

static void test_peek_leaves_it(void **state)
{
    struct fixture *f = *state;

    assert_peek_empty(f);
    assert_int_equal(sdm_ring_used(&f->put), 0);
    assert_put(f, 1, 1);
    assert_put(f, 2, 0);
    assert_int_equal(sdm_ring_used(&f->put), 2);
    assert_int_equal(sdm_ring_used(&f->get), 2);
    assert_peek(f, 1);
    assert_peek(f, 1);
    assert_int_equal(sdm_ring_used(&f->get), 2);
    assert_drop(f, 0);
    assert_peek(f, 2);
    assert_drop(f, 0);
    assert_peek_empty(f);
    assert_int_equal(sdm_ring_used(&f->get), 0);
}

static void fill_and_empty(struct fixture *f, int first_kick)
{
    unsigned i;

    for (i = 0; i < SDM_RING_SLOTS; i++) {
        assert_put(f, i, i == 0 && first_kick);
    }
    assert_put_full(f);
    assert_int_equal(sdm_ring_used(&f->put), SDM_RING_SLOTS);
    for (i = 0; i < SDM_RING_SLOTS; i++) {
        assert_peek(f, i);
        assert_drop(f, i == 0);
    }
    assert_peek_empty(f);
}

static void test_full(void **state)
{
    struct fixture *f = *state;

    fill_and_empty(f, 1);
    fill_and_empty(f, 1);
}

/* Indexes run free: over the end of the slots, and over 2^32. */
static void test_wrap(void **state)
{
    struct fixture *f = *state;
    static const uint32_t starts[] = {
        1, SDM_RING_SLOTS - 1, SDM_RING_SLOTS, 0x7fffffff,
        UINT32_MAX - SDM_RING_SLOTS, UINT32_MAX - SDM_RING_SLOTS / 2,
        UINT32_MAX - 1, UINT32_MAX,
    };
    unsigned i, j;

    for (i = 0; i < ARRAY_SIZE(starts); i++) {
        start_at(f, starts[i]);
        fill_and_empty(f, 1);
        for (j = 0; j < 3 * SDM_RING_SLOTS; j++) {
            assert_put(f, j, 1);
            assert_peek(f, j);
            assert_drop(f, 0);
            assert_peek_empty(f);
        }
    }
}

/* A kick for a consumer that has said it sleeps, and for no other. */
static void test_event_suppression(void **state)
{
    struct fixture *f = *state;

    /* one that has not looked at all yet is asleep */
    assert_put(f, 0, 1);
    assert_put(f, 1, 0);

    /* awake: it takes one and goes on working */
    assert_peek(f, 0);
    assert_drop(f, 0);
    assert_put(f, 2, 0);

    /* it takes all but does not look again */
    assert_peek(f, 1);
    assert_drop(f, 0);
    assert_peek(f, 2);
    assert_drop(f, 0);
    assert_put(f, 3, 0);

    /* and now it runs dry and sleeps */
    assert_peek(f, 3);
    assert_drop(f, 0);
    assert_peek_empty(f);
    assert_put(f, 4, 1);
    assert_put(f, 5, 0);
}

/* The same for space: a kick only for a producer that has found it full. */
static void test_space_suppression(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    for (i = 0; i < SDM_RING_SLOTS; i++) {
        assert_put(f, i, i == 0);
    }
    /* full, but nobody has tried: no kick */
    assert_peek(f, 0);
    assert_drop(f, 0);
    assert_put(f, SDM_RING_SLOTS, 0);

    assert_put_full(f);
    assert_put_full(f);
    assert_peek(f, 1);
    assert_drop(f, 1);
    assert_peek(f, 2);
    assert_drop(f, 0);
    assert_put(f, SDM_RING_SLOTS + 1, 0);
    assert_put(f, SDM_RING_SLOTS + 2, 0);
    assert_put_full(f);
    assert_peek(f, 3);
    assert_drop(f, 1);
}

static void assert_hold(struct fixture *f, uint64_t n)
{
    assert_peek(f, n);
    sdm_ring_hold(&f->get);
}

static void assert_release(struct fixture *f, uint32_t status, int kick)
{
    int k = 77;

    sdm_ring_release(&f->get, status, &k);
    assert_int_equal(k, kick);
}

/* What is held keeps its slot, and so does all behind it. */
static void test_hold(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    for (i = 0; i < 4; i++) {
        assert_put(f, i, i == 0);
    }
    assert_false(sdm_ring_holds(&f->get));
    assert_hold(f, 0);
    assert_hold(f, 1);
    assert_peek(f, 2);
    assert_drop(f, 0);
    assert_hold(f, 3);
    assert_peek_empty(f);
    assert_int_equal(sdm_ring_used(&f->put), 4);
    assert_release(f, SDM_OK, 0);
    assert_int_equal(sdm_ring_used(&f->put), 3);
    assert_release(f, SDM_OK, 0);
    assert_int_equal(sdm_ring_used(&f->put), 1);
    assert_true(sdm_ring_holds(&f->get));
    assert_release(f, SDM_OK, 0);
    assert_false(sdm_ring_holds(&f->get));
    assert_int_equal(sdm_ring_used(&f->put), 0);
    assert_put(f, 4, 1);
}

/* A ring of which all is held is full, and its consumer sees it empty. */
static void test_hold_all(void **state)
{
    struct fixture *f = *state;
    unsigned i, round;

    for (round = 0; round < 3; round++) {
        for (i = 0; i < SDM_RING_SLOTS; i++) {
            assert_put(f, i, i == 0);
            assert_hold(f, i);
        }
        assert_peek_empty(f);
        assert_int_equal(sdm_ring_full(&f->put), 1);
        assert_put_full(f);
        for (i = 0; i < SDM_RING_SLOTS; i++) {
            assert_release(f, SDM_OK, i == 0);
        }
        assert_int_equal(sdm_ring_full(&f->put), 0);
        assert_peek_empty(f);
    }
}

static void test_status(void **state)
{
    struct fixture *f = *state;
    static const uint32_t starts[] = { 0, UINT32_MAX - 1, 1000 };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(starts); i++) {
        uint32_t first = starts[i];

        start_at(f, first);
        assert_put(f, 0, 1);
        assert_put(f, 1, 0);
        assert_put(f, 2, 0);
        assert_int_equal(sdm_ring_status(&f->put, first), -EAGAIN);
        assert_false(sdm_ring_passed(&f->put, first));
        assert_hold(f, 0);
        assert_int_equal(sdm_ring_watch(&f->put, first), -EAGAIN);
        assert_peek(f, 1);
        {
            int k = 77;

            sdm_ring_drop(&f->get, SDM_ERR_UNSUPPORTED, &k);
            assert_int_equal(k, 0);
        }
        /* refused, but not told before the one that is older */
        assert_int_equal(sdm_ring_status(&f->put, first + 1), -EAGAIN);
        assert_release(f, SDM_OK, 1);
        assert_true(sdm_ring_passed(&f->put, first));
        assert_int_equal(sdm_ring_status(&f->put, first), SDM_OK);
        assert_int_equal(sdm_ring_status(&f->put, first + 1),
                         SDM_ERR_UNSUPPORTED);
        assert_int_equal(sdm_ring_watch(&f->put, first + 2), -EAGAIN);
        assert_hold(f, 2);
        assert_release(f, SDM_ERR_GONE, 1);
        assert_int_equal(sdm_ring_status(&f->put, first + 2), SDM_ERR_GONE);
    }
}

/* A watch that comes late is told at once, and asks for nothing. */
static void test_watch_late(void **state)
{
    struct fixture *f = *state;

    assert_put(f, 0, 1);
    assert_peek(f, 0);
    assert_drop(f, 0);
    assert_int_equal(sdm_ring_watch(&f->put, 0), SDM_OK);
}

/* While space is waited for, a watch does not take that kick away. */
static void test_watch_full(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    for (i = 0; i < SDM_RING_SLOTS; i++) {
        assert_put(f, i, i == 0);
    }
    assert_put_full(f);
    assert_int_equal(sdm_ring_watch(&f->put, 100), -EAGAIN);
    assert_peek(f, 0);
    assert_drop(f, 1);
    assert_put(f, SDM_RING_SLOTS, 0);
    assert_int_equal(sdm_ring_watch(&f->put, 100), -EAGAIN);
    for (i = 1; i <= 100; i++) {
        assert_peek(f, i);
        assert_drop(f, i == 100);
    }
}

static void test_hostile_status(void **state)
{
    struct fixture *f = *state;

    assert_put(f, 0, 1);
    assert_peek(f, 0);
    assert_drop(f, 0);
    f->ring->status[0] = SDM_ERRS;
    assert_int_equal(sdm_ring_status(&f->put, 0), SDM_ERR_INTERNAL);
    f->ring->status[0] = 0xff;
    assert_int_equal(sdm_ring_status(&f->put, 0), SDM_ERR_INTERNAL);
    f->ring->tail = sdm_to_le32(2);
    assert_int_equal(sdm_ring_status(&f->put, 0), -EPROTO);
    assert_int_equal(sdm_ring_watch(&f->put, 0), -EPROTO);
}

static void test_stamp(void **state)
{
    struct fixture *f = *state;
    struct sdm_signal sig = numbered(1);
    int k;

    assert_int_equal(sdm_ring_put(&f->put, &sig, 0x123456789abcull, &k), 0);
    assert_int_equal(sdm_ring_stamp(&f->get, 0), 0x123456789abcull);
}

/* A consumer that claims to have taken what was never sent, or to go back. */
static void test_hostile_tail(void **state)
{
    struct fixture *f = *state;
    static const uint32_t tails[] = {
        1001, 1000 + SDM_RING_SLOTS, 0x80000000u, UINT32_MAX, 0,
        1000 - SDM_RING_SLOTS - 1,
    };
    struct sdm_ring before;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(tails); i++) {
        struct sdm_signal sig = numbered(1);
        int kick = 77;

        start_at(f, 1000);
        f->ring->tail = sdm_to_le32(tails[i]);
        before = *f->ring;
        assert_int_equal(sdm_ring_put(&f->put, &sig, 0, &kick), -EPROTO);
        assert_int_equal(kick, 0);
        assert_int_equal(f->put.index, 1000);
        assert_memory_equal(f->ring, &before, sizeof(before));
        assert_true(sdm_ring_used(&f->put) <= SDM_RING_SLOTS);
    }
}

/* A producer that claims more than the ring holds, or goes back. */
static void test_hostile_head(void **state)
{
    struct fixture *f = *state;
    static const uint32_t heads[] = {
        999, 1000 + SDM_RING_SLOTS + 1, 0x80000000u, 0, UINT32_MAX,
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(heads); i++) {
        struct sdm_signal sig, untouched;

        start_at(f, 1000);
        f->ring->head = sdm_to_le32(heads[i]);
        memset(&sig, 0x5a, sizeof(sig));
        untouched = sig;
        assert_int_equal(sdm_ring_peek(&f->get, &sig), -EPROTO);
        assert_memory_equal(&sig, &untouched, sizeof(sig));
        assert_int_equal(f->get.index, 1000);
        assert_true(sdm_ring_used(&f->get) <= SDM_RING_SLOTS);
    }
}

/* What an end knows of itself it does not read back from shared memory. */
static void test_own_index_not_trusted(void **state)
{
    struct fixture *f = *state;

    assert_put(f, 1, 1);
    f->ring->head = sdm_to_le32(77);
    assert_put(f, 2, 0);
    assert_int_equal(sdm_from_le32(f->ring->head), 2);
    assert_peek(f, 1);
    f->ring->tail = sdm_to_le32(1234);
    assert_drop(f, 0);
    assert_int_equal(sdm_from_le32(f->ring->tail), 1);
    assert_peek(f, 2);
}

/* Event indexes are hints: any value costs a kick at most. */
static void test_hostile_events(void **state)
{
    struct fixture *f = *state;
    static const uint32_t events[] = { 0, 99, 101, 0x80000000u, UINT32_MAX };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(events); i++) {
        start_at(f, 100);
        f->ring->event = sdm_to_le32(events[i]);
        f->ring->space_event = sdm_to_le32(events[i]);
        assert_put(f, i, 0);
        assert_peek(f, i);
        assert_drop(f, 0);
        assert_peek_empty(f);
    }
}

/*
 * Two threads, each of which sleeps in poll() whenever the ring tells it to: a
 * kick that is lost stops the test, a signal that is lost, doubled or torn
 * fails it.
 */
#define STREAM   5000000u
#define STUCK_MS 60000          /* only to end a test that has failed */

struct stream {
    struct sdm_ring *ring;
    int to_consumer, to_producer;
    uint64_t kicks, full;
    const char *error;
};

static int sleep_until_kicked(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t n;

    return poll(&p, 1, STUCK_MS) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void kick(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) != sizeof(one)) {
        abort();
    }
}

static void *produce(void *opaque)
{
    struct stream *s = opaque;
    struct sdm_ring_end end;
    uint32_t i = 0;

    sdm_ring_end_init(&end, s->ring);
    while (i < STREAM) {
        struct sdm_signal sig = numbered(i);
        int k;
        int err = sdm_ring_put(&end, &sig, 0, &k);

        if (err == 0) {
            i++;
        } else if (err != -EAGAIN) {
            s->error = "producer: impossible index";
            return NULL;
        } else {
            s->full++;
            if (!sleep_until_kicked(s->to_producer)) {
                s->error = "producer: ring full and no kick";
                return NULL;
            }
        }
        if (k) {
            s->kicks++;
            kick(s->to_consumer);
        }
    }
    return NULL;
}

static const char *consume(struct stream *s)
{
    struct sdm_ring_end end;
    uint32_t i = 0;

    sdm_ring_end_init(&end, s->ring);
    while (i < STREAM) {
        struct sdm_signal sig, expected = numbered(i);
        int k;
        int n = sdm_ring_peek(&end, &sig);

        if (n < 0) {
            return "consumer: impossible index";
        } else if (n == 0) {
            if (!sleep_until_kicked(s->to_consumer)) {
                return "consumer: ring empty and no kick";
            }
            continue;
        }
        if (memcmp(&sig, &expected, sizeof(sig))) {
            return "consumer: not the signal that is due";
        }
        sdm_ring_drop(&end, SDM_OK, &k);
        if (k) {
            kick(s->to_producer);
        }
        i++;
    }
    return sdm_ring_used(&end) ? "consumer: more than was sent" : NULL;
}

static void test_two_threads(void **state)
{
    struct fixture *f = *state;
    struct stream s = { .ring = f->ring };
    const char *error;
    pthread_t thread;

    s.to_consumer = eventfd(0, EFD_CLOEXEC);
    s.to_producer = eventfd(0, EFD_CLOEXEC);
    assert_true(s.to_consumer >= 0 && s.to_producer >= 0);
    assert_int_equal(pthread_create(&thread, NULL, produce, &s), 0);
    error = consume(&s);
    if (error) {
        /* the producer may sleep for good: leave it to exit() */
        fail_msg("%s", error);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(s.to_consumer);
    close(s.to_producer);
    if (s.error) {
        fail_msg("%s", s.error);
    }
    print_message("%u signals, %llu kicks, %llu times full\n", STREAM,
                  (unsigned long long)s.kicks, (unsigned long long)s.full);
    assert_true(s.kicks < STREAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peek_leaves_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event_suppression, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_space_suppression, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stamp, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_index_not_trusted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_hostile_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_threads, setup, teardown),
    };

    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
