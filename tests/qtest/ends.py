# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that signal each other: the same two ends over any channel, with
any device. A test body that is written for these holds for all of them."""

import time

import client
import machines
import platform_regs
import virtio
import wire
from client import MIB, RAM, Trouble, equal
from platform_regs import (INT_ENABLE, INT_PEER, INT_RX, INT_STATUS,
                           PEER_SELECT, PEER_STATE, RX_COUNT, TX_BUSY,
                           TX_STATUS)

MEMORY, WINDOW = 64 * MIB, 16 * MIB
ENTRY = RAM + 0x8000        # of a slave, in its window
PLATFORM, VIRTIO = "sdm-platform", "virtio-sdm-device"
NEW = ("-global", "virtio-mmio.force-legacy=false")

OBJECTS = {"irq": "sdm-signal", "user": "sdm-signal,number=8",
           "other": "sdm-signal,number=9", "state": "sdm-signal,number=4",
           "reset": "sdm-signal,number=2", "stop": "sdm-signal,number=3",
           "boot": "sdm-signal-shboot,shm=mem"}


class PlatformEnd:
    """The guest of an sdm-platform. The ring is all the room that there is.

    open    sends that have not ended
    """

    room = 1                # sends that may be open at once

    def __init__(self, qemu, nth=0, polled=False):
        self.qemu = qemu
        self.device = platform_regs.Device(qemu, nth)
        self.start(polled)

    def start(self, polled=False):
        """As a driver does after a reset."""
        self.open = 0
        self.device[INT_ENABLE] = 0 if polled else platform_regs.INT_ALL

    def moved(self, qemu):
        """The guest runs on in another QEMU."""
        self.qemu = self.device.qemu = qemu

    def post(self, kind=wire.INTERRUPT, target=0, flags=0, cookie=0, p0=0,
             p1=0):
        """Begin to send."""
        equal(self.open, 0, "sends that are open")
        self.open = 1
        self.device.send(kind, target, flags, cookie, p0, p1)

    def ended(self):
        """Status of a send that has ended, or None."""
        if not self.open:
            return None
        status = self.device[TX_STATUS]
        if status & TX_BUSY:
            return None
        self.open = 0
        return status

    def waiting(self):
        """Does a signal wait for the guest?"""
        return self.device[RX_COUNT] > 0

    def take(self):
        """The next signal, taken, or None: type, source, flags, cookie and
        two words."""
        return self.device.receive() if self.waiting() else None

    def state(self, peer):
        """State of a peer."""
        self.device[PEER_SELECT] = peer
        return self.device[PEER_STATE]

    def changed(self):
        """Has the state of a peer changed since the last call?"""
        seen = self.device[INT_STATUS] & INT_PEER
        self.device[INT_STATUS] = INT_PEER
        return bool(seen)

    def told(self):
        """Is the interrupt for a signal raised?"""
        return bool(self.device[INT_STATUS] & self.device[INT_ENABLE] & INT_RX)

    def own_id(self):
        """Its id."""
        return self.device[platform_regs.DEVICE_ID]


class VirtioEnd:
    """The guest of a virtio-sdm-device. Its driver offers a buffer when the
    guest wants a signal, so that the ring is all the room that there is."""

    room = 40

    def __init__(self, qemu, nth=0, driver=None):
        self.qemu = qemu
        self.driver = driver or virtio.Driver(qemu, nth)
        self.start()

    def start(self):
        """As a driver does after a reset."""
        self.driver.start()
        self.open = 0
        self.given = 0

    def moved(self, qemu):
        """The guest runs on in another QEMU."""
        self.qemu = self.driver.qemu = qemu
        for queue in self.driver.queues:
            queue.qemu = qemu

    def post(self, kind=wire.INTERRUPT, target=0, flags=0, cookie=0, p0=0,
             p1=0):
        """Begin to send."""
        self.open += 1
        self.driver.send(wire.signal(kind, 0, target, flags, cookie, p0, p1))

    def ended(self):
        """Status of a send that has ended, or None."""
        done = self.driver.done() if self.open else None
        if done is None:
            return None
        self.open -= 1
        return done[1]

    def take(self):
        """The next signal, taken, or None."""
        if not self.given:
            self.driver.give(1)
            self.given = 1
            self.qemu.settle()
        got = self.driver.received()
        if got is None:
            return None
        self.given = 0
        kind, source, target, *rest = got
        equal(target, self.own_id(), "target of a signal")
        return (kind, source, *rest)

    def state(self, peer):
        """State of a peer."""
        return self.driver.select(peer)["peer_state"]

    def changed(self):
        """Has the state of a peer changed since the last call?"""
        return bool(self.driver.ack() & virtio.INT_CONFIG)

    def told(self):
        """Is the interrupt for a signal raised?"""
        return bool(self.driver[virtio.INT_STATUS] & virtio.INT_QUEUE)

    def own_id(self):
        """Its id."""
        return self.driver.config()["device_id"]


ENDS = {PLATFORM: PlatformEnd, VIRTIO: VirtioEnd}


class System:
    """A master and its slaves.

    channel  local, socket, or iothread: socket with iothread= at each QEMU
    devices  of the master, then of each slave; slaves: how many there may be,
             where not as many
    signals  names of OBJECTS; given: those of the slaves, where not the same
    ends     of the master, then of each slave: the index is the id
    qemus    all; those of the ends are the same one on a local channel
    """

    def __init__(self, stage, channel, devices, signals=("irq", "user"),
                 given=None, extra=(), slaves=0):
        self.stage, self.channel = stage, channel
        self.slaves = slaves or len(devices) - 1
        given = given or signals
        if channel == "local":
            self._local(devices, signals, given, extra)
        else:
            self._socket(devices, signals, given, extra)
        equal([end.own_id() for end in self.ends], list(range(len(devices))),
              "the ids")

    def _device(self, kind, comm, master, signals):
        return ("-device", f"{kind},comm={comm},"
                f"{machines.signal_list(signals)}"
                + (f",master=on,num-slaves={master}" if master else ""))

    def _objects(self, names):
        return [word for name in sorted(names) for word in
                ("-object", OBJECTS[name].replace(",", f",id={name},", 1)
                 if "," in OBJECTS[name] else f"{OBJECTS[name]},id={name}")]

    def _local(self, devices, signals, given, extra):
        args = ["-M", "virt", "-m", f"{MEMORY // MIB}M", *NEW,
                *self._objects({*signals, *given}),
                "-object", "sdm-communication-local,id=local"]
        for i, kind in enumerate(devices):
            args += self._device(kind, "local", 0 if i else self.slaves,
                                 given if i else signals)
        self.args = [*args, *extra]
        qemu = self.stage.qemu("local", *self.args)
        self.qemus = [qemu]
        self.ends = []
        for i, kind in enumerate(devices):
            self.ends.append(ENDS[kind](qemu, devices[:i].count(kind)))

    def _socket(self, devices, signals, given, extra):
        path = self.stage.path()
        count = len(devices) - 1
        thread, comm = (), "sdm-communication-socket,id=scomm,socket=sock"
        if self.channel == "iothread":
            thread = ("-object", "iothread,id=io")
            comm += ",iothread=io"
        self.qemus = []
        for i, kind in enumerate(devices):
            names = {"boot", *(given if i else signals)}
            listed = given if i else ("boot", *signals)
            memory = "" if i else ",master=on,windows=" + ":".join(
                ["16M"] * count)
            self.qemus.append(self.stage.qemu(
                f"slave {i}" if i else "master",
                "-M", "virt,memory-backend=mem",
                "-m", f"{(WINDOW if i else MEMORY) // MIB}M", *NEW,
                "-object", f"multi-socket-backend,id=sock,path={path}"
                + (f",slave-id={i}" if i else ",listen=on"),
                "-object", "memory-backend-shared,id=mem,socket=sock,size="
                f"{WINDOW if i else MEMORY}{memory}", *self._objects(names),
                *thread, "-object", comm,
                *self._device(kind, "scomm", 0 if i else count, listed),
                *(("-incoming", "shared:mem") if i else ()), *extra))
        self.ends = [ENDS[devices[0]](self.qemus[0])]
        for i in range(1, count + 1):
            self.boot(i)
            self.ends.append(ENDS[devices[i]](self.qemus[i]))

    def boot(self, i):
        """Boot slave i with a record that the master's guest writes."""
        master = self.ends[0]
        offset = MEMORY - i * WINDOW
        self.qemus[0].write(RAM + offset + WINDOW - wire.BOOT_PAGE,
                            wire.record(entry=ENTRY))
        self.until(lambda: master.state(i) == wire.WAITING,
                   f"slave {i} to wait")
        master.post(wire.SIGNAL_BOOT, i, p0=WINDOW, p1=offset)
        self.must_end(master, wire.OK)

    def settle(self):
        """What can happen by itself has happened (iothreads may lag)."""
        for _ in range(3):
            for qemu in self.qemus:
                if qemu.ended() is None:
                    qemu.settle()

    def until(self, condition, what):
        """Wait for it, by turns of all main loops; return what it gave. No
        event would tell of an iothread's doing."""
        end = time.monotonic() + client.LIMIT
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise Trouble(f"no sign of {what}")
            self.settle()

    def must_end(self, end, status):
        """A send must end with this status."""
        seen = []
        self.until(lambda: seen.append(end.ended()) or seen[-1] is not None,
                   "the end of a send")
        equal(seen[-1], status, "status of a send")

    def must_wait(self, end):
        """No send may end."""
        self.settle()
        equal(end.ended(), None, "status of a send that cannot have ended")

    def must_take(self, end, **fields):
        """The next signal must come, and have these fields."""
        got = self.until(end.take, "a signal")
        names = ("kind", "source", "flags", "cookie", "p0", "p1")
        seen = dict(zip(names, got))
        equal({name: seen[name] for name in fields}, fields, "the signal")
        return seen

    def nothing(self, end):
        """No signal may come."""
        self.settle()
        equal(end.take(), None, "a signal that cannot be")

    def send(self, end, target, status=wire.OK, **fields):
        """Send one signal, which must end so."""
        end.post(target=target, **fields)
        self.must_end(end, status)

    def fill(self, end, target, cookie=0):
        """Send until no more goes: the signals that were sent, the last of
        which is open."""
        count = 0
        while not end.open:
            end.post(target=target, cookie=cookie + count)
            count += 1
            self.settle()
            if end.ended() is None:
                break
        return count

    def take_until_end(self, receiver, sender, cookie=0):
        """Take signals, numbered from cookie, until the send that waits for
        room ends well: how many. (A buffer of virtio may be out already.)"""
        for count in range(1, 2 * wire.SLOTS):
            self.must_take(receiver, cookie=cookie + count - 1)
            self.settle()
            status = sender.ended()
            if status is not None:
                equal(status, wire.OK, "status of a send")
                return count
        raise Trouble("the send does not end")

    def lose(self, i):
        """Slave i, or the master, dies."""
        self.qemus[i].kill()
        if i == 0:
            self.stage.remove("sock")
            self.stage.remove("sock.lock")
        end = self.ends[0 if i else 1]
        self.until(lambda: end.state(i) == wire.ABSENT, f"{i} to be absent")


class Stream:
    """Numbered signals from one end to another, checked as they come."""

    def __init__(self, system, sender, receiver, target, count, dice):
        self.system, self.sender, self.receiver = system, sender, receiver
        self.target, self.count, self.dice = target, count, dice
        self.source = sender.own_id()
        self.sent = self.ended = self.taken = 0

    def step(self):
        """Do some of what can be done."""
        for _ in range(self.dice.randrange(20)):
            while self.sender.open:
                status = self.sender.ended()
                if status is None:
                    break
                equal(status, wire.OK, "status of a send")
                self.ended += 1
            if self.sent == self.count or \
               self.sender.open == self.sender.room:
                break
            self.sender.post(wire.USER, self.target, 0, self.sent,
                             self.sent << 32 | 7, ~self.sent & 0xffffffff)
            self.sent += 1
        for _ in range(self.dice.randrange(20)):
            got = self.receiver.take()
            if got is None:
                break
            equal(got, (wire.USER, self.source, 0, self.taken,
                        self.taken << 32 | 7, ~self.taken & 0xffffffff),
                  "the signal")
            self.taken += 1

    def over(self):
        """Has all been taken, and been told?"""
        self.step()
        return self.ended == self.taken == self.count
