# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU process: its console, its monitor, its end. Waits for events."""

import ctypes
import json
import mmap
import os
import selectors
import signal
import socket
import subprocess
import time


class Trouble(Exception):
    """Something that the table of results cannot say: for the user to read."""


class QmpError(Exception):
    """QMP answered with an error."""

    def __init__(self, error):
        super().__init__(error.get("desc", str(error)))
        self.kind = error.get("class")


_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _before_exec(cpus, parent, stamp):
    def run():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        stamp[:8] = time.monotonic_ns().to_bytes(8, "little")
    return run


def terminate_politely():
    """Let SIGTERM and SIGINT run the `finally` clauses, and say no more."""
    def stop(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


class Machine:
    """A QEMU with its serial port on a pipe and, if asked, QMP on a socket.

    serial    where else the serial port goes, then `lines` stays empty
    started   time.monotonic_ns() of the child just before exec
    lines     complete lines of the console, as they come
    partial   what follows the last line
    errors    what QEMU itself said
    events    QMP events, oldest first
    """

    def __init__(self, name, argv, fds=(), cpus=None, qmp=True,
                 serial="stdio"):
        self.name = name
        self.lines = []
        self.partial = ""
        self.errors = ""
        self.events = []
        self.answers = []
        self.closed = False
        self._qmp = None
        self._qmp_rest = b""
        self._selector = selectors.DefaultSelector()
        argv = list(argv) + ["-display", "none", "-serial", serial]
        far = None
        if qmp:
            self._qmp, far = socket.socketpair()
            argv += ["-chardev", f"socket,id=qmp,fd={far.fileno()}",
                     "-mon", "chardev=qmp,mode=control"]
            fds = tuple(fds) + (far.fileno(),)
        else:
            argv += ["-monitor", "none"]
        self.argv = argv
        stamp = mmap.mmap(-1, mmap.PAGESIZE)    # shared with the child
        try:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, pass_fds=fds, bufsize=0,
                preexec_fn=_before_exec(cpus, os.getpid(), stamp))
            self.started = int.from_bytes(stamp[:8], "little")
        except OSError as e:
            self._close_qmp()
            raise Trouble(f"{argv[0]}: {e.strerror}") from e
        finally:
            stamp.close()
            if far:
                far.close()
        self.pid = self.process.pid
        for stream, take in ((self.process.stdout, self._console),
                             (self.process.stderr, self._error)):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, take)
        if qmp:
            self._qmp.setblocking(False)
            self._selector.register(self._qmp, selectors.EVENT_READ,
                                    self._monitor)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _close_qmp(self):
        if self._qmp:
            self._qmp.close()
            self._qmp = None

    def fileno(self):
        """Readable when feed() has something to do."""
        return self._selector.fileno()

    def feed(self):
        """Take in what is there, without waiting."""
        for key, _ in self._selector.select(0):
            key.data(key.fileobj)

    def _read(self, stream):
        try:
            data = os.read(stream.fileno(), 65536)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            data = b""
        if not data:
            self._selector.unregister(stream)
            self.closed = not self._selector.get_map()
        return data

    def _console(self, stream):
        data = self._read(stream)
        if data:
            text = self.partial + data.decode(errors="replace")
            *new, self.partial = text.replace("\r", "").split("\n")
            self.lines += new

    def _error(self, stream):
        data = self._read(stream)
        if data:
            self.errors += data.decode(errors="replace")

    def _monitor(self, stream):
        data = self._read(stream)
        if data:
            *new, self._qmp_rest = (self._qmp_rest + data).split(b"\n")
            for line in new:
                message = json.loads(line)
                if "event" in message:
                    self.events.append(message)
                elif "QMP" not in message:
                    self.answers.append(message)

    def wait(self, condition, what, limit=120):
        """Take events in until condition(self). The limit is a last resort."""
        wait_for([self], lambda: condition(self), what, limit)

    def start(self, execute, **arguments):
        """Send a QMP command; return time.monotonic_ns() just before."""
        request = {"execute": execute}
        if arguments:
            request["arguments"] = arguments
        packet = json.dumps(request).encode() + b"\n"
        sent = time.monotonic_ns()
        try:
            self._qmp.sendall(packet)
        except (BrokenPipeError, ConnectionResetError):
            self.feed()
            raise Trouble(f"{self.name} has closed its monitor: "
                          f"{self.errors.strip() or 'no message'}") from None
        return sent

    def finish(self, execute, limit=120):
        """The `return` of the command that was started, or QmpError."""
        self.wait(lambda m: m.answers, f"the answer to {execute}", limit)
        answer = self.answers.pop(0)
        if "error" in answer:
            raise QmpError(answer["error"])
        return answer["return"]

    def command(self, execute, limit=120, **arguments):
        """Send a QMP command, return its `return` or raise QmpError."""
        self.start(execute, **arguments)
        return self.finish(execute, limit)

    def negotiate(self):
        """Enter QMP's command mode; call it once, before command()."""
        self.command("qmp_capabilities")

    def await_slave(self, process, slave=1, state="waiting", limit=120):
        """As a master: until this slave has this state. `process` is its
        Machine. Asked again at each event, not at each moment."""
        while True:
            seen = len(self.events)
            for info in self.command("query-sdm"):
                if any(peer["id"] == slave and peer["state"] == state
                       for peer in info["peers"]):
                    return
            wait_for([self, process], lambda: len(self.events) > seen,
                     f"slave {slave} to be {state}", limit)

    def ended(self):
        """Its exit status once it has ended, else None."""
        return self.process.poll()

    def kill(self):
        """End it now, if it has not, and leave nothing open."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._selector.close()
        self.process.stdout.close()
        self.process.stderr.close()
        self._close_qmp()


def wait_for(machines, condition, what, limit, may_end=lambda m: False):
    """Feed several machines until condition(). Trouble if one ends that may
    not yet, or if the limit (seconds, a last resort) is over."""
    end = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        for m in machines:
            selector.register(m, selectors.EVENT_READ, m)
        while True:
            for m in machines:
                m.feed()
            if condition():
                return
            left = end - time.monotonic()
            for m in machines:
                if m.closed and not may_end(m):
                    m.process.wait()
                    said = m.errors.strip() or "no message"
                    raise Trouble(f"{m.name} ended with status "
                                  f"{m.process.returncode} before {what}: "
                                  f"{said}")
            if left <= 0:
                said = "; ".join(
                    f"{m.name} last printed {(m.lines + [''])[-2:]!r} and "
                    f"{m.partial!r}" for m in machines)
                raise Trouble(f"no sign of {what} in {limit} s: {said}")
            selector.select(left)
