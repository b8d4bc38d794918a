/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in a guest, for tests/system/driver.py: what the driver promises about
 * /dev/sdmN (docs/user/chardev.rst), tried from user space.
 *
 *   driver-test CASE FROM TO TARGET [N]
 *
 * FROM and TO are device numbers, or - where the other side is in another
 * guest; TARGET is the id of the device TO, as FROM sees it. Signals 0, 8 and 9
 * are offered. exit status: 0 as promised, 1 not
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sdm/chardev.h"

#define CHECK(c)                                                        \
    do {                                                                \
        if (!(c)) {                                                     \
            printf("line %d: not true: %s (errno %d: %s)\n", __LINE__,  \
                   #c, errno, strerror(errno));                         \
            fflush(stdout);                                             \
            _exit(1);                                                   \
        }                                                               \
    } while (0)

/* A call that fails with this errno. */
#define FAILS(call, number) CHECK((call) == -1 && errno == (number))

#define SIZE  sizeof(struct sdm_signal)

static char from_path[16], to_path[16];
static uint16_t target;
static unsigned count;

static int open_sdm(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    CHECK(fd >= 0);
    return fd;
}

static struct sdm_signal make(uint32_t type, uint32_t cookie, uint64_t number)
{
    struct sdm_signal signal = {
        .type = sdm_to_le32(type),
        .target = sdm_to_le16(target),
        .cookie = sdm_to_le32(cookie),
        .payload = { sdm_to_le64(number), sdm_to_le64(~number) },
    };

    return signal;
}

static void put(int fd, uint32_t type, uint64_t number)
{
    struct sdm_signal signal = make(type, 0, number);

    CHECK(write(fd, &signal, SIZE) == (ssize_t)SIZE);
}

/* Wait for one, which has to be this. */
static void get(int fd, uint32_t type, uint64_t number)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    struct sdm_signal signal;

    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLIN);
    CHECK(read(fd, &signal, SIZE) == (ssize_t)SIZE);
    if (sdm_from_le32(signal.type) != type ||
        sdm_from_le64(signal.payload[0]) != number) {
        printf("got signal %u with %llu, not %u with %llu\n",
               sdm_from_le32(signal.type),
               (unsigned long long)sdm_from_le64(signal.payload[0]), type,
               (unsigned long long)number);
    }
    CHECK(sdm_from_le32(signal.type) == type);
    CHECK(sdm_from_le64(signal.payload[0]) == number);
    CHECK(sdm_from_le64(signal.payload[1]) == ~number);
}

/* Nothing waits: @fd is non-blocking. */
static void none(int fd)
{
    struct sdm_signal signal;

    FAILS(read(fd, &signal, SIZE), EAGAIN);
}

static int filter(int fd, uint32_t types, uint64_t low, uint64_t high)
{
    struct sdm_ioc_filter f = { .types = types, .sources = { low, high } };

    return ioctl(fd, SDM_IOC_FILTER, &f);
}

/* ------------------------------------------------------------------ errors */

static void errors(void)
{
    int fd = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    int read_only = open_sdm(from_path, O_RDONLY);
    struct sdm_ioc_info info;
    struct sdm_ioc_peer peer;
    struct sdm_ioc_send send;
    struct sdm_ioc_filter f;
    struct sdm_signal signals[2];
    void *volatile bad = (void *)8;     /* unknown to the compiler */

    CHECK(!ioctl(fd, SDM_IOC_INFO, &info));
    CHECK(info.version == 1 && (info.features & 0x301) == 0x301);

    none(fd);
    FAILS(read(fd, signals, SIZE - 1), EINVAL);
    FAILS(write(fd, signals, SIZE - 1), EINVAL);
    FAILS(write(fd, bad, SIZE), EFAULT);
    FAILS(write(read_only, signals, SIZE), EBADF);
    FAILS(lseek(fd, 0, SEEK_SET), ESPIPE);
    FAILS(ioctl(fd, _IO('S', 0xff)), ENOTTY);
    FAILS(ioctl(fd, SDM_IOC_INFO, bad), EFAULT);
    FAILS(ioctl(fd, SDM_IOC_PEER, bad), EFAULT);
    FAILS(ioctl(fd, SDM_IOC_SEND, bad), EFAULT);
    FAILS(ioctl(fd, SDM_IOC_FILTER, bad), EFAULT);
    peer.id = info.num_slaves + 1;
    FAILS(ioctl(fd, SDM_IOC_PEER, &peer), EINVAL);

    FAILS(filter(fd, 1u << 24, ~0ull, ~0ull), EINVAL);
    FAILS(filter(fd, 1u << 8, 0, 0), EINVAL);
    f = (struct sdm_ioc_filter){ 1, 1, { 1, 0 } };
    FAILS(ioctl(fd, SDM_IOC_FILTER, &f), EINVAL);
    CHECK(!filter(fd, 0, 0, 0));

    memset(&send, 0, sizeof(send));
    send.signal = make(23, 0, 1);       /* not offered */
    CHECK(!ioctl(fd, SDM_IOC_SEND, &send));
    CHECK(send.status == SDM_ERR_UNSUPPORTED);
    send.signal = make(8, 0, 1);
    send.signal.target = sdm_to_le16(999);
    CHECK(!ioctl(fd, SDM_IOC_SEND, &send));
    CHECK(send.status != SDM_OK);
    /* A master's own id means the one slave, as the RFC's letter has it. */
    if (info.device_id != SDM_ID_MASTER) {
        send.signal.target = sdm_to_le16(info.device_id);
        CHECK(!ioctl(fd, SDM_IOC_SEND, &send));
        CHECK(send.status != SDM_OK);
    }
    send.signal = make(8, 0, 1);
    send.signal.flags = sdm_to_le32(0x80);
    CHECK(!ioctl(fd, SDM_IOC_SEND, &send));
    CHECK(send.status == SDM_ERR_INVAL);

    /* With a status that write(2) turns into an errno. */
    close(fd);
    fd = open_sdm(from_path, O_RDWR);
    signals[0] = make(23, 0, 1);
    FAILS(write(fd, signals, SIZE), EOPNOTSUPP);
    close(fd);
    close(read_only);

    /* A bad buffer loses nothing. */
    fd = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    put(open_sdm(from_path, O_RDWR), 8, 77);
    {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        CHECK(poll(&p, 1, -1) == 1);
    }
    FAILS(read(fd, bad, SIZE), EFAULT);
    get(fd, 8, 77);
    none(fd);
}

/* ------------------------------------------------------------------- order */

#define SENDERS 3

static void *send_many(void *arg)
{
    uint32_t me = (uintptr_t)arg;
    int fd = open_sdm(from_path, O_RDWR);
    struct sdm_signal batch[5];
    unsigned done = 0;

    while (done < count) {
        unsigned n = 0;
        ssize_t sent;

        while (n < 5 && done + n < count) {
            batch[n] = make(me % 2 ? 8 : 0, me, done + n);
            n++;
        }
        sent = write(fd, batch, n * SIZE);
        CHECK(sent > 0 && sent % SIZE == 0);
        done += sent / SIZE;
    }
    close(fd);
    return NULL;
}

static void start_senders(pthread_t *threads)
{
    for (uintptr_t i = 0; i < SENDERS; i++) {
        CHECK(!pthread_create(&threads[i], NULL, send_many, (void *)i));
    }
}

static void check_one(const struct sdm_signal *s, uint32_t *sender,
                      uint64_t *number)
{
    *sender = sdm_from_le32(s->cookie);
    *number = sdm_from_le64(s->payload[0]);
    CHECK(*sender < SENDERS && *number < count);
    CHECK(sdm_from_le64(s->payload[1]) == ~*number);
    CHECK(sdm_from_le32(s->type) == (*sender % 2 ? 8 : 0));
}

/* Many senders, one reader: each sender's order is kept. */
static void *receive_in_order(void *arg)
{
    int fd = open_sdm(to_path, O_RDONLY);
    uint64_t next[SENDERS] = { 0 };
    struct sdm_signal batch[7];
    unsigned left = SENDERS * count;

    (void)arg;
    /* Not what the device itself has to say (STATE). */
    CHECK(!filter(fd, 1u << 8 | 1, ~0ull, ~0ull));
    while (left) {
        ssize_t n = read(fd, batch, sizeof(batch));

        CHECK(n > 0 && n % SIZE == 0);
        for (unsigned i = 0; i < n / SIZE; i++) {
            uint32_t sender;
            uint64_t number;

            check_one(&batch[i], &sender, &number);
            CHECK(number == next[sender]);
            next[sender]++;
            left--;
        }
    }
    close(fd);
    return NULL;
}

static void order(void)
{
    pthread_t senders[SENDERS], reader;

    CHECK(!pthread_create(&reader, NULL, receive_in_order, NULL));
    start_senders(senders);
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i], NULL);
    }
    pthread_join(reader, NULL);
}

/* The two halves of it, for two guests. */
static void order_send(void)
{
    pthread_t senders[SENDERS];

    start_senders(senders);
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i], NULL);
    }
}

static void order_receive(void)
{
    receive_in_order(NULL);
}

/* ----------------------------------------------------------------- readers */

#define READERS 6

static unsigned char *seen;     /* [sender][number] */
static unsigned total;
static int stop_pipe[2];

/* Each waits in another way; all but the first do not block in read(2). */
static int wait_somehow(unsigned way, int fd, int epoll)
{
    struct pollfd p[2] = { { fd, POLLIN, 0 }, { stop_pipe[0], POLLIN, 0 } };
    struct epoll_event event;
    fd_set set;

    switch (way % 3) {
    case 0:
        CHECK(poll(p, 2, -1) > 0);
        return !p[1].revents;
    case 1:
        FD_ZERO(&set);
        FD_SET(fd, &set);
        FD_SET(stop_pipe[0], &set);
        CHECK(select((fd > stop_pipe[0] ? fd : stop_pipe[0]) + 1, &set, NULL,
                     NULL, NULL) > 0);
        return !FD_ISSET(stop_pipe[0], &set);
    default:
        CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
        return event.data.fd == fd;
    }
}

static void *receive_some(void *arg)
{
    unsigned way = (uintptr_t)arg;
    int fd = open_sdm(to_path, O_RDONLY | O_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    struct sdm_signal batch[3];

    CHECK(epoll >= 0);
    CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    event.data.fd = stop_pipe[0];
    CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, stop_pipe[0], &event));
    while (wait_somehow(way, fd, epoll)) {
        ssize_t n = read(fd, batch, sizeof(batch));

        if (n < 0) {
            CHECK(errno == EAGAIN);     /* another one was faster */
            continue;
        }
        for (unsigned i = 0; i < n / SIZE; i++) {
            uint32_t sender;
            uint64_t number;

            check_one(&batch[i], &sender, &number);
            /* Exactly one reader gets it. */
            CHECK(!__atomic_exchange_n(&seen[sender * count + number], 1,
                                       __ATOMIC_SEQ_CST));
            if (__atomic_add_fetch(&total, 1, __ATOMIC_SEQ_CST) ==
                SENDERS * count) {
                CHECK(write(stop_pipe[1], "x", 1) == 1);
            }
        }
    }
    close(epoll);
    close(fd);
    return NULL;
}

static void readers(void)
{
    pthread_t senders[SENDERS], threads[READERS];

    seen = calloc(SENDERS, count);
    CHECK(seen);
    CHECK(!pipe(stop_pipe));
    for (uintptr_t i = 0; i < READERS; i++) {
        CHECK(!pthread_create(&threads[i], NULL, receive_some, (void *)i));
    }
    start_senders(senders);
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i], NULL);
    }
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(total == SENDERS * count);
}

/* ---------------------------------------------------------------- nonblock */

/*
 * Write until there is no room at all; @fd is non-blocking. An answer that
 * comes late makes room once more, so poll(2) has the last word: it says no,
 * and goes on saying so for a moment. No case relies on more than that.
 */
static unsigned fill(int fd, uint32_t type, unsigned first)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    unsigned n = first;

    do {
        struct sdm_signal signal = make(type, 0, n);
        ssize_t sent = write(fd, &signal, SIZE);

        CHECK(sent == (ssize_t)SIZE || (sent == -1 && errno == EAGAIN));
        if (sent > 0) {
            n++;
        }
    } while (poll(&p, 1, 1000));
    return n;
}

static void nonblock(void)
{
    int from = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    int to = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    struct pollfd p = { .fd = from, .events = POLLOUT | POLLIN };
    struct sdm_signal signals[3];
    unsigned n;

    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLOUT);
    n = fill(from, 8, 0);
    printf("room for %u\n", n);
    CHECK(n > 256);

    /* All come, in order, and there is room again. */
    for (unsigned i = 0; i < n; i++) {
        get(to, 8, i);
    }
    none(to);
    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLOUT);

    /* A refused one: told once, by this write or a later one. */
    signals[0] = make(8, 0, 1);
    signals[1] = make(23, 0, 2);
    signals[2] = make(8, 0, 3);
    CHECK(write(from, signals, 2 * SIZE) > 0);
    p.events = 0;
    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLERR);
    FAILS(write(from, &signals[2], SIZE), EOPNOTSUPP);
    CHECK(poll(&p, 1, 0) == 0);
    CHECK(write(from, &signals[2], SIZE) == (ssize_t)SIZE);
    get(to, 8, 1);
    get(to, 8, 3);
    none(to);
}

/* ------------------------------------------------------------------ filter */

static void filters(void)
{
    int from = open_sdm(from_path, O_RDWR);
    int a = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    int b = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    int c = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    struct sdm_ioc_info info;
    uint64_t source;

    CHECK(!ioctl(from, SDM_IOC_INFO, &info));
    source = 1ull << info.device_id;

    /* Each reads its own, the third one all others. */
    CHECK(!filter(a, 1u << 8, ~0ull, ~0ull));
    CHECK(!filter(b, 1u << 9, source, 0));
    put(from, 8, 1);
    put(from, 9, 2);
    put(from, 0, 3);
    put(from, 8, 4);
    put(from, 9, 5);
    get(c, 0, 3);
    get(b, 9, 2);
    get(b, 9, 5);
    get(a, 8, 1);
    get(a, 8, 4);
    none(a);
    none(b);
    none(c);

    /* No two claim the same; a refused filter leaves the old one. */
    FAILS(filter(c, 1u << 8, source, 0), EBUSY);
    FAILS(filter(b, 3u << 8, ~0ull, ~0ull), EBUSY);
    put(from, 9, 6);
    get(b, 9, 6);
    none(c);
    CHECK(!filter(a, 1u << 8, source, 0));
    CHECK(!filter(c, 1u << 8, 0, 1));     /* from nobody who is here */
    put(from, 8, 7);
    get(a, 8, 7);
    CHECK(!filter(c, 0, 0, 0));
    CHECK(!filter(a, 1u << 8 | 1, ~0ull, ~0ull));
    put(from, 0, 8);
    get(a, 0, 8);

    /* What waits goes with the filter: when it ends, */
    put(from, 8, 9);
    put(from, 9, 10);
    put(from, 8, 11);
    get(b, 9, 10);
    close(a);
    get(c, 8, 9);
    put(from, 0, 12);
    get(c, 8, 11);
    get(c, 0, 12);
    /* and when it is set. */
    put(from, 8, 13);
    put(from, 0, 14);
    put(from, 8, 15);
    {
        struct pollfd p = { .fd = c, .events = POLLIN };

        CHECK(poll(&p, 1, -1) == 1);
    }
    a = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    CHECK(!filter(a, 1u << 8, ~0ull, ~0ull));
    get(c, 0, 14);
    get(a, 8, 13);
    get(a, 8, 15);
    none(c);

    /* A reader that waits is not woken for another's, and is for its own. */
    {
        struct pollfd p[2] = { { c, POLLIN, 0 }, { a, POLLIN, 0 } };

        put(from, 8, 16);
        CHECK(poll(p, 2, -1) == 1 && !p[0].revents);
        get(a, 8, 16);
    }

    /* Edge-triggered, each arrival is told, also of those behind the first. */
    {
        struct epoll_event event = { .events = EPOLLIN | EPOLLET };
        int epoll = epoll_create1(EPOLL_CLOEXEC);

        CHECK(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, c, &event));
        for (unsigned i = 17; i < 20; i++) {
            put(from, 0, i);
            CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
            CHECK(event.events == EPOLLIN);
        }
        for (unsigned i = 17; i < 20; i++) {
            get(c, 0, i);
        }
        close(epoll);
    }
}

/* Who claims and does not read stops the device; reading starts it again. */
static void filter_full(void)
{
    int from = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    int a = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    int rest = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    struct pollfd p = { .fd = rest, .events = POLLIN };
    unsigned n, i;

    CHECK(!filter(a, 1u << 8, ~0ull, ~0ull));
    n = fill(from, 8, 0);
    none(rest);
    for (i = 0; i < n; i++) {
        get(a, 8, i);
    }
    put(from, 0, 1);
    CHECK(poll(&p, 1, -1) == 1);
    get(rest, 0, 1);

    /* And if it closes instead, the others get what it left. */
    n = fill(from, 8, 0);
    close(a);
    for (i = 0; i < n; i++) {
        get(rest, 8, i);
    }
    none(rest);
}

/* ------------------------------------------------------------------- EINTR */

static void handle(int number)
{
    (void)number;
}

static void on_signal(int flags)
{
    struct sigaction action = { .sa_handler = handle, .sa_flags = flags };

    CHECK(!sigaction(SIGALRM, &action, NULL));
}

/* SIGALRM again and again, so that it cannot come too early. */
static void alarms(int on)
{
    struct itimerspec every = { { 0, on * 50000000 }, { 0, on * 50000000 } };
    static timer_t timer;
    static int made;

    if (!made) {
        made = 1;
        CHECK(!timer_create(CLOCK_MONOTONIC, NULL, &timer));
    }
    CHECK(!timer_settime(timer, 0, &every, NULL));
}

static void *write_later(void *arg)
{
    struct timespec t = { 0, 300000000 };   /* a few alarms later */
    sigset_t set;

    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    nanosleep(&t, NULL);
    put(open_sdm(from_path, O_RDWR), 8, 5);
    return NULL;
}

static void interrupted(void)
{
    int from = open_sdm(from_path, O_RDWR);
    int filler = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    int to = open_sdm(to_path, O_RDWR);
    struct sdm_ioc_send send;
    struct sdm_signal signal;
    pthread_t thread;
    unsigned n, got, sends = 0;
    uint64_t next = 0;

    /* A read that waits. */
    on_signal(0);
    alarms(1);
    FAILS(read(to, &signal, SIZE), EINTR);
    on_signal(SA_RESTART);
    CHECK(!pthread_create(&thread, NULL, write_later, NULL));
    CHECK(read(to, &signal, SIZE) == (ssize_t)SIZE);
    pthread_join(thread, NULL);
    alarms(0);

    /* A send that waits, by write(2) and by ioctl, with and without ACK. */
    n = fill(filler, 8, 0);
    on_signal(0);
    alarms(1);
    signal = make(9, 0, 0);
    while (write(from, &signal, SIZE) == (ssize_t)SIZE) {
        sends++;
    }
    CHECK(errno == EINTR);
    memset(&send, 0, sizeof(send));
    send.signal = signal;
    FAILS(ioctl(from, SDM_IOC_SEND, &send), EINTR);
    send.signal.flags = sdm_to_le32(SDM_SIGNAL_F_ACK);
    FAILS(ioctl(from, SDM_IOC_SEND, &send), EINTR);
    sends += 3;
    alarms(0);

    /*
     * Nothing that was told to be sent is lost or doubled. The three that were
     * interrupted may have been sent, once each.
     */
    got = 0;
    while (n) {
        CHECK(read(to, &signal, SIZE) == (ssize_t)SIZE);
        if (sdm_from_le32(signal.type) == 9) {
            got++;
            continue;
        }
        CHECK(sdm_from_le64(signal.payload[0]) == next++);
        n--;
    }
    put(from, 0, 1);
    do {
        CHECK(read(to, &signal, SIZE) == (ssize_t)SIZE);
        got += sdm_from_le32(signal.type) == 9;
        CHECK(sdm_from_le32(signal.type) != 8);
    } while (sdm_from_le32(signal.type) != 0);
    printf("%u of %u interrupted ones have come\n", got, sends);
    CHECK(got <= sends);
}

/* --------------------------------------------------------------------- ACK */

static unsigned reads;      /* by the main thread */

static void *send_acknowledged(void *arg)
{
    int fd = open_sdm(from_path, O_RDWR);
    struct sdm_ioc_send send;

    memset(&send, 0, sizeof(send));
    send.signal = make(9, 0, 1);
    send.signal.flags = sdm_to_le32(SDM_SIGNAL_F_ACK);
    CHECK(!ioctl(fd, SDM_IOC_SEND, &send));
    CHECK(send.status == SDM_OK);
    *(unsigned *)arg = __atomic_load_n(&reads, __ATOMIC_SEQ_CST);
    close(fd);
    return NULL;
}

/* It is complete only when what stood before it has been taken. */
static void acknowledged(void)
{
    int from = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    int to = open_sdm(to_path, O_RDWR | O_NONBLOCK);
    unsigned before = 0, n = fill(from, 8, 0), i;
    pthread_t thread;

    CHECK(!pthread_create(&thread, NULL, send_acknowledged, &before));
    for (i = 0; i < n; i++) {
        get(to, 8, i);
        __atomic_add_fetch(&reads, 1, __ATOMIC_SEQ_CST);
    }
    get(to, 9, 1);
    pthread_join(thread, NULL);
    /*
     * The driver has taken as many as its queue and, over virtio, its buffers
     * (@count) hold, and no more.
     */
    printf("acknowledged after %u of %u reads\n", before, n);
    CHECK(n > 256 + count + 1 && before + 256 + count + 1 >= n);
}

/*
 * What was acknowledged by nobody when the other side went away has failed. The
 * other guest reads nothing: its driver and device hold less than what is sent,
 * and those and the ring hold more.
 */
static void gone(void)
{
    int from = open_sdm(from_path, O_RDWR);
    int ack = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    struct pollfd p = { .fd = ack };
    struct sdm_signal signal = make(9, 0, 0);

    for (unsigned i = 0; i < 400; i++) {
        put(from, 8, i);
    }
    signal.flags = sdm_to_le32(SDM_SIGNAL_F_ACK);
    CHECK(write(ack, &signal, SIZE) == (ssize_t)SIZE);
    printf("waiting\n");
    fflush(stdout);
    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLERR);
    FAILS(write(ack, &signal, SIZE), ECONNRESET);
    printf("gone\n");
}

/* -------------------------------------------------------------------- hold */

static void say(const char *who, ssize_t result)
{
    printf("%s: %zd %s\n", who, result, result < 0 ? strerror(errno) : "");
    fflush(stdout);
}

/*
 * A reader, a poller and a sender that wait until the device is removed, each
 * telling how it ended; and what other calls say afterwards.
 */
static void hold(void)
{
    int fd = open_sdm(from_path, O_RDWR);
    int filler = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    struct sdm_signal signal;
    struct sdm_ioc_info info;
    struct sdm_ioc_peer peer = { 0 };
    struct pollfd p = { .fd = fd };
    ssize_t n;

    CHECK(!filter(fd, 1u << 9, ~0ull, ~0ull));
    fill(filler, 8, 0);
    for (int i = 0; i < 2; i++) {
        if (fork()) {
            continue;
        }
        if (i) {
            say("reader", read(fd, &signal, SIZE));
        } else {
            signal = make(8, 0, 0);
            while ((n = write(fd, &signal, SIZE)) == (ssize_t)SIZE) {
            }
            say("sender", n);
        }
        _exit(0);
    }
    printf("holding\n");
    fflush(stdout);
    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLHUP);
    while (wait(NULL) > 0) {
    }
    FAILS(read(fd, &signal, SIZE), ENODEV);
    FAILS(write(fd, &signal, SIZE), ENODEV);
    FAILS(ioctl(fd, SDM_IOC_INFO, &info), ENODEV);
    FAILS(ioctl(fd, SDM_IOC_PEER, &peer), ENODEV);
    FAILS(filter(fd, 1, 1, 0), ENODEV);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED &&
          errno == ENODEV);
    printf("all woken\n");
}

/* Nothing but an open file, until it is ended. */
static void only_open(void)
{
    open_sdm(from_path, O_RDWR);
    printf("open\n");
    fflush(stdout);
    pause();
}

static void drain(void)
{
    int fd = open_sdm(from_path, O_RDWR | O_NONBLOCK);
    struct sdm_signal signal;
    unsigned n = 0;

    while (read(fd, &signal, SIZE) == (ssize_t)SIZE) {
        n++;
    }
    printf("drained %u\n", n);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    { "errors", errors },
    { "order", order },
    { "order-send", order_send },
    { "order-receive", order_receive },
    { "readers", readers },
    { "nonblock", nonblock },
    { "filters", filters },
    { "filter-full", filter_full },
    { "interrupted", interrupted },
    { "acknowledged", acknowledged },
    { "gone", gone },
    { "hold", hold },
    { "only-open", only_open },
    { "drain", drain },
};

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: driver-test CASE FROM TO TARGET [N]\n");
        return 1;
    }
    snprintf(from_path, sizeof(from_path), "/dev/sdm%s", argv[2]);
    snprintf(to_path, sizeof(to_path), "/dev/sdm%s", argv[3]);
    target = atoi(argv[4]);
    count = argc > 5 ? atoi(argv[5]) : 1000;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    fprintf(stderr, "driver-test: no case '%s'\n", argv[1]);
    return 1;
}
