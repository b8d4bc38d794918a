/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of a file, mapped privately over memory that the guest sees (flash, a
 * boot image): all QEMUs with the same file share its pages until one writes.
 *
 * Theory of operation. A file may shrink under its mapping. Whoever then
 * touches what is gone gets SIGBUS, be it translated code, a device or the
 * migration thread. A handler for the whole process puts a page of zeros there
 * and lets a vCPU go no further than the end of its translation block; in the
 * main loop, zeros replace all that is gone, the failure is reported
 * (sdm_file_fail()) and the machine stops. A system call that is handed such an
 * address gives EFAULT, which its caller reports; KVM stops the machine by
 * itself, and its reason is reported then. SIGBUS elsewhere goes to QEMU's own
 * handler. (Rejected: a lease or an inotify watch tells of a
 * truncation only after the fact, and not at all on network file systems.)
 *
 * All functions: main loop or start-up, with the big lock.
 */
#ifndef SDM_FILEMAP_QEMU_H
#define SDM_FILEMAP_QEMU_H

typedef struct SdmFilemap SdmFilemap;

/**
 * sdm_filemap_new() - map a part of a file over existing memory
 * @thing:  what it is to the user, for messages: "flash virt.flash0"
 * @file:   the file's name, for messages only; it is not opened
 * @fd:     a regular file; stays the caller's (a duplicate is kept here, which
 *          keeps locks that belong to the open file description, too)
 * @offset: where in the file; a multiple of the host's page size
 * @host:   where to map; likewise. QEMU's madvise() choices for guest memory
 *          (no fork, no dump) are applied again, as a new mapping has none
 * @size:   bytes; likewise, above 0. The file must reach into the last page
 *
 * The memory stays writable: what is written is this process's alone. Nothing
 * tells TCG: if a guest may have run code from there, drop its translations.
 *
 * Returns: the mapping, or NULL with @errp (a clause about the file: "is not a
 * regular file") and the memory as it was: not a regular file, on huge pages,
 * too short, or a file system that cannot map.
 */
SdmFilemap *sdm_filemap_new(const char *thing, const char *file, int fd,
                            uint64_t offset, void *host, uint64_t size,
                            Error **errp);

/**
 * sdm_filemap_free() - forget the mapping; NULL is allowed
 * The memory stays as it is mapped: the caller is about to unmap it, or to
 * map something else over it.
 */
void sdm_filemap_free(SdmFilemap *m);

/**
 * sdm_filemap_check() - is the file still as it was when it was mapped?
 * Returns: true, or false if its size or the time of its last change differs
 * or a part of it has been replaced by zeros; what has not been reported yet
 * is, by sdm_file_fail(). Such a mapping has failed for good.
 */
bool sdm_filemap_check(SdmFilemap *m);

/**
 * sdm_filemap_renew() - show the file again, dropping all that was written
 * Returns: true, or false with @errp (a clause) and the memory as it was, if
 * the file is no longer as it was.
 */
bool sdm_filemap_renew(SdmFilemap *m, Error **errp);

/**
 * sdm_filemap_equal() - does the memory hold what the file holds now?
 * Returns: true, or false if not, or if the file cannot be read.
 */
bool sdm_filemap_equal(const SdmFilemap *m);

/**
 * sdm_filemap_detach() - make the memory ordinary memory, with what it holds
 * The machine must be stopped. On success @m is freed.
 * Returns: true, or false with @errp (a clause), and all as it was.
 */
bool sdm_filemap_detach(SdmFilemap *m, Error **errp);

/**
 * sdm_filemap_let_go() - hold no page of the file until one is needed again
 *
 * Pages that were written to stay. The others are in the host's page cache,
 * but no longer in this process's page tables, where they would be counted as
 * its memory and would be harder to reclaim. Nobody may write to the memory
 * meanwhile.
 *
 * Returns: bytes; 0 also if the mapping has failed, or the kernel does not say
 * which pages were written to.
 */
uint64_t sdm_filemap_let_go(SdmFilemap *m);

/**
 * sdm_file_same() - has a file the size and time of change that it had?
 * Returns: true, or false with @errp, a clause for sdm_file_fail().
 */
bool sdm_file_same(int fd, const struct stat *was, Error **errp);

/**
 * sdm_filemap_failed() - does it no longer show what it did?
 * While a failed mapping exists the machine cannot run: each attempt stops it
 * again.
 */
bool sdm_filemap_failed(const SdmFilemap *m);

/**
 * struct SdmMemoryUsage - what a range of memory costs, in bytes
 * @resident: in memory, @shared and @private_bytes together
 * @shared:   pages of a file, there once for all processes that map it
 * @private_bytes: pages of this process alone
 * Pages that were only read from where nothing is are none of these.
 */
typedef struct SdmMemoryUsage {
    uint64_t resident;
    uint64_t shared;
    uint64_t private_bytes;
} SdmMemoryUsage;

/**
 * sdm_memory_usage_init() - open what sdm_memory_usage() reads
 * Call it at start: with -runas and -chroot, it cannot be opened later.
 */
void sdm_memory_usage_init(void);

/**
 * sdm_memory_usage() - ask the kernel (/proc/self/pagemap) about a range
 * @host: start; pages that lie in the range only in part count whole
 *
 * By page, not by smaps' mappings, which may reach beyond the range. A page of
 * a file counts as shared even when nobody else maps it at the moment.
 *
 * Returns: true, or false with @errp and @usage untouched.
 */
bool sdm_memory_usage(const void *host, uint64_t size, SdmMemoryUsage *usage,
                      Error **errp);

/**
 * sdm_file_fail() - a file that the guest's memory comes from has failed
 * @thing: as for sdm_filemap_new()
 * @file:  its name
 * @fmt:   what has happened, one clause: "has shrunk from ..."
 *
 * Reports the error, emits SDM_FILE_ERROR and asks the main loop to stop the
 * machine in the state internal-error: it must be reset before it can go on.
 */
void sdm_file_fail(const char *thing, const char *file, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

#endif /* SDM_FILEMAP_QEMU_H */
