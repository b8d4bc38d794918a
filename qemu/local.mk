# SPDX-License-Identifier: GPL-2.0-or-later
# The graft: fetch, overlay, patch and build QEMU.
