/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two guests with one vCPU each share memory. Do atomic instructions, a lock
 * and a barrier hold between them?
 *
 * Theory of operation: guest 0 empties the shared memory and then writes this
 * run's nonce; guest 1 waits for it. Before and after every test both meet at
 * a barrier of plain stores and loads, which needs nothing of what is tested.
 * Results go through the shared memory to guest 0, which prints them.
 *
 * A lock that is stuck is told without a clock: whoever waits beats a counter.
 * If I wait, the other waits too (its beats go on, or it is through) and it
 * got no lock in the meantime, then nobody is in the critical section, and
 * the lock is held by no one. Rejected: a limit on the number of tries - on a
 * busy host the holder may be off its CPU for as long as one cares to wait.
 */
#include "fw.h"

#define SLOTS        64u        /* store-buffering cells in one round */
#define SPIN         1000u      /* tries between two beats */
#define STUCK_BEATS  2000u

/* One guest's own cache line: the other one only reads it. */
struct side {
    uint32_t beats;
    uint32_t arrived;
    uint32_t taken;
    uint32_t through;
    uint32_t met;
    uint32_t stuck;
    uint32_t pad[10];
} __attribute__((aligned(64)));

struct cell {
    uint32_t value;
    uint32_t pad[15];
};

struct shared {
    uint32_t nonce;
    struct side side[2];
    uint64_t counter[2] __attribute__((aligned(64)));
    uint32_t lock __attribute__((aligned(64)));
    uint64_t guarded __attribute__((aligned(64)));
    struct cell cells[2][SLOTS] __attribute__((aligned(64)));
    uint32_t seen[2][SLOTS];
};

static volatile struct shared *shared;
static volatile struct side *mine, *other;
static uint32_t round;

static void meet(void)
{
    uint32_t spin = 0;

    fw_dmb();
    mine->arrived = ++round;
    while ((int32_t)(other->arrived - round) < 0) {
        if (++spin == SPIN) {
            spin = 0;
            mine->beats++;
        }
    }
    fw_dmb();
}

static void join(void)
{
    volatile uint32_t *word = (volatile uint32_t *)shared;
    size_t i;

    if (fw_params.index == 0) {
        shared->nonce = ~fw_params.nonce;
        fw_dmb();
        for (i = 1; i < sizeof(*shared) / sizeof(*word); i++) {
            word[i] = 0;
        }
        fw_dmb();
        shared->nonce = fw_params.nonce;
    } else {
        while (shared->nonce != fw_params.nonce) {
        }
    }
    meet();
}

static void put_result(const char *name, int failed)
{
    fw_puts(failed ? "FAILED " : "PASSED ");
    fw_puts(name);
    fw_puts(":");
}

static uint32_t test_op(const struct fw_op *op)
{
    uint64_t want = 2ull * fw_params.iterations;
    uint64_t low, high = want;
    uint32_t failed = 0;

    if (fw_params.index == 0) {
        shared->counter[0] = 0;
        shared->counter[1] = 0;
    }
    meet();
    mine->met = op->add(&shared->counter[0], fw_params.iterations);
    meet();
    if (fw_params.index == 0) {
        low = shared->counter[0];
        if (op->width == 16) {
            high = shared->counter[1];
        } else if (op->both) {
            high = low >> 32;
            low = (uint32_t)low;
        }
        failed = low != want || high != want;
        put_result(op->name, failed);
        fw_put_field("want", want);
        fw_put_field("got", low);
        if (op->both) {
            fw_put_field("high", high);
        }
        fw_put_field("met", (uint64_t)mine->met + other->met);
        fw_putc('\n');
    }
    return failed;
}

/* Returns: 1: it is ours; 0: it is nobody's and held all the same */
static int lock(void)
{
    uint32_t beats = other->beats, taken = other->taken, spin = 0, idle = 0;

    while (!fw_trylock(&shared->lock)) {
        if (++spin < SPIN) {
            continue;
        }
        spin = 0;
        mine->beats++;
        if (other->taken != taken) {
            taken = other->taken;
            beats = other->beats;
            idle = 0;
        }
        idle++;
        if (other->stuck || (other->through && idle > STUCK_BEATS) ||
            other->beats - beats > STUCK_BEATS) {
            return 0;
        }
    }
    return 1;
}

static uint32_t test_lock(void)
{
    uint64_t want = 2ull * fw_params.iterations, last = 0;
    uint32_t n, met = 0, failed = 0;

    if (fw_params.index == 0) {
        shared->lock = 0;
        shared->guarded = 0;
    }
    mine->taken = 0;
    mine->stuck = 0;
    mine->through = 0;
    meet();
    for (n = 0; n < fw_params.iterations; n++) {
        uint64_t value;

        if (!lock()) {
            mine->stuck = 1;
            break;
        }
        mine->taken++;
        value = shared->guarded + 1;
        shared->guarded = value;
        fw_unlock(&shared->lock);
        met += value != last + 1;
        last = value;
    }
    mine->met = met;
    fw_dmb();
    mine->through = 1;
    meet();
    if (fw_params.index == 0) {
        uint32_t stuck = mine->stuck | other->stuck;

        failed = stuck || shared->guarded != want;
        put_result("spinlock", failed);
        fw_put_field("want", want);
        fw_put_field("got", shared->guarded);
        fw_put_field("taken", (uint64_t)mine->taken + other->taken);
        fw_put_field("stuck", stuck);
        fw_put_field("met", (uint64_t)mine->met + other->met);
        fw_putc('\n');
    }
    meet();
    return failed;
}

/*
 * Each stores to its cell and, behind a DMB, loads the other's. At least one
 * of the two must see the other's store; with the DMB missing, both stores may
 * still be in their CPU's store buffer.
 */
static uint32_t test_store_buffering(void)
{
    volatile struct cell *out = shared->cells[fw_params.index];
    volatile struct cell *in = shared->cells[!fw_params.index];
    volatile uint32_t *seen = shared->seen[fw_params.index];
    uint32_t rounds = fw_params.iterations / SLOTS;
    uint32_t n, i, violations = 0, met = 0;

    for (i = 0; i < SLOTS; i++) {
        out[i].value = 0;
    }
    for (n = 1; n <= rounds; n++) {
        meet();
        for (i = 0; i < SLOTS; i++) {
            uint32_t value;

            out[i].value = n;
            fw_dmb();
            value = in[i].value;
            seen[i] = value;
        }
        meet();
        for (i = 0; i < SLOTS; i++) {
            uint32_t a = shared->seen[0][i], b = shared->seen[1][i];

            violations += a != n && b != n;
            met += a == n && b == n;
        }
    }
    meet();
    if (fw_params.index == 0) {
        put_result("store buffering, DMB", violations != 0);
        fw_put_field("tried", (uint64_t)rounds * SLOTS);
        fw_put_field("violated", violations);
        fw_put_field("met", met);
        fw_putc('\n');
    }
    return violations != 0;
}

uint32_t fw_atomics(void)
{
    uint32_t i, failed = 0;

    shared = (void *)(uintptr_t)fw_params.shared;
    mine = &shared->side[fw_params.index];
    other = &shared->side[!fw_params.index];
    round = 0;
    join();
    for (i = 0; i < fw_nops + 2; i++) {
        if (!(fw_params.tests & 1u << i)) {
            continue;
        }
        if (i == fw_nops) {
            failed += test_lock();
        } else if (i > fw_nops) {
            failed += test_store_buffering();
        } else if (fw_ops[i].have()) {
            failed += test_op(&fw_ops[i]);
        } else if (fw_params.index == 0) {
            fw_puts("SKIPPED ");
            fw_puts(fw_ops[i].name);
            fw_puts(": this CPU has none\n");
        }
    }
    meet();
    fw_puts("DONE");
    fw_put_field("failed", failed);
    fw_putc('\n');
    return failed;
}
