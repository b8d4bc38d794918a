/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/boot.h"
#include "sdm/sdm-text.h"

#include <string.h>

void sdm_text_init(struct sdm_text *t)
{
    t->len = 0;
    t->buf[0] = 0;
}

void sdm_text_add(struct sdm_text *t, const char *s)
{
    size_t room = sizeof(t->buf) - 1 - t->len;
    size_t n = strlen(s);

    if (n > room) {
        n = room;
    }
    memcpy(t->buf + t->len, s, n);
    t->len += n;
    t->buf[t->len] = 0;
}

static void add_number(struct sdm_text *t, uint64_t v, unsigned base)
{
    char digits[21];            /* 2^64 - 1 has 20 decimal digits */
    char *p = digits + sizeof(digits) - 1;

    *p = 0;
    do {
        *--p = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    sdm_text_add(t, p);
}

void sdm_text_add_u64(struct sdm_text *t, uint64_t v)
{
    add_number(t, v, 10);
}

void sdm_text_add_hex(struct sdm_text *t, uint64_t v)
{
    sdm_text_add(t, "0x");
    add_number(t, v, 16);
}

void sdm_text_add_size(struct sdm_text *t, uint64_t v)
{
    static const char *const units[] = {
        " B", " KiB", " MiB", " GiB", " TiB",
    };
    unsigned unit = 0;

    /* Only what divides evenly: a size in an error must be exact. */
    while (v && v % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(*units)) {
        v /= 1024;
        unit++;
    }
    add_number(t, v, 10);
    sdm_text_add(t, units[unit]);
}

const char *sdm_status_text(uint32_t status)
{
    static const char *const texts[SDM_ERRS] = {
        [SDM_OK] = "ok",
        [SDM_ERR_INVAL] = "malformed",
        [SDM_ERR_NO_PEER] = "no such peer",
        [SDM_ERR_STATE] = "not possible in this state of the peer",
        [SDM_ERR_UNSUPPORTED] = "signal type not offered",
        [SDM_ERR_WINDOW] = "bad window",
        [SDM_ERR_RECORD] = "no valid boot record",
        [SDM_ERR_ISA] = "wrong instruction set",
        [SDM_ERR_MEMORY] = "memory could not be mapped",
        [SDM_ERR_BUSY] = "busy, try again",
        [SDM_ERR_GONE] = "peer lost",
        [SDM_ERR_TIMEOUT] = "no answer in time",
        [SDM_ERR_VERSION] = "no protocol version in common",
        [SDM_ERR_ID] = "id not available",
        [SDM_ERR_DENIED] = "not allowed to this peer",
        [SDM_ERR_INTERNAL] = "internal error",
    };

    return status < SDM_ERRS ? texts[status] : "unknown status";
}

const char *sdm_state_text(uint32_t state)
{
    static const char *const texts[SDM_STATES] = {
        [SDM_STATE_ABSENT] = "absent",
        [SDM_STATE_WAITING] = "waiting",
        [SDM_STATE_BOOTING] = "booting",
        [SDM_STATE_RUNNING] = "running",
        [SDM_STATE_STOPPED] = "stopped",
        [SDM_STATE_CRASHED] = "crashed",
    };

    return state < SDM_STATES ? texts[state] : "?";
}

const char *sdm_machine_text(uint32_t machine)
{
    switch (machine) {
    case SDM_EM_ARM:
        return "arm";
    case SDM_EM_X86_64:
        return "x86_64";
    case SDM_EM_AARCH64:
        return "aarch64";
    default:
        return "?";
    }
}
