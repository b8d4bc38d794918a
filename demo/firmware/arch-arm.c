/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ARMv7-A: translation table, barriers, firmware calls, exclusive accesses. */
#include "fw.h"

/* 1 MiB sections, domain 0, full access. */
#define SECTION_DEVICE  0x00c16u    /* shareable device, never executed */
#define SECTION_NORMAL  0x11c0eu    /* write-back, write-allocate, shareable */

#define MODE_HYP  0x1au

static uint32_t table[4096] __attribute__((aligned(16384)));

void fw_mmu_on(void)
{
    uint32_t mib, sctlr;

    for (mib = 0; mib < 4096; mib++) {
        table[mib] = mib << 20 |
                     (mib < FW_RAM >> 20 ? SECTION_DEVICE : SECTION_NORMAL);
    }
    asm volatile("dsb\n\t"
                 "mcr p15, 0, %0, c2, c0, 2\n\t"    /* TTBCR: one table */
                 "mcr p15, 0, %1, c2, c0, 0\n\t"    /* TTBR0, cached walks */
                 "mcr p15, 0, %2, c3, c0, 0\n\t"    /* DACR: client of 0 */
                 "mcr p15, 0, %0, c8, c7, 0\n\t"    /* TLBIALL */
                 "mcr p15, 0, %0, c7, c5, 0\n\t"    /* ICIALLU */
                 "dsb\n\t"
                 "isb"
                 :: "r" (0), "r" ((uint32_t)table | 0x4a), "r" (1) : "memory");
    asm volatile("mrc p15, 0, %0, c1, c0, 0" : "=r" (sctlr));
    sctlr &= ~(1u << 28 | 1u << 29);                /* no TEX remap, no AFE */
    sctlr |= 1u << 0 | 1u << 2 | 1u << 11 | 1u << 12;
    asm volatile("mcr p15, 0, %0, c1, c0, 0\n\t"
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
    register uint32_t r0 asm("r0") = function;

    if (fw_entry.mode == MODE_HYP) {
        asm volatile(".arch_extension sec\n\tsmc #0"
                     : "+r" (r0) :: "r1", "r2", "r3", "memory");
    } else {
        asm volatile(".arch_extension virt\n\thvc #0"
                     : "+r" (r0) :: "r1", "r2", "r3", "memory");
    }
}

void fw_semihosting(uint32_t operation, const void *block)
{
    register uint32_t r0 asm("r0") = operation;
    register const void *r1 asm("r1") = block;

    asm volatile("svc #0x123456" : "+r" (r0) : "r" (r1) : "lr", "memory");
}

void fw_irq_mask(void)
{
    asm volatile("cpsid i" ::: "memory");
}

void fw_irq_unmask(void)
{
    asm volatile("cpsie i" ::: "memory");
}

uint64_t fw_now(void)
{
    uint64_t now;

    asm volatile("mrrc p15, 1, %Q0, %R0, c14" : "=r" (now) :: "memory");
    return now;
}

uint32_t fw_hz(void)
{
    uint32_t hz;

    asm("mrc p15, 0, %0, c14, c0, 0" : "=r" (hz));
    return hz;
}

void fw_timer_write(uint32_t ticks, uint32_t on)
{
    asm volatile("mcr p15, 0, %0, c14, c3, 0\n\t"   /* CNTV_TVAL */
                 "mcr p15, 0, %1, c14, c3, 1\n\t"   /* CNTV_CTL */
                 "isb" :: "r" (ticks), "r" (on) : "memory");
}

void fw_gic3_init(void)
{
    asm volatile("mcr p15, 0, %0, c4, c6, 0\n\t"    /* ICC_PMR */
                 "mcr p15, 0, %1, c12, c12, 7\n\t"  /* ICC_IGRPEN1 */
                 "isb" :: "r" (0xff), "r" (1) : "memory");
}

uint32_t fw_gic3_ack(void)
{
    uint32_t got;

    asm volatile("mrc p15, 0, %0, c12, c12, 0" : "=r" (got) :: "memory");
    return got;
}

void fw_gic3_end(uint32_t got)
{
    asm volatile("mcr p15, 0, %0, c12, c12, 1" :: "r" (got) : "memory");
}

static int always(void)
{
    return 1;
}

static uint32_t add_ldrex(volatile void *counter, uint32_t n)
{
    uint32_t last = 0, met = 0;

    while (n--) {
        uint32_t value, failed;

        do {
            asm volatile("ldrex %0, [%2]\n\t"
                         "add %0, %0, #1\n\t"
                         "strex %1, %0, [%2]"
                         : "=&r" (value), "=&r" (failed)
                         : "r" (counter) : "memory");
        } while (failed);
        met += value != last + 1;
        last = value;
    }
    return met;
}

static uint32_t add_ldrexd(volatile void *counter, uint32_t n)
{
    uint32_t last = 0, met = 0;

    while (n--) {
        uint64_t value;
        uint32_t failed;

        do {
            asm volatile("ldrexd %0, %H0, [%2]\n\t"
                         "add %0, %0, #1\n\t"
                         "add %H0, %H0, #1\n\t"
                         "strexd %1, %0, %H0, [%2]"
                         : "=&r" (value), "=&r" (failed)
                         : "r" (counter) : "memory");
        } while (failed);
        met += (uint32_t)value != last + 1;
        last = value;
    }
    return met;
}

const struct fw_op fw_ops[] = {
    { "LDREX/STREX", 0, 4, always, add_ldrex },
    { "LDREXD/STREXD", 1, 8, always, add_ldrexd },
};
const uint32_t fw_nops = sizeof(fw_ops) / sizeof(fw_ops[0]);

int fw_trylock(volatile uint32_t *lock)
{
    uint32_t value, failed = 1;

    asm volatile("ldrex %0, [%2]\n\t"
                 "cmp %0, #0\n\t"
                 "strexeq %1, %3, [%2]"
                 : "=&r" (value), "+&r" (failed)
                 : "r" (lock), "r" (1) : "cc", "memory");
    if (value || failed) {
        return 0;
    }
    fw_dmb();
    return 1;
}

void fw_unlock(volatile uint32_t *lock)
{
    fw_dmb();
    *lock = 0;
}
