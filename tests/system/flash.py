#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI firmware in flash that is mapped or short: what the guest writes into
its variables survives all that can happen to a machine, byte for byte."""

import os
import shutil
import sys

from harness import HERE, Skip, case, check, main
import uefi
from guest import BUILD
from machine import QmpError, wait_for
from uefi import MIB, Uefi

sys.path.append(os.path.join(HERE, "..", "..", "demo", "firmware"))

import fwimage                                              # noqa: E402

SET = "41424344"


def program(isa, stock=False):
    """Ours, or the unpatched one."""
    folder = os.environ.get("SDM_STOCK_DIR" if stock else "SDM_QEMU_DIR") or \
        os.path.join(BUILD, "qemu", *["stock"] * stock)
    path = os.path.join(folder, uefi.PROGRAM[isa])
    if not os.path.exists(path):
        raise Skip(f"{path} is not there: run qemu/build")
    return path


def copy(stage, name, source, size=None):
    """A file of one's own, of the first bytes if a size is given."""
    path = stage.path(name)
    if not os.path.exists(source):
        raise Skip(f"{source} is not there: demo/packages firmware")
    shutil.copyfile(source, path)
    if size:
        os.truncate(path, size)
    return path


class Files:
    """Code and variables of one machine; all go with drop()."""

    def __init__(self, stage, isa, short, name=""):
        self.isa = isa
        self.short = short
        sizes = uefi.SHORT if short else (None, None)
        self.code, self.variables = (
            copy(stage, f"{what}{name}", uefi.FIRMWARE[isa][i], sizes[i])
            for i, what in enumerate(("code", "vars")))
        self.made = [self.code, self.variables]

    def start(self, stage, name, *more, stock=False):
        """A QEMU with them."""
        m = stage.start(name, uefi.line(
            program(self.isa, stock), self.isa, self.code, self.variables,
            "-nic", "none", *more,
            machine=uefi.SHORT_BACKING if self.short else ""), kind=Uefi,
            sleepy=stock)
        m.negotiate()
        return m

    def content(self):
        """Of the file of variables."""
        with open(self.variables, "rb") as file:
            return file.read()

    def same(self, stage, m, what):
        """Flash and file hold the same: what was written got to the file, and
        what is behind a short file reads as zeros."""
        m.command("stop")
        _, at = uefi.addresses(self.isa, self.code, self.variables)
        size = m.command("query-flash")[1]["size"]
        path = stage.path("saved")
        m.command("pmemsave", val=at, size=size, filename=path)
        with open(path, "rb") as file:
            memory = file.read()
        os.unlink(path)
        content = self.content()
        check(memory[:len(content)] == content and
              not any(memory[len(content):]),
              f"{what}: the flash is not as its file")
        m.command("cont")
        return content

    def drop(self):
        """Remove them."""
        for path in self.made:
            os.unlink(path)


def boot(stage, files, name, *more, **options):
    """To the shell."""
    m = files.start(stage, name, *more, **options)
    m.shell()
    return m


def costs(m, short, isa):
    """What the flashes hold at the shell."""
    code, variables = m.command("query-flash")
    print(m.command("human-monitor-command", **{"command-line": "info flash"}))
    check(code["held"] == "mapped", f"the code is {code}")
    check(code["private"] == 0, f"{code['private']} bytes of code are private")
    limit = uefi.SHORT[1] if isa != "x86" else variables["size"]
    check(variables["private"] <= limit,
          f"{variables['private']} bytes of variables are private")
    check(variables["refused-writes"] == 0,
          f"{variables['refused-writes']} writes were refused")
    if short:
        check([f["backing-size"] for f in (code, variables)] ==
              list(uefi.SHORT), "backing-size")


def life(stage, isa, short):
    """Written once, there after reset, restart and (with an image to save to)
    loadvm."""
    files = Files(stage, isa, short)
    m = boot(stage, files, "first")
    m.set("SdmTest", SET)
    m.has("SdmTest", SET)
    costs(m, short, isa)
    written = files.same(stage, m, "written")
    check(bytes.fromhex(SET)[::-1] in written,
          "the variable is not in the file")
    m.command("system_reset")
    m.shell()
    m.has("SdmTest", SET)
    files.same(stage, m, "reset")
    check(m.quit() == 0, "exit status")

    m = boot(stage, files, "second")
    m.has("SdmTest", SET)
    costs(m, short, isa)
    files.same(stage, m, "restart")
    check(m.quit() == 0, "exit status")
    files.drop()


@case
def aarch64_full(stage):
    """AAVMF: variables survive reset and restart, files of 64 MiB"""
    life(stage, "arm64", False)


@case
def aarch64_short(stage):
    """AAVMF: variables survive reset and restart, 2 MiB and 768 KiB"""
    life(stage, "arm64", True)


@case
def arm_short(stage):
    """AAVMF32: variables survive reset and restart, 2 MiB and 768 KiB"""
    life(stage, "arm", True)


@case
def x86_full(stage):
    """OVMF: variables survive reset and restart"""
    life(stage, "x86", False)


def migrate(stage, one, two):
    """Move the machine."""
    one.command("migrate-set-capabilities", capabilities=[
        {"capability": "events", "state": True}])
    one.command("migrate", uri=f"unix:{stage.path('mig')}")
    ends = ("completed", "failed")
    wait_for([one, two], lambda: [
        e for e in one.events if e["event"] == "MIGRATION" and
        e["data"]["status"] in ends], "the end of the migration", 300)
    status = one.command("query-migrate")["status"]
    check(status == "completed", f"migration: {status}")
    two.wait(lambda m: any(e["event"] == "RESUME" for e in m.events), "RESUME")


def moves(stage, short, stocks):
    """Migrate at the shell; the variables come along, and more are written."""
    here = Files(stage, "arm64", short)
    there = Files(stage, "arm64", short, "2")
    one = boot(stage, here, "one", stock=stocks[0])
    one.set("SdmTest", SET)
    two = there.start(stage, "two", "-incoming", f"unix:{stage.path('mig')}",
                      stock=stocks[1])
    migrate(stage, one, two)
    # When it answers, it has written its memory to the file.
    check(two.command("query-status")["running"], "it does not run")
    check(here.content() == there.content(), "the files differ")
    one.kill()
    two.has("SdmTest", SET)
    two.set("SdmMore", "01020304")
    if not stocks[1]:
        costs(two, short, "arm64")
        there.same(stage, two, "migration")
    two.command("system_reset")
    two.shell()
    two.has("SdmTest", SET)
    two.has("SdmMore", "01020304")
    check(two.quit() == 0, "exit status")
    here.drop()
    there.drop()


@case
def migrate_short(stage):
    """variables and short files, from one QEMU to another"""
    moves(stage, True, (False, False))


@case
def migrate_from_stock(stage):
    """variables and full files, from the unpatched QEMU"""
    moves(stage, False, (True, False))


@case
def migrate_to_stock(stage):
    """variables and full files, to the unpatched QEMU"""
    moves(stage, False, (False, True))


def job(m, name, **arguments):
    """Run a job, which must end well."""
    m.command(name, **{"job-id": name}, **arguments)

    def over(_):
        return any(e["event"] == "JOB_STATUS_CHANGE" and
                   e["data"] == {"id": name, "status": "concluded"}
                   for e in m.events)
    m.wait(over, f"the end of {name}", 300)
    ended = [j for j in m.command("query-jobs") if j["id"] == name][0]
    check("error" not in ended, f"{name}: {ended.get('error')}")
    m.command("job-dismiss", id=name)


def snapshot(stage, short):
    """savevm, write more, loadvm: as before, in memory and in the file."""
    files = Files(stage, "arm64", short)
    disk = stage.path("disk")
    files.made.append(disk)
    open(disk, "wb").close()
    m = boot(stage, files, "one", "-blockdev",
             f"driver=file,filename={disk},node-name=f")
    job(m, "blockdev-create", options={"driver": "qcow2", "file": "f",
                                       "size": 256 * MIB})
    m.command("blockdev-add", **{"driver": "qcow2", "file": "f",
                                 "node-name": "d"})
    m.set("SdmTest", SET)
    before = files.content()
    job(m, "snapshot-save", tag="s", vmstate="d", devices=["d"])
    m.set("SdmMore", "01020304")
    check(files.content() != before, "nothing was written")
    job(m, "snapshot-load", tag="s", vmstate="d", devices=["d"])
    m.has("SdmTest", SET)
    costs(m, short, "arm64")
    check(files.same(stage, m, "loadvm") == before, "the file is not as it was")
    check(m.quit() == 0, "exit status")
    files.drop()


@case
def snapshot_short(stage):
    """variables in a short file are as they were after loadvm"""
    snapshot(stage, True)


@case
def snapshot_full(stage):
    """variables in a full file are as they were after loadvm"""
    snapshot(stage, False)


@case
def shrinks(stage):
    """code that shrinks while a vCPU runs it stops the machine, no more"""
    files = Files(stage, "arm64", False)
    m = files.start(stage, "one")
    m.expect("UEFI firmware")
    os.truncate(files.code, 0)
    m.wait(lambda _: [e for e in m.events if e["event"] == "SDM_FILE_ERROR"],
           "SDM_FILE_ERROR", 300)
    m.wait(lambda _: [e for e in m.events if e["event"] == "STOP"], "STOP")
    status = m.command("query-status")["status"]
    check(status == "internal-error", f"the state is {status}")
    try:
        m.command("cont")
        check(False, "it can be made to go on")
    except QmpError as e:
        print(e)
    check(m.quit() == 0, "exit status")
    files.drop()


@case
def timer(stage):
    """a timer that is set before a write to flash rings after it: the guest
    sleeps, and nothing else wakes QEMU's main loop"""
    count = 2000
    # All threads of QEMU on one CPU: the main loop runs after the write.
    cpus = {min(os.sched_getaffinity(0))}
    for isa in ("arm", "arm64"):
        variables = stage.path("vars")
        with open(variables, "wb") as file:
            file.truncate(64 * MIB)
        fd = fwimage.memfd("image", fwimage.load(
            fwimage.build(), isa, "img", program=fwimage.FLASH,
            iterations=count, gap_us=200))
        try:
            m = stage.start(isa, [
                program(isa), "-nodefaults", "-M", *uefi.MACHINE[isa], "-m",
                "64M", "-kernel", f"/proc/self/fd/{fd}", "-drive",
                f"if=pflash,format=raw,unit=1,file={variables}"], fds=(fd,),
                cpus=cpus)
        finally:
            os.close(fd)
        m.expect(f"^FLASH writes={count} bad=0$")
        check(m.gone() == 0, "exit status")
        os.unlink(variables)


if __name__ == "__main__":
    sys.exit(main(__doc__))
