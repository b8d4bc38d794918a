/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lifecycle of a slave as its master sees it (docs/specs/lifecycle.rst):
 *
 *   absent -> waiting -> booting -> running -> stopped or crashed -> waiting
 *
 * and from every state to absent when the peer is lost. Said again, a state
 * stays. A slave's own monitor may let it run on: stopped or crashed ->
 * running. A STOP that crosses with a panic leaves it crashed.
 */
#ifndef SDM_LIFE_H
#define SDM_LIFE_H

#include "sdm/signal.h"

enum sdm_life_event {
    SDM_LIFE_JOIN,          /* admitted */
    SDM_LIFE_BOOT,          /* BOOT was sent */
    SDM_LIFE_BOOT_OK,       /* and answered with SDM_OK */
    SDM_LIFE_BOOT_FAILED,   /* or with an error: it still waits */
    SDM_LIFE_SAID_WAITING,  /* STATE messages */
    SDM_LIFE_SAID_RUNNING,
    SDM_LIFE_SAID_STOPPED,
    SDM_LIFE_SAID_CRASHED,
    SDM_LIFE_LOST,
    SDM_LIFE_EVENTS,
};

/**
 * sdm_life_next() - the state after an event
 * Returns: SDM_STATE_*, or -EPROTO if @event cannot happen in @state (a peer
 * that says so is at fault).
 */
int sdm_life_next(uint32_t state, enum sdm_life_event event);

/**
 * sdm_life_may() - may this request be sent in this state?
 * @request: SDM_WIRE_BOOT (waiting only), _RESET (booting, running, stopped,
 *           crashed), _STOP (running), _GET_DTB (all but absent)
 * Returns: SDM_OK, SDM_ERR_NO_PEER (absent) or SDM_ERR_STATE.
 */
uint32_t sdm_life_may(uint32_t state, uint16_t request);

#endif /* SDM_LIFE_H */
