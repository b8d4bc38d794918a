# SPDX-License-Identifier: GPL-2.0-or-later
"""First inputs for the fuzzers: what no mutation finds by itself.

seeds(name) gives a list of bytes. The layouts are those at the top of each
fuzz-*.c; the numbers of steps count its enum.
"""

import struct
import zlib


def le(fmt, *values):
    return struct.pack('<' + fmt, *values)


def wire(kind, body, seq=0, text=b''):
    length = 16 + len(body) + len(text)
    return le('IHHII', 0x574d4453, kind, 0, length, seq) + body + text


def messages():
    """One good packet of each type, with its number of fds."""
    hello = le('HHHHIIQQ32s', 1, 1, 1, 40, 0xf, 0, 0x40000000, 0x4000000,
               b'left')
    welcome = le('HHIIIQQQQ', 1, 0xf, 2, 3, 0xf, 1 << 30, 0, 1 << 26, 4096)
    peer = le('IIIIQQQQQQQQ32s', 1, 3, 40, 99, 0x40000000, 1 << 26, 1 << 29,
              1 << 26, 1, 2, 3, 4, b'left')
    text = 'no kernel \u00fc\u20ac'.encode()
    return [
        (0, wire(1, hello)),
        (4, wire(2, welcome)),
        (0, wire(3, le('II', 13, len(text)), text=text)),
        (0, wire(4, le('QQ', 1 << 29, 1 << 26), seq=4)),
        (0, wire(5, b'', seq=5)),
        (0, wire(6, b'', seq=6)),
        (0, wire(7, b'', seq=7)),
        (0, wire(8, le('II', 0, len(text)), seq=4, text=text)),
        (1, wire(9, le('Q', 4096), seq=7)),
        (0, wire(10, le('II', 3, 0))),
        (0, wire(11, peer)),
    ]


def msg():
    return [bytes([fds]) + packet for fds, packet in messages()]


def record():
    def make(machine, version=1, nargs=3, entry=0x40010000, dtb=0x42000000,
             dtb_size=4096):
        def packed(crc):
            return le('8sIIIIIIQQQ4Q', b'SDMBOOT', version, 88, machine, 0,
                      crc, nargs, entry, dtb, dtb_size, 0, 0xffffffff, dtb, 0)
        return packed(zlib.crc32(packed(0)))

    def slave(machine, what, rec):
        return le('BBQQ', what, machine, 0x40000000, 0x4000000) + rec

    return [
        slave(40, 0, make(40)),
        slave(183, 1, make(183, nargs=4)),
        slave(40, 1, make(183)),
        slave(40, 1, make(40, version=2)),
        slave(40, 1, make(40, nargs=5)),
        slave(40, 1, make(40, entry=0x3ffffffc)),
        slave(40, 1, make(40, dtb=0, dtb_size=0)),
        slave(40, 1, make(40, dtb=0x43ffe000, dtb_size=0x1001)),
    ]


class Tree:
    """A flattened device tree, as small as they come."""

    def __init__(self):
        self.struct = b''
        self.strings = b''

    def pad(self):
        self.struct += bytes(-len(self.struct) % 4)

    def begin(self, name):
        self.struct += struct.pack('>I', 1) + name.encode() + b'\0'
        self.pad()
        return self

    def prop(self, name, value):
        at = self.strings.find(name.encode() + b'\0')
        if at < 0:
            at = len(self.strings)
            self.strings += name.encode() + b'\0'
        self.struct += struct.pack('>III', 3, len(value), at) + value
        self.pad()
        return self

    def end(self):
        self.struct += struct.pack('>I', 2)
        return self

    def blob(self):
        body = self.struct + struct.pack('>I', 9)
        at = 40 + 16
        return struct.pack('>10I', 0xd00dfeed, at + len(body) +
                           len(self.strings), at, at + len(body), 40, 17, 16,
                           0, len(self.strings), len(body)) \
            + bytes(16) + body + self.strings


def plan():
    aarch64, initrd, append, magic, small, tree = (1 << i for i in range(6))

    def request(what, size, kernel, kernel_size, rest, base=0,
                initrd_size=5000):
        return le('BQQ64sHH', what, base, size, kernel, kernel_size,
                  initrd_size) + rest

    zimage = bytes(0x24) + le('III', 0x016f2818, 0, 0x4000)
    zimage_table = zimage + le('IIIIIIII', 0x04030201, 0x45454545, 0x30, 4,
                               0x5a534c4b, 0x2c, 0x10000, 0)[:20]
    image = bytes(8) + le('QQQ', 0, 0x8000, 10)
    cells = struct.pack('>I', 2)
    dtb = (Tree().begin('').prop('#address-cells', cells)
           .prop('#size-cells', cells)
           .begin('chosen').prop('bootargs', b'a\0')
           .prop('linux,initrd-start', bytes(8)).prop('kaslr-seed', bytes(8))
           .end()
           .begin('memory@0').prop('device_type', b'memory\0')
           .prop('reg', bytes(16)).end()
           .begin('ram').prop('device_type', b'memory\0').end()
           .begin('cpus').begin('cpu@0').prop('reg', bytes(4)).end().end()
           .end().blob())
    bare = Tree().begin('').begin('memory').end().end().blob()
    # Steps of make_tree(): a memory node, chosen with an initrd, one more.
    steps = (b'\0' + bytes([0, 3, 1]) + bytes([8, 2 + 4 * 3]) +
             b'\x08'.ljust(16, b'\0') + bytes([1, 4, 1]))
    arm = small | initrd | append
    return [
        request(arm, 512, zimage, 0x4000, dtb),
        request(arm, 512, zimage_table, 0x4000, dtb),
        request(small, 40, zimage, 0x4000, bare),
        request(arm | aarch64 | magic, 2000, image, 0x4000, dtb),
        request(small | aarch64 | magic, 1600, image, 0x4000, bare, base=1),
        # an entry that no record may have
        request(small | aarch64 | magic, 2000, bytes(8) + le('QQ', 2, 0x8000),
                0x4000, bare),
        request(0, 1 << 30, zimage, 0x4000, dtb, base=0x40000000),
        request(arm | tree, 512, zimage, 0x4000, steps),
        request(small | aarch64 | magic | tree, 2000, image, 0x4000, steps),
        request(arm, 512, b'\x7fELF', 0x4000, dtb),
        request(arm, 512, b'\x1f\x8b', 0x4000, dtb),
    ]


def ring():
    put, take, put_many, take_many, used, index, slot, near = range(8)
    full = bytes([put_many]) + le('H', 300)
    drain = bytes([take_many]) + le('H', 300)
    return [
        b'\0' + bytes([put, put, take, take, take, put, take]),
        b'\0' + full + bytes([used, take, put, put]) + drain,
        b'\2\5\0' + full + drain + full + drain + bytes([used]),
        b'\0' + full + bytes([index, 1]) + le('I', 0xffff0000) +
        bytes([put, take, used]),
        b'\0' + bytes([put, near, 0, 2, 1, take, near, 1, 0xfc, 3, put]),
        b'\1' + le('IIII', 0x524d4453, 1, 256, 0) + bytes([put, slot]),
    ]


def hub():
    (accept, raw, hello, state, answer, dtb, error, lost, reject, request,
     timeout, fail_send, grant, react, memory) = range(15)
    boot = bytes([request, 0x48, 1, 0])
    start = bytes([accept, hello, 0, 0x00, 1])
    ok = bytes([answer, 0, 0, 0, 0])
    packet = messages()[0][1]
    return [
        # n=3 and memory: join, boot, run, stop, reset, leave
        b'\x22' + start + boot + ok + bytes([request, 2, 1, 0]) + ok +
        bytes([request, 1, 1, 0]) + ok + bytes([lost, 0]),
        # an observer looks on; a late answer; a device tree
        b'\x22' + bytes([accept, accept, hello, 0, 0x10, 0, hello, 1, 0, 1]) +
        boot + bytes([timeout, 1, 0, answer, 1, 0, 0, 0]) +
        bytes([request, 3, 1, 0, dtb, 1, 0]),
        # fixed windows, a boot from inside the event that tells of the slave
        b'\x62' + bytes([react, 0x40, 1, 0]) + start + ok +
        bytes([state, 0, 3, fail_send, 0, request, 1, 1, 0]),
        b'\x22' + bytes([accept, raw, 0, 0, len(packet)]) + packet +
        bytes([grant, 5, accept, hello, 1, 0, 0, reject, 0, error, 0, 1, 0,
               memory]),
    ]


def link():
    (connected, raw, welcome, boot, request, peer, error, answer, answer_dtb,
     state, lost, fail_send) = range(12)
    up = bytes([connected, welcome, 0xf0, 0xf, 2, 12])
    return [
        b'\1' + up + bytes([boot, 5, 0, 0, 2, answer, 1, 0, request, 2, 6,
                            answer_dtb, 1, 0, state, lost]),
        b'\3' + up + bytes([request, 0, 9, request, 1, 10]),
        b'\0' + bytes([connected, welcome, 0xf0, 0, 0, 12, peer, 1, 2, error,
                       3]),
        b'\1' + up + bytes([fail_send, request, 0, 9, answer, 1, 0]),
        b'\1' + up + bytes([boot, 5, 1]) + le('QB', 4096, 1) +
        le('Q', 1 << 63) + bytes([raw, 0, 16]) + wire(5, b'', seq=3),
    ]


def pair():
    connect, to_hub, to_slave, ask, reply, becomes, timeout, misc = (
        3 * i for i in range(8))
    drain = bytes([misc, 1])
    return [
        bytes([connect, 0]) + drain + bytes([ask, 0]) + drain +
        bytes([becomes, 4, ask, 2]) + drain + bytes([ask, 1]) + drain,
        # BOOT and RESET given up one after the other, and tried again
        bytes([connect, 0]) + drain + bytes(
            [ask, 0, to_slave, 0, timeout, 0, reply, 1, ask, 1, to_hub, 0,
             timeout, 0, ask, 0]) + drain,
        bytes([connect, 0, connect + 1, 0]) + drain +
        bytes([ask, 0, ask + 1, 0]) + drain + bytes([misc, 0]) + drain,
    ]


def seeds(name):
    return globals()[name]()
