# SPDX-License-Identifier: GPL-2.0-or-later
# Host programs.

bin_PROGRAMS += tools/sdmctl
tools_sdmctl_SOURCES = \
    tools/sdmctl.c \
    tools/sdmctl.h \
    tools/sdmctl-fault.c \
    tools/sdmctl-io.c \
    tools/sdmctl-join.c \
    tools/sdmctl-observe.c \
    tools/sdmctl-ring.c \
    tools/sdmctl-serve.c
tools_sdmctl_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(LIBEVENT_CFLAGS)
# The convenience libraries, not libsdm.so: the tool runs from the build tree.
tools_sdmctl_LDADD = \
    libsdm-boot.la libsdm-host.la libsdm-core.la \
    $(GLIB_LIBS) $(FDT_LIBS) $(HUGETLBFS_LIBS) $(LIBEVENT_LIBS)

bashcompdir = $(datadir)/bash-completion/completions
dist_bashcomp_DATA = tools/completion/sdmctl
