/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sdm-test: boot slaves, send and receive signals, from within a guest. Manual:
 * man/sdm-test.pod. Static and small, because it runs out of an initrd; the
 * boot plan is the one that QEMU's monitor uses, compiled in.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <libfdt.h>

#include "migration/sdm-bootplan.h"
#include "sdm/chardev.h"
#include "sdm/sdm-text.h"

/* Room for a device tree of the slave's own; QEMU's have 1 MiB at most. */
#define DTB_ROOM  (2u << 20)

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "(no release)"
#endif

#define INTERFACE   1u      /* struct sdm_ioc_info.version */
#define DEVICES     64u     /* /dev/sdm0 .. /dev/sdm63 */
#define RECEIVE_MAX 16u     /* signals in one read(2) */
#define PING_MAX    1000000u

/* Exit statuses; the manual explains them. */
enum {
    EXIT_DONE    = 0,
    EXIT_USAGE   = 1,
    EXIT_FILE    = 2,       /* a file or the device cannot be used */
    EXIT_PLAN    = 3,       /* not booted: images, window or state */
    EXIT_REFUSED = 4,       /* the signal was sent and refused */
    EXIT_TIME    = 5,
};

enum { MODE_NONE, MODE_BOOT = 'b', MODE_SEND = 's', MODE_RECEIVE = 'r',
       MODE_LIST = 'l', MODE_WAIT = 'w', MODE_RESET = 256, MODE_STOP,
       MODE_PING, MODE_ECHO };

struct options {
    int mode;
    const char *initrd;
    const char *append;
    const char *window;
    const char *count;
    const char *timeout;
    const char *signal;
    const char *from;
    const char *pings;
    int ack;
    int no_wait;
    int nargs;
    char **args;
};

/** struct device - an open /dev/sdmN */
struct device {
    char path[32];
    int fd;
    struct sdm_ioc_info info;
};

static void __attribute__((noreturn, format(printf, 2, 3)))
fail(int status, const char *format, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("sdm-test: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(status);
}

/* ------------------------------------------------------------ arguments */

/* The whole of @text is a number in C notation, at most @max. */
static int is_number(const char *text, uint64_t max, uint64_t *value)
{
    unsigned long long v;
    char *end;

    if (*text < '0' || *text > '9') {
        return 0;
    }
    errno = 0;
    v = strtoull(text, &end, 0);
    if (errno || *end || v > max) {
        return 0;
    }
    *value = v;
    return 1;
}

static uint64_t number(const char *what, const char *text, uint64_t max)
{
    uint64_t value;

    if (!is_number(text, max, &value)) {
        fail(EXIT_USAGE, "%s '%s' is not a number from 0 to %" PRIu64
             " (as in C: 17, 0x11, 021)", what, text, max);
    }
    return value;
}

/* BASE:SIZE, SIZE with K, M or G. */
static void parse_window(const char *text, uint64_t *base, uint64_t *size)
{
    static const char units[] = "KMG";
    char copy[64], *colon, *unit;
    int shift = 0;

    if (strlen(text) >= sizeof(copy)) {
        fail(EXIT_USAGE, "--window '%s' is too long for BASE:SIZE", text);
    }
    strcpy(copy, text);
    colon = strchr(copy, ':');
    if (!colon) {
        fail(EXIT_USAGE, "--window '%s' is not BASE:SIZE; an example: "
             "0x60000000:512M", text);
    }
    *colon++ = '\0';
    if (*colon) {
        unit = strchr(units, colon[strlen(colon) - 1]);
        if (unit) {
            shift = 10 * (unit - units + 1);
            colon[strlen(colon) - 1] = '\0';
        }
    }
    *base = number("the base of --window", copy, UINT64_MAX);
    *size = number("the size of --window", colon, UINT64_MAX >> shift) << shift;
}

static int timeout_ms(const struct options *o)
{
    char *end;
    double seconds;

    if (!o->timeout) {
        return -1;
    }
    seconds = strtod(o->timeout, &end);
    if (end == o->timeout || *end || !(seconds >= 0 && seconds <= 1e6)) {
        fail(EXIT_USAGE, "--timeout '%s' is not a number of seconds from 0 "
             "to 1000000", o->timeout);
    }
    return seconds * 1000;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ms(void)
{
    return now_ns() / 1000000;
}

/* Exactly @min..@max positions, or how it is called right. */
static void positions(const struct options *o, int min, int max,
                      const char *usage)
{
    if (o->nargs < min || o->nargs > max) {
        fail(EXIT_USAGE, "%d arguments where these are wanted: %s; "
             "sdm-test --help tells more", o->nargs, usage);
    }
}

/* --------------------------------------------------------------- device */

static void get_info(struct device *dev)
{
    if (ioctl(dev->fd, SDM_IOC_INFO, &dev->info)) {
        fail(EXIT_FILE, "%s: %s; is it the character device of the sdm "
             "driver?", dev->path, strerror(errno));
    }
    if (dev->info.version != INTERFACE) {
        fail(EXIT_FILE, "%s: the driver's interface has version %" PRIu32
             ", this program knows %u: use the two of one release", dev->path,
             dev->info.version, INTERFACE);
    }
    if (dev->info.num_slaves > SDM_MAX_SLAVES) {
        fail(EXIT_FILE, "%s: the driver speaks of %" PRIu32 " slaves, the most "
             "is %u", dev->path, dev->info.num_slaves, SDM_MAX_SLAVES);
    }
}

static void open_device(struct device *dev, const char *which)
{
    snprintf(dev->path, sizeof(dev->path), "/dev/sdm%u",
             (unsigned)number("the device", which, DEVICES - 1));
    dev->fd = open(dev->path, O_RDWR | O_CLOEXEC);
    if (dev->fd < 0) {
        fail(EXIT_FILE, "%s: %s%s", dev->path, strerror(errno),
             errno == ENOENT ? ": is the module loaded, and has QEMU a "
             "virtio-sdm-device or an sdm-platform?" :
             errno == EACCES ? ": try as root" : "");
    }
    get_info(dev);
}

static void get_peer(const struct device *dev, uint32_t id,
                     struct sdm_ioc_peer *peer)
{
    memset(peer, 0, sizeof(*peer));
    peer->id = id;
    if (ioctl(dev->fd, SDM_IOC_PEER, peer)) {
        fail(EXIT_FILE, "%s: peer %" PRIu32 ": %s", dev->path, id,
             strerror(errno));
    }
    peer->name[SDM_NAME_MAX] = '\0';
}

/* By number or by name. */
static uint32_t find_slave(const struct device *dev, const char *which)
{
    struct sdm_ioc_peer peer;
    uint64_t id;

    if (is_number(which, dev->info.num_slaves, &id) && id > 0) {
        return id;
    }
    for (id = 1; id <= dev->info.num_slaves; id++) {
        get_peer(dev, id, &peer);
        if (peer.name[0] && strcmp(peer.name, which) == 0) {
            return id;
        }
    }
    fail(EXIT_USAGE, "%s: slave '%s' is neither a number from 1 to %" PRIu32
         " nor the name of one; sdm-test --list shows them", dev->path, which,
         dev->info.num_slaves);
}

/* Returns the status; exits where it did not come. */
static uint32_t send_message(const struct device *dev,
                             const struct sdm_signal *signal)
{
    struct sdm_ioc_send send;

    memset(&send, 0, sizeof(send));
    send.signal = *signal;
    if (ioctl(dev->fd, SDM_IOC_SEND, &send)) {
        fail(EXIT_FILE, "%s: signal %" PRIu32 " to %u: %s%s", dev->path,
             sdm_from_le32(signal->type), sdm_from_le16(signal->target),
             strerror(errno),
             errno == ENODEV ? ": the device was removed" : "");
    }
    return send.status;
}

static uint32_t send_signal(const struct device *dev, uint32_t type,
                            uint32_t target, uint64_t p0, uint64_t p1)
{
    struct sdm_signal signal = {
        .type = sdm_to_le32(type),
        .target = sdm_to_le16(target),
        .payload = { sdm_to_le64(p0), sdm_to_le64(p1) },
    };

    return send_message(dev, &signal);
}

static void check_status(const struct device *dev, uint32_t type,
                         const char *name, uint32_t target, uint32_t status)
{
    if (status != SDM_OK) {
        fail(EXIT_REFUSED, "%s: %s (signal %" PRIu32 ") to %" PRIu32
             " was refused: %s (%" PRIu32 ")", dev->path, name, type, target,
             sdm_status_text(status), status);
    }
}

/* ----------------------------------------------------------------- boot */

struct file {
    const char *path;
    void *data;
    size_t size;
};

/* All of it, in memory that malloc() aligns as libfdt wants it. */
static void read_file(struct file *f, const char *what, const char *path)
{
    struct stat st;
    size_t done = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st)) {
        fail(EXIT_FILE, "%s %s: %s", what, path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
        fail(EXIT_FILE, "%s %s: %s: give the file itself", what, path,
             S_ISREG(st.st_mode) ? "it is empty" : "it is not a plain file");
    }
    f->path = path;
    f->data = (uint64_t)st.st_size <= SIZE_MAX ? malloc(st.st_size) : NULL;
    if (!f->data) {
        fail(EXIT_FILE, "%s %s: no memory for its %" PRIu64 " bytes", what,
             path, (uint64_t)st.st_size);
    }
    while (done < (size_t)st.st_size) {
        n = read(fd, (char *)f->data + done, st.st_size - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            fail(EXIT_FILE, "%s %s: %s after %zu of %" PRIu64 " bytes", what,
                 path, n ? strerror(errno) : "it ends", done,
                 (uint64_t)st.st_size);
        }
        done += n;
    }
    close(fd);
    f->size = done;
}

static int holds_window(const struct sdm_ioc_peer *peer)
{
    return peer->state != SDM_STATE_ABSENT &&
           peer->state != SDM_STATE_WAITING;
}

/*
 * The master refuses a window that another slave runs in, but only when BOOT
 * comes: by then the images would lie in that slave's memory.
 */
static void check_neighbours(const struct device *dev, uint32_t slave,
                             uint64_t base, uint64_t size, int told)
{
    struct sdm_ioc_peer peer;

    for (uint32_t id = 1; id <= dev->info.num_slaves; id++) {
        if (id == slave) {
            continue;
        }
        get_peer(dev, id, &peer);
        if (peer.window_size) {
            if (base < peer.window_base + peer.window_size &&
                peer.window_base < base + size) {
                fail(EXIT_PLAN, "the window 0x%" PRIx64 "-0x%" PRIx64
                     " overlaps that of slave %" PRIu32 ", 0x%" PRIx64
                     "-0x%" PRIx64 ": give another by --window", base,
                     base + size - 1, id, peer.window_base,
                     peer.window_base + peer.window_size - 1);
            }
        } else if (holds_window(&peer) && !told) {
            fail(EXIT_PLAN, "slave %" PRIu32 " is %s somewhere in the shared "
                 "memory, perhaps at its end: give a free window by --window, "
                 "or use windows= of QEMU's memory-backend-shared", id,
                 sdm_state_text(peer.state));
        }
    }
}

static void find_window(const struct device *dev, const struct options *o,
                        const struct sdm_ioc_peer *peer, uint64_t *base,
                        uint64_t *size)
{
    const struct sdm_ioc_info *info = &dev->info;

    *size = peer->ram_size;
    *base = info->region_base + info->region_size - *size;
    if (o->window) {
        parse_window(o->window, base, size);
    }
    if (peer->window_size) {
        if (o->window && (*base != peer->window_base ||
                          *size != peer->window_size)) {
            fail(EXIT_PLAN, "--window %s: slave %" PRIu32 " has the fixed "
                 "window 0x%" PRIx64 ":0x%" PRIx64 " (windows= of QEMU's "
                 "memory-backend-shared): leave --window out", o->window,
                 peer->id, peer->window_base, peer->window_size);
        }
        *base = peer->window_base;
        *size = peer->window_size;
    }
    if (!info->region_size) {
        fail(EXIT_PLAN, "%s has no shared memory: give the master's QEMU a "
             "memory-backend-shared", dev->path);
    }
    if (!*size || *size != peer->ram_size) {
        fail(EXIT_PLAN, "the window has 0x%" PRIx64 " bytes, slave %" PRIu32
             " was started with 0x%" PRIx64 " (its -m): make them equal",
             *size, peer->id, peer->ram_size);
    }
    if (*base < info->region_base || *size > info->region_size ||
        *base - info->region_base > info->region_size - *size) {
        fail(EXIT_PLAN, "the window 0x%" PRIx64 ":0x%" PRIx64 " is not inside "
             "the shared memory 0x%" PRIx64 ":0x%" PRIx64 ": give another by "
             "--window, or start the slave with less (its -m)", *base, *size,
             info->region_base, info->region_size);
    }
    check_neighbours(dev, peer->id, *base, *size,
                     o->window || peer->window_size);
}

static void print_part(const char *what, const char *path, uint64_t at,
                       uint64_t size)
{
    printf("  %-7s 0x%010" PRIx64 " %10" PRIu64 " bytes  %s\n", what, at, size,
           path);
}

static void *map_window(const struct device *dev, uint64_t base, uint64_t size)
{
    void *window;
    int err;

    if (size > SIZE_MAX) {
        fail(EXIT_PLAN, "the window of 0x%" PRIx64 " bytes is larger than a "
             "program's address space here", size);
    }
    window = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd,
                  base);
    if (window == MAP_FAILED) {
        err = errno;
        fail(EXIT_PLAN, "%s: mmap of the window 0x%" PRIx64 "-0x%" PRIx64
             ": %s%s", dev->path, base, base + size - 1, strerror(err),
             err == EPERM ? ": it lies in memory that this kernel owns: boot "
             "this kernel with mem= so that it ends below the window, or use "
             "windows= of QEMU's memory-backend-shared" : "");
    }
    return window;
}

/*
 * The slave's own device tree, which QEMU writes to the start of the window;
 * the images come there only later.
 */
static void fetch_dtb(const struct device *dev, uint32_t slave,
                      const void *window, uint64_t base, uint64_t size,
                      struct file *dtb)
{
    const uint64_t room = size < DTB_ROOM ? size : DTB_ROOM;
    uint32_t status;

    status = send_signal(dev, SDM_SIGNAL_DTB, slave, room,
                         base - dev->info.region_base);
    check_status(dev, SDM_SIGNAL_DTB, "the device tree", slave, status);
    dtb->path = "(the slave's own)";
    dtb->size = fdt_totalsize(window);
    if (fdt_check_header(window) || dtb->size > room) {
        fail(EXIT_PLAN, "slave %" PRIu32 " has sent no device tree: give one "
             "as DTB", slave);
    }
    dtb->data = malloc(dtb->size);
    if (!dtb->data) {
        fail(EXIT_FILE, "no memory for a device tree of %zu bytes", dtb->size);
    }
    memcpy(dtb->data, window, dtb->size);
}

static void boot(const struct options *o)
{
    struct file kernel, dtb, initrd = { NULL, NULL, 0 };
    struct sdm_boot_images images;
    struct sdm_boot_plan plan;
    struct sdm_ioc_peer peer;
    struct device dev;
    struct sdm_text why;
    uint64_t base, size;
    uint32_t status, slave;
    void *window;

    positions(o, 3, 4, "-b DEV SLAVE KERNEL [DTB]");
    open_device(&dev, o->args[0]);
    slave = find_slave(&dev, o->args[1]);
    get_peer(&dev, slave, &peer);
    if (peer.state != SDM_STATE_WAITING) {
        fail(EXIT_PLAN, "slave %" PRIu32 " is %s, not waiting: %s", slave,
             sdm_state_text(peer.state),
             peer.state == SDM_STATE_ABSENT ?
             "start its QEMU (sdm-test --wait tells when it is there)" :
             "sdm-test --reset makes it wait again");
    }
    find_window(&dev, o, &peer, &base, &size);

    read_file(&kernel, "kernel", o->args[2]);
    window = map_window(&dev, base, size);
    if (o->nargs > 3) {
        read_file(&dtb, "device tree", o->args[3]);
    } else {
        fetch_dtb(&dev, slave, window, base, size, &dtb);
    }
    if (o->initrd) {
        read_file(&initrd, "initrd", o->initrd);
    }
    images.kernel = kernel.data;
    images.kernel_size = kernel.size;
    images.dtb = dtb.data;
    images.dtb_size = dtb.size;
    images.initrd = initrd.data;
    images.initrd_size = initrd.size;
    images.append = o->append;
    status = sdm_boot_plan(&images, peer.machine, peer.ram_base, size, &plan,
                           &why);
    if (status) {
        fail(EXIT_PLAN, "%s (%s)", why.buf, sdm_status_text(status));
    }
    printf("slave %" PRIu32 "%s%s: window 0x%" PRIx64 ":0x%" PRIx64
           ", where the slave has 0x%" PRIx64 " (%s)\n", slave,
           peer.name[0] ? " " : "", peer.name, base, size, peer.ram_base,
           sdm_machine_text(peer.machine));
    print_part("kernel", kernel.path, base + plan.kernel, plan.kernel_size);
    if (plan.initrd) {
        print_part("initrd", initrd.path, base + plan.initrd, initrd.size);
    }
    print_part("dtb", dtb.path, base + plan.dtb, dtb.size);
    status = sdm_boot_load(&images, peer.machine, peer.ram_base, window, size,
                           &why);
    munmap(window, size);
    free(kernel.data);
    free(dtb.data);
    free(initrd.data);
    if (status) {
        fail(EXIT_PLAN, "%s (%s)", why.buf, sdm_status_text(status));
    }
    fflush(stdout);

    if (o->no_wait) {
        pid_t pid = fork();

        if (pid < 0) {
            fail(EXIT_FILE, "--no-wait: no second process: %s",
                 strerror(errno));
        }
        if (pid > 0) {
            printf("slave %" PRIu32 ": BOOT is on its way\n", slave);
            return;
        }
    }
    status = send_signal(&dev, SDM_SIGNAL_BOOT, slave, size,
                         base - dev.info.region_base);
    check_status(&dev, SDM_SIGNAL_BOOT, "BOOT", slave, status);
    if (!o->no_wait) {
        printf("slave %" PRIu32 ": booted, entry 0x%" PRIx64 "\n", slave,
               plan.entry);
    }
}

/* -------------------------------------------------------------- signals */

static void send_one(const struct options *o)
{
    struct sdm_signal signal = { 0 };
    struct device dev;
    uint32_t type, target;

    positions(o, 3, 5, "-s DEV SIGNAL TARGET [P0 [P1]]");
    type = number("the signal", o->args[1], SDM_SIGNAL_TYPES - 1);
    target = number("the target", o->args[2], SDM_ID_ALL);
    signal.type = sdm_to_le32(type);
    signal.target = sdm_to_le16(target);
    signal.flags = sdm_to_le32(o->ack ? SDM_SIGNAL_F_ACK : 0);
    for (int i = 3; i < o->nargs; i++) {
        signal.payload[i - 3] =
            sdm_to_le64(number("the payload", o->args[i], UINT64_MAX));
    }
    open_device(&dev, o->args[0]);
    check_status(&dev, type, "the signal", target,
                 send_message(&dev, &signal));
}

static void reset_or_stop(const struct options *o)
{
    const int stop = o->mode == MODE_STOP;
    const uint32_t type = stop ? SDM_SIGNAL_STOP : SDM_SIGNAL_RESET;
    struct device dev;
    uint32_t slave;

    positions(o, 2, 2, stop ? "--stop DEV SLAVE" : "--reset DEV SLAVE");
    open_device(&dev, o->args[0]);
    slave = find_slave(&dev, o->args[1]);
    check_status(&dev, type, stop ? "STOP" : "RESET", slave,
                 send_signal(&dev, type, slave, 0, 0));
    printf("slave %" PRIu32 ": %s\n", slave, stop ? "stopped" : "waiting");
}

/*
 * Wait for @events until @end_ms (negative: for ever). Returns 1, or 0 when the
 * time has passed.
 */
static int wait_for(const struct device *dev, short events, int64_t end_ms)
{
    struct pollfd p = { .fd = dev->fd, .events = events };
    int64_t left;
    int n;

    for (;;) {
        left = end_ms < 0 ? -1 : end_ms - now_ms();
        n = poll(&p, 1, end_ms < 0 ? -1 : left > 0 ? left : 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            fail(EXIT_FILE, "%s: poll: %s", dev->path, strerror(errno));
        }
        if (p.revents & events) {
            return 1;
        }
        if (n > 0) {
            fail(EXIT_FILE, "%s: the device was removed", dev->path);
        }
        return 0;
    }
}

/* One type, or all; from one peer, or from all. */
static void set_filter(const struct device *dev, uint32_t types,
                       const char *from)
{
    struct sdm_ioc_filter filter = { .types = types };
    uint64_t id;

    for (unsigned i = 0; i < SDM_FILTER_WORDS; i++) {
        filter.sources[i] = from ? 0 : UINT64_MAX;
    }
    if (from) {
        id = number("--from", from, SDM_MAX_SLAVES);
        filter.sources[id / 64] = UINT64_C(1) << id % 64;
    }
    if (ioctl(dev->fd, SDM_IOC_FILTER, &filter)) {
        fail(EXIT_FILE, "%s: %s%s", dev->path, strerror(errno),
             errno == EBUSY ? ": another program or a mailbox client receives "
             "these signals" : "");
    }
}

static uint32_t signal_type(const struct options *o)
{
    return o->signal ? number("--signal", o->signal, SDM_SIGNAL_TYPES - 1)
                     : SDM_SIGNAL_INTERRUPT;
}

/*
 * Wait until @end_ms (negative: for ever) and read up to @max signals. Returns
 * how many, 0 when the time has passed.
 */
static size_t take(const struct device *dev, struct sdm_signal *signals,
                   size_t max, int64_t end_ms)
{
    ssize_t n;

    for (;;) {
        if (!wait_for(dev, POLLIN, end_ms)) {
            return 0;
        }
        n = read(dev->fd, signals, max * sizeof(signals[0]));
        if (n >= (ssize_t)sizeof(signals[0])) {
            return n / sizeof(signals[0]);
        }
        /* Another reader can be faster: the file is O_NONBLOCK then. */
        if (n >= 0 || (errno != EINTR && errno != EAGAIN)) {
            fail(EXIT_FILE, "%s: read: %s", dev->path,
                 n < 0 ? strerror(errno) : "half a signal");
        }
    }
}

static void receive(const struct options *o)
{
    struct sdm_signal signals[RECEIVE_MAX];
    uint64_t left = UINT64_MAX;     /* for ever */
    struct device dev;
    int64_t end_ms;
    size_t n;

    positions(o, 1, 1, "-r DEV [--count N] [--timeout S]");
    if (o->count) {
        left = number("--count", o->count, UINT64_MAX - 1);
    }
    end_ms = timeout_ms(o);
    open_device(&dev, o->args[0]);
    if (o->signal || o->from) {
        set_filter(&dev, o->signal ? 1u << signal_type(o)
                                   : (1u << SDM_SIGNAL_TYPES) - 1, o->from);
    }
    fcntl(dev.fd, F_SETFL, O_NONBLOCK);
    if (end_ms >= 0) {
        end_ms += now_ms();
    }
    while (left) {
        n = take(&dev, signals, left < RECEIVE_MAX ? left : RECEIVE_MAX,
                 end_ms);
        if (!n) {
            if (o->count) {
                fail(EXIT_TIME, "%s: %" PRIu64 " of %s signals did not come "
                     "within %s s", dev.path, left, o->count, o->timeout);
            }
            return;
        }
        for (size_t i = 0; i < n; i++) {
            const struct sdm_signal *s = &signals[i];

            printf("signal %" PRIu32 " from %u flags 0x%" PRIx32 " cookie %"
                   PRIu32 " payload 0x%" PRIx64 " 0x%" PRIx64 "\n",
                   sdm_from_le32(s->type), sdm_from_le16(s->source),
                   sdm_from_le32(s->flags), sdm_from_le32(s->cookie),
                   (uint64_t)sdm_from_le64(s->payload[0]),
                   (uint64_t)sdm_from_le64(s->payload[1]));
            if (o->count) {
                left--;
            }
        }
        fflush(stdout);     /* somebody may read them through a pipe */
    }
}

/* Send back what comes. */
static void echo(const struct options *o)
{
    const uint32_t type = signal_type(o);
    uint64_t left = UINT64_MAX;
    struct sdm_signal signal;
    struct device dev;
    int64_t end_ms;
    uint32_t source;

    positions(o, 0, 1, "--echo [DEV] [--signal T] [--count N] [--timeout S]");
    if (o->count) {
        left = number("--count", o->count, UINT64_MAX - 1);
    }
    end_ms = timeout_ms(o);
    open_device(&dev, o->nargs ? o->args[0] : "0");
    set_filter(&dev, 1u << type, o->from);
    printf("%s: echoes signal %" PRIu32 "\n", dev.path, type);
    fflush(stdout);
    if (end_ms >= 0) {
        end_ms += now_ms();
    }
    while (left) {
        if (!take(&dev, &signal, 1, end_ms)) {
            if (o->count) {
                fail(EXIT_TIME, "%s: %" PRIu64 " of %s signals did not come "
                     "within %s s", dev.path, left, o->count, o->timeout);
            }
            return;
        }
        source = sdm_from_le16(signal.source);
        signal.target = sdm_to_le16(source);
        signal.flags = 0;
        check_status(&dev, type, "the echo", source,
                     send_message(&dev, &signal));
        if (o->count) {
            left--;
        }
    }
}

static int by_time(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The time that a share of them, in percent, does not exceed; in us. */
static double percentile(const uint64_t *times, size_t count, unsigned percent)
{
    return times[(count - 1) * percent / 100] / 1e3;
}

static void ping(const struct options *o)
{
    const uint32_t type = signal_type(o);
    const size_t count = number("--ping", o->pings, PING_MAX);
    struct sdm_signal signal, reply;
    struct device dev;
    char from[8];
    uint64_t *times, start;
    uint32_t target;
    int limit_ms;
    int64_t end_ms;

    positions(o, 0, 2, "--ping N [DEV [TARGET]] [--signal T] [--ack] "
              "[--timeout S]");
    if (!count) {
        fail(EXIT_USAGE, "--ping 0 measures nothing: 1 to %u", PING_MAX);
    }
    limit_ms = timeout_ms(o);
    open_device(&dev, o->nargs > 0 ? o->args[0] : "0");
    target = o->nargs > 1 ? number("the target", o->args[1], SDM_MAX_SLAVES) :
             dev.info.device_id == SDM_ID_MASTER ? 1 : SDM_ID_MASTER;
    snprintf(from, sizeof(from), "%" PRIu32, target);
    set_filter(&dev, 1u << type, from);
    times = malloc(count * sizeof(*times));
    if (!times) {
        fail(EXIT_FILE, "no memory for %zu times", count);
    }

    for (size_t i = 0; i < count; i++) {
        memset(&signal, 0, sizeof(signal));
        signal.type = sdm_to_le32(type);
        signal.target = sdm_to_le16(target);
        signal.flags = sdm_to_le32(o->ack ? SDM_SIGNAL_F_ACK : 0);
        signal.cookie = sdm_to_le32(i);
        start = now_ns();
        signal.payload[0] = sdm_to_le64(start);
        end_ms = limit_ms < 0 ? -1 : now_ms() + limit_ms;
        check_status(&dev, type, "the signal", target,
                     send_message(&dev, &signal));
        /* An echo of an earlier run may still come. */
        do {
            if (!take(&dev, &reply, 1, end_ms)) {
                fail(EXIT_TIME, "%s: no echo of signal %" PRIu32 " from %"
                     PRIu32 " within %s s, after %zu: does sdm-test --echo run "
                     "there?", dev.path, type, target, o->timeout, i);
            }
        } while (reply.payload[0] != signal.payload[0] ||
                 reply.cookie != signal.cookie);
        times[i] = now_ns() - start;
    }
    qsort(times, count, sizeof(*times), by_time);
    printf("%zu round trips of signal %" PRIu32 " to %" PRIu32
           "%s, us: min %.1f median %.1f p99 %.1f max %.1f\n", count, type,
           target, o->ack ? ", acknowledged" : "", percentile(times, count, 0),
           percentile(times, count, 50), percentile(times, count, 99),
           percentile(times, count, 100));
    free(times);
}

/* ---------------------------------------------------------------- peers */

static void list_device(const struct device *dev)
{
    const struct sdm_ioc_info *info = &dev->info;
    const char *before = "";
    struct sdm_ioc_peer peer;

    printf("%s: ", dev->path);
    if (info->device_id == SDM_ID_MASTER) {
        printf("master of %" PRIu32 " slave%s", info->num_slaves,
               info->num_slaves == 1 ? "" : "s");
    } else if (info->device_id <= SDM_MAX_SLAVES) {
        printf("slave %" PRIu32, info->device_id);
    } else {
        printf("slave without an id yet");
    }
    printf(", shared memory 0x%" PRIx64 ":0x%" PRIx64 ", signals ",
           info->region_base, info->region_size);
    for (unsigned i = 0; i < SDM_SIGNAL_TYPES; i++) {
        if (info->features & 1u << i) {
            printf("%s%u", before, i);
            before = ",";
        }
    }
    puts(*before ? "" : "none");

    printf("  %-3s %-12s %-8s %-8s %-23s %s\n", "ID", "NAME", "STATE",
           "MACHINE", "MEMORY", "WINDOW");
    for (uint32_t id = 0; id <= info->num_slaves; id++) {
        /* Each sees the others: a master its slaves, a slave its master. */
        if ((info->device_id == SDM_ID_MASTER) != (id != SDM_ID_MASTER)) {
            continue;
        }
        get_peer(dev, id, &peer);
        printf("  %-3" PRIu32 " %-12s %-8s %-8s ", id,
               peer.name[0] ? peer.name : "-", sdm_state_text(peer.state),
               peer.machine ? sdm_machine_text(peer.machine) : "-");
        if (peer.ram_size) {
            printf("0x%010" PRIx64 ":0x%-8" PRIx64 " ", peer.ram_base,
                   peer.ram_size);
        } else {
            printf("%-23s ", "-");
        }
        if (peer.window_size) {
            printf("0x%010" PRIx64 ":0x%" PRIx64 "\n", peer.window_base,
                   peer.window_size);
        } else {
            puts("-");
        }
    }
}

static void list(const struct options *o)
{
    unsigned char there[DEVICES] = { 0 };
    struct device dev;
    struct dirent *entry;
    uint64_t n;
    int found = 0;
    DIR *dir;

    positions(o, 0, 0, "--list");
    dir = opendir("/dev");
    if (!dir) {
        fail(EXIT_FILE, "/dev: %s", strerror(errno));
    }
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, "sdm", 3) == 0 &&
            is_number(entry->d_name + 3, DEVICES - 1, &n)) {
            there[n] = 1;
            found = 1;
        }
    }
    closedir(dir);
    if (!found) {
        fail(EXIT_FILE, "no /dev/sdm*: is the module loaded, and has QEMU a "
             "virtio-sdm-device or an sdm-platform?");
    }
    for (n = 0; n < DEVICES; n++) {
        char which[8];

        if (there[n]) {
            snprintf(which, sizeof(which), "%u", (unsigned)n);
            open_device(&dev, which);
            list_device(&dev);
            close(dev.fd);
        }
    }
}

static void wait_state(const struct options *o)
{
    struct sdm_ioc_peer peer;
    struct device dev;
    const char *name;
    uint32_t slave, state;
    int64_t end_ms;

    positions(o, 2, 3, "--wait [DEV] SLAVE STATE [--timeout S]");
    name = o->args[o->nargs - 1];
    for (state = 0; state < SDM_STATES; state++) {
        if (strcmp(name, sdm_state_text(state)) == 0) {
            break;
        }
    }
    if (state == SDM_STATES) {
        fail(EXIT_USAGE, "'%s' is not a state: absent, waiting, booting, "
             "running, stopped or crashed", name);
    }
    end_ms = timeout_ms(o);
    open_device(&dev, o->nargs == 3 ? o->args[0] : "0");
    if (end_ms >= 0) {
        end_ms += now_ms();
    }
    slave = find_slave(&dev, o->args[o->nargs - 2]);

    /* Reading the peer arms POLLPRI: a change behind it is not missed. */
    for (;;) {
        get_peer(&dev, slave, &peer);
        if (peer.state == state) {
            break;
        }
        if (!wait_for(&dev, POLLPRI, end_ms)) {
            fail(EXIT_TIME, "slave %" PRIu32 " is %s, not %s, after %s s",
                 slave, sdm_state_text(peer.state), name, o->timeout);
        }
    }
    printf("slave %" PRIu32 ": %s\n", slave, name);
}

/* ----------------------------------------------------------------- main */

static const char help[] =
"Usage:\n"
"  sdm-test -b DEV SLAVE KERNEL [DTB] [--initrd FILE] [--append ARGS]\n"
"           [--window BASE:SIZE] [--no-wait]\n"
"  sdm-test -s DEV SIGNAL TARGET [P0 [P1]] [--ack]\n"
"  sdm-test -r DEV [--signal T] [--from ID] [--count N] [--timeout S]\n"
"  sdm-test --ping N [DEV [TARGET]] [--signal T] [--ack] [--timeout S]\n"
"  sdm-test --echo [DEV] [--signal T] [--from ID] [--count N] [--timeout S]\n"
"  sdm-test --list\n"
"  sdm-test --wait [DEV] SLAVE STATE [--timeout S]\n"
"  sdm-test --reset DEV SLAVE\n"
"  sdm-test --stop DEV SLAVE\n"
"\n"
"DEV is the N of /dev/sdmN, SLAVE a slave's number (from 1) or name.\n"
"\n"
"  -b, --boot         load kernel and device tree into the slave's window,\n"
"                     send it BOOT, and tell what it answers\n"
"      --initrd FILE  an initrd for it\n"
"      --append ARGS  kernel arguments, in place of those in the DTB\n"
"      --window BASE:SIZE  the window, as this guest sees it: where QEMU's\n"
"                     windows= does not fix it; default: the end of the\n"
"                     shared memory\n"
"      --no-wait      return before the slave has answered\n"
"  -s, --send         send a signal: 0 INTERRUPT, 2 RESET, 3 STOP, 8.. USER;\n"
"                     TARGET 0 is the master, 0xffff are all slaves; numbers\n"
"                     as in C\n"
"      --ack          wait until the other guest has taken it\n"
"  -r, --receive      print the signals that come, one a line\n"
"      --signal T     those of one type only, and nobody else gets them;\n"
"                     with --ping and --echo: the type, default 0\n"
"      --from ID      those of one peer only, and nobody else gets them\n"
"      --count N      end after N of them\n"
"      --timeout S    end after S seconds; with --ping: the most that one\n"
"                     round trip may take\n"
"      --ping N       send N signals, one after the other, to one who echoes\n"
"                     them, and print min, median and p99 of the round trips;\n"
"                     TARGET: default 1 from a master, 0 from a slave\n"
"      --echo         send back what comes\n"
"  -l, --list         all devices and their peers\n"
"  -w, --wait         wait until a slave is absent, waiting, booting,\n"
"                     running, stopped or crashed\n"
"      --reset        make a slave wait again\n"
"      --stop         stop a slave's CPUs; its memory stays\n"
"  -h, --help\n"
"  -V, --version\n"
"\n"
"Exit status: 0 done, 1 wrong call, 2 file or device, 3 not booted: images,\n"
"window or state of the slave are wrong, 4 refused, 5 time limit\n";

enum { OPT_INITRD = 512, OPT_APPEND, OPT_WINDOW, OPT_NO_WAIT, OPT_COUNT,
       OPT_TIMEOUT, OPT_SIGNAL, OPT_FROM, OPT_ACK };

static const struct option long_options[] = {
    { "boot", no_argument, NULL, MODE_BOOT },
    { "send", no_argument, NULL, MODE_SEND },
    { "receive", no_argument, NULL, MODE_RECEIVE },
    { "list", no_argument, NULL, MODE_LIST },
    { "wait", no_argument, NULL, MODE_WAIT },
    { "reset", no_argument, NULL, MODE_RESET },
    { "stop", no_argument, NULL, MODE_STOP },
    { "ping", required_argument, NULL, MODE_PING },
    { "echo", no_argument, NULL, MODE_ECHO },
    { "signal", required_argument, NULL, OPT_SIGNAL },
    { "from", required_argument, NULL, OPT_FROM },
    { "ack", no_argument, NULL, OPT_ACK },
    { "initrd", required_argument, NULL, OPT_INITRD },
    { "append", required_argument, NULL, OPT_APPEND },
    { "window", required_argument, NULL, OPT_WINDOW },
    { "no-wait", no_argument, NULL, OPT_NO_WAIT },
    { "count", required_argument, NULL, OPT_COUNT },
    { "timeout", required_argument, NULL, OPT_TIMEOUT },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
};

/* An option that has no meaning in this mode is an error, not a decoration. */
static void check_options(const struct options *o)
{
    const char *surplus = NULL;

    if (o->mode != MODE_BOOT) {
        surplus = o->initrd ? "--initrd" : o->append ? "--append" :
                  o->window ? "--window" : o->no_wait ? "--no-wait" : NULL;
    }
    if (o->count && o->mode != MODE_RECEIVE && o->mode != MODE_ECHO) {
        surplus = "--count";
    }
    if (o->timeout && o->mode != MODE_RECEIVE && o->mode != MODE_WAIT &&
        o->mode != MODE_PING && o->mode != MODE_ECHO) {
        surplus = "--timeout";
    }
    if (o->signal && o->mode != MODE_RECEIVE && o->mode != MODE_PING &&
        o->mode != MODE_ECHO) {
        surplus = "--signal";
    }
    if (o->from && o->mode != MODE_RECEIVE && o->mode != MODE_ECHO) {
        surplus = "--from";
    }
    if (o->ack && o->mode != MODE_SEND && o->mode != MODE_PING) {
        surplus = "--ack";
    }
    if (surplus) {
        fail(EXIT_USAGE, "%s means nothing here; sdm-test --help tells where "
             "it does", surplus);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .mode = MODE_NONE };
    int c;

    while ((c = getopt_long(argc, argv, "bsrlwhV", long_options, NULL)) >= 0) {
        switch (c) {
        case MODE_BOOT:
        case MODE_SEND:
        case MODE_RECEIVE:
        case MODE_LIST:
        case MODE_WAIT:
        case MODE_RESET:
        case MODE_STOP:
        case MODE_PING:
        case MODE_ECHO:
            if (o.mode != MODE_NONE) {
                fail(EXIT_USAGE, "give one of -b, -s, -r, --list, --wait, "
                     "--reset, --stop, --ping, --echo");
            }
            o.mode = c;
            o.pings = c == MODE_PING ? optarg : NULL;
            break;
        case OPT_SIGNAL:
            o.signal = optarg;
            break;
        case OPT_FROM:
            o.from = optarg;
            break;
        case OPT_ACK:
            o.ack = 1;
            break;
        case OPT_INITRD:
            o.initrd = optarg;
            break;
        case OPT_APPEND:
            o.append = optarg;
            break;
        case OPT_WINDOW:
            o.window = optarg;
            break;
        case OPT_NO_WAIT:
            o.no_wait = 1;
            break;
        case OPT_COUNT:
            o.count = optarg;
            break;
        case OPT_TIMEOUT:
            o.timeout = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_DONE;
        case 'V':
            printf("sdm-test (qemu-sdm) %s, driver interface %u\n",
                   PACKAGE_VERSION, INTERFACE);
            return EXIT_DONE;
        default:
            fail(EXIT_USAGE, "sdm-test --help tells how it is called");
        }
    }
    o.nargs = argc - optind;
    o.args = argv + optind;
    check_options(&o);

    switch (o.mode) {
    case MODE_BOOT:
        boot(&o);
        break;
    case MODE_SEND:
        send_one(&o);
        break;
    case MODE_RECEIVE:
        receive(&o);
        break;
    case MODE_LIST:
        list(&o);
        break;
    case MODE_WAIT:
        wait_state(&o);
        break;
    case MODE_RESET:
    case MODE_STOP:
        reset_or_stop(&o);
        break;
    case MODE_PING:
        ping(&o);
        break;
    case MODE_ECHO:
        echo(&o);
        break;
    default:
        fail(EXIT_USAGE, "give one of -b, -s, -r, --list, --wait, --reset, "
             "--stop, --ping, --echo; sdm-test --help tells more");
    }
    return EXIT_DONE;
}
