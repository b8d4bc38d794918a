/* SPDX-License-Identifier: GPL-2.0-or-later */
/* serve: a master without QEMU. It runs no guest; it boots those of others. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "backends/sdm-libevent.h"
#include "backends/sdm-region.h"
#include "migration/sdm-bootplan.h"
#include "migration/sdm-bootrecord.h"
#include "sdm/ring.h"
#include "tools/sdmctl.h"

#define REQUEST_MS  10000
#define DTB_MAX     (2u << 20)

struct master;

/**
 * struct channel - signals to and from one slave
 * @fds: what it was granted: ring, to slave, to master; -1: none
 */
struct channel {
    struct master *m;
    uint32_t id;
    int fds[3];
    struct sdmctl_ring *ring;
    uint64_t sent, taken, refused;
};

struct master {
    struct sdmctl *ctl;
    struct sdm_libevent_hub *hub;
    struct sdmctl_stdin *in;
    struct sdm_region region;
    struct channel channels[SDM_MAX_SLAVES + 1];
    char *dtb_file;             /* where the answer to "dtb" goes */
};

static char *size_text;
static char *windows_text;
static char *mem_path;
static char *hugetlbsize_text;
static gboolean no_seal;
static int num_slaves;
static int request_ms = REQUEST_MS;

const GOptionEntry sdmctl_serve_options[] = {
    { "size", 0, 0, G_OPTION_ARG_STRING, &size_text,
      "Size of the shared memory, e.g. 1G", "SIZE" },
    { "windows", 0, 0, G_OPTION_ARG_STRING, &windows_text,
      "A sealed window for each slave, from the top down", "SIZE[:SIZE...]" },
    { "num-slaves", 0, 0, G_OPTION_ARG_INT, &num_slaves,
      "Highest slave id (default: one a window, or 1)", "N" },
    { "mem-path", 0, 0, G_OPTION_ARG_FILENAME, &mem_path,
      "Directory or file of the memory (default: memfds)", "PATH" },
    { "hugetlbsize", 0, 0, G_OPTION_ARG_STRING, &hugetlbsize_text,
      "Use huge pages of this size, e.g. 2M", "SIZE" },
    { "no-seal", 0, 0, G_OPTION_ARG_NONE, &no_seal,
      "Use files, not memfds, without --mem-path too", NULL },
    { "request-timeout", 0, 0, G_OPTION_ARG_INT, &request_ms,
      "Time for a slave to answer (default: 10000)", "MS" },
    { 0 }
};

static gboolean fail(GError **error, const char *text)
{
    g_set_error_literal(error, SDMCTL_ERROR, SDMCTL_FAILED, text);
    return FALSE;
}

/* ----------------------------------------------------------------- channels */

static void signal_taken(void *opaque, const struct sdm_signal *sig)
{
    struct channel *c = opaque;
    struct sdm_signal copy = *sig;
    uint32_t type = sdm_from_le32(sig->type);
    struct sdmctl_line line;
    gboolean ok;

    /* A slave speaks to the master only, and only what a guest may say. */
    ok = sdm_from_le16(sig->target) == SDM_ID_MASTER &&
         type < SDM_SIGNAL_TYPES &&
         (type == SDM_SIGNAL_INTERRUPT || type >= SDM_SIGNAL_USER);
    copy.source = sdm_to_le16(c->id);
    c->taken += ok;
    c->refused += !ok;
    sdmctl_line_begin(&line, c->m->ctl, ok ? "signal" : "signal-refused");
    sdmctl_line_signal(&line, &copy);
    sdmctl_line_end(&line);
}

static void ring_broken(void *opaque)
{
    struct channel *c = opaque;
    struct sdm_hub *core = sdm_libevent_hub_core(c->m->hub);
    const struct sdm_peer *peer = sdm_hub_peer(core, c->id);

    if (peer->conn >= 0) {
        sdm_hub_reject(core, peer->conn, SDM_ERR_INVAL,
                       "the signal ring is broken: its indexes are impossible");
    }
}

static void close_channel(struct channel *c)
{
    unsigned i;

    sdmctl_ring_free(c->ring);
    c->ring = NULL;
    for (i = 0; i < G_N_ELEMENTS(c->fds); i++) {
        if (c->fds[i] >= 0) {
            close(c->fds[i]);
            c->fds[i] = -1;
        }
    }
}

/* A slave that returns gets fresh rings: what the last one left is gone. */
static gboolean open_channel(struct channel *c)
{
    close_channel(c);
    c->fds[0] = sdm_memfd("sdm-ring", NULL, SDM_RING_BYTES, 0);
    c->fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->fds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->fds[0] >= 0 && c->fds[1] >= 0 && c->fds[2] >= 0) {
        c->ring = sdmctl_ring_new(c->m->ctl->base, c->fds[0], c->fds[2],
                                  c->fds[1], 1, signal_taken, ring_broken, c,
                                  NULL);
    }
    if (!c->ring) {
        close_channel(c);
    }
    return c->ring != NULL;
}

/* ---------------------------------------------------------------------- hub */

static uint32_t grant(void *opaque, uint32_t id, uint64_t ram_size,
                      struct sdm_grant *g, const char **text)
{
    struct master *m = opaque;
    struct channel *c = &m->channels[id];
    const struct sdm_segment *seg = &m->region.segments[0];

    (void)ram_size;
    if (m->region.nwindows) {
        if (id > m->region.nwindows) {
            *text = "--windows has no window for this slave: list one more";
            return SDM_ERR_MEMORY;
        }
        seg = &m->region.segments[id];
        g->window.size = seg->size;
    }
    if (!open_channel(c)) {
        *text = "the master cannot make a signal ring";
        return SDM_ERR_INTERNAL;
    }
    g->memory_size = seg->size;
    g->page_size = m->region.page_size;
    g->features = (1u << SDM_SIGNAL_TYPES) - 1;
    g->fds[0] = seg->fd;
    memcpy(&g->fds[1], c->fds, sizeof(c->fds));
    return SDM_OK;
}

static void counters(void *opaque, uint32_t id, uint64_t *sent,
                     uint64_t *taken, uint64_t *refused)
{
    struct master *m = opaque;

    *sent = m->channels[id].sent;
    *taken = m->channels[id].taken;
    *refused = m->channels[id].refused;
}

static void print_peer(struct master *m, const char *event, uint32_t id,
                       uint32_t old)
{
    const struct sdm_peer *peer =
        sdm_hub_peer(sdm_libevent_hub_core(m->hub), id);
    struct sdmctl_line line;

    sdmctl_line_begin(&line, m->ctl, event);
    sdmctl_line_number(&line, "id", id);
    sdmctl_line_string(&line, "name", peer->name);
    sdmctl_line_string(&line, "state", sdm_state_text(peer->state));
    sdmctl_line_string(&line, "old", sdm_state_text(old));
    sdmctl_line_string(&line, "machine", sdm_machine_text(peer->machine));
    sdmctl_line_number(&line, "pid", peer->pid);
    sdmctl_line_address(&line, "ram-base", peer->ram_base);
    sdmctl_line_size(&line, "ram-size", peer->ram_size);
    sdmctl_line_end(&line);
}

static const char *request_text(uint16_t request)
{
    switch (request) {
    case SDM_WIRE_BOOT:
        return "boot";
    case SDM_WIRE_RESET:
        return "reset";
    case SDM_WIRE_STOP:
        return "stop";
    default:
        return "dtb";
    }
}

/* Keep the tree that a slave has sent: NULL, or what went wrong. */
static const char *save_dtb(struct master *m, const struct sdm_hub_event *ev)
{
    GError *error = NULL;
    const char *text = NULL;
    char *buf;

    if (sdm_fd_check(ev->fd, ev->size, F_SEAL_SHRINK | F_SEAL_WRITE, NULL)) {
        return "its memfd is too small or not sealed";
    }
    if (ev->size > DTB_MAX) {
        return "it is larger than 2 MiB";
    }
    buf = g_malloc(ev->size);
    if (pread(ev->fd, buf, ev->size, 0) != (ssize_t)ev->size) {
        text = "its memfd cannot be read";
    } else if (!g_file_set_contents(m->dtb_file, buf, ev->size, &error)) {
        text = "the file cannot be written";
        g_error_free(error);
    }
    g_free(buf);
    return text;
}

static void print_answer(struct master *m, const struct sdm_hub_event *ev)
{
    const char *text = ev->text;
    struct sdmctl_line line;

    if (ev->request == SDM_WIRE_GET_DTB && ev->status == SDM_OK &&
        m->dtb_file) {
        text = save_dtb(m, ev);
    }
    sdmctl_line_begin(&line, m->ctl, "answer");
    sdmctl_line_number(&line, "id", ev->id);
    sdmctl_line_string(&line, "request", request_text(ev->request));
    sdmctl_line_status(&line, ev->status);
    sdmctl_line_string(&line, "text", text ? text : "");
    sdmctl_line_end(&line);
}

static void hub_event(void *opaque, const struct sdm_hub_event *ev)
{
    struct master *m = opaque;
    struct sdmctl_line line;

    switch (ev->type) {
    case SDM_HUB_JOINED:
        print_peer(m, "joined", ev->id, SDM_STATE_ABSENT);
        break;
    case SDM_HUB_STATE:
        print_peer(m, "state", ev->id, ev->old);
        break;
    case SDM_HUB_LEFT:
        close_channel(&m->channels[ev->id]);
        print_peer(m, "left", ev->id, ev->old);
        break;
    case SDM_HUB_ANSWER:
        print_answer(m, ev);
        break;
    case SDM_HUB_REJECTED:
        sdmctl_line_begin(&line, m->ctl, "rejected");
        sdmctl_line_number(&line, "id", ev->id);
        sdmctl_line_status(&line, ev->status);
        sdmctl_line_string(&line, "text", ev->text);
        sdmctl_line_end(&line);
        break;
    }
}

static void refused(void *opaque, const char *text)
{
    struct master *m = opaque;
    struct sdmctl_line line;

    sdmctl_line_begin(&line, m->ctl, "refused");
    sdmctl_line_string(&line, "text", text);
    sdmctl_line_end(&line);
}

static const struct sdm_libevent_hub_ops hub_ops = {
    .grant = grant,
    .event = hub_event,
    .counters = counters,
    .refused = refused,
};

/* ----------------------------------------------------------------- commands */

static gboolean parse_id(struct master *m, const char *text, uint32_t *id,
                         GError **error)
{
    uint64_t value;

    if (!sdmctl_parse_u64(text, "slave id", &value, error)) {
        return FALSE;
    }
    if (value < 1 ||
        value > sdm_libevent_hub_core(m->hub)->num_slaves) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "slave id %s: give 1 to %u", text,
                    sdm_libevent_hub_core(m->hub)->num_slaves);
        return FALSE;
    }
    *id = value;
    return TRUE;
}

/*
 * The window for slave @id: its fixed one, or the one at offset @text of the
 * size that the slave asked for.
 */
static gboolean find_window(struct master *m, uint32_t id, const char *text,
                            struct sdm_window *w, GError **error)
{
    const struct sdm_peer *peer =
        sdm_hub_peer(sdm_libevent_hub_core(m->hub), id);

    if (id <= m->region.nwindows) {
        *w = m->region.windows[id - 1];
        return TRUE;
    }
    if (!text || !strcmp(text, "-")) {
        return fail(error, "without --windows an offset must be given");
    }
    w->size = peer->ram_size;
    return sdmctl_parse_u64(text, "offset", &w->offset, error);
}

/* Where we have it mapped, or NULL: not inside the memory. */
static char *window_address(struct master *m, const struct sdm_window *w,
                            GError **error)
{
    if (sdm_window_check(w, m->region.size, m->region.page_size)) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the window at 0x%" G_GINT64_MODIFIER "x of %"
                    G_GUINT64_FORMAT " bytes is not in the memory, or not of "
                    "whole pages", w->offset, w->size);
        return NULL;
    }
    return (char *)m->region.addr + w->offset;
}

static gboolean ask(struct master *m, uint32_t id, uint16_t type,
                    const struct sdm_window *w, GError **error)
{
    struct sdm_text why;
    uint32_t seq, status;

    status = sdm_libevent_hub_request(m->hub, id, type, w, request_ms, &seq,
                                      &why);
    if (status != SDM_OK) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED, "%s: %s",
                    request_text(type), why.buf);
        return FALSE;
    }
    return TRUE;
}

/* boot ID [OFFSET [SIZE]] */
static gboolean do_boot(struct master *m, int argc, char **argv,
                        GError **error)
{
    struct sdm_window w;
    uint32_t id;

    return parse_id(m, argv[0], &id, error) &&
           find_window(m, id, argc > 1 ? argv[1] : NULL, &w, error) &&
           (argc < 2 || !strcmp(argv[1], "-") ||
            sdmctl_parse_u64(argv[1], "offset", &w.offset, error)) &&
           (argc < 3 ||
            sdmctl_parse_u64(argv[2], "size", &w.size, error)) &&
           ask(m, id, SDM_WIRE_BOOT, &w, error);
}

static gboolean do_request(struct master *m, uint16_t type, char **argv,
                           GError **error)
{
    uint32_t id;

    return parse_id(m, argv[0], &id, error) && ask(m, id, type, NULL, error);
}

/* dtb ID [FILE] */
static gboolean do_dtb(struct master *m, int argc, char **argv,
                       GError **error)
{
    g_free(m->dtb_file);
    m->dtb_file = argc > 1 ? g_strdup(argv[1]) : NULL;
    return do_request(m, SDM_WIRE_GET_DTB, argv, error);
}

/* record ID [OFFSET|- [MACHINE|bad]]: a record that starts at the window */
static gboolean do_record(struct master *m, int argc, char **argv,
                          GError **error)
{
    struct sdm_boot_entry entry;
    const struct sdm_peer *peer;
    struct sdm_window w;
    uint16_t machine;
    uint32_t id;
    char *addr;

    if (!parse_id(m, argv[0], &id, error) ||
        !find_window(m, id, argc > 1 ? argv[1] : NULL, &w, error)) {
        return FALSE;
    }
    addr = window_address(m, &w, error);
    if (!addr) {
        return FALSE;
    }
    addr += w.size - SDM_BOOT_PAGE;
    if (argc > 2 && !strcmp(argv[2], "bad")) {
        memset(addr, 0x5a, SDM_BOOT_PAGE);
        return TRUE;
    }
    peer = sdm_hub_peer(sdm_libevent_hub_core(m->hub), id);
    machine = peer->machine;
    if (argc > 2 && !sdmctl_parse_machine(argv[2], &machine, error)) {
        return FALSE;
    }
    memset(&entry, 0, sizeof(entry));
    entry.machine = machine;
    entry.entry = peer->ram_base;
    sdm_boot_record_write(addr, &entry);
    return TRUE;
}

/* load ID OFFSET|- KERNEL DTB [INITRD|- [APPEND]] */
static gboolean do_load(struct master *m, int argc, char **argv,
                        GError **error)
{
    struct sdm_boot_images images;
    const struct sdm_peer *peer;
    char *files[3] = { NULL };
    gsize sizes[3] = { 0 };
    struct sdm_window w;
    struct sdm_text why;
    gboolean ok = TRUE;
    uint32_t id;
    char *addr;
    int i;

    if (!parse_id(m, argv[0], &id, error) ||
        !find_window(m, id, argv[1], &w, error)) {
        return FALSE;
    }
    addr = window_address(m, &w, error);
    if (!addr) {
        return FALSE;
    }
    for (i = 0; ok && i < 3 && i + 2 < argc; i++) {
        if (strcmp(argv[i + 2], "-")) {
            ok = g_file_get_contents(argv[i + 2], &files[i], &sizes[i],
                                     error);
        }
    }
    peer = sdm_hub_peer(sdm_libevent_hub_core(m->hub), id);
    if (ok) {
        memset(&images, 0, sizeof(images));
        images.kernel = files[0];
        images.kernel_size = sizes[0];
        images.dtb = files[1];
        images.dtb_size = sizes[1];
        images.initrd = files[2];
        images.initrd_size = sizes[2];
        images.append = argc > 5 ? argv[5] : NULL;
        if (sdm_boot_load(&images, peer->machine, peer->ram_base, addr,
                          w.size, &why) != SDM_OK) {
            ok = fail(error, why.buf);
        }
    }
    for (i = 0; i < 3; i++) {
        g_free(files[i]);
    }
    return ok;
}

/* signal ID TYPE [P0 [P1]] */
static gboolean do_signal(struct master *m, int argc, char **argv,
                          GError **error)
{
    struct sdm_signal sig;
    struct channel *c;
    uint32_t id, status;

    if (!parse_id(m, argv[0], &id, error) ||
        !sdmctl_parse_signal(argc - 1, argv + 1, id, &sig, error)) {
        return FALSE;
    }
    c = &m->channels[id];
    status = sdm_hub_peer(sdm_libevent_hub_core(m->hub), id)->conn >= 0 &&
             c->ring ? sdmctl_ring_send(c->ring, &sig) : SDM_ERR_NO_PEER;
    if (status != SDM_OK) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                    "the signal was not sent to slave %u: %s", id,
                    sdm_status_text(status));
        return FALSE;
    }
    c->sent++;
    return TRUE;
}

/* drop ID: close its connection */
static gboolean do_drop(struct master *m, char **argv, GError **error)
{
    struct sdm_hub *core = sdm_libevent_hub_core(m->hub);
    uint32_t id;

    if (!parse_id(m, argv[0], &id, error)) {
        return FALSE;
    }
    if (sdm_hub_peer(core, id)->conn < 0) {
        return fail(error, "nobody is connected there");
    }
    sdm_hub_reject(core, sdm_hub_peer(core, id)->conn, SDM_ERR_DENIED,
                   "the user of the master has closed the connection");
    return TRUE;
}

static gboolean command(void *opaque, int argc, char **argv, GError **error)
{
    struct master *m = opaque;
    const char *what = argv[0];

    argc--;
    argv++;
    if (!strcmp(what, "quit") && !argc) {
        sdmctl_end(m->ctl, SDMCTL_OK, NULL);
        return TRUE;
    }
    if (!strcmp(what, "boot") && argc >= 1 && argc <= 3) {
        return do_boot(m, argc, argv, error);
    }
    if (!strcmp(what, "reset") && argc == 1) {
        return do_request(m, SDM_WIRE_RESET, argv, error);
    }
    if (!strcmp(what, "stop") && argc == 1) {
        return do_request(m, SDM_WIRE_STOP, argv, error);
    }
    if (!strcmp(what, "dtb") && argc >= 1 && argc <= 2) {
        return do_dtb(m, argc, argv, error);
    }
    if (!strcmp(what, "record") && argc >= 1 && argc <= 3) {
        return do_record(m, argc, argv, error);
    }
    if (!strcmp(what, "load") && argc >= 4 && argc <= 6) {
        return do_load(m, argc, argv, error);
    }
    if (!strcmp(what, "signal") && argc >= 2 && argc <= 4) {
        return do_signal(m, argc, argv, error);
    }
    if (!strcmp(what, "drop") && argc == 1) {
        return do_drop(m, argv, error);
    }
    g_set_error(error, SDMCTL_ERROR, SDMCTL_FAILED,
                "'%s' with %d arguments: no such command; see sdmctl(1)",
                what, argc);
    return FALSE;
}

/* -------------------------------------------------------------------- serve */

static gboolean parse_windows(uint64_t *windows, unsigned *n, GError **error)
{
    char **words = g_strsplit(windows_text, ":", 0);
    gboolean ok = TRUE;
    unsigned i;

    if (g_strv_length(words) > SDM_MAX_SLAVES) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--windows lists %u windows, the limit is %u",
                    g_strv_length(words), SDM_MAX_SLAVES);
        ok = FALSE;
    }
    for (i = 0; ok && words[i]; i++) {
        ok = sdmctl_parse_u64(words[i], "--windows", &windows[i], error);
    }
    *n = i;
    g_strfreev(words);
    return ok;
}

static gboolean make_region(struct master *m, GError **error)
{
    struct sdm_region_config config = {
        .mem_path = mem_path, .seal = !no_seal,
    };
    uint64_t windows[SDM_MAX_SLAVES];
    struct sdm_text why;

    if (!size_text) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "serve needs --size=SIZE, the size of the memory");
        return FALSE;
    }
    if (!sdmctl_parse_u64(size_text, "--size", &config.size, error) ||
        (hugetlbsize_text &&
         !sdmctl_parse_u64(hugetlbsize_text, "--hugetlbsize",
                           &config.hugetlbsize, error)) ||
        (windows_text &&
         !parse_windows(windows, &config.nwindows, error))) {
        return FALSE;
    }
    config.windows = windows;
    if (sdm_region_create(&m->region, &config, &why)) {
        return fail(error, why.buf);
    }
    return TRUE;
}

static gboolean make_hub(struct master *m, uint32_t slaves, GError **error)
{
    struct sdm_hub *core;
    struct sdm_text why;
    uint32_t i;

    if (sdm_libevent_hub_new(m->ctl->base, m->ctl->path, slaves, &hub_ops, m,
                             &m->hub, &why)) {
        return fail(error, why.buf);
    }
    core = sdm_libevent_hub_core(m->hub);
    sdm_hub_memory(core, m->region.size, m->region.page_size);
    for (i = 1; i <= m->region.nwindows && i <= slaves; i++) {
        sdm_hub_fixed_window(core, i, &m->region.windows[i - 1]);
    }
    return TRUE;
}

static void print_ready(struct master *m, uint32_t slaves)
{
    struct sdmctl_line line;

    sdmctl_line_begin(&line, m->ctl, "ready");
    sdmctl_line_string(&line, "path", m->ctl->path);
    sdmctl_line_number(&line, "num-slaves", slaves);
    sdmctl_line_size(&line, "memory-size", m->region.size);
    sdmctl_line_size(&line, "page-size", m->region.page_size);
    sdmctl_line_number(&line, "sealed", m->region.sealed);
    sdmctl_line_end(&line);
}

static gboolean run(struct master *m, GError **error)
{
    int slaves = num_slaves;
    gboolean ok;

    if (!make_region(m, error)) {
        return FALSE;
    }
    if (!slaves) {
        slaves = m->region.nwindows ? m->region.nwindows : 1;
    }
    if (slaves < 1 || slaves > (int)SDM_MAX_SLAVES) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--num-slaves=%d: give 1 to %u", slaves, SDM_MAX_SLAVES);
        return FALSE;
    }
    if (request_ms < 1) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--request-timeout=%d: give a number from 1", request_ms);
        return FALSE;
    }
    if (!make_hub(m, slaves, error)) {
        return FALSE;
    }
    print_ready(m, slaves);
    m->in = sdmctl_stdin_new(m->ctl, command, m);
    ok = sdmctl_loop(m->ctl, error);
    sdmctl_stdin_free(m->in);
    return ok;
}

gboolean sdmctl_serve(struct sdmctl *ctl, GError **error)
{
    struct master *m = g_new0(struct master, 1);
    gboolean ok;
    unsigned i;

    m->ctl = ctl;
    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        m->channels[i].m = m;
        m->channels[i].id = i;
        memset(m->channels[i].fds, -1, sizeof(m->channels[i].fds));
    }
    ok = run(m, error);
    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        close_channel(&m->channels[i]);
    }
    sdm_libevent_hub_free(m->hub);
    sdm_region_destroy(&m->region);
    g_free(m->dtb_file);
    g_free(m);
    return ok;
}
