# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with SDM devices, over each transport and with all signals: both
ends of a local channel in one, or two of them over a socket."""

import os
import re
import shutil
import subprocess

from harness import Skip, changed, check, need
import initrd
import lines
from guest import CPU, KERNEL, TOP, Trouble, image, qemu

CROSS = {"arm": "arm-linux-gnueabihf-gcc", "arm64": "aarch64-linux-gnu-gcc"}
TRANSPORTS = {"mmio": "virtio-sdm-device", "pci": "virtio-sdm-pci",
              "platform": "sdm-platform"}
SIGNALS = ["-object", "sdm-signal,id=irq",
           "-object", "sdm-signal,id=user8,number=8",
           "-object", "sdm-signal,id=user9,number=9"]
OFFERED = ("comm=comm,len-signals=3,signals[0]=irq,signals[1]=user8,"
           "signals[2]=user9")


def compile_for(stage, arch):
    """The test program, static; its path."""
    if not shutil.which(CROSS[arch]):
        raise Skip(f"{CROSS[arch]} is not there: demo/packages demo")
    path = stage.path("driver-test")
    made = subprocess.run(
        [CROSS[arch], "-static", "-pthread", "-O2", "-Wall", "-Wextra",
         "-Werror", "-D_FILE_OFFSET_BITS=64", "-I", TOP + "/include", "-o",
         path, TOP + "/tests/system/inguest/driver-test.c"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if made.returncode:
        raise Trouble(made.stderr.decode(errors="replace"))
    return path


def packed(stage, arch):
    """An initrd with the test program and the mailbox client in /root."""
    path = stage.path("initrd")
    client = image(arch, "sdm_mbox_test.ko")
    need(client, "demo/guest/build " + arch)
    program = compile_for(stage, arch)
    initrd.write(path, image(arch, "initrd.img"),
                 {"root/driver-test": program,
                  "root/sdm_mbox_test.ko": client})
    os.unlink(program)
    return path


def board(arch, *transports):
    """The machine for these: Debian's armhf kernel has no LPAE, so its PCI must
    lie below 4 GiB."""
    low = arch == "arm" and "pci" in transports
    return "virt" + (",highmem=off" if low else "")


def machine(arch, *transports):
    """A guest's own machine: no shared memory, two CPUs, these transports."""
    return [qemu(arch), "-nodefaults", "-nographic",
            "-M", board(arch, *transports), *CPU[arch], "-smp", "2",
            "-m", "256M", "-kernel", image(arch, "kernel"), *SIGNALS]


def device(transport, place, more=""):
    """The -device of a transport, where the device tree can name it."""
    place = {"mmio": f",bus=virtio-mmio-bus.{place}",
             "pci": f",addr={place}", "platform": ""}[transport]
    return ["-device", f"{TRANSPORTS[transport]},{OFFERED}{more}{place}"]


def ready(guest):
    """Wait for its shell. The kernel's words stay out of what commands say:
    driver.py looks at them in the end."""
    guest.shell(guest.name)
    guest.must("dmesg -n 1; cd /root; chmod +x driver-test")


def one_line(arch, master, slave):
    """The command line of a machine with both ends of a local channel."""
    return (machine(arch, master, slave)
            + ["-object", "sdm-communication-local,id=comm"]
            + device(master, 1, ",master=on,num-slaves=1")
            + device(slave, 2))


def one_guest(stage, arch, master, slave, extra=()):
    """A guest with both ends of a local channel; and the numbers of its
    devices, the master's first."""
    path = packed(stage, arch)
    guest = stage.start("guest", one_line(arch, master, slave)
                        + ["-initrd", path, "-append",
                           "sdm.role=guest slub_debug=FZPU", *extra],
                        qmp=False)
    ready(guest)
    os.unlink(path)
    said = guest.must("sdm-test --list")
    first = re.search(r"/dev/sdm(\d): master of 1", said)
    second = re.search(r"/dev/sdm(\d): slave 1", said)
    check(first and second, f"no master and slave 1 in: {said}")
    return guest, int(first[1]), int(second[1])


def _with_device(argv, transport, more=""):
    """A line of lines.py with this transport, and with our signals."""
    argv = list(argv)
    at = argv.index("-device") + 1
    argv[at] = (f"{TRANSPORTS[transport]},comm=scomm{more},len-signals=5,"
                "signals[0]=boot,signals[1]=irq,signals[2]=user8,"
                "signals[3]=user9,signals[4]=state")
    return argv + SIGNALS[2:] + ["-object", "sdm-signal,id=state,number=4"]


def two_guests(stage, arch, master, slave, iothread=False):
    """A master and a slave over a socket, the slave booted by the master's
    guest; both at their shells, the master's first. With `iothread` each has a
    thread for the channel."""
    window, own = (128, 256) if arch == "arm" else (256, 384)
    sock = stage.path("sock")
    path = packed(stage, arch)
    both = stage.path("master.img")
    initrd.write(both, path, {"root/" + KERNEL[arch]: image(arch, "kernel"),
                              "root/busybox.cpio": path})
    argvs = (_with_device(lines.master(arch, sock, [window], memory=own,
                                       initrd=both,
                                       machine=board(arch, master)),
                          master, ",master=on,num-slaves=1"),
             _with_device(lines.slave(arch, sock, window,
                                      machine=board(arch, slave)), slave))
    if iothread:
        # The thread has to be there before the channel.
        argvs = [argv[:1] + ["-object", "iothread,id=iot"]
                 + changed(argv, ("id=scomm,", "id=scomm,iothread=iot,"))[1:]
                 for argv in argvs]
    guests = [stage.start(name, argv, qmp=False)
              for name, argv in zip(("master", "slave"), argvs)]
    ready(guests[0])
    for name in (path, both):
        os.unlink(name)
    boot_slave(guests, arch)
    return guests


def boot_slave(guests, arch):
    """Boot the second from the first, also another time."""
    guests[0].must("sdm-test --wait 0 1 waiting --timeout 60")
    guests[0].must(f"sdm-test -b 0 1 {KERNEL[arch]} --initrd busybox.cpio "
                   "--append 'console=ttyAMA0 sdm.role=slave'")
    ready(guests[1])
