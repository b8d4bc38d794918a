/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CFI flash and the timer: each write to flash is made while the timer that is
 * to end the sleep after it has just been set, and nothing else ends it.
 */
#include "fw.h"

#define FLASH       0x04000000u     /* the second of virt */
#define SECTOR      0x40000u
#define BOTH(x)     ((x) << 16 | (x))   /* two chips side by side */
#define READY       BOTH(0x80u)

static volatile uint32_t *word(uint32_t n)
{
    return (volatile uint32_t *)(uintptr_t)(FLASH + n * 4 % SECTOR);
}

uint32_t fw_flash(void)
{
    uint32_t i, bad = 0;

    if (!fw_irq_init()) {
        fw_puts("FLASH no GIC\n");
        return 1;
    }
    for (i = 0; i < fw_params.iterations; i++) {
        volatile uint32_t *over = fw_timer(fw_params.gap_us);

        *word(i) = BOTH(0x40u);
        *word(i) = i;
        bad += *word(i) != READY;
        *word(i) = BOTH(0xffu);
        fw_sleep_until(over);
        bad += *word(i) != i;
    }
    fw_puts("FLASH");
    fw_put_field("writes", i);
    fw_put_field("bad", bad);
    fw_puts("\n");
    return bad != 0;
}
