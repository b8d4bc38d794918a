# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver of virtio-sdm-pci, by qtest: on the bus itself, or behind a root
port that it was plugged into."""

from client import MIB, RAM, equal
from virtio import (ACKNOWLEDGE, DRIVER, DRIVER_OK, F_VERSION_1, FEATURES_OK,
                    Driver, Queue)

ECAM = 0x4010000000         # of virt
MMIO = 0x10000000           # where its host bridge has room for BARs
SLOT = 4


class PciDriver(Driver):
    """The driver of virtio.py with the registers of virtio-pci."""

    # offset there: (in the common structure, bytes)
    COMMON = {0x14: (0, 4), 0x10: (4, 4), 0x24: (8, 4), 0x20: (12, 4),
              0x70: (20, 1), 0xfc: (21, 1), 0x30: (22, 2), 0x38: (24, 2),
              0x44: (28, 2), 0x80: (32, 4), 0x84: (36, 4), 0x90: (40, 4),
              0x94: (44, 4), 0xa0: (48, 4), 0xa4: (52, 4)}

    def __init__(self, qemu):
        self.qemu = qemu
        self.legacy = False
        self.queues = []
        base = ECAM + (SLOT << 15)
        equal(qemu.readl(base), 0x10401af4 + (21 << 16), "PCI id")
        qemu.writel(base + 0x10 + 4 * 4, MMIO)      # BAR 4
        qemu.writel(base + 0x10 + 5 * 4, 0)
        qemu.writel(base + 0x4, 6)                  # memory, bus master
        self.at = {}
        cap = qemu.readl(base + 0x34) & 0xff
        while cap:
            head = qemu.readl(base + cap)
            if head & 0xff == 9:
                kind = head >> 24
                self.at.setdefault(kind, MMIO + qemu.readl(base + cap + 8))
                if kind == 2:
                    self.factor = qemu.readl(base + cap + 16)
            cap = head >> 8 & 0xff

    def _where(self, offset):
        if offset >= 0x100:
            return self.at[4] + offset - 0x100, 4
        if offset == 0x60:
            return self.at[3], 1
        where, size = self.COMMON[offset]
        return self.at[1] + where, size

    def __getitem__(self, offset):
        addr, size = self._where(offset)
        return int(self.qemu.command(f"read{'bw.l'[size - 1]} {addr:#x}")[0],
                   16)

    def __setitem__(self, offset, value):
        if offset == 0x50:
            self.qemu.command(f"writew {self.at[2] + self.factor * value:#x} "
                              f"{value:#x}")
            return
        addr, size = self._where(offset)
        self.qemu.command(f"write{'bw.l'[size - 1]} {addr:#x} {value:#x}")

    def start(self, features=0, size=128):
        """From reset to DRIVER_OK with both queues."""
        self[0x70] = 0
        self[0x70] = status = ACKNOWLEDGE | DRIVER
        features |= self.offered() & 0xffffff | 1 << F_VERSION_1
        for word in (0, 1):
            self[0x24] = word
            self[0x20] = features >> 32 * word & 0xffffffff
        self[0x70] = status = status | FEATURES_OK
        self.queues = []
        for number in (0, 1):
            queue = Queue(self, number, RAM + MIB * (1 + number), size)
            self[0x30] = number
            self[0x38] = size
            for offset, addr in ((0x80, queue.desc), (0x90, queue.avail),
                                 (0xa0, queue.used)):
                self[offset] = addr
                self[offset + 4] = 0
            self[0x44] = 1
            self.queues.append(queue)
        self[0x70] = status | DRIVER_OK
        equal(self[0x70], status | DRIVER_OK, "STATUS")
        self.recv, self.sendq = self.queues
        return self


class Behind(PciDriver):
    """The same behind the root port, whose slot is powered on for it."""

    PCI_ID = 0x000c1b36
    POWER_ON, POWER_OFF = 0x100, 0x700      # with the indicator

    def __init__(self, qemu):
        self.bridge = next(ECAM + (slot << 15) for slot in range(32) if
                           qemu.readl(ECAM + (slot << 15)) == self.PCI_ID)
        qemu.writel(self.bridge + 0x18, 0x00010100)     # its bus is 1
        qemu.writel(self.bridge + 0x20, MMIO >> 16 | MMIO & 0xfff00000)
        qemu.writel(self.bridge + 0x4, 6)
        self._power(qemu, self.POWER_ON)
        super().__init__(_OnBus(qemu, 1))
        self.qemu = qemu

    def _power(self, qemu, value):
        cap = qemu.readl(self.bridge + 0x34) & 0xff
        while qemu.readl(self.bridge + cap) & 0xff != 0x10:
            cap = qemu.readl(self.bridge + cap) >> 8 & 0xff
        qemu.command(f"writew {self.bridge + cap + 0x18:#x} {value:#x}")

    def pull(self):
        """Pull it out, as a guest that is asked to let it go."""
        seen = len(self.qemu.events)
        self.qemu.qmp("device_del", id="sdm")
        self._power(self.qemu, self.POWER_OFF)
        self.qemu.until_event("DEVICE_DELETED", seen, device="sdm")


class _OnBus:
    """Configuration cycles for a slot of bus 0 go to slot 0 of another."""

    def __init__(self, qemu, bus):
        self.qemu, self.bus = qemu, bus

    def _there(self, addr):
        if addr >= ECAM:
            return addr - (SLOT << 15) + (self.bus << 20)
        return addr

    def readl(self, addr):
        """Read a register."""
        return self.qemu.readl(self._there(addr))

    def writel(self, addr, value):
        """Write a register."""
        self.qemu.writel(self._there(addr), value)


def port(number, more=""):
    """A slot to plug into."""
    return ("-device", f"pcie-root-port,id=rp{number},chassis={number},"
            f"slot={number}{more}")
