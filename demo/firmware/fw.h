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
#include "sdm/signal.h"

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
void fw_irq_mask(void);
void fw_irq_unmask(void);
/** fw_now() - the virtual counter, and how fast it counts. */
uint64_t fw_now(void);
uint32_t fw_hz(void);
/** fw_timer_write() - an interrupt in @ticks, if @on. */
void fw_timer_write(uint32_t ticks, uint32_t on);
/* The GICv3's system registers. */
void fw_gic3_init(void);
uint32_t fw_gic3_ack(void);
void fw_gic3_end(uint32_t got);

/* fw.c, for what the compiler makes of loops, too */
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

/* fw.c */
void fw_putc(char c);
void fw_puts(const char *s);
void fw_put_hex(uint64_t value);
void fw_put_dec(uint64_t value);
/** fw_put_field() - " name=value", decimal. */
void fw_put_field(const char *name, uint64_t value);
/** fw_end() - leave by FW_END_* @how; @status 0 is success. Does not return. */
void fw_end(uint32_t how, uint32_t status) __attribute__((noreturn));

/**
 * struct fw_node - a device of the device tree
 * @base:  of its first two register areas, 0: none
 * @intid: as the GIC numbers it; 0: none
 * @edge:  or level
 */
struct fw_node {
    uint64_t base[2];
    uint32_t intid;
    int edge;
};

/* fw-fdt.c */
void fw_fdt_init(uint64_t addr);
/** fw_fdt_find() - the @n-th (from 0) with this name. Returns: 1: found; 0 */
int fw_fdt_find(const char *compatible, unsigned n, struct fw_node *node);

/* fw-irq.c */
typedef void fw_handler(void);
/** fw_irq_init() - Returns: 1; 0: no GIC in the device tree */
int fw_irq_init(void);
void fw_irq_on(uint32_t intid, int edge, fw_handler *handler);
/** fw_sleep_until() - WFI until a handler has made @condition true. */
void fw_sleep_until(volatile uint32_t *condition);
/** fw_timer() - one at a time. Returns: what becomes true in @us */
volatile uint32_t *fw_timer(uint32_t us);

/**
 * struct fw_wire - what carries signals
 * @open:   find it, set it up. Returns: 1; 0: it is not there
 * @id:     our own
 * @listen: take interrupts (1) or be polled (0)
 * @poll:   hand over what has come. With interrupts the handler does it
 * @send:   begin to send @n. Returns: how many were begun; 0: there is no
 *          room, fw_event will tell
 * @settle: Returns: 1: all that was sent has ended; 0: not yet
 */
struct fw_wire {
    const char *name;
    int (*open)(void);
    uint32_t (*id)(void);
    void (*listen)(int on);
    void (*poll)(void);
    uint32_t (*send)(const struct sdm_signal *sigs, uint32_t n);
    int (*settle)(void);
};
extern const struct fw_wire fw_wire_platform, fw_wire_virtio, fw_wire_ivshmem;
/** fw_wire_base - its registers, for FLOOD. */
extern uintptr_t fw_wire_base;

/* fw-signals.c */
/** fw_take() - a wire hands over a signal. */
void fw_take(const struct sdm_signal *sig);
/** fw_event - a handler of the wire has run; fw_refused: sends that failed */
extern volatile uint32_t fw_event, fw_refused;
/** fw_signals() - PING to FLOOD. Returns: 0: it went well */
uint32_t fw_signals(void);

/* fw-flash.c; returns 0 if each write was there */
uint32_t fw_flash(void);

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
