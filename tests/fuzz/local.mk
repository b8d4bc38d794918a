# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzzers, and the replay of their corpus.
#
# make check runs each target over tests/fuzz/corpus/NAME.hex with a plain main
# (replay.c). With --enable-fuzzers the same object is linked to libFuzzer too,
# and tests/fuzz/run drives it.

fuzz_libs = \
    libsdm-boot.la libsdm-core.la $(FDT_LIBS)

fuzz_replays = \
    tests/fuzz/replay-msg \
    tests/fuzz/replay-hub \
    tests/fuzz/replay-link \
    tests/fuzz/replay-pair \
    tests/fuzz/replay-record \
    tests/fuzz/replay-plan \
    tests/fuzz/replay-ring

fuzz_replay = tests/fuzz/replay.c tests/fuzz/fuzz.h

tests_fuzz_replay_msg_SOURCES = tests/fuzz/fuzz-msg.c $(fuzz_replay)
tests_fuzz_replay_msg_LDADD = $(fuzz_libs)
tests_fuzz_replay_hub_SOURCES = tests/fuzz/fuzz-hub.c $(fuzz_replay)
tests_fuzz_replay_hub_LDADD = $(fuzz_libs)
tests_fuzz_replay_link_SOURCES = tests/fuzz/fuzz-link.c $(fuzz_replay)
tests_fuzz_replay_link_LDADD = $(fuzz_libs)
tests_fuzz_replay_pair_SOURCES = tests/fuzz/fuzz-pair.c $(fuzz_replay)
tests_fuzz_replay_pair_LDADD = $(fuzz_libs)
tests_fuzz_replay_record_SOURCES = tests/fuzz/fuzz-record.c $(fuzz_replay)
tests_fuzz_replay_record_LDADD = $(fuzz_libs)
tests_fuzz_replay_plan_SOURCES = tests/fuzz/fuzz-plan.c $(fuzz_replay)
tests_fuzz_replay_plan_LDADD = $(fuzz_libs)
tests_fuzz_replay_ring_SOURCES = tests/fuzz/fuzz-ring.c $(fuzz_replay)
tests_fuzz_replay_ring_LDADD = $(fuzz_libs)

check_PROGRAMS += $(fuzz_replays)
TESTS += $(fuzz_replays)

if FUZZERS
fuzz_flags = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)

noinst_PROGRAMS += \
    tests/fuzz/fuzz-msg \
    tests/fuzz/fuzz-hub \
    tests/fuzz/fuzz-link \
    tests/fuzz/fuzz-pair \
    tests/fuzz/fuzz-record \
    tests/fuzz/fuzz-plan \
    tests/fuzz/fuzz-ring

tests_fuzz_fuzz_msg_SOURCES = tests/fuzz/fuzz-msg.c
tests_fuzz_fuzz_msg_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_msg_LDFLAGS = $(fuzz_flags)
tests_fuzz_fuzz_hub_SOURCES = tests/fuzz/fuzz-hub.c
tests_fuzz_fuzz_hub_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_hub_LDFLAGS = $(fuzz_flags)
tests_fuzz_fuzz_link_SOURCES = tests/fuzz/fuzz-link.c
tests_fuzz_fuzz_link_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_link_LDFLAGS = $(fuzz_flags)
tests_fuzz_fuzz_pair_SOURCES = tests/fuzz/fuzz-pair.c
tests_fuzz_fuzz_pair_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_pair_LDFLAGS = $(fuzz_flags)
tests_fuzz_fuzz_record_SOURCES = tests/fuzz/fuzz-record.c
tests_fuzz_fuzz_record_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_record_LDFLAGS = $(fuzz_flags)
tests_fuzz_fuzz_plan_SOURCES = tests/fuzz/fuzz-plan.c
tests_fuzz_fuzz_plan_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_plan_LDFLAGS = $(fuzz_flags)
tests_fuzz_fuzz_ring_SOURCES = tests/fuzz/fuzz-ring.c
tests_fuzz_fuzz_ring_LDADD = $(fuzz_libs)
tests_fuzz_fuzz_ring_LDFLAGS = $(fuzz_flags)
endif

EXTRA_DIST += \
    tests/fuzz/run \
    tests/fuzz/seeds.py \
    tests/fuzz/corpus/msg.hex \
    tests/fuzz/corpus/hub.hex \
    tests/fuzz/corpus/link.hex \
    tests/fuzz/corpus/pair.hex \
    tests/fuzz/corpus/record.hex \
    tests/fuzz/corpus/plan.hex \
    tests/fuzz/corpus/ring.hex
