/* SPDX-License-Identifier: MIT */
/* test_spawn.c - other programs: their ends, their words, and how long they may take; what is told
 * to a service manager; a process that changes users. */
#include "os/notify.h"
#include "os/process.h"
#include "os/spawn.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(const char *script, char *out, size_t cap, pq_ns patience)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    return pq_spawn(argv, out, cap, patience);
}

static void ends(void **state)
{
    (void)state;
    char out[16];
    assert_int_equal(run("echo one; echo two >&2; exit 7", out, sizeof out, 5 * PQ_SEC), 7);
    assert_string_equal(out, "one\ntwo\n");
    assert_int_equal(run("kill -9 $$", NULL, 0, 5 * PQ_SEC), 128 + SIGKILL);
    assert_int_equal(run("cat; exit 3", out, sizeof out, 5 * PQ_SEC), 3); /* nothing to read */
    assert_string_equal(out, "");
    /* as much as there is room for, and all of it is read, so that it does not wait for us */
    assert_int_equal(run("i=0; while [ $i -lt 20000 ]; do echo 12345678; i=$((i+1)); done", out,
                         sizeof out, 30 * PQ_SEC),
                     0);
    assert_int_equal(strlen(out), sizeof out - 1);
    static const char *const none[] = {"no-such-program-anywhere", NULL};
    assert_int_equal(pq_spawn(none, out, sizeof out, PQ_SEC), -ENOENT);
    assert_true(pq_spawn_finds("sh"));
    assert_false(pq_spawn_finds("no-such-program-anywhere"));
}

/* Nothing of ours but what it is given; much on its standard input, whether it reads it or not. */
static void trusted(void **state)
{
    (void)state;
    static const char *const env[] = {"env", NULL}, *const count[] = {"wc", "-c", NULL},
                             *const end[] = {"true", NULL};
    char out[256], *much = malloc(1 << 20);
    assert_non_null(much);
    memset(much, 'x', 1 << 20);
    assert_int_equal(setenv("XTABLES_LIBDIR", "/tmp", 1), 0);
    assert_int_equal(pq_spawn_trusted(env, "MORE=1", NULL, 0, out, sizeof out, 5 * PQ_SEC), 0);
    assert_string_equal(strchr(out, '\n'), "\nLC_ALL=C\nMORE=1\n");
    assert_int_equal(strncmp(out, "PATH=/", 6), 0);
    assert_int_equal(pq_spawn_trusted(count, NULL, much, 1 << 20, out, sizeof out, 5 * PQ_SEC), 0);
    assert_int_equal(atoi(out), 1 << 20);
    assert_int_equal(pq_spawn_trusted(end, NULL, much, 1 << 20, out, sizeof out, 5 * PQ_SEC), 0);
    assert_int_equal(unsetenv("XTABLES_LIBDIR"), 0);
    free(much);
}

/* A folder of PATH that depends on where one is does not count. */
static void folders(void **state)
{
    (void)state;
    char *path = strdup(getenv("PATH")), folder[] = "/tmp/paqet-spawn-XXXXXX", at[256];
    char cwd[256];
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(at, sizeof at, "%s/only-here", folder);
    assert_int_equal(symlink("/bin/sh", at), 0);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(setenv("PATH", ".:", 1), 0);
    assert_false(pq_spawn_finds("only-here"));
    assert_int_equal(setenv("PATH", folder, 1), 0);
    assert_true(pq_spawn_finds("only-here"));
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(chdir(cwd), 0);
    unlink(at);
    rmdir(folder);
    free(path);
}

static void patience(void **state)
{
    (void)state;
    char out[16];
    const pq_ns begin = pq_clock();
    assert_int_equal(run("echo here; exec sleep 60", out, sizeof out, PQ_SEC / 5), -ETIMEDOUT);
    assert_string_equal(out, "here\n");
    /* one that closes its output, and stays */
    assert_int_equal(run("exec >/dev/null 2>&1; exec sleep 60", NULL, 0, PQ_SEC / 5), -ETIMEDOUT);
    assert_true(pq_clock() - begin < 20 * PQ_SEC);
}

static void detached(void **state)
{
    (void)state;
    char log[] = "/tmp/paqet-spawn-XXXXXX", text[32] = "";
    const int fd = mkstemp(log);
    assert_true(fd >= 0);
    static const char *const argv[] = {"sh", "-c", "echo words; exec sleep 60", NULL};
    const pid_t pid = pq_spawn_detached(argv, log);
    assert_true(pid > 0);
    for (int i = 0; i < 500 && !pq_spawn_lives(pid, "sleep"); i++)
        usleep(10000);
    assert_true(pq_spawn_lives(pid, "sleep"));
    assert_false(pq_spawn_lives(pid, "slee")); /* an id that another program has by now */
    assert_false(pq_spawn_end(pid, "paqet"));
    assert_true(pq_spawn_lives(pid, "sleep"));
    assert_true(pq_spawn_end(pid, "sleep"));
    assert_false(pq_spawn_lives(pid, "sleep"));
    assert_false(pq_spawn_end(pid, "sleep"));
    assert_false(pq_spawn_lives(0, "sleep"));
    assert_true(read(fd, text, sizeof text - 1) > 0);
    assert_string_equal(text, "words\n");
    close(fd);
    unlink(log);
}

/* The kernel knows the first 15 bytes of a name. */
static void long_name(void **state)
{
    (void)state;
    char folder[] = "/tmp/paqet-spawn-XXXXXX", path[64], log[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a-name-of-more-than-15", folder);
    snprintf(log, sizeof log, "%s/log", folder);
    assert_int_equal(symlink("/bin/sleep", path), 0);
    const char *const argv[] = {path, "60", NULL};
    const pid_t pid = pq_spawn_detached(argv, log);
    assert_true(pid > 0);
    for (int i = 0; i < 500 && !pq_spawn_lives(pid, "a-name-of-more-than-15"); i++)
        usleep(10000);
    assert_true(pq_spawn_end(pid, "a-name-of-more-than-15"));
    unlink(path);
    unlink(log);
    rmdir(folder);
}

static void notify(void **state)
{
    (void)state;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[64], got[32];
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    /* abstract: the name begins with a 0, as '@' in the environment says */
    const int n = snprintf(path, sizeof path, "@paqet-notify-%ld", (long)getpid());
    memcpy(a.sun_path + 1, path + 1, (size_t)n - 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
                     0);
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(pq_notify("READY=1"), 0); /* to nobody */
    setenv("NOTIFY_SOCKET", path, 1);
    assert_int_equal(pq_notify("READY=1"), 0);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 7);
    assert_memory_equal(got, "READY=1", 7);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1); /* once */
    close(fd);
    assert_int_equal(pq_notify("READY=1"), -ECONNREFUSED);
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(pq_notify("READY=1"), 0);
    unsetenv("NOTIFY_SOCKET");
}

static void watchdog(void **state)
{
    (void)state;
    char pid[32];
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    assert_true(pq_notify_watchdog() == PQ_NEVER);
    setenv("WATCHDOG_USEC", "60000000", 1);
    assert_true(pq_notify_watchdog() == 60 * PQ_SEC);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_true(pq_notify_watchdog() == 60 * PQ_SEC);
    setenv("WATCHDOG_PID", "1", 1); /* meant for another */
    assert_true(pq_notify_watchdog() == PQ_NEVER);
    unsetenv("WATCHDOG_PID");
    static const char *const bad[] = {"0", "", "never", "99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        setenv("WATCHDOG_USEC", bad[i], 1);
        assert_true(pq_notify_watchdog() == PQ_NEVER);
    }
}

/* ---- another user */

int __real_setresuid(uid_t real, uid_t effective, uid_t saved);
int __wrap_setresuid(uid_t real, uid_t effective, uid_t saved);

/* As the kernel does it where fs.suid_dumpable is 1. */
int __wrap_setresuid(uid_t real, uid_t effective, uid_t saved)
{
    const int e = __real_setresuid(real, effective, saved);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return e;
}

/* Neither his core nor a debugger of his may have its memory. */
static void protected(void **state)
{
    (void)state;
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip();
#endif
    int status = 0;
    if (geteuid() != 0)
        skip();
    const pid_t pid = fork();
    if (pid == 0) {
        pq_process_protect();
        _exit(pq_process_become("nobody") || geteuid() == 0 ? 1
              : prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)          ? 2
                                                            : 0);
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends),    cmocka_unit_test(patience), cmocka_unit_test(trusted),
        cmocka_unit_test(folders), cmocka_unit_test(detached), cmocka_unit_test(long_name),
        cmocka_unit_test(notify),  cmocka_unit_test(watchdog), cmocka_unit_test(protected),
    };
    return ut_run(tests);
}
