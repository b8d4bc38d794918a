# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo and the system tests need of the host: huge pages, mounts,
and the memory of a process. All of it is given back."""

import contextlib
import ctypes
import fcntl
import os

NR_HUGEPAGES = "/proc/sys/vm/nr_hugepages"

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_PRIVATE = 0x40000


class Unavailable(Exception):
    """This host does not give us that; the text says why and what would."""


def meminfo():
    """/proc/meminfo as a dict, in its own units (kB, or pages)."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return {line.split(":")[0]: int(line.split()[1]) for line in file}


def huge_page_size():
    """Bytes of a huge page of the default size; 0: the kernel has none."""
    return meminfo().get("Hugepagesize", 0) * 1024


def huge_pages_needed(size):
    """Huge pages of the default size that hold `size` bytes."""
    page = huge_page_size()
    return -(-size // page) if page else 0


def _write_nr_hugepages(count):
    with open(NR_HUGEPAGES, "w", encoding="ascii") as file:
        file.write(f"{count}\n")


@contextlib.contextmanager
def huge_pages(count, waiting=lambda: None):
    """Reserve `count` more huge pages of the default size, or Unavailable. If
    that is not allowed, but so many are free, these will do.

    One user at a time: the lock is the one that the programs of tests/host
    take. waiting() is called if somebody else has it.
    """
    info = meminfo()
    if not huge_page_size():
        raise Unavailable("this kernel has no huge pages")
    if not os.access(NR_HUGEPAGES, os.W_OK):
        if info["HugePages_Free"] - info["HugePages_Rsvd"] < count:
            raise Unavailable(f"{count} huge pages are needed, and this user "
                              f"may not write to {NR_HUGEPAGES}")
        yield
        return
    lock = os.open(NR_HUGEPAGES, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        before = meminfo()["HugePages_Total"]
        try:
            _write_nr_hugepages(before + count)
        except OSError as e:
            raise Unavailable(f"{NR_HUGEPAGES}: {e.strerror}") from e
        got = meminfo()["HugePages_Total"] - before
        try:
            if got < count:
                raise Unavailable(
                    f"the kernel has {got} of the {count} huge pages of "
                    f"{huge_page_size() >> 10} kB that are needed")
            yield
        finally:
            _write_nr_hugepages(meminfo()["HugePages_Total"] - got)
    finally:
        os.close(lock)


def private_mounts():
    """From here on, what this process and its children mount is theirs only,
    and goes when the last of them ends, however that comes."""
    if _libc.unshare(CLONE_NEWNS) or _libc.mount(
            b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise Unavailable("mounting needs root: "
                          + os.strerror(ctypes.get_errno()))


def mount(kind, path, options=""):
    """Mount a file system of this kind; see private_mounts()."""
    if _libc.mount(b"sdm", os.fsencode(path), kind.encode(), 0,
                   options.encode()):
        raise Unavailable(f"cannot mount a {kind}: "
                          + os.strerror(ctypes.get_errno()))


def unmount(path):
    """Undo mount()."""
    if _libc.umount(os.fsencode(path)):
        raise Unavailable(f"cannot unmount {path}: "
                          + os.strerror(ctypes.get_errno()))


def mounted(kind, path):
    """Is a file system of this kind mounted at this path?"""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return any(words[1] == path and words[2] == kind
                   for words in map(str.split, file))


def _rollup(pid, prefix):
    """The sum of these fields of /proc/PID/smaps_rollup, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) * 1024 for line in file
                   if line.startswith(prefix))


def uss(pid):
    """Bytes of memory that would be free if this process ended, huge pages
    of its own included."""
    return _rollup(pid, "Private_")


def anonymous(pid):
    """Bytes that a process has allocated: no file, no shared memory."""
    return _rollup(pid, "Anonymous:")


def areas(pid):
    """The mappings of a process: dicts with start, end, mode, name, and the
    figures of /proc/PID/smaps in bytes."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if not words[0].endswith(":"):
                start, end = (int(x, 16) for x in words[0].split("-"))
                found.append({"start": start, "end": end, "mode": words[1],
                              "name": " ".join(words[5:])})
            elif len(words) == 3 and words[2] == "kB":
                found[-1][words[0][:-1]] = int(words[1]) * 1024
    return found
