/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation: the device tree is not edited in place. A window may be
 * written by the slave's process at any time, and libfdt trusts the tree that
 * it edits; so the source, which is private and checked, is walked once, and
 * the patched tree is written front to back without a look at what was written
 * before. Rejected: a private buffer and libfdt's read-write functions - the
 * caller would have to lend one for every boot.
 */
#include <string.h>
#include <libfdt.h>

#include "migration/sdm-bootplan.h"
#include "migration/sdm-bootrecord.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

#define PAGE            (4 * KIB)
#define INITRD_HIGHEST  (128 * MIB)
/* What the patches add to a tree, bootargs apart: less than 1 KiB. */
#define DTB_SLACK       (4 * KIB)

#define ARM_LOAD            0x10000u
#define ARM_MAGIC           0x016f2818u
#define ARM_MAGIC_AT        0x24u
#define ARM_START_AT        0x28u
#define ARM_END_AT          0x2cu
#define ARM_HEADER          0x30u
#define ARM_EXTENSION_MAGIC 0x45454545u
#define ARM_EXTENSION_AT    0x34u   /* then the table's offset */
#define ARM_SIZE_TAG        0x5a534c4bu
/* Highest text offset that is in use (2 MiB and 32 KiB), and stack and heap. */
#define ARM_UNPACK_SLACK    (2 * MIB + 512 * KIB)

#define ARM64_MAGIC         0x644d5241u     /* "ARM\x64" */
#define ARM64_MAGIC_AT      56u
#define ARM64_TEXT_AT       8u
#define ARM64_SIZE_AT       16u
#define ARM64_HEADER        64u
#define ARM64_OLD_TEXT      0x80000u        /* where image_size is 0 */
#define ARM64_ALIGN         (2 * MIB)
#define ARM64_DTB_MOST      (2 * MIB)       /* Documentation/arm64/booting */

/**
 * struct kernel - what a kernel's header says
 * @text: offset from the alignment boundary to the first byte
 * @file: bytes to copy
 * @need: bytes from its first byte that belong to it while it starts
 */
struct kernel {
    uint64_t text;
    uint64_t file;
    uint64_t need;
};

static void say(struct sdm_text *why, const char *text)
{
    sdm_text_init(why);
    sdm_text_add(why, text);
}

static uint32_t refuse(struct sdm_text *why, uint32_t status, const char *text)
{
    say(why, text);
    return status;
}

static uint32_t too_small(struct sdm_text *why, const char *what,
                          uint64_t bytes, uint64_t window, const char *where)
{
    say(why, what);
    sdm_text_add(why, " of ");
    sdm_text_add_size(why, bytes);
    sdm_text_add(why, " does not fit in the ");
    sdm_text_add_size(why, window);
    sdm_text_add(why, " window");
    sdm_text_add(why, where);
    sdm_text_add(why, ": give a larger window");
    return SDM_ERR_WINDOW;
}

static uint32_t get_le32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_le64(const uint8_t *p)
{
    return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

static int is_zimage(const uint8_t *k, size_t size)
{
    return size >= ARM_HEADER && get_le32(k + ARM_MAGIC_AT) == ARM_MAGIC;
}

static int is_image(const uint8_t *k, size_t size)
{
    return size >= ARM64_HEADER && get_le32(k + ARM64_MAGIC_AT) == ARM64_MAGIC;
}

/* What people give by mistake: what it is, and how to get the right thing. */
static const struct {
    uint8_t length;
    uint8_t magic[6];
    const char *what;
    const char *arm;
    const char *arm64;
} mistakes[] = {
    { 4, { 0x7f, 'E', 'L', 'F' }, "an ELF file (a vmlinux?)",
      "give the zImage of the same build (arch/arm/boot/zImage)",
      "give the Image of the same build (arch/arm64/boot/Image)" },
    { 2, { 0x1f, 0x8b }, "compressed by gzip",
      "unpack it with gunzip; a zImage is wanted",
      "unpack it with gunzip; an uncompressed Image is wanted" },
    { 4, { 0x27, 0x05, 0x19, 0x56 }, "a uImage",
      "give the zImage without U-Boot's header",
      "give the Image without U-Boot's header" },
    { 6, { 0xfd, '7', 'z', 'X', 'Z', 0 }, "compressed by xz",
      "unpack it with unxz; a zImage is wanted",
      "unpack it with unxz; an uncompressed Image is wanted" },
    { 4, { 0x28, 0xb5, 0x2f, 0xfd }, "compressed by zstd",
      "unpack it with unzstd; a zImage is wanted",
      "unpack it with unzstd; an uncompressed Image is wanted" },
    { 4, { 0xd0, 0x0d, 0xfe, 0xed }, "a device tree (or a FIT image)",
      "give the zImage here", "give the uncompressed Image here" },
};

static uint32_t not_a_kernel(const uint8_t *k, size_t size, int arm64,
                             struct sdm_text *why)
{
    const char *wanted = arm64 ? "an uncompressed arm64 Image"
                               : "an arm zImage";

    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        if (size >= mistakes[i].length &&
            memcmp(k, mistakes[i].magic, mistakes[i].length) == 0) {
            say(why, "the kernel is ");
            sdm_text_add(why, mistakes[i].what);
            sdm_text_add(why, ", not ");
            sdm_text_add(why, wanted);
            sdm_text_add(why, ": ");
            sdm_text_add(why, arm64 ? mistakes[i].arm64 : mistakes[i].arm);
            return SDM_ERR_INVAL;
        }
    }
    say(why, "the kernel of ");
    sdm_text_add_u64(why, size);
    sdm_text_add(why, " bytes is not ");
    sdm_text_add(why, wanted);
    sdm_text_add(why, ": its header has no magic number; give the file that "
                 "the kernel's build or package made for booting");
    return SDM_ERR_INVAL;
}

static uint32_t other_isa(const char *is, const char *slave,
                          struct sdm_text *why)
{
    say(why, "the kernel is ");
    sdm_text_add(why, is);
    sdm_text_add(why, ", the slave is ");
    sdm_text_add(why, slave);
    sdm_text_add(why, ": give a kernel for the slave's instruction set");
    return SDM_ERR_ISA;
}

/*
 * Bytes of the kernel when it is unpacked, from the extension table; 0 if there
 * is none (before Linux 4.15). The tag gives the place of the unpacked size in
 * the zImage, and the size of the BSS.
 */
static uint64_t zimage_unpacked(const uint8_t *k, uint64_t size)
{
    uint64_t at, words, place;

    if (size < ARM_EXTENSION_AT + 8 ||
        get_le32(k + ARM_EXTENSION_AT) != ARM_EXTENSION_MAGIC) {
        return 0;
    }
    at = get_le32(k + ARM_EXTENSION_AT + 4);
    while (at + 16 <= size) {
        words = get_le32(k + at);
        if (get_le32(k + at + 4) == ARM_SIZE_TAG && words >= 4) {
            place = get_le32(k + at + 8);
            if (place + 4 > size) {
                return 0;
            }
            return (uint64_t)get_le32(k + place) + get_le32(k + at + 12);
        }
        if (words < 2) {
            return 0;
        }
        at += words * 4;
    }
    return 0;
}

static uint32_t read_zimage(const uint8_t *k, size_t size,
                            struct kernel *kernel, struct sdm_text *why)
{
    uint64_t unpacked;
    uint32_t start, end;

    if (!is_zimage(k, size)) {
        return is_image(k, size) ? other_isa("an aarch64 Image", "arm", why)
                                 : not_a_kernel(k, size, 0, why);
    }
    start = get_le32(k + ARM_START_AT);
    end = get_le32(k + ARM_END_AT);
    if (end <= start || end - start < ARM_HEADER) {
        say(why, "the zImage is damaged: its header says start ");
        sdm_text_add_hex(why, start);
        sdm_text_add(why, " and end ");
        sdm_text_add_hex(why, end);
        sdm_text_add(why, "; get the file again");
        return SDM_ERR_INVAL;
    }
    if (end - start > size) {
        say(why, "the zImage is truncated: its header says ");
        sdm_text_add_u64(why, end - start);
        sdm_text_add(why, " bytes, the file has ");
        sdm_text_add_u64(why, size);
        sdm_text_add(why, "; get the whole file");
        return SDM_ERR_INVAL;
    }
    kernel->text = ARM_LOAD;
    kernel->file = end - start;
    kernel->need = kernel->file;
    /* It moves itself behind the place that it unpacks to: both count. */
    unpacked = zimage_unpacked(k, kernel->file);
    if (unpacked) {
        kernel->need += unpacked + ARM_UNPACK_SLACK;
    }
    return SDM_OK;
}

static uint32_t read_image(const uint8_t *k, size_t size,
                           struct kernel *kernel, struct sdm_text *why)
{
    uint64_t image_size;

    if (!is_image(k, size)) {
        return is_zimage(k, size) ? other_isa("an arm zImage", "aarch64", why)
                                  : not_a_kernel(k, size, 1, why);
    }
    image_size = get_le64(k + ARM64_SIZE_AT);
    kernel->text = image_size ? get_le64(k + ARM64_TEXT_AT) : ARM64_OLD_TEXT;
    if (kernel->text % 4) {
        say(why, "the Image is damaged: its header says text offset ");
        sdm_text_add_hex(why, kernel->text);
        sdm_text_add(why, ", no multiple of 4; get the file again");
        return SDM_ERR_INVAL;
    }
    kernel->file = size;
    kernel->need = image_size > size ? image_size : size;
    return SDM_OK;
}

/* Bytes of the tree without the holes that a writer may have left in it. */
static uint64_t dtb_used(const void *dtb)
{
    return sizeof(struct fdt_header) +
           ((uint64_t)fdt_num_mem_rsv(dtb) + 1) * sizeof(uint64_t) * 2 +
           fdt_size_dt_struct(dtb) + fdt_size_dt_strings(dtb);
}

/* @name without its unit address is @wanted. */
static int is_named(const char *name, const char *wanted)
{
    size_t len = strlen(wanted);

    return strncmp(name, wanted, len) == 0 &&
           (name[len] == '\0' || name[len] == '@');
}

static int is_memory(const void *dtb, int node)
{
    const char *name = fdt_get_name(dtb, node, NULL);
    const char *type;
    int len;

    type = fdt_getprop(dtb, node, "device_type", &len);
    if (type && len == (int)sizeof("memory") &&
        memcmp(type, "memory", sizeof("memory")) == 0) {
        return 1;
    }
    return name && is_named(name, "memory");
}

static uint32_t check_dtb(const struct sdm_boot_images *images,
                          uint64_t ram_base, uint64_t size,
                          struct sdm_text *why)
{
    const void *dtb = images->dtb;
    int err, node, memory = 0;

    if (!dtb) {
        return refuse(why, SDM_ERR_INVAL,
                      "no device tree: give the slave's (a .dtb file)");
    }
    err = fdt_check_full(dtb, images->dtb_size);
    if (!err && fdt_version(dtb) < 17) {
        err = -FDT_ERR_BADVERSION;
    }
    if (!err && !fdt_get_name(dtb, 0, NULL)) {
        err = -FDT_ERR_BADSTRUCTURE;
    }
    if (!err && dtb_used(dtb) > fdt_totalsize(dtb)) {
        err = -FDT_ERR_BADLAYOUT;
    }
    if (err) {
        say(why, "libfdt refuses the device tree of ");
        sdm_text_add_u64(why, images->dtb_size);
        sdm_text_add(why, " bytes: ");
        sdm_text_add(why, fdt_strerror(err));
        sdm_text_add(why, "; write it anew with dtc");
        return SDM_ERR_INVAL;
    }
    fdt_for_each_subnode(node, dtb, 0) {
        memory += is_memory(dtb, node);
    }
    if (!memory) {
        return refuse(why, SDM_ERR_INVAL, "the device tree has no memory "
                      "node: add one (memory@0 with device_type = \"memory\""
                      "), its reg is filled in here");
    }
    for (int i = 0; i < 2; i++) {
        int cells = i ? fdt_size_cells(dtb, 0) : fdt_address_cells(dtb, 0);
        uint64_t value = i ? size - SDM_BOOT_PAGE : ram_base;

        if (cells == 2 || (cells == 1 && value <= UINT32_MAX)) {
            continue;
        }
        say(why, "the device tree's root has ");
        sdm_text_add(why, i ? "#size-cells" : "#address-cells");
        if (cells < 0) {
            sdm_text_add(why, " that libfdt refuses");
        } else {
            sdm_text_add(why, " = <");
            sdm_text_add_u64(why, cells);
            sdm_text_add(why, ">");
        }
        sdm_text_add(why, ", which cannot hold ");
        sdm_text_add_hex(why, value);
        sdm_text_add(why, ": make it <2>");
        return SDM_ERR_INVAL;
    }
    return SDM_OK;
}

/* Where the dtb's bytes may begin: 2 MiB of the guest address on aarch64. */
static uint64_t align_dtb(uint32_t machine, uint64_t ram_base, uint64_t at)
{
    uint64_t align = machine == SDM_EM_AARCH64 ? ARM64_ALIGN : PAGE;

    return align_up(ram_base + at, align) - ram_base;
}

uint32_t sdm_boot_plan(const struct sdm_boot_images *images, uint32_t machine,
                       uint64_t ram_base, uint64_t size,
                       struct sdm_boot_plan *plan, struct sdm_text *why)
{
    const uint64_t last = machine == SDM_EM_ARM ? UINT32_MAX : UINT64_MAX;
    struct sdm_boot_plan p;
    struct kernel kernel = { 0 };
    uint64_t room, at;
    uint32_t status;

    if (machine != SDM_EM_ARM && machine != SDM_EM_AARCH64) {
        say(why, "no boot plan for a slave of machine ");
        sdm_text_add(why, sdm_machine_text(machine));
        sdm_text_add(why, " (ELF machine ");
        sdm_text_add_u64(why, machine);
        sdm_text_add(why, "): arm (40) and aarch64 (183) have one");
        return SDM_ERR_ISA;
    }
    if (!images->kernel) {
        return refuse(why, SDM_ERR_INVAL, "no kernel: give one");
    }
    status = machine == SDM_EM_ARM ?
        read_zimage(images->kernel, images->kernel_size, &kernel, why) :
        read_image(images->kernel, images->kernel_size, &kernel, why);
    if (status) {
        return status;
    }
    if (size <= SDM_BOOT_PAGE || size % PAGE || ram_base % PAGE ||
        ram_base > last || size - 1 > UINT64_MAX - ram_base) {
        say(why, "a window of ");
        sdm_text_add_hex(why, size);
        sdm_text_add(why, " bytes for guest address ");
        sdm_text_add_hex(why, ram_base);
        sdm_text_add(why, " cannot be booted: give multiples of 4 KiB, more "
                     "than one page, within the slave's addresses");
        return SDM_ERR_WINDOW;
    }
    status = check_dtb(images, ram_base, size, why);
    if (status) {
        return status;
    }
    /* An arm CPU starts with 32-bit addresses, wherever its memory ends. */
    room = size - SDM_BOOT_PAGE;
    if (room - 1 > last - ram_base) {
        room = last - ram_base + 1;
    }

    memset(&p, 0, sizeof(p));
    p.machine = machine;
    p.ram_base = ram_base;
    p.size = size;
    p.kernel_size = kernel.file;
    if (machine == SDM_EM_AARCH64) {
        p.kernel = -ram_base & (ARM64_ALIGN - 1);
    }
    if (p.kernel > room || kernel.text > room - p.kernel ||
        kernel.need > room - p.kernel - kernel.text) {
        return too_small(why, "a kernel", kernel.need, size,
                         " from its load offset on");
    }
    p.kernel += kernel.text;
    p.entry = ram_base + p.kernel;

    at = size / 2 < INITRD_HIGHEST ? size / 2 : INITRD_HIGHEST;
    if (at < p.kernel + kernel.need) {
        at = p.kernel + kernel.need;
    }
    at = align_up(at, PAGE);
    if (images->initrd && images->initrd_size) {
        if (at > room || images->initrd_size > room - at) {
            return too_small(why, "an initrd", images->initrd_size, size,
                             " behind the kernel");
        }
        p.initrd = at;
        at += images->initrd_size;
    }

    p.dtb = align_dtb(machine, ram_base, at);
    p.dtb_room = align_up(dtb_used(images->dtb) + DTB_SLACK +
                          (images->append ? strlen(images->append) : 0), PAGE);
    if (machine == SDM_EM_AARCH64 && p.dtb_room > ARM64_DTB_MOST) {
        say(why, "a device tree of ");
        sdm_text_add_size(why, p.dtb_room);
        sdm_text_add(why, " with the kernel arguments is more than the 2 MiB "
                     "that an arm64 kernel takes: give a smaller one");
        return SDM_ERR_WINDOW;
    }
    if (p.dtb > room || p.dtb_room > room - p.dtb) {
        return too_small(why, "a device tree", p.dtb_room, size,
                         p.initrd ? " behind the initrd"
                                  : " behind the kernel");
    }
    *plan = p;
    return SDM_OK;
}

/* Names that are added, behind the source's own strings. */
static const char added_strings[] =
    "device_type\0reg\0bootargs\0linux,initrd-start\0linux,initrd-end";
enum {
    ADD_DEVICE_TYPE  = 0,
    ADD_REG          = 12,
    ADD_BOOTARGS     = 16,
    ADD_INITRD_START = 25,
    ADD_INITRD_END   = 44,
};

/**
 * struct writer - the patched tree, written front to back
 * @at:   next byte to write
 * @full: something did not fit; nothing is written any more
 * @base: offset of added_strings in the new strings block
 */
struct writer {
    uint8_t *out;
    uint64_t size;
    uint64_t at;
    int full;
    uint32_t base;
};

static void put(struct writer *w, const void *data, uint64_t len)
{
    if (w->full || len > w->size - w->at) {
        w->full = 1;
        return;
    }
    memcpy(w->out + w->at, data, len);
    w->at += len;
}

static void put_u32(struct writer *w, uint32_t value)
{
    fdt32_t be = cpu_to_fdt32(value);

    put(w, &be, sizeof(be));
}

static void put_u64(struct writer *w, uint64_t value)
{
    fdt64_t be = cpu_to_fdt64(value);

    put(w, &be, sizeof(be));
}

static void put_padding(struct writer *w)
{
    static const uint8_t zeros[FDT_TAGSIZE];

    put(w, zeros, -w->at & (FDT_TAGSIZE - 1));
}

static void put_node(struct writer *w, const char *name)
{
    put_u32(w, FDT_BEGIN_NODE);
    put(w, name, strlen(name) + 1);
    put_padding(w);
}

/* The value follows, then padding. */
static void put_property(struct writer *w, uint32_t name, uint32_t len)
{
    put_u32(w, FDT_PROP);
    put_u32(w, len);
    put_u32(w, w->base + name);
}

static void put_string(struct writer *w, uint32_t name, const char *value)
{
    put_property(w, name, strlen(value) + 1);
    put(w, value, strlen(value) + 1);
    put_padding(w);
}

static void put_cells(struct writer *w, int cells, uint64_t value)
{
    if (cells == 2) {
        put_u64(w, value);
    } else {
        put_u32(w, value);
    }
}

static void put_memory(struct writer *w, const void *dtb,
                       const struct sdm_boot_plan *plan)
{
    int acells = fdt_address_cells(dtb, 0);
    int scells = fdt_size_cells(dtb, 0);
    struct sdm_text name, hex;

    sdm_text_init(&hex);
    sdm_text_add_hex(&hex, plan->ram_base);
    say(&name, "memory@");
    sdm_text_add(&name, hex.buf + strlen("0x"));

    put_node(w, name.buf);
    put_string(w, ADD_DEVICE_TYPE, "memory");
    put_property(w, ADD_REG, (acells + scells) * sizeof(fdt32_t));
    put_cells(w, acells, plan->ram_base);
    put_cells(w, scells, plan->size - SDM_BOOT_PAGE);
}

/* What is added to /chosen; an initrd's place is read in any number of cells */
static void put_chosen(struct writer *w, const struct sdm_boot_images *images,
                       const struct sdm_boot_plan *plan)
{
    uint64_t start = plan->ram_base + plan->initrd;

    if (images->append) {
        put_string(w, ADD_BOOTARGS, images->append);
    }
    if (plan->initrd) {
        put_property(w, ADD_INITRD_START, sizeof(fdt64_t));
        put_u64(w, start);
        put_property(w, ADD_INITRD_END, sizeof(fdt64_t));
        put_u64(w, start + images->initrd_size);
    }
}

enum node { NODE_OTHER, NODE_MEMORY, NODE_CHOSEN };

/* Does this property of the source give way to ours, or contradict it? */
static int is_replaced(enum node node, const char *name, int has_append)
{
    static const char *const memory[] = {
        "device_type", "reg", "linux,usable-memory",
    };
    static const char *const chosen[] = {
        "linux,initrd-start", "linux,initrd-end", "linux,usable-memory-range",
    };

    for (int i = 0; i < 3; i++) {
        if ((node == NODE_MEMORY && strcmp(name, memory[i]) == 0) ||
            (node == NODE_CHOSEN && strcmp(name, chosen[i]) == 0)) {
            return 1;
        }
    }
    return node == NODE_CHOSEN && has_append && strcmp(name, "bootargs") == 0;
}

/* The structure block; the tree has passed check_dtb(). */
static void put_struct(struct writer *w, const struct sdm_boot_images *images,
                       const struct sdm_boot_plan *plan)
{
    const void *dtb = images->dtb;
    const uint8_t *block = (const uint8_t *)dtb + fdt_off_dt_struct(dtb);
    int have_memory = 0, have_chosen = 0;
    int depth = 0, dropped = 0;     /* depth of the node being dropped */
    enum node node = NODE_OTHER;    /* what the node at depth 2 is */
    int at = 0, next;
    uint32_t tag;

    do {
        tag = fdt_next_tag(dtb, at, &next);
        switch (tag) {
        case FDT_BEGIN_NODE:
            depth++;
            if (dropped) {
                break;
            }
            if (depth == 2) {
                node = NODE_OTHER;
            }
            if (depth == 2 && is_memory(dtb, at)) {
                if (have_memory) {
                    dropped = depth;
                    break;
                }
                have_memory = 1;
                node = NODE_MEMORY;
                put_memory(w, dtb, plan);
                break;
            }
            put(w, block + at, next - at);
            if (depth == 2 && !have_chosen &&
                is_named(fdt_get_name(dtb, at, NULL), "chosen")) {
                have_chosen = 1;
                node = NODE_CHOSEN;
                put_chosen(w, images, plan);
            }
            break;
        case FDT_PROP:
            if (!dropped) {
                const char *name = NULL;

                fdt_getprop_by_offset(dtb, at, &name, NULL);
                if (depth != 2 ||
                    !is_replaced(node, name, images->append != NULL)) {
                    put(w, block + at, next - at);
                }
            }
            break;
        case FDT_END_NODE:
            if (depth == 1 && !have_chosen) {
                put_node(w, "chosen");
                put_chosen(w, images, plan);
                put_u32(w, FDT_END_NODE);
            }
            if (!dropped) {
                put_u32(w, FDT_END_NODE);
            } else if (dropped == depth) {
                dropped = 0;
            }
            depth--;
            break;
        }
        at = next;
    } while (tag != FDT_END);
    put_u32(w, FDT_END);
}

static uint32_t write_dtb(const struct sdm_boot_images *images,
                          const struct sdm_boot_plan *plan, void *out,
                          uint64_t *size, struct sdm_text *why)
{
    const void *dtb = images->dtb;
    struct writer w = { .out = out, .size = plan->dtb_room };
    struct fdt_header header;
    uint64_t reserved, start, strings;
    uint32_t status;

    status = check_dtb(images, plan->ram_base, plan->size, why);
    if (status) {
        return status;
    }
    w.base = fdt_size_dt_strings(dtb);

    /* The header is known last, and written last. */
    memset(&header, 0, sizeof(header));
    put(&w, &header, sizeof(header));
    reserved = w.at;
    for (int i = 0; i < fdt_num_mem_rsv(dtb); i++) {
        uint64_t address = 0, bytes = 0;

        fdt_get_mem_rsv(dtb, i, &address, &bytes);
        put_u64(&w, address);
        put_u64(&w, bytes);
    }
    put_u64(&w, 0);
    put_u64(&w, 0);
    start = w.at;
    put_struct(&w, images, plan);
    strings = w.at;
    put(&w, (const uint8_t *)dtb + fdt_off_dt_strings(dtb), w.base);
    put(&w, added_strings, sizeof(added_strings));
    if (w.full) {
        return too_small(why, "the patched device tree", plan->dtb_room,
                         plan->size, ": it needs more than was planned");
    }

    header.magic = cpu_to_fdt32(FDT_MAGIC);
    header.totalsize = cpu_to_fdt32(w.at);
    header.off_dt_struct = cpu_to_fdt32(start);
    header.off_dt_strings = cpu_to_fdt32(strings);
    header.off_mem_rsvmap = cpu_to_fdt32(reserved);
    header.version = cpu_to_fdt32(17);
    header.last_comp_version = cpu_to_fdt32(16);
    header.boot_cpuid_phys = cpu_to_fdt32(fdt_boot_cpuid_phys(dtb));
    header.size_dt_strings = cpu_to_fdt32(w.at - strings);
    header.size_dt_struct = cpu_to_fdt32(strings - start);
    memcpy(out, &header, sizeof(header));
    *size = w.at;
    return SDM_OK;
}

uint32_t sdm_boot_dtb(const struct sdm_boot_images *images,
                      const struct sdm_boot_plan *plan, void *out,
                      struct sdm_text *why)
{
    uint64_t size;

    return write_dtb(images, plan, out, &size, why);
}

uint32_t sdm_boot_load(const struct sdm_boot_images *images, uint32_t machine,
                       uint64_t ram_base, void *window, uint64_t size,
                       struct sdm_text *why)
{
    struct sdm_boot_entry entry;
    struct sdm_boot_plan plan;
    uint8_t *to = window;
    uint32_t status;

    status = sdm_boot_plan(images, machine, ram_base, size, &plan, why);
    if (status) {
        return status;
    }
    memset(&entry, 0, sizeof(entry));
    status = write_dtb(images, &plan, to + plan.dtb, &entry.dtb_size, why);
    if (status) {
        return status;
    }
    memcpy(to + plan.kernel, images->kernel, plan.kernel_size);
    if (plan.initrd) {
        memcpy(to + plan.initrd, images->initrd, images->initrd_size);
    }

    entry.machine = machine;
    entry.entry = plan.entry;
    entry.dtb = ram_base + plan.dtb;
    if (machine == SDM_EM_ARM) {
        /* r0 is 0, r1 no board number: the device tree names the board. */
        entry.nargs = 3;
        entry.args[1] = UINT32_MAX;
        entry.args[2] = entry.dtb;
    } else {
        entry.nargs = 4;
        entry.args[0] = entry.dtb;
    }
    memset(to + size - SDM_BOOT_PAGE, 0, SDM_BOOT_PAGE);
    sdm_boot_record_write(to + size - SDM_BOOT_PAGE, &entry);
    return SDM_OK;
}
