# SPDX-License-Identifier: GPL-2.0-or-later
# One program per kernel behaviour that is relied on. Exit 0 it is so, 77 it
# could not be tried here. To add tests/host/NAME.c, append it to host_tests.

host_tests = \
    tests/host/eventfd-shared-flags \
    tests/host/flock-kill \
    tests/host/hugetlb-memfd-seal \
    tests/host/hugetlb-reserve \
    tests/host/hugetlbfs-seal \
    tests/host/map-fixed-madvise \
    tests/host/memfd-seal \
    tests/host/memfd-truncate-sigbus \
    tests/host/pagemap-kinds \
    tests/host/peercred \
    tests/host/private-truncate-sigbus \
    tests/host/scm-rights-emfile \
    tests/host/scm-rights-limit \
    tests/host/seqpacket-empty \
    tests/host/seqpacket-size \
    tests/host/socket-reset \
    tests/host/socket-stale

# Runs a test script with huge pages reserved, and gives them back.
check_PROGRAMS += $(host_tests) tests/host/with-hugepages
TESTS += $(host_tests)
EXTRA_DIST += tests/host/host.h tests/host/hugepages.h
