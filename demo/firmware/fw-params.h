/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parameter block of the bare-metal firmware. The host finds it in the ELF
 * or in the raw image by its magic number and fills it in before the boot
 * (fwimage.py has the same layout). Included by assembly, too.
 */
#ifndef FW_PARAMS_H
#define FW_PARAMS_H

#define FW_LINK         0x40200000  /* where the ELF is linked; runs anywhere */
#define FW_PARAMS_MAGIC "SDM-FIRMWARE-01"   /* 16 bytes with its 0 */

/* Offsets in the block, for the first instructions. */
#define FW_PARAM_MARK        24
#define FW_PARAM_MARK_VALUE  32

/* fw_params.program */
#define FW_PROGRAM_HELLO    0   /* say how we were entered, then end */
#define FW_PROGRAM_ATOMICS  1   /* two guests, shared memory: does it hold? */
#define FW_PROGRAM_BEAT     2   /* count for ever, obey fw_beat.command */
#define FW_PROGRAM_PING     3   /* signal, await the answer, take the time */
#define FW_PROGRAM_ECHO     4   /* answer each of PING's signals */
#define FW_PROGRAM_SOAK     5   /* numbered signals: none lost or doubled */
#define FW_PROGRAM_RATE     6   /* how many a second */
#define FW_PROGRAM_FLOOD    7   /* every register and queue, without end */
#define FW_PROGRAM_FLASH    8   /* set the timer, write to flash, sleep */

/* fw_params.wire: what carries the signals; of FLOOD, what is flooded */
#define FW_WIRE_PLATFORM    0   /* sdm-platform */
#define FW_WIRE_VIRTIO      1   /* virtio-sdm-device */
#define FW_WIRE_IVSHMEM     2   /* ivshmem-doorbell, which carries no data */
#define FW_WIRE_UART        3   /* FLOOD: the PL011 */

/* fw_params.end, and fw_beat.command */
#define FW_END_OFF          0   /* PSCI SYSTEM_OFF */
#define FW_END_RESET        1   /* PSCI SYSTEM_RESET */
#define FW_END_SEMIHOSTING  2   /* exit status for QEMU itself */
#define FW_END_SLEEP        3   /* WFI with everything masked */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/**
 * struct fw_params - what the host tells one guest
 * @magic:   FW_PARAMS_MAGIC
 * @size:    of this struct
 * @program: FW_PROGRAM_*
 * @mark:    where the very first instructions store @mark_value (32 bits), a
 *           RAM address or the UART's data register; 0: nowhere
 * @index:   0 or 1: which of the two guests this is
 * @shared:  guest-physical address of the memory that both see, 64 KiB aligned
 * @nonce:   of this run: shared memory with another one in it is left over
 * @iterations: of each guest, per test; of FLASH, writes
 * @tests:   bit N: run test N of the ISA's list
 * @end:     FW_END_*
 * @wire:    FW_WIRE_*
 * @spin:    look for signals in a loop; 0: take interrupts, sleep in between
 * @target:  whom to signal
 * @warm:    PING: signals before those that count
 * @gap_us:  PING: pause before each signal, microseconds; FLASH: the timer
 * @batch:   RATE, SOAK: send that many at a time; 0: send none
 * @flags:   SDM_SIGNAL_F_* of what is sent
 * @sources: SOAK: how many others send to this guest
 *
 * PING sends @iterations signals, SOAK as many, RATE counts for @iterations
 * milliseconds (0: it counts none).
 */
struct fw_params {
    char magic[16];
    uint32_t size;
    uint32_t program;
    uint64_t mark;
    uint32_t mark_value;
    uint32_t index;
    uint64_t shared;
    uint32_t nonce;
    uint32_t iterations;
    uint32_t tests;
    uint32_t end;
    uint32_t wire;
    uint32_t spin;
    uint32_t target;
    uint32_t warm;
    uint32_t gap_us;
    uint32_t batch;
    uint32_t flags;
    uint32_t sources;
    uint32_t reserved[8];
};
_Static_assert(offsetof(struct fw_params, mark) == FW_PARAM_MARK, "mark");
_Static_assert(offsetof(struct fw_params, mark_value) == FW_PARAM_MARK_VALUE,
               "mark_value");
_Static_assert(sizeof(struct fw_params) == 128, "size");

/**
 * struct fw_beat - FW_PROGRAM_BEAT's part of the shared memory
 * @nonce:   fw_params.nonce once the guest runs
 * @beats:   goes up for as long as the guest runs
 * @boots:   goes up by one at every boot that finds @nonce already there
 * @command: written by the host: 1 + FW_END_*; the guest takes it (0) and obeys
 */
struct fw_beat {
    uint32_t nonce;
    uint32_t beats;
    uint32_t boots;
    uint32_t command;
};
#endif

#endif /* FW_PARAMS_H */
