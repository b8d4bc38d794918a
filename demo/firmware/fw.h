/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bare-metal firmware for QEMU's arm and aarch64 virt machine. */
#ifndef FW_H
#define FW_H

/*
 * Everything is in one image, so nothing needs to go through a GOT: that is
 * what lets C run before it is relocated.
 */
#pragma GCC visibility push(hidden)

#include "fw-params.h"

#define FW_UART   0x09000000u
#define FW_RAM    0x40000000u

/**
 * struct fw_entry - how the machine entered us; filled in by the start code
 * @args:  r0..r3 or x0..x3
 * @where: address of the first instruction
 * @mode:  arm: the mode bits of CPSR (0x13 SVC, 0x1a HYP); aarch64: the
 *         exception level
 */
struct fw_entry {
    uint64_t args[4];
    uint64_t where;
    uint64_t mode;
};

extern volatile struct fw_params fw_params;
extern struct fw_entry fw_entry;

/* start-*.S, arch-*.c */
void fw_mmu_on(void);
void fw_dmb(void);
void fw_psci(uint32_t function);
void fw_semihosting(uint32_t operation, const void *block);
void fw_sleep(void);

/* fw.c */
void fw_putc(char c);
void fw_puts(const char *s);
void fw_put_hex(uint64_t value);
void fw_put_dec(uint64_t value);
/** fw_put_field() - " name=value", decimal. */
void fw_put_field(const char *name, uint64_t value);
/** fw_end() - leave by FW_END_* @how; @status 0 is success. Does not return. */
void fw_end(uint32_t how, uint32_t status) __attribute__((noreturn));

/* fw-atomics.c; returns 0 if every test passed */
uint32_t fw_atomics(void);

/**
 * struct fw_op - a way to add one, @n times, that must not lose an update
 * @name:  the instruction
 * @width: bytes; 4 or 8: a counter of that size. A @width with @both: the two
 *         halves go up together and must stay equal
 * @add:   Returns: how often the other guest was seen in between
 */
struct fw_op {
    const char *name;
    uint32_t both;
    uint32_t width;
    int (*have)(void);
    uint32_t (*add)(volatile void *counter, uint32_t n);
};
extern const struct fw_op fw_ops[];
extern const uint32_t fw_nops;

/** fw_trylock() - LDREX/LDXR once. Returns: 1: it is ours. */
int fw_trylock(volatile uint32_t *lock);
/** fw_unlock() - release it: a barrier and a plain store, or STLR. */
void fw_unlock(volatile uint32_t *lock);

#endif /* FW_H */
