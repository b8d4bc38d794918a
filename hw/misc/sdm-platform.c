/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sdm-platform: the SDM as a plain device of registers and an interrupt.
 * Specification: docs/specs/sdm-platform.rst and include/sdm/platform.h.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "hw/irq.h"
#include "hw/misc/sdm-comm.h"
#include "hw/misc/sdm-platform.h"
#include "migration/vmstate.h"
#include "sysemu/device_tree.h"
#include "sdm/mailbox.h"
#include "sdm/platform.h"
#include "qemu-sdm/trace.h"

OBJECT_DECLARE_SIMPLE_TYPE(SdmPlatform, SDM_PLATFORM)

struct SdmPlatform {
    SysBusDevice parent_obj;
    MemoryRegion mmio;
    qemu_irq irq;
    SdmPort port;

    uint32_t int_status;        /* INT_RX is computed, never stored */
    uint32_t int_enable;
    uint32_t peer_select;
    uint32_t tx[8];             /* TX_TYPE .. TX_PAYLOAD, as 32-bit registers */
    uint32_t tx_status;
    uint64_t tx_token;          /* of the send that is pending; 0: none */
    uint64_t tx_last;
    struct sdm_signal rx[SDM_RX_SLOTS];
    uint32_t rx_head;
    uint32_t rx_count;
    bool rx_stalled;            /* signals wait outside for room */
};

static uint32_t int_status(SdmPlatform *s)
{
    return s->int_status | (s->rx_count ? SDM_INT_RX : 0);
}

static void update_irq(SdmPlatform *s)
{
    qemu_set_irq(s->irq, !!(int_status(s) & s->int_enable));
}

static void tx_end(SdmPlatform *s, uint32_t status)
{
    s->tx_status = status;
    s->int_status |= SDM_INT_TX;
    update_irq(s);
}

static void tx_try(SdmPlatform *s)
{
    struct sdm_signal sig = {
        .type = sdm_to_le32(s->tx[0]),
        .target = sdm_to_le16(s->tx[1]),
        .flags = sdm_to_le32(s->tx[2]),
        .cookie = sdm_to_le32(s->tx[3]),
        .payload = {
            sdm_to_le64(s->tx[4] | (uint64_t)s->tx[5] << 32),
            sdm_to_le64(s->tx[6] | (uint64_t)s->tx[7] << 32),
        },
    };
    uint32_t status;

    if (s->tx[1] > UINT16_MAX) {
        tx_end(s, SDM_ERR_NO_PEER);
        return;
    }
    /* One at a time: while it is busy, the registers are locked. */
    s->tx_status = SDM_TX_BUSY;
    s->tx_token = ++s->tx_last ?: ++s->tx_last;
    status = sdm_port_send(&s->port, &sig, (void *)(uintptr_t)s->tx_token);
    if (status != SDM_PENDING) {
        s->tx_token = 0;
        if (status != SDM_FULL) {
            tx_end(s, status);
        }
    }
}

static SdmTake port_receive(SdmPort *port, const struct sdm_signal *sig)
{
    SdmPlatform *s = container_of(port, SdmPlatform, port);

    if (s->rx_count == SDM_RX_SLOTS) {
        s->rx_stalled = true;
        return SDM_NO_ROOM;
    }
    s->rx[(s->rx_head + s->rx_count++) % SDM_RX_SLOTS] = *sig;
    return SDM_HELD;
}

static void port_received(SdmPort *port)
{
    update_irq(container_of(port, SdmPlatform, port));
}

static void rx_pop(SdmPlatform *s)
{
    struct sdm_signal sig;

    if (!s->rx_count) {
        return;
    }
    sig = s->rx[s->rx_head];
    s->rx_head = (s->rx_head + 1) % SDM_RX_SLOTS;
    s->rx_count--;
    sdm_port_taken(&s->port, &sig);
    /* Not for each one: those who wait are let in by the batch. */
    if (s->rx_stalled && s->rx_count <= SDM_RX_SLOTS / 2) {
        s->rx_stalled = false;
        sdm_port_resume(&s->port);
    }
    update_irq(s);
}

/* A guest that looks by itself finds what has come since. */
static void rx_look(SdmPlatform *s)
{
    if (!s->rx_count && !(s->int_enable & SDM_INT_RX)) {
        sdm_port_poll(&s->port);
    }
}

static void port_space(SdmPort *port)
{
    SdmPlatform *s = container_of(port, SdmPlatform, port);

    if (s->tx_status == SDM_TX_BUSY && !s->tx_token) {
        tx_try(s);
    }
}

static void port_done(SdmPort *port, void *token, uint32_t status)
{
    SdmPlatform *s = container_of(port, SdmPlatform, port);

    /* A reset has forgotten what was pending. */
    if (s->tx_token && token == (void *)(uintptr_t)s->tx_token) {
        s->tx_token = 0;
        tx_end(s, status);
    }
}

static void port_peer(SdmPort *port, uint32_t id)
{
    SdmPlatform *s = container_of(port, SdmPlatform, port);

    s->int_status |= SDM_INT_PEER;
    update_irq(s);
}

static const SdmPortOps port_ops = {
    .receive = port_receive,
    .received = port_received,
    .space = port_space,
    .done = port_done,
    .peer = port_peer,
};

static uint32_t half(uint64_t value, hwaddr offset)
{
    return offset & 4 ? value >> 32 : value;
}

static uint64_t read_peer(SdmPlatform *s, hwaddr offset)
{
    uint64_t base = 0, size = 0;
    SdmPeerInfo peer;
    uint32_t word;

    sdm_port_peer(&s->port, s->peer_select, &peer);
    if (!sdm_port_region(&s->port, &base, &size)) {
        peer.window.size = 0;       /* it is nowhere in this guest's memory */
    }
    switch (offset) {
    case SDM_REG_PEER_STATE:
        return peer.state;
    case SDM_REG_PEER_MACHINE:
        return peer.machine;
    case SDM_REG_PEER_RAM_BASE ... SDM_REG_PEER_RAM_BASE + 4:
        return half(peer.ram_base, offset);
    case SDM_REG_PEER_RAM_SIZE ... SDM_REG_PEER_RAM_SIZE + 4:
        return half(peer.ram_size, offset);
    case SDM_REG_WINDOW_BASE ... SDM_REG_WINDOW_BASE + 4:
        return half(peer.window.size ? base + peer.window.offset : 0, offset);
    case SDM_REG_WINDOW_SIZE ... SDM_REG_WINDOW_SIZE + 4:
        return half(peer.window.size, offset);
    case SDM_REG_PEER_NAME ... SDM_REG_PEER_NAME + SDM_NAME_MAX:
        memcpy(&word, &peer.name[offset - SDM_REG_PEER_NAME], sizeof(word));
        return le32_to_cpu(word);
    }
    return 0;
}

static uint64_t mmio_read(void *opaque, hwaddr offset, unsigned size)
{
    SdmPlatform *s = opaque;
    struct sdm_signal rx = { 0 };
    uint64_t base = 0, bytes = 0;

    switch (offset) {
    case SDM_REG_INT_STATUS:
    case SDM_REG_RX_COUNT:
        rx_look(s);
        break;
    case SDM_REG_TX_STATUS:
        if (s->tx_status & SDM_TX_BUSY) {
            sdm_port_poll(&s->port);
        }
        break;
    }
    if (s->rx_count) {
        rx = s->rx[s->rx_head];
    }
    switch (offset) {
    case SDM_REG_MAGIC:
        return SDM_PLATFORM_MAGIC;
    case SDM_REG_VERSION:
        return SDM_PLATFORM_VERSION;
    case SDM_REG_DEVICE_ID:
        return sdm_port_id(&s->port);
    case SDM_REG_NUM_SLAVES:
        return sdm_port_num_slaves(&s->port);
    case SDM_REG_FEATURES:
        return s->port.features;
    case SDM_REG_INT_STATUS:
        return int_status(s);
    case SDM_REG_INT_ENABLE:
        return s->int_enable;
    case SDM_REG_REGION_BASE ... SDM_REG_REGION_BASE + 4:
        sdm_port_region(&s->port, &base, &bytes);
        return half(base, offset);
    case SDM_REG_REGION_SIZE ... SDM_REG_REGION_SIZE + 4:
        sdm_port_region(&s->port, &base, &bytes);
        return half(bytes, offset);
    case SDM_REG_TX_TYPE ... SDM_REG_TX_PAYLOAD + 12:
        return s->tx[(offset - SDM_REG_TX_TYPE) / 4];
    case SDM_REG_TX_STATUS:
        return s->tx_status;
    case SDM_REG_RX_COUNT:
        return s->rx_count;
    case SDM_REG_RX_TYPE:
        return sdm_from_le32(rx.type);
    case SDM_REG_RX_SOURCE:
        return sdm_from_le16(rx.source);
    case SDM_REG_RX_FLAGS:
        return sdm_from_le32(rx.flags);
    case SDM_REG_RX_PAYLOAD ... SDM_REG_RX_PAYLOAD + 12:
        return half(sdm_from_le64(rx.payload[(offset & 8) >> 3]), offset);
    case SDM_REG_RX_COOKIE:
        return sdm_from_le32(rx.cookie);
    case SDM_REG_PEER_SELECT:
        return s->peer_select;
    case SDM_REG_PEER_STATE ... SDM_REG_PEER_NAME + SDM_NAME_MAX:
        return read_peer(s, offset);
    }
    qemu_log_mask(LOG_GUEST_ERROR, TYPE_SDM_PLATFORM ": read of 0x%"
                  HWADDR_PRIx ": no such register\n", offset);
    return 0;
}

static void mmio_write(void *opaque, hwaddr offset, uint64_t value,
                       unsigned size)
{
    SdmPlatform *s = opaque;

    switch (offset) {
    case SDM_REG_INT_STATUS:
        s->int_status &= ~value;
        update_irq(s);
        return;
    case SDM_REG_INT_ENABLE:
        s->int_enable = value & SDM_INT_ALL;
        sdm_port_quiet(&s->port, !(value & SDM_INT_RX));
        update_irq(s);
        return;
    case SDM_REG_TX_TYPE ... SDM_REG_TX_PAYLOAD + 12:
        if (!(s->tx_status & SDM_TX_BUSY)) {
            s->tx[(offset - SDM_REG_TX_TYPE) / 4] = value;
        }
        return;
    case SDM_REG_TX_GO:
        if (!(s->tx_status & SDM_TX_BUSY)) {
            tx_try(s);
        }
        return;
    case SDM_REG_RX_POP:
        rx_pop(s);
        return;
    case SDM_REG_PEER_SELECT:
        s->peer_select = value;
        return;
    }
    qemu_log_mask(LOG_GUEST_ERROR, TYPE_SDM_PLATFORM ": write to 0x%"
                  HWADDR_PRIx ": no such register, or read-only\n", offset);
}

static const MemoryRegionOps mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
};

int sdm_platform_add_fdt_node(SysBusDevice *sbdev, void *fdt,
                              PlatformBusDevice *pbus, const char *bus_node,
                              int irq_start)
{
    uint64_t base = platform_bus_get_mmio_addr(pbus, sbdev, 0);
    int irq = platform_bus_get_irqn(pbus, sbdev, 0) + irq_start;
    g_autofree char *node = g_strdup_printf("%s/sdm@%" PRIx64, bus_node, base);

    qemu_fdt_add_subnode(fdt, node);
    qemu_fdt_setprop_string(fdt, node, "compatible", SDM_PLATFORM_COMPATIBLE);
    qemu_fdt_setprop_cells(fdt, node, "reg", base, SDM_PLATFORM_SIZE);
    /* GIC: a shared peripheral interrupt, level, active high. */
    qemu_fdt_setprop_cells(fdt, node, "interrupts", 0, irq, 4);
    /* A mailbox controller, if the guest wants one: docs/user/mailbox.rst */
    qemu_fdt_setprop_cell(fdt, node, "#mbox-cells", SDM_MBOX_CELLS);
    qemu_fdt_setprop_cell(fdt, node, "phandle", qemu_fdt_alloc_phandle(fdt));
    return 0;
}

static void sdm_platform_reset(DeviceState *dev)
{
    SdmPlatform *s = SDM_PLATFORM(dev);

    s->int_status = s->int_enable = s->peer_select = s->tx_status = 0;
    memset(s->tx, 0, sizeof(s->tx));
    s->tx_token = 0;
    s->rx_head = s->rx_count = 0;
    s->rx_stalled = false;
    sdm_port_reset(&s->port);
    sdm_port_quiet(&s->port, true);
    update_irq(s);
}

static void sdm_platform_realize(DeviceState *dev, Error **errp)
{
    SdmPlatform *s = SDM_PLATFORM(dev);

    if (!sdm_port_realize(&s->port, errp)) {
        return;
    }
    memory_region_init_io(&s->mmio, OBJECT(s), &mmio_ops, s,
                          TYPE_SDM_PLATFORM, SDM_PLATFORM_SIZE);
    sysbus_init_mmio(SYS_BUS_DEVICE(dev), &s->mmio);
    sysbus_init_irq(SYS_BUS_DEVICE(dev), &s->irq);
}

static void sdm_platform_unrealize(DeviceState *dev)
{
    sdm_port_unrealize(&SDM_PLATFORM(dev)->port);
}

static void sdm_platform_init(Object *obj)
{
    sdm_port_init(&SDM_PLATFORM(obj)->port, obj, &port_ops);
}

static void sdm_platform_finalize(Object *obj)
{
    sdm_port_finalize(&SDM_PLATFORM(obj)->port);
}

static int sdm_platform_post_load(void *opaque, int version_id)
{
    SdmPlatform *s = opaque;
    unsigned i;

    if (s->rx_head >= SDM_RX_SLOTS || s->rx_count > SDM_RX_SLOTS) {
        return -EINVAL;
    }
    for (i = 0; i < SDM_RX_SLOTS; i++) {
        if (sdm_from_le32(s->rx[i].type) >= SDM_SIGNAL_TYPES ||
            sdm_from_le16(s->rx[i].source) > SDM_MAX_SLAVES) {
            return -EINVAL;
        }
    }
    sdm_port_quiet(&s->port, !(s->int_enable & SDM_INT_RX));
    return 0;
}

static const VMStateDescription sdm_platform_vmstate = {
    .name = TYPE_SDM_PLATFORM,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = sdm_platform_post_load,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(int_status, SdmPlatform),
        VMSTATE_UINT32(int_enable, SdmPlatform),
        VMSTATE_UINT32(peer_select, SdmPlatform),
        VMSTATE_UINT32_ARRAY(tx, SdmPlatform, 8),
        VMSTATE_UINT32(tx_status, SdmPlatform),
        VMSTATE_UINT64(tx_token, SdmPlatform),
        VMSTATE_UINT64(tx_last, SdmPlatform),
        VMSTATE_BUFFER_UNSAFE(rx, SdmPlatform, 1,
                              SDM_RX_SLOTS * sizeof(struct sdm_signal)),
        VMSTATE_UINT32(rx_head, SdmPlatform),
        VMSTATE_UINT32(rx_count, SdmPlatform),
        VMSTATE_BOOL(rx_stalled, SdmPlatform),
        VMSTATE_STRUCT(port, SdmPlatform, 1, sdm_port_vmstate, SdmPort),
        VMSTATE_END_OF_LIST()
    },
};

static void sdm_platform_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->desc = "Signal Distribution Module (platform device)";
    dc->realize = sdm_platform_realize;
    dc->unrealize = sdm_platform_unrealize;
    dc->reset = sdm_platform_reset;
    dc->vmsd = &sdm_platform_vmstate;
    dc->user_creatable = true;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo sdm_platform_info = {
    .name = TYPE_SDM_PLATFORM,
    .parent = TYPE_SYS_BUS_DEVICE,
    .instance_size = sizeof(SdmPlatform),
    .instance_init = sdm_platform_init,
    .instance_finalize = sdm_platform_finalize,
    .class_init = sdm_platform_class_init,
};

static void sdm_platform_register(void)
{
    type_register_static(&sdm_platform_info);
}

type_init(sdm_platform_register);
