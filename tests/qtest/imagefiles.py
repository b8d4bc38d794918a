# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot images made up for tests: the right header, and bytes that are found
again wherever they are."""

import gzip
import os
import re
import struct
import zlib

MIB = 1 << 20
MARKER = 64


class File:
    """A file with some content, which goes with the stage.

    data     what a guest gets of it
    markers  pieces of data that are nowhere else
    """

    def __init__(self, stage, name, content, data=None):
        self.path = stage.path(name)
        self.content = content
        self.data = content if data is None else data
        self.markers = [self.data[at:at + MARKER] for at in
                        range(4096, len(self.data) - MARKER,
                              max(len(self.data) // 3, 4096))]
        self.put()
        stage.keep(self)

    def put(self):
        """Write the whole file, in place."""
        with open(self.path, "r+b" if os.path.exists(self.path) else
                  "wb") as f:
            f.write(self.content)
            f.truncate(len(self.content))

    def stamp(self):
        """What restore() needs."""
        return os.stat(self.path)

    def restore(self, stamp):
        """Content and time as they were."""
        self.put()
        os.utime(self.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    def kill(self):
        """Remove it."""
        if os.path.exists(self.path):
            os.unlink(self.path)


def noise(size):
    """Bytes that cannot be packed, and are in no other file."""
    return os.urandom(size)


def zimage(stage, name="zImage", size=300000):
    """For arm."""
    data = bytearray(noise(size))
    struct.pack_into("<III", data, 0x24, 0x016f2818, 0, size)
    return File(stage, name, bytes(data))


def _image(size, offset):
    data = bytearray(noise(size))
    data[:2] = b"\0\0"              # neither gzip, nor ELF
    struct.pack_into("<QQ", data, 8, offset, size + 100000)
    data[56:60] = b"ARM\x64"
    return bytes(data)


def image(stage, name="Image", size=300000, offset=0x80000):
    """For arm64; offset is from a 2 MiB boundary."""
    return File(stage, name, _image(size, offset))


def image_gz(stage, name="Image.gz", size=300000, offset=0x80000):
    """The same in gzip."""
    data = _image(size, offset)
    return File(stage, name, gzip.compress(data, mtime=0), data)


def bzimage(stage, name="bzImage", size=300000):
    """For x86: one sector of setup, then what counts."""
    data = bytearray(noise(1024 + size))
    data[0x1f1] = 1
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, 0x20c)
    struct.pack_into("<I", data, 0x22c, 0x7fffffff)
    data[0x211] = 1
    return File(stage, name, bytes(data), bytes(data[1024:]))


def uimage(stage, name="uImage", load=0x40100000, size=300000, packed=False,
           kind=2, arch=2):
    """With the header of U-Boot, as mkimage makes it."""
    data = noise(size)
    body = gzip.compress(data, mtime=0) if packed else data
    head = struct.pack(">7I4B32s", 0x27051956, 0, 0, len(body), load, load,
                       zlib.crc32(body), 5, arch, kind, int(packed),
                       b"made up")
    crc = zlib.crc32(head)
    head = head[:4] + struct.pack(">I", crc) + head[8:]
    return File(stage, name, head + body, data)


def raw(stage, name="raw", size=300000):
    """Anything."""
    data = bytearray(noise(size))
    data[:2] = b"\0\0"
    return File(stage, name, bytes(data))


def pvh_note(entry):
    """What makes an x86 ELF file a PVH kernel."""
    return struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", entry)


def elf(stage, segments, entry, name="vmlinux", machine=40, wide=False,
        big=False, note=b""):
    """An ELF file; segments: (address, bytes, size in memory)."""
    order = ">" if big else "<"
    count = len(segments) + bool(note)
    head, each = (64, 56) if wide else (52, 32)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 2 if big else 1, 1]) + \
        bytes(9)
    at = 4096
    headers, body = b"", b""

    def header(kind, address, data, memory):
        nonlocal headers, body, at
        if wide:
            headers += struct.pack(order + "IIQQQQQQ", kind, 7, at, address,
                                   address, len(data), memory, 4)
        else:
            headers += struct.pack(order + "IIIIIIII", kind, at, address,
                                   address, len(data), memory, 7, 4)
        padded = data + bytes(-len(data) % 4096)
        body += padded
        at += len(padded)

    for address, data, memory in segments:
        header(1, address, data, memory)
    if note:
        header(4, 0, note, len(note))
    start = ident + struct.pack(order + ("HHIQQQIHHHHHH" if wide else
                                         "HHIIIIIHHHHHH"),
                                2, machine, 1, entry, head, 0, 0, head, each,
                                count, 0, 0, 0) + headers
    return File(stage, name, start + bytes(4096 - len(start)) + body,
                segments[0][1])


def intel_hex(stage, address, data, name="x.hex"):
    """Intel HEX, of a few bytes below 64 KiB."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at:at + 16]
        line = bytes([len(part)]) + struct.pack(">HB", address + at, 0) + part
        lines.append(line)
    lines.append(bytes([0, 0, 0, 1]))
    text = "".join(f":{line.hex().upper()}{-sum(line) & 255:02X}\n"
                   for line in lines)
    return File(stage, name, text.encode(), data)


def copies(pid, markers):
    """How often markers are in a process's memory: the highest count of one,
    by mappings; [pages of files, anything else]."""
    counts = {marker: [0, 0] for marker in markers}
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            words = line.split(None, 5)
            start, end = (int(n, 16) for n in words[0].split("-"))
            if "r" not in words[1] or re.match(r"\[v", (words + [""])[5]):
                continue
            is_file = words[4] != "0"
            for at in range(start, end, 8 * MIB):
                try:
                    part = os.pread(memory.fileno(),
                                    min(8 * MIB + MARKER, end - at), at)
                except OSError:
                    continue
                if not part.strip(b"\0"):
                    continue
                for marker in markers:
                    first = part.find(marker)
                    while first >= 0 and first < 8 * MIB:
                        counts[marker][not is_file] += 1
                        first = part.find(marker, first + 1)
    return [max(n[i] for n in counts.values()) for i in range(2)]
