# SPDX-License-Identifier: GPL-2.0-or-later
"""Late boot of a slave against a cold start of stock QEMU.

The first instruction of the guest stores a byte in the UART's data register:
that arrives on a socket, on both sides the same way, while we poll it. (A flag
in shared memory would be a little faster, but stock QEMU would have to be
given other memory for it than it takes by itself.) The image that does this is
as large as Debian's kernel, and stock loads Debian's initrd, too.
"""

import contextlib
import os
import socket
import tempfile
import time

import common
import fwimage
import native
from machine import Machine, Trouble

SUMMARY = "BOOT to a slave's first instruction and shell, against cold stock"

MARK = b"F"
MEGABYTES = 256
KERNEL_AT = {"arm": 0x10000, "arm64": 0x200000}
DTB_AT = 128 * common.MIB
APPEND = "console=ttyAMA0 sdm.role=guest"
PROMPT = "guest# "
AIM = {"arm": 0.025, "arm64": 0.01}
NAMES = {"arm": "arm", "arm64": "aarch64"}
LIMIT = 300


def add_options(parser):
    parser.add_argument("--runs", type=int, default=15,
                        help="samples of a first instruction (default 15)")
    parser.add_argument("--shells", type=int, default=5,
                        help="samples of a boot to the shell (default 5)")
    parser.add_argument("--isa", choices=["arm", "arm64"], action="append",
                        help="default: both")
    parser.add_argument("--stock-only", action="store_true",
                        help="leave the slaves out")


class Console:
    """The slave's serial port as a socket, polled for the mark."""

    def __init__(self):
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.options = ["-chardev", f"socket,id=ser,fd={self.far.fileno()}"]

    def spin(self, machine):
        """Poll until the mark comes; return when it came (ns)."""
        receive, clock = self.near.recv, time.monotonic_ns
        checks = 0
        while True:
            try:
                data = receive(1)
            except BlockingIOError:
                checks += 1
                if checks % 100000 == 0 and machine.ended() is not None:
                    machine.feed()
                    raise Trouble(f"{machine.name} ended before its first "
                                  f"instruction: {machine.errors}") from None
                continue
            now = clock()
            if data == MARK:
                return now
            machine.feed()
            raise Trouble(f"{machine.name} sent {data!r} in place of the mark:"
                          f" {machine.errors}")

    def close(self):
        self.near.close()
        self.far.close()


@contextlib.contextmanager
def polling(report, here):
    """Our CPU is not QEMU's while we spin, and what else runs here does
    not get between: QEMUs that are started now inherit the priority."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, here)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        note = "not allowed to use SCHED_FIFO: other programs disturb"
        if note not in report.notes:
            report.notes.append(note)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cpus)


class Bench:
    """All that the runs of one ISA share."""

    def __init__(self, report, args, isa, cpus):
        self.report = report
        self.isa = isa
        self.name = NAMES[isa]
        self.here, self.there = cpus
        self.stock = common.note_version(report, "stock", isa)
        self.ours = None
        if not args.stock_only:
            self.ours = common.note_version(report, "ours", isa)
        self.kernel, self.initrd = common.guest(isa)
        with open(self.kernel, "rb") as f:
            payload = f.read()
        with open(self.initrd, "rb") as f:
            self.initrd_bytes = f.read()
        firmware = fwimage.load(fwimage.build(), isa, "img",
                                program=fwimage.HELLO, mark=fwimage.UART,
                                mark_value=MARK[0], end=fwimage.SLEEP)
        self.image = fwimage.enlarge(firmware, isa, payload)
        report.options[f"{self.name} kernel bytes"] = len(self.image)
        report.options[f"{self.name} initrd bytes"] = len(self.initrd_bytes)

    def machine(self, name, argv, console=None, fds=(), qmp=False):
        serial = "stdio"
        if console:
            argv = argv + console.options
            serial = "chardev:ser"
            fds = tuple(fds) + (console.far.fileno(),)
        polled = os.sched_getaffinity(0) == self.here
        return Machine(name, argv, fds=fds, qmp=qmp, serial=serial,
                       cpus=self.there if polled else None)

    def add(self, series, nanoseconds):
        self.report.add(f"{self.name}: {series}", "ms", nanoseconds / 1e6)

    def polling(self):
        return polling(self.report, self.here)

    def stock_first(self):
        """exec of stock QEMU to its guest's first instruction."""
        with contextlib.ExitStack() as stack:
            console = Console()
            stack.callback(console.close)
            fd = fwimage.memfd("kernel", self.image)
            stack.callback(os.close, fd)
            stack.enter_context(self.polling())
            m = stack.enter_context(self.machine(
                "stock", common.plain(
                    self.stock, self.isa, MEGABYTES,
                    "-kernel", f"/proc/self/fd/{fd}",
                    "-initrd", self.initrd, "-append", APPEND),
                console, fds=(fd,)))
            self.add("stock, exec to first instruction",
                     console.spin(m) - m.started)

    def slave_first(self, folder):
        """BOOT, from a master that is no QEMU, to the first instruction."""
        path = os.path.join(folder, "native")
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: os.path.exists(path) and os.unlink(path))
            master = stack.enter_context(
                native.Master(path, MEGABYTES * common.MIB))
            console = Console()
            stack.callback(console.close)
            stack.enter_context(self.polling())
            m = stack.enter_context(self.machine(
                "slave", common.slave(self.ours, self.isa, MEGABYTES, path),
                console))
            _, base, _ = master.admit(m)
            # Its answer shows that the slave is through with its own start.
            dtb = master.get_dtb(m)
            self.load(master.window, base, dtb)
            sent = master.boot()
            came = console.spin(m)
            master.booted(m)
            self.add("slave, BOOT to first instruction", came - sent)

    def load(self, window, base, dtb):
        at = KERNEL_AT[self.isa]
        window[at:at + len(self.image)] = self.image
        window[DTB_AT:DTB_AT + len(dtb)] = dtb
        args = ([0, 0xffffffff, base + DTB_AT] if self.isa == "arm"
                else [base + DTB_AT])
        record = native.boot_record(self.isa, base + at, base + DTB_AT,
                                    len(dtb), args)
        last = len(window) - native.PAGE
        window[last:last + len(record)] = record

    @contextlib.contextmanager
    def pair(self, folder, console=None, fds=()):
        """A master QEMU and a slave that waits for its sdm-boot."""
        path = os.path.join(folder, "sock")
        argv, fd = common.master(self.ours, self.isa, 2 * MEGABYTES,
                                 MEGABYTES, path)
        try:
            with self.machine("master", argv, fds=(fd, *fds),
                              qmp=True) as master:
                master.negotiate()
                with self.machine(
                        "slave", common.slave(self.ours, self.isa, MEGABYTES,
                                              path), console) as slave:
                    master.await_slave(slave)
                    yield master, slave
        finally:
            os.close(fd)

    def sdm_boot_first(self, folder):
        """sdm-boot at the monitor, which loads the images, to the first
        instruction."""
        with contextlib.ExitStack() as stack:
            console = Console()
            stack.callback(console.close)
            kernel = fwimage.memfd("kernel", self.image)
            stack.callback(os.close, kernel)
            stack.enter_context(self.polling())
            master, slave = stack.enter_context(
                self.pair(folder, console, (kernel,)))
            sent = master.start("sdm-boot", slave=1,
                                kernel=f"/proc/self/fd/{kernel}",
                                initrd=self.initrd, append=APPEND)
            came = console.spin(slave)
            master.finish("sdm-boot", LIMIT)
            self.add("slave, sdm-boot to first instruction", came - sent)

    def wait_shell(self, m, started, series):
        # ash may ask the terminal for its cursor behind the prompt.
        m.wait(lambda x: PROMPT in x.partial, "the shell", LIMIT)
        self.add(series, time.monotonic_ns() - started)

    def stock_shell(self):
        with self.machine("stock", common.plain(
                self.stock, self.isa, MEGABYTES, "-kernel", self.kernel,
                "-initrd", self.initrd, "-append", APPEND)) as m:
            self.wait_shell(m, m.started, "stock, exec to shell")

    def slave_shell(self, folder):
        with self.pair(folder) as (master, slave):
            sent = master.start("sdm-boot", slave=1, kernel=self.kernel,
                                initrd=self.initrd, append=APPEND)
            master.finish("sdm-boot", LIMIT)
            self.wait_shell(slave, sent, "slave, sdm-boot to shell")

    def ratios(self):
        name, ratio = self.name, self.report.ratio
        first = f"{name}: stock, exec to first instruction"
        ratio(f"{name}: BOOT to first instruction / stock",
              f"{name}: slave, BOOT to first instruction", first,
              AIM[self.isa])
        ratio(f"{name}: sdm-boot to first instruction / stock",
              f"{name}: slave, sdm-boot to first instruction", first)
        ratio(f"{name}: sdm-boot to shell / stock",
              f"{name}: slave, sdm-boot to shell",
              f"{name}: stock, exec to shell")


def run(report, args):
    cpus = sorted(os.sched_getaffinity(0))
    here = {cpus[-1]}
    there = set(cpus[:-1]) or here
    if here == there:
        report.notes.append("one CPU only: our polling delays QEMU")
    report.options.update(runs=args.runs, shells=args.shells,
                          megabytes=MEGABYTES)
    for isa in args.isa or ["arm", "arm64"]:
        bench = Bench(report, args, isa, (here, there))
        with tempfile.TemporaryDirectory(prefix="sdm-") as folder:
            # Taken in turns, so that a busy moment meets every series.
            common.progress(f"{bench.name}: {args.runs} first instructions "
                            "of each")
            for _ in range(args.runs):
                bench.stock_first()
                if bench.ours:
                    bench.slave_first(folder)
                    bench.sdm_boot_first(folder)
            common.progress(f"{bench.name}: {args.shells} shells of each")
            for _ in range(args.shells):
                bench.stock_shell()
                if bench.ours:
                    bench.slave_shell(folder)
        bench.ratios()
