/* SPDX-License-Identifier: MIT */
#include "os/service.h"

#include "os/spawn.h"
#include "service_files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE     (60 * PQ_SEC)
#define OUT_LEN      400
#define LOG_BYTES    2048
#define POLL_MS      50
#define RESTARTS_MAX 1
#define MISSING_MAX  100 /* looks */

enum pq_service_kind pq_service_find(void)
{
    struct stat st;
    if (stat("/run/systemd/system", &st) == 0 && pq_spawn_finds("systemctl"))
        return PQ_SERVICE_SYSTEMD;
    if (access("/etc/rc.common", F_OK) == 0 && access("/sbin/procd", X_OK) == 0)
        return PQ_SERVICE_PROCD;
    if (access("/sbin/openrc-run", X_OK) == 0 && access("/run/openrc", F_OK) == 0)
        return PQ_SERVICE_OPENRC;
    return PQ_SERVICE_NONE;
}

const char *pq_service_kind_name(enum pq_service_kind kind)
{
    static const char *const names[] = {"a background process", "systemd", "OpenRC", "procd"};
    return names[kind];
}

bool pq_service_is_shared(enum pq_service_kind kind)
{
    return kind == PQ_SERVICE_SYSTEMD;
}

void pq_service_path(const struct pq_service *s, char out[PATH_MAX])
{
    switch (s->kind) {
    case PQ_SERVICE_SYSTEMD:
        snprintf(out, PATH_MAX, "/etc/systemd/system/paqet@.service");
        break;
    case PQ_SERVICE_OPENRC:
    case PQ_SERVICE_PROCD:
        snprintf(out, PATH_MAX, "/etc/init.d/paqet-%s", s->name);
        break;
    case PQ_SERVICE_NONE:
        snprintf(out, PATH_MAX, "/run/paqet-%s.pid", s->name);
        break;
    }
}

/* ---- texts */

static const char *value_of(const struct pq_service *s, bool user, const char *name, size_t n)
{
    const struct {
        const char *name, *value;
    } all[] = {{"@PROGRAM@", s->program},
               {"@FOLDER@", s->folder},
               {"@NAME@", s->name},
               {"@USER@", user ? "User=" PQ_SERVICE_USER "\nGroup=" PQ_SERVICE_USER
                               : "# there is no program here to make a user with"},
               {"@AS@", user ? " --user " PQ_SERVICE_USER : ""},
               {"@OWNER@", user ? " --owner " PQ_SERVICE_USER : ""}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strlen(all[i].name) == n && strncmp(all[i].name, name, n) == 0)
            return all[i].value;
    return NULL;
}

bool pq_service_text(const struct pq_service *s, bool user, char out[PQ_SERVICE_TEXT])
{
    const char *const texts[] = {"", pq_file_systemd, pq_file_openrc, pq_file_procd};
    size_t len = 0;
    for (const char *p = texts[s->kind]; *p && len < PQ_SERVICE_TEXT - 1;) {
        const char *end = *p == '@' ? strchr(p + 1, '@') : NULL;
        const size_t n = end ? (size_t)(end - p) + 1 : 0;
        const char *value = n ? value_of(s, user, p, n) : NULL;
        if (value)
            len += (size_t)snprintf(out + len, PQ_SERVICE_TEXT - len, "%s", value);
        else
            out[len++] = *p;
        p += value ? n : 1;
    }
    out[len < PQ_SERVICE_TEXT ? len : PQ_SERVICE_TEXT - 1] = 0;
    return s->kind != PQ_SERVICE_NONE;
}

/* ---- the user */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether somebody may log in as him: then he is a person, or somebody's who has more. */
static bool can_log_in(const struct passwd *p)
{
    static const char *const none[] = {"nologin", "false", "true", "sync"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (strcmp(file_name(p->pw_shell), none[i]) == 0)
            return false;
    return true;
}

static int find_user(unsigned *uid, unsigned *gid)
{
    const struct passwd *p = getpwnam(PQ_SERVICE_USER);
    if (!p)
        return -ENOENT;
    if (!p->pw_uid || can_log_in(p))
        return -EEXIST;
    const struct group *g = getgrgid(p->pw_gid);
    if (g && strcmp(g->gr_name, PQ_SERVICE_USER) != 0)
        return -ENOTUNIQ; /* whoever is in it could read the keys */
    *uid = p->pw_uid;
    *gid = p->pw_gid;
    return 0;
}

int pq_service_make_user(unsigned *uid, unsigned *gid)
{
    static const char *const useradd[] = {
        "useradd",      "--system", "--user-group",      "--no-create-home", "--home-dir",
        "/nonexistent", "--shell",  "/usr/sbin/nologin", PQ_SERVICE_USER,    NULL};
    /* busybox would put him into a group that others are in, too */
    static const char *const addgroup[] = {"addgroup", "-S", PQ_SERVICE_USER, NULL};
    static const char *const adduser[] = {"adduser",
                                          "-S",
                                          "-D",
                                          "-H",
                                          "-h",
                                          "/nonexistent",
                                          "-s",
                                          "/sbin/nologin",
                                          "-G",
                                          PQ_SERVICE_USER,
                                          PQ_SERVICE_USER,
                                          NULL};
    int e = find_user(uid, gid);
    if (e != -ENOENT)
        return e;
    bool ok = pq_spawn(useradd, NULL, 0, PATIENCE) == 0;
    if (!ok) {
        pq_spawn(addgroup, NULL, 0, PATIENCE);
        ok = pq_spawn(adduser, NULL, 0, PATIENCE) == 0;
    }
    e = find_user(uid, gid);
    return ok && !e ? 1 : -ENOENT;
}

int pq_service_remove_user(void)
{
    static const char *const userdel[] = {"userdel", PQ_SERVICE_USER, NULL};
    static const char *const deluser[] = {"deluser", PQ_SERVICE_USER, NULL};
    return pq_spawn(userdel, NULL, 0, PATIENCE) == 0 || pq_spawn(deluser, NULL, 0, PATIENCE) == 0
               ? 0
               : -ENOENT;
}

/* ---- its life */

/* Runs a command of at most five words; returns whether it ended with 0. */
static bool command(char *out, const char *a, const char *b, const char *c, const char *d)
{
    const char *const argv[] = {a, b, c, d, NULL};
    return pq_spawn(argv, out, out ? OUT_LEN : 0, PATIENCE) == 0;
}

static void unit_of(const struct pq_service *s, char unit[256])
{
    snprintf(unit, 256, s->kind == PQ_SERVICE_SYSTEMD ? "paqet@%s.service" : "paqet-%s", s->name);
}

static pid_t read_pid(const struct pq_service *s)
{
    char path[PATH_MAX];
    long pid = 0;
    pq_service_path(s, path);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%ld", &pid) != 1)
        pid = 0;
    if (f)
        fclose(f);
    return (pid_t)pid;
}

static void log_path(const struct pq_service *s, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "/var/log/paqet-%s.log", s->name);
}

/* Who may write here has root end, or a package's script start, a program of his choice: whatever
 * the umask is, nobody but root. */
static void note_pid(const char *path, pid_t pid)
{
    unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    FILE *f = fd >= 0 && fchmod(fd, 0644) == 0 ? fdopen(fd, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", (long)pid);
        fclose(f);
    } else if (fd >= 0) {
        close(fd);
    }
}

static int start_process(const struct pq_service *s, char why[PQ_SERVICE_WHY_LEN])
{
    char conf[PATH_MAX], log[PATH_MAX], path[PATH_MAX];
    pq_spawn_end(read_pid(s), file_name(s->program));
    snprintf(conf, sizeof conf, "%s/%s.yaml", s->folder, s->name);
    log_path(s, log);
    unlink(log); /* what it says from now on is read */
    const char *const argv[] = {s->program, "run", "-c", conf, NULL};
    const pid_t pid = pq_spawn_detached(argv, log);
    if (pid < 0) {
        snprintf(why, PQ_SERVICE_WHY_LEN, "%.200s could not be started, with its log in %.100s: %s",
                 s->program, log, strerror((int)-pid));
        return -1;
    }
    pq_service_path(s, path);
    note_pid(path, pid);
    return 0;
}

int pq_service_start(const struct pq_service *s, char why[PQ_SERVICE_WHY_LEN])
{
    char unit[256], path[PATH_MAX], out[OUT_LEN] = "";
    bool ok = false;
    unit_of(s, unit);
    pq_service_path(s, path);
    switch (s->kind) {
    case PQ_SERVICE_NONE:
        return start_process(s, why);
    case PQ_SERVICE_SYSTEMD:
        ok = command(out, "systemctl", "daemon-reload", NULL, NULL) &&
             command(out, "systemctl", "enable", unit, NULL) &&
             command(out, "systemctl", "restart", "--no-block", unit);
        break;
    case PQ_SERVICE_OPENRC:
        log_path(s, path);
        unlink(path); /* what it says from now on is read */
        ok = command(out, "rc-update", "add", unit, "default") &&
             command(out, "rc-service", unit, "restart", NULL);
        break;
    case PQ_SERVICE_PROCD:
        ok = command(out, path, "enable", NULL, NULL) && command(out, path, "restart", NULL, NULL);
        break;
    }
    if (!ok)
        snprintf(why, PQ_SERVICE_WHY_LEN, "%s did not start it: %s", pq_service_kind_name(s->kind),
                 *out ? out : "it says nothing");
    return ok ? 0 : -1;
}

bool pq_service_runs(const struct pq_service *s)
{
    char unit[256], path[PATH_MAX];
    unit_of(s, unit);
    pq_service_path(s, path);
    switch (s->kind) {
    case PQ_SERVICE_NONE:
        return pq_spawn_lives(read_pid(s), file_name(s->program));
    case PQ_SERVICE_SYSTEMD:
        return command(NULL, "systemctl", "is-active", "--quiet", unit);
    case PQ_SERVICE_OPENRC:
        return command(NULL, "rc-service", unit, "status", NULL);
    case PQ_SERVICE_PROCD:
        return command(NULL, path, "running", NULL, NULL);
    }
    return false;
}

/* How often systemd has had to start it again. */
static long restarts(const struct pq_service *s)
{
    char unit[256], out[64];
    unit_of(s, unit);
    const char *const argv[] = {"systemctl", "show", "--property=NRestarts", unit, NULL};
    const int e = pq_spawn(argv, out, sizeof out, PATIENCE);
    const char *is = strchr(out, '=');
    return !e && is ? strtol(is + 1, NULL, 10) : 0;
}

bool pq_service_wait(const struct pq_service *s, const char *words, pq_ns patience)
{
    char log[LOG_BYTES];
    unsigned missing = 0;
    for (const pq_ns until = pq_clock() + patience; pq_clock() < until; poll(NULL, 0, POLL_MS)) {
        const bool runs = pq_service_runs(s);
        if (s->kind == PQ_SERVICE_SYSTEMD && (runs || restarts(s) > RESTARTS_MAX))
            return runs;
        if (runs)
            pq_service_log(s, log, sizeof log);
        if (runs && strstr(log, words))
            return true;
        /* a manager may take a moment, or start it again */
        missing += !runs && s->kind != PQ_SERVICE_SYSTEMD;
        if (missing > MISSING_MAX || (missing && s->kind == PQ_SERVICE_NONE))
            return false;
    }
    return false;
}

void pq_service_stop(const struct pq_service *s)
{
    char unit[256], path[PATH_MAX];
    unit_of(s, unit);
    pq_service_path(s, path);
    switch (s->kind) {
    case PQ_SERVICE_NONE:
        pq_spawn_end(read_pid(s), file_name(s->program));
        break;
    case PQ_SERVICE_SYSTEMD:
        command(NULL, "systemctl", "disable", "--now", unit);
        break;
    case PQ_SERVICE_OPENRC:
        command(NULL, "rc-service", unit, "stop", NULL);
        command(NULL, "rc-update", "del", unit, NULL);
        break;
    case PQ_SERVICE_PROCD:
        command(NULL, path, "stop", NULL, NULL);
        command(NULL, path, "disable", NULL, NULL);
        break;
    }
}

void pq_service_forget(const struct pq_service *s)
{
    if (s->kind == PQ_SERVICE_SYSTEMD)
        command(NULL, "systemctl", "daemon-reload", NULL, NULL);
}

/* ---- words */

static void tail(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fseek(f, -(long)(cap < LOG_BYTES ? cap : LOG_BYTES) + 1, SEEK_END))
        rewind(f);
    const size_t n = fread(out, 1, cap - 1, f);
    out[n] = 0;
    fclose(f);
}

void pq_service_log(const struct pq_service *s, char *out, size_t cap)
{
    char unit[256], path[PATH_MAX];
    unit_of(s, unit);
    out[0] = 0;
    if (s->kind == PQ_SERVICE_SYSTEMD) {
        const char *const argv[] = {"journalctl", "-u",  unit,         "-n", "12",
                                    "-o",         "cat", "--no-pager", NULL};
        pq_spawn(argv, out, cap, PATIENCE);
    } else if (s->kind == PQ_SERVICE_PROCD) {
        static const char *const argv[] = {"logread", "-l", "12", "-e", "paqet", NULL};
        pq_spawn(argv, out, cap, PATIENCE);
    } else {
        log_path(s, path);
        tail(path, out, cap);
    }
}

void pq_service_words(const struct pq_service *s, struct pq_service_words *out)
{
    switch (s->kind) {
    case PQ_SERVICE_SYSTEMD:
        snprintf(out->log, sizeof out->log, "journalctl -u paqet@%s", s->name);
        snprintf(out->start, sizeof out->start, "systemctl start paqet@%s", s->name);
        snprintf(out->stop, sizeof out->stop, "systemctl stop paqet@%s", s->name);
        break;
    case PQ_SERVICE_PROCD:
        snprintf(out->log, sizeof out->log, "logread -e paqet");
        snprintf(out->start, sizeof out->start, "/etc/init.d/paqet-%s start", s->name);
        snprintf(out->stop, sizeof out->stop, "/etc/init.d/paqet-%s stop", s->name);
        break;
    case PQ_SERVICE_OPENRC:
        snprintf(out->log, sizeof out->log, "tail /var/log/paqet-%s.log", s->name);
        snprintf(out->start, sizeof out->start, "rc-service paqet-%s start", s->name);
        snprintf(out->stop, sizeof out->stop, "rc-service paqet-%s stop", s->name);
        break;
    case PQ_SERVICE_NONE:
        snprintf(out->log, sizeof out->log, "tail /var/log/paqet-%s.log", s->name);
        snprintf(out->start, sizeof out->start, "%s run -c %.255s/%s.yaml", s->program, s->folder,
                 s->name);
        snprintf(out->stop, sizeof out->stop, "kill $(cat /run/paqet-%s.pid)", s->name);
        break;
    }
}
