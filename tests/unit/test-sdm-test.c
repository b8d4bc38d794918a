/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's tool against a device that is only memory: open, ioctl, mmap,
 * read, poll and opendir are caught by the linker (--wrap). Each call runs in a
 * child of its own; what the device saw is in memory that the two share.
 */
/* Its checked variants of read() and poll() would go past --wrap. */
#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

/* The whole program; its main() becomes a function of ours. */
#define main sdm_test_main
int sdm_test_main(int argc, char **argv);
#include "test-app/sdm-test.c"
#undef main

/* Behind it: cmocka.h takes names that a program may use. */
#include <cmocka.h>
#include <sys/wait.h>

#include "migration/sdm-bootrecord.h"

#define MIB         0x100000ull
#define REGION      0x40000000ull
#define REGION_SIZE (64 * MIB)
#define RAM         (16 * MIB)
#define SLAVE_BASE  0x80000000ull
#define DEVICE_FD   500

/** struct event - what the next poll() tells, and what has happened by then */
struct event {
    short revents;      /* 0: the time passed */
    uint32_t id, state; /* of a peer; id 0: none changed */
};

struct fake {
    struct sdm_ioc_info info;
    struct sdm_ioc_peer peers[SDM_MAX_SLAVES + 1];
    uint32_t status;            /* of the next signal */
    int ioctl_errno, mmap_errno;
    struct event events[8];
    unsigned nevents, event;
    struct sdm_signal queue[64];    /* to be received */
    unsigned queued, taken;
    unsigned sends;             /* what was sent */
    struct sdm_signal sent;
    unsigned echo;              /* how often it is sent back, behind @queue */
    struct sdm_ioc_filter filter;
    int filter_errno;
    uint64_t map_offset, map_size;
    uint64_t own_dtb;           /* bytes of @tree that a slave sends as its */
    uint64_t tree[512];
    int region;                 /* memfd */
};

static struct fake *fake;
static char dir[] = "/tmp/sdm-test-XXXXXX";
static char kernel[64], dtb[64], initrd[64];
static char output[65536];

/* ------------------------------------------------------------ the device */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset);
ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);
int __wrap_poll(struct pollfd *p, nfds_t n, int timeout);
DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);

int __wrap_open(const char *path, int flags, ...)
{
    if (strcmp(path, "/dev/sdm0") == 0) {
        return dup2(fake->region, DEVICE_FD);
    }
    if (strcmp(path, "/dev/sdm1") == 0) {
        errno = EACCES;
        return -1;
    }
    if (strncmp(path, "/dev/sdm", 8) == 0) {
        errno = ENOENT;
        return -1;
    }
    return __real_open(path, flags);
}

/* As the master's QEMU does it: into the window that the signal names. */
static void give_dtb(struct sdm_ioc_send *send)
{
    uint64_t room = sdm_from_le64(send->signal.payload[0]);
    uint64_t offset = sdm_from_le64(send->signal.payload[1]);

    send->status = fake->status;
    if (fake->own_dtb <= room &&
        pwrite(fake->region, fake->tree, fake->own_dtb, offset) < 0) {
        send->status = SDM_ERR_INTERNAL;
    }
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    struct sdm_ioc_peer *peer;
    struct sdm_ioc_send *send;
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (fd != DEVICE_FD || fake->ioctl_errno) {
        errno = fake->ioctl_errno ? fake->ioctl_errno : ENOTTY;
        return -1;
    }
    switch (request) {
    case SDM_IOC_INFO:
        memcpy(arg, &fake->info, sizeof(fake->info));
        return 0;
    case SDM_IOC_PEER:
        peer = arg;
        *peer = fake->peers[peer->id];
        return 0;
    case SDM_IOC_SEND:
        send = arg;
        if (send->signal.type == sdm_to_le32(SDM_SIGNAL_DTB)) {
            give_dtb(send);
            return 0;
        }
        fake->sent = send->signal;
        fake->sends++;
        if (fake->sends <= fake->echo) {
            fake->queue[fake->queued++] = send->signal;
        }
        send->status = fake->status;
        return 0;
    case SDM_IOC_FILTER:
        if (fake->filter_errno) {
            errno = fake->filter_errno;
            return -1;
        }
        memcpy(&fake->filter, arg, sizeof(fake->filter));
        return 0;
    }
    errno = ENOTTY;
    return -1;
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
                  off_t offset)
{
    if (fd != DEVICE_FD) {
        return __real_mmap(addr, len, prot, flags, fd, offset);
    }
    fake->map_offset = offset;
    fake->map_size = len;
    if (fake->mmap_errno) {
        errno = fake->mmap_errno;
        return MAP_FAILED;
    }
    return __real_mmap(addr, len, prot, flags, fd, offset - REGION);
}

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
    unsigned n = len / sizeof(struct sdm_signal);

    if (fd != DEVICE_FD) {
        return __real_read(fd, buf, len);
    }
    if (n > fake->queued - fake->taken) {
        n = fake->queued - fake->taken;
    }
    memcpy(buf, &fake->queue[fake->taken], n * sizeof(struct sdm_signal));
    fake->taken += n;
    return n * sizeof(struct sdm_signal);
}

int __wrap_poll(struct pollfd *p, nfds_t n, int timeout)
{
    const struct event *e;

    if (n != 1 || p->fd != DEVICE_FD) {
        exit(99);
    }
    if ((p->events & POLLIN) && fake->taken < fake->queued) {
        p->revents = POLLIN;
        return 1;
    }
    if (fake->event == fake->nevents) {
        fprintf(stderr, "poll for ever\n");
        exit(99);
    }
    e = &fake->events[fake->event++];
    p->revents = e->revents;
    if (e->id) {
        fake->peers[e->id].state = e->state;
    }
    if (!e->revents && timeout < 0) {
        fprintf(stderr, "poll without a time limit\n");
        exit(99);
    }
    return e->revents != 0;
}

DIR *__wrap_opendir(const char *path)
{
    return __real_opendir(strcmp(path, "/dev") == 0 ? dir : path);
}

/* --------------------------------------------------------------- fixtures */

static void make_file(char *path, size_t size, const char *name,
                      const void *data, size_t len)
{
    FILE *f;

    snprintf(path, size, "%s/%s", dir, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void make_tree(uint64_t *tree, size_t size)
{
    assert_int_equal(fdt_create(tree, size), 0);
    fdt_finish_reservemap(tree);
    fdt_begin_node(tree, "");
    fdt_property_u32(tree, "#address-cells", 2);
    fdt_property_u32(tree, "#size-cells", 2);
    fdt_begin_node(tree, "memory");
    fdt_end_node(tree);
    fdt_end_node(tree);
    assert_int_equal(fdt_finish(tree), 0);
}

static void make_files(void)
{
    static uint8_t zimage[0x4000];
    static uint64_t tree[512];
    uint32_t word;

    memset(zimage, 0xe1, sizeof(zimage));
    word = sdm_to_le32(0x016f2818);
    memcpy(zimage + 0x24, &word, 4);
    memset(zimage + 0x28, 0, 4);
    word = sdm_to_le32(sizeof(zimage));
    memcpy(zimage + 0x2c, &word, 4);
    make_file(kernel, sizeof(kernel), "zImage", zimage, sizeof(zimage));

    make_tree(tree, sizeof(tree));
    make_file(dtb, sizeof(dtb), "slave.dtb", tree, fdt_totalsize(tree));

    make_file(initrd, sizeof(initrd), "initrd", "an initrd", 9);
}

static int group_setup(void **state)
{
    (void)state;
    fake = __real_mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fake == MAP_FAILED || !mkdtemp(dir)) {
        return -1;
    }
    fake->region = memfd_create("region", MFD_CLOEXEC);
    if (fake->region < 0 || ftruncate(fake->region, REGION_SIZE)) {
        return -1;
    }
    make_files();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(kernel);
    unlink(dtb);
    unlink(initrd);
    rmdir(dir);
    close(fake->region);
    munmap(fake, sizeof(*fake));
    return 0;
}

static void clear_region(void)
{
    assert_int_equal(ftruncate(fake->region, 0), 0);
    assert_int_equal(ftruncate(fake->region, REGION_SIZE), 0);
}

/* A master of three: 1 and 3 wait, 2 is absent. */
static int setup(void **state)
{
    int region = fake->region;

    (void)state;
    memset(fake, 0, sizeof(*fake));
    fake->region = region;
    clear_region();
    fake->info.num_slaves = 3;
    fake->info.features = 0x10f;
    fake->info.version = 1;
    fake->info.region_base = REGION;
    fake->info.region_size = REGION_SIZE;
    for (uint32_t id = 0; id <= 3; id++) {
        struct sdm_ioc_peer *p = &fake->peers[id];

        p->id = id;
        p->state = id == 2 ? SDM_STATE_ABSENT : SDM_STATE_WAITING;
        p->machine = id == 2 ? 0 : SDM_EM_ARM;
        p->ram_base = id == 2 ? 0 : SLAVE_BASE;
        p->ram_size = id == 2 ? 0 : RAM;
    }
    strcpy(fake->peers[1].name, "left");
    return 0;
}

/* Run the tool; its output is in @output. Returns its exit status. */
static int run(const char *arg, ...)
{
    char *argv[20] = { (char *)"sdm-test", (char *)arg };
    int argc = 1, pipe_fds[2], status;
    size_t used = 0;
    ssize_t n;
    va_list ap;
    pid_t pid;

    va_start(ap, arg);
    while (argv[argc] && argc < 18) {
        argv[++argc] = va_arg(ap, char *);
    }
    va_end(ap);
    assert_int_equal(pipe(pipe_fds), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        dup2(pipe_fds[1], STDERR_FILENO);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        exit(sdm_test_main(argc, argv));
    }
    close(pipe_fds[1]);
    /* To its end: --no-wait has a child of its own. */
    while ((n = __real_read(pipe_fds[0], output + used,
                            sizeof(output) - 1 - used)) > 0) {
        used += n;
    }
    output[used] = '\0';
    close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The output has @words in it. */
static void says(const char *words)
{
    if (!strstr(output, words)) {
        fail_msg("'%s' is not in '%s'", words, output);
    }
}

#define RUN(expected, ...)                                              \
    do {                                                                \
        int status_ = run(__VA_ARGS__, NULL);                           \
        if (status_ != (expected)) {                                    \
            fail_msg("status %d, not %d: %s", status_, expected, output); \
        }                                                               \
    } while (0)

/* ---------------------------------------------------------------- calling */

static void help_and_version(void **state)
{
    (void)state;
    RUN(0, "--help");
    says("sdm-test -b DEV SLAVE KERNEL [DTB]");
    RUN(0, "-h");
    RUN(0, "--version");
    says("driver interface 1");
}

static void wrong_calls(void **state)
{
    static const struct { const char *args[8], *words; } calls[] = {
        { { NULL }, "give one of -b, -s, -r" },
        { { "-b", "-s" }, "give one of -b, -s, -r" },
        { { "--nothing" }, "sdm-test --help tells" },
        { { "-b", "0", "1" }, "2 arguments where these are wanted: -b DEV "
          "SLAVE KERNEL [DTB]" },
        { { "-b", "0", "1", "zImage", "dtb", "more" }, "5 arguments" },
        { { "-b", "x", "1", "zImage", "dtb" }, "the device 'x' is not a "
          "number from 0 to 63" },
        { { "-b", "64", "1", "zImage", "dtb" }, "the device '64'" },
        { { "-b", "0", "4", "zImage", "dtb" }, "slave '4' is neither a number "
          "from 1 to 3 nor the name of one" },
        { { "-b", "0", "0", "zImage", "dtb" }, "slave '0' is neither" },
        { { "-b", "0", "right", "zImage", "dtb" }, "slave 'right'" },
        { { "-b", "0", "1", "zImage", "dtb", "--window", "1" },
          "is not BASE:SIZE" },
        { { "-b", "0", "1", "zImage", "dtb", "--window", "1:2X" },
          "the size of --window '2X' is not a number" },
        { { "-b", "0", "1", "zImage", "dtb", "--window", "1:" },
          "the size of --window '' is not a number" },
        { { "-b", "0", "1", "zImage", "dtb", "--timeout", "1" },
          "--timeout means nothing here" },
        { { "-s", "0", "1" }, "-s DEV SIGNAL TARGET [P0 [P1]]" },
        { { "-s", "0", "24", "1" }, "the signal '24' is not a number from 0 "
          "to 23" },
        { { "-s", "0", "8", "0x10000" }, "the target '0x10000'" },
        { { "-s", "0", "8", "1", "12q" }, "the payload '12q'" },
        { { "-s", "0", "8", "1", "0x10000000000000000" }, "the payload" },
        { { "-s", "0", "8", "1", "--append", "x" }, "--append means nothing" },
        { { "-r" }, "0 arguments" },
        { { "-r", "0", "--count", "-3" }, "--count '-3' is not a number" },
        { { "-r", "0", "--timeout", "soon" }, "--timeout 'soon' is not" },
        { { "-r", "0", "--timeout", "nan" }, "--timeout 'nan' is not" },
        { { "-r", "0", "--signal", "24" }, "--signal '24' is not a number" },
        { { "-r", "0", "--from", "65" }, "--from '65' is not a number" },
        { { "-r", "0", "--ack" }, "--ack means nothing" },
        { { "-s", "0", "0", "1", "--signal", "1" }, "--signal means nothing" },
        { { "--ping", "9", "--from", "1" }, "--from means nothing" },
        { { "--ping", "0" }, "--ping 0 measures nothing" },
        { { "--ping", "1000001" }, "--ping '1000001' is not a number" },
        { { "--ping", "1", "0", "1", "2" }, "3 arguments where" },
        { { "--echo", "0", "1" }, "2 arguments where" },
        { { "--echo", "-s" }, "give one of -b, -s, -r" },
        { { "--list", "0" }, "1 arguments where" },
        { { "--wait", "1", "happy" }, "'happy' is not a state: absent" },
        { { "--wait", "1" }, "--wait [DEV] SLAVE STATE" },
        { { "--reset", "0" }, "--reset DEV SLAVE" },
        { { "--stop", "0", "1", "--no-wait" }, "--no-wait means nothing" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const char *const *a = calls[i].args;

        RUN(EXIT_USAGE, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
        says(calls[i].words);
        assert_int_equal(fake->sends, 0);
    }
}

static void bad_devices(void **state)
{
    (void)state;
    RUN(EXIT_FILE, "--reset", "7", "1");
    says("/dev/sdm7: No such file or directory: is the module loaded");
    RUN(EXIT_FILE, "--reset", "1", "1");
    says("/dev/sdm1: Permission denied: try as root");
    fake->info.version = 2;
    RUN(EXIT_FILE, "--reset", "0", "1");
    says("the driver's interface has version 2, this program knows 1");
    fake->info.version = 1;
    fake->info.num_slaves = 65;
    RUN(EXIT_FILE, "--reset", "0", "1");
    says("the driver speaks of 65 slaves, the most is 64");
    fake->ioctl_errno = ENODEV;
    RUN(EXIT_FILE, "--reset", "0", "1");
    says("/dev/sdm0: No such device");
}

/* ------------------------------------------------------------------- boot */

/* What lies in the window, seen from its slave. */
static void check_window(uint64_t offset, const char *args, int has_initrd)
{
    uint8_t *region = __real_mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE,
                                  MAP_SHARED, fake->region, 0);
    uint8_t *window = region + offset;
    struct sdm_boot_entry entry;
    struct sdm_text why;
    const void *tree;
    int chosen, len;
    uint64_t at;

    assert_true(region != MAP_FAILED);
    assert_int_equal(sdm_boot_record_read(window + RAM - SDM_BOOT_PAGE,
                                          SLAVE_BASE, RAM, SDM_EM_ARM, &entry,
                                          &why), SDM_OK);
    assert_int_equal(entry.entry, SLAVE_BASE + 0x10000);
    tree = window + (entry.dtb - SLAVE_BASE);
    assert_int_equal(fdt_check_full(tree, entry.dtb_size), 0);
    chosen = fdt_path_offset(tree, "/chosen");
    assert_true(chosen > 0);
    if (args) {
        assert_string_equal(fdt_getprop(tree, chosen, "bootargs", NULL), args);
    }
    if (has_initrd) {
        const fdt64_t *start = fdt_getprop(tree, chosen, "linux,initrd-start",
                                           &len);

        assert_non_null(start);
        at = fdt64_ld(start) - SLAVE_BASE;
        assert_memory_equal(window + at, "an initrd", 9);
    }
    munmap(region, REGION_SIZE);
    clear_region();
}

static void check_boot_signal(uint32_t slave, uint64_t offset)
{
    assert_int_equal(fake->sends, 1);
    assert_int_equal(fake->sent.type, SDM_SIGNAL_BOOT);
    assert_int_equal(fake->sent.target, slave);
    assert_int_equal(fake->sent.flags, 0);
    assert_int_equal(fake->sent.payload[0], RAM);
    assert_int_equal(fake->sent.payload[1], offset);
    assert_int_equal(fake->map_offset, REGION + offset);
    assert_int_equal(fake->map_size, RAM);
    fake->sends = 0;
}

static void boot_at_the_end(void **state)
{
    (void)state;
    RUN(0, "-b", "0", "1", kernel, dtb);
    says("slave 1 left: window 0x43000000:0x1000000, where the slave has "
         "0x80000000 (arm)");
    says("slave 1: booted, entry 0x80010000");
    check_boot_signal(1, 48 * MIB);
    check_window(48 * MIB, NULL, 0);
}

static void boot_by_name_with_all(void **state)
{
    (void)state;
    RUN(0, "-b", "0", "left", kernel, dtb, "--initrd", initrd, "--append",
        "quiet splash", "--window", "0x41000000:16M");
    check_boot_signal(1, 16 * MIB);
    check_window(16 * MIB, "quiet splash", 1);
}

static void boot_in_fixed_window(void **state)
{
    (void)state;
    fake->peers[3].window_base = REGION + 32 * MIB;
    fake->peers[3].window_size = RAM;
    fake->peers[1].state = SDM_STATE_RUNNING;
    fake->peers[1].window_base = REGION + 48 * MIB;
    fake->peers[1].window_size = RAM;
    RUN(0, "-b", "0", "3", kernel, dtb);
    check_boot_signal(3, 32 * MIB);
    check_window(32 * MIB, NULL, 0);

    RUN(0, "-b", "0", "3", kernel, dtb, "--window", "0x42000000:16M");
    check_boot_signal(3, 32 * MIB);
    RUN(EXIT_PLAN, "-b", "0", "3", kernel, dtb, "--window", "0x41000000:16M");
    says("slave 3 has the fixed window 0x42000000:0x1000000");
    assert_int_equal(fake->sends, 0);
}

static void boot_with_own_dtb(void **state)
{
    (void)state;
    make_tree(fake->tree, sizeof(fake->tree));
    fake->own_dtb = fdt_totalsize(fake->tree);
    RUN(0, "-b", "0", "1", kernel, "--append", "own");
    says("(the slave's own)");
    check_boot_signal(1, 48 * MIB);
    check_window(48 * MIB, "own", 0);

    /* What lies there is as little to be trusted as what comes in a file. */
    fdt_set_totalsize(fake->tree, 64 * MIB);
    RUN(EXIT_PLAN, "-b", "0", "1", kernel);
    says("slave 1 has sent no device tree: give one as DTB");
    fdt_set_totalsize(fake->tree, fake->own_dtb);
    fdt_set_off_dt_struct(fake->tree, 4096);
    RUN(EXIT_PLAN, "-b", "0", "1", kernel);
    says("slave 1 has sent no device tree");
    memset(fake->tree, 0, sizeof(fake->tree));
    RUN(EXIT_PLAN, "-b", "0", "1", kernel);
    says("slave 1 has sent no device tree");
    assert_int_equal(fake->sends, 0);

    fake->status = SDM_ERR_UNSUPPORTED;
    RUN(EXIT_REFUSED, "-b", "0", "1", kernel);
    says("the device tree (signal 5) to 1 was refused: signal type not");
}

static void boot_without_waiting(void **state)
{
    (void)state;
    fake->status = SDM_ERR_RECORD;
    RUN(0, "-b", "0", "1", kernel, dtb, "--no-wait");
    says("slave 1: BOOT is on its way");
    says("BOOT (signal 1) to 1 was refused");
    check_boot_signal(1, 48 * MIB);
}

static void boot_refused(void **state)
{
    (void)state;
    fake->status = SDM_ERR_ISA;
    RUN(EXIT_REFUSED, "-b", "0", "1", kernel, dtb);
    says("BOOT (signal 1) to 1 was refused: wrong instruction set (7)");
    assert_int_equal(fake->sends, 1);
}

/* Nothing is sent, and no byte written, for what can be known before. */
static void not_sent(const char *words)
{
    struct stat st;

    says(words);
    assert_int_equal(fake->sends, 0);
    assert_int_equal(fstat(fake->region, &st), 0);
    assert_int_equal(st.st_blocks, 0);
}

static void boot_in_wrong_state(void **state)
{
    (void)state;
    RUN(EXIT_PLAN, "-b", "0", "2", kernel, dtb);
    not_sent("slave 2 is absent, not waiting: start its QEMU");
    fake->peers[1].state = SDM_STATE_RUNNING;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    not_sent("slave 1 is running, not waiting: sdm-test --reset");
}

static void boot_bad_windows(void **state)
{
    (void)state;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb, "--window", "0x41000000:8M");
    not_sent("the window has 0x800000 bytes, slave 1 was started with "
             "0x1000000 (its -m): make them equal");
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb, "--window", "0x43001000:16M");
    not_sent("is not inside the shared memory 0x40000000:0x4000000");
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb, "--window",
        "0xfffffffffffff000:16M");
    not_sent("is not inside the shared memory");
    fake->peers[1].ram_size = 2 * REGION_SIZE;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    not_sent("is not inside the shared memory");
    fake->peers[1].ram_size = RAM;
    fake->info.region_size = 0;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    not_sent("/dev/sdm0 has no shared memory: give the master's QEMU");
}

static void boot_beside_neighbours(void **state)
{
    (void)state;
    fake->peers[3].state = SDM_STATE_RUNNING;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    not_sent("slave 3 is running somewhere in the shared memory");
    RUN(0, "-b", "0", "1", kernel, dtb, "--window", "0x40000000:16M");
    check_boot_signal(1, 0);

    clear_region();
    fake->peers[3].window_base = REGION + 40 * MIB;
    fake->peers[3].window_size = RAM;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    not_sent("overlaps that of slave 3, 0x42800000-0x437fffff");
    fake->peers[3].window_base = REGION + 32 * MIB;
    RUN(0, "-b", "0", "1", kernel, dtb);
}

static void boot_bad_files(void **state)
{
    char empty[64], broken[64], none[80];

    (void)state;
    snprintf(none, sizeof(none), "%s/none", dir);
    RUN(EXIT_FILE, "-b", "0", "1", none, dtb);
    says("none: No such file or directory");
    RUN(EXIT_FILE, "-b", "0", "1", kernel, none);
    says("device tree ");
    RUN(EXIT_FILE, "-b", "0", "1", kernel, dtb, "--initrd", none);
    says("initrd ");
    RUN(EXIT_FILE, "-b", "0", "1", dir, dtb);
    says("it is not a plain file");
    make_file(empty, sizeof(empty), "empty", "", 0);
    RUN(EXIT_FILE, "-b", "0", "1", kernel, empty);
    unlink(empty);
    says("it is empty");

    /* What the plan says reaches the user. */
    RUN(EXIT_PLAN, "-b", "0", "1", dtb, dtb);
    not_sent("the kernel is a device tree (or a FIT image)");
    make_file(broken, sizeof(broken), "broken", "broken", 6);
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, broken);
    unlink(broken);
    not_sent("libfdt refuses the device tree of 6 bytes");
}

static void boot_in_own_memory(void **state)
{
    (void)state;
    fake->mmap_errno = EPERM;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    says("mmap of the window 0x43000000-0x43ffffff: Operation not permitted: "
         "it lies in memory that this kernel owns: boot this kernel with mem=");
    says("windows= of QEMU's memory-backend-shared");
    fake->mmap_errno = ENOMEM;
    RUN(EXIT_PLAN, "-b", "0", "1", kernel, dtb);
    says("Cannot allocate memory");
    assert_int_equal(fake->sends, 0);
}

/* ---------------------------------------------------------------- signals */

static void send_signals(void **state)
{
    (void)state;
    RUN(0, "-s", "0", "010", "0xffff", "0x11", "18446744073709551615");
    assert_int_equal(fake->sent.type, 8);
    assert_int_equal(fake->sent.target, 0xffff);
    assert_true(fake->sent.payload[0] == 0x11);
    assert_true(fake->sent.payload[1] == UINT64_MAX);
    RUN(0, "-s", "0", "0", "1", "--ack");
    assert_int_equal(fake->sent.flags, SDM_SIGNAL_F_ACK);
    assert_int_equal(fake->sent.type, 0);
    assert_true(fake->sent.payload[0] == 0 && fake->sent.payload[1] == 0);
    fake->status = SDM_ERR_BUSY;
    RUN(EXIT_REFUSED, "-s", "0", "8", "1");
    says("was refused: busy, try again (9)");
    assert_int_equal(fake->sends, 3);
}

static void reset_and_stop(void **state)
{
    (void)state;
    RUN(0, "--reset", "0", "left");
    says("slave 1: waiting");
    assert_int_equal(fake->sent.type, SDM_SIGNAL_RESET);
    assert_int_equal(fake->sent.target, 1);
    RUN(0, "--stop", "0", "3");
    says("slave 3: stopped");
    assert_int_equal(fake->sent.type, SDM_SIGNAL_STOP);
    fake->status = SDM_ERR_STATE;
    RUN(EXIT_REFUSED, "--stop", "0", "3");
    says("STOP (signal 3) to 3 was refused: not possible in this state");
}

static void queue(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        fake->queue[i].type = sdm_to_le32(8 + i % 16);
        fake->queue[i].source = sdm_to_le16(2);
        fake->queue[i].cookie = sdm_to_le32(i);
        fake->queue[i].payload[0] = sdm_to_le64(0x100 + i);
    }
    fake->queued = n;
}

static void receive_signals(void **state)
{
    static const struct event late = { 0, 0, 0 }, gone = { POLLHUP, 0, 0 };

    (void)state;
    queue(40);
    RUN(0, "-r", "0", "--count", "20");
    says("signal 8 from 2 flags 0x0 cookie 0 payload 0x100 0x0\n");
    says("signal 11 from 2 flags 0x0 cookie 19 payload 0x113 0x0\n");
    assert_int_equal(fake->taken, 20);      /* not one too many */

    fake->events[0] = late;
    fake->nevents = 1;
    RUN(EXIT_TIME, "-r", "0", "--count", "21", "--timeout", "0.5");
    says("1 of 21 signals did not come within 0.5 s");

    /* Without a number, the end of the time is the end. */
    fake->event = fake->taken = 0;
    RUN(0, "-r", "0", "--timeout", "0.5");
    assert_int_equal(fake->taken, 40);

    fake->event = 0;
    fake->events[0] = gone;
    RUN(EXIT_FILE, "-r", "0");
    says("/dev/sdm0: the device was removed");
}

static void receive_filtered(void **state)
{
    (void)state;
    queue(1);
    RUN(0, "-r", "0", "--signal", "9", "--count", "1");
    assert_int_equal(fake->filter.types, 1 << 9);
    assert_true(fake->filter.sources[0] == UINT64_MAX &&
                fake->filter.sources[1] == UINT64_MAX);
    fake->taken = 0;
    RUN(0, "-r", "0", "--from", "64", "--count", "1");
    assert_int_equal(fake->filter.types, 0xffffff);
    assert_true(fake->filter.sources[0] == 0 && fake->filter.sources[1] == 1);
    fake->filter_errno = EBUSY;
    RUN(EXIT_FILE, "-r", "0", "--from", "0");
    says("another program or a mailbox client receives these signals");
}

static void ping_and_echo(void **state)
{
    (void)state;
    queue(1);                   /* no echo of ours */
    fake->echo = 5;
    RUN(0, "--ping", "5", "0", "2", "--signal", "8", "--ack");
    says("5 round trips of signal 8 to 2, acknowledged, us: min ");
    assert_int_equal(fake->sends, 5);
    assert_int_equal(fake->sent.target, 2);
    assert_int_equal(fake->sent.flags, SDM_SIGNAL_F_ACK);
    assert_int_equal(fake->filter.types, 1 << 8);
    assert_true(fake->filter.sources[0] == 1 << 2);

    /* To its master, whose echo does not come. */
    fake->info.device_id = 3;
    fake->nevents = 1;
    RUN(EXIT_TIME, "--ping", "2", "--timeout", "0.5");
    says("no echo of signal 0 from 0 within 0.5 s, after 0: does sdm-test "
         "--echo run there?");
    assert_int_equal(fake->sent.target, 0);
    fake->status = SDM_ERR_NO_PEER;
    RUN(EXIT_REFUSED, "--ping", "2");

    fake->status = SDM_OK;
    fake->sends = fake->taken = fake->echo = fake->event = 0;
    queue(3);
    RUN(0, "--echo", "--count", "3", "--from", "2");
    says("/dev/sdm0: echoes signal 0\n");
    assert_int_equal(fake->sends, 3);
    assert_int_equal(fake->sent.target, 2);
    assert_int_equal(fake->sent.cookie, 2);
    RUN(0, "--echo", "--timeout", "1");
}

/* ------------------------------------------------------------------ peers */

static void wait_for_states(void **state)
{
    static const struct event script[] = {
        { POLLPRI, 3, SDM_STATE_BOOTING },      /* somebody else's change */
        { POLLPRI, 1, SDM_STATE_BOOTING },
        { POLLPRI, 1, SDM_STATE_RUNNING },
    };

    (void)state;
    RUN(0, "--wait", "1", "waiting");           /* it does already */
    says("slave 1: waiting");
    memcpy(fake->events, script, sizeof(script));
    fake->nevents = 3;
    RUN(0, "--wait", "0", "left", "running", "--timeout", "100");
    assert_int_equal(fake->event, 3);

    memset(fake->events, 0, sizeof(fake->events));
    fake->event = 0;
    RUN(EXIT_TIME, "--wait", "1", "stopped", "--timeout", "2");
    says("slave 1 is running, not stopped, after 2 s");
    fake->events[1].revents = POLLHUP;
    RUN(EXIT_FILE, "--wait", "1", "stopped");
    says("the device was removed");
}

static void list_all(void **state)
{
    char sdm0[64], other[64];

    (void)state;
    RUN(EXIT_FILE, "--list");
    says("no /dev/sdm*: is the module loaded");

    make_file(sdm0, sizeof(sdm0), "sdm0", "", 0);
    make_file(other, sizeof(other), "sdma", "", 0);
    fake->peers[1].window_base = REGION + 48 * MIB;
    fake->peers[1].window_size = RAM;
    RUN(0, "--list");
    says("/dev/sdm0: master of 3 slaves, shared memory 0x40000000:0x4000000, "
         "signals 0,1,2,3,8\n");
    says("  1   left         waiting  arm      0x0080000000:0x1000000  "
         "0x0043000000:0x1000000\n");
    says("  2   -            absent   -        -                       -\n");
    assert_null(strstr(output, "  0  "));

    fake->info.device_id = 2;
    fake->info.num_slaves = 3;
    fake->info.features = 0;
    RUN(0, "--list");
    says("/dev/sdm0: slave 2, shared memory");
    says("signals none\n");
    says("  0   -            waiting");
    assert_null(strstr(output, "  1   left"));
    fake->info.device_id = UINT32_MAX;
    RUN(0, "--list");
    unlink(sdm0);
    unlink(other);
    says("slave without an id yet");
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(help_and_version),
        T(wrong_calls),
        T(bad_devices),
        T(boot_at_the_end),
        T(boot_by_name_with_all),
        T(boot_in_fixed_window),
        T(boot_with_own_dtb),
        T(boot_without_waiting),
        T(boot_refused),
        T(boot_in_wrong_state),
        T(boot_bad_windows),
        T(boot_beside_neighbours),
        T(boot_bad_files),
        T(boot_in_own_memory),
        T(send_signals),
        T(reset_and_stop),
        T(receive_signals),
        T(receive_filtered),
        T(ping_and_echo),
        T(wait_for_states),
        T(list_all),
    };

    return cmocka_run_group_tests_name("sdm-test", tests, group_setup,
                                       group_teardown);
}
