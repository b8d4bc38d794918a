/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of two guests or more that signal each other: how long it takes
 * (PING, ECHO), how many a second (RATE), whether all arrive (SOAK), and what
 * a guest can do that means ill (FLOOD).
 *
 * fw_take() gets the signals, from the wire's interrupt handler or, when it is
 * polled, from its poll(). Answers are given outside of it.
 */
#include "fw.h"

#define SAMPLES     100000u
#define SOURCES     (SDM_MAX_SLAVES + 1)

/* In the cookie: what a signal is about. */
#define COOKIE_PING   0x676e6970u
#define COOKIE_PONG   0x676e6f70u
#define COOKIE_HELLO  0x6f6c6568u
#define COOKIE_GO     0x6f672020u
#define COOKIE_DATA   0x61746164u
#define COOKIE_FLOOD  0x6f6f6c66u

#define FIND_US       20000u    /* patience with one try to reach the other */
#define QUIET_US      50000u

volatile uint32_t fw_event, fw_refused;
uintptr_t fw_wire_base;

static const struct fw_wire *wire;
static uint32_t program;
static uint32_t samples[SAMPLES];

/* PING, ECHO */
static volatile uint32_t arrived;
static uint32_t awaited;            /* payload of the answer */
static struct sdm_signal answers[256];
static volatile uint32_t asked;
static uint32_t answered;

/* SOAK, RATE */
static struct source {
    uint64_t next;
    uint64_t before;                /* what it had when all had some */
    uint64_t bad;                   /* not the number that was due */
    uint64_t first_bad;
} sources[SOURCES];
static volatile uint32_t hellos, go, complete;
static uint32_t seen;               /* sources that something came from */
static uint64_t hello_of[2], taken, slowest, shared;

static int no_data(void)
{
    return wire == &fw_wire_ivshmem;
}

/*
 * The first is through: from when all had begun until now, how many of all that
 * were taken came from the one that had the fewest?
 */
static void compare(void)
{
    uint32_t i;

    slowest = seen < fw_params.sources ? 0 : ~0ull;
    for (i = 0; i < SOURCES; i++) {
        uint64_t n = sources[i].next - sources[i].before;

        if (sources[i].next) {
            shared += n;
            slowest = n < slowest ? n : slowest;
        }
    }
}

static void soak_take(const struct sdm_signal *sig)
{
    uint32_t id = sdm_from_le16(sig->source), i;
    uint64_t number = sdm_from_le64(sig->payload[0]);
    struct source *s = &sources[id % SOURCES];

    if (sdm_from_le32(sig->cookie) == COOKIE_GO) {
        go = 1;
        return;
    }
    if (sdm_from_le32(sig->cookie) == COOKIE_HELLO) {
        if (!(hello_of[id / 64 & 1] & 1ull << id % 64)) {
            hello_of[id / 64 & 1] |= 1ull << id % 64;
            hellos++;
        }
        return;
    }
    if (number != s->next || id >= SOURCES ||
        sdm_from_le64(sig->payload[1]) != ~number) {
        if (!s->bad++) {
            s->first_bad = number;
        }
    }
    s->next = number + 1;
    if (number == 0 && ++seen == fw_params.sources) {
        for (i = 0; i < SOURCES; i++) {
            sources[i].before = sources[i].next;
        }
    }
    if (s->next == fw_params.iterations && !complete++) {
        compare();
    }
}

void fw_take(const struct sdm_signal *sig)
{
    taken++;
    if (program == FW_PROGRAM_PING) {
        if (no_data() || (sdm_from_le32(sig->cookie) == COOKIE_PONG &&
                          (uint32_t)sdm_from_le64(sig->payload[0]) ==
                          awaited)) {
            arrived = 1;
        }
    } else if (program == FW_PROGRAM_ECHO) {
        if (no_data() || sdm_from_le32(sig->cookie) == COOKIE_PING) {
            answers[asked % 256] = *sig;
            asked++;
            arrived = 1;
        }
    } else if (program == FW_PROGRAM_SOAK) {
        soak_take(sig);
    }
}

static void make(struct sdm_signal *sig, uint32_t cookie, uint64_t payload)
{
    sig->type = sdm_to_le32(SDM_SIGNAL_INTERRUPT);
    sig->source = 0;
    sig->target = sdm_to_le16(fw_params.target);
    sig->flags = sdm_to_le32(fw_params.flags);
    sig->cookie = sdm_to_le32(cookie);
    sig->payload[0] = sdm_to_le64(payload);
    sig->payload[1] = sdm_to_le64(~payload);
}

/* Sleeps, or polls, until @condition. */
static void await(volatile uint32_t *condition)
{
    if (!fw_params.spin) {
        fw_sleep_until(condition);
        return;
    }
    while (!*condition) {
        wire->poll();
    }
}

/* Until one of the two. With spin, the second is the timer's. */
static void await_either(volatile uint32_t *a, volatile uint32_t *b)
{
    if (fw_params.spin) {
        while (!*a && !*b) {
            wire->poll();
        }
        return;
    }
    fw_irq_mask();
    while (!*a && !*b) {
        fw_sleep();
        fw_irq_unmask();
        fw_irq_mask();
    }
    fw_irq_unmask();
}

static void pause(uint32_t us)
{
    uint64_t end;

    if (!fw_params.spin) {
        fw_sleep_until(fw_timer(us));
        return;
    }
    end = fw_now() + (uint64_t)us * (fw_hz() / 1000000);
    while ((int64_t)(fw_now() - end) < 0) {
        wire->poll();
    }
}

/* All of @n; takes what comes in between. */
static void send_all(const struct sdm_signal *sigs, uint32_t n)
{
    while (n) {
        uint32_t done;

        fw_event = 0;
        done = wire->send(sigs, n);
        sigs += done;
        n -= done;
        if (n && !done) {
            if (fw_params.spin) {
                wire->poll();
            } else {
                fw_sleep_until(&fw_event);
            }
        } else if (fw_params.spin) {
            wire->poll();
        }
    }
}

static void settled(void)
{
    while (!wire->settle()) {
        if (fw_params.spin) {
            wire->poll();
        }
    }
}

/* A heap sort: in place, and as fast on any input. */
static void sift(uint32_t *a, uint32_t at, uint32_t n)
{
    uint32_t value = a[at], child;

    while ((child = 2 * at + 1) < n) {
        if (child + 1 < n && a[child + 1] > a[child]) {
            child++;
        }
        if (a[child] <= value) {
            break;
        }
        a[at] = a[child];
        at = child;
    }
    a[at] = value;
}

static void sort(uint32_t *a, uint32_t n)
{
    uint32_t i;

    for (i = n / 2; i--;) {
        sift(a, i, n);
    }
    for (i = n; i-- > 1;) {
        uint32_t top = a[0];

        a[0] = a[i];
        a[i] = top;
        sift(a, 0, i);
    }
}

static void ping(void)
{
    uint32_t n = fw_params.iterations, warm = fw_params.warm, i, hz = fw_hz();
    struct sdm_signal sig;

    if (n > SAMPLES) {
        n = SAMPLES;
    }
    /* The other may not be there yet; ivshmem loses what comes too early. */
    for (awaited = 0x80000000u, arrived = 0; !arrived; awaited++) {
        uint64_t end = fw_now() + (uint64_t)FIND_US * (hz / 1000000);

        make(&sig, COOKIE_PING, awaited);
        send_all(&sig, 1);
        if (!fw_params.spin) {
            await_either(&arrived, fw_timer(FIND_US));
        }
        while (!arrived && (int64_t)(fw_now() - end) < 0) {
            wire->poll();
        }
        settled();
    }
    pause(QUIET_US);                /* for answers to tries that were late */
    fw_refused = 0;
    fw_puts("START\n");
    for (i = 0; i < warm + n; i++) {
        uint64_t start, end;

        if (fw_params.gap_us) {
            pause(fw_params.gap_us);
        }
        arrived = 0;
        awaited = i;
        make(&sig, COOKIE_PING, i);
        start = fw_now();
        send_all(&sig, 1);
        await(&arrived);
        end = fw_now();
        if (i >= warm) {
            samples[i - warm] = end - start;
        }
    }
    fw_puts("END\n");
    sort(samples, n);
    fw_puts("PING");
    fw_put_field("n", n);
    fw_put_field("hz", hz);
    fw_put_field("min", samples[0]);
    fw_put_field("p50", samples[n / 2]);
    fw_put_field("p90", samples[n - 1 - n / 10]);
    fw_put_field("p99", samples[n - 1 - n / 100]);
    fw_put_field("p999", samples[n - 1 - n / 1000]);
    fw_put_field("max", samples[n - 1]);
    fw_put_field("refused", fw_refused);
    fw_putc('\n');
}

static void echo(void)
{
    struct sdm_signal sig;

    for (;;) {
        await(&arrived);
        arrived = 0;
        while (answered != asked) {
            const struct sdm_signal *from = &answers[answered % 256];

            make(&sig, COOKIE_PONG, sdm_from_le64(from->payload[0]));
            if (!no_data()) {
                sig.target = from->source;
            }
            answered++;
            send_all(&sig, 1);
        }
    }
}

/*
 * Slaves say hello until the master's guest can have heard; it lets all go at
 * once. A guest that has no sources of its own to await does not answer.
 */
static void meet(void)
{
    struct sdm_signal sig;
    uint32_t before;

    if (wire->id() == SDM_ID_MASTER) {
        volatile uint32_t *over;

        while (hellos < fw_params.sources) {
            over = fw_timer(FIND_US);
            await_either(&go, over);
        }
        make(&sig, COOKIE_GO, 0);
        sig.target = sdm_to_le16(SDM_ID_ALL);
        send_all(&sig, 1);
        return;
    }
    do {
        before = fw_refused;
        make(&sig, COOKIE_HELLO, 0);
        send_all(&sig, 1);
        settled();
        if (!fw_params.spin) {
            await_either(&go, fw_timer(FIND_US));
        } else {
            wire->poll();
        }
    } while (!go && fw_refused != before);
    await(&go);
}

static uint32_t soak(void)
{
    uint32_t batch = fw_params.batch, bad = 0, i;
    uint64_t number = 0, left = fw_params.iterations;
    struct sdm_signal sigs[64];

    if (batch > 64) {
        batch = 64;
    }
    meet();
    fw_refused = 0;
    fw_puts("START\n");
    while (batch && left) {
        uint32_t n = left < batch ? left : batch;

        for (i = 0; i < n; i++) {
            make(&sigs[i], COOKIE_DATA, number + i);
        }
        send_all(sigs, n);
        number += n;
        left -= n;
    }
    settled();
    fw_puts("SENT\n");
    while (complete < fw_params.sources) {
        fw_event = 0;
        if (fw_params.spin) {
            wire->poll();
        } else {
            fw_irq_mask();
            if (complete < fw_params.sources) {
                fw_sleep();
            }
            fw_irq_unmask();
        }
    }
    for (i = 0; i < SOURCES; i++) {
        if (sources[i].next || sources[i].bad) {
            fw_puts("FROM");
            fw_put_field("source", i);
            fw_put_field("next", sources[i].next);
            fw_put_field("bad", sources[i].bad);
            fw_put_field("first_bad", sources[i].first_bad);
            fw_putc('\n');
            bad |= sources[i].bad != 0;
        }
    }
    fw_puts("SOAK");
    fw_put_field("sent", number);
    fw_put_field("refused", fw_refused);
    fw_put_field("bad", bad);
    fw_put_field("slowest", slowest);
    fw_put_field("shared", shared);
    fw_putc('\n');
    return bad || fw_refused;
}

static void rate(void)
{
    uint32_t batch = fw_params.batch < 64 ? fw_params.batch : 64, i;
    uint32_t ms = fw_params.iterations, hz = fw_hz(), measuring = 0;
    volatile uint32_t *over = &fw_event;
    struct sdm_signal sigs[64];
    uint64_t start = 0, before = 0;

    for (i = 0; i < 64; i++) {
        make(&sigs[i], COOKIE_DATA, i);
    }
    fw_puts("START\n");
    for (;;) {
        uint64_t now_taken;

        fw_event = 0;
        if (batch && wire->send(sigs, batch)) {
            if (fw_params.spin) {
                wire->poll();
            }
        } else if (fw_params.spin) {
            wire->poll();
        } else {
            fw_irq_mask();
            if (!fw_event && !(measuring && *over)) {
                fw_sleep();
            }
            fw_irq_unmask();
        }
        if (!ms) {
            continue;
        }
        fw_irq_mask();
        now_taken = taken;
        fw_irq_unmask();
        if (!measuring && now_taken) {
            /* The first tenth is for the translations and for the others. */
            over = fw_timer(ms * 100);
            measuring = 1;
        } else if (measuring == 1 && *over) {
            start = fw_now();
            before = now_taken;
            fw_refused = 0;
            over = fw_timer(ms * 1000);
            measuring = 2;
        } else if (measuring == 2 && *over) {
            uint64_t ticks = fw_now() - start;

            fw_puts("RATE");
            fw_put_field("taken", now_taken - before);
            fw_put_field("ticks", ticks);
            fw_put_field("hz", hz);
            fw_put_field("refused", fw_refused);
            fw_putc('\n');
            ms = 0;
        }
    }
}

static uint32_t random_word(void)
{
    static uint32_t x = 2463534242u;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

/*
 * What the driver told the device of its queues stays: other addresses would
 * have the device write into this very program.
 */
static int may_write(uint32_t offset)
{
    return wire != &fw_wire_virtio || offset < 0x38 ||
           (offset >= 0x50 && offset < 0x70) || offset >= 0x100;
}

/*
 * All registers of the page, read and written, good signals as fast as they go,
 * and, for virtio, the queues set up anew every now and then.
 */
static void flood(void)
{
    uint32_t bytes = wire == &fw_wire_platform ? 0x1000 : 0x200, n = 0, i;
    struct sdm_signal sigs[64];

    for (i = 0; i < 64; i++) {
        make(&sigs[i], COOKIE_FLOOD, i);
    }
    fw_puts("START\n");
    for (;; n++) {
        uint32_t offset = random_word() % bytes & ~3u;
        volatile uint32_t *reg =
            (volatile uint32_t *)(fw_wire_base + offset);

        wire->send(sigs, 1 + n % 64);
        wire->poll();
        if (n & 1) {
            (void)*reg;
        } else if (may_write(offset)) {
            *reg = random_word();
        }
        if (wire == &fw_wire_virtio && n % 1024 == 1023) {
            wire->open();
        }
    }
}

static void flood_uart(void)
{
    fw_puts("START\n");
    for (;;) {
        *(volatile uint32_t *)(uintptr_t)FW_UART = '.';
    }
}

uint32_t fw_signals(void)
{
    static const struct fw_wire *const wires[] = {
        &fw_wire_platform, &fw_wire_virtio, &fw_wire_ivshmem,
    };
    uint32_t status = 0;

    program = fw_params.program;
    if (fw_params.wire == FW_WIRE_UART) {
        flood_uart();
    }
    if (fw_params.wire > FW_WIRE_UART || !fw_irq_init()) {
        fw_puts("FAULT no such wire, or no GIC\n");
        return 2;
    }
    wire = wires[fw_params.wire];
    if (!wire->open()) {
        fw_puts("FAULT no ");
        fw_puts(wire->name);
        fw_putc('\n');
        return 2;
    }
    if (program != FW_PROGRAM_FLOOD) {
        wire->listen(!fw_params.spin);
    }
    fw_puts("READY");
    fw_put_field("id", wire->id());
    fw_putc('\n');
    if (program == FW_PROGRAM_PING) {
        ping();
    } else if (program == FW_PROGRAM_ECHO) {
        echo();
    } else if (program == FW_PROGRAM_SOAK) {
        status = soak();
    } else if (program == FW_PROGRAM_RATE) {
        rate();
    } else {
        flood();
    }
    fw_puts("DONE\n");
    return status;
}
