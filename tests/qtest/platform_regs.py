# SPDX-License-Identifier: GPL-2.0-or-later
"""The registers of sdm-platform, by qtest."""

import wire
from client import equal

# platform.h
MAGIC, VERSION, DEVICE_ID, NUM_SLAVES, FEATURES, INT_STATUS, INT_ENABLE = \
    range(0, 0x1c, 4)
REGION_BASE, REGION_SIZE = 0x20, 0x28
TX_TYPE, TX_TARGET, TX_FLAGS, TX_COOKIE, TX_PAYLOAD = range(0x40, 0x54, 4)
TX_GO, TX_STATUS = 0x60, 0x64
RX_COUNT, RX_TYPE, RX_SOURCE, RX_FLAGS, RX_PAYLOAD = range(0x80, 0x94, 4)
RX_COOKIE, RX_POP = 0xa0, 0xa4
PEER_SELECT, PEER_STATE, PEER_MACHINE = 0xc0, 0xc4, 0xc8
PEER_RAM_BASE, PEER_RAM_SIZE, WINDOW_BASE, WINDOW_SIZE = \
    range(0xd0, 0xf0, 8)
PEER_NAME = 0x100
SIZE = 0x1000
INT_RX, INT_TX, INT_PEER, INT_ALL = 1, 2, 4, 7
TX_BUSY = 1 << 31
RX_SLOTS = 64

BASE = 0x0c000000           # first device of virt's platform bus
LINE = 112                  # its first interrupt at the GIC
FEATURE_BITS = 1 << wire.INTERRUPT | 1 << wire.SIGNAL_BOOT | \
    1 << wire.SIGNAL_RESET | 1 << wire.SIGNAL_STOP | \
    1 << wire.SIGNAL_DTB | 1 << wire.USER
WRITABLE = [INT_ENABLE, *range(TX_TYPE, TX_PAYLOAD + 16, 4), PEER_SELECT]


class Device:
    """The registers of an sdm-platform of a QEMU, the first or another."""

    def __init__(self, qemu, nth=0):
        self.qemu = qemu
        self.base = BASE + nth * SIZE
        self.line = LINE + nth
        equal(self[MAGIC], 0x504d4453, "MAGIC")

    def __getitem__(self, offset):
        return self.qemu.readl(self.base + offset)

    def __setitem__(self, offset, value):
        self.qemu.writel(self.base + offset, value)

    def wide(self, offset):
        """A 64-bit register."""
        return self[offset] | self[offset + 4] << 32

    def name(self):
        """PEER_NAME."""
        data = b"".join(self.qemu.read(self.base + PEER_NAME + i, 4)
                        for i in range(0, 32, 4))
        return data.rstrip(b"\0").decode()

    def send(self, kind=wire.INTERRUPT, target=0, flags=0, cookie=0, p0=0,
             p1=0):
        """Send one signal; TX_STATUS behind it."""
        self.fill(kind, target, flags, cookie, p0, p1)
        self[TX_GO] = 1
        return self[TX_STATUS]

    def fill(self, kind, target, flags, cookie, p0, p1):
        """Write the TX registers."""
        for offset, value in ((TX_TYPE, kind), (TX_TARGET, target),
                              (TX_FLAGS, flags), (TX_COOKIE, cookie),
                              (TX_PAYLOAD, p0 & 0xffffffff),
                              (TX_PAYLOAD + 4, p0 >> 32),
                              (TX_PAYLOAD + 8, p1 & 0xffffffff),
                              (TX_PAYLOAD + 12, p1 >> 32)):
            self[offset] = value

    def receive(self):
        """The oldest signal, taken away."""
        got = (self[RX_TYPE], self[RX_SOURCE], self[RX_FLAGS],
               self[RX_COOKIE], self.wide(RX_PAYLOAD),
               self.wide(RX_PAYLOAD + 8))
        self[RX_POP] = 1
        return got
