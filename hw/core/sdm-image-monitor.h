/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HW_CORE_SDM_IMAGE_MONITOR_H
#define HW_CORE_SDM_IMAGE_MONITOR_H

/** hmp_info_images() - "info images" */
void hmp_info_images(Monitor *mon, const QDict *qdict);

#endif /* HW_CORE_SDM_IMAGE_MONITOR_H */
