# SPDX-License-Identifier: GPL-2.0-or-later
# Unit tests: cmocka, one group per program. Exit 0 passed, 77 skipped.
#
# To add tests/unit/test-NAME.c, append two lines at the end of the part that
# it belongs to:
#   unit_tests += tests/unit/test-NAME
#   tests_unit_test_NAME_LDADD = $(unit_libs)
# ('-' in NAME becomes '_' in the second line). A header or a data file that a
# test needs goes into EXTRA_DIST. A test that is a script goes into
# unit_scripts instead; it finds the trees in $SDM_SRCDIR and $SDM_BUILDDIR.

unit_core_libs = libsdm-core.la $(CMOCKA_LIBS)
unit_libs = \
    libsdm-boot.la libsdm-host.la libsdm-core.la \
    $(CMOCKA_LIBS) $(FDT_LIBS) $(HUGETLBFS_LIBS) $(LIBEVENT_LIBS)

unit_tests =
unit_scripts =

# core
unit_tests += tests/unit/test-text
tests_unit_test_text_LDADD = $(unit_core_libs)
unit_tests += tests/unit/test-codec
tests_unit_test_codec_LDADD = $(unit_core_libs)
unit_tests += tests/unit/test-window
tests_unit_test_window_LDADD = $(unit_core_libs)
unit_tests += tests/unit/test-ring
tests_unit_test_ring_CFLAGS = $(AM_CFLAGS) -pthread
tests_unit_test_ring_LDADD = $(unit_core_libs)
unit_tests += tests/unit/test-life
tests_unit_test_life_LDADD = $(unit_core_libs)
unit_tests += tests/unit/test-hub
tests_unit_test_hub_LDADD = $(unit_core_libs)
unit_tests += tests/unit/test-link
tests_unit_test_link_LDADD = $(unit_core_libs)
unit_scripts += tests/unit/layers tests/unit/specs
unit_scripts += tests/unit/installed
EXTRA_DIST += tests/unit/unit.h tests/unit/fake-kernel

# host (backends/)
unit_tests += tests/unit/test-socket
tests_unit_test_socket_LDADD = $(unit_libs)
unit_tests += tests/unit/test-region
tests_unit_test_region_LDADD = $(unit_libs)
unit_tests += tests/unit/test-region-huge
tests_unit_test_region_huge_LDADD = $(unit_libs)
unit_tests += tests/unit/test-libevent
tests_unit_test_libevent_LDADD = $(unit_libs)
EXTRA_DIST += tests/unit/fd-count.h

# boot (migration/)
unit_tests += tests/unit/test-bootplan tests/unit/test-bootrecord
tests_unit_test_bootplan_LDADD = $(unit_libs)
tests_unit_test_bootrecord_LDADD = $(unit_libs)

# tools, test-app
unit_tests += tests/unit/test-sdm-test
tests_unit_test_sdm_test_LDADD = $(unit_libs)
tests_unit_test_sdm_test_LDFLAGS = $(AM_LDFLAGS) \
    -Wl,--wrap=open,--wrap=ioctl,--wrap=mmap,--wrap=read,--wrap=poll \
    -Wl,--wrap=opendir
unit_scripts += tests/unit/test-sdmctl

# graft (qemu/)
unit_scripts += tests/unit/test-graft

check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests) $(unit_scripts)
EXTRA_DIST += $(unit_scripts)
