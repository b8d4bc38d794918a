/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts on one CPU of the virt machine: GICv2 and GICv3, and the virtual
 * timer. In all that waits, the interrupt is masked while the condition is
 * looked at: WFI ends for a masked one, too, so none is slept through.
 */
#include "fw.h"

#define GICD_CTLR       0x000u
#define GICD_TYPER      0x004u
#define GICD_IGROUPR    0x080u
#define GICD_ISENABLER  0x100u
#define GICD_IPRIORITYR 0x400u
#define GICD_ITARGETSR  0x800u
#define GICD_ICFGR      0xc00u
#define GICD_IROUTER    0x6000u

#define GICC_CTLR       0x00u
#define GICC_PMR        0x04u
#define GICC_IAR        0x0cu
#define GICC_EOIR       0x10u

#define GICR_WAKER      0x14u
#define GICR_SGI_FRAME  0x10000u

#define SPURIOUS        1020u
#define TIMER_INTID     27u
#define INTIDS          256u

static uintptr_t dist, cpu, redist;
static fw_handler *handlers[INTIDS];
static volatile uint32_t timer_over;

static volatile uint32_t *reg(uintptr_t base, uint32_t offset)
{
    return (volatile uint32_t *)(base + offset);
}

static void timer_handler(void)
{
    fw_timer_write(0, 0);
    timer_over = 1;
}

int fw_irq_init(void)
{
    struct fw_node node;

    if (fw_fdt_find("arm,cortex-a15-gic", 0, &node)) {
        dist = node.base[0];
        cpu = node.base[1];
        *reg(dist, GICD_CTLR) = 1;
        *reg(cpu, GICC_PMR) = 0xff;
        *reg(cpu, GICC_CTLR) = 1;
    } else if (fw_fdt_find("arm,gic-v3", 0, &node)) {
        dist = node.base[0];
        redist = node.base[1];
        *reg(dist, GICD_CTLR) = 1u << 4 | 1u << 1;  /* affinity; group 1 */
        *reg(redist, GICR_WAKER) = 0;
        while (*reg(redist, GICR_WAKER) & 1u << 2) {
        }
        fw_gic3_init();
    } else {
        return 0;
    }
    fw_irq_on(TIMER_INTID, 0, timer_handler);
    fw_irq_unmask();
    return 1;
}

void fw_irq_on(uint32_t intid, int edge, fw_handler *handler)
{
    uintptr_t base = redist && intid < 32 ? redist + GICR_SGI_FRAME : dist;
    uint32_t bit = 1u << intid % 32;

    handlers[intid] = handler;
    ((volatile uint8_t *)(base + GICD_IPRIORITYR))[intid] = 0xa0;
    if (redist) {
        *reg(base, GICD_IGROUPR + intid / 32 * 4) |= bit;
    }
    if (intid >= 32) {
        volatile uint32_t *config = reg(dist, GICD_ICFGR + intid / 16 * 4);
        uint32_t edge_bit = 2u << intid % 16 * 2;

        *config = edge ? *config | edge_bit : *config & ~edge_bit;
        if (redist) {
            *reg(dist, GICD_IROUTER + intid * 8) = 0;
            *reg(dist, GICD_IROUTER + intid * 8 + 4) = 0;
        } else {
            ((volatile uint8_t *)(dist + GICD_ITARGETSR))[intid] = 1;
        }
    }
    *reg(base, GICD_ISENABLER + intid / 32 * 4) = bit;
}

/* From the vector. */
void fw_irq(void)
{
    uint32_t got = redist ? fw_gic3_ack() : *reg(cpu, GICC_IAR);
    uint32_t intid = got & 0x3ff;

    if (intid >= SPURIOUS) {
        return;
    }
    if (intid < INTIDS && handlers[intid]) {
        handlers[intid]();
    }
    if (redist) {
        fw_gic3_end(got);
    } else {
        *reg(cpu, GICC_EOIR) = got;
    }
}

void fw_sleep_until(volatile uint32_t *condition)
{
    fw_irq_mask();
    while (!*condition) {
        fw_sleep();
        fw_irq_unmask();
        fw_irq_mask();
    }
    fw_irq_unmask();
}

volatile uint32_t *fw_timer(uint32_t us)
{
    timer_over = 0;
    fw_timer_write(us * (fw_hz() / 1000000), 1);
    return &timer_over;
}
