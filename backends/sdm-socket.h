/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AF_UNIX SOCK_SEQPACKET with fds: what both event loops share. All sockets
 * are non-blocking and close-on-exec. Errors are -errno and, where @why is
 * given, a text that names the path and what to do.
 */
#ifndef SDM_SOCKET_H
#define SDM_SOCKET_H

#include <sys/types.h>
#include "sdm/wire.h"
#include "sdm/sdm-text.h"

/**
 * sdm_socket_listen() - bind and listen at @path, exclusively
 * @lock_fd: out: fd of the lock file @path.lock, held as long as we listen
 *
 * The lock (flock) decides who is the master; a socket file that is left over
 * is unlinked under it. Modes are 0600.
 * Returns: fd; -ENAMETOOLONG; -EADDRINUSE: another master listens there;
 * -EEXIST: something that is no socket is there; or another -errno
 */
int sdm_socket_listen(const char *path, int *lock_fd, struct sdm_text *why);

/** sdm_socket_unlisten() - unlink @path and the lock file, close both fds. */
void sdm_socket_unlisten(const char *path, int fd, int lock_fd);

/**
 * sdm_socket_accept() - next connection, its credentials checked: same uid as
 * ours, or root
 * @pid: out
 * Returns: fd; -EAGAIN: none; -EACCES: refused and closed, @why says who; or
 * another -errno
 */
int sdm_socket_accept(int listen_fd, pid_t *pid, struct sdm_text *why);

/**
 * sdm_socket_connect() - Returns: fd; -ENOENT or -ECONNREFUSED: no master there
 * (yet); -ENAMETOOLONG; -EACCES; -EAGAIN: its backlog is full; others
 * The listener's credentials are checked as in sdm_socket_accept().
 */
int sdm_socket_connect(const char *path, struct sdm_text *why);

/**
 * sdm_socket_send() - one packet with up to SDM_WIRE_MAX_FDS fds (-1 is passed
 * over). Never raises SIGPIPE. Returns: 0, -EAGAIN (the peer does not read) or
 * -errno
 */
int sdm_socket_send(int fd, const void *buf, size_t len, const int *fds,
                    unsigned nfds);

/**
 * sdm_socket_recv() - one packet
 * @buf:  SDM_WIRE_MAX bytes
 * @fds:  SDM_WIRE_MAX_FDS entries, filled and owned by the caller
 * @nfds: how many
 *
 * Returns: length; 0: closed by the peer; -EAGAIN; -EMSGSIZE: longer than
 * SDM_WIRE_MAX, or more fds or control data than fit: everything that came was
 * closed; other -errno
 */
ssize_t sdm_socket_recv(int fd, void *buf, int *fds, unsigned *nfds);

#endif /* SDM_SOCKET_H */
