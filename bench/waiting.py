# SPDX-License-Identifier: GPL-2.0-or-later
"""Host memory of a slave that waits against that of a paused stock QEMU."""

import os
import re
import shutil
import tempfile

import common
import native
from machine import Machine, Trouble

SUMMARY = "USS of a waiting slave, against stock -S; its resident main memory"

ISA = "arm"
MEGABYTES = 512


def add_options(parser):
    parser.add_argument("--runs", type=int, default=7,
                        help="processes of each kind (default 7)")
    parser.add_argument("--stock-only", action="store_true",
                        help="leave the slaves out")


def uss(pid):
    """kB that only this process has: what its end would give back."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f
                   if line.split(":")[0] in ("Private_Clean", "Private_Dirty",
                                             "Private_Hugetlb"))


def mappings(pid):
    """(bytes, permissions, resident kB with huge pages) of each mapping."""
    found = []
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ", line)
            if head:
                found.append([int(head[2], 16) - int(head[1], 16), head[3],
                              0])
            elif line.split(":")[0] in ("Rss", "Shared_Hugetlb",
                                        "Private_Hugetlb"):
                found[-1][2] += int(line.split()[1])
    return found


def settled(m):
    """Through with its start: the monitor answers from the main loop."""
    m.negotiate()
    return m.command("query-status")["status"]


def measure_plain(report, qemu, series):
    with Machine(series, common.plain(qemu, ISA, MEGABYTES, "-S"),
                 serial="null") as m:
        settled(m)
        report.add(series, "kB", uss(m.pid))


def measure_slave(report, qemu, folder):
    path = os.path.join(folder, "sock")
    size = MEGABYTES * common.MIB
    try:
        with native.Master(path, size) as master, \
                Machine("slave", common.slave(qemu, ISA, MEGABYTES, path),
                        serial="null") as m:
            master.admit(m)
            status = settled(m)
            if status != "inmigrate":
                raise Trouble(f"the slave does not wait, it is '{status}'")
            report.add("waiting slave", "kB", uss(m.pid))
            large = [v for v in mappings(m.pid)
                     if v[0] >= size and "x" not in v[1]]
            # The reservation must be there, or we would look for nothing.
            if not any(v[1].startswith("--") for v in large):
                raise Trouble("no reservation for the slave's main memory "
                              "was found among its mappings")
            resident = sum(v[2] for v in large) * 1024
            resident += os.fstat(master.memory).st_blocks * 512
            report.add("waiting slave, main memory", "pages",
                       resident // native.PAGE)
    finally:
        if os.path.exists(path):
            os.unlink(path)


def alone(report, kind, folder):
    """A copy of the program. Another process of the same file would share its
    code with ours, and what is shared is not in the USS."""
    path = os.path.join(folder, kind)
    return shutil.copy(common.note_version(report, kind, ISA), path)


def run(report, args):
    report.options.update(runs=args.runs, megabytes=MEGABYTES, isa=ISA)
    with tempfile.TemporaryDirectory(prefix="sdm-") as folder:
        stock = alone(report, "stock", folder)
        ours = None if args.stock_only else alone(report, "ours", folder)
        for _ in range(args.runs):
            measure_plain(report, stock, "stock -S")
            if ours:
                measure_plain(report, ours, "ours as a plain -S")
                measure_slave(report, ours, folder)
    report.ratio("USS of a waiting slave / stock -S", "waiting slave",
                 "stock -S", 1.0)
    pages = report.samples.get("waiting slave, main memory")
    if pages:
        report.ratios["main memory pages of a waiting slave"] = max(pages)
        report.aims["main memory pages of a waiting slave"] = 0
