// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio SDM device (include/sdm/virtio_sdm.h). It may be a legacy device,
 * so nothing here relies on VIRTIO_F_VERSION_1: the configuration space is
 * little-endian anyway, and is therefore not read with virtio_cread().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "sdm.h"
#include "sdm/virtio_sdm.h"

struct sdm_virtio {
	struct sdm_device *sdm;
	struct virtio_device *vdev;
	struct virtqueue *vqs[VIRTIO_SDM_QUEUES];
};

/* Configuration space */

static u32 sdm_virtio_read32(struct virtio_device *vdev, unsigned int offset)
{
	sdm_le32 value;

	vdev->config->get(vdev, offset, &value, sizeof(value));
	return sdm_from_le32(value);
}

static u64 sdm_virtio_read64(struct virtio_device *vdev, unsigned int offset)
{
	sdm_le64 value;

	vdev->config->get(vdev, offset, &value, sizeof(value));
	return sdm_from_le64(value);
}

static u32 sdm_virtio_generation(struct virtio_device *vdev)
{
	/* Legacy transports have none. */
	return vdev->config->generation ? vdev->config->generation(vdev) : 0;
}

#define sdm_config_offset(field) offsetof(struct virtio_sdm_config, field)

static void sdm_virtio_info(struct sdm_device *sdm, struct sdm_ioc_info *info)
{
	struct sdm_virtio *sv = sdm->priv;
	struct virtio_device *vdev = sv->vdev;
	u32 generation;
	unsigned int bit;

	do {
		generation = sdm_virtio_generation(vdev);
		info->device_id = sdm_virtio_read32(vdev,
						sdm_config_offset(device_id));
		info->num_slaves = sdm_virtio_read32(vdev,
						sdm_config_offset(num_slaves));
		info->region_base = sdm_virtio_read64(vdev,
						sdm_config_offset(region_base));
		info->region_size = sdm_virtio_read64(vdev,
						sdm_config_offset(region_size));
	} while (generation != sdm_virtio_generation(vdev));

	for (bit = 0; bit < SDM_SIGNAL_TYPES; bit++) {
		if (virtio_has_feature(vdev, bit))
			info->features |= 1u << bit;
	}
}

static void sdm_virtio_peer(struct sdm_device *sdm, struct sdm_ioc_peer *peer)
{
	struct sdm_virtio *sv = sdm->priv;
	struct virtio_device *vdev = sv->vdev;
	sdm_le32 id = sdm_to_le32(peer->id);
	u32 generation;
	unsigned int i;

	vdev->config->set(vdev, sdm_config_offset(peer_select), &id,
			  sizeof(id));
	do {
		generation = sdm_virtio_generation(vdev);
		peer->state = sdm_virtio_read32(vdev,
					sdm_config_offset(peer_state));
		peer->machine = sdm_virtio_read32(vdev,
					sdm_config_offset(peer_machine));
		peer->ram_base = sdm_virtio_read64(vdev,
					sdm_config_offset(peer_ram_base));
		peer->ram_size = sdm_virtio_read64(vdev,
					sdm_config_offset(peer_ram_size));
		peer->window_base = sdm_virtio_read64(vdev,
					sdm_config_offset(window_base));
		peer->window_size = sdm_virtio_read64(vdev,
					sdm_config_offset(window_size));
		for (i = 0; i < sizeof(peer->name); i++)
			vdev->config->get(vdev,
					  sdm_config_offset(peer_name) + i,
					  &peer->name[i], 1);
	} while (generation != sdm_virtio_generation(vdev));
}

static void sdm_virtio_config_changed(struct virtio_device *vdev)
{
	struct sdm_virtio *sv = vdev->priv;

	sdm_peers_changed(sv->sdm);
}

/* Receiving */

static int sdm_virtio_add_buffer(struct virtqueue *vq,
				 struct sdm_signal *buffer)
{
	struct scatterlist sg;

	sg_init_one(&sg, buffer, sizeof(*buffer));
	return virtqueue_add_inbuf(vq, &sg, 1, buffer, GFP_ATOMIC);
}

static bool sdm_virtio_receive(struct sdm_device *sdm)
{
	struct sdm_virtio *sv = sdm->priv;
	struct virtqueue *vq = sv->vqs[VIRTIO_SDM_QUEUE_RECV];
	struct sdm_signal *buffer;
	unsigned int len;
	bool kick = false;
	bool full;

	do {
		virtqueue_disable_cb(vq);
		while (!(full = sdm_rx_full(sdm))) {
			buffer = virtqueue_get_buf(vq, &len);
			if (!buffer)
				break;
			if (len >= sizeof(*buffer))
				sdm_rx_push(sdm, buffer);
			else
				dev_warn_ratelimited(&sv->vdev->dev,
					"dropped a signal of %u bytes\n", len);
			if (sdm_virtio_add_buffer(vq, buffer)) {
				dev_err_ratelimited(&sv->vdev->dev,
					"lost a receive buffer\n");
				kfree(buffer);
			}
			kick = true;
		}
	} while (!full && !virtqueue_enable_cb(vq));

	if (kick)
		virtqueue_kick(vq);
	return !full;
}

static void sdm_virtio_received(struct virtqueue *vq)
{
	struct sdm_virtio *sv = vq->vdev->priv;

	sdm_receive(sv->sdm);
}

/* Sending */

static int sdm_virtio_submit(struct sdm_device *sdm, struct sdm_request *req)
{
	struct sdm_virtio *sv = sdm->priv;
	struct virtqueue *vq = sv->vqs[VIRTIO_SDM_QUEUE_SEND];
	struct scatterlist signal, reply;
	struct scatterlist *sgs[] = { &signal, &reply };
	int ret;

	sg_init_one(&signal, &req->signal, sizeof(req->signal));
	sg_init_one(&reply, &req->reply, sizeof(req->reply));
	ret = virtqueue_add_sgs(vq, sgs, 1, 1, req, GFP_ATOMIC);
	if (!ret)
		virtqueue_kick(vq);
	return ret;
}

static bool sdm_virtio_room(struct sdm_device *sdm)
{
	struct sdm_virtio *sv = sdm->priv;

	/* What a signal takes if there is no indirect descriptor for it. */
	return sv->vqs[VIRTIO_SDM_QUEUE_SEND]->num_free >= 2;
}

static void sdm_virtio_sent(struct virtqueue *vq)
{
	struct sdm_virtio *sv = vq->vdev->priv;
	struct sdm_device *sdm = sv->sdm;
	struct sdm_request *req;
	unsigned long flags;
	unsigned int len;

	spin_lock_irqsave(&sdm->lock, flags);
	if (sdm->gone)
		goto out;
	do {
		virtqueue_disable_cb(vq);
		while ((req = virtqueue_get_buf(vq, &len))) {
			if (len >= sizeof(req->reply))
				sdm_request_done(sdm, req, 0,
					sdm_from_le32(req->reply.status));
			else
				sdm_request_done(sdm, req, -EIO, 0);
		}
	} while (!virtqueue_enable_cb(vq));
out:
	spin_unlock_irqrestore(&sdm->lock, flags);
}

static void sdm_virtio_stop(struct sdm_device *sdm)
{
	struct sdm_virtio *sv = sdm->priv;
	unsigned int i;

	for (i = 0; i < VIRTIO_SDM_QUEUES; i++)
		virtqueue_disable_cb(sv->vqs[i]);
}

static const struct sdm_ops sdm_virtio_ops = {
	.info		= sdm_virtio_info,
	.peer		= sdm_virtio_peer,
	.submit		= sdm_virtio_submit,
	.room		= sdm_virtio_room,
	.receive	= sdm_virtio_receive,
	.stop		= sdm_virtio_stop,
};

/* Life */

static int sdm_virtio_fill(struct sdm_virtio *sv)
{
	struct virtqueue *vq = sv->vqs[VIRTIO_SDM_QUEUE_RECV];
	struct sdm_signal *buffer;
	int ret;

	/* One by one: each has its own cache lines. */
	while (vq->num_free) {
		buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
		if (!buffer)
			return -ENOMEM;
		ret = sdm_virtio_add_buffer(vq, buffer);
		if (ret) {
			kfree(buffer);
			return ret;
		}
	}
	return 0;
}

/* Nobody but us uses the queues any more, and the core is stopped. */
static void sdm_virtio_teardown(struct sdm_virtio *sv)
{
	struct sdm_device *sdm = sv->sdm;
	struct sdm_request *req;
	void *buffer;

	virtio_reset_device(sv->vdev);

	while ((buffer = virtqueue_detach_unused_buf(
				sv->vqs[VIRTIO_SDM_QUEUE_RECV])))
		kfree(buffer);

	spin_lock_irq(&sdm->lock);
	while ((req = virtqueue_detach_unused_buf(
				sv->vqs[VIRTIO_SDM_QUEUE_SEND])))
		sdm_request_done(sdm, req, -ENODEV, 0);
	spin_unlock_irq(&sdm->lock);

	sv->vdev->config->del_vqs(sv->vdev);
}

static int sdm_virtio_probe(struct virtio_device *vdev)
{
	vq_callback_t *callbacks[] = {
		[VIRTIO_SDM_QUEUE_RECV] = sdm_virtio_received,
		[VIRTIO_SDM_QUEUE_SEND] = sdm_virtio_sent,
	};
	static const char * const names[] = {
		[VIRTIO_SDM_QUEUE_RECV] = "recv",
		[VIRTIO_SDM_QUEUE_SEND] = "send",
	};
	struct sdm_virtio *sv;
	int ret;

	if (!vdev->config->get) {
		dev_err(&vdev->dev, "no access to the configuration space\n");
		return -EINVAL;
	}

	sv = kzalloc(sizeof(*sv), GFP_KERNEL);
	if (!sv)
		return -ENOMEM;
	sv->vdev = vdev;
	vdev->priv = sv;
	sv->sdm = sdm_alloc(&vdev->dev, &sdm_virtio_ops, sv);
	if (IS_ERR(sv->sdm)) {
		ret = PTR_ERR(sv->sdm);
		goto err_free;
	}

	ret = virtio_find_vqs(vdev, VIRTIO_SDM_QUEUES, sv->vqs, callbacks,
			      names, NULL);
	if (ret) {
		dev_err(&vdev->dev, "no virtqueues: %d\n", ret);
		goto err_sdm;
	}
	ret = sdm_virtio_fill(sv);
	if (ret)
		goto err_stop;

	virtio_device_ready(vdev);
	virtqueue_kick(sv->vqs[VIRTIO_SDM_QUEUE_RECV]);

	ret = sdm_register(sv->sdm);
	if (ret)
		goto err_stop;
	return 0;

err_stop:
	sdm_stop(sv->sdm);
	sdm_virtio_teardown(sv);
err_sdm:
	sdm_free(sv->sdm);
err_free:
	kfree(sv);
	return ret;
}

static void sdm_virtio_remove(struct virtio_device *vdev)
{
	struct sdm_virtio *sv = vdev->priv;

	sdm_stop(sv->sdm);
	sdm_virtio_teardown(sv);
	sdm_free(sv->sdm);
	kfree(sv);
}

/* Every signal type that the device offers is taken. */
static const unsigned int sdm_virtio_features[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
	12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
};

static const struct virtio_device_id sdm_virtio_ids[] = {
	{ VIRTIO_ID_SDM, VIRTIO_DEV_ANY_ID },
	{ }
};
MODULE_DEVICE_TABLE(virtio, sdm_virtio_ids);

static struct virtio_driver sdm_virtio_driver = {
	.driver.name		= "virtio_sdm",
	.driver.owner		= THIS_MODULE,
	.feature_table		= sdm_virtio_features,
	.feature_table_size	= ARRAY_SIZE(sdm_virtio_features),
	.id_table		= sdm_virtio_ids,
	.probe			= sdm_virtio_probe,
	.remove			= sdm_virtio_remove,
	.config_changed		= sdm_virtio_config_changed,
};

int sdm_virtio_init(void)
{
	BUILD_BUG_ON(ARRAY_SIZE(sdm_virtio_features) != SDM_SIGNAL_TYPES);
	return register_virtio_driver(&sdm_virtio_driver);
}

void sdm_virtio_exit(void)
{
	unregister_virtio_driver(&sdm_virtio_driver);
}
