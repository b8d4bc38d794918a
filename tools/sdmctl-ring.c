/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One end of a pair of signal rings in an event loop. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/sdm-region.h"
#include "sdm/sdm-ring.h"
#include "tools/sdmctl.h"

struct sdmctl_ring {
    struct sdm_ring_pair *pair;
    struct sdm_ring_end rx, tx;
    int wait_fd, kick_fd;
    int is_broken;
    struct event *event;
    struct event *broken_event;
    void (*taken)(void *opaque, const struct sdm_signal *sig);
    void (*broken)(void *opaque);
    void *opaque;
};

/*
 * O_NONBLOCK belongs to the open file, which the peer has as well: without this
 * a peer that takes it away and fills the counter would stop us.
 */
static void make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

static void kick(struct sdmctl_ring *ring)
{
    const uint64_t one = 1;

    make_nonblocking(ring->kick_fd);
    if (write(ring->kick_fd, &one, sizeof(one)) < 0) {
        return;     /* EAGAIN: a counter at its top wakes the peer as well */
    }
}

/* Told from the loop: whoever sends is in the middle of something. */
static void give_up(struct sdmctl_ring *ring)
{
    ring->is_broken = 1;
    event_del(ring->event);
    event_active(ring->broken_event, EV_TIMEOUT, 0);
}

static void tell_broken(evutil_socket_t fd, short what, void *opaque)
{
    struct sdmctl_ring *ring = opaque;

    (void)fd;
    (void)what;
    ring->broken(ring->opaque);
}

static void ring_readable(evutil_socket_t fd, short what, void *opaque)
{
    struct sdmctl_ring *ring = opaque;
    struct sdm_signal sig;
    uint64_t count;
    unsigned n;
    int ret, wanted;

    (void)what;
    make_nonblocking(fd);
    if (read(fd, &count, sizeof(count)) < 0) {
        count = 0;  /* EAGAIN: started by hand, or woken for nothing */
    }
    for (n = 0; n < SDM_RING_SLOTS; n++) {
        ret = sdm_ring_peek(&ring->rx, &sig);
        if (ret < 0) {
            give_up(ring);
            return;
        }
        if (ret == 0) {
            return;
        }
        sdm_ring_drop(&ring->rx, SDM_OK, &wanted);
        if (wanted) {
            kick(ring);
        }
        ring->taken(ring->opaque, &sig);
    }
    /* A producer that never pauses must not keep the loop to itself. */
    event_active(ring->event, EV_READ, 0);
}

struct sdmctl_ring *sdmctl_ring_new(struct event_base *base, int ring_fd,
                                    int wait_fd, int kick_fd, int master,
                                    void (*taken)(void *opaque,
                                                  const struct sdm_signal *),
                                    void (*broken)(void *opaque),
                                    void *opaque, GError **error)
{
    struct sdm_ring_pair *pair;
    struct sdmctl_ring *ring;
    int ret;

    ret = sdm_fd_check(ring_fd, SDM_RING_BYTES, F_SEAL_SHRINK, NULL);
    if (ret) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the master's ring is no sealed memfd of %zu bytes: %s",
                    SDM_RING_BYTES, g_strerror(-ret));
        return NULL;
    }
    pair = mmap(NULL, SDM_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                ring_fd, 0);
    if (pair == MAP_FAILED) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "cannot map the ring: %s", g_strerror(errno));
        return NULL;
    }
    if (master) {
        sdm_ring_pair_init(pair);
    } else if (sdm_ring_pair_check(pair)) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the master's ring is of another version: use the same "
                    "qemu-sdm on both sides");
        munmap(pair, SDM_RING_BYTES);
        return NULL;
    }
    ring = g_new0(struct sdmctl_ring, 1);
    ring->pair = pair;
    ring->wait_fd = wait_fd;
    ring->kick_fd = kick_fd;
    ring->taken = taken;
    ring->broken = broken;
    ring->opaque = opaque;
    sdm_ring_end_init(&ring->rx, &pair->ring[master ? SDM_RING_TO_MASTER :
                                             SDM_RING_TO_SLAVE]);
    sdm_ring_end_init(&ring->tx, &pair->ring[master ? SDM_RING_TO_SLAVE :
                                             SDM_RING_TO_MASTER]);
    ring->event = event_new(base, wait_fd, EV_READ | EV_PERSIST,
                            ring_readable, ring);
    ring->broken_event = evtimer_new(base, tell_broken, ring);
    event_add(ring->event, NULL);
    /* What came before we looked for the first time made no kick. */
    event_active(ring->event, EV_READ, 0);
    return ring;
}

void sdmctl_ring_free(struct sdmctl_ring *ring)
{
    if (ring) {
        event_free(ring->event);
        event_free(ring->broken_event);
        munmap(ring->pair, SDM_RING_BYTES);
        g_free(ring);
    }
}

uint32_t sdmctl_ring_send(struct sdmctl_ring *ring,
                          const struct sdm_signal *sig)
{
    int wanted, ret;

    if (ring->is_broken) {
        return SDM_ERR_GONE;
    }
    ret = sdm_ring_put(&ring->tx, sig, g_get_monotonic_time() * 1000, &wanted);
    if (ret == -EAGAIN) {
        return SDM_ERR_BUSY;
    }
    if (ret) {
        give_up(ring);
        return SDM_ERR_GONE;
    }
    if (wanted) {
        kick(ring);
    }
    return SDM_OK;
}

gboolean sdmctl_parse_signal(int argc, char **argv, uint16_t target,
                             struct sdm_signal *sig, GError **error)
{
    uint64_t words[3] = { 0 };
    int i;

    for (i = 0; i < argc; i++) {
        if (!sdmctl_parse_u64(argv[i], i ? "payload" : "signal type",
                              &words[i], error)) {
            return FALSE;
        }
    }
    if (words[0] > UINT32_MAX) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "signal type %s is too large", argv[0]);
        return FALSE;
    }
    memset(sig, 0, sizeof(*sig));
    sig->type = sdm_to_le32(words[0]);
    sig->target = sdm_to_le16(target);
    sig->payload[0] = sdm_to_le64(words[1]);
    sig->payload[1] = sdm_to_le64(words[2]);
    return TRUE;
}
