/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs share: relocation, console, the end, and the entry in C. */
#include "fw.h"

#define PSCI_SYSTEM_OFF    0x84000008u
#define PSCI_SYSTEM_RESET  0x84000009u

#define SEMIHOSTING_EXIT_EXTENDED  0x20u
#define SEMIHOSTING_EXIT_NORMAL    0x20026u

#define UART_FR_TXFF  (1u << 5)

struct fw_entry fw_entry;

#ifdef __aarch64__
struct reloc {
    uint64_t where;
    uint64_t info;
    uint64_t addend;
};
#define RELOC_RELATIVE 1027u
#else
struct reloc {
    uint32_t where;
    uint32_t info;
};
#define RELOC_RELATIVE 23u
#endif

extern const struct reloc _fw_reloc[], _fw_reloc_end[];

/*
 * Where the pointers in our data point to now. Lives in .data and starts out
 * as the link address: arm's relocations add to what is there, and a machine
 * that is started again without a new image must not add twice.
 */
static volatile uintptr_t relocated_to = FW_LINK;

static void relocate(uintptr_t base)
{
    const struct reloc *r;

    for (r = _fw_reloc; r < _fw_reloc_end; r++) {
        uintptr_t *word = (uintptr_t *)(r->where - FW_LINK + base);

        if ((uint32_t)r->info != RELOC_RELATIVE) {
            continue;
        }
#ifdef __aarch64__
        *word = r->addend - FW_LINK + base;
#else
        *word += base - relocated_to;
#endif
    }
    relocated_to = base;
}

void *memset(void *to, int c, size_t n)
{
    char *p = to;

    while (n--) {
        *p++ = c;
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
    char *p = to;
    const char *q = from;

    while (n--) {
        *p++ = *q++;
    }
    return to;
}

static volatile uint32_t *uart(uint32_t reg)
{
    return (volatile uint32_t *)(uintptr_t)(FW_UART + reg);
}

void fw_putc(char c)
{
    while (*uart(0x18) & UART_FR_TXFF) {
    }
    *uart(0) = (uint8_t)c;
}

void fw_puts(const char *s)
{
    while (*s) {
        if (*s == '\n') {
            fw_putc('\r');
        }
        fw_putc(*s++);
    }
}

void fw_put_hex(uint64_t value)
{
    int shift = 60;

    fw_puts("0x");
    while (shift && !(value >> shift)) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        fw_putc("0123456789abcdef"[(value >> shift) & 15]);
    }
}

/* By subtraction: 32-bit arm has no 64-bit division without libgcc. */
void fw_put_dec(uint64_t value)
{
    uint64_t units[20];
    unsigned n = 1;

    units[0] = 1;
    while (n < 20 && units[n - 1] * 10 <= value) {
        units[n] = units[n - 1] * 10;
        n++;
    }
    while (n--) {
        char digit = '0';

        while (value >= units[n]) {
            value -= units[n];
            digit++;
        }
        fw_putc(digit);
    }
}

void fw_put_field(const char *name, uint64_t value)
{
    fw_putc(' ');
    fw_puts(name);
    fw_putc('=');
    fw_put_dec(value);
}

void fw_end(uint32_t how, uint32_t status)
{
    if (how == FW_END_OFF) {
        fw_psci(PSCI_SYSTEM_OFF);
    } else if (how == FW_END_RESET) {
        fw_psci(PSCI_SYSTEM_RESET);
    } else if (how == FW_END_SEMIHOSTING) {
        uintptr_t block[2] = { SEMIHOSTING_EXIT_NORMAL, status };

        fw_semihosting(SEMIHOSTING_EXIT_EXTENDED, block);
    }
    for (;;) {
        fw_sleep();
    }
}

void fw_fault(uintptr_t where, uintptr_t status, uintptr_t address)
    __attribute__((noreturn));
void fw_fault(uintptr_t where, uintptr_t status, uintptr_t address)
{
    static volatile int again;

    /* The way out may be what faults: no firmware calls in secure state. */
    while (again) {
        fw_sleep();
    }
    again = 1;
    fw_puts("\nFAULT where=");
    fw_put_hex(where);
    fw_puts(" status=");
    fw_put_hex(status);
    fw_puts(" address=");
    fw_put_hex(address);
    fw_putc('\n');
    fw_end(fw_params.end == FW_END_RESET ? FW_END_OFF : fw_params.end, 2);
}

/* Where the device tree is said to be; 0: nowhere. */
static uint64_t dtb(void)
{
#ifdef __aarch64__
    uint64_t addr = fw_entry.args[0];
#else
    uint64_t addr = fw_entry.args[2];
#endif

    if (addr < FW_RAM || addr & 3 ||
        *(const uint32_t *)(uintptr_t)addr != 0xedfe0dd0u) {
        return 0;
    }
    return addr;
}

static uint32_t dtb_size(void)
{
    uint64_t addr = dtb();

    return addr ? __builtin_bswap32(((const uint32_t *)(uintptr_t)addr)[1])
                : 0;
}

static void hello(void)
{
    static const char *const names[] = { " a0=", " a1=", " a2=", " a3=" };
    unsigned i;
#ifdef __aarch64__
    fw_puts("FIRMWARE isa=aarch64 entry=");
#else
    fw_puts("FIRMWARE isa=arm entry=");
#endif
    fw_put_hex(fw_entry.where);
    fw_puts(" mode=");
    fw_put_hex(fw_entry.mode);
    for (i = 0; i < 4; i++) {
        fw_puts(names[i]);
        fw_put_hex(fw_entry.args[i]);
    }
    fw_put_field("dtb_size", dtb_size());
    fw_putc('\n');
}

static void beat(void)
{
    volatile struct fw_beat *shared = (void *)(uintptr_t)fw_params.shared;

    if (shared->nonce == fw_params.nonce) {
        shared->boots++;
    } else {
        shared->beats = 0;
        shared->boots = 0;
        shared->command = 0;
        fw_dmb();
        shared->nonce = fw_params.nonce;
    }
    fw_puts("BEAT\n");
    for (;;) {
        uint32_t command = shared->command;

        shared->beats++;
        if (command) {
            shared->command = 0;
            fw_end(command - 1, 0);
        }
    }
}

void fw_start(const uintptr_t *args, uintptr_t base, uintptr_t mode)
    __attribute__((noreturn));
void fw_start(const uintptr_t *args, uintptr_t base, uintptr_t mode)
{
    uint32_t status = 0;
    unsigned i;

    relocate(base);
    for (i = 0; i < 4; i++) {
        fw_entry.args[i] = args[i];
    }
    fw_entry.where = base;
    fw_entry.mode = mode;
    fw_mmu_on();
    *uart(0x2c) = 0x70;     /* 8 bits, FIFO */
    *uart(0x30) = 0x301;    /* on, both ways */

    hello();
    if (fw_params.program == FW_PROGRAM_ATOMICS) {
        status = fw_atomics();
    } else if (fw_params.program == FW_PROGRAM_BEAT) {
        beat();
    } else if (fw_params.program != FW_PROGRAM_HELLO) {
        fw_fdt_init(dtb());
        status = fw_params.program == FW_PROGRAM_FLASH ? fw_flash()
                                                       : fw_signals();
    }
    fw_end(fw_params.end, status);
}
