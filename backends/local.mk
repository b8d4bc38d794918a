# SPDX-License-Identifier: BSD-2-Clause
# What the host gives: regions, sockets, event loops.

noinst_LTLIBRARIES += libsdm-host.la
libsdm_host_la_SOURCES = \
    backends/sdm-fail.c \
    backends/sdm-fail.h \
    backends/sdm-kick.c \
    backends/sdm-libevent.c \
    backends/sdm-region.c \
    backends/sdm-socket.c
libsdm_host_la_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)

backendsinc_HEADERS += \
    backends/sdm-kick.h \
    backends/sdm-libevent.h \
    backends/sdm-region.h \
    backends/sdm-socket.h
