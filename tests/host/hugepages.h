/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Huge pages for a test: reserved at its start, given back at its end, however
 * that comes. One test at a time has them: the others wait.
 */
#ifndef TESTS_HUGEPAGES_H
#define TESTS_HUGEPAGES_H

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include "host.h"

#define NR_HUGEPAGES  "/proc/sys/vm/nr_hugepages"

/* A line "Name:   123 kB" of /proc/meminfo, or -1. */
static inline long meminfo(const char *name)
{
    char line[128];
    size_t len = strlen(name);
    long v = -1;
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && v < 0 && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, name, len) && line[len] == ':') {
            v = atol(line + len + 1);
        }
    }
    if (f) {
        fclose(f);
    }
    return v;
}

static inline long huge_page_bytes(void)
{
    return meminfo("Hugepagesize") * 1024;
}

static inline int write_nr_hugepages(long n)
{
    FILE *f = fopen(NR_HUGEPAGES, "we");
    int ok;

    if (!f) {
        return -1;
    }
    ok = fprintf(f, "%ld\n", n) > 0;
    return fclose(f) == 0 && ok ? 0 : -1;
}

static pid_t guarded_test;

static inline void forward_signal(int signal)
{
    kill(guarded_test, signal);
}

/*
 * Reserve @n more huge pages of the default size for what follows, or skip the
 * test. The caller goes on as a child of the process that it was; the parent
 * waits for its end, takes the pages back and exits as it did.
 */
static inline void guard_hugepages(long n)
{
    struct sigaction act = { .sa_handler = forward_signal };
    pid_t parent = getpid();
    long before;
    int lock, status;

    if (geteuid()) {
        skip_test("reserving huge pages needs root");
    }
    lock = open(NR_HUGEPAGES, O_RDONLY | O_CLOEXEC);
    if (lock < 0) {
        skip_test("this kernel has no huge pages");
    }
    CHECK(flock(lock, LOCK_EX) == 0);
    before = meminfo("HugePages_Total");
    if (write_nr_hugepages(before + n) ||
        meminfo("HugePages_Total") < before + n) {
        write_nr_hugepages(before);
        skip_test("the kernel does not give us huge pages");
    }
    guarded_test = fork();
    if (guarded_test == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent);
        return;
    }
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    while (guarded_test > 0 && waitpid(guarded_test, &status, 0) < 0 &&
           errno == EINTR) {
    }
    write_nr_hugepages(meminfo("HugePages_Total") - n);
    if (guarded_test < 0) {
        fprintf(stderr, "fork: %s\n", strerror(errno));
        exit(1);
    }
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

#endif /* TESTS_HUGEPAGES_H */
