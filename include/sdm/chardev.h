/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /dev/sdmN, the guest driver's character device, the same over the virtio and
 * the platform device. Manual: docs/user/chardev.rst
 *
 *   read(2)   takes whole struct sdm_signal, as many as fit; blocks unless
 *             O_NONBLOCK (EAGAIN). A buffer under 32 bytes is EINVAL. Takes
 *             those that SDM_IOC_FILTER names; without it, all that no other
 *             file's filter and no mailbox client has asked for.
 *   write(2)  sends whole struct sdm_signal one by one, as SDM_IOC_SEND with
 *             the status turned into an errno; returns the bytes sent. With
 *             O_NONBLOCK it waits for no answer: EAGAIN if there is no room,
 *             and the errno of a signal that is refused comes with a later
 *             write(2).
 *   poll(2)   POLLIN a signal waits; POLLOUT a write(2) would find room;
 *             POLLERR the errno of an earlier write(2) waits; POLLPRI a peer's
 *             state changed since the last SDM_IOC_PEER; POLLHUP the device is
 *             gone.
 *   mmap(2)   MAP_SHARED; the offset is a guest-physical address in the shared
 *             region. EPERM where the kernel owns the RAM, EINVAL outside.
 */
#ifndef SDM_CHARDEV_H
#define SDM_CHARDEV_H

#include "signal.h"
#ifdef __KERNEL__
#include <linux/ioctl.h>
#else
#include <sys/ioctl.h>
#endif

/**
 * struct sdm_ioc_info - the device, native byte order as all of the ioctls
 * @device_id:   own id; ~0 not yet given
 * @num_slaves:  highest slave id
 * @features:    bit N: signal type N can be sent
 * @version:     1
 * @region_base: guest-physical start of the shared memory
 * @region_size: bytes; 0: none
 */
struct sdm_ioc_info {
    uint32_t device_id;
    uint32_t num_slaves;
    uint32_t features;
    uint32_t version;
    uint64_t region_base;
    uint64_t region_size;
};
SDM_ASSERT_SIZE(struct sdm_ioc_info, 32);

/**
 * struct sdm_ioc_peer - one peer; fields as in struct virtio_sdm_config
 * @id: in: which one, 0..num_slaves
 */
struct sdm_ioc_peer {
    uint32_t id;
    uint32_t state;
    uint32_t machine;
    uint32_t reserved;
    uint64_t ram_base;
    uint64_t ram_size;
    uint64_t window_base;
    uint64_t window_size;
    char name[SDM_NAME_MAX + 1];
};
SDM_ASSERT_SIZE(struct sdm_ioc_peer, 80);

/**
 * struct sdm_ioc_send - send one signal, wait until it is taken or answered
 * @signal: as in signal.h (little-endian); with SDM_SIGNAL_F_ACK in its flags,
 *          the receiving guest's driver must have taken it
 * @status: out: SDM_OK or SDM_ERR_*; the ioctl itself returns 0 then
 */
struct sdm_ioc_send {
    struct sdm_signal signal;
    uint32_t status;
    uint32_t reserved;
};
SDM_ASSERT_SIZE(struct sdm_ioc_send, 40);

#define SDM_FILTER_WORDS  2     /* 64-bit words that have a bit for each id */

/**
 * struct sdm_ioc_filter - the received signals that are for this file alone
 * @types:    bit N: those of type N; 0 ends the filter
 * @reserved: 0
 * @sources:  bit N % 64 of word N / 64: those that come from the peer N; ~0 in
 *            both words: from all
 *
 * From then on this file reads these and no others, and no other file reads
 * them. EBUSY: another filter, or a mailbox client, has a part of them. Signals
 * that wait unread go with the filter, both when it is set and when it ends
 * (also by close(2)). Who sets a filter has to read: the queue of a device is
 * bounded, and when it is full nobody gets a signal any more.
 */
struct sdm_ioc_filter {
    uint32_t types;
    uint32_t reserved;
    uint64_t sources[SDM_FILTER_WORDS];
};
SDM_ASSERT_SIZE(struct sdm_ioc_filter, 24);

#define SDM_IOC_INFO   _IOR('S', 0xd0, struct sdm_ioc_info)
#define SDM_IOC_PEER   _IOWR('S', 0xd1, struct sdm_ioc_peer)
#define SDM_IOC_SEND   _IOWR('S', 0xd2, struct sdm_ioc_send)
#define SDM_IOC_FILTER _IOW('S', 0xd3, struct sdm_ioc_filter)

#endif /* SDM_CHARDEV_H */
