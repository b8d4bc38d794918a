/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core (sdm_main.c: character device, queue of received signals,
 * uevents, sysfs), the two transports (sdm_virtio.c, sdm_platform.c) and the
 * mailbox controller (sdm_mbox.c) share.
 *
 * Theory of operation
 *
 * Received signals wait in one queue per device, in the order in which they
 * came, and each is taken by exactly one reader. Whose it is, a claim says: a
 * file with a filter and a mailbox channel in use have one each, and what no
 * claim names is for all files without a filter. Claims never overlap. They are
 * applied to what waits already, both when they are made and when they are
 * given up, so a signal that its reader has not taken is never lost, just
 * somebody else's.
 *
 * The queue is bounded, all claims together. While it is full, the transport
 * takes nothing from the device and keeps its receive interrupt off, so that
 * the sender sees backpressure. The device is one first-in first-out, and what
 * stands behind a signal cannot be had before it: whoever claims signals and
 * then does not read them stops, after SDM_RX_QUEUE of them, all readers of
 * this device. (Dropping was rejected: nothing is lost here. So was one queue
 * per open file: it only moves the point at which everything stops.)
 *
 * A signal to send is a reference counted request. One reference belongs to
 * the caller, one to the device until it has answered, so a caller that is
 * interrupted frees nothing that the device may still write to. Who cannot wait
 * (a non-blocking write, the mailbox) is told by the request's answered().
 *
 * Locks, in the order in which they nest:
 *
 *   read_lock   one read(2) or change of a filter at a time. Held over copies
 *               to user space.
 *   peer_lock   PEER_SELECT and what is read after it, the known peer states.
 *               Taken with mmap_lock held (mmap), so never held over a copy to
 *               or from user space.
 *   lock        spinlock, taken by interrupt handlers: the queue and the
 *               claims, all requests, the counters, @registered. Nests inside the
 *               lock of a mailbox channel, so the mailbox is called back from
 *               work items only.
 *
 * @gone is written with peer_lock and lock both held, and from then on nobody
 * calls the transport: holding either of the two is enough to rely on it.
 */
#ifndef SDM_H
#define SDM_H

#include <linux/cache.h>
#include <linux/cdev.h>
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "sdm/chardev.h"
#include "sdm/signal.h"
#include "sdm/virtio_sdm.h"

/* Signals that wait for a reader; more stay in the device. */
#define SDM_RX_QUEUE	256

/* Signals of non-blocking writes of one file that are not answered yet. */
#define SDM_FILE_PENDING	64

#define SDM_FEATURES_MASK	((1u << SDM_SIGNAL_TYPES) - 1)

struct sdm_device;
struct sdm_mbox;

/**
 * struct sdm_claim - whose the received signals of some types and sources are
 * @node: in @sdm->claims
 * @types: bit N: those of type N; 0: not in use
 * @sources: bit N % 64 of word N / 64: those that come from the peer N
 * @waiting: how many of them are in the queue
 * @notify: there is one more; lock held. NULL: to wake @sdm->wait does
 */
struct sdm_claim {
	struct list_head node;
	u32 types;
	u64 sources[SDM_FILTER_WORDS];
	unsigned int waiting;
	void (*notify)(struct sdm_claim *claim);
};

/**
 * struct sdm_rx_entry - a received signal
 * @node: in @sdm->rx_queue, @sdm->rx_free or on its way to a reader
 * @claim: whose it is, while it is in @sdm->rx_queue
 * @signal: as the device gave it, unchecked
 */
struct sdm_rx_entry {
	struct list_head node;
	struct sdm_claim *claim;
	struct sdm_signal signal;
};

/**
 * struct sdm_request - a signal on its way to the device
 * @ref: the caller's reference and, while it is submitted, the device's
 * @done: completed by sdm_request_done()
 * @error: 0, or -errno if the device will never answer
 * @status: SDM_OK or SDM_ERR_*, if @error is 0
 * @answered: called once, with the lock held, when @error and @status are set;
 *	NULL: nobody wants to know
 * @owner: for @answered
 * @node: of the owner
 * @signal: read by the device
 * @reply: written by the device (virtio)
 *
 * What the device reads and writes has cache lines of its own.
 */
struct sdm_request {
	struct kref ref;
	struct completion done;
	int error;
	u32 status;
	void (*answered)(struct sdm_request *req);
	void *owner;
	struct list_head node;
	struct sdm_signal signal ____cacheline_aligned;
	struct virtio_sdm_status reply ____cacheline_aligned;
};

/**
 * struct sdm_ops - a transport
 * @info: fill in all but @info->version; peer_lock held, may sleep
 * @peer: fill in the peer @peer->id, which is valid; the rest is zero before;
 *	peer_lock held, may sleep
 * @submit: give a request to the device; lock held. 0: the device owns a
 *	reference (the core has taken it) until sdm_request_done(), which may
 *	have been called already. -ENOSPC: no room until another request is
 *	done. Any other -errno: this request cannot be sent.
 * @room: would @submit find room? lock held
 * @receive: sdm_rx_push() what the device has. true: all was taken, and the
 *	receive interrupt is on; false: sdm_rx_full() stopped it, and the
 *	interrupt is off. lock held
 * @stop: turn the device's interrupts off, for good; lock held
 */
struct sdm_ops {
	void (*info)(struct sdm_device *sdm, struct sdm_ioc_info *info);
	void (*peer)(struct sdm_device *sdm, struct sdm_ioc_peer *peer);
	int (*submit)(struct sdm_device *sdm, struct sdm_request *req);
	bool (*room)(struct sdm_device *sdm);
	bool (*receive)(struct sdm_device *sdm);
	void (*stop)(struct sdm_device *sdm);
};

/**
 * struct sdm_device - one SDM device; lives until its last file is closed
 * @dev: in class sdm
 * @cdev: /dev/sdmN
 * @ops: the transport; not to be called once @gone is set
 * @priv: of the transport; not valid once @gone is set
 * @lock: see above
 * @registered: files may exist and uevents may be sent
 * @gone: the device was removed
 * @sent: signals that the device has answered with SDM_OK
 * @received: signals taken from the device
 * @counts: the same for each type, and those answered with another status
 * @features: signal types that are offered; constant while registered
 * @rx_entries: all entries; each is in @rx_free, in @rx_queue or being read
 * @rx_queue: received signals, the oldest first
 * @claims: all that are in use, but for @rest
 * @rest: files without a filter
 * @rx_stopped: what @ops->receive said last; the next reader has to call it
 * @read_lock: see above
 * @wait: readers and pollers
 * @send_wait: senders for which the device has no room, and pollers
 * @peer_lock: see above
 * @peer_state: the last states that were told by uevent
 * @peer_work: looks for changed states
 * @peer_events: number of notices of changed states, for POLLPRI
 * @mbox: the mailbox controller, or NULL; constant while registered
 */
struct sdm_device {
	struct device dev;
	struct cdev cdev;
	const struct sdm_ops *ops;
	void *priv;

	spinlock_t lock;
	bool registered;
	bool gone;
	u64 sent;
	u64 received;
	struct sdm_counts {
		u64 sent;
		u64 refused;
		u64 received;
	} counts[SDM_SIGNAL_TYPES];
	u32 features;
	struct sdm_rx_entry rx_entries[SDM_RX_QUEUE];
	struct list_head rx_free;
	struct list_head rx_queue;
	struct list_head claims;
	struct sdm_claim rest;
	bool rx_stopped;

	struct mutex read_lock;
	wait_queue_head_t wait;
	wait_queue_head_t send_wait;

	struct mutex peer_lock;
	u32 peer_state[SDM_MAX_SLAVES + 1];
	struct work_struct peer_work;
	atomic_t peer_events;

	struct sdm_mbox *mbox;
};

/*
 * The life of a device, in this order; all may sleep. From sdm_alloc() on, the
 * transport may call the functions further below. sdm_stop() fences it off:
 * afterwards it fails all requests that the device still has, and finally
 * calls sdm_free(). sdm_stop() is also right if sdm_register() has failed.
 */
struct sdm_device *sdm_alloc(struct device *parent, const struct sdm_ops *ops,
			     void *priv);
int sdm_register(struct sdm_device *sdm);
void sdm_stop(struct sdm_device *sdm);
void sdm_free(struct sdm_device *sdm);

/* From interrupt handlers; take the lock themselves. */
void sdm_receive(struct sdm_device *sdm);
void sdm_peers_changed(struct sdm_device *sdm);

/* With the lock held. */
bool sdm_rx_full(struct sdm_device *sdm);
void sdm_rx_push(struct sdm_device *sdm, const struct sdm_signal *signal);
void sdm_request_done(struct sdm_device *sdm, struct sdm_request *req,
		      int error, u32 status);
void sdm_room(struct sdm_device *sdm);

/*
 * For the mailbox. sdm_request_new() gives the caller's reference, or NULL.
 * sdm_submit() wants the lock and does what @submit of the transport does, with
 * -ENODEV once the device is gone. sdm_claim_add() is -EBUSY if another claim
 * has a part of it. sdm_take() takes the oldest signal of a claim; it takes the
 * lock itself, and false is: there is none.
 */
struct sdm_request *sdm_request_new(const struct sdm_signal *signal, gfp_t gfp);
void sdm_request_put(struct sdm_request *req);
int sdm_submit(struct sdm_device *sdm, struct sdm_request *req);
int sdm_status_errno(u32 status);
int sdm_claim_add(struct sdm_device *sdm, struct sdm_claim *claim);
void sdm_claim_del(struct sdm_device *sdm, struct sdm_claim *claim);
bool sdm_take(struct sdm_device *sdm, struct sdm_claim *claim,
	      struct sdm_signal *signal);
int sdm_get_info(struct sdm_device *sdm, struct sdm_ioc_info *info);

/*
 * The mailbox controller; both may sleep. It is made where the device tree asks
 * for it, else sdm_mbox_add() does nothing. sdm_mbox_room(): @submit may find
 * room again; lock held.
 */
#if IS_REACHABLE(CONFIG_MAILBOX)
int sdm_mbox_add(struct sdm_device *sdm);
void sdm_mbox_remove(struct sdm_device *sdm);
void sdm_mbox_room(struct sdm_mbox *mbox);
#else
static inline int sdm_mbox_add(struct sdm_device *sdm)
{
	return 0;
}

static inline void sdm_mbox_remove(struct sdm_device *sdm)
{
}

static inline void sdm_mbox_room(struct sdm_mbox *mbox)
{
}
#endif

int sdm_virtio_init(void);
void sdm_virtio_exit(void);
int sdm_platform_init(void);
void sdm_platform_exit(void);

#endif /* SDM_H */
