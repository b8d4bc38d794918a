#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""INTERRUPT from the master's guest to its slaves' and back."""

import re
import sys

from harness import boot, case, check, main

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


if __name__ == "__main__":
    sys.exit(main(__doc__))
