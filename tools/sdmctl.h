/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of sdmctl share. */
#ifndef SDMCTL_H
#define SDMCTL_H

#include <stdint.h>
#include <event2/event.h>
#include <glib.h>
#include "sdm/sdm-codec.h"
#include "sdm/sdm-text.h"

/* Exit statuses; also the codes of errors of the domain SDMCTL_ERROR. */
enum {
    SDMCTL_OK = 0,
    SDMCTL_FAILED = 1,      /* refused by the master, or failed here */
    SDMCTL_USAGE = 2,
    SDMCTL_NO_MASTER = 3,   /* none at the path, or it has gone */
};

#define SDMCTL_ERROR  sdmctl_error_quark()

GQuark sdmctl_error_quark(void);

/**
 * struct sdmctl - one run of the program
 * @path:  of the socket
 * @wait:  wait for a master that is not there, and for the next one
 * @error: why the loop was ended; NULL: as asked for
 */
struct sdmctl {
    struct event_base *base;
    const char *path;
    gboolean json;
    gboolean wait;
    gboolean exit_with_parent;
    int timeout_s;
    struct event *timer;
    GError *error;
};

/* ---- sdmctl.c ---- */

/** sdmctl_end() - end the loop; @format NULL: successfully. First call wins. */
void sdmctl_end(struct sdmctl *ctl, int status, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/** sdmctl_start_timer() - end the loop as failed after --timeout seconds. */
void sdmctl_start_timer(struct sdmctl *ctl);

/** sdmctl_stop_timer() - what was waited for has come. */
void sdmctl_stop_timer(struct sdmctl *ctl);

/**
 * sdmctl_loop() - run until sdmctl_end(), SIGINT or SIGTERM
 * Returns: TRUE, or FALSE with the error that ended it
 */
gboolean sdmctl_loop(struct sdmctl *ctl, GError **error);

/**
 * sdmctl_parse_u64() - a number, decimal or 0x..., with K, M, G or T behind it
 * @what: what it is, for the error
 */
gboolean sdmctl_parse_u64(const char *text, const char *what, uint64_t *value,
                          GError **error);

/** sdmctl_parse_machine() - ELF e_machine for arm, aarch64 or x86_64. */
gboolean sdmctl_parse_machine(const char *text, uint16_t *machine,
                              GError **error);

/** sdmctl_link_error() - what sdm_libevent_link_start() has returned. */
void sdmctl_link_error(int ret, const struct sdm_text *why, GError **error);

/* ---- sdmctl-io.c ---- */

/**
 * struct sdmctl_line - one line of output: an event, or a row
 * With --json an object, else "event: key=value key=value".
 */
struct sdmctl_line {
    GString *text;
    gboolean json;
};

void sdmctl_line_begin(struct sdmctl_line *line, const struct sdmctl *ctl,
                       const char *event);
void sdmctl_line_string(struct sdmctl_line *line, const char *key,
                        const char *value);
void sdmctl_line_number(struct sdmctl_line *line, const char *key,
                        uint64_t value);
/** sdmctl_line_address() - as a number, but 0x... in plain text. */
void sdmctl_line_address(struct sdmctl_line *line, const char *key,
                         uint64_t value);
/** sdmctl_line_size() - as a number, but "512 MiB" in plain text. */
void sdmctl_line_size(struct sdmctl_line *line, const char *key,
                      uint64_t value);
/** sdmctl_line_status() - SDM_OK or SDM_ERR_*: its number and its text. */
void sdmctl_line_status(struct sdmctl_line *line, uint32_t status);
/** sdmctl_line_signal() - the fields of @sig. */
void sdmctl_line_signal(struct sdmctl_line *line,
                        const struct sdm_signal *sig);
/** sdmctl_line_end() - print it, at once, and free it. */
void sdmctl_line_end(struct sdmctl_line *line);

/** sdmctl_json_string() - append @value with quotes and escapes. */
void sdmctl_json_string(GString *out, const char *value);

/** sdmctl_json_peer() - append an object with the fields of a peer's row. */
void sdmctl_json_peer(GString *out, const struct sdm_msg *row);

struct sdmctl_stdin;

/**
 * sdmctl_stdin_new() - call @command for each line of the standard input
 * @command: argv as a shell would split the line; at least one word. What it
 *           says in *@error is printed as an event "error", and it goes on
 * The end of the input only ends the commands.
 */
struct sdmctl_stdin *sdmctl_stdin_new(struct sdmctl *ctl,
                                      gboolean (*command)(void *opaque,
                                                          int argc,
                                                          char **argv,
                                                          GError **error),
                                      void *opaque);
void sdmctl_stdin_free(struct sdmctl_stdin *in);

/* ---- sdmctl-ring.c ---- */

struct sdmctl_ring;

/**
 * sdmctl_ring_new() - our end of a pair of rings
 * @ring_fd: memfd of a struct sdm_ring_pair, checked here; borrowed
 * @wait_fd, @kick_fd: eventfds; borrowed, and they must outlive the ring
 * @master:  1: our end is the master's
 * @taken:   called for each signal that comes; must not free the ring
 * @broken:  the peer has broken the ring, which is not used any more; told
 *           once, from the loop; may free it
 *
 * Returns: NULL with @error
 */
struct sdmctl_ring *sdmctl_ring_new(struct event_base *base, int ring_fd,
                                    int wait_fd, int kick_fd, int master,
                                    void (*taken)(void *opaque,
                                                  const struct sdm_signal *),
                                    void (*broken)(void *opaque),
                                    void *opaque, GError **error);
void sdmctl_ring_free(struct sdmctl_ring *ring);

/** sdmctl_ring_send() - Returns: SDM_OK, SDM_ERR_BUSY: full, SDM_ERR_GONE. */
uint32_t sdmctl_ring_send(struct sdmctl_ring *ring,
                          const struct sdm_signal *sig);

/**
 * sdmctl_parse_signal() - "TYPE PAYLOAD0 PAYLOAD1"
 * @argv: one to three words
 */
gboolean sdmctl_parse_signal(int argc, char **argv, uint16_t target,
                             struct sdm_signal *sig, GError **error);

/* ---- the commands ---- */

extern const GOptionEntry sdmctl_list_options[];
gboolean sdmctl_list(struct sdmctl *ctl, GError **error);

extern const GOptionEntry sdmctl_watch_options[];
gboolean sdmctl_watch(struct sdmctl *ctl, GError **error);

extern const GOptionEntry sdmctl_join_options[];
gboolean sdmctl_join(struct sdmctl *ctl, GError **error);

extern const GOptionEntry sdmctl_serve_options[];
gboolean sdmctl_serve(struct sdmctl *ctl, GError **error);

/** sdmctl_fault() - join --fault: misbehave, see sdmctl-fault.c. */
gboolean sdmctl_fault(struct sdmctl *ctl, const char *fault,
                      const struct sdm_msg *hello, GError **error);

/** sdmctl_fault_name() - name of fault number @i, or NULL: no more. */
const char *sdmctl_fault_name(unsigned i);

#endif /* SDMCTL_H */
