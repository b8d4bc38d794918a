# SPDX-License-Identifier: GPL-2.0-or-later
# One program per kernel behaviour that is relied on.
