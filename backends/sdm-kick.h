/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kicks between processes that do not trust each other: a pipe, of which each
 * side has its own end.
 *
 * Rejected: an eventfd. Its O_NONBLOCK and its counter belong to both sides, so
 * either can make the other's read or write block (tests/host/
 * eventfd-shared-flags shows it). The ends of a pipe are two open files, and a
 * receiver of an end opens it anew for flags of its own.
 */
#ifndef SDM_KICK_H
#define SDM_KICK_H

/**
 * sdm_kick_pipe() - make one
 * @fds: out: [0] to be waited on, [1] to be kicked; non-blocking, close-on-exec
 * Returns: 0 or -errno
 */
int sdm_kick_pipe(int fds[2]);

/**
 * sdm_kick_adopt() - an end that a peer has sent
 * @fd:    taken over, on failure too
 * @write: 1: the end to be kicked; 0: the one to be waited on
 *
 * A pipe is opened anew through /proc, so that the peer has no hand in its
 * flags; without /proc, or if it is an eventfd, it is used as it is.
 * Returns: the fd to use; -EPROTO: neither pipe nor eventfd
 */
int sdm_kick_adopt(int fd, int write);

/** sdm_kick() - kick; one that is not taken yet is enough, so never fails. */
void sdm_kick(int fd);

/** sdm_kick_clear() - take the kicks that wait; the fd stays readable if there
 * were very many. Never blocks. */
void sdm_kick_clear(int fd);

#endif /* SDM_KICK_H */
