/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HW_VIRTIO_SDM_H
#define HW_VIRTIO_SDM_H

#include "hw/virtio/virtio.h"
#include "hw/misc/sdm-comm.h"

#define TYPE_VIRTIO_SDM "virtio-sdm-device"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOSdm, VIRTIO_SDM)

/**
 * struct VirtIOSdm - the device, whatever its transport
 * @waiting: sends that wait for space in a ring, in their order
 * @pending: sends that wait for an answer
 * @bh: goes on with the queues, and refills @credit
 * @timer: the same, when @credit is used up; @refilled_ns: when it last was
 * @credit: sends that the guest's own thread may still do
 * @answered: statuses were written that the driver was not notified of
 */
struct VirtIOSdm {
    VirtIODevice parent_obj;
    SdmPort port;
    VirtQueue *recvq;
    VirtQueue *sendq;
    uint32_t peer_select;
    uint64_t last_token;
    QEMUTimer *timer;
    int64_t refilled_ns;
    unsigned credit;
    bool answered;
    QTAILQ_HEAD(, VirtIOSdmSend) waiting;
    QTAILQ_HEAD(, VirtIOSdmSend) pending;
};

#endif /* HW_VIRTIO_SDM_H */
