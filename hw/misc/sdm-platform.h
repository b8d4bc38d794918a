/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HW_SDM_PLATFORM_H
#define HW_SDM_PLATFORM_H

#include "hw/platform-bus.h"
#include "hw/sysbus.h"

#define TYPE_SDM_PLATFORM "sdm-platform"

/**
 * sdm_platform_add_fdt_node() - the device's node in a generated device tree
 * @bus_node: path of the platform bus's node
 * @irq_start: first interrupt of the platform bus, as a GIC SPI number
 * Returns: 0, as sysbus-fdt.c wants it
 */
int sdm_platform_add_fdt_node(SysBusDevice *sbdev, void *fdt,
                              PlatformBusDevice *pbus, const char *bus_node,
                              int irq_start);

#endif /* HW_SDM_PLATFORM_H */
