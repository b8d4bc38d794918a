# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals between two guests, against ivshmem-doorbell.

Both guests are bare-metal and run in QEMUs of the same build; the rival is
QEMU's own ivshmem-doorbell with ivshmem-server, the floor an eventfd between two
processes. What is measured, in turns:

  round   round trips: own CPUs, one CPU, not pinned; receivers asleep (WFI) and
          in a loop; the channel on the main loop and on an iothread
  gap     round trips with pauses longer than an iothread polls
  idle    CPU time of a pair that has nothing to say
  rate    signals taken by the receiving guest per second
  flood   round trips and the monitor while a third guest floods its device
"""

import contextlib
import os
import random
import subprocess
import tempfile
import time

import common
import fwimage
import pair
from machine import Trouble, wait_for
from report import HERE, build_dir

SUMMARY = "round trips and throughput of signals, against ivshmem-doorbell"

PLATFORM, VIRTIO, IVSHMEM = fwimage.PLATFORM, fwimage.VIRTIO, fwimage.IVSHMEM
PARTS = ["round", "gap", "idle", "rate", "flood"]
PLACES = {"own": "own CPUs", "one": "one CPU", "free": "not pinned"}
LIMIT = 120
GAP_US = 1000

# What carries the signals: (series, is it ours, options of the iothread)
RIVAL = ("ivshmem-doorbell", False, None)
MAIN = ("sdm, main loop", True, None)
# QEMU's own limit of 32 us is shorter than a round trip that wakes somebody, so
# the adaptive polling of two that sleep would never begin.
POLL = ("sdm, iothread", True, ",poll-max-ns=200000")
NO_POLL = ("sdm, iothread that never polls", True, ",poll-max-ns=0")


def add_options(parser):
    parser.add_argument("--runs", type=int, default=5,
                        help="of each measurement (default 5)")
    parser.add_argument("--signals", type=int, default=20000,
                        help="round trips of each run (default 20000)")
    parser.add_argument("--isa", choices=["arm", "arm64"], default="arm")
    parser.add_argument("--parts", default=",".join(PARTS), help="which of "
                        + ", ".join(PARTS) + " (default: all)")
    parser.add_argument("--main-loop-only", action="store_true",
                        help="leave the iothread out")
    parser.add_argument("--keep-niceness", action="store_true",
                        help="do not ask for a higher priority")


def tasks(pid):
    """The threads of a process that still are there."""
    with contextlib.suppress(FileNotFoundError):
        return [f"/proc/{pid}/task/{t}" for t in
                os.listdir(f"/proc/{pid}/task")]
    return []


def switches(machine):
    """How often its threads went to sleep: as often they were woken."""
    total = 0
    for task in tasks(machine.pid):
        with contextlib.suppress(FileNotFoundError), \
                open(task + "/status") as f:
            total += sum(int(line.split()[1]) for line in f if
                         line.startswith("voluntary_ctxt_switches"))
    return total


def cpu_ms(machines):
    """CPU time that their threads have had."""
    total = 0
    for m in machines:
        for task in tasks(m.pid):
            with contextlib.suppress(FileNotFoundError), \
                    open(task + "/schedstat") as f:
                total += int(f.read().split()[0])
    return total / 1e6


def await_listener(process, path):
    """Until the socket is listened at. A connection would tell, too, but the
    server gives it the number that the first guest is to have."""
    end = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < end:
        with open("/proc/net/unix") as f:
            for line in f:
                words = line.split()
                if words[-1] == path and words[3] == "00010000":
                    return
        time.sleep(0.01)
    raise Trouble(f"{process.args[0]} does not listen at {path}")


class Bench:
    """What all measurements need to know."""

    def __init__(self, report, args):
        self.report = report
        self.args = args
        self.isa = args.isa
        self.qemu = common.note_version(report, "ours", args.isa)
        self.firmware = fwimage.build()
        self.folder = None
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Trouble("two CPUs are needed")
        a, b = cpus[0], cpus[1]
        self.cpus = {"own": [{a}, {b}], "one": [{a}, {a}], "free": [None] * 2}
        self.cpus_all = cpus
        self.server = os.path.join(
            os.path.dirname(os.path.realpath(self.qemu)), "contrib",
            "ivshmem-server", "ivshmem-server")
        if not os.access(self.server, os.X_OK):
            raise Trouble(f"{self.server} is not there: run qemu/build, or "
                          "build that target of the QEMU in SDM_QEMU_DIR, "
                          "configured with --enable-tools")

    @contextlib.contextmanager
    def rivals(self, guests, cpus):
        """Two guests with ivshmem-doorbell; guests: firmware parameters."""
        with tempfile.TemporaryDirectory(prefix="sdm-") as folder, \
                contextlib.ExitStack() as stack:
            path = os.path.join(folder, "sock")
            server = subprocess.Popen(
                [self.server, "-F", "-S", path, "-m", folder, "-l", "64K",
                 "-n", "1", "-p", os.path.join(folder, "pid")],
                stdout=subprocess.DEVNULL)
            stack.callback(server.wait)
            stack.callback(server.kill)
            await_listener(server, path)
            machines = []
            for i, guest in enumerate(guests):
                fd = pair.image(self.firmware, self.isa, wire=IVSHMEM, **guest)
                machines.append(stack.enter_context(pair.plain(
                    f"ivshmem guest {i}", self.qemu, self.isa, fd,
                    "-chardev", f"socket,id=server,path={path}",
                    "-device", "ivshmem-doorbell,chardev=server,vectors=1",
                    machine=",highmem=off", cpus=cpus[i])))
                # The server gives numbers in the order that they come.
                machines[-1].wait(lambda m: pair.line_of(m, "READY"),
                                  "the guest's start", LIMIT)
            yield machines

    @contextlib.contextmanager
    def guests(self, kind, master, slave, cpus, wire=PLATFORM):
        """The two guests of a measurement, running."""
        _, ours, iothread = kind
        if not ours:
            with self.rivals([master, slave], cpus) as machines:
                yield machines
            return
        with pair.Group(self.qemu, self.isa, self.firmware, "",
                        iothread) as group:
            group.start(dict(master, wire=wire), [dict(slave, wire=wire)],
                        cpus)
            group.boot()
            yield group.all()

    def ping(self, kind, place, spin, gap_us=0):
        """One run of round trips. Return (its figures, wake-ups a signal of
        the one that answers, which has no timer to wake it; CPU ms a second of
        the pair afterwards)."""
        n = self.args.signals if not gap_us else self.args.signals // 20
        master = {"program": fwimage.PING, "iterations": n, "warm": n // 10,
                  "target": 1, "spin": spin, "gap_us": gap_us}
        slave = {"program": fwimage.ECHO, "target": 0, "spin": spin}
        with self.guests(kind, master, slave, self.cpus[place]) as machines:
            def until(word):
                wait_for(machines, lambda: pair.line_of(machines[0], word),
                         f"{word} of {kind[0]}, {place}", LIMIT)
            until("START")
            before = switches(machines[1])
            until("END")
            woken = switches(machines[1]) - before
            until("PING")
            idle = None
            if "idle" in self.parts and not spin and not gap_us and \
                    place == "own":
                time.sleep(0.2)
                before, start = cpu_ms(machines), time.monotonic()
                time.sleep(1)
                idle = ((cpu_ms(machines) - before) /
                        (time.monotonic() - start))
            got = pair.fields(pair.line_of(machines[0], "PING"))
        return got, woken / (n + n // 10), idle

    def add_ping(self, series, got, woken=None):
        for name in ("p50", "p90", "p99"):
            self.report.add(f"{series}, {name}", "µs round trip",
                            got[name] * 1e6 / got["hz"])
        if woken is not None:
            self.report.add(f"{series}, wake-ups", "wake-ups a signal", woken)

    def eventfd(self, place):
        """One run of the floor."""
        out = os.path.join(build_dir(), "bench", "eventfd")
        source = os.path.join(HERE, "eventfd.c")
        if not os.path.exists(out) or \
                os.path.getmtime(out) < os.path.getmtime(source):
            os.makedirs(os.path.dirname(out), exist_ok=True)
            subprocess.run([os.environ.get("CC", "cc"), "-O2", "-Wall", "-o",
                            out, source], check=True)
        cpus = [str(min(c)) if c else "-1" for c in self.cpus[place]]
        n = self.args.signals
        done = subprocess.run([out, str(n), str(n // 10), *cpus], check=True,
                              stdout=subprocess.PIPE, text=True)
        return pair.fields(done.stdout)

    def rate(self, kind, wire, batch, both):
        """Signals that the first guest takes a second from the second."""
        measure = {"program": fwimage.RATE, "iterations": 1000, "target": 1,
                   "batch": batch if both else 0}
        send = {"program": fwimage.RATE, "target": 0, "batch": batch,
                "iterations": 1000 if both else 0}
        with self.guests(kind, measure, send, self.cpus["own"],
                         wire) as machines:
            measured = machines if both else machines[:1]
            wait_for(machines, lambda: all(pair.line_of(m, "RATE")
                                           for m in measured),
                     f"the rate of {kind[0]}", LIMIT)
            rates = []
            for m in measured:
                got = pair.fields(pair.line_of(m, "RATE"))
                if got["refused"]:
                    raise Trouble(f"{m.name}: {got['refused']} refused")
                rates.append(got["taken"] * got["hz"] / got["ticks"])
        return sum(rates)


def title(kind, place, spin, gap=False):
    return (f"{kind[0]}, {PLACES[place]}, {'loop' if spin else 'WFI'}" +
            (f", {GAP_US} µs apart" if gap else ""))


def measure_round(bench, kinds):
    """All in turns: a bad moment of the machine meets all of them."""
    plan = [(kind, place, spin) for kind in kinds for place in PLACES
            for spin in (0, 1)
            # Two loops on one CPU measure how long a time slice is.
            if not (spin and place == "one") and not
            (kind == POLL and place == "one") and not
            (kind == NO_POLL and place != "one")]
    for _ in range(bench.args.runs):
        random.shuffle(plan)
        for kind, place, spin in plan:
            common.progress(title(kind, place, spin))
            got, woken, idle = bench.ping(kind, place, spin)
            series = title(kind, place, spin)
            bench.add_ping(series, got, woken)
            if idle is not None:
                bench.report.add(f"{kind[0]}, idle", "CPU ms a second", idle)
        for place in PLACES:
            bench.add_ping(f"eventfd, {PLACES[place]}", bench.eventfd(place))


def measure_gap(bench, kinds):
    for _ in range(bench.args.runs):
        for kind in kinds:
            if kind != NO_POLL:
                common.progress(title(kind, "own", 0, True))
                got, woken, _ = bench.ping(kind, "own", 0, GAP_US)
                bench.add_ping(title(kind, "own", 0, True), got, woken)


def rate_title(kind, wire, batch, both):
    if wire == VIRTIO:
        how = f" virtio, batches of {batch},"
    elif batch == 1:
        how = " one at a time,"
    else:
        how = " without end,"
    return f"{kind[0]},{how} {'both ways' if both else 'one way'}"


def measure_rate(bench, kinds):
    plan = [(kind, wire, batch, both) for kind in kinds if kind != NO_POLL
            for wire, batch in (((PLATFORM, 1), (VIRTIO, 1), (VIRTIO, 64))
                                if kind[1] else ((IVSHMEM, 1), (IVSHMEM, 64)))
            for both in (False, True)]
    for _ in range(bench.args.runs):
        random.shuffle(plan)
        for what in plan:
            common.progress(rate_title(*what))
            bench.report.add(rate_title(*what), "taken a second",
                             bench.rate(*what))


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def ask(machine, n):
    """How long the monitor takes to answer, n times, seconds."""
    took = []
    for _ in range(n):
        sent = machine.start("query-status")
        machine.finish("query-status")
        took.append((time.monotonic_ns() - sent) / 1e9)
    return took


def flood_once(bench, wire, stock, iothread):
    """A master and slave 1 with round trips, and a third guest that floods:
    slave 2, or (wire PL011) a stock QEMU of its own. Return (the round trips'
    figures, p99 of the flooder's monitor, p99 of the master's), µs."""
    n = bench.args.signals
    echo = {"program": fwimage.ECHO}
    ping = {"program": fwimage.PING, "iterations": n, "warm": n // 10,
            "target": 0}
    slaves = [ping]
    if wire != fwimage.PL011:
        slaves.append({"program": fwimage.FLOOD, "wire": wire, "target": 0})
    with pair.Group(bench.qemu, bench.isa, bench.firmware, "",
                    iothread) as group, contextlib.ExitStack() as stack:
        # The one that floods has a CPU of its own.
        a, b = bench.cpus["own"]
        group.start(echo, slaves, [a, a, b][:1 + len(slaves)])
        if wire == fwimage.PL011:
            fd = pair.image(bench.firmware, bench.isa,
                            program=fwimage.FLOOD, wire=fwimage.PL011)
            flooder = stack.enter_context(pair.plain(
                "stock", stock, bench.isa, fd, cpus=b, serial="null"))
            flooder.negotiate()
            machines = group.all() + [flooder]
        else:
            flooder = group.slaves[1]
            machines = group.all()
        group.boot()
        wait_for(machines, lambda: pair.line_of(group.slaves[0], "START"),
                 "the first signals", LIMIT)
        asked, masters = [], []
        while len(asked) < 500 or not pair.line_of(group.slaves[0], "PING"):
            asked += ask(flooder, 20)
            masters += ask(group.master, 20)
            group.slaves[0].feed()
        got = pair.fields(pair.line_of(group.slaves[0], "PING"))
        if got["refused"]:
            raise Trouble(f"{got['refused']} signals were refused")
    return (got["p99"] * 1e6 / got["hz"], quantile(asked, 0.99) * 1e6,
            quantile(masters, 0.99) * 1e6)


FLOODS = {fwimage.PL011: "stock floods a PL011",
          PLATFORM: "a slave floods sdm-platform",
          VIRTIO: "a slave floods virtio-sdm"}


def measure_flood(bench, iothread):
    stock = common.note_version(bench.report, "stock", bench.isa)
    for _ in range(bench.args.runs):
        for wire, name in FLOODS.items():
            common.progress(name)
            figures = flood_once(bench, wire, stock, iothread)
            for what, value in zip(("round trip of others",
                                    "its own monitor",
                                    "master's monitor"), figures):
                bench.report.add(f"{name}: {what}, p99", "µs in a flood",
                                 value)
    for wire, name in FLOODS.items():
        if wire == fwimage.PL011:
            continue
        for what in ("round trip of others", "its own monitor",
                     "master's monitor"):
            bench.report.ratio(
                f"{name} / {FLOODS[fwimage.PL011]}: {what}, p99",
                f"{name}: {what}, p99",
                f"{FLOODS[fwimage.PL011]}: {what}, p99", 2)


def ratios(report, kinds):
    """Each to the rival in the same mode and placement."""
    def to_rival(kind, place, spin, p50, p99=None, gap=False):
        series = title(kind, place, spin, gap)
        rival = title(RIVAL, place, spin, gap)
        for name, aim in (("p50", p50), ("p90", None), ("p99", p99)):
            report.ratio(f"{series} / ivshmem, {name}", f"{series}, {name}",
                         f"{rival}, {name}", aim)

    def wakeups(kind, place, spin, aim, gap=False):
        name = f"{title(kind, place, spin, gap)}, wake-ups"
        value = report.median(name)
        if value is not None:
            report.ratios[name] = value
            report.aims[name] = aim

    for place in PLACES:
        report.ratio(f"ivshmem / eventfd, {PLACES[place]}, WFI, p50",
                     f"{title(RIVAL, place, 0)}, p50",
                     f"eventfd, {PLACES[place]}, p50")
        for spin in (0, 1):
            to_rival(MAIN, place, spin, 1.1, 1.25)
    to_rival(MAIN, "own", 0, 1.1, None, True)
    if POLL in kinds:
        to_rival(POLL, "own", 0, 0.6)
        wakeups(POLL, "own", 0, 1.1)
        to_rival(POLL, "own", 1, 0.5)
        wakeups(POLL, "own", 1, 0.1)
        to_rival(POLL, "free", 0, None)
        to_rival(POLL, "free", 1, None)
        to_rival(POLL, "own", 0, 1.1, None, True)
        wakeups(POLL, "own", 0, 2.1, True)
        to_rival(NO_POLL, "one", 0, 1.1)
    for kind in kinds:
        name = f"{kind[0]}, idle"
        if kind[1] and name in report.samples:
            report.ratios[f"{name}, CPU ms a second"] = report.median(name)
            report.aims[f"{name}, CPU ms a second"] = 5
        for wire, batch, least in ((PLATFORM, 1, 1), (VIRTIO, 1, 1),
                                   (VIRTIO, 64, 3)):
            for both in (False, True):
                series = rate_title(kind, wire, batch, both)
                # Its better way is what counts.
                rival = max((rate_title(RIVAL, IVSHMEM, n, both)
                             for n in (1, 64)),
                            key=lambda name: report.median(name) or 0)
                if kind[1]:
                    report.ratio(f"{series} / ivshmem", series, rival,
                                 at_least=least)


def run(report, args):
    bench = Bench(report, args)
    bench.parts = args.parts.split(",")
    unknown = set(bench.parts) - set(PARTS)
    if unknown:
        raise Trouble(f"--parts: no such part: {', '.join(unknown)}")
    report.options.update(runs=args.runs, signals=args.signals, isa=args.isa,
                          parts=bench.parts)
    if not args.keep_niceness:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -15)
        except PermissionError:
            report.notes.append("without the right to a higher priority: "
                                "other programs get in between")
    kinds = [RIVAL, MAIN] + ([] if args.main_loop_only else [POLL, NO_POLL])
    if "round" in bench.parts:
        measure_round(bench, kinds)
    if "gap" in bench.parts:
        measure_gap(bench, kinds)
    if "rate" in bench.parts:
        measure_rate(bench, kinds)
    if "flood" in bench.parts:
        measure_flood(bench, None)
    ratios(report, kinds)
