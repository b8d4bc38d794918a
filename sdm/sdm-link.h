/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connecting side of the control socket: a slave or an observer. Pure, as
 * sdm-hub.h: the same rules for ops, time and allocation. @event may call
 * sdm_link_answer(), sdm_link_answer_dtb() and sdm_link_state().
 *
 * A BOOT whose window the master cannot have meant (of another size than our
 * memory, not the fixed one, unaligned, outside the memory fd) is answered here
 * with SDM_ERR_WINDOW and never becomes an event. A request that comes while
 * another is open replaces it: the master has given that one up.
 */
#ifndef SDM_LINK_H
#define SDM_LINK_H

#include "sdm/sdm-codec.h"
#include "sdm/sdm-text.h"
#include "sdm/sdm-window.h"

enum sdm_link_event_type {
    SDM_LINK_WELCOME,   /* @msg is the welcome; @fds by its bits */
    SDM_LINK_REQUEST,   /* @msg is BOOT, RESET, STOP or GET_DTB: answer it */
    SDM_LINK_PEER,      /* observer: @msg is a row, or id 0: all rows are in */
    SDM_LINK_ERROR,     /* the master has refused us: @msg->u.answer; or we
                           found it at fault: same fields. Over: close it */
};

/** struct sdm_link_event - valid during the call
 * @fds: with WELCOME; set an entry to -1 to take the fd over, the caller of
 *       sdm_link_receive() closes the rest
 */
struct sdm_link_event {
    enum sdm_link_event_type type;
    const struct sdm_msg *msg;
    int *fds;
    unsigned nfds;
};

struct sdm_link_ops {
    int (*send)(void *opaque, const void *buf, size_t len, const int *fds,
                unsigned nfds);
    void (*event)(void *opaque, struct sdm_link_event *event);
};

enum { SDM_LINK_DOWN, SDM_LINK_HELLO_SENT, SDM_LINK_UP };

struct sdm_link {
    const struct sdm_link_ops *ops;
    void *opaque;
    int phase;
    uint32_t id;            /* valid while SDM_LINK_UP */
    uint32_t open_seq;      /* request to be answered; 0 type: none */
    uint16_t open_type;
    struct sdm_msg hello;
    uint64_t memory_size;   /* of the last WELCOME */
    uint64_t page_size;
    struct sdm_window window;
};

/**
 * sdm_link_init() - @hello: u.hello filled but for the versions; copied
 */
void sdm_link_init(struct sdm_link *link, const struct sdm_link_ops *ops,
                   void *opaque, const struct sdm_msg *hello);

/**
 * sdm_link_connected() - the socket is connected: say HELLO. After the first
 * WELCOME, want_id is what was given then (a new master gives it back).
 * Returns: 0, or send's -errno
 */
int sdm_link_connected(struct sdm_link *link);

/** sdm_link_receive() - one packet; fds as in sdm_hub_receive(), not const. */
void sdm_link_receive(struct sdm_link *link, const void *buf, size_t len,
                      int *fds, unsigned nfds);

/**
 * sdm_link_answer() - end the open request
 * @text: may be NULL
 * Returns: 0; -ENOENT: no such request is open; -EINVAL: success for GET_DTB,
 * which sdm_link_answer_dtb() gives; or send's -errno: the request stays open
 */
int sdm_link_answer(struct sdm_link *link, uint32_t seq, uint32_t status,
                    const char *text);

/**
 * sdm_link_answer_dtb() - end GET_DTB with a sealed memfd of @size bytes
 * @fd: borrowed
 * Returns: 0; -ENOENT: no such GET_DTB is open; or send's -errno
 */
int sdm_link_answer_dtb(struct sdm_link *link, uint32_t seq, int fd,
                        uint64_t size);

/**
 * sdm_link_state() - tell the master our state (WAITING, RUNNING, STOPPED,
 * CRASHED). The answer to BOOT says RUNNING by itself, the one to RESET
 * WAITING, the one to STOP STOPPED: do not say it twice.
 * Returns: 0; -ENOTCONN: not admitted (yet); or send's -errno
 */
int sdm_link_state(struct sdm_link *link, uint32_t state);

/** sdm_link_lost() - the socket is gone; open requests are forgotten. */
void sdm_link_lost(struct sdm_link *link);

#endif /* SDM_LINK_H */
