/* SPDX-License-Identifier: MIT */
/* replay.c - runs a harness over every file of a folder, without libFuzzer.  Each name is printed
 * before its run, so the last one is that of a crash. */
#include "fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECONDS_MAX 10 /* for one input */

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

static void run_file(const char *path)
{
    size_t n;
    uint8_t *p = read_file(path, &n);
    puts(path);
    fflush(stdout);
    int len = snprintf(slow, sizeof slow, "replay: %s takes more than %d s\n", path, SECONDS_MAX);
    slow_len = (size_t)len < sizeof slow ? (size_t)len : sizeof slow - 1;
    alarm(SECONDS_MAX);
    LLVMFuzzerTestOneInput(p, n);
    alarm(0);
    free(p);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
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
    printf("replay: %u inputs\n", runs);
    return runs ? 0 : 1;
}
