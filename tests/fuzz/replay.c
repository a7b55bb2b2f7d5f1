/* SPDX-License-Identifier: MIT */
/* replay.c - runs a harness over every file of a folder, without libFuzzer, and over inputs that
 * are drawn by a seed, if it is given one.  Each name is printed before its run, so the last one is
 * that of a crash. */
#include "fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECONDS_MAX 10 /* for one input */
#define DRAWN_MIN   200
#define DRAWN_MAX   3000

static char slow[PATH_MAX + 64]; /* what to say if the input under way takes too long */
static size_t slow_len;

static void too_slow(int sig)
{
    (void)sig;
    ssize_t n = write(STDERR_FILENO, slow, slow_len);
    _exit(n < 0 ? 2 : 1);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static uint8_t *read_file(const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st)) {
        perror(path);
        exit(2);
    }
    *n = (size_t)st.st_size;
    uint8_t *p = malloc(*n ? *n : 1);
    if (!p || fread(p, 1, *n, f) != *n) {
        perror(path);
        exit(2);
    }
    fclose(f);
    return p;
}

static void run(const char *name, const uint8_t *p, size_t n)
{
    puts(name);
    fflush(stdout);
    int len = snprintf(slow, sizeof slow, "replay: %s takes more than %d s\n", name, SECONDS_MAX);
    slow_len = (size_t)len < sizeof slow ? (size_t)len : sizeof slow - 1;
    alarm(SECONDS_MAX);
    LLVMFuzzerTestOneInput(p, n);
    alarm(0);
}

static void run_file(const char *path)
{
    size_t n;
    uint8_t *p = read_file(path, &n);
    run(path, p, n);
    free(p);
}

/* Each input is of a seed of its own, so one that crashes can be run alone. */
static void run_drawn(unsigned long seed)
{
    char name[32];
    uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    uint8_t drawn[DRAWN_MAX];
    for (size_t i = 0; i < sizeof drawn; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        drawn[i] = (uint8_t)(x >> 24);
    }
    const size_t n = DRAWN_MIN + x % (DRAWN_MAX - DRAWN_MIN);
    uint8_t *p = fuzz_exact(drawn, n);
    snprintf(name, sizeof name, "seed %lu", seed);
    run(name, p, n);
    free(p);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: %s FOLDER [SEED COUNT]\n", argv[0]);
        return 2;
    }
    struct dirent **names;
    int n = scandir(argv[1], &names, NULL, by_name);
    if (n < 0) {
        perror(argv[1]);
        return 2;
    }
    signal(SIGALRM, too_slow);
    unsigned runs = 0;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (names[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
            run_file(path);
            runs++;
        }
        free(names[i]);
    }
    free(names);
    const unsigned long seed = argc == 4 ? strtoul(argv[2], NULL, 10) : 0,
                        count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    for (unsigned long i = 0; i < count; i++, runs++)
        run_drawn(seed + i);
    printf("replay: %u inputs\n", runs);
    return runs ? 0 : 1;
}
