/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sdm-communication-socket: signals between QEMUs. The rings and pipes of
 * each slave are made by the master and travel in the WELCOME of the
 * multi-socket-backend; BOOT, RESET and STOP are requests on that socket.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "block/aio.h"
#include "migration/blocker.h"
#include "qom/object_interfaces.h"
#include "sysemu/event-loop-base.h"
#include "sysemu/iothread.h"
#include "exec/address-spaces.h"
#include "hw/misc/sdm-comm.h"
#include "backends/hostmem-shared-qemu.h"
#include "backends/multi-socket-qemu.h"
#include "backends/sdm-report-qemu.h"
#include "backends/sdm-kick.h"
#include "backends/sdm-region.h"
#include "qemu-sdm/trace.h"

#define TYPE_SDM_COMM_SOCKET "sdm-communication-socket"
OBJECT_DECLARE_SIMPLE_TYPE(SdmCommSocket, SDM_COMM_SOCKET)

/* Room for a device tree; QEMU's own have 1 MiB. */
#define DTB_ROOM_MAX (16 * MiB)

/*
 * One connection's rings and pipes. The thread that serves it (the main loop,
 * or that of iothread=) may be in a handler, waiting for the big lock, while it
 * is closed: it is freed there, later, by the last reference. @s is NULL from
 * the closing on; it needs the big lock.
 */
typedef struct Channel {
    SdmLane lane;
    SdmCommSocket *s;
    AioContext *ctx;
    IOThread *iothread;     /* NULL: the main loop; a reference */
    int refs;
    bool again;             /* channel_again() is on its way */
    struct sdm_ring_pair *pair;
    int memfd;
    int kick_fd;
    int wait_fd;
    int given[2];           /* master: the slave's ends of the two pipes */
} Channel;

typedef struct Pending {
    SdmCommSocket *s;
    void *token;
    struct sdm_window room;     /* of GET_DTB: where the tree goes */
    QLIST_ENTRY(Pending) next;
} Pending;

struct SdmCommSocket {
    SdmComm parent_obj;
    char *socket_id;
    MultiSocket *socket;
    MultiSocketClient client;
    SdmLanes lanes;         /* a slave has [0] only */
    QLIST_HEAD(, Pending) pending;
    QEMUBH *bh;
    char *iothread_id;
    IOThread *iothread;
    Error *blocker;
};

/*
 * Waits for the thread, which is not waiting for the big lock on our behalf: no
 * channel is left that could.
 */
static void drop_iothread(void *opaque)
{
    object_unref(OBJECT(opaque));
}

static void channel_unref(Channel *c)
{
    if (qatomic_fetch_dec(&c->refs) > 1) {
        return;
    }
    munmap(c->pair, SDM_RING_BYTES);
    close(c->memfd);
    close(c->kick_fd);
    close(c->wait_fd);
    if (c->given[0] >= 0) {
        close(c->given[0]);
        close(c->given[1]);
    }
    if (c->iothread) {
        /* Not here: a thread cannot wait for its own end. */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), drop_iothread,
                                c->iothread);
    }
    g_free(c);
}

static void channel_free(void *opaque)
{
    channel_unref(opaque);
}

static void channel_again(void *opaque);

/* The big lock is held, on whatever thread. */
static void channel_service(Channel *c)
{
    if (c->s && sdm_lanes_service(&c->s->lanes) && c->s && !c->again) {
        c->again = true;
        qatomic_inc(&c->refs);
        aio_bh_schedule_oneshot(c->ctx, channel_again, c);
    }
}

/*
 * An iothread takes the big lock, holding no AioContext, to reach the devices.
 * Whoever tears down holds that lock and never waits for the iothread.
 */
static void channel_run(Channel *c)
{
    bool locked = qemu_mutex_iothread_locked();

    if (!locked) {
        qemu_mutex_lock_iothread();
    }
    channel_service(c);
    if (!locked) {
        qemu_mutex_unlock_iothread();
    }
}

static void channel_again(void *opaque)
{
    Channel *c = opaque;

    qatomic_set(&c->again, false);
    channel_run(c);
    channel_unref(c);
}

static void channel_readable(void *opaque)
{
    Channel *c = opaque;

    trace_sdm_channel_wake(c->lane.id);
    sdm_kick_clear(c->wait_fd);
    channel_run(c);
}

/* Only in an iothread, which has the adaptive polling of an AioContext. */

static bool channel_poll(void *opaque)
{
    Channel *c = opaque;

    return sdm_lane_ready(&c->lane);
}

/*
 * The guest that was woken may have to run on this very CPU: let it, before
 * polling goes on. Nothing happens where it has a CPU of its own.
 */
static void channel_poll_ready(void *opaque)
{
    channel_run(opaque);
    sched_yield();
}

static void channel_poll_begin(void *opaque)
{
    Channel *c = opaque;

    qatomic_set(&c->lane.polled, true);
}

/* From here on the thread sleeps: kicks are wanted again. */
static void channel_poll_end(void *opaque)
{
    Channel *c = opaque;

    qatomic_set(&c->lane.polled, false);
    channel_run(c);
}

static void channel_close(SdmCommSocket *s, uint32_t id)
{
    SdmLane *lane = s->lanes.lane[id];
    Channel *c;

    if (!lane) {
        return;
    }
    c = container_of(lane, Channel, lane);
    sdm_lane_close(lane);
    aio_set_fd_handler(c->ctx, c->wait_fd, false, NULL, NULL, NULL, NULL,
                       NULL);
    c->s = NULL;
    aio_bh_schedule_oneshot(c->ctx, channel_free, c);
}

static void lane_kick(SdmLane *lane)
{
    sdm_kick(container_of(lane, Channel, lane)->kick_fd);
}

static void lane_broken(SdmLane *lane)
{
    Channel *c = container_of(lane, Channel, lane);

    multi_socket_drop(c->s->socket, lane->id,
                      "the signal ring has an impossible index");
}

static void lanes_schedule(SdmLanes *lanes)
{
    qemu_bh_schedule(container_of(lanes, SdmCommSocket, lanes)->bh);
}

static const SdmLaneOps lane_ops = {
    .kick = lane_kick,
    .broken = lane_broken,
    .schedule = lanes_schedule,
};

static void comm_bh(void *opaque)
{
    SdmCommSocket *s = opaque;

    if (sdm_lanes_service(&s->lanes)) {
        qemu_bh_schedule(s->bh);
    }
}

/**
 * channel_open() - start to use a ring pair; takes all three fds over
 * Returns: 0 or -errno, and the fds are closed
 */
static int channel_open(SdmCommSocket *s, uint32_t id, int memfd, int kick_fd,
                        int wait_fd, const int *given)
{
    void *p = mmap(NULL, SDM_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                   memfd, 0);
    int ret = p == MAP_FAILED ? -errno : 0;
    Channel *c;

    if (!ret) {
        if (given) {
            sdm_ring_pair_init(p);
        }
        ret = sdm_ring_pair_check(p);
        if (ret) {
            munmap(p, SDM_RING_BYTES);
        }
    }
    if (ret) {
        close(memfd);
        close(kick_fd);
        close(wait_fd);
        return ret;
    }
    c = g_new0(Channel, 1);
    c->s = s;
    c->refs = 1;
    c->pair = p;
    c->memfd = memfd;
    c->kick_fd = kick_fd;
    c->wait_fd = wait_fd;
    c->given[0] = given ? given[0] : -1;
    c->given[1] = given ? given[1] : -1;
    c->iothread = s->iothread;
    sdm_lane_open(&s->lanes, &c->lane, id, p, given);
    if (c->iothread) {
        object_ref(OBJECT(c->iothread));
        c->ctx = iothread_get_aio_context(c->iothread);
        aio_set_fd_handler(c->ctx, wait_fd, false, channel_readable, NULL,
                           channel_poll, channel_poll_ready, c);
        aio_set_fd_poll(c->ctx, wait_fd, channel_poll_begin, channel_poll_end);
    } else {
        c->ctx = iohandler_get_aio_context();
        aio_set_fd_handler(c->ctx, wait_fd, false, channel_readable, NULL,
                           NULL, NULL, c);
    }
    return 0;
}

/* Signals on their way are in nobody's saved state. */
static bool block_migration(SdmCommSocket *s)
{
    Error *err = NULL;

    if (s->blocker) {
        return true;
    }
    error_setg(&s->blocker, "%s has a peer at socket %s: signals between "
               "machines are not saved; disconnect it first",
               object_get_canonical_path_component(OBJECT(s)),
               multi_socket_path(s->socket));
    if (migrate_add_blocker(s->blocker, &err) < 0) {
        g_clear_pointer(&s->blocker, error_free);
        error_free(err);
        return false;
    }
    return true;
}

static void unblock_migration(SdmCommSocket *s)
{
    uint32_t i;

    for (i = 0; i < s->lanes.count; i++) {
        if (s->lanes.lane[i]) {
            return;
        }
    }
    if (s->blocker) {
        migrate_del_blocker(s->blocker);
        g_clear_pointer(&s->blocker, error_free);
    }
}

/* The socket's side */

static uint32_t comm_grant(MultiSocketClient *client, uint32_t id,
                           uint64_t ram_size, struct sdm_grant *grant,
                           const char **text)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);
    int memfd, to_slave[2], to_master[2], given[2];

    channel_close(s, id);
    if (!block_migration(s)) {
        *text = "the master is being migrated";
        return SDM_ERR_BUSY;
    }
    memfd = sdm_memfd("sdm-ring", NULL, SDM_RING_BYTES, 0);
    if (memfd < 0) {
        goto no_memory;
    }
    if (sdm_kick_pipe(to_slave) < 0) {
        goto no_to_slave;
    }
    if (sdm_kick_pipe(to_master) < 0) {
        goto no_to_master;
    }
    given[0] = to_slave[0];
    given[1] = to_master[1];
    if (channel_open(s, id, memfd, to_slave[1], to_master[0], given) < 0) {
        close(given[0]);
        close(given[1]);
        goto no_memory;
    }
    grant->fds[1] = memfd;
    grant->fds[2] = given[0];
    grant->fds[3] = given[1];
    return SDM_OK;

no_to_master:
    close(to_slave[0]);
    close(to_slave[1]);
no_to_slave:
    close(memfd);
no_memory:
    unblock_migration(s);
    *text = "the master has no memory or fds left for signal rings";
    return SDM_ERR_MEMORY;
}

static void comm_hub_event(MultiSocketClient *client,
                           const struct sdm_hub_event *ev)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);

    if (ev->type == SDM_HUB_LEFT) {
        channel_close(s, ev->id);
        unblock_migration(s);
    }
    if (s->lanes.port &&
        (ev->type == SDM_HUB_JOINED || ev->type == SDM_HUB_STATE ||
         ev->type == SDM_HUB_LEFT)) {
        sdm_port_changed(s->lanes.port, ev->id);
    }
}

static void comm_welcome(MultiSocketClient *client, const struct sdm_msg *msg,
                         int *fds)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);
    unsigned have = msg->u.welcome.fds;
    unsigned i = !!(have & SDM_WIRE_FD_MEMORY);
    unsigned all = SDM_WIRE_FD_RING | SDM_WIRE_FD_TO_SLAVE |
                   SDM_WIRE_FD_TO_MASTER;
    int ret;

    channel_close(s, 0);
    if ((have & all) != all) {
        sdm_report("%s: the master has no SDM device: no signals",
                    multi_socket_path(s->socket));
        return;
    }
    if (!block_migration(s)) {
        sdm_report("%s: no signals: this machine is being migrated",
                   multi_socket_path(s->socket));
        return;
    }
    ret = sdm_fd_check(fds[i], SDM_RING_BYTES, F_SEAL_SHRINK, NULL);
    if (!ret) {
        int wait_fd = sdm_kick_adopt(fds[i + 1], 0);
        int kick_fd = sdm_kick_adopt(fds[i + 2], 1);

        fds[i + 1] = fds[i + 2] = -1;
        if (wait_fd >= 0 && kick_fd >= 0) {
            ret = channel_open(s, 0, fds[i], kick_fd, wait_fd, NULL);
            fds[i] = -1;
        } else {
            ret = -EPROTO;
            if (wait_fd >= 0) {
                close(wait_fd);
            }
            if (kick_fd >= 0) {
                close(kick_fd);
            }
        }
    }
    if (ret) {
        sdm_report("%s: the master's signal rings cannot be used: %s",
                    multi_socket_path(s->socket), strerror(-ret));
        unblock_migration(s);
    }
    if (s->lanes.port) {
        sdm_port_changed(s->lanes.port, SDM_ID_MASTER);
    }
}

static void comm_lost(MultiSocketClient *client)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);

    channel_close(s, SDM_ID_MASTER);
    unblock_migration(s);
    if (s->lanes.port) {
        sdm_port_changed(s->lanes.port, SDM_ID_MASTER);
    }
}

static void comm_counters(MultiSocketClient *client, uint32_t id,
                          uint64_t *sent, uint64_t *taken, uint64_t *refused)
{
    SdmStats *stats =
        &container_of(client, SdmCommSocket, client)->lanes.stats[id];

    *sent += stats->sent;
    *taken += stats->taken;
    *refused += stats->refused;
}

/* The port's side */

static bool comm_attach(SdmComm *comm, SdmPort *port, Error **errp)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);

    if (s->lanes.port) {
        error_setg(errp, "comm=%s: a socket channel serves one device, and "
                   "has one already", port->comm_id);
        return false;
    }
    if (multi_socket_is_master(s->socket) != port->master) {
        error_setg(errp, port->master ?
                   "master needs a channel over a socket with listen=on, and "
                   "comm=%s is the connecting side" :
                   "comm=%s is the listening side: add master",
                   port->comm_id);
        return false;
    }
    if (port->master &&
        !multi_socket_set_num_slaves(s->socket, port->num_slaves, errp)) {
        return false;
    }
    multi_socket_add_features(s->socket, port->features);
    sdm_lanes_attach(&s->lanes, port);
    return true;
}

static void comm_detach(SdmComm *comm, SdmPort *port)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    Pending *p;

    QLIST_FOREACH(p, &s->pending, next) {
        p->token = NULL;
    }
    sdm_lanes_detach(&s->lanes);
}

static SdmLanes *comm_lanes(SdmComm *comm, SdmPort *port)
{
    return &SDM_COMM_SOCKET(comm)->lanes;
}

static uint32_t comm_send(SdmComm *comm, SdmPort *port,
                          const struct sdm_signal *sig, void *token)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    uint32_t target = sdm_from_le16(sig->target);
    uint32_t first = target, last = target;

    if (target == SDM_ID_ALL) {
        first = 1;
        last = port->num_slaves;
    } else if (port->master && (target < 1 || target > port->num_slaves)) {
        return SDM_ERR_NO_PEER;
    }
    return sdm_lanes_send(&s->lanes, first, last, sig, token);
}

static uint32_t comm_id(SdmComm *comm, SdmPort *port)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    struct sdm_link *link = multi_socket_link(s->socket);

    if (!link) {
        return SDM_ID_MASTER;
    }
    return link->phase == SDM_LINK_UP ? link->id : UINT32_MAX;
}

static uint32_t comm_num_slaves(SdmComm *comm, SdmPort *port)
{
    return port->master ? port->num_slaves : 0;
}

static bool comm_peer(SdmComm *comm, SdmPort *port, uint32_t id,
                      SdmPeerInfo *info)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    struct sdm_link *link = multi_socket_link(s->socket);
    const struct sdm_peer *peer;

    if (link) {
        if (id != SDM_ID_MASTER) {
            return false;
        }
        info->state = link->phase == SDM_LINK_UP ? SDM_STATE_RUNNING
                                                 : SDM_STATE_ABSENT;
        return true;
    }
    peer = sdm_hub_peer(multi_socket_hub(s->socket), id);
    if (!peer) {
        return false;
    }
    info->state = peer->state;
    info->machine = peer->machine;
    info->ram_base = peer->ram_base;
    info->ram_size = peer->ram_size;
    info->window = peer->window;
    memcpy(info->name, peer->name, sizeof(info->name));
    return true;
}

static SdmPort *comm_port(SdmComm *comm, unsigned n)
{
    return n ? NULL : SDM_COMM_SOCKET(comm)->lanes.port;
}

static MultiSocket *comm_socket(SdmComm *comm)
{
    return SDM_COMM_SOCKET(comm)->socket;
}

static bool comm_region(SdmComm *comm, uint64_t *base, uint64_t *size)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    HostMemoryBackendShared *m = hostmem_shared_of(s->socket);

    if (!m || !hostmem_shared_is_master(m) || !hostmem_shared_base(m, base)) {
        return false;
    }
    *size = hostmem_shared_size(m);
    return true;
}

/* Put a slave's device tree where the guest wants it; its memory, its risk. */
static uint32_t write_dtb(Pending *p, int fd, uint64_t size)
{
    g_autofree void *dtb = NULL;
    uint64_t base, bytes;

    if (!comm_region(SDM_COMM(p->s), &base, &bytes)) {
        return SDM_ERR_MEMORY;
    }
    if (size > p->room.size) {
        return SDM_ERR_WINDOW;
    }
    if (sdm_fd_check(fd, size, F_SEAL_SHRINK | F_SEAL_WRITE, NULL) < 0) {
        return SDM_ERR_INVAL;
    }
    dtb = g_malloc(size);
    if (pread(fd, dtb, size, 0) != size) {
        return SDM_ERR_INTERNAL;
    }
    if (address_space_write(&address_space_memory, base + p->room.offset,
                            MEMTXATTRS_UNSPECIFIED, dtb, size) != MEMTX_OK) {
        return SDM_ERR_WINDOW;
    }
    return SDM_OK;
}

static void lifecycle_done(void *opaque, uint32_t status, const char *text,
                           int fd, uint64_t size)
{
    Pending *p = opaque;
    SdmPort *port = p->s->lanes.port;

    if (status == SDM_OK && p->room.size) {
        status = write_dtb(p, fd, size);
    }
    if (status != SDM_OK) {
        sdm_report("%s: %s", multi_socket_path(p->s->socket),
                    text && *text ? text : sdm_status_text(status));
    }
    if (p->token && port) {
        port->ops->done(port, p->token, status);
    }
    QLIST_REMOVE(p, next);
    g_free(p);
}

static uint32_t comm_lifecycle(SdmComm *comm, SdmPort *port, uint32_t id,
                               uint16_t request,
                               const struct sdm_window *window, void *token)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    struct sdm_text why;
    uint32_t status;
    Pending *p;

    sdm_text_init(&why);
    p = g_new0(Pending, 1);
    p->s = s;
    p->token = token;
    if (request == SDM_WIRE_GET_DTB) {
        HostMemoryBackendShared *m = hostmem_shared_of(s->socket);

        /* Room for a tree: any bytes of the shared memory, not just pages. */
        if (!m || !window->size || window->size > DTB_ROOM_MAX ||
            sdm_window_check(window, hostmem_shared_size(m), 1) < 0) {
            g_free(p);
            return SDM_ERR_WINDOW;
        }
        p->room = *window;
        window = NULL;
    }
    status = multi_socket_request(s->socket, id, request, window,
                                  lifecycle_done, p, &why);
    if (status != SDM_OK) {
        /* The guest gets the number; a person at the host gets the reason. */
        sdm_report("%s: request for slave %u refused: %s",
                         multi_socket_path(s->socket), id, why.buf);
        trace_sdm_refused(id, status, why.buf);
        g_free(p);
        return status;
    }
    QLIST_INSERT_HEAD(&s->pending, p, next);
    return SDM_PENDING;
}

/* The object */

static int serves(Object *obj, void *opaque)
{
    SdmCommSocket *s =
        (SdmCommSocket *)object_dynamic_cast(obj, TYPE_SDM_COMM_SOCKET);

    return s && s->iothread == opaque;
}

/* QEMU itself would let go of one that is in use, and just its name be gone. */
static bool iothread_can_be_deleted(EventLoopBase *base)
{
    return !object_child_foreach(object_get_objects_root(), serves, base);
}

static void comm_complete(UserCreatable *uc, Error **errp)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(uc);
    bool master;

    if (s->iothread_id) {
        s->iothread = iothread_by_id(s->iothread_id);
        if (!s->iothread) {
            error_setg(errp, "iothread=%s names no iothread object: add "
                       "-object iothread,id=%s before this one",
                       s->iothread_id, s->iothread_id);
            return;
        }
        object_ref(OBJECT(s->iothread));
        EVENT_LOOP_BASE_GET_CLASS(s->iothread)->can_be_deleted =
            iothread_can_be_deleted;
    }
    s->socket = multi_socket_find(s->socket_id, TYPE_SDM_COMM_SOCKET, errp);
    if (!s->socket) {
        return;
    }
    master = multi_socket_is_master(s->socket);
    s->client.grant = master ? comm_grant : NULL;
    s->client.hub_event = master ? comm_hub_event : NULL;
    s->client.counters = master ? comm_counters : NULL;
    s->client.welcome = master ? NULL : comm_welcome;
    s->client.lost = master ? NULL : comm_lost;
    multi_socket_add(s->socket, &s->client);
}

static void comm_init(Object *obj)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(obj);

    sdm_lanes_init(&s->lanes, &lane_ops);
    s->bh = qemu_bh_new(comm_bh, s);
}

static void comm_finalize(Object *obj)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(obj);
    Pending *p, *next;
    uint32_t i;

    if (s->socket) {
        multi_socket_remove(s->socket, &s->client);
        QLIST_FOREACH_SAFE(p, &s->pending, next, next) {
            multi_socket_cancel(s->socket, p);
            g_free(p);
        }
        object_unref(OBJECT(s->socket));
    }
    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        channel_close(s, i);
    }
    unblock_migration(s);
    qemu_bh_delete(s->bh);
    sdm_lanes_cleanup(&s->lanes);
    if (s->iothread) {
        object_unref(OBJECT(s->iothread));
    }
    g_free(s->iothread_id);
    g_free(s->socket_id);
}

static char *get_socket(Object *obj, Error **errp)
{
    return g_strdup(SDM_COMM_SOCKET(obj)->socket_id);
}

static void set_socket(Object *obj, const char *value, Error **errp)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(obj);

    if (s->socket) {
        error_setg(errp, "socket cannot be changed any more");
        return;
    }
    g_free(s->socket_id);
    s->socket_id = g_strdup(value);
}

static char *get_iothread(Object *obj, Error **errp)
{
    return g_strdup(SDM_COMM_SOCKET(obj)->iothread_id);
}

static void set_iothread(Object *obj, const char *value, Error **errp)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(obj);

    if (s->socket) {
        error_setg(errp, "iothread cannot be changed any more");
        return;
    }
    g_free(s->iothread_id);
    s->iothread_id = g_strdup(value);
}

static void comm_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);
    SdmCommClass *cc = SDM_COMM_CLASS(oc);

    ucc->complete = comm_complete;
    cc->attach = comm_attach;
    cc->detach = comm_detach;
    cc->send = comm_send;
    cc->lanes = comm_lanes;
    cc->id = comm_id;
    cc->num_slaves = comm_num_slaves;
    cc->peer = comm_peer;
    cc->port = comm_port;
    cc->socket = comm_socket;
    cc->region = comm_region;
    cc->lifecycle = comm_lifecycle;
    object_class_property_add_str(oc, "socket", get_socket, set_socket);
    object_class_property_set_description(oc, "socket",
        "Id of a " TYPE_MULTI_SOCKET);
    object_class_property_add_str(oc, "iothread", get_iothread, set_iothread);
    object_class_property_set_description(oc, "iothread",
        "Id of an iothread that serves the signals, and nothing else (default: "
        "the main loop)");
}

static const TypeInfo comm_info = {
    .name = TYPE_SDM_COMM_SOCKET,
    .parent = TYPE_SDM_COMM,
    .instance_size = sizeof(SdmCommSocket),
    .instance_init = comm_init,
    .instance_finalize = comm_finalize,
    .class_init = comm_class_init,
};

static void comm_register(void)
{
    type_register_static(&comm_info);
}

type_init(comm_register);
