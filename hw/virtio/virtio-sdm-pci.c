/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio SDM device on PCI; virtio 1 only, as it has no legacy PCI id. */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-pci.h"
#include "hw/virtio/virtio-sdm.h"
#include "sdm/virtio_sdm.h"

#define TYPE_VIRTIO_SDM_PCI "virtio-sdm-pci"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOSdmPCI, VIRTIO_SDM_PCI)

struct VirtIOSdmPCI {
    VirtIOPCIProxy parent_obj;
    VirtIOSdm vdev;
};

static const char *const port_properties[] = {
    "comm", "master", "num-slaves", "len-signals",
};

static Property sdm_pci_properties[] = {
    DEFINE_PROP_UINT32("vectors", VirtIOPCIProxy, nvectors,
                       DEV_NVECTORS_UNSPECIFIED),
    DEFINE_PROP_END_OF_LIST(),
};

static void sdm_pci_realize(VirtIOPCIProxy *vpci_dev, Error **errp)
{
    VirtIOSdmPCI *s = VIRTIO_SDM_PCI(vpci_dev);

    if (vpci_dev->nvectors == DEV_NVECTORS_UNSPECIFIED) {
        vpci_dev->nvectors = VIRTIO_SDM_QUEUES + 1;
    }
    virtio_pci_force_virtio_1(vpci_dev);
    qdev_realize(DEVICE(&s->vdev), BUS(&vpci_dev->bus), errp);
}

static void sdm_pci_init(Object *obj)
{
    VirtIOSdmPCI *s = VIRTIO_SDM_PCI(obj);
    char name[16];
    int i;

    virtio_instance_init_common(obj, &s->vdev, sizeof(s->vdev),
                                TYPE_VIRTIO_SDM);
    /* They belong to the instance, so the line above has not aliased them. */
    for (i = 0; i < ARRAY_SIZE(port_properties); i++) {
        object_property_add_alias(obj, port_properties[i], OBJECT(&s->vdev),
                                  port_properties[i]);
    }
    for (i = 0; i < SDM_SIGNAL_TYPES; i++) {
        snprintf(name, sizeof(name), "signals[%d]", i);
        object_property_add_alias(obj, name, OBJECT(&s->vdev), name);
    }
}

static void sdm_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioPCIClass *k = VIRTIO_PCI_CLASS(klass);
    PCIDeviceClass *pcidev_k = PCI_DEVICE_CLASS(klass);

    dc->desc = "Signal Distribution Module";
    k->realize = sdm_pci_realize;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    pcidev_k->class_id = PCI_CLASS_OTHERS;
    device_class_set_props(dc, sdm_pci_properties);
}

static const VirtioPCIDeviceTypeInfo sdm_pci_info = {
    .generic_name = TYPE_VIRTIO_SDM_PCI,
    .instance_size = sizeof(VirtIOSdmPCI),
    .instance_init = sdm_pci_init,
    .class_init = sdm_pci_class_init,
};

static void sdm_pci_register(void)
{
    virtio_pci_types_register(&sdm_pci_info);
}

type_init(sdm_pci_register);
