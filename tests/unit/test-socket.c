/* SPDX-License-Identifier: GPL-2.0-or-later */
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/sdm-socket.h"
#include "tests/unit/fd-count.h"

#define NOBODY  65534

static char dir[32];
static char path[64];
static char lock_path[80];
static int fds_before;
static struct sdm_text why;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/sdm-socket-XXXXXX");
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    sdm_text_init(&why);
    fds_before = count_fds();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(lock_path);
    if (count_fds() != fds_before) {
        print_error("%d fds before, %d behind\n", fds_before, count_fds());
        return -1;
    }
    return rmdir(dir);
}

static int exists(const char *name)
{
    struct stat st;

    return !lstat(name, &st);
}

static void assert_says(const char *what)
{
    if (!strstr(why.buf, what)) {
        fail_msg("'%s' does not say '%s'", why.buf, what);
    }
}

/* Both ends of one connection through the real calls. */
static void connect_pair(int pair[2])
{
    int lock = -1, fd;
    pid_t pid;

    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);
    pair[0] = sdm_socket_connect(path, &why);
    assert_true(pair[0] >= 0);
    pair[1] = sdm_socket_accept(fd, &pid, &why);
    assert_true(pair[1] >= 0);
    assert_int_equal(pid, getpid());
    sdm_socket_unlisten(path, fd, lock);
}

static void close_pair(int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

/* As a peer might do it: any number of fds, any length. */
static void send_raw(int sock, const void *buf, size_t len, int fd,
                     unsigned n)
{
    char control[CMSG_SPACE(16 * sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct cmsghdr *cmsg;
    unsigned i;

    if (n) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
        for (i = 0; i < n; i++) {
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(fd));
        }
    }
    assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), len);
}

/* A child that does @run and then waits to be killed. */
static pid_t start_child(int (*run)(void))
{
    int ready[2];
    pid_t pid;
    char c;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        c = run() == 0 ? 'y' : 'n';
        if (write(ready[1], &c, 1) == 1) {
            pause();
        }
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    assert_int_equal(c, 'y');
    return pid;
}

static void kill_child(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int child_listens(void)
{
    int lock;

    return sdm_socket_listen(path, &lock, NULL) >= 0 ? 0 : -1;
}

static void listen_makes_private_files(void **state)
{
    struct stat st;
    int fd, lock;
    mode_t mask;

    (void)state;
    mask = umask(0);
    fd = sdm_socket_listen(path, &lock, &why);
    umask(mask);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(lock_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(lock, F_GETFD) & FD_CLOEXEC);
    sdm_socket_unlisten(path, fd, lock);
    assert_false(exists(path));
    assert_false(exists(lock_path));
}

static void both_ends_are_nonblocking_and_cloexec(void **state)
{
    int pair[2], i;

    (void)state;
    connect_pair(pair);
    for (i = 0; i < 2; i++) {
        assert_true(fcntl(pair[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(pair[i], F_GETFD) & FD_CLOEXEC);
    }
    close_pair(pair);
}

static void path_length_is_checked(void **state)
{
    char longest[108], too_long[109];
    int fd, lock;

    (void)state;
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, dir, strlen(dir));
    longest[strlen(dir)] = '/';
    longest[107] = '\0';
    memset(too_long, 'x', sizeof(too_long));
    too_long[108] = '\0';

    assert_int_equal(sdm_socket_listen(too_long, &lock, &why), -ENAMETOOLONG);
    assert_says("has 108 bytes");
    assert_says("limit is 107");
    assert_says("shorter");
    sdm_text_init(&why);
    assert_int_equal(sdm_socket_connect(too_long, &why), -ENAMETOOLONG);
    assert_says("limit is 107");
    assert_int_equal(sdm_socket_connect("", &why), -EINVAL);
    assert_says("empty");

    fd = sdm_socket_listen(longest, &lock, &why);
    assert_true(fd >= 0);
    sdm_socket_unlisten(longest, fd, lock);
    assert_false(exists(longest));
}

static void second_master_is_refused(void **state)
{
    int fd, lock, other_lock = -1, peer;

    (void)state;
    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);
    assert_int_equal(sdm_socket_listen(path, &other_lock, &why), -EADDRINUSE);
    assert_says("another master listens at");
    assert_says(path);
    assert_int_equal(other_lock, -1);
    peer = sdm_socket_connect(path, &why);
    assert_true(peer >= 0);
    close(peer);
    sdm_socket_unlisten(path, fd, lock);
}

static void killed_master_leaves_no_obstacle(void **state)
{
    int fd, lock;
    pid_t pid;

    (void)state;
    pid = start_child(child_listens);
    assert_int_equal(sdm_socket_listen(path, &lock, &why), -EADDRINUSE);
    kill_child(pid);
    assert_true(exists(path));
    assert_int_equal(sdm_socket_connect(path, &why), -ECONNREFUSED);
    assert_says("no master at");
    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);
    sdm_socket_unlisten(path, fd, lock);
}

static void other_files_are_left_alone(void **state)
{
    int fd, lock;

    (void)state;
    fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sdm_socket_listen(path, &lock, &why), -EEXIST);
    assert_says("is no socket");
    assert_true(exists(path));
    assert_false(exists(lock_path));
}

static void foreign_socket_is_left_alone(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, lock;

    (void)state;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(sdm_socket_listen(path, &lock, &why), -EADDRINUSE);
    assert_says("another program listens");
    assert_true(exists(path));
    assert_int_equal(sdm_socket_connect(path, &why), -EPROTOTYPE);
    assert_says("another program");
    close(fd);
}

static void symlink_as_lock_is_refused(void **state)
{
    int lock;

    (void)state;
    assert_int_equal(symlink("/dev/null", lock_path), 0);
    assert_int_equal(sdm_socket_listen(path, &lock, &why), -ELOOP);
    assert_says(lock_path);
}

static void missing_directory_is_named(void **state)
{
    char missing[80];
    int lock;

    (void)state;
    snprintf(missing, sizeof(missing), "%s/none/s", dir);
    assert_int_equal(sdm_socket_listen(missing, &lock, &why), -ENOENT);
    assert_says(missing);
    assert_says("directory must exist");
    assert_int_equal(sdm_socket_connect(missing, &why), -ENOENT);
    assert_says("no master at");
}

static void full_backlog_is_eagain(void **state)
{
    int fds[SDM_MAX_SLAVES + 8], fd, lock, n = 0;

    (void)state;
    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);
    do {
        assert_true(n < (int)SDM_MAX_SLAVES + 8);
        fds[n] = sdm_socket_connect(path, &why);
    } while (fds[n] >= 0 && ++n);
    assert_int_equal(fds[n], -EAGAIN);
    assert_says("try again");
    assert_true(n >= (int)SDM_MAX_SLAVES);
    while (n--) {
        close(fds[n]);
    }
    sdm_socket_unlisten(path, fd, lock);
}

static void accept_without_anyone_is_eagain(void **state)
{
    int fd, lock;
    pid_t pid;

    (void)state;
    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);
    assert_int_equal(sdm_socket_accept(fd, &pid, &why), -EAGAIN);
    sdm_socket_unlisten(path, fd, lock);
}

static int child_connects_as_nobody(void)
{
    return setuid(NOBODY) || sdm_socket_connect(path, NULL) >= 0 ? -1 : 0;
}

static int child_listens_as_nobody(void)
{
    return setuid(NOBODY) ? -1 : child_listens();
}

static int child_connects_raw_as_nobody(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    return setuid(NOBODY) ||
           connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static void other_users_are_refused(void **state)
{
    int fd, lock;
    pid_t pid, peer;
    char who[32];

    (void)state;
    if (geteuid()) {
        skip();
    }
    assert_int_equal(chmod(dir, 0777), 0);
    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);

    /* The file's mode keeps them out, ... */
    pid = start_child(child_connects_as_nobody);
    kill_child(pid);
    assert_int_equal(sdm_socket_accept(fd, &peer, &why), -EAGAIN);

    /* ... and where it does not, the credentials do. */
    assert_int_equal(chmod(path, 0777), 0);
    pid = start_child(child_connects_raw_as_nobody);
    assert_int_equal(sdm_socket_accept(fd, &peer, &why), -EACCES);
    snprintf(who, sizeof(who), "process %d of uid %d", (int)pid, NOBODY);
    assert_says(who);
    kill_child(pid);
    sdm_socket_unlisten(path, fd, lock);

    pid = start_child(child_listens_as_nobody);
    assert_int_equal(sdm_socket_connect(path, &why), -EACCES);
    assert_says("runs as uid 65534");
    kill_child(pid);
}

static void unlisten_spares_a_successor(void **state)
{
    int fd, lock, fd2, lock2;

    (void)state;
    fd = sdm_socket_listen(path, &lock, &why);
    assert_true(fd >= 0);
    /* Somebody cleans up by hand, and a new master comes. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(lock_path), 0);
    fd2 = sdm_socket_listen(path, &lock2, &why);
    assert_true(fd2 >= 0);
    sdm_socket_unlisten(path, fd, lock);
    assert_true(exists(path));
    assert_true(exists(lock_path));
    sdm_socket_unlisten(path, fd2, lock2);
}

static void fds_arrive_in_order(void **state)
{
    int pair[2], ends[2], pass[6], fds[SDM_WIRE_MAX_FDS];
    char buf[SDM_WIRE_MAX];
    unsigned n, i;
    char c;

    (void)state;
    connect_pair(pair);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pass[0] = -1;
    pass[1] = ends[0];
    pass[2] = -1;
    pass[3] = ends[1];
    assert_int_equal(sdm_socket_send(pair[0], "hello", 5, pass, 4), 0);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(n, 2);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(read(fds[0], &c, 1), 1);
    for (i = 0; i < n; i++) {
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        close(fds[i]);
    }

    for (i = 0; i < SDM_WIRE_MAX_FDS; i++) {
        pass[i] = ends[0];
    }
    assert_int_equal(sdm_socket_send(pair[0], "4", 1, pass, 4), 0);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), 1);
    assert_int_equal(n, 4);
    while (n--) {
        close(fds[n]);
    }
    close_pair(pair);
    close(ends[0]);
    close(ends[1]);
}

static void send_refuses_what_does_not_fit(void **state)
{
    static char buf[SDM_WIRE_MAX + 1];
    int pair[2], pass[SDM_WIRE_MAX_FDS + 1], fds[SDM_WIRE_MAX_FDS];
    unsigned n, i;

    (void)state;
    connect_pair(pair);
    for (i = 0; i <= SDM_WIRE_MAX_FDS; i++) {
        pass[i] = pair[0];
    }
    assert_int_equal(sdm_socket_send(pair[0], "x", 1, pass,
                                     SDM_WIRE_MAX_FDS + 1), -EINVAL);
    assert_int_equal(sdm_socket_send(pair[0], buf, sizeof(buf), NULL, 0),
                     -EMSGSIZE);
    assert_int_equal(sdm_socket_send(pair[0], buf, 0, NULL, 0), -EMSGSIZE);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), -EAGAIN);
    assert_int_equal(n, 0);
    assert_int_equal(sdm_socket_send(pair[0], buf, SDM_WIRE_MAX, NULL, 0), 0);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), SDM_WIRE_MAX);
    close_pair(pair);
}

static void send_never_waits(void **state)
{
    static char buf[SDM_WIRE_MAX];
    int pair[2], ret, i = 0;

    (void)state;
    connect_pair(pair);
    do {
        ret = sdm_socket_send(pair[0], buf, sizeof(buf), NULL, 0);
        assert_true(++i < 1000000);
    } while (!ret);
    assert_int_equal(ret, -EAGAIN);
    close_pair(pair);
}

static void closed_peer_is_an_error_not_a_signal(void **state)
{
    char buf[SDM_WIRE_MAX];
    int pair[2], fds[SDM_WIRE_MAX_FDS];
    unsigned n;

    (void)state;
    connect_pair(pair);
    close(pair[1]);
    assert_int_equal(sdm_socket_send(pair[0], "x", 1, NULL, 0), -EPIPE);
    assert_int_equal(sdm_socket_recv(pair[0], buf, fds, &n), 0);
    close(pair[0]);
}

static void words_before_a_reset_are_read(void **state)
{
    char buf[SDM_WIRE_MAX];
    int pair[2], fds[SDM_WIRE_MAX_FDS];
    unsigned n;

    (void)state;
    connect_pair(pair);
    assert_int_equal(sdm_socket_send(pair[0], "unread", 6, NULL, 0), 0);
    assert_int_equal(sdm_socket_send(pair[1], "why", 3, NULL, 0), 0);
    close(pair[1]);
    assert_int_equal(sdm_socket_recv(pair[0], buf, fds, &n), 3);
    assert_int_equal(sdm_socket_recv(pair[0], buf, fds, &n), 0);
    close(pair[0]);
}

static void surplus_fds_are_closed(void **state)
{
    char buf[SDM_WIRE_MAX];
    int pair[2], fds[SDM_WIRE_MAX_FDS], before;
    unsigned n;

    (void)state;
    connect_pair(pair);
    before = count_fds();
    send_raw(pair[0], "x", 1, pair[0], SDM_WIRE_MAX_FDS + 1);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), -EMSGSIZE);
    assert_int_equal(n, 0);
    assert_int_equal(count_fds(), before);
    /* The connection itself is not harmed. */
    send_raw(pair[0], "y", 1, -1, 0);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), 1);
    close_pair(pair);
}

static void long_packets_lose_their_fds(void **state)
{
    static char big[SDM_WIRE_MAX + 1];
    char buf[SDM_WIRE_MAX];
    int pair[2], fds[SDM_WIRE_MAX_FDS], before;
    unsigned n;

    (void)state;
    connect_pair(pair);
    before = count_fds();
    send_raw(pair[0], big, sizeof(big), pair[0], 2);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), -EMSGSIZE);
    assert_int_equal(count_fds(), before);
    close_pair(pair);
}

static void empty_packets_lose_their_fds(void **state)
{
    char buf[SDM_WIRE_MAX];
    int pair[2], fds[SDM_WIRE_MAX_FDS], before;
    unsigned n;

    (void)state;
    connect_pair(pair);
    before = count_fds();
    send_raw(pair[0], NULL, 0, pair[0], 3);
    assert_int_equal(sdm_socket_recv(pair[1], buf, fds, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(count_fds(), before);
    close_pair(pair);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(listen_makes_private_files),
        TEST(both_ends_are_nonblocking_and_cloexec),
        TEST(path_length_is_checked),
        TEST(second_master_is_refused),
        TEST(killed_master_leaves_no_obstacle),
        TEST(other_files_are_left_alone),
        TEST(foreign_socket_is_left_alone),
        TEST(symlink_as_lock_is_refused),
        TEST(missing_directory_is_named),
        TEST(full_backlog_is_eagain),
        TEST(accept_without_anyone_is_eagain),
        TEST(other_users_are_refused),
        TEST(unlisten_spares_a_successor),
        TEST(fds_arrive_in_order),
        TEST(send_refuses_what_does_not_fit),
        TEST(send_never_waits),
        TEST(closed_peer_is_an_error_not_a_signal),
        TEST(words_before_a_reset_are_read),
        TEST(surplus_fds_are_closed),
        TEST(long_packets_lose_their_fds),
        TEST(empty_packets_lose_their_fds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
