#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Are signals delivered once, in order, to the right guest, and to all alike?

Bare-metal guests send numbered signals to each other, as many and as fast as
they can, while QEMU's `stop` and `cont` hold the guests up at random. Each
guest checks what it takes. One that floods its device does not keep the others
from theirs. Exit status: 0 all held, 1 something did not.
"""

import argparse
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(TOP, "demo", "firmware")]

import fwimage                                              # noqa: E402
import pair                                                 # noqa: E402
from machine import (QmpError, Trouble, terminate_politely,  # noqa: E402
                     wait_for)

PLATFORM, VIRTIO = fwimage.PLATFORM, fwimage.VIRTIO
NAME = {PLATFORM: "platform", VIRTIO: "virtio"}

# (ISA, more of -M, the master's device, the slave's, and other than by default:
# polled, options of an iothread, acknowledged)
PAIRS = [
    ("arm", "", PLATFORM, PLATFORM, {}),
    ("arm", "", VIRTIO, PLATFORM, {}),
    ("arm64", "", PLATFORM, VIRTIO, {}),
    ("arm64", ",gic-version=3", VIRTIO, VIRTIO, {}),
    ("arm", "", PLATFORM, PLATFORM, {"polled": True}),
    ("arm", "", PLATFORM, PLATFORM, {"iothread": ""}),
    ("arm", "", VIRTIO, VIRTIO, {"iothread": ",poll-max-ns=200000"}),
    ("arm64", "", PLATFORM, VIRTIO, {"acknowledged": True}),
]
SLAVES = 16
F_ACK = 1


def soak(args, wire, batch, sources, target, polled=False,
         acknowledged=False):
    return {"program": fwimage.SOAK, "iterations": args.signals, "wire": wire,
            "batch": batch, "sources": sources, "target": target,
            "spin": polled, "flags": F_ACK if acknowledged else 0}


def done(machine):
    return pair.line_of(machine, "DONE") is not None


def judge(machine, sent):
    """Raise Trouble unless the guest found all right."""
    got = pair.fields(pair.line_of(machine, "SOAK"))
    if got["bad"] or got["refused"] or got["sent"] != sent:
        raise Trouble(f"{machine.name}: " + "; ".join(
            line for line in machine.lines
            if line.startswith(("FROM", "SOAK"))))
    return got


def hold_up(group, chance, limit):
    """Stop one of the guests for as long as a few questions take, let it go
    on, and let all run for as long as a few more take. Returns: how often one
    was held up before all were done."""
    held = 0
    end = time.monotonic() + limit
    while not all(done(m) for m in group.all()):
        if time.monotonic() > end:
            raise Trouble(f"not through in {limit} s: " + "; ".join(
                f"{m.name} printed {m.lines[-1:]}, " +
                str(m.command("query-sdm")) for m in group.all()))
        victim = chance.choice(group.all())
        victim.command("stop")
        held += 1
        for _ in range(chance.choice((0, 1, 10, 100))):
            chance.choice(group.all()).command("query-sdm")
        victim.command("cont")
        for _ in range(chance.choice((0, 1, 10, 100, 300))):
            chance.choice(group.all()).command("query-status")
        for m in group.all():
            m.feed()
    return held


def both_ways(args, isa, machine, master, slave, how):
    """A pair of guests, each sends to the other."""
    chance = random.Random(args.seed)
    qemu = os.path.join(args.qemu_dir, pair.QEMU[isa])
    guest = {k: v for k, v in how.items() if k != "iothread"}
    with pair.Group(qemu, isa, args.firmware, machine,
                    how.get("iothread")) as group:
        group.start(soak(args, master, 64, 1, 1, **guest),
                    [soak(args, slave, 64, 1, 0, **guest)])
        group.boot()
        held = hold_up(group, chance, args.limit)
        for m in group.all():
            judge(m, args.signals)
            counted = m.command("query-sdm")[0]
            if any(p["refused"] for p in counted["peers"]):
                raise Trouble(f"{m.name}: signals were refused: {counted}")
    return f"{args.signals} each way, held up {held} times"


def flood(args, isa, wire):
    """A slave floods; another one's signals are answered, and the monitors
    of all answer."""
    qemu = os.path.join(args.qemu_dir, pair.QEMU[isa])
    with pair.Group(qemu, isa, args.firmware) as group:
        group.start({"program": fwimage.ECHO}, [
            {"program": fwimage.PING, "iterations": 1000, "target": 0},
            {"program": fwimage.FLOOD, "wire": wire, "target": 0}])
        group.boot()
        asked = 0
        while not done(group.slaves[0]) or asked < 30:
            for m in group.all():
                m.command("query-sdm")
                m.feed()
            asked += 1
        got = pair.fields(pair.line_of(group.slaves[0], "PING"))
        if got["refused"]:
            raise Trouble(f"{got['refused']} signals were refused")
        if not pair.line_of(group.slaves[1], "START"):
            raise Trouble(f"nobody floods: {group.slaves[1].lines}")
    return f"1000 answered, each monitor answered {asked} times"


def many(args, isa, wire):
    """All slaves to the master, which sends to none."""
    qemu = os.path.join(args.qemu_dir, pair.QEMU[isa])
    with pair.Group(qemu, isa, args.firmware) as group:
        group.start(soak(args, wire, 0, SLAVES, 1),
                    [soak(args, wire, 64, 0, 0)] * SLAVES)
        group.boot()
        wait_for(group.all(), lambda: done(group.master),
                 "the last signal of all", args.limit)
        got = judge(group.master, 0)
    share = got["slowest"] * SLAVES / max(got["shared"], 1)
    if share < 0.5:
        raise Trouble(f"until the first of {SLAVES} slaves was through, the "
                      f"slowest had {share:.2f} of its fair share: "
                      + "; ".join(group.master.lines))
    return (f"{args.signals} of each of {SLAVES}, the slowest had "
            f"{share:.2f} of its fair share")


def cases(args):
    """(name, function, its arguments) of all."""
    found = []
    for isa, machine, master, slave, how in PAIRS:
        name = f"{isa}-{NAME[master]}-{NAME[slave]}{machine}"
        name += "".join("," + key for key in how)
        found.append((name, lambda *a: both_ways(args, *a),
                      (isa, machine, master, slave, how)))
    for wire in (PLATFORM, VIRTIO):
        found.append((f"arm-{SLAVES}-slaves-{NAME[wire]}",
                      lambda *a: many(args, *a), ("arm", wire)))
        found.append((f"arm-flood-{NAME[wire]}",
                      lambda *a: flood(args, *a), ("arm", wire)))
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--qemu-dir", help="folder of the programs (default: "
                        "$SDM_QEMU_DIR or build/qemu)",
                        default=os.environ.get("SDM_QEMU_DIR") or
                        os.path.join(fwimage.build_dir(), "qemu"))
    parser.add_argument("--firmware", help="folder with sdm-fw-* "
                        "(default: build it)")
    parser.add_argument("--signals", type=int, help="each guest sends that "
                        "many (default: 200000; a quarter of\nit with 16 "
                        "slaves, a 20th acknowledged)")
    parser.add_argument("--full", action="store_true",
                        help="10 million signals each way (or set SDM_FULL)",
                        default=bool(os.environ.get("SDM_FULL")))
    parser.add_argument("--seed", type=int, default=random.getrandbits(32),
                        help="of when the guests are held up")
    parser.add_argument("--limit", type=int, metavar="SECONDS",
                        help="give up a case after so long (default: 300; "
                        "3600 with\n--full)")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("case", nargs="*", help="just these")
    args = parser.parse_args()
    args.limit = args.limit or (3600 if args.full else 300)
    wanted = args.signals or (10000000 if args.full else 200000)
    terminate_politely()
    every = cases(args)
    if args.list:
        print("\n".join(name for name, _, _ in every))
        return 0
    unknown = set(args.case) - {name for name, _, _ in every}
    if unknown:
        parser.error(f"no such case, see --list: {', '.join(unknown)}")
    args.firmware = args.firmware or fwimage.build()
    failed = False
    for name, run, how in every:
        if args.case and name not in args.case:
            continue
        args.signals = wanted
        if f"-{SLAVES}-" in name:
            args.signals = max(wanted // 4, 1000)
        elif "acknowledged" in name:
            args.signals = max(wanted // 20, 1000)
        try:
            said = run(*how)
            print(f"{name}: {said}\nPASS: {name}", flush=True)
        except (Trouble, QmpError) as e:
            failed = True
            print(f"FAIL: {name}: {e} (--seed {args.seed})", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
