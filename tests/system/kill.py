#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of either side at random moments: the survivor reports it, waits, and
works with the next one; nothing is lost on the way."""

import collections
import contextlib
import os
import random
import select
import sys

from harness import (Peer, case, check, main, master_line, peer_is,
                     slave_line, start_master, wait_for)
import host
import lines
from guest import MIB, image
from machine import QmpError

NATIVE = int(os.environ.get("SDM_KILLS", "100"))     # of each side
DEBIAN = int(os.environ.get("SDM_DEBIAN_KILLS", "5"))
WINDOW = 64
GROWTH = 12 * MIB       # in all rounds: malloc keeps a freed kernel or two


def a_while(longest):
    """A random moment: what is tested here, nothing is waited for."""
    select.select([], [], [], random.uniform(0, longest))


@contextlib.contextmanager
def huge_pages(stage, size):
    """True where there are huge pages for so much; else without."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(stage.huge_pages(size))
        except host.Unavailable as e:
            print(f"without huge pages: {e}")
            yield False
            return
        yield True


def fds(process):
    """What a process has open, for people to compare."""
    folder = f"/proc/{process.pid}/fd"
    return sorted(os.readlink(f"{folder}/{fd}").split(":")[0]
                  for fd in os.listdir(folder))


class Survivor:
    """What a process has, and that it has the same at the end."""

    def __init__(self, process):
        self.process = process
        process.command("query-sdm")    # it has done what it was at
        self.fds = fds(process)
        self.memory = host.anonymous(process.pid)

    def check(self):
        """At the end."""
        self.process.command("query-sdm")
        now = fds(self.process)
        more = collections.Counter(now)
        more.subtract(self.fds)
        more = {name: count for name, count in more.items() if count}
        check(not more, f"{self.process.name} has fds that it had not: "
              f"{more}")
        grown = host.anonymous(self.process.pid) - self.memory
        check(grown < GROWTH, f"{self.process.name} has grown by {grown} "
              "bytes")


def finish(master):
    """The end of sdm-boot, whichever it is."""
    try:
        master.finish("sdm-boot")
    except QmpError as e:
        check("lost before it answered" in str(e) or "is absent" in str(e) or
              "not connected" in str(e), f"sdm-boot: {e}")


@case
def native_slaves(stage):
    """sdmctl join is killed while it joins, waits, boots and runs"""
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, slave_line(stage, WINDOW))
    boot = {"slave": 1, "kernel": image("arm", "kernel"), "dtb": dtb}
    with huge_pages(stage, (WINDOW + 64) * MIB) as huge:
        master = start_master(stage, (WINDOW,), huge=huge)
        survivor = None
        # The first round shows it all without a kill.
        for count in range(NATIVE + 1):
            moment = random.randrange(3) if count else 2
            peer = Peer(stage, "join", "--ram-size", f"{WINDOW}M")
            if moment:
                peer.until("its welcome", event="welcome")
                peer_is(master, "waiting")
                master.start("sdm-boot", **boot)
            if moment == 2:
                master.finish("sdm-boot")
                peer_is(master, "running")
            a_while(0.03)
            peer.kill()
            if moment == 1:
                finish(master)
            peer_is(master, "absent")
            stage.peers.remove(peer)
            master.events.clear()
            survivor = survivor or Survivor(master)
        survivor.check()
        os.unlink(dtb)
        stage.quit()


class Serve(Peer):
    """A native master, and a slave QEMU that it has."""

    def __init__(self, stage, slave, huge):
        self.slave = slave
        super().__init__(stage, "serve", "--size", f"{2 * WINDOW}M",
                         "--windows", f"{WINDOW}M",
                         *(["--hugetlbsize", "2M"] if huge else []))
        self.until("its socket", event="ready")

    def event(self, what, **fields):
        """Wait for a new line with these fields."""
        seen = len(self.said)

        def found():
            return any(fields.items() <= line.items()
                       for line in self.said[seen:])
        return lambda: wait_for([self, self.slave], found, what, 60)

    def command(self, line, what, **fields):
        """Give a command and wait for what it leads to."""
        wait = self.event(what, **fields)
        self.type(line)
        wait()

    def take_over(self):
        """Have the slave, and make it wait. It says what it is before it
        answers."""
        self.until("the slave", event="joined", id=1)
        self.command("dtb 1", "its device tree", event="answer",
                     request="dtb")
        states = [line["state"] for line in self.said
                  if line["event"] in ("joined", "state")]
        if states[-1] != "waiting":
            self.command("reset 1", "a reset", event="answer",
                         request="reset", status=0)


@case
def native_master(stage):
    """sdmctl serve is killed while the slave joins, waits, boots and runs"""
    with huge_pages(stage, 4 * WINDOW * MIB) as huge:
        # With a small buffer for translated code, which grows with use.
        slave = stage.start("slave", slave_line(
            stage, WINDOW, extra=("-accel", "tcg,tb-size=4")))
        slave.negotiate()
        slave.expect_error(" yet ")
        survivor = None
        for count in range(NATIVE + 1):
            master = Serve(stage, slave, huge)
            moment = random.randrange(3)
            if count in (0, NATIVE):
                moment = 2
            if moment:
                master.take_over()
                survivor = survivor or Survivor(slave)
                master.type("record 1")
            if moment == 1:
                master.type("boot 1")
            elif moment == 2:
                master.command("boot 1", "its boot", event="answer",
                               request="boot", status=0)
            if count == NATIVE:
                break
            a_while(0.15)
            master.kill()
            stage.peers.remove(master)
            if count == 0:
                slave.expect_error("the master is gone; waiting for one")
        master.command("reset 1", "a reset", event="answer", request="reset",
                       status=0)
        survivor.check()
        slave.quit()
        master.type("quit")
        check(master.gone() == 0, "the native master failed")


# -------------------------------------------------------------- with Debian

def debian(stage, windows, huge):
    """The command line of a master that boots slaves by its monitor, and the
    arguments of that."""
    argv = master_line(stage, windows, huge=huge)
    return argv, {"slave": 1, "kernel": image("arm", "kernel"),
                  "initrd": image("arm", "initrd.img"),
                  "append": "console=ttyAMA0 sdm.role=slave"}


def next_shell(slave):
    """Wait for the shell of the boot that is under way."""
    slave.shell("slave")
    check("sdm.role=slave" in slave.must("cat /proc/cmdline"), "no shell")


@case
def debian_slave(stage):
    """a slave's QEMU is killed while Debian boots and runs in it; the next one
    boots in the same window"""
    with huge_pages(stage, (128 + 64) * MIB) as huge:
        argv, boot = debian(stage, (128,), huge)
        master = stage.start("master", argv)
        master.negotiate()
        survivor = None
        for count in range(DEBIAN + 1):
            slave = stage.slave(128)
            master.await_slave(slave)
            if count == 1:      # the first boot has filled caches
                survivor = Survivor(master)
            master.command("sdm-boot", **boot)
            if count < DEBIAN:
                a_while(8)
                slave.kill()
                stage.guests.remove(slave)
                peer_is(master, "absent")
                master.events.clear()
        next_shell(slave)
        slave.type("reboot -f\n")
        master.await_slave(slave)
        survivor.check()
        stage.quit()


@case
def debian_master(stage):
    """the master's QEMU is killed while Debian boots and runs in the slave,
    which runs on; the next master finds it running, resets it and boots it"""
    with huge_pages(stage, 2 * (128 + 64) * MIB) as huge:
        argv, boot = debian(stage, (128,), huge)
        slave = stage.slave(128)
        for count in range(DEBIAN + 1):
            master = stage.start("master", argv)
            master.negotiate()
            if count:
                master.await_slave(slave, state="running")
                master.command("sdm-reset", slave=1)
            master.await_slave(slave)
            master.command("sdm-boot", **boot)
            if count < DEBIAN:
                a_while(8)
                master.kill()
                stage.guests.remove(master)
                slave.wait(lambda m, n=count: m.errors.count(
                    "the master is gone; waiting for one") == n + 1,
                    "the slave's word about the loss")
            next_shell(slave)
        stage.quit()


if __name__ == "__main__":
    sys.exit(main(__doc__))
