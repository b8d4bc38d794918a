/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "backends/sdm-report-qemu.h"

#define BURST 20

void sdm_report(const char *fmt, ...)
{
    static int64_t tokens = BURST, last_s;
    static unsigned left_out;
    int64_t now_s = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) / 1000;
    g_autofree char *text = NULL;
    va_list ap;

    tokens = MIN(BURST, tokens + now_s - last_s);
    last_s = now_s;
    if (!tokens) {
        left_out++;
        return;
    }
    tokens--;
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (left_out) {
        info_report("%s (%u more lines were left out)", text, left_out);
        left_out = 0;
    } else {
        info_report("%s", text);
    }
}
