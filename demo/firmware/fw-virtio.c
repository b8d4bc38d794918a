/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals through virtio-sdm-device: a virtio-mmio driver of two queues, for
 * version 2 of the transport (-global virtio-mmio.force-legacy=false).
 *
 * Each buffer of the receiveq has one descriptor, each of the sendq two, and
 * they never change: only their order in the rings does.
 */
#include "fw.h"
#include "sdm/virtio_sdm.h"

#define REG_MAGIC        0x000u
#define REG_VERSION      0x004u
#define REG_DEVICE       0x008u
#define REG_FEATURES     0x010u
#define REG_FEATURES_SEL 0x014u
#define REG_DRIVER       0x020u
#define REG_DRIVER_SEL   0x024u
#define REG_QUEUE_SEL    0x030u
#define REG_QUEUE_MAX    0x034u
#define REG_QUEUE_NUM    0x038u
#define REG_QUEUE_READY  0x044u
#define REG_NOTIFY       0x050u
#define REG_INT_STATUS   0x060u
#define REG_INT_ACK      0x064u
#define REG_STATUS       0x070u
#define REG_QUEUE_DESC   0x080u
#define REG_QUEUE_DRIVER 0x090u
#define REG_QUEUE_DEVICE 0x0a0u
#define REG_CONFIG       0x100u

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u

#define SIZE        VIRTIO_SDM_QUEUE_SIZE
#define SEND_SLOTS  (SIZE / 2)
#define DESC_NEXT   1u
#define DESC_WRITE  2u
#define NO_KICK     1u      /* used.flags: the device looks anyway */
#define NO_INT      1u      /* avail.flags */

struct queue {
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags;
        uint16_t next;
    } desc[SIZE] __attribute__((aligned(64)));
    struct {
        uint16_t flags;
        uint16_t idx;
        uint16_t ring[SIZE];
    } avail __attribute__((aligned(64)));
    struct {
        uint16_t flags;
        uint16_t idx;
        struct {
            uint32_t id;
            uint32_t len;
        } ring[SIZE];
    } used __attribute__((aligned(64)));
};

static volatile struct queue queues[VIRTIO_SDM_QUEUES];
static volatile struct sdm_signal received[SIZE];
static struct sdm_signal sent[SEND_SLOTS];
static volatile struct virtio_sdm_status statuses[SEND_SLOTS];
static uint16_t seen[VIRTIO_SDM_QUEUES];    /* used.idx, as far as looked at */
static uint16_t free_slots[SEND_SLOTS];
static uint32_t nfree;
static uintptr_t base;
static int listening;

static volatile uint32_t *reg(uint32_t offset)
{
    return (volatile uint32_t *)(base + offset);
}

static void kick(uint32_t queue)
{
    fw_dmb();
    if (!(queues[queue].used.flags & NO_KICK)) {
        *reg(REG_NOTIFY) = queue;
    }
}

static void drain(void)
{
    volatile struct queue *q = &queues[VIRTIO_SDM_QUEUE_RECV];
    uint16_t *at = &seen[VIRTIO_SDM_QUEUE_RECV];
    struct sdm_signal sig;

    for (;;) {
        if (*at == q->used.idx) {
            q->avail.flags = listening ? 0 : NO_INT;
            fw_dmb();
            if (*at == q->used.idx) {
                return;
            }
        }
        q->avail.flags = NO_INT;
        fw_dmb();
        while (*at != q->used.idx) {
            uint16_t slot = q->used.ring[*at % SIZE].id;

            ++*at;
            sig = received[slot];
            q->avail.ring[q->avail.idx % SIZE] = slot;
            fw_dmb();
            q->avail.idx++;
            fw_take(&sig);
        }
        kick(VIRTIO_SDM_QUEUE_RECV);
    }
}

static void reclaim(void)
{
    volatile struct queue *q = &queues[VIRTIO_SDM_QUEUE_SEND];
    uint16_t *at = &seen[VIRTIO_SDM_QUEUE_SEND];

    while (*at != q->used.idx) {
        uint16_t slot = q->used.ring[*at % SIZE].id / 2;

        fw_dmb();
        ++*at;
        if (statuses[slot].status != sdm_to_le32(SDM_OK)) {
            fw_refused++;
        }
        free_slots[nfree++] = slot;
    }
}

/*
 * The interrupt is an edge: a second reason that comes up before the first is
 * acknowledged keeps the line high, and there would never be another edge.
 */
static void handler(void)
{
    uint32_t status;

    while ((status = *reg(REG_INT_STATUS))) {
        *reg(REG_INT_ACK) = status;
    }
    drain();
    fw_event = 1;
}

static void put_address(uint32_t offset, volatile void *p)
{
    *reg(offset) = (uintptr_t)p;
    *reg(offset + 4) = (uint64_t)(uintptr_t)p >> 32;
}

static void set_up(void)
{
    volatile struct queue *recv = &queues[VIRTIO_SDM_QUEUE_RECV];
    volatile struct queue *send = &queues[VIRTIO_SDM_QUEUE_SEND];
    uint32_t i;

    *reg(REG_STATUS) = 0;
    *reg(REG_STATUS) = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    *reg(REG_FEATURES_SEL) = 0;
    *reg(REG_DRIVER_SEL) = 0;
    *reg(REG_DRIVER) = *reg(REG_FEATURES) & ((1u << SDM_SIGNAL_TYPES) - 1);
    *reg(REG_DRIVER_SEL) = 1;
    *reg(REG_DRIVER) = 1;                   /* VIRTIO_F_VERSION_1 */
    *reg(REG_STATUS) = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;

    memset((void *)queues, 0, sizeof(queues));
    seen[0] = seen[1] = 0;
    for (i = 0; i < SIZE; i++) {
        recv->desc[i].addr = (uintptr_t)&received[i];
        recv->desc[i].len = sizeof(received[i]);
        recv->desc[i].flags = DESC_WRITE;
        recv->avail.ring[i] = i;
    }
    recv->avail.idx = SIZE;
    nfree = 0;
    for (i = 0; i < SEND_SLOTS; i++) {
        send->desc[2 * i].addr = (uintptr_t)&sent[i];
        send->desc[2 * i].len = sizeof(sent[i]);
        send->desc[2 * i].flags = DESC_NEXT;
        send->desc[2 * i].next = 2 * i + 1;
        send->desc[2 * i + 1].addr = (uintptr_t)&statuses[i];
        send->desc[2 * i + 1].len = sizeof(statuses[i]);
        send->desc[2 * i + 1].flags = DESC_WRITE;
        free_slots[nfree++] = i;
    }
    send->avail.flags = NO_INT;
    for (i = 0; i < VIRTIO_SDM_QUEUES; i++) {
        *reg(REG_QUEUE_SEL) = i;
        *reg(REG_QUEUE_NUM) = SIZE;
        put_address(REG_QUEUE_DESC, queues[i].desc);
        put_address(REG_QUEUE_DRIVER, &queues[i].avail);
        put_address(REG_QUEUE_DEVICE, &queues[i].used);
        *reg(REG_QUEUE_READY) = 1;
    }
    fw_dmb();
    *reg(REG_STATUS) = STATUS_ACKNOWLEDGE | STATUS_DRIVER |
                       STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    kick(VIRTIO_SDM_QUEUE_RECV);
}

static int open(void)
{
    struct fw_node node;
    unsigned i;

    for (i = 0; fw_fdt_find("virtio,mmio", i, &node); i++) {
        base = fw_wire_base = node.base[0];
        if (*reg(REG_MAGIC) == 0x74726976 && *reg(REG_VERSION) == 2 &&
            *reg(REG_DEVICE) == VIRTIO_ID_SDM) {
            /* First: an edge that comes while nobody looks comes once. */
            fw_irq_on(node.intid, node.edge, handler);
            set_up();
            return 1;
        }
    }
    return 0;
}

static uint32_t id(void)
{
    return *reg(REG_CONFIG + offsetof(struct virtio_sdm_config, device_id));
}

static void listen(int on)
{
    listening = on;
    fw_irq_mask();
    drain();
    fw_irq_unmask();
}

/* An interrupt for the sendq is asked for only while it is full. */
static uint32_t send(const struct sdm_signal *sigs, uint32_t n)
{
    volatile struct queue *q = &queues[VIRTIO_SDM_QUEUE_SEND];
    uint32_t i;

    reclaim();
    if (!nfree && listening) {
        q->avail.flags = 0;
        fw_dmb();
        reclaim();
    }
    if (nfree) {
        q->avail.flags = NO_INT;
    }
    for (i = 0; i < n && nfree; i++) {
        uint16_t slot = free_slots[--nfree];

        sent[slot] = sigs[i];
        q->avail.ring[(uint16_t)(q->avail.idx + i) % SIZE] = 2 * slot;
    }
    if (i) {
        fw_dmb();
        q->avail.idx += i;
        kick(VIRTIO_SDM_QUEUE_SEND);
    }
    return i;
}

static int settle(void)
{
    reclaim();
    return nfree == SEND_SLOTS;
}

const struct fw_wire fw_wire_virtio = {
    "virtio-sdm", open, id, listen, drain, send, settle,
};
