/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCG when RAM is shared with another process.
 *
 * TCG emits truly atomic code (CF_PARALLEL) only when this process has several
 * vCPUs; a vCPU of another process is one more. And stores by another process
 * invalidate no translation.
 */
#ifndef SDM_TCG_QEMU_H
#define SDM_TCG_QEMU_H

/**
 * sdm_tcg_share_ram() - from now on RAM is shared
 * vCPUs that exist are switched over and their translations dropped; vCPUs
 * that are created later start so. Main loop, big lock. Never undone.
 */
void sdm_tcg_share_ram(void);

/** sdm_tcg_ram_shared() - has it been called? Asked when a vCPU starts. */
bool sdm_tcg_ram_shared(void);

/** sdm_tcg_flush() - drop all translations: RAM has been replaced. */
void sdm_tcg_flush(void);

#endif /* SDM_TCG_QEMU_H */
