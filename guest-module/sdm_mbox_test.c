// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A mailbox client for tests, since Debian's kernels have none. It knows
 * nothing of the SDM but the content of a message. Each of its nodes
 *
 *	client {
 *		compatible = "qemu-sdm,mailbox-test";
 *		mboxes = <&sdm 1 8 0>, <&sdm 1 9 1>;
 *	};
 *
 * is a /dev/mbox-testN:
 *
 *   read(2)   waits for a message, or an end of one, and gives a line of text:
 *             "got CHANNEL PAYLOAD0 PAYLOAD1", "rang CHANNEL" if it has no
 *             content, or "sent CHANNEL RESULT" (0 or -errno)
 *   write(2)  "CHANNEL PAYLOAD0 PAYLOAD1" sends; it does not wait
 *
 * CHANNEL counts the entries of mboxes from 0, the payloads are hexadecimal.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kfifo.h>
#include <linux/mailbox_client.h>
#include <linux/miscdevice.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "sdm/mailbox.h"

#define SDM_MBOX_TEST_CHANNELS	8
#define SDM_MBOX_TEST_LINE	64

struct sdm_mbox_test_event {
	char line[SDM_MBOX_TEST_LINE];
};

struct sdm_mbox_test_channel {
	struct mbox_client client;
	struct mbox_chan *chan;
	struct sdm_mbox_test *test;
	unsigned int number;
	struct sdm_mbox_message message;	/* being sent */
	bool busy;
};

/**
 * struct sdm_mbox_test - a node
 * @misc: /dev/mbox-testN; a file that is open holds no reference, so the test
 *	closes it before it unbinds
 * @name: of it
 * @lock: @events, and busy of the channels; taken by callbacks
 * @mutex: one writer at a time
 * @wait: readers
 * @events: lines to be read
 * @lost: lines for which there was no room
 * @num_channels: how many of
 * @channels: are in use
 */
struct sdm_mbox_test {
	struct miscdevice misc;
	char name[16];
	spinlock_t lock;
	struct mutex mutex;
	wait_queue_head_t wait;
	DECLARE_KFIFO(events, struct sdm_mbox_test_event, 64);
	unsigned int lost;
	unsigned int num_channels;
	struct sdm_mbox_test_channel channels[SDM_MBOX_TEST_CHANNELS];
};

static atomic_t sdm_mbox_test_count = ATOMIC_INIT(0);

static void __printf(2, 3) sdm_mbox_test_tell(struct sdm_mbox_test *test,
					      const char *format, ...)
{
	struct sdm_mbox_test_event event;
	unsigned long flags;
	va_list args;

	va_start(args, format);
	vsnprintf(event.line, sizeof(event.line), format, args);
	va_end(args);

	spin_lock_irqsave(&test->lock, flags);
	if (!kfifo_put(&test->events, event))
		test->lost++;
	spin_unlock_irqrestore(&test->lock, flags);
	wake_up_interruptible(&test->wait);
}

static void sdm_mbox_test_received(struct mbox_client *client, void *data)
{
	struct sdm_mbox_test_channel *channel =
		container_of(client, struct sdm_mbox_test_channel, client);
	struct sdm_mbox_message *message = data;

	if (message)
		sdm_mbox_test_tell(channel->test, "got %u %llx %llx\n",
				   channel->number, message->payload[0],
				   message->payload[1]);
	else
		sdm_mbox_test_tell(channel->test, "rang %u\n",
				   channel->number);
}

static void sdm_mbox_test_sent(struct mbox_client *client, void *data,
			       int result)
{
	struct sdm_mbox_test_channel *channel =
		container_of(client, struct sdm_mbox_test_channel, client);
	unsigned long flags;

	spin_lock_irqsave(&channel->test->lock, flags);
	channel->busy = false;
	spin_unlock_irqrestore(&channel->test->lock, flags);
	sdm_mbox_test_tell(channel->test, "sent %u %d\n", channel->number,
			   result);
}

static ssize_t sdm_mbox_test_read(struct file *file, char __user *buf,
				  size_t count, loff_t *pos)
{
	struct sdm_mbox_test *test = container_of(file->private_data,
						  struct sdm_mbox_test, misc);
	struct sdm_mbox_test_event event;
	size_t length;
	int got;

	do {
		if (wait_event_interruptible(test->wait,
					     !kfifo_is_empty(&test->events)))
			return -ERESTARTSYS;
		spin_lock_irq(&test->lock);
		got = kfifo_get(&test->events, &event);
		spin_unlock_irq(&test->lock);
	} while (!got);
	length = min(count, strlen(event.line));
	return copy_to_user(buf, event.line, length) ? -EFAULT : length;
}

static ssize_t sdm_mbox_test_write(struct file *file, const char __user *buf,
				   size_t count, loff_t *pos)
{
	struct sdm_mbox_test *test = container_of(file->private_data,
						  struct sdm_mbox_test, misc);
	struct sdm_mbox_test_channel *channel;
	struct sdm_mbox_message message;
	char line[SDM_MBOX_TEST_LINE];
	unsigned int number;
	int ret;

	if (count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, count))
		return -EFAULT;
	line[count] = '\0';
	if (sscanf(line, "%u %llx %llx", &number, &message.payload[0],
		   &message.payload[1]) != 3 || number >= test->num_channels)
		return -EINVAL;
	channel = &test->channels[number];

	if (mutex_lock_interruptible(&test->mutex))
		return -ERESTARTSYS;
	spin_lock_irq(&test->lock);
	ret = channel->busy ? -EBUSY : 0;
	channel->busy = true;
	spin_unlock_irq(&test->lock);
	if (!ret) {
		channel->message = message;
		ret = mbox_send_message(channel->chan, &channel->message);
		if (ret < 0)
			channel->busy = false;
	}
	mutex_unlock(&test->mutex);
	return ret < 0 ? ret : count;
}

static const struct file_operations sdm_mbox_test_fops = {
	.owner	= THIS_MODULE,
	.read	= sdm_mbox_test_read,
	.write	= sdm_mbox_test_write,
	.llseek	= no_llseek,
};

static void sdm_mbox_test_free(struct sdm_mbox_test *test)
{
	unsigned int i;

	for (i = 0; i < test->num_channels; i++)
		mbox_free_channel(test->channels[i].chan);
	if (test->lost)
		pr_warn("%u lines were lost\n", test->lost);
}

static int sdm_mbox_test_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct sdm_mbox_test *test;
	int count;
	int ret;

	count = of_count_phandle_with_args(dev->of_node, "mboxes",
					   "#mbox-cells");
	if (count <= 0 || count > SDM_MBOX_TEST_CHANNELS) {
		dev_err(dev, "mboxes has %d entries: 1 to %d\n", count,
			SDM_MBOX_TEST_CHANNELS);
		return -EINVAL;
	}
	test = devm_kzalloc(dev, sizeof(*test), GFP_KERNEL);
	if (!test)
		return -ENOMEM;
	spin_lock_init(&test->lock);
	mutex_init(&test->mutex);
	init_waitqueue_head(&test->wait);
	INIT_KFIFO(test->events);
	platform_set_drvdata(pdev, test);

	while (test->num_channels < count) {
		struct sdm_mbox_test_channel *channel =
			&test->channels[test->num_channels];

		channel->test = test;
		channel->number = test->num_channels;
		channel->client.dev = dev;
		channel->client.rx_callback = sdm_mbox_test_received;
		channel->client.tx_done = sdm_mbox_test_sent;
		channel->chan = mbox_request_channel(&channel->client,
						     channel->number);
		if (IS_ERR(channel->chan)) {
			ret = dev_err_probe(dev, PTR_ERR(channel->chan),
					    "no channel %u\n",
					    channel->number);
			goto err_free;
		}
		test->num_channels++;
	}

	snprintf(test->name, sizeof(test->name), "mbox-test%d",
		 atomic_inc_return(&sdm_mbox_test_count) - 1);
	test->misc.minor = MISC_DYNAMIC_MINOR;
	test->misc.name = test->name;
	test->misc.fops = &sdm_mbox_test_fops;
	test->misc.parent = dev;
	ret = misc_register(&test->misc);
	if (!ret)
		return 0;

err_free:
	sdm_mbox_test_free(test);
	return ret;
}

static int sdm_mbox_test_remove(struct platform_device *pdev)
{
	struct sdm_mbox_test *test = platform_get_drvdata(pdev);

	misc_deregister(&test->misc);
	sdm_mbox_test_free(test);
	return 0;
}

static const struct of_device_id sdm_mbox_test_ids[] = {
	{ .compatible = "qemu-sdm,mailbox-test" },
	{ }
};

static struct platform_driver sdm_mbox_test_driver = {
	.driver	= {
		.name		= "sdm-mbox-test",
		.of_match_table	= sdm_mbox_test_ids,
	},
	.probe	= sdm_mbox_test_probe,
	.remove	= sdm_mbox_test_remove,
};
module_platform_driver(sdm_mbox_test_driver);

MODULE_DESCRIPTION("Signal Distribution Module: mailbox client for tests");
MODULE_LICENSE("GPL");
