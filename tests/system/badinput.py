#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What bad input gets: an error that names the thing, the value and the
remedy; and the other side keeps running."""

import mmap
import os
import re
import struct
import subprocess
import sys
import zlib

from harness import (Peer, case, changed, check, is_booting, main,
                     master_line, need, peer_is, slave_line, start_master,
                     start_two_monitors, wait_for)
import host
import initrd
import lines
from guest import MIB, image, qemu
from machine import QmpError

LONG = "x" * 120


def refused(argv, pattern):
    """QEMU ends with status 1, and says this."""
    made = subprocess.run(argv + ["-display", "none", "-serial", "null",
                                  "-monitor", "none"],
                          stdin=subprocess.DEVNULL, check=False, timeout=60,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = made.stderr.decode(errors="replace")
    check(re.search(pattern, said), f"not {pattern!r} but: {said}")
    check(made.returncode == 1, f"exit status {made.returncode}: {said}")


def monitor_refuses(master, pattern, command="sdm-boot", **arguments):
    """The master's monitor answers with this error."""
    try:
        master.command(command, **arguments)
    except QmpError as e:
        check(re.search(pattern, str(e)), f"not {pattern!r} but: {e}")
        return
    check(False, f"{command} {arguments} succeeds")


# ---------------------------------------------------------- command lines

SLAVE_LINES = [
    # ((old, new)..., what QEMU says)
    ([("path=", f"path=/{LONG}")],
     r"socket path '/x+.*' has \d+ characters, the limit is 107: give a "
     "shorter one"),
    ([("id=sock,", "id=sock,slave-id=0,")],
     "slave-id=0 is the master: give 1 to num-slaves"),
    ([("id=sock,", "id=sock,slave-id=65,")],
     "slave-id=65 is out of range: give 1 to num-slaves, at most 64"),
    ([("id=sock,", "id=sock,name=a b,")],
     "name 'a b' is not 1 to 31 of letters, digits"),
    ([("size=128M", "size=128M,prealloc=on")],
     "prealloc=on of 'mem': a slave has no memory before it boots; give "
     "prealloc=on to the master's"),
    ([("size=128M", "size=128M,windows=64M")],
     "windows= of 'mem' is the master's to say: leave it out, or give "
     "master=on"),
    ([("size=128M", "size=128M,mem-path=/dev/shm")],
     "mem-path= of 'mem' is the master's to say"),
    ([("size=128M", "size=128M,share=off")], "share=off contradicts"),
    ([("size=128M", "size=128M,master=on")],
     "master=on needs a multi-socket-backend with listen=on"),
    ([("shared:mem", "shared:nomem")],
     "-incoming shared:: 'nomem' names no object; add -object "
     "memory-backend-shared,id=nomem"),
    ([("shared:mem", "shared:sock")],
     "'sock' is a multi-socket-backend, not a memory-backend-shared"),
    ([("virt,", "virt,slave=off,")], "-machine slave=off contradicts"),
    ([("shared:mem", None)], "needs -incoming shared:ID, or master=on"),
    ([("memory-backend=mem", "slave=on"), ("size=128M", None),
      ("shared:mem", None), ("shm=mem", None), ("sdm-platform", None)],
     "-machine slave=on needs a memory-backend-shared and -incoming"),
    ([(",memory-backend=mem", "")],
     "'mem' is not the machine's main memory: add -numa node,memdev=mem or "
     "-machine memory-backend=mem"),
    ([("virt,", "virt,slave-poweroff=maybe,")],
     "slave-poweroff=maybe: give 'exit' or 'wait'"),
    ([("socket=sock", "socket=nosock")], "socket=nosock names no object"),
    ([("shm=mem", "shm=nomem")], "'nomem' names no object"),
    ([("len-signals=2", "num-slaves=2,len-signals=2")],
     "num-slaves=2 is the master's to say"),
    ([("comm=scomm,", "")], "comm=ID is missing"),
    ([("comm=scomm", "comm=nocomm")], "comm=nocomm names no"),
    ([("sdm-platform,", "virtio-sdm-device,master=on,num-slaves=1,")],
     "master needs a channel over a socket with listen=on"),
]

MASTER_LINES = [
    ([("windows=128M", "windows=128K1")], "'128K1' is no size"),
    ([("windows=128M", "windows=0")], "window 1 has size 0"),
    ([("windows=128M", "windows=1000000B")],
     "window 1 of .* is not a multiple of the page size"),
    ([("windows=128M", "windows=128M:65M")],
     "window 2 does not fit: windows 1 to 2 take .* bytes of size="),
    ([("num-slaves=1", "num-slaves=0")], "num-slaves=0.*give 1 to 64"),
    ([("num-slaves=1", "num-slaves=65")], "num-slaves=65.*give 1 to 64"),
    ([("listen=on", "listen=on,name=a")],
     "name= and slave-id= are for the connecting side"),
    ([("path=", "path=/nowhere/")],
     "cannot listen at '/nowhere/.*': .*must exist and be writable"),
    ([("windows=128M", "mem-path=/nowhere/ram")],
     "mem-path '/nowhere/ram': No such file or directory: give a mounted "
     "directory, or a file in one"),
    ([("windows=128M", "mem-path=/proc/self/fd/0")],
     "mem-path '/proc/self/fd/0' is neither a directory nor a regular file"),
    ([("windows=128M", "hugetlbsize=3M")],
     "this host has no huge pages of 3 MiB .*: it has"),
    ([("signals[1]=irq", "signals[1]=boot")],
     "signal type 1 is in the list already"),
    ([("len-signals=2", "len-signals=1")],
     r"signals\[1\]=irq is not below len-signals=1"),
    ([("len-signals=2", "len-signals=3")],
     r"len-signals=3, but there is no signals\[2\]=ID"),
    ([("signals[1]=irq", "signals[1]=sock")], "sock names no sdm-signal"),
]


@case
def slave_command_line(stage):
    """a slave's options"""
    for changes, pattern in SLAVE_LINES:
        refused(changed(slave_line(stage), *changes), pattern)


@case
def master_command_line(stage):
    """a master's options"""
    for changes, pattern in MASTER_LINES:
        refused(changed(master_line(stage), *changes), pattern)
    check(not os.listdir(stage.folder), "a socket or lock is left over")


@case
def masters_memory_as_incoming(stage):
    """-incoming shared: with a master's backend"""
    refused(master_line(stage) + ["-incoming", "shared:mem"],
            "'mem' is a master's memory: only a slave waits")


@case
def isa_without_entry(stage):
    """a slave of an instruction set that cannot be booted"""
    program = os.path.join(os.path.dirname(qemu("arm")), "qemu-system-x86_64")
    need(program, "make qemu")
    argv = changed(slave_line(stage), (qemu("arm"), program), ("virt", "pc"),
                   ("sdm-platform", None))
    refused(argv, "a slave with .*x86_64.* CPUs cannot be booted: there is no "
            "entry setter")


# -------------------------------------------------------------- huge pages

@case
def too_few_huge_pages(stage):
    """how many are missing, and how to reserve them"""
    with stage.huge_pages(8 * MIB):
        refused(changed(master_line(stage), ("windows=128M",
                                             "hugetlbsize=2M")),
                r"too few huge pages: 192 MiB need 96 pages of 2 MiB, \d+ are "
                r"missing: echo \d+ > /proc/sys/vm/nr_hugepages")
        path = stage.mount("hugetlbfs")
        refused(changed(master_line(stage), ("windows=128M",
                                             f"mem-path={path}")),
                r"too few huge pages: .* \d+ are missing")


@case
def no_hugetlbfs(stage):
    """no mount for the huge page size, or a mem-path that is on none"""
    host.private_mounts()
    for line in reversed(open("/proc/self/mounts", encoding="utf-8")
                         .readlines()):
        if line.split()[2] == "hugetlbfs":
            host.unmount(line.split()[1])
    refused(changed(master_line(stage), ("windows=128M",
                                         "hugetlbsize=2M,seal=off")),
            "no hugetlbfs for pages of 2 MiB is mounted: mkdir -p .* && mount "
            "-t hugetlbfs")
    refused(changed(master_line(stage), (
        "windows=128M", f"hugetlbsize=2M,mem-path={stage.folder}")),
            f"mem-path '{stage.folder}' is not on hugetlbfs, but huge pages "
            "of 2 MiB were asked for")
    check(not os.listdir(stage.folder), "a file is left over")


# ------------------------------------------------------------------ sockets

@case
def no_master(stage):
    """the slave waits, says so once, and takes the master that comes; and the
    next one"""
    slave = stage.slave(128)
    slave.expect_error("no master at '.*/sock' yet .*: waiting for one")
    for count in (1, 2):
        master = start_master(stage)
        slave.wait(lambda m, n=count: m.errors.count("this is slave 1") == n,
                   f"master {count}")
        check(master.quit() == 0, "the master failed")
        slave.wait(lambda m, n=count: m.errors.count(
            "the master is gone; waiting for one") == n, "the loss")
    check(slave.errors.count(" yet (") == 1, f"not once: {slave.errors}")
    stage.quit()


@case
def second_master(stage):
    """a second master on the same path is refused, the first goes on; a stale
    socket is taken over"""
    master = start_master(stage)
    refused(master_line(stage), "another master listens at '.*/sock': stop "
            "it, or choose another path")
    slave = stage.slave(128)
    slave.expect_error("this is slave 1 of 1")
    master.kill()
    check(os.path.exists(stage.path("sock")), "no stale socket to take over")
    slave.expect_error("the master is gone")
    start_master(stage)
    slave.wait(lambda m: m.errors.count("this is slave 1") == 2,
               "the second master")
    stage.quit()


@case
def not_a_socket(stage):
    """a file that is no socket is not touched"""
    with open(stage.path("sock"), "w", encoding="ascii") as file:
        file.write("precious")
    refused(master_line(stage), "'.*/sock' exists and is no socket: remove it")
    with open(stage.path("sock"), encoding="ascii") as file:
        check(file.read() == "precious", "the file was changed")
    os.unlink(stage.path("sock"))
    if os.path.exists(stage.path("sock.lock")):
        os.unlink(stage.path("sock.lock"))


@case
def ids(stage):
    """an id that is taken or above num-slaves, a name that is taken; a name
    that comes back gets its id back"""
    master = start_master(stage, (16, 16))
    stage.slave(16, "high", sock_extra=",slave-id=3").expect_error(
        r"the master refused this slave: slave-id=3 is too high "
        r"\(num-slaves=2\)")
    first = Peer(stage, "join", "--id", "2", "--name", "ann")
    first.until("its welcome", event="welcome", id=2)
    stage.slave(16, "taken", sock_extra=",slave-id=2").expect_error(
        "the master refused this slave: slave-id=2 is taken by process "
        rf"{first.process.pid} \(num-slaves=2\): ask for another id")
    stage.slave(16, "twin", sock_extra=",name=ann").expect_error(
        "the master refused this slave: name=ann is taken by .*: give every "
        "slave a name of its own")
    for machine in stage.guests[1:]:
        check(machine.errors.count("refused this slave") == 1, "said twice")
        machine.kill()
    first.kill()
    peer_is(master, "absent", 2)
    back = Peer(stage, "join", "--name", "ann")
    back.until("its welcome", event="welcome", id=2)
    other = Peer(stage, "join")
    other.until("its welcome", event="welcome", id=1)
    late = Peer(stage, "join")
    check(late.gone() == 1, "a third of two is admitted")
    check("every slave id is taken" in late.errors, late.errors)
    stage.quit()


FAULTS = {
    # sdmctl join --fault: what the master says to the peer, and to its log
    "garbage": "message|malformed",
    "short": "wrong length",
    "long": "message too long",
    "empty": "",
    "fds": "wrong number of fds",
    "many-fds": "more fds than a message may have",
    "version": "the master speaks protocol versions 1 to 1, the peer 2 to 3: "
               "use the same qemu-sdm on both sides",
    "second-hello": "must not send messages of type 1",
    "wrong-state": "malformed",
}


@case
def misbehaving_peers(stage):
    """garbage, half a message, fds where none are due, another version: each
    is refused with a text, and the honest slave goes on"""
    master = start_master(stage, (16, 16))
    honest = Peer(stage, "join", "--id", "2")
    honest.until("its welcome", event="welcome", id=2)
    for fault, pattern in FAULTS.items():
        seen = len(master.errors)
        peer = Peer(stage, "join", "--fault", fault)
        check(peer.gone() == 1, f"{fault}: {peer.errors}")
        check(re.search(pattern, peer.errors), f"{fault}: {peer.errors}")
        if pattern:
            master.wait(lambda m, n=seen, p=pattern: re.search(
                f"a peer was refused: .*({p})", m.errors[n:]),
                f"a word about {fault}")
    check(master.command("query-sdm")[0]["peers"][1]["state"] == "waiting",
          "the honest slave was lost")
    stage.quit()


@case
def unanswered_requests(stage):
    """a slave that answers without an fd, not at all, or stops reading: the
    command waits for it, nothing else does; its end ends the command"""
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, slave_line(stage, 64))
    kernel = image("arm", "kernel")
    master = start_two_monitors(stage, (64, 64, 64))
    nofd = Peer(stage, "join", "--ram-size", "64M", "--fault", "nofd")
    peer_is(master, "waiting")
    monitor_refuses(master, "slave 1: the slave was lost before it answered",
                    slave=1, kernel=kernel)
    check(nofd.gone() == 1, "it is not refused")
    check("wrong number of fds" in nofd.errors, nofd.errors)
    master.type("\x01c")
    for number, fault in ((2, "no-answer"), (3, "stop-reading")):
        peer = Peer(stage, "join", "--ram-size", "64M", "--id",
                    str(number), "--fault", fault)
        peer_is(master, "waiting", number)
        master.start("sdm-boot", slave=number, kernel=kernel, dtb=dtb)
        is_booting(master, number)
        master.type("info sdm\n")
        master.expect(rf"^ +{number} .* booting")
        peer.kill()
        try:
            master.finish("sdm-boot")
            check(False, f"{fault}: sdm-boot succeeds")
        except QmpError as e:
            check("lost before it answered" in str(e), f"{fault}: {e}")
        peer_is(master, "absent", number)
    os.unlink(dtb)
    stage.quit()


# ------------------------------------------------------------------ windows

@case
def boot_windows(stage):
    """a window that is missing, unaligned, empty, beyond the memory, or of
    another size"""
    master = start_master(stage, changes=[(",windows=128M", "")])
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, slave_line(stage, 16))
    slave = Peer(stage, "join", "--ram-size", "16M", "--dtb", dtb)
    slave.until("its welcome", event="welcome")
    os.unlink(dtb)
    kernel = image("arm", "kernel")
    monitor_refuses(master, "offset is missing: .*no windows=, so say where "
                    "the window of slave 1 lies", slave=1, kernel=kernel)
    for offset, size in ((1, None), (0x1000, 0), (0, 1000),
                         (192 * MIB, None), (1 << 63, None)):
        arguments = {"offset": offset} | ({} if size is None
                                          else {"size": size})
        monitor_refuses(master, f"offset 0x{offset:x}.*(multiple of the page "
                        "size|not inside the memory)", slave=1,
                        kernel=kernel, **arguments)
    monitor_refuses(master, "started with 16 MiB; give it a window of that "
                    "size|does not fit", slave=1, kernel=kernel, offset=0,
                    size=32 * MIB)
    stage.quit()


@case
def boot_overlap(stage):
    """a window that overlaps a running slave's"""
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, slave_line(stage, 64))
    master = start_master(stage, changes=[(",windows=128M", ""),
                                          ("num-slaves=1", "num-slaves=2")])
    for _ in range(2):
        Peer(stage, "join", "--ram-size", "64M").until(
            "its welcome", event="welcome")
    kernel = image("arm", "kernel")
    master.command("sdm-boot", slave=1, kernel=kernel, dtb=dtb, offset=0)
    monitor_refuses(master, "window at offset 0x2000000, size 0x4000000, "
                    "overlaps that of slave 1, which is running",
                    slave=2, kernel=kernel, dtb=dtb, offset=32 * MIB)
    os.unlink(dtb)
    stage.quit()


@case
def boot_states(stage):
    """BOOT for an absent, a booting and a running slave; RESET and STOP of one
    that waits"""
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, slave_line(stage, 64))
    master = start_two_monitors(stage, (64, 64))
    boot = {"kernel": image("arm", "kernel"), "dtb": dtb}
    monitor_refuses(master, "slave 3 does not exist: give 1 to 2", slave=3,
                    **boot)
    monitor_refuses(master, "slave 0 does not exist: give 1 to 2", slave=0,
                    **boot)
    monitor_refuses(master, "slave 1 is absent: only a waiting slave can be "
                    "booted", slave=1, **boot)
    honest = Peer(stage, "join", "--ram-size", "64M", "--id", "1")
    honest.until("its welcome", event="welcome")
    for command in ("sdm-reset", "sdm-stop"):
        monitor_refuses(master, "slave 1.* is waiting", command, slave=1)
    master.command("sdm-boot", slave=1, **boot)
    monitor_refuses(master, "slave 1 is running: only a waiting slave can be "
                    "booted", slave=1, **boot)
    deaf = Peer(stage, "join", "--ram-size", "64M", "--id", "2", "--fault",
                "no-answer")
    peer_is(master, "waiting", 2)
    master.start("sdm-boot", slave=2, **boot)
    is_booting(master, 2)
    master.type(f"\x01csdm-boot 2 {boot['kernel']} -d {dtb}\n")
    master.expect("slave 2 is booting: only a waiting slave can be booted")
    deaf.kill()
    try:
        master.finish("sdm-boot")
        check(False, "BOOT of a slave that is gone succeeds")
    except QmpError as e:
        check("lost before it answered" in str(e), str(e))
    os.unlink(dtb)
    stage.quit()


# ------------------------------------------------------------------- images

def without_memory(dtb):
    """The device tree with its memory node renamed, and untyped."""
    check(dtb.count(b"memory@40000000\0") == 1, "another dtb than expected")
    return dtb.replace(b"memory@40000000\0", b"nomory@40000000\0").replace(
        b"memory\0", b"nomory\0")


@case
def boot_images(stage):
    """a kernel that is truncated or none, a device tree that is broken, images
    that do not fit"""
    path = stage.path("slave.dtb")
    lines.dump_dtb(path, slave_line(stage, 64))
    with open(path, "rb") as file:
        dtb = file.read()
    with open(image("arm", "kernel"), "rb") as file:
        kernel = file.read()
    files = {
        "truncated": kernel[:100000],
        "text": b"no kernel at all\n" * 100,
        "gzip": b"\x1f\x8b" + bytes(1000),
        "elf": b"\x7fELF" + bytes(1000),
        "image": bytes(56) + b"ARM\x64" + bytes(1000),
        "empty": b"",
        "bad.dtb": b"\xd0\x0d\xfe\xee" + dtb[4:],
        "cut.dtb": dtb[:200],
        "nomem.dtb": without_memory(dtb),
        "big": bytes(62 * MIB),
        "huge": bytes(65 * MIB),
    }
    for name, data in files.items():
        with open(stage.path(name), "wb") as file:
            file.write(data)
    master = start_master(stage, (64,))
    slave = Peer(stage, "join", "--ram-size", "64M")
    slave.until("its welcome", event="welcome")
    good = {"slave": 1, "kernel": image("arm", "kernel"), "dtb": path}

    def wrong(pattern, **arguments):
        monitor_refuses(master, pattern, **(good | arguments))

    for name, pattern in (
            ("truncated", "the zImage is truncated: its header says .* bytes, "
             "the file has .*; get the whole file"),
            ("text", "is not an arm zImage: its header has no magic number"),
            ("gzip", "compressed by gzip, not an arm zImage: unpack it"),
            ("elf", r"an ELF file \(a vmlinux\?\), not an arm zImage: give "
             "the zImage of the same build"),
            ("image", "the kernel is an aarch64 Image, the slave is arm"),
            ("empty", "the kernel of 0 bytes is not an arm zImage"),
            ("huge", "'.*/huge' has .* bytes and does not fit into the "
             "window"),
            ("nowhere", "cannot open '.*/nowhere': No such file"),
            ("", "is no regular file")):
        wrong(pattern, kernel=stage.path(name))
    for name, pattern in (
            ("bad.dtb", "libfdt refuses the device tree of .*: .*; write it "
             "anew with dtc"),
            ("cut.dtb", "libfdt refuses the device tree of 200 bytes"),
            ("nomem.dtb", "the device tree has no memory node: add one"),
            ("huge", "does not fit into the window")):
        wrong(pattern, dtb=stage.path(name))
    wrong("an initrd of .* does not fit in the .* window behind the kernel: "
          "give a larger window", initrd=stage.path("big"))
    wrong("an initrd of .* does not fit|'.*/huge' has .* bytes and does not "
          "fit", initrd=stage.path("huge"))
    master.command("sdm-boot", **good)
    for name in list(files) + ["slave.dtb"]:
        os.unlink(stage.path(name))
    stage.quit()


@case
def small_window(stage):
    """a window that the kernel, or the device tree behind it, does not fit"""
    dtb = stage.path("slave.dtb")
    lines.dump_dtb(dtb, slave_line(stage, 64))
    master = start_master(stage, (4, 8))
    for size in (4, 8):
        Peer(stage, "join", "--ram-size", f"{size}M").until(
            "its welcome", event="welcome")
    monitor_refuses(master, "a kernel of .* does not fit in the 0x400000.* "
                    "window|does not fit into the window", slave=1,
                    kernel=image("arm", "kernel"), dtb=dtb)
    monitor_refuses(master, "does not fit in the .* window", slave=2,
                    kernel=image("arm", "kernel"), dtb=dtb,
                    initrd=image("arm", "kernel"))
    os.unlink(dtb)
    stage.quit()


# ------------------------------------------------------------- boot records

RECORD = "<QIIIIIIQQQ4Q"
BASE = 0x40000000
SIZE = 16 * MIB


def record(**changes):
    """A boot record, right but for these fields."""
    fields = {"magic": 0x544f4f424d4453, "version": 1, "length": 88,
              "machine": 40, "flags": 0, "checksum": None, "nargs": 3,
              "entry": BASE + 0x10000, "dtb": 0, "dtb_size": 0}
    fields |= changes

    def packed(checksum):
        return struct.pack(RECORD, *(fields | {"checksum": checksum})
                           .values(), 0, 0, 0, 0)
    if fields["checksum"] is None:
        fields["checksum"] = zlib.crc32(packed(0))
    return packed(fields["checksum"])


RECORDS = [
    (bytes(88), "magic is 0x0+ instead of .*: load a kernel into this window "
     "first"),
    (record(magic=1), "the boot record's magic is 0x0*1 instead of"),
    (record(version=2), "version is .*2, this QEMU reads"),
    (record(length=96), "length is .* instead of"),
    (record(checksum=5), "checksum is .*5, its bytes give"),
    (record(flags=1), "flags field is .*1 instead of"),
    (record(machine=183), r"the boot record is for aarch64 .*183\), the slave "
     "is arm .*: load a kernel for the slave's instruction set"),
    (record(nargs=5), "number of arguments is .*5, the most is"),
    (record(entry=BASE - 4), "entry is 0x0*3ffffffc.*outside the slave's "
     "memory"),
    (record(entry=BASE + SIZE - 4096), "entry is .*outside"),
    (record(entry=BASE + 2), "entry is .*no multiple of"),
    (record(dtb=BASE + SIZE, dtb_size=64), "dtb address is .*outside"),
    (record(dtb=BASE + 64, dtb_size=SIZE), "dtb address is .*outside"),
]


@case
def boot_records(stage):
    """a boot record that is wrong in any field: a clear error at the master,
    and the slave keeps waiting, with no memory mapped"""
    path = os.path.join(stage.mount("tmpfs", "size=32m"), "ram")
    master = Peer(stage, "serve", "--size", str(SIZE), "--mem-path", path)
    master.until("its socket", event="ready")
    slave = stage.slave(16)
    slave.expect_error("this is slave 1 of 1")
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), SIZE) as ram:
        for data, pattern in RECORDS:
            ram[-4096:-4096 + len(data)] = data
            seen = len(master.said)
            master.type("boot 1 0")
            wait_for([master], lambda n=seen: [
                line for line in master.said[n:]
                if line["event"] == "answer"], "an answer", 60)
            answer = [line for line in master.said[seen:]
                      if line["event"] == "answer"][0]
            check(re.search(pattern, answer.get("text", "")),
                  f"not {pattern!r} but {answer}")
            slave.expect_error(f"BOOT refused: .*{pattern}")
        check(not [area for area in host.areas(slave.pid)
                   if area["name"].startswith(path)], "it is still mapped")
        # An endless loop is right.
        ram[-4096:-4096 + 88] = record()
        ram[0x10000:0x10004] = struct.pack("<I", 0xeafffffe)
        master.type("boot 1 0")
        master.until("running", event="state", state="running")
    slave.quit()
    master.kill()
    os.unlink(path)
    for name in ("sock", "sock.lock"):
        os.unlink(stage.path(name))


# ------------------------------------------------------------------- driver

@case
def window_in_kernels_ram(stage):
    """mem= forgotten: the window lies in the master kernel's own RAM, and the
    driver refuses to map it"""
    packed = stage.path("master.img")
    kernel = image("arm", "kernel")
    initrd.write(packed, image("arm", "initrd.img"), {"root/zImage": kernel})
    argv = changed(lines.master("arm", stage.path("sock"), [128], memory=128,
                                initrd=packed), (",windows=128M", ""))
    master = stage.start("master", argv)
    master.negotiate()
    os.unlink(packed)
    stage.slave(128)
    master.shell("master")
    master.must("sdm-test --wait 0 1 waiting --timeout 60")
    status, said = master.run("sdm-test -b 0 1 /root/zImage")
    check(status == 3, f"exit status {status}: {said}")
    check(re.search("(?s)Operation not permitted.*mem=.*windows=", said), said)
    stage.quit()


if __name__ == "__main__":
    sys.exit(main(__doc__))
