/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A master and its peers in one event loop, over real sockets. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <event2/event.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "backends/sdm-libevent.h"
#include "backends/sdm-region.h"
#include "backends/sdm-socket.h"
#include "tests/unit/fd-count.h"

#define MEMORY    (64u << 12)
#define RAM_SIZE  (16u << 12)
#define LONG_MS   60000

/* What has happened: each side counts and keeps the last. */
struct master {
    struct sdm_libevent_hub *hub;
    int memory, ring, kick;
    int joined, left, rejected, answers, states, refused;
    uint32_t id, state, status;
    char text[512];
};

struct slave {
    struct sdm_libevent_link *link;
    int welcomes, requests, errors, rows, marks, lost, absent, failed;
    int again;                  /* what @lost returns */
    int nfds, error;
    uint32_t id, seq, status;
    uint16_t request;
    char text[SDM_WIRE_TEXT_MAX + 1];
};

static struct event_base *base;
static char dir[32];
static char path[64];
static int fds_before;
static struct sdm_text why;
static struct master master;
static struct slave slave, other;

/* ---- the master's side ---- */

static uint32_t grant(void *opaque, uint32_t id, uint64_t ram_size,
                      struct sdm_grant *g, const char **text)
{
    struct master *m = opaque;

    if (ram_size > MEMORY) {
        *text = "too much memory is asked for";
        return SDM_ERR_MEMORY;
    }
    assert_true(id >= 1);
    g->memory_size = MEMORY;
    g->page_size = 4096;
    g->features = 1;
    g->fds[0] = m->memory;
    g->fds[1] = m->ring;
    g->fds[2] = m->kick;
    g->fds[3] = m->kick;
    return SDM_OK;
}

static void hub_event(void *opaque, const struct sdm_hub_event *ev)
{
    struct master *m = opaque;

    m->id = ev->id;
    m->state = ev->state;
    m->status = ev->status;
    snprintf(m->text, sizeof(m->text), "%s", ev->text ? ev->text : "");
    m->joined += ev->type == SDM_HUB_JOINED;
    m->left += ev->type == SDM_HUB_LEFT;
    m->rejected += ev->type == SDM_HUB_REJECTED;
    m->answers += ev->type == SDM_HUB_ANSWER;
    m->states += ev->type == SDM_HUB_STATE;
}

static void hub_refused(void *opaque, const char *text)
{
    struct master *m = opaque;

    m->refused++;
    snprintf(m->text, sizeof(m->text), "%s", text);
}

static struct sdm_libevent_hub_ops hub_ops = {
    .grant = grant,
    .event = hub_event,
    .refused = hub_refused,
};

static void start_master(void)
{
    int ret = sdm_libevent_hub_new(base, path, 2, &hub_ops, &master,
                                   &master.hub, &why);

    if (ret) {
        fail_msg("%s", why.buf);
    }
    sdm_hub_memory(sdm_libevent_hub_core(master.hub), MEMORY, 4096);
}

static void stop_master(void)
{
    sdm_libevent_hub_free(master.hub);
    master.hub = NULL;
}

/* ---- the peers' side ---- */

static void link_event(void *opaque, struct sdm_link_event *ev)
{
    struct slave *s = opaque;

    switch (ev->type) {
    case SDM_LINK_WELCOME:
        s->welcomes++;
        s->id = ev->msg->u.welcome.id;
        s->nfds = ev->nfds;
        break;
    case SDM_LINK_REQUEST:
        s->requests++;
        s->request = ev->msg->type;
        s->seq = ev->msg->seq;
        break;
    case SDM_LINK_PEER:
        s->rows += ev->msg->u.peer.id != 0;
        s->marks += ev->msg->u.peer.id == 0;
        break;
    case SDM_LINK_ERROR:
        s->errors++;
        s->status = ev->msg->u.answer.status;
        snprintf(s->text, sizeof(s->text), "%s", ev->msg->u.answer.text);
        break;
    }
}

static int link_lost(void *opaque, int refused)
{
    struct slave *s = opaque;

    assert_int_equal(refused, s->errors);
    s->lost++;
    return s->again;
}

static void link_absent(void *opaque, const char *text)
{
    struct slave *s = opaque;

    s->absent++;
    snprintf(s->text, sizeof(s->text), "%s", text);
}

static void link_failed(void *opaque, int error, const char *text)
{
    struct slave *s = opaque;

    s->failed++;
    s->error = error;
    snprintf(s->text, sizeof(s->text), "%s", text);
}

static const struct sdm_libevent_link_ops link_ops = {
    .event = link_event,
    .lost = link_lost,
    .absent = link_absent,
    .failed = link_failed,
};

static void make_link(struct slave *s, uint16_t role, uint32_t want_id)
{
    struct sdm_msg hello;

    memset(&hello, 0, sizeof(hello));
    hello.type = SDM_WIRE_HELLO;
    hello.u.hello.role = role;
    if (role == SDM_ROLE_SLAVE) {
        hello.u.hello.machine = 40;
        hello.u.hello.ram_size = RAM_SIZE;
        hello.u.hello.ram_base = 0x40000000;
        hello.u.hello.want_id = want_id;
    }
    s->link = sdm_libevent_link_new(base, path, &hello, &link_ops, s);
    assert_non_null(s->link);
}

static void start_link(struct slave *s, uint16_t role, uint32_t want_id)
{
    make_link(s, role, want_id);
    if (sdm_libevent_link_start(s->link, 0, &why)) {
        fail_msg("%s", why.buf);
    }
}

static void stop_link(struct slave *s)
{
    sdm_libevent_link_free(s->link);
    s->link = NULL;
}

/* ---- the test's side ---- */

/* Run the loop until *@counter is @value; the alarm() is for a broken one. */
static void run_until(const int *counter, int value)
{
    while (*counter < value) {
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    }
    assert_int_equal(*counter, value);
}

static int setup(void **state)
{
    (void)state;
    memset(&master, 0, sizeof(master));
    memset(&slave, 0, sizeof(slave));
    memset(&other, 0, sizeof(other));
    strcpy(dir, "/tmp/sdm-libevent-XXXXXX");
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/s", dir);
    fds_before = count_fds();
    base = event_base_new();
    master.memory = sdm_memfd("memory", NULL, MEMORY, 0);
    master.ring = sdm_memfd("ring", NULL, 4096, 0);
    master.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hub_ops.hello_ms = 0;
    alarm(60);
    return base ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    alarm(0);
    stop_link(&slave);
    stop_link(&other);
    stop_master();
    close(master.memory);
    close(master.ring);
    close(master.kick);
    event_base_free(base);
    if (count_fds() != fds_before) {
        print_error("%d fds before, %d behind\n", fds_before, count_fds());
        return -1;
    }
    return rmdir(dir);
}

static uint32_t request(uint16_t type, unsigned timeout_ms, uint32_t *seq)
{
    const struct sdm_window w = { 0, RAM_SIZE };

    return sdm_libevent_hub_request(master.hub, 1, type,
                                    type == SDM_WIRE_BOOT ? &w : NULL,
                                    timeout_ms, seq, &why);
}

static void join_boot_and_leave(void **state)
{
    uint32_t seq = 0;

    (void)state;
    start_master();
    start_link(&slave, SDM_ROLE_SLAVE, 0);
    run_until(&slave.welcomes, 1);
    assert_int_equal(slave.nfds, 4);
    assert_int_equal(slave.id, 1);
    assert_int_equal(master.joined, 1);

    assert_int_equal(request(SDM_WIRE_BOOT, LONG_MS, &seq), SDM_OK);
    run_until(&slave.requests, 1);
    assert_int_equal(slave.request, SDM_WIRE_BOOT);
    assert_int_equal(slave.seq, seq);
    assert_int_equal(sdm_link_answer(sdm_libevent_link_core(slave.link), seq,
                                     SDM_OK, NULL), 0);
    run_until(&master.answers, 1);
    assert_int_equal(sdm_hub_peer(sdm_libevent_hub_core(master.hub),
                                  1)->state, SDM_STATE_RUNNING);
    stop_link(&slave);
    run_until(&master.left, 1);
    assert_int_equal(master.id, 1);
}

static void silent_slave_hits_the_time_limit(void **state)
{
    uint32_t seq;

    (void)state;
    start_master();
    start_link(&slave, SDM_ROLE_SLAVE, 0);
    run_until(&slave.welcomes, 1);
    assert_int_equal(request(SDM_WIRE_GET_DTB, 1, &seq), SDM_OK);
    run_until(&master.answers, 1);
    assert_int_equal(master.status, SDM_ERR_TIMEOUT);
    assert_int_equal(master.left, 0);
    /* The next request has a limit of its own. */
    assert_int_equal(request(SDM_WIRE_GET_DTB, LONG_MS, &seq), SDM_OK);
    run_until(&slave.requests, 2);
    assert_int_equal(sdm_link_answer(sdm_libevent_link_core(slave.link), seq,
                                     SDM_ERR_UNSUPPORTED, "none"), 0);
    run_until(&master.answers, 2);
    assert_int_equal(master.status, SDM_ERR_UNSUPPORTED);
}

static void lost_slave_ends_its_request(void **state)
{
    uint32_t seq;

    (void)state;
    start_master();
    start_link(&slave, SDM_ROLE_SLAVE, 0);
    run_until(&slave.welcomes, 1);
    assert_int_equal(request(SDM_WIRE_BOOT, LONG_MS, &seq), SDM_OK);
    stop_link(&slave);
    run_until(&master.answers, 1);
    assert_int_equal(master.left, 1);
}

static void refusal_comes_with_its_text(void **state)
{
    (void)state;
    start_master();
    start_link(&slave, SDM_ROLE_SLAVE, 3);
    run_until(&slave.lost, 1);
    assert_int_equal(slave.errors, 1);
    assert_int_equal(slave.status, SDM_ERR_ID);
    assert_non_null(strstr(slave.text, "slave-id=3"));
    assert_int_equal(master.rejected, 1);
    assert_int_equal(slave.absent, 0);
}

static void observer_sees_rows_and_changes(void **state)
{
    (void)state;
    start_master();
    start_link(&other, SDM_ROLE_OBSERVER, 0);
    run_until(&other.marks, 1);
    assert_int_equal(other.rows, 2);
    start_link(&slave, SDM_ROLE_SLAVE, 2);
    run_until(&other.rows, 3);
    stop_link(&slave);
    run_until(&other.rows, 4);
}

static void master_is_waited_for_and_found_again(void **state)
{
    (void)state;
    make_link(&slave, SDM_ROLE_SLAVE, 0);
    assert_int_equal(sdm_libevent_link_start(slave.link, 0, &why), -ENOENT);
    assert_non_null(strstr(why.buf, path));
    assert_int_equal(slave.absent, 0);

    assert_int_equal(sdm_libevent_link_start(slave.link, 1, &why), 0);
    assert_int_equal(slave.absent, 1);
    assert_non_null(strstr(slave.text, "no master at"));
    /* Two more tries, and it is not said again. */
    event_base_loop(base, EVLOOP_ONCE);
    event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(slave.absent, 1);
    start_master();
    run_until(&slave.welcomes, 1);

    slave.again = 1;
    stop_master();
    run_until(&slave.absent, 2);
    assert_int_equal(slave.lost, 1);
    start_master();
    run_until(&slave.welcomes, 2);
    assert_int_equal(slave.id, 1);

    slave.again = 0;
    stop_master();
    run_until(&slave.lost, 2);
    assert_int_equal(slave.absent, 2);
}

static void lasting_error_ends_the_search(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    (void)state;
    make_link(&slave, SDM_ROLE_SLAVE, 0);
    assert_int_equal(sdm_libevent_link_start(slave.link, 1, &why), 0);
    /* Another program takes the place. */
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    assert_int_equal(listen(fd, 1), 0);
    run_until(&slave.failed, 1);
    assert_int_equal(slave.error, EPROTOTYPE);
    assert_non_null(strstr(slave.text, "another program"));
    close(fd);
    unlink(path);
}

/* A peer without a link: what it says goes out as it is. */
static int raw_peer(void)
{
    int fd = sdm_socket_connect(path, &why);

    assert_true(fd >= 0);
    return fd;
}

/* The next packet must be an ERROR with this status; behind it is the end. */
static void assert_error(int fd, uint32_t status, const char *text)
{
    char buf[SDM_WIRE_MAX];
    int fds[SDM_WIRE_MAX_FDS];
    struct sdm_msg msg;
    unsigned nfds;
    ssize_t len;

    len = sdm_socket_recv(fd, buf, fds, &nfds);
    assert_true(len > 0);
    assert_int_equal(sdm_msg_decode(&msg, buf, len, nfds), 0);
    assert_int_equal(msg.type, SDM_WIRE_ERROR);
    assert_int_equal(msg.u.answer.status, status);
    assert_non_null(strstr(msg.u.answer.text, text));
    assert_int_equal(sdm_socket_recv(fd, buf, fds, &nfds), 0);
    close(fd);
}

static void garbage_is_refused_and_nobody_else_notices(void **state)
{
    static char big[SDM_WIRE_MAX + 1];
    int fd, fds[SDM_WIRE_MAX_FDS];
    unsigned i;

    (void)state;
    start_master();
    start_link(&slave, SDM_ROLE_SLAVE, 0);
    run_until(&slave.welcomes, 1);

    fd = raw_peer();
    assert_int_equal(sdm_socket_send(fd, "garbage", 7, NULL, 0), 0);
    /* Still more behind it: the refusal must come through the reset. */
    assert_int_equal(sdm_socket_send(fd, "garbage", 7, NULL, 0), 0);
    run_until(&master.rejected, 1);
    assert_error(fd, SDM_ERR_INVAL, "");

    fd = raw_peer();
    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        fds[i] = fd;
    }
    assert_int_equal(sdm_socket_send(fd, "fds", 3, fds, SDM_WIRE_MAX_FDS), 0);
    run_until(&master.rejected, 2);
    assert_error(fd, SDM_ERR_INVAL, "");

    fd = raw_peer();
    assert_int_equal(send(fd, big, sizeof(big), 0), sizeof(big));
    run_until(&master.rejected, 3);
    assert_error(fd, SDM_ERR_INVAL, "too long");

    assert_int_equal(master.left, 0);
    assert_int_equal(slave.lost, 0);
}

static void late_hello_is_refused(void **state)
{
    int fd;

    (void)state;
    hub_ops.hello_ms = 1;
    start_master();
    fd = raw_peer();
    run_until(&master.rejected, 1);
    assert_error(fd, SDM_ERR_TIMEOUT, "no HELLO");
}

static void peer_that_does_not_read_is_closed(void **state)
{
    struct sdm_msg hello;
    char buf[SDM_WIRE_MAX];
    int fd, len;
    uint32_t i;

    (void)state;
    start_master();
    start_link(&slave, SDM_ROLE_SLAVE, 0);
    run_until(&slave.welcomes, 1);
    memset(&hello, 0, sizeof(hello));
    hello.type = SDM_WIRE_HELLO;
    hello.u.hello.version_min = hello.u.hello.version_max = 1;
    hello.u.hello.role = SDM_ROLE_OBSERVER;
    len = sdm_msg_encode(&hello, buf);
    fd = raw_peer();
    assert_int_equal(sdm_socket_send(fd, buf, len, NULL, 0), 0);

    /* Each turn tells all observers; the one that reads stays. */
    start_link(&other, SDM_ROLE_OBSERVER, 0);
    run_until(&other.marks, 1);
    for (i = 0; !master.rejected; i++) {
        assert_true(i < 1000000);
        stop_link(&slave);
        run_until(&master.left, i + 1);
        start_link(&slave, SDM_ROLE_SLAVE, 0);
        run_until(&slave.welcomes, i + 2);
    }
    assert_int_equal(master.rejected, 1);
    assert_int_equal(other.lost, 0);
    close(fd);
}

static void surplus_connections_are_refused(void **state)
{
    int fds[SDM_HUB_CONNS + 1], n, next;
    struct rlimit saved, small;

    (void)state;
    start_master();
    for (n = 0; n < (int)SDM_HUB_CONNS; n++) {
        fds[n] = raw_peer();
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    fds[n] = raw_peer();
    run_until(&master.refused, 1);
    assert_non_null(strstr(master.text, "all 80 connections are in use"));
    for (n = 0; n <= (int)SDM_HUB_CONNS; n++) {
        close(fds[n]);
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
    start_link(&slave, SDM_ROLE_SLAVE, 0);
    run_until(&slave.welcomes, 1);

    /* Out of fds: said once, and it goes on when there are some again. */
    n = raw_peer();
    next = dup(n);
    close(next);
    getrlimit(RLIMIT_NOFILE, &saved);
    small = saved;
    small.rlim_cur = next;
    setrlimit(RLIMIT_NOFILE, &small);
    run_until(&master.refused, 2);
    setrlimit(RLIMIT_NOFILE, &saved);
    assert_non_null(strstr(master.text, "cannot accept"));
    close(n);
    start_link(&other, SDM_ROLE_SLAVE, 0);
    run_until(&other.welcomes, 1);
    assert_int_equal(master.refused, 2);
}

static void second_master_gets_the_text(void **state)
{
    struct sdm_libevent_hub *hub = NULL;

    (void)state;
    start_master();
    assert_int_equal(sdm_libevent_hub_new(base, path, 1, &hub_ops, &master,
                                          &hub, &why), -EADDRINUSE);
    assert_null(hub);
    assert_non_null(strstr(why.buf, "another master"));
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(join_boot_and_leave),
        TEST(silent_slave_hits_the_time_limit),
        TEST(lost_slave_ends_its_request),
        TEST(refusal_comes_with_its_text),
        TEST(observer_sees_rows_and_changes),
        TEST(master_is_waited_for_and_found_again),
        TEST(lasting_error_ends_the_search),
        TEST(garbage_is_refused_and_nobody_else_notices),
        TEST(late_hello_is_refused),
        TEST(peer_that_does_not_read_is_closed),
        TEST(surplus_connections_are_refused),
        TEST(second_master_gets_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
