# SPDX-License-Identifier: GPL-2.0-or-later
"""A master without a QEMU: one slave, one memfd, and a clock next to it.

Speaks docs/specs/socket.rst as far as a boot needs it, so that a benchmark can
take the time of the very BOOT message, and a slave can be measured alone.
"""

import fcntl
import mmap
import os
import selectors
import socket
import struct
import time
import zlib

from machine import Trouble

HEADER = struct.Struct("<IHHII")
HELLO = struct.Struct("<HHHHIIQQ32s")
WELCOME = struct.Struct("<HHIIIQQQQ")
BOOT = struct.Struct("<QQ")
ANSWER = struct.Struct("<II")
RECORD = struct.Struct("<QIIIIIIQQQ4Q")

MAGIC = 0x574d4453
T_HELLO, T_WELCOME, T_ERROR, T_BOOT, _, _, T_GET_DTB, T_ANSWER, T_DTB, \
    T_STATE = range(1, 11)

RING_SLOTS = 256
RING_HEAD = 128
RING_ONE = 128 + 41 * RING_SLOTS
RING_BYTES = RING_HEAD + 2 * RING_ONE
FEATURES = 1 << 0 | 1 << 1      # INTERRUPT, BOOT
PAGE = 4096

BOOT_MAGIC = 0x544f4f424d4453
MACHINES = {"arm": 40, "arm64": 183}

F_ADD_SEALS = 1033
F_SEAL_SHRINK, F_SEAL_GROW = 2, 4


def boot_record(isa, entry, dtb, dtb_size, args):
    """The 88 bytes that go to the start of the window's last page."""
    args = list(args) + [0] * (4 - len(args))
    fields = [BOOT_MAGIC, 1, RECORD.size, MACHINES[isa], 0, 0, 4, entry, dtb,
              dtb_size] + args
    fields[5] = zlib.crc32(RECORD.pack(*fields))
    return RECORD.pack(*fields)


def sealed_memfd(name, size):
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
    return fd


def ring_pair():
    """An empty pair of signal rings (include/sdm/ring.h)."""
    fd = sealed_memfd("ring", RING_BYTES)
    os.pwrite(fd, struct.pack("<III", 0x524d4453, 2, RING_SLOTS), 0)
    for ring in range(2):
        at = RING_HEAD + ring * RING_ONE
        os.pwrite(fd, struct.pack("<II", 0, 0xffffffff), at)
    return fd


class Master:
    """Listens at `path`; admit() takes one slave in."""

    def __init__(self, path, size):
        self.size = size
        self.memory = sealed_memfd("window", size)
        self.window = mmap.mmap(self.memory, size)
        self.fds = [ring_pair(), os.eventfd(0, os.EFD_CLOEXEC),
                    os.eventfd(0, os.EFD_CLOEXEC)]
        self.slave = None
        self.seq = 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in (self.slave, self.listener):
            if s:
                s.close()
        for fd in [self.memory] + self.fds:
            os.close(fd)
        self.window.close()

    def _wait(self, sock, machine, limit):
        """Until the socket is readable; the slave's process must live."""
        end = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(machine, selectors.EVENT_READ)
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    raise Trouble(f"the slave is silent for {limit} s: "
                                  f"{machine.errors}")
                for key, _ in selector.select(left):
                    if key.fileobj is sock:
                        return
                machine.feed()
                if machine.ended() is not None:
                    raise Trouble(f"the slave ended: {machine.errors}")

    def _send(self, kind, body=b"", seq=0, fds=()):
        packet = HEADER.pack(MAGIC, kind, 0, HEADER.size + len(body),
                             seq) + body
        socket.send_fds(self.slave, [packet], fds)

    def _receive(self, machine, limit):
        self._wait(self.slave, machine, limit)
        packet, fds, _, _ = socket.recv_fds(self.slave, 4096, 4)
        if len(packet) < HEADER.size:
            raise Trouble(f"the slave has closed its socket: {machine.errors}")
        magic, kind, _, length, seq = HEADER.unpack_from(packet)
        body = packet[HEADER.size:]
        if magic != MAGIC or length != len(packet):
            raise Trouble("the slave sent no message of ours")
        if kind == T_ERROR:
            raise Trouble("the slave said: " +
                          body[ANSWER.size:].decode(errors="replace"))
        return kind, seq, body, fds

    def _answer(self, machine, kind, limit):
        """The fds of what ends the open request; STATEs come in between."""
        while True:
            got, seq, body, fds = self._receive(machine, limit)
            if seq == self.seq and got in (kind, T_ANSWER):
                break
        status = ANSWER.unpack_from(body)[0] if got == T_ANSWER else 0
        if status or got != kind:
            raise Trouble(f"the slave refused with status {status}: " +
                          body[ANSWER.size:].decode(errors="replace"))
        return fds

    def admit(self, machine, limit=60):
        """HELLO and WELCOME. Return (e_machine, ram_base, ram_size)."""
        self._wait(self.listener, machine, limit)
        self.slave, _ = self.listener.accept()
        kind, _, body, fds = self._receive(machine, limit)
        for fd in fds:
            os.close(fd)
        if kind != T_HELLO:
            raise Trouble(f"the slave began with message {kind}")
        hello = HELLO.unpack_from(body)
        self._send(T_WELCOME, WELCOME.pack(1, 0xf, 1, 1, FEATURES, self.size,
                                           0, 0, PAGE),
                   fds=[self.memory] + self.fds)
        return hello[3], hello[6], hello[7]

    def get_dtb(self, machine, limit=60):
        """The slave's own device tree, as bytes."""
        self.seq += 1
        self._send(T_GET_DTB, seq=self.seq)
        fds = self._answer(machine, T_DTB, limit)
        with open(fds[0], "rb") as f:
            return f.read()

    def boot(self):
        """Send BOOT for the whole memory; return the time just before."""
        self.seq += 1
        packet = HEADER.pack(MAGIC, T_BOOT, 0, HEADER.size + BOOT.size,
                             self.seq) + BOOT.pack(0, self.size)
        send = self.slave.send
        sent = time.monotonic_ns()
        send(packet)
        return sent

    def booted(self, machine, limit=60):
        """Take the answer to BOOT in."""
        self._answer(machine, T_ANSWER, limit)
