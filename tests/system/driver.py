#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest driver: what it promises of /dev/sdmN and sysfs, and its mailbox
controller, over each transport, with both ends in one guest."""

import os
import re
import shutil
import signal
import subprocess
import sys

from harness import Skip, boot, case, check, main
import lines
from pair import one_guest, one_line

# Receive buffers that Linux gives the device; QEMU's virtio-mmio lets it have
# more than the device wants.
BUFFERS = {"mmio": 1024, "pci": 128, "platform": 0}


def try_case(guest, name, *words):
    """One of driver-test's; return what it says."""
    status, said = guest.run(f"./driver-test {name} "
                             + " ".join(map(str, words)), 300)
    check(status == 0, f"driver-test {name}: {said}")
    print(f"{name}: {said.strip()}")
    return said


def counters(guest, number):
    """All counters of a device."""
    said = guest.must(f"cd /sys/class/sdm/sdm{number}; "
                      "grep . sent received waiting counters/*; cd /root")
    return {name: int(value) for name, value in
            re.findall(r"(\S+):(\d+)", said)}


def check_counters(guest, number, sent, received):
    """Those of each type add up to the device's; types not offered have
    none."""
    now = counters(guest, number)
    for kind, least in (("sent", sent), ("received", received)):
        parts = [value for name, value in now.items()
                 if name.startswith(f"counters/{kind}_")]
        check(len(parts) == 3 and sum(parts) == now[kind] >= least,
              f"sdm{number}: {kind} of {least} at least: {now}")
    check(now["waiting"] == 0, f"sdm{number}: {now}")


def clean(guest):
    """The kernel has complained of nothing."""
    said = guest.must("dmesg")
    bad = [line for line in said.splitlines()
           if re.search(r"BUG|WARNING:|Oops|=====|refcount|stall", line)]
    check(not bad, "\n".join(bad))


def bus(transport):
    """The driver's folder in sysfs."""
    return ("/sys/bus/platform/drivers/sdm-platform"
            if transport == "platform"
            else "/sys/bus/virtio/drivers/virtio_sdm")


def unbind(guest, transport, number, target):
    """Take the device from the driver under a reader, a poller and a sender,
    and give it back."""
    name = guest.must(f"basename $(readlink /sys/class/sdm/sdm{number}/device)"
                      ).strip()
    guest.must(f"{{ ./driver-test hold {number} - {target} >/tmp/held & }}; "
               "until grep -qs holding /tmp/held; do :; done")
    guest.must(f"echo {name} >{bus(transport)}/unbind")
    guest.must("wait")
    said = guest.must("cat /tmp/held")
    for words in ("reader: -1 No such device", "sender: -1 No such device",
                  "all woken"):
        check(words in said, f"no '{words}' in: {said}")
    guest.must(f"test ! -e /dev/sdm{number}")
    guest.must(f"echo {name} >{bus(transport)}/bind; test -e /dev/sdm{number}")


def promises(stage, arch, master, slave):
    """All that one guest can try, both ways."""
    guest, first, second = one_guest(stage, arch, master, slave)
    ways = ((first, second, 1), (second, first, 0))
    for way, receiver in zip(ways, (slave, master)):
        for name in ("errors", "nonblock", "filters", "filter-full",
                     "interrupted"):
            try_case(guest, name, *way)
        try_case(guest, "acknowledged", *way, BUFFERS[receiver])
        for name in ("order", "readers"):
            try_case(guest, name, *way, 1000)
    for number in (first, second):
        check_counters(guest, number, 6000, 6000)

    status, said = guest.run(
        f"{{ ./driver-test only-open {first} - 1 >/tmp/open & }}; "
        "until grep -qs open /tmp/open; do :; done; rmmod sdm")
    check(status and "unavailable" in said, f"rmmod, a file is open: {said}")
    guest.must("kill $!; wait $!; true")

    for transport, way in ((master, ways[0]), (slave, ways[1])):
        unbind(guest, transport, way[0], way[2])
        # What was on its way when the one end went may still come.
        try_case(guest, "drain", way[1], "-", 0)
        for again in ways:
            try_case(guest, "order", *again, 200)
    for _ in range(5):
        guest.must("rmmod sdm; insmod /lib/modules/sdm.ko")
    for way in ways:
        try_case(guest, "order", *way, 200)
    clean(guest)
    stage.quit()


@case
def arm_mmio_platform(stage):
    """armhf, a virtio-mmio master and a platform slave"""
    promises(stage, "arm", "mmio", "platform")


@case
def arm64_platform_pci(stage):
    """arm64, a platform master and a virtio-pci slave"""
    promises(stage, "arm64", "platform", "pci")


@case
def arm_pci_mmio(stage):
    """armhf, a virtio-pci master and a virtio-mmio slave"""
    promises(stage, "arm", "pci", "mmio")


@case
def pending_boot(stage):
    """a BOOT that nobody answers holds up nobody else, and unbinding ends it"""
    master = stage.master([128, 128])
    slaves = [stage.slave(128, f"slave{n}", sock_extra=f",slave-id={n}")
              for n in (1, 2)]
    master.must("sdm-test --wait 0 1 waiting --timeout 60")
    slaves[0].process.send_signal(signal.SIGSTOP)
    try:
        master.must("{ sdm-test -b 0 1 zImage slave.dtb --initrd busybox.cpio "
                    "--append 'console=ttyAMA0 sdm.role=slave1' >/tmp/boot "
                    "2>&1; echo $? >>/tmp/boot; } & true")
        master.must("sdm-test --wait 0 1 booting --timeout 60")
        boot(master, slaves[1], 2)
        status, said = master.run("sdm-test -b 0 1 zImage slave.dtb")
        check(status == 3 and "booting, not waiting" in said, said)
        name = master.must("basename $(readlink /sys/class/sdm/sdm0/device)"
                           ).strip()
        master.must(f"echo {name} >{bus('mmio')}/unbind; wait")
        said = master.must("cat /tmp/boot")
        check("the device was removed" in said and said.endswith("2\n"), said)
        master.must(f"echo {name} >{bus('mmio')}/bind")
    finally:
        slaves[0].process.send_signal(signal.SIGCONT)
    # It has been booted all the same.
    slaves[0].shell("slave1")
    master.must("sdm-test --wait 0 1 running --timeout 60")
    for number, slave in enumerate(slaves, 1):
        slave.must("{ sdm-test --echo 0 --count 5 >/tmp/echo & }; "
                   "until grep -qs echoes /tmp/echo; do :; done")
        master.must(f"sdm-test --ping 5 0 {number} --timeout 60")
        slave.must("wait")
    clean(master)
    stage.quit()


# ---------------------------------------------------------------- mailbox

def put(tree, node, name, *values):
    """Set a property of a device tree file, to numbers or one string."""
    text = isinstance(values[0], str)
    subprocess.run(["fdtput", "-p", "-t", "s" if text else "u", tree, node,
                    name, *map(str, values)], check=True)


def controller(tree, transport, place):
    """Make the device's node in this tree a mailbox controller, as far as it is
    not; return its phandle."""
    if transport == "platform":
        bus_node = "/platform-bus@c000000"
        names = subprocess.run(["fdtget", "-l", tree, bus_node], check=True,
                               capture_output=True, text=True).stdout.split()
        node = f"{bus_node}/{names[0]}"
        cells, phandle = (int(subprocess.run(
            ["fdtget", "-t", "u", tree, node, name], check=True,
            capture_output=True, text=True).stdout)
            for name in ("#mbox-cells", "phandle"))
        check(cells == 3, f"QEMU's {node} has #mbox-cells = <{cells}>")
        return phandle
    phandle = 0x5d0 + place
    if transport == "mmio":
        node = f"/virtio_mmio@{0xa000000 + 0x200 * place:x}"
    else:
        node = f"/pcie@10000000/sdm@{place},0"
        put(tree, node, "reg", place << 11, 0, 0, 0, 0)
    put(tree, node, "#mbox-cells", 3)
    put(tree, node, "phandle", phandle)
    return phandle


def client(tree, name, phandle, *channels):
    """A node of the test client's."""
    put(tree, "/" + name, "compatible", "qemu-sdm,mailbox-test")
    put(tree, "/" + name, "mboxes",
        *(cell for channel in channels for cell in (phandle, *channel)))


def says(guest, number, wanted):
    """What the client tells next."""
    told = guest.must(f"head -n 1 /dev/mbox-test{number}").strip()
    check(told == wanted, f"mbox-test{number} tells '{told}', not '{wanted}'")


def mailbox(stage, arch, master, slave):
    """A client of each end's controller, in one guest."""
    if not shutil.which("fdtput"):
        raise Skip("fdtput is not there: demo/packages tests")
    tree = stage.path("tree.dtb")
    lines.dump_dtb(tree, one_line(arch, master, slave))
    # Channel 0 has messages, 1 is a doorbell.
    client(tree, "client-a", controller(tree, master, 1), (1, 8, 0), (1, 9, 1))
    client(tree, "client-b", controller(tree, slave, 2), (0, 8, 0), (0, 9, 1))
    client(tree, "client-c", controller(tree, slave, 2), (0, 23, 0))
    guest, first, second = one_guest(stage, arch, master, slave,
                                     ("-dtb", tree))
    os.unlink(tree)

    # One of the two clients finds its signal taken by a file, until that ends.
    guest.must(f"{{ sdm-test --echo {second} --signal 9 >/tmp/echo & }}; "
               "reader=$!; until grep -qs echoes /tmp/echo; do :; done")
    guest.must("insmod sdm_mbox_test.ko")
    said = guest.must("dmesg | grep mailbox")
    check("a file has a filter for it" in said, said)
    check("no channel for signal 23" in guest.must("dmesg"),
          "a channel for a signal that is not offered")
    guest.must("kill $reader; wait $reader; true")
    driver = "/sys/bus/platform/drivers/sdm-mbox-test"
    guest.must(f"test -e {driver}/client-a; test ! -e {driver}/client-b; "
               f"echo client-b >{driver}/bind; test ! -e {driver}/client-c")
    # Who was first is 0; the other's number depends on when it was tried.
    names = dict(re.findall(r"(client-.)/misc/(mbox-test\d)", guest.must(
        f"ls -d {driver}/client-?/misc/*")))
    a, b = (int(names[name][-1]) for name in ("client-a", "client-b"))

    for here, there in ((a, b), (b, a)):
        guest.must(f"echo 0 1234 fedcba9876543210 >/dev/mbox-test{here}")
        says(guest, here, "sent 0 0")
        says(guest, there, "got 0 1234 fedcba9876543210")
        guest.must(f"echo 1 7 7 >/dev/mbox-test{here}")
        says(guest, here, "sent 1 0")
        says(guest, there, "rang 1")
        for n in range(20):
            guest.must(f"echo 0 {n:x} 0 >/dev/mbox-test{here}")
            says(guest, here, "sent 0 0")
        for n in range(20):
            says(guest, there, f"got 0 {n:x} 0")

    # Files get what no channel has; a filter for a channel's is refused.
    guest.must("{ sdm-test -r %d --count 1 --timeout 60 >/tmp/got & }" % second)
    guest.must(f"echo 0 1 1 >/dev/mbox-test{a}; sdm-test -s {first} 0 1 5 6")
    guest.must("wait")
    said = guest.must("cat /tmp/got")
    check("signal 0 from 0 " in said, f"the file got {said}")
    says(guest, a, "sent 0 0")
    says(guest, b, "got 0 1 1")
    status, said = guest.run(f"sdm-test -r {second} --signal 8 --timeout 1")
    check(status == 2 and "a mailbox client receives" in said, said)

    # The module stays while a client has a channel.
    status, said = guest.run("rmmod sdm")
    check(status and "unavailable" in said, f"rmmod: {said}")

    # The peer's driver goes, and its client before it; then both come back.
    name = guest.must(f"basename $(readlink /sys/class/sdm/sdm{second}/device)"
                      ).strip()
    guest.must(f"echo {name} >{bus(slave)}/unbind")
    guest.must(f"test ! -e {driver}/client-b; test -e {driver}/client-a")
    guest.must(f"echo 0 9 9 >/dev/mbox-test{a}")
    guest.must(f"echo {name} >{bus(slave)}/bind")
    # What was sent meanwhile has been kept for them.
    says(guest, a, "sent 0 0")
    guest.must(f"until test -e {driver}/client-b; do "
               f"echo client-b >{driver}/bind; done 2>/dev/null")
    names = dict(re.findall(r"(client-.)/misc/(mbox-test\d)", guest.must(
        f"ls -d {driver}/client-?/misc/*")))
    b = int(names["client-b"][-1])
    says(guest, b, "got 0 9 9")
    for here, there in ((a, b), (b, a)):
        guest.must(f"echo 0 2 3 >/dev/mbox-test{here}")
        says(guest, here, "sent 0 0")
        says(guest, there, "got 0 2 3")

    # And all of it goes away, in either order.
    guest.must(f"echo {name} >{bus(slave)}/unbind")
    guest.must("rmmod sdm_mbox_test; rmmod sdm")
    guest.must("insmod /lib/modules/sdm.ko; insmod sdm_mbox_test.ko; "
               "rmmod sdm_mbox_test")
    clean(guest)
    stage.quit()


@case
def mailbox_arm_mmio_platform(stage):
    """armhf: mailbox clients over virtio-mmio and platform"""
    mailbox(stage, "arm", "mmio", "platform")


@case
def mailbox_arm64_pci_platform(stage):
    """arm64: mailbox clients over virtio-pci and platform"""
    mailbox(stage, "arm64", "pci", "platform")


@case
def mailbox_arm64_platform_mmio(stage):
    """arm64: mailbox clients over platform and virtio-mmio"""
    mailbox(stage, "arm64", "platform", "mmio")


if __name__ == "__main__":
    sys.exit(main(__doc__))
