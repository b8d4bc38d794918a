/* SPDX-License-Identifier: BSD-2-Clause */
/* Window arithmetic: pieces of the master's memory, in bytes. */
#ifndef SDM_WINDOW_H
#define SDM_WINDOW_H

#include "sdm/signal.h"

struct sdm_window {
    uint64_t offset;    /* from the start of the master's memory */
    uint64_t size;      /* 0: none */
};

/**
 * sdm_window_check() - may @w be mapped?
 * @w:        offset and size asked for; any values
 * @memory:   size of the master's memory
 * @page:     its page size, a power of two
 *
 * Returns: 0; -EINVAL: size 0; -ERANGE: unaligned offset or size;
 * -EFBIG: not inside the memory (without overflow).
 */
int sdm_window_check(const struct sdm_window *w, uint64_t memory,
                     uint64_t page);

/** sdm_window_overlaps() - 1 if the two share a byte; size 0 shares none. */
int sdm_window_overlaps(const struct sdm_window *a, const struct sdm_window *b);

/**
 * sdm_windows_layout() - place windows= from the top of the memory down
 * @sizes: sizes of windows 1..@n, bytes
 * @n:     1..SDM_MAX_SLAVES
 * @memory, @page: as above
 * @out:   @n windows; window 1 is the highest. Untouched on error
 * @bad:   on error, the index (from 0) of the size that is at fault
 *
 * Returns: 0; -EINVAL: a size is 0 or @n is out of range; -ERANGE: a size is
 * no multiple of @page; -EFBIG: they leave no page of memory to the master.
 */
int sdm_windows_layout(const uint64_t *sizes, unsigned n, uint64_t memory,
                       uint64_t page, struct sdm_window *out, unsigned *bad);

#endif /* SDM_WINDOW_H */
