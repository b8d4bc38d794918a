#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals between guests: from the master's to its slaves' and back, over each
transport and both channels."""

import re
import shlex
import sys

from harness import boot, case, check, main
from guest import CPU, image, qemu
from pair import TRANSPORTS, boot_slave, two_guests

SIGNAL = re.compile(r"signal (\d+) from (\d+) .*payload (\S+) (\S+)")


def listen(machine):
    """Start taking one signal in the guest."""
    machine.must("{ sdm-test -r 0 --count 1 --timeout 60 >/tmp/got & }")


def taken(machine):
    """What came: type, source, payload."""
    machine.must("wait")
    match = SIGNAL.search(machine.must("cat /tmp/got"))
    check(match, f"{machine.name} took no signal")
    return (int(match[1]), int(match[2]), int(match[3], 16),
            int(match[4], 16))


@case
def interrupt(stage):
    """to one slave, to all, to the master; never to another slave"""
    master = stage.master([128, 128])
    slaves = []
    for number in (1, 2):
        slave = stage.slave(128, f"slave{number}",
                            sock_extra=f",slave-id={number}")
        boot(master, slave, number)
        slaves.append(slave)

    listen(slaves[0])
    master.must("sdm-test -s 0 0 1 0x1234 0xabcdef0123456789")
    got = taken(slaves[0])
    check(got == (0, 0, 0x1234, 0xabcdef0123456789), f"slave 1 took {got}")

    for number, slave in enumerate(slaves, 1):
        listen(master)
        slave.must(f"sdm-test -s 0 0 0 {number} 7")
        got = taken(master)
        check(got == (0, number, number, 7), f"the master took {got}")

    for slave in slaves:
        listen(slave)
    master.must("sdm-test -s 0 0 0xffff 5 6")
    for slave in slaves:
        got = taken(slave)
        check(got == (0, 0, 5, 6), f"{slave.name} took {got}")

    for target in (2, 0xffff):
        status, said = slaves[0].run(f"sdm-test -s 0 0 {target} 1 1")
        check(status == 4, f"slave 1 may address {target}: {said}")
    status, said = master.run("sdm-test -s 0 9 1")
    check(status == 4, f"a type that is not offered is sent: {said}")
    stage.quit()


# "SDM, signal distribution module", 2016, as printed there.
LETTER_LOCAL = r"""
-object sdm-communication-local,id=localcomm -object sdm-signal,id=interrupt
-device sdm-platform,comm=localcomm,master,num-slaves=1,len-signals=1,signals[0]="interrupt"
-device sdm-platform,comm=localcomm,len-signals=1,signals[0]="interrupt"
"""


def letter_local(stage, arch):
    """The letter's two devices in one guest, and its sdm-test."""
    guest = stage.start("guest", [
        qemu(arch), "-nographic", "-nodefaults", "-M", "virt", *CPU[arch],
        "-m", "256M", "-kernel", image(arch, "kernel"),
        "-initrd", image(arch, "initrd.img"), *shlex.split(LETTER_LOCAL)],
        qmp=False)
    guest.shell("guest")
    said = guest.must("sdm-test --list")
    roles = dict(re.findall(r"/dev/sdm(\d): (master|slave)", said))
    check(sorted(roles.values()) == ["master", "slave"],
          f"a master and a slave: {said}")
    other = {"0": "1", "1": "0"}
    guest.must("cd /bin")
    for number, back in (("0x0", "0x0"), ("0x1234", "0xffffffffffffffff")):
        # The first device to the other one, then back.
        for device in "01":
            guest.must(f"{{ sdm-test -r {other[device]} --count 1 "
                       "--timeout 60 >/tmp/got & }")
            guest.must(f"./sdm-test -s {device} 0 0x0 {number} {back}")
            guest.must("wait")
            match = SIGNAL.search(guest.must("cat /tmp/got"))
            source = 0 if roles[device] == "master" else 1
            got = match and (int(match[1]), int(match[2]), match[3], match[4])
            check(got == (0, source, number, back), f"{device}: {match}")
    stage.quit()


@case
def letter_local_arm(stage):
    """the SDM letter's two devices on a local channel, and its command"""
    letter_local(stage, "arm")


@case
def letter_local_arm64(stage):
    """the same on aarch64"""
    letter_local(stage, "arm64")


def across(stage, arch, master, slave, iothread=False):
    """Two guests: both ways at once in order, none lost; ping and echo both
    ways, with an acknowledgement too."""
    guests = two_guests(stage, arch, master, slave, iothread)
    for guest in guests:
        guest.must("{ ./driver-test order-receive - 0 0 2000 >/tmp/got; "
                   "echo $? >>/tmp/got; } & true")
    for guest, target in zip(guests, (1, 0)):
        guest.must(f"{{ ./driver-test order-send 0 - {target} 2000 >/tmp/sent; "
                   "echo $? >>/tmp/sent; } & sender=$!")
    for name in ("sent", "got"):
        for guest in guests:
            guest.must("wait $sender" if name == "sent" else "wait", 300)
            said = guest.must(f"cat /tmp/{name}").strip()
            check(said == "0", f"{guest.name}, {name}: {said}")
    for here, there in (guests, reversed(guests)):
        there.must("{ sdm-test --echo 0 --signal 8 --count 300 >/tmp/echo & }; "
                   "until grep -qs echoes /tmp/echo; do :; done")
        for ack in ("", "--ack"):
            said = here.must("sdm-test --ping 150 --signal 8 --timeout 60 "
                             + ack)
            match = re.search(r"min (\S+) median (\S+) p99 (\S+)", said)
            check(match and 0 < float(match[1]) <= float(match[2])
                  <= float(match[3]), said)
            print(f"{here.name}, {TRANSPORTS[master]} to {TRANSPORTS[slave]}: "
                  + said.strip())
        there.must("wait")
    stage.quit()


def _add_across(arch, name, master, slave):
    def function(stage):
        across(stage, arch, master, slave)
    function.__name__ = f"socket_{name}_{master}_{slave}"
    function.__doc__ = (f"{name}: two guests over a socket, the master has "
                        f"{TRANSPORTS[master]}, the slave {TRANSPORTS[slave]}")
    case(function)


# Each transport on each side.
for _arch, _name in (("arm", "armhf"), ("arm64", "arm64")):
    for _pair in (("mmio", "platform"), ("pci", "mmio"), ("platform", "pci")):
        _add_across(_arch, _name, *_pair)


@case
def socket_arm64_iothread(stage):
    """arm64: the same with iothread= on both sides"""
    across(stage, "arm64", "mmio", "platform", iothread=True)


def lost(stage, arch, master, slave):
    """A slave that goes away before it has taken a signal: whoever waits for
    the acknowledgement is told, and STATE signals say the same."""
    guests = two_guests(stage, arch, master, slave)
    guests[0].must("{ sdm-test -r 0 --signal 4 >/tmp/states & }; "
                   "until grep -qs 'payload 0x3' /tmp/states; do :; done")
    for go, state in ((lambda: guests[1].type("reboot -f\n"), "0x1"),
                      (guests[1].kill, "0x0")):
        guests[0].must("rm -f /tmp/gone; { ./driver-test gone 0 - 1 >/tmp/gone;"
                       " echo $? >>/tmp/gone; } & sender=$!; "
                       "until grep -qs waiting /tmp/gone; do :; done; "
                       ": >/tmp/states")
        go()
        guests[0].must("wait $sender")
        said = guests[0].must("cat /tmp/gone")
        check(said.split() == ["waiting", "gone", "0"], said)
        guests[0].must(f"until grep -q 'signal 4 from 1 .*payload {state} ' "
                       "/tmp/states; do :; done")
        if state == "0x1":
            boot_slave(guests, arch)
    guests[0].quit()


@case
def lost_armhf_mmio_platform(stage):
    """an acknowledgement that cannot come any more; the slave's state as a
    signal"""
    lost(stage, "arm", "mmio", "platform")


@case
def lost_arm64_platform_pci(stage):
    """the same on aarch64, the other way round"""
    lost(stage, "arm64", "platform", "pci")


if __name__ == "__main__":
    sys.exit(main(__doc__))
