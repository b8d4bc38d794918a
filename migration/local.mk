# SPDX-License-Identifier: BSD-2-Clause
# The boot: plan and record.

noinst_LTLIBRARIES += libsdm-boot.la
libsdm_boot_la_SOURCES = \
    migration/sdm-bootplan.c \
    migration/sdm-bootrecord.c

migrationinc_HEADERS += \
    migration/sdm-bootplan.h \
    migration/sdm-bootrecord.h
