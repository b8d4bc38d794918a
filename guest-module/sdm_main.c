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
#include <linux/uaccess.h>

#include "sdm.h"

#define SDM_MINORS		64
#define SDM_CHARDEV_VERSION	1

/**
 * struct sdm_file - an open file
 * @sdm: kept alive by the reference that the file has to the cdev
 * @peer_events: value of @sdm->peer_events at the last SDM_IOC_PEER
 */
struct sdm_file {
	struct sdm_device *sdm;
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
static int sdm_status_errno(u32 status)
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

/* Receiving */

bool sdm_rx_full(struct sdm_device *sdm)
{
	lockdep_assert_held(&sdm->lock);
	return kfifo_is_full(&sdm->rx);
}

void sdm_rx_push(struct sdm_device *sdm, const struct sdm_signal *signal)
{
	lockdep_assert_held(&sdm->lock);
	if (!WARN_ON_ONCE(!kfifo_put(&sdm->rx, *signal)))
		sdm->received++;
}

void sdm_receive(struct sdm_device *sdm)
{
	unsigned long flags;

	spin_lock_irqsave(&sdm->lock, flags);
	if (!sdm->gone)
		sdm->rx_stopped = !sdm->ops->receive(sdm);
	spin_unlock_irqrestore(&sdm->lock, flags);

	wake_up_interruptible(&sdm->wait);
}

/*
 * After room was made in the queue. The transport looks for room with the lock
 * held: it either saw what was made, or has set @rx_stopped before we look.
 */
static void sdm_rx_restart(struct sdm_device *sdm)
{
	bool restarted;

	spin_lock_irq(&sdm->lock);
	restarted = sdm->rx_stopped && !sdm->gone;
	if (restarted)
		sdm->rx_stopped = !sdm->ops->receive(sdm);
	spin_unlock_irq(&sdm->lock);

	/* Others may have seen the queue empty meanwhile. */
	if (restarted)
		wake_up_interruptible(&sdm->wait);
}

/*
 * How many signals may be copied out: what was pushed before the lock was
 * released is visible to us, which a bare look at the queue does not ensure.
 */
static unsigned int sdm_rx_len(struct sdm_device *sdm)
{
	unsigned int len;

	spin_lock_irq(&sdm->lock);
	len = kfifo_len(&sdm->rx);
	spin_unlock_irq(&sdm->lock);
	return len;
}

static ssize_t sdm_read(struct file *file, char __user *buf, size_t count,
			loff_t *pos)
{
	struct sdm_file *sf = file->private_data;
	struct sdm_device *sdm = sf->sdm;
	unsigned int copied;
	unsigned int len;
	int ret;

	if (count < sizeof(struct sdm_signal))
		return -EINVAL;

	for (;;) {
		if (mutex_lock_interruptible(&sdm->read_lock))
			return -ERESTARTSYS;
		if (READ_ONCE(sdm->gone)) {
			ret = -ENODEV;
			goto out_unlock;
		}
		len = sdm_rx_len(sdm);
		if (len)
			break;
		mutex_unlock(&sdm->read_lock);

		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(sdm->wait,
					     !kfifo_is_empty(&sdm->rx) ||
					     READ_ONCE(sdm->gone)))
			return -ERESTARTSYS;
	}

	/* On a fault, what was not copied stays in the queue. */
	len *= sizeof(struct sdm_signal);
	ret = kfifo_to_user(&sdm->rx, buf, min_t(size_t, count, len), &copied);
	copied = rounddown(copied, sizeof(struct sdm_signal));
	if (copied) {
		sdm_rx_restart(sdm);
		ret = copied;
	}

out_unlock:
	mutex_unlock(&sdm->read_lock);
	return ret;
}

/* Sending */

static void sdm_request_release(struct kref *ref)
{
	kfree(container_of(ref, struct sdm_request, ref));
}

void sdm_request_done(struct sdm_device *sdm, struct sdm_request *req,
		      int error, u32 status)
{
	lockdep_assert_held(&sdm->lock);
	req->error = error;
	req->status = status;
	if (!error && status == SDM_OK)
		sdm->sent++;
	complete(&req->done);
	kref_put(&req->ref, sdm_request_release);
	wake_up_interruptible(&sdm->send_wait);
}

/* Called as a wait condition too: may not sleep. */
static int sdm_submit(struct sdm_device *sdm, struct sdm_request *req)
{
	int ret = -ENODEV;

	spin_lock_irq(&sdm->lock);
	if (!sdm->gone) {
		kref_get(&req->ref);
		ret = sdm->ops->submit(sdm, req);
		if (ret)
			kref_put(&req->ref, sdm_request_release);
	}
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

	req = kzalloc(sizeof(*req), GFP_KERNEL);
	if (!req)
		return -ENOMEM;
	kref_init(&req->ref);
	init_completion(&req->done);
	req->signal = *signal;

	ret = sdm_submit(sdm, req);
	if (ret == -ENOSPC) {
		if (nonblock)
			ret = -EAGAIN;
		else if (wait_event_interruptible(sdm->send_wait,
				(ret = sdm_submit(sdm, req)) != -ENOSPC))
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
	kref_put(&req->ref, sdm_request_release);
	return ret;
}

static ssize_t sdm_write(struct file *file, const char __user *buf,
			 size_t count, loff_t *pos)
{
	struct sdm_file *sf = file->private_data;
	bool nonblock = file->f_flags & O_NONBLOCK;
	struct sdm_signal signal;
	size_t done = 0;
	u32 status;
	int ret = 0;

	if (count < sizeof(signal))
		return -EINVAL;
	count = min_t(size_t, count, INT_MAX);

	while (count - done >= sizeof(signal)) {
		if (copy_from_user(&signal, buf + done, sizeof(signal))) {
			ret = -EFAULT;
			break;
		}
		ret = sdm_send(sf->sdm, &signal, nonblock, &status);
		if (!ret)
			ret = sdm_status_errno(status);
		if (ret)
			break;
		done += sizeof(signal);
		if (signal_pending(current))
			break;
	}
	return done ?: ret;
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

static int sdm_get_info(struct sdm_device *sdm, struct sdm_ioc_info *info)
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

	wake_up_interruptible(&sdm->wait);
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
	if (READ_ONCE(sdm->gone))
		return EPOLLHUP;
	if (!kfifo_is_empty(&sdm->rx))
		mask |= EPOLLIN | EPOLLRDNORM;
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
	sf->peer_events = atomic_read(&sdm->peer_events);
	file->private_data = sf;
	return stream_open(inode, file);
}

static int sdm_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
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

static struct attribute *sdm_attrs[] = {
	&dev_attr_id.attr,
	&dev_attr_num_slaves.attr,
	&dev_attr_features.attr,
	&dev_attr_sent.attr,
	&dev_attr_received.attr,
	NULL
};
ATTRIBUTE_GROUPS(sdm);

static struct class sdm_class = {
	.name		= "sdm",
	.dev_groups	= sdm_groups,
};

/* Life of a device */

static void sdm_dev_release(struct device *dev)
{
	struct sdm_device *sdm = container_of(dev, struct sdm_device, dev);

	ida_free(&sdm_minors, MINOR(dev->devt));
	kfree(sdm);
}

struct sdm_device *sdm_alloc(struct device *parent, const struct sdm_ops *ops,
			     void *priv)
{
	struct sdm_device *sdm;
	int minor;
	int ret;

	sdm = kzalloc(sizeof(*sdm), GFP_KERNEL);
	if (!sdm)
		return ERR_PTR(-ENOMEM);

	minor = ida_alloc_max(&sdm_minors, SDM_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		kfree(sdm);
		return ERR_PTR(minor);
	}

	sdm->ops = ops;
	sdm->priv = priv;
	spin_lock_init(&sdm->lock);
	INIT_KFIFO(sdm->rx);
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
	int ret;

	ret = cdev_device_add(&sdm->cdev, &sdm->dev);
	if (ret)
		return ret;

	spin_lock_irq(&sdm->lock);
	sdm->registered = true;
	spin_unlock_irq(&sdm->lock);

	/* Tells the peers that are there already. */
	sdm_peers_changed(sdm);
	return 0;
}

void sdm_stop(struct sdm_device *sdm)
{
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
