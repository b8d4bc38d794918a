/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SDM_BLOCK_H
#define SDM_BLOCK_H

/**
 * sdm_block_posix_fd() - the file descriptor of a block node
 * Returns: that of a node of the driver "file" (it stays the node's), or -1.
 * Implemented in QEMU's block/file-posix.c, where it is known.
 */
int sdm_block_posix_fd(BlockDriverState *bs);

#endif /* SDM_BLOCK_H */
