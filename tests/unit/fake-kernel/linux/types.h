/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As little of the kernel's types as the contracts may use. */
#ifndef FAKE_LINUX_TYPES_H
#define FAKE_LINUX_TYPES_H

typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __SIZE_TYPE__ size_t;

#endif
