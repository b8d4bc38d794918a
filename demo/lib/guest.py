# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU with a Debian of demo/guest/build in it, and the command lines of a
master and its slaves."""

import os
import re
import shlex
import socket
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.append(os.path.join(TOP, "tests", "system", "baremetal"))

from machine import Machine, Trouble, wait_for              # noqa: E402

MIB = 1 << 20
BUILD = os.environ.get("SDM_BUILDDIR") or os.path.join(TOP, "build")

QEMU = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64"}
KERNEL = {"arm": "zImage", "arm64": "Image"}
CPU = {"arm": [], "arm64": ["-cpu", "cortex-a57"]}


def qemu(arch, stock=False):
    """The program: ours, or the unpatched one."""
    if stock:
        folder = (os.environ.get("SDM_STOCK_DIR") or
                  os.path.join(BUILD, "qemu", "stock"))
    else:
        folder = (os.environ.get("SDM_QEMU_DIR") or
                  os.path.join(BUILD, "qemu"))
    return os.path.join(folder, QEMU[arch])


def image(arch, name):
    """A file that demo/guest/build makes: kernel, initrd.img, master.img."""
    return os.path.join(os.environ.get("SDM_GUEST_DIR") or
                        os.path.join(BUILD, "guest"), arch, name)


def shown(argv):
    """A command line for people, as they could type it."""
    lines = []
    for word in argv:
        word = word if re.fullmatch(r"[\w@%+=:,./\[\]-]+", word) \
            else shlex.quote(word)
        if lines and not word.startswith("-") and lines[-1].startswith("-"):
            lines[-1] += " " + word
        else:
            lines.append(word)
    return " \\\n    ".join(lines)


def console_options(path):
    """A console on a socket, with the monitor behind ^a c as -nographic has
    it. QEMU waits for somebody to connect, so that nothing is lost."""
    return ["-chardev", f"socket,id=console,server=on,mux=on,path={path}",
            "-mon", "chardev=console"]


class Guest(Machine):
    """A Machine that can be talked to over its console.

    console  path of a socket for the console, to which others can attach
             after detach(); without it the console is ours alone
    text     all that the console has said
    """

    def __init__(self, name, argv, console=None, **options):
        self.text = ""
        self.seen = 0
        self.echo = None
        self._path = console
        self._tty = None
        self._chardev = None
        fds = tuple(options.pop("fds", ()))
        far = None
        if console:
            argv = list(argv) + console_options(console)
        else:
            self._tty, far = socket.socketpair()
            argv = list(argv) + ["-chardev",
                                 f"socket,id=console,fd={far.fileno()}"]
            fds += (far.fileno(),)
        try:
            super().__init__(name, argv, fds=fds, serial="chardev:console",
                             **options)
        finally:
            if far:
                far.close()
        if self._tty:
            self._watch_console()

    def _watch_console(self):
        self._tty.setblocking(False)
        self._selector.register(self._tty, 1, self._console)

    def _error(self, stream):
        super()._error(stream)
        if self._path and not self._tty and \
                "waiting for connection on:" in self.errors:
            self._tty = socket.socket(socket.AF_UNIX)
            self._tty.connect(self._path)
            self._watch_console()

    def _console(self, stream):
        if stream is not self._tty:
            super()._console(stream)
            return
        data = self._read(stream)
        if data:
            new = data.decode(errors="replace").replace("\r", "")
            self.text += new
            *lines, self.partial = (self.partial + new).split("\n")
            self.lines += lines
            if self.echo:
                self.echo(new)

    def detach(self):
        """Leave the console to whoever connects to its socket."""
        self._selector.unregister(self._tty)
        self._tty.close()

    def kill(self):
        super().kill()
        if self._tty:
            self._tty.close()

    def type(self, text):
        """Type on the console."""
        self._tty.setblocking(True)
        try:
            self._tty.sendall(text.encode())
        except (BrokenPipeError, ConnectionResetError):
            raise Trouble(f"{self.name} has closed its console") from None
        finally:
            self._tty.setblocking(False)

    def until(self, condition, what, limit):
        """Wait for something on its console."""
        wait_for([self], condition, what, limit)

    def expect(self, pattern, limit=120):
        """Wait until the console says this (a regular expression) behind what
        was expected before; return the match."""
        pattern = re.compile(pattern, re.M)
        match = None

        def said():
            nonlocal match
            match = pattern.search(self.text, self.seen)
            return match

        self.until(said, f"{pattern.pattern!r} on its console", limit)
        self.seen = match.end()
        return match

    def expect_error(self, pattern, limit=60):
        """Wait until QEMU itself says this; return the match."""
        pattern = re.compile(pattern, re.M)
        self.wait(lambda m: pattern.search(m.errors),
                  f"{pattern.pattern!r} on its stderr", limit)
        return pattern.search(self.errors)

    def shell(self, role, limit=300):
        """Wait for the guest's shell."""
        self.expect(f"SDM-GUEST-READY {role}$", limit)
        self.expect(f"^{role}# ", limit)

    def run(self, command, limit=120):
        """Run a command in the guest's shell; return its status and what it
        said."""
        # The quotes keep the echo of the command from being taken for its end.
        self.type(f"echo SDM-BE''GIN; {command}; echo SDM-E''ND $?\n")
        self.expect("^SDM-BEGIN$", limit)
        start = self.seen + 1
        match = self.expect(r"^SDM-END (\d+)$", limit)
        said = self.text[start:match.start()]
        self.expect(r"^\S+# ", limit)
        return int(match[1]), said

    def must(self, command, limit=120):
        """run(), and the command must succeed; return what it said."""
        status, said = self.run(command, limit)
        if status:
            raise Trouble(f"{self.name}: '{command}' exited {status}: {said}")
        return said

    def quit(self, limit=60):
        """End it politely and wait for its end; return its exit status."""
        self.process.terminate()
        return self.gone(limit)

    def gone(self, limit=60):
        """Wait for its end; return its exit status."""
        wait_for([self], lambda: self.closed, "its end", limit,
                 may_end=lambda m: True)
        return self.process.wait()


def reap(guests):
    """End them all and leave nothing."""
    for guest in guests:
        guest.kill()
