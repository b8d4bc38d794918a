#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves driven and seen from the master's monitor, with no help of its guest;
their device tree is their own."""

import re
import sys

from harness import (case, changed, check, main, master_line, memory, peer_is,
                     start_two_monitors)
from guest import MIB, image


def boot_arguments(arch, role, **more):
    """Of sdm-boot."""
    return {"kernel": image(arch, "kernel"),
            "initrd": image(arch, "initrd.img"),
            "append": f"console=ttyAMA0 sdm.role={role}"} | more


def states(master):
    """The changes of state that were told, as (slave, old, new)."""
    return [(e["data"]["slave"], e["data"]["old-state"], e["data"]["state"])
            for e in master.events if e["event"] == "SDM_PEER_STATE"]


def one_life(stage, arch, window, own):
    """Boot, stop, reset, boot again, power off."""
    argv = master_line(stage, (window,), arch=arch, memory=own)
    master = stage.start("master", argv)
    master.negotiate()
    slave = stage.slave(window, arch=arch, sock_extra=",name=ann")
    peer_is(master, "waiting")
    for count in (1, 2):
        master.command("sdm-boot", **boot_arguments(arch, "slave"), slave=1)
        peer_is(master, "running")
        slave.shell("slave")
        total = memory(slave)
        check(0.7 * window < total < window, f"MemTotal {total} MiB")
        peer = master.command("query-sdm")[0]["peers"][0]
        wanted = {"id": 1, "name": "ann", "state": "running", "pid": slave.pid,
                  "isa": {"arm": "arm", "arm64": "aarch64"}[arch],
                  "ram-base": 0x40000000, "ram-size": window * MIB,
                  "window-offset": own * MIB, "window-size": window * MIB,
                  "boots": count}
        check(wanted.items() <= peer.items(), f"query-sdm: {peer}")
        if count == 1:
            master.command("sdm-stop", slave=1)
            peer_is(master, "stopped")
            master.command("sdm-reset", slave=1)
            peer_is(master, "waiting")
    slave.type("poweroff -f\n")
    check(slave.gone() == 0, "the slave failed")
    peer_is(master, "absent")
    life = ["absent", "waiting", "booting", "running", "stopped", "waiting",
            "booting", "running", "absent"]
    told = [state for _, _, state in states(master)]
    # It goes through stopped at its power-off, or not: its process ends.
    if told[-2] == "stopped":
        del told[-2]
    check(told == life[1:], f"the events told of {told}")
    stage.quit()


@case
def arm_life(stage):
    """arm: boot, stop, reset, boot again; events and query-sdm"""
    one_life(stage, "arm", 128, 64)


@case
def arm64_life(stage):
    """the same on aarch64"""
    one_life(stage, "arm64", 256, 64)


@case
def hmp(stage):
    """the same commands for people, on a window that they name, in memory
    that is attached with -numa"""
    master = start_two_monitors(stage, (128,), [
        (",windows=128M", ""), (",memory-backend=mem", "")],
        extra=("-numa", "node,memdev=mem"))
    slave = stage.slave(128)
    peer_is(master, "waiting")
    master.type("\x01c")
    master.expect(r"^\(qemu\) ")

    def command(line):
        """What it says between its echo and the next prompt."""
        master.type(line + "\n")
        return master.expect(r"\n((?:.*\n)*)\(qemu\) ")[1]

    said = command("info sdm")
    check(re.search(r"sock: master at .*/sock, memory 192 MiB", said) and
          re.search(r"^ +1 - +waiting +arm", said, re.M), said)
    said = command(f"sdm-boot 1 {image('arm', 'kernel')} -i "
                   f"{image('arm', 'initrd.img')} -a "
                   "\"console=ttyAMA0 sdm.role=slave\" -o 64M")
    check(not said, said)
    slave.shell("slave")
    said = command("info sdm")
    check(re.search(r"^ +1 - +running +arm +0x4000000\+0x8000000 +1 ", said,
                    re.M), said)
    for line, state in (("sdm-stop 1", "stopped"), ("sdm-reset 1", "waiting")):
        said = command(line)
        check(not said, said)
        peer_is(master, state)
    said = command("sdm-boot 1 /nowhere -o 64M")
    check("cannot open '/nowhere'" in said, said)
    stage.quit()


@case
def nothing_configured(stage):
    """query-sdm and info sdm of a QEMU without any of this"""
    plain = stage.start("plain", [argv for argv in changed(
        master_line(stage), ("sdm-signal-shboot", None), ("sdm-signal", None),
        ("sdm-communication-socket", None), ("memory-backend-shared", None),
        ("multi-socket", None), ("virtio-sdm-device", None),
        (",memory-backend=mem", ""))])
    plain.negotiate()
    check(plain.command("query-sdm") == [], "not empty")
    said = plain.command("human-monitor-command",
                         **{"command-line": "info sdm"})
    print(f"info sdm: {said!r}")
    for command in ("sdm-reset", "sdm-stop"):
        try:
            plain.command(command, slave=1)
            check(False, f"{command} succeeds")
        except Exception as e:
            check("no master" in str(e), str(e))
    stage.quit()


if __name__ == "__main__":
    sys.exit(main(__doc__))
