/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "info images": the columns of the series of 2013, and what it costs. */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-sdm-image.h"
#include "qapi/qmp/qdict.h"
#include "qemu/units.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "hw/core/sdm-image-monitor.h"

static const char *const kind_names[] = {
    [BOOT_IMAGE_KIND_ZIMAGE] = "zImage",
    [BOOT_IMAGE_KIND_IMAGE] = "Image",
    [BOOT_IMAGE_KIND_IMAGE_GZ] = "Image.gz",
    [BOOT_IMAGE_KIND_UIMAGE] = "uImage",
    [BOOT_IMAGE_KIND_BZIMAGE] = "bzImage",
    [BOOT_IMAGE_KIND_MULTIBOOT] = "multiboot",
    [BOOT_IMAGE_KIND_ELF] = "ELF",
    [BOOT_IMAGE_KIND_RAMDISK] = "ramdisk",
    [BOOT_IMAGE_KIND_DTB] = "dtb",
    [BOOT_IMAGE_KIND_HEX] = "hex",
    [BOOT_IMAGE_KIND_RAW] = "raw",
};

void hmp_info_images(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(BootImageInfoList) list = qmp_query_images(&err);
    BootImageInfoList *l;
    int width = strlen("File");

    if (hmp_handle_error(mon, err)) {
        return;
    }
    for (l = list; l; l = l->next) {
        width = MAX(width, strlen(l->value->file));
    }
    monitor_printf(mon, "%-14s %-*s %-16s %-10s %-9s %12s %12s %12s\n",
                   "ImageType", width, "File", "PhyAddr", "MemSize", "Held",
                   "Resident", "Shared", "Private");
    for (l = list; l; l = l->next) {
        BootImageInfo *i = l->value;
        g_autofree char *kind = i->has_phdr ?
            g_strdup_printf("ELF phdr #%" PRId64 ":", i->phdr) :
            g_strdup(kind_names[i->kind]);
        g_autofree char *addr = i->has_addr ?
            g_strdup_printf("%016" PRIx64, i->addr) : g_strdup("-");
        g_autofree char *size = g_strdup_printf("0x%" PRIx64, i->size);

        monitor_printf(mon, "%-14s %-*s %-16s %-10s %-9s %9" PRIu64 " kB %9"
                       PRIu64 " kB %9" PRIu64 " kB\n", kind, width, i->file,
                       addr, size, BootImageHeld_str(i->held),
                       i->resident / KiB, i->shared / KiB,
                       i->q_private / KiB);
        if (i->has_fault) {
            monitor_printf(mon, "  '%s' %s\n", i->file, i->fault);
        }
    }
}
