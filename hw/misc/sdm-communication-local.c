/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sdm-communication-local: signals between the devices of one QEMU, one of them
 * the master, the others slaves with ids in the order of their creation. Each
 * receiver has a queue as long as a ring of the socket channel, and the same
 * rules hold: order kept per sender, none lost, BUSY when a queue is full.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "hw/misc/sdm-comm.h"
#include "sdm/ring.h"

#define TYPE_SDM_COMM_LOCAL "sdm-communication-local"
OBJECT_DECLARE_SIMPLE_TYPE(SdmCommLocal, SDM_COMM_LOCAL)

typedef struct Seat {
    SdmCommLocal *s;
    SdmPort *port;
    QEMUBH *bh;             /* delivers, so that no send re-enters a device */
    uint32_t head;
    uint32_t count;
    bool wanted;            /* a sender waits for space */
    struct sdm_signal queue[SDM_RING_SLOTS];
} Seat;

struct SdmCommLocal {
    SdmComm parent_obj;
    Seat *seats[SDM_MAX_SLAVES + 1];    /* by id */
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

static void tell_all(SdmCommLocal *s, uint32_t id)
{
    uint32_t i;

    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        if (i != id && s->seats[i]) {
            s->seats[i]->port->ops->peer(s->seats[i]->port, id);
        }
    }
}

/* Whoever was refused may have been refused by this queue. */
static void seat_space(Seat *seat)
{
    SdmCommLocal *s = seat->s;
    uint32_t i;

    if (seat->wanted) {
        seat->wanted = false;
        for (i = 0; i <= SDM_MAX_SLAVES; i++) {
            if (s->seats[i]) {
                s->seats[i]->port->ops->space(s->seats[i]->port);
            }
        }
    }
}

static void seat_deliver(void *opaque)
{
    Seat *seat = opaque;

    while (seat->count &&
           seat->port->ops->receive(seat->port, &seat->queue[seat->head])) {
        seat->head = (seat->head + 1) % SDM_RING_SLOTS;
        seat->count--;
    }
    if (seat->count < SDM_RING_SLOTS) {
        seat_space(seat);
    }
}

static bool local_attach(SdmComm *comm, SdmPort *port, Error **errp)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    uint32_t id = port->master ? SDM_ID_MASTER : 1;

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
    s->seats[id] = g_new0(Seat, 1);
    s->seats[id]->s = s;
    s->seats[id]->port = port;
    s->seats[id]->bh = qemu_bh_new(seat_deliver, s->seats[id]);
    tell_all(s, id);
    return true;
}

static void local_detach(SdmComm *comm, SdmPort *port)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    uint32_t id = seat_id(s, port);
    Seat *seat = s->seats[id];

    s->seats[id] = NULL;
    qemu_bh_delete(seat->bh);
    seat_space(seat);       /* to be told that nobody is there */
    g_free(seat);
    tell_all(s, id);
}

static uint32_t local_send(SdmComm *comm, SdmPort *port,
                           const struct sdm_signal *sig)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    uint32_t target = sdm_from_le16(sig->target);
    uint32_t first = target, last = target, self = seat_id(s, port), i, type;
    struct sdm_signal copy = *sig;
    bool found = false;

    if (target == SDM_ID_ALL) {
        first = 1;
        last = SDM_MAX_SLAVES;
    } else if (target > SDM_MAX_SLAVES || !s->seats[target] ||
               (port->master && target == self)) {
        /*
         * With one QEMU and two devices, the master's only slave is meant by
         * target 0, too: the letter of the SDM series has it so.
         */
        if (target != SDM_ID_MASTER || !s->seats[1]) {
            return SDM_ERR_NO_PEER;
        }
        first = last = 1;
    }
    for (i = first; i <= last; i++) {
        if (s->seats[i] && s->seats[i]->count == SDM_RING_SLOTS) {
            s->seats[i]->wanted = true;
            return SDM_FULL;
        }
    }
    type = sdm_from_le32(sig->type);
    for (i = first; i <= last; i++) {
        Seat *seat = s->seats[i];

        if (seat && (seat->port->features & (1u << type))) {
            copy.target = sdm_to_le16(i);
            seat->queue[(seat->head + seat->count++) % SDM_RING_SLOTS] = copy;
            qemu_bh_schedule(seat->bh);
            found = true;
        }
    }
    return found || target == SDM_ID_ALL ? SDM_OK : SDM_ERR_UNSUPPORTED;
}

static void local_resume(SdmComm *comm, SdmPort *port)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);

    qemu_bh_schedule(s->seats[seat_id(s, port)]->bh);
}

static void local_reset(SdmComm *comm, SdmPort *port)
{
    SdmCommLocal *s = SDM_COMM_LOCAL(comm);
    Seat *seat = s->seats[seat_id(s, port)];

    seat->count = 0;
    qemu_bh_schedule(seat->bh);     /* who waits for space has it now */
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

static void local_class_init(ObjectClass *oc, void *data)
{
    SdmCommClass *cc = SDM_COMM_CLASS(oc);

    cc->attach = local_attach;
    cc->detach = local_detach;
    cc->send = local_send;
    cc->resume = local_resume;
    cc->reset = local_reset;
    cc->id = local_id;
    cc->num_slaves = local_num_slaves;
    cc->peer = local_peer;
    cc->region = local_region;
    cc->lifecycle = local_lifecycle;
}

static const TypeInfo local_info = {
    .name = TYPE_SDM_COMM_LOCAL,
    .parent = TYPE_SDM_COMM,
    .instance_size = sizeof(SdmCommLocal),
    .class_init = local_class_init,
};

static void local_register(void)
{
    type_register_static(&local_info);
}

type_init(local_register);
