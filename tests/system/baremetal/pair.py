# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare-metal guests that signal each other: a master, slaves, their boot.

What the guests do stands in demo/firmware/README.rst.
"""

import contextlib
import os
import re
import tempfile

import fwimage
from machine import Machine, Trouble

MIB = 1 << 20
QEMU = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64"}
CPU = {"arm": "cortex-a15", "arm64": "cortex-a57"}
DEVICE = {fwimage.PLATFORM: "sdm-platform",
          fwimage.VIRTIO: "virtio-sdm-device"}
OWN = 32        # MiB of the master's guest
WINDOW = 8      # MiB of each slave


def image(firmware, isa, **params):
    """A memfd with the firmware; params are fwimage.patch's."""
    params.setdefault("end", fwimage.SLEEP)
    return fwimage.memfd("image", fwimage.load(firmware, isa, "img", **params))


def plain(name, qemu, isa, fd, *options, machine="", fds=(), cpus=None,
          serial="stdio"):
    """A guest with nothing of ours; takes fd over."""
    try:
        return Machine(name, [
            qemu, "-nodefaults", "-M", "virt" + machine, "-cpu", CPU[isa],
            "-m", f"{OWN}M", "-kernel", f"/proc/self/fd/{fd}", *options],
            fds=(fd, *fds), cpus=cpus, serial=serial)
    finally:
        os.close(fd)


class Group:
    """A master and its slaves, which all run bare-metal firmware.

    master, slaves   Machine; slaves[0] is slave 1
    """

    def __init__(self, qemu, isa, firmware, machine="", iothread=None):
        """iothread: None, or more options of that object"""
        self.qemu = qemu
        self.isa = isa
        self.firmware = firmware
        self.machine = machine
        self.iothread = iothread
        self.master = None
        self.slaves = []
        self._images = []
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._path = os.path.join(self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="sdm-")), "sock")
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _keep(self, machine):
        self._stack.callback(machine.kill)
        return machine

    def _common(self, megabytes, wire, memory, socket, role):
        channel = "sdm-communication-socket,id=comm,socket=sock"
        options = []
        if self.iothread is not None:
            options += ["-object", "iothread,id=io" + self.iothread]
            channel += ",iothread=io"
        return [
            self.qemu, "-nodefaults",
            "-M", "virt,memory-backend=mem" + self.machine,
            "-cpu", CPU[self.isa], "-m", f"{megabytes}M",
            "-global", "virtio-mmio.force-legacy=false", *options,
            "-object",
            f"multi-socket-backend,id=sock,path={self._path}{socket}",
            "-object",
            f"memory-backend-shared,id=mem,size={megabytes}M,socket=sock"
            + memory,
            "-object", "sdm-signal-shboot,id=boot,shm=mem",
            "-object", "sdm-signal,id=interrupt",
            "-object", channel, "-device",
            f"{DEVICE[wire]},comm=comm,{role}len-signals=2,"
            "signals[0]=boot,signals[1]=interrupt"]

    def start(self, master, slaves, cpus=None):
        """Start all; master and each of slaves: parameters of the firmware.
        The slaves wait until boot(). cpus: of the master and of each slave."""
        n = len(slaves)
        cpus = cpus or [None] * (n + 1)
        own = image(self.firmware, self.isa, **master)
        self._images = [image(self.firmware, self.isa, **slave)
                        for slave in slaves]
        try:
            windows = ":".join([f"{WINDOW}M"] * n)
            self.master = self._keep(Machine("master", self._common(
                OWN + n * WINDOW, master.get("wire", fwimage.PLATFORM),
                f",master=on,windows={windows}", ",listen=on",
                f"master=on,num-slaves={n},") +
                ["-kernel", f"/proc/self/fd/{own}"],
                fds=(own, *self._images), cpus=cpus[0]))
            for i, slave in enumerate(slaves):
                self.slaves.append(self._keep(Machine(
                    f"slave {i + 1}", self._common(
                        WINDOW, slave.get("wire", fwimage.PLATFORM), "",
                        f",slave-id={i + 1}", "") +
                    ["-incoming", "shared:mem"], cpus=cpus[i + 1])))
        finally:
            for fd in (own, *self._images):
                os.close(fd)
        for machine in (self.master, *self.slaves):
            machine.negotiate()

    def boot(self):
        """Boot all slaves."""
        for i, slave in enumerate(self.slaves):
            self.master.await_slave(slave, i + 1)
            self.master.command("sdm-boot", slave=i + 1,
                                kernel=f"/proc/self/fd/{self._images[i]}")

    def all(self):
        return [self.master, *self.slaves]


def fields(line):
    """The NAME=NUMBER of a line that the firmware printed."""
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)}


def line_of(machine, word):
    """The last line that begins with this word, or None."""
    for line in reversed(machine.lines):
        if line.startswith(word):
            return line
        if line.startswith("FAULT"):
            raise Trouble(f"{machine.name}: {line}")
    return None
