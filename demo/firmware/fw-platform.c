/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals through sdm-platform. */
#include "fw.h"
#include "sdm-mmio.h"

static uintptr_t base;
static uint32_t enabled;
static struct sdm_signal last;  /* valid if sent */
static int sent;
static int started;             /* a send whose end was not looked at yet */

/* What comes meanwhile raises the interrupt again: it is a level. */
static void drain(void)
{
    struct sdm_signal sig;
    uint32_t n = sdm_mmio_waiting(base);

    while (n--) {
        sdm_mmio_pop(base, &sig);
        fw_take(&sig);
    }
}

static void handler(void)
{
    uint32_t what = sdm_mmio_int_ack(base);

    if (what & SDM_INT_TX && enabled & SDM_INT_TX) {
        enabled &= ~SDM_INT_TX;
        sdm_mmio_int_enable(base, enabled);
    }
    if (what & SDM_INT_RX) {
        drain();
    }
    fw_event = 1;
}

static int open(void)
{
    struct fw_node node;

    if (!fw_fdt_find(SDM_PLATFORM_COMPATIBLE, 0, &node) ||
        !sdm_mmio_probe(node.base[0])) {
        return 0;
    }
    base = fw_wire_base = node.base[0];
    fw_irq_on(node.intid, node.edge, handler);
    return 1;
}

static uint32_t id(void)
{
    return sdm_mmio_id(base);
}

static void listen(int on)
{
    enabled = on ? SDM_INT_RX : 0;
    sdm_mmio_int_enable(base, enabled);
}

/* Returns: 1: it may be sent; 0: an interrupt will tell */
static int ready(void)
{
    uint32_t status = sdm_mmio_status(base);

    if (status & SDM_TX_BUSY && enabled) {
        fw_irq_mask();
        sdm_mmio_write(base, SDM_REG_INT_STATUS, SDM_INT_TX);
        enabled |= SDM_INT_TX;
        sdm_mmio_int_enable(base, enabled);
        status = sdm_mmio_status(base);
        fw_irq_unmask();
    }
    if (status & SDM_TX_BUSY) {
        return 0;
    }
    fw_refused += started && status != SDM_OK;
    started = 0;
    return 1;
}

static uint32_t send(const struct sdm_signal *sigs, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n && ready(); i++) {
        if (sent) {
            sdm_mmio_start_after(base, &sigs[i], &last);
        } else {
            sdm_mmio_start(base, &sigs[i]);
        }
        last = sigs[i];
        sent = 1;
        started = 1;
    }
    return i;
}

static int settle(void)
{
    return ready();
}

const struct fw_wire fw_wire_platform = {
    "sdm-platform", open, id, listen, drain, send, settle,
};
