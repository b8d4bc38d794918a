#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves for a QEMU that is being fuzzed: they come, put signals into their
rings and take some, write nonsense there now and then, go, and come again,
until they are ended.

usage: tests/fuzz/peers.py SOCKET
"""

import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'qtest'))
sys.dont_write_bytecode = True
import client                                               # noqa: E402
import wire                                                 # noqa: E402


def live(path, dice):
    """One slave's life."""
    peer = wire.Slave(path)
    try:
        pair = peer.pair
        for _ in range(dice.randrange(1, 2000)):
            what = dice.randrange(40)
            if what == 0:
                pair.set(dice.randrange(0, wire.RING_BYTES, 4),
                         dice.getrandbits(32))
            elif what == 1:
                ring = dice.choice((pair.tx, pair.rx))
                field = dice.choice((pair.head, pair.tail, pair.event,
                                     pair.space_event))
                pair.set(field(ring), pair.get(field(ring)) +
                         dice.randrange(-2, 300))
                pair.kick()
            elif what == 2:
                os.write(pair.kick_fd, bytes(dice.randrange(1, 64)))
            elif what == 3:
                peer.state(dice.randrange(7))
            elif what < 20:
                pair.put(wire.signal(dice.choice((0, 8, dice.randrange(32))),
                                     flags=dice.randrange(2)))
            elif pair.used():
                pair.take()
            client.wait_for(lambda: True, "")
            while peer.messages:
                got = peer.messages.pop(0)
                if got.seq:
                    peer.answer(got, dice.randrange(16))
            if peer.closed:
                break
            # Its QEMU turns its main loop between two inputs only.
            time.sleep(0.001)
    finally:
        peer.kill()


def main():
    """Live for ever."""
    dice = random.Random(1)
    while True:
        try:
            live(sys.argv[1], dice)
        except (OSError, client.Trouble):
            time.sleep(0.05)        # it is not there yet, or has put us out


if __name__ == '__main__':
    main()
