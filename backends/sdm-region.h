/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory of a master: one mapping, one or several fds behind it. And the
 * address space that a slave reserves until a window is mapped over it.
 * Errors are -errno plus a text that names the value and the remedy.
 */
#ifndef SDM_REGION_H
#define SDM_REGION_H

#include "sdm/sdm-text.h"
#include "sdm/sdm-window.h"

/**
 * struct sdm_region_config - what the user asked for
 * @size:     bytes
 * @mem_path: directory (hugetlbfs, /dev/shm or any tmpfs) in which unlinked
 *            files are made, or a file, which is made if missing and kept; or
 *            NULL: sealed memfds
 * @hugetlbsize: bytes of a huge page; 0: base pages, or what @mem_path has
 * @seal:     0: do not use memfds: without @mem_path and with @hugetlbsize,
 *            the hugetlbfs mount for that size is found by libhugetlbfs
 * @windows, @nwindows: sizes of the windows, from the top down; 0: none.
 *            Not with @mem_path naming a file
 */
struct sdm_region_config {
    uint64_t size;
    const char *mem_path;
    uint64_t hugetlbsize;
    int seal;
    const uint64_t *windows;
    unsigned nwindows;
};

/** struct sdm_segment - one fd and the part of the mapping that it backs. */
struct sdm_segment {
    int fd;
    uint64_t offset;
    uint64_t size;
};

/**
 * struct sdm_region - a mapped region
 * @addr:     page-aligned (huge page where used), PROT_READ|PROT_WRITE, shared
 * @page_size: bytes of a page behind it
 * @sealed:   1: every fd is sealed against shrinking and growing
 * @segments: [0] is the master's own part (all of it without windows);
 *            [i] with windows: window i
 */
struct sdm_region {
    void *addr;
    uint64_t size;
    uint64_t page_size;
    int sealed;
    unsigned nsegments;
    struct sdm_segment segments[SDM_MAX_SLAVES + 1];
    struct sdm_window windows[SDM_MAX_SLAVES];
    unsigned nwindows;
};

/**
 * sdm_region_create() - make and map it
 * Returns: 0; -EINVAL: sizes (see @why); -ENOENT: no such path or no hugetlbfs
 * mount; -EMEDIUMTYPE: @mem_path is not hugetlbfs though @hugetlbsize is given,
 * or has another page size; -ENOMEM: too few huge pages (@why: how many are
 * missing and how to reserve them); others. Nothing is left behind on error.
 */
int sdm_region_create(struct sdm_region *region,
                      const struct sdm_region_config *config,
                      struct sdm_text *why);

/** sdm_region_destroy() - unmap, close; files made in a directory are gone. */
void sdm_region_destroy(struct sdm_region *region);

/**
 * sdm_reserve() - address space with nothing in it (PROT_NONE, no swap)
 * @align: of the address, a power of two
 * Returns: the address, or NULL with errno
 */
void *sdm_reserve(uint64_t size, uint64_t align);

/**
 * sdm_reserve_map() - map @size bytes at @offset of @fd over it
 * Returns: 0 or -errno; on error the reservation is as before
 */
int sdm_reserve_map(void *addr, uint64_t size, int fd, uint64_t offset);

/** sdm_reserve_unmap() - back to nothing; Returns: 0 or -errno. */
int sdm_reserve_unmap(void *addr, uint64_t size);

/**
 * sdm_fd_check() - is @fd what a peer says it is?
 * @size: it must hold at least so many bytes
 * @seals: F_SEAL_* bits that it must have; 0: none are asked
 * @page_size: out, may be NULL: its block size (huge page size on hugetlbfs)
 * Returns: 0; -EBADF; -EFBIG: too small; -EPERM: not sealed so
 */
int sdm_fd_check(int fd, uint64_t size, int seals, uint64_t *page_size);

/**
 * sdm_memfd() - a memfd with @size bytes of @data (NULL: zeros), sealed against
 * shrinking and growing, and with @seal_write against writing. Returns: fd or -errno
 */
int sdm_memfd(const char *name, const void *data, uint64_t size,
              int seal_write);

/**
 * sdm_hugepages_missing() - how many pages of @page_size bytes are lacking for
 * @need bytes, by the kernel's own free and reserved counts; 0: enough or unknown
 */
uint64_t sdm_hugepages_missing(uint64_t page_size, uint64_t need);

#endif /* SDM_REGION_H */
