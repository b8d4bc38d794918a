#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves with a sealed window each (windows=), booted by the master's guest."""

import os
import sys

from harness import (Peer, Skip, boot, case, check, main, memory,
                     start_master)
import host
import lines
from guest import MIB, qemu

REBOOTS = 10
# A waiting slave may use so much more than stock -S; measured: less than 1.
USS_RATIO = 1.05


@case
def three_slaves(stage):
    """three at a shell at once, started before and after the master"""
    slaves = [stage.slave(128, f"slave{i}") for i in (1, 2)]
    for slave in slaves:
        slave.expect_error("no master at '.*' yet .*: waiting for one")
    master = stage.master([128] * 3)
    slaves.append(stage.slave(128, "slave3"))
    ids = {}
    for slave in slaves:
        ids[slave] = int(slave.expect_error(r"this is slave (\d) of 3")[1])
    check(sorted(ids.values()) == [1, 2, 3], f"ids are {ids.values()}")
    check(ids[slaves[2]] == 3, "the late one is not the third")
    for slave in slaves:
        boot(master, slave, ids[slave])
    for slave in slaves:
        check(f"sdm.role={slave.name} " in slave.must("cat /proc/cmdline"),
              f"{slave.name} has another's command line")
        total = memory(slave)
        check(100 < total < 128, f"{slave.name} has MemTotal {total} MiB")
    total = memory(master)
    check(200 < total < 256, f"the master has MemTotal {total} MiB: it must "
          "not own the windows")
    said = master.must("sdm-test --list")
    check(said.count("running") == 3, f"sdm-test --list: {said}")
    stage.quit()


@case
def reboot(stage):
    """a slave rebooted by its own guest, and booted again each time"""
    master = stage.master([128])
    slave = stage.slave(128)
    boot(master, slave, 1)
    for count in range(1, REBOOTS + 1):
        slave.type("reboot -f\n")
        slave.wait(lambda m, n=count: m.errors.count(
            "the slave waits for its next BOOT") == n,
            f"waiting after reboot {count}")
        boot(master, slave, 1)
    stage.quit()


@case
def waiting_memory(stage):
    """a waiting slave: the memory of stock QEMU with -S at most, and not one
    page of main memory"""
    if not os.path.exists(qemu("arm", stock=True)):
        raise Skip("no stock QEMU to compare with: make qemu-stock")
    size = 512
    start_master(stage, (size,))
    slave = stage.start("slave", lines.slave("arm", stage.path("sock"), size))
    slave.negotiate()
    slave.expect_error("this is slave 1 of 1")
    stock = stage.start("stock", [
        qemu("arm", stock=True), "-nodefaults", "-nographic", "-M", "virt",
        "-m", f"{size}M", "-S"])
    stock.negotiate()
    uss = [host.uss(machine.pid) / MIB for machine in (slave, stock)]
    print(f"USS of a waiting slave {uss[0]:.1f} MiB, of stock -S "
          f"{uss[1]:.1f} MiB, ratio {uss[0] / uss[1]:.2f}")
    ram = [area for area in host.areas(slave.pid)
           if area["end"] - area["start"] >= size * MIB and
           "x" not in area["mode"]]
    check(len(ram) == 1, f"{len(ram)} mappings of {size} MiB or more: {ram}")
    check("w" not in ram[0]["mode"], f"its mode is {ram[0]['mode']}")
    check(ram[0]["Rss"] == 0, f"{ram[0]['Rss']} bytes of it are there")
    check(uss[0] <= uss[1] * USS_RATIO, "the waiting slave uses more memory")
    stage.quit()


@case
def own_window_only(stage):
    """what a slave is handed is its own window, and cannot be truncated"""
    start_master(stage, (128, 64))
    slave = stage.slave(64, sock_extra=",slave-id=2")
    slave.expect_error("this is slave 2 of 2")
    sizes = [os.stat(f"/proc/{slave.pid}/fd/{fd}").st_size
             for fd in os.listdir(f"/proc/{slave.pid}/fd")
             if os.readlink(f"/proc/{slave.pid}/fd/{fd}").startswith("/memfd")]
    check(64 * MIB in sizes, f"no window among its memfds: {sizes}")
    check(max(sizes) == 64 * MIB, f"it has more than its window: {sizes}")
    thief = Peer(stage, "join", "--ram-size", "128M", "--fault", "truncate")
    status = thief.gone()
    check(status == 0, f"not denied: {thief.said} {thief.errors}")
    check([line["result"] for line in thief.said
           if line["event"] == "truncate"] == ["Operation not permitted"] * 2,
          f"{thief.said}")
    stage.quit()


if __name__ == "__main__":
    sys.exit(main(__doc__))
