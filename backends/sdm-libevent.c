/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <event2/event.h>
#include "backends/sdm-fail.h"
#include "backends/sdm-libevent.h"
#include "backends/sdm-socket.h"

/* How long a master that is out of fds does not try to accept. */
#define PAUSE_MS  1000

struct hub_conn {
    struct sdm_libevent_hub *hub;
    int fd;
    struct event *read_event;
    struct event *hello_timer;
};

/* One open request a slave at most: its time limit has a place in the row. */
struct hub_timer {
    struct sdm_libevent_hub *hub;
    struct event *event;
    uint32_t seq;
};

struct sdm_libevent_hub {
    struct event_base *base;
    const struct sdm_libevent_hub_ops *ops;
    void *opaque;
    char *path;
    int listen_fd;
    int lock_fd;
    struct event *listen_event;
    struct event *pause_timer;
    struct sdm_hub core;
    struct hub_conn conns[SDM_HUB_CONNS];
    struct hub_timer timers[SDM_MAX_SLAVES + 1];
};

struct sdm_libevent_link {
    struct event_base *base;
    const struct sdm_libevent_link_ops *ops;
    void *opaque;
    char *path;
    int fd;
    struct event *read_event;
    struct event *retry_timer;
    int said_absent;
    struct sdm_link core;
};

static struct timeval from_ms(unsigned ms)
{
    struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

    return tv;
}

static int start_timer(struct event *timer, unsigned ms)
{
    struct timeval tv = from_ms(ms);

    return event_add(timer, &tv);
}

static void free_event(struct event **event)
{
    if (*event) {
        event_free(*event);
        *event = NULL;
    }
}

static void close_fds(const int *fds, unsigned n)
{
    while (n--) {
        if (fds[n] >= 0) {
            close(fds[n]);
        }
    }
}

/* ------------------------------------------------------------- the master */

static unsigned conn_number(const struct hub_conn *conn)
{
    return conn - conn->hub->conns;
}

static int hub_send(void *opaque, unsigned n, const void *buf, size_t len,
                    const int *fds, unsigned nfds)
{
    struct sdm_libevent_hub *hub = opaque;

    return sdm_socket_send(hub->conns[n].fd, buf, len, fds, nfds);
}

static void conn_close(struct hub_conn *conn)
{
    free_event(&conn->read_event);
    free_event(&conn->hello_timer);
    if (conn->fd >= 0) {
        close(conn->fd);
        conn->fd = -1;
    }
}

static void hub_close(void *opaque, unsigned n)
{
    struct sdm_libevent_hub *hub = opaque;

    conn_close(&hub->conns[n]);
}

static uint32_t hub_grant(void *opaque, uint32_t id, uint64_t ram_size,
                          struct sdm_grant *grant, const char **text)
{
    struct sdm_libevent_hub *hub = opaque;

    return hub->ops->grant(hub->opaque, id, ram_size, grant, text);
}

static void hub_event(void *opaque, const struct sdm_hub_event *event)
{
    struct sdm_libevent_hub *hub = opaque;

    if (event->type == SDM_HUB_ANSWER) {
        event_del(hub->timers[event->id].event);
    }
    hub->ops->event(hub->opaque, event);
}

static void hub_counters(void *opaque, uint32_t id, uint64_t *sent,
                         uint64_t *taken, uint64_t *refused)
{
    struct sdm_libevent_hub *hub = opaque;

    if (hub->ops->counters) {
        hub->ops->counters(hub->opaque, id, sent, taken, refused);
    }
}

static const struct sdm_hub_ops hub_ops = {
    .send = hub_send,
    .close = hub_close,
    .grant = hub_grant,
    .event = hub_event,
    .counters = hub_counters,
};

static void conn_readable(evutil_socket_t fd, short what, void *opaque)
{
    struct hub_conn *conn = opaque;
    struct sdm_hub *core = &conn->hub->core;
    int fds[SDM_WIRE_MAX_FDS];
    char buf[SDM_WIRE_MAX];
    unsigned nfds;
    ssize_t len;

    (void)what;
    len = sdm_socket_recv(fd, buf, fds, &nfds);
    if (len > 0) {
        sdm_hub_receive(core, conn_number(conn), buf, len, fds, nfds);
        close_fds(fds, nfds);
    } else if (len == -EMSGSIZE) {
        sdm_hub_reject(core, conn_number(conn), SDM_ERR_INVAL, "a message is "
                       "too long, or carries more fds than any may");
    } else if (len != -EAGAIN) {
        sdm_hub_lost(core, conn_number(conn));
    }
}

static void hello_is_late(evutil_socket_t fd, short what, void *opaque)
{
    struct hub_conn *conn = opaque;

    (void)fd;
    (void)what;
    if (sdm_hub_conn_is_new(&conn->hub->core, conn_number(conn))) {
        sdm_hub_reject(&conn->hub->core, conn_number(conn), SDM_ERR_TIMEOUT,
                       "no HELLO came in time: say it right after connecting");
    }
}

static void add_conn(struct sdm_libevent_hub *hub, int fd, pid_t pid)
{
    struct hub_conn *conn;
    struct sdm_text why;
    int n;

    n = sdm_hub_accept(&hub->core, pid);
    if (n < 0) {
        close(fd);
        sdm_fail(&why, ENOSPC, "process %d was refused: all %u connections "
                 "are in use", (int)pid, SDM_HUB_CONNS);
        hub->ops->refused(hub->opaque, why.buf);
        return;
    }
    conn = &hub->conns[n];
    conn->fd = fd;
    conn->read_event = event_new(hub->base, fd, EV_READ | EV_PERSIST,
                                 conn_readable, conn);
    conn->hello_timer = evtimer_new(hub->base, hello_is_late, conn);
    if (!conn->read_event || !conn->hello_timer ||
        event_add(conn->read_event, NULL) ||
        start_timer(conn->hello_timer, hub->ops->hello_ms ?
                    hub->ops->hello_ms : SDM_LIBEVENT_HELLO_MS)) {
        sdm_hub_reject(&hub->core, n, SDM_ERR_INTERNAL,
                       "the master is out of memory");
    }
}

static void listen_readable(evutil_socket_t fd, short what, void *opaque)
{
    struct sdm_libevent_hub *hub = opaque;
    struct sdm_text why;
    pid_t pid;
    int conn;

    (void)what;
    conn = sdm_socket_accept(fd, &pid, &why);
    if (conn >= 0) {
        add_conn(hub, conn, pid);
    } else if (conn == -EACCES) {
        hub->ops->refused(hub->opaque, why.buf);
    } else if (conn != -EAGAIN) {
        /* Out of fds or memory: the caller stays in the queue meanwhile. */
        event_del(hub->listen_event);
        start_timer(hub->pause_timer, PAUSE_MS);
        hub->ops->refused(hub->opaque, why.buf);
    }
}

static void pause_is_over(evutil_socket_t fd, short what, void *opaque)
{
    struct sdm_libevent_hub *hub = opaque;

    (void)fd;
    (void)what;
    event_add(hub->listen_event, NULL);
}

static void request_is_late(evutil_socket_t fd, short what, void *opaque)
{
    struct hub_timer *timer = opaque;
    struct sdm_libevent_hub *hub = timer->hub;

    (void)fd;
    (void)what;
    sdm_hub_timeout(&hub->core, timer - hub->timers, timer->seq);
}

static int make_hub_events(struct sdm_libevent_hub *hub)
{
    uint32_t id;

    hub->listen_event = event_new(hub->base, hub->listen_fd,
                                  EV_READ | EV_PERSIST, listen_readable, hub);
    hub->pause_timer = evtimer_new(hub->base, pause_is_over, hub);
    if (!hub->listen_event || !hub->pause_timer ||
        event_add(hub->listen_event, NULL)) {
        return -ENOMEM;
    }
    for (id = 1; id <= hub->core.num_slaves; id++) {
        hub->timers[id].hub = hub;
        hub->timers[id].event = evtimer_new(hub->base, request_is_late,
                                            &hub->timers[id]);
        if (!hub->timers[id].event) {
            return -ENOMEM;
        }
    }
    return 0;
}

int sdm_libevent_hub_new(struct event_base *base, const char *path,
                         uint32_t num_slaves,
                         const struct sdm_libevent_hub_ops *ops, void *opaque,
                         struct sdm_libevent_hub **out, struct sdm_text *why)
{
    struct sdm_libevent_hub *hub;
    unsigned i;
    int ret;

    hub = calloc(1, sizeof(*hub));
    if (!hub) {
        return sdm_fail(why, ENOMEM, "out of memory");
    }
    hub->base = base;
    hub->ops = ops;
    hub->opaque = opaque;
    hub->listen_fd = -1;
    for (i = 0; i < SDM_HUB_CONNS; i++) {
        hub->conns[i].hub = hub;
        hub->conns[i].fd = -1;
    }
    sdm_hub_init(&hub->core, &hub_ops, hub, num_slaves);
    hub->path = strdup(path);
    ret = hub->path ? sdm_socket_listen(path, &hub->lock_fd, why) :
                      sdm_fail(why, ENOMEM, "out of memory");
    if (ret >= 0) {
        hub->listen_fd = ret;
        ret = make_hub_events(hub) ? sdm_fail(why, ENOMEM, "out of memory") :
                                     0;
    }
    if (ret < 0) {
        sdm_libevent_hub_free(hub);
        return ret;
    }
    *out = hub;
    return 0;
}

void sdm_libevent_hub_free(struct sdm_libevent_hub *hub)
{
    unsigned i;

    if (!hub) {
        return;
    }
    for (i = 0; i < SDM_HUB_CONNS; i++) {
        conn_close(&hub->conns[i]);
    }
    for (i = 0; i <= SDM_MAX_SLAVES; i++) {
        free_event(&hub->timers[i].event);
    }
    free_event(&hub->listen_event);
    free_event(&hub->pause_timer);
    if (hub->listen_fd >= 0) {
        sdm_socket_unlisten(hub->path, hub->listen_fd, hub->lock_fd);
    }
    free(hub->path);
    free(hub);
}

struct sdm_hub *sdm_libevent_hub_core(struct sdm_libevent_hub *hub)
{
    return &hub->core;
}

uint32_t sdm_libevent_hub_request(struct sdm_libevent_hub *hub, uint32_t id,
                                  uint16_t type,
                                  const struct sdm_window *window,
                                  unsigned timeout_ms, uint32_t *seq,
                                  struct sdm_text *why)
{
    uint32_t status;

    status = sdm_hub_request(&hub->core, id, type, window, seq, why);
    if (status == SDM_OK) {
        hub->timers[id].seq = *seq;
        start_timer(hub->timers[id].event, timeout_ms);
    }
    return status;
}

/* --------------------------------------------------- a slave or an observer */

/*
 * A failure to send is not the end: the master's last words may wait to be
 * read, and behind them comes the end of the connection itself.
 */
static int link_send(void *opaque, const void *buf, size_t len,
                     const int *fds, unsigned nfds)
{
    struct sdm_libevent_link *link = opaque;

    if (link->fd < 0) {
        return -ENOTCONN;
    }
    return sdm_socket_send(link->fd, buf, len, fds, nfds);
}

static void link_event(void *opaque, struct sdm_link_event *event)
{
    struct sdm_libevent_link *link = opaque;

    if (event->type == SDM_LINK_WELCOME) {
        link->said_absent = 0;
    }
    link->ops->event(link->opaque, event);
}

static const struct sdm_link_ops link_ops = {
    .send = link_send,
    .event = link_event,
};

static void link_close(struct sdm_libevent_link *link)
{
    free_event(&link->read_event);
    if (link->fd >= 0) {
        close(link->fd);
        link->fd = -1;
    }
}

static void link_disconnect(struct sdm_libevent_link *link, int refused)
{
    link_close(link);
    sdm_link_lost(&link->core);
    if (link->ops->lost(link->opaque, refused)) {
        start_timer(link->retry_timer, SDM_LIBEVENT_RETRY_MS);
    }
}

static void link_readable(evutil_socket_t fd, short what, void *opaque)
{
    struct sdm_libevent_link *link = opaque;
    int fds[SDM_WIRE_MAX_FDS];
    char buf[SDM_WIRE_MAX];
    unsigned nfds;
    ssize_t len;

    (void)what;
    len = sdm_socket_recv(fd, buf, fds, &nfds);
    if (len == -EAGAIN) {
        return;
    }
    if (len <= 0) {
        link_disconnect(link, 0);
        return;
    }
    sdm_link_receive(&link->core, buf, len, fds, nfds);
    close_fds(fds, nfds);
    if (link->core.phase == SDM_LINK_DOWN) {
        link_disconnect(link, 1);
    }
}

static int link_connect(struct sdm_libevent_link *link, struct sdm_text *why)
{
    int fd;

    fd = sdm_socket_connect(link->path, why);
    if (fd < 0) {
        return fd;
    }
    link->fd = fd;
    link->read_event = event_new(link->base, fd, EV_READ | EV_PERSIST,
                                 link_readable, link);
    if (!link->read_event || event_add(link->read_event, NULL)) {
        link_close(link);
        return sdm_fail(why, ENOMEM, "out of memory");
    }
    sdm_link_connected(&link->core);
    return 0;
}

static int is_absence(int ret)
{
    return ret == -ENOENT || ret == -ECONNREFUSED || ret == -EAGAIN;
}

static void wait_for_master(struct sdm_libevent_link *link,
                            const struct sdm_text *why)
{
    if (!link->said_absent) {
        link->said_absent = 1;
        link->ops->absent(link->opaque, why->buf);
    }
    start_timer(link->retry_timer, SDM_LIBEVENT_RETRY_MS);
}

static void retry(evutil_socket_t fd, short what, void *opaque)
{
    struct sdm_libevent_link *link = opaque;
    struct sdm_text why;
    int ret;

    (void)fd;
    (void)what;
    ret = link_connect(link, &why);
    if (is_absence(ret)) {
        wait_for_master(link, &why);
    } else if (ret) {
        link->ops->failed(link->opaque, -ret, why.buf);
    }
}

struct sdm_libevent_link *
sdm_libevent_link_new(struct event_base *base, const char *path,
                      const struct sdm_msg *hello,
                      const struct sdm_libevent_link_ops *ops, void *opaque)
{
    struct sdm_libevent_link *link;

    link = calloc(1, sizeof(*link));
    if (!link) {
        return NULL;
    }
    link->base = base;
    link->ops = ops;
    link->opaque = opaque;
    link->fd = -1;
    link->path = strdup(path);
    link->retry_timer = evtimer_new(base, retry, link);
    if (!link->path || !link->retry_timer) {
        sdm_libevent_link_free(link);
        return NULL;
    }
    sdm_link_init(&link->core, &link_ops, link, hello);
    return link;
}

void sdm_libevent_link_free(struct sdm_libevent_link *link)
{
    if (!link) {
        return;
    }
    link_close(link);
    free_event(&link->retry_timer);
    free(link->path);
    free(link);
}

int sdm_libevent_link_start(struct sdm_libevent_link *link, int wait,
                            struct sdm_text *why)
{
    int ret;

    ret = link_connect(link, why);
    if (wait && is_absence(ret)) {
        wait_for_master(link, why);
        return 0;
    }
    return ret;
}

struct sdm_link *sdm_libevent_link_core(struct sdm_libevent_link *link)
{
    return &link->core;
}
