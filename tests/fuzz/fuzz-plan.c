/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel and a device tree, planned and loaded. Input: see struct request,
 * then the device tree. What is planned does not overlap and fits; the tree
 * that comes out is one for libfdt, with the memory, initrd and arguments asked
 * for; nothing is written outside the window.
 */
#include <sys/mman.h>
#include <libfdt.h>

#include "migration/sdm-bootplan.h"
#include "migration/sdm-bootrecord.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "plan";

#define KERNEL_MAX  0x4000u
#define DTB_MAX     0x8000u
#define LOAD_MOST   (8u << 20)      /* larger windows are only planned */
#define GUARD       0x10000u

enum {
    DO_AARCH64 = 1 << 0,
    DO_INITRD  = 1 << 1,
    DO_APPEND  = 1 << 2,
    DO_MAGIC   = 1 << 3,    /* give the kernel the magic number it needs */
    DO_SMALL   = 1 << 4,    /* a window and an address that are like real */
    DO_TREE    = 1 << 5,    /* the tree is ours, the input goes into it */
};

static const char append[] = "console=ttyAMA0 quiet";

struct request {
    uint8_t what;
    uint32_t machine;
    uint64_t ram_base;
    uint64_t size;
    uint8_t kernel[64];
    size_t kernel_size;
    size_t initrd_size;
    size_t dtb_size;
};

static void stamp(uint8_t *at, uint32_t value)
{
    value = sdm_to_le32(value);
    memcpy(at, &value, sizeof(value));
}

static void read_request(struct input *in, struct request *r)
{
    r->what = input_u8(in);
    r->machine = r->what & DO_AARCH64 ? SDM_EM_AARCH64 : SDM_EM_ARM;
    r->ram_base = input_u64(in);
    r->size = input_u64(in);
    if (r->what & DO_SMALL) {
        r->ram_base = 0x40000000 + r->ram_base % 16 * 0x1000;
        r->size = r->size % (LOAD_MOST / 0x1000 + 1) * 0x1000;
    }
    input_bytes(in, r->kernel, sizeof(r->kernel));
    r->kernel_size = input_u16(in) % (KERNEL_MAX + 1);
    r->initrd_size = input_u16(in);
    if (r->what & DO_MAGIC) {
        if (r->what & DO_AARCH64) {
            stamp(r->kernel + 56, 0x644d5241);
        } else {
            stamp(r->kernel + 0x24, 0x016f2818);
        }
    }
}

/*
 * Names and values from the input in a well-formed tree: a fuzzer would spend
 * its life on the header's offsets.
 */
static size_t make_tree(struct input *in, void *fdt)
{
    static const char *const names[] = {
        "memory", "memory@0", "chosen", "chosen@0", "ram", "aliases",
        "memory-controller", "reserved-memory",
    };
    static const char *const properties[] = {
        "device_type", "reg", "bootargs", "linux,initrd-start",
        "linux,initrd-end", "#address-cells", "#size-cells", "kaslr-seed",
        "linux,usable-memory", "x",
    };
    int depth = 1, err = 0;
    uint8_t value[16];

    if (fdt_create(fdt, DTB_MAX)) {
        return 0;
    }
    if (input_u8(in) & 1) {
        fdt_add_reservemap_entry(fdt, input_u64(in), input_u64(in));
    }
    fdt_finish_reservemap(fdt);
    fdt_begin_node(fdt, "");
    while (in->left && !err) {
        uint8_t op = input_u8(in);

        if (op % 4 == 0 && depth < 40) {
            err = fdt_begin_node(fdt, names[op / 4 % 8]);
            depth++;
        } else if (op % 4 == 1 && depth > 1) {
            err = fdt_end_node(fdt);
            depth--;
        } else if (op % 4 == 2) {
            const char *name = properties[op / 4 % 10];

            input_bytes(in, value, sizeof(value));
            err = fdt_property(fdt, name, value, value[0] % 17);
        } else {
            err = fdt_property_string(fdt, "device_type", "memory");
        }
    }
    while (!err && depth--) {
        err = fdt_end_node(fdt);
    }
    return err || fdt_finish(fdt) ? 0 : fdt_totalsize(fdt);
}

static int apart(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a + a_len <= b || b + b_len <= a;
}

static void check_plan(const struct request *r, const struct sdm_boot_plan *p)
{
    const uint64_t end = r->size - SDM_BOOT_PAGE;

    CHECK(p->machine == r->machine && p->ram_base == r->ram_base &&
          p->size == r->size);
    CHECK(p->kernel_size <= r->kernel_size);
    CHECK(p->kernel <= end && p->kernel_size <= end - p->kernel);
    CHECK(p->entry == p->ram_base + p->kernel);
    CHECK(p->dtb <= end && p->dtb_room <= end - p->dtb);
    CHECK(apart(p->kernel, p->kernel_size, p->dtb, p->dtb_room));
    CHECK(p->dtb % 8 == 0 && p->dtb_room % 4096 == 0);
    if (r->what & DO_AARCH64) {
        uint64_t at = p->ram_base + p->dtb;

        CHECK(at / 0x200000 == (at + p->dtb_room - 1) / 0x200000);
    }
    CHECK(!p->initrd == !(r->what & DO_INITRD && r->initrd_size));
    if (p->initrd) {
        CHECK(p->initrd <= end && r->initrd_size <= end - p->initrd);
        CHECK(apart(p->kernel, p->kernel_size, p->initrd, r->initrd_size));
        CHECK(apart(p->dtb, p->dtb_room, p->initrd, r->initrd_size));
    }
}

static int is_memory(const void *fdt, int node)
{
    const char *name = fdt_get_name(fdt, node, NULL);
    const char *type;
    int len;

    type = fdt_getprop(fdt, node, "device_type", &len);
    return (type && len == 7 && memcmp(type, "memory", 7) == 0) ||
           strcmp(name, "memory") == 0 || strncmp(name, "memory@", 7) == 0;
}

static uint64_t read_cells(const uint8_t *at, int n)
{
    uint64_t value = 0;

    while (n--) {
        for (int i = 0; i < 4; i++) {
            value = value << 8 | *at++;
        }
    }
    return value;
}

static void check_number(const void *fdt, int node, const char *name,
                         uint64_t value)
{
    const void *p;
    int len;

    p = fdt_getprop(fdt, node, name, &len);
    CHECK(p && len == 8 && read_cells(p, 2) == value);
}

static void check_tree(const struct request *r, const struct sdm_boot_plan *p,
                       const void *source, const void *fdt, uint64_t room)
{
    int acells = fdt_address_cells(source, 0);
    int scells = fdt_size_cells(source, 0);
    int node, len, memory = 0, had_memory = 0, others = 0, had_others = 0;
    int chosen, had_chosen = fdt_path_offset(source, "/chosen") >= 0;
    const uint8_t *reg;
    const char *args;

    CHECK(fdt_check_full(fdt, room) == 0);
    CHECK(fdt_num_mem_rsv(fdt) == fdt_num_mem_rsv(source));
    CHECK(fdt_address_cells(fdt, 0) == acells);
    CHECK(fdt_size_cells(fdt, 0) == scells);

    fdt_for_each_subnode(node, source, 0) {
        had_memory += is_memory(source, node);
        had_others += !is_memory(source, node);
    }
    CHECK(had_memory);
    fdt_for_each_subnode(node, fdt, 0) {
        if (!is_memory(fdt, node)) {
            others++;
            continue;
        }
        memory++;
        reg = fdt_getprop(fdt, node, "reg", &len);
        CHECK(reg && len == 4 * (acells + scells));
        CHECK(read_cells(reg, acells) == p->ram_base);
        CHECK(read_cells(reg + 4 * acells, scells) == p->size - 4096);
        CHECK(!fdt_getprop(fdt, node, "linux,usable-memory", NULL));
    }
    CHECK(memory == 1);

    chosen = fdt_path_offset(fdt, "/chosen");
    CHECK(chosen > 0);
    /* A node that is called chosen and is memory is memory. */
    CHECK(others == had_others || others == had_others + 1);
    CHECK(others == had_others || !had_chosen || had_memory > 0);
    if (p->initrd) {
        check_number(fdt, chosen, "linux,initrd-start",
                     p->ram_base + p->initrd);
        check_number(fdt, chosen, "linux,initrd-end",
                     p->ram_base + p->initrd + r->initrd_size);
    } else {
        CHECK(!fdt_getprop(fdt, chosen, "linux,initrd-start", NULL));
        CHECK(!fdt_getprop(fdt, chosen, "linux,initrd-end", NULL));
    }
    if (r->what & DO_APPEND) {
        args = fdt_getprop(fdt, chosen, "bootargs", &len);
        CHECK(args && len == (int)sizeof(append) &&
              memcmp(args, append, sizeof(append)) == 0);
    }
}

/* A window between two pages that nobody may touch. */
static uint8_t *map_window(uint64_t size)
{
    uint8_t *at = mmap(NULL, size + 2 * GUARD, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(at != MAP_FAILED);
    CHECK(mprotect(at + GUARD, size, PROT_READ | PROT_WRITE) == 0);
    return at + GUARD;
}

static void check_load(const struct request *r, const struct sdm_boot_plan *p,
                       const struct sdm_boot_images *images)
{
    uint8_t *window = map_window(r->size);
    uint8_t *dtb = window + p->dtb;
    struct sdm_boot_entry entry;
    struct sdm_text why;
    void *apart_dtb;

    memset(dtb, 0xff, 4096);    /* what lay there before has no say */
    CHECK(sdm_boot_load(images, r->machine, r->ram_base, window, r->size,
                        &why) == SDM_OK);
    CHECK(sdm_boot_record_read(window + r->size - SDM_BOOT_PAGE, r->ram_base,
                               r->size, r->machine, &entry, &why) == SDM_OK);
    CHECK(entry.entry == p->entry);
    CHECK(entry.dtb == p->ram_base + p->dtb);
    CHECK(entry.dtb_size <= p->dtb_room);
    CHECK(memcmp(window + p->kernel, images->kernel, p->kernel_size) == 0);
    check_tree(r, p, images->dtb, dtb, entry.dtb_size);

    apart_dtb = calloc(1, p->dtb_room);
    CHECK(apart_dtb);
    CHECK(sdm_boot_dtb(images, p, apart_dtb, &why) == SDM_OK);
    CHECK(memcmp(apart_dtb, dtb, entry.dtb_size) == 0);
    free(apart_dtb);
    munmap(window - GUARD, r->size + 2 * GUARD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct sdm_boot_plan plan, untouched;
    struct sdm_boot_images images;
    struct request r;
    struct sdm_text why;
    void *kernel, *dtb;
    const uint8_t *rest;
    uint32_t status;

    memset(&images, 0, sizeof(images));
    read_request(&in, &r);
    kernel = calloc(1, r.kernel_size + 1);
    CHECK(kernel);
    memcpy(kernel, r.kernel, r.kernel_size < sizeof(r.kernel) ?
                             r.kernel_size : sizeof(r.kernel));
    if (r.what & DO_TREE) {
        dtb = calloc(1, DTB_MAX);
        CHECK(dtb);
        r.dtb_size = make_tree(&in, dtb);
    } else {
        rest = input_rest(&in, DTB_MAX, &r.dtb_size);
        dtb = malloc(r.dtb_size + 1);
        CHECK(dtb);
        memcpy(dtb, rest, r.dtb_size);
    }
    images.kernel = kernel;
    images.kernel_size = r.kernel_size;
    images.dtb = dtb;
    images.dtb_size = r.dtb_size;
    if (r.what & DO_INITRD) {
        static const uint8_t initrd[UINT16_MAX];

        images.initrd = initrd;
        images.initrd_size = r.initrd_size;
    }
    images.append = r.what & DO_APPEND ? append : NULL;

    memset(&plan, 0x5a, sizeof(plan));
    untouched = plan;
    why.len = SIZE_MAX;
    status = sdm_boot_plan(&images, r.machine, r.ram_base, r.size, &plan,
                           &why);
    if (status) {
        CHECK(status == SDM_ERR_INVAL || status == SDM_ERR_WINDOW ||
              status == SDM_ERR_ISA);
        CHECK(memcmp(&plan, &untouched, sizeof(plan)) == 0);
        CHECK(why.len > 0 && why.len < sizeof(why.buf));
        CHECK(strlen(why.buf) == why.len);
    } else {
        check_plan(&r, &plan);
        if (r.size <= LOAD_MOST) {
            check_load(&r, &plan, &images);
        }
    }
    free(kernel);
    free(dtb);
    return 0;
}
