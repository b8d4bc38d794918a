/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text without stdio: the core builds the few messages that it sends to peers
 * with these, and every layer names statuses and states by them.
 */
#ifndef SDM_TEXT_H
#define SDM_TEXT_H

#include "sdm/signal.h"

/**
 * struct sdm_text - a 0-terminated text that is cut, never overrun
 * @len: bytes used, without the terminating 0
 */
struct sdm_text {
    size_t len;
    char buf[512];
};

/** sdm_text_init() - make @t the empty text. */
void sdm_text_init(struct sdm_text *t);

/** sdm_text_add() - append the 0-terminated @s. */
void sdm_text_add(struct sdm_text *t, const char *s);

/** sdm_text_add_u64() - append @v in decimal. */
void sdm_text_add_u64(struct sdm_text *t, uint64_t v);

/** sdm_text_add_hex() - append @v as 0x... without leading zeros. */
void sdm_text_add_hex(struct sdm_text *t, uint64_t v);

/** sdm_text_add_size() - append @v bytes as "512 MiB", "4 KiB" or "5 B". */
void sdm_text_add_size(struct sdm_text *t, uint64_t v);

/**
 * sdm_status_text() - a fixed English text for SDM_OK or SDM_ERR_*
 * @status: any value; unknown ones give "unknown status"
 */
const char *sdm_status_text(uint32_t status);

/** sdm_state_text() - "absent", "waiting", ... for SDM_STATE_*, else "?". */
const char *sdm_state_text(uint32_t state);

/** sdm_machine_text() - "arm", "aarch64" or "x86_64" for e_machine, else "?". */
const char *sdm_machine_text(uint32_t machine);

#endif /* SDM_TEXT_H */
