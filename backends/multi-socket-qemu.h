/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * multi-socket-backend: the control socket in QEMU's main loop. With listen=on
 * it is the master's hub, else the connecting side of one slave. It decides
 * nothing: sdm/sdm-hub.c and sdm/sdm-link.c do.
 *
 * Everything here runs in the main loop under the big lock.
 */
#ifndef MULTI_SOCKET_QEMU_H
#define MULTI_SOCKET_QEMU_H

#include "qom/object.h"
#include "qemu/queue.h"
#include "sdm/sdm-hub.h"
#include "sdm/sdm-link.h"

#define TYPE_MULTI_SOCKET "multi-socket-backend"
OBJECT_DECLARE_SIMPLE_TYPE(MultiSocket, MULTI_SOCKET)

/* How long a slave may take to answer a request. */
#define MULTI_SOCKET_TIMEOUT_MS 30000

typedef struct MultiSocketClient MultiSocketClient;

/**
 * struct MultiSocketClient - somebody who adds to the handshake or listens
 * @grant:     master: fill in one's part of what slave @id is given; fds stay
 *             the client's. SDM_OK, or SDM_ERR_* with @text
 * @hub_event: master: see sdm-hub.h
 * @welcome:   slave: admitted; set an entry of @fds to -1 to keep it
 * @request:   slave: the master asks; true: taken, will be answered
 * @lost:      slave: the master is gone
 * @counters:  master: for observers and query-sdm
 * Any may be NULL.
 */
struct MultiSocketClient {
    uint32_t (*grant)(MultiSocketClient *c, uint32_t id, uint64_t ram_size,
                      struct sdm_grant *grant, const char **text);
    void (*hub_event)(MultiSocketClient *c, const struct sdm_hub_event *ev);
    void (*welcome)(MultiSocketClient *c, const struct sdm_msg *msg, int *fds);
    bool (*request)(MultiSocketClient *c, const struct sdm_msg *msg);
    void (*lost)(MultiSocketClient *c);
    void (*counters)(MultiSocketClient *c, uint32_t id, uint64_t *sent,
                     uint64_t *taken, uint64_t *refused);
    QLIST_ENTRY(MultiSocketClient) next;
};

/**
 * multi_socket_find() - resolve a socket= property
 * @id: object id as the user gave it; may be NULL (an error)
 * Returns: the object with a reference taken, or NULL with @errp
 */
MultiSocket *multi_socket_find(const char *id, const char *owner,
                               Error **errp);

/** multi_socket_is_master() - was it given listen=on? */
bool multi_socket_is_master(const MultiSocket *s);

/** multi_socket_add() - attach; the object cannot be deleted meanwhile. */
void multi_socket_add(MultiSocket *s, MultiSocketClient *client);
void multi_socket_remove(MultiSocket *s, MultiSocketClient *client);

/**
 * multi_socket_set_num_slaves() - from the device; before the first HELLO
 * Returns: false with @errp if @n is out of 1..SDM_MAX_SLAVES, or below the id
 * of a slave that is connected
 */
bool multi_socket_set_num_slaves(MultiSocket *s, uint32_t n, Error **errp);
uint32_t multi_socket_num_slaves(const MultiSocket *s);

/** multi_socket_hub() - the master's hub, for its rows; NULL on a slave. */
struct sdm_hub *multi_socket_hub(MultiSocket *s);

/** multi_socket_features() - master and slave: add signal types offered. */
void multi_socket_add_features(MultiSocket *s, uint32_t features);

/** multi_socket_path() - the path, for messages. */
const char *multi_socket_path(const MultiSocket *s);

/**
 * typedef MultiSocketDone - a request ended
 * @fd: lent (GET_DTB), else -1; @text valid during the call
 */
typedef void MultiSocketDone(void *opaque, uint32_t status, const char *text,
                             int fd, uint64_t size);

/**
 * multi_socket_request() - master: ask slave @id, with a time limit
 * @done: called once, later, unless an error is returned
 * @why:  filled on error
 * Returns: SDM_OK or what sdm_hub_request() returns
 */
uint32_t multi_socket_request(MultiSocket *s, uint32_t id, uint16_t type,
                              const struct sdm_window *window,
                              MultiSocketDone *done, void *opaque,
                              struct sdm_text *why);

/**
 * multi_socket_drop() - the peer broke the rules of a ring: master: close slave
 * @id's connection with this text; slave: leave the master, come back later
 */
void multi_socket_drop(MultiSocket *s, uint32_t id, const char *text);

/** multi_socket_cancel() - forget @done of all requests with this @opaque. */
void multi_socket_cancel(MultiSocket *s, void *opaque);

/** multi_socket_slave() - slave: connect; what to say in HELLO. Once. */
void multi_socket_slave(MultiSocket *s, uint16_t machine, uint64_t ram_base,
                        uint64_t ram_size);

/** multi_socket_link() - the slave's link, to answer and report; else NULL. */
struct sdm_link *multi_socket_link(MultiSocket *s);

/** multi_socket_set_observer() - @f hears the events of every master. */
void multi_socket_set_observer(void (*f)(MultiSocket *s,
                                         const struct sdm_hub_event *ev));

/** multi_socket_foreach() - call @f for every multi-socket-backend. */
void multi_socket_foreach(void (*f)(MultiSocket *s, void *opaque),
                          void *opaque);

#endif /* MULTI_SOCKET_QEMU_H */
