/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a slave's first CPU starts on arm and aarch64. Exception level, security
 * state and PSCI are those of a direct Linux boot and were settled by
 * arm_load_kernel(); the reset that led to the waiting state applied them.
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "cpu.h"
#include "internals.h"
#include "migration/shared-qemu.h"

static uint32_t entry_machine(CPUState *cs)
{
    CPUARMState *env = &ARM_CPU(cs)->env;

    return arm_feature(env, ARM_FEATURE_AARCH64) ? SDM_EM_AARCH64 : SDM_EM_ARM;
}

static void entry_set(CPUState *cs, const struct sdm_boot_entry *entry)
{
    CPUARMState *env = &ARM_CPU(cs)->env;
    uint32_t i;

    for (i = 0; i < entry->nargs; i++) {
        if (is_a64(env)) {
            env->xregs[i] = entry->args[i];
        } else {
            env->regs[i] = entry->args[i];
        }
    }
    cpu_set_pc(cs, entry->entry);
    arm_rebuild_hflags(env);
}

static const SharedEntry arm_entry = {
    .machine = entry_machine,
    .set = entry_set,
};

static void arm_entry_register(void)
{
    shared_register_entry(&arm_entry);
}

type_init(arm_entry_register);
