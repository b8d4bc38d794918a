/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FAKE_LINUX_STDDEF_H
#define FAKE_LINUX_STDDEF_H

#define offsetof(type, member)  __builtin_offsetof(type, member)

#endif
