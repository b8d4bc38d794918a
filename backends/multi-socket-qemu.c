/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qom/object_interfaces.h"
#include "hw/qdev-core.h"
#include "sysemu/runstate.h"
#include "sysemu/runstate-action.h"
#include "sysemu/sysemu.h"
#include "backends/multi-socket-qemu.h"
#include "backends/sdm-report-qemu.h"
#include "backends/sdm-socket.h"
#include "qemu-sdm/trace.h"

#define HELLO_TIMEOUT_MS 5000
#define RETRY_MS         100
#define RETRY_REFUSED_MS 1000
#define RETRY_ACCEPT_MS  1000

typedef struct Conn {
    MultiSocket *s;
    int fd;
    QEMUTimer *hello_timer;
} Conn;

typedef struct Request {
    uint32_t id;
    uint32_t seq;
    MultiSocketDone *done;
    void *opaque;
    MultiSocket *s;
    QEMUTimer *timer;
    QLIST_ENTRY(Request) next;
} Request;

struct MultiSocket {
    Object parent_obj;

    char *path;
    char *name;
    bool listen;
    uint32_t slave_id;

    bool complete;
    bool closing;
    bool started;
    uint32_t features;
    Notifier machine_done;
    Notifier exit;
    Notifier shutdown;
    QEMUBH *start_bh;
    QLIST_HEAD(, MultiSocketClient) clients;

    /* master */
    int listen_fd;
    int lock_fd;
    struct sdm_hub hub;
    Conn conns[SDM_HUB_CONNS];
    QLIST_HEAD(, Request) requests;

    /* slave */
    int fd;
    struct sdm_link link;
    uint16_t machine;
    uint64_t ram_base;
    uint64_t ram_size;
    QEMUTimer *retry;
    bool said_absent;
    char *said_refused;
};

const char *multi_socket_path(const MultiSocket *s)
{
    return s->path;
}

bool multi_socket_is_master(const MultiSocket *s)
{
    return s->listen;
}

struct sdm_hub *multi_socket_hub(MultiSocket *s)
{
    return s->listen ? &s->hub : NULL;
}

struct sdm_link *multi_socket_link(MultiSocket *s)
{
    return s->listen ? NULL : &s->link;
}

uint32_t multi_socket_num_slaves(const MultiSocket *s)
{
    return s->hub.num_slaves;
}

void multi_socket_add_features(MultiSocket *s, uint32_t features)
{
    s->features |= features;
}

MultiSocket *multi_socket_find(const char *id, const char *owner, Error **errp)
{
    Object *obj;

    if (!id || !*id) {
        error_setg(errp, "%s needs socket=ID, the id of a "
                   TYPE_MULTI_SOCKET " object", owner);
        return NULL;
    }
    obj = object_resolve_path_component(object_get_objects_root(), id);
    if (!obj) {
        error_setg(errp, "%s: socket=%s names no object; add -object "
                   TYPE_MULTI_SOCKET ",id=%s,path=...", owner, id, id);
        return NULL;
    }
    if (!object_dynamic_cast(obj, TYPE_MULTI_SOCKET)) {
        error_setg(errp, "%s: socket=%s is a %s, not a " TYPE_MULTI_SOCKET,
                   owner, id, object_get_typename(obj));
        return NULL;
    }
    object_ref(obj);
    return MULTI_SOCKET(obj);
}

void multi_socket_add(MultiSocket *s, MultiSocketClient *client)
{
    QLIST_INSERT_HEAD(&s->clients, client, next);
}

void multi_socket_remove(MultiSocket *s, MultiSocketClient *client)
{
    QLIST_REMOVE(client, next);
}

bool multi_socket_set_num_slaves(MultiSocket *s, uint32_t n, Error **errp)
{
    uint32_t id;

    if (n < 1 || n > SDM_MAX_SLAVES) {
        error_setg(errp, "num-slaves=%u is out of range: give 1 to %u",
                   n, SDM_MAX_SLAVES);
        return false;
    }
    for (id = n + 1; id <= s->hub.num_slaves; id++) {
        if (s->hub.peers[id].conn >= 0) {
            error_setg(errp, "num-slaves=%u: slave %u is connected already", n,
                       id);
            return false;
        }
    }
    s->hub.num_slaves = n;
    return true;
}

static int foreach_one(Object *obj, void *opaque)
{
    void **args = opaque;
    void (*f)(MultiSocket *, void *) = args[0];

    if (object_dynamic_cast(obj, TYPE_MULTI_SOCKET)) {
        f(MULTI_SOCKET(obj), args[1]);
    }
    return 0;
}

void multi_socket_foreach(void (*f)(MultiSocket *s, void *opaque),
                          void *opaque)
{
    void *args[] = { f, opaque };

    object_child_foreach(object_get_objects_root(), foreach_one, args);
}

/* The master's side */

static void (*observer)(MultiSocket *s, const struct sdm_hub_event *ev);

void multi_socket_set_observer(void (*f)(MultiSocket *s,
                                         const struct sdm_hub_event *ev))
{
    observer = f;
}

static void conn_close(Conn *c)
{
    qemu_set_fd_handler(c->fd, NULL, NULL, NULL);
    close(c->fd);
    c->fd = -1;
    if (c->hello_timer) {
        timer_free(c->hello_timer);
        c->hello_timer = NULL;
    }
}

static int hub_send(void *opaque, unsigned conn, const void *buf, size_t len,
                    const int *fds, unsigned nfds)
{
    MultiSocket *s = opaque;

    trace_multi_socket_send(s->path, conn, len, nfds);
    return sdm_socket_send(s->conns[conn].fd, buf, len, fds, nfds);
}

static void hub_close(void *opaque, unsigned conn)
{
    MultiSocket *s = opaque;

    conn_close(&s->conns[conn]);
}

static uint32_t hub_grant(void *opaque, uint32_t id, uint64_t ram_size,
                          struct sdm_grant *grant, const char **text)
{
    MultiSocket *s = opaque;
    MultiSocketClient *c;
    uint32_t status;

    grant->features = s->features;
    QLIST_FOREACH(c, &s->clients, next) {
        if (c->grant) {
            status = c->grant(c, id, ram_size, grant, text);
            if (status != SDM_OK) {
                return status;
            }
        }
    }
    return SDM_OK;
}

static void request_end(Request *r, uint32_t status, const char *text, int fd,
                        uint64_t size)
{
    QLIST_REMOVE(r, next);
    timer_free(r->timer);
    if (r->done) {
        r->done(r->opaque, status, text, fd, size);
    }
    g_free(r);
}

static void hub_event(void *opaque, const struct sdm_hub_event *ev)
{
    MultiSocket *s = opaque;
    MultiSocketClient *c, *next_c;
    Request *r, *next_r;

    trace_multi_socket_event(s->path, ev->type, ev->id, ev->state, ev->status);
    if (ev->type == SDM_HUB_REJECTED) {
        sdm_report("%s: a peer was refused: %s", s->path, ev->text);
    }
    if (observer) {
        observer(s, ev);
    }
    QLIST_FOREACH_SAFE(c, &s->clients, next, next_c) {
        if (c->hub_event) {
            c->hub_event(c, ev);
        }
    }
    if (ev->type == SDM_HUB_ANSWER) {
        QLIST_FOREACH_SAFE(r, &s->requests, next, next_r) {
            if (r->id == ev->id && r->seq == ev->seq) {
                request_end(r, ev->status, ev->text, ev->fd, ev->size);
                break;
            }
        }
    }
}

static void hub_counters(void *opaque, uint32_t id, uint64_t *sent,
                         uint64_t *taken, uint64_t *refused)
{
    MultiSocket *s = opaque;
    MultiSocketClient *c;

    *sent = *taken = *refused = 0;
    QLIST_FOREACH(c, &s->clients, next) {
        if (c->counters) {
            c->counters(c, id, sent, taken, refused);
        }
    }
}

static const struct sdm_hub_ops hub_ops = {
    .send = hub_send,
    .close = hub_close,
    .grant = hub_grant,
    .event = hub_event,
    .counters = hub_counters,
};

static void conn_readable(void *opaque)
{
    Conn *c = opaque;
    MultiSocket *s = c->s;
    unsigned i, nfds = 0, n = c - s->conns;
    int fds[SDM_WIRE_MAX_FDS];
    uint8_t buf[SDM_WIRE_MAX];
    ssize_t len = sdm_socket_recv(c->fd, buf, fds, &nfds);

    if (len == -EAGAIN || len == -EINTR) {
        return;
    }
    if (len == -EMSGSIZE) {
        sdm_hub_reject(&s->hub, n, SDM_ERR_INVAL,
                       "message too long, or more fds than a message may have");
        return;
    }
    if (len <= 0) {
        sdm_hub_lost(&s->hub, n);
        return;
    }
    sdm_hub_receive(&s->hub, n, buf, len, fds, nfds);
    for (i = 0; i < nfds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static void conn_hello_timeout(void *opaque)
{
    Conn *c = opaque;
    MultiSocket *s = c->s;

    if (sdm_hub_conn_is_new(&s->hub, c - s->conns)) {
        sdm_hub_reject(&s->hub, c - s->conns, SDM_ERR_TIMEOUT,
                       "no HELLO within 5 seconds");
    }
}

static void listen_readable(void *opaque)
{
    MultiSocket *s = opaque;
    struct sdm_text why;
    pid_t pid;
    int n, fd;

    sdm_text_init(&why);
    fd = sdm_socket_accept(s->listen_fd, &pid, &why);
    if (fd < 0) {
        if (fd == -EACCES) {
            sdm_report("%s: a peer was refused: %s", s->path, why.buf);
        } else if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED) {
            /* Out of fds: whoever waits keeps the socket readable. */
            sdm_report("%s: no peer can be accepted for now: %s", s->path,
                       strerror(-fd));
            qemu_set_fd_handler(s->listen_fd, NULL, NULL, NULL);
            timer_mod(s->retry, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                      RETRY_ACCEPT_MS);
        }
        return;
    }
    n = sdm_hub_accept(&s->hub, pid);
    if (n < 0) {
        sdm_report("%s: a peer was refused: all %u connections are in use",
                    s->path, SDM_HUB_CONNS);
        close(fd);
        return;
    }
    s->conns[n].fd = fd;
    s->conns[n].hello_timer = timer_new_ms(QEMU_CLOCK_REALTIME,
                                           conn_hello_timeout, &s->conns[n]);
    timer_mod(s->conns[n].hello_timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + HELLO_TIMEOUT_MS);
    qemu_set_fd_handler(fd, conn_readable, NULL, &s->conns[n]);
}

static void listen_resume(void *opaque)
{
    MultiSocket *s = opaque;

    qemu_set_fd_handler(s->listen_fd, listen_readable, NULL, s);
}

static void request_timeout(void *opaque)
{
    Request *r = opaque;

    sdm_hub_timeout(&r->s->hub, r->id, r->seq);
}

uint32_t multi_socket_request(MultiSocket *s, uint32_t id, uint16_t type,
                              const struct sdm_window *window,
                              MultiSocketDone *done, void *opaque,
                              struct sdm_text *why)
{
    uint32_t seq, status;
    Request *r;

    if (!s->listen) {
        sdm_text_init(why);
        sdm_text_add(why, "only the master can do that");
        return SDM_ERR_DENIED;
    }
    if (s->closing) {
        sdm_text_init(why);
        sdm_text_add(why, "the master shuts down");
        return SDM_ERR_GONE;
    }
    status = sdm_hub_request(&s->hub, id, type, window, &seq, why);
    if (status != SDM_OK) {
        return status;
    }
    r = g_new0(Request, 1);
    r->s = s;
    r->id = id;
    r->seq = seq;
    r->done = done;
    r->opaque = opaque;
    r->timer = timer_new_ms(QEMU_CLOCK_REALTIME, request_timeout, r);
    timer_mod(r->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              MULTI_SOCKET_TIMEOUT_MS);
    QLIST_INSERT_HEAD(&s->requests, r, next);
    return SDM_OK;
}

void multi_socket_cancel(MultiSocket *s, void *opaque)
{
    Request *r;

    QLIST_FOREACH(r, &s->requests, next) {
        if (r->opaque == opaque) {
            r->done = NULL;
        }
    }
}

/* The slave's side */

static void slave_retry(MultiSocket *s, int ms)
{
    timer_mod(s->retry, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + ms);
}

static void slave_disconnect(MultiSocket *s)
{
    MultiSocketClient *c;

    qemu_set_fd_handler(s->fd, NULL, NULL, NULL);
    close(s->fd);
    s->fd = -1;
    sdm_link_lost(&s->link);
    QLIST_FOREACH(c, &s->clients, next) {
        if (c->lost) {
            c->lost(c);
        }
    }
}

void multi_socket_drop(MultiSocket *s, uint32_t id, const char *text)
{
    if (s->listen) {
        const struct sdm_peer *peer = sdm_hub_peer(&s->hub, id);

        if (peer && peer->conn >= 0) {
            sdm_hub_reject(&s->hub, peer->conn, SDM_ERR_INVAL, text);
        }
    } else if (s->fd >= 0) {
        sdm_report("%s: leaving the master: %s", s->path, text);
        slave_disconnect(s);
        slave_retry(s, RETRY_REFUSED_MS);
    }
}

static int link_send(void *opaque, const void *buf, size_t len, const int *fds,
                     unsigned nfds)
{
    MultiSocket *s = opaque;
    int ret;

    if (s->fd < 0) {
        return -ENOTCONN;
    }
    trace_multi_socket_send(s->path, 0, len, nfds);
    ret = sdm_socket_send(s->fd, buf, len, fds, nfds);
    if (ret < 0) {
        /* It does not read. All is told anew when we come back: end this. */
        shutdown(s->fd, SHUT_RDWR);
    }
    return ret;
}

static void link_event(void *opaque, struct sdm_link_event *ev)
{
    MultiSocket *s = opaque;
    MultiSocketClient *c;

    switch (ev->type) {
    case SDM_LINK_WELCOME:
        sdm_report("%s: this is slave %u of %u", s->path,
                    ev->msg->u.welcome.id, ev->msg->u.welcome.num_slaves);
        s->said_absent = false;
        g_clear_pointer(&s->said_refused, g_free);
        QLIST_FOREACH(c, &s->clients, next) {
            if (c->welcome) {
                c->welcome(c, ev->msg, ev->fds);
            }
        }
        break;
    case SDM_LINK_REQUEST:
        QLIST_FOREACH(c, &s->clients, next) {
            if (c->request && c->request(c, ev->msg)) {
                return;
            }
        }
        sdm_link_answer(&s->link, ev->msg->seq, SDM_ERR_UNSUPPORTED,
                        "this slave was not started with -incoming shared:");
        break;
    case SDM_LINK_ERROR:
        if (g_strcmp0(s->said_refused, ev->msg->u.answer.text)) {
            sdm_report("%s: the master refused this slave: %s", s->path,
                        ev->msg->u.answer.text);
            g_free(s->said_refused);
            s->said_refused = g_strdup(ev->msg->u.answer.text);
        }
        break;
    default:
        break;
    }
}

static const struct sdm_link_ops link_ops = {
    .send = link_send,
    .event = link_event,
};

static void slave_readable(void *opaque)
{
    MultiSocket *s = opaque;
    unsigned i, nfds = 0;
    int fds[SDM_WIRE_MAX_FDS];
    uint8_t buf[SDM_WIRE_MAX];
    ssize_t len = sdm_socket_recv(s->fd, buf, fds, &nfds);
    bool was_up = s->link.phase == SDM_LINK_UP;

    if (len == -EAGAIN || len == -EINTR) {
        return;
    }
    if (len <= 0) {
        if (was_up) {
            sdm_report("%s: the master is gone; waiting for one", s->path);
            s->said_absent = true;
        }
        slave_disconnect(s);
        slave_retry(s, s->said_refused ? RETRY_REFUSED_MS : RETRY_MS);
        return;
    }
    sdm_link_receive(&s->link, buf, len, fds, nfds);
    for (i = 0; i < nfds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (s->link.phase == SDM_LINK_DOWN && s->fd >= 0) {
        slave_disconnect(s);
        slave_retry(s, RETRY_REFUSED_MS);
    }
}

static void slave_connect(void *opaque)
{
    MultiSocket *s = opaque;
    struct sdm_text why;
    int fd;

    sdm_text_init(&why);
    fd = sdm_socket_connect(s->path, &why);
    if (fd < 0) {
        if (!s->said_absent) {
            sdm_report("no master at '%s' yet (%s): waiting for one",
                        s->path, why.len ? why.buf : strerror(-fd));
            s->said_absent = true;
        }
        slave_retry(s, RETRY_MS);
        return;
    }
    s->fd = fd;
    qemu_set_fd_handler(fd, slave_readable, NULL, s);
    if (sdm_link_connected(&s->link) < 0) {
        slave_disconnect(s);
        slave_retry(s, RETRY_MS);
    }
}

static void slave_hello(MultiSocket *s)
{
    struct sdm_msg hello = { .type = SDM_WIRE_HELLO };

    hello.u.hello.role = SDM_ROLE_SLAVE;
    hello.u.hello.machine = s->machine;
    hello.u.hello.features = s->features;
    hello.u.hello.want_id = s->slave_id;
    hello.u.hello.ram_base = s->ram_base;
    hello.u.hello.ram_size = s->ram_size;
    pstrcpy(hello.u.hello.name, sizeof(hello.u.hello.name),
            s->name ?: "");
    sdm_link_init(&s->link, &link_ops, s, &hello);
}

void multi_socket_slave(MultiSocket *s, uint16_t machine, uint64_t ram_base,
                        uint64_t ram_size)
{
    s->machine = machine;
    s->ram_base = ram_base;
    s->ram_size = ram_size;
    if (s->started) {
        slave_hello(s);
        slave_retry(s, 0);
    }
}

/* The object */

static void multi_socket_start(void *opaque)
{
    MultiSocket *s = opaque;

    s->started = true;
    if (s->listen) {
        s->retry = timer_new_ms(QEMU_CLOCK_REALTIME, listen_resume, s);
        listen_resume(s);
    } else {
        s->retry = timer_new_ms(QEMU_CLOCK_REALTIME, slave_connect, s);
        /* Nobody is admitted without memory: see multi_socket_slave(). */
        if (s->ram_size) {
            slave_hello(s);
            slave_connect(s);
        }
    }
}

/*
 * Not before the main loop runs: by then the devices have said how many slaves
 * there may be, and -incoming has said what this slave is.
 */
static void multi_socket_machine_done(Notifier *n, void *data)
{
    MultiSocket *s = container_of(n, MultiSocket, machine_done);

    s->start_bh = qemu_bh_new(multi_socket_start, s);
    qemu_bh_schedule(s->start_bh);
}

static void multi_socket_unlisten(MultiSocket *s)
{
    if (s->listen_fd >= 0) {
        qemu_set_fd_handler(s->listen_fd, NULL, NULL, NULL);
        sdm_socket_unlisten(s->path, s->listen_fd, s->lock_fd);
        s->listen_fd = -1;
        if (s->retry) {
            timer_del(s->retry);
        }
    }
}

/* The machine holds its memory, and that this object, until the very end. */
static void multi_socket_exit(Notifier *n, void *data)
{
    multi_socket_unlisten(container_of(n, MultiSocket, exit));
}

static void end_requests(MultiSocket *s, const char *text)
{
    Request *r, *next;

    QLIST_FOREACH_SAFE(r, &s->requests, next, next) {
        request_end(r, SDM_ERR_GONE, text, -1, 0);
    }
}

/* The end of QEMU waits for the monitor's commands; no timer runs by then. */
static void multi_socket_shutdown(Notifier *n, void *data)
{
    MultiSocket *s = container_of(n, MultiSocket, shutdown);

    if (shutdown_action != SHUTDOWN_ACTION_PAUSE) {
        s->closing = true;
        end_requests(s, "the master shuts down");
    }
}

static void multi_socket_complete(UserCreatable *uc, Error **errp)
{
    MultiSocket *s = MULTI_SOCKET(uc);
    struct sdm_text why;

    sdm_text_init(&why);
    if (!s->path || !*s->path) {
        error_setg(errp, TYPE_MULTI_SOCKET " needs path=, the file name of "
                   "the socket");
        return;
    }
    if (strlen(s->path) > sizeof_field(struct sockaddr_un, sun_path) - 1) {
        error_setg(errp, "socket path '%s' has %zu characters, the limit is "
                   "%zu: give a shorter one", s->path, strlen(s->path),
                   sizeof_field(struct sockaddr_un, sun_path) - 1);
        return;
    }
    if (s->name && !sdm_name_ok(s->name)) {
        error_setg(errp, "name '%s' is not 1 to %u of letters, digits, '.', "
                   "'_' and '-'", s->name, SDM_NAME_MAX);
        return;
    }
    if (s->listen && (s->name || s->slave_id)) {
        error_setg(errp, "name= and slave-id= are for the connecting side: "
                   "leave them out with listen=on");
        return;
    }
    if (s->slave_id > SDM_MAX_SLAVES) {
        error_setg(errp, "slave-id=%u is out of range: give 1 to num-slaves, "
                   "at most %u", s->slave_id, SDM_MAX_SLAVES);
        return;
    }
    sdm_hub_init(&s->hub, &hub_ops, s, SDM_MAX_SLAVES);
    if (s->listen) {
        int fd = sdm_socket_listen(s->path, &s->lock_fd, &why);

        if (fd < 0) {
            error_setg(errp, "cannot listen at '%s': %s", s->path,
                       why.len ? why.buf : strerror(-fd));
            s->lock_fd = -1;
            return;
        }
        s->listen_fd = fd;
        s->exit.notify = multi_socket_exit;
        qemu_add_exit_notifier(&s->exit);
        s->shutdown.notify = multi_socket_shutdown;
        qemu_register_shutdown_notifier(&s->shutdown);
    }
    s->complete = true;
    s->machine_done.notify = multi_socket_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
}

static bool multi_socket_can_be_deleted(UserCreatable *uc)
{
    return QLIST_EMPTY(&MULTI_SOCKET(uc)->clients);
}

static void multi_socket_instance_init(Object *obj)
{
    MultiSocket *s = MULTI_SOCKET(obj);
    unsigned i;

    s->fd = s->listen_fd = s->lock_fd = -1;
    for (i = 0; i < SDM_HUB_CONNS; i++) {
        s->conns[i].s = s;
        s->conns[i].fd = -1;
    }
}

static void multi_socket_finalize(Object *obj)
{
    MultiSocket *s = MULTI_SOCKET(obj);
    unsigned i;

    if (s->machine_done.notify) {
        qemu_remove_machine_init_done_notifier(&s->machine_done);
    }
    if (s->start_bh) {
        qemu_bh_delete(s->start_bh);
    }
    end_requests(s, "the socket was deleted");
    for (i = 0; i < SDM_HUB_CONNS; i++) {
        if (s->conns[i].fd >= 0) {
            conn_close(&s->conns[i]);
        }
    }
    if (s->exit.notify) {
        qemu_remove_exit_notifier(&s->exit);
        notifier_remove(&s->shutdown);
    }
    multi_socket_unlisten(s);
    if (s->fd >= 0) {
        qemu_set_fd_handler(s->fd, NULL, NULL, NULL);
        close(s->fd);
    }
    if (s->retry) {
        timer_free(s->retry);
    }
    g_free(s->path);
    g_free(s->name);
    g_free(s->said_refused);
}

/* The clients have settled what they are by what these were. */
static bool may_set(MultiSocket *s, const char *name, Error **errp)
{
    if (s->complete) {
        error_setg(errp, "%s cannot be changed any more", name);
    }
    return !s->complete;
}

static char *get_path(Object *obj, Error **errp)
{
    return g_strdup(MULTI_SOCKET(obj)->path);
}

static void set_path(Object *obj, const char *value, Error **errp)
{
    MultiSocket *s = MULTI_SOCKET(obj);

    if (may_set(s, "path", errp)) {
        g_free(s->path);
        s->path = g_strdup(value);
    }
}

static char *get_name(Object *obj, Error **errp)
{
    return g_strdup(MULTI_SOCKET(obj)->name);
}

static void set_name(Object *obj, const char *value, Error **errp)
{
    MultiSocket *s = MULTI_SOCKET(obj);

    if (may_set(s, "name", errp)) {
        g_free(s->name);
        s->name = g_strdup(value);
    }
}

static bool get_listen(Object *obj, Error **errp)
{
    return MULTI_SOCKET(obj)->listen;
}

static void set_listen(Object *obj, bool value, Error **errp)
{
    MultiSocket *s = MULTI_SOCKET(obj);

    if (may_set(s, "listen", errp)) {
        s->listen = value;
    }
}

static void get_slave_id(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &MULTI_SOCKET(obj)->slave_id, errp);
}

static void set_slave_id(Object *obj, Visitor *v, const char *name,
                         void *opaque, Error **errp)
{
    MultiSocket *s = MULTI_SOCKET(obj);
    uint32_t value;

    if (!visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (!value) {
        error_setg(errp, "slave-id=0 is the master: give 1 to num-slaves, or "
                   "leave it out for the lowest free id");
        return;
    }
    if (may_set(s, name, errp)) {
        s->slave_id = value;
    }
}

static void multi_socket_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = multi_socket_complete;
    ucc->can_be_deleted = multi_socket_can_be_deleted;
    object_class_property_add_str(oc, "path", get_path, set_path);
    object_class_property_set_description(oc, "path",
        "File name of the socket");
    object_class_property_add_bool(oc, "listen", get_listen, set_listen);
    object_class_property_set_description(oc, "listen",
        "Listen for slaves: this is the master");
    object_class_property_add_str(oc, "name", get_name, set_name);
    object_class_property_set_description(oc, "name",
        "Name of this slave; a name that comes back gets its id back");
    object_class_property_add(oc, "slave-id", "uint32", get_slave_id,
                              set_slave_id, NULL, NULL);
    object_class_property_set_description(oc, "slave-id",
        "Id that this slave asks for (default: the lowest free)");
}

static const TypeInfo multi_socket_info = {
    .name = TYPE_MULTI_SOCKET,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(MultiSocket),
    .instance_init = multi_socket_instance_init,
    .instance_finalize = multi_socket_finalize,
    .class_init = multi_socket_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

static void multi_socket_register(void)
{
    type_register_static(&multi_socket_info);
}

type_init(multi_socket_register);
