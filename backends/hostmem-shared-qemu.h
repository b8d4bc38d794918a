/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory-backend-shared: a master's memory, handed to slaves over a
 * multi-socket-backend; or a slave's, address space with nothing in it until a
 * window is mapped over it.
 *
 * Both sides run true atomics: see sdm_tcg_share_ram() in backends/sdm-tcg-qemu.h.
 */
#ifndef HOSTMEM_SHARED_QEMU_H
#define HOSTMEM_SHARED_QEMU_H

#include "sysemu/hostmem.h"
#include "backends/multi-socket-qemu.h"
#include "backends/sdm-region.h"

#define TYPE_MEMORY_BACKEND_SHARED "memory-backend-shared"
OBJECT_DECLARE_SIMPLE_TYPE(HostMemoryBackendShared, MEMORY_BACKEND_SHARED)

/**
 * hostmem_shared_find() - resolve an id, such as shm=ID or shared:ID
 * @owner: who asks, for the message
 * Returns: the backend (no reference taken), or NULL with @errp
 */
HostMemoryBackendShared *hostmem_shared_find(const char *id, const char *owner,
                                             Error **errp);

/** hostmem_shared_of() - the backend attached to this socket, or NULL. */
HostMemoryBackendShared *hostmem_shared_of(MultiSocket *s);

/** hostmem_shared_slave() - the slave's backend of this QEMU, or NULL. */
HostMemoryBackendShared *hostmem_shared_slave(void);

bool hostmem_shared_is_master(const HostMemoryBackendShared *m);
MultiSocket *hostmem_shared_socket(HostMemoryBackendShared *m);
uint64_t hostmem_shared_size(HostMemoryBackendShared *m);
uint64_t hostmem_shared_page_size(HostMemoryBackendShared *m);

/** hostmem_shared_windows() - master: number of windows=; @w may be NULL. */
unsigned hostmem_shared_windows(HostMemoryBackendShared *m,
                                const struct sdm_window **w);

/**
 * hostmem_shared_base() - where the guest sees it
 * Returns: false if it is not (or not at one place) in the guest's memory
 */
bool hostmem_shared_base(HostMemoryBackendShared *m, uint64_t *base);

/** hostmem_shared_host() - its host address; a slave's: only while mapped. */
void *hostmem_shared_host(HostMemoryBackendShared *m);

/**
 * hostmem_shared_map() - slave: map a window and let the guest see it
 * Returns: SDM_OK; SDM_ERR_WINDOW, SDM_ERR_MEMORY with @why; nothing is mapped
 * then. hostmem_shared_show() makes it visible.
 */
uint32_t hostmem_shared_map(HostMemoryBackendShared *m, uint64_t offset,
                            uint64_t size, struct sdm_text *why);

/** hostmem_shared_show() - slave: the mapped window becomes guest RAM. */
void hostmem_shared_show(HostMemoryBackendShared *m);

/** hostmem_shared_hide() - slave: it stays mapped, but is no guest RAM. */
void hostmem_shared_hide(HostMemoryBackendShared *m);

/** hostmem_shared_unmap() - slave: nothing is mapped, nothing is visible. */
void hostmem_shared_unmap(HostMemoryBackendShared *m);

#endif /* HOSTMEM_SHARED_QEMU_H */
