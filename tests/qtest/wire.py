# SPDX-License-Identifier: GPL-2.0-or-later
"""The contracts of include/sdm in Python, and raw peers that speak them: a
slave or an observer that connects, a master that listens. They can be as rude
as a test wants."""

import fcntl
import mmap
import os
import re
import socket
import struct
import zlib

from client import Trouble, check, unwatch, wait_for, watch

# wire.h
MAGIC = 0x574d4453
MAX = 4096
HELLO, WELCOME, ERROR, BOOT, RESET, STOP, GET_DTB, ANSWER, DTB, STATE, PEER = \
    range(1, 12)
SLAVE, OBSERVER = 1, 2
FD_MEMORY, FD_RING, FD_TO_SLAVE, FD_TO_MASTER = 1, 2, 4, 8

# signal.h
INTERRUPT = 0
SIGNAL_BOOT, SIGNAL_RESET, SIGNAL_STOP, SIGNAL_STATE, SIGNAL_DTB = range(1, 6)
USER = 8
TYPES = 24
ALL = 0xffff
MAX_SLAVES = 64
ABSENT, WAITING, BOOTING, RUNNING, STOPPED, CRASHED = range(6)
OK, INVAL, NO_PEER, BAD_STATE, UNSUPPORTED, WINDOW, RECORD, ISA, MEMORY, \
    BUSY, GONE, TIMEOUT, VERSION, ID, DENIED, INTERNAL = range(16)
ACK = 1

EM_ARM, EM_X86_64, EM_AARCH64 = 40, 62, 183

# ring.h
RING_MAGIC = 0x524d4453
SLOTS = 256
RING_VERSION = 2
RING_STATUS, RING_STAMP, RING_SIGNALS = 128, 128 + SLOTS, 128 + 9 * SLOTS
RING_ONE = RING_SIGNALS + 32 * SLOTS
RING_BYTES = 128 + 2 * RING_ONE
TO_SLAVE, TO_MASTER = 0, 1

# boot.h
BOOT_MAGIC = 0x544f4f424d4453
BOOT_PAGE = 4096

CONNS = MAX_SLAVES + 16     # SDM_HUB_CONNS

_HEADER = struct.Struct("<IHHII")
_BODIES = {
    HELLO: (struct.Struct("<HHHHIIQQ32s"), "version_min version_max role "
            "machine features want_id ram_base ram_size name"),
    WELCOME: (struct.Struct("<HHIIIQQQQ"), "version fds id num_slaves "
              "features memory_size window_offset window_size page_size"),
    BOOT: (struct.Struct("<QQ"), "offset size"),
    RESET: (struct.Struct(""), ""),
    STOP: (struct.Struct(""), ""),
    GET_DTB: (struct.Struct(""), ""),
    ANSWER: (struct.Struct("<II"), "status text_length"),
    ERROR: (struct.Struct("<II"), "status text_length"),
    DTB: (struct.Struct("<Q"), "size"),
    STATE: (struct.Struct("<II"), "state reserved"),
    PEER: (struct.Struct("<IIIIQQQQQQQQ32s"), "id state machine pid ram_base "
           "ram_size window_offset window_size boots sent taken refused name"),
}
SIGNAL = struct.Struct("<IHHIIQQ")
RECORD_STRUCT = struct.Struct("<QIIIIIIQQQ4Q")


def message(kind, seq=0, text=b"", magic=MAGIC, flags=0, length=None,
            **fields):
    """Bytes of a message; fields that are left out are 0."""
    body, names = _BODIES[kind]
    values = [fields.pop(name, b"" if name == "name" else 0)
              for name in names.split()]
    check(not fields, f"no such field: {fields}")
    if kind in (ANSWER, ERROR) and not values[1]:
        values[1] = len(text)
    data = body.pack(*values) + text
    if length is None:
        length = _HEADER.size + len(data)
    return _HEADER.pack(magic, kind, flags, length, seq) + data


def hello(**fields):
    """A slave's HELLO, with what is not given as it should be."""
    good = {"version_min": 1, "version_max": 1, "role": SLAVE,
            "machine": EM_ARM, "ram_base": 0x40000000, "ram_size": 16 << 20}
    return message(HELLO, **(good | fields))


class Message:
    """A message that came: .type, .seq, its fields, .received for its fds."""

    def __init__(self, data, received):
        magic, self.type, flags, length, self.seq = _HEADER.unpack_from(data)
        check(magic == MAGIC and flags == 0 and length == len(data),
              f"a bad header came: {data[:16].hex()}")
        body, names = _BODIES[self.type]
        self.received = received
        self.text = data[_HEADER.size + body.size:].decode()
        for name, value in zip(names.split(),
                               body.unpack_from(data, _HEADER.size)):
            if isinstance(value, bytes):
                value = value.rstrip(b"\0").decode()
            setattr(self, name, value)

    def __repr__(self):
        return f"<message {self.type} {vars(self)}>"


def memfd(size, seals=fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW, data=b""):
    """A memfd of this size; the caller closes it."""
    fd = os.memfd_create("sdm-test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    if data:
        os.pwrite(fd, data, 0)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


DTB_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Fd:
    """An fd that a Stage closes."""

    def __init__(self, fd):
        self.fd = fd

    def kill(self):
        """Close it."""
        os.close(self.fd)


def pipe(stage):
    """The reading end of a pipe, for where no pipe should be."""
    ends = os.pipe()
    for end in ends:
        stage.keep(Fd(end))
    return ends[0]


def kick_pipe():
    """(the end that waits, the end that kicks)"""
    return os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)


def signal(kind=INTERRUPT, source=0, target=0, flags=0, cookie=0, p0=0, p1=0):
    """Bytes of a signal."""
    return SIGNAL.pack(kind, source, target, flags, cookie, p0, p1)


def record(entry, dtb=0, dtb_size=0, args=(0, 0xffffffff), machine=EM_ARM,
           magic=BOOT_MAGIC, version=1, length=RECORD_STRUCT.size, flags=0,
           nargs=None, checksum=None):
    """Bytes of a boot record."""
    values = [magic, version, length, machine, flags, 0,
              len(args) if nargs is None else nargs, entry, dtb, dtb_size,
              *(list(args) + [0] * 4)[:4]]
    values[5] = zlib.crc32(RECORD_STRUCT.pack(*values)) \
        if checksum is None else checksum
    return RECORD_STRUCT.pack(*values)


class Pair:
    """A ring pair, seen from one side. Nothing is checked: tests break rules.

    Indexes are read and written as whole words of a little-endian host: the
    other side looks at any moment, and struct.pack_into() writes zeros first.
    """

    def __init__(self, fd, kick, wait, master):
        self.memory = mmap.mmap(fd, RING_BYTES)
        self.words = memoryview(self.memory).cast("I")
        self.kick_fd, self.wait_fd = kick, wait
        self.tx = 128 + RING_ONE * (TO_SLAVE if master else TO_MASTER)
        self.rx = 128 + RING_ONE * (TO_MASTER if master else TO_SLAVE)

    def get(self, offset):
        """A 32-bit field."""
        return self.words[offset // 4]

    def set(self, offset, value):
        """Set a 32-bit field."""
        self.words[offset // 4] = value & 0xffffffff

    # fields of a direction
    head = staticmethod(lambda ring: ring)
    space_event = staticmethod(lambda ring: ring + 4)
    tail = staticmethod(lambda ring: ring + 64)
    event = staticmethod(lambda ring: ring + 68)

    def format(self):
        """What a master does first."""
        struct.pack_into("<IIII", self.memory, 0, RING_MAGIC,
                         RING_VERSION, SLOTS, 0)
        for ring in (self.tx, self.rx):
            self.set(self.space_event(ring), 0xffffffff)

    def kick(self):
        """Wake the other side."""
        try:
            os.write(self.kick_fd, (1).to_bytes(8, "little"))
        except BlockingIOError:
            pass        # a full pipe has woken its reader

    def put(self, *signals, kick=True, stamp=0):
        """Append signals, without a look at the space."""
        for data in signals:
            head = self.get(self.head(self.tx))
            at = self.tx + RING_STAMP + 8 * (head % SLOTS)
            self.memory[at:at + 8] = stamp.to_bytes(8, "little")
            at = self.tx + RING_SIGNALS + 32 * (head % SLOTS)
            self.memory[at:at + 32] = data
            self.set(self.head(self.tx), head + 1)
        if kick:
            self.kick()

    def unread(self):
        """Signals of ours that the other side has not taken."""
        return (self.get(self.head(self.tx)) -
                self.get(self.tail(self.tx))) & 0xffffffff

    def used(self):
        """Signals for us that wait."""
        return (self.get(self.head(self.rx)) -
                self.get(self.tail(self.rx))) & 0xffffffff

    def status(self, index):
        """What the other side said of our signal at this index."""
        return self.memory[self.tx + RING_STATUS + index % SLOTS]

    def take(self, status=0):
        """The oldest signal for us: its fields. Kick if space was wanted."""
        check(self.used(), "no signal is in the ring")
        tail = self.get(self.tail(self.rx))
        at = self.rx + RING_SIGNALS + 32 * (tail % SLOTS)
        fields = SIGNAL.unpack(self.memory[at:at + 32])
        self.memory[self.rx + RING_STATUS + tail % SLOTS] = status
        self.set(self.tail(self.rx), tail + 1)
        if self.get(self.space_event(self.rx)) == tail:
            self.kick()
        return fields

    def sleep(self):
        """Ask for a kick with the next signal."""
        self.set(self.event(self.rx), self.get(self.tail(self.rx)))

    def kicked(self):
        """Wait for the other side's kick, and take it."""
        def ready():
            try:
                return os.read(self.wait_fd, 4096)
            except BlockingIOError:
                return b""
        watch(self.wait_fd, lambda: None)
        try:
            wait_for(ready, "a kick")
        finally:
            unwatch(self.wait_fd)

    def next(self):
        """Wait for the next signal for us: its fields."""
        while not self.used():
            self.sleep()
            if not self.used():
                self.kicked()
        return self.take()

    def close(self):
        """Unmap it; the fds are the owner's."""
        self.words.release()
        self.memory.close()


class Peer:
    """A connection that hears messages as they come."""

    def __init__(self, sock):
        self.socket = sock
        self.socket.setblocking(False)
        self.messages = []
        self.closed = False
        self.pair = None
        self._fds = []
        watch(sock, self._take)

    def _take(self):
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, MAX, 8)
        except BlockingIOError:
            return
        except ConnectionResetError:
            return      # what it had sent comes next
        self._fds += fds
        if not data:
            self.closed = True
            unwatch(self.socket)
        else:
            self.messages.append(Message(data, fds))

    def send(self, data, fds=()):
        """One packet."""
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.send(data)

    def next(self, kind=None):
        """The next message, which must be of this kind."""
        wait_for(lambda: self.messages or self.closed, f"message {kind}")
        if not self.messages:
            raise Trouble(f"the connection was closed before message {kind}")
        got = self.messages.pop(0)
        check(kind in (None, got.type), f"{got} came, not {kind}")
        return got

    def until(self, kind, **fields):
        """The next message of this kind and with these fields."""
        while True:
            got = self.next()
            if got.type == kind and fields.items() <= vars(got).items():
                return got

    def error(self, status, pattern=""):
        """ERROR must come, and the end."""
        got = self.until(ERROR)
        check(got.status == status and re.search(pattern, got.text),
              f"ERROR {got.status} '{got.text}', not {status} '{pattern}'")
        self.gone()

    def pause(self):
        """Read no more."""
        unwatch(self.socket)

    def drop(self):
        """Forget the messages that have come, and close their fds."""
        wait_for(lambda: True, "")
        self.messages.clear()
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def gone(self):
        """The other side must close."""
        wait_for(lambda: self.closed, "the end of the connection")

    def kill(self):
        """Close it and all that came with it."""
        unwatch(self.socket)
        self.socket.close()
        if self.pair:
            self.pair.close()
            self.pair = None
        for fd in self._fds:
            os.close(fd)
        self._fds = []


def connect(path):
    """A connection that has said nothing yet."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(path)
    return Peer(sock)


class Slave(Peer):
    """A slave that is admitted; .welcome, .memory (fd or None), .pair."""

    def __init__(self, path, **fields):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(path)
        super().__init__(sock)
        self.send(hello(**fields))
        self.welcome = self.next(WELCOME)
        self.id = self.welcome.id
        self.take(self.welcome)

    def take(self, welcome):
        """Use what a WELCOME has brought."""
        came = iter(welcome.received)
        fds = {bit: next(came) for bit in (FD_MEMORY, FD_RING, FD_TO_SLAVE,
                                           FD_TO_MASTER) if welcome.fds & bit}
        self.memory = fds.get(FD_MEMORY)
        if FD_RING in fds:
            self.pair = Pair(fds[FD_RING], fds[FD_TO_MASTER],
                             fds[FD_TO_SLAVE], False)
            self.pair.sleep()

    def request(self, kind):
        """The next request, which must be of this kind."""
        return self.next(kind)

    def answer(self, request, status=OK, text=b""):
        """End a request."""
        self.send(message(ANSWER, seq=request.seq, status=status, text=text))

    def state(self, state):
        """Say so."""
        self.send(message(STATE, state=state))



class Link(Peer):
    """A slave as its raw master sees it: .hello."""

    def __init__(self, sock):
        super().__init__(sock)
        self.hello = self.next(HELLO)
        self.own = []
        self.requests = 0

    def welcome(self, memory=None, size=0, rings=True, sent=None, **fields):
        """Admit it. memory is an fd of size bytes, which stays the caller's;
        rings makes a ring pair. sent replaces all four fds."""
        bits = 15 if sent else 0
        sent = sent or []
        if memory is not None:
            sent.append(memory)
            bits |= FD_MEMORY
        if rings:
            ring, to_slave, to_master = memfd(RING_BYTES), kick_pipe(), \
                kick_pipe()
            self.own = [ring, *to_slave, *to_master]
            self.pair = Pair(ring, to_slave[1], to_master[0], True)
            self.pair.format()
            self.pair.sleep()
            sent += [ring, to_slave[0], to_master[1]]
            bits |= FD_RING | FD_TO_SLAVE | FD_TO_MASTER
        good = {"version": 1, "fds": bits, "id": self.hello.want_id or 1,
                "num_slaves": max(self.hello.want_id, 1),
                "memory_size": size, "page_size": 4096}
        self.send(message(WELCOME, **(good | fields)), sent)
        return self

    def request(self, kind, **fields):
        """Ask, with a number of its own; return that."""
        self.requests += 1
        self.send(message(kind, seq=self.requests, **fields))
        return self.requests

    def ask(self, kind, **fields):
        """Ask and wait for what ends it: ANSWER or DTB. STATE messages that
        come before are dropped."""
        seq = self.request(kind, **fields)
        while True:
            got = self.next()
            if got.seq == seq:
                return got
            check(got.type == STATE, f"{got} came")

    def kill(self):
        super().kill()
        for fd in self.own:
            os.close(fd)
        self.own = []


class Master:
    """A raw master: listens, and hands out what connects."""

    def __init__(self, path):
        self.path = path
        self.waiting = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        self.socket.listen(64)
        self.socket.setblocking(False)
        watch(self.socket, self._accept)

    def _accept(self):
        self.waiting.append(self.socket.accept()[0])

    def accept(self):
        """The next slave, whose HELLO has come."""
        wait_for(lambda: self.waiting, "a slave")
        return Link(self.waiting.pop(0))

    def kill(self):
        """Listen no more; the file goes."""
        unwatch(self.socket)
        self.socket.close()
        for sock in self.waiting:
            sock.close()
        os.unlink(self.path)
