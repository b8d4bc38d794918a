/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio SDM device, device ID 21. Specification: docs/specs/virtio-sdm.rst
 */
#ifndef SDM_VIRTIO_SDM_H
#define SDM_VIRTIO_SDM_H

#include "signal.h"

#define VIRTIO_ID_SDM  21

/* Feature bit N (0..23): signal type N is offered. */

#define VIRTIO_SDM_QUEUE_RECV   0   /* device to driver */
#define VIRTIO_SDM_QUEUE_SEND   1   /* driver to device */
#define VIRTIO_SDM_QUEUES       2
#define VIRTIO_SDM_QUEUE_SIZE   128

/*
 * receiveq: the driver offers device-writable buffers of one struct sdm_signal.
 * sendq: a device-readable struct sdm_signal, then a device-writable struct
 * virtio_sdm_status. BOOT, RESET and STOP are used when the slave has answered;
 * all others when the receiver's ring has taken them.
 */
struct virtio_sdm_status {
    sdm_le32 status;        /* SDM_OK or SDM_ERR_* */
    sdm_le32 reserved;
};
SDM_ASSERT_SIZE(struct virtio_sdm_status, 8);

/**
 * struct virtio_sdm_config - configuration space, little-endian
 * @device_id:     this device's id: 0 master, 1.. slave, ~0 not yet given
 * @num_slaves:    highest slave id
 * @region_base:   guest-physical address and
 * @region_size:   size of the shared memory that the guest's RAM lies in;
 *                 size 0: none
 * @peer_select:   the only writable field: the id that the rest describes
 * @peer_state:    SDM_STATE_*
 * @peer_machine:  ELF e_machine
 * @peer_ram_base: where the slave has its memory, guest-physical in the slave
 * @peer_ram_size: what it asked for, bytes
 * @window_base:   where its window lies, guest-physical in this guest
 * @window_size:   bytes; 0 where the window is not fixed
 * @peer_name:     0-terminated
 *
 * The configuration interrupt is raised when any peer's state changes.
 */
struct virtio_sdm_config {
    sdm_le32 device_id;
    sdm_le32 num_slaves;
    sdm_le64 region_base;
    sdm_le64 region_size;
    sdm_le32 peer_select;
    sdm_le32 peer_state;
    sdm_le32 peer_machine;
    sdm_le32 reserved;
    sdm_le64 peer_ram_base;
    sdm_le64 peer_ram_size;
    sdm_le64 window_base;
    sdm_le64 window_size;
    char peer_name[SDM_NAME_MAX + 1];
};
SDM_ASSERT_SIZE(struct virtio_sdm_config, 104);
SDM_ASSERT_OFFSET(struct virtio_sdm_config, peer_select, 24);
SDM_ASSERT_OFFSET(struct virtio_sdm_config, peer_ram_base, 40);

#endif /* SDM_VIRTIO_SDM_H */
