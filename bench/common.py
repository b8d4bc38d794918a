# SPDX-License-Identifier: GPL-2.0-or-later
"""Which programs are compared, and how a slave's command line looks."""

import os
import subprocess
import sys

import fwimage
from machine import Trouble
from report import TOP, build_dir, first_line

MIB = 1 << 20
QEMU = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64"}
CPU = {"arm": "cortex-a15", "arm64": "cortex-a57"}


def progress(what):
    """What is measured now: for who waits."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


def program(kind, isa):
    """The path of our ("ours") or the unpatched ("stock") QEMU."""
    variable, folder = {"ours": ("SDM_QEMU_DIR", "qemu"),
                        "stock": ("SDM_STOCK_DIR", "qemu/stock")}[kind]
    path = os.path.join(os.environ.get(variable) or
                        os.path.join(build_dir(), folder), QEMU[isa])
    if not os.access(path, os.X_OK):
        option = " --stock" if kind == "stock" else ""
        raise Trouble(f"{path} is not there: run qemu/build{option}, or say "
                      f"where it is with {variable}")
    return os.path.realpath(path)


def note_version(report, kind, isa):
    """Put the version of a program into the report."""
    path = program(kind, isa)
    report.versions[f"{kind} {isa}"] = first_line([path, "--version"])
    return path


def guest(isa):
    """Kernel and initrd of the demo's Debian guest; made if missing."""
    folder = os.environ.get("SDM_GUEST_DIR") or os.path.join(build_dir(),
                                                             "guest")
    paths = [os.path.join(folder, isa, name) for name in ("kernel",
                                                          "initrd.img")]
    if not all(os.path.exists(path) for path in paths):
        print(f"building the {isa} guest in {folder}", flush=True)
        try:
            subprocess.run([os.path.join(TOP, "demo", "guest", "build"),
                            "--out", folder, isa], check=True)
        except (OSError, subprocess.CalledProcessError) as e:
            raise Trouble(f"no {isa} guest: {e}") from e
    return paths


def plain(qemu, isa, megabytes, *options):
    """A machine as a user of stock QEMU would start it."""
    return [qemu, "-M", "virt", "-cpu", CPU[isa], "-m", f"{megabytes}M",
            "-nic", "none", *options]


def slave(qemu, isa, megabytes, path):
    """A slave that waits for the master at `path`."""
    return [qemu, "-M", "virt,memory-backend=mem", "-cpu", CPU[isa],
            "-m", f"{megabytes}M", "-nic", "none",
            "-object", f"multi-socket-backend,id=sock,path={path}",
            "-object", f"memory-backend-shared,id=mem,size={megabytes}M,"
            "socket=sock",
            "-object", "sdm-signal-shboot,id=boot,shm=mem",
            "-object", "sdm-communication-socket,id=scomm,socket=sock",
            "-device", "sdm-platform,comm=scomm,len-signals=1,"
            "signals[0]=boot",
            "-incoming", "shared:mem"]


def master(qemu, isa, megabytes, window, path):
    """A master whose own guest sleeps; its last `window` MiB are a slave's."""
    firmware = fwimage.load(fwimage.build(), isa, "elf",
                            program=fwimage.HELLO, end=fwimage.SLEEP)
    fd = fwimage.memfd("firmware", firmware)
    argv = [qemu, "-M", "virt,memory-backend=mem", "-cpu", CPU[isa],
            "-m", f"{megabytes}M", "-nic", "none",
            "-kernel", f"/proc/self/fd/{fd}",
            "-object",
            f"multi-socket-backend,id=sock,path={path},listen=on",
            "-object", f"memory-backend-shared,id=mem,size={megabytes}M,"
            f"socket=sock,master=on,windows={window}M",
            "-object", "sdm-signal-shboot,id=boot,shm=mem",
            "-object", "sdm-communication-socket,id=scomm,socket=sock",
            "-device", "virtio-sdm-device,comm=scomm,master=on,num-slaves=1,"
            "len-signals=1,signals[0]=boot"]
    return argv, fd
