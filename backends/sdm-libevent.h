/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hub and the link bound to libevent: sockets, time limits, looking for a
 * master again. Thin: who may do what is decided in sdm-hub.h and sdm-link.h.
 *
 * Everything runs in the thread of the event base, and nothing blocks. No
 * callback may free the object that calls it: end the loop, and free it then.
 *
 * Plain events and recvmsg(). Rejected: bufferevents - they read with readv(),
 * which drops the fds that a packet carries.
 */
#ifndef SDM_LIBEVENT_H
#define SDM_LIBEVENT_H

#include "sdm/sdm-hub.h"
#include "sdm/sdm-link.h"

struct event_base;

/* ------------------------------------------------------------- the master */

struct sdm_libevent_hub;

/**
 * struct sdm_libevent_hub_ops - what the hub's user does
 * @grant, @event, @counters: as in struct sdm_hub_ops
 * @refused: a connection was not even accepted: @text says whose and why, or
 *           that there are too many, or too few fds. Called once a second at
 *           most for the latter
 * @hello_ms: how long a connection may stay without HELLO, milliseconds; 0:
 *           SDM_LIBEVENT_HELLO_MS
 */
struct sdm_libevent_hub_ops {
    uint32_t (*grant)(void *opaque, uint32_t id, uint64_t ram_size,
                      struct sdm_grant *grant, const char **text);
    void (*event)(void *opaque, const struct sdm_hub_event *event);
    void (*counters)(void *opaque, uint32_t id, uint64_t *sent,
                     uint64_t *taken, uint64_t *refused);
    void (*refused)(void *opaque, const char *text);
    unsigned hello_ms;
};

/**
 * sdm_libevent_hub_new() - listen at @path
 * @num_slaves: 1..SDM_MAX_SLAVES
 * @ops:  borrowed for the hub's life; @counters may be NULL
 * @hub:  out
 * @why:  on error, a text
 *
 * Returns: 0; -ENOMEM; or as sdm_socket_listen()
 */
int sdm_libevent_hub_new(struct event_base *base, const char *path,
                         uint32_t num_slaves,
                         const struct sdm_libevent_hub_ops *ops, void *opaque,
                         struct sdm_libevent_hub **hub, struct sdm_text *why);

/** sdm_libevent_hub_free() - close all and unlink; no callback comes. NULL ok */
void sdm_libevent_hub_free(struct sdm_libevent_hub *hub);

/** sdm_libevent_hub_core() - the hub itself, for sdm-hub.h's functions. */
struct sdm_hub *sdm_libevent_hub_core(struct sdm_libevent_hub *hub);

/**
 * sdm_libevent_hub_request() - sdm_hub_request() with a time limit
 * @timeout_ms: from 1; it is then answered with SDM_ERR_TIMEOUT
 * Returns: as sdm_hub_request()
 */
uint32_t sdm_libevent_hub_request(struct sdm_libevent_hub *hub, uint32_t id,
                                  uint16_t type,
                                  const struct sdm_window *window,
                                  unsigned timeout_ms, uint32_t *seq,
                                  struct sdm_text *why);

#define SDM_LIBEVENT_HELLO_MS  5000

/* --------------------------------------------------- a slave or an observer */

struct sdm_libevent_link;

/**
 * struct sdm_libevent_link_ops - what the link's user does
 * @event: as in struct sdm_link_ops
 * @lost:  the connection is over. @refused: 1 after SDM_LINK_ERROR.
 *         Returns: 1 to look for a master again, 0 to stay down
 * @absent: there is no master (@text says where), and it is being looked for;
 *         said once, until one was found
 * @failed: looking has ended with @error (a positive errno), @text; it may be
 *         started again
 */
struct sdm_libevent_link_ops {
    void (*event)(void *opaque, struct sdm_link_event *event);
    int (*lost)(void *opaque, int refused);
    void (*absent)(void *opaque, const char *text);
    void (*failed)(void *opaque, int error, const char *text);
};

/**
 * sdm_libevent_link_new() - not connected yet
 * @hello: as for sdm_link_init()
 * @ops:   borrowed for the link's life
 * Returns: the link, or NULL: no memory
 */
struct sdm_libevent_link *
sdm_libevent_link_new(struct event_base *base, const char *path,
                      const struct sdm_msg *hello,
                      const struct sdm_libevent_link_ops *ops, void *opaque);

/** sdm_libevent_link_free() - close it; no callback comes. NULL ok */
void sdm_libevent_link_free(struct sdm_libevent_link *link);

/**
 * sdm_libevent_link_start() - connect and say HELLO
 * @wait: 1: if there is no master, try every SDM_LIBEVENT_RETRY_MS (@absent)
 * @why:  on error, a text
 * Returns: 0: connected, or waiting; or as sdm_socket_connect()
 */
int sdm_libevent_link_start(struct sdm_libevent_link *link, int wait,
                            struct sdm_text *why);

/** sdm_libevent_link_core() - the link itself, for sdm-link.h's functions. */
struct sdm_link *sdm_libevent_link_core(struct sdm_libevent_link *link);

/*
 * A timer, not inotify: a connect() that fails costs microseconds, and a watch
 * would need the directory to exist, and a timer besides (the socket file is
 * there before anyone listens at it).
 */
#define SDM_LIBEVENT_RETRY_MS  100

#endif /* SDM_LIBEVENT_H */
