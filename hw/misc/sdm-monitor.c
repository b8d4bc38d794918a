/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SDM in QMP and HMP. Commands are coroutines: files are read and images
 * placed in a worker thread, and a request ends on the slave's answer, its
 * loss, or the time limit of multi_socket_request().
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-sdm.h"
#include "qapi/qapi-events-sdm.h"
#include "qapi/qmp/qdict.h"
#include "qemu/coroutine.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "block/aio.h"
#include "block/thread-pool.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "backends/hostmem-shared-qemu.h"
#include "hw/misc/sdm-comm.h"
#include "hw/misc/sdm-monitor.h"
#include "migration/sdm-bootplan.h"
#include "sdm/sdm-text.h"

/* A device tree larger than this is none: QEMU's own have room for 1 MiB. */
#define DTB_MAX (2 * 1024 * 1024)

static const char *socket_id(MultiSocket *s)
{
    return object_get_canonical_path_component(OBJECT(s));
}

/* Requests */

typedef struct Wait {
    Coroutine *co;
    uint32_t status;
    struct sdm_text text;
    void *dtb;
    uint64_t dtb_size;
} Wait;

static void wait_done(void *opaque, uint32_t status, const char *text, int fd,
                      uint64_t size)
{
    Wait *w = opaque;

    w->status = status;
    sdm_text_init(&w->text);
    sdm_text_add(&w->text, text && *text ? text : sdm_status_text(status));
    if (status == SDM_OK && fd >= 0) {
        int seals = F_SEAL_SHRINK | F_SEAL_WRITE;

        if (size > DTB_MAX || sdm_fd_check(fd, size, seals, NULL) < 0) {
            w->status = SDM_ERR_INVAL;
            sdm_text_init(&w->text);
            sdm_text_add(&w->text, "the slave's device tree is too large or "
                         "not in a sealed memfd");
        } else {
            w->dtb = g_malloc(size);
            w->dtb_size = size;
            if (pread(fd, w->dtb, size, 0) != size) {
                w->status = SDM_ERR_INVAL;
            }
        }
    }
    /* Not here: the hub is in the middle of an event, maybe in a vCPU. */
    aio_co_schedule(qemu_get_aio_context(), w->co);
}

static bool coroutine_fn request(MultiSocket *s, uint32_t slave, uint16_t type,
                                 const struct sdm_window *window, Wait *w,
                                 Error **errp)
{
    memset(w, 0, sizeof(*w));
    w->co = qemu_coroutine_self();
    w->status = multi_socket_request(s, slave, type, window, wait_done, w,
                                     &w->text);
    if (w->status == SDM_OK) {
        qemu_coroutine_yield();
    }
    if (w->status != SDM_OK) {
        error_setg(errp, "slave %u: %s", slave, w->text.buf);
        g_clear_pointer(&w->dtb, g_free);
        return false;
    }
    return true;
}

typedef struct Find {
    const char *id;
    MultiSocket *found;
    unsigned n;
} Find;

static void find_one(MultiSocket *s, void *opaque)
{
    Find *f = opaque;

    if (multi_socket_is_master(s) && (!f->id || !strcmp(f->id, socket_id(s)))) {
        f->found = s;
        f->n++;
    }
}

static MultiSocket *find_master(const char *id, Error **errp)
{
    Find f = { .id = id };

    multi_socket_foreach(find_one, &f);
    if (!f.n) {
        error_setg(errp, id ? "socket=%s names no " TYPE_MULTI_SOCKET " with "
                   "listen=on" : "this QEMU is no master: it has no "
                   TYPE_MULTI_SOCKET " with listen=on", id);
        return NULL;
    }
    if (f.n > 1) {
        error_setg(errp, "there are %u masters: name one with socket=", f.n);
        return NULL;
    }
    return f.found;
}

/* sdm-boot */

typedef struct Load {
    const char *files[3];
    gchar *data[3];
    gsize len[3];
    const char *append;
    uint32_t machine;
    uint64_t ram_base;
    void *window;
    uint64_t size;
    uint32_t status;
    struct sdm_text why;
    Error *err;
} Load;

static bool read_file(const char *name, uint64_t limit, gchar **data,
                      gsize *len, Error **errp)
{
    GError *gerr = NULL;
    struct stat st;

    if (stat(name, &st) < 0) {
        error_setg_errno(errp, errno, "cannot open '%s'", name);
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        error_setg(errp, "'%s' is no regular file", name);
        return false;
    }
    if (st.st_size > limit) {
        error_setg(errp, "'%s' has %" PRId64 " bytes and does not fit into the "
                   "window of %" PRIu64, name, (int64_t)st.st_size, limit);
        return false;
    }
    if (!g_file_get_contents(name, data, len, &gerr)) {
        error_setg(errp, "cannot read '%s': %s", name, gerr->message);
        g_error_free(gerr);
        return false;
    }
    return true;
}

static int load_worker(void *opaque)
{
    Load *l = opaque;
    struct sdm_boot_images images;
    int i;

    for (i = 0; i < 3; i++) {
        if (l->files[i] && !read_file(l->files[i], l->size, &l->data[i],
                                      &l->len[i], &l->err)) {
            return 0;
        }
    }
    images = (struct sdm_boot_images) {
        .kernel = l->data[0], .kernel_size = l->len[0],
        .dtb = l->data[1], .dtb_size = l->len[1],
        .initrd = l->data[2], .initrd_size = l->len[2],
        .append = l->append,
    };
    l->status = sdm_boot_load(&images, l->machine, l->ram_base, l->window,
                              l->size, &l->why);
    return 0;
}

static bool find_window(MultiSocket *s, HostMemoryBackendShared *m,
                        const struct sdm_peer *peer, uint32_t slave,
                        const uint64_t *offset, const uint64_t *size,
                        struct sdm_window *w, Error **errp)
{
    const struct sdm_window *fixed;
    unsigned n = hostmem_shared_windows(m, &fixed);
    uint32_t id;

    if (slave <= n) {
        *w = fixed[slave - 1];
        if ((offset && *offset != w->offset) || (size && *size != w->size)) {
            error_setg(errp, "slave %u has a window of its own at offset 0x%"
                       PRIx64 ", size 0x%" PRIx64 " (windows=): leave offset "
                       "and size out", slave, w->offset, w->size);
            return false;
        }
        return true;
    }
    if (!offset) {
        error_setg(errp, "offset is missing: the memory-backend-shared has no "
                   "windows=, so say where the window of slave %u lies", slave);
        return false;
    }
    w->offset = *offset;
    w->size = size ? *size : peer->ram_size;
    if (sdm_window_check(w, hostmem_shared_size(m),
                         hostmem_shared_page_size(m)) < 0) {
        error_setg(errp, "window at offset 0x%" PRIx64 ", size 0x%" PRIx64
                   ": not a multiple of the page size 0x%" PRIx64 ", empty, or "
                   "not inside the memory of 0x%" PRIx64, w->offset, w->size,
                   hostmem_shared_page_size(m), hostmem_shared_size(m));
        return false;
    }
    /* The hub will say so, too, but by then the images would be there. */
    for (id = 1; id <= multi_socket_num_slaves(s); id++) {
        const struct sdm_peer *other = sdm_hub_peer(multi_socket_hub(s), id);

        if (other->state != SDM_STATE_ABSENT &&
            other->state != SDM_STATE_WAITING &&
            sdm_window_overlaps(w, &other->window)) {
            error_setg(errp, "window at offset 0x%" PRIx64 ", size 0x%" PRIx64
                       ", overlaps that of slave %u, which is %s", w->offset,
                       w->size, id, sdm_state_text(other->state));
            return false;
        }
    }
    return true;
}

static void coroutine_fn boot(const char *socket, uint32_t slave,
                              const char *kernel, const char *dtb,
                              const char *initrd, const char *append,
                              const uint64_t *offset, const uint64_t *size,
                              Error **errp)
{
    ThreadPool *pool = aio_get_thread_pool(qemu_get_aio_context());
    MultiSocket *s = find_master(socket, errp);
    HostMemoryBackendShared *m;
    const struct sdm_peer *peer;
    struct sdm_window window;
    Load load = { .files = { kernel, dtb, initrd }, .append = append };
    Wait wait;
    int i;

    if (!s) {
        return;
    }
    m = hostmem_shared_of(s);
    if (!m) {
        error_setg(errp, "this master has no " TYPE_MEMORY_BACKEND_SHARED
                   " to boot a slave from");
        return;
    }
    peer = sdm_hub_peer(multi_socket_hub(s), slave);
    if (!peer) {
        error_setg(errp, "slave %u does not exist: give 1 to %u", slave,
                   multi_socket_num_slaves(s));
        return;
    }
    if (peer->state != SDM_STATE_WAITING) {
        error_setg(errp, "slave %u is %s: only a waiting slave can be booted",
                   slave, sdm_state_text(peer->state));
        return;
    }
    if (!find_window(s, m, peer, slave, offset, size, &window, errp)) {
        return;
    }
    object_ref(OBJECT(m));
    if (!dtb) {
        if (!request(s, slave, SDM_WIRE_GET_DTB, NULL, &wait, errp)) {
            goto out;
        }
        load.data[1] = wait.dtb;
        load.len[1] = wait.dtb_size;
        if (peer->state != SDM_STATE_WAITING) {
            error_setg(errp, "slave %u is %s by now", slave,
                       sdm_state_text(peer->state));
            goto out;
        }
    }
    load.machine = peer->machine;
    load.ram_base = peer->ram_base;
    load.window = (char *)hostmem_shared_host(m) + window.offset;
    load.size = window.size;
    thread_pool_submit_co(pool, load_worker, &load);
    if (load.err) {
        error_propagate(errp, load.err);
    } else if (load.status != SDM_OK) {
        error_setg(errp, "slave %u: %s", slave, load.why.buf);
    } else {
        request(s, slave, SDM_WIRE_BOOT, &window, &wait, errp);
    }

out:
    for (i = 0; i < 3; i++) {
        g_free(load.data[i]);
    }
    object_unref(OBJECT(m));
}

void coroutine_fn qmp_sdm_boot(uint32_t slave, const char *kernel,
                               bool has_dtb, const char *dtb,
                               bool has_initrd, const char *initrd,
                               bool has_append, const char *append,
                               bool has_offset, uint64_t offset,
                               bool has_size, uint64_t size,
                               bool has_socket, const char *socket,
                               Error **errp)
{
    boot(has_socket ? socket : NULL, slave, kernel, has_dtb ? dtb : NULL,
         has_initrd ? initrd : NULL, has_append ? append : NULL,
         has_offset ? &offset : NULL, has_size ? &size : NULL, errp);
}

static void coroutine_fn simple(const char *socket, uint32_t slave,
                                uint16_t type, Error **errp)
{
    MultiSocket *s = find_master(socket, errp);
    Wait wait;

    if (s) {
        request(s, slave, type, NULL, &wait, errp);
    }
}

void coroutine_fn qmp_sdm_reset(uint32_t slave, bool has_socket,
                                const char *socket, Error **errp)
{
    simple(has_socket ? socket : NULL, slave, SDM_WIRE_RESET, errp);
}

void coroutine_fn qmp_sdm_stop(uint32_t slave, bool has_socket,
                               const char *socket, Error **errp)
{
    simple(has_socket ? socket : NULL, slave, SDM_WIRE_STOP, errp);
}

/* query-sdm; SdmPeerState has the order of SDM_STATE_* */

QEMU_BUILD_BUG_ON((int)SDM_PEER_STATE__MAX != (int)SDM_STATES);
QEMU_BUILD_BUG_ON((int)SDM_PEER_STATE_CRASHED != (int)SDM_STATE_CRASHED);

static void query_stats(SdmPort *port, SdmPeer *p)
{
    uint64List **tail = &p->latency;
    SdmStats stats;
    unsigned i;

    if (!port) {
        return;
    }
    sdm_port_stats(port, p->id, &stats);
    p->sent = stats.sent;
    p->taken = stats.taken;
    p->waiting = stats.waiting;
    p->refused = stats.refused;
    for (i = 0; i < SDM_LATENCY_BUCKETS; i++) {
        QAPI_LIST_APPEND(tail, stats.latency[i]);
    }
}

/* A peer as a device sees it. */
static SdmPeer *query_seen(SdmPort *port, uint32_t id)
{
    SdmPeer *p = g_new0(SdmPeer, 1);
    SdmPeerInfo peer;

    sdm_port_peer(port, id, &peer);
    p->id = id;
    p->has_name = peer.name[0];
    p->name = p->has_name ? g_strdup(peer.name) : NULL;
    p->state = (SdmPeerState)peer.state;
    query_stats(port, p);
    return p;
}

/* A slave as its hub sees it. */
static SdmPeer *query_peer(MultiSocket *s, SdmPort *port, uint32_t id)
{
    const struct sdm_peer *peer = sdm_hub_peer(multi_socket_hub(s), id);
    SdmPeer *p = g_new0(SdmPeer, 1);

    p->id = id;
    p->has_name = peer->name[0];
    p->name = p->has_name ? g_strdup(peer->name) : NULL;
    p->state = (SdmPeerState)peer->state;
    p->has_isa = peer->machine;
    p->isa = p->has_isa ? g_strdup(sdm_machine_text(peer->machine)) : NULL;
    p->has_pid = peer->conn >= 0;
    p->pid = p->has_pid ? peer->pid : 0;
    p->ram_base = peer->ram_base;
    p->ram_size = peer->ram_size;
    p->window_offset = peer->window.offset;
    p->window_size = peer->window.size;
    p->boots = peer->boots;
    query_stats(port, p);
    return p;
}

static void query_port(SdmInfo *info, SdmPort *port)
{
    SdmSignalCountList **tail = &info->signals;
    uint32_t type;

    if (!port) {
        return;
    }
    info->has_channel = true;
    info->channel = g_strdup(port->comm_id);
    for (type = 0; type < SDM_SIGNAL_TYPES; type++) {
        SdmSignalCount *c;

        if (!port->signals[type]) {
            continue;
        }
        c = g_new0(SdmSignalCount, 1);
        c->type = type;
        c->signal = g_strdup(object_get_canonical_path_component(
                                 OBJECT(port->signals[type])));
        c->sent = port->counts[type].sent;
        c->taken = port->counts[type].taken;
        c->waiting = port->counts[type].waiting;
        c->refused = port->counts[type].refused;
        QAPI_LIST_APPEND(tail, c);
    }
}

typedef struct Search {
    MultiSocket *socket;
    SdmPort *port;
} Search;

static int search_port(Object *obj, void *opaque)
{
    SdmComm *comm = (SdmComm *)object_dynamic_cast(obj, TYPE_SDM_COMM);
    Search *search = opaque;

    if (comm && SDM_COMM_GET_CLASS(comm)->socket(comm) == search->socket) {
        search->port = SDM_COMM_GET_CLASS(comm)->port(comm, 0);
    }
    return !!search->port;
}

/* The device that uses a socket, or NULL. */
static SdmPort *port_of(MultiSocket *s)
{
    Search search = { .socket = s };

    object_child_foreach(object_get_objects_root(), search_port, &search);
    return search.port;
}

static void query_socket(MultiSocket *s, void *opaque)
{
    SdmInfoList ***tail = opaque;
    HostMemoryBackendShared *m = hostmem_shared_of(s);
    SdmInfo *info = g_new0(SdmInfo, 1);
    SdmPeerList **peers = &info->peers;
    SdmPort *port = port_of(s);
    uint32_t id;

    info->has_socket = info->has_path = true;
    info->socket = g_strdup(socket_id(s));
    info->path = g_strdup(multi_socket_path(s));
    info->has_memory_size = info->has_page_size = !!m;
    if (m) {
        info->memory_size = hostmem_shared_size(m);
        info->page_size = hostmem_shared_page_size(m);
    }
    query_port(info, port);
    if (multi_socket_is_master(s)) {
        info->role = SDM_INFO_ROLE_MASTER;
        info->has_own_id = true;
        for (id = 1; id <= multi_socket_num_slaves(s); id++) {
            QAPI_LIST_APPEND(peers, query_peer(s, port, id));
        }
    } else {
        struct sdm_link *link = multi_socket_link(s);

        info->role = SDM_INFO_ROLE_SLAVE;
        info->has_connected = true;
        info->connected = link->phase == SDM_LINK_UP;
        info->has_own_id = info->connected;
        info->own_id = info->connected ? link->id : 0;
        if (port && info->connected) {
            QAPI_LIST_APPEND(peers, query_seen(port, SDM_ID_MASTER));
        }
    }
    QAPI_LIST_APPEND(*tail, info);
}

static SdmInfo *query_local(SdmPort *port)
{
    SdmInfo *info = g_new0(SdmInfo, 1);
    SdmPeerList **peers = &info->peers;
    uint32_t id;

    query_port(info, port);
    info->role = port->master ? SDM_INFO_ROLE_MASTER : SDM_INFO_ROLE_SLAVE;
    info->has_own_id = true;
    info->own_id = sdm_port_id(port);
    if (port->master) {
        for (id = 1; id <= port->num_slaves; id++) {
            QAPI_LIST_APPEND(peers, query_seen(port, id));
        }
    } else {
        QAPI_LIST_APPEND(peers, query_seen(port, SDM_ID_MASTER));
    }
    return info;
}

static int query_locals(Object *obj, void *opaque)
{
    SdmComm *comm = (SdmComm *)object_dynamic_cast(obj, TYPE_SDM_COMM);
    SdmInfoList ***tail = opaque;
    SdmPort *port;
    unsigned n;

    if (comm && !SDM_COMM_GET_CLASS(comm)->socket(comm)) {
        for (n = 0; (port = SDM_COMM_GET_CLASS(comm)->port(comm, n)); n++) {
            QAPI_LIST_APPEND(*tail, query_local(port));
        }
    }
    return 0;
}

SdmInfoList *qmp_query_sdm(Error **errp)
{
    SdmInfoList *list = NULL, **tail = &list;

    multi_socket_foreach(query_socket, &tail);
    object_child_foreach(object_get_objects_root(), query_locals, &tail);
    return list;
}

static void monitor_event(MultiSocket *s, const struct sdm_hub_event *ev)
{
    const struct sdm_peer *peer = sdm_hub_peer(multi_socket_hub(s), ev->id);

    if (ev->type != SDM_HUB_JOINED && ev->type != SDM_HUB_STATE &&
        ev->type != SDM_HUB_LEFT) {
        return;
    }
    qapi_event_send_sdm_peer_state(socket_id(s), ev->id, peer->name[0],
                                   peer->name, (SdmPeerState)ev->state,
                                   (SdmPeerState)ev->old);
}

/* HMP */

/*
 * A word, not an HMP expression: "1 /boot/zImage" would be read as a division.
 */
static bool get_slave(const QDict *qdict, uint32_t *slave, Error **errp)
{
    const char *text = qdict_get_str(qdict, "slave");

    if (qemu_strtoui(text, NULL, 0, slave) < 0) {
        error_setg(errp, "slave '%s' is no id: give 1 to the number of slaves",
                   text);
        return false;
    }
    return true;
}

/*
 * Where an option with a value is passed over, the parser of QEMU 7.2 takes the
 * "s" that marks it for the start of the next option's name.
 */
static const char *opt_str(const QDict *qdict, const char *key)
{
    g_autofree char *other = g_strdup_printf("s,%s", key);

    return qdict_get_try_str(qdict, key) ?: qdict_get_try_str(qdict, other);
}

static bool opt_size(const QDict *qdict, const char *key, uint64_t *value,
                     const uint64_t **given, Error **errp)
{
    const char *text = opt_str(qdict, key);

    *given = text ? value : NULL;
    if (text && qemu_strtosz(text, NULL, value) < 0) {
        error_setg(errp, "%s '%s' is no size: give bytes, or such as 512M",
                   key, text);
        return false;
    }
    return true;
}

/*
 * HMP waits for a coroutine of its own in a loop that serves neither sockets
 * nor timers, so the answer would never come. Here the command returns, and
 * the monitor takes no other until the coroutine has ended.
 */
typedef void coroutine_fn HmpRun(const QDict *qdict, Error **errp);

typedef struct HmpCall {
    Monitor *mon;
    QDict *qdict;
    HmpRun *run;
} HmpCall;

static void coroutine_fn hmp_call(void *opaque)
{
    HmpCall *call = opaque;
    Error *err = NULL;

    call->run(call->qdict, &err);
    if (err) {
        monitor_printf(call->mon, "Error: %s\n", error_get_pretty(err));
        error_free(err);
    }
    monitor_resume(call->mon);
    qobject_unref(call->qdict);
    g_free(call);
}

static void hmp_start(Monitor *mon, const QDict *qdict, HmpRun *run)
{
    HmpCall *call;

    if (monitor_suspend(mon) < 0) {
        monitor_printf(mon, "Error: this monitor cannot wait for a slave: use "
                       "the QMP command\n");
        return;
    }
    call = g_new0(HmpCall, 1);
    call->mon = mon;
    call->qdict = qdict_clone_shallow(qdict);
    call->run = run;
    qemu_coroutine_enter(qemu_coroutine_create(hmp_call, call));
}

static void coroutine_fn run_boot(const QDict *qdict, Error **errp)
{
    const uint64_t *has_offset, *has_size;
    uint64_t offset, size;
    uint32_t slave;

    if (get_slave(qdict, &slave, errp) &&
        opt_size(qdict, "offset", &offset, &has_offset, errp) &&
        opt_size(qdict, "size", &size, &has_size, errp)) {
        boot(NULL, slave, qdict_get_str(qdict, "kernel"),
             opt_str(qdict, "dtb"), opt_str(qdict, "initrd"),
             opt_str(qdict, "append"), has_offset, has_size, errp);
    }
}

void hmp_sdm_boot(Monitor *mon, const QDict *qdict)
{
    hmp_start(mon, qdict, run_boot);
}

static void coroutine_fn run_reset(const QDict *qdict, Error **errp)
{
    uint32_t slave;

    if (get_slave(qdict, &slave, errp)) {
        simple(NULL, slave, SDM_WIRE_RESET, errp);
    }
}

void hmp_sdm_reset(Monitor *mon, const QDict *qdict)
{
    hmp_start(mon, qdict, run_reset);
}

static void coroutine_fn run_stop(const QDict *qdict, Error **errp)
{
    uint32_t slave;

    if (get_slave(qdict, &slave, errp)) {
        simple(NULL, slave, SDM_WIRE_STOP, errp);
    }
}

void hmp_sdm_stop(Monitor *mon, const QDict *qdict)
{
    hmp_start(mon, qdict, run_stop);
}

/* The time, in us, that so many of a hundred signals took at most. */
static uint64_t percentile(uint64List *latency, unsigned percent)
{
    uint64_t sum = 0, upto = 0;
    uint64List *i;
    unsigned n = 0;

    for (i = latency; i; i = i->next) {
        sum += i->value;
    }
    for (i = latency; i; i = i->next, n++) {
        upto += i->value;
        if (upto * 100 >= sum * percent) {
            break;
        }
    }
    return sum ? MAX((2ull << n) / 1000, 1) : 0;
}

static void print_info(Monitor *mon, SdmInfo *info)
{
    bool slave = info->role == SDM_INFO_ROLE_SLAVE;

    if (info->has_socket) {
        monitor_printf(mon, "%s: %s at %s", info->socket,
                       SdmInfoRole_str(info->role), info->path);
    } else {
        monitor_printf(mon, "%s: %s", info->channel,
                       SdmInfoRole_str(info->role));
    }
    if (info->has_memory_size) {
        monitor_printf(mon, ", memory %" PRIu64 " MiB in pages of %" PRIu64
                       " KiB", info->memory_size >> 20, info->page_size >> 10);
    }
    if (slave && info->has_own_id) {
        monitor_printf(mon, ", slave %u", info->own_id);
    } else if (slave) {
        monitor_printf(mon, ", no master yet");
    }
    monitor_printf(mon, "\n");
}

static void print_peers(Monitor *mon, SdmPeerList *list)
{
    if (list) {
        monitor_printf(mon, "%3s %-12s %-8s %-8s %-21s %5s %8s %8s %8s %8s "
                       "%8s %8s\n", "id", "name", "state", "isa", "window",
                       "boots", "sent", "taken", "waiting", "refused",
                       "p50 us <", "p99 us <");
    }
    for (; list; list = list->next) {
        SdmPeer *p = list->value;
        g_autofree char *window = p->window_size ?
            g_strdup_printf("0x%" PRIx64 "+0x%" PRIx64, p->window_offset,
                            p->window_size) : g_strdup("-");

        monitor_printf(mon, "%3u %-12s %-8s %-8s %-21s %5" PRIu64 " %8" PRIu64
                       " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64
                       " %8" PRIu64 "\n", p->id, p->name ?: "-",
                       SdmPeerState_str(p->state), p->isa ?: "-", window,
                       p->boots, p->sent, p->taken, p->waiting, p->refused,
                       percentile(p->latency, 50),
                       percentile(p->latency, 99));
    }
}

static void print_signals(Monitor *mon, SdmSignalCountList *list)
{
    if (list) {
        monitor_printf(mon, "%4s %-12s %8s %8s %8s %8s\n", "type", "signal",
                       "sent", "taken", "waiting", "refused");
    }
    for (; list; list = list->next) {
        SdmSignalCount *c = list->value;

        monitor_printf(mon, "%4u %-12s %8" PRIu64 " %8" PRIu64 " %8" PRIu64
                       " %8" PRIu64 "\n", c->type, c->signal, c->sent,
                       c->taken, c->waiting, c->refused);
    }
}

void hmp_info_sdm(Monitor *mon, const QDict *qdict)
{
    SdmInfoList *list = qmp_query_sdm(NULL), *i;

    if (!list) {
        monitor_printf(mon, "no " TYPE_MULTI_SOCKET ", no device on a local "
                       "channel\n");
    }
    for (i = list; i; i = i->next) {
        print_info(mon, i->value);
        print_peers(mon, i->value->peers);
        print_signals(mon, i->value->signals);
    }
    qapi_free_SdmInfoList(list);
}

static void monitor_register(void)
{
    multi_socket_set_observer(monitor_event);
}

type_init(monitor_register);
