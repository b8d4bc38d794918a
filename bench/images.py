# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot images cost: memory of 1 to 16 booted and paused instances, time to
the first instruction and to the shell, pages after resets; stock, ours, and ours
with image-map=private, in turns."""

import contextlib
import os
import re
import statistics
import tempfile
import time

import boot
import common
import fwimage
from machine import Machine, Trouble, wait_for

SUMMARY = "boot images: memory of many instances, phases of the boot, resets"

NAMES = {"arm": "arm zImage", "arm64": "arm64 Image", "amd64": "x86 PVH"}
KINDS = ("stock", "ours", "mapped")
SHOWN = {"stock": "stock", "ours": "ours", "mapped": "ours, image-map=private"}
MEGABYTES = 256
# Both sides get the same; it is reported apart.
TB_MIB = 32
READY = "SDM-GUEST-READY"
LIMIT = 900
# At most this share of stock: PSS booted, PSS booted mapped, USS paused.
AIMS = {"arm64": (0.62, 0.55, 0.5), "arm": (0.95, 0.93, None),
        "amd64": (1.0, 0.84, None)}

common.QEMU["amd64"] = "qemu-system-x86_64"


def add_options(parser):
    parser.add_argument("--counts", default="1,2,4,8,16",
                        help="numbers of instances (default 1,2,4,8,16)")
    parser.add_argument("--isa", choices=list(NAMES), action="append",
                        help="default: all")
    parser.add_argument("--runs", type=int, default=9,
                        help="samples of a start (default 9)")
    parser.add_argument("--boots", type=int, default=3,
                        help="samples of a boot to the shell (default 3)")
    parser.add_argument("--resets", type=int, default=1000,
                        help="resets between two looks at the pages "
                        "(default 1000)")


def files(isa):
    """Kernel and initrd."""
    kernel, initrd = common.guest(isa)
    if isa == "amd64":
        kernel = os.path.join(os.path.dirname(kernel), "vmlinux")
    return kernel, initrd


def line(programs, kind, isa, *options, kernel=None, append=""):
    """A machine as everybody starts it."""
    board = {"amd64": "q35"}.get(isa, "virt")
    if kind == "mapped":
        board += ",image-map=private"
    cpu = ["-cpu", common.CPU[isa]] if isa in common.CPU else []
    own, initrd = files(isa)
    # On a busy host Linux finds that emulated timers tick too seldom.
    console = "ttyS0 no_timer_check" if isa == "amd64" else "ttyAMA0"
    return [programs["stock" if kind == "stock" else "ours"], "-M", board,
            *cpu, "-m", f"{MEGABYTES}M", "-nodefaults", "-nic", "none",
            "-accel", f"tcg,tb-size={TB_MIB}", "-kernel", kernel or own,
            "-initrd", initrd, "-append",
            f"console={console} sdm.role=guest {append}", *options]


# ------------------------------------------------------------------ memory

FIELDS = ("Pss", "Private_Clean", "Private_Dirty", "Private_Hugetlb")


def smaps(pid):
    """(first, behind the last, permissions, file, {field: kB})"""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        for text in f:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)",
                            text)
            if head:
                found.append((int(head[1], 16), int(head[2], 16), head[3],
                              head[4], {}))
            else:
                name, value = text.split(":")
                if name in FIELDS:
                    found[-1][4][name] = int(value.split()[0])
    return found


def memory(pid):
    """MB of USS and PSS without the TCG buffer, and the buffer's PSS."""
    uss = pss = buffer = 0
    for _, _, permissions, _, fields in smaps(pid):
        if "w" in permissions and "x" in permissions:
            buffer += fields["Pss"]
        else:
            pss += fields["Pss"]
            uss += sum(fields[name] for name in FIELDS[1:])
    return uss / 1024, pss / 1024, buffer / 1024


def crowd(report, programs, kind, isa, count, paused):
    """So many instances at a time; what each costs, on average."""
    machines = []
    with contextlib.ExitStack() as stack:
        for i in range(count):
            options = ["-S"] if paused else []
            machines.append(stack.enter_context(Machine(
                f"{kind} {i}", line(programs, kind, isa, *options))))
        for m in machines:
            if paused:
                m.negotiate()
                m.command("query-status")
            else:
                # Feeding all: a full pipe would stop the others' guests.
                wait_for(machines, lambda m=m: any(
                    READY in text for text in m.lines), "the shell", LIMIT)
        figures = [memory(m.pid) for m in machines]
    what = "paused" if paused else "booted"
    name = f"{NAMES[isa]}, {count:2} {what}, {SHOWN[kind]}"
    for i, unit in enumerate(("USS", "PSS", "TCG buffer")):
        report.add(f"{name}, {unit}", "MB", statistics.mean(
            figure[i] for figure in figures))
        report.details.add(f"{name}, {unit}")


# -------------------------------------------------------------------- time

def spin(console, machine):
    """Poll until the console says anything; return when (ns)."""
    checks = 0
    while True:
        try:
            if console.near.recv(1):
                return time.monotonic_ns()
        except BlockingIOError:
            pass
        checks += 1
        if checks % 100000 == 0 and machine.ended() is not None:
            machine.feed()
            raise Trouble(f"{machine.name} ended before its first "
                          f"instruction: {machine.errors}")


def first_instruction(report, programs, kind, isa, cpus):
    """exec to the first store: on arm of a firmware as large as Debian's
    kernel, on x86 to the port of SeaBIOS' messages."""
    kernel, _ = files(isa)
    console = boot.Console()
    with tempfile.NamedTemporaryFile(prefix="sdm-") as f, \
            contextlib.ExitStack() as stack:
        stack.callback(console.close)
        if isa == "amd64":
            argv = line(programs, kind, isa, "-device",
                        "isa-debugcon,iobase=0x402,chardev=ser")
            serial = "null"
        else:
            with open(kernel, "rb") as payload:
                firmware = fwimage.load(
                    fwimage.build(), isa, "img", program=fwimage.HELLO,
                    mark=fwimage.UART, mark_value=boot.MARK[0],
                    end=fwimage.SLEEP)
                f.write(fwimage.enlarge(firmware, isa, payload.read()))
            f.flush()
            argv = line(programs, kind, isa, kernel=f.name)
            serial = "chardev:ser"
        stack.enter_context(boot.polling(report, cpus[0]))
        m = stack.enter_context(Machine(
            kind, argv + console.options, fds=(console.far.fileno(),),
            qmp=False, serial=serial, cpus=cpus[1]))
        came = spin(console, m)
        report.add(f"{NAMES[isa]}, exec to first instruction, {SHOWN[kind]}",
                   "ms", (came - m.started) / 1e6)


def phases(report, programs, kind, isa):
    """The phases of the PVH letter: QEMU's init ends when its main loop
    answers, the kernel starts with its banner, and user space with the
    guest's line. Each is counted from exec."""
    early = {"amd64": "earlyprintk=ttyS0", "arm64": "earlycon",
             "arm": "earlycon=pl011,0x9000000"}[isa]
    with Machine(kind, line(programs, kind, isa, append=early)) as m:
        m.start("qmp_capabilities")
        marks = {}

        def look():
            now = time.monotonic_ns()
            if m.answers:
                marks.setdefault("end of QEMU's init", now)
            text = "\n".join(m.lines[-200:])
            if "Linux version" in text:
                marks.setdefault("kernel start", now)
            if READY in text:
                marks.setdefault("user start", now)
            return len(marks) == 3 or "user start" in marks

        wait_for([m], look, "the shell", LIMIT)
        for phase, when in marks.items():
            report.add(f"{NAMES[isa]}, {phase}, {SHOWN[kind]}", "ms",
                       (when - m.started) / 1e6)


# ------------------------------------------------------------------ resets

def resets(report, programs, kind, isa, count):
    """Private pages before, after one and after many resets; and those of
    images that QEMU owns to, outside of the guest's memory."""
    def look(m, when):
        held = sum(row["private"] for row in m.command("query-images")
                   if row["held"] != "zero-copy")
        report.add(f"{NAMES[isa]}, {SHOWN[kind]}, private pages of images "
                   f"outside guest RAM, {when}", "pages", held // 4096)
        total = sum(fields["Private_Clean"] + fields["Private_Dirty"]
                    for *_, fields in smaps(m.pid))
        report.add(f"{NAMES[isa]}, {SHOWN[kind]}, private pages in all, "
                   f"{when}", "pages", total // 4)

    def reset(m):
        seen = len(m.events)
        m.command("system_reset")
        m.wait(lambda m: any(e["event"] == "RESET" for e in m.events[seen:]),
               "RESET")
        del m.events[:]

    with Machine(kind, line(programs, kind, isa, "-S")) as m:
        m.negotiate()
        reset(m)
        look(m, "1 reset")
        for _ in range(count):
            reset(m)
        look(m, f"{count + 1} resets")


# --------------------------------------------------------------------- all

def table(report, isa, counts):
    """The table of the PVH letter."""
    width = 20
    for state in ("paused", "booted"):
        report.lines += ["", f"{NAMES[isa]}, {state}, MB per instance",
                         f"{'':>9}" + "".join(f"{SHOWN[kind]:>{3 * width // 2}}"
                                              for kind in KINDS),
                         "instances" + f"{'USS':>10}{'PSS':>10}{'TCG':>10}" *
                         len(KINDS)]
        for count in counts:
            cells = [report.median(f"{NAMES[isa]}, {count:2} {state}, "
                                   f"{SHOWN[kind]}, {unit}")
                     for kind in KINDS
                     for unit in ("USS", "PSS", "TCG buffer")]
            report.lines.append(f"{count:9}" + "".join(
                f"{cell:10.1f}" for cell in cells))


def plot(report, isas, counts):
    """PSS of one instance over their number."""
    def draw(pyplot):
        figure, axes = pyplot.subplots(
            2, len(isas), squeeze=False, sharex=True,
            figsize=(4 * len(isas), 6.4))
        for row, state in enumerate(("paused", "booted")):
            for column, isa in enumerate(isas):
                axis = axes[row][column]
                for kind in KINDS:
                    axis.plot(counts, [report.median(
                        f"{NAMES[isa]}, {n:2} {state}, {SHOWN[kind]}, PSS")
                        for n in counts], "o-", label=SHOWN[kind])
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


def judge(report, isa, counts):
    """The figures that were asked for."""
    most = max(counts)
    aims = AIMS[isa]
    for kind, aim in (("ours", aims[0]), ("mapped", aims[1])):
        report.ratio(f"{NAMES[isa]}, PSS of {most} booted, {SHOWN[kind]} / "
                     "stock",
                     f"{NAMES[isa]}, {most:2} booted, {SHOWN[kind]}, PSS",
                     f"{NAMES[isa]}, {most:2} booted, stock, PSS", aim)
        report.ratio(f"{NAMES[isa]}, USS of {most} paused, {SHOWN[kind]} / "
                     "stock",
                     f"{NAMES[isa]}, {most:2} paused, {SHOWN[kind]}, USS",
                     f"{NAMES[isa]}, {most:2} paused, stock, USS",
                     aims[2])
        report.ratio(f"{NAMES[isa]}, exec to first instruction, "
                     f"{SHOWN[kind]} / stock",
                     f"{NAMES[isa]}, exec to first instruction, "
                     f"{SHOWN[kind]}",
                     f"{NAMES[isa]}, exec to first instruction, stock",
                     0.4 if isa == "arm64" else 1.1)
        report.ratio(f"{NAMES[isa]}, user start, {SHOWN[kind]} / stock",
                     f"{NAMES[isa]}, user start, {SHOWN[kind]}",
                     f"{NAMES[isa]}, user start, stock", 1.1)


def run(report, args):
    counts = [int(word) for word in args.counts.split(",")]
    isas = args.isa or list(NAMES)
    report.options.update(counts=counts, megabytes=MEGABYTES,
                          tb_size_mib=TB_MIB, resets=args.resets)
    cpus = sorted(os.sched_getaffinity(0))
    pair = ({cpus[0]}, set(cpus[1:]) or {cpus[0]})
    for isa in isas:
        programs = {kind: common.note_version(report, kind, isa)
                    for kind in ("stock", "ours")}
        for path in files(isa):
            if not os.path.exists(path):
                raise Trouble(f"{path} is not there: demo/guest/build {isa}")
            report.options[f"{NAMES[isa]} {os.path.basename(path)}"] = \
                os.path.getsize(path)
        for paused in (True, False):
            for count in counts:
                for kind in KINDS:
                    common.progress(
                        f"{NAMES[isa]}: {count} {SHOWN[kind]}, "
                        f"{'paused' if paused else 'booted'}")
                    crowd(report, programs, kind, isa, count, paused)
        common.progress(f"{NAMES[isa]}: {args.runs} starts of each")
        for _ in range(args.runs):
            for kind in KINDS:
                first_instruction(report, programs, kind, isa, pair)
        common.progress(f"{NAMES[isa]}: {args.boots} boots of each")
        for _ in range(args.boots):
            for kind in KINDS:
                phases(report, programs, kind, isa)
        for kind in KINDS[1:]:
            common.progress(f"{NAMES[isa]}: {args.resets + 1} resets, "
                            f"{SHOWN[kind]}")
            resets(report, programs, kind, isa, args.resets)
        table(report, isa, counts)
        judge(report, isa, counts)
    plot(report, isas, counts)
