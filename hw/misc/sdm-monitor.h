/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our HMP commands; hmp-commands*.hx name them. */
#ifndef HW_SDM_MONITOR_H
#define HW_SDM_MONITOR_H

#include "monitor/hmp.h"

void hmp_sdm_boot(Monitor *mon, const QDict *qdict);
void hmp_sdm_reset(Monitor *mon, const QDict *qdict);
void hmp_sdm_stop(Monitor *mon, const QDict *qdict);
void hmp_info_sdm(Monitor *mon, const QDict *qdict);
void hmp_info_flash(Monitor *mon, const QDict *qdict);

#endif /* HW_SDM_MONITOR_H */
