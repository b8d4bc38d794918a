/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sdm-platform device: one page of 32-bit little-endian registers and one
 * level interrupt. Specification: docs/specs/sdm-platform.rst
 * Device tree: compatible = "qemu-sdm,platform-1".
 */
#ifndef SDM_PLATFORM_H
#define SDM_PLATFORM_H

#include "signal.h"

#define SDM_PLATFORM_COMPATIBLE "qemu-sdm,platform-1"
#define SDM_PLATFORM_SIZE   0x1000
#define SDM_PLATFORM_MAGIC  0x504d4453u     /* "SDMP" */
#define SDM_PLATFORM_VERSION 1u

/* Registers: offset, access, value after reset. All accesses are 32 bits. */
#define SDM_REG_MAGIC         0x000 /* ro SDM_PLATFORM_MAGIC */
#define SDM_REG_VERSION       0x004 /* ro 1 */
#define SDM_REG_DEVICE_ID     0x008 /* ro own id; ~0 not yet given */
#define SDM_REG_NUM_SLAVES    0x00c /* ro highest slave id */
#define SDM_REG_FEATURES      0x010 /* ro bit N: signal type N offered */
#define SDM_REG_INT_STATUS    0x014 /* rw1c SDM_INT_*; 0 */
#define SDM_REG_INT_ENABLE    0x018 /* rw SDM_INT_*; 0 */
#define SDM_REG_REGION_BASE   0x020 /* ro 64 bits, low word first */
#define SDM_REG_REGION_SIZE   0x028 /* ro 64 bits */

/* Sending: fill in, then write TX_GO; one signal at a time. */
#define SDM_REG_TX_TYPE       0x040 /* rw */
#define SDM_REG_TX_TARGET     0x044 /* rw */
#define SDM_REG_TX_FLAGS      0x048 /* rw */
#define SDM_REG_TX_COOKIE     0x04c /* rw */
#define SDM_REG_TX_PAYLOAD    0x050 /* rw two 64-bit words, low half first */
#define SDM_REG_TX_GO         0x060 /* wo any value sends; ignored if BUSY */
#define SDM_REG_TX_STATUS     0x064 /* ro SDM_TX_BUSY | SDM_OK or SDM_ERR_* */

/* Receiving: the oldest signal; RX_POP takes it away. */
#define SDM_REG_RX_COUNT      0x080 /* ro signals waiting; 0 */
#define SDM_REG_RX_TYPE       0x084 /* ro */
#define SDM_REG_RX_SOURCE     0x088 /* ro */
#define SDM_REG_RX_FLAGS      0x08c /* ro */
#define SDM_REG_RX_PAYLOAD    0x090 /* ro two 64-bit words */
#define SDM_REG_RX_COOKIE     0x0a0 /* ro */
#define SDM_REG_RX_POP        0x0a4 /* wo */

/* Peers: write the id to PEER_SELECT, read the rest. */
#define SDM_REG_PEER_SELECT   0x0c0 /* rw */
#define SDM_REG_PEER_STATE    0x0c4 /* ro SDM_STATE_* */
#define SDM_REG_PEER_MACHINE  0x0c8 /* ro ELF e_machine */
#define SDM_REG_PEER_RAM_BASE 0x0d0 /* ro 64 bits */
#define SDM_REG_PEER_RAM_SIZE 0x0d8 /* ro 64 bits */
#define SDM_REG_WINDOW_BASE   0x0e0 /* ro 64 bits, guest-physical here */
#define SDM_REG_WINDOW_SIZE   0x0e8 /* ro 64 bits, 0 where not fixed */
#define SDM_REG_PEER_NAME     0x100 /* ro 32 bytes */

#define SDM_INT_RX      (1u << 0)   /* a signal waits; level, follows RX_COUNT */
#define SDM_INT_TX      (1u << 1)   /* TX_STATUS left BUSY */
#define SDM_INT_PEER    (1u << 2)   /* a peer's state changed */
#define SDM_INT_ALL     0x7u

#define SDM_TX_BUSY     (1u << 31)
#define SDM_RX_SLOTS    64u         /* signals that the device holds */

#endif /* SDM_PLATFORM_H */
