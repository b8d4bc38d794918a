/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SDM_REPORT_QEMU_H
#define SDM_REPORT_QEMU_H

/**
 * sdm_report() - tell the person at this QEMU what a peer or a guest has done
 * Neither may fill the log: 20 lines at once, then one a second; the next line
 * says how many were left out. Main loop. A full account is in the traces.
 */
void sdm_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

#endif /* SDM_REPORT_QEMU_H */
