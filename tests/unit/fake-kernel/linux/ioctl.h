/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FAKE_LINUX_IOCTL_H
#define FAKE_LINUX_IOCTL_H

#define _IOR(type, nr, size)   ((type) << 8 | (nr) | sizeof(size) << 16)
#define _IOWR(type, nr, size)  ((type) << 8 | (nr) | sizeof(size) << 16)

#endif
