/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mailbox controller of the Linux guest driver: what the device tree and
 * the clients know of it. Manual: docs/user/mailbox.rst
 */
#ifndef SDM_MAILBOX_H
#define SDM_MAILBOX_H

#include "base.h"

/* mboxes = <&controller PEER TYPE FLAGS>; */
#define SDM_MBOX_CELLS     3u
#define SDM_MBOX_DOORBELL  (1u << 0)    /* a message has no content */

/**
 * struct sdm_mbox_message - what mbox_send_message() and the receive callback
 * point to, unless it is a doorbell
 * @payload: of the signal, native byte order
 */
struct sdm_mbox_message {
    uint64_t payload[2];
};
SDM_ASSERT_SIZE(struct sdm_mbox_message, 16);

#endif /* SDM_MAILBOX_H */
