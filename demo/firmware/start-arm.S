/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ARMv7-A entry: looks like a zImage, runs at any multiple of 64 KiB, in SVC or
 * HYP mode, with the MMU off.
 */
#include "fw-params.h"

    .arch armv7-a
    .arch_extension virt
    .arm

    .section .head, "awx", %progbits
    .globl _start
_start:
    b       first
    .rept   8
    nop
    .endr
    .word   0x016f2818              @ 0x24: a zImage
    .word   0                       @ runs anywhere
    .word   _fw_end_of_file - _start
    .word   0x04030201              @ little-endian

    .balign 64
    .globl fw_params
    .hidden fw_params
fw_params:
    .asciz  FW_PARAMS_MAGIC
    .word   128
    .space  108

    /* The mark is the first thing done: it is what the benchmark times. */
first:
    adr     r4, fw_params
    ldr     r5, [r4, #FW_PARAM_MARK]
    ldr     r6, [r4, #FW_PARAM_MARK_VALUE]
    cmp     r5, #0
    strne   r6, [r5]

    mrs     r8, cpsr
    and     r8, r8, #0x1f
    cmp     r8, #0x1a
    mov     r7, #0xd3               @ SVC, interrupts masked
    bne     1f
    msr     spsr_cxsf, r7
    adr     r5, 2f
    msr     elr_hyp, r5
    eret
1:  msr     cpsr_c, r7
2:
    ldr     r5, bss_from_here
3:  add     r5, pc, r5              @ pc is 3b + 8
    ldr     r6, end_from_here
4:  add     r6, pc, r6
    mov     r7, #0
5:  str     r7, [r5], #4
    cmp     r5, r6
    blo     5b
    ldr     r5, stack_from_here
6:  add     sp, pc, r5
    adr     r5, vectors
    mcr     p15, 0, r5, c12, c0, 0  @ VBAR

    adr     r4, _start
    stmfd   sp!, {r0-r3}
    mov     r0, sp
    mov     r1, r4
    mov     r2, r8
    bl      fw_start

bss_from_here:
    .word   _fw_bss - 3b - 8
end_from_here:
    .word   _fw_end - 4b - 8
stack_from_here:
    .word   _fw_stack - 6b - 8

    /* A fault is said on the UART and ends the guest: it never just hangs. */
    .balign 32
vectors:
    .rept   6
    b       fault
    .endr
    b       irq
    b       fault
fault:
    mov     r0, lr
    mrc     p15, 0, r1, c5, c0, 0   @ DFSR
    mrc     p15, 0, r2, c6, c0, 0   @ DFAR
    ldr     r5, stack_from_there
7:  add     sp, pc, r5
    bl      fw_fault
stack_from_there:
    .word   _fw_stack - 7b - 8

    /* On the stack that was interrupted, SVC's. */
irq:
    sub     lr, lr, #4
    srsdb   sp!, #0x13
    cps     #0x13
    push    {r0-r3, r12, lr}
    and     r1, sp, #4
    sub     sp, sp, r1              @ 8-byte aligned, as C has it
    push    {r1, r2}
    bl      fw_irq
    pop     {r1, r2}
    add     sp, sp, r1
    pop     {r0-r3, r12, lr}
    rfeia   sp!

    .section .note.GNU-stack, "", %progbits
