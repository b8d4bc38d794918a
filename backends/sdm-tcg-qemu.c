/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "exec/exec-all.h"
#include "sysemu/tcg.h"
#include "backends/sdm-tcg-qemu.h"

static bool ram_shared;

bool sdm_tcg_ram_shared(void)
{
    return ram_shared;
}

void sdm_tcg_flush(void)
{
    if (tcg_enabled() && first_cpu) {
        tb_flush(first_cpu);
    }
}

static void set_parallel(CPUState *cpu, run_on_cpu_data data)
{
    cpu->tcg_cflags |= CF_PARALLEL;
}

void sdm_tcg_share_ram(void)
{
    CPUState *cpu;

    if (ram_shared) {
        return;
    }
    ram_shared = true;
    if (tcg_enabled()) {
        CPU_FOREACH(cpu) {
            async_safe_run_on_cpu(cpu, set_parallel, RUN_ON_CPU_NULL);
        }
        sdm_tcg_flush();
    }
}
