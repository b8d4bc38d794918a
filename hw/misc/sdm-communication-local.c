/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sdm-communication-local: signals between the devices of one QEMU, one of them
 * the master, the others slaves with ids in the order of their creation. Between
 * the master and each slave are rings like those of the socket channel, and the
 * same code moves the signals; a kick is a bottom half.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "sysemu/runstate.h"
#include "hw/misc/sdm-comm.h"

#define TYPE_SDM_COMM_LOCAL "sdm-communication-local"
OBJECT_DECLARE_SIMPLE_TYPE(SdmCommLocal, SDM_COMM_LOCAL)

/* One device's place. */
typedef struct Seat {
    SdmCommLocal *s;
    SdmPort *port;
    SdmLanes lanes;
    QEMUBH *bh;
} Seat;

typedef struct LocalLane {
    SdmLane lane;
    Seat *to;
    struct Link *link;
} LocalLane;

/* Between the master and one slave. */
typedef struct Link {
    struct sdm_ring_pair pair;
    LocalLane master;
    LocalLane slave;
} Link;

struct SdmCommLocal {
    SdmComm parent_obj;
    VMChangeStateEntry *change;
    Seat *seats[SDM_MAX_SLAVES + 1];    /* by id */
    Link *links[SDM_MAX_SLAVES + 1];
};

static uint32_t seat_id(SdmCommLocal *s, SdmPort *port)
{
    uint32_t i;

    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        if (s->seats[i] && s->seats[i]->port == port) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void link_open(SdmCommLocal *s, uint32_t id)
{
    Link *link = g_new0(Link, 1);

    sdm_ring_pair_init(&link->pair);
    link->master.link = link->slave.link = link;
    link->master.to = s->seats[id];
    link->slave.to = s->seats[SDM_ID_MASTER];
    sdm_lane_open(&s->seats[SDM_ID_MASTER]->lanes, &link->master.lane, id,
                  &link->pair, true);
    sdm_lane_open(&s->seats[id]->lanes, &link->slave.lane, SDM_ID_MASTER,
                  &link->pair, false);
    s->links[id] = link;
}

static void link_free(void *opaque)
{
    g_free(opaque);
}

static void link_close(SdmCommLocal *s, uint32_t id)
{
    Link *link = s->links[id];

    if (link) {
        sdm_lane_close(&link->master.lane);
        sdm_lane_close(&link->slave.lane);
        s->links[id] = NULL;
        /* Somebody may be in the middle of using it. */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), link_free, link);
    }
}

static void lane_kick(SdmLane *lane)
{
    qemu_bh_schedule(container_of(lane, LocalLane, lane)->to->bh);
}

/* Our own memory: a saved state was tampered with. Start it anew. */
static void lane_broken(SdmLane *lane)
{
    LocalLane *l = container_of(lane, LocalLane, lane);
    SdmCommLocal *s = l->to->s;
    uint32_t id;

    for (id = 1; s->links[id] != l->link; id++) {
    }
    link_close(s, id);
    link_open(s, id);
}

static void lanes_schedule(SdmLanes *lanes)
{
    qemu_bh_schedule(container_of(lanes, Seat, lanes)->bh);
}

static const SdmLaneOps lane_ops = {
    .kick = lane_kick,
    .broken = lane_broken,
    .schedule = lanes_schedule,
};

static void seat_bh(void *opaque)
{
    Seat *seat = opaque;

    /* Not while one end of a ring is restored, and the other is not yet. */
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return;
    }
    if (sdm_lanes_service(&seat->lanes)) {
        qemu_bh_schedule(seat->bh);
    }
}

static void local_run(void *opaque, bool running, RunState state)
{
    SdmCommLocal *s = opaque;
    uint32_t i;

    for (i = 0; running && i <= SDM_MAX_SLAVES; i++) {
        if (s->seats[i]) {
            qemu_bh_schedule(s->seats[i]->bh);
        }
    }
}

static void tell_all(SdmCommLocal *s, uint32_t id)
{
    uint32_t i;

    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        if (i != id && s->seats[i]) {
            sdm_port_changed(s->seats[i]->port, id);
        }
    }
}

static bool local_attach(SdmComm *comm, SdmPort *port, Error **errp)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    uint32_t id = port->master ? SDM_ID_MASTER : 1, i;
    Seat *seat;

    while (!port->master && id <= SDM_MAX_SLAVES && s->seats[id]) {
        id++;
    }
    if (id > SDM_MAX_SLAVES || s->seats[id]) {
        error_setg(errp, port->master ? "comm=%s has a master already" :
                   "comm=%s: no free id for one more slave", port->comm_id);
        return false;
    }
    if (s->seats[0] && id > s->seats[0]->port->num_slaves) {
        error_setg(errp, "comm=%s: its master has num-slaves=%u, and this "
                   "would be slave %u", port->comm_id,
                   s->seats[0]->port->num_slaves, id);
        return false;
    }
    seat = g_new0(Seat, 1);
    seat->s = s;
    seat->port = port;
    seat->bh = qemu_bh_new(seat_bh, seat);
    sdm_lanes_init(&seat->lanes, &lane_ops);
    sdm_lanes_attach(&seat->lanes, port);
    s->seats[id] = seat;
    for (i = 1; i <= SDM_MAX_SLAVES; i++) {
        if (s->seats[SDM_ID_MASTER] && s->seats[i] && !s->links[i]) {
            link_open(s, i);
        }
    }
    tell_all(s, id);
    return true;
}

static void local_detach(SdmComm *comm, SdmPort *port)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    uint32_t id = seat_id(s, port), i;
    Seat *seat = s->seats[id];

    sdm_lanes_detach(&seat->lanes);
    for (i = 1; i <= SDM_MAX_SLAVES; i++) {
        if (id == SDM_ID_MASTER || id == i) {
            link_close(s, i);
        }
    }
    s->seats[id] = NULL;
    qemu_bh_delete(seat->bh);
    sdm_lanes_cleanup(&seat->lanes);
    g_free(seat);
    tell_all(s, id);
}

static SdmLanes *local_lanes(SdmComm *comm, SdmPort *port)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);

    return &s->seats[seat_id(s, port)]->lanes;
}

static uint32_t local_send(SdmComm *comm, SdmPort *port,
                           const struct sdm_signal *sig, void *token)
{
    uint32_t target = sdm_from_le16(sig->target);
    uint32_t first = target, last = target;

    if (target == SDM_ID_ALL) {
        first = 1;
        last = port->num_slaves;
    } else if (port->master && target == SDM_ID_MASTER) {
        /*
         * With one QEMU and two devices, the master's only slave is meant by
         * target 0, too: the letter of the SDM series has it so.
         */
        first = last = 1;
    } else if (target > SDM_MAX_SLAVES) {
        return SDM_ERR_NO_PEER;
    }
    return sdm_lanes_send(local_lanes(comm, port), first, last, sig, token);
}

static uint32_t local_id(SdmComm *comm, SdmPort *port)
{
    return seat_id(SDM_COMM_LOCAL(comm), port);
}

static uint32_t local_num_slaves(SdmComm *comm, SdmPort *port)
{
    return port->master ? port->num_slaves : 0;
}

static bool local_peer(SdmComm *comm, SdmPort *port, uint32_t id,
                       SdmPeerInfo *info)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);

    if (id > SDM_MAX_SLAVES || (!port->master && id != SDM_ID_MASTER)) {
        return false;
    }
    info->state = s->seats[id] ? SDM_STATE_RUNNING : SDM_STATE_ABSENT;
    return true;
}

static SdmPort *local_port(SdmComm *comm, unsigned n)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    uint32_t i;

    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        if (s->seats[i] && !n--) {
            return s->seats[i]->port;
        }
    }
    return NULL;
}

static MultiSocket *local_socket(SdmComm *comm)
{
    return NULL;
}

/* No other machine's memory. */
static bool local_region(SdmComm *comm, uint64_t *base, uint64_t *size)
{
    return false;
}

/* Nobody who could be booted. */
static uint32_t local_lifecycle(SdmComm *comm, SdmPort *port, uint32_t id,
                                uint16_t request,
                                const struct sdm_window *window, void *token)
{
    return SDM_ERR_UNSUPPORTED;
}

static void local_init(Object *obj)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(obj);

    s->change = qemu_add_vm_change_state_handler(local_run, s);
}

static void local_finalize(Object *obj)
{
    qemu_del_vm_change_state_handler(SDM_COMM_LOCAL(obj)->change);
}

static void local_class_init(ObjectClass *oc, void *data)
{
    SdmCommClass *cc = SDM_COMM_CLASS(oc);

    cc->attach = local_attach;
    cc->detach = local_detach;
    cc->send = local_send;
    cc->lanes = local_lanes;
    cc->id = local_id;
    cc->num_slaves = local_num_slaves;
    cc->peer = local_peer;
    cc->port = local_port;
    cc->socket = local_socket;
    cc->region = local_region;
    cc->lifecycle = local_lifecycle;
}

static const TypeInfo local_info = {
    .name = TYPE_SDM_COMM_LOCAL,
    .parent = TYPE_SDM_COMM,
    .instance_size = sizeof(SdmCommLocal),
    .instance_init = local_init,
    .instance_finalize = local_finalize,
    .class_init = local_class_init,
};

static void local_register(void)
{
    type_register_static(&local_info);
}

type_init(local_register);
