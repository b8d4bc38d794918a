/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Targets for QEMU's own fuzzer (qemu-fuzz-arm): the SDM devices in a machine,
 * with a guest that does anything to their registers and queues, and slaves on
 * the socket channel that write anything into their rings, pipes and messages
 * at any moment. QEMU's generic target runs beside them (tests/fuzz/run starts
 * all): it knows nothing of the devices.
 *
 * One process is all: the fuzzer turns the main loop by itself, so what the
 * slaves do happens where the input says. Nothing is forked, as QEMU's generic
 * target does: the children would share the rings with their parent. After each
 * input the slaves leave and the machine is reset.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "sysemu/runstate.h"
#include "tests/qtest/libqtest.h"
#include "tests/qtest/fuzz/fuzz.h"
#include "sdm/platform.h"
#include "sdm/ring.h"
#include "sdm/virtio_sdm.h"
#include "sdm/wire.h"
#include "tests/fuzz/fuzz.h"

#define PLATFORM_BUS 0x0c000000u
#define VIRTIO       0x0a003e00u    /* the transport that virt fills first */
#define QUEUE(n)     (0x40100000u + (n) * 0x10000u)
#define SLAVES       2u
#define PEERS        3u             /* one more than there may be */

/* Registers of virtio-mmio, version 2. */
enum {
    QUEUE_SEL = 0x30, QUEUE_NUM = 0x38, QUEUE_READY = 0x44, NOTIFY = 0x50,
    INT_ACK = 0x64, STATUS = 0x70, DESC = 0x80, AVAIL = 0x90, USED = 0xa0,
    CONFIG = 0x100, DRIVER_FEATURES = 0x20, DRIVER_SEL = 0x24,
};

static char folder[64];
static char path[sizeof(folder) + 16];

static struct peer {
    int fd;                     /* -1: not connected */
    int wait_fd;
    int kick_fd;
    uint32_t seq;               /* of the last request */
    struct sdm_ring_pair *pair; /* NULL: not admitted */
} peers[PEERS];

/* What the guest knows of its two queues. */
static uint16_t avail[VIRTIO_SDM_QUEUES];

static void leave(void)
{
    unlink(path);
    strcat(path, ".lock");
    unlink(path);
    rmdir(folder);
}

/* The device on the socket channel is the target's; those on a local channel
 * are the other kind and one more. */
static GString *devices_cmdline(FuzzTarget *t)
{
    bool virtio = strstr(t->name, "virtio");
    const char *kinds[] = { "sdm-platform", "virtio-sdm-device" };
    const char *list = "len-signals=5,signals[0]=irq,signals[1]=user,"
                       "signals[2]=state,signals[3]=reset,signals[4]=stop";
    GString *line = g_string_new(TARGET_NAME);
    unsigned i;

    snprintf(folder, sizeof(folder), "%s/sdm-fuzz-XXXXXX", g_get_tmp_dir());
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(1);
    }
    snprintf(path, sizeof(path), "%s/sock", folder);
    atexit(leave);
    for (i = 0; i < PEERS; i++) {
        peers[i].fd = -1;
    }
    g_string_append_printf(line, " -M virt -m 64M -nodefaults -display none"
        " -machine accel=qtest -global virtio-mmio.force-legacy=false"
        " -object sdm-signal,id=irq -object sdm-signal,id=user,number=8"
        " -object sdm-signal,id=state,number=4"
        " -object sdm-signal,id=reset,number=2"
        " -object sdm-signal,id=stop,number=3"
        " -object multi-socket-backend,id=sock,listen=on,path=%s"
        " -object sdm-communication-socket,id=scomm,socket=sock"
        " -object sdm-communication-local,id=local"
        " -device %s,comm=scomm,master=on,num-slaves=%u,%s"
        " -device %s,comm=local,master=on,num-slaves=2,%s"
        " -device sdm-platform,comm=local,%s",
        path, kinds[virtio], SLAVES, list, kinds[!virtio], list, list);
    return line;
}

/* The guest */

/* One of the three devices. */
static uint64_t base_of(unsigned n)
{
    return n % 3 == 2 ? VIRTIO : PLATFORM_BUS + n % 3 * SDM_PLATFORM_SIZE;
}

static void guest_send(QTestState *s, struct input *in)
{
    uint64_t base = base_of(input_u8(in) & 1);
    uint8_t target = input_u8(in);
    unsigned i;

    qtest_writel(s, base + SDM_REG_TX_TYPE, input_u8(in) % 26);
    qtest_writel(s, base + SDM_REG_TX_TARGET,
                 target == 0xff ? SDM_ID_ALL : target % 4);
    qtest_writel(s, base + SDM_REG_TX_FLAGS, input_u8(in) & 1);
    for (i = 0; i < 4; i++) {
        qtest_writel(s, base + SDM_REG_TX_PAYLOAD + 4 * i, input_u8(in) << 12);
    }
    qtest_writel(s, base + SDM_REG_TX_GO, 1);
}

/* As a driver does, so that what follows finds queues. */
static void driver_start(QTestState *s)
{
    unsigned q;

    qtest_writel(s, VIRTIO + STATUS, 0);
    qtest_writel(s, VIRTIO + STATUS, 3);
    for (q = 0; q < 2; q++) {
        qtest_writel(s, VIRTIO + DRIVER_SEL, q);
        qtest_writel(s, VIRTIO + DRIVER_FEATURES, q ? 1 : 0x300000ff);
    }
    qtest_writel(s, VIRTIO + STATUS, 11);
    for (q = 0; q < VIRTIO_SDM_QUEUES; q++) {
        qtest_writel(s, VIRTIO + QUEUE_SEL, q);
        qtest_writel(s, VIRTIO + QUEUE_NUM, VIRTIO_SDM_QUEUE_SIZE);
        qtest_writel(s, VIRTIO + DESC, QUEUE(q));
        qtest_writel(s, VIRTIO + AVAIL, QUEUE(q) + 0x1000);
        qtest_writel(s, VIRTIO + USED, QUEUE(q) + 0x2000);
        qtest_memset(s, QUEUE(q), 0, 0x3000);
        qtest_writel(s, VIRTIO + QUEUE_READY, 1);
        avail[q] = 0;
    }
    qtest_writel(s, VIRTIO + STATUS, 15);
}

static void describe(QTestState *s, unsigned q, unsigned index, uint64_t addr,
                     uint32_t len, uint16_t flags)
{
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags;
        uint16_t next;
    } desc = { addr, len, flags, (index + 1) % VIRTIO_SDM_QUEUE_SIZE };

    qtest_memwrite(s, QUEUE(q) + 16 * (index % VIRTIO_SDM_QUEUE_SIZE), &desc,
                   sizeof(desc));
}

static void offer(QTestState *s, unsigned q, uint16_t head)
{
    qtest_writew(s, QUEUE(q) + 0x1004 +
                 2 * (avail[q] % VIRTIO_SDM_QUEUE_SIZE), head);
    qtest_writew(s, QUEUE(q) + 0x1002, ++avail[q]);
}

static void driver_send(QTestState *s, struct input *in)
{
    unsigned head = 2 * avail[1] % VIRTIO_SDM_QUEUE_SIZE;
    uint64_t at = QUEUE(1) + 0x4000 + 64 * head;
    uint8_t target = input_u8(in), odd = input_u8(in);
    struct sdm_signal sig = {
        .type = input_u8(in) % 26,
        .target = target == 0xff ? SDM_ID_ALL : target % 4,
        .flags = input_u8(in) & 1,
        .payload = { input_u8(in) << 12, input_u8(in) << 12 },
    };

    qtest_memwrite(s, at, &sig, sizeof(sig));
    describe(s, 1, head, at, odd & 1 ? input_u8(in) : sizeof(sig), 1);
    describe(s, 1, head + 1, at + 32, odd & 2 ? input_u8(in) : 8, 2);
    offer(s, 1, head);
    if (!(odd & 4)) {
        qtest_writel(s, VIRTIO + NOTIFY, 1);
    }
}

static void driver_give(QTestState *s, struct input *in)
{
    unsigned n = input_u8(in) % 64, odd = input_u8(in);

    while (n--) {
        describe(s, 0, avail[0], QUEUE(0) + 0x4000 + 64 *
                 (avail[0] % VIRTIO_SDM_QUEUE_SIZE),
                 odd == 1 ? n : sizeof(struct sdm_signal), 2);
        offer(s, 0, avail[0] % VIRTIO_SDM_QUEUE_SIZE);
    }
    qtest_writel(s, VIRTIO + NOTIFY, 0);
}

/* The slaves */

static void peer_leave(struct peer *p)
{
    if (p->pair) {
        munmap(p->pair, SDM_RING_BYTES);
        close(p->wait_fd);
        close(p->kick_fd);
        p->pair = NULL;
    }
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
}

static void peer_join(struct peer *p)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    peer_leave(p);
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), path);
    p->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(p->fd >= 0);
    if (connect(p->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        peer_leave(p);
    }
}

static void peer_hello(struct peer *p, struct input *in)
{
    struct sdm_wire_hello hello = {
        .header = { SDM_WIRE_MAGIC, SDM_WIRE_HELLO, 0, sizeof(hello), 0 },
        .version_min = SDM_WIRE_VERSION_MIN,
        .version_max = SDM_WIRE_VERSION_MAX,
        .role = SDM_ROLE_SLAVE,
        .machine = 40,
        .want_id = input_u8(in) % (SLAVES + 2),
        .ram_base = 0x40000000,
        .ram_size = 1 << 20,
    };

    if (send(p->fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0) {
        peer_leave(p);
    }
}

/* Read what the master says; take the rings of a WELCOME. */
static void peer_read(struct peer *p)
{
    union {
        char space[CMSG_SPACE(SDM_WIRE_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    uint8_t buf[SDM_WIRE_MAX];
    struct iovec iov = { buf, sizeof(buf) };
    struct sdm_wire_header header;
    ssize_t n;

    while (p->fd >= 0) {
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1,
            .msg_control = &control, .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c;
        int fds[SDM_WIRE_MAX_FDS], nfds = 0, i;

        n = recvmsg(p->fd, &msg, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        for (c = CMSG_FIRSTHDR(&msg); n >= 0 && c; c = CMSG_NXTHDR(&msg, c)) {
            if (c->cmsg_type == SCM_RIGHTS) {
                nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(fds, CMSG_DATA(c), nfds * sizeof(int));
            }
        }
        if (n < (ssize_t)sizeof(header)) {
            peer_leave(p);
            return;
        }
        memcpy(&header, buf, sizeof(header));
        p->seq = header.seq;
        if (nfds == 3 && !p->pair) {
            void *pair = mmap(NULL, SDM_RING_BYTES, PROT_READ | PROT_WRITE,
                              MAP_SHARED, fds[0], 0);

            CHECK(pair != MAP_FAILED);
            p->pair = pair;
            p->wait_fd = fds[1];
            p->kick_fd = fds[2];
            close(fds[0]);
            continue;
        }
        for (i = 0; i < nfds; i++) {
            close(fds[i]);
        }
    }
}

static void peer_kick(struct peer *p, size_t len)
{
    static const uint8_t kick[8] = { 1 };

    if (write(p->kick_fd, kick, len % 9) < 0) {
        CHECK(errno == EAGAIN || errno == EPIPE);
    }
}

static void peer_put(struct peer *p, struct input *in)
{
    struct sdm_ring *ring = &p->pair->ring[SDM_RING_TO_MASTER];
    unsigned n = input_u8(in) % 80, type = input_u8(in) % 26, i;
    uint8_t odd = input_u8(in);

    for (i = 0; i < n; i++) {
        struct sdm_signal *sig = &ring->slots[ring->head % SDM_RING_SLOTS];

        memset(sig, 0, sizeof(*sig));
        sig->type = type;
        sig->source = odd;
        sig->flags = odd & 1;
        sig->cookie = i;
        qatomic_store_release(&ring->head, ring->head + 1);
    }
    peer_kick(p, odd & 2 ? odd >> 2 : 8);
}

static void peer_take(struct peer *p, struct input *in)
{
    struct sdm_ring *ring = &p->pair->ring[SDM_RING_TO_SLAVE];
    uint32_t n = MIN(input_u8(in), ring->head - ring->tail);
    uint8_t odd = input_u8(in);

    ring->event = odd & 2 ? ring->head : ring->event;
    qatomic_store_release(&ring->tail, ring->tail + n);
    peer_kick(p, 8);
}

/* An index, or any bytes at all. */
static void peer_scribble(struct peer *p, struct input *in)
{
    static const uint8_t fields[] = {
        offsetof(struct sdm_ring, head), offsetof(struct sdm_ring, space_event),
        offsetof(struct sdm_ring, tail), offsetof(struct sdm_ring, event),
    };
    uint8_t which = input_u8(in);
    uint8_t *at = (uint8_t *)p->pair;
    size_t len, offset;
    const uint8_t *data;

    if (which & 1) {
        struct sdm_ring *ring = &p->pair->ring[which >> 1 & 1];
        uint32_t *index = (uint32_t *)((uint8_t *)ring +
                                       fields[which >> 2 & 3]);

        *index = which & 16 ? input_u32(in)
                            : (which & 32 ? ring->head : ring->tail) +
                              (int8_t)input_u8(in);
    } else {
        offset = input_u16(in) % SDM_RING_BYTES;
        data = input_rest(in, MIN(input_u8(in), SDM_RING_BYTES - offset),
                          &len);
        memcpy(at + offset, data, len);
    }
}

static void peer_say(struct peer *p, struct input *in)
{
    struct {
        struct sdm_wire_header header;
        uint32_t body[2];
    } msg = {
        .header = { SDM_WIRE_MAGIC, input_u8(in) % (SDM_WIRE_TYPES + 1), 0,
                    sizeof(msg), 0 },
        .body = { input_u8(in) % 18, 0 },
    };

    if (msg.header.type == SDM_WIRE_ANSWER) {
        msg.header.seq = p->seq;
    }
    if (send(p->fd, &msg, sizeof(msg), MSG_NOSIGNAL) < 0) {
        peer_leave(p);
    }
}

static void peer_step(struct input *in, unsigned op)
{
    struct peer *p = &peers[input_u8(in) % PEERS];

    if (op == 0) {
        peer_join(p);
    }
    if (p->fd < 0) {
        return;
    }
    peer_read(p);
    switch (op) {
    case 0:
        peer_hello(p, in);
        return;
    case 1:
        peer_leave(p);
        return;
    case 2:
        if (p->fd >= 0) {
            peer_say(p, in);
        }
        return;
    }
    if (!p->pair) {
        return;
    }
    switch (op) {
    case 3:
        peer_put(p, in);
        return;
    case 4:
        peer_take(p, in);
        return;
    case 5:
        peer_scribble(p, in);
        return;
    case 6:
        peer_kick(p, input_u8(in));
        return;
    }
}

static void step(QTestState *s, struct input *in)
{
    uint8_t op = input_u8(in) % 20;
    uint64_t base;
    const uint8_t *data;
    size_t len;
    unsigned q;

    switch (op) {
    case 0 ... 6:
        peer_step(in, op);
        break;
    case 7:
    case 8:
        base = base_of(input_u8(in));
        base += base == VIRTIO ? input_u8(in) * 4 % 0x200
                               : input_u8(in) * 4 % 0x140;
        if (op == 7) {
            qtest_readl(s, base);
        } else {
            qtest_writel(s, base, input_u32(in));
        }
        break;
    case 9:
        base = base_of(input_u8(in));
        if (base == VIRTIO) {
            qtest_writel(s, base + NOTIFY, input_u8(in) % 3);
        } else {
            qtest_writel(s, base + SDM_REG_RX_POP, 1);
        }
        break;
    case 10:
        base = base_of(input_u8(in) & 1);
        for (len = input_u8(in) % 80; len; len--) {
            qtest_writel(s, base + SDM_REG_RX_POP, 1);
        }
        break;
    case 11:
        base = base_of(input_u8(in) & 1);
        qtest_writel(s, base + SDM_REG_INT_ENABLE, input_u8(in));
        break;
    case 12:
        base = base_of(input_u8(in) & 1);
        qtest_readl(s, base + SDM_REG_RX_COUNT);
        break;
    case 13:
        guest_send(s, in);
        break;
    case 14:
        driver_start(s);
        break;
    case 15:
        driver_send(s, in);
        break;
    case 16:
        driver_give(s, in);
        break;
    case 17:
        q = input_u8(in) & 1;
        base = QUEUE(q) + input_u16(in) % 0x3000;
        data = input_rest(in, input_u8(in) % 32, &len);
        if (len) {
            qtest_memwrite(s, base, data, len);
        }
        break;
    case 18:
        qemu_system_reset(SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case 19:
        flush_events(s);
        break;
    }
}

static void devices_fuzz(QTestState *s, const unsigned char *data, size_t size)
{
    struct input in = { data, size };
    bool all_at_once = size && data[0] & 0x80;
    unsigned i;

    while (in.left) {
        step(s, &in);
        if (!all_at_once) {
            flush_events(s);
        }
    }
    flush_events(s);
    for (i = 0; i < PEERS; i++) {
        peer_leave(&peers[i]);
    }
    flush_events(s);
    qemu_system_reset(SHUTDOWN_CAUSE_GUEST_RESET);
    flush_events(s);
}

static void register_targets(void)
{
    static const char *const names[] = { "sdm-platform", "sdm-virtio" };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        fuzz_add_target(&(FuzzTarget){
            .name = names[i],
            .description = "an SDM device, its guest and its slaves",
            .get_init_cmdline = devices_cmdline,
            .fuzz = devices_fuzz,
        });
    }
}

fuzz_target_init(register_targets);
