/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Round trips of two processes by an eventfd each way, with nothing else in
 * between: what any doorbell between processes has to pay.
 *
 *     eventfd ROUNDS WARM CPU CPU     (CPU -1: wherever)
 *
 * Prints what the firmware's PING prints, in nanoseconds.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void pin(const char *cpu)
{
    int n = atoi(cpu);
    cpu_set_t set;

    if (n >= 0) {
        CPU_ZERO(&set);
        CPU_SET(n, &set);
        if (sched_setaffinity(0, sizeof(set), &set) < 0) {
            perror("sched_setaffinity");
            exit(1);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int there = eventfd(0, 0), back = eventfd(0, 0);
    long rounds, warm, i;
    eventfd_t value;
    int64_t *took;
    pid_t child;

    if (argc != 5 || there < 0 || back < 0 || (rounds = atol(argv[1])) < 1) {
        fprintf(stderr, "usage: eventfd ROUNDS WARM CPU CPU\n");
        return 2;
    }
    warm = atol(argv[2]);
    took = calloc(rounds, sizeof(*took));
    child = took ? fork() : -1;
    if (child < 0) {
        perror("eventfd");
        return 1;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(argv[4]);
        for (i = 0; i < warm + rounds; i++) {
            if (eventfd_read(there, &value) < 0 || eventfd_write(back, 1) < 0) {
                return 1;
            }
        }
        return 0;
    }
    pin(argv[3]);
    for (i = -warm; i < rounds; i++) {
        int64_t start = now_ns();

        if (eventfd_write(there, 1) < 0 || eventfd_read(back, &value) < 0) {
            return 1;
        }
        if (i >= 0) {
            took[i] = now_ns() - start;
        }
    }
    waitpid(child, NULL, 0);
    qsort(took, rounds, sizeof(*took), by_size);
    printf("PING n=%ld hz=1000000000 min=%lld p50=%lld p90=%lld p99=%lld "
           "max=%lld\n", rounds, (long long)took[0],
           (long long)took[rounds / 2],
           (long long)took[rounds - 1 - rounds / 10],
           (long long)took[rounds - 1 - rounds / 100],
           (long long)took[rounds - 1]);
    free(took);
    return 0;
}
