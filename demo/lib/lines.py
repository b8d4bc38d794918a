# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines: those of the RFC's letter, and those that we recommend."""

import os
import shlex
import subprocess

from guest import CPU, MIB, Trouble, image, qemu

# "[RFC v2 0/6] Shared memory boot", 2016, as printed there.
LETTER_MASTER = r"""
./qemu-system-arm -nographic \
    -kernel zImage \
    -M virt -m 1G \
    -initrd busybox.cpio \
    -object multi-socket-backend,id=sock,path=sock,listen \
    -object memory-backend-shared,id=mem,size=1G,mem-path=/dev/hugepages,socket=sock,master \
    -object sdm-signal-shboot,id=boot,shm=mem \
    -object sdm-communication-socket,id=scomm,socket=sock \
    -device virtio-sdm-device,comm=scomm,master,num-slaves=1,len-signals=1,signals[0]=boot \
    -append "mem=512M memmap=512M$0x60000000" \
    -numa node,memdev=mem -m 1G
"""
LETTER_SLAVE = r"""
./qemu-system-arm -nographic \
    -kernel zImage \
    -M virt -m 1G \
    -initrd busybox.cpio \
    -object multi-socket-backend,id=sock,path=sock \
    -object memory-backend-shared,id=mem,size=512M,socket=sock \
    -object sdm-signal-shboot,id=boot,shm=mem \
    -object sdm-communication-socket,id=scomm,socket=sock \
    -device sdm-platform,comm=scomm,len-signals=1,signals[0]="boot" \
    -incoming "shared:mem" \
    -numa node,memdev=mem -m 512M
"""
LETTER_SIZE = 1024 * MIB
LETTER_BASE = 0x60000000        # where its window starts in the master
LETTER_WINDOW = 512 * MIB


def letter(text, arch, socket, initrd, mem_path):
    """A command line of the letter with our paths in it, as words."""
    words = shlex.split(text.replace("\\\n", " "))
    words[0] = qemu(arch)
    changes = {"zImage": image(arch, "kernel"), "busybox.cpio": initrd}
    return [changes.get(word, word)
            .replace("path=sock", "path=" + socket)
            .replace("mem-path=/dev/hugepages", "mem-path=" + mem_path)
            for word in words]


def _pair(arch, socket, listen):
    return ["-object", f"multi-socket-backend,id=sock,path={socket}{listen}",
            "-object", "sdm-signal-shboot,id=boot,shm=mem",
            "-object", "sdm-signal,id=irq",
            "-object", "sdm-communication-socket,id=scomm,socket=sock"]


def master(arch, socket, windows, memory=256, huge=False, append="",
           initrd=None, machine="virt", extra=()):
    """A master whose slaves have these windows (MiB each); `memory` (MiB) is
    its own, beside them."""
    total = memory + sum(windows)
    sizes = ":".join(f"{size}M" for size in windows)
    return ([qemu(arch), "-nodefaults", "-nographic",
             "-M", machine + ",memory-backend=mem", *CPU[arch],
             "-m", f"{total}M",
             "-kernel", image(arch, "kernel"),
             "-initrd", initrd or image(arch, "initrd.img"),
             "-append", ("sdm.role=master " + append).strip()]
            + _pair(arch, socket, ",listen=on")
            + ["-object", f"memory-backend-shared,id=mem,size={total}M,"
               f"socket=sock,master=on,windows={sizes}"
               + (",hugetlbsize=2M" if huge else ""),
               "-device", "virtio-sdm-device,comm=scomm,master=on,"
               f"num-slaves={len(windows)},len-signals=2,"
               "signals[0]=boot,signals[1]=irq", *extra])


def slave(arch, socket, window, machine="virt", sock_extra="", extra=()):
    """A slave that waits for its window (MiB)."""
    return ([qemu(arch), "-nodefaults", "-nographic",
             "-M", machine + ",memory-backend=mem", *CPU[arch],
             "-m", f"{window}M"]
            + _pair(arch, socket, sock_extra)
            + ["-object",
               f"memory-backend-shared,id=mem,size={window}M,socket=sock",
               "-device", "sdm-platform,comm=scomm,len-signals=2,"
               "signals[0]=boot,signals[1]=irq",
               "-incoming", "shared:mem", *extra])


def dump_dtb(path, argv):
    """Write the device tree of the slave with this command line."""
    argv = list(argv)
    argv[argv.index("-M") + 1] += f",dumpdtb={path}"
    made = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if not os.path.exists(path):
        raise Trouble("no device tree: "
                      + made.stderr.decode(errors="replace"))
