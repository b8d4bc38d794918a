#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo itself; demo/run prepares what it needs and explains it."""

import argparse
import contextlib
import os
import re
import selectors
import shutil
import sys
import tempfile

import host
import initrd
import lines
from guest import (Guest, KERNEL, MIB, Trouble, console_options, image, qemu,
                   reap, shown)
from machine import terminate_politely, wait_for

# MiB for the master itself, and for each slave.
SIZES = {"arm": (256, 128), "arm64": (384, 256)}
BOOT_LIMIT = 600        # seconds; a last resort on a slow machine

DEPARTURES = """\
The letter's command lines, but for these:
  paths       of QEMU, zImage, busybox.cpio and sock are those of this machine
  -serial     -nographic puts the console on the terminal, and here two share
              one: each console is a socket (-chardev), shown with a prefix
  $0x6000...  is quoted here: within "" a shell would replace $0
"""
MEM_PATH = """\
  mem-path    {}
"""
INITRD = """\
  busybox.cpio of the master has zImage, slave.dtb and the slave's busybox.cpio
              in it; sdm-test gets --initrd, for Debian's kernel has none built
              in, and what the slave is given by -initrd is not loaded
"""


def say(text=""):
    """A line of the demo's own."""
    print(text, flush=True)


class Prefixed:
    """Prints what a console says, each line with its name in front."""

    def __init__(self, name):
        self.name = f"[{name}]"
        self.rest = ""

    def __call__(self, text):
        *new, self.rest = (self.rest + text).split("\n")
        for line in new:
            print(f"{self.name:9} {line}".rstrip(), flush=True)

    def end(self):
        """Print what has no line end yet."""
        if self.rest:
            self("\n")


class Demo:
    """One run: its options, its folder, its QEMUs."""

    def __init__(self, args):
        self.args = args
        self.guests = []
        self.folder = None

    def path(self, name):
        """A name in the run's folder."""
        return os.path.join(self.folder or "/tmp/sdm-demo", name)

    # ------------------------------------------------------- command lines

    def letter(self, mem_path):
        """The letter's two."""
        return (lines.letter(lines.LETTER_MASTER, "arm", self.path("sock"),
                             self.path("busybox.cpio"), mem_path),
                [lines.letter(lines.LETTER_SLAVE, "arm", self.path("sock"),
                              image("arm", "initrd.img"), mem_path)])

    def ours(self, huge):
        """The ones that we recommend."""
        arch, count = self.args.arch, self.args.slaves
        memory, window = SIZES[arch]
        return (lines.master(arch, self.path("sock"), [window] * count,
                             memory=memory, huge=huge, append=self.quiet(),
                             initrd=self.path("busybox.cpio")),
                [lines.slave(arch, self.path("sock"), window,
                             sock_extra=f",slave-id={number}")
                 for number in range(1, count + 1)])

    def quiet(self):
        """Arguments of the guests' kernels."""
        words = [] if self.args.verbose else ["loglevel=3"]
        words += ["sdm.edit"] if self.args.keep else []
        return " ".join(words)

    def console(self, name):
        """Where a guest's console is, for others to attach."""
        return self.path(name.replace(" ", "") + ".console")

    def with_console(self, name, argv):
        """A command line as it is printed."""
        return argv + console_options(self.console(name)) + [
            "-serial", "chardev:console"]

    def print_lines(self, master, slaves):
        """Show the command lines."""
        for name, argv in [("master", master)] + [
                (f"slave {number}", argv)
                for number, argv in enumerate(slaves, 1)]:
            say(f"\ndemo: {name}:\n" + shown(self.with_console(name, argv)))
        say()

    # -------------------------------------------------------------- memory

    def huge_pages(self, stack, size):
        """Reserve huge pages for so many bytes, if that is allowed."""
        count = host.huge_pages_needed(size)
        try:
            stack.enter_context(host.huge_pages(
                count, lambda: say("demo: waiting for another one to give its "
                                   "huge pages back")))
        except host.Unavailable as e:
            return str(e)
        say(f"demo: {count} huge pages of {host.huge_page_size() >> 10} kB "
            "are reserved, and given back at the end")
        return None

    def letter_path(self, stack):
        """The letter's mem-path, or what comes next; and why."""
        path = "/dev/hugepages"
        why = self.huge_pages(stack, lines.LETTER_SIZE)
        if not why:
            if host.mounted("hugetlbfs", path):
                return path, None
            try:
                host.private_mounts()
                if not os.path.isdir(path):
                    path = self.path("hugepages")
                    os.mkdir(path)
                host.mount("hugetlbfs", path)
                stack.callback(host.unmount, path)
                return path, None if path.startswith("/dev") else \
                    "there is no /dev/hugepages: it is mounted elsewhere"
            except host.Unavailable as e:
                why = str(e)
        return "/dev/shm", f"no huge pages ({why}): /dev/shm is used"

    # ----------------------------------------------------------------- run

    def start(self, name, argv):
        """Start a QEMU, its console shown with a prefix."""
        machine = Guest(name, argv, console=self.console(name), qmp=False)
        machine.echo = Prefixed(name)
        self.guests.append(machine)
        return machine

    def command(self, machine, prompt, text, wanted=None):
        """Type a command, wait for the next prompt; what it said must match
        `wanted`."""
        start = machine.seen
        machine.type(text + "\n")
        machine.expect(f"^{prompt}# ", BOOT_LIMIT)
        said = machine.text[start:machine.seen]
        if wanted and not re.search(wanted, said):
            raise Trouble(f"{machine.name}: '{text}' failed, see above")
        return said

    def files(self):
        """The master's initrd, with the slave's files in its /root."""
        arch = self.args.arch
        base = image(arch, "initrd.img")
        files = {"root/" + KERNEL[arch]: image(arch, "kernel"),
                 "root/busybox.cpio": base}
        if self.args.rfc:
            files["root/slave.dtb"] = self.path("slave.dtb")
            lines.dump_dtb(self.path("slave.dtb"), self.letter("")[1][0])
        initrd.write(self.path("busybox.cpio"), base, files)

    def boot(self, master, slave, number):
        """Boot one slave from the master's shell, up to its own shell."""
        prompt = "guest" if self.args.rfc else "master"
        dtb = " slave.dtb" if self.args.rfc else ""
        role = f"slave{number}"
        args = f"console=ttyAMA0 {self.quiet()} sdm.role={role}"
        self.command(master, prompt, f"sdm-test --wait 0 {number} waiting",
                     f"slave {number}: waiting")
        self.command(master, prompt, f"sdm-test -b 0 {number} "
                     f"{KERNEL[self.args.arch]}{dtb} "
                     "--initrd busybox.cpio --append "
                     f"'{' '.join(args.split())}'", f"slave {number}: booted")
        slave.shell(role, BOOT_LIMIT)
        self.command(slave, role, "cat /proc/cmdline", f"sdm.role={role}")
        self.command(slave, role, "head -n 3 /proc/meminfo", "MemTotal")

    def ring(self, master, slave, number):
        """Send a signal from one guest to the other."""
        slave.type("sdm-test -r 0 --count 1\n")
        self.command(master, "master", f"sdm-test -s 0 0 {number} 0x1234 0x5678")
        slave.expect("^signal 0 from 0 .*0x1234 0x5678$")
        slave.expect(f"^slave{number}# ")

    def run(self, stack):
        """Start all, boot the slaves, show them."""
        args = self.args
        for needed in (qemu(args.arch), image(args.arch, "kernel"),
                       image(args.arch, "initrd.img")):
            if not os.path.exists(needed):
                raise Trouble(f"{needed} is not there")
        self.folder = tempfile.mkdtemp(prefix="sdm-demo-")
        stack.callback(shutil.rmtree, self.folder)
        if args.rfc:
            mem_path, why = self.letter_path(stack)
            master, slaves = self.letter(mem_path)
            say(DEPARTURES + (MEM_PATH.format(why) if why else "") + INITRD)
        else:
            memory, window = SIZES[args.arch]
            why = self.huge_pages(stack, (memory + window * args.slaves) * MIB)
            if why:
                say(f"demo: no huge pages, so a memfd: {why}")
            master, slaves = self.ours(not why)
        self.print_lines(master, slaves)
        self.files()

        stack.callback(reap, self.guests)
        master = self.start("master", master)
        slaves = [self.start(f"slave {number}", argv)
                  for number, argv in enumerate(slaves, 1)]
        # A slave that cannot start must not be waited for.
        wait_for(self.guests, lambda: "SDM-GUEST-READY" in master.text,
                 "the master's guest", BOOT_LIMIT)
        prompt = "guest" if args.rfc else "master"
        master.shell(prompt, BOOT_LIMIT)
        self.command(master, prompt, "cd /root")
        for number, slave in enumerate(slaves, 1):
            self.boot(master, slave, number)
            if not args.rfc:    # its only signal is BOOT
                self.ring(master, slave, number)
        self.command(master, prompt, "sdm-test --list")
        for machine in self.guests:
            machine.echo.end()
        say("\ndemo: each slave runs its own Debian, in its window of the "
            "master's memory")
        if args.keep:
            self.keep(master)

    def keep(self, master):
        """Leave it running until the user or the master's guest ends it."""
        for machine in self.guests:
            machine.echo.end()
            machine.detach()
        say("\ndemo: all keep running; ^C here ends them. To attach to a "
            "console, in another\nterminal (socat is a package; ^a c changes "
            "to QEMU's monitor and back: try\n\"info sdm\"; ^] leaves):\n")
        for machine in self.guests:
            say(f"  {machine.name + ':':9} socat "
                f"-,raw,echo=0,escape=0x1d {self.console(machine.name)}")
        with selectors.DefaultSelector() as selector:
            for machine in self.guests:
                selector.register(machine, selectors.EVENT_READ)
            try:
                while not master.closed:
                    for key, _ in selector.select():
                        key.fileobj.feed()
                        if key.fileobj.closed:
                            say(f"demo: {key.fileobj.name} has ended")
                            selector.unregister(key.fileobj)
            except SystemExit:      # ^C: see terminate_politely()
                say()


def main():
    """Run it; exit as demo/run says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("arch", choices=SIZES)
    parser.add_argument("slaves", type=int)
    for flag in ("rfc", "keep", "dry-run", "verbose"):
        parser.add_argument("--" + flag, action="store_true")
    args = parser.parse_args()
    demo = Demo(args)
    if args.dry_run:
        if args.rfc:
            say(DEPARTURES + INITRD)
        demo.print_lines(*(demo.letter("/dev/hugepages") if args.rfc
                           else demo.ours(host.huge_page_size() and
                                          os.access(host.NR_HUGEPAGES,
                                                    os.W_OK))))
        return 0
    terminate_politely()
    try:
        with contextlib.ExitStack() as stack:
            demo.run(stack)
    except Trouble as e:
        for machine in demo.guests:
            if machine.errors.strip():
                print(f"demo: {machine.name}'s QEMU said:\n"
                      f"{machine.errors.strip()}", file=sys.stderr)
        print(f"demo: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
