# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system tests share: cases, a stage for the QEMUs of one case, and
the look at what a case leaves behind."""

import argparse
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "demo", "lib"))

import guest                                                # noqa: E402
import host                                                 # noqa: E402
import initrd                                               # noqa: E402
import lines                                                # noqa: E402
from guest import Guest, KERNEL, image                        # noqa: E402
from machine import Trouble, terminate_politely, wait_for   # noqa: E402

CASES = []

# A last resort, far above what any case takes: none may hold up the others.
CASE_LIMIT_S = 900


class Skip(Exception):
    """The case cannot be tried here; the text says why."""


def case(function):
    """A test case: called with a Stage; its docstring says what is true."""
    CASES.append(function)
    return function


def check(condition, what):
    """What must hold for the case to pass."""
    if not condition:
        raise Trouble(what)


def need(path, how):
    """Skip if a file is missing."""
    if not os.path.exists(path):
        raise Skip(f"{os.path.relpath(path, guest.TOP)} is not there: {how}")


class Stage:
    """The QEMUs of one case, and a folder for their sockets."""

    def __enter__(self):
        self.guests = []
        self.peers = []
        self.mounts = []
        self.folder = tempfile.mkdtemp(prefix="sdm-")
        self.shm = _shm()
        return self

    def __exit__(self, kind, error, _):
        if error and not isinstance(error, (Skip, host.Unavailable)):
            for machine in self.guests + self.peers:
                _show(machine)
        for machine in self.guests + self.peers:
            machine.kill()
        for path in self.mounts:
            host.unmount(path)
            os.rmdir(path)
        left = os.listdir(self.folder)
        shutil.rmtree(self.folder)
        if not error:
            left += _shm() - self.shm
            check(not left, f"left behind: {', '.join(left)}")

    @contextlib.contextmanager
    def huge_pages(self, size):
        """Huge pages for so many bytes; at the end, when nobody uses them any
        more, all must be free again."""
        with host.huge_pages(host.huge_pages_needed(size)):
            before = _huge_pages()
            yield
            after = _huge_pages()
            check(after == before, f"huge pages: {before} before, {after} "
                  "after (total, free, reserved, surplus)")

    def path(self, name):
        """A name in the stage's folder."""
        return os.path.join(self.folder, name)

    def start(self, name, argv, kind=Guest, **options):
        """Start a QEMU with a console; it ends with the stage."""
        machine = kind(name, argv, **options)
        self.guests.append(machine)
        return machine

    def mount(self, kind, options=""):
        """Mount a file system for this case; return its path."""
        if not self.mounts:
            host.private_mounts()
        path = self.path(f"{kind}.{len(self.mounts)}")
        os.mkdir(path)
        try:
            host.mount(kind, path, options)
        except host.Unavailable:
            os.rmdir(path)
            raise
        self.mounts.append(path)
        return path

    def master(self, windows, arch="arm", dtbs=None, shell=True, **options):
        """Start a master whose guest has zImage, busybox.cpio and these device
        trees, {name: options of lines.slave()}, in its /root."""
        files = {"root/" + KERNEL[arch]: image(arch, "kernel"),
                 "root/busybox.cpio": image(arch, "initrd.img")}
        made = []
        for name, more in (dtbs or {"slave.dtb": {}}).items():
            path = self.path(name)
            lines.dump_dtb(path, lines.slave(arch, self.path("sock"), windows[0],
                                             **more))
            files["root/" + name] = path
            made.append(path)
        packed = self.path("master.img")
        initrd.write(packed, image(arch, "initrd.img"), files)
        machine = self.start("master", lines.master(
            arch, self.path("sock"), windows, initrd=packed, **options))
        machine.negotiate()             # it has read its files by then
        for path in made + [packed]:
            os.unlink(path)
        if shell:
            machine.shell("master")
            machine.must("cd /root")
        return machine

    def slave(self, window, name="slave", arch="arm", **options):
        """Start a slave with a window of so many MiB, up to its waiting."""
        return self.start(name, lines.slave(arch, self.path("sock"), window,
                                            **options), qmp=False)

    def quit(self):
        """End all politely, the master last; that leaves no socket."""
        for machine in reversed(sorted(self.guests, key=lambda m:
                                       m.name == "master")):
            if machine.ended() is None:
                status = machine.quit()
                check(status == 0, f"{machine.name} ended with {status}")


def boot(master, slave, number, arch="arm", dtb="slave.dtb", append=""):
    """Boot a slave from its master's guest, up to the slave's shell."""
    master.must(f"sdm-test --wait 0 {number} waiting --timeout 60")
    said = master.must(
        f"sdm-test -b 0 {number} {KERNEL[arch]} {dtb} --initrd busybox.cpio "
        f"--append 'console=ttyAMA0 sdm.role={slave.name} {append}'")
    slave.shell(slave.name)
    return said


def memory(machine):
    """MemTotal of a guest, in MiB."""
    said = machine.must("cat /proc/meminfo")
    return int(said.split("MemTotal:")[1].split()[0]) >> 10


def changed(argv, *changes):
    """A command line with texts replaced; each must be there. A text that
    becomes None takes its whole word out, and the option in front of it."""
    argv = list(argv)
    for old, new in changes:
        places = [i for i, word in enumerate(argv) if old in word]
        assert places, f"no {old} in {argv}"
        if new is None:
            del argv[places[0] - 1:places[0] + 1]
        else:
            argv[places[0]] = argv[places[0]].replace(old, new)
    return argv


def bare(argv, arch="arm"):
    """Without a guest: no kernel is read, and nothing runs."""
    return changed(argv, (image(arch, "kernel"), None),
                   (image(arch, "initrd.img"), None),
                   ("sdm.role", None)) + ["-S"]


def master_line(stage, windows=(128,), arch="arm", memory=64, **options):
    """A master without a guest."""
    return bare(lines.master(arch, stage.path("sock"), list(windows),
                             memory=memory, **options), arch)


def start_master(stage, windows=(128,), changes=(), **options):
    """Start one, with a monitor."""
    machine = stage.start("master", changed(
        master_line(stage, windows, **options), *changes))
    machine.negotiate()
    return machine


def slave_line(stage, window=128, **options):
    """A slave."""
    return lines.slave("arm", stage.path("sock"), window, **options)


def peer_is(master, state, number=1):
    """Wait until the master sees the slave in this state: asked again at each
    event."""
    while True:
        seen = len(master.events)
        peers = master.command("query-sdm")[0]["peers"]
        if peers[number - 1]["state"] == state:
            return
        master.wait(lambda m, n=seen: len(m.events) > n,
                    f"slave {number} to be {state}")


def is_booting(master, number):
    """Wait until BOOT is on its way to this slave."""
    master.wait(lambda m: any(
        e["event"] == "SDM_PEER_STATE" and e["data"]["slave"] == number and
        e["data"]["state"] == "booting" for e in m.events), "booting")


def start_two_monitors(stage, windows, changes=(), **options):
    """A master with QMP, which answers one command after the other, and with
    a second monitor on its console, behind ^a c."""
    master = stage.start("master", changed(
        master_line(stage, windows, **options), *changes),
        console=stage.path("console"))
    master.negotiate()
    return master


class Peer:
    """An sdmctl with its output as JSON lines; for wait_for() like a Machine.

    said  the lines, decoded
    """

    def __init__(self, stage, *words, name="sdmctl"):
        program = os.path.join(guest.BUILD, "tools", "sdmctl")
        need(program, "make")
        self.name = name
        self.said = []
        self.lines = []         # of a console, which it has not
        self.partial = ""
        self.errors = ""
        self.closed = False
        self.process = subprocess.Popen(
            [program, *words[:1], "--json", "--exit-with-parent",
             *words[1:], stage.path("sock")], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        for stream in (self.process.stdout, self.process.stderr):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)
        stage.peers.append(self)

    def fileno(self):
        """Readable when feed() has something to do."""
        return self._selector.fileno()

    def feed(self):
        """Take in what is there, without waiting."""
        for key, _ in self._selector.select(0):
            data = key.fileobj.read(65536)
            if not data:
                self._selector.unregister(key.fileobj)
                self.closed = not self._selector.get_map()
            elif key.fileobj is self.process.stderr:
                self.errors += data.decode(errors="replace")
            else:
                *new, self._rest = (self._rest + data).split(b"\n")
                self.said += [json.loads(line) for line in new]

    def type(self, line):
        """Give it a command."""
        self.process.stdin.write(line.encode() + b"\n")

    def until(self, what, limit=60, **fields):
        """Wait for a line with these fields; return it."""
        def found():
            return [line for line in self.said
                    if fields.items() <= line.items()]
        wait_for([self], found, what, limit)
        return found()[-1]

    def gone(self, limit=60):
        """Wait for its end; return its exit status."""
        wait_for([self], lambda: self.closed, "its end", limit,
                 may_end=lambda m: True)
        return self.process.wait()

    def kill(self):
        """End it now and leave nothing open."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._selector.close()
        for stream in (self.process.stdin, self.process.stdout,
                       self.process.stderr):
            stream.close()


def _huge_pages():
    info = host.meminfo()
    return tuple(info.get(f"HugePages_{name}", 0) for name in
                 ("Total", "Free", "Rsvd", "Surp"))


def _shm():
    return {name for name in os.listdir("/dev/shm")
            if "sdm" in name or "qemu" in name}


def _show(machine):
    """The end of what a QEMU has said, for the log."""
    try:
        machine.feed()
    except ValueError:
        pass        # the case has killed it
    print(f"--- {machine.name}: {guest.shown(machine.process.args)}")
    console = machine.text if isinstance(machine, Guest) else \
        "\n".join(map(str, machine.said))
    for what, text in (("console", console), ("stderr", machine.errors)):
        lines = text.splitlines()[-40:]
        if lines:
            print(f"--- {machine.name}, {what}:")
            print("\n".join("    " + line for line in lines))


def _too_long(_signal, _frame):
    raise Trouble(f"no end after {CASE_LIMIT_S} s: an event did not come")


def _run(function):
    """Run one case: True passed, False failed, None skipped."""
    name = function.__name__
    start = time.monotonic()
    signal.signal(signal.SIGALRM, _too_long)
    try:
        with Stage() as stage:
            signal.alarm(CASE_LIMIT_S)
            try:
                function(stage)
            finally:
                signal.alarm(0)
    except (Skip, host.Unavailable) as e:
        print(f"SKIP: {name}: {e}", flush=True)
        return None
    except Trouble as e:
        print(f"FAIL: {name}: {e}", flush=True)
        return False
    except Exception:                           # noqa: a case's own mistake
        traceback.print_exc(file=sys.stdout)
        print(f"FAIL: {name}: a mistake in the test, see above", flush=True)
        return False
    print(f"PASS: {name} ({time.monotonic() - start:.1f} s)", flush=True)
    return True


def main(description):
    """Run the cases of a test program; exit 0 passed, 1 failed, 77 skipped."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--list", action="store_true",
                        help="show the cases, and end")
    parser.add_argument("case", nargs="*", help="run these only")
    args = parser.parse_args()
    if args.list:
        for function in CASES:
            print(f"{function.__name__:28} "
                  + " ".join(function.__doc__.split()))
        return 0
    wrong = set(args.case) - {function.__name__ for function in CASES}
    if wrong:
        parser.error(f"no case {', '.join(sorted(wrong))}: see --list")
    terminate_politely()
    results = [_run(function) for function in CASES
               if not args.case or function.__name__ in args.case]
    if False in results:
        return 1
    return 0 if True in results else 77
