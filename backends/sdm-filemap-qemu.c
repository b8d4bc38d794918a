/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-sdm-files.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/main-loop.h"
#include "qemu/mmap-alloc.h"
#include "qemu/queue.h"
#include "qemu/units.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "sysemu/cpus.h"
#include "sysemu/runstate.h"
#include "backends/sdm-filemap-qemu.h"

#define CHUNK MiB

struct SdmFilemap {
    /* Read by the signal handler, in any thread. */
    uintptr_t host;
    uintptr_t size;             /* 0: not in use */
    bool hit;                   /* the handler has put zeros here */
    struct SdmFilemap *next;    /* never changes */

    char *thing;
    char *file;
    int fd;
    uint64_t offset;
    struct stat st;             /* as it was mapped */
    bool failed;
};

/* Entries are used again, never freed: the handler may be looking at one. */
static SdmFilemap *filemaps;
static QEMUBH *filemap_bh;
static QEMUBH *optional_bh;
static siginfo_t optional_info;
static struct sigaction old_action;

/* Signals */

static SdmFilemap *filemap_find(uintptr_t addr)
{
    SdmFilemap *m;

    for (m = qatomic_load_acquire(&filemaps); m; m = m->next) {
        uintptr_t size = qatomic_load_acquire(&m->size);

        if (size && addr - qatomic_read(&m->host) < size) {
            return m;
        }
    }
    return NULL;
}

static bool put_zeros(void *host, uint64_t size)
{
    return mmap(host, size, PROT_READ | PROT_WRITE,
                MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0) != MAP_FAILED;
}

static void forward_optional(void *opaque)
{
    old_action.sa_sigaction(SIGBUS, &optional_info, NULL);
}

/* Only what may be called from a signal handler. */
static void filemap_sigbus(int sig, siginfo_t *info, void *context)
{
    uintptr_t page = qemu_real_host_page_size();
    int saved_errno = errno;

    if (info->si_code == BUS_ADRERR) {
        uintptr_t addr = (uintptr_t)info->si_addr;
        SdmFilemap *m = filemap_find(addr);

        if (m && put_zeros((void *)QEMU_ALIGN_DOWN(addr, page), page)) {
            qatomic_set(&m->hit, true);
            qemu_bh_schedule(filemap_bh);
            if (current_cpu && qemu_cpu_is_self(current_cpu)) {
                cpu_stop_current();
            }
            errno = saved_errno;
            return;
        }
    } else if (info->si_code == BUS_MCEERR_AO && !current_cpu) {
        /*
         * QEMU takes this one in its main loop, by signalfd; but for
         * BUS_ADRERR the signal cannot stay blocked.
         */
        optional_info = *info;
        qemu_bh_schedule(optional_bh);
        return;
    }
    if (old_action.sa_flags & SA_SIGINFO) {
        old_action.sa_sigaction(sig, info, context);
    } else {
        /* Comes again when the access is tried again. */
        sigaction(SIGBUS, &old_action, NULL);
    }
}

static void stop_machine(void)
{
    qemu_system_vmstop_request_prepare();
    qemu_system_vmstop_request(RUN_STATE_INTERNAL_ERROR);
}

static void filemap_failed_bh(void *opaque)
{
    SdmFilemap *m;

    for (m = filemaps; m; m = m->next) {
        uint64_t page = qemu_real_host_page_size();
        uint64_t left, was;
        struct stat st;

        if (!m->size || !qatomic_xchg(&m->hit, false) || m->failed) {
            continue;
        }
        m->failed = true;
        was = m->st.st_size;
        if (fstat(m->fd, &st) < 0 || st.st_size >= was) {
            sdm_file_fail(m->thing, m->file, "cannot be read");
            continue;
        }
        left = st.st_size > m->offset ? st.st_size - m->offset : 0;
        left = MIN(QEMU_ALIGN_UP(left, page), m->size);
        put_zeros((char *)m->host + left, m->size - left);
        sdm_file_fail(m->thing, m->file, "has shrunk from %" PRIu64 " to %"
                      PRIu64 " bytes while it was mapped", was,
                      (uint64_t)st.st_size);
    }
}

static void filemap_running(void *opaque, bool running, RunState state)
{
    SdmFilemap *m;

    for (m = filemaps; m; m = m->next) {
        if (!m->size) {
            continue;
        }
        if (running && m->failed) {
            stop_machine();
        } else if (!running && state == RUN_STATE_INTERNAL_ERROR) {
            /* Of a page that is gone, KVM gets no SIGBUS; it gives up. */
            sdm_filemap_check(m);
        }
    }
}

static void filemap_init(void)
{
    struct sigaction action = {
        .sa_flags = SA_SIGINFO,
        .sa_sigaction = filemap_sigbus,
    };
    sigset_t set;

    if (filemap_bh) {
        return;
    }
    filemap_bh = qemu_bh_new(filemap_failed_bh, NULL);
    optional_bh = qemu_bh_new(forward_optional, NULL);
    qemu_add_vm_change_state_handler(filemap_running, NULL);
    sigaction(SIGBUS, &action, &old_action);
    /* Of a blocked SIGBUS that a thread causes itself, the process dies. */
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Mappings */

/*
 * Puts a new mapping in the place of @host. Not by MAP_FIXED: the kernel unmaps
 * what is there before it asks the file system, which may refuse.
 */
static bool put_mapping(void *new, void *host, uint64_t size, Error **errp)
{
    if (new == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot be mapped");
        return false;
    }
    qemu_madvise(new, size, QEMU_MADV_DONTFORK);
    if (!machine_dump_guest_core(current_machine)) {
        qemu_madvise(new, size, QEMU_MADV_DONTDUMP);
    }
    if (mremap(new, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, host) ==
        MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot be mapped at %p", host);
        munmap(new, size);
        return false;
    }
    return true;
}

static bool filemap_map(SdmFilemap *m, void *host, uint64_t size, Error **errp)
{
    return put_mapping(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
                            m->fd, m->offset), host, size, errp);
}

SdmFilemap *sdm_filemap_new(const char *thing, const char *file, int fd,
                            uint64_t offset, void *host, uint64_t size,
                            Error **errp)
{
    uint64_t page = qemu_real_host_page_size();
    struct stat st;
    SdmFilemap *m;
    int own;

    assert(size && QEMU_IS_ALIGNED((uintptr_t)host | offset | size, page));
    filemap_init();
    if (fstat(fd, &st) < 0) {
        error_setg_errno(errp, errno, "cannot be looked at");
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        error_setg(errp, "is not a regular file");
        return NULL;
    }
    if (qemu_fd_getpagesize(fd) != page) {
        error_setg(errp, "lies on huge pages");
        return NULL;
    }
    if (QEMU_ALIGN_UP(st.st_size, page) < offset + size) {
        error_setg(errp, "has only %" PRIu64 " bytes", (uint64_t)st.st_size);
        return NULL;
    }
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        error_setg_errno(errp, errno, "no file descriptor is free");
        return NULL;
    }

    for (m = filemaps; m && m->size; m = m->next) {
        ;
    }
    if (!m) {
        m = g_new0(SdmFilemap, 1);
        m->next = filemaps;
        qatomic_store_release(&filemaps, m);
    }
    m->thing = g_strdup(thing);
    m->file = g_strdup(file);
    m->fd = own;
    m->offset = offset;
    m->st = st;
    m->hit = false;
    m->failed = false;
    qatomic_set(&m->host, (uintptr_t)host);
    qatomic_store_release(&m->size, size);
    if (!filemap_map(m, host, size, errp)) {
        sdm_filemap_free(m);
        return NULL;
    }
    return m;
}

void sdm_filemap_free(SdmFilemap *m)
{
    if (m) {
        qatomic_set(&m->size, 0);
        g_clear_pointer(&m->thing, g_free);
        g_clear_pointer(&m->file, g_free);
        close(m->fd);
    }
}

bool sdm_filemap_failed(const SdmFilemap *m)
{
    return m->failed || qatomic_read(&m->hit);
}

bool sdm_file_same(int fd, const struct stat *was, Error **errp)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        error_setg_errno(errp, errno, "cannot be looked at");
        return false;
    }
    if (st.st_size != was->st_size) {
        error_setg(errp, "had %" PRIu64 " bytes when it was opened and has %"
                   PRIu64 " now", (uint64_t)was->st_size,
                   (uint64_t)st.st_size);
        return false;
    }
    if (st.st_mtim.tv_sec != was->st_mtim.tv_sec ||
        st.st_mtim.tv_nsec != was->st_mtim.tv_nsec) {
        error_setg(errp, "was written to since it was opened");
        return false;
    }
    return true;
}

bool sdm_filemap_check(SdmFilemap *m)
{
    Error *err = NULL;

    if (sdm_filemap_failed(m)) {
        return false;
    }
    if (!sdm_file_same(m->fd, &m->st, &err)) {
        m->failed = true;
        sdm_file_fail(m->thing, m->file, "%s", error_get_pretty(err));
        error_free(err);
        return false;
    }
    return true;
}

bool sdm_filemap_equal(const SdmFilemap *m)
{
    g_autofree char *buf = g_malloc(CHUNK);

    for (uint64_t at = 0; at < m->size; at += CHUNK) {
        uint64_t n = MIN(CHUNK, m->size - at);
        ssize_t got = TEMP_FAILURE_RETRY(pread(m->fd, buf, n,
                                               m->offset + at));

        /* Only the end of the last page may lie behind the file's. */
        if (got < 0 || got + qemu_real_host_page_size() <= n) {
            return false;
        }
        memset(buf + got, 0, n - got);
        if (memcmp((char *)m->host + at, buf, n)) {
            return false;
        }
    }
    return true;
}

bool sdm_filemap_detach(SdmFilemap *m, Error **errp)
{
    uint64_t page = qemu_real_host_page_size();
    void *host = (void *)m->host;
    char *new = mmap(NULL, m->size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (new != MAP_FAILED) {
        for (uint64_t at = 0; at < m->size; at += page) {
            if (!buffer_is_zero((char *)host + at, page)) {
                memcpy(new + at, (char *)host + at, page);
            }
        }
    }
    if (!put_mapping(new, host, m->size, errp)) {
        return false;
    }
    sdm_filemap_free(m);
    return true;
}

bool sdm_filemap_renew(SdmFilemap *m, Error **errp)
{
    if (sdm_filemap_failed(m)) {
        error_setg(errp, "was lost before");
        return false;
    }
    return sdm_file_same(m->fd, &m->st, errp) &&
           filemap_map(m, (void *)m->host, m->size, errp);
}

/* What memory costs */

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_FILE    (1ull << 61)
#define PAGEMAP_ALONE   (1ull << 56)

static int pagemap_fd = -1;

void sdm_memory_usage_init(void)
{
    if (pagemap_fd < 0) {
        pagemap_fd = qemu_open("/proc/self/pagemap", O_RDONLY, NULL);
    }
}

/* Calls fn(@opaque, number of the page, its entry) for each page of a range. */
static bool each_page(const void *host, uint64_t size,
                      void (*fn)(void *opaque, uint64_t number, uint64_t entry),
                      void *opaque, Error **errp)
{
    uint64_t page = qemu_real_host_page_size();
    uint64_t first = (uintptr_t)host / page;
    uint64_t end = DIV_ROUND_UP((uintptr_t)host + size, page);
    uint64_t buf[512];

    sdm_memory_usage_init();
    if (pagemap_fd < 0) {
        error_setg(errp, "/proc/self/pagemap cannot be opened");
        return false;
    }
    while (first < end) {
        size_t n = MIN(end - first, ARRAY_SIZE(buf));
        ssize_t got = pread(pagemap_fd, buf, n * sizeof(buf[0]),
                            first * sizeof(buf[0]));

        if (got <= 0 || got % sizeof(buf[0])) {
            error_setg_errno(errp, got < 0 ? errno : EIO,
                             "/proc/self/pagemap cannot be read");
            return false;
        }
        n = got / sizeof(buf[0]);
        for (size_t i = 0; i < n; i++) {
            fn(opaque, first + i, buf[i]);
        }
        first += n;
    }
    return true;
}

static void count_page(void *opaque, uint64_t number, uint64_t entry)
{
    uint64_t page = qemu_real_host_page_size();
    SdmMemoryUsage *sum = opaque;

    if (!(entry & PAGEMAP_PRESENT)) {
        return;
    }
    if (entry & PAGEMAP_FILE) {
        sum->shared += page;
    } else if (entry & PAGEMAP_ALONE) {
        sum->private_bytes += page;
    }
}

bool sdm_memory_usage(const void *host, uint64_t size, SdmMemoryUsage *usage,
                      Error **errp)
{
    SdmMemoryUsage sum = { 0 };

    if (!each_page(host, size, count_page, &sum, errp)) {
        return false;
    }
    sum.resident = sum.shared + sum.private_bytes;
    *usage = sum;
    return true;
}

/* Pages of the file that follow each other */
typedef struct Run {
    uint64_t first;
    uint64_t end;
    uint64_t gone;      /* bytes let go before */
} Run;

static void let_go_page(void *opaque, uint64_t number, uint64_t entry)
{
    uint64_t page = qemu_real_host_page_size();
    Run *run = opaque;

    if ((entry & PAGEMAP_PRESENT) && (entry & PAGEMAP_FILE)) {
        if (run->first == run->end) {
            run->first = number;
        }
        run->end = number + 1;
        return;
    }
    if (run->first < run->end) {
        uint64_t size = (run->end - run->first) * page;

        if (!qemu_madvise((void *)(run->first * page), size,
                          QEMU_MADV_DONTNEED)) {
            run->gone += size;
        }
        run->first = run->end;
    }
}

uint64_t sdm_filemap_let_go(SdmFilemap *m)
{
    Run run = { 0 };

    if (sdm_filemap_failed(m) ||
        !each_page((void *)m->host, m->size, let_go_page, &run, NULL)) {
        return 0;
    }
    let_go_page(&run, 0, 0);
    return run.gone;
}

void sdm_file_fail(const char *thing, const char *file, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("%s: '%s' %s; the machine is stopped: put the file as it was, "
                 "and start QEMU anew", thing, file, text);
    qapi_event_send_sdm_file_error(thing, file, text);
    stop_machine();
}
