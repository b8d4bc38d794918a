/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/sdm-life.h"

#include <errno.h>

#include "sdm/wire.h"

/* A transition is stored as state + 1, so that what is left out is "never". */
#define TO(state)  (SDM_STATE_##state + 1)

/*
 * What a state message may say more than the picture in the header shows:
 * - anything in waiting: a slave that ran under a master before, and tells the
 *   new one, which took it for waiting when it joined;
 * - a state again: it crosses with an answer that says the same, or goes
 *   before the answer to BOOT;
 * - running out of stopped or crashed: the slave's own monitor let it go on;
 * - stopped in crashed: a STOP that crosses with a panic; crashed says more;
 * - waiting in booting: a RESET after a BOOT whose time was up.
 */
static const uint8_t next[SDM_STATES][SDM_LIFE_EVENTS] = {
    [SDM_STATE_ABSENT] = {
        [SDM_LIFE_JOIN] = TO(WAITING),
    },
    [SDM_STATE_WAITING] = {
        [SDM_LIFE_BOOT] = TO(BOOTING),
        [SDM_LIFE_BOOT_FAILED] = TO(WAITING),
        [SDM_LIFE_SAID_WAITING] = TO(WAITING),
        [SDM_LIFE_SAID_RUNNING] = TO(RUNNING),
        [SDM_LIFE_SAID_STOPPED] = TO(STOPPED),
        [SDM_LIFE_SAID_CRASHED] = TO(CRASHED),
        [SDM_LIFE_LOST] = TO(ABSENT),
    },
    [SDM_STATE_BOOTING] = {
        [SDM_LIFE_BOOT_OK] = TO(RUNNING),
        [SDM_LIFE_BOOT_FAILED] = TO(WAITING),
        [SDM_LIFE_SAID_WAITING] = TO(WAITING),
        [SDM_LIFE_SAID_RUNNING] = TO(RUNNING),
        [SDM_LIFE_LOST] = TO(ABSENT),
    },
    [SDM_STATE_RUNNING] = {
        [SDM_LIFE_BOOT_OK] = TO(RUNNING),
        [SDM_LIFE_SAID_WAITING] = TO(WAITING),
        [SDM_LIFE_SAID_RUNNING] = TO(RUNNING),
        [SDM_LIFE_SAID_STOPPED] = TO(STOPPED),
        [SDM_LIFE_SAID_CRASHED] = TO(CRASHED),
        [SDM_LIFE_LOST] = TO(ABSENT),
    },
    [SDM_STATE_STOPPED] = {
        [SDM_LIFE_SAID_WAITING] = TO(WAITING),
        [SDM_LIFE_SAID_RUNNING] = TO(RUNNING),
        [SDM_LIFE_SAID_STOPPED] = TO(STOPPED),
        [SDM_LIFE_LOST] = TO(ABSENT),
    },
    [SDM_STATE_CRASHED] = {
        [SDM_LIFE_SAID_WAITING] = TO(WAITING),
        [SDM_LIFE_SAID_RUNNING] = TO(RUNNING),
        [SDM_LIFE_SAID_STOPPED] = TO(CRASHED),
        [SDM_LIFE_SAID_CRASHED] = TO(CRASHED),
        [SDM_LIFE_LOST] = TO(ABSENT),
    },
};

int sdm_life_next(uint32_t state, enum sdm_life_event event)
{
    if (state >= SDM_STATES || (unsigned)event >= SDM_LIFE_EVENTS ||
        next[state][event] == 0) {
        return -EPROTO;
    }
    return next[state][event] - 1;
}

uint32_t sdm_life_may(uint32_t state, uint16_t request)
{
    int may = 0;

    if (state == SDM_STATE_ABSENT || state >= SDM_STATES) {
        return SDM_ERR_NO_PEER;
    }
    switch (request) {
    case SDM_WIRE_BOOT:
        may = state == SDM_STATE_WAITING;
        break;
    case SDM_WIRE_RESET:
        may = state != SDM_STATE_WAITING;
        break;
    case SDM_WIRE_STOP:
        may = state == SDM_STATE_RUNNING;
        break;
    case SDM_WIRE_GET_DTB:
        may = 1;
        break;
    }
    return may ? SDM_OK : SDM_ERR_STATE;
}
