/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ARMv8-A: translation table, barriers, firmware calls, atomics. */
#include "fw.h"

/* 1 GiB blocks of a 39-bit address space, 4 KiB granule. */
#define BLOCK_DEVICE  0x0060000000000401ull     /* never executed */
#define BLOCK_NORMAL  0x0000000000000705ull     /* inner shareable */

#define MAIR  0xff00ull     /* 0: device nGnRnE, 1: normal write-back */
#define TCR   (25ull | 1ull << 8 | 1ull << 10 | 3ull << 12 | 1ull << 23 | \
               2ull << 32)

static uint64_t table[512] __attribute__((aligned(4096)));

void fw_mmu_on(void)
{
    uint64_t gib, sctlr;

    for (gib = 0; gib < 512; gib++) {
        table[gib] = gib << 30 | (gib ? BLOCK_NORMAL : BLOCK_DEVICE);
    }
    asm volatile("dsb sy\n\t"
                 "msr mair_el1, %0\n\t"
                 "msr tcr_el1, %1\n\t"
                 "msr ttbr0_el1, %2\n\t"
                 "isb\n\t"
                 "tlbi vmalle1\n\t"
                 "ic iallu\n\t"
                 "dsb sy\n\t"
                 "isb"
                 :: "r" (MAIR), "r" (TCR), "r" (table) : "memory");
    asm volatile("mrs %0, sctlr_el1" : "=r" (sctlr));
    sctlr |= 1u << 0 | 1u << 2 | 1u << 12;
    asm volatile("msr sctlr_el1, %0\n\t"
                 "isb" :: "r" (sctlr) : "memory");
}

void fw_dmb(void)
{
    asm volatile("dmb ish" ::: "memory");
}

void fw_sleep(void)
{
    asm volatile("wfi" ::: "memory");
}

/* HVC is ours to call unless we came down from where it would have gone. */
void fw_psci(uint32_t function)
{
    register uint64_t x0 asm("x0") = function;

    if (fw_entry.mode == 2) {
        asm volatile("smc #0" : "+r" (x0) :: "x1", "x2", "x3", "memory");
    } else {
        asm volatile("hvc #0" : "+r" (x0) :: "x1", "x2", "x3", "memory");
    }
}

void fw_semihosting(uint32_t operation, const void *block)
{
    register uint64_t x0 asm("x0") = operation;
    register const void *x1 asm("x1") = block;

    asm volatile("hlt #0xf000" : "+r" (x0) : "r" (x1) : "memory");
}

void fw_irq_mask(void)
{
    asm volatile("msr daifset, #2" ::: "memory");
}

void fw_irq_unmask(void)
{
    asm volatile("msr daifclr, #2" ::: "memory");
}

uint64_t fw_now(void)
{
    uint64_t now;

    asm volatile("mrs %0, cntvct_el0" : "=r" (now) :: "memory");
    return now;
}

uint32_t fw_hz(void)
{
    uint64_t hz;

    asm("mrs %0, cntfrq_el0" : "=r" (hz));
    return hz;
}

void fw_timer_write(uint32_t ticks, uint32_t on)
{
    asm volatile("msr cntv_tval_el0, %0\n\t"
                 "msr cntv_ctl_el0, %1\n\t"
                 "isb" :: "r" ((uint64_t)ticks), "r" ((uint64_t)on)
                 : "memory");
}

/* ICC_PMR_EL1, ICC_IGRPEN1_EL1, ICC_IAR1_EL1 and ICC_EOIR1_EL1 by number. */
void fw_gic3_init(void)
{
    asm volatile("msr s3_0_c4_c6_0, %0\n\t"
                 "msr s3_0_c12_c12_7, %1\n\t"
                 "isb" :: "r" (0xffull), "r" (1ull) : "memory");
}

uint32_t fw_gic3_ack(void)
{
    uint64_t got;

    asm volatile("mrs %0, s3_0_c12_c12_0" : "=r" (got) :: "memory");
    return got;
}

void fw_gic3_end(uint32_t got)
{
    asm volatile("msr s3_0_c12_c12_1, %0" :: "r" ((uint64_t)got) : "memory");
}

static int always(void)
{
    return 1;
}

/* ID_AA64ISAR0_EL1.Atomic */
static int have_lse(void)
{
    uint64_t isar;

    asm("mrs %0, id_aa64isar0_el1" : "=r" (isar));
    return (isar >> 20 & 15) >= 2;
}

static uint32_t add_ldxr32(volatile void *counter, uint32_t n)
{
    uint32_t last = 0, met = 0;

    while (n--) {
        uint32_t value, failed;

        do {
            asm volatile("ldxr %w0, [%2]\n\t"
                         "add %w0, %w0, #1\n\t"
                         "stxr %w1, %w0, [%2]"
                         : "=&r" (value), "=&r" (failed)
                         : "r" (counter) : "memory");
        } while (failed);
        met += value != last + 1;
        last = value;
    }
    return met;
}

static uint32_t add_ldxr64(volatile void *counter, uint32_t n)
{
    uint32_t met = 0;
    uint64_t last = 0;

    while (n--) {
        uint64_t value;
        uint32_t failed;

        do {
            asm volatile("ldxr %0, [%2]\n\t"
                         "add %0, %0, #1\n\t"
                         "stxr %w1, %0, [%2]"
                         : "=&r" (value), "=&r" (failed)
                         : "r" (counter) : "memory");
        } while (failed);
        met += value != last + 1;
        last = value;
    }
    return met;
}

static uint32_t add_ldxp(volatile void *counter, uint32_t n)
{
    uint32_t met = 0;
    uint64_t last = 0;

    while (n--) {
        uint64_t low, high;
        uint32_t failed;

        do {
            asm volatile("ldxp %0, %1, [%3]\n\t"
                         "add %0, %0, #1\n\t"
                         "add %1, %1, #1\n\t"
                         "stxp %w2, %0, %1, [%3]"
                         : "=&r" (low), "=&r" (high), "=&r" (failed)
                         : "r" (counter) : "memory");
        } while (failed);
        met += low != last + 1;
        last = low;
    }
    return met;
}

static uint32_t add_cas(volatile void *counter, uint32_t n)
{
    volatile uint64_t *p = counter;
    uint32_t met = 0;
    uint64_t last = 0;

    while (n--) {
        uint64_t old, seen;

        do {
            old = *p;
            seen = old;
            asm volatile(".arch_extension lse\n\t"
                         "cas %0, %1, [%2]"
                         : "+r" (seen) : "r" (old + 1), "r" (p) : "memory");
        } while (seen != old);
        met += old != last;
        last = old + 1;
    }
    return met;
}

/* The two loads may be torn: then CASP finds other values and we try again. */
static uint32_t add_casp(volatile void *counter, uint32_t n)
{
    volatile uint64_t *p = counter;
    uint32_t met = 0;
    uint64_t last = 0;

    while (n--) {
        uint64_t old[2];
        register uint64_t low asm("x4");
        register uint64_t high asm("x5");

        do {
            register uint64_t new_low asm("x6");
            register uint64_t new_high asm("x7");

            old[0] = p[0];
            old[1] = p[1];
            low = old[0];
            high = old[1];
            new_low = low + 1;
            new_high = high + 1;
            asm volatile(".arch_extension lse\n\t"
                         "casp %0, %1, %2, %3, [%4]"
                         : "+r" (low), "+r" (high)
                         : "r" (new_low), "r" (new_high), "r" (p)
                         : "memory");
        } while (low != old[0] || high != old[1]);
        met += old[0] != last;
        last = old[0] + 1;
    }
    return met;
}

static uint32_t add_ldadd(volatile void *counter, uint32_t n)
{
    uint32_t met = 0;
    uint64_t last = 0, old;

    while (n--) {
        asm volatile(".arch_extension lse\n\t"
                     "ldadd %1, %0, [%2]"
                     : "=&r" (old) : "r" (1ull), "r" (counter) : "memory");
        met += old != last;
        last = old + 1;
    }
    return met;
}

const struct fw_op fw_ops[] = {
    { "LDXR/STXR (32)", 0, 4, always, add_ldxr32 },
    { "LDXR/STXR (64)", 0, 8, always, add_ldxr64 },
    { "LDXP/STXP", 1, 16, always, add_ldxp },
    { "CAS", 0, 8, have_lse, add_cas },
    { "CASP", 1, 16, have_lse, add_casp },
    { "LDADD", 0, 8, have_lse, add_ldadd },
};
const uint32_t fw_nops = sizeof(fw_ops) / sizeof(fw_ops[0]);

int fw_trylock(volatile uint32_t *lock)
{
    uint32_t value, failed = 1;

    asm volatile("ldaxr %w0, [%2]\n\t"
                 "cbnz %w0, 1f\n\t"
                 "stxr %w1, %w3, [%2]\n"
                 "1:"
                 : "=&r" (value), "+&r" (failed)
                 : "r" (lock), "r" (1) : "memory");
    return !value && !failed;
}

void fw_unlock(volatile uint32_t *lock)
{
    asm volatile("stlr %w1, [%0]" :: "r" (lock), "r" (0) : "memory");
}
