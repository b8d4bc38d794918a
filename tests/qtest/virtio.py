# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver of the virtio SDM device over virtio-mmio, by qtest: old (legacy)
and new registers, split queues in guest memory."""

import struct

from client import MIB, RAM, Trouble, check, equal, wait_for

SLOTS = [0x0a000000 + 0x200 * i for i in range(32)]     # of virt
ID_SDM = 21
QUEUE_SIZE = 128
RECV, SEND = 0, 1

MAGIC, VERSION, DEVICE_ID = 0x0, 0x4, 0x8
DEVICE_FEATURES, DEVICE_SEL, DRIVER_FEATURES, DRIVER_SEL = \
    0x10, 0x14, 0x20, 0x24
PAGE_SIZE, QUEUE_SEL, QUEUE_MAX, QUEUE_NUM, QUEUE_ALIGN, QUEUE_PFN, \
    QUEUE_READY = 0x28, 0x30, 0x34, 0x38, 0x3c, 0x40, 0x44
NOTIFY, INT_STATUS, INT_ACK, STATUS = 0x50, 0x60, 0x64, 0x70
DESC, AVAIL, USED, GENERATION, CONFIG = 0x80, 0x90, 0xa0, 0xfc, 0x100

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 0x40
INT_QUEUE, INT_CONFIG = 1, 2
F_INDIRECT, F_VERSION_1 = 28, 32
NEXT, WRITE, INDIRECT = 1, 2, 4

CONFIG_STRUCT = struct.Struct("<IIQQIIIIQQQQ32s")
CONFIG_NAMES = ("device_id num_slaves region_base region_size peer_select "
                "peer_state peer_machine reserved peer_ram_base peer_ram_size "
                "window_base window_size peer_name").split()
PEER_SELECT = CONFIG + 24


class Queue:
    """A split queue. Nothing is checked: tests break rules."""

    def __init__(self, driver, number, base, size=QUEUE_SIZE):
        self.driver, self.number, self.size = driver, number, size
        self.qemu = driver.qemu
        self.desc = base
        self.avail = base + 16 * size
        self.used = (self.avail + 6 + 2 * size + 4095) & ~4095
        self.data = base + 4 * 4096     # 64 bytes for each descriptor
        self.next_avail = self.seen = self.next_desc = 0
        self.qemu.write(base, bytes(self.used + 6 + 8 * size - base))

    def describe(self, index, addr, length, flags=0, following=0):
        """Write a descriptor."""
        self.qemu.write(self.desc + 16 * (index % self.size),
                        struct.pack("<QIHH", addr, length, flags, following))

    def offer(self, *heads, kick=True):
        """Make chains available."""
        for head in heads:
            at = self.avail + 4 + 2 * (self.next_avail % self.size)
            self.qemu.write(at, struct.pack("<H", head & 0xffff))
            self.next_avail += 1
        self.qemu.write(self.avail + 2,
                        struct.pack("<H", self.next_avail & 0xffff))
        if kick:
            self.driver[NOTIFY] = self.number

    def index(self):
        """The used index."""
        return struct.unpack("<H", self.qemu.read(self.used + 2, 2))[0]

    def taken(self):
        """The next used element, or None: (head, length)."""
        if self.index() == self.seen & 0xffff:
            return None
        at = self.used + 4 + 8 * (self.seen % self.size)
        self.seen += 1
        return struct.unpack("<II", self.qemu.read(at, 8))

    def until(self):
        """Wait for the next used element."""
        def found():
            self.qemu.settle()
            return self.taken()
        return found() or wait_for(found, "a used buffer")


class Driver:
    """The device's registers and, after start(), its two queues."""

    def __init__(self, qemu, nth=0):
        self.qemu = qemu
        found = [base for base in reversed(SLOTS)
                 if qemu.readl(base + DEVICE_ID) == ID_SDM]
        if len(found) <= nth:
            raise Trouble(f"{len(found)} virtio SDM devices in virt's slots")
        self.base = found[nth]
        self.memory = RAM + MIB * (1 + 2 * nth)
        self.legacy = self[VERSION] == 1
        self.queues = []
        self.features = 0

    def __getitem__(self, offset):
        return self.qemu.readl(self.base + offset)

    def __setitem__(self, offset, value):
        self.qemu.writel(self.base + offset, value)

    def offered(self):
        """Feature bits of the device."""
        words = []
        for word in range(1 if self.legacy else 2):
            self[DEVICE_SEL] = word
            words.append(self[DEVICE_FEATURES])
        return sum(value << 32 * i for i, value in enumerate(words))

    def start(self, features=0, size=QUEUE_SIZE):
        """From reset to DRIVER_OK with both queues."""
        self[STATUS] = 0
        self[STATUS] = ACKNOWLEDGE
        self[STATUS] = ACKNOWLEDGE | DRIVER
        features |= self.offered() & 0xffffff
        if not self.legacy:
            features |= 1 << F_VERSION_1
        for word in range(1 if self.legacy else 2):
            self[DRIVER_SEL] = word
            self[DRIVER_FEATURES] = features >> 32 * word & 0xffffffff
        self.features = features
        status = ACKNOWLEDGE | DRIVER
        if self.legacy:
            self[PAGE_SIZE] = 4096
        else:
            status |= FEATURES_OK
            self[STATUS] = status
            equal(self[STATUS], status, "STATUS")
        self.queues = []
        for number in (RECV, SEND):
            self[QUEUE_SEL] = number
            check(self[QUEUE_MAX] >= QUEUE_SIZE, "QUEUE_MAX is too small")
            queue = Queue(self, number, self.memory + MIB * number, size)
            self[QUEUE_NUM] = size
            if self.legacy:
                self[QUEUE_ALIGN] = 4096
                self[QUEUE_PFN] = queue.desc // 4096
            else:
                for offset, addr in ((DESC, queue.desc), (AVAIL, queue.avail),
                                     (USED, queue.used)):
                    self[offset] = addr
                    self[offset + 4] = 0
                self[QUEUE_READY] = 1
            self.queues.append(queue)
        self[STATUS] = status | DRIVER_OK
        self.recv, self.sendq = self.queues
        return self

    def ack(self):
        """The interrupt causes, cleared."""
        causes = self[INT_STATUS]
        self[INT_ACK] = causes
        return causes

    def config(self):
        """The configuration space, as a dict."""
        data = b"".join(struct.pack("<I", self[CONFIG + i])
                        for i in range(0, CONFIG_STRUCT.size, 4))
        values = dict(zip(CONFIG_NAMES, CONFIG_STRUCT.unpack(data)))
        values["peer_name"] = values["peer_name"].rstrip(b"\0").decode()
        return values

    def select(self, peer):
        """Choose a peer and read the configuration space."""
        self[PEER_SELECT] = peer
        return self.config()

    def send(self, data, kick=True):
        """Put one signal into the sendq as the spec wants it; its head."""
        queue = self.sendq
        head = queue.next_desc
        queue.next_desc = (head + 2) % queue.size
        at = queue.data + 64 * head
        queue.qemu.write(at, data)
        queue.qemu.write(at + 64, b"\xee" * 8)
        queue.describe(head, at, len(data), NEXT, head + 1)
        queue.describe(head + 1, at + 64, 8, WRITE)
        queue.offer(head, kick=kick)
        return head

    def status_of(self, head):
        """What the device has written behind a signal."""
        status, reserved = struct.unpack(
            "<II", self.qemu.read(self.sendq.data + 64 * (head + 1), 8))
        equal(reserved, 0, "reserved of the status")
        return status

    def done(self):
        """The next send that has ended, or None: (head, status)."""
        used = self.sendq.taken()
        if used is None:
            return None
        equal(used[1], 8, "length of the used element")
        return used[0], self.status_of(used[0])

    def call(self, data):
        """Send a signal that ends at once: its status."""
        head = self.send(data)
        ended = self.done()
        check(ended, "the signal has not ended at once")
        equal(ended[0], head, "head of the used element")
        return ended[1]

    def give(self, count=1, length=32):
        """Offer buffers for signals."""
        queue = self.recv
        for _ in range(count):
            index = queue.next_desc
            queue.next_desc = (index + 1) % queue.size
            queue.describe(index, queue.data + 64 * index, length, WRITE)
            queue.offer(index, kick=False)
        self[NOTIFY] = RECV

    def received(self):
        """The next signal that has come, or None: its fields."""
        used = self.recv.taken()
        if used is None:
            return None
        equal(used[1], 32, "length of the used element")
        return struct.unpack("<IHHIIQQ", self.qemu.read(
            self.recv.data + 64 * used[0], 32))

    def broken(self):
        """Has the device given the driver up?"""
        self.qemu.settle()
        return bool(self[STATUS] & NEEDS_RESET) if not self.legacy else None
