/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports and channels. A port is the part that all SDM devices have in common:
 * the signals that it offers and the channel it is attached to. A channel
 * (sdm-communication-*) carries signals between the ports of one QEMU or of
 * several. All calls need the big lock; the callbacks may come from any thread
 * (an iothread, a vCPU that sends or looks).
 */
#ifndef SDM_COMM_H
#define SDM_COMM_H

#include "qom/object.h"
#include "hw/misc/sdm-lane.h"
#include "migration/vmstate.h"
#include "sdm/sdm-text.h"
#include "sdm/sdm-window.h"

/* sdm_port_send(): accepted, SdmPortOps.done will tell. */
#define SDM_PENDING UINT32_MAX

/*
 * sdm_port_send(): the receiver has no room, SdmPortOps.space will tell. Apart
 * from SDM_ERR_BUSY, which is for the guest: nobody will tell it anything.
 */
#define SDM_FULL (UINT32_MAX - 1)

/**
 * sdm_type_in_ring() - does a signal of this type travel from guest to guest?
 * The other types are requests, or are made by a device.
 */
static inline bool sdm_type_in_ring(uint32_t type)
{
    return type == SDM_SIGNAL_INTERRUPT ||
           (type >= SDM_SIGNAL_USER && type < SDM_SIGNAL_TYPES);
}

#define TYPE_SDM_COMM "sdm-communication"
OBJECT_DECLARE_TYPE(SdmComm, SdmCommClass, SDM_COMM)

#define TYPE_SDM_SIGNAL "sdm-signal"
OBJECT_DECLARE_TYPE(SdmSignal, SdmSignalClass, SDM_SIGNAL)

/**
 * struct SdmPeerInfo - what a guest may learn of a peer
 * @window: in the master's memory
 */
typedef struct SdmPeerInfo {
    uint32_t state;
    uint32_t machine;
    uint64_t ram_base;
    uint64_t ram_size;
    struct sdm_window window;
    char name[SDM_NAME_MAX + 1];
} SdmPeerInfo;

/* What a device says to a signal. */
typedef enum SdmTake {
    SDM_NO_ROOM,    /* not now; it is offered again after sdm_port_resume() */
    SDM_HELD,       /* sdm_port_taken() will tell when the guest takes it */
    SDM_TAKEN,      /* the guest has it */
} SdmTake;

/**
 * struct SdmPortOps - a device's side
 * @receive: a signal for the guest
 * @received: there were some, and it was the last for now; may be NULL
 * @space:   after SDM_FULL from sdm_port_send(): try again
 * @done:    a pending send with @token has ended
 * @peer:    the state of peer @id changed
 */
typedef struct SdmPortOps {
    SdmTake (*receive)(SdmPort *port, const struct sdm_signal *sig);
    void (*received)(SdmPort *port);
    void (*space)(SdmPort *port);
    void (*done)(SdmPort *port, void *token, uint32_t status);
    void (*peer)(SdmPort *port, uint32_t id);
} SdmPortOps;

/**
 * struct SdmCounts - signals of one type, seen from the device
 * @sent:    by the guest; with SDM_OK, or on their way to an answer
 * @taken:   by the guest
 * @waiting: in the device, not taken yet
 * @refused: the guest's, ended with an error, and others', not offered here
 */
typedef struct SdmCounts {
    uint64_t sent;
    uint64_t taken;
    uint64_t waiting;
    uint64_t refused;
} SdmCounts;

/* One that waited is taken. Those of a restored machine were not counted. */
static inline void sdm_counts_take(SdmCounts *counts)
{
    counts->waiting -= !!counts->waiting;
    counts->taken++;
}

struct SdmPort {
    const SdmPortOps *ops;
    Object *owner;
    char *comm_id;
    SdmComm *comm;
    bool master;
    uint32_t num_slaves;
    uint32_t len_signals;
    uint32_t features;
    char *signal_ids[SDM_SIGNAL_TYPES];
    SdmSignal *signals[SDM_SIGNAL_TYPES];   /* by type */
    SdmCounts counts[SDM_SIGNAL_TYPES];
    uint64_t changed[2];    /* by id: STATE signals that are due */
    uint32_t saved_size;    /* sdm_port_vmstate */
    uint8_t *saved;
};

struct SdmComm {
    Object parent_obj;
    unsigned users;         /* ports attached */
};

typedef struct MultiSocket MultiSocket;

/**
 * struct SdmCommClass - a kind of channel
 * @attach: @port joins; false with @errp
 * @detach: it leaves; nothing of it is called any more
 * @lanes:  of @port, which is attached
 * @send:   SDM_OK, SDM_PENDING, SDM_FULL, SDM_ERR_*
 * @id:     @port's own id, or UINT32_MAX
 * @peer:   false: no such id
 * @port:   the @n-th port that is attached, or NULL
 * @socket: what it goes over; NULL: none
 * @region: shared memory in this guest's address space; false: none
 * @lifecycle: ask slave @id (SDM_WIRE_*); SDM_PENDING or SDM_ERR_*. @window is
 *          what BOOT maps and where GET_DTB puts the tree
 */
struct SdmCommClass {
    ObjectClass parent_class;
    bool (*attach)(SdmComm *comm, SdmPort *port, Error **errp);
    void (*detach)(SdmComm *comm, SdmPort *port);
    SdmLanes *(*lanes)(SdmComm *comm, SdmPort *port);
    uint32_t (*send)(SdmComm *comm, SdmPort *port,
                     const struct sdm_signal *sig, void *token);
    uint32_t (*id)(SdmComm *comm, SdmPort *port);
    uint32_t (*num_slaves)(SdmComm *comm, SdmPort *port);
    bool (*peer)(SdmComm *comm, SdmPort *port, uint32_t id, SdmPeerInfo *info);
    SdmPort *(*port)(SdmComm *comm, unsigned n);
    MultiSocket *(*socket)(SdmComm *comm);
    bool (*region)(SdmComm *comm, uint64_t *base, uint64_t *size);
    uint32_t (*lifecycle)(SdmComm *comm, SdmPort *port, uint32_t id,
                          uint16_t request, const struct sdm_window *window,
                          void *token);
};

struct SdmSignal {
    Object parent_obj;
    uint32_t number;        /* its type */
    uint32_t also;          /* bit N: serves type N as well */
    unsigned users;         /* ports that offer it */
};

/**
 * struct SdmSignalClass - a kind of signal
 * @action: the hardware action, run at the sender's device before (and for
 *          BOOT, RESET and STOP in place of) the message. SDM_OK: go on and
 *          send it; SDM_PENDING: it is all done by the action
 */
struct SdmSignalClass {
    ObjectClass parent_class;
    uint32_t (*action)(SdmSignal *signal, SdmPort *port,
                       const struct sdm_signal *sig, void *token);
};

/** sdm_port_init() - add comm=, master, num-slaves=, len-signals=, signals[N]=. */
void sdm_port_init(SdmPort *port, Object *owner, const SdmPortOps *ops);

/** sdm_port_realize() - resolve and check them, join the channel. */
bool sdm_port_realize(SdmPort *port, Error **errp);
void sdm_port_unrealize(SdmPort *port);
void sdm_port_finalize(SdmPort *port);

/**
 * sdm_port_send() - the guest sends @sig (source is set here)
 * @token: given back to SdmPortOps.done
 * Returns: SDM_OK: taken by the receiver's ring; SDM_FULL: keep it, wait for
 * SdmPortOps.space; SDM_PENDING: wait for SdmPortOps.done; SDM_ERR_*
 */
uint32_t sdm_port_send(SdmPort *port, const struct sdm_signal *sig,
                       void *token);

/** sdm_port_resume() - the device has room for signals again. */
void sdm_port_resume(SdmPort *port);

/** sdm_port_taken() - the guest took @sig, the oldest that was SDM_HELD. */
void sdm_port_taken(SdmPort *port, const struct sdm_signal *sig);

/**
 * sdm_port_quiet() - the guest wants no interrupt for signals: it looks by
 * itself, and each time sdm_port_poll() is called. Off, at first.
 */
void sdm_port_quiet(SdmPort *port, bool on);

/** sdm_port_poll() - look for signals and answers now. */
void sdm_port_poll(SdmPort *port);

/** sdm_port_changed() - from a channel: the state of peer @id changed. */
void sdm_port_changed(SdmPort *port, uint32_t id);

/**
 * sdm_port_reset() - the machine was reset: its next guest shall not get the
 * signals that were meant for the last one
 */
void sdm_port_reset(SdmPort *port);

/* What the port has to be saved with the device: a VMSTATE_STRUCT of it. */
extern const VMStateDescription sdm_port_vmstate;

uint32_t sdm_port_id(SdmPort *port);
uint32_t sdm_port_num_slaves(SdmPort *port);
bool sdm_port_region(SdmPort *port, uint64_t *base, uint64_t *size);

/** sdm_port_stats() - signals to and from peer @id. */
void sdm_port_stats(SdmPort *port, uint32_t id, SdmStats *stats);

/** sdm_port_peer() - @info is cleared if there is no such id. */
void sdm_port_peer(SdmPort *port, uint32_t id, SdmPeerInfo *info);

#endif /* SDM_COMM_H */
