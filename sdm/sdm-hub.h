/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The master's side of the control socket: who is connected, who has which id,
 * what state each slave is in, which request is open. Pure: packets and fds
 * come in by calls, packets and events go out by struct sdm_hub_ops. No clock:
 * the caller runs the time limits. No allocation: everything is in the struct.
 * Not thread-safe; an op must not call back into the hub, but for @event,
 * which may call sdm_hub_request() and the functions that only read.
 *
 * Theory of operation: a connection starts unnamed. Its HELLO makes it a slave
 * (it gets an id) or an observer. Anything wrong is answered by ERROR with a
 * text, and the connection is closed; the others do not notice. At most one
 * request is open per slave. Rejected: several open requests - a boot, a reset
 * and a stop of the same slave have no meaning at once.
 *
 * No op is ever re-entered. A send that fails only marks its connection, and a
 * request made inside @event only changes the table; what follows from either
 * (the close, the events) is done when the outermost call into the hub is about
 * to return, one after the other, until nothing is left.
 *
 * An answer that nobody waits for is late: it ends no request, but the slave's
 * state follows it, for the slave does not say that state twice. What it
 * answers is in the number itself (its low bits are the type), so that no list
 * of old requests is kept. One that cannot be true is ignored: it hurts nobody
 * but its sender.
 */
#ifndef SDM_HUB_H
#define SDM_HUB_H

#include "sdm/sdm-codec.h"
#include "sdm/sdm-text.h"
#include "sdm/sdm-window.h"

#define SDM_HUB_CONNS  (SDM_MAX_SLAVES + 16u)

struct sdm_hub;

/** struct sdm_grant - what a slave is given when it is admitted
 * @fds: in the order of the SDM_WIRE_FD_* bits, -1 where there is none;
 *       borrowed: they stay the giver's and need live only until send returns
 */
struct sdm_grant {
    uint64_t memory_size;
    uint64_t page_size;
    struct sdm_window window;   /* as the slave sees it, in the memory fd */
    uint32_t features;
    int fds[SDM_WIRE_MAX_FDS];
};

/** struct sdm_peer - one row of the peer table, ids 1..num_slaves
 * @name:   kept when the slave leaves, so that it gets its id back
 * @conn:   connection, or -1
 * @window: the one it was last booted in (offset in the master's memory), or
 *          the fixed one
 * @open_seq, @open_type: the request that has no answer yet; type 0: none
 * @boot_seq: the last BOOT
 * @told:   the state that the last event said
 * @fixed:  1: @window is a fixed one
 * @fd_offset: where the slave's memory fd has the fixed window
 */
struct sdm_peer {
    uint32_t state;
    uint32_t machine;
    uint32_t pid;
    uint32_t features;
    int conn;
    uint32_t open_seq;
    uint16_t open_type;
    uint32_t boot_seq;
    uint32_t told;
    int fixed;
    uint64_t fd_offset;
    uint64_t ram_base;
    uint64_t ram_size;
    struct sdm_window window;
    uint64_t boots;
    char name[SDM_NAME_MAX + 1];
};

enum sdm_hub_event_type {
    SDM_HUB_JOINED,     /* @id is admitted; state waiting */
    SDM_HUB_STATE,      /* @id has the state @state now (was @old); not sent
                           for what JOINED and LEFT say */
    SDM_HUB_ANSWER,     /* request @seq of @id ended: @status, @text, @fd */
    SDM_HUB_LEFT,       /* @id is absent now (was @old); an open request has
                           been answered with SDM_ERR_GONE before */
    SDM_HUB_REJECTED,   /* a connection was closed: @status, @text; @id is
                           the slave's, whose LEFT follows, or 0 */
};

/** struct sdm_hub_event - @text and @fd are valid during the call only
 * @text: never NULL
 * @request: SDM_WIRE_* of the request that was answered
 * @fd:   a DTB's memfd, else -1; dup() it to keep it
 * @size: bytes in @fd
 */
struct sdm_hub_event {
    enum sdm_hub_event_type type;
    uint32_t id;
    uint32_t state, old;
    uint32_t seq;
    uint16_t request;
    uint32_t status;
    const char *text;
    int fd;
    uint64_t size;
};

/**
 * struct sdm_hub_ops - the outside; none may block
 * @send:  one packet, fds borrowed. 0, or -errno: the hub then closes it
 * @close: the connection is over; its number may be given again
 * @grant: fill in for slave @id, which has the given RAM size; 0 or SDM_ERR_*
 *         with @text (it is then refused). May be called again for the same id
 * @event: tell the world
 * @counters: sent, taken, refused of slave @id for observers; may be NULL
 */
struct sdm_hub_ops {
    int (*send)(void *opaque, unsigned conn, const void *buf, size_t len,
                const int *fds, unsigned nfds);
    void (*close)(void *opaque, unsigned conn);
    uint32_t (*grant)(void *opaque, uint32_t id, uint64_t ram_size,
                      struct sdm_grant *grant, const char **text);
    void (*event)(void *opaque, const struct sdm_hub_event *event);
    void (*counters)(void *opaque, uint32_t id, uint64_t *sent,
                     uint64_t *taken, uint64_t *refused);
};

enum { SDM_CONN_FREE, SDM_CONN_NEW, SDM_CONN_SLAVE, SDM_CONN_OBSERVER };

/** struct sdm_hub_conn - one connection
 * @failed: a send to it gave this -errno; it is about to be closed
 */
struct sdm_hub_conn {
    int kind;
    int failed;
    uint32_t id;
    uint32_t pid;
};

struct sdm_hub {
    const struct sdm_hub_ops *ops;
    void *opaque;
    uint32_t num_slaves;
    uint32_t requests;          /* sent so far */
    unsigned depth;             /* inside that many @event calls */
    uint64_t memory_size;       /* 0: no memory to boot from yet */
    uint64_t page_size;
    struct sdm_peer peers[SDM_MAX_SLAVES + 1];  /* [0] unused */
    struct sdm_hub_conn conns[SDM_HUB_CONNS];
};

/**
 * sdm_hub_init() - start with nobody connected
 * @num_slaves: 1..SDM_MAX_SLAVES
 */
void sdm_hub_init(struct sdm_hub *hub, const struct sdm_hub_ops *ops,
                  void *opaque, uint32_t num_slaves);

/**
 * sdm_hub_memory() - say what windows are cut from; windows in use are checked
 * against it. Before this call BOOT is refused with SDM_ERR_MEMORY.
 */
void sdm_hub_memory(struct sdm_hub *hub, uint64_t memory_size,
                    uint64_t page_size);

/**
 * sdm_hub_accept() - a connection has come; the caller has checked its
 * credentials
 * @pid: of the peer, for display
 * Returns: its number, 0..SDM_HUB_CONNS-1, or -ENOSPC
 */
int sdm_hub_accept(struct sdm_hub *hub, uint32_t pid);

/** sdm_hub_conn_is_new() - 1 while no HELLO has come (run a time limit). */
int sdm_hub_conn_is_new(const struct sdm_hub *hub, unsigned conn);

/**
 * sdm_hub_receive() - one packet of a connection
 * @fds: the hub sets an entry to -1 if it took the fd over (it takes none so
 *       far: a DTB's fd is lent to the event); the caller closes the rest
 */
void sdm_hub_receive(struct sdm_hub *hub, unsigned conn, const void *buf,
                     size_t len, const int *fds, unsigned nfds);

/** sdm_hub_reject() - close a connection with ERROR @status, @text. */
void sdm_hub_reject(struct sdm_hub *hub, unsigned conn, uint32_t status,
                    const char *text);

/** sdm_hub_lost() - the peer has closed, or its socket failed. Calls close. */
void sdm_hub_lost(struct sdm_hub *hub, unsigned conn);

/**
 * sdm_hub_request() - ask slave @id
 * @type:   SDM_WIRE_BOOT, _RESET, _STOP or _GET_DTB
 * @window: for BOOT: in the master's memory; else NULL. Must equal the fixed
 *          window where there is one (size 0 then means that one)
 * @seq:    the request's number; SDM_HUB_ANSWER will carry it
 * @why:    on error, a text for people: the value at fault and what to do
 *
 * Returns: SDM_OK: sent, exactly one SDM_HUB_ANSWER follows, never before this
 * returns; else SDM_ERR_NO_PEER, _STATE, _BUSY (a request is open), _WINDOW
 * (zero, unaligned, outside, overlapping another slave's that is booting,
 * running, stopped or crashed, size other than the slave's memory),
 * _MEMORY (no memory yet), _GONE (the slave's socket takes nothing: it is being
 * closed), _INVAL (not a request). _STATE goes before _BUSY. What follows at
 * once (SDM_HUB_STATE of a BOOT, or LEFT after _GONE) is told before this
 * returns, or, inside @event, after that has returned.
 */
uint32_t sdm_hub_request(struct sdm_hub *hub, uint32_t id, uint16_t type,
                         const struct sdm_window *window, uint32_t *seq,
                         struct sdm_text *why);

/**
 * sdm_hub_timeout() - the caller's time limit for request @seq has passed
 * It is answered with SDM_ERR_TIMEOUT; a late answer of the slave is no answer
 * any more, but the slave's state follows it as it follows its state messages.
 */
void sdm_hub_timeout(struct sdm_hub *hub, uint32_t id, uint32_t seq);

/** sdm_hub_peer() - row of @id, or NULL if out of 1..num_slaves. */
const struct sdm_peer *sdm_hub_peer(const struct sdm_hub *hub, uint32_t id);

/** sdm_hub_find() - id of the slave with this name, or 0. */
uint32_t sdm_hub_find(const struct sdm_hub *hub, const char *name);

/** sdm_hub_fixed_window() - set slave @id's window (windows=). */
void sdm_hub_fixed_window(struct sdm_hub *hub, uint32_t id,
                          const struct sdm_window *window);

#endif /* SDM_HUB_H */
