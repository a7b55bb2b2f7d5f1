/* SPDX-License-Identifier: MIT */
/* rehearse.c - a server and a client with the files' keys, on the loopback interface: packets of
 * this machine to itself never pass the interface that the server listens on. */
#include "setup/server_setup.h"

#include "base/time.h"
#include "os/netinfo.h"
#include "os/spawn.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UP_PATIENCE  (20 * PQ_SEC)
#define POLL_MS      50
#define PING_SECONDS 6

/* Waits until the server that was started says that it listens.  To try the port itself would keep
 * it from the server. */
static bool wait_for_words(const char *log, pid_t pid, const char *name)
{
    size_t n;
    for (const pq_ns until = pq_clock() + UP_PATIENCE; pq_clock() < until; poll(NULL, 0, POLL_MS)) {
        const bool lives = pq_spawn_lives(pid, name);
        char *text = pq_file_read(log, 1U << 20, &n);
        const bool said = text && strstr(text, PQ_SERVER_READY);
        free(text);
        if (said || !lives)
            return said;
    }
    return false;
}

static bool write_try(const char *path, char *text)
{
    const bool ok = text && pq_file_write(path, text, strlen(text), 0600, NULL) == 0;
    pq_text_free(text);
    return ok;
}

struct rehearsal {
    char server[PATH_MAX], client[PATH_MAX], state[PATH_MAX], log[PATH_MAX];
};

static void name_files(struct rehearsal *r, const char *folder)
{
    snprintf(r->server, sizeof r->server, "%s/.try-server.yaml", folder);
    snprintf(r->client, sizeof r->client, "%s/.try-client.yaml", folder);
    snprintf(r->state, sizeof r->state, "%s/.try-stamps", folder);
    snprintf(r->log, sizeof r->log, "%s/.try.log", folder);
}

void pq_server_rehearsed(const char *folder)
{
    static const char *const behind[] = {"", PQ_FILE_HALF, ".lock", ".syns"};
    struct rehearsal r;
    name_files(&r, folder);
    const char *const files[] = {r.server, r.client, r.state, r.log};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        for (size_t k = 0; k < sizeof behind / sizeof behind[0]; k++) {
            char path[PATH_MAX + 8];
            snprintf(path, sizeof path, "%s%s", files[i], behind[k]);
            unlink(path);
        }
}

static bool write_rehearsal(const struct pq_server_setup *v, const struct rehearsal *r)
{
    struct pq_server_plan plan = v->plan;
    struct pq_setup_link l;
    plan.ifname = "lo";
    plan.tun = false;
    plan.state = r->state;
    pq_server_link(v, 0, &l);
    l.n_servers = 1;
    snprintf(l.server[0].host, sizeof l.server[0].host, "127.0.0.1");
    const struct pq_client_plan client = {.link = &l};
    const bool ok = write_try(r->server, pq_yaml_server(&plan)) &&
                    write_try(r->client, pq_yaml_client(&client));
    pq_link_wipe(&l);
    explicit_bzero(&plan, sizeof plan);
    return ok;
}

static bool run_rehearsal(const struct pq_server_setup *v, const struct rehearsal *r)
{
    char self[PATH_MAX];
    struct pq_setup_pong pong;
    if (!write_rehearsal(v, r) || pq_spawn_self(self, sizeof self))
        return false;
    const char *const argv[] = {self, "run", "-c", r->server, NULL};
    const pid_t pid = pq_spawn_attached(argv, r->log);
    const char *name = strrchr(self, '/') + 1;
    const bool ok = pid > 0 && wait_for_words(r->log, pid, name) &&
                    pq_setup_ping(r->client, NULL, 1, PING_SECONDS, &pong);
    if (pid > 0)
        pq_spawn_end(pid, name);
    return ok;
}

/* Ctrl-C waits until what was tried is gone: its server would go on, its files hold keys. */
static void hold_signals(sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, before);
}

bool pq_server_rehearse(const struct pq_server_setup *v)
{
    struct rehearsal r;
    struct pq_iface lo;
    const char *folder = v->s.o->folder;
    if (pq_iface_get("lo", 0, &lo) || !lo.up)
        return true; /* nothing can be tried: the service will show */
    name_files(&r, folder);
    sigset_t before;
    hold_signals(&before);
    const bool ok = run_rehearsal(v, &r);
    size_t n;
    char *log = ok ? NULL : pq_file_read(r.log, 1U << 20, &n);
    if (ok)
        printf("tried on this machine: a client with this link gets through\n");
    else
        pq_setup_say(
            "a server and a client with these files did not find each other on this machine%s%s",
            log ? ". What the server said:\n" : "", log ? log : "");
    free(log);
    pq_server_rehearsed(folder);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}
