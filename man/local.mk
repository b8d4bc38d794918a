# SPDX-License-Identifier: GPL-2.0-or-later
# Manual pages.

EXTRA_DIST += man/sdmctl.pod

if HAVE_POD2MAN
man_MANS += man/sdmctl.1
CLEANFILES += man/sdmctl.1
endif

man/sdmctl.1: man/sdmctl.pod
	$(AM_V_GEN)$(MKDIR_P) man && \
	$(POD2MAN) --section=1 --name=SDMCTL --release='$(PACKAGE_STRING)' \
	    --center='qemu-sdm' $(srcdir)/man/sdmctl.pod $@
