/* SPDX-License-Identifier: MIT */
/* check_targets.c - whether the server reaches what a client's forwards lead to. */
#include "setup/check.h"

#include "os/spawn.h"

#include <stdio.h>
#include <string.h>

#define TARGETS     16
#define ANY_PORT    443 /* asked for where a forward has all */
#define NOT_ALLOWED 2   /* a reply code of SOCKS5 [8.4] */

struct asked {
    bool answered;
    int result; /* as in app/probe.h */
};

struct ask {
    struct pq_conf *c;
    struct pq_probe_conf pc;
};

static void on_event(void *ctx, const struct pq_probe_event *ev)
{
    struct asked *a = ctx;
    if (ev->kind != PQ_PROBE_ANSWER)
        return;
    a->answered = true;
    a->result = ev->result;
}

/* In a process of its own: a client is run once in a process. */
static void ask_apart(void *shared, void *ctx)
{
    struct ask *a = ctx;
    a->pc.ctx = shared;
    pq_client_probe(a->c, &a->pc);
}

static const char *why_not(int result)
{
    return result == 4   ? "it cannot be reached, or its name is not known"
           : result == 5 ? "nothing listens there"
           : result == 6 ? "it does not answer"
                         : "it cannot be reached";
}

static void say(const struct asked *a, const char *target, bool all, struct pq_findings *f)
{
    char remedy[400];
    if (!a->answered) {
        pq_finding_add(f, PQ_FINDING_NOTE, "target", NULL,
                       "the server did not say whether it "
                       "reaches %s",
                       target);
    } else if (a->result == NOT_ALLOWED) {
        snprintf(
            remedy, sizeof remedy,
            "at the server put  - \"%.200s\"  below allow: in /etc/paqet/server.yaml, and type "
            "there: sudo paqet reload -c /etc/paqet/server.yaml",
            target);
        pq_finding_add(f, PQ_FINDING_BAD, "target", remedy, "the server's rules do not allow %s",
                       target);
    } else if (a->result == 0) {
        pq_finding_add(f, PQ_FINDING_OK, "target", NULL, "%s is reached from the server", target);
    } else if (a->result < 0) {
        pq_finding_add(f, PQ_FINDING_NOTE, "target", NULL,
                       "the server does not tell whether it reaches %s", target);
    } else if (all) {
        pq_finding_add(
            f, PQ_FINDING_OK, "target", NULL,
            "the server's rules allow %s, where nothing answers; no port of all is meant "
            "more than others",
            target);
    } else {
        pq_finding_add(f, PQ_FINDING_NOTE, "target",
                       "start there what is to be reached, or see which address it listens on",
                       "the server does not reach %s: %s", target, why_not(a->result));
    }
}

/* Whether the port before leads to the one before, of the same entry. */
static bool goes_on(const struct pq_conf *c, unsigned i)
{
    const struct pq_conf_port *p = &c->port[i], *before = i ? p - 1 : p;
    return i && before->entry == p->entry && !before->udp && before->port + 1 == p->port;
}

/* Whether an earlier port leads to the same. */
static bool is_again(const struct pq_conf *c, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (!c->port[k].udp && c->port[k].port == c->port[i].port &&
            strcmp(c->forward[c->port[k].entry].host, c->forward[c->port[i].entry].host) == 0)
            return true;
    return false;
}

void pq_check_targets(struct pq_conf *c, pq_ns patience, struct pq_findings *f)
{
    for (unsigned i = 0, n = 0; i < c->n_ports && n < TARGETS; i++) {
        const struct pq_conf_port *p = &c->port[i];
        const char *host = c->forward[p->entry].host;
        const uint16_t port = p->all ? ANY_PORT : p->port;
        char target[300];
        if (p->udp || goes_on(c, i) || is_again(c, i))
            continue;
        struct asked asked = {.answered = false};
        struct ask ask = {c,
                          {.count = 1,
                           .interval = 50 * PQ_MS,
                           .patience = patience,
                           .host = host,
                           .port = port,
                           .event = on_event}};
        snprintf(target, sizeof target, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
        n++;
        if (pq_spawn_apart(ask_apart, &asked, sizeof asked, &ask))
            say(&asked, target, p->all, f);
    }
}
