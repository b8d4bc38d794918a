/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include "qapi/error.h"
#include "qapi/qapi-commands-sdm-files.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/madvise.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/memfd.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "block/block.h"
#include "block/block_int.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "migration/misc.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "sysemu/reset.h"
#include "sysemu/runstate.h"
#include "sysemu/sysemu.h"
#include "hw/block/sdm-block.h"
#include "hw/block/sdm-flash.h"
#include "hw/misc/sdm-monitor.h"
#include "qemu-sdm/trace.h"

#define CHUNK (256 * KiB)   /* stays in the CPU's cache */
/* 64 MiB take 256 mappings of it, and a process may have 65530. */
#define FILL_SIZE (256 * KiB)
#define QUIET_MS 1000
/* Two looks at a timer and the clock may differ by that. */
#define LATE_NS (20 * SCALE_US)

static QTAILQ_HEAD(, SdmFlash) flashes = QTAILQ_HEAD_INITIALIZER(flashes);

/* Properties */

static const struct {
    const char *name;
    const char *text;
} props[] = {
    { "mapped", "map the drive's file instead of reading it "
                "(auto: if it is read-only and plain)" },
    { "short-backing", "let the drive be smaller than the flash; the guest "
                       "cannot write to the rest" },
    { "fill", "what the rest of a short-backing flash reads as: 0 or 0xff" },
};

void sdm_flash_describe(ObjectClass *klass)
{
    for (int i = 0; i < ARRAY_SIZE(props); i++) {
        object_class_property_set_description(klass, props[i].name,
                                              props[i].text);
    }
}

void sdm_flash_add_aliases(Object *machine, const char *prefix, Object *dev)
{
    for (int i = 0; i < ARRAY_SIZE(props); i++) {
        g_autofree char *name = g_strdup_printf("%s-%s", prefix, props[i].name);

        object_property_add_alias(machine, name, dev, props[i].name);
        object_property_set_description(machine, name, props[i].text);
    }
}

/* Where the data are */

/* These two, only while there is something in the drive. */
static const char *drive_name(const SdmFlash *f)
{
    const char *name = blk_name(f->blk);

    return *name ? name : bdrv_get_node_name(blk_bs(f->blk));
}

static const char *drive_file(const SdmFlash *f)
{
    BlockDriverState *bs = blk_bs(f->blk);

    return bs->file && *bs->file->bs->filename ? bs->file->bs->filename
                                               : bs->filename;
}

/*
 * Finds the data in a file. Returns the file descriptor, which stays the
 * block node's, or -1 with @why.
 */
static int plain_file(SdmFlash *f, uint64_t *offset, Error **why)
{
    BlockDriverState *bs = blk_bs(f->blk), *file = bs;
    uint64_t page = qemu_real_host_page_size();
    int64_t pnum, map = 0;
    int fd, ret;

    if (!bs) {
        error_setg(why, "the drive is gone");
        return -1;
    }
    if (!strcmp(bs->drv->format_name, "raw")) {
        file = bs->file->bs;
    }
    fd = sdm_block_posix_fd(file);
    if (fd < 0) {
        error_setg(why, "format %s%s%s is not plain data in a file",
                   bs->drv->format_name, file == bs ? "" : " on ",
                   file == bs ? "" : file->drv->format_name);
        return -1;
    }
    if (file != bs) {
        /* raw has offset= and size=. */
        ret = bdrv_block_status(bs, 0, f->backed, &pnum, &map, &file);
        if (ret < 0 || !(ret & BDRV_BLOCK_OFFSET_VALID) ||
            sdm_block_posix_fd(file) != fd) {
            error_setg(why, "the block layer does not say where the data are");
            return -1;
        }
    }
    if (!QEMU_IS_ALIGNED(map, page)) {
        error_setg(why, "the data start at byte %" PRId64 " of the file, which "
                   "is no multiple of %" PRIu64, map, page);
        return -1;
    }
    *offset = map;
    return fd;
}

static bool may_map(SdmFlash *f, Error **why)
{
    if (!f->ro) {
        error_setg(why, "the drive is writable");
    } else if (f->mapped == ON_OFF_AUTO_OFF) {
        error_setg(why, "mapped=off");
    } else if (current_machine->cgs) {
        error_setg(why, "the guest's memory is encrypted in place");
    } else if (enable_mlock) {
        error_setg(why, "mem-lock=on copies what is mapped");
    } else if (!f->map_size) {
        error_setg(why, "the drive is smaller than a page");
    } else {
        return true;
    }
    return false;
}

/*
 * One byte written to a huge page would make all of it resident, and one byte
 * read would map more of the file than the guest wants.
 */
static void small_pages(SdmFlash *f)
{
    qemu_madvise(f->storage, f->size, QEMU_MADV_NOHUGEPAGE);
}

static bool map_drive(SdmFlash *f, Error **errp)
{
    g_autofree char *thing = g_strdup_printf("flash %s", f->name);
    Error *why = NULL;
    uint64_t offset;
    int fd;

    fd = plain_file(f, &offset, errp);
    if (fd < 0) {
        return false;
    }
    f->map = sdm_filemap_new(thing, drive_file(f), fd, offset, f->storage,
                             f->map_size, &why);
    if (f->map) {
        g_free(f->file);
        f->file = g_strdup(drive_file(f));
    } else {
        error_setg(errp, "the file %s", error_get_pretty(why));
        error_free(why);
    }
    small_pages(f);
    return f->map;
}

/* Content */

typedef bool (*ChunkFn)(SdmFlash *f, uint64_t offset, const char *data,
                        uint64_t len);

/* A part of the drive that is read, by the main thread or a helper. */
typedef struct Part {
    SdmFlash *f;
    uint64_t from;
    uint64_t to;
    ChunkFn fn;
    int fd;             /* -1: ask the block layer */
    uint64_t offset;    /* of the drive's data in it */
    bool stop;          /* fn has returned false */
} Part;

static int part_read(Part *p)
{
    void *buf = blk_blockalign(p->f->blk, CHUNK);
    int ret = 0;

    while (p->from < p->to && !p->stop) {
        uint64_t len = MIN(p->to - p->from, CHUNK);

        if (p->fd < 0) {
            ret = blk_pread(p->f->blk, p->from, len, buf, 0);
        } else if (pread(p->fd, buf, len, p->offset + p->from) != len) {
            ret = -EIO;
        }
        if (ret < 0) {
            break;
        }
        p->stop = !p->fn(p->f, p->from, buf, len);
        p->from += len;
    }
    qemu_vfree(buf);
    return ret;
}

static void *part_thread(void *opaque)
{
    part_read(opaque);
    return NULL;
}

/*
 * Returns 0, what the block layer says, or 1 if @fn returned false; @fn may run
 * in two threads, for different parts.
 *
 * Plain data are read without the block layer, which would hand each request to
 * a thread and wait: 64 MiB take a third of the time. What cannot be read so
 * (the last bytes of a file that is no multiple of 512) is left to it.
 */
static int each_chunk(SdmFlash *f, uint64_t from, uint64_t to, ChunkFn fn)
{
    uint64_t half = from + QEMU_ALIGN_DOWN((to - from) / 2, CHUNK);
    uint64_t offset = 0;
    int fd = plain_file(f, &offset, NULL);
    Part parts[] = {
        { f, from, half, fn, fd, offset }, { f, half, to, fn, fd, offset },
    };
    int ret = 0;

    if (fd >= 0 && !(fcntl(fd, F_GETFL) & O_DIRECT)) {
        QemuThread thread;

        qemu_thread_create(&thread, "flash", part_thread, &parts[1],
                           QEMU_THREAD_JOINABLE);
        part_read(&parts[0]);
        qemu_thread_join(&thread);
    }
    for (int i = 0; i < ARRAY_SIZE(parts) && ret == 0; i++) {
        parts[i].fd = -1;
        ret = part_read(&parts[i]);
        if (ret >= 0) {
            ret = parts[i].stop;
        }
    }
    return ret;
}

static bool store(SdmFlash *f, uint64_t offset, const char *data, uint64_t len)
{
    uint64_t page = qemu_real_host_page_size();

    for (uint64_t i = 0; i < len; i += page) {
        uint64_t n = MIN(page, len - i);

        /* The memory is zero, and has no page until it is written. */
        if (!buffer_is_zero(data + i, n)) {
            memcpy((char *)f->storage + offset + i, data + i, n);
        }
    }
    return true;
}

static bool same(SdmFlash *f, uint64_t offset, const char *data, uint64_t len)
{
    return !memcmp((char *)f->storage + offset, data, len);
}

static bool read_drive(SdmFlash *f, uint64_t from, Error **errp)
{
    int ret = each_chunk(f, from, f->backed, store);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "flash '%s': drive '%s' cannot be read",
                         f->name, drive_name(f));
        return false;
    }
    return true;
}

/* What is behind the end of a short backing */

static bool map_fill(SdmFlash *f, Error **errp)
{
    uint64_t page = qemu_real_host_page_size();
    uint64_t at = QEMU_ALIGN_UP(f->backed, page);
    g_autofree char *data = NULL;

    memset((char *)f->storage + f->backed, f->fill, at - f->backed);
    if (f->fill_fd < 0) {
        data = g_malloc(FILL_SIZE);
        memset(data, f->fill, FILL_SIZE);
        f->fill_fd = qemu_memfd_create("sdm-flash-fill", FILL_SIZE, false, 0,
                                       0, errp);
        if (f->fill_fd < 0) {
            return false;
        }
        if (pwrite(f->fill_fd, data, FILL_SIZE, 0) != FILL_SIZE) {
            error_setg_errno(errp, errno, "flash '%s': no memory for fill=",
                             f->name);
            return false;
        }
    }
    for (; at < f->size; at += FILL_SIZE) {
        uint64_t n = MIN(FILL_SIZE, f->size - at);
        void *host = (char *)f->storage + at;

        if (mmap(host, n, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE,
                 f->fill_fd, 0) == MAP_FAILED) {
            error_setg_errno(errp, errno, "flash '%s': fill=0x%x cannot be "
                             "mapped", f->name, f->fill);
            return false;
        }
        qemu_madvise(host, n, QEMU_MADV_DONTFORK);
        if (!machine_dump_guest_core(current_machine)) {
            qemu_madvise(host, n, QEMU_MADV_DONTDUMP);
        }
    }
    return true;
}

static bool is_filled(const SdmFlash *f)
{
    const char *p = (char *)f->storage + f->backed;
    uint64_t len = f->size - f->backed;

    return p[0] == (char)f->fill && !memcmp(p, p + 1, len - 1);
}

/* Life */

static void set_why(SdmFlash *f, Error *why)
{
    g_free(f->why_text);
    f->why_text = g_strdup(error_get_pretty(why));
    f->why = f->why_text;
    error_free(why);
}

static void flash_reset(void *opaque)
{
    SdmFlash *f = opaque;

    if (f->map) {
        sdm_filemap_check(f->map);
    }
}

#define DIFFERS "its content, which was loaded, is not that of the file"

/*
 * A snapshot was loaded over the file that is mapped, which need not be the one
 * that the drive has by now.
 */
static void settle_mapped(SdmFlash *f)
{
    Error *why = NULL;

    if (sdm_filemap_failed(f->map)) {
        return;
    }
    if (sdm_filemap_equal(f->map)) {
        if (!sdm_filemap_renew(f->map, &why)) {
            error_free(why);
        }
    } else if (sdm_filemap_detach(f->map, &why)) {
        f->map = NULL;
        f->why = DIFFERS;
    } else {
        warn_report("flash '%s': memory that was loaded %s", f->name,
                    error_get_pretty(why));
        error_free(why);
    }
    small_pages(f);
}

/*
 * The memory has been loaded, by an incoming migration or from a snapshot, and
 * is private. What equals the file, or the fill, need not be.
 */
static void flash_running(void *opaque, bool running, RunState state)
{
    SdmFlash *f = opaque;
    Error *why = NULL;

    if (!running && state == RUN_STATE_RESTORE_VM) {
        sdm_flash_post_load(f);
    }
    if (!running || !f->settle) {
        return;
    }
    f->settle = false;
    if (migration_in_incoming_postcopy()) {
        f->why = "it came by postcopy migration";
        return;
    }
    if (f->fill && f->backed < f->size && is_filled(f) &&
        !map_fill(f, &why)) {
        warn_report_err(why);
        why = NULL;
    }
    if (f->map) {
        settle_mapped(f);
    } else if (!may_map(f, &why)) {
        error_free(why);
    } else if (each_chunk(f, 0, f->map_size, same) != 0) {
        f->why = DIFFERS;
    } else if (!map_drive(f, &why)) {
        if (f->mapped == ON_OFF_AUTO_ON) {
            warn_report("flash '%s': mapped=on: %s", f->name,
                        error_get_pretty(why));
        }
        set_why(f, why);
    }
}

/*
 * A second after the guest's last write its firmware is through with its start
 * (or at least with the flash), and leaves two things behind.
 * - Nobody needs the code any more: it runs from RAM.
 * - Each command of the guest has switched the region between ROM and I/O,
 *   twice, and each switch made all flat views anew; thousands wait to be freed
 *   at a time. Once freed they stay with the C library (15 MB after a start),
 *   unless QEMU was built to trim by itself.
 */
static QEMUTimer *quiet_timer;
static int64_t written_ms;      /* when the guest has last written */

static void flash_quiet(void *opaque)
{
    SdmFlash *f;

    if (qemu_clock_get_ms(QEMU_CLOCK_REALTIME) < written_ms + QUIET_MS) {
        timer_mod(quiet_timer, written_ms + QUIET_MS);
        return;
    }
    QTAILQ_FOREACH(f, &flashes, next) {
        if (f->map) {
            uint64_t gone = sdm_filemap_let_go(f->map);

            trace_sdm_flash_let_go(f->name, gone);
        }
    }
#if defined(__GLIBC__) && !defined(CONFIG_MALLOC_TRIM)
    malloc_trim(4 * MiB);
#endif
}

/* Not a new time for each write: that would wake the main loop each time. */
static void tell_when_quiet(void)
{
    if (!quiet_timer) {
        quiet_timer = timer_new_ms(QEMU_CLOCK_REALTIME, flash_quiet, NULL);
    }
    written_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    if (!timer_pending(quiet_timer)) {
        timer_mod(quiet_timer, written_ms + QUIET_MS);
    }
}

/* Waking the main loop */

static int64_t main_wakes_ns;

static int64_t next_timer_ns(void)
{
    int64_t ns = timerlistgroup_deadline_ns(&main_loop_tlg);

    return ns < 0 || ns > INT64_MAX / 2 ? INT64_MAX : get_clock() + ns;
}

static void main_loop_polls(Notifier *notifier, void *data)
{
    MainLoopPoll *poll = data;

    if (poll->state == MAIN_LOOP_POLL_FILL) {
        main_wakes_ns = next_timer_ns();
    }
}

/*
 * The vCPU has waited for blk_pwrite() in aio_poll(), which takes in what was
 * to wake the main loop, too: a timer of the guest, set just before, would not
 * ring until something else wakes it. Unpatched QEMU hangs so at times.
 * (Rejected: to wake it after each write, which the guest's start pays for.)
 * Whatever else was to wake it waits for flash_quiet() at most.
 */
void sdm_flash_written(void)
{
    if (next_timer_ns() < main_wakes_ns - LATE_NS) {
        qemu_notify_event();
    }
}

static bool check_size(SdmFlash *f, int64_t len, Error **errp)
{
    ERRP_GUARD();

    if (len < 0) {
        error_setg_errno(errp, -len, "flash '%s': size of drive '%s' is not "
                         "known", f->name, drive_name(f));
        return false;
    }
    if (len == f->size || (f->short_backing && len && len < f->size)) {
        return true;
    }
    error_setg(errp, "device requires %" PRIu64 " bytes, block backend "
               "provides %" PRId64 " bytes (flash '%s', drive '%s')",
               f->size, len, f->name, drive_name(f));
    if (len && len < f->size) {
        error_append_hint(errp, "Pad the drive to that size, or let it be "
                          "smaller: short-backing=on of the device, %s\n",
                          "pflash0-short-backing=on of -machine virt.");
    }
    return false;
}

bool sdm_flash_load(SdmFlash *f, const char *name, MemoryRegion *mr,
                    BlockBackend *blk, bool ro, Error **errp)
{
    static Notifier notifier;
    Error *why = NULL;
    uint64_t offset;
    int64_t len;

    f->name = name;
    f->blk = blk;
    f->ro = ro;
    f->storage = memory_region_get_ram_ptr(mr);
    f->size = memory_region_size(mr);
    f->backed = f->size;
    f->fill_fd = -1;
    sdm_memory_usage_init();
    small_pages(f);

    if (f->fill != 0 && f->fill != 0xff) {
        error_setg(errp, "flash '%s': fill=0x%x: give 0 or 0xff", name,
                   f->fill);
        return false;
    }
    if (f->mapped == ON_OFF_AUTO_ON && !blk) {
        error_setg(errp, "flash '%s': mapped=on: there is no drive", name);
        return false;
    }
    if (blk) {
        len = blk_getlength(blk);
        if (!check_size(f, len, errp)) {
            return false;
        }
        f->backed = len;
        f->map_size = QEMU_ALIGN_DOWN(len, qemu_real_host_page_size());
        f->settle = runstate_check(RUN_STATE_INMIGRATE);
        if (may_map(f, &why)) {
            if (!f->settle) {
                map_drive(f, &why);
            } else if (f->mapped != ON_OFF_AUTO_ON ||
                       plain_file(f, &offset, &why) >= 0) {
                f->why = "a migration is coming in";
            }
        }
        if (why) {
            if (f->mapped == ON_OFF_AUTO_ON) {
                error_setg(errp, "flash '%s': mapped=on: drive '%s' cannot be "
                           "mapped: %s", name, drive_name(f),
                           error_get_pretty(why));
                error_free(why);
                return false;
            }
            set_why(f, why);
        }
        if (!read_drive(f, f->map ? f->map_size : 0, errp) ||
            (f->fill && f->backed < f->size && !f->settle &&
             !map_fill(f, errp))) {
            sdm_filemap_free(f->map);
            f->map = NULL;
            return false;
        }
    }
    if (!notifier.notify) {
        notifier.notify = main_loop_polls;
        main_loop_poll_add_notifier(&notifier);
    }
    trace_sdm_flash_load(name, f->size, f->backed, f->why ?: "mapped");
    qemu_register_reset(flash_reset, f);
    qemu_add_vm_change_state_handler(flash_running, f);
    QTAILQ_INSERT_TAIL(&flashes, f, next);
    return true;
}

uint64_t sdm_flash_backed(const SdmFlash *f)
{
    return f->backed;
}

bool sdm_flash_may_write(SdmFlash *f, uint64_t offset, uint64_t len)
{
    tell_when_quiet();
    if (!f->ro && offset <= f->backed && len <= f->backed - offset) {
        return true;
    }
    f->refused++;
    trace_sdm_flash_refuse(f->name, offset, len);
    qemu_log_mask(LOG_GUEST_ERROR, "flash %s: write to 0x%" PRIx64 "+0x%" PRIx64
                  " refused: %s\n", f->name, offset, len,
                  f->ro ? "read-only" : "past the end of its backing");
    return false;
}

void sdm_flash_post_load(SdmFlash *f)
{
    f->settle = f->blk;
}

/* Monitor */

FlashInfoList *qmp_query_flash(Error **errp)
{
    FlashInfoList *list = NULL, **tail = &list;
    SdmFlash *f;

    QTAILQ_FOREACH(f, &flashes, next) {
        FlashInfo *info = g_new0(FlashInfo, 1);
        SdmMemoryUsage usage;

        QAPI_LIST_APPEND(tail, info);
        info->name = g_strdup(f->name);
        info->size = f->size;
        info->read_only = f->ro;
        info->refused_writes = f->refused;
        info->held = f->map ? FLASH_HELD_MAPPED
                   : f->blk ? FLASH_HELD_READ : FLASH_HELD_MEMORY;
        if (f->blk && blk_bs(f->blk)) {
            info->has_drive = true;
            info->drive = g_strdup(drive_name(f));
            info->has_file = true;
            info->file = g_strdup(f->map ? f->file : drive_file(f));
        }
        if (f->blk) {
            info->has_backing_size = true;
            info->backing_size = f->backed;
        }
        if (f->blk && f->backed < f->size) {
            info->has_fill = true;
            info->fill = f->fill;
        }
        if (!f->map && f->why) {
            info->has_reason = true;
            info->reason = g_strdup(f->why);
        }
        if (f->map) {
            info->has_failed = true;
            info->failed = sdm_filemap_failed(f->map);
        }
        if (!sdm_memory_usage(f->storage, f->size, &usage, errp)) {
            qapi_free_FlashInfoList(list);
            return NULL;
        }
        info->resident = usage.resident;
        info->shared = usage.shared;
        info->q_private = usage.private_bytes;
    }
    return list;
}

void hmp_info_flash(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    FlashInfoList *list = qmp_query_flash(&err), *i;

    if (err) {
        hmp_handle_error(mon, err);
        return;
    }
    if (!list) {
        monitor_printf(mon, "no flash\n");
    }
    for (i = list; i; i = i->next) {
        FlashInfo *info = i->value;

        monitor_printf(mon, "%s: %" PRIu64 " KiB, %s", info->name,
                       info->size / KiB,
                       info->read_only ? "read-only" : "writable");
        if (info->has_backing_size) {
            monitor_printf(mon, ", drive %s, file %s\n    backing %" PRIu64
                           " KiB", info->has_drive ? info->drive : "removed",
                           info->has_file ? info->file : "-",
                           info->backing_size / KiB);
            if (info->has_fill) {
                monitor_printf(mon, ", then 0x%02x", info->fill);
            }
            monitor_printf(mon, ", %s", FlashHeld_str(info->held));
        } else {
            monitor_printf(mon, "\n    no drive");
        }
        if (info->has_reason) {
            monitor_printf(mon, ", not mapped: %s", info->reason);
        }
        if (info->has_failed && info->failed) {
            monitor_printf(mon, ", LOST: the file has changed");
        }
        monitor_printf(mon, "\n    resident %" PRIu64 " KiB: shared %" PRIu64
                       ", private %" PRIu64 "; refused writes: %" PRIu64 "\n",
                       info->resident / KiB, info->shared / KiB,
                       info->q_private / KiB, info->refused_writes);
    }
    qapi_free_FlashInfoList(list);
}
