// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A mailbox controller on top of an SDM device: one channel for each peer and
 * signal type. Manual, with the device tree's words: docs/user/mailbox.rst
 *
 * Theory of operation
 *
 * A channel in use is a claim (sdm.h): its signals go to its client, and to no
 * file. What is sent carries SDM_SIGNAL_F_ACK, so that "transmission done" is
 * what the mailbox framework means by it: the other guest has taken it.
 *
 * The framework calls send_data() with the channel's lock held, and takes that
 * lock itself when it is told of an end. So the core's lock nests inside the
 * channel's, and the framework is called back without it, from two work items:
 * one for what was sent, one for what was received. (One for both was rejected:
 * a client that waits in its receive callback for the end of a transmission is
 * wrong, but must not hang.)
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mailbox_client.h>
#include <linux/mailbox_controller.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "sdm.h"
#include "sdm/mailbox.h"

/* BOOT, RESET and the like are not messages. */
#define SDM_MBOX_TYPES	(1u << SDM_SIGNAL_INTERRUPT | \
			 (SDM_FEATURES_MASK & ~((1u << SDM_SIGNAL_USER) - 1)))

/* What the kernel's mailbox-test client reads of each message. */
#define SDM_MBOX_MESSAGE_ROOM	128

/**
 * struct sdm_mbox_chan - a channel
 * @chan: the framework's
 * @mb: the controller
 * @peer: id of the other side
 * @type: signal type
 *
 * The rest is protected by @sdm->lock.
 *
 * @doorbell: the client's messages have no content
 * @open: from startup to shutdown
 * @claim: the signals of @type that come from @peer, while @open
 * @req: the signal that is being sent, or NULL; our reference
 * @tx_node: in @mb->tx_wait while @req waits for room
 * @done_node: in @mb->done from the answer until the framework knows it
 * @error: the answer
 * @rx_node: in @mb->rx while signals wait
 */
struct sdm_mbox_chan {
	struct mbox_chan *chan;
	struct sdm_mbox *mb;
	u32 peer;
	u32 type;

	bool doorbell;
	bool open;
	struct sdm_claim claim;
	struct sdm_request *req;
	struct list_head tx_node;
	struct list_head done_node;
	int error;
	struct list_head rx_node;
};

/**
 * struct sdm_mbox - a controller
 * @ctrl: the framework's
 * @sdm: the device
 * @first_peer: peer of the first channels
 * @peers: number of peers
 * @types: signal types that have channels
 * @tx_work: tells the framework of what was sent
 * @rx_work: and of what was received
 * @tx_wait: channels whose signal waits for room; @sdm->lock
 * @done: channels whose signal was answered; @sdm->lock
 * @rx: channels that have something to receive; @sdm->lock
 * @message: for the receiving client; of @rx_work
 * @chans: @ctrl.num_chans of them, a peer's side by side
 */
struct sdm_mbox {
	struct mbox_controller ctrl;
	struct sdm_device *sdm;
	u32 first_peer;
	u32 peers;
	u32 types;
	struct work_struct tx_work;
	struct work_struct rx_work;
	struct list_head tx_wait;
	struct list_head done;
	struct list_head rx;
	union {
		struct sdm_mbox_message content;
		u8 room[SDM_MBOX_MESSAGE_ROOM];
	} message;
	struct sdm_mbox_chan *chans;
};

/* Sending */

/* The signal has ended, or never began; lock held. */
static void sdm_mbox_tx_end(struct sdm_mbox_chan *mc, int error)
{
	struct sdm_mbox *mb = mc->mb;

	if (mc->req)
		sdm_request_put(mc->req);
	mc->req = NULL;
	mc->error = error;
	list_move_tail(&mc->done_node, &mb->done);
	queue_work(system_highpri_wq, &mb->tx_work);
}

static void sdm_mbox_answered(struct sdm_request *req)
{
	sdm_mbox_tx_end(req->owner,
			req->error ?: sdm_status_errno(req->status));
}

void sdm_mbox_room(struct sdm_mbox *mb)
{
	lockdep_assert_held(&mb->sdm->lock);
	if (!list_empty(&mb->tx_wait))
		queue_work(system_highpri_wq, &mb->tx_work);
}

/*
 * Give the device what waits for room, in the order in which it came; lock
 * held. A signal that is answered at once may be freed by that.
 */
static void sdm_mbox_tx_start(struct sdm_mbox *mb)
{
	struct sdm_mbox_chan *mc;
	int ret;

	while ((mc = list_first_entry_or_null(&mb->tx_wait,
					      struct sdm_mbox_chan,
					      tx_node))) {
		list_del_init(&mc->tx_node);
		ret = sdm_submit(mb->sdm, mc->req);
		if (ret == -ENOSPC) {
			list_add(&mc->tx_node, &mb->tx_wait);
			break;
		}
		if (ret)
			sdm_mbox_tx_end(mc, ret);
	}
}

static void sdm_mbox_tx_work(struct work_struct *work)
{
	struct sdm_mbox *mb = container_of(work, struct sdm_mbox, tx_work);
	struct sdm_device *sdm = mb->sdm;
	struct sdm_mbox_chan *mc;
	int error;

	for (;;) {
		spin_lock_irq(&sdm->lock);
		sdm_mbox_tx_start(mb);
		mc = list_first_entry_or_null(&mb->done, struct sdm_mbox_chan,
					      done_node);
		if (mc) {
			list_del_init(&mc->done_node);
			error = mc->error;
		}
		spin_unlock_irq(&sdm->lock);
		if (!mc)
			break;
		mbox_chan_txdone(mc->chan, error);
		cond_resched();
	}
}

static int sdm_mbox_send_data(struct mbox_chan *chan, void *data)
{
	struct sdm_mbox_chan *mc = chan->con_priv;
	struct sdm_mbox *mb = mc->mb;
	struct sdm_mbox_message *message = data;
	struct sdm_signal signal = {
		.type = sdm_to_le32(mc->type),
		.target = sdm_to_le16(mc->peer),
		.flags = sdm_to_le32(SDM_SIGNAL_F_ACK),
	};
	unsigned long flags;

	if (!mc->doorbell && message) {
		signal.payload[0] = sdm_to_le64(message->payload[0]);
		signal.payload[1] = sdm_to_le64(message->payload[1]);
	}

	spin_lock_irqsave(&mb->sdm->lock, flags);
	if (mc->req || !list_empty(&mc->done_node)) {
		/*
		 * The framework has given the last one up (tx_tout), but it is
		 * on its way. Its end makes the framework try this one again.
		 */
		spin_unlock_irqrestore(&mb->sdm->lock, flags);
		return -EBUSY;
	}
	mc->req = sdm_request_new(&signal, GFP_ATOMIC);
	if (mc->req) {
		mc->req->answered = sdm_mbox_answered;
		mc->req->owner = mc;
		list_add_tail(&mc->tx_node, &mb->tx_wait);
		sdm_mbox_tx_start(mb);
	} else {
		sdm_mbox_tx_end(mc, -ENOMEM);
	}
	spin_unlock_irqrestore(&mb->sdm->lock, flags);
	return 0;
}

/* Receiving */

static void sdm_mbox_notify(struct sdm_claim *claim)
{
	struct sdm_mbox_chan *mc = container_of(claim, struct sdm_mbox_chan,
						claim);

	if (list_empty(&mc->rx_node))
		list_add_tail(&mc->rx_node, &mc->mb->rx);
	queue_work(system_highpri_wq, &mc->mb->rx_work);
}

static void sdm_mbox_rx_work(struct work_struct *work)
{
	struct sdm_mbox *mb = container_of(work, struct sdm_mbox, rx_work);
	struct sdm_device *sdm = mb->sdm;
	struct sdm_mbox_chan *mc;
	struct sdm_signal signal;
	void *message;

	for (;;) {
		spin_lock_irq(&sdm->lock);
		mc = list_first_entry_or_null(&mb->rx, struct sdm_mbox_chan,
					      rx_node);
		/* One of each in turn. */
		if (mc && mc->claim.waiting)
			list_move_tail(&mc->rx_node, &mb->rx);
		else if (mc)
			list_del_init(&mc->rx_node);
		spin_unlock_irq(&sdm->lock);
		if (!mc)
			break;
		/* It stays open until sdm_mbox_shutdown() has seen us end. */
		if (!sdm_take(sdm, &mc->claim, &signal))
			continue;

		message = NULL;
		if (!mc->doorbell) {
			mb->message.content.payload[0] =
				sdm_from_le64(signal.payload[0]);
			mb->message.content.payload[1] =
				sdm_from_le64(signal.payload[1]);
			message = &mb->message;
		}
		mbox_chan_received_data(mc->chan, message);
		cond_resched();
	}
}

/* Channels */

static int sdm_mbox_startup(struct mbox_chan *chan)
{
	struct sdm_mbox_chan *mc = chan->con_priv;
	struct sdm_device *sdm = mc->mb->sdm;
	int ret = -ENODEV;

	/* So that the client is unbound before this device is. */
	device_link_add(chan->cl->dev, mc->mb->ctrl.dev,
			DL_FLAG_AUTOREMOVE_CONSUMER);

	mc->claim.types = 1u << mc->type;
	mc->claim.sources[mc->peer / 64] = 1ull << mc->peer % 64;
	mc->claim.notify = sdm_mbox_notify;

	spin_lock_irq(&sdm->lock);
	if (!sdm->gone)
		ret = sdm_claim_add(sdm, &mc->claim);
	mc->open = !ret;
	spin_unlock_irq(&sdm->lock);
	if (ret)
		dev_err(&sdm->dev,
			"mailbox: signal %u from peer %u: %s\n", mc->type,
			mc->peer, ret == -EBUSY ?
			"a file has a filter for it, close it" :
			"the device is gone");
	return ret;
}

/* Also called when the startup has failed. */
static void sdm_mbox_shutdown(struct mbox_chan *chan)
{
	struct sdm_mbox_chan *mc = chan->con_priv;
	struct sdm_mbox *mb = mc->mb;
	struct sdm_device *sdm = mb->sdm;

	spin_lock_irq(&sdm->lock);
	if (!mc->open) {
		spin_unlock_irq(&sdm->lock);
		return;
	}
	mc->open = false;
	sdm_claim_del(sdm, &mc->claim);
	list_del_init(&mc->rx_node);
	list_del_init(&mc->tx_node);
	list_del_init(&mc->done_node);
	if (mc->req) {
		/* The device may still send it; nobody is told. */
		mc->req->answered = NULL;
		sdm_request_put(mc->req);
		mc->req = NULL;
	}
	spin_unlock_irq(&sdm->lock);

	/* The client may be gone when we return. */
	flush_work(&mb->tx_work);
	flush_work(&mb->rx_work);
}

static const struct mbox_chan_ops sdm_mbox_ops = {
	.send_data	= sdm_mbox_send_data,
	.startup	= sdm_mbox_startup,
	.shutdown	= sdm_mbox_shutdown,
};

/* <&controller PEER TYPE FLAGS> */
static struct mbox_chan *sdm_mbox_xlate(struct mbox_controller *ctrl,
					const struct of_phandle_args *args)
{
	struct sdm_mbox *mb = container_of(ctrl, struct sdm_mbox, ctrl);
	struct sdm_mbox_chan *mc;
	u32 peer, type, flags;

	if (args->args_count != SDM_MBOX_CELLS) {
		dev_err(ctrl->dev, "#mbox-cells = <%d>: it has to be <%u>\n",
			args->args_count, SDM_MBOX_CELLS);
		return ERR_PTR(-EINVAL);
	}
	peer = args->args[0];
	type = args->args[1];
	flags = args->args[2];
	if (peer < mb->first_peer || peer - mb->first_peer >= mb->peers) {
		dev_err(ctrl->dev, "mboxes: no peer %u: %u to %u\n", peer,
			mb->first_peer, mb->first_peer + mb->peers - 1);
		return ERR_PTR(-EINVAL);
	}
	if (type >= SDM_SIGNAL_TYPES || !(mb->types & 1u << type)) {
		dev_err(ctrl->dev,
			"mboxes: no channel for signal %u: 0 or 8 to %u, and in signals[] of QEMU's device\n",
			type, SDM_SIGNAL_TYPES - 1);
		return ERR_PTR(-EINVAL);
	}
	if (flags & ~SDM_MBOX_DOORBELL) {
		dev_err(ctrl->dev, "mboxes: unknown flags 0x%x\n", flags);
		return ERR_PTR(-EINVAL);
	}

	mc = &mb->chans[(peer - mb->first_peer) * hweight32(mb->types) +
			hweight32(mb->types & ((1u << type) - 1))];
	/* Not those of a channel in use, which the framework then refuses. */
	if (!mc->open)
		mc->doorbell = flags & SDM_MBOX_DOORBELL;
	return mc->chan;
}

/*
 * Let the device have a node of the device tree. A virtio device has none, but
 * its transport may: the virtio-mmio or PCI device.
 */
static bool sdm_mbox_node(struct device *dev)
{
	if (!dev->of_node && dev->parent &&
	    of_find_property(dev->parent->of_node, "#mbox-cells", NULL))
		device_set_of_node_from_dev(dev, dev->parent);
	return of_find_property(dev->of_node, "#mbox-cells", NULL);
}

int sdm_mbox_add(struct sdm_device *sdm)
{
	struct device *dev = sdm->dev.parent;
	struct sdm_ioc_info info;
	struct mbox_chan *chans;
	struct sdm_mbox *mb;
	unsigned int i, types;
	int ret;

	if (!sdm_mbox_node(dev))
		return 0;
	ret = sdm_get_info(sdm, &info);
	if (ret)
		return ret;
	types = hweight32(info.features & SDM_MBOX_TYPES);
	if (info.device_id == SDM_ID_MASTER && !info.num_slaves)
		return 0;
	if (!types) {
		dev_warn(&sdm->dev,
			 "no signal for a mailbox: signals[] of QEMU's device should have an sdm-signal with number=0 or 8 to %u\n",
			 SDM_SIGNAL_TYPES - 1);
		return 0;
	}

	mb = kzalloc(sizeof(*mb), GFP_KERNEL);
	if (!mb)
		return -ENOMEM;
	mb->sdm = sdm;
	mb->types = info.features & SDM_MBOX_TYPES;
	/* A slave has its master, a master its slaves. */
	mb->first_peer = info.device_id == SDM_ID_MASTER ? 1 : SDM_ID_MASTER;
	mb->peers = info.device_id == SDM_ID_MASTER ? info.num_slaves : 1;
	INIT_WORK(&mb->tx_work, sdm_mbox_tx_work);
	INIT_WORK(&mb->rx_work, sdm_mbox_rx_work);
	INIT_LIST_HEAD(&mb->tx_wait);
	INIT_LIST_HEAD(&mb->done);
	INIT_LIST_HEAD(&mb->rx);
	mb->ctrl.dev = dev;
	mb->ctrl.ops = &sdm_mbox_ops;
	mb->ctrl.num_chans = mb->peers * types;
	mb->ctrl.txdone_irq = true;
	mb->ctrl.of_xlate = sdm_mbox_xlate;

	chans = kvcalloc(mb->ctrl.num_chans, sizeof(*chans), GFP_KERNEL);
	mb->chans = kvcalloc(mb->ctrl.num_chans, sizeof(*mb->chans),
			     GFP_KERNEL);
	mb->ctrl.chans = chans;
	ret = -ENOMEM;
	if (!chans || !mb->chans)
		goto err_free;
	for (i = 0; i < mb->ctrl.num_chans; i++) {
		struct sdm_mbox_chan *mc = &mb->chans[i];
		u32 left = mb->types;
		unsigned int skip;

		for (skip = i % types; skip; skip--)
			left &= left - 1;
		mc->chan = &chans[i];
		mc->mb = mb;
		mc->peer = mb->first_peer + i / types;
		mc->type = __ffs(left);
		INIT_LIST_HEAD(&mc->tx_node);
		INIT_LIST_HEAD(&mc->done_node);
		INIT_LIST_HEAD(&mc->rx_node);
		chans[i].con_priv = mc;
	}

	spin_lock_irq(&sdm->lock);
	sdm->mbox = mb;
	spin_unlock_irq(&sdm->lock);

	ret = mbox_controller_register(&mb->ctrl);
	if (!ret)
		return 0;

	spin_lock_irq(&sdm->lock);
	sdm->mbox = NULL;
	spin_unlock_irq(&sdm->lock);
err_free:
	kvfree(mb->chans);
	kvfree(chans);
	kfree(mb);
	return ret;
}

void sdm_mbox_remove(struct sdm_device *sdm)
{
	struct sdm_mbox *mb = sdm->mbox;

	if (!mb)
		return;

	/* Shuts down the channels that are still in use. */
	mbox_controller_unregister(&mb->ctrl);

	spin_lock_irq(&sdm->lock);
	sdm->mbox = NULL;
	spin_unlock_irq(&sdm->lock);
	cancel_work_sync(&mb->tx_work);
	cancel_work_sync(&mb->rx_work);

	kvfree(mb->chans);
	kvfree(mb->ctrl.chans);
	kfree(mb);
}
