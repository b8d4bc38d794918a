/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "backends/sdm-fail.h"

int sdm_fail(struct sdm_text *why, int error, const char *format, ...)
{
    va_list args;

    if (why) {
        va_start(args, format);
        vsnprintf(why->buf, sizeof(why->buf), format, args);
        va_end(args);
        why->len = strlen(why->buf);
    }
    return -error;
}

const char *sdm_size(struct sdm_text *text, uint64_t bytes)
{
    sdm_text_init(text);
    sdm_text_add_size(text, bytes);
    return text->buf;
}
