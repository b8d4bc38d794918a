# SPDX-License-Identifier: GPL-2.0-or-later
"""Files put behind an initrd: a kernel unpacks one cpio after the other."""


def _entry(number, name, mode, data):
    """One file of a newc cpio."""
    name = name.encode() + b"\0"
    fields = (number, mode, 1, 0, 0, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(data)


def _padded(data):
    return data + bytes(-len(data) % 4)


def write(path, base, files):
    """Write the initrd `base` with more files in it, {name: path of it}."""
    with open(path, "wb") as out, open(base, "rb") as first:
        out.write(_padded(first.read()))
        for number, (name, source) in enumerate(files.items(), 1):
            with open(source, "rb") as file:
                out.write(_entry(number, name, 0o100644, file.read()))
        out.write(_entry(0, "TRAILER!!!", 0, b""))
