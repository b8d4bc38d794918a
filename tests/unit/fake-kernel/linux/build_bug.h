/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FAKE_LINUX_BUILD_BUG_H
#define FAKE_LINUX_BUILD_BUG_H

#define static_assert(cond, msg)  _Static_assert(cond, msg)

#endif
