#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the bare-metal firmware itself right? On a plain QEMU, no sharing.

Boots the ELF and the raw image in every mode that the virt machine enters a
kernel in, and tries the ways out. Exit status: 0 all right, 1 not.
"""

import argparse
import mmap
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(TOP, "demo", "firmware")]

import fwimage                                              # noqa: E402
from machine import Machine, Trouble, terminate_politely    # noqa: E402

MIB = 1 << 20
QEMU = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64"}
CPU = {"arm": "cortex-a15", "arm64": "cortex-a57"}
NAME = {"arm": "arm", "arm64": "aarch64"}
BEAT_AT = 32 * MIB

# (ISA, -M options): CPSR's mode bits or the exception level at the entry.
MODES = {
    ("arm", ""): 0x13, ("arm", ",virtualization=on"): 0x1a,
    ("arm", ",secure=on"): 0x13,
    ("arm64", ""): 1, ("arm64", ",virtualization=on"): 2,
    ("arm64", ",secure=on"): 1,
}


def start(args, isa, kind, options="", more=(), fds=(), **params):
    """A guest with its image in a memfd."""
    fd = fwimage.memfd("image", fwimage.load(args.firmware, isa, kind,
                                             **params))
    qemu = os.path.join(args.qemu_dir, QEMU[isa])
    try:
        return Machine(f"{isa} {kind}{options}", [
            qemu, "-nodefaults", "-M", "virt" + options, "-cpu", CPU[isa],
            "-m", "64M", "-kernel", f"/proc/self/fd/{fd}", *more],
            fds=(fd, *fds), qmp=False)
    finally:
        os.close(fd)


def expect(condition, what):
    if not condition:
        raise Trouble(what)


def ends(m, status):
    m.wait(lambda x: x.closed, "its end", 60)
    got = m.process.wait()
    expect(got == status, f"{m.name}: ended with {got}, not {status}: "
           f"{m.lines} {m.errors}")


def hello(args, isa, kind, options, mode):
    """Entered as the architecture's boot protocol says, and off by PSCI."""
    with start(args, isa, kind, options) as m:
        ends(m, 0)
        line = next((x for x in m.lines if x.startswith("FIRMWARE")), "")
        fields = dict(re.findall(r"(\w+)=(\w+)", line))
        expect(fields.get("isa") == NAME[isa], f"{m.name}: said {m.lines}")
        expect(int(fields["mode"], 0) == mode,
               f"{m.name}: entered in mode {fields['mode']}, not {mode:#x}")
        if kind == "img":
            expect(int(fields["dtb_size"]) > 0, f"{m.name}: no device tree")


def semihosting(args, isa):
    """The other way out."""
    with start(args, isa, "elf", more=["-semihosting"],
               end=fwimage.SEMIHOSTING) as m:
        ends(m, 0)


def beat(args, isa):
    """Counts, obeys, and knows a second boot from the first."""
    ram = os.memfd_create("ram")
    try:
        os.ftruncate(ram, 64 * MIB)
        with mmap.mmap(ram, 64 * MIB) as memory, start(
                args, isa, "elf", ",memory-backend=mem",
                ["-object", "memory-backend-file,id=mem,share=on,size=64M,"
                 f"mem-path=/proc/self/fd/{ram}"], (ram,),
                program=fwimage.BEAT, nonce=0x5eed,
                shared=fwimage.RAM + BEAT_AT) as m:
            for boots in range(3):
                m.wait(lambda x, n=boots: x.lines.count("BEAT") == n + 1,
                       f"boot {boots}", 60)
                state = struct.unpack_from("<III", memory, BEAT_AT)
                expect(state[0] == 0x5eed and state[2] == boots,
                       f"{m.name}: boot {boots} left {state}")
                how = fwimage.RESET if boots < 2 else fwimage.OFF
                struct.pack_into("<I", memory, BEAT_AT + 12, 1 + how)
            ends(m, 0)
            expect(struct.unpack_from("<I", memory, BEAT_AT + 4)[0] > 0,
                   f"{m.name}: never beat")
    finally:
        os.close(ram)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--qemu-dir", help="folder of the programs (default: "
                        "$SDM_QEMU_DIR or build/qemu)",
                        default=os.environ.get("SDM_QEMU_DIR") or
                        os.path.join(fwimage.build_dir(), "qemu"))
    parser.add_argument("--firmware", help="folder with sdm-fw-* "
                        "(default: build it)")
    args = parser.parse_args()
    terminate_politely()
    try:
        args.firmware = args.firmware or fwimage.build()
        for (isa, options), mode in MODES.items():
            # An ELF is no Linux: in secure state it would have no PSCI.
            for kind in ["img"] if "secure" in options else ["elf", "img"]:
                hello(args, isa, kind, options, mode)
        for isa in QEMU:
            semihosting(args, isa)
            beat(args, isa)
    except Trouble as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
