/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sdm-platform device for firmware without an operating system: nothing
 * but a C compiler is needed, and everything is in this header. Registers:
 * include/sdm/platform.h; what they mean: docs/specs/sdm-platform.rst.
 *
 * Where the device is stands in the device tree: the node is compatible with
 * "qemu-sdm,platform-1", its "reg" is the page of registers (below the "ranges"
 * of its bus), its "interrupts" a level-triggered one. Map the page as device
 * memory. Nothing here blocks but sdm_mmio_send(), and nothing locks: one
 * caller at a time, with the interrupt masked where its handler takes signals.
 *
 *     struct sdm_signal sig = { .type = 0, .target = SDM_ID_MASTER };
 *
 *     sdm_mmio_int_enable(base, SDM_INT_RX);
 *     if (sdm_mmio_send(base, &sig) != SDM_OK) ...
 *
 *     void handler(void)
 *     {
 *         while (sdm_mmio_take(base, &sig)) ...
 *     }
 */
#ifndef SDM_MMIO_H
#define SDM_MMIO_H

#include "sdm/platform.h"

static inline uint32_t sdm_mmio_read(uintptr_t base, uint32_t reg)
{
    return sdm_from_le32(*(volatile uint32_t *)(base + reg));
}

static inline void sdm_mmio_write(uintptr_t base, uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)(base + reg) = sdm_to_le32(value);
}

/** sdm_mmio_probe() - Returns: 1: our device, of a version that we know; 0 */
static inline int sdm_mmio_probe(uintptr_t base)
{
    return sdm_mmio_read(base, SDM_REG_MAGIC) == SDM_PLATFORM_MAGIC &&
           sdm_mmio_read(base, SDM_REG_VERSION) == SDM_PLATFORM_VERSION;
}

/** sdm_mmio_id() - our own id: 0 the master; ~0: not yet given */
static inline uint32_t sdm_mmio_id(uintptr_t base)
{
    return sdm_mmio_read(base, SDM_REG_DEVICE_ID);
}

/** sdm_mmio_peer_state() - Returns: SDM_STATE_* of peer @id */
static inline uint32_t sdm_mmio_peer_state(uintptr_t base, uint32_t id)
{
    sdm_mmio_write(base, SDM_REG_PEER_SELECT, id);
    return sdm_mmio_read(base, SDM_REG_PEER_STATE);
}

/**
 * sdm_mmio_int_enable() - choose what raises the interrupt
 * @mask: SDM_INT_*. Without SDM_INT_RX the device is polled: who sends wakes
 *        nobody here, and sdm_mmio_take() finds what has come
 */
static inline void sdm_mmio_int_enable(uintptr_t base, uint32_t mask)
{
    sdm_mmio_write(base, SDM_REG_INT_ENABLE, mask);
}

/**
 * sdm_mmio_int_ack() - what the interrupt is about, for its handler
 * Returns: SDM_INT_*. SDM_INT_TX and SDM_INT_PEER are cleared; SDM_INT_RX stays
 * until all signals are taken.
 */
static inline uint32_t sdm_mmio_int_ack(uintptr_t base)
{
    uint32_t status = sdm_mmio_read(base, SDM_REG_INT_STATUS);

    if (status & ~SDM_INT_RX) {
        sdm_mmio_write(base, SDM_REG_INT_STATUS, status & ~SDM_INT_RX);
    }
    return status;
}

/** sdm_mmio_status() - of the last send: SDM_TX_BUSY, SDM_OK or SDM_ERR_* */
static inline uint32_t sdm_mmio_status(uintptr_t base)
{
    return sdm_mmio_read(base, SDM_REG_TX_STATUS);
}

/**
 * sdm_mmio_start() - begin to send, do not wait
 * @sig: little-endian, as it travels; source is the device's to set
 *
 * Only while sdm_mmio_status() is not SDM_TX_BUSY: else the device ignores it.
 * BUSY lasts until the receiver's ring has room; with SDM_SIGNAL_F_ACK, until
 * the other guest has taken the signal. SDM_INT_TX tells when it is over.
 */
static inline void sdm_mmio_start(uintptr_t base, const struct sdm_signal *sig)
{
    uint64_t first = sdm_from_le64(sig->payload[0]);
    uint64_t second = sdm_from_le64(sig->payload[1]);

    sdm_mmio_write(base, SDM_REG_TX_TYPE, sdm_from_le32(sig->type));
    sdm_mmio_write(base, SDM_REG_TX_TARGET, sdm_from_le16(sig->target));
    sdm_mmio_write(base, SDM_REG_TX_FLAGS, sdm_from_le32(sig->flags));
    sdm_mmio_write(base, SDM_REG_TX_COOKIE, sdm_from_le32(sig->cookie));
    sdm_mmio_write(base, SDM_REG_TX_PAYLOAD, first);
    sdm_mmio_write(base, SDM_REG_TX_PAYLOAD + 4, first >> 32);
    sdm_mmio_write(base, SDM_REG_TX_PAYLOAD + 8, second);
    sdm_mmio_write(base, SDM_REG_TX_PAYLOAD + 12, second >> 32);
    sdm_mmio_write(base, SDM_REG_TX_GO, 1);
}

static inline void sdm_mmio_half(uintptr_t base, uint32_t reg, uint32_t now,
                                 uint32_t then)
{
    if (now != then) {
        sdm_mmio_write(base, reg, now);
    }
}

/**
 * sdm_mmio_start_after() - sdm_mmio_start(), with fewer accesses
 * @last: what was sent last, by any of these functions
 *
 * The device keeps the TX registers: what is as it was is not written again.
 */
static inline void sdm_mmio_start_after(uintptr_t base,
                                        const struct sdm_signal *sig,
                                        const struct sdm_signal *last)
{
    unsigned i;

    sdm_mmio_half(base, SDM_REG_TX_TYPE, sdm_from_le32(sig->type),
                  sdm_from_le32(last->type));
    sdm_mmio_half(base, SDM_REG_TX_TARGET, sdm_from_le16(sig->target),
                  sdm_from_le16(last->target));
    sdm_mmio_half(base, SDM_REG_TX_FLAGS, sdm_from_le32(sig->flags),
                  sdm_from_le32(last->flags));
    sdm_mmio_half(base, SDM_REG_TX_COOKIE, sdm_from_le32(sig->cookie),
                  sdm_from_le32(last->cookie));
    for (i = 0; i < 2; i++) {
        uint64_t now = sdm_from_le64(sig->payload[i]);
        uint64_t then = sdm_from_le64(last->payload[i]);
        uint32_t reg = SDM_REG_TX_PAYLOAD + 8 * i;

        sdm_mmio_half(base, reg, now, then);
        sdm_mmio_half(base, reg + 4, now >> 32, then >> 32);
    }
    sdm_mmio_write(base, SDM_REG_TX_GO, 1);
}

/** sdm_mmio_send() - send and wait for the end. Returns: SDM_OK, SDM_ERR_* */
static inline uint32_t sdm_mmio_send(uintptr_t base,
                                     const struct sdm_signal *sig)
{
    uint32_t status;

    while (sdm_mmio_status(base) & SDM_TX_BUSY) {
    }
    sdm_mmio_start(base, sig);
    do {
        status = sdm_mmio_status(base);
    } while (status & SDM_TX_BUSY);
    return status;
}

/**
 * sdm_mmio_waiting() - how many signals are there to be taken
 *
 * Polling the device is this: while it is 0 nothing else is asked.
 */
static inline uint32_t sdm_mmio_waiting(uintptr_t base)
{
    return sdm_mmio_read(base, SDM_REG_RX_COUNT);
}

/**
 * sdm_mmio_pop() - take the oldest of the signals that sdm_mmio_waiting() told
 * @sig: little-endian, as it travelled; its target is who we are
 */
static inline void sdm_mmio_pop(uintptr_t base, struct sdm_signal *sig)
{
    uint64_t first, second;

    first = sdm_mmio_read(base, SDM_REG_RX_PAYLOAD);
    first |= (uint64_t)sdm_mmio_read(base, SDM_REG_RX_PAYLOAD + 4) << 32;
    second = sdm_mmio_read(base, SDM_REG_RX_PAYLOAD + 8);
    second |= (uint64_t)sdm_mmio_read(base, SDM_REG_RX_PAYLOAD + 12) << 32;
    sig->type = sdm_to_le32(sdm_mmio_read(base, SDM_REG_RX_TYPE));
    sig->source = sdm_to_le16(sdm_mmio_read(base, SDM_REG_RX_SOURCE));
    sig->target = 0;
    sig->flags = sdm_to_le32(sdm_mmio_read(base, SDM_REG_RX_FLAGS));
    sig->cookie = sdm_to_le32(sdm_mmio_read(base, SDM_REG_RX_COOKIE));
    sig->payload[0] = sdm_to_le64(first);
    sig->payload[1] = sdm_to_le64(second);
    sdm_mmio_write(base, SDM_REG_RX_POP, 1);
}

/** sdm_mmio_take() - Returns: 1: the oldest signal is in @sig; 0: none waits */
static inline int sdm_mmio_take(uintptr_t base, struct sdm_signal *sig)
{
    if (!sdm_mmio_waiting(base)) {
        return 0;
    }
    sdm_mmio_pop(base, sig);
    return 1;
}

#endif /* SDM_MMIO_H */
