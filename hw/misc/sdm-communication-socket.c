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
#include "qom/object_interfaces.h"
#include "exec/address-spaces.h"
#include "hw/misc/sdm-comm.h"
#include "backends/hostmem-shared-qemu.h"
#include "backends/multi-socket-qemu.h"
#include "backends/sdm-report-qemu.h"
#include "backends/sdm-kick.h"
#include "backends/sdm-region.h"
#include "sdm/sdm-ring.h"
#include "qemu-sdm/trace.h"

#define TYPE_SDM_COMM_SOCKET "sdm-communication-socket"
OBJECT_DECLARE_SIMPLE_TYPE(SdmCommSocket, SDM_COMM_SOCKET)

/* Room for a device tree; QEMU's own have 1 MiB. */
#define DTB_ROOM_MAX (16 * MiB)

/* Signals taken from one slave before the others have their turn. */
#define BATCH 64

typedef struct Channel {
    SdmCommSocket *s;
    uint32_t id;            /* of the slave that it belongs to */
    struct sdm_ring_pair *pair;
    int memfd;
    int kick_fd;
    int wait_fd;
    int given[2];           /* master: the slave's ends of the two pipes */
    struct sdm_ring_end tx;
    struct sdm_ring_end rx;
    bool tx_full;           /* the port waits for space */
    QEMUBH *bh;
    uint64_t sent;
    uint64_t taken;
    uint64_t refused;
} Channel;

typedef struct Pending {
    SdmCommSocket *s;
    void *token;
    struct sdm_window room;     /* of GET_DTB: where the tree goes */
    QLIST_ENTRY(Pending) next;
} Pending;

struct SdmCommSocket {
    SdmComm parent_obj;
    SdmPort *port;          /* its one device, or NULL */
    char *socket_id;
    MultiSocket *socket;
    MultiSocketClient client;
    Channel channels[SDM_MAX_SLAVES + 1];   /* a slave uses [0] only */
    QLIST_HEAD(, Pending) pending;
    QEMUBH *space_bh;
};

static void channel_close(Channel *c)
{
    if (!c->pair) {
        return;
    }
    qemu_set_fd_handler(c->wait_fd, NULL, NULL, NULL);
    qemu_bh_delete(c->bh);
    munmap(c->pair, SDM_RING_BYTES);
    close(c->memfd);
    close(c->kick_fd);
    close(c->wait_fd);
    if (c->given[0] >= 0) {
        close(c->given[0]);
        close(c->given[1]);
    }
    c->pair = NULL;
    c->tx_full = false;
}

static void channel_drain(Channel *c)
{
    SdmPort *port = c->s->port;
    struct sdm_signal sig;
    int n, ret = 0, kick;

    for (n = 0; port && c->pair && n < BATCH; n++) {
        ret = sdm_ring_peek(&c->rx, &sig);
        if (ret <= 0) {
            break;
        }
        /* Who sent it is what we know, not what is written there. */
        sig.source = sdm_to_le16(c->id);
        if (!port->master) {
            sig.source = sdm_to_le16(SDM_ID_MASTER);
        }
        sig.target = sdm_to_le16(sdm_port_id(port));
        sig.flags &= sdm_to_le32(SDM_SIGNAL_F_ACK);
        if (!sdm_type_in_ring(sdm_from_le32(sig.type)) ||
            !(port->features & (1u << sdm_from_le32(sig.type)))) {
            c->refused++;
        } else if (!port->ops->receive(port, &sig)) {
            return;         /* sdm_port_resume() goes on here */
        } else {
            c->taken++;
        }
        trace_sdm_channel_take(c->id, sdm_from_le32(sig.type));
        sdm_ring_drop(&c->rx, &kick);
        if (kick) {
            sdm_kick(c->kick_fd);
        }
    }
    if (ret < 0) {
        multi_socket_drop(c->s->socket, c->id,
                          "the signal ring has an impossible index");
    } else if (n == BATCH) {
        qemu_bh_schedule(c->bh);
    }
}

/* What is behind a full ring is new: a producer cannot hold us here. */
static void channel_discard(Channel *c)
{
    struct sdm_signal sig;
    int n, kick;

    for (n = 0; n < SDM_RING_SLOTS && sdm_ring_peek(&c->rx, &sig) > 0; n++) {
        sdm_ring_drop(&c->rx, &kick);
        c->refused++;
        if (kick) {
            sdm_kick(c->kick_fd);
        }
    }
    qemu_bh_schedule(c->bh);
}

static void channel_bh(void *opaque)
{
    channel_drain(opaque);
}

static void channel_readable(void *opaque)
{
    Channel *c = opaque;
    SdmPort *port = c->s->port;

    sdm_kick_clear(c->wait_fd);
    if (c->tx_full && sdm_ring_used(&c->tx) < SDM_RING_SLOTS) {
        c->tx_full = false;
        if (port) {
            port->ops->space(port);
        }
    }
    channel_drain(c);
}

/**
 * channel_open() - start to use a ring pair; takes all three fds over
 * Returns: 0 or -errno, and the fds are closed
 */
static int channel_open(Channel *c, int memfd, int kick_fd, int wait_fd,
                        bool master)
{
    void *p = mmap(NULL, SDM_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                   memfd, 0);
    int ret = p == MAP_FAILED ? -errno : 0;

    if (!ret) {
        if (master) {
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
    c->pair = p;
    c->memfd = memfd;
    c->kick_fd = kick_fd;
    c->wait_fd = wait_fd;
    c->given[0] = c->given[1] = -1;
    c->tx_full = false;
    sdm_ring_end_init(&c->tx, &c->pair->ring[master ? SDM_RING_TO_SLAVE
                                                    : SDM_RING_TO_MASTER]);
    sdm_ring_end_init(&c->rx, &c->pair->ring[master ? SDM_RING_TO_MASTER
                                                    : SDM_RING_TO_SLAVE]);
    c->bh = qemu_bh_new(channel_bh, c);
    qemu_set_fd_handler(wait_fd, channel_readable, NULL, c);
    return 0;
}

/*
 * Who waited for a peer that is gone has to try, and will be refused. Not at
 * once: the peer may have been given up in the middle of a send.
 */
static void comm_space_bh(void *opaque)
{
    SdmCommSocket *s = opaque;
    SdmPort *port = s->port;

    if (port) {
        port->ops->space(port);
    }
}

/* The socket's side */

static uint32_t comm_grant(MultiSocketClient *client, uint32_t id,
                           uint64_t ram_size, struct sdm_grant *grant,
                           const char **text)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);
    Channel *c = &s->channels[id];
    int memfd, to_slave[2], to_master[2];

    channel_close(c);
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
    if (channel_open(c, memfd, to_slave[1], to_master[0], true) < 0) {
        close(to_slave[0]);
        close(to_master[1]);
        goto no_memory;
    }
    c->given[0] = to_slave[0];
    c->given[1] = to_master[1];
    grant->fds[1] = memfd;
    grant->fds[2] = to_slave[0];
    grant->fds[3] = to_master[1];
    return SDM_OK;

no_to_master:
    close(to_slave[0]);
    close(to_slave[1]);
no_to_slave:
    close(memfd);
no_memory:
    *text = "the master has no memory or fds left for signal rings";
    return SDM_ERR_MEMORY;
}

static void comm_hub_event(MultiSocketClient *client,
                           const struct sdm_hub_event *ev)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);
    SdmPort *port = s->port;

    if (ev->type == SDM_HUB_LEFT) {
        bool waited = s->channels[ev->id].tx_full;

        channel_close(&s->channels[ev->id]);
        if (waited) {
            qemu_bh_schedule(s->space_bh);
        }
    }
    if (port && (ev->type == SDM_HUB_JOINED || ev->type == SDM_HUB_STATE ||
                 ev->type == SDM_HUB_LEFT)) {
        port->ops->peer(port, ev->id);
    }
}

static void comm_welcome(MultiSocketClient *client, const struct sdm_msg *msg,
                         int *fds)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);
    Channel *c = &s->channels[0];
    unsigned have = msg->u.welcome.fds;
    unsigned i = !!(have & SDM_WIRE_FD_MEMORY);
    unsigned all = SDM_WIRE_FD_RING | SDM_WIRE_FD_TO_SLAVE |
                   SDM_WIRE_FD_TO_MASTER;
    int ret;

    channel_close(c);
    if ((have & all) != all) {
        sdm_report("%s: the master has no SDM device: no signals",
                    multi_socket_path(s->socket));
        return;
    }
    ret = sdm_fd_check(fds[i], SDM_RING_BYTES, F_SEAL_SHRINK, NULL);
    if (!ret) {
        int wait_fd = sdm_kick_adopt(fds[i + 1], 0);
        int kick_fd = sdm_kick_adopt(fds[i + 2], 1);

        fds[i + 1] = fds[i + 2] = -1;
        if (wait_fd >= 0 && kick_fd >= 0) {
            ret = channel_open(c, fds[i], kick_fd, wait_fd, false);
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
    }
    if (s->port) {
        s->port->ops->peer(s->port, SDM_ID_MASTER);
    }
}

static void comm_lost(MultiSocketClient *client)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);
    bool waited = s->channels[0].tx_full;
    SdmPort *port = s->port;

    channel_close(&s->channels[0]);
    if (waited) {
        qemu_bh_schedule(s->space_bh);
    }
    if (port) {
        port->ops->peer(port, SDM_ID_MASTER);
    }
}

static void comm_counters(MultiSocketClient *client, uint32_t id,
                          uint64_t *sent, uint64_t *taken, uint64_t *refused)
{
    SdmCommSocket *s = container_of(client, SdmCommSocket, client);

    *sent += s->channels[id].sent;
    *taken += s->channels[id].taken;
    *refused += s->channels[id].refused;
}

/* The port's side */

static bool comm_attach(SdmComm *comm, SdmPort *port, Error **errp)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);

    if (s->port) {
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
    s->port = port;
    return true;
}

static void comm_detach(SdmComm *comm, SdmPort *port)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    Pending *p;

    QLIST_FOREACH(p, &s->pending, next) {
        p->token = NULL;
    }
    s->port = NULL;
}

static uint32_t channel_put(Channel *c, const struct sdm_signal *sig)
{
    int kick, ret;

    if (!c->pair) {
        return SDM_ERR_NO_PEER;
    }
    ret = sdm_ring_put(&c->tx, sig, &kick);
    if (ret == -EAGAIN) {
        c->tx_full = true;
        return SDM_FULL;
    }
    if (ret < 0) {
        multi_socket_drop(c->s->socket, c->id,
                          "the signal ring has an impossible index");
        return SDM_ERR_GONE;
    }
    c->sent++;
    if (kick) {
        sdm_kick(c->kick_fd);
    }
    return SDM_OK;
}

static uint32_t comm_send(SdmComm *comm, SdmPort *port,
                          const struct sdm_signal *sig)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    uint32_t target = sdm_from_le16(sig->target);
    uint32_t i, n = port->num_slaves;

    if (!port->master) {
        return channel_put(&s->channels[0], sig);
    }
    if (target != SDM_ID_ALL) {
        if (target < 1 || target > n) {
            return SDM_ERR_NO_PEER;
        }
        return channel_put(&s->channels[target], sig);
    }
    /*
     * To all or to none: only we fill these rings, so one that has space now
     * has it below.
     */
    for (i = 1; i <= n; i++) {
        if (s->channels[i].pair &&
            sdm_ring_used(&s->channels[i].tx) >= SDM_RING_SLOTS) {
            return channel_put(&s->channels[i], sig);
        }
    }
    for (i = 1; i <= n; i++) {
        channel_put(&s->channels[i], sig);
    }
    return SDM_OK;
}

static void comm_resume(SdmComm *comm, SdmPort *port)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    uint32_t i, n = port->master ? port->num_slaves : 0;

    for (i = 0; i <= n; i++) {
        if (s->channels[i].pair) {
            qemu_bh_schedule(s->channels[i].bh);
        }
    }
}

static void comm_reset(SdmComm *comm, SdmPort *port)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(comm);
    uint32_t i;

    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        if (s->channels[i].pair) {
            channel_discard(&s->channels[i]);
        }
    }
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
    SdmPort *port = p->s->port;

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

static void comm_complete(UserCreatable *uc, Error **errp)
{
    SdmCommSocket *s = SDM_COMM_SOCKET(uc);
    bool master;

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
    uint32_t i;

    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        s->channels[i].s = s;
        s->channels[i].id = i;
    }
    s->space_bh = qemu_bh_new(comm_space_bh, s);
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
        channel_close(&s->channels[i]);
    }
    qemu_bh_delete(s->space_bh);
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

static void comm_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);
    SdmCommClass *cc = SDM_COMM_CLASS(oc);

    ucc->complete = comm_complete;
    cc->attach = comm_attach;
    cc->detach = comm_detach;
    cc->send = comm_send;
    cc->resume = comm_resume;
    cc->reset = comm_reset;
    cc->id = comm_id;
    cc->num_slaves = comm_num_slaves;
    cc->peer = comm_peer;
    cc->region = comm_region;
    cc->lifecycle = comm_lifecycle;
    object_class_property_add_str(oc, "socket", get_socket, set_socket);
    object_class_property_set_description(oc, "socket",
        "Id of a " TYPE_MULTI_SOCKET);
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
