/* SPDX-License-Identifier: GPL-2.0-or-later */
/* join: stand in as a slave, without QEMU. It runs no guest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/sdm-libevent.h"
#include "backends/sdm-region.h"
#include "migration/sdm-bootrecord.h"
#include "tools/sdmctl.h"

/**
 * struct joined - the slave
 * @fds:  from WELCOME, by the number of their SDM_WIRE_FD_* bit; -1: none
 * @ram:  the slave's memory: reserved address space while it waits
 * @state: what we have told the master
 */
struct joined {
    struct sdmctl *ctl;
    struct sdm_libevent_link *link;
    struct sdmctl_stdin *in;
    struct sdm_msg hello;
    int fds[SDM_WIRE_MAX_FDS];
    struct sdmctl_ring *ring;
    char *ram;
    uint32_t state;
    char *dtb;
    gsize dtb_size;
};

static int id;
static char *name;
static char *machine_text;
static char *ram_size_text;
static char *ram_base_text;
static char *dtb_path;
static char *fault;

const GOptionEntry sdmctl_join_options[] = {
    { "id", 0, 0, G_OPTION_ARG_INT, &id,
      "Slave id to ask for (default: the lowest free)", "N" },
    { "name", 0, 0, G_OPTION_ARG_STRING, &name,
      "Name; it gets its id back when it returns", "NAME" },
    { "machine", 0, 0, G_OPTION_ARG_STRING, &machine_text,
      "arm, aarch64 or x86_64 (default: arm)", "NAME" },
    { "ram-size", 0, 0, G_OPTION_ARG_STRING, &ram_size_text,
      "Main memory, e.g. 512M (default: 16M)", "SIZE" },
    { "ram-base", 0, 0, G_OPTION_ARG_STRING, &ram_base_text,
      "Its guest-physical address (default: 0x40000000)", "ADDRESS" },
    { "dtb", 0, 0, G_OPTION_ARG_FILENAME, &dtb_path,
      "Device tree for a master that asks (default: none)", "FILE" },
    { "fault", 0, 0, G_OPTION_ARG_STRING, &fault,
      "Misbehave, to test a master; see the manual", "FAULT" },
    { 0 }
};

static void print_state(struct joined *j, uint32_t state)
{
    struct sdmctl_line line;

    j->state = state;
    sdmctl_line_begin(&line, j->ctl, "state");
    sdmctl_line_string(&line, "state", sdm_state_text(state));
    sdmctl_line_end(&line);
}

/* ------------------------------------------------------------------ signals */

static void signal_taken(void *opaque, const struct sdm_signal *sig)
{
    struct joined *j = opaque;
    struct sdmctl_line line;

    sdmctl_line_begin(&line, j->ctl, "signal");
    sdmctl_line_signal(&line, sig);
    sdmctl_line_end(&line);
}

static void ring_broken(void *opaque)
{
    struct joined *j = opaque;

    sdmctl_end(j->ctl, SDMCTL_FAILED, "the master has broken the signal ring");
}

/* ------------------------------------------------------------------- window */

static void unmap_window(struct joined *j)
{
    int ret = sdm_reserve_unmap(j->ram, j->hello.u.hello.ram_size);

    if (ret) {
        sdmctl_end(j->ctl, SDMCTL_FAILED, "cannot unmap the window: %s",
                   g_strerror(-ret));
    }
}

/* Map and check: SDM_OK, or the window is unmapped and @why says why. */
static uint32_t map_window(struct joined *j, const struct sdm_msg *boot,
                           struct sdm_boot_entry *entry, struct sdm_text *why)
{
    const uint64_t size = boot->u.boot.size;
    const int fd = j->fds[0];
    uint32_t status;
    int ret;

    sdm_text_init(why);
    if (fd < 0) {
        sdm_text_add(why, "the master has given no memory");
        return SDM_ERR_MEMORY;
    }
    ret = sdm_fd_check(fd, boot->u.boot.offset + size, 0, NULL);
    if (!ret) {
        ret = sdm_reserve_map(j->ram, size, fd, boot->u.boot.offset);
    }
    if (ret) {
        sdm_text_add(why, "cannot map the window: ");
        sdm_text_add(why, g_strerror(-ret));
        return SDM_ERR_MEMORY;
    }
    status = sdm_boot_record_read(j->ram + size - SDM_BOOT_PAGE,
                                  j->hello.u.hello.ram_base, size,
                                  j->hello.u.hello.machine, entry, why);
    if (status != SDM_OK) {
        unmap_window(j);
    }
    return status;
}

static void boot(struct joined *j, const struct sdm_msg *msg)
{
    struct sdm_boot_entry entry;
    struct sdmctl_line line;
    struct sdm_text why;
    uint32_t status;

    status = map_window(j, msg, &entry, &why);
    sdmctl_line_begin(&line, j->ctl, "boot");
    sdmctl_line_address(&line, "offset", msg->u.boot.offset);
    sdmctl_line_size(&line, "size", msg->u.boot.size);
    sdmctl_line_status(&line, status);
    if (status == SDM_OK) {
        sdmctl_line_address(&line, "entry", entry.entry);
        sdmctl_line_address(&line, "dtb", entry.dtb);
        sdmctl_line_number(&line, "dtb-size", entry.dtb_size);
    } else {
        sdmctl_line_string(&line, "text", why.buf);
    }
    sdmctl_line_end(&line);
    sdm_link_answer(sdm_libevent_link_core(j->link), msg->seq, status,
                    status == SDM_OK ? NULL : why.buf);
    if (status == SDM_OK) {
        print_state(j, SDM_STATE_RUNNING);
    }
}

static void give_dtb(struct joined *j, const struct sdm_msg *msg)
{
    struct sdm_link *link = sdm_libevent_link_core(j->link);
    int fd;

    if (!j->dtb) {
        sdm_link_answer(link, msg->seq, SDM_ERR_UNSUPPORTED,
                        "this slave has no device tree: start it with --dtb");
        return;
    }
    fd = sdm_memfd("sdm-dtb", j->dtb, j->dtb_size, 1);
    if (fd < 0) {
        sdm_link_answer(link, msg->seq, SDM_ERR_INTERNAL, g_strerror(-fd));
        return;
    }
    sdm_link_answer_dtb(link, msg->seq, fd, j->dtb_size);
    close(fd);
}

/* --------------------------------------------------------------------- link */

static void forget_master(struct joined *j)
{
    unsigned i;

    sdmctl_ring_free(j->ring);
    j->ring = NULL;
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        if (j->fds[i] >= 0) {
            close(j->fds[i]);
            j->fds[i] = -1;
        }
    }
    if (j->state != SDM_STATE_WAITING) {
        unmap_window(j);
        print_state(j, SDM_STATE_WAITING);
    }
}

static void welcome(struct joined *j, struct sdm_link_event *event)
{
    const struct sdm_msg *msg = event->msg;
    struct sdmctl_line line;
    GError *error = NULL;
    unsigned i, n = 0;

    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        if (msg->u.welcome.fds & (1u << i)) {
            j->fds[i] = event->fds[n];
            event->fds[n++] = -1;
        }
    }
    sdmctl_stop_timer(j->ctl);
    sdmctl_line_begin(&line, j->ctl, "welcome");
    sdmctl_line_number(&line, "id", msg->u.welcome.id);
    sdmctl_line_number(&line, "num-slaves", msg->u.welcome.num_slaves);
    sdmctl_line_number(&line, "version", msg->u.welcome.version);
    sdmctl_line_address(&line, "features", msg->u.welcome.features);
    sdmctl_line_size(&line, "memory-size", msg->u.welcome.memory_size);
    sdmctl_line_size(&line, "page-size", msg->u.welcome.page_size);
    sdmctl_line_address(&line, "window-offset", msg->u.welcome.window_offset);
    sdmctl_line_size(&line, "window-size", msg->u.welcome.window_size);
    sdmctl_line_end(&line);
    if (j->fds[1] >= 0 && j->fds[2] >= 0 && j->fds[3] >= 0) {
        j->ring = sdmctl_ring_new(j->ctl->base, j->fds[1], j->fds[2],
                                  j->fds[3], 0, signal_taken, ring_broken, j,
                                  &error);
        if (!j->ring) {
            sdmctl_end(j->ctl, SDMCTL_FAILED, "%s", error->message);
            g_error_free(error);
        }
    }
}

static void request(struct joined *j, const struct sdm_msg *msg)
{
    struct sdm_link *link = sdm_libevent_link_core(j->link);

    switch (msg->type) {
    case SDM_WIRE_BOOT:
        boot(j, msg);
        break;
    case SDM_WIRE_RESET:
        unmap_window(j);
        sdm_link_answer(link, msg->seq, SDM_OK, NULL);
        print_state(j, SDM_STATE_WAITING);
        break;
    case SDM_WIRE_STOP:
        sdm_link_answer(link, msg->seq, SDM_OK, NULL);
        print_state(j, SDM_STATE_STOPPED);
        break;
    case SDM_WIRE_GET_DTB:
        give_dtb(j, msg);
        break;
    }
}

static void link_event(void *opaque, struct sdm_link_event *event)
{
    struct joined *j = opaque;

    switch (event->type) {
    case SDM_LINK_WELCOME:
        welcome(j, event);
        break;
    case SDM_LINK_REQUEST:
        request(j, event->msg);
        break;
    case SDM_LINK_ERROR:
        sdmctl_end(j->ctl, SDMCTL_FAILED, "the master at '%s' refused: %s",
                   j->ctl->path, event->msg->u.answer.text);
        break;
    default:
        break;
    }
}

static int link_lost(void *opaque, int refused)
{
    struct joined *j = opaque;
    struct sdmctl_line line;

    forget_master(j);
    if (!refused && j->ctl->wait) {
        sdmctl_line_begin(&line, j->ctl, "lost");
        sdmctl_line_string(&line, "path", j->ctl->path);
        sdmctl_line_end(&line);
        return 1;
    }
    sdmctl_end(j->ctl, SDMCTL_NO_MASTER, "the master at '%s' has gone",
               j->ctl->path);
    return 0;
}

static void link_absent(void *opaque, const char *text)
{
    struct joined *j = opaque;

    sdmctl_stop_timer(j->ctl);
    g_printerr("sdmctl: %s; waiting for one\n", text);
}

static void link_failed(void *opaque, int error, const char *text)
{
    struct joined *j = opaque;

    (void)error;
    sdmctl_end(j->ctl, SDMCTL_FAILED, "%s", text);
}

static const struct sdm_libevent_link_ops link_ops = {
    .event = link_event,
    .lost = link_lost,
    .absent = link_absent,
    .failed = link_failed,
};

/* ----------------------------------------------------------------- commands */

static gboolean say_state(struct joined *j, const char *text, GError **error)
{
    uint32_t state;
    int ret;

    for (state = SDM_STATE_WAITING; state < SDM_STATES; state++) {
        if (!strcmp(text, sdm_state_text(state))) {
            break;
        }
    }
    if (state == SDM_STATES || state == SDM_STATE_BOOTING) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "state '%s': give waiting, running, stopped or crashed",
                    text);
        return FALSE;
    }
    if (state == SDM_STATE_WAITING && j->state != SDM_STATE_WAITING) {
        unmap_window(j);
    }
    ret = sdm_link_state(sdm_libevent_link_core(j->link), state);
    if (ret) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "cannot tell the master: %s", g_strerror(-ret));
        return FALSE;
    }
    print_state(j, state);
    return TRUE;
}

static gboolean send_signal(struct joined *j, int argc, char **argv,
                            GError **error)
{
    uint64_t target = SDM_ID_MASTER;
    struct sdm_signal sig;
    uint32_t status;

    if (argc == 4 && (!sdmctl_parse_u64(argv[3], "target", &target, error))) {
        return FALSE;
    }
    if (target > UINT16_MAX) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "target %s: give an id up to 65535", argv[3]);
        return FALSE;
    }
    if (!sdmctl_parse_signal(MIN(argc, 3), argv, target, &sig, error)) {
        return FALSE;
    }
    status = j->ring ? sdmctl_ring_send(j->ring, &sig) : SDM_ERR_NO_PEER;
    if (status != SDM_OK) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the signal was not sent: %s", sdm_status_text(status));
        return FALSE;
    }
    return TRUE;
}

static gboolean command(void *opaque, int argc, char **argv, GError **error)
{
    struct joined *j = opaque;

    if (!strcmp(argv[0], "quit") && argc == 1) {
        sdmctl_end(j->ctl, SDMCTL_OK, NULL);
        return TRUE;
    }
    if (!strcmp(argv[0], "state") && argc == 2) {
        return say_state(j, argv[1], error);
    }
    if (!strcmp(argv[0], "signal") && argc >= 2 && argc <= 5) {
        return send_signal(j, argc - 1, argv + 1, error);
    }
    g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                "'%s': give state NAME, signal TYPE [P0 [P1 [TARGET]]] or "
                "quit", argv[0]);
    return FALSE;
}

/* --------------------------------------------------------------------- join */

static gboolean make_hello(struct sdm_msg *hello, GError **error)
{
    uint16_t machine;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    memset(hello, 0, sizeof(*hello));
    hello->type = SDM_WIRE_HELLO;
    hello->u.hello.role = SDM_ROLE_SLAVE;
    hello->u.hello.features = (1u << SDM_SIGNAL_TYPES) - 1;
    if (!sdmctl_parse_machine(machine_text ? machine_text : "arm", &machine,
                              error) ||
        !sdmctl_parse_u64(ram_size_text ? ram_size_text : "16M", "--ram-size",
                          &hello->u.hello.ram_size, error) ||
        !sdmctl_parse_u64(ram_base_text ? ram_base_text : "0x40000000",
                          "--ram-base", &hello->u.hello.ram_base, error)) {
        return FALSE;
    }
    hello->u.hello.machine = machine;
    if (!hello->u.hello.ram_size || hello->u.hello.ram_size % page) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--ram-size=%s: give a multiple of the page size, %"
                    G_GUINT64_FORMAT, ram_size_text, page);
        return FALSE;
    }
    if (id < 0) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--id=%d: give 1 to num-slaves, or leave it out", id);
        return FALSE;
    }
    hello->u.hello.want_id = id;
    if (name && !sdm_name_ok(name)) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--name=%s: give 1 to %u of letters, digits, '.', '_' "
                    "and '-'", name, SDM_NAME_MAX);
        return FALSE;
    }
    g_strlcpy(hello->u.hello.name, name ? name : "",
              sizeof(hello->u.hello.name));
    return TRUE;
}

static gboolean run(struct joined *j, GError **error)
{
    struct sdm_text why;
    gboolean ok = FALSE;
    int ret;

    j->link = sdm_libevent_link_new(j->ctl->base, j->ctl->path, &j->hello,
                                    &link_ops, j);
    g_assert(j->link);
    sdmctl_start_timer(j->ctl);
    ret = sdm_libevent_link_start(j->link, j->ctl->wait, &why);
    if (ret) {
        sdmctl_link_error(ret, &why, error);
    } else {
        j->in = sdmctl_stdin_new(j->ctl, command, j);
        ok = sdmctl_loop(j->ctl, error);
        sdmctl_stdin_free(j->in);
    }
    sdm_libevent_link_free(j->link);
    return ok;
}

gboolean sdmctl_join(struct sdmctl *ctl, GError **error)
{
    struct joined j = { .ctl = ctl, .state = SDM_STATE_WAITING,
                        .fds = { -1, -1, -1, -1 } };
    gboolean ok;
    unsigned i;

    if (!make_hello(&j.hello, error)) {
        return FALSE;
    }
    if (fault) {
        return sdmctl_fault(ctl, fault, &j.hello, error);
    }
    if (dtb_path && !g_file_get_contents(dtb_path, &j.dtb, &j.dtb_size,
                                         error)) {
        return FALSE;
    }
    j.ram = sdm_reserve(j.hello.u.hello.ram_size, 1u << 30);
    if (!j.ram) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "no address space for the slave's memory: %s",
                    g_strerror(errno));
        g_free(j.dtb);
        return FALSE;
    }
    ok = run(&j, error);
    sdmctl_ring_free(j.ring);
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        if (j.fds[i] >= 0) {
            close(j.fds[i]);
        }
    }
    munmap(j.ram, j.hello.u.hello.ram_size);
    g_free(j.dtb);
    return ok;
}
