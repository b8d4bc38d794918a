# SPDX-License-Identifier: GPL-2.0-or-later
# The graft: fetch, overlay, patch and build QEMU. Not part of "make all": it
# takes minutes, and libsdm and the tools need none of it. QEMU_FLAGS is for the
# command line: make qemu QEMU_FLAGS="--targets arm-softmmu --debug"

# In a build within the source tree, qemu/ is the folder of the scripts.
sdm_qemu = \
    out='$(abs_top_builddir)/qemu'; \
    test ! -e "$$out/build" || out='$(abs_top_builddir)/build/qemu'; \
    set -- --out "$$out"; \
    src='$(QEMU_SRC)'; jobs='$(QEMU_JOBS)'

sdm_qemu_build = $(sdm_qemu); \
    test -z "$$src" || set -- "$$@" --qemu-src "$$src"; \
    test -z "$$jobs" || set -- "$$@" --jobs "$$jobs"; \
    '$(abs_top_srcdir)/qemu/build' "$$@" $(QEMU_FLAGS)

qemu:
	$(AM_V_at)$(sdm_qemu_build)

qemu-stock:
	$(AM_V_at)$(sdm_qemu_build) --stock

# Not made to depend on qemu: it is run as root, and root has another cache.
install-qemu:
	$(AM_V_at)$(sdm_qemu); '$(abs_top_srcdir)/qemu/install' "$$@" \
	    --destdir '$(DESTDIR)' --bindir '$(bindir)'

.PHONY: qemu qemu-stock install-qemu

EXTRA_DIST += \
    qemu/README \
    qemu/apt-source.sh \
    qemu/build \
    qemu/install \
    qemu/versions \
    qemu/overlay \
    qemu/patches \
    qemu/qapi
