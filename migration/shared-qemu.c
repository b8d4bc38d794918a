/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/yank.h"
#include "block/block.h"
#include "hw/core/cpu.h"
#include "sysemu/device_tree.h"
#include "sysemu/reset.h"
#include "sysemu/runstate.h"
#include "sysemu/runstate-action.h"
#include "sysemu/sysemu.h"
#include "backends/hostmem-shared-qemu.h"
#include "backends/sdm-report-qemu.h"
#include "migration/shared-qemu.h"
#include "backends/sdm-tcg-qemu.h"
#include "qemu-sdm/trace.h"
#include <libfdt.h>

/* There is one machine, so there is one of these. */
static struct {
    /* -machine slave=, slave-poweroff= */
    bool slave_set;
    bool slave_value;
    bool poweroff_waits;

    const SharedEntry *entry;

    /* set by -incoming shared: */
    HostMemoryBackendShared *mem;
    struct sdm_link *link;
    MultiSocketClient client;
    uint64_t ram_base;
    uint32_t machine;
    bool quiet;             /* an answer says the state: do not say it twice */
    bool reset_open;        /* a RESET request is to be answered */
    uint32_t reset_seq;
    QEMUBH *waiting_bh;
    QEMUBH *poweroff_bh;
} shared;

void shared_register_entry(const SharedEntry *entry)
{
    shared.entry = entry;
}

bool shared_slave(void)
{
    return shared.slave_set ? shared.slave_value : !!hostmem_shared_slave();
}

void shared_slave_drop_images(MachineState *ms)
{
    struct {
        const char *option;
        char **value;
    } images[] = {
        { "-kernel", &ms->kernel_filename },
        { "-initrd", &ms->initrd_filename },
        { "-dtb", &ms->dtb },
        { "-append", &ms->kernel_cmdline },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(images); i++) {
        if (*images[i].value && **images[i].value) {
            warn_report("%s %s is not loaded: a slave runs what its master "
                        "puts into its window", images[i].option,
                        *images[i].value);
            *images[i].value = i == 3 ? g_strdup("") : NULL;
        }
    }
}

static void add_window(void *fdt, uint64_t base, const struct sdm_window *w)
{
    g_autofree char *node = g_strdup_printf(
        "/reserved-memory/sdm-window@%" PRIx64, base + w->offset);
    uint32_t acells = qemu_fdt_getprop_cell(fdt, "/", "#address-cells", NULL,
                                            &error_fatal);
    uint32_t scells = qemu_fdt_getprop_cell(fdt, "/", "#size-cells", NULL,
                                            &error_fatal);

    if (fdt_path_offset(fdt, "/reserved-memory") < 0) {
        qemu_fdt_add_subnode(fdt, "/reserved-memory");
        qemu_fdt_setprop_cell(fdt, "/reserved-memory", "#address-cells",
                              acells);
        qemu_fdt_setprop_cell(fdt, "/reserved-memory", "#size-cells", scells);
        qemu_fdt_setprop(fdt, "/reserved-memory", "ranges", NULL, 0);
    }
    qemu_fdt_add_subnode(fdt, node);
    qemu_fdt_setprop_sized_cells(fdt, node, "reg", acells, base + w->offset,
                                 scells, w->size);
    qemu_fdt_setprop(fdt, node, "no-map", NULL, 0);
}

static void add_windows_of(MultiSocket *s, void *fdt)
{
    HostMemoryBackendShared *m = hostmem_shared_of(s);
    const struct sdm_window *w;
    uint64_t base;
    unsigned i, n;

    if (m && hostmem_shared_is_master(m) && hostmem_shared_base(m, &base)) {
        n = hostmem_shared_windows(m, &w);
        for (i = 0; i < n; i++) {
            add_window(fdt, base, &w[i]);
        }
    }
}

void shared_add_windows(void *fdt)
{
    multi_socket_foreach(add_windows_of, fdt);
}

/* States */

static bool waiting(void)
{
    return runstate_check(RUN_STATE_INMIGRATE);
}

static uint32_t boot(const struct sdm_msg *msg, struct sdm_text *why)
{
    HostMemoryBackendShared *m = shared.mem;
    uint64_t size = msg->u.boot.size;
    struct sdm_boot_entry entry;
    Error *err = NULL;
    uint32_t status;

    sdm_text_init(why);
    if (!waiting()) {
        sdm_text_add(why, "this slave does not wait for a BOOT");
        return SDM_ERR_STATE;
    }
    /* Of a reset that shared_waiting_bh() has not ended yet. */
    hostmem_shared_unmap(m);
    status = hostmem_shared_map(m, msg->u.boot.offset, size, why);
    if (status != SDM_OK) {
        return status;
    }
    status = sdm_boot_record_read((char *)hostmem_shared_host(m) + size -
                                  SDM_BOOT_PAGE, shared.ram_base, size,
                                  shared.machine, &entry, why);
    if (status != SDM_OK) {
        hostmem_shared_unmap(m);
        return status;
    }
    bdrv_activate_all(&err);
    if (err) {
        sdm_text_add(why, error_get_pretty(err));
        error_free(err);
        hostmem_shared_unmap(m);
        return SDM_ERR_INTERNAL;
    }
    sdm_tcg_flush();
    hostmem_shared_show(m);
    shared.entry->set(first_cpu, &entry);
    trace_shared_boot(msg->u.boot.offset, size, entry.entry, entry.dtb);
    if (autostart) {
        vm_start();
    } else {
        runstate_set(RUN_STATE_PAUSED);
    }
    return SDM_OK;
}

static void send_dtb(uint32_t seq)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    int fd, size;

    if (!ms->fdt) {
        sdm_link_answer(shared.link, seq, SDM_ERR_UNSUPPORTED,
                        "this slave's machine generates no device tree");
        return;
    }
    /* A packed copy: the machine's own has room for a megabyte. */
    size = fdt_totalsize(ms->fdt);
    g_autofree void *copy = g_malloc(size);

    if (fdt_open_into(ms->fdt, copy, size) < 0 || fdt_pack(copy) < 0) {
        sdm_link_answer(shared.link, seq, SDM_ERR_INTERNAL,
                        "the generated device tree could not be packed");
        return;
    }
    size = fdt_totalsize(copy);
    fd = sdm_memfd("sdm-dtb", copy, size, 1);
    if (fd < 0) {
        sdm_link_answer(shared.link, seq, SDM_ERR_MEMORY, strerror(-fd));
        return;
    }
    sdm_link_answer_dtb(shared.link, seq, fd, size);
    close(fd);
}

static bool shared_request(MultiSocketClient *c, const struct sdm_msg *msg)
{
    struct sdm_text why;
    uint32_t status;

    sdm_text_init(&why);
    shared.quiet = true;
    switch (msg->type) {
    case SDM_WIRE_BOOT:
        status = boot(msg, &why);
        if (status != SDM_OK) {
            sdm_report("BOOT refused: %s", why.buf);
        }
        sdm_link_answer(shared.link, msg->seq, status, why.buf);
        if (status == SDM_OK && !runstate_is_running()) {
            sdm_link_state(shared.link, SDM_STATE_STOPPED);
        }
        break;
    case SDM_WIRE_STOP:
        if (waiting()) {
            sdm_link_answer(shared.link, msg->seq, SDM_ERR_STATE,
                            "this slave does not run: it waits");
        } else {
            vm_stop(RUN_STATE_PAUSED);
            sdm_link_answer(shared.link, msg->seq, SDM_OK, NULL);
        }
        break;
    case SDM_WIRE_RESET:
        /* Answered when the reset is done: see shared_waiting_bh(). */
        shared.reset_open = true;
        shared.reset_seq = msg->seq;
        qemu_system_reset_request(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
        break;
    case SDM_WIRE_GET_DTB:
        send_dtb(msg->seq);
        break;
    }
    shared.quiet = false;
    return true;
}

static void shared_welcome(MultiSocketClient *c, const struct sdm_msg *msg,
                           int *fds)
{
    /* A new master takes us for waiting until it hears otherwise. */
    if (runstate_is_running()) {
        sdm_link_state(shared.link, SDM_STATE_RUNNING);
    } else if (runstate_check(RUN_STATE_GUEST_PANICKED)) {
        sdm_link_state(shared.link, SDM_STATE_CRASHED);
    } else if (!waiting()) {
        sdm_link_state(shared.link, SDM_STATE_STOPPED);
    }
}

static void shared_lost(MultiSocketClient *c)
{
    shared.reset_open = false;
}

static void shared_waiting_bh(void *opaque)
{
    if (!waiting()) {
        shared.reset_open = false;
        return;         /* a BOOT was faster, and has replaced the RESET */
    }
    hostmem_shared_unmap(shared.mem);
    /* The master may have given that request up for a new one. */
    if (!shared.reset_open ||
        sdm_link_answer(shared.link, shared.reset_seq, SDM_OK, NULL) ==
        -ENOENT) {
        sdm_link_state(shared.link, SDM_STATE_WAITING);
    }
    shared.reset_open = false;
    sdm_report("the slave waits for its next BOOT");
}

/*
 * Runs before the ROM loader's reset handler, so that nothing of this slave's
 * own is written into the master's memory.
 */
static void shared_reset(void *opaque)
{
    if (!shared.mem || waiting()) {
        if (shared.reset_open) {
            qemu_bh_schedule(shared.waiting_bh);
        }
        return;
    }
    shared.quiet = true;
    vm_stop(RUN_STATE_SHUTDOWN);
    shared.quiet = false;
    /* Devices are reset with what they have mapped still there. */
    hostmem_shared_hide(shared.mem);
    /* The only legal way back to INMIGRATE leads over PRELAUNCH. */
    runstate_set(RUN_STATE_PRELAUNCH);
    runstate_set(RUN_STATE_INMIGRATE);
    trace_shared_waiting();
    qemu_bh_schedule(shared.waiting_bh);
}

static void shared_poweroff_bh(void *opaque)
{
    qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
}

static void shared_vm_state(void *opaque, bool running, RunState state)
{
    if (running && !hostmem_shared_host(shared.mem)) {
        /* "continue" of a debugger, which no run state keeps off. */
        sdm_report("a slave that waits has nothing to run: it waits on");
        qemu_system_reset_request(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
        return;
    }
    if (state == RUN_STATE_SHUTDOWN && shared.poweroff_waits &&
        !shared.quiet) {
        qemu_bh_schedule(shared.poweroff_bh);
        return;
    }
    if (shared.quiet) {
        return;
    }
    if (running) {
        sdm_link_state(shared.link, SDM_STATE_RUNNING);
    } else if (state == RUN_STATE_GUEST_PANICKED) {
        sdm_link_state(shared.link, SDM_STATE_CRASHED);
    } else {
        sdm_link_state(shared.link, SDM_STATE_STOPPED);
    }
}

void shared_start_incoming_migration(const char *id, Error **errp)
{
    HostMemoryBackendShared *m;

    m = hostmem_shared_find(id, "-incoming shared:", errp);
    if (!m) {
        return;
    }
    if (hostmem_shared_is_master(m)) {
        error_setg(errp, "'%s' is a master's memory: only a slave waits, so "
                   "leave out master=on or -incoming", id);
        return;
    }
    if (shared.slave_set && !shared.slave_value) {
        error_setg(errp, "-machine slave=off contradicts -incoming shared:%s",
                   id);
        return;
    }
    if (!first_cpu || !shared.entry) {
        error_setg(errp, "a slave with %s CPUs cannot be booted: there is no "
                   "entry setter for their instruction set", first_cpu ?
                   object_get_typename(OBJECT(first_cpu)) : "no");
        return;
    }
    if (!hostmem_shared_base(m, &shared.ram_base)) {
        error_setg(errp, "'%s' is not the machine's main memory: add -numa "
                   "node,memdev=%s or -machine memory-backend=%s", id, id, id);
        return;
    }
    /* This is no stream that the yank command could cut. */
    yank_unregister_instance(MIGRATION_YANK_INSTANCE);

    shared.mem = m;
    shared.machine = shared.entry->machine(first_cpu);
    shared.link = multi_socket_link(hostmem_shared_socket(m));
    shared.waiting_bh = qemu_bh_new(shared_waiting_bh, NULL);
    shared.poweroff_bh = qemu_bh_new(shared_poweroff_bh, NULL);
    shared.client.request = shared_request;
    shared.client.welcome = shared_welcome;
    shared.client.lost = shared_lost;
    if (shared.poweroff_waits) {
        shutdown_action = SHUTDOWN_ACTION_PAUSE;
    }
    qemu_add_vm_change_state_handler(shared_vm_state, NULL);
    multi_socket_slave(hostmem_shared_socket(m), shared.machine,
                       shared.ram_base, hostmem_shared_size(m));
    multi_socket_add(hostmem_shared_socket(m), &shared.client);
}

/* A slave that was never told to wait would run nothing, for ever. */
static void shared_machine_done(Notifier *n, void *data)
{
    if (runstate_check(RUN_STATE_INMIGRATE) || !shared_slave()) {
        return;
    }
    if (hostmem_shared_slave()) {
        error_report("a slave's " TYPE_MEMORY_BACKEND_SHARED " needs "
                     "-incoming shared:ID, or master=on if it is the "
                     "master's");
    } else {
        error_report("-machine slave=on needs a " TYPE_MEMORY_BACKEND_SHARED
                     " and -incoming shared:ID");
    }
    exit(EXIT_FAILURE);
}

static Notifier machine_done = { .notify = shared_machine_done };

/* -machine */

static bool get_slave(Object *obj, Error **errp)
{
    return shared_slave();
}

static void set_slave(Object *obj, bool value, Error **errp)
{
    shared.slave_set = true;
    shared.slave_value = value;
}

static char *get_poweroff(Object *obj, Error **errp)
{
    return g_strdup(shared.poweroff_waits ? "wait" : "exit");
}

static void set_poweroff(Object *obj, const char *value, Error **errp)
{
    if (strcmp(value, "wait") && strcmp(value, "exit")) {
        error_setg(errp, "slave-poweroff=%s: give 'exit' or 'wait'", value);
        return;
    }
    shared.poweroff_waits = !strcmp(value, "wait");
}

void shared_machine_class_init(ObjectClass *oc)
{
    object_class_property_add_bool(oc, "slave", get_slave, set_slave);
    object_class_property_set_description(oc, "slave",
        "This machine is a slave (implied by -incoming shared:)");
    object_class_property_add_str(oc, "slave-poweroff", get_poweroff,
                                  set_poweroff);
    object_class_property_set_description(oc, "slave-poweroff",
        "What a slave does when its guest powers off: exit (default) or wait");
    qemu_register_reset(shared_reset, NULL);
    qemu_add_machine_init_done_notifier(&machine_done);
}
