/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lanes: the pairs of signal rings between one port and its peers, seen from
 * the port's side. All channels move their signals with this, so all have the
 * same rules of delivery (docs/specs/signals.rst); a channel adds where the
 * rings are, how the other side is woken, and on which thread.
 *
 * All calls need the big lock, on any thread, but for sdm_lane_ready().
 */
#ifndef SDM_LANE_H
#define SDM_LANE_H

#include "qemu/queue.h"
#include "sdm/sdm-ring.h"

typedef struct SdmPort SdmPort;
typedef struct SdmLane SdmLane;
typedef struct SdmLanes SdmLanes;

/* Bucket N counts latencies of 2^N to 2^(N+1) - 1 ns; the last all above. */
#define SDM_LATENCY_BUCKETS 32

/**
 * struct SdmStats - signals to and from one peer
 * @sent:    put into its ring
 * @taken:   from it, taken by the guest here
 * @refused: from it, of a type that nobody here wanted, or lost to a reset
 * @waiting: to it, not taken by its guest yet; filled in by sdm_lanes_stats()
 * @latency: of @taken: from put to taken
 */
typedef struct SdmStats {
    uint64_t sent;
    uint64_t taken;
    uint64_t refused;
    uint64_t waiting;
    uint64_t latency[SDM_LATENCY_BUCKETS];
} SdmStats;

/**
 * struct SdmLaneOps - what a channel adds
 * @kick:     wake the other side of @lane
 * @broken:   the peer of @lane broke the rules: give it up; may close the lane
 * @schedule: call sdm_lanes_service() soon, not from here
 */
typedef struct SdmLaneOps {
    void (*kick)(SdmLane *lane);
    void (*broken)(SdmLane *lane);
    void (*schedule)(SdmLanes *lanes);
} SdmLaneOps;

/** struct SdmAck - a send that waits until all its receivers have taken it */
typedef struct SdmAck {
    void *token;
    unsigned left;
    uint32_t status;
    QSIMPLEQ_ENTRY(SdmAck) next;
} SdmAck;

/**
 * struct SdmLane - one peer
 * @acks: oldest first, by the index of their signals
 * @polled: the thread that serves this lane polls: it needs no kicks; set by
 *          the channel
 * @deaf:   the port takes nothing now, so there is nothing to poll for
 * @watching: the producer's kick is wanted when the signal at @watched is taken
 */
struct SdmLane {
    SdmLanes *lanes;
    uint32_t id;
    struct sdm_ring_end tx;
    struct sdm_ring_end rx;
    bool polled;
    bool deaf;
    bool tx_full;
    bool watching;
    uint32_t watched;
    uint32_t ack_first;
    uint32_t ack_count;
    struct {
        uint32_t index;
        SdmAck *ack;
    } acks[SDM_RING_SLOTS];
};

/**
 * struct SdmLanes - all lanes of one port
 * @port:    NULL: none is attached
 * @lane:    by the peer's id; NULL: no peer
 * @count:   ids below this are in use
 * @turn:    whose turn it is to be taken from
 * @quiet:   the guest wants no interrupt: it looks by itself
 * @stalled: the port has no room; sdm_lanes_resume() goes on
 * @stale:   by id: signals that the port holds of a lane that is gone
 */
struct SdmLanes {
    const SdmLaneOps *ops;
    SdmPort *port;
    SdmLane *lane[SDM_MAX_SLAVES + 1];
    uint32_t count;
    uint32_t turn;
    bool quiet;
    bool stalled;
    bool busy;
    bool space;
    uint32_t stale[SDM_MAX_SLAVES + 1];
    SdmStats stats[SDM_MAX_SLAVES + 1];
    QSIMPLEQ_HEAD(, SdmAck) lost;
};

void sdm_lanes_init(SdmLanes *lanes, const SdmLaneOps *ops);

/** sdm_lanes_cleanup() - all lanes are closed; nobody is told anything. */
void sdm_lanes_cleanup(SdmLanes *lanes);

/**
 * sdm_lane_open() - start to use @pair, which is formatted and stays mapped
 * until sdm_lane_close()
 * @master: this side fills the ring to the slave
 */
void sdm_lane_open(SdmLanes *lanes, SdmLane *lane, uint32_t id,
                   struct sdm_ring_pair *pair, bool master);

/**
 * sdm_lane_close() - the peer is gone: sends that wait for it end with
 * SDM_ERR_GONE, soon; what the port holds of it stays valid
 */
void sdm_lane_close(SdmLane *lane);

/**
 * sdm_lanes_send() - put @sig into the rings of peers @first to @last
 *
 * Into all that are there or, if one is full, into none. With SDM_SIGNAL_F_ACK
 * SdmPortOps.done tells the end.
 * Returns: SDM_OK, SDM_FULL, SDM_PENDING, SDM_ERR_NO_PEER, SDM_ERR_GONE
 */
uint32_t sdm_lanes_send(SdmLanes *lanes, uint32_t first, uint32_t last,
                        const struct sdm_signal *sig, void *token);

/**
 * sdm_lanes_service() - do what there is to do: acknowledgements, space, and
 * signals for the guest, from each peer in turn
 * Returns: true if there is more: call again, when others had their turn
 */
bool sdm_lanes_service(SdmLanes *lanes);

/** sdm_lanes_resume() - the port has room again. */
void sdm_lanes_resume(SdmLanes *lanes);

/** sdm_lanes_taken() - the guest took the oldest signal held of peer @id. */
void sdm_lanes_taken(SdmLanes *lanes, uint32_t id, uint32_t type);

/** sdm_lanes_reset() - drop what the port holds, and what waits for it. */
void sdm_lanes_reset(SdmLanes *lanes);

/**
 * sdm_lanes_attach() - @port has joined
 * sdm_lanes_detach() - it leaves; nothing of it is called any more
 */
void sdm_lanes_attach(SdmLanes *lanes, SdmPort *port);
void sdm_lanes_detach(SdmLanes *lanes);

/** sdm_lanes_quiet() - see @quiet. */
void sdm_lanes_quiet(SdmLanes *lanes, bool on);

/** sdm_lane_ready() - a hint for a poller without the big lock. */
bool sdm_lane_ready(SdmLane *lane);

void sdm_lanes_stats(SdmLanes *lanes, uint32_t id, SdmStats *stats);

/**
 * sdm_lanes_save() - append all lanes' state, rings and all, to @out
 * sdm_lanes_load() - take it back; the same lanes are open.
 * Returns: 0 or -EINVAL with @errp
 */
void sdm_lanes_save(SdmLanes *lanes, GByteArray *out);
int sdm_lanes_load(SdmLanes *lanes, const uint8_t *in, size_t size,
                   Error **errp);

#endif /* SDM_LANE_H */
