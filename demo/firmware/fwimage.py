# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the bare-metal firmware and fill in its parameter block.

The layout is fw-params.h's. A patched image can live in a memfd, so that
nothing has to be cleaned up: pass its fd on and name it /proc/self/fd/N.
"""

import os
import struct
import subprocess

MAGIC = b"SDM-FIRMWARE-01\0"
PARAMS = struct.Struct("<16sIIQIIQ12I32x")
assert PARAMS.size == 128

HELLO, ATOMICS, BEAT, PING, ECHO, SOAK, RATE, FLOOD, FLASH = range(9)
PLATFORM, VIRTIO, IVSHMEM, PL011 = range(4)         # wire
OFF, RESET, SEMIHOSTING, SLEEP = range(4)           # end

UART = 0x09000000
RAM = 0x40000000

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))


def build_dir():
    """Where everything that is built goes."""
    return os.environ.get("SDM_BUILD_DIR", os.path.join(TOP, "build"))


def build(out=None):
    """Run make; return the folder with sdm-fw-{arm,arm64}.{elf,img}."""
    out = out or os.path.join(build_dir(), "firmware")
    subprocess.run(["make", "-s", "-f", os.path.join(HERE, "Makefile"),
                    "O=" + out], check=True, stdout=subprocess.DEVNULL)
    return out


def patch(image, program=HELLO, mark=0, mark_value=0, index=0, shared=0,
          nonce=0, iterations=0, tests=0xffffffff, end=OFF, wire=PLATFORM,
          spin=0, target=0, warm=0, gap_us=0, batch=0, flags=0, sources=0):
    """Return a copy of the bytes of an ELF or raw image with parameters."""
    at = image.find(MAGIC)
    if at < 0 or image.find(MAGIC, at + 1) >= 0:
        raise ValueError("not one parameter block in the firmware image")
    if struct.unpack_from("<I", image, at + 16)[0] != PARAMS.size:
        raise ValueError("the firmware's parameter block has another size: "
                         "build it again")
    block = PARAMS.pack(MAGIC, PARAMS.size, program, mark, mark_value, index,
                        shared, nonce, iterations, tests, end, wire, spin,
                        target, warm, gap_us, batch, flags, sources)
    return image[:at] + block + image[at + PARAMS.size:]


def load(folder, isa, kind, **params):
    """Read sdm-fw-ISA.KIND (kind elf or img) and patch it."""
    with open(os.path.join(folder, f"sdm-fw-{isa}.{kind}"), "rb") as f:
        return patch(f.read(), **params)


def enlarge(image, isa, payload):
    """A raw image with more behind it, and the sizes in its header right: as
    long to load as the payload is, and still this firmware."""
    image = bytearray(image + payload)
    if isa == "arm":
        struct.pack_into("<I", image, 0x2c, len(image))
    else:
        struct.pack_into("<Q", image, 0x10, len(image) + (1 << 20))
    return bytes(image)


def memfd(name, data):
    """A memfd with these bytes; the caller closes it."""
    fd = os.memfd_create(name)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    return fd
