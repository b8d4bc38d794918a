# SPDX-License-Identifier: GPL-2.0-or-later
"""Host memory and start of QEMUs with UEFI firmware in flash, against stock.

stock   the distribution's files, unpatched QEMU
mapped  the same files
short   the part of them that has content, with short-backing=on

Each instance has variables of its own, not sparse, and all share the code.
"""

import contextlib
import os
import socket
import sys
import tempfile
import time

import common
from machine import Machine, Trouble
from report import TOP

sys.path.append(os.path.join(TOP, "demo", "lib"))

import host                                                 # noqa: E402
import uefi                                                 # noqa: E402
from uefi import MIB, Uefi                                  # noqa: E402

SUMMARY = "memory and start of QEMUs with UEFI firmware in flash, against stock"

NAMES = {"arm": "arm", "arm64": "aarch64", "x86": "x86"}
KINDS = {"arm64": ("stock", "mapped", "short"),
         "arm": ("stock", "mapped", "short"), "x86": ("stock", "mapped")}
LETTER_GB = 12              # "On a machine with 100 VMs"


def add_options(parser):
    parser.add_argument("--counts", default="1,4,16",
                        help="instances (default 1,4,16)")
    parser.add_argument("--runs", type=int, default=15,
                        help="samples of a start (default 15)")
    parser.add_argument("--isa", choices=list(NAMES), action="append",
                        help="default: all")
    parser.add_argument("--no-shell", action="store_true",
                        help="leave the UEFI shell out, which takes long")


class Bench:
    """All that the runs of one ISA share."""

    def __init__(self, report, isa, folder):
        self.report = report
        self.isa = isa
        self.folder = folder
        self.name = NAMES[isa]
        common.QEMU.setdefault("x86", uefi.PROGRAM["x86"])
        self.qemu = {kind: common.note_version(report, kind, isa)
                     for kind in ("stock", "ours")}
        self.files = uefi.FIRMWARE[isa]
        if not all(map(os.path.exists, self.files)):
            raise Trouble(f"{self.files[0]} is not there: demo/packages "
                          "firmware installs it")
        self.short_code = self.copy("short-code", self.files[0],
                                    uefi.SHORT[0])

    def copy(self, name, source, size=None):
        """A copy without holes; of the first bytes, if a size is given."""
        path = os.path.join(self.folder, name)
        with open(source, "rb") as file:
            data = file.read(size)
        # As cp and head write: of one large write, the kernel makes large
        # pages, and whoever wants some bytes of one has mapped all of it.
        with open(path, "wb", buffering=0) as file:
            for at in range(0, len(data), 65536):
                file.write(data[at:at + 65536])
        return path

    def line(self, kind, number, *more):
        """The command line of an instance; its variables are made."""
        short = kind == "short"
        variables = self.copy(f"vars{number}", self.files[1],
                              uefi.SHORT[1] if short else None)
        code = self.short_code if short else self.files[0]
        argv = uefi.line(self.qemu["stock" if kind == "stock" else "ours"],
                         self.isa, code, variables, *more,
                         machine=uefi.SHORT_BACKING if short else "")
        return argv, uefi.addresses(self.isa, code, variables)

    # memory

    def memory(self, kind, count, state):
        """So many instances at once, in this state."""
        machines = []
        try:
            where = None
            for number in range(count):
                argv, where = self.line(kind, number, "-nic", "none",
                                        *["-S"] * (state == "paused"))
                machines.append(Uefi(f"{kind} {number}", argv,
                                     sleepy=kind == "stock"))
                machines[-1].negotiate()
            if state != "paused":
                uefi.shells(machines, limit=3600)
            for m in machines:
                if state != "paused":
                    m.command("stop")
                self.account(m, f"{self.name}: {kind}, n={count}, {state}",
                             where)
        finally:
            for m in machines:
                m.kill()

    def account(self, m, series, where):
        """smaps of one, in parts."""
        areas = host.areas(m.pid)
        total = self.parts(areas)
        buffer = self.parts(a for a in areas if a["mode"] == "rwxp"
                            and not a["name"])
        for figure in ("USS", "PSS"):
            self.add(series, figure, total[figure] - buffer[figure])
        self.add(series, "TCG buffer", buffer["PSS"])
        for name, at in zip(("code", "variables"), where):
            said = m.command("human-monitor-command",
                             **{"command-line": f"gpa2hva {at:#x}"})
            start = int(said.split()[-1], 16)
            size = m.command("human-monitor-command",
                             **{"command-line": "info mtree -f"})
            size = region_size(size, at)
            flash = self.parts(a for a in areas if a["start"] < start + size
                               and a["end"] > start)
            for figure in ("USS", "PSS"):
                self.add(series, f"{name} {figure}", flash[figure])
            self.add(series, f"{name} anonymous", flash["Anonymous"])

    def add(self, series, what, value):
        """A sample of memory."""
        self.report.add(f"{series}: {what}", "MB", value, detail=True)

    @staticmethod
    def parts(areas):
        """Sums in MB."""
        sums = {"USS": 0, "PSS": 0, "Anonymous": 0}
        for area in areas:
            sums["USS"] += area["Private_Clean"] + area["Private_Dirty"]
            sums["PSS"] += area["Pss"]
            sums["Anonymous"] += area["Anonymous"]
        return {name: value / MIB for name, value in sums.items()}

    # start

    def first_output(self, kind):
        """exec to the first byte on the serial port."""
        with contextlib.ExitStack() as stack:
            near, far = socket.socketpair()
            stack.callback(near.close)
            argv, _ = self.line(kind, 0, "-nic", "none", "-chardev",
                                f"socket,id=ser,fd={far.fileno()}")
            m = stack.enter_context(Machine(
                kind, argv, fds=(far.fileno(),), qmp=False,
                serial="chardev:ser"))
            far.close()
            near.settimeout(300)
            try:
                said = near.recv(1)
            except TimeoutError:
                said = b""
            now = time.monotonic_ns()
            if not said:
                m.feed()
                raise Trouble(f"{kind} said nothing: {m.errors}")
            self.report.add(f"{self.name}: {kind}, exec to first output", "ms",
                            (now - m.started) / 1e6)


def region_size(mtree, at):
    """Bytes of the flat range that starts at an address."""
    for line in mtree.splitlines():
        words = line.split()
        if words and words[0].startswith(f"{at:016x}-"):
            return int(words[0].split("-")[1], 16) + 1 - at
    raise Trouble(f"no region at {at:#x}: {mtree}")


def slope(report, series, counts):
    """MB that one more instance takes: least squares over the totals."""
    points = [(n, n * sum(report.samples[series.format(n)]) /
               len(report.samples[series.format(n)])) for n in counts]
    mean_n = sum(n for n, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((n - mean_n) * (y - mean_y) for n, y in points) / \
        sum((n - mean_n) ** 2 for n, _ in points)


def extrapolate(report, name, kinds, counts, state):
    """GB that the flash of 100 instances takes."""
    for kind in kinds:
        gb = sum(slope(report, f"{name}: {kind}, n={{}}, {state}: {part} PSS",
                       counts) for part in ("code", "variables")) / 10.24
        report.add(f"{name}: {kind}, flash of 100 instances, {state}", "GB", gb)
    stock = report.median(f"{name}: stock, flash of 100 instances, {state}")
    for kind in kinds[1:]:
        saved = stock - report.median(
            f"{name}: {kind}, flash of 100 instances, {state}")
        report.notes.append(
            f"{name}, {state}: with {kind} flash, 100 instances take "
            f"{saved:.2f} GB less" + f" (the letter: {LETTER_GB} GB)" *
            (name == "aarch64"))


def aims(report, name, kind, count, states):
    """The figures that were asked for."""
    def ratio(text, what, state, aim=None):
        series = f"{name}: {{}}, n={count}, {state}: {what}"
        report.ratio(f"{name}, n={count}, {state}: {text}, {kind} / stock",
                     series.format(kind), series.format("stock"), aim)

    def figure(text, value, aim):
        report.ratios[text] = value
        report.aims[text] = aim

    for state in states:
        large = name == "aarch64" and count == 16
        ratio("PSS", "PSS", state,
              {"paused": 1 / 6, "shell": 0.4}[state] if large else None)
        series = f"{name}: {kind}, n={count}, {state}: "
        code = report.median(series + "code PSS")
        variables = report.median(series + "variables PSS")
        if count == 16:
            figure(f"{name}, n={count}, {state}: MB of code, {kind}", code, 0.1)
            figure(f"{name}, n={count}, {state}: MB of both flashes, {kind}",
                   code + variables, 1)
        figure(f"{name}, n={count}, {state}: private MB of variables, {kind}",
               report.median(series + "variables anonymous"), 0.75)


COLUMNS = ("PSS", "USS", "TCG buffer", "code PSS", "variables PSS",
           "variables anonymous")


def table(report, name, kinds, counts, states):
    """MB of one instance, the mean of all; the TCG buffer is not in the PSS
    and the USS."""
    report.lines += ["", f"{name + ', MB per instance':28}" + "".join(
        f"{column:>{max(9, len(column) + 2)}}" for column in COLUMNS)]
    for state in states:
        for count in counts:
            for kind in kinds:
                line = f"{state + f', n={count}, ' + kind:28}"
                for column in COLUMNS:
                    values = report.samples[
                        f"{name}: {kind}, n={count}, {state}: {column}"]
                    width = max(9, len(column) + 2)
                    line += f"{sum(values) / len(values):{width}.2f}"
                report.lines.append(line)


def plot(report, isas, counts, states):
    """PSS of one instance over their number."""
    def draw(pyplot):
        figure, axes = pyplot.subplots(
            len(states), len(isas), squeeze=False, sharex=True,
            figsize=(4 * len(isas), 3.2 * len(states)))
        for row, state in enumerate(states):
            for column, isa in enumerate(isas):
                axis = axes[row][column]
                for kind in KINDS[isa]:
                    axis.plot(counts, [report.median(
                        f"{NAMES[isa]}: {kind}, n={n}, {state}: PSS")
                        for n in counts], "o-", label=kind)
                axis.set_xscale("log", base=2)
                axis.set_xticks(counts, counts)
                axis.set_ylim(bottom=0)
                axis.set_title(f"{NAMES[isa]}, {state}", fontsize=10)
                axis.set_xlabel("instances")
                axis.set_ylabel("MB of PSS each, without TCG buffer",
                                fontsize=8)
                axis.legend(fontsize=8)
        figure.tight_layout()
        return figure
    report.plots["memory"] = draw


def run(report, args):
    counts = [int(n) for n in args.counts.split(",")]
    states = ["paused"] + ["shell"] * (not args.no_shell)
    isas = args.isa or list(NAMES)
    report.options.update(counts=counts, runs=args.runs, isa=isas,
                          megabytes=128, accel=uefi.ACCEL)
    with tempfile.TemporaryDirectory(prefix="sdm-") as folder:
        for isa in isas:
            bench = Bench(report, isa, folder)
            kinds = KINDS[isa]
            common.progress(f"{bench.name}: {args.runs} starts of each")
            for _ in range(args.runs):
                for kind in kinds:
                    bench.first_output(kind)
            for state in states:
                for count in counts:
                    for kind in kinds:
                        common.progress(f"{bench.name}: {count} {kind}, "
                                        f"{state}")
                        bench.memory(kind, count, state)
            table(report, bench.name, kinds, counts, states)
            for kind in kinds[1:]:
                report.ratio(
                    f"{bench.name}: exec to first output, {kind} / stock",
                    f"{bench.name}: {kind}, exec to first output",
                    f"{bench.name}: stock, exec to first output",
                    0.6 if isa == "arm64" else 1)
                for count in counts:
                    aims(report, bench.name, kind, count, states)
            for state in states:
                if len(counts) > 1:
                    extrapolate(report, bench.name, kinds, counts, state)
    plot(report, isas, counts, states)
