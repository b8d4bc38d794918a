# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU under the qtest accelerator: its qtest channel, its monitor, its end;
and what the test programs of this folder share. Waits for events, never for
time; the limits are a last resort for a run that is broken."""

import argparse
import ctypes
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
BUILD = os.environ.get("SDM_BUILDDIR") or os.path.join(TOP, "build")
FOLDER = os.environ.get("SDM_QEMU_DIR") or os.path.join(BUILD, "qemu")
STOCK = os.environ.get("SDM_STOCK_DIR") or os.path.join(BUILD, "qemu", "stock")
LIMIT = float(os.environ.get("SDM_QTEST_LIMIT", "120"))

PROGRAMS = {"arm": "qemu-system-arm", "arm64": "qemu-system-aarch64",
            "x86": "qemu-system-x86_64", "ppc": "qemu-system-ppc"}
MIB = 1 << 20
RAM = 0x40000000            # of the virt machine

CASES = []


class Trouble(Exception):
    """What was expected is not so."""


class Skip(Exception):
    """The case cannot be tried here; the text says why."""


class QmpError(Exception):
    """QMP answered with an error."""


def case(function):
    """A test case: called with a Stage; its docstring says what is true."""
    CASES.append(function)
    return function


def check(condition, what):
    """What must hold for the case to pass."""
    if not condition:
        raise Trouble(what)


def equal(seen, wanted, what):
    """Two values must be the same; the message shows both."""
    show = "{:#x}" if isinstance(seen, int) and isinstance(wanted, int) \
        and not isinstance(seen, bool) else "{!r}"
    check(seen == wanted, f"{what} is {show.format(seen)}, "
          f"not {show.format(wanted)}")


def refused(pattern, command, *args, **named):
    """The call must end in a QmpError whose text matches."""
    try:
        command(*args, **named)
    except QmpError as e:
        check(re.search(pattern, str(e)), f"the error is '{e}', "
              f"not '{pattern}'")
        return
    raise Trouble(f"no error: '{pattern}' was expected")


def program(arch, stock=False):
    """The QEMU to test, or the unpatched one."""
    path = os.path.join(STOCK if stock else FOLDER, PROGRAMS[arch])
    if not os.path.exists(path):
        raise Skip(f"{path} is not there: run qemu/build{' --stock' * stock}, "
                   f"or set SDM_{'STOCK' if stock else 'QEMU'}_DIR")
    return path


# ------------------------------------------------------------------ the loop

_selector = selectors.DefaultSelector()


def watch(fileobj, take):
    """Call take() whenever fileobj is readable and somebody waits."""
    _selector.register(fileobj, selectors.EVENT_READ, take)


def unwatch(fileobj):
    """Undo watch(); harmless if it was undone."""
    try:
        _selector.unregister(fileobj)
    except (KeyError, ValueError):
        pass


def wait_for(condition, what, limit=None):
    """Take in what comes until condition() is true; return what it gave."""
    end = time.monotonic() + (limit or LIMIT)
    while True:
        for key, _ in _selector.select(0):
            key.data()
        value = condition()
        if value:
            return value
        left = end - time.monotonic()
        if left <= 0:
            raise Trouble(f"no sign of {what} in {limit or LIMIT} s")
        _selector.select(left)


# ---------------------------------------------------------------- the machine

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _before_exec(parent, limits):
    def run():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for what, value in limits:
            import resource
            resource.setrlimit(what, value)
    return run


class Qemu:
    """One QEMU.

    events  QMP events, oldest first
    errors  what it has said on stderr
    irqs    levels of the intercepted interrupt lines, by number
    """

    def __init__(self, name, args, arch="arm", accel="qtest", limits=(),
                 pass_fds=(), stock=False):
        self.name = name
        self.events = []
        self.errors = ""
        self.irqs = {}
        self._answers = []
        self._lines = []
        self._rest = {"qmp": b"", "qtest": b""}
        self._open = {}
        far = []
        argv = [program(arch, stock), "-nodefaults", "-display", "none",
                "-accel", accel]
        for channel in ("qmp", "qtest") if accel == "qtest" else ("qmp",):
            near, other = socket.socketpair()
            self._open[channel] = near
            far.append(other)
            argv += ["-chardev", f"socket,id={channel},fd={other.fileno()}"]
        argv += ["-mon", "chardev=qmp,mode=control"]
        if accel == "qtest":
            argv += ["-object", "qtest,id=qtest0,chardev=qtest,log=/dev/null"]
        self.argv = argv + list(args)
        # QEMU keeps things until its end; what it touches wrongly is fatal.
        env = {"ASAN_OPTIONS": "detect_leaks=0"} | os.environ
        self.process = subprocess.Popen(
            self.argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, bufsize=0,
            pass_fds=[*pass_fds, *(other.fileno() for other in far)],
            preexec_fn=_before_exec(os.getpid(), limits))
        for other in far:
            other.close()
        self.pid = self.process.pid
        self._open["stderr"] = self.process.stderr
        takes = {"qmp": self._take_qmp, "qtest": self._take_qtest,
                 "stderr": self._take_stderr}
        for channel, stream in self._open.items():
            os.set_blocking(stream.fileno(), False)
            watch(stream, takes[channel])

    # streams

    def _read(self, channel):
        stream = self._open[channel]
        try:
            data = os.read(stream.fileno(), 1 << 16)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            data = b""
        if not data:
            unwatch(stream)
            stream.close()
            del self._open[channel]
        return data

    def _split(self, channel):
        *new, self._rest[channel] = \
            (self._rest[channel] + self._read(channel)).split(b"\n")
        return [line.decode() for line in new]

    def _take_qmp(self):
        for line in self._split("qmp"):
            message = json.loads(line)
            if "event" in message:
                self.events.append(message)
            elif "QMP" not in message:
                self._answers.append(message)

    def _take_qtest(self):
        for line in self._split("qtest"):
            words = line.split()
            if words[0] == "IRQ":
                self.irqs[int(words[2])] = words[1] == "raise"
            else:
                self._lines.append(line)

    def _take_stderr(self):
        self.errors += self._read("stderr").decode(errors="replace")

    def _alive(self, channel, what):
        if channel not in self._open:
            wait_for(lambda: "stderr" not in self._open, "the end of "
                     + self.name)
            status = self.process.wait()
            raise Trouble(f"{self.name} ended with status {status} before "
                          f"{what}: {self.errors.strip() or 'no message'}")

    def _send(self, channel, data, what):
        self._alive(channel, what)
        try:
            self._open[channel].setblocking(True)
            self._open[channel].sendall(data)
            self._open[channel].setblocking(False)
        except (BrokenPipeError, ConnectionResetError):
            wait_for(lambda: channel not in self._open, "its end")
            self._alive(channel, what)

    # the monitor

    def start(self, execute, **arguments):
        """Send a QMP command and do not wait for its answer."""
        command = {"execute": execute}
        if arguments:
            command["arguments"] = {key.replace("_", "-"): value
                                    for key, value in arguments.items()}
        self._send("qmp", json.dumps(command).encode() + b"\n", execute)

    def finish(self, execute):
        """The answer to the command that was started, or QmpError."""
        wait_for(lambda: self._answers or "qmp" not in self._open,
                 f"the answer to {execute}")
        if not self._answers:
            self._alive("qmp", f"the answer to {execute}")
        answer = self._answers.pop(0)
        if "error" in answer:
            raise QmpError(answer["error"]["desc"])
        return answer["return"]

    def qmp(self, execute, **arguments):
        """Send a QMP command, return its `return` or raise QmpError."""
        self.start(execute, **arguments)
        return self.finish(execute)

    def hmp(self, line):
        """An HMP command's output."""
        return self.qmp("human-monitor-command", command_line=line)

    def ready(self):
        """Enter QMP's command mode: QEMU is in its main loop."""
        self.qmp("qmp_capabilities")
        return self

    def status(self):
        """The run state."""
        return self.qmp("query-status")["status"]

    def until_event(self, name, seen=0, **data):
        """Wait for a QMP event with these data, from number `seen` on."""
        def found():
            self._alive("qmp", f"the event {name}")
            return [e for e in self.events[seen:] if e["event"] == name and
                    data.items() <= {key.replace("-", "_"): value for
                                     key, value in
                                     e.get("data", {}).items()}.items()]
        return wait_for(found, f"the event {name} {data}")[0]

    def until_error(self, pattern, since=0):
        """Wait for it to say something on stderr; return the match."""
        def found():
            match = re.search(pattern, self.errors[since:])
            if not match:
                self._alive("stderr", f"'{pattern}'")
            return match
        return wait_for(found, f"'{pattern}' from {self.name}")

    def said(self):
        """What it has said, without a sanitizer's greeting."""
        return "\n".join(line for line in self.errors.splitlines()
                         if not line.startswith("=="))

    # qtest

    def command(self, text):
        """A qtest command; the words behind its OK."""
        self._send("qtest", text.encode() + b"\n", text)
        wait_for(lambda: self._lines or "qtest" not in self._open,
                 f"the answer to {text}")
        if not self._lines:
            self._alive("qtest", f"the answer to {text}")
        words = self._lines.pop(0).split()
        check(words[0] == "OK", f"qtest {text}: {' '.join(words)}")
        return words[1:]

    def settle(self):
        """Return when everything that could happen by itself has happened:
        each command takes a turn of the main loop, which also serves what
        was readable, and what that has put off to the next turn."""
        for _ in range(6):
            self.command("clock_step 0")

    def readl(self, addr):
        """32 bits at a guest-physical address."""
        return int(self.command(f"readl {addr:#x}")[0], 16)

    def writel(self, addr, value):
        """Write 32 bits."""
        self.command(f"writel {addr:#x} {value:#x}")

    def read(self, addr, size):
        """Bytes of guest memory."""
        return bytes.fromhex(self.command(f"read {addr:#x} {size:#x}")[0][2:])

    def write(self, addr, data):
        """Write bytes into guest memory."""
        if data:
            self.command(f"write {addr:#x} {len(data):#x} 0x{data.hex()}")

    def intercept(self, path):
        """Follow the input lines of an interrupt controller in .irqs."""
        self.command(f"irq_intercept_in {path}")

    def find(self, kind, path="/machine"):
        """QOM path of the first object of a type below path."""
        for child in self.qmp("qom-list", path=path):
            if not child["type"].startswith("child<"):
                continue
            below = f"{path}/{child['name']}"
            if child["type"] == f"child<{kind}>":
                return below
            found = self.find(kind, below)
            if found:
                return found
        return None

    # its end

    def fds(self):
        """Number of its open files."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def ended(self):
        """Exit status, or None."""
        return self.process.poll()

    def end(self):
        """Wait for its own end: exit status."""
        wait_for(lambda: "stderr" not in self._open, f"the end of {self.name}")
        return self.process.wait()

    def quit(self):
        """End it politely: it must still live, and end with 0."""
        check(self.ended() is None, f"{self.name} has ended with status "
              f"{self.ended()}: {self.errors.strip()}")
        self.start("quit")
        equal(self.end(), 0, f"exit status of {self.name}")

    def kill(self):
        """End it now, if it has not, and leave nothing open."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in self._open.values():
            unwatch(stream)
            stream.close()
        self._open = {}


# ------------------------------------------------------------------ the stage

# What a sanitizer says of a file of ours.
COMPLAINT = re.compile(r"(qemu-sdm/.*runtime error.*|ERROR: AddressSanit.*)")


class Stage:
    """What one case uses: QEMUs, peers, a folder. All ends with the case."""

    def __enter__(self):
        self.things = []
        self.qemus = []
        self.folder = tempfile.mkdtemp(prefix="sdm-")
        return self

    def __exit__(self, kind, error, _):
        if error and not isinstance(error, Skip):
            for qemu in self.qemus:
                self._show(qemu)
        for thing in reversed(self.things):
            thing.kill()
        left = os.listdir(self.folder)
        shutil.rmtree(self.folder)
        if error:
            return
        for qemu in self.qemus:
            said = COMPLAINT.search(qemu.errors)
            check(not said, f"{qemu.name}: {said and said[0]}")
        check(not left, f"left behind: {', '.join(left)}")

    @staticmethod
    def _show(qemu):
        try:
            qemu._take_stderr()
        except KeyError:
            pass
        print(f"--- {qemu.name}: {' '.join(qemu.argv)}")
        for line in qemu.errors.splitlines()[-40:]:
            print("    " + line)

    def path(self, name="sock"):
        """A name in the stage's folder."""
        return os.path.join(self.folder, name)

    def remove(self, name):
        """Remove a file of the stage's folder."""
        os.unlink(self.path(name))

    def keep(self, thing):
        """Something with kill(), to be called at the end of the case."""
        self.things.append(thing)
        return thing

    def start(self, name, *args, **options):
        """Start a QEMU that may end by itself."""
        qemu = self.keep(Qemu(name, args, **options))
        self.qemus.append(qemu)
        return qemu

    def qemu(self, name, *args, **options):
        """Start a QEMU and wait until it is in its main loop."""
        return self.start(name, *args, **options).ready()

    def fails(self, pattern, *args, **options):
        """A QEMU with this command line must end with 1 and say so."""
        qemu = self.start("qemu", *args, **options)
        status = qemu.end()
        equal(status, 1, "exit status")
        check(re.search(pattern, qemu.errors),
              f"it says '{qemu.errors.strip()}', not '{pattern}'")

    def quit(self):
        """All QEMUs that still run must do so well, and end with 0."""
        for qemu in reversed(self.qemus):
            if qemu.ended() is None:
                qemu.quit()


# ---------------------------------------------------------------- snapshots

def job_done(qemu, name):
    """Wait for a job, which must end well."""
    qemu.until_event("JOB_STATUS_CHANGE", id=name, status="concluded")
    job = [j for j in qemu.qmp("query-jobs") if j["id"] == name][0]
    check("error" not in job, f"job {name}: {job.get('error')}")
    qemu.qmp("job-dismiss", id=name)


def snapshot_disk(stage):
    """An empty qcow2 file, and the options for snapshot() to find it."""
    disk = stage.path("disk")
    maker = stage.qemu("maker", "-M", "none")
    maker.qmp("blockdev-create", job_id="c", options={
        "driver": "file", "filename": disk, "size": 0})
    job_done(maker, "c")
    maker.qmp("blockdev-add", driver="file", node_name="f", filename=disk)
    maker.qmp("blockdev-create", job_id="d", options={
        "driver": "qcow2", "file": "f", "size": 16 * MIB})
    job_done(maker, "d")
    maker.quit()
    return disk, ["-blockdev", f"driver=file,filename={disk},node-name=f",
                  "-blockdev", "driver=qcow2,file=f,node-name=d"]


def snapshot(qemu, what, tag="s"):
    """snapshot-save or snapshot-load."""
    qemu.qmp(what, job_id=what, tag=tag, vmstate="d", devices=["d"])
    job_done(qemu, what)


# ------------------------------------------------------------------ running

def _run(function):
    name = function.__name__
    begin = time.monotonic()
    try:
        with Stage() as stage:
            function(stage)
            stage.quit()
    except Skip as e:
        print(f"SKIP: {name}: {e}", flush=True)
        return None
    except (Trouble, QmpError) as e:
        where = [f"{os.path.basename(frame.filename)}:{frame.lineno}"
                 for frame in traceback.extract_tb(e.__traceback__)]
        print(f"FAIL: {name}: {e} ({' '.join(where)})", flush=True)
        return False
    except Exception:                           # noqa: a case's own mistake
        traceback.print_exc(file=sys.stdout)
        print(f"FAIL: {name}: a mistake in the test, see above", flush=True)
        return False
    print(f"PASS: {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    return True


def _terminate_politely():
    def stop(_signum, _frame):
        raise SystemExit(143)
    signal.signal(signal.SIGTERM, stop)


def main(description):
    """Run the cases of a program; exit 0 passed, 1 failed, 77 skipped."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--list", action="store_true",
                        help="show the cases, and end")
    parser.add_argument("case", nargs="*", help="run these only")
    args = parser.parse_args()
    if args.list:
        for function in CASES:
            print(f"{function.__name__:32} "
                  + " ".join(function.__doc__.split()))
        return 0
    wrong = set(args.case) - {function.__name__ for function in CASES}
    if wrong:
        parser.error(f"no case {', '.join(sorted(wrong))}: see --list")
    _terminate_politely()
    results = [_run(function) for function in CASES
               if not args.case or function.__name__ in args.case]
    if False in results:
        return 1
    return 0 if True in results else 77
