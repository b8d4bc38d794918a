#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The RFC letter's two command lines as printed: a master in huge pages, a
slave that has none until the master's guest boots it."""

import os
import sys

from harness import case, check, main
import host
import initrd
import lines
from guest import MIB, image


def master_initrd(stage):
    """The master's initrd, with the slave's files in /root."""
    path = stage.path("busybox.cpio")
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, lines.letter(
        lines.LETTER_SLAVE, "arm", stage.path("sock"), "busybox.cpio", ""))
    base = image("arm", "initrd.img")
    initrd.write(path, base, {"root/zImage": image("arm", "kernel"),
                              "root/slave.dtb": dtb,
                              "root/busybox.cpio": base})
    os.unlink(dtb)
    return path


def letter(stage, order):
    """Start the letter's two in this order; return master and slave, with the
    master's guest at its shell."""
    busybox = master_initrd(stage)
    path = stage.mount("hugetlbfs")
    argv = {role: lines.letter(text, "arm", stage.path("sock"), busybox, path)
            for role, text in (("master", lines.LETTER_MASTER),
                               ("slave", lines.LETTER_SLAVE))}
    pair = {role: stage.start(role, argv[role], qmp=False) for role in order}
    pair["master"].shell("guest")
    return pair["master"], pair["slave"]


def example(stage, order):
    """The letter's example, up to the slave's shell."""
    with stage.huge_pages(lines.LETTER_SIZE):
        master, slave = letter(stage, order)
        free = host.meminfo()["HugePages_Free"]
        master.must("cd /root")
        master.must("sdm-test --wait 0 1 waiting --timeout 60")
        said = master.must("sdm-test -b 0 1 zImage slave.dtb "
                           "--initrd busybox.cpio "
                           "--append 'console=ttyAMA0 sdm.role=slave'")
        print(said.strip())
        slave.shell("slave")
        cmdline = slave.must("cat /proc/cmdline").strip()
        check(cmdline == "console=ttyAMA0 sdm.role=slave",
              f"/proc/cmdline is '{cmdline}'")
        total = int(slave.must("cat /proc/meminfo").split()[1]) * 1024
        check(0.85 * lines.LETTER_WINDOW < total < lines.LETTER_WINDOW,
              f"MemTotal is {total // MIB} MiB")
        now = host.meminfo()["HugePages_Free"]
        check(now < free, f"no huge page taken: {free} before, {now} now")
        for word in ("-kernel", "-initrd"):
            slave.expect_error(f"{word} .* is not loaded")
        stage.quit()
        os.unlink(stage.path("busybox.cpio"))


@case
def letter_master_first(stage):
    """the letter's command lines, the master first"""
    example(stage, ("master", "slave"))


@case
def letter_slave_first(stage):
    """the letter's command lines, the slave first"""
    example(stage, ("slave", "master"))


if __name__ == "__main__":
    sys.exit(main(__doc__))
