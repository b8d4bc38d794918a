// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SDM (Signal Distribution Module): character device, queue of received
 * signals, uevents and sysfs. See sdm.h for how it works, and
 * include/sdm/chardev.h for what user space may rely on.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "sdm.h"

#define SDM_MINORS		64
#define SDM_CHARDEV_VERSION	1

/**
 * struct sdm_file - an open file
 * @sdm: kept alive by the reference that the file has to the cdev
 * @filter: what SDM_IOC_FILTER has set; in use if its types are not 0
 * @requests: signals of non-blocking writes that are not answered yet
 * @pending: how many these are
 * @error: -errno of the first of them that failed, until a write(2) tells it
 * @peer_events: value of @sdm->peer_events at the last SDM_IOC_PEER
 *
 * All but @peer_events is protected by @sdm->lock.
 */
struct sdm_file {
	struct sdm_device *sdm;
	struct sdm_claim filter;
	struct list_head requests;
	unsigned int pending;
	int error;
	int peer_events;
};

static dev_t sdm_devt;
static DEFINE_IDA(sdm_minors);
static struct class sdm_class;

static const char * const sdm_state_names[SDM_STATES] = {
	[SDM_STATE_ABSENT]	= "absent",
	[SDM_STATE_WAITING]	= "waiting",
	[SDM_STATE_BOOTING]	= "booting",
	[SDM_STATE_RUNNING]	= "running",
	[SDM_STATE_STOPPED]	= "stopped",
	[SDM_STATE_CRASHED]	= "crashed",
};

static const char *sdm_state_name(u32 state)
{
	return state < SDM_STATES ? sdm_state_names[state] : "unknown";
}

/* The errno that write(2) makes of a status. */
int sdm_status_errno(u32 status)
{
	switch (status) {
	case SDM_OK:
		return 0;
	case SDM_ERR_INVAL:
	case SDM_ERR_ID:
		return -EINVAL;
	case SDM_ERR_NO_PEER:
		return -ENXIO;
	case SDM_ERR_STATE:
		return -EBUSY;
	case SDM_ERR_UNSUPPORTED:
		return -EOPNOTSUPP;
	case SDM_ERR_WINDOW:
		return -ERANGE;
	case SDM_ERR_RECORD:
		return -EBADMSG;
	case SDM_ERR_ISA:
		return -ENOEXEC;
	case SDM_ERR_MEMORY:
		return -ENOMEM;
	case SDM_ERR_BUSY:
		return -EAGAIN;
	case SDM_ERR_GONE:
		return -ECONNRESET;
	case SDM_ERR_TIMEOUT:
		return -ETIMEDOUT;
	case SDM_ERR_VERSION:
		return -EPROTO;
	case SDM_ERR_DENIED:
		return -EACCES;
	default:
		return -EIO;
	}
}

/* Claims */

static bool sdm_claims_overlap(const struct sdm_claim *a,
			       const struct sdm_claim *b)
{
	unsigned int i;

	if (!(a->types & b->types))
		return false;
	for (i = 0; i < SDM_FILTER_WORDS; i++) {
		if (a->sources[i] & b->sources[i])
			return true;
	}
	return false;
}

static bool sdm_claim_matches(const struct sdm_claim *claim,
			      const struct sdm_signal *signal)
{
	u32 type = sdm_from_le32(signal->type);
	u32 source = sdm_from_le16(signal->source);

	return type < SDM_SIGNAL_TYPES && source < 64 * SDM_FILTER_WORDS &&
	       claim->types & (1u << type) &&
	       claim->sources[source / 64] & (1ull << source % 64);
}

/* Give an entry, which is in the queue, to whom it is for. */
static void sdm_rx_route(struct sdm_device *sdm, struct sdm_rx_entry *entry)
{
	struct sdm_claim *claim;

	entry->claim = &sdm->rest;
	list_for_each_entry(claim, &sdm->claims, node) {
		if (sdm_claim_matches(claim, &entry->signal)) {
			entry->claim = claim;
			break;
		}
	}
	entry->claim->waiting++;
	if (entry->claim->notify)
		entry->claim->notify(entry->claim);
}

/* The claims are other ones. */
static void sdm_rx_route_all(struct sdm_device *sdm)
{
	struct sdm_rx_entry *entry;

	lockdep_assert_held(&sdm->lock);
	list_for_each_entry(entry, &sdm->rx_queue, node)
		entry->claim->waiting--;
	list_for_each_entry(entry, &sdm->rx_queue, node)
		sdm_rx_route(sdm, entry);
	wake_up_interruptible(&sdm->wait);
}

int sdm_claim_add(struct sdm_device *sdm, struct sdm_claim *claim)
{
	struct sdm_claim *other;

	lockdep_assert_held(&sdm->lock);
	list_for_each_entry(other, &sdm->claims, node) {
		if (sdm_claims_overlap(claim, other))
			return -EBUSY;
	}
	claim->waiting = 0;
	list_add_tail(&claim->node, &sdm->claims);
	sdm_rx_route_all(sdm);
	return 0;
}

void sdm_claim_del(struct sdm_device *sdm, struct sdm_claim *claim)
{
	lockdep_assert_held(&sdm->lock);
	list_del(&claim->node);
	sdm_rx_route_all(sdm);
}

/* Receiving */

bool sdm_rx_full(struct sdm_device *sdm)
{
	lockdep_assert_held(&sdm->lock);
	return list_empty(&sdm->rx_free);
}

void sdm_rx_push(struct sdm_device *sdm, const struct sdm_signal *signal)
{
	struct sdm_rx_entry *entry;
	u32 type;

	lockdep_assert_held(&sdm->lock);
	if (WARN_ON_ONCE(list_empty(&sdm->rx_free)))
		return;
	entry = list_first_entry(&sdm->rx_free, struct sdm_rx_entry, node);
	/* Once: the device can write to what @signal points to. */
	entry->signal = *signal;
	list_move_tail(&entry->node, &sdm->rx_queue);
	sdm_rx_route(sdm, entry);

	sdm->received++;
	type = sdm_from_le32(entry->signal.type);
	if (type < SDM_SIGNAL_TYPES)
		sdm->counts[type].received++;
}

/* Not those who poll for something else. */
static void sdm_rx_wake(struct sdm_device *sdm)
{
	wake_up_interruptible_poll(&sdm->wait, EPOLLIN | EPOLLRDNORM);
}

void sdm_receive(struct sdm_device *sdm)
{
	unsigned long flags;

	spin_lock_irqsave(&sdm->lock, flags);
	if (!sdm->gone)
		sdm->rx_stopped = !sdm->ops->receive(sdm);
	spin_unlock_irqrestore(&sdm->lock, flags);

	sdm_rx_wake(sdm);
}

/* After room was made in the queue. */
static void sdm_rx_restart(struct sdm_device *sdm)
{
	lockdep_assert_held(&sdm->lock);
	if (!sdm->rx_stopped || sdm->gone)
		return;
	sdm->rx_stopped = !sdm->ops->receive(sdm);
	/* Others may have seen the queue empty meanwhile. */
	sdm_rx_wake(sdm);
}

/* Move up to @max signals of a claim, the oldest first, to the list @taken. */
static void sdm_rx_take(struct sdm_device *sdm, struct sdm_claim *claim,
			struct list_head *taken, size_t max)
{
	struct sdm_rx_entry *entry, *next;

	lockdep_assert_held(&sdm->lock);
	list_for_each_entry_safe(entry, next, &sdm->rx_queue, node) {
		if (!max || !claim->waiting)
			break;
		if (entry->claim != claim)
			continue;
		list_move_tail(&entry->node, taken);
		claim->waiting--;
		max--;
	}
}

bool sdm_take(struct sdm_device *sdm, struct sdm_claim *claim,
	      struct sdm_signal *signal)
{
	struct sdm_rx_entry *entry;
	unsigned long flags;
	LIST_HEAD(taken);

	spin_lock_irqsave(&sdm->lock, flags);
	sdm_rx_take(sdm, claim, &taken, 1);
	entry = list_first_entry_or_null(&taken, struct sdm_rx_entry, node);
	if (entry) {
		*signal = entry->signal;
		list_move(&entry->node, &sdm->rx_free);
		sdm_rx_restart(sdm);
	}
	spin_unlock_irqrestore(&sdm->lock, flags);
	return entry;
}

/* Whose signals a file reads. */
static struct sdm_claim *sdm_file_claim(struct sdm_file *sf)
{
	lockdep_assert_held(&sf->sdm->lock);
	return sf->filter.types ? &sf->filter : &sf->sdm->rest;
}

/* What was pushed before the lock was released is visible to us. */
static bool sdm_readable(struct sdm_file *sf)
{
	bool readable;

	spin_lock_irq(&sf->sdm->lock);
	readable = sdm_file_claim(sf)->waiting || sf->sdm->gone;
	spin_unlock_irq(&sf->sdm->lock);
	return readable;
}

/* What is there: bytes, 0 if it is nothing, or -errno. read_lock held. */
static ssize_t sdm_read_now(struct sdm_file *sf, char __user *buf, size_t count)
{
	struct sdm_device *sdm = sf->sdm;
	struct sdm_rx_entry *entry, *prev;
	LIST_HEAD(taken);
	LIST_HEAD(read);
	ssize_t done = 0;

	spin_lock_irq(&sdm->lock);
	if (sdm->gone)
		done = -ENODEV;
	else
		sdm_rx_take(sdm, sdm_file_claim(sf), &taken,
			    count / sizeof(entry->signal));
	spin_unlock_irq(&sdm->lock);
	if (list_empty(&taken))
		return done;

	while ((entry = list_first_entry_or_null(&taken, struct sdm_rx_entry,
						 node))) {
		if (copy_to_user(buf + done, &entry->signal,
				 sizeof(entry->signal)))
			break;
		done += sizeof(entry->signal);
		list_move(&entry->node, &read);
	}

	spin_lock_irq(&sdm->lock);
	/*
	 * On a fault, what was not copied goes back to where it was: there is no
	 * older one of this claim. A mailbox may have claimed it meanwhile.
	 */
	list_for_each_entry_safe_reverse(entry, prev, &taken, node) {
		list_move(&entry->node, &sdm->rx_queue);
		sdm_rx_route(sdm, entry);
	}
	list_splice(&read, &sdm->rx_free);
	sdm_rx_restart(sdm);
	spin_unlock_irq(&sdm->lock);
	return done ?: -EFAULT;
}

static ssize_t sdm_read(struct file *file, char __user *buf, size_t count,
			loff_t *pos)
{
	struct sdm_file *sf = file->private_data;
	struct sdm_device *sdm = sf->sdm;
	ssize_t ret;

	if (count < sizeof(struct sdm_signal))
		return -EINVAL;

	for (;;) {
		if (mutex_lock_interruptible(&sdm->read_lock))
			return -ERESTARTSYS;
		ret = sdm_read_now(sf, buf, count);
		mutex_unlock(&sdm->read_lock);
		if (ret)
			return ret;

		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(sdm->wait, sdm_readable(sf)))
			return -ERESTARTSYS;
	}
}

static long sdm_ioctl_filter(struct sdm_file *sf, void __user *arg)
{
	struct sdm_device *sdm = sf->sdm;
	struct sdm_ioc_filter filter;
	struct sdm_claim old;
	int ret = 0;

	if (copy_from_user(&filter, arg, sizeof(filter)))
		return -EFAULT;
	if (filter.types & ~SDM_FEATURES_MASK || filter.reserved)
		return -EINVAL;
	if (filter.types && !memchr_inv(filter.sources, 0,
					sizeof(filter.sources)))
		return -EINVAL;

	/* No signal may be on its way to this file under the old filter. */
	if (mutex_lock_interruptible(&sdm->read_lock))
		return -ERESTARTSYS;
	spin_lock_irq(&sdm->lock);
	old = sf->filter;
	if (old.types)
		sdm_claim_del(sdm, &sf->filter);
	sf->filter.types = filter.types;
	memcpy(sf->filter.sources, filter.sources, sizeof(filter.sources));
	if (filter.types)
		ret = sdm_claim_add(sdm, &sf->filter);
	if (ret) {
		sf->filter.types = old.types;
		memcpy(sf->filter.sources, old.sources, sizeof(old.sources));
		/* Nobody else could get it meanwhile. */
		if (old.types)
			WARN_ON(sdm_claim_add(sdm, &sf->filter));
	}
	spin_unlock_irq(&sdm->lock);
	mutex_unlock(&sdm->read_lock);
	return ret;
}

/* Sending */

static void sdm_request_release(struct kref *ref)
{
	kfree(container_of(ref, struct sdm_request, ref));
}

void sdm_request_put(struct sdm_request *req)
{
	kref_put(&req->ref, sdm_request_release);
}

struct sdm_request *sdm_request_new(const struct sdm_signal *signal, gfp_t gfp)
{
	struct sdm_request *req = kzalloc(sizeof(*req), gfp);

	if (!req)
		return NULL;
	kref_init(&req->ref);
	init_completion(&req->done);
	INIT_LIST_HEAD(&req->node);
	req->signal = *signal;
	return req;
}

void sdm_room(struct sdm_device *sdm)
{
	lockdep_assert_held(&sdm->lock);
	wake_up_interruptible_poll(&sdm->send_wait, EPOLLOUT | EPOLLWRNORM);
	if (sdm->mbox)
		sdm_mbox_room(sdm->mbox);
}

void sdm_request_done(struct sdm_device *sdm, struct sdm_request *req,
		      int error, u32 status)
{
	u32 type = sdm_from_le32(req->signal.type);

	lockdep_assert_held(&sdm->lock);
	req->error = error;
	req->status = status;
	if (!error && status == SDM_OK)
		sdm->sent++;
	if (!error && type < SDM_SIGNAL_TYPES) {
		if (status == SDM_OK)
			sdm->counts[type].sent++;
		else
			sdm->counts[type].refused++;
	}
	if (req->answered)
		req->answered(req);
	complete(&req->done);
	sdm_request_put(req);
	sdm_room(sdm);
}

int sdm_submit(struct sdm_device *sdm, struct sdm_request *req)
{
	int ret;

	lockdep_assert_held(&sdm->lock);
	if (sdm->gone)
		return -ENODEV;
	kref_get(&req->ref);
	ret = sdm->ops->submit(sdm, req);
	if (ret)
		sdm_request_put(req);
	return ret;
}

/* Also a wait condition: may not sleep. */
static int sdm_submit_locked(struct sdm_device *sdm, struct sdm_request *req)
{
	int ret;

	spin_lock_irq(&sdm->lock);
	ret = sdm_submit(sdm, req);
	spin_unlock_irq(&sdm->lock);
	return ret;
}

/*
 * Send one signal and wait until the device has answered. Returns 0 with
 * *status set, or: -EAGAIN or -ERESTARTSYS: not given to the device; -EINTR:
 * given to it, but the answer was not awaited (no automatic restart, which
 * would send it twice); -ENODEV; -ENOMEM.
 */
static int sdm_send(struct sdm_device *sdm, const struct sdm_signal *signal,
		    bool nonblock, u32 *status)
{
	struct sdm_request *req;
	int ret;

	req = sdm_request_new(signal, GFP_KERNEL);
	if (!req)
		return -ENOMEM;

	ret = sdm_submit_locked(sdm, req);
	if (ret == -ENOSPC) {
		if (nonblock)
			ret = -EAGAIN;
		else if (wait_event_interruptible(sdm->send_wait,
				(ret = sdm_submit_locked(sdm, req)) != -ENOSPC))
			ret = -ERESTARTSYS;
	}
	if (ret)
		goto out;

	if (wait_for_completion_interruptible(&req->done)) {
		ret = -EINTR;
		goto out;
	}
	ret = req->error;
	*status = req->status;
out:
	sdm_request_put(req);
	return ret;
}

/* A signal of a non-blocking write; lock held. */
static void sdm_file_answered(struct sdm_request *req)
{
	struct sdm_file *sf = req->owner;

	list_del(&req->node);
	sf->pending--;
	if (sf->error)
		return;
	sf->error = req->error ?: sdm_status_errno(req->status);
	if (sf->error)
		wake_up_interruptible_poll(&sf->sdm->send_wait, EPOLLERR);
}

/*
 * Give a signal to the device, for a file that will not wait. What the device
 * answers, now or later, goes to sf->error; while there is one, nothing more is
 * sent, so that its reader knows where the file stopped.
 */
static int sdm_post(struct sdm_file *sf, const struct sdm_signal *signal)
{
	struct sdm_device *sdm = sf->sdm;
	struct sdm_request *req;
	int ret;

	req = sdm_request_new(signal, GFP_KERNEL);
	if (!req)
		return -ENOMEM;
	req->answered = sdm_file_answered;
	req->owner = sf;

	spin_lock_irq(&sdm->lock);
	ret = sf->error;
	if (!ret && sf->pending >= SDM_FILE_PENDING)
		ret = -EAGAIN;
	if (!ret) {
		/* Before, because it may be answered at once. */
		list_add_tail(&req->node, &sf->requests);
		sf->pending++;
		ret = sdm_submit(sdm, req);
		if (ret) {
			list_del(&req->node);
			sf->pending--;
		} else {
			ret = sf->error;
		}
		if (ret == -ENOSPC)
			ret = -EAGAIN;
	}
	spin_unlock_irq(&sdm->lock);
	sdm_request_put(req);
	return ret;
}

/* The error of an earlier write, or 0. It is told once. */
static int sdm_file_error(struct sdm_file *sf)
{
	int error;

	spin_lock_irq(&sf->sdm->lock);
	error = sf->error;
	sf->error = 0;
	spin_unlock_irq(&sf->sdm->lock);
	return error;
}

static ssize_t sdm_write(struct file *file, const char __user *buf,
			 size_t count, loff_t *pos)
{
	struct sdm_file *sf = file->private_data;
	bool nonblock = file->f_flags & O_NONBLOCK;
	struct sdm_signal signal;
	size_t done = 0;
	u32 status;
	int ret;

	if (count < sizeof(signal))
		return -EINVAL;
	count = min_t(size_t, count, INT_MAX);

	ret = sdm_file_error(sf);
	if (ret)
		return ret;

	while (count - done >= sizeof(signal)) {
		if (copy_from_user(&signal, buf + done, sizeof(signal))) {
			ret = -EFAULT;
			break;
		}
		if (nonblock) {
			ret = sdm_post(sf, &signal);
		} else {
			ret = sdm_send(sf->sdm, &signal, false, &status);
			if (!ret)
				ret = sdm_status_errno(status);
		}
		if (ret)
			break;
		done += sizeof(signal);
		if (signal_pending(current))
			break;
	}
	if (done)
		return done;
	/* If it was kept for a later write, this is the one. */
	return nonblock ? sdm_file_error(sf) ?: ret : ret;
}

/* Peers */

static void sdm_read_peer(struct sdm_device *sdm, u32 id,
			  struct sdm_ioc_peer *peer)
{
	char *c;

	lockdep_assert_held(&sdm->peer_lock);
	memset(peer, 0, sizeof(*peer));
	peer->id = id;
	sdm->ops->peer(sdm, peer);

	/* The peer has chosen it: keep it fit for a log and for udev. */
	peer->name[SDM_NAME_MAX] = '\0';
	for (c = peer->name; *c; c++) {
		if (!isascii(*c) || !isprint(*c))
			*c = '?';
	}
	memset(c, 0, peer->name + sizeof(peer->name) - c);
}

/* -ENODEV: the device is gone. May sleep; peer_lock held. */
static int sdm_read_info(struct sdm_device *sdm, struct sdm_ioc_info *info)
{
	lockdep_assert_held(&sdm->peer_lock);
	if (sdm->gone)
		return -ENODEV;
	memset(info, 0, sizeof(*info));
	sdm->ops->info(sdm, info);
	info->version = SDM_CHARDEV_VERSION;
	info->features &= SDM_FEATURES_MASK;
	if (info->num_slaves > SDM_MAX_SLAVES) {
		dev_warn_once(&sdm->dev, "device has %u slaves, using %u\n",
			      info->num_slaves, SDM_MAX_SLAVES);
		info->num_slaves = SDM_MAX_SLAVES;
	}
	return 0;
}

int sdm_get_info(struct sdm_device *sdm, struct sdm_ioc_info *info)
{
	int ret;

	mutex_lock(&sdm->peer_lock);
	ret = sdm_read_info(sdm, info);
	mutex_unlock(&sdm->peer_lock);
	return ret;
}

static void sdm_peer_uevent(struct sdm_device *sdm,
			    const struct sdm_ioc_peer *peer)
{
	char id[sizeof("SDM_PEER=4294967295")];
	char state[sizeof("SDM_STATE=") + 16];
	char name[sizeof("SDM_NAME=") + SDM_NAME_MAX];
	char *env[] = { id, state, name, NULL };

	snprintf(id, sizeof(id), "SDM_PEER=%u", peer->id);
	snprintf(state, sizeof(state), "SDM_STATE=%s",
		 sdm_state_name(peer->state));
	snprintf(name, sizeof(name), "SDM_NAME=%s", peer->name);
	kobject_uevent_env(&sdm->dev.kobj, KOBJ_CHANGE, env);
}

static void sdm_peer_work(struct work_struct *work)
{
	struct sdm_device *sdm = container_of(work, struct sdm_device,
					      peer_work);
	struct sdm_ioc_info info;
	struct sdm_ioc_peer peer;
	u32 id;

	mutex_lock(&sdm->peer_lock);
	if (sdm_read_info(sdm, &info))
		goto out;

	/* All ids: another master may have fewer of them than the last one. */
	for (id = 0; id <= SDM_MAX_SLAVES; id++) {
		if (id <= info.num_slaves)
			sdm_read_peer(sdm, id, &peer);
		else
			peer = (struct sdm_ioc_peer){ .id = id };

		if (peer.state == sdm->peer_state[id])
			continue;
		sdm->peer_state[id] = peer.state;
		sdm_peer_uevent(sdm, &peer);
	}
out:
	mutex_unlock(&sdm->peer_lock);
}

void sdm_peers_changed(struct sdm_device *sdm)
{
	unsigned long flags;

	spin_lock_irqsave(&sdm->lock, flags);
	/* Under the lock, so that it is not queued again after sdm_stop(). */
	if (sdm->registered && !sdm->gone) {
		atomic_inc(&sdm->peer_events);
		schedule_work(&sdm->peer_work);
	}
	spin_unlock_irqrestore(&sdm->lock, flags);

	wake_up_interruptible_poll(&sdm->wait, EPOLLPRI);
}

/* The other file operations */

static long sdm_ioctl_info(struct sdm_file *sf, void __user *arg)
{
	struct sdm_ioc_info info;
	int ret;

	ret = sdm_get_info(sf->sdm, &info);
	if (ret)
		return ret;
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long sdm_ioctl_peer(struct sdm_file *sf, void __user *arg)
{
	struct sdm_device *sdm = sf->sdm;
	struct sdm_ioc_info info;
	struct sdm_ioc_peer peer;
	int events;
	u32 id;
	int ret;

	if (get_user(id, (u32 __user *)(arg +
					offsetof(struct sdm_ioc_peer, id))))
		return -EFAULT;

	/* Before the peer is read: a change meanwhile must be told again. */
	events = atomic_read(&sdm->peer_events);

	mutex_lock(&sdm->peer_lock);
	ret = sdm_read_info(sdm, &info);
	if (!ret && id > info.num_slaves)
		ret = -EINVAL;
	if (!ret)
		sdm_read_peer(sdm, id, &peer);
	mutex_unlock(&sdm->peer_lock);
	if (ret)
		return ret;

	if (copy_to_user(arg, &peer, sizeof(peer)))
		return -EFAULT;
	WRITE_ONCE(sf->peer_events, events);
	return 0;
}

static long sdm_ioctl_send(struct sdm_file *sf, void __user *arg,
			   bool nonblock)
{
	struct sdm_ioc_send send;
	int ret;

	if (copy_from_user(&send, arg, sizeof(send)))
		return -EFAULT;
	ret = sdm_send(sf->sdm, &send.signal, nonblock, &send.status);
	if (ret)
		return ret;
	send.reserved = 0;
	return copy_to_user(arg, &send, sizeof(send)) ? -EFAULT : 0;
}

static long sdm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct sdm_file *sf = file->private_data;
	void __user *uarg = (void __user *)arg;

	if (READ_ONCE(sf->sdm->gone))
		return -ENODEV;

	switch (cmd) {
	case SDM_IOC_INFO:
		return sdm_ioctl_info(sf, uarg);
	case SDM_IOC_PEER:
		return sdm_ioctl_peer(sf, uarg);
	case SDM_IOC_SEND:
		return sdm_ioctl_send(sf, uarg, file->f_flags & O_NONBLOCK);
	case SDM_IOC_FILTER:
		return sdm_ioctl_filter(sf, uarg);
	default:
		return -ENOTTY;
	}
}

static __poll_t sdm_poll(struct file *file, poll_table *pt)
{
	struct sdm_file *sf = file->private_data;
	struct sdm_device *sdm = sf->sdm;
	__poll_t mask = 0;

	poll_wait(file, &sdm->wait, pt);
	poll_wait(file, &sdm->send_wait, pt);

	spin_lock_irq(&sdm->lock);
	if (sdm->gone) {
		spin_unlock_irq(&sdm->lock);
		return EPOLLHUP;
	}
	if (sdm_file_claim(sf)->waiting)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (sf->error)
		mask |= EPOLLERR | EPOLLOUT | EPOLLWRNORM;
	else if (sf->pending < SDM_FILE_PENDING && sdm->ops->room(sdm))
		mask |= EPOLLOUT | EPOLLWRNORM;
	spin_unlock_irq(&sdm->lock);

	if (atomic_read(&sdm->peer_events) != READ_ONCE(sf->peer_events))
		mask |= EPOLLPRI;
	return mask;
}

static int sdm_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sdm_file *sf = file->private_data;
	struct sdm_device *sdm = sf->sdm;
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 size = vma->vm_end - vma->vm_start;
	struct sdm_ioc_info info;
	int ret;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	ret = sdm_get_info(sdm, &info);
	if (ret)
		return ret;
	if (start < info.region_base || size > info.region_size ||
	    start - info.region_base > info.region_size - size)
		return -EINVAL;
	/* Beyond what this kernel can address? */
	if ((phys_addr_t)start != start ||
	    (phys_addr_t)(start + size - 1) != start + size - 1)
		return -EINVAL;

	if (region_intersects(start, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT) {
		dev_warn_ratelimited(&sdm->dev,
			"0x%llx-0x%llx is RAM of this kernel, not mapped: boot it with mem= or let windows= of the memory backend reserve the window\n",
			start, start + size - 1);
		return -EPERM;
	}

	/*
	 * Cacheable, as the other side maps it: it is plain RAM of the host.
	 * The mapping stays valid if the device goes, as the RAM does.
	 */
	return remap_pfn_range(vma, vma->vm_start, vma->vm_pgoff, size,
			       vma->vm_page_prot);
}

static int sdm_open(struct inode *inode, struct file *file)
{
	struct sdm_device *sdm = container_of(inode->i_cdev, struct sdm_device,
					      cdev);
	struct sdm_file *sf;

	if (READ_ONCE(sdm->gone))
		return -ENODEV;

	sf = kzalloc(sizeof(*sf), GFP_KERNEL);
	if (!sf)
		return -ENOMEM;
	sf->sdm = sdm;
	INIT_LIST_HEAD(&sf->requests);
	sf->peer_events = atomic_read(&sdm->peer_events);
	file->private_data = sf;
	return stream_open(inode, file);
}

static int sdm_release(struct inode *inode, struct file *file)
{
	struct sdm_file *sf = file->private_data;
	struct sdm_device *sdm = sf->sdm;
	struct sdm_request *req;

	spin_lock_irq(&sdm->lock);
	if (sf->filter.types)
		sdm_claim_del(sdm, &sf->filter);
	list_for_each_entry(req, &sf->requests, node)
		req->answered = NULL;
	spin_unlock_irq(&sdm->lock);

	kfree(sf);
	return 0;
}

static const struct file_operations sdm_fops = {
	.owner		= THIS_MODULE,
	.open		= sdm_open,
	.release	= sdm_release,
	.read		= sdm_read,
	.write		= sdm_write,
	.poll		= sdm_poll,
	.unlocked_ioctl	= sdm_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= sdm_mmap,
};

/* sysfs */

static ssize_t id_show(struct device *dev, struct device_attribute *attr,
		       char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);
	struct sdm_ioc_info info;
	int ret;

	ret = sdm_get_info(sdm, &info);
	if (ret)
		return ret;
	if (info.device_id == U32_MAX)
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%u\n", info.device_id);
}
static DEVICE_ATTR_RO(id);

static ssize_t num_slaves_show(struct device *dev,
			       struct device_attribute *attr, char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);
	struct sdm_ioc_info info;
	int ret;

	ret = sdm_get_info(sdm, &info);
	if (ret)
		return ret;
	return sysfs_emit(buf, "%u\n", info.num_slaves);
}
static DEVICE_ATTR_RO(num_slaves);

static ssize_t features_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);
	struct sdm_ioc_info info;
	int ret;

	ret = sdm_get_info(sdm, &info);
	if (ret)
		return ret;
	return sysfs_emit(buf, "0x%06x\n", info.features);
}
static DEVICE_ATTR_RO(features);

static ssize_t sdm_show_counter(struct sdm_device *sdm, const u64 *counter,
				char *buf)
{
	u64 value;

	spin_lock_irq(&sdm->lock);
	value = *counter;
	spin_unlock_irq(&sdm->lock);
	return sysfs_emit(buf, "%llu\n", value);
}

static ssize_t sent_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);

	return sdm_show_counter(sdm, &sdm->sent, buf);
}
static DEVICE_ATTR_RO(sent);

static ssize_t received_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);

	return sdm_show_counter(sdm, &sdm->received, buf);
}
static DEVICE_ATTR_RO(received);

static ssize_t waiting_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);
	struct sdm_rx_entry *entry;
	unsigned int waiting = 0;

	spin_lock_irq(&sdm->lock);
	list_for_each_entry(entry, &sdm->rx_queue, node)
		waiting++;
	spin_unlock_irq(&sdm->lock);
	return sysfs_emit(buf, "%u\n", waiting);
}
static DEVICE_ATTR_RO(waiting);

static struct attribute *sdm_attrs[] = {
	&dev_attr_id.attr,
	&dev_attr_num_slaves.attr,
	&dev_attr_features.attr,
	&dev_attr_sent.attr,
	&dev_attr_received.attr,
	&dev_attr_waiting.attr,
	NULL
};

static const struct attribute_group sdm_group = {
	.attrs = sdm_attrs,
};

/* counters/: sent_N, refused_N and received_N for each type N. */

static const struct {
	const char *name;
	size_t offset;
} sdm_counter_kinds[] = {
	{ "sent", offsetof(struct sdm_counts, sent) },
	{ "refused", offsetof(struct sdm_counts, refused) },
	{ "received", offsetof(struct sdm_counts, received) },
};

#define SDM_COUNTERS	(ARRAY_SIZE(sdm_counter_kinds) * SDM_SIGNAL_TYPES)

static struct sdm_counter {
	struct device_attribute attr;
	unsigned int type;
	size_t offset;
	char name[sizeof("received_23")];
} sdm_counters[SDM_COUNTERS];

static struct attribute *sdm_counter_attrs[SDM_COUNTERS + 1];

static ssize_t sdm_counter_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);
	struct sdm_counter *counter = container_of(attr, struct sdm_counter,
						   attr);
	void *counts = &sdm->counts[counter->type];

	return sdm_show_counter(sdm, counts + counter->offset, buf);
}

static umode_t sdm_counter_visible(struct kobject *kobj,
				   struct attribute *attr, int n)
{
	struct sdm_device *sdm = container_of(kobj_to_dev(kobj),
					      struct sdm_device, dev);

	return sdm->features & (1u << sdm_counters[n].type) ? attr->mode : 0;
}

static const struct attribute_group sdm_counter_group = {
	.name = "counters",
	.attrs = sdm_counter_attrs,
	.is_visible = sdm_counter_visible,
};

static void __init sdm_counters_init(void)
{
	unsigned int kind, type;
	unsigned int n = 0;

	for (kind = 0; kind < ARRAY_SIZE(sdm_counter_kinds); kind++) {
		for (type = 0; type < SDM_SIGNAL_TYPES; type++, n++) {
			struct sdm_counter *counter = &sdm_counters[n];

			snprintf(counter->name, sizeof(counter->name), "%s_%u",
				 sdm_counter_kinds[kind].name, type);
			counter->type = type;
			counter->offset = sdm_counter_kinds[kind].offset;
			sysfs_attr_init(&counter->attr.attr);
			counter->attr.attr.name = counter->name;
			counter->attr.attr.mode = 0444;
			counter->attr.show = sdm_counter_show;
			sdm_counter_attrs[n] = &counter->attr.attr;
		}
	}
}

static const struct attribute_group *sdm_groups[] = {
	&sdm_group,
	&sdm_counter_group,
	NULL
};

static struct class sdm_class = {
	.name		= "sdm",
	.dev_groups	= sdm_groups,
};

/* Life of a device */

static void sdm_dev_release(struct device *dev)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);

	ida_free(&sdm_minors, MINOR(dev->devt));
	kvfree(sdm);
}

struct sdm_device *sdm_alloc(struct device *parent, const struct sdm_ops *ops,
			     void *priv)
{
	struct sdm_device *sdm;
	unsigned int i;
	int minor;
	int ret;

	sdm = kvzalloc(sizeof(*sdm), GFP_KERNEL);
	if (!sdm)
		return ERR_PTR(-ENOMEM);

	minor = ida_alloc_max(&sdm_minors, SDM_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		kvfree(sdm);
		return ERR_PTR(minor);
	}

	sdm->ops = ops;
	sdm->priv = priv;
	spin_lock_init(&sdm->lock);
	INIT_LIST_HEAD(&sdm->rx_free);
	INIT_LIST_HEAD(&sdm->rx_queue);
	INIT_LIST_HEAD(&sdm->claims);
	for (i = 0; i < SDM_RX_QUEUE; i++)
		list_add_tail(&sdm->rx_entries[i].node, &sdm->rx_free);
	mutex_init(&sdm->read_lock);
	init_waitqueue_head(&sdm->wait);
	init_waitqueue_head(&sdm->send_wait);
	mutex_init(&sdm->peer_lock);
	INIT_WORK(&sdm->peer_work, sdm_peer_work);

	device_initialize(&sdm->dev);
	sdm->dev.class = &sdm_class;
	sdm->dev.parent = parent;
	sdm->dev.devt = MKDEV(MAJOR(sdm_devt), minor);
	sdm->dev.release = sdm_dev_release;
	cdev_init(&sdm->cdev, &sdm_fops);
	sdm->cdev.owner = THIS_MODULE;

	ret = dev_set_name(&sdm->dev, "sdm%d", minor);
	if (ret) {
		put_device(&sdm->dev);
		return ERR_PTR(ret);
	}
	return sdm;
}

int sdm_register(struct sdm_device *sdm)
{
	struct sdm_ioc_info info;
	int ret;

	ret = sdm_get_info(sdm, &info);
	if (ret)
		return ret;
	sdm->features = info.features;

	ret = cdev_device_add(&sdm->cdev, &sdm->dev);
	if (ret)
		return ret;

	/* Without it, everything else works. */
	ret = sdm_mbox_add(sdm);
	if (ret)
		dev_err(&sdm->dev, "no mailbox controller: %d\n", ret);

	spin_lock_irq(&sdm->lock);
	sdm->registered = true;
	spin_unlock_irq(&sdm->lock);

	/* Tells the peers that are there already. */
	sdm_peers_changed(sdm);
	return 0;
}

void sdm_stop(struct sdm_device *sdm)
{
	sdm_mbox_remove(sdm);

	mutex_lock(&sdm->peer_lock);
	spin_lock_irq(&sdm->lock);
	sdm->ops->stop(sdm);
	WRITE_ONCE(sdm->gone, true);
	spin_unlock_irq(&sdm->lock);
	mutex_unlock(&sdm->peer_lock);

	wake_up_all(&sdm->wait);
	wake_up_all(&sdm->send_wait);

	if (sdm->registered) {
		cancel_work_sync(&sdm->peer_work);
		cdev_device_del(&sdm->cdev, &sdm->dev);
	}
}

void sdm_free(struct sdm_device *sdm)
{
	put_device(&sdm->dev);
}

static int __init sdm_init(void)
{
	int ret;

	sdm_counters_init();
	ret = alloc_chrdev_region(&sdm_devt, 0, SDM_MINORS, "sdm");
	if (ret)
		return ret;
	ret = class_register(&sdm_class);
	if (ret)
		goto err_region;
	ret = sdm_virtio_init();
	if (ret)
		goto err_class;
	ret = sdm_platform_init();
	if (ret)
		goto err_virtio;
	return 0;

err_virtio:
	sdm_virtio_exit();
err_class:
	class_unregister(&sdm_class);
err_region:
	unregister_chrdev_region(sdm_devt, SDM_MINORS);
	return ret;
}
module_init(sdm_init);

static void __exit sdm_exit(void)
{
	sdm_platform_exit();
	sdm_virtio_exit();
	class_unregister(&sdm_class);
	unregister_chrdev_region(sdm_devt, SDM_MINORS);
	ida_destroy(&sdm_minors);
}
module_exit(sdm_exit);

MODULE_DESCRIPTION("Signal Distribution Module: signals between machines");
MODULE_LICENSE("GPL");
