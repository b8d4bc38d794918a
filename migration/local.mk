# SPDX-License-Identifier: BSD-2-Clause
# The boot: plan and record.

noinst_LTLIBRARIES += libsdm-boot.la
libsdm_boot_la_SOURCES =

migrationinc_HEADERS += \
    migration/sdm-bootplan.h \
    migration/sdm-bootrecord.h
