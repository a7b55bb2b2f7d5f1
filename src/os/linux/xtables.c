/* SPDX-License-Identifier: MIT */
#include "os/linux/xtables.h"

#include "base/err.h"
#include "base/time.h"
#include "os/linux/mark.h"
#include "os/linux/xtwhy.h"
#include "os/spawn.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE   (5 * PQ_SEC)
#define LISTING    (1U << 20)
#define PREFIX     "paqet-"
#define HELD       4   /* exit code: another program changes the tables */
#define NO_PROGRAM 127 /* what stands there cannot run */
#define TRIES      8   /* while that is so ... */
#define TRY_MS     150 /* ... at this distance */
#define LINE       512
#define LOCK_FILE  "/run/xtables.lock"
#define OWN_FOLDER "/tmp/paqet-%u"

/* ---- the programs */

/* A folder that only we can write to, whoever else can write to where it is: of a fixed name, so
 * that others of ours find it, or, if somebody has been there before us, of one of its own. */
static const char *own_folder(void)
{
    static char folder[sizeof OWN_FOLDER + 24];
    struct stat st;
    if (*folder)
        return folder;
    snprintf(folder, sizeof folder, OWN_FOLDER, (unsigned)geteuid());
    if ((mkdir(folder, 0700) == 0 || errno == EEXIST) && lstat(folder, &st) == 0 &&
        S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077))
        return folder;
    snprintf(folder, sizeof folder, OWN_FOLDER "-XXXXXX", (unsigned)geteuid());
    if (mkdtemp(folder))
        return folder;
    folder[0] = 0; /* there is none of this name */
    return "/nonexistent";
}

/* Who may not use the lock of all, locks at least against our own. */
static const char *lock_of(char buf[128])
{
    const char *folder = secure_getenv("RUNTIME_DIRECTORY"); /* of the service */
    const bool refused = geteuid() ? access(LOCK_FILE, R_OK) != 0
                                   : access(LOCK_FILE, F_OK) && access("/run", W_OK) &&
                                         errno == EROFS; /* as systemd has it for a service */
    if (!refused)
        return NULL;
    if (!folder || *folder != '/' || strlen(folder) >= 64 || strchr(folder, ':'))
        folder = own_folder();
    snprintf(buf, 128, "XTABLES_LOCKFILE=%s/xtables.lock", folder);
    return buf;
}

static int run(const char *const argv[], const char *in, char *out, size_t cap)
{
    char lock[128];
    int code = HELD;
    const pq_ns until = pq_clock() + PATIENCE;
    for (int i = 0; i < TRIES && code == HELD && pq_clock() < until; i++) {
        if (i)
            poll(NULL, 0, TRY_MS);
        code = pq_spawn_trusted(argv, lock_of(lock), in, in ? strlen(in) : 0, out, cap, PATIENCE);
    }
    return code;
}

/* "iptables v1.8.9 (legacy)" */
static void learn(struct pq_xt_tool *t, const char *program)
{
    const char *const argv[] = {program, "--version", NULL};
    char said[128];
    unsigned a, b, c = 0;
    const char *v;
    if (run(argv, NULL, said, sizeof said) || !(v = strstr(said, " v")) ||
        sscanf(v, " v%u.%u.%u", &a, &b, &c) < 2)
        return;
    const unsigned version = a << 16 | b << 8 | c;
    snprintf(t->program, sizeof t->program, "%s", program);
    snprintf(t->restore, sizeof t->restore, "%s-restore", program);
    t->waits = version >= 0x010414;         /* 1.4.20 */
    t->restore_waits = version >= 0x010602; /* 1.6.2 */
}

#define PROGRAMS 2 /* of each family, in order of choice */

static struct pq_xt_tool known[PQ_XT_FAMILIES][PROGRAMS]; /* once learned */

static void learn_all(void)
{
    static const char *const names[PQ_XT_FAMILIES][PROGRAMS] = {{"iptables-legacy", "iptables"},
                                                                {"ip6tables-legacy", "ip6tables"}};
    for (int family = 0; family < PQ_XT_FAMILIES; family++)
        for (int i = 0; i < PROGRAMS; i++)
            learn(&known[family][i], names[family][i]);
}

static int list(const struct pq_xt_tool *t, const char *table, char *out, size_t cap)
{
    const char *const waiting[] = {t->program, "-w", "-t", table, "-S", NULL};
    const char *const at_once[] = {t->program, "-t", table, "-S", NULL};
    return run(t->waits ? waiting : at_once, NULL, out, cap);
}

/* ---- whose chains */

/* A chain of this program, by its name, whose process is gone. */
static bool is_left(const char *chain, size_t n)
{
    char name[sizeof((struct pq_xt *)0)->name];
    int pid = 0, salt_at = 0, end = 0;
    unsigned salt;
    if (sscanf(chain, PREFIX "%d-%n%4x-%n", &pid, &salt_at, &salt, &end) != 2 || pid <= 0 || !end ||
        end - salt_at != 5 || (size_t)end > n || (size_t)end > sizeof name)
        return false;
    memcpy(name, chain, (size_t)end - 1);
    name[end - 1] = 0;
    const int fd = pq_mark_take(pq_mark_of_name(name));
    if (fd >= 0)
        close(fd);
    return fd >= 0 && !pq_mark_before(name);
}

static bool is_ours(const struct pq_xt *x, const char *chain, size_t n)
{
    const size_t len = strlen(x->name);
    return n > len && memcmp(chain, x->name, len) == 0 && chain[len] == '-';
}

int pq_xt_open(struct pq_xt *x, const char *kept)
{
    uint16_t salt;
    *x = (struct pq_xt){.life = -1};
    if (kept) {
        snprintf(x->name, sizeof x->name, PREFIX "%s", kept);
        return 0;
    }
    for (int i = 0; x->life < 0 && i < TRIES; i++) {
        if (getrandom(&salt, sizeof salt, 0) < 0)
            salt = (uint16_t)(pq_clock() >> 10);
        snprintf(x->name, sizeof x->name, PREFIX "%d-%04x", (int)getpid(), salt);
        x->life = pq_mark_take(pq_mark_of_name(x->name));
    }
    return x->life < 0 ? x->life : 0;
}

void pq_xt_close(struct pq_xt *x)
{
    if (x->life >= 0)
        close(x->life);
    x->life = -1;
}

/* ---- batches */

static void append(struct pq_xt_batch *b, const char *p, size_t n)
{
    if (b->len + n + 1 > b->cap && !b->failed) {
        const size_t cap = 2 * (b->len + n + 1) + LINE;
        char *more = realloc(b->text, cap);
        b->failed = !more;
        b->text = more ? more : b->text;
        b->cap = more ? cap : b->cap;
    }
    if (b->failed)
        return;
    memcpy(b->text + b->len, p, n);
    b->len += n;
    b->text[b->len] = 0;
}

void pq_xt_begin(struct pq_xt_batch *b, struct pq_xt *x, int family, const char *table)
{
    *b = (struct pq_xt_batch){.x = x, .family = family, .table = table};
    append(b, "*", 1);
    append(b, table, strlen(table));
    append(b, "\n", 1);
}

void pq_xt_chain(struct pq_xt_batch *b, const char *what)
{
    pq_xt_add(b, ":$%s - [0:0]", what);
}

void pq_xt_add(struct pq_xt_batch *b, const char *fmt, ...)
{
    char line[LINE];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    b->failed = b->failed || n < 0 || n >= (int)sizeof line;
    for (const char *p = line; !b->failed && *p;) {
        const size_t plain = strcspn(p, "$");
        append(b, p, plain);
        p += plain;
        if (*p == '$') {
            append(b, b->x->name, strlen(b->x->name));
            append(b, "-", 1);
            p++;
        }
    }
    append(b, "\n", 1);
}

/* Runs the tool with the words of a line; ":CHAIN ..." makes or empties that one. */
static bool by_line(const struct pq_xt_batch *b, const char *line, char *said, size_t cap)
{
    char text[LINE];
    const struct pq_xt_tool *t = &b->x->tool[b->family];
    if (*line != ':')
        return pq_xt_one(t, b->table, line, run, said, cap) == 0;
    const int n = (int)strcspn(line + 1, " ");
    snprintf(text, sizeof text, "-N %.*s", n, line + 1);
    if (pq_xt_one(t, b->table, text, run, said, cap) == 0)
        return true;
    snprintf(text, sizeof text, "-F %.*s", n, line + 1);
    return pq_xt_one(t, b->table, text, run, said, cap) == 0;
}

static int all_by_line(const struct pq_xt_batch *b, char *said, size_t cap)
{
    char *copy = strdup(b->text), *rest = copy, *line;
    bool ok = copy;
    while (ok && (line = strsep(&rest, "\n")))
        if (*line && *line != '*' && strcmp(line, "COMMIT") != 0)
            ok = by_line(b, line, said, cap);
    free(copy);
    return ok ? 0 : 1;
}

static int commit(const struct pq_xt_batch *b, char *said, size_t cap)
{
    const struct pq_xt_tool *t = &b->x->tool[b->family];
    const char *const waiting[] = {t->restore, "-w", "--noflush", NULL};
    const char *const at_once[] = {t->restore, "--noflush", NULL};
    const int code = run(t->restore_waits ? waiting : at_once, b->text, said, cap);
    return code == -ENOENT || code == NO_PROGRAM ? all_by_line(b, said, cap) : code;
}

int pq_xt_commit(struct pq_xt_batch *b, char why[PQ_OS_WHY_LEN])
{
    char said[LINE] = "";
    pq_xt_add(b, "COMMIT");
    int e = b->failed ? PQ_ENOMEM : commit(b, said, sizeof said) ? PQ_ENOTSUP : 0;
    if (e == PQ_ENOTSUP && why)
        pq_xt_why_refused(why, &b->x->tool[b->family], b->x->name, b->table, b->text, said, run);
    else if (e && why)
        snprintf(why, PQ_OS_WHY_LEN, "%s", pq_strerror(e));
    free(b->text);
    b->text = NULL;
    return e;
}

/* ---- removal */

static bool goes(const struct pq_xt *only, const char *chain, size_t n)
{
    return only ? is_ours(only, chain, n) : is_left(chain, n);
}

/* The chain that a rule of the listing leads to, or NULL. */
static const char *target_of(const char *line, size_t *n)
{
    const char *at = strstr(line, " -j " PREFIX);
    at = at ? at : strstr(line, " -g " PREFIX);
    if (!at)
        return NULL;
    at += 4;
    *n = strcspn(at, " ");
    return at;
}

/* One pass over a listing: 0 takes away the rules of others' chains that lead to ours, 1 empties
 * ours, 2 deletes them. */
static unsigned pass(struct pq_xt_batch *b, const char *listing, const struct pq_xt *only, int nth)
{
    unsigned found = 0;
    char line[LINE];
    for (const char *p = listing; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        size_t n = 0;
        const char *to = strncmp(line, "-A ", 3) == 0 ? target_of(line, &n) : NULL;
        const bool rule = to && goes(only, to, n) && !goes(only, line + 3, strcspn(line + 3, " "));
        const bool chain = strncmp(line, "-N " PREFIX, 3 + strlen(PREFIX)) == 0 &&
                           goes(only, line + 3, strlen(line + 3));
        if (nth == 0 && rule)
            pq_xt_add(b, "-D %s", line + 3);
        if (nth > 0 && chain)
            pq_xt_add(b, "-%c %s", nth == 1 ? 'F' : 'X', line + 3);
        found += rule || chain;
    }
    return found;
}

/* Takes away the chains of x, or, `left`, those of processes that are gone. */
static bool remove_listed(struct pq_xt *x, int family, const char *table, const char *listing,
                          bool left)
{
    struct pq_xt_batch b;
    unsigned found = 0;
    pq_xt_begin(&b, x, family, table);
    for (int nth = 0; nth < 3; nth++)
        found += pass(&b, listing, left ? NULL : x, nth);
    if (found)
        pq_xt_commit(&b, NULL);
    free(b.text);
    return found;
}

bool pq_xt_leads(struct pq_xt *x, int family, const char *table)
{
    struct pq_xt_batch b = {.x = x, .failed = true}; /* nothing is to be written */
    char *listing = malloc(LISTING);
    const bool leads = listing && list(&x->tool[family], table, listing, LISTING) == 0 &&
                       pass(&b, listing, x, 0) > 0;
    free(listing);
    return leads;
}

bool pq_xt_translates(struct pq_xt *x, int family)
{
    char *listing = malloc(LISTING);
    const bool does = listing && list(&x->tool[family], "nat", listing, LISTING) == 0 &&
                      strstr(listing, "-A PREROUTING ");
    free(listing);
    return does;
}

bool pq_xt_remove(struct pq_xt *x, int family, const char *table)
{
    char *listing = x->tool[family].program[0] ? malloc(LISTING) : NULL;
    const bool any = listing && list(&x->tool[family], table, listing, LISTING) == 0 &&
                     remove_listed(x, family, table, listing, false);
    free(listing);
    return any;
}

/* Finds a program of the family that can read the table, and takes away what killed processes have
 * left there.  Returns false if there is none; then `said` has what one says, "" if there is not
 * even one. */
static bool use(struct pq_xt *x, int family, const char *table, char said[LINE])
{
    char *listing = malloc(LISTING);
    bool can = false;
    said[0] = 0;
    if (listing)
        listing[0] = 0;
    for (int i = 0; i < PROGRAMS && !can && listing; i++) {
        if (!known[family][i].program[0])
            continue;
        x->tool[family] = known[family][i];
        can = list(&x->tool[family], table, listing, LISTING) == 0;
        if (can)
            remove_listed(x, family, table, listing, true);
        else
            snprintf(said, LINE, "%.*s", LINE - 1, *listing ? listing : "nothing");
    }
    free(listing);
    return can;
}

/* What killed processes have left in any table that is in use, if we may read which ones are: to
 * look at another one would make it be. */
static void sweep(void)
{
    static const char *const names[PQ_XT_FAMILIES] = {"/proc/net/ip_tables_names",
                                                      "/proc/net/ip6_tables_names"};
    struct pq_xt x = {.life = -1, .name = PREFIX};
    char table[32], said[LINE];
    learn_all();
    for (int family = 0; family < PQ_XT_FAMILIES; family++) {
        FILE *f = fopen(names[family], "re");
        while (f && fgets(table, sizeof table, f)) {
            table[strcspn(table, "\n")] = 0;
            use(&x, family, table, said);
        }
        if (f)
            fclose(f);
    }
}

int pq_xt_use(struct pq_xt *x, int family, const char *table, char why[PQ_OS_WHY_LEN])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char said[LINE];
    pthread_once(&once, sweep);
    if (use(x, family, table, said))
        return 0;
    x->tool[family].program[0] = 0;
    pq_xt_why_no_table(why, family == PQ_XT_V4 ? "iptables" : "ip6tables", table,
                       *said ? said : NULL);
    return PQ_ENOTSUP;
}

bool pq_xt_has_ipv6(void)
{
    return access("/proc/net/if_inet6", F_OK) == 0;
}

bool pq_xt_cannot_name(const char *ifname, char why[PQ_OS_WHY_LEN])
{
    const size_t n = strlen(ifname);
    bool odd = !n || n > 15 || ifname[0] == '-';
    for (size_t i = 0; i < n; i++)
        odd = odd || (!isalnum((unsigned char)ifname[i]) && !strchr("._-@=~", ifname[i]));
    if (odd && why)
        snprintf(why, PQ_OS_WHY_LEN,
                 "iptables cannot be told the name of the interface %s: letters and digits alone, "
                 "with . _ - between them, are safe",
                 ifname);
    return odd;
}
