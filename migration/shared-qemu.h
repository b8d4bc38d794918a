/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -incoming shared:ID: a slave that waits for its BOOT, runs, and waits again.
 *
 * Theory of operation: the waiting state is RUN_STATE_INMIGRATE with the RAM's
 * memory region disabled, so that nothing (monitor, gdb, ROM loader) can touch
 * address space that has nothing behind it. BOOT maps the window, reads the
 * boot record, sets the first CPU's registers and starts the machine. A reset
 * of any origin unmaps it and waits again; a slave never does a plain reset,
 * which would write its own images over the master's memory. Rejected: waiting
 * again by a second -incoming - QEMU allows that command once.
 */
#ifndef SHARED_QEMU_H
#define SHARED_QEMU_H

#include "hw/boards.h"
#include "migration/sdm-bootrecord.h"

/** shared_start_incoming_migration() - handle "shared:@id". */
void shared_start_incoming_migration(const char *id, Error **errp);

/** shared_machine_class_init() - add the slave properties of -machine. */
void shared_machine_class_init(ObjectClass *oc);

/**
 * shared_slave() - is this machine a slave?
 * So it is with -machine slave=on, and with a slave's memory-backend-shared.
 */
bool shared_slave(void);

/**
 * shared_slave_drop_images() - name -kernel, -initrd, -dtb and -append in a
 * warning, and forget them: a slave runs what the master loads
 */
void shared_slave_drop_images(MachineState *ms);

/** shared_add_windows() - master: the windows as /reserved-memory of @fdt. */
void shared_add_windows(void *fdt);

/**
 * struct SharedEntry - how CPUs of one instruction set start
 * @machine: ELF e_machine of @cpu
 * @set:     registers and pc of the first CPU, which has just been reset
 */
typedef struct SharedEntry {
    uint32_t (*machine)(CPUState *cpu);
    void (*set)(CPUState *cpu, const struct sdm_boot_entry *entry);
} SharedEntry;

/** shared_register_entry() - one per target; @entry is kept. */
void shared_register_entry(const SharedEntry *entry);

#endif /* SHARED_QEMU_H */
