/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts through QEMU's ivshmem-doorbell: what the benchmarks compare with.
 * There is no message, and an interrupt that comes before the last one was
 * taken is not told apart from it.
 *
 * For a virt machine with highmem=off and a GICv2: its PCI configuration space
 * lies below 1 GiB, and the v2m frame turns the MSI-X message into an
 * edge-triggered interrupt.
 */
#include "fw.h"

#define ECAM           0x3f000000u
#define PCI_MEMORY     0x10000000u
#define FUNCTION       0x1000u      /* bytes of configuration space: 8 a slot */
#define SLOTS          32u
#define IVSHMEM_ID     0x11101af4u

#define PCI_COMMAND    0x04u
#define PCI_BAR        0x10u
#define PCI_CAP        0x34u
#define CAP_MSIX       0x11u

#define DOORBELL_ID    0x08u
#define DOORBELL_RING  0x0cu

#define V2M_TYPER      0x08u
#define V2M_SETSPI     0x40u

#define PATIENCE       1000000u     /* loads, until a lost one is given up */

static uintptr_t registers, shared;
static uint32_t own, rung;

static volatile uint32_t *word(uintptr_t at)
{
    return (volatile uint32_t *)at;
}

static void handler(void)
{
    static const struct sdm_signal none;

    ++*word(shared + 4 * own);
    fw_take(&none);
    fw_event = 1;
}

static uint32_t id(void)
{
    return *word(registers + DOORBELL_ID);
}

static int open(void)
{
    struct fw_node v2m;
    uintptr_t config = ECAM, msix, table;
    uint32_t slot, bar, intid, at;

    if (!fw_fdt_find("arm,gic-v2m-frame", 0, &v2m)) {
        return 0;
    }
    for (slot = 0; slot < SLOTS && *word(config) != IVSHMEM_ID; slot++) {
        config += 8 * FUNCTION;
    }
    if (slot == SLOTS) {
        return 0;
    }
    at = PCI_MEMORY;
    for (bar = 0; bar < 3; bar++) {
        volatile uint32_t *low = word(config + PCI_BAR + 4 * bar);
        uint32_t size;

        *low = ~0u;
        size = -(*low & ~15u);
        at = (at + size - 1) & -size;
        *low = at;
        if (bar == 0) {
            registers = at;
        } else if (bar == 1) {
            table = at;
        } else {
            shared = at;
            low[1] = 0;             /* 64 bits wide */
        }
        at += size;
    }
    msix = config + (*word(config + PCI_CAP) & 0xff);
    while ((*word(msix) & 0xff) != CAP_MSIX) {
        msix = config + (*word(msix) >> 8 & 0xff);
    }
    *word(config + PCI_COMMAND) |= 6;       /* memory, bus master */
    *word(msix) |= 1u << 31;                /* MSI-X on */

    intid = *word(v2m.base[0] + V2M_TYPER) >> 16 & 0x3ff;
    *word(table) = v2m.base[0] + V2M_SETSPI;
    *word(table + 4) = 0;
    *word(table + 8) = intid;
    *word(table + 12) = 0;                  /* not masked */
    fw_wire_base = registers;
    own = id();
    fw_irq_on(intid, 1, handler);
    return 1;
}

/* It cannot be polled: in a loop, one looks at what the handler leaves. */
static void listen(int on)
{
    (void)on;
}

static void poll(void)
{
}

/*
 * One at a time: not before the last one was taken, which the other tells in
 * the shared memory. That brings more interrupts a second than to ring without
 * end, which keeps QEMU's main loop from its lock.
 */
static uint32_t send(const struct sdm_signal *sigs, uint32_t n)
{
    uint32_t i, peer, patience = PATIENCE;

    for (i = 0; i < n; i++) {
        peer = sdm_from_le16(sigs[i].target);
        while (n == 1 && *word(shared + 4 * peer) == rung && --patience) {
        }
        rung = *word(shared + 4 * peer);
        *word(registers + DOORBELL_RING) = peer << 16;
    }
    return n;
}

static int settle(void)
{
    return 1;
}

const struct fw_wire fw_wire_ivshmem = {
    "ivshmem-doorbell", open, id, listen, poll, send, settle,
};
