/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list and watch: an observer of the master's peer table. */
#include <stdio.h>
#include <string.h>
#include "backends/sdm-libevent.h"
#include "tools/sdmctl.h"

/**
 * struct observer - what both commands are
 * @rows: by id, as they came last; allocated at WELCOME
 * @seen: 1: all rows of the start are in
 */
struct observer {
    struct sdmctl *ctl;
    struct sdm_libevent_link *link;
    gboolean follow;
    struct sdm_msg welcome;
    struct sdm_msg rows[SDM_MAX_SLAVES + 1];
    int seen;
    int changes;
};

static int count;

const GOptionEntry sdmctl_list_options[] = {
    { 0 }
};

const GOptionEntry sdmctl_watch_options[] = {
    { "count", 0, 0, G_OPTION_ARG_INT, &count,
      "End after N changes (default: go on)", "N" },
    { 0 }
};

static void print_json(const struct observer *o)
{
    GString *out = g_string_new("{\"path\":");
    uint32_t id;

    sdmctl_json_string(out, o->ctl->path);
    g_string_append_printf(out, ",\"num-slaves\":%u,\"memory-size\":%"
                           G_GUINT64_FORMAT ",\"page-size\":%"
                           G_GUINT64_FORMAT ",\"peers\":[",
                           o->welcome.u.welcome.num_slaves,
                           o->welcome.u.welcome.memory_size,
                           o->welcome.u.welcome.page_size);
    for (id = 1; id <= o->welcome.u.welcome.num_slaves; id++) {
        if (id > 1) {
            g_string_append_c(out, ',');
        }
        sdmctl_json_peer(out, &o->rows[id]);
    }
    g_string_append(out, "]}");
    puts(out->str);
    g_string_free(out, TRUE);
}

static void print_table(const struct observer *o)
{
    struct sdm_text ram, offset, size;
    uint32_t id;

    printf("%-3s %-16s %-8s %-8s %7s %-10s %8s %-12s %8s %6s\n", "ID", "NAME",
           "STATE", "MACHINE", "PID", "RAM-BASE", "RAM", "WINDOW", "SIZE",
           "BOOTS");
    for (id = 1; id <= o->welcome.u.welcome.num_slaves; id++) {
        const struct sdm_msg *row = &o->rows[id];

        sdm_text_init(&ram);
        sdm_text_add_size(&ram, row->u.peer.ram_size);
        sdm_text_init(&offset);
        sdm_text_init(&size);
        if (row->u.peer.window_size) {
            sdm_text_add_hex(&offset, row->u.peer.window_offset);
            sdm_text_add_size(&size, row->u.peer.window_size);
        }
        printf("%-3u %-16s %-8s %-8s %7u 0x%-8" G_GINT64_MODIFIER
               "x %8s %-12s %8s %6" G_GUINT64_FORMAT "\n", id,
               row->u.peer.name[0] ? row->u.peer.name : "-",
               sdm_state_text(row->u.peer.state),
               row->u.peer.machine ? sdm_machine_text(row->u.peer.machine) :
                                     "-",
               row->u.peer.pid, row->u.peer.ram_base, ram.buf,
               size.len ? offset.buf : "-", size.len ? size.buf : "-",
               row->u.peer.boots);
    }
}

static void print_row(const struct observer *o, const struct sdm_msg *row,
                      const char *event)
{
    struct sdmctl_line line;

    sdmctl_line_begin(&line, o->ctl, event);
    sdmctl_line_number(&line, "id", row->u.peer.id);
    sdmctl_line_string(&line, "name", row->u.peer.name);
    sdmctl_line_string(&line, "state", sdm_state_text(row->u.peer.state));
    sdmctl_line_string(&line, "machine",
                       sdm_machine_text(row->u.peer.machine));
    sdmctl_line_number(&line, "pid", row->u.peer.pid);
    sdmctl_line_address(&line, "ram-base", row->u.peer.ram_base);
    sdmctl_line_size(&line, "ram-size", row->u.peer.ram_size);
    sdmctl_line_address(&line, "window-offset", row->u.peer.window_offset);
    sdmctl_line_size(&line, "window-size", row->u.peer.window_size);
    sdmctl_line_number(&line, "boots", row->u.peer.boots);
    sdmctl_line_number(&line, "sent", row->u.peer.sent);
    sdmctl_line_number(&line, "taken", row->u.peer.taken);
    sdmctl_line_number(&line, "refused", row->u.peer.refused);
    sdmctl_line_end(&line);
}

static void print_event(const struct observer *o, const char *event)
{
    struct sdmctl_line line;

    sdmctl_line_begin(&line, o->ctl, event);
    sdmctl_line_string(&line, "path", o->ctl->path);
    sdmctl_line_end(&line);
}

static void all_rows_are_in(struct observer *o)
{
    o->seen = 1;
    sdmctl_stop_timer(o->ctl);
    if (o->follow) {
        print_event(o, "ready");
        return;
    }
    if (o->ctl->json) {
        print_json(o);
    } else {
        print_table(o);
    }
    sdmctl_end(o->ctl, SDMCTL_OK, NULL);
}

static void take_row(struct observer *o, const struct sdm_msg *row)
{
    if (row->u.peer.id == 0) {
        all_rows_are_in(o);
        return;
    }
    if (row->u.peer.id > SDM_MAX_SLAVES) {
        return;
    }
    o->rows[row->u.peer.id] = *row;
    if (!o->follow) {
        return;
    }
    print_row(o, row, o->seen ? "change" : "peer");
    o->changes += o->seen;
    if (count && o->changes == count) {
        sdmctl_end(o->ctl, SDMCTL_OK, NULL);
    }
}

static void link_event(void *opaque, struct sdm_link_event *event)
{
    struct observer *o = opaque;

    switch (event->type) {
    case SDM_LINK_WELCOME:
        o->welcome = *event->msg;
        o->welcome.u.welcome.num_slaves =
            MIN(o->welcome.u.welcome.num_slaves, SDM_MAX_SLAVES);
        o->seen = 0;
        break;
    case SDM_LINK_PEER:
        take_row(o, event->msg);
        break;
    case SDM_LINK_ERROR:
        sdmctl_end(o->ctl, SDMCTL_FAILED, "the master at '%s' refused: %s",
                   o->ctl->path, event->msg->u.answer.text);
        break;
    default:
        break;
    }
}

static int link_lost(void *opaque, int refused)
{
    struct observer *o = opaque;

    if (!refused && o->ctl->wait) {
        if (o->follow) {
            print_event(o, "lost");
        }
        return 1;
    }
    sdmctl_end(o->ctl, SDMCTL_NO_MASTER, "the master at '%s' has gone",
               o->ctl->path);
    return 0;
}

static void link_absent(void *opaque, const char *text)
{
    struct observer *o = opaque;

    /* One may wait for a master as long as one likes. */
    sdmctl_stop_timer(o->ctl);
    g_printerr("sdmctl: %s; waiting for one\n", text);
}

static void link_failed(void *opaque, int error, const char *text)
{
    struct observer *o = opaque;

    (void)error;
    sdmctl_end(o->ctl, SDMCTL_FAILED, "%s", text);
}

static const struct sdm_libevent_link_ops link_ops = {
    .event = link_event,
    .lost = link_lost,
    .absent = link_absent,
    .failed = link_failed,
};

static gboolean observe(struct sdmctl *ctl, gboolean follow, GError **error)
{
    struct observer *o = g_new0(struct observer, 1);
    struct sdm_msg hello;
    struct sdm_text why;
    gboolean ok = FALSE;
    int ret;

    o->ctl = ctl;
    o->follow = follow;
    memset(&hello, 0, sizeof(hello));
    hello.u.hello.role = SDM_ROLE_OBSERVER;
    o->link = sdm_libevent_link_new(ctl->base, ctl->path, &hello, &link_ops,
                                    o);
    g_assert(o->link);
    sdmctl_start_timer(ctl);
    ret = sdm_libevent_link_start(o->link, ctl->wait, &why);
    if (ret) {
        sdmctl_link_error(ret, &why, error);
    } else {
        ok = sdmctl_loop(ctl, error);
    }
    sdm_libevent_link_free(o->link);
    g_free(o);
    return ok;
}

gboolean sdmctl_list(struct sdmctl *ctl, GError **error)
{
    return observe(ctl, FALSE, error);
}

gboolean sdmctl_watch(struct sdmctl *ctl, GError **error)
{
    if (count < 0) {
        g_set_error(error, SDMCTL_ERROR, SDMCTL_USAGE,
                    "--count=%d: give a number from 1", count);
        return FALSE;
    }
    return observe(ctl, TRUE, error);
}
