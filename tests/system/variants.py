#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves of other kinds: aarch64, secure, with a hypervisor, with two CPUs, and
one that waits after its guest's power-off."""

import sys

from harness import boot, case, check, main, memory

ARM64 = {"plain": {},
         "virtualization": {"machine": "virt,virtualization=on"},
         "smp": {"extra": ("-smp", "2")}}
ARM = ARM64 | {"secure": {"machine": "virt,secure=on"}}


def kinds(stage, arch, table, window, own):
    """Boot a slave of each kind out of one master, and power it off."""
    master = stage.master([window] * len(table), arch=arch, memory=own,
                          dtbs={f"{name}.dtb": more
                                for name, more in table.items()})
    for number, (name, more) in enumerate(table.items(), 1):
        slave = stage.slave(window, name, arch=arch,
                            sock_extra=f",slave-id={number}", **more)
        boot(master, slave, number, arch=arch, dtb=f"{name}.dtb")
        cpus = int(slave.must("grep -c ^processor /proc/cpuinfo"))
        check(cpus == (2 if name == "smp" else 1), f"{name}: {cpus} CPUs")
        total = memory(slave)
        check(0.7 * window < total < window, f"{name}: MemTotal {total} MiB")
        slave.type("poweroff -f\n")
        check(slave.gone() == 0, f"{name}: ended with an error")
        master.must(f"sdm-test --wait 0 {number} absent --timeout 60")
    stage.quit()


@case
def arm_kinds(stage):
    """arm: plain, secure=on, virtualization=on, -smp 2; PSCI ends each"""
    kinds(stage, "arm", ARM, 128, 256)


@case
def arm64_kinds(stage):
    """aarch64: plain, virtualization=on, -smp 2; PSCI ends each"""
    kinds(stage, "arm64", ARM64, 256, 384)


@case
def poweroff_waits(stage):
    """slave-poweroff=wait: after its guest's power-off it waits, and can be
    booted again"""
    master = stage.master([128])
    slave = stage.slave(128, machine="virt,slave-poweroff=wait")
    for count in (1, 2):
        boot(master, slave, 1)
        slave.type("poweroff -f\n")
        slave.wait(lambda m, n=count: m.errors.count(
            "the slave waits for its next BOOT") == n,
            f"waiting after power-off {count}")
    master.must("sdm-test --wait 0 1 waiting --timeout 60")
    stage.quit()


if __name__ == "__main__":
    sys.exit(main(__doc__))
