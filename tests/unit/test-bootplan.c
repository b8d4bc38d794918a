/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The boot plan: layouts, patched trees, and one case per refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <libfdt.h>

#include "migration/sdm-bootplan.h"
#include "migration/sdm-bootrecord.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define BASE 0x40000000ull

#define TREE_MAX (3 * MIB)

/* Everything that a test gives and gets; fresh for each. */
struct boot {
    uint8_t *kernel;
    uint64_t tree[TREE_MAX / 8];
    uint64_t out[TREE_MAX / 8];
    struct sdm_boot_images images;
    struct sdm_boot_plan plan;
    struct sdm_text why;
};

/* ------------------------------------------------------------- fixtures */

static void le32(uint8_t *at, uint32_t value)
{
    value = sdm_to_le32(value);
    memcpy(at, &value, sizeof(value));
}

static void le64(uint8_t *at, uint64_t value)
{
    value = sdm_to_le64(value);
    memcpy(at, &value, sizeof(value));
}

static void make_kernel(struct boot *b, size_t size)
{
    free(b->kernel);
    b->kernel = malloc(size);
    assert_non_null(b->kernel);
    memset(b->kernel, 0xe1, size);
    b->images.kernel = b->kernel;
    b->images.kernel_size = size;
}

static void make_zimage(struct boot *b, size_t size)
{
    make_kernel(b, size);
    le32(b->kernel + 0x24, 0x016f2818);
    le32(b->kernel + 0x28, 0);
    le32(b->kernel + 0x2c, size);
}

/* With the table that tells how much the kernel takes unpacked. */
static void make_zimage_table(struct boot *b, size_t size, uint32_t unpacked,
                              uint32_t bss)
{
    make_zimage(b, size);
    le32(b->kernel + 0x34, 0x45454545);
    le32(b->kernel + 0x38, 0x100);
    le32(b->kernel + 0x100, 2);             /* some other tag */
    le32(b->kernel + 0x104, 0x12345678);
    le32(b->kernel + 0x108, 4);
    le32(b->kernel + 0x10c, 0x5a534c4b);
    le32(b->kernel + 0x110, size - 4);
    le32(b->kernel + 0x114, bss);
    le32(b->kernel + size - 4, unpacked);
}

static void make_image(struct boot *b, size_t size, uint64_t text,
                       uint64_t image_size)
{
    make_kernel(b, size);
    le64(b->kernel + 8, text);
    le64(b->kernel + 16, image_size);
    memcpy(b->kernel + 56, "ARM\x64", 4);
}

static void cells(void *fdt, const char *name, int n, uint64_t value)
{
    if (n == 2) {
        assert_int_equal(fdt_property_u64(fdt, name, value), 0);
    } else {
        assert_int_equal(fdt_property_u32(fdt, name, value), 0);
    }
}

enum {
    TREE_CHOSEN      = 1 << 0,  /* with stale places, arguments and seeds */
    TREE_MORE_MEMORY = 1 << 1,
    TREE_NO_MEMORY   = 1 << 2,
    TREE_NO_CELLS    = 1 << 3,
    TREE_RESERVE     = 1 << 4,
};

/* A small tree; @cell is #address-cells and #size-cells of the root. */
static void make_tree(struct boot *b, int flags, int cell)
{
    void *fdt = b->tree;

    memset(b->tree, 0, sizeof(b->tree));
    assert_int_equal(fdt_create(fdt, 64 * KIB), 0);
    if (flags & TREE_RESERVE) {
        assert_int_equal(fdt_add_reservemap_entry(fdt, 0x1000, 0x2000), 0);
        assert_int_equal(fdt_add_reservemap_entry(fdt, 1ull << 40, 8), 0);
    }
    assert_int_equal(fdt_finish_reservemap(fdt), 0);
    fdt_begin_node(fdt, "");
    if (!(flags & TREE_NO_CELLS)) {
        fdt_property_u32(fdt, "#address-cells", cell);
        fdt_property_u32(fdt, "#size-cells", cell);
    }
    fdt_property_string(fdt, "compatible", "test,board");
    if (flags & TREE_CHOSEN) {
        fdt_begin_node(fdt, "chosen");
        fdt_property_string(fdt, "stdout-path", "/uart");
        fdt_property_string(fdt, "bootargs", "old arguments");
        cells(fdt, "linux,initrd-start", cell, 0x123);
        fdt_property_u64(fdt, "kaslr-seed", 0x1122334455667788);
        cells(fdt, "linux,initrd-end", cell, 0x456);
        fdt_property(fdt, "rng-seed", "seedseedseed", 12);
        fdt_property_u64(fdt, "linux,usable-memory-range", 7);
        fdt_begin_node(fdt, "module@0");
        fdt_property_string(fdt, "bootargs", "not ours");
        fdt_end_node(fdt);
        fdt_end_node(fdt);
    }
    if (!(flags & TREE_NO_MEMORY)) {
        fdt_begin_node(fdt, "memory@80000000");
        cells(fdt, "reg", cell, 0x80000000);
        fdt_property_u32(fdt, "numa-node-id", 0);
        fdt_property_string(fdt, "device_type", "memory");
        fdt_property_u64(fdt, "linux,usable-memory", 9);
        fdt_end_node(fdt);
    }
    if (flags & TREE_MORE_MEMORY) {
        fdt_begin_node(fdt, "memory");
        fdt_begin_node(fdt, "bank");
        fdt_begin_node(fdt, "memory");
        fdt_end_node(fdt);
        fdt_end_node(fdt);
        fdt_end_node(fdt);
        fdt_begin_node(fdt, "ram");
        fdt_property_string(fdt, "device_type", "memory");
        fdt_property_u64(fdt, "reg", 0);
        fdt_end_node(fdt);
    }
    fdt_begin_node(fdt, "memory-controller@1000");
    cells(fdt, "reg", cell, 0x1000);
    fdt_property_string(fdt, "bootargs", "not ours");
    fdt_end_node(fdt);
    fdt_begin_node(fdt, "pci");
    fdt_property_string(fdt, "device_type", "pcimem");
    fdt_end_node(fdt);
    fdt_begin_node(fdt, "reserved-memory");
    fdt_begin_node(fdt, "memory@50000000");
    cells(fdt, "reg", cell, 0x50000000);
    fdt_end_node(fdt);
    fdt_end_node(fdt);
    fdt_end_node(fdt);
    assert_int_equal(fdt_finish(fdt), 0);
    fdt_set_boot_cpuid_phys(fdt, 3);
    b->images.dtb = fdt;
    b->images.dtb_size = fdt_totalsize(fdt);
}

/* A tree of about @bytes. */
static void make_big_tree(struct boot *b, size_t bytes)
{
    void *blob = calloc(1, bytes);

    assert_non_null(blob);
    make_tree(b, 0, 2);
    assert_int_equal(fdt_open_into(b->tree, b->tree, sizeof(b->tree)), 0);
    assert_int_equal(fdt_setprop(b->tree, 0, "blob", blob, bytes), 0);
    assert_int_equal(fdt_pack(b->tree), 0);
    b->images.dtb_size = fdt_totalsize(b->tree);
    free(blob);
}

static int setup(void **state)
{
    struct boot *b = calloc(1, sizeof(*b));

    if (!b) {
        return -1;
    }
    *state = b;
    make_zimage(b, 64 * KIB);
    make_tree(b, 0, 2);
    return 0;
}

static int teardown(void **state)
{
    struct boot *b = *state;

    free(b->kernel);
    free(b);
    return 0;
}

static void plan(struct boot *b, uint32_t machine, uint64_t base,
                 uint64_t size)
{
    if (sdm_boot_plan(&b->images, machine, base, size, &b->plan, &b->why)) {
        fail_msg("no plan: %s", b->why.buf);
    }
}

/* Refused with @status, @words in the text, no plan; and nothing loaded. */
static void refused(struct boot *b, uint32_t machine, uint64_t base,
                    uint64_t size, uint32_t status, const char *words)
{
    struct sdm_boot_plan before;
    uint8_t window[64] = { 0 }, untouched[64] = { 0 };

    memset(&b->plan, 0x5a, sizeof(b->plan));
    before = b->plan;
    b->why.buf[0] = '\0';
    assert_int_equal(sdm_boot_plan(&b->images, machine, base, size, &b->plan,
                                   &b->why), status);
    if (!strstr(b->why.buf, words)) {
        fail_msg("'%s' is not in '%s'", words, b->why.buf);
    }
    assert_memory_equal(&b->plan, &before, sizeof(before));
    assert_int_equal(sdm_boot_load(&b->images, machine, base, window, size,
                                   &b->why), status);
    assert_memory_equal(window, untouched, sizeof(window));
}

/* ------------------------------------------------------------- layouts */

static void arm_layout(void **state)
{
    struct boot *b = *state;

    b->images.initrd = b->kernel;
    b->images.initrd_size = 5001;
    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    assert_int_equal(b->plan.machine, SDM_EM_ARM);
    assert_int_equal(b->plan.ram_base, BASE);
    assert_int_equal(b->plan.size, 64 * MIB);
    assert_int_equal(b->plan.kernel, 0x10000);
    assert_int_equal(b->plan.kernel_size, 64 * KIB);
    assert_int_equal(b->plan.entry, BASE + 0x10000);
    assert_int_equal(b->plan.initrd, 32 * MIB);
    assert_int_equal(b->plan.dtb, 32 * MIB + 8192);
    assert_true(b->plan.dtb_room >= fdt_totalsize(b->tree) + 4096);
    assert_int_equal(b->plan.dtb_room % 4096, 0);
}

static void initrd_at_most_128_mib_up(void **state)
{
    struct boot *b = *state;

    b->images.initrd = b->kernel;
    b->images.initrd_size = 1;
    plan(b, SDM_EM_ARM, BASE, 1 * GIB);
    assert_int_equal(b->plan.initrd, 128 * MIB);
    assert_int_equal(b->plan.dtb, 128 * MIB + 4096);
}

static void no_initrd(void **state)
{
    struct boot *b = *state;

    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    assert_int_equal(b->plan.initrd, 0);
    assert_int_equal(b->plan.dtb, 32 * MIB);

    b->images.initrd = b->kernel;       /* an empty file is none */
    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    assert_int_equal(b->plan.initrd, 0);
}

static void append_gets_room(void **state)
{
    struct boot *b = *state;
    char args[10001];
    uint64_t room;

    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    room = b->plan.dtb_room;
    memset(args, 'a', sizeof(args) - 1);
    args[sizeof(args) - 1] = '\0';
    b->images.append = args;
    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    assert_true(b->plan.dtb_room >= room + 10000 - 4096);
}

/* What was appended to a zImage is not copied: a dtb there would win. */
static void zimage_with_trailing_data(void **state)
{
    struct boot *b = *state;

    le32(b->kernel + 0x28, 0x8000);             /* start need not be 0 */
    le32(b->kernel + 0x2c, 0x8000 + 60 * KIB);
    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    assert_int_equal(b->plan.kernel_size, 60 * KIB);
}

static void zimage_unpacks_below_initrd(void **state)
{
    struct boot *b = *state;

    b->images.initrd = b->kernel;
    b->images.initrd_size = 4096;
    make_zimage_table(b, 1 * MIB, 24 * MIB, 0);
    b->images.initrd = b->kernel;
    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    assert_int_equal(b->plan.initrd, 32 * MIB);
    /* Behind it come the zImage again, which moved itself, and its heap. */
    plan(b, SDM_EM_ARM, BASE, 32 * MIB);
    assert_true(b->plan.initrd >= 0x208000 + 24 * MIB + 1 * MIB + 0x10000);
    assert_int_equal(b->plan.initrd % 4096, 0);
    make_zimage_table(b, 1 * MIB, 20 * MIB, 4 * MIB);
    b->images.initrd = b->kernel;
    refused(b, SDM_EM_ARM, BASE, 25 * MIB, SDM_ERR_WINDOW, "a kernel of ");
}

/* A table that makes no sense is none, whatever it points to. */
static void zimage_table_hostile(void **state)
{
    static const struct { uint32_t at, value; } bad[] = {
        { 0x38, 0xffffffff },       /* the table outside */
        { 0x38, 1 * MIB - 15 },
        { 0x38, 1 * MIB - 4 },
        { 0x100, 0xffffffff },      /* the first tag too long */
        { 0x100, 1 },               /* or too short: no end of the walk */
        { 0x100, 0 },
        { 0x108, 3 },               /* the size tag too short */
        { 0x110, 0xffffffff },      /* the size's place outside */
        { 0x110, 1 * MIB - 3 },
        { 0x34, 0 },
    };
    struct boot *b = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_zimage_table(b, 1 * MIB, 20 * MIB, 4 * MIB);
        le32(b->kernel + bad[i].at, bad[i].value);
        plan(b, SDM_EM_ARM, BASE, 32 * MIB);
        assert_int_equal(b->plan.dtb, 16 * MIB);
    }
    make_zimage(b, 0x30);       /* nothing behind the header */
    plan(b, SDM_EM_ARM, BASE, 32 * MIB);
    make_zimage_table(b, 1 * MIB, 0xffffffff, 0xffffffff);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_WINDOW, "a kernel of ");
}

/* The table may end where the file ends, and be the first in it. */
static void zimage_table_at_the_end(void **state)
{
    struct boot *b = *state;
    const size_t size = 1 * MIB, at = size - 16;

    make_zimage_table(b, size, 0, 0);
    le32(b->kernel + 0x38, at);
    le32(b->kernel + at, 4);
    le32(b->kernel + at + 4, 0x5a534c4b);
    le32(b->kernel + at + 8, 0x200);
    le32(b->kernel + at + 12, 4 * MIB);
    le32(b->kernel + 0x200, 20 * MIB);
    plan(b, SDM_EM_ARM, BASE, 32 * MIB);
    assert_true(b->plan.dtb > 25 * MIB);
}

static void aarch64_layout(void **state)
{
    struct boot *b = *state;

    make_image(b, 64 * KIB, 0, 2 * MIB);
    b->images.initrd = b->kernel;
    b->images.initrd_size = 4097;
    plan(b, SDM_EM_AARCH64, BASE, 64 * MIB);
    assert_int_equal(b->plan.kernel, 0);
    assert_int_equal(b->plan.kernel_size, 64 * KIB);
    assert_int_equal(b->plan.entry, BASE);
    assert_int_equal(b->plan.initrd, 32 * MIB);
    assert_int_equal(b->plan.dtb, 34 * MIB);
    assert_true(b->plan.dtb_room <= 2 * MIB);
}

static void aarch64_text_offset_counts_from_2_mib(void **state)
{
    struct boot *b = *state;

    make_image(b, 64 * KIB, 0x80000, 2 * MIB);
    plan(b, SDM_EM_AARCH64, BASE + 4096, 64 * MIB);
    assert_int_equal(b->plan.entry, BASE + 2 * MIB + 0x80000);
    assert_int_equal(b->plan.kernel, 2 * MIB + 0x80000 - 4096);
    assert_int_equal((b->plan.ram_base + b->plan.dtb) % (2 * MIB), 0);
}

/* The BSS is not in the file, but it is cleared. */
static void aarch64_image_size_counts(void **state)
{
    struct boot *b = *state;

    make_image(b, 64 * KIB, 0, 40 * MIB);
    b->images.initrd = b->kernel;
    b->images.initrd_size = 4096;
    plan(b, SDM_EM_AARCH64, BASE, 64 * MIB);
    assert_int_equal(b->plan.initrd, 40 * MIB);
    assert_int_equal(b->plan.dtb, 42 * MIB);
    refused(b, SDM_EM_AARCH64, BASE, 40 * MIB, SDM_ERR_WINDOW,
            "a kernel of 40 MiB does not fit in the 40 MiB window");
}

static void aarch64_old_image(void **state)
{
    struct boot *b = *state;

    make_image(b, 64, 0x1234567, 0);            /* before Linux 3.17 */
    plan(b, SDM_EM_AARCH64, BASE, 64 * MIB);
    assert_int_equal(b->plan.kernel, 0x80000);
}

static void top_of_the_address_space(void **state)
{
    struct boot *b = *state;

    make_image(b, 64 * KIB, 0, 2 * MIB);
    plan(b, SDM_EM_AARCH64, 0 - 64 * MIB, 64 * MIB);
    assert_int_equal(b->plan.dtb, 32 * MIB);
}

/* An arm slave with 8 GiB: everything lies where 32 bits reach. */
static void arm_beyond_4_gib(void **state)
{
    struct boot *b = *state;

    plan(b, SDM_EM_ARM, BASE, 8 * GIB);
    assert_int_equal(b->plan.dtb, 128 * MIB);
    plan(b, SDM_EM_ARM, 4 * GIB - 128 * MIB - 8192, 512 * MIB);
    assert_int_equal(b->plan.dtb + b->plan.dtb_room, 128 * MIB + 8192);
    refused(b, SDM_EM_ARM, 4 * GIB - 128 * MIB - 4096, 512 * MIB,
            SDM_ERR_WINDOW, "a device tree of 8 KiB does not fit");
}

/* To the byte: it fits, and with one page less it does not. */
static void exact_fit(void **state)
{
    struct boot *b = *state;
    uint64_t size = 0x10000 + 64 * KIB + SDM_BOOT_PAGE;

    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    size += b->plan.dtb_room;
    plan(b, SDM_EM_ARM, BASE, size);
    assert_int_equal(b->plan.dtb + b->plan.dtb_room + SDM_BOOT_PAGE, size);
    refused(b, SDM_EM_ARM, BASE, size - 4096, SDM_ERR_WINDOW,
            "a device tree of 8 KiB does not fit in the 136 KiB window "
            "behind the kernel: give a larger window");

    b->images.initrd = b->kernel;
    b->images.initrd_size = 4096;
    refused(b, SDM_EM_ARM, BASE, size, SDM_ERR_WINDOW,
            "behind the initrd: give a larger window");
    size += 4096;
    plan(b, SDM_EM_ARM, BASE, size);
}

/* ------------------------------------------------------------- refusals */

static void refused_machines(void **state)
{
    struct boot *b = *state;

    refused(b, SDM_EM_X86_64, BASE, 64 * MIB, SDM_ERR_ISA,
            "machine x86_64 (ELF machine 62): arm (40) and aarch64 (183)");
    refused(b, 0, BASE, 64 * MIB, SDM_ERR_ISA, "ELF machine 0");
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_ISA,
            "the kernel is an arm zImage, the slave is aarch64");
    make_image(b, 4096, 0, 4096);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_ISA,
            "the kernel is an aarch64 Image, the slave is arm");
}

static void refused_kernels(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *arm, *arm64;
    } bad[] = {
        { "\177ELF", 4, "an ELF file (a vmlinux?), not an arm zImage: give "
          "the zImage", "an ELF file (a vmlinux?), not an uncompressed arm64 "
          "Image: give the Image" },
        { "\x1f\x8b", 2, "gzip, not an arm zImage: unpack it with gunzip",
          "unpack it with gunzip; an uncompressed Image is wanted" },
        { "\x27\x05\x19\x56", 4, "a uImage, not an arm zImage: give the "
          "zImage without", "give the Image without" },
        { "\xfd" "7zXZ", 6, "compressed by xz", "compressed by xz" },
        { "\x28\xb5\x2f\xfd", 4, "compressed by zstd", "with unzstd" },
        { "\xd0\x0d\xfe\xed", 4, "a device tree (or a FIT image), not an arm "
          "zImage", "a device tree" },
        { "junk", 4, "of 4096 bytes is not an arm zImage: its header",
          "of 4096 bytes is not an uncompressed arm64 Image" },
    };
    struct boot *b = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_kernel(b, 4096);
        memcpy(b->kernel, bad[i].bytes, bad[i].len);
        refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, bad[i].arm);
        refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_INVAL,
                bad[i].arm64);
    }

    make_kernel(b, 4);
    memcpy(b->kernel, "\177ELF", 4);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "an ELF file");

    /* Every length of nothing much. */
    for (size_t len = 1; len < 64; len++) {
        make_kernel(b, len);
        refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
                "is not an arm zImage");
        refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_INVAL,
                "is not an uncompressed arm64 Image");
    }
    b->images.kernel = NULL;
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "no kernel");
}

static void refused_zimages(void **state)
{
    struct boot *b = *state;

    le32(b->kernel + 0x2c, 64 * KIB + 1);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "the zImage is "
            "truncated: its header says 65537 bytes, the file has 65536");
    le32(b->kernel + 0x2c, 0x20);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "the zImage is damaged: its header says start 0x0 and end 0x20");
    le32(b->kernel + 0x28, 0x8000);
    le32(b->kernel + 0x2c, 0x8010);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "is damaged");
    le32(b->kernel + 0x2c, 0x7000);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "is damaged");
}

static void refused_images(void **state)
{
    struct boot *b = *state;

    make_image(b, 4096, 0x80001, 4096);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_INVAL,
            "says text offset 0x80001, no multiple of 4; get the file again");
}

static void refused_windows(void **state)
{
    static const struct { uint64_t base, size; } bad[] = {
        { BASE, 0 },
        { BASE, SDM_BOOT_PAGE },
        { BASE, 64 * MIB + 1 },
        { BASE + 512, 64 * MIB },
        { 0 - 64 * MIB, 64 * MIB + 4096 },
        { 4 * GIB, 64 * MIB },          /* no 32-bit CPU starts there */
    };
    struct boot *b = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(b, SDM_EM_ARM, bad[i].base, bad[i].size, SDM_ERR_WINDOW,
                "cannot be booted: give multiples of 4 KiB");
    }
    refused(b, SDM_EM_ARM, BASE, 64 * KIB, SDM_ERR_WINDOW,
            "a kernel of 64 KiB does not fit in the 64 KiB window from its "
            "load offset on: give a larger window");
    b->images.initrd = b->kernel;
    b->images.initrd_size = 9 * MIB;
    refused(b, SDM_EM_ARM, BASE, 16 * MIB, SDM_ERR_WINDOW,
            "an initrd of 9 MiB does not fit in the 16 MiB window behind the "
            "kernel: give a larger window");
    b->images.initrd_size = SIZE_MAX;
    refused(b, SDM_EM_ARM, BASE, 16 * MIB, SDM_ERR_WINDOW, "an initrd of ");
    b->images.initrd = NULL;

    make_image(b, 4096, 0 - 4096ull, 8192);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_WINDOW, "a kernel of");
    make_image(b, 4096, 0, ~0ull);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_WINDOW, "a kernel of");
    make_image(b, 4096, 0, 4096);
    refused(b, SDM_EM_AARCH64, BASE + 4096, 1 * MIB, SDM_ERR_WINDOW,
            "a kernel of");
    make_big_tree(b, 2 * MIB - 8192);           /* 2 MiB with what is added */
    plan(b, SDM_EM_AARCH64, BASE, 64 * MIB);
    make_big_tree(b, 2 * MIB);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_WINDOW,
            "more than the 2 MiB that an arm64 kernel takes");
}

static void header32(struct boot *b, size_t offset, uint32_t value)
{
    fdt32_t be = cpu_to_fdt32(value);

    memcpy((uint8_t *)b->tree + offset, &be, sizeof(be));
}

static void refused_trees(void **state)
{
    struct boot *b = *state;
    uint32_t used;

    b->images.dtb = NULL;
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "no device tree: give the slave's");

    make_tree(b, 0, 2);
    b->images.dtb_size--;
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "bytes: FDT_ERR_TRUNCATED; write it anew with dtc");
    b->images.dtb_size = 3;
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "libfdt refuses the device tree of 3 bytes: FDT_ERR_TRUNCATED");

    make_tree(b, 0, 2);
    header32(b, 0, 0x7f454c46);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "FDT_ERR_BADMAGIC");

    make_tree(b, 0, 2);
    header32(b, offsetof(struct fdt_header, version), 16);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "FDT_ERR_BADVERSION");

    /* A structure block that is all end: no root. */
    make_tree(b, 0, 2);
    header32(b, fdt_off_dt_struct(b->tree), FDT_END);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "libfdt refuses the device tree");

    /* Blocks that share bytes would grow when they are written apart. */
    make_tree(b, 0, 2);
    used = fdt_totalsize(b->tree);
    header32(b, offsetof(struct fdt_header, off_dt_strings), 0x28);
    header32(b, offsetof(struct fdt_header, size_dt_strings), used - 0x28);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL, "libfdt refuses");

    b->images.dtb = (uint8_t *)b->tree + 4;
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "libfdt refuses the device tree");

    make_tree(b, TREE_NO_MEMORY, 2);
    refused(b, SDM_EM_ARM, BASE, 64 * MIB, SDM_ERR_INVAL,
            "the device tree has no memory node: add one");
}

static void refused_cells(void **state)
{
    struct boot *b = *state;

    make_image(b, 4096, 0, 4096);
    make_tree(b, 0, 1);
    plan(b, SDM_EM_AARCH64, BASE, 64 * MIB);
    refused(b, SDM_EM_AARCH64, 4 * GIB, 64 * MIB, SDM_ERR_INVAL,
            "#address-cells = <1>, which cannot hold 0x100000000: make it <2>");
    refused(b, SDM_EM_AARCH64, BASE, 8 * GIB, SDM_ERR_INVAL,
            "#size-cells = <1>, which cannot hold 0x1fffff000: make it <2>");
    make_tree(b, 0, 3);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_INVAL,
            "#address-cells = <3>, which cannot hold");
    make_tree(b, 0, 0);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_INVAL,
            "#address-cells that libfdt refuses");
    make_tree(b, 0, 77);
    refused(b, SDM_EM_AARCH64, BASE, 64 * MIB, SDM_ERR_INVAL,
            "#address-cells that libfdt refuses");
}

/* ------------------------------------------------------------- the tree */

static const void *patch(struct boot *b, uint64_t size)
{
    uint8_t *again = malloc(sizeof(b->out));
    size_t len;

    assert_non_null(again);
    plan(b, SDM_EM_ARM, BASE, size);
    memset(b->out, 0, sizeof(b->out));
    memset(again, 0xff, sizeof(b->out));
    assert_int_equal(sdm_boot_dtb(&b->images, &b->plan, b->out, &b->why),
                     SDM_OK);
    assert_int_equal(fdt_check_full(b->out, b->plan.dtb_room), 0);
    len = fdt_totalsize(b->out);

    /* What lay there before has no say: it may be another process's. */
    assert_int_equal(sdm_boot_dtb(&b->images, &b->plan, again, &b->why),
                     SDM_OK);
    assert_memory_equal(b->out, again, len);
    free(again);
    return b->out;
}

static void has(const void *fdt, const char *path, const char *name,
                const void *value, int len)
{
    int node = fdt_path_offset(fdt, path);
    const void *got;
    int got_len;

    if (node < 0) {
        fail_msg("no node %s", path);
    }
    got = fdt_getprop(fdt, node, name, &got_len);
    if (!got) {
        fail_msg("%s has no %s", path, name);
    }
    assert_int_equal(got_len, len);
    assert_memory_equal(got, value, len);
}

static void has_string(const void *fdt, const char *path, const char *name,
                       const char *value)
{
    has(fdt, path, name, value, strlen(value) + 1);
}

static void has_u64(const void *fdt, const char *path, const char *name,
                    uint64_t value)
{
    fdt64_t be = cpu_to_fdt64(value);

    has(fdt, path, name, &be, sizeof(be));
}

/* The one memory node, in @acells and @scells. */
static void has_memory(const void *fdt, int acells, int scells)
{
    const uint64_t values[2] = { BASE, 64 * MIB - 4096 };
    fdt32_t reg[4];
    int n = 0;

    for (int i = 0; i < 2; i++) {
        if ((i ? scells : acells) == 2) {
            reg[n++] = cpu_to_fdt32(values[i] >> 32);
        }
        reg[n++] = cpu_to_fdt32(values[i]);
    }
    has(fdt, "/memory@40000000", "reg", reg, n * sizeof(reg[0]));
}

static void has_none(const void *fdt, const char *path, const char *name)
{
    int node = fdt_path_offset(fdt, path);

    assert_true(node >= 0);
    assert_null(fdt_getprop(fdt, node, name, NULL));
}

static int subnodes(const void *fdt, const char *path)
{
    int parent = fdt_path_offset(fdt, path);
    int node, n = 0;

    assert_true(parent >= 0);
    fdt_for_each_subnode(node, fdt, parent) {
        n++;
    }
    return n;
}

static int properties(const void *fdt, const char *path)
{
    int node = fdt_path_offset(fdt, path);
    int at, n = 0;

    assert_true(node >= 0);
    fdt_for_each_property_offset(at, fdt, node) {
        n++;
    }
    return n;
}

static void memory_is_the_window(void **state)
{
    struct boot *b = *state;
    const void *fdt;

    make_tree(b, TREE_MORE_MEMORY | TREE_RESERVE, 2);
    fdt = patch(b, 64 * MIB);
    has_memory(fdt, 2, 2);
    has_string(fdt, "/memory@40000000", "device_type", "memory");
    has(fdt, "/memory@40000000", "numa-node-id", "\0\0\0", 4);
    has_none(fdt, "/memory@40000000", "linux,usable-memory");

    /* Those that only look like it are left alone. */
    has_u64(fdt, "/memory-controller@1000", "reg", 0x1000);
    has_u64(fdt, "/reserved-memory/memory@50000000", "reg", 0x50000000);
    has_string(fdt, "/pci", "device_type", "pcimem");
    assert_int_equal(subnodes(fdt, "/"), 5);    /* and chosen */

    has_string(fdt, "/", "compatible", "test,board");
    assert_int_equal(fdt_num_mem_rsv(fdt), 2);
    assert_int_equal(fdt_boot_cpuid_phys(fdt), 3);
}

static void one_cell(void **state)
{
    struct boot *b = *state;

    make_tree(b, TREE_CHOSEN, 1);
    b->images.initrd = b->kernel;
    b->images.initrd_size = 100;
    has_memory(patch(b, 64 * MIB), 1, 1);
    has_u64(b->out, "/chosen", "linux,initrd-start", BASE + 32 * MIB);
}

/* Where the root has none, two address cells and one size cell are meant. */
static void default_cells(void **state)
{
    struct boot *b = *state;

    make_tree(b, TREE_NO_CELLS, 2);
    has_memory(patch(b, 64 * MIB), 2, 1);
}

static void chosen_is_created(void **state)
{
    struct boot *b = *state;
    const void *fdt;

    fdt = patch(b, 64 * MIB);
    has_none(fdt, "/chosen", "bootargs");
    has_none(fdt, "/chosen", "linux,initrd-start");

    b->images.append = "console=ttyAMA0";
    b->images.initrd = b->kernel;
    b->images.initrd_size = 5001;
    fdt = patch(b, 64 * MIB);
    has_string(fdt, "/chosen", "bootargs", "console=ttyAMA0");
    has_u64(fdt, "/chosen", "linux,initrd-start", BASE + 32 * MIB);
    has_u64(fdt, "/chosen", "linux,initrd-end", BASE + 32 * MIB + 5001);
}

static void chosen_is_patched(void **state)
{
    struct boot *b = *state;
    const void *fdt;

    make_tree(b, TREE_CHOSEN, 2);
    fdt = patch(b, 64 * MIB);
    has_string(fdt, "/chosen", "bootargs", "old arguments");
    has_none(fdt, "/chosen", "linux,initrd-start");
    has_none(fdt, "/chosen", "linux,initrd-end");
    has_none(fdt, "/chosen", "linux,usable-memory-range");
    has_string(fdt, "/chosen", "stdout-path", "/uart");
    has_u64(fdt, "/chosen", "kaslr-seed", 0x1122334455667788);
    has(fdt, "/chosen", "rng-seed", "seedseedseed", 12);

    b->images.append = "new";
    b->images.initrd = b->kernel;
    b->images.initrd_size = 4096;
    fdt = patch(b, 64 * MIB);
    has_string(fdt, "/chosen", "bootargs", "new");
    has_string(fdt, "/chosen/module@0", "bootargs", "not ours");
    has_string(fdt, "/memory-controller@1000", "bootargs", "not ours");
    has_u64(fdt, "/chosen", "kaslr-seed", 0x1122334455667788);
    has_u64(fdt, "/chosen", "linux,initrd-start", BASE + 32 * MIB);
    assert_int_equal(subnodes(fdt, "/"), 5);
    /* bootargs, start, end, stdout-path and two seeds; none of them twice */
    assert_int_equal(properties(fdt, "/chosen"), 6);

    b->images.append = "";
    has_string(patch(b, 64 * MIB), "/chosen", "bootargs", "");
}

/* A tree in a big blob, as QEMU makes them, comes out as small as it is. */
static void packed(void **state)
{
    struct boot *b = *state;

    assert_int_equal(fdt_open_into(b->tree, b->tree, 1 * MIB), 0);
    b->images.dtb_size = 1 * MIB;
    assert_true(fdt_totalsize(patch(b, 64 * MIB)) < 4096);
    assert_int_equal(b->plan.dtb_room, 8192);
}

static void room_is_enough_and_kept(void **state)
{
    struct boot *b = *state;
    size_t len;

    make_big_tree(b, 1 * MIB);
    patch(b, 64 * MIB);
    assert_true(fdt_totalsize(b->out) > 1 * MIB);

    /* To the byte: what it needs is enough, one less is not. */
    len = fdt_totalsize(b->out);
    b->plan.dtb_room = len;
    assert_int_equal(sdm_boot_dtb(&b->images, &b->plan, b->out, &b->why),
                     SDM_OK);
    memset(b->out, 0xa5, sizeof(b->out));
    b->plan.dtb_room = len - 1;
    assert_int_equal(sdm_boot_dtb(&b->images, &b->plan, b->out, &b->why),
                     SDM_ERR_WINDOW);
    assert_int_equal(((uint8_t *)b->out)[len - 1], 0xa5);

    plan(b, SDM_EM_ARM, BASE, 64 * MIB);
    b->plan.dtb_room = 4096;
    memset(b->out, 0xa5, sizeof(b->out));
    assert_int_equal(sdm_boot_dtb(&b->images, &b->plan, b->out, &b->why),
                     SDM_ERR_WINDOW);
    assert_non_null(strstr(b->why.buf, "the patched device tree of 4 KiB"));
    assert_int_equal(((uint8_t *)b->out)[4096], 0xa5);

    b->images.dtb = NULL;
    assert_int_equal(sdm_boot_dtb(&b->images, &b->plan, b->out, &b->why),
                     SDM_ERR_INVAL);
}

/* ------------------------------------------------------------- the load */

static void load(struct boot *b, uint32_t machine, uint8_t **window,
                 struct sdm_boot_entry *entry)
{
    const uint64_t size = 8 * MIB;

    *window = malloc(size);
    assert_non_null(*window);
    memset(*window, 0xcc, size);
    if (sdm_boot_load(&b->images, machine, BASE, *window, size, &b->why)) {
        fail_msg("not loaded: %s", b->why.buf);
    }
    if (sdm_boot_record_read(*window + size - SDM_BOOT_PAGE, BASE, size,
                             machine, entry, &b->why)) {
        fail_msg("bad record: %s", b->why.buf);
    }
    plan(b, machine, BASE, size);
    assert_int_equal(entry->machine, machine);
    assert_int_equal(entry->entry, b->plan.entry);
    assert_int_equal(entry->dtb, BASE + b->plan.dtb);
    assert_int_equal(fdt_check_full(*window + b->plan.dtb, entry->dtb_size),
                     0);
    assert_int_equal(fdt_totalsize(*window + b->plan.dtb), entry->dtb_size);
    assert_memory_equal(*window + b->plan.kernel, b->kernel,
                        b->plan.kernel_size);
    /* A byte behind each is as it was. */
    assert_int_equal((*window)[b->plan.kernel + b->plan.kernel_size], 0xcc);
    assert_int_equal((*window)[b->plan.dtb + entry->dtb_size], 0xcc);
    assert_int_equal((*window)[size - SDM_BOOT_PAGE - 1], 0xcc);
    /* The record's page has nothing else in it. */
    for (size_t i = sizeof(struct sdm_boot_record); i < SDM_BOOT_PAGE; i++) {
        assert_int_equal((*window)[size - SDM_BOOT_PAGE + i], 0);
    }
}

static void load_arm(void **state)
{
    struct boot *b = *state;
    static const char initrd[] = "the initrd";
    struct sdm_boot_entry entry;
    uint8_t *window;

    b->images.initrd = initrd;
    b->images.initrd_size = sizeof(initrd);
    b->images.append = "quiet";
    load(b, SDM_EM_ARM, &window, &entry);
    assert_memory_equal(window + b->plan.initrd, initrd, sizeof(initrd));
    assert_int_equal(window[b->plan.initrd + sizeof(initrd)], 0xcc);
    assert_int_equal(entry.nargs, 3);
    assert_int_equal(entry.args[0], 0);
    assert_int_equal(entry.args[1], 0xffffffff);
    assert_int_equal(entry.args[2], entry.dtb);
    free(window);
}

static void load_aarch64(void **state)
{
    struct boot *b = *state;
    struct sdm_boot_entry entry;
    uint8_t *window;

    make_image(b, 64 * KIB, 0, 2 * MIB);
    load(b, SDM_EM_AARCH64, &window, &entry);
    assert_int_equal(entry.nargs, 4);
    assert_int_equal(entry.args[0], entry.dtb);
    assert_int_equal(entry.args[1], 0);
    assert_int_equal(entry.args[2], 0);
    assert_int_equal(entry.args[3], 0);
    free(window);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(arm_layout),
        T(initrd_at_most_128_mib_up),
        T(no_initrd),
        T(append_gets_room),
        T(zimage_with_trailing_data),
        T(zimage_unpacks_below_initrd),
        T(zimage_table_hostile),
        T(zimage_table_at_the_end),
        T(aarch64_layout),
        T(aarch64_text_offset_counts_from_2_mib),
        T(aarch64_image_size_counts),
        T(aarch64_old_image),
        T(top_of_the_address_space),
        T(arm_beyond_4_gib),
        T(exact_fit),
        T(refused_machines),
        T(refused_kernels),
        T(refused_zimages),
        T(refused_images),
        T(refused_windows),
        T(refused_trees),
        T(refused_cells),
        T(memory_is_the_window),
        T(one_cell),
        T(default_cells),
        T(chosen_is_created),
        T(chosen_is_patched),
        T(packed),
        T(room_is_enough_and_kept),
        T(load_arm),
        T(load_aarch64),
    };

    return cmocka_run_group_tests_name("boot plan", tests, NULL, NULL);
}
