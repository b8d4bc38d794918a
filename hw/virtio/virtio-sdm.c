/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio SDM device. Specification: docs/specs/virtio-sdm.rst and
 * include/sdm/virtio_sdm.h. Over virtio-mmio as virtio-sdm-device, over PCI as
 * virtio-sdm-pci.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/iov.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "hw/virtio/virtio-sdm.h"
#include "hw/qdev-properties.h"
#include "migration/qemu-file-types.h"
#include "migration/vmstate.h"
#include "sdm/virtio_sdm.h"
#include "qemu-sdm/trace.h"

/* A guest may send that many in that time at once; more go on after it. */
#define CREDIT 64
#define CREDIT_NS (200 * SCALE_US)

/*
 * A send that the device still has; @elem comes first, virtqueue_pop() fills it.
 * @token is a number, as an answer may be late and memory is used again.
 */
typedef struct VirtIOSdmSend {
    VirtQueueElement elem;
    struct sdm_signal sig;
    uint64_t token;
    QTAILQ_ENTRY(VirtIOSdmSend) next;
} SendElement;

static void send_end(VirtIOSdm *s, SendElement *send, uint32_t status)
{
    struct virtio_sdm_status reply = { .status = sdm_to_le32(status) };
    size_t len = iov_from_buf(send->elem.in_sg, send->elem.in_num, 0, &reply,
                              sizeof(reply));

    virtqueue_push(s->sendq, &send->elem, len);
    s->answered = true;
    g_free(send);
}

/* Once for all that were answered in a row. */
static void notify_answers(VirtIOSdm *s)
{
    if (s->answered) {
        s->answered = false;
        virtio_notify(VIRTIO_DEVICE(s), s->sendq);
    }
}

/* Returns: false: the receiver has no room, and @send is still the caller's. */
static bool send_try(VirtIOSdm *s, SendElement *send)
{
    uint32_t status;

    send->token = ++s->last_token ?: ++s->last_token;
    status = sdm_port_send(&s->port, &send->sig,
                           (void *)(uintptr_t)send->token);
    if (status == SDM_FULL) {
        return false;
    }
    if (status == SDM_PENDING) {
        QTAILQ_INSERT_TAIL(&s->pending, send, next);
    } else {
        send_end(s, send, status);
    }
    return true;
}

/*
 * Signals for one receiver keep their order, those for another pass. So do
 * requests: who takes no signals is to be reset.
 */
static bool must_wait(VirtIOSdm *s, const SendElement *send)
{
    const SendElement *p;

    if (!sdm_type_in_ring(sdm_from_le32(send->sig.type))) {
        return false;
    }
    QTAILQ_FOREACH(p, &s->waiting, next) {
        if (p == send) {
            break;
        }
        if (p->sig.target == send->sig.target ||
            p->sig.target == sdm_to_le16(SDM_ID_ALL) ||
            send->sig.target == sdm_to_le16(SDM_ID_ALL)) {
            return true;
        }
    }
    return false;
}

static void send_one(VirtIOSdm *s, SendElement *send)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    VirtQueueElement *elem = &send->elem;

    if (iov_size(elem->in_sg, elem->in_num) <
        sizeof(struct virtio_sdm_status)) {
        virtio_error(vdev, "virtio-sdm: sendq buffer without room for a "
                     "status");
        virtqueue_detach_element(s->sendq, elem, 0);
        g_free(send);
    } else if (iov_to_buf(elem->out_sg, elem->out_num, 0, &send->sig,
                          sizeof(send->sig)) != sizeof(send->sig)) {
        send_end(s, send, SDM_ERR_INVAL);
    } else if (must_wait(s, send) || !send_try(s, send)) {
        QTAILQ_INSERT_TAIL(&s->waiting, send, next);
    }
}

/*
 * A kick is handled by the guest's own thread, with the big lock held. A guest
 * that always has more to send would keep that lock from everybody else, and
 * its receivers, with all their other peers, from theirs. So after CREDIT sends
 * the main loop goes on, when CREDIT_NS are over.
 */
static void send_handle(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOSdm *s = VIRTIO_SDM(vdev);
    SendElement *send;

    while (s->credit && (send = virtqueue_pop(vq, sizeof(*send)))) {
        send_one(s, send);
        if (!--s->credit) {
            timer_mod(s->timer, s->refilled_ns + CREDIT_NS);
        }
    }
    notify_answers(s);
    /* While we are here: what has come meanwhile needs no other thread. */
    sdm_port_poll(&s->port);
}

/* Has the driver set up its queues, and does the guest run? */
static bool is_live(VirtIODevice *vdev)
{
    return (vdev->status & VIRTIO_CONFIG_S_DRIVER_OK) && !vdev->broken &&
           vdev->vm_running;
}

static void virtio_sdm_turn(void *opaque)
{
    VirtIOSdm *s = opaque;
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    s->credit = CREDIT;
    s->refilled_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    if (is_live(vdev)) {
        send_handle(vdev, s->sendq);
        sdm_port_resume(&s->port);
    }
}

static void recv_handle(VirtIODevice *vdev, VirtQueue *vq)
{
    sdm_port_resume(&VIRTIO_SDM(vdev)->port);
}

static SdmTake port_receive(SdmPort *port, const struct sdm_signal *sig)
{
    VirtIOSdm *s = container_of(port, VirtIOSdm, port);
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    VirtQueueElement *elem;
    size_t len;

    if (!is_live(vdev)) {
        return SDM_NO_ROOM;
    }
    elem = virtqueue_pop(s->recvq, sizeof(*elem));
    if (!elem) {
        virtio_queue_set_notification(s->recvq, 1);
        return SDM_NO_ROOM;
    }
    len = iov_from_buf(elem->in_sg, elem->in_num, 0, sig, sizeof(*sig));
    if (len < sizeof(*sig)) {
        virtio_error(vdev, "virtio-sdm: recvq buffer of %zu bytes, a signal "
                     "has %zu", len, sizeof(*sig));
        virtqueue_detach_element(s->recvq, elem, 0);
        g_free(elem);
        return SDM_NO_ROOM;
    }
    virtqueue_push(s->recvq, elem, len);
    g_free(elem);
    return SDM_TAKEN;
}

static void port_received(SdmPort *port)
{
    VirtIOSdm *s = container_of(port, VirtIOSdm, port);

    virtio_notify(VIRTIO_DEVICE(s), s->recvq);
}

static void port_space(SdmPort *port)
{
    VirtIOSdm *s = container_of(port, VirtIOSdm, port);
    SendElement *send, *next;

    QTAILQ_FOREACH_SAFE(send, &s->waiting, next, next) {
        if (must_wait(s, send)) {
            continue;
        }
        QTAILQ_REMOVE(&s->waiting, send, next);
        if (send_try(s, send)) {
            continue;
        }
        if (next) {
            QTAILQ_INSERT_BEFORE(next, send, next);
        } else {
            QTAILQ_INSERT_TAIL(&s->waiting, send, next);
        }
    }
    notify_answers(s);
}

static void port_done(SdmPort *port, void *token, uint32_t status)
{
    VirtIOSdm *s = container_of(port, VirtIOSdm, port);
    SendElement *send;

    /* A reset of the device has forgotten what it had. */
    QTAILQ_FOREACH(send, &s->pending, next) {
        if ((void *)(uintptr_t)send->token == token) {
            QTAILQ_REMOVE(&s->pending, send, next);
            send_end(s, send, status);
            notify_answers(s);
            return;
        }
    }
}

static void port_peer(SdmPort *port, uint32_t id)
{
    VirtIOSdm *s = container_of(port, VirtIOSdm, port);

    virtio_notify_config(VIRTIO_DEVICE(s));
}

static const SdmPortOps port_ops = {
    .receive = port_receive,
    .received = port_received,
    .space = port_space,
    .done = port_done,
    .peer = port_peer,
};

static void get_config(VirtIODevice *vdev, uint8_t *data)
{
    VirtIOSdm *s = VIRTIO_SDM(vdev);
    struct virtio_sdm_config c = { 0 };
    uint64_t base = 0, size = 0;
    SdmPeerInfo peer;

    sdm_port_peer(&s->port, s->peer_select, &peer);
    if (!sdm_port_region(&s->port, &base, &size)) {
        base = size = 0;
    }
    c.device_id = sdm_to_le32(sdm_port_id(&s->port));
    c.num_slaves = sdm_to_le32(sdm_port_num_slaves(&s->port));
    c.region_base = sdm_to_le64(base);
    c.region_size = sdm_to_le64(size);
    c.peer_select = sdm_to_le32(s->peer_select);
    c.peer_state = sdm_to_le32(peer.state);
    c.peer_machine = sdm_to_le32(peer.machine);
    c.peer_ram_base = sdm_to_le64(peer.ram_base);
    c.peer_ram_size = sdm_to_le64(peer.ram_size);
    if (size && peer.window.size) {
        c.window_base = sdm_to_le64(base + peer.window.offset);
        c.window_size = sdm_to_le64(peer.window.size);
    }
    memcpy(c.peer_name, peer.name, sizeof(c.peer_name));
    memcpy(data, &c, sizeof(c));
}

static void set_config(VirtIODevice *vdev, const uint8_t *data)
{
    struct virtio_sdm_config c;

    memcpy(&c, data, sizeof(c));
    VIRTIO_SDM(vdev)->peer_select = sdm_from_le32(c.peer_select);
}

static uint64_t get_features(VirtIODevice *vdev, uint64_t features,
                             Error **errp)
{
    return features | VIRTIO_SDM(vdev)->port.features;
}

static void forget(VirtIOSdm *s, SendElement *send)
{
    virtqueue_detach_element(s->sendq, &send->elem, 0);
    g_free(send);
}

static void virtio_sdm_reset(VirtIODevice *vdev)
{
    VirtIOSdm *s = VIRTIO_SDM(vdev);
    SendElement *send, *next;

    QTAILQ_FOREACH_SAFE(send, &s->waiting, next, next) {
        QTAILQ_REMOVE(&s->waiting, send, next);
        forget(s, send);
    }
    QTAILQ_FOREACH_SAFE(send, &s->pending, next, next) {
        QTAILQ_REMOVE(&s->pending, send, next);
        forget(s, send);
    }
    s->peer_select = 0;
}

/*
 * The machine's reset; a driver's own, above, keeps what waits in the rings:
 * it was sent to this guest.
 */
static void virtio_sdm_machine_reset(DeviceState *dev)
{
    sdm_port_reset(&VIRTIO_SDM(dev)->port);
}

/* Called before the status is there, and each time the guest runs on. */
static void virtio_sdm_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIOSdm *s = VIRTIO_SDM(vdev);

    if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && s->port.comm) {
        timer_mod(s->timer, 0);
    }
}

static void virtio_sdm_realize(DeviceState *dev, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOSdm *s = VIRTIO_SDM(dev);

    if (!sdm_port_realize(&s->port, errp)) {
        return;
    }
    virtio_init(vdev, VIRTIO_ID_SDM, sizeof(struct virtio_sdm_config));
    s->recvq = virtio_add_queue(vdev, VIRTIO_SDM_QUEUE_SIZE, recv_handle);
    s->sendq = virtio_add_queue(vdev, VIRTIO_SDM_QUEUE_SIZE, send_handle);
    s->timer = timer_new_ns(QEMU_CLOCK_REALTIME, virtio_sdm_turn, s);
    s->credit = CREDIT;
}

static void virtio_sdm_unrealize(DeviceState *dev)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(dev);
    VirtIOSdm *s = VIRTIO_SDM(dev);

    timer_free(s->timer);
    virtio_sdm_reset(vdev);
    sdm_port_unrealize(&s->port);
    virtio_delete_queue(s->recvq);
    virtio_delete_queue(s->sendq);
    virtio_cleanup(vdev);
}

static void virtio_sdm_init(Object *obj)
{
    VirtIOSdm *s = VIRTIO_SDM(obj);

    QTAILQ_INIT(&s->waiting);
    QTAILQ_INIT(&s->pending);
    sdm_port_init(&s->port, obj, &port_ops);
}

static void virtio_sdm_finalize(Object *obj)
{
    sdm_port_finalize(&VIRTIO_SDM(obj)->port);
}

static const VMStateDescription vmstate_virtio_sdm_device = {
    .name = "virtio-sdm-device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(peer_select, VirtIOSdm),
        VMSTATE_UINT64(last_token, VirtIOSdm),
        VMSTATE_STRUCT(port, VirtIOSdm, 1, sdm_port_vmstate, SdmPort),
        VMSTATE_END_OF_LIST()
    },
};

static void save_sends(VirtIODevice *vdev, QEMUFile *f, SendElement *first)
{
    SendElement *send;
    uint32_t n = 0;

    for (send = first; send; send = QTAILQ_NEXT(send, next)) {
        n++;
    }
    qemu_put_be32(f, n);
    for (send = first; send; send = QTAILQ_NEXT(send, next)) {
        qemu_put_buffer(f, (uint8_t *)&send->sig, sizeof(send->sig));
        qemu_put_be64(f, send->token);
        qemu_put_virtqueue_element(vdev, f, &send->elem);
    }
}

static void virtio_sdm_save(VirtIODevice *vdev, QEMUFile *f)
{
    VirtIOSdm *s = VIRTIO_SDM(vdev);

    save_sends(vdev, f, QTAILQ_FIRST(&s->waiting));
    save_sends(vdev, f, QTAILQ_FIRST(&s->pending));
    vmstate_save_state(f, &vmstate_virtio_sdm_device, s, NULL);
}

static int load_sends(VirtIOSdm *s, QEMUFile *f, bool pending)
{
    uint32_t n = qemu_get_be32(f);

    /* virtio-mmio lets the driver choose longer queues than ours. */
    if (n > VIRTQUEUE_MAX_SIZE) {
        return -EINVAL;
    }
    for (; n; n--) {
        struct sdm_signal sig;
        SendElement *send;
        uint64_t token;

        qemu_get_buffer(f, (uint8_t *)&sig, sizeof(sig));
        token = qemu_get_be64(f);
        send = qemu_get_virtqueue_element(VIRTIO_DEVICE(s), f, sizeof(*send));
        send->sig = sig;
        send->token = token;
        if (pending) {
            QTAILQ_INSERT_TAIL(&s->pending, send, next);
        } else {
            QTAILQ_INSERT_TAIL(&s->waiting, send, next);
        }
    }
    return 0;
}

static int virtio_sdm_load(VirtIODevice *vdev, QEMUFile *f, int version_id)
{
    VirtIOSdm *s = VIRTIO_SDM(vdev);
    int ret = load_sends(s, f, false);

    if (!ret) {
        ret = load_sends(s, f, true);
    }
    return ret ? ret : vmstate_load_state(f, &vmstate_virtio_sdm_device, s, 1);
}

static const VMStateDescription vmstate_virtio_sdm = {
    .name = "virtio-sdm",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_VIRTIO_DEVICE,
        VMSTATE_END_OF_LIST()
    },
};

static void virtio_sdm_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    dc->desc = "Signal Distribution Module";
    dc->vmsd = &vmstate_virtio_sdm;
    dc->reset = virtio_sdm_machine_reset;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    vdc->realize = virtio_sdm_realize;
    vdc->unrealize = virtio_sdm_unrealize;
    vdc->get_config = get_config;
    vdc->set_config = set_config;
    vdc->get_features = get_features;
    vdc->set_status = virtio_sdm_set_status;
    vdc->reset = virtio_sdm_reset;
    vdc->save = virtio_sdm_save;
    vdc->load = virtio_sdm_load;
}

static const TypeInfo virtio_sdm_info = {
    .name = TYPE_VIRTIO_SDM,
    .parent = TYPE_VIRTIO_DEVICE,
    .instance_size = sizeof(VirtIOSdm),
    .instance_init = virtio_sdm_init,
    .instance_finalize = virtio_sdm_finalize,
    .class_init = virtio_sdm_class_init,
};

static void virtio_sdm_register(void)
{
    type_register_static(&virtio_sdm_info);
}

type_init(virtio_sdm_register);
