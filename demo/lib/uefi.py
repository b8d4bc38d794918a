# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU with UEFI firmware in its flash, driven at the UEFI shell. The
firmware is the distribution's (demo/packages firmware)."""

import os
import time

from guest import Guest
from machine import Trouble, wait_for

MIB = 1 << 20
KIB = 1 << 10

# Code, template of the variables, and where virt and q35 map them.
FIRMWARE = {
    "arm64": ("/usr/share/AAVMF/AAVMF_CODE.fd",
              "/usr/share/AAVMF/AAVMF_VARS.fd"),
    "arm": ("/usr/share/AAVMF/AAVMF32_CODE.fd",
            "/usr/share/AAVMF/AAVMF32_VARS.fd"),
    "x86": ("/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_VARS_4M.fd"),
}
PROGRAM = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64",
           "x86": "qemu-system-x86_64"}
MACHINE = {"arm": ("virt", "-cpu", "cortex-a15"),
           "arm64": ("virt", "-cpu", "cortex-a57"), "x86": ("q35",)}
# What there is in AAVMF's 64 MiB files.
SHORT = (2 * MIB, 768 * KIB)
# How often a sleepy one is asked for its status.
NUDGE_S = 20
# Without -accel, QEMU would take more for its translations the longer it runs.
ACCEL = "tcg,tb-size=32"


def addresses(isa, code, variables):
    """Guest-physical addresses of code and variables."""
    if isa != "x86":
        return 0, 64 * MIB
    top = 4096 * MIB - os.path.getsize(code)
    return top, top - os.path.getsize(variables)


def line(qemu, isa, code, variables, *more, machine=""):
    """A command line; both files are used as they are."""
    name, *cpu = MACHINE[isa]
    return [qemu, "-M", name + machine, *cpu, "-m", "128M", "-nodefaults",
            "-accel", ACCEL,
            "-drive", f"if=pflash,format=raw,readonly=on,file={code}",
            "-drive", f"if=pflash,format=raw,file={variables}", *more]


SHORT_BACKING = ",pflash0-short-backing=on,pflash1-short-backing=on"


def patiently(machines, condition, what, limit):
    """wait_for() that wakes the sleepy ones."""
    sleepy = [m for m in machines if m.sleepy]
    end = time.monotonic() + limit
    while sleepy and time.monotonic() + NUDGE_S < end:
        try:
            return wait_for(machines, condition, what, NUDGE_S)
        except Trouble:
            for m in sleepy:
                m.command("query-status")
    return wait_for(machines, condition, what, end - time.monotonic())


def shells(machines, limit=600):
    """Wait for the shells of several machines, which must all be listened to:
    a serial port that nobody reads holds up its machine, or loses output."""
    skipped, ready = set(), set()

    def all_ready():
        for m in machines:
            where = m.text.find
            # On a busy host it now and then finds not even its own shell, on
            # the unpatched QEMU as well, and waits for a key.
            if where("No bootable option", m.seen) >= 0:
                m.seen = len(m.text)
                skipped.discard(m)
                m.command("system_reset")
            if m not in skipped and where("seconds to skip", m.seen) >= 0:
                skipped.add(m)
                m.type("\x1b")
            at = where("Shell> ", m.seen) if m not in ready else -1
            if at >= 0:
                ready.add(m)
                m.seen = at + len("Shell> ")
        return len(ready) == len(machines)
    patiently(machines, all_ready, "the UEFI shell", limit)


class Uefi(Guest):
    """At its shell it takes commands."""

    def __init__(self, *args, sleepy=False, **options):
        """sleepy: the unpatched QEMU, which sleeps at times through its guest's
        timer, until anything wakes it (docs/user/flash.rst)"""
        super().__init__(*args, **options)
        self.sleepy = sleepy

    def until(self, condition, what, limit):
        patiently([self], condition, what, limit)

    GUID = "5dd1aa22-5a9d-4a2c-9b3a-000102030405"

    def shell(self, limit=600):         # pylint: disable=arguments-differ
        """Wait for the shell, and do not wait for its startup script."""
        shells([self], limit)

    def set(self, name, value):
        """Write a variable of four bytes, given in hexadecimal."""
        self.type(f"setvar {name} -guid {self.GUID} -bs -rt -nv =0x{value}\r")
        self.expect("Shell> ")

    def has(self, name, value):
        """A variable must have this value."""
        self.type(f"setvar {name} -guid {self.GUID}\r")
        shown = bytes.fromhex(value)[::-1].hex(" ").upper()
        self.expect(rf"{name} - 0004 Bytes\s+{shown}")
        self.expect("Shell> ")
