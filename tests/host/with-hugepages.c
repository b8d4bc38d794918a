/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * with-hugepages N COMMAND [ARGUMENT...]: run it with N more huge pages
 * reserved. Exits as COMMAND, or 77 if there are none to be had.
 */
#include "hugepages.h"

int main(int argc, char **argv)
{
    if (argc < 3 || atol(argv[1]) <= 0) {
        fprintf(stderr, "usage: with-hugepages N COMMAND [ARGUMENT...]\n");
        return 2;
    }
    guard_hugepages(atol(argv[1]));
    execvp(argv[2], argv + 2);
    fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
    return 127;
}
