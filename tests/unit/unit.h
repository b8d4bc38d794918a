/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cmocka.h wants to have been included before it. */
#ifndef SDM_UNIT_H
#define SDM_UNIT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define ARRAY_SIZE(a)  (sizeof(a) / sizeof((a)[0]))

#endif /* SDM_UNIT_H */
