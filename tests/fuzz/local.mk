# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzzers, and the replay of their corpus.
