/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of a device tree reader as finds a device and its interrupt. */
#include "fw.h"

enum { BEGIN_NODE = 1, END_NODE, PROP, NOP, END };

#define DEPTH  8

static const uint32_t *fdt;

struct level {
    uint32_t address_cells, size_cells;     /* for its children */
    uint64_t offset;                        /* its "ranges": to its parent */
    const uint32_t *reg;
    uint32_t reg_bytes;
    const uint32_t *interrupts;
    const char *compatible;
    uint32_t compatible_bytes;
};

static uint32_t be(const uint32_t *word)
{
    return __builtin_bswap32(*word);
}

static uint64_t cells(const uint32_t *word, uint32_t n)
{
    return n > 1 ? (uint64_t)be(word) << 32 | be(word + 1) : n ? be(word) : 0;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static int in_list(const char *list, uint32_t bytes, const char *name)
{
    const char *end = list + bytes;

    while (list < end) {
        if (same(list, name)) {
            return 1;
        }
        while (list < end && *list++) {
        }
    }
    return 0;
}

static void property(struct level *l, const char *name, const uint32_t *value,
                     uint32_t bytes)
{
    if (same(name, "#address-cells")) {
        l->address_cells = be(value);
    } else if (same(name, "#size-cells")) {
        l->size_cells = be(value);
    } else if (same(name, "compatible")) {
        l->compatible = (const char *)value;
        l->compatible_bytes = bytes;
    } else if (same(name, "reg")) {
        l->reg = value;
        l->reg_bytes = bytes;
    } else if (same(name, "interrupts")) {
        l->interrupts = value;
    } else if (same(name, "ranges") && bytes == 16) {
        /* One range of one child cell, two of the parent's: a platform bus. */
        l->offset = cells(value + 1, 2) - be(value);
    }
}

static void describe(const struct level *parent, const struct level *l,
                     struct fw_node *node)
{
    uint32_t step = parent->address_cells + parent->size_cells, i;

    memset(node, 0, sizeof(*node));
    for (i = 0; i < 2 && (i + 1) * step * 4 <= l->reg_bytes; i++) {
        node->base[i] = cells(l->reg + i * step, parent->address_cells) +
                        parent->offset;
    }
    if (l->interrupts) {
        node->intid = be(l->interrupts + 1) + (be(l->interrupts) ? 16 : 32);
        node->edge = (be(l->interrupts + 2) & 3) != 0;
    }
}

void fw_fdt_init(uint64_t addr)
{
    fdt = (const uint32_t *)(uintptr_t)addr;
}

int fw_fdt_find(const char *compatible, unsigned n, struct fw_node *node)
{
    struct level levels[DEPTH + 1];
    const uint32_t *p;
    const char *strings;
    unsigned depth = 0;

    if (!fdt) {
        return 0;
    }
    p = fdt + be(fdt + 2) / 4;
    strings = (const char *)fdt + be(fdt + 3);
    memset(levels, 0, sizeof(levels));
    for (;;) {
        uint32_t token = be(p++);

        if (token == BEGIN_NODE) {
            const char *name = (const char *)p;

            while (*name++) {
            }
            p = (const uint32_t *)(((uintptr_t)name + 3) & ~(uintptr_t)3);
            if (depth == DEPTH) {
                return 0;
            }
            depth++;
            memset(&levels[depth], 0, sizeof(levels[0]));
        } else if (token == PROP) {
            uint32_t bytes = be(p);

            property(&levels[depth], strings + be(p + 1), p + 2, bytes);
            p += 2 + (bytes + 3) / 4;
        } else if (token == END_NODE) {
            struct level *l = &levels[depth--];

            if (l->compatible &&
                in_list(l->compatible, l->compatible_bytes, compatible) &&
                !n--) {
                describe(&levels[depth], l, node);
                return 1;
            }
        } else if (token != NOP) {
            return 0;
        }
    }
}
