# SPDX-License-Identifier: BSD-2-Clause
# The core. Pure: libc's mem*() and str*() only (tests/unit/layers proves it).

noinst_LTLIBRARIES += libsdm-core.la
libsdm_core_la_SOURCES = \
    sdm/sdm-codec.c \
    sdm/sdm-hub.c \
    sdm/sdm-life.c \
    sdm/sdm-link.c \
    sdm/sdm-ring.c \
    sdm/sdm-text.c \
    sdm/sdm-window.c

sdminc_HEADERS += \
    sdm/sdm-codec.h \
    sdm/sdm-hub.h \
    sdm/sdm-life.h \
    sdm/sdm-link.h \
    sdm/sdm-ring.h \
    sdm/sdm-text.h \
    sdm/sdm-window.h
