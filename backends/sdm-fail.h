/* SPDX-License-Identifier: BSD-2-Clause */
/* How the host layer reports an error: an errno and a text for people. */
#ifndef SDM_FAIL_H
#define SDM_FAIL_H

#include "sdm/sdm-text.h"

/**
 * sdm_fail() - return an error and say why
 * @why:   filled with the text, cut if too long; NULL: nobody wants it
 * @error: a positive errno
 *
 * Returns: -@error
 */
int sdm_fail(struct sdm_text *why, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * sdm_size() - @bytes as "512 MiB", for the arguments of sdm_fail()
 * @text: room for it
 *
 * Returns: the text's buffer
 */
const char *sdm_size(struct sdm_text *text, uint64_t bytes);

#endif /* SDM_FAIL_H */
