/* SPDX-License-Identifier: BSD-2-Clause */
#include "sdm/sdm-window.h"

#include <errno.h>

int sdm_window_check(const struct sdm_window *w, uint64_t memory,
                     uint64_t page)
{
    if (w->size == 0) {
        return -EINVAL;
    }
    if ((w->offset | w->size) & (page - 1)) {
        return -ERANGE;
    }
    if (w->size > memory || w->offset > memory - w->size) {
        return -EFBIG;
    }
    return 0;
}

int sdm_window_overlaps(const struct sdm_window *a, const struct sdm_window *b)
{
    const struct sdm_window *low = a->offset <= b->offset ? a : b;
    const struct sdm_window *high = low == a ? b : a;

    /* A distance cannot overflow, an end could. */
    return low->size && high->size && high->offset - low->offset < low->size;
}

int sdm_windows_layout(const uint64_t *sizes, unsigned n, uint64_t memory,
                       uint64_t page, struct sdm_window *out, unsigned *bad)
{
    uint64_t top = memory & ~(page - 1);
    uint64_t left = top;
    unsigned i;

    if (n == 0 || n > SDM_MAX_SLAVES) {
        *bad = 0;
        return -EINVAL;
    }
    for (i = 0; i < n; i++) {
        int err = 0;

        if (sizes[i] == 0) {
            err = -EINVAL;
        } else if (sizes[i] & (page - 1)) {
            err = -ERANGE;
        } else if (sizes[i] >= left) {
            err = -EFBIG;
        }
        if (err) {
            *bad = i;
            return err;
        }
        left -= sizes[i];
    }
    for (i = 0; i < n; i++) {
        top -= sizes[i];
        out[i].offset = top;
        out[i].size = sizes[i];
    }
    return 0;
}
