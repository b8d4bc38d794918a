/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core (sdm_main.c: character device, queue of received signals,
 * uevents, sysfs) and the two transports (sdm_virtio.c, sdm_platform.c) share.
 *
 * Theory of operation
 *
 * Received signals wait in one queue per device, and each is taken by exactly
 * one reader. The queue is bounded. While it is full, the transport takes
 * nothing from the device and keeps its receive interrupt off, so that the
 * sender sees backpressure and nothing is lost. (One queue per open file was
 * rejected: a file that nobody reads would either lose signals or stop all
 * other readers.)
 *
 * A signal to send is a reference counted request. One reference belongs to
 * the caller, one to the device until it has answered, so a caller that is
 * interrupted frees nothing that the device may still write to.
 *
 * Locks, in the order in which they nest:
 *
 *   read_lock   one reader at a time. Held over copies to user space.
 *   peer_lock   PEER_SELECT and what is read after it, the known peer states.
 *               Taken with mmap_lock held (mmap), so never held over a copy to
 *               or from user space.
 *   lock        spinlock, taken by interrupt handlers: the producer's side of
 *               the queue, all requests, the counters, @registered.
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
#include <linux/kfifo.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "sdm/chardev.h"
#include "sdm/signal.h"
#include "sdm/virtio_sdm.h"

/* Signals that wait for a reader; more stay in the device. A power of two. */
#define SDM_RX_QUEUE	256

#define SDM_FEATURES_MASK	((1u << SDM_SIGNAL_TYPES) - 1)

struct sdm_device;

/**
 * struct sdm_request - a signal on its way to the device
 * @ref: the caller's reference and, while it is submitted, the device's
 * @done: completed by sdm_request_done()
 * @error: 0, or -errno if the device will never answer
 * @status: SDM_OK or SDM_ERR_*, if @error is 0
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
 * @receive: sdm_rx_push() what the device has. true: all was taken, and the
 *	receive interrupt is on; false: sdm_rx_full() stopped it, and the
 *	interrupt is off. lock held
 * @stop: turn the device's interrupts off, for good; lock held
 */
struct sdm_ops {
	void (*info)(struct sdm_device *sdm, struct sdm_ioc_info *info);
	void (*peer)(struct sdm_device *sdm, struct sdm_ioc_peer *peer);
	int (*submit)(struct sdm_device *sdm, struct sdm_request *req);
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
 * @rx: queue of received signals
 * @rx_stopped: what @ops->receive said last; the next reader has to call it
 * @read_lock: see above
 * @wait: readers and pollers
 * @send_wait: senders for which the device has no room
 * @peer_lock: see above
 * @peer_state: the last states that were told by uevent
 * @peer_work: looks for changed states
 * @peer_events: number of notices of changed states, for POLLPRI
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
	DECLARE_KFIFO(rx, struct sdm_signal, SDM_RX_QUEUE);
	bool rx_stopped;

	struct mutex read_lock;
	wait_queue_head_t wait;
	wait_queue_head_t send_wait;

	struct mutex peer_lock;
	u32 peer_state[SDM_MAX_SLAVES + 1];
	struct work_struct peer_work;
	atomic_t peer_events;
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

int sdm_virtio_init(void);
void sdm_virtio_exit(void);
int sdm_platform_init(void);
void sdm_platform_exit(void);

#endif /* SDM_H */
