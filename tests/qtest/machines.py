# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of the masters and slaves that the tests start."""

from client import MIB


def _common(path, listen, size, memory, signals, extra):
    objects = []
    for i, name in enumerate(signals):
        kind = {"boot": "sdm-signal-shboot,shm=mem", "irq": "sdm-signal",
                "reset": "sdm-signal,number=2", "stop": "sdm-signal,number=3",
                "user": "sdm-signal,number=8"}[name]
        objects += ["-object", kind.replace(",", f",id={name},", 1)
                    if "," in kind else f"{kind},id={name}"]
    return ["-M", "virt,memory-backend=mem", "-m", f"{size // MIB}M",
            "-object", f"multi-socket-backend,id=sock,path={path}{listen}",
            "-object", f"memory-backend-shared,id=mem,size={size},"
            f"socket=sock{memory}", *objects,
            "-object", "sdm-communication-socket,id=scomm,socket=sock",
            *extra]


def signal_list(signals):
    """The len-signals= and signals[N]= of a device."""
    return f"len-signals={len(signals)}" + "".join(
        f",signals[{i}]={name}" for i, name in enumerate(signals))


ALL_SIGNALS = ("boot", "irq", "reset", "stop", "user")


def master(path, *extra, size=64 * MIB, windows="", slaves=2,
           device="virtio-sdm-device", signals=ALL_SIGNALS, memory=""):
    """A master with a device for its guest (device="": none)."""
    memory = ",master=on" + memory + (f",windows={windows}" if windows else "")
    if device:
        extra = ("-device", f"{device},id=sdm,comm=scomm,master=on,"
                 f"num-slaves={slaves},{signal_list(signals)}", *extra)
    return _common(path, ",listen=on", size, memory, signals, extra)


def slave(path, *extra, size=16 * MIB, device="sdm-platform",
          signals=ALL_SIGNALS, socket="", incoming="shared:mem"):
    """A slave that waits."""
    if device:
        extra = ("-device", f"{device},id=sdm,comm=scomm,"
                 f"{signal_list(signals)}", *extra)
    if incoming:
        extra = ("-incoming", incoming, *extra)
    return _common(path, socket, size, "", signals, extra)
