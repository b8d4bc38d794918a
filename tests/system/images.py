#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot images with real kernels: every kind boots, is reset and boots again;
files that go, change or shrink meanwhile; migration from and to the unpatched
QEMU; the PowerPC boards."""

import gzip
import os
import shutil
import subprocess
import sys

from harness import Skip, case, check, main, need
import guest
import lines
from guest import CPU, image, qemu
from machine import QmpError

LIMIT = 300
RAM = 0x40000000
MAPPED = ",image-map=private"


def line(kernel, arch="arm", machine="virt", stock=False, initrd=None,
         append="sdm.role=guest", memory=256):
    """A machine as everybody starts it."""
    return [qemu(arch, stock), "-nodefaults", "-nographic", "-M", machine,
            *CPU[arch], "-m", f"{memory}M", "-kernel", kernel,
            "-initrd", initrd or image(arch, "initrd.img"), "-append", append]


def rows(machine):
    """query-images by file name (the last of an ELF file)."""
    return {os.path.basename(row["file"]): row
            for row in machine.command("query-images")}


def private(machine):
    """Private bytes of all images outside of the guest's memory."""
    return sum(row["private"] for row in machine.command("query-images")
               if row["held"] != "zero-copy" and row["kind"] != "dtb")


def again(machine, role="guest"):
    """Reset it, and wait until it has booted."""
    machine.command("system_reset")
    machine.shell(role, LIMIT)


def boots(stage, kernel, kind, arch="arm", role="guest", **options):
    """It boots, is reset, and boots again; nothing of it is held."""
    machine = stage.start(os.path.basename(kernel),
                          line(kernel, arch, **options))
    machine.negotiate()
    machine.shell(role, LIMIT)
    again(machine, role)
    said = machine.must("cat /proc/version")
    check("Linux version" in said, said)
    seen = rows(machine)[os.path.basename(kernel)]
    check(seen["kind"] == kind, f"kind: {seen}")
    check(private(machine) == 0, f"{machine.command('query-images')}")
    check(machine.quit() == 0, "exit status")
    return seen


def copy(stage, arch, name="kernel"):
    """A copy of a guest's file, which the case may spoil."""
    path = stage.path(name)
    shutil.copyfile(image(arch, name), path)
    return path


def clean(*paths):
    """Remove what a case made."""
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)


@case
def arm_zimage(stage):
    """Debian's zImage, as it is and mapped."""
    boots(stage, image("arm", "kernel"), "zimage")
    boots(stage, image("arm", "kernel"), "zimage", machine="virt" + MAPPED)


@case
def arm_uimage(stage):
    """A uImage by mkimage of Debian's zImage, and one in gzip."""
    if not shutil.which("mkimage"):
        raise Skip("no mkimage: apt-get install u-boot-tools")
    for comp in ("none", "gzip"):
        body, made = stage.path("body"), stage.path("uImage")
        with open(image("arm", "kernel"), "rb") as f:
            data = f.read()
        with open(body, "wb") as f:
            f.write(gzip.compress(data, 1) if comp == "gzip" else data)
        subprocess.run(["mkimage", "-A", "arm", "-O", "linux", "-T", "kernel",
                        "-C", comp, "-a", "0x40010000", "-e", "0x40010000",
                        "-d", body, made], check=True,
                       stdout=subprocess.DEVNULL)
        seen = boots(stage, made, "uimage")
        check(seen["addr"] == RAM + 0x10000 and seen["size"] == len(data),
              str(seen))
        clean(body, made)


@case
def arm64_kernels(stage):
    """Debian's Image, as it is, mapped, and in gzip."""
    kernel = image("arm64", "kernel")
    boots(stage, kernel, "image", "arm64")
    seen = boots(stage, kernel, "image", "arm64", machine="virt" + MAPPED)
    check(seen["held"] == "zero-copy", str(seen))
    packed = stage.path("Image.gz")
    with open(kernel, "rb") as f, open(packed, "wb") as g:
        g.write(gzip.compress(f.read(), 1))
    boots(stage, packed, "image-gz", "arm64")
    clean(packed)


@case
def x86_kernels(stage):
    """Debian's bzImage, and its vmlinux by PVH, on pc, q35 and microvm."""
    folder = os.path.dirname(image("amd64", "kernel"))
    need(os.path.join(folder, "vmlinux"), "demo/guest/build amd64")
    need(qemu("amd64"), "qemu/build")
    # On a busy host Linux finds that emulated timers tick too seldom.
    append = "console=ttyS0 sdm.role=guest no_timer_check"
    for name, kind, machine in (
            ("kernel", "bzimage", "pc"), ("vmlinux", "elf", "q35"),
            ("vmlinux", "elf", "q35" + MAPPED),
            # With ACPI it has no PIT, which Linux wants when there is no KVM.
            ("vmlinux", "elf", "microvm,acpi=off"),
            ("kernel", "bzimage", "microvm,acpi=off")):
        boots(stage, os.path.join(folder, name), kind, "amd64",
              machine=machine, append=append)


@case
def files_that_go(stage):
    """Unlinked, and another renamed over it, while the guest runs: it boots
    again from what it was started with."""
    kernel, disk = copy(stage, "arm"), copy(stage, "arm", "initrd.img")
    machine = stage.start("guest", line(kernel, initrd=disk))
    machine.negotiate()
    machine.shell("guest", LIMIT)
    os.unlink(disk)
    with open(kernel + ".new", "wb") as f:
        f.write(b"no kernel")
    os.rename(kernel + ".new", kernel)
    again(machine)
    clean(kernel)


def stopped(machine, seen):
    """Wait for the event; the machine is stopped, and stays it."""
    machine.wait(lambda m: any(e["event"] == "STOP" for e in m.events[seen:]),
                 "STOP", LIMIT)
    check(any(e["event"] == "SDM_FILE_ERROR" for e in machine.events[seen:]),
          "no SDM_FILE_ERROR")
    state = machine.command("query-status")["status"]
    check(state == "internal-error", f"state {state}")
    try:
        machine.command("cont")
    except QmpError:
        return
    check(False, "cont is not refused")


@case
def rewritten_before_reset(stage):
    """A kernel that is rewritten in place does not boot; with its content
    and time back it does."""
    kernel = copy(stage, "arm")
    stamp = os.stat(kernel)
    machine = stage.start("guest", line(kernel))
    machine.negotiate()
    machine.shell("guest", LIMIT)
    with open(kernel, "r+b") as f:
        f.write(bytes(65536))
    seen = len(machine.events)
    machine.command("system_reset")
    stopped(machine, seen)
    shutil.copyfile(image("arm", "kernel"), kernel)
    os.utime(kernel, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    machine.command("system_reset")
    machine.command("cont")
    machine.shell("guest", LIMIT)
    clean(kernel)


@case
def truncated_while_mapped(stage):
    """image-map=private: a kernel that is truncated under a running guest
    stops the machine, and not QEMU."""
    kernel = copy(stage, "arm64")
    machine = stage.start("guest", line(kernel, "arm64",
                                        machine="virt" + MAPPED))
    machine.negotiate()
    machine.shell("guest", LIMIT)
    seen = len(machine.events)
    os.truncate(kernel, 4096)
    # The guest may need no page that is gone; the monitor's dump needs all.
    dump = stage.path("dump")
    machine.command("pmemsave", val=RAM + 0x200000, size=8 << 20,
                    filename=dump)
    stopped(machine, seen)
    clean(kernel, dump)
    check(machine.quit() == 0, "exit status")


def migrates(stage, here, there, arch, options=""):
    """A guest with a kernel goes from one QEMU to the other, lives, is reset
    there and boots again."""
    path = stage.path("migration")
    sides = []
    for name, stock in (("source", here == "stock"),
                        ("target", there == "stock")):
        machine = "virt" + ("" if stock else options)
        argv = line(image(arch, "kernel"), arch, machine, stock)
        if name == "target":
            argv += ["-incoming", f"unix:{path}"]
        one = stage.start(name, argv)
        one.negotiate()
        sides.append(one)
    source, target = sides
    source.shell("guest", LIMIT)
    source.must("echo kept >/tmp/file")
    source.command("migrate", uri=f"unix:{path}")
    target.wait(lambda m: any(e["event"] == "RESUME" for e in m.events),
                "RESUME", LIMIT)
    said = target.must("cat /tmp/file")
    check(said.strip() == "kept", said)
    again(target)
    for one in sides:
        check(one.quit() == 0, f"exit status of {one.name}")
    clean(path)


@case
def migration(stage):
    """From the unpatched QEMU to ours and back, mapped too."""
    for arch in ("arm", "arm64"):
        need(qemu(arch, True), "qemu/build --stock")
    migrates(stage, "stock", "ours", "arm64")
    migrates(stage, "ours", "stock", "arm64")
    migrates(stage, "ours", "stock", "arm64", MAPPED)
    migrates(stage, "stock", "ours", "arm64", MAPPED)
    migrates(stage, "stock", "ours", "arm")
    migrates(stage, "ours", "stock", "arm")


@case
def master_and_slave(stage):
    """A master's -kernel and -initrd are images in its memory; a slave has
    none, whatever its command line says."""
    master = stage.start("master", lines.master("arm", stage.path("sock"),
                                                [128]))
    master.negotiate()
    master.shell("master", LIMIT)
    kinds = [row["kind"] for row in master.command("query-images")]
    check(kinds == ["zimage", "ramdisk"], str(kinds))
    check(private(master) == 0, str(master.command("query-images")))
    slave = stage.start("slave", lines.slave("arm", stage.path("sock"), 128)
                        + ["-kernel", image("arm", "kernel")])
    slave.negotiate()
    check(slave.command("query-images") == [], "a slave has images")
    again(master, "master")
    stage.quit()


# The smallest payloads: they store "OK n" in the UART, and how often the
# board was started, if nobody has loaded them anew.
PPC = r"""
    .globl _start
_start:
    .if E500        /* what maps the registers; QEMU has mapped the payload */
    lis 3, 0x1001
    mtspr 624, 3
    lis 3, 0xc000
    ori 3, 3, 0x0500
    mtspr 625, 3
    lis 3, 0xe000
    ori 4, 3, 0x000a
    mtspr 626, 4
    ori 4, 3, 0x0005
    mtspr 627, 4
    li 3, 0xf
    mtspr 944, 3
    tlbwe
    isync
    .endif
    bl 1f
1:  mflr 31
    addi 31, 31, text - 1b
    lis 30, UART@h
    ori 30, 30, UART@l
2:  lbz 29, 0(31)
    cmpwi 29, 0
    beq 3f
    stb 29, 0(30)
    addi 31, 31, 1
    b 2b
3:  lis 28, text@ha
    bl 4f
4:  mflr 28
    lwz 27, count - 4b(28)
    addi 27, 27, 1
    stw 27, count - 4b(28)
    addi 27, 27, '0'
    stb 27, 0(30)
    li 29, 10
    stb 29, 0(30)
5:  b 5b
text:  .asciz "SDM-PPC "
    .balign 4
count: .long 0
    .space 200000, 0x5a
"""


@case
def powerpc(stage):
    """bamboo and ppce500: ELF, uImage, uImage in gzip; a payload that counts
    in its own image sees it fresh after each reset."""
    for tool, package in (("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu"),
                          ("mkimage", "u-boot-tools")):
        if not shutil.which(tool):
            raise Skip(f"no {tool}: apt-get install {package}")
    program = os.path.join(os.path.dirname(qemu("arm")), "qemu-system-ppc")
    need(program, "qemu/build")
    source, elf, body, packed, made = (stage.path(name) for name in (
        "ppc.S", "ppc.elf", "ppc.bin", "ppc.gz", "uImage"))
    disk = stage.path("ramdisk")
    with open(disk, "wb") as f:
        f.write(os.urandom(100000))
    for board, cpu, uart in (("bamboo", "440epb", 0xef600300),
                             ("ppce500", "e500v2_v30", 0xe0004500)):
        with open(source, "w", encoding="ascii") as f:
            f.write(f".set UART, {uart:#x}\n"
                    f".set E500, {int(board == 'ppce500')}\n" + PPC)
        subprocess.run(["powerpc-linux-gnu-gcc", "-nostdlib", "-static",
                        "-Wa,-me500",
                        "-Wl,-Ttext=0x100000,--build-id=none,-N", source,
                        "-o", elf], check=True)
        subprocess.run(["powerpc-linux-gnu-objcopy", "-O", "binary",
                        "-j", ".text", elf, body], check=True)
        with open(body, "rb") as f, open(packed, "wb") as g:
            g.write(gzip.compress(f.read()))
        for kind, comp, data in (("elf", None, None),
                                 ("uimage", "none", body),
                                 ("uimage", "gzip", packed)):
            kernel = elf
            if comp:
                kernel = made
                subprocess.run(
                    ["mkimage", "-A", "ppc", "-O", "linux", "-T", "kernel",
                     "-C", comp, "-a", "0x100000", "-e", "0x100000", "-d",
                     data, made], check=True, stdout=subprocess.DEVNULL)
            machine = stage.start(board, [
                program, "-nodefaults", "-nographic", "-M", board, "-cpu",
                cpu, "-m", "128M", "-kernel", kernel, "-initrd", disk])
            machine.negotiate()
            machine.expect("^SDM-PPC 1$")
            for _ in range(2):
                machine.command("system_reset")
                machine.expect("^SDM-PPC 1$")
            seen = rows(machine)
            check(seen[os.path.basename(kernel)]["kind"] == kind, str(seen))
            check(seen["ramdisk"]["kind"] == "ramdisk", str(seen))
            check(private(machine) == 0, str(seen))
            check(machine.quit() == 0, "exit status")
    clean(source, elf, body, packed, made, disk)


if __name__ == "__main__":
    guest.QEMU["amd64"] = "qemu-system-x86_64"
    guest.CPU["amd64"] = []
    sys.exit(main(__doc__))
