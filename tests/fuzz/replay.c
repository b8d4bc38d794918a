/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target over its corpus without libFuzzer, for make check: the
 * same object file, any compiler. The corpus is text, one input a line in hex.
 * With arguments, those files are the inputs, as they are (a fuzzer's crash-*).
 */
#include <ctype.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)

/* A copy of just its size, so that a sanitizer sees a read behind it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    CHECK(copy);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static FILE *open_file(const char *path)
{
    FILE *f = fopen(path, "rb");

    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

static int digit(int c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Lines of hex; '#' begins a comment. Returns how many inputs there were. */
static unsigned replay_corpus(const char *path)
{
    uint8_t *data = malloc(INPUT_MAX);
    FILE *f = open_file(path);
    unsigned line = 1, inputs = 0, digits = 0;
    int c, comment = 0, some = 0;

    CHECK(data);
    while ((c = getc(f)) != EOF) {
        if (c == '\n') {
            if (digits % 2) {
                fprintf(stderr, "%s:%u: half a byte\n", path, line);
                exit(1);
            }
            if (some) {
                fprintf(stderr, "%s: input %u, line %u\n", fuzz_name, inputs,
                        line);
                run(data, digits / 2);
                inputs++;
            }
            line++;
            digits = 0;
            comment = 0;
            some = 0;
        } else if (c == '#') {
            comment = 1;
        } else if (!comment && !isspace(c)) {
            if (digit(c) < 0 || digits / 2 >= INPUT_MAX) {
                fprintf(stderr, "%s:%u: not hex, or longer than %u bytes\n",
                        path, line, INPUT_MAX);
                exit(1);
            }
            if (digits % 2 == 0) {
                data[digits / 2] = 0;
            }
            data[digits / 2] = data[digits / 2] << 4 | digit(c);
            digits++;
            some = 1;
        }
    }
    fclose(f);
    free(data);
    return inputs;
}

static void replay_file(const char *path)
{
    uint8_t *data = malloc(INPUT_MAX);
    FILE *f = open_file(path);
    size_t n;

    CHECK(data);
    n = fread(data, 1, INPUT_MAX, f);
    fclose(f);
    run(data, n);
    free(data);
}

int main(int argc, char **argv)
{
    const char *srcdir = getenv("SDM_SRCDIR");
    char path[4096];
    unsigned inputs;

    for (int i = 1; i < argc; i++) {
        replay_file(argv[i]);
    }
    if (argc > 1) {
        return 0;
    }
    run((const uint8_t *)"", 0);
    snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s.hex",
             srcdir ? srcdir : ".", fuzz_name);
    inputs = replay_corpus(path);
    printf("%s: %u inputs\n", fuzz_name, inputs);
    return inputs ? 0 : 1;
}
