/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines out, and lines in. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <event2/buffer.h>
#include "tools/sdmctl.h"

#define LINE_MAX_BYTES  65536

struct sdmctl_stdin {
    struct sdmctl *ctl;
    struct event *event;
    struct evbuffer *buffer;
    gboolean (*command)(void *opaque, int argc, char **argv, GError **error);
    void *opaque;
};

/* ------------------------------------------------------------------- output */

void sdmctl_json_string(GString *out, const char *value)
{
    const char *p;

    g_string_append_c(out, '"');
    for (p = value; *p; p++) {
        if (*p == '"' || *p == '\\') {
            g_string_append_c(out, '\\');
            g_string_append_c(out, *p);
        } else if ((unsigned char)*p < 0x20) {
            g_string_append_printf(out, "\\u%04x", (unsigned)*p);
        } else {
            g_string_append_c(out, *p);
        }
    }
    g_string_append_c(out, '"');
}

static void json_key(GString *out, const char *key)
{
    if (out->str[out->len - 1] != '{') {
        g_string_append_c(out, ',');
    }
    sdmctl_json_string(out, key);
    g_string_append_c(out, ':');
}

static void json_number(GString *out, const char *key, uint64_t value)
{
    json_key(out, key);
    g_string_append_printf(out, "%" G_GUINT64_FORMAT, value);
}

void sdmctl_json_peer(GString *out, const struct sdm_msg *row)
{
    g_string_append_c(out, '{');
    json_number(out, "id", row->u.peer.id);
    json_key(out, "name");
    sdmctl_json_string(out, row->u.peer.name);
    json_key(out, "state");
    sdmctl_json_string(out, sdm_state_text(row->u.peer.state));
    json_key(out, "machine");
    sdmctl_json_string(out, sdm_machine_text(row->u.peer.machine));
    json_number(out, "pid", row->u.peer.pid);
    json_number(out, "ram-base", row->u.peer.ram_base);
    json_number(out, "ram-size", row->u.peer.ram_size);
    json_number(out, "window-offset", row->u.peer.window_offset);
    json_number(out, "window-size", row->u.peer.window_size);
    json_number(out, "boots", row->u.peer.boots);
    json_number(out, "sent", row->u.peer.sent);
    json_number(out, "taken", row->u.peer.taken);
    json_number(out, "refused", row->u.peer.refused);
    g_string_append_c(out, '}');
}

void sdmctl_line_begin(struct sdmctl_line *line, const struct sdmctl *ctl,
                       const char *event)
{
    line->json = ctl->json;
    line->text = g_string_new(line->json ? "{" : event);
    if (line->json) {
        sdmctl_line_string(line, "event", event);
    } else {
        g_string_append_c(line->text, ':');
    }
}

void sdmctl_line_string(struct sdmctl_line *line, const char *key,
                        const char *value)
{
    if (line->json) {
        json_key(line->text, key);
    } else {
        g_string_append_printf(line->text, " %s=", key);
    }
    if (line->json || !*value || strpbrk(value, " \"\\")) {
        sdmctl_json_string(line->text, value);
    } else {
        g_string_append(line->text, value);
    }
}

void sdmctl_line_number(struct sdmctl_line *line, const char *key,
                        uint64_t value)
{
    if (line->json) {
        json_number(line->text, key, value);
    } else {
        g_string_append_printf(line->text, " %s=%" G_GUINT64_FORMAT, key,
                               value);
    }
}

void sdmctl_line_address(struct sdmctl_line *line, const char *key,
                         uint64_t value)
{
    if (line->json) {
        json_number(line->text, key, value);
    } else {
        g_string_append_printf(line->text, " %s=0x%" G_GINT64_MODIFIER "x",
                               key, value);
    }
}

void sdmctl_line_size(struct sdmctl_line *line, const char *key,
                      uint64_t value)
{
    struct sdm_text size;

    if (line->json) {
        json_number(line->text, key, value);
    } else {
        sdm_text_init(&size);
        sdm_text_add_size(&size, value);
        sdmctl_line_string(line, key, size.buf);
    }
}

void sdmctl_line_status(struct sdmctl_line *line, uint32_t status)
{
    sdmctl_line_number(line, "status", status);
    sdmctl_line_string(line, "status-text", sdm_status_text(status));
}

void sdmctl_line_signal(struct sdmctl_line *line,
                        const struct sdm_signal *sig)
{
    sdmctl_line_number(line, "type", sdm_from_le32(sig->type));
    sdmctl_line_number(line, "source", sdm_from_le16(sig->source));
    sdmctl_line_number(line, "target", sdm_from_le16(sig->target));
    sdmctl_line_number(line, "cookie", sdm_from_le32(sig->cookie));
    sdmctl_line_address(line, "p0", sdm_from_le64(sig->payload[0]));
    sdmctl_line_address(line, "p1", sdm_from_le64(sig->payload[1]));
}

void sdmctl_line_end(struct sdmctl_line *line)
{
    puts(line->json ? g_string_append_c(line->text, '}')->str :
                      line->text->str);
    fflush(stdout);
    g_string_free(line->text, TRUE);
}

/* -------------------------------------------------------------------- input */

static void run_line(struct sdmctl_stdin *in, const char *text)
{
    struct sdmctl_line line;
    GError *error = NULL;
    char **argv = NULL;
    int argc = 0;

    if (!g_shell_parse_argv(text, &argc, &argv, &error)) {
        if (g_error_matches(error, G_SHELL_ERROR,
                            G_SHELL_ERROR_EMPTY_STRING)) {
            g_error_free(error);
            return;
        }
    } else {
        in->command(in->opaque, argc, argv, &error);
    }
    if (error) {
        sdmctl_line_begin(&line, in->ctl, "error");
        sdmctl_line_string(&line, "text", error->message);
        sdmctl_line_end(&line);
        g_error_free(error);
    }
    g_strfreev(argv);
}

static void stdin_readable(evutil_socket_t fd, short what, void *opaque)
{
    struct sdmctl_stdin *in = opaque;
    char *text;
    int n;

    (void)what;
    n = evbuffer_read(in->buffer, fd, -1);
    while ((text = evbuffer_readln(in->buffer, NULL, EVBUFFER_EOL_CRLF))) {
        run_line(in, text);
        free(text);
    }
    if (n <= 0 || evbuffer_get_length(in->buffer) > LINE_MAX_BYTES) {
        event_del(in->event);
    }
}

struct sdmctl_stdin *sdmctl_stdin_new(struct sdmctl *ctl,
                                      gboolean (*command)(void *opaque,
                                                          int argc,
                                                          char **argv,
                                                          GError **error),
                                      void *opaque)
{
    struct sdmctl_stdin *in = g_new0(struct sdmctl_stdin, 1);

    in->ctl = ctl;
    in->command = command;
    in->opaque = opaque;
    in->buffer = evbuffer_new();
    in->event = event_new(ctl->base, STDIN_FILENO, EV_READ | EV_PERSIST,
                          stdin_readable, in);
    event_add(in->event, NULL);
    return in;
}

void sdmctl_stdin_free(struct sdmctl_stdin *in)
{
    if (in) {
        event_free(in->event);
        evbuffer_free(in->buffer);
        g_free(in);
    }
}
