/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "qemu/timer.h"
#include "hw/misc/sdm-comm.h"
#include "qemu-sdm/trace.h"

/* Taken from one peer before the next has its turn, and from all at once. */
#define QUANTUM 16
#define BUDGET  256

void sdm_lanes_init(SdmLanes *lanes, const SdmLaneOps *ops)
{
    memset(lanes, 0, sizeof(*lanes));
    lanes->ops = ops;
    QSIMPLEQ_INIT(&lanes->lost);
}

void sdm_lanes_cleanup(SdmLanes *lanes)
{
    SdmAck *ack;

    while ((ack = QSIMPLEQ_FIRST(&lanes->lost))) {
        QSIMPLEQ_REMOVE_HEAD(&lanes->lost, next);
        g_free(ack);
    }
}

/* None of it is a lane's, but a poller looks at nothing else. */
static bool is_deaf(const SdmLanes *lanes)
{
    return lanes->quiet || lanes->stalled || !lanes->port;
}

static void set_deaf(SdmLanes *lanes, bool quiet, bool stalled)
{
    uint32_t i;

    lanes->quiet = quiet;
    lanes->stalled = stalled;
    for (i = 0; i < lanes->count; i++) {
        if (lanes->lane[i]) {
            qatomic_set(&lanes->lane[i]->deaf, is_deaf(lanes));
        }
    }
}

void sdm_lane_open(SdmLanes *lanes, SdmLane *lane, uint32_t id,
                   struct sdm_ring_pair *pair, bool master)
{
    memset(lane, 0, sizeof(*lane));
    lane->lanes = lanes;
    lane->id = id;
    sdm_ring_end_init(&lane->tx, &pair->ring[master ? SDM_RING_TO_SLAVE
                                                    : SDM_RING_TO_MASTER]);
    sdm_ring_end_init(&lane->rx, &pair->ring[master ? SDM_RING_TO_MASTER
                                                    : SDM_RING_TO_SLAVE]);
    lane->deaf = is_deaf(lanes);
    lanes->lane[id] = lane;
    lanes->count = MAX(lanes->count, id + 1);
    trace_sdm_lane_open(id);
}

/* One receiver less to wait for; the last one's word ends the send. */
static bool ack_step(SdmAck *ack, uint32_t status)
{
    if (ack->status == SDM_OK) {
        ack->status = status;
    }
    return --ack->left == 0;
}

void sdm_lane_close(SdmLane *lane)
{
    SdmLanes *lanes = lane->lanes;
    uint32_t i;

    trace_sdm_lane_close(lane->id);
    lanes->lane[lane->id] = NULL;
    for (i = lane->rx.done; i != lane->rx.index; i++) {
        if (lane->rx.held[i % SDM_RING_SLOTS / 32] & (1u << i % 32)) {
            lanes->stale[lane->id]++;
        }
    }
    for (; lane->ack_count; lane->ack_count--, lane->ack_first++) {
        SdmAck *ack = lane->acks[lane->ack_first % SDM_RING_SLOTS].ack;

        if (ack_step(ack, SDM_ERR_GONE)) {
            QSIMPLEQ_INSERT_TAIL(&lanes->lost, ack, next);
        }
    }
    /*
     * Who waited for space has to try, and will be refused. Not at once: the
     * peer may have been given up in the middle of a send.
     */
    lanes->space |= lane->tx_full;
    if (lanes->space || !QSIMPLEQ_EMPTY(&lanes->lost)) {
        lanes->ops->schedule(lanes);
    }
}

static void kick(SdmLane *lane)
{
    trace_sdm_lane_kick(lane->id);
    lane->lanes->ops->kick(lane);
}

/* Sending */

static uint32_t oldest_ack(const SdmLane *lane)
{
    return lane->acks[lane->ack_first % SDM_RING_SLOTS].index;
}

/* Is there space? If not, SdmPortOps.space will be called when there is. */
static bool has_space(SdmLane *lane)
{
    if (sdm_ring_full(&lane->tx)) {
        qatomic_set(&lane->tx_full, true);
        trace_sdm_lane_full(lane->id);
        return false;
    }
    /* A slot is not used again before its status was read. */
    if (lane->ack_count &&
        lane->tx.index - oldest_ack(lane) >= SDM_RING_SLOTS) {
        qatomic_set(&lane->tx_full, true);
        lane->lanes->ops->schedule(lane->lanes);
        return false;
    }
    return true;
}

static void ack_push(SdmLane *lane, SdmAck *ack)
{
    unsigned i = (lane->ack_first + lane->ack_count++) % SDM_RING_SLOTS;

    lane->acks[i].index = lane->tx.index - 1;
    lane->acks[i].ack = ack;
    ack->left++;
    if (lane->ack_count == 1) {
        qatomic_set(&lane->watched, lane->acks[i].index);
        qatomic_set(&lane->watching, true);
        if (!qatomic_read(&lane->polled) &&
            sdm_ring_watch(&lane->tx, lane->watched) != -EAGAIN) {
            lane->lanes->ops->schedule(lane->lanes);
        }
    }
}

static bool lane_put(SdmLane *lane, const struct sdm_signal *sig, SdmAck *ack)
{
    int wanted;

    if (sdm_ring_put(&lane->tx, sig, get_clock(), &wanted) < 0) {
        /* There was space: an index that went back, or was never possible. */
        lane->lanes->ops->broken(lane);
        return false;
    }
    lane->lanes->stats[lane->id].sent++;
    trace_sdm_lane_put(lane->id, sdm_from_le32(sig->type), lane->tx.index - 1);
    if (ack) {
        ack_push(lane, ack);
    }
    if (wanted) {
        kick(lane);
    }
    return true;
}

uint32_t sdm_lanes_send(SdmLanes *lanes, uint32_t first, uint32_t last,
                        const struct sdm_signal *sig, void *token)
{
    uint32_t i, status;
    SdmAck *ack = NULL;
    bool gone = false;

    for (i = first; i <= last; i++) {
        if (lanes->lane[i] && !has_space(lanes->lane[i])) {
            return SDM_FULL;
        }
        if (!lanes->lane[i] && first == last) {
            return SDM_ERR_NO_PEER;
        }
    }
    if (sig->flags & sdm_to_le32(SDM_SIGNAL_F_ACK)) {
        ack = g_new0(SdmAck, 1);
        ack->token = token;
        ack->left = 1;      /* ours, until all are under way */
    }
    for (i = first; i <= last; i++) {
        if (lanes->lane[i] && !lane_put(lanes->lane[i], sig, ack)) {
            gone = true;
        }
    }
    status = gone && first == last ? SDM_ERR_GONE : SDM_OK;
    if (ack) {
        if (!ack_step(ack, gone ? SDM_ERR_GONE : SDM_OK)) {
            return SDM_PENDING;
        }
        status = ack->status;
        g_free(ack);
    }
    return status;
}

/* Receivers' words on what was sent to them. */
static void lane_collect(SdmLane *lane)
{
    SdmLanes *lanes = lane->lanes;

    while (lane->ack_count) {
        SdmAck *ack = lane->acks[lane->ack_first % SDM_RING_SLOTS].ack;
        uint32_t index = oldest_ack(lane);
        int ret = qatomic_read(&lane->polled) ?
                  sdm_ring_status(&lane->tx, index) :
                  sdm_ring_watch(&lane->tx, index);

        if (ret == -EAGAIN) {
            qatomic_set(&lane->watched, index);
            return;
        }
        if (ret < 0) {
            lanes->ops->broken(lane);
            return;
        }
        lane->ack_first++;
        lane->ack_count--;
        trace_sdm_lane_ack(lane->id, index, ret);
        if (ack_step(ack, ret)) {
            if (lanes->port && ack->token) {
                lanes->port->ops->done(lanes->port, ack->token, ack->status);
            }
            g_free(ack);
        }
    }
    qatomic_set(&lane->watching, false);
}

/* Returns: are there senders that have to try again? */
static bool collect(SdmLanes *lanes)
{
    bool space = lanes->space;
    SdmAck *ack;
    uint32_t i;

    lanes->space = false;
    while ((ack = QSIMPLEQ_FIRST(&lanes->lost))) {
        QSIMPLEQ_REMOVE_HEAD(&lanes->lost, next);
        if (lanes->port && ack->token) {
            lanes->port->ops->done(lanes->port, ack->token, ack->status);
        }
        g_free(ack);
    }
    for (i = 0; i < lanes->count; i++) {
        SdmLane *lane = lanes->lane[i];

        if (!lane) {
            continue;
        }
        lane_collect(lane);
        if (lanes->lane[i] == lane && lane->tx_full &&
            !sdm_ring_full(&lane->tx)) {
            qatomic_set(&lane->tx_full, false);
            space = true;
        }
    }
    return space;
}

/* Receiving */

static void count_latency(SdmStats *stats, uint64_t stamp)
{
    uint64_t now = get_clock();

    /* What the peer wrote is a word, no more. */
    if (stamp && stamp < now) {
        stats->latency[MIN(63 - clz64(now - stamp),
                           SDM_LATENCY_BUCKETS - 1)]++;
    }
}

static void lane_drop(SdmLane *lane, uint32_t status)
{
    int wanted;

    sdm_ring_drop(&lane->rx, status, &wanted);
    if (wanted) {
        kick(lane);
    }
}

/* Returns: how many signals were read, at most QUANTUM */
static unsigned lane_take(SdmLane *lane)
{
    SdmLanes *lanes = lane->lanes;
    SdmPort *port = lanes->port;
    SdmStats *stats = &lanes->stats[lane->id];
    struct sdm_signal sig;
    unsigned n;
    int ret;

    for (n = 0; n < QUANTUM; n++) {
        uint32_t type;

        if ((lanes->quiet || qatomic_read(&lane->polled)) &&
            !sdm_ring_ready(&lane->rx)) {
            break;
        }
        ret = sdm_ring_peek(&lane->rx, &sig);
        if (ret <= 0) {
            if (ret < 0) {
                lanes->ops->broken(lane);
            }
            break;
        }
        /* Who sent it is what we know, not what is written there. */
        sig.source = sdm_to_le16(lane->id);
        sig.target = sdm_to_le16(sdm_port_id(port));
        sig.flags &= sdm_to_le32(SDM_SIGNAL_F_ACK);
        type = sdm_from_le32(sig.type);
        if (!sdm_type_in_ring(type) || !(port->features & (1u << type))) {
            stats->refused++;
            if (type < SDM_SIGNAL_TYPES) {
                port->counts[type].refused++;
            }
            lane_drop(lane, SDM_ERR_UNSUPPORTED);
            continue;
        }
        switch (port->ops->receive(port, &sig)) {
        case SDM_NO_ROOM:
            set_deaf(lanes, lanes->quiet, true);
            trace_sdm_lane_stalled(lane->id);
            return n;
        case SDM_HELD:
            port->counts[type].waiting++;
            sdm_ring_hold(&lane->rx);
            break;
        case SDM_TAKEN:
            count_latency(stats, sdm_ring_stamp(&lane->rx, lane->rx.index));
            stats->taken++;
            port->counts[type].taken++;
            lane_drop(lane, SDM_OK);
            break;
        }
        trace_sdm_lane_take(lane->id, type, lane->rx.index - 1);
    }
    return n;
}

static unsigned take(SdmLanes *lanes)
{
    unsigned idle = 0, taken = 0;

    while (lanes->port && !lanes->stalled && taken < BUDGET &&
           idle < lanes->count) {
        SdmLane *lane = lanes->lane[lanes->turn % lanes->count];
        unsigned n = lane ? lane_take(lane) : 0;

        lanes->turn = (lanes->turn + 1) % lanes->count;
        idle = n ? 0 : idle + 1;
        taken += n;
    }
    if (taken && lanes->port && lanes->port->ops->received) {
        lanes->port->ops->received(lanes->port);
    }
    return taken;
}

bool sdm_lanes_service(SdmLanes *lanes)
{
    bool more;

    if (lanes->busy) {
        lanes->ops->schedule(lanes);
        return false;
    }
    lanes->busy = true;
    if (collect(lanes) && lanes->port) {
        lanes->port->ops->space(lanes->port);
    }
    more = take(lanes) >= BUDGET;
    lanes->busy = false;
    return more;
}

void sdm_lanes_resume(SdmLanes *lanes)
{
    set_deaf(lanes, lanes->quiet, false);
    if (sdm_lanes_service(lanes)) {
        lanes->ops->schedule(lanes);
    }
}

static void lane_release(SdmLane *lane, uint32_t status)
{
    int wanted;

    sdm_ring_release(&lane->rx, status, &wanted);
    if (wanted) {
        kick(lane);
    }
}

void sdm_lanes_taken(SdmLanes *lanes, uint32_t id, uint32_t type)
{
    SdmLane *lane = lanes->lane[id];

    sdm_counts_take(&lanes->port->counts[type]);
    lanes->stats[id].taken++;
    if (lanes->stale[id]) {
        lanes->stale[id]--;
        return;
    }
    if (!lane || !sdm_ring_holds(&lane->rx)) {
        return;     /* a saved state that was tampered with */
    }
    count_latency(&lanes->stats[id], sdm_ring_stamp(&lane->rx, lane->rx.done));
    trace_sdm_lane_release(id, lane->rx.done);
    lane_release(lane, SDM_OK);
}

void sdm_lanes_reset(SdmLanes *lanes)
{
    struct sdm_signal sig;
    uint32_t i;
    int n;

    memset(lanes->stale, 0, sizeof(lanes->stale));
    for (i = 0; i < lanes->count; i++) {
        SdmLane *lane = lanes->lane[i];

        if (!lane) {
            continue;
        }
        for (; sdm_ring_holds(&lane->rx); lanes->stats[i].refused++) {
            lane_release(lane, SDM_ERR_GONE);
        }
        /* What is behind a full ring is new: no producer can hold us here. */
        for (n = 0; n < SDM_RING_SLOTS &&
             sdm_ring_peek(&lane->rx, &sig) > 0; n++) {
            lanes->stats[i].refused++;
            lane_drop(lane, SDM_ERR_GONE);
        }
    }
    for (i = 0; i < SDM_SIGNAL_TYPES && lanes->port; i++) {
        lanes->port->counts[i].waiting = 0;
    }
    set_deaf(lanes, lanes->quiet, false);
    lanes->ops->schedule(lanes);
}

void sdm_lanes_quiet(SdmLanes *lanes, bool on)
{
    if (lanes->quiet == on) {
        return;
    }
    set_deaf(lanes, on, lanes->stalled);
    if (!on && sdm_lanes_service(lanes)) {
        lanes->ops->schedule(lanes);
    }
}

void sdm_lanes_attach(SdmLanes *lanes, SdmPort *port)
{
    lanes->port = port;
    set_deaf(lanes, false, false);
    lanes->ops->schedule(lanes);
}

void sdm_lanes_detach(SdmLanes *lanes)
{
    SdmAck *ack;
    uint32_t i, n;

    QSIMPLEQ_FOREACH(ack, &lanes->lost, next) {
        ack->token = NULL;
    }
    for (i = 0; i < lanes->count; i++) {
        SdmLane *lane = lanes->lane[i];

        for (n = 0; lane && n < lane->ack_count; n++) {
            lane->acks[(lane->ack_first + n) % SDM_RING_SLOTS].ack->token =
                NULL;
        }
    }
    sdm_lanes_reset(lanes);
    lanes->port = NULL;
    set_deaf(lanes, false, false);
}

bool sdm_lane_ready(SdmLane *lane)
{
    if (!qatomic_read(&lane->deaf) && sdm_ring_ready(&lane->rx)) {
        return true;
    }
    return (qatomic_read(&lane->watching) &&
            sdm_ring_passed(&lane->tx, qatomic_read(&lane->watched))) ||
           (qatomic_read(&lane->tx_full) &&
            sdm_ring_used(&lane->tx) < SDM_RING_SLOTS);
}

void sdm_lanes_stats(SdmLanes *lanes, uint32_t id, SdmStats *stats)
{
    *stats = lanes->stats[id];
    stats->waiting = lanes->lane[id] ? sdm_ring_used(&lanes->lane[id]->tx) : 0;
}

/*
 * The image of all lanes: number of acknowledgements that are waited for, then
 * token, status and receivers left of each; number of lanes, then of each: id,
 * indexes, what is held, acknowledgements by index and number, the rings. All
 * numbers are big-endian, of 64 bits.
 */

static void put(GByteArray *out, uint64_t value)
{
    uint64_t be = cpu_to_be64(value);

    g_byte_array_append(out, (uint8_t *)&be, sizeof(be));
}

void sdm_lanes_save(SdmLanes *lanes, GByteArray *out)
{
    g_autoptr(GPtrArray) acks = g_ptr_array_new();
    struct sdm_ring_end *end;
    uint32_t i, n, open = 0;
    SdmAck *ack;

    QSIMPLEQ_FOREACH(ack, &lanes->lost, next) {
        g_ptr_array_add(acks, ack);
    }
    for (i = 0; i < lanes->count; i++) {
        SdmLane *lane = lanes->lane[i];

        open += !!lane;
        for (n = 0; lane && n < lane->ack_count; n++) {
            ack = lane->acks[(lane->ack_first + n) % SDM_RING_SLOTS].ack;
            if (!g_ptr_array_find(acks, ack, NULL)) {
                g_ptr_array_add(acks, ack);
            }
        }
    }
    put(out, acks->len);
    for (n = 0; n < acks->len; n++) {
        ack = g_ptr_array_index(acks, n);
        put(out, (uintptr_t)ack->token);
        put(out, ack->status);
        put(out, ack->left);
    }
    put(out, open);
    for (i = 0; i < lanes->count; i++) {
        SdmLane *lane = lanes->lane[i];

        if (!lane) {
            continue;
        }
        put(out, i);
        put(out, lane->tx.index);
        end = &lane->rx;
        put(out, end->index);
        put(out, end->done);
        for (n = 0; n < ARRAY_SIZE(end->held); n++) {
            put(out, end->held[n]);
        }
        put(out, lane->ack_count);
        for (n = 0; n < lane->ack_count; n++) {
            unsigned at = (lane->ack_first + n) % SDM_RING_SLOTS, k;

            g_ptr_array_find(acks, lane->acks[at].ack, &k);
            put(out, lane->acks[at].index);
            put(out, k);
        }
        g_byte_array_append(out, (uint8_t *)lane->rx.ring,
                            sizeof(*lane->rx.ring));
        g_byte_array_append(out, (uint8_t *)lane->tx.ring,
                            sizeof(*lane->tx.ring));
    }
}

typedef struct Image {
    const uint8_t *at;
    size_t left;
    bool bad;
} Image;

static uint64_t get(Image *in, uint64_t max)
{
    uint64_t value;

    if (in->bad || in->left < sizeof(value)) {
        in->bad = true;
        return 0;
    }
    value = ldq_be_p(in->at);
    in->at += sizeof(value);
    in->left -= sizeof(value);
    in->bad |= value > max;
    return in->bad ? 0 : value;
}

static void get_ring(Image *in, struct sdm_ring *ring)
{
    if (in->bad || in->left < sizeof(*ring)) {
        in->bad = true;
        return;
    }
    memcpy(ring, in->at, sizeof(*ring));
    in->at += sizeof(*ring);
    in->left -= sizeof(*ring);
}

static void get_lane(Image *in, SdmLanes *lanes, GPtrArray *acks,
                     uint32_t *left)
{
    uint64_t id = get(in, SDM_MAX_SLAVES), n;
    SdmLane *lane = in->bad ? NULL : lanes->lane[id];
    struct sdm_ring_end *end;

    if (!lane) {
        in->bad = true;
        return;
    }
    lane->tx.index = get(in, UINT32_MAX);
    end = &lane->rx;
    end->index = get(in, UINT32_MAX);
    end->done = get(in, UINT32_MAX);
    for (n = 0; n < ARRAY_SIZE(end->held); n++) {
        end->held[n] = get(in, UINT32_MAX);
    }
    in->bad |= end->index - end->done > SDM_RING_SLOTS;
    lane->ack_first = 0;
    lane->ack_count = 0;
    for (n = get(in, SDM_RING_SLOTS); n && !in->bad; n--) {
        uint32_t index = get(in, UINT32_MAX);
        uint64_t k = get(in, UINT32_MAX);

        if (in->bad || k >= acks->len || !left[k]--) {
            in->bad = true;
            return;
        }
        lane->acks[lane->ack_count].index = index;
        lane->acks[lane->ack_count].ack = g_ptr_array_index(acks, k);
        lane->ack_count++;
    }
    lane->watched = lane->acks[0].index;
    lane->watching = lane->ack_count;
    lane->tx_full = true;       /* who waited for space asks again */
    get_ring(in, lane->rx.ring);
    get_ring(in, lane->tx.ring);
}

int sdm_lanes_load(SdmLanes *lanes, const uint8_t *data, size_t size,
                   Error **errp)
{
    g_autoptr(GPtrArray) acks = g_ptr_array_new();
    Image in = { .at = data, .left = size };
    g_autofree uint32_t *left = NULL;
    uint64_t n;

    n = get(&in, size / (3 * sizeof(uint64_t)));
    left = g_new0(uint32_t, n);
    for (; n; n--) {
        SdmAck *ack = g_new0(SdmAck, 1);

        ack->token = (void *)(uintptr_t)get(&in, UINTPTR_MAX);
        ack->status = get(&in, SDM_ERRS - 1);
        ack->left = left[acks->len] = get(&in, SDM_MAX_SLAVES);
        g_ptr_array_add(acks, ack);
    }
    for (n = get(&in, SDM_MAX_SLAVES + 1); n && !in.bad; n--) {
        get_lane(&in, lanes, acks, left);
    }
    in.bad |= in.left;
    for (n = 0; n < acks->len; n++) {
        in.bad |= left[n];
    }
    if (in.bad) {
        for (n = 0; n < lanes->count; n++) {
            if (lanes->lane[n]) {
                lanes->lane[n]->ack_count = 0;
            }
        }
        g_ptr_array_set_free_func(acks, g_free);
        error_setg(errp, "the saved signals do not fit the devices that are "
                   "here");
        return -EINVAL;
    }
    for (n = 0; n < acks->len; n++) {
        SdmAck *ack = g_ptr_array_index(acks, n);

        if (!ack->left) {
            QSIMPLEQ_INSERT_TAIL(&lanes->lost, ack, next);
        }
    }
    lanes->ops->schedule(lanes);
    return 0;
}
