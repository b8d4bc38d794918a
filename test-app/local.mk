# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's tool, built for the host so that its compiler and its tests see
# it. What runs in a guest is this same source, built static for the guest by
#   $CC -static -D_FILE_OFFSET_BITS=64 -Iinclude -I. test-app/sdm-test.c \
#       migration/sdm-bootplan.c migration/sdm-bootrecord.c sdm/sdm-text.c -lfdt

noinst_PROGRAMS += test-app/sdm-test
test_app_sdm_test_SOURCES = test-app/sdm-test.c
test_app_sdm_test_LDADD = libsdm-boot.la libsdm-core.la $(FDT_LIBS)
