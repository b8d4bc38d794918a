/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share. A target takes its input apart with a cursor,
 * so that any bytes are a valid input: behind the end come zeros.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the target: the name of its corpus, and what libFuzzer and replay call. */
extern const char fuzz_name[];
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant; unlike assert() it also holds with NDEBUG. */
#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) {                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,  \
                    #condition);                                        \
            abort();                                                    \
        }                                                               \
    } while (0)

struct input {
    const uint8_t *at;
    size_t left;
};

static inline void input_bytes(struct input *in, void *out, size_t len)
{
    size_t n = len < in->left ? len : in->left;

    memset(out, 0, len);
    if (n) {
        memcpy(out, in->at, n);
    }
    in->at += n;
    in->left -= n;
}

static inline uint64_t input_number(struct input *in, size_t len)
{
    uint8_t bytes[8];
    uint64_t value = 0;

    input_bytes(in, bytes, len);
    while (len--) {
        value = value << 8 | bytes[len];
    }
    return value;
}

static inline uint8_t input_u8(struct input *in)
{
    return input_number(in, 1);
}

static inline uint16_t input_u16(struct input *in)
{
    return input_number(in, 2);
}

static inline uint32_t input_u32(struct input *in)
{
    return input_number(in, 4);
}

static inline uint64_t input_u64(struct input *in)
{
    return input_number(in, 8);
}

/* Up to @max bytes without a copy. */
static inline const uint8_t *input_rest(struct input *in, size_t max,
                                        size_t *len)
{
    const uint8_t *at = in->at;

    *len = max < in->left ? max : in->left;
    in->at += *len;
    in->left -= *len;
    return at;
}

#endif /* FUZZ_H */
