/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ARMv8-A entry: looks like an arm64 Image, runs at any multiple of 64 KiB, in
 * EL1 or EL2, with the MMU off.
 */
#include "fw-params.h"

    .arch armv8-a

    .section .head, "awx", %progbits
    .globl _start
_start:
    b       first
    .word   0
    .quad   0                       // text_offset
    .quad   _fw_end - _start        // image_size
    .quad   0xa                     // little-endian, 4 KiB pages, anywhere
    .quad   0, 0, 0
    .ascii  "ARM\x64"               // 0x38
    .word   0

    .globl fw_params
    .hidden fw_params
fw_params:
    .asciz  FW_PARAMS_MAGIC
    .word   128
    .space  108

    /* The mark is the first thing done: it is what the benchmark times. */
first:
    adr     x10, fw_params
    ldr     x11, [x10, #FW_PARAM_MARK]
    ldr     w12, [x10, #FW_PARAM_MARK_VALUE]
    cbz     x11, 1f
    str     w12, [x11]
1:
    mrs     x9, CurrentEL
    lsr     x9, x9, #2
    cmp     x9, #2
    b.ne    2f
    mov     x10, #(1 << 31)         // EL1 is AArch64
    msr     hcr_el2, x10
    mov     x10, #3                 // EL1 may read the counter
    msr     cnthctl_el2, x10
    msr     cntvoff_el2, xzr
    ldr     w10, sctlr_off
    msr     sctlr_el1, x10
    mov     x10, #0x3c5             // EL1h, interrupts masked
    msr     spsr_el2, x10
    adr     x10, 2f
    msr     elr_el2, x10
    eret
sctlr_off:
    .word   0x30d00800
2:
    msr     daifset, #15
    adrp    x10, _fw_bss
    add     x10, x10, :lo12:_fw_bss
    adrp    x11, _fw_end
    add     x11, x11, :lo12:_fw_end
3:  str     xzr, [x10], #8
    cmp     x10, x11
    b.lo    3b
    adrp    x10, _fw_stack
    add     x10, x10, :lo12:_fw_stack
    mov     sp, x10
    adrp    x10, vectors
    add     x10, x10, :lo12:vectors
    msr     vbar_el1, x10
    isb

    stp     x2, x3, [sp, #-16]!
    stp     x0, x1, [sp, #-16]!
    mov     x0, sp
    adr     x1, _start
    mov     x2, x9
    bl      fw_start

    /* A fault is said on the UART and ends the guest: it never just hangs. */
    .text
    .balign 2048
vectors:
    .set    n, 0
    .rept   16
    .if     n == 5                  // IRQ, from the mode that we run in
    b       irq
    .else
    mrs     x0, elr_el1
    mrs     x1, esr_el1
    mrs     x2, far_el1
    adrp    x10, _fw_stack
    add     x10, x10, :lo12:_fw_stack
    mov     sp, x10
    bl      fw_fault
    .endif
    .balign 128
    .set    n, n + 1
    .endr

irq:
    stp     x0, x1, [sp, #-160]!
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x30, [sp, #144]
    bl      fw_irq
    ldp     x18, x30, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp], #160
    eret

    .section .note.GNU-stack, "", %progbits
