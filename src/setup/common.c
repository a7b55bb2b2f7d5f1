/* SPDX-License-Identifier: MIT */
/* common.c - what setting up a server, a client and a bridge have in common. */
#include "setup/setup_internal.h"

#include "app/state.h"
#include "base/err.h"
#include "base/text.h"
#include "conf/conf.h"
#include "os/listener.h"
#include "os/local.h"
#include "os/netinfo.h"
#include "os/spawn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_FOLDER "/run/paqet" /* of control sockets */
#define PING_SLACK (15 * PQ_SEC)
#define NO_ANSWER  "no answer from the server: " /* as ping says it */

void pq_setup_say(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    fflush(stdout); /* what was printed before stands before it, where both go to one file */
    va_start(ap, fmt);
    const int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    pq_text_tame_lines(text); /* it may hold words of a link, or of a program's log */
    fprintf(stderr, "paqet init: %s\n", text);
    free(text);
}

void pq_setup_tun_name(char out[16])
{
    struct pq_iface found;
    unsigned i = 0;
    do
        snprintf(out, 16, "paqet%u", i);
    while (pq_iface_get(out, 0, &found) == 0 && ++i < 100);
}

/* ---- who has a port */

int pq_setup_try_listen(const struct pq_addr *a)
{
    struct sockaddr_storage ss;
    const socklen_t len = pq_addr_to_sock(a, &ss);
    const int one = 1, fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const int e = bind(fd, (struct sockaddr *)&ss, len) || listen(fd, 1) ? -errno : 0;
    close(fd);
    return e;
}

const char *pq_setup_listener(uint16_t port, char out[64])
{
    struct pq_listener l;
    if (pq_listener_find(port, &l) && l.pid)
        snprintf(out, 64, "%s, process %d", l.name, l.pid);
    else
        snprintf(out, 64, "another program");
    return out;
}

/* ---- begin and end */

static bool is_name(const char *name)
{
    const size_t n = strlen(name);
    return n && n <= 32 && *name != '-' && *name != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

/* Whether systemd, a shell and YAML take the path as it is, without quotes. */
static bool is_plain_path(const char *path)
{
    return *path == '/' && strlen(path) <= 200 &&
           strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@,=") ==
               strlen(path);
}

/* Whether the systemd unit keeps the service from seeing a folder (ProtectHome, PrivateTmp). */
static bool is_hidden(const char *folder)
{
    static const char *const hidden[] = {"/home", "/root", "/run/user", "/tmp", "/var/tmp"};
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        const size_t n = strlen(hidden[i]);
        if (strncmp(folder, hidden[i], n) == 0 && (folder[n] == '/' || !folder[n]))
            return true;
    }
    return false;
}

static bool load_list(struct pq_setup *s)
{
    const int e = pq_made_load(&s->made, s->o->folder);
    if (e)
        pq_setup_say(
            "%s cannot be used: %s; if it was damaged, remove it, and what it names by hand",
            s->made.path, e == PQ_EPROTO ? "it is no list of \"paqet init\"" : pq_strerror(e));
    s->made_before = s->made.n;
    return !e;
}

bool pq_setup_begin(struct pq_setup *s, const struct pq_init_opts *o, const char *role)
{
    *s = (struct pq_setup){.o = o, .role = role};
    const char *name = o->name ? o->name : role;
    if (!is_name(name)) {
        pq_setup_say("--name: '%s' is no name of letters, digits, - and _", name);
        return false;
    }
    if (!is_plain_path(o->folder)) {
        pq_setup_say("--config-dir: '%s' is no path from / on, of at most 200 letters, digits and "
                     "/._-+@,= (service managers give others a meaning)",
                     o->folder);
        return false;
    }
    if (geteuid() != 0 && !o->dry_run) {
        pq_setup_say(
            "this writes to %s and starts a service: run it as root, with sudo say (--dry-run "
            "only shows what would be done)",
            o->folder);
        return false;
    }
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->conf, sizeof s->conf, "%s/%s.yaml", o->folder, name);
    const int e = pq_setup_find_program(s->program);
    if (e) {
        pq_setup_say("this program's own file cannot be found: %s; is /proc mounted?",
                     pq_strerror(e));
        return false;
    }
    s->service = (struct pq_service){
        .kind = pq_service_find(), .name = s->name, .folder = o->folder, .program = s->program};
    if (s->service.kind == PQ_SERVICE_SYSTEMD && !o->no_service && is_hidden(o->folder)) {
        pq_setup_say("--config-dir: %s is hidden from the service; choose a folder that is not in "
                     "/home, /root, /run/user or "
                     "/tmp, or --no-service",
                     o->folder);
        return false;
    }
    return load_list(s);
}

void pq_setup_end(struct pq_setup *s)
{
    pq_made_free(&s->made);
}

bool pq_setup_may_write(struct pq_setup *s)
{
    struct stat st;
    if (lstat(s->conf, &st) != 0)
        return true;
    if (!s->o->force) {
        pq_setup_say(
            "%s is there already, and was not touched. --force makes a new one in its place (the "
            "old one is "
            "kept as %s.before), --name NAME another one beside it, --remove %s takes it back",
            s->conf, s->conf, s->name);
        return false;
    }
    return true;
}

#define BEFORE_MAX 9

/* FILE.before, or, where that is somebody's own, FILE.before2 and so on.  Returns false if all are.
 */
static bool choose_before(struct pq_setup *s)
{
    struct stat st;
    for (unsigned i = 1; i <= BEFORE_MAX; i++) {
        snprintf(s->before, sizeof s->before, i == 1 ? "%s.before" : "%s.before%u", s->conf, i);
        if (lstat(s->before, &st) != 0 || pq_setup_is_ours(s, s->before))
            return true;
    }
    return false;
}

bool pq_setup_displace(struct pq_setup *s)
{
    struct stat st;
    if (s->o->dry_run || lstat(s->conf, &st) != 0)
        return true;
    const bool ours = pq_setup_is_ours(s, s->conf);
    if (!choose_before(s)) {
        pq_setup_say("%s cannot be moved away: there are %s and others already; remove them",
                     s->conf, s->before);
        return false;
    }
    s->was_running = pq_service_runs(&s->service);
    pq_service_stop(&s->service); /* its ports become free */
    int e = rename(s->conf, s->before) ? -errno : 0;
    if (!e && ours)
        e = pq_made_add(&s->made, s->name, PQ_MADE_PLAIN, 0, s->before);
    else if (!e) /* somebody's own: --remove leaves it */
        printf("%s was not made by init: it is kept as %s\n", s->conf, s->before);
    if (e)
        pq_setup_say("%s cannot be moved away: %s", s->conf, pq_strerror(e));
    s->displaced = !e;
    s->made_before = s->made.n;
    return !e;
}

/* What was there before runs again. */
static void put_back(struct pq_setup *s)
{
    char why[PQ_SERVICE_WHY_LEN];
    if (rename(s->before, s->conf))
        pq_setup_say("%s is now called %s: %s", s->conf, s->before, strerror(errno));
    else if (s->was_running && pq_service_start(&s->service, why))
        pq_setup_say("%s", why);
    else
        pq_setup_say("the configuration that was there is in its place again");
}

/* ---- what is made */

static int note(struct pq_setup *s, const char *instance, enum pq_made_kind kind, const char *what)
{
    return pq_made_add(&s->made, instance, kind, (int)s->service.kind, what);
}

bool pq_setup_note(struct pq_setup *s, const char *instance, enum pq_made_kind kind,
                   const char *what)
{
    const int e = note(s, instance, kind, what);
    if (e)
        pq_setup_say("%s cannot be written: %s", s->made.path, pq_strerror(e));
    return !e;
}

bool pq_setup_note_new(struct pq_setup *s, const char *instance, const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || pq_setup_note(s, instance, PQ_MADE_PLAIN, path);
}

/* In a folder of the user's own: a link that he has put there is not followed. */
static bool own(const struct pq_setup *s, const char *path, bool owned)
{
    return !owned || !s->own_user || lchown(path, s->uid, s->gid) == 0;
}

#define FOLDERS_MAX 4 /* that are made at a time, one in the other */

/* Makes a folder, and those above it; each is on the list first, if the list has a place already:
 * init may be killed at any time. */
static int make_folder(struct pq_setup *s, const char *path, unsigned mode, int *n)
{
    char up[PATH_MAX];
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    snprintf(up, sizeof up, "%s", path);
    char *slash = strrchr(up, '/');
    if (!slash || ++*n > FOLDERS_MAX)
        return -ENOENT;
    *slash = 0;
    int e = *up ? make_folder(s, up, 0755, n) : 0;
    if (!e && stat(s->o->folder, &st) == 0)
        e = note(s, PQ_MADE_ALL, PQ_MADE_FOLDER, path);
    if (!e && mkdir(path, (mode_t)mode))
        e = -errno;
    return e;
}

/* Those that were made before the list could be. */
static bool note_above(struct pq_setup *s, const char *path, int n)
{
    char up[FOLDERS_MAX][PATH_MAX];
    for (int i = 0; i < n; i++) {
        snprintf(up[i], sizeof up[i], "%s", i ? up[i - 1] : path);
        if (i)
            *strrchr(up[i], '/') = 0;
    }
    while (n-- > 0)
        if (!pq_setup_note(s, PQ_MADE_ALL, PQ_MADE_FOLDER, up[n]))
            return false;
    return true;
}

bool pq_setup_folder(struct pq_setup *s, const char *path, unsigned mode, bool owned)
{
    int n = 0;
    int e = make_folder(s, path, mode, &n);
    /* only what was made gets its mode and owner from us */
    if (!e && n && (chmod(path, (mode_t)mode) || !own(s, path, owned)))
        e = -errno;
    if (e)
        pq_setup_say("%s cannot be made: %s", path, pq_strerror(e));
    return !e && note_above(s, path, n);
}

bool pq_setup_write(struct pq_setup *s, const char *path, const void *p, size_t n,
                    enum pq_setup_owner owner)
{
    const bool his = s->own_user && owner == PQ_SETUP_OWN;
    const bool reads = s->own_user && owner == PQ_SETUP_READ;
    const struct pq_file_owner of = {his ? s->uid : 0, s->gid};
    if (!pq_setup_note_new(s, s->name, path))
        return false;
    const int e = pq_file_write(path, p, n, reads ? 0640 : 0600, his || reads ? &of : NULL);
    if (e)
        pq_setup_say("%s cannot be written: %s", path, pq_strerror(e));
    return !e && pq_setup_note(s, s->name, PQ_MADE_PLAIN, path);
}

bool pq_setup_is_ours(const struct pq_setup *s, const char *path)
{
    for (size_t i = 0; i < s->made.n; i++)
        if (s->made.v[i].kind == PQ_MADE_PLAIN && !strcmp(s->made.v[i].what, path))
            return true;
    return false;
}

/* The service's user; without a program to make one with, it runs as root. */
static bool find_user(struct pq_setup *s)
{
    const enum pq_service_kind kind = s->service.kind;
    if ((kind != PQ_SERVICE_SYSTEMD && kind != PQ_SERVICE_OPENRC) || s->o->no_service)
        return true;
    const int e = pq_service_make_user(&s->uid, &s->gid);
    if (e == -EEXIST) {
        pq_setup_say("there is a user " PQ_SERVICE_USER " already who can log in, and the service "
                     "would be his: rename him (usermod --login NEW " PQ_SERVICE_USER "), or, if "
                     "he is there for this, take the login from him "
                     "(usermod --shell /usr/sbin/nologin " PQ_SERVICE_USER ")");
        return false;
    }
    if (e == -ENOTUNIQ) {
        pq_setup_say("there is a user " PQ_SERVICE_USER " already in a group that is not his own, "
                     "and who else is in it could read the keys: give him one "
                     "(groupadd --system " PQ_SERVICE_USER "; usermod --gid " PQ_SERVICE_USER
                     " " PQ_SERVICE_USER "), or remove him (userdel or deluser " PQ_SERVICE_USER
                     "), and init makes him anew");
        return false;
    }
    s->own_user = e >= 0;
    return e <= 0 || pq_setup_note(s, PQ_MADE_ALL, PQ_MADE_USER, PQ_SERVICE_USER);
}

bool pq_setup_prepare(struct pq_setup *s)
{
    struct stat st;
    const bool new = stat(s->o->folder, &st) != 0;
    if (!pq_setup_folder(s, s->o->folder, 0700, false) || !find_user(s) || !pq_setup_program(s))
        return false;
    /* these the program, systemd or the script would make */
    const bool script = s->service.kind == PQ_SERVICE_OPENRC || s->service.kind == PQ_SERVICE_PROCD;
    if ((s->own_user || (script && !s->o->no_service)) &&
        !pq_setup_folder(s, PQ_STATE_FOLDER, 0700, true))
        return false;
    if (!s->o->no_service && !pq_setup_folder(s, RUN_FOLDER, s->own_user ? 0750 : 0700, true))
        return false;
    /* the service's user passes through, but sees no names and changes nothing */
    if (s->own_user && (new || (st.st_uid == 0 && (st.st_mode & 0777) == 0700)) &&
        (chown(s->o->folder, 0, s->gid) || chmod(s->o->folder, 0710)))
        pq_setup_say("%s: %s", s->o->folder, strerror(errno));
    return true;
}

bool pq_setup_check(const struct pq_setup *s, const char *text)
{
    struct pq_conf c;
    struct pq_conf_msgs m;
    const int e = pq_conf_parse(&c, text, strlen(text), &m);
    for (unsigned i = 0; i < m.n; i++) {
        if (m.v[i].error)
            pq_setup_say("%s would be refused: %s", s->conf, m.v[i].text);
        else if (!e)
            printf("NOTE: %s\n", m.v[i].text);
    }
    pq_conf_msgs_free(&m);
    pq_conf_free(&c);
    return !e;
}

/* ---- the service */

/* Whether a package (or "meson install") has brought the unit of systemd, word for word. */
static bool is_packaged(const char *text)
{
    static const char *const folders[] = {"/usr/local/lib", "/usr/lib", "/lib"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[PATH_MAX];
        size_t n;
        snprintf(path, sizeof path, "%s/systemd/system/paqet@.service", folders[i]);
        char *there = pq_file_read(path, (size_t)1 << 20, &n);
        if (!there)
            continue;
        const bool same = strcmp(there, text) == 0; /* systemd takes the first that is there */
        free(there);
        return same;
    }
    return false;
}

/* Its log begins anew.  What is there and was not noted is somebody else's: it is kept beside. */
static bool note_log(struct pq_setup *s, const char *log)
{
    char before[PATH_MAX];
    struct stat st;
    snprintf(before, sizeof before, "%.*s.before", PATH_MAX - 8, log);
    if (lstat(log, &st) == 0 && !pq_setup_is_ours(s, log)) {
        if (lstat(before, &st) == 0 || rename(log, before)) {
            pq_setup_say("%s is there already, and not of init: move it away", log);
            return false;
        }
        printf("%s was not made by init: it is kept as %s\n", log, before);
    }
    return pq_setup_note(s, s->name, PQ_MADE_PLAIN, log);
}

static bool install_service(struct pq_setup *s)
{
    char path[PATH_MAX], text[PQ_SERVICE_TEXT];
    struct stat st;
    const char *instance = pq_service_is_shared(s->service.kind) ? PQ_MADE_ALL : s->name;
    pq_service_path(&s->service, path);
    char log[PATH_MAX];
    snprintf(log, sizeof log, "/var/log/paqet-%s.log", s->name);
    if (s->service.kind == PQ_SERVICE_OPENRC && !note_log(s, log))
        return false;
    if (s->service.kind == PQ_SERVICE_NONE) {
        return pq_setup_folder(s, "/run", 0755, false) &&
               pq_setup_folder(s, "/var/log", 0755, false) &&
               pq_setup_note(s, s->name, PQ_MADE_PLAIN, path) && note_log(s, log);
    }
    if (stat(path, &st) == 0 && !pq_setup_is_ours(s, path) && !s->o->force) {
        printf("%s is there already, and was not changed\n", path);
        return true;
    }
    pq_service_text(&s->service, s->own_user, text);
    if (s->service.kind == PQ_SERVICE_SYSTEMD && is_packaged(text))
        return true;
    const unsigned mode = s->service.kind == PQ_SERVICE_SYSTEMD ? 0644 : 0755;
    if (!pq_setup_note_new(s, instance, path))
        return false;
    const int e = pq_file_write(path, text, strlen(text), mode, NULL);
    if (e)
        pq_setup_say("%s cannot be written: %s", path, pq_strerror(e));
    return !e && pq_setup_note(s, instance, PQ_MADE_PLAIN, path);
}

/* One of the same name that was started by hand would keep the service from being asked. */
static bool is_alone(const struct pq_setup *s)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, RUN_FOLDER "/%s.sock", s->name);
    const int fd = pq_local_connect(path, 1);
    if (fd < 0)
        return true;
    close(fd);
    pq_setup_say("a paqet that was started by hand runs as %s already; stop it first (\"pgrep -a "
                 "paqet\" shows it), or choose another name: --name NAME",
                 s->name);
    return false;
}

bool pq_setup_start(struct pq_setup *s)
{
    char why[PQ_SERVICE_WHY_LEN];
    if (s->o->no_service)
        return true;
    if (!is_alone(s) || !install_service(s) ||
        !pq_setup_note(s, s->name, PQ_MADE_SERVICE, s->program))
        return false;
    if (pq_service_start(&s->service, why)) {
        pq_setup_say("%s", why);
        return false;
    }
    return true;
}

void pq_setup_explain(const struct pq_setup *s, const char *what)
{
    char log[2048];
    pq_service_log(&s->service, log, sizeof log);
    pq_text_tame_lines(log);
    pq_setup_say("%s%s", what, *log ? ". The end of its log:" : ", and its log is empty");
    fputs(log, stderr);
}

void pq_setup_undo(struct pq_setup *s)
{
    const bool some = s->made.n > s->made_before;
    while (s->made.n > s->made_before) {
        pq_setup_undo_entry(&s->made.v[s->made.n - 1], s->o->folder);
        if (pq_made_drop(&s->made, s->made.n - 1))
            break;
    }
    if (some && !s->made.n)
        rmdir(s->o->folder); /* it held the list until now */
    if (some)
        pq_setup_say("what had been made was taken back");
    if (s->displaced)
        put_back(s);
}

void pq_setup_words(const struct pq_setup *s)
{
    struct pq_service_words words;
    bool alone = true; /* else "--remove" would take more back */
    for (size_t i = 0; i < s->made.n; i++)
        alone = alone && (!strcmp(s->made.v[i].instance, s->name) ||
                          !strcmp(s->made.v[i].instance, PQ_MADE_ALL));
    if (s->o->no_service) {
        printf("\nNothing was started. To run it:\n  sudo %s run -c %s\n", s->program, s->conf);
    } else {
        pq_service_words(&s->service, &words);
        printf("\nIts log: %s · stop it: %s", words.log, words.stop);
        if (s->service.kind == PQ_SERVICE_NONE)
            printf("\nThere is no service manager here that paqet knows: it runs in the background "
                   "until the machine\n"
                   "restarts. To have it again then, let what runs at boot call:\n  %s",
                   words.start);
    }
    printf("\nTo take all of this back: sudo paqet init --remove%s%s\n", alone ? "" : " ",
           alone ? "" : s->name);
}

/* ---- asking the server */

static double number_in(const char *text, const char *name, double missing)
{
    const char *at = strstr(text, name);
    return at ? strtod(at + strlen(name), NULL) : missing;
}

bool pq_setup_ping(const char *conf, const char *target, unsigned count, unsigned wait_s,
                   struct pq_setup_pong *out)
{
    char self[PATH_MAX], n[16], wait[16], said[2048];
    *out = (struct pq_setup_pong){0};
    if (pq_spawn_self(self, sizeof self))
        return false;
    snprintf(n, sizeof n, "%u", count);
    snprintf(wait, sizeof wait, "%u", wait_s);
    const char *const argv[] = {self,   "ping", "-c", conf, "-n",     n,
                                "-i",   "0.1",  "-w", wait, "--json", target ? "-t" : NULL,
                                target, NULL};
    pq_spawn(argv, said, sizeof said, (pq_ns)wait_s * PQ_SEC * (1 + (pq_ns)count) + PING_SLACK);
    out->rtt = number_in(said, "\"avg\": ", 0);
    out->result = (int)number_in(said, "\"result\": ", 0);
    const char *why = strstr(said, NO_ANSWER);
    if (why)
        snprintf(out->why, sizeof out->why, "%.*s", (int)strcspn(why + strlen(NO_ANSWER), "{"),
                 why + strlen(NO_ANSWER));
    return number_in(said, "\"answered\": ", 0) > 0;
}
