// SPDX-License-Identifier: GPL-2.0-or-later
/* The sdm-platform device (include/sdm/platform.h). */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include "sdm.h"
#include "sdm/platform.h"

/**
 * struct sdm_platform - transport data
 * @sdm: the device
 * @regs: SDM_PLATFORM_SIZE bytes
 * @irq: Linux's number
 * @enabled: what INT_ENABLE holds; @sdm->lock
 * @tx: the one request that the device has, or NULL; @sdm->lock
 */
struct sdm_platform {
	struct sdm_device *sdm;
	void __iomem *regs;
	int irq;
	u32 enabled;
	struct sdm_request *tx;
};

static void sdm_platform_enable(struct sdm_platform *sp, u32 mask)
{
	lockdep_assert_held(&sp->sdm->lock);
	if (sp->enabled == mask)
		return;
	sp->enabled = mask;
	writel(mask, sp->regs + SDM_REG_INT_ENABLE);
}

static void sdm_platform_info(struct sdm_device *sdm,
			      struct sdm_ioc_info *info)
{
	struct sdm_platform *sp = sdm->priv;

	info->device_id = readl(sp->regs + SDM_REG_DEVICE_ID);
	info->num_slaves = readl(sp->regs + SDM_REG_NUM_SLAVES);
	info->features = readl(sp->regs + SDM_REG_FEATURES);
	info->region_base = lo_hi_readq(sp->regs + SDM_REG_REGION_BASE);
	info->region_size = lo_hi_readq(sp->regs + SDM_REG_REGION_SIZE);
}

static void sdm_platform_peer(struct sdm_device *sdm,
			      struct sdm_ioc_peer *peer)
{
	struct sdm_platform *sp = sdm->priv;
	sdm_le32 word;
	unsigned int i;

	writel(peer->id, sp->regs + SDM_REG_PEER_SELECT);
	peer->state = readl(sp->regs + SDM_REG_PEER_STATE);
	peer->machine = readl(sp->regs + SDM_REG_PEER_MACHINE);
	peer->ram_base = lo_hi_readq(sp->regs + SDM_REG_PEER_RAM_BASE);
	peer->ram_size = lo_hi_readq(sp->regs + SDM_REG_PEER_RAM_SIZE);
	peer->window_base = lo_hi_readq(sp->regs + SDM_REG_WINDOW_BASE);
	peer->window_size = lo_hi_readq(sp->regs + SDM_REG_WINDOW_SIZE);
	for (i = 0; i < sizeof(peer->name); i += sizeof(word)) {
		word = sdm_to_le32(readl(sp->regs + SDM_REG_PEER_NAME + i));
		memcpy(peer->name + i, &word, sizeof(word));
	}
}

static bool sdm_platform_receive(struct sdm_device *sdm)
{
	struct sdm_platform *sp = sdm->priv;
	struct sdm_signal signal;
	bool full;

	while (!(full = sdm_rx_full(sdm)) &&
	       readl(sp->regs + SDM_REG_RX_COUNT)) {
		signal.type = sdm_to_le32(readl(sp->regs + SDM_REG_RX_TYPE));
		signal.source = sdm_to_le16(readl(sp->regs +
						  SDM_REG_RX_SOURCE));
		signal.target = sdm_to_le16(readl(sp->regs +
						  SDM_REG_DEVICE_ID));
		signal.flags = sdm_to_le32(readl(sp->regs + SDM_REG_RX_FLAGS));
		signal.cookie = sdm_to_le32(readl(sp->regs +
						  SDM_REG_RX_COOKIE));
		signal.payload[0] = sdm_to_le64(lo_hi_readq(sp->regs +
						SDM_REG_RX_PAYLOAD));
		signal.payload[1] = sdm_to_le64(lo_hi_readq(sp->regs +
						SDM_REG_RX_PAYLOAD + 8));
		writel(1, sp->regs + SDM_REG_RX_POP);
		sdm_rx_push(sdm, &signal);
	}
	sdm_platform_enable(sp, full ? SDM_INT_ALL & ~SDM_INT_RX : SDM_INT_ALL);
	return !full;
}

/* Ends the request if the device has answered. */
static void sdm_platform_check_tx(struct sdm_platform *sp)
{
	struct sdm_request *req = sp->tx;
	u32 status;

	status = readl(sp->regs + SDM_REG_TX_STATUS);
	if (status & SDM_TX_BUSY)
		return;
	if (req) {
		sp->tx = NULL;
		sdm_request_done(sp->sdm, req, 0, status);
	} else {
		/* A request of an earlier driver instance. */
		sdm_room(sp->sdm);
	}
}

static bool sdm_platform_room(struct sdm_device *sdm)
{
	struct sdm_platform *sp = sdm->priv;

	return !sp->tx &&
	       !(readl(sp->regs + SDM_REG_TX_STATUS) & SDM_TX_BUSY);
}

static int sdm_platform_submit(struct sdm_device *sdm, struct sdm_request *req)
{
	struct sdm_platform *sp = sdm->priv;
	const struct sdm_signal *signal = &req->signal;

	if (!sdm_platform_room(sdm))
		return -ENOSPC;

	writel(sdm_from_le32(signal->type), sp->regs + SDM_REG_TX_TYPE);
	writel(sdm_from_le16(signal->target), sp->regs + SDM_REG_TX_TARGET);
	writel(sdm_from_le32(signal->flags), sp->regs + SDM_REG_TX_FLAGS);
	writel(sdm_from_le32(signal->cookie), sp->regs + SDM_REG_TX_COOKIE);
	lo_hi_writeq(sdm_from_le64(signal->payload[0]),
		     sp->regs + SDM_REG_TX_PAYLOAD);
	lo_hi_writeq(sdm_from_le64(signal->payload[1]),
		     sp->regs + SDM_REG_TX_PAYLOAD + 8);
	sp->tx = req;
	writel(1, sp->regs + SDM_REG_TX_GO);

	/* What the device can answer at once need not wait for SDM_INT_TX. */
	sdm_platform_check_tx(sp);
	return 0;
}

static void sdm_platform_stop(struct sdm_device *sdm)
{
	sdm_platform_enable(sdm->priv, 0);
}

static const struct sdm_ops sdm_platform_ops = {
	.info		= sdm_platform_info,
	.peer		= sdm_platform_peer,
	.submit		= sdm_platform_submit,
	.room		= sdm_platform_room,
	.receive	= sdm_platform_receive,
	.stop		= sdm_platform_stop,
};

static irqreturn_t sdm_platform_interrupt(int irq, void *data)
{
	struct sdm_platform *sp = data;
	struct sdm_device *sdm = sp->sdm;
	unsigned long flags;
	u32 status;

	spin_lock_irqsave(&sdm->lock, flags);
	status = readl(sp->regs + SDM_REG_INT_STATUS) & sp->enabled;
	/* Before looking, so that what happens after the look is told anew. */
	if (status)
		writel(status, sp->regs + SDM_REG_INT_STATUS);
	if (status & SDM_INT_TX)
		sdm_platform_check_tx(sp);
	spin_unlock_irqrestore(&sdm->lock, flags);

	if (status & SDM_INT_RX)
		sdm_receive(sdm);
	if (status & SDM_INT_PEER)
		sdm_peers_changed(sdm);
	return status ? IRQ_HANDLED : IRQ_NONE;
}

static int sdm_platform_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct sdm_platform *sp;
	struct resource *res;
	u32 magic, version;
	int ret;

	sp = devm_kzalloc(dev, sizeof(*sp), GFP_KERNEL);
	if (!sp)
		return -ENOMEM;
	sp->regs = devm_platform_get_and_ioremap_resource(pdev, 0, &res);
	if (IS_ERR(sp->regs))
		return PTR_ERR(sp->regs);
	if (resource_size(res) < SDM_PLATFORM_SIZE) {
		dev_err(dev, "%pR is smaller than 0x%x bytes\n", res,
			SDM_PLATFORM_SIZE);
		return -EINVAL;
	}

	magic = readl(sp->regs + SDM_REG_MAGIC);
	version = readl(sp->regs + SDM_REG_VERSION);
	if (magic != SDM_PLATFORM_MAGIC || version != SDM_PLATFORM_VERSION) {
		dev_err(dev,
			"magic 0x%x, version %u: expected 0x%x and %u\n",
			magic, version, SDM_PLATFORM_MAGIC,
			SDM_PLATFORM_VERSION);
		return -ENODEV;
	}

	sp->irq = platform_get_irq(pdev, 0);
	if (sp->irq < 0)
		return sp->irq;

	sp->sdm = sdm_alloc(dev, &sdm_platform_ops, sp);
	if (IS_ERR(sp->sdm))
		return PTR_ERR(sp->sdm);
	platform_set_drvdata(pdev, sp);

	writel(0, sp->regs + SDM_REG_INT_ENABLE);
	ret = request_irq(sp->irq, sdm_platform_interrupt, 0, dev_name(dev),
			  sp);
	if (ret) {
		dev_err(dev, "no interrupt %d: %d\n", sp->irq, ret);
		goto err_free;
	}
	ret = sdm_register(sp->sdm);
	if (ret)
		goto err_stop;

	/* Turns the interrupts on. */
	sdm_receive(sp->sdm);
	return 0;

err_stop:
	sdm_stop(sp->sdm);
	free_irq(sp->irq, sp);
err_free:
	sdm_free(sp->sdm);
	return ret;
}

static int sdm_platform_remove(struct platform_device *pdev)
{
	struct sdm_platform *sp = platform_get_drvdata(pdev);
	struct sdm_device *sdm = sp->sdm;

	sdm_stop(sdm);
	free_irq(sp->irq, sp);

	spin_lock_irq(&sdm->lock);
	if (sp->tx)
		sdm_request_done(sdm, sp->tx, -ENODEV, 0);
	sp->tx = NULL;
	spin_unlock_irq(&sdm->lock);

	sdm_free(sdm);
	return 0;
}

static const struct of_device_id sdm_platform_of_ids[] = {
	{ .compatible = SDM_PLATFORM_COMPATIBLE },
	{ }
};
/*
 * What MODULE_DEVICE_TABLE(of, ...) makes of this table. Written out, because
 * a modpost of a 64-bit host, as Debian's for armhf, misreads the 32-bit table.
 */
MODULE_ALIAS("of:N*T*C" SDM_PLATFORM_COMPATIBLE);
MODULE_ALIAS("of:N*T*C" SDM_PLATFORM_COMPATIBLE "C*");

static struct platform_driver sdm_platform_driver = {
	.driver	= {
		.name		= "sdm-platform",
		.of_match_table	= sdm_platform_of_ids,
	},
	.probe	= sdm_platform_probe,
	.remove	= sdm_platform_remove,
};

int sdm_platform_init(void)
{
	return platform_driver_register(&sdm_platform_driver);
}

void sdm_platform_exit(void)
{
	platform_driver_unregister(&sdm_platform_driver);
}
