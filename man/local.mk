# SPDX-License-Identifier: GPL-2.0-or-later
# Manual pages.

EXTRA_DIST += man/sdmctl.pod man/sdm-test.pod

if HAVE_POD2MAN
man_MANS += man/sdmctl.1 man/sdm-test.1
CLEANFILES += man/sdmctl.1 man/sdm-test.1
endif

man_pod2man = $(AM_V_GEN)$(MKDIR_P) man && \
    $(POD2MAN) --section=1 --release='$(PACKAGE_STRING)' --center='qemu-sdm'

man/sdmctl.1: man/sdmctl.pod
	$(man_pod2man) --name=SDMCTL $(srcdir)/man/sdmctl.pod $@

man/sdm-test.1: man/sdm-test.pod
	$(man_pod2man) --name=SDM-TEST $(srcdir)/man/sdm-test.pod $@
