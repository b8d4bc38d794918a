#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Do atomic instructions hold between two QEMUs that share memory?

Two bare-metal guests with one vCPU each count in the same words with the
exclusive and atomic instructions of their ISA, take turns with a spinlock, and
look for store buffering that a DMB must forbid. Exit status: 0 all held, 1
something did not (the other way round with --expect-failure), 77 cannot tell
on this machine.
"""

import argparse
import os
import random
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(TOP, "demo", "firmware")]

import fwimage                                              # noqa: E402
from machine import (Machine, QmpError, Trouble,            # noqa: E402
                     terminate_politely, wait_for)

MIB = 1 << 20
MEMORY = 64 * MIB
WINDOW = 16 * MIB
SHARED_IN_WINDOW = 4 * MIB  # behind the image, before the device tree

QEMU = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64"}
CPUS = {"arm": ["cortex-a15"], "arm64": ["cortex-a57", "neoverse-n1"]}
MEETINGS = 1000     # fewer, and the two guests ran one after the other
TRIES = 5           # runs until they meet
RESULT = re.compile(r"(PASSED|FAILED|SKIPPED) ([^:]+):(.*)")


def base(args, machine=""):
    argv = [args.qemu, "-nodefaults", "-M", "virt" + machine,
            "-cpu", args.cpu]
    if args.control:
        argv += ["-smp", "1,maxcpus=2"]
    return argv


def image(args, kind, index, shared, nonce):
    return fwimage.load(args.firmware, args.isa, kind,
                        program=fwimage.ATOMICS, index=index, shared=shared,
                        nonce=nonce, iterations=args.iterations,
                        tests=args.tests)


def run_stock(args, cpus, nonce):
    """Both map one file; each has its image in its own half of it."""
    shared = fwimage.RAM + MEMORY - WINDOW + SHARED_IN_WINDOW
    ram = os.memfd_create("ram")
    fds = [ram]
    guests = []
    try:
        os.ftruncate(ram, MEMORY)
        for index in range(2):
            at = fwimage.RAM + 2 * MIB + index * 16 * MIB
            fd = fwimage.memfd("image", image(args, "img", index, shared,
                                              nonce))
            fds.append(fd)
            guests.append(Machine(
                f"guest {index}",
                base(args, ",memory-backend=mem") + [
                    "-m", f"{MEMORY // MIB}M",
                    "-object", "memory-backend-file,id=mem,share=on,"
                    f"size={MEMORY},mem-path=/proc/self/fd/{ram}",
                    "-device", f"loader,file=/proc/self/fd/{fd},addr={at:#x},"
                    "force-raw=on",
                    "-device", f"loader,addr={at:#x},cpu-num=0"],
                fds=(ram, fd), cpus={cpus[index]}, qmp=False))
        return watch(guests, args.limit)
    finally:
        for guest in guests:
            guest.kill()
        for fd in fds:
            os.close(fd)


def run_sdm(args, cpus, nonce):
    """Master and slave share the slave's window, at the top of the master's
    memory and at the start of the slave's."""
    in_master = fwimage.RAM + MEMORY - WINDOW + SHARED_IN_WINDOW
    in_slave = fwimage.RAM + SHARED_IN_WINDOW
    fds = [fwimage.memfd("master", image(args, "elf", 0, in_master, nonce)),
           fwimage.memfd("slave", image(args, "img", 1, in_slave, nonce))]
    guests = []
    try:
        with tempfile.TemporaryDirectory(prefix="sdm-") as folder:
            path = os.path.join(folder, "sock")
            machine = "" if args.numa else ",memory-backend=mem"
            memory = ["-numa", "node,memdev=mem"] if args.numa else []
            guests.append(Machine(
                "master", base(args, machine) + memory + [
                    "-m", f"{MEMORY // MIB}M",
                    "-kernel", f"/proc/self/fd/{fds[0]}",
                    "-object",
                    f"multi-socket-backend,id=sock,path={path},listen=on",
                    "-object",
                    f"memory-backend-shared,id=mem,size={MEMORY},socket=sock,"
                    f"master=on,windows={WINDOW // MIB}M",
                    "-object", "sdm-signal-shboot,id=boot,shm=mem",
                    "-object", "sdm-communication-socket,id=scomm,socket=sock",
                    "-device", "virtio-sdm-device,comm=scomm,master=on,"
                    "num-slaves=1,len-signals=1,signals[0]=boot"],
                fds=fds, cpus={cpus[0]}))
            guests.append(Machine(
                "slave", base(args, machine) + memory + [
                    "-m", f"{WINDOW // MIB}M",
                    "-object", f"multi-socket-backend,id=sock,path={path}",
                    "-object",
                    f"memory-backend-shared,id=mem,size={WINDOW},socket=sock",
                    "-object", "sdm-signal-shboot,id=boot,shm=mem",
                    "-object", "sdm-communication-socket,id=scomm,socket=sock",
                    "-device", "sdm-platform,comm=scomm,len-signals=1,"
                    "signals[0]=boot",
                    "-incoming", "shared:mem"],
                cpus={cpus[1]}, qmp=False))
            master, slave = guests
            master.negotiate()
            master.await_slave(slave)
            master.command("sdm-boot", slave=1,
                           kernel=f"/proc/self/fd/{fds[1]}")
            return watch(guests, args.limit)
    finally:
        for guest in guests:
            guest.kill()
        for fd in fds:
            os.close(fd)


def watch(guests, limit):
    """Wait until both are done; return guest 0's results."""
    def done(guest):
        return any(line.startswith("DONE") for line in guest.lines)

    def over():
        for guest in guests:
            fault = [line for line in guest.lines if "FAULT" in line]
            if fault:
                raise Trouble(f"{guest.name}: {fault[0]}")
        return all(done(guest) for guest in guests)

    wait_for(guests, over, "the end of the tests", limit, may_end=done)
    results = []
    for line in guests[0].lines:
        match = RESULT.match(line)
        if match:
            fields = dict(re.findall(r"(\w+)=(\d+)", match[3]))
            results.append((match[1], match[2],
                            {k: int(v) for k, v in fields.items()}))
    if not results:
        raise Trouble("the guests printed no result")
    return results


OK, BROKEN, NONE, UNMET = range(4)


def judge(verdict, fields):
    """A verdict, and the words for it."""
    if verdict == "SKIPPED":
        return NONE, "skipped: this CPU has none"
    if verdict == "FAILED":
        said = []
        if "want" in fields:
            said.append(f"{fields['want'] - fields['got']} lost")
            if fields.get("high", fields["got"]) != fields["got"]:
                said.append("torn")
        if fields.get("stuck"):
            said.append(f"stuck after {fields['taken']}")
        if "violated" in fields:
            said.append(f"{fields['violated']} violated")
        return BROKEN, "FAILED: " + ", ".join(said)
    if fields["met"] < MEETINGS:
        return UNMET, "the guests hardly met"
    return OK, "ok"


def measure(args, cpus):
    """Run until every test has met its match; return the names of the tests
    that broke and of those that are still open."""
    run = run_stock if args.mode == "stock" else run_sdm
    broke = set()
    open_tests = None
    for _ in range(TRIES):
        print(f"{args.isa}, {args.cpu}, {args.mode} mode, 2 x "
              f"{args.iterations}")
        unmet = set()
        for line in run(args, cpus, random.getrandbits(32)):
            verdict, text = judge(line[0], line[2])
            name, fields = line[1:]
            print(f"  {name:22} {text:32} " + " ".join(
                f"{k}={v}" for k, v in fields.items()), flush=True)
            if verdict == BROKEN:
                broke.add(name)
            elif verdict == UNMET:
                unmet.add(name)
        open_tests = unmet if open_tests is None else open_tests & unmet
        if not open_tests:
            break
    return broke, open_tests


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mode", choices=["sdm", "stock"], default="sdm",
                        help="sdm: master and slave, by sdm-boot (default);\n"
                        "stock: two plain QEMUs with a memory-backend-file")
    parser.add_argument("--isa", choices=["arm", "arm64"], default="arm")
    parser.add_argument("--cpu", help="default: " + "; ".join(
        f"{isa}: {', '.join(cpus)}" for isa, cpus in CPUS.items()))
    parser.add_argument("--qemu", help="the program (default: "
                        "$SDM_QEMU_DIR or build/qemu; in stock mode\n"
                        "$SDM_STOCK_DIR or build/qemu/stock)")
    parser.add_argument("--firmware", help="folder with sdm-fw-* "
                        "(default: build it)")
    parser.add_argument("--iterations", type=int, default=5000000,
                        help="of each guest and test (default 5000000)")
    parser.add_argument("--tests", type=lambda s: int(s, 0),
                        default=0xffffffff,
                        help="bit mask: the instructions, the lock, DMB")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--numa", action="store_true",
                        help="attach the memory with -numa node,memdev=")
    parser.add_argument("--control", action="store_true",
                        help="room for a second vCPU, never used: QEMU then\n"
                        "emits true atomics anyway, and all must hold")
    parser.add_argument("--limit", type=int, default=900, metavar="SECONDS",
                        help="give up after so long without a result")
    parser.add_argument("--expect-failure", action="store_true",
                        help="succeed only if something does not hold")
    args = parser.parse_args()

    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("skipped: two CPUs are needed, so that the guests meet")
        return 77
    terminate_politely()
    broke = set()
    unmet = set()
    try:
        args.firmware = args.firmware or fwimage.build()
        if not args.qemu:
            variable, folder = (("SDM_STOCK_DIR", "qemu/stock")
                                if args.mode == "stock"
                                else ("SDM_QEMU_DIR", "qemu"))
            args.qemu = os.path.join(
                os.environ.get(variable) or
                os.path.join(fwimage.build_dir(), folder), QEMU[args.isa])
        for cpu in [args.cpu] if args.cpu else CPUS[args.isa]:
            args.cpu = cpu
            for _ in range(args.repeat):
                bad, open_tests = measure(args, cpus)
                broke |= bad
                unmet |= open_tests
    except (Trouble, QmpError) as e:
        print(f"{args.isa} {args.cpu}: {e}", file=sys.stderr)
        return 1
    if unmet:
        print(f"nothing is known about: {', '.join(sorted(unmet))}: is this "
              f"machine too busy for two guests at a time?", file=sys.stderr)
    if args.expect_failure:
        return 0 if broke else 1
    return 1 if broke or unmet else 0


if __name__ == "__main__":
    sys.exit(main())
