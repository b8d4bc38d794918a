/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports and channels. A port is the part that all SDM devices have in common:
 * the signals that it offers and the channel it is attached to. A channel
 * (sdm-communication-*) carries signals between the ports of one QEMU or of
 * several. All calls: main loop, big lock; no callback re-enters its caller
 * but for SdmPortOps.receive, which may call sdm_port_send().
 */
#ifndef SDM_COMM_H
#define SDM_COMM_H

#include "qom/object.h"
#include "sdm/sdm-text.h"
#include "sdm/sdm-window.h"

typedef struct SdmPort SdmPort;

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

/**
 * struct SdmPortOps - a device's side
 * @receive: a signal for the guest. false: no room; it is offered again after
 *           sdm_port_resume()
 * @space:   after SDM_FULL from sdm_port_send(): try again
 * @done:    a pending send with @token has ended
 * @peer:    the state of peer @id changed
 */
typedef struct SdmPortOps {
    bool (*receive)(SdmPort *port, const struct sdm_signal *sig);
    void (*space)(SdmPort *port);
    void (*done)(SdmPort *port, void *token, uint32_t status);
    void (*peer)(SdmPort *port, uint32_t id);
} SdmPortOps;

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
};

struct SdmComm {
    Object parent_obj;
    unsigned users;         /* ports attached */
};

/**
 * struct SdmCommClass - a kind of channel
 * @attach: @port joins; false with @errp
 * @detach: it leaves; nothing of it is called any more
 * @send:   SDM_OK taken; SDM_FULL; SDM_ERR_*
 * @resume: @port has room again
 * @reset:  @port's machine starts anew: drop what waits for it
 * @id:     @port's own id, or UINT32_MAX
 * @peer:   false: no such id
 * @region: shared memory in this guest's address space; false: none
 * @lifecycle: ask slave @id (SDM_WIRE_*); SDM_PENDING or SDM_ERR_*. @window is
 *          what BOOT maps and where GET_DTB puts the tree
 */
struct SdmCommClass {
    ObjectClass parent_class;
    bool (*attach)(SdmComm *comm, SdmPort *port, Error **errp);
    void (*detach)(SdmComm *comm, SdmPort *port);
    uint32_t (*send)(SdmComm *comm, SdmPort *port,
                     const struct sdm_signal *sig);
    void (*resume)(SdmComm *comm, SdmPort *port);
    void (*reset)(SdmComm *comm, SdmPort *port);
    uint32_t (*id)(SdmComm *comm, SdmPort *port);
    uint32_t (*num_slaves)(SdmComm *comm, SdmPort *port);
    bool (*peer)(SdmComm *comm, SdmPort *port, uint32_t id, SdmPeerInfo *info);
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

/**
 * sdm_port_reset() - the machine was reset: its next guest shall not get the
 * signals that were meant for the last one
 */
void sdm_port_reset(SdmPort *port);

uint32_t sdm_port_id(SdmPort *port);
uint32_t sdm_port_num_slaves(SdmPort *port);
bool sdm_port_region(SdmPort *port, uint64_t *base, uint64_t *size);

/** sdm_port_peer() - @info is cleared if there is no such id. */
void sdm_port_peer(SdmPort *port, uint32_t id, SdmPeerInfo *info);

#endif /* SDM_COMM_H */
