/* SPDX-License-Identifier: MIT */
/* check_measure.c - what was measured between client and server, in sentences, and what to do. */
#include "setup/check.h"

#include <stdio.h>
#include <string.h>

#define WORTH_SAYING 0.02 /* of small datagrams are lost */
#define MUCH         0.05
#define SOME         0.25 /* of what is sent must arrive, or it is said not to pass */
#define BLOAT_MS     60.0
#define BLOAT_TIMES  2.5
#define TCP_HEADER   32
#define IP4_HEADER   20
#define IP6_HEADER   40

const char *pq_check_look_name(enum pq_look look)
{
    static const char *const names[] = {[PQ_LOOK_CLASSIC] = "classic",
                                        [PQ_LOOK_PLAUSIBLE] = "plausible",
                                        [PQ_LOOK_CONNECT] = "connect"};
    return names[look];
}

const char *pq_check_flags_name(uint16_t flags, char buf[16])
{
    static const char letters[] = "FSRPAUECN";
    size_t n = 0;
    for (unsigned i = 0; i < sizeof letters - 1; i++)
        if (flags >> i & 1)
            buf[n++] = letters[i];
    buf[n] = 0;
    return n ? buf : "none";
}

static bool passes(const struct pq_measured_look *l, int way)
{
    return l->arrived[way] > SOME * l->sent[way];
}

/* The look to be had in place of one that does not pass; NULL: none. */
static const struct pq_measured_look *better(const struct pq_measured *m)
{
    const struct pq_measured_look *best = NULL;
    for (unsigned i = 0; i < m->n_looks; i++) {
        const struct pq_measured_look *l = &m->look[i];
        const unsigned least =
            l->arrived[PQ_UP] < l->arrived[PQ_DOWN] ? l->arrived[PQ_UP] : l->arrived[PQ_DOWN];
        if (!passes(l, PQ_UP) || !passes(l, PQ_DOWN))
            continue;
        if (!best ||
            least > 2 * (best->arrived[PQ_UP] < best->arrived[PQ_DOWN] ? best->arrived[PQ_UP]
                                                                       : best->arrived[PQ_DOWN]))
            best = l;
    }
    return best;
}

/* What to write for another look, of which both ends may have to know. */
static void remedy_look(const struct pq_measured *m, char *buf, size_t n)
{
    const struct pq_measured_look *b = better(m);
    char flags[16];
    if (!b)
        snprintf(buf, n, "another port of the server, or another server: nothing passes well here");
    else if (b->look == PQ_LOOK_CONNECT)
        snprintf(buf, n, "network.tcp.look: connect, at this end");
    else
        snprintf(
            buf, n,
            "network.tcp.look: %s at both ends, local_flag and remote_flag: [\"%s\"] at this one",
            pq_check_look_name(b->look), b->flags ? pq_check_flags_name(b->flags, flags) : "");
}

static void say_look(const struct pq_measured *m, unsigned i, struct pq_findings *f)
{
    const struct pq_measured_look *l = &m->look[i];
    const bool own = i == 0, up = passes(l, PQ_UP), down = passes(l, PQ_DOWN);
    char remedy[256] = "", flags[16], name[80];
    pq_check_flags_name(l->flags, flags);
    snprintf(name, sizeof name, "port %u, %s%s%s%s", l->port, pq_check_look_name(l->look),
             l->look == PQ_LOOK_CONNECT ? "" : ", flags ", l->look == PQ_LOOK_CONNECT ? "" : flags,
             own ? " (in use)" : "");
    const bool bad = own && l->open && (!up || !down);
    if (bad)
        remedy_look(m, remedy, sizeof remedy);
    const enum pq_finding_level level = bad               ? PQ_FINDING_BAD
                                        : own && !l->open ? PQ_FINDING_NOTE
                                                          : PQ_FINDING_OK;
    if (l->impossible)
        pq_finding_add(f, level, "look", remedy,
                       "%s: %u of %u came back; what the server says of it cannot be true", name,
                       l->arrived[PQ_DOWN], l->sent[PQ_UP]);
    else if (!l->open && own) /* it is there since one was */
        pq_finding_add(f, level, "look",
                       "try again; if it is often so, the way loses much, or lets few connections "
                       "begin",
                       "%s: one more handshake was not answered, beside that of the session", name);
    else if (!l->open)
        pq_finding_add(
            f, level, "look", remedy,
            "%s: its handshake is not answered: on the way, or by the server, which answers none "
            "for 3 minutes after its start, or if its own look is classic",
            name);
    else if (!l->known)
        pq_finding_add(f, level, "look", remedy,
                       "%s: %u of %u came back; the server has not said how many arrived", name,
                       l->arrived[PQ_DOWN], l->sent[PQ_UP]);
    else
        pq_finding_add(f, level, "look", remedy,
                       "%s: %s; %u of %u arrive at the server, %u of %u come back", name,
                       up && down ? "passes"
                       : up       ? "does not pass on the way back"
                       : down     ? "does not pass to the server, only back"
                                  : "does not pass",
                       l->arrived[PQ_UP], l->sent[PQ_UP], l->arrived[PQ_DOWN], l->sent[PQ_DOWN]);
}

static void say_sizes(const struct pq_measured *m, struct pq_findings *f)
{
    const unsigned up = m->most[PQ_UP], down = m->most[PQ_DOWN], least = up < down ? up : down;
    char remedy[128] = "";
    if (!up || !down)
        return;
    if (m->cut)
        snprintf(remedy, sizeof remedy, "transport.kcp.mtu: %u, at both ends",
                 least - (m->mtu - m->datagram));
    pq_finding_add(f, m->cut ? PQ_FINDING_BAD : PQ_FINDING_OK, "size", remedy,
                   "packets of up to %u bytes pass to the server, of up to %u back; those in use "
                   "have %u at most%s, the longest that was tried %u",
                   up, down, m->mtu,
                   m->adapts && !m->cut && m->mtu > least
                       ? ", and less where that does not pass: both ends find it out"
                       : "",
                   m->tried);
}

static double part_lost(const struct pq_measured *m, int way)
{
    return m->sent[way] && m->came[way] < m->sent[way] ? 1 - (double)m->came[way] / m->sent[way]
                                                       : 0;
}

/* Where the session has ended, and nothing came of any look, it was not for the looks. */
static bool any_arrived(const struct pq_measured *m)
{
    bool any = false;
    for (unsigned i = 0; i < m->n_looks; i++)
        any = any || m->look[i].arrived[PQ_UP] || m->look[i].arrived[PQ_DOWN];
    return any;
}

static bool any_impossible(const struct pq_measured *m)
{
    bool any = m->size_impossible || m->lost_impossible;
    for (unsigned i = 0; i < m->n_looks; i++)
        any = any || m->look[i].impossible;
    for (unsigned k = 0; k < 2; k++)
        any = any || m->speed[k].impossible;
    return any;
}

static void say_impossible(const struct pq_measured *m, struct pq_findings *f)
{
    if (any_impossible(m))
        pq_finding_add(f, PQ_FINDING_BAD, "measure",
                       "run this version of this program at both ends; if the server is not yours, "
                       "ask who runs it: it counts wrongly, or lies",
                       "the server's figures cannot be true: it tells of more than was sent to it, "
                       "or answers what it was not asked; such figures are left out");
}

static void say_loss(const struct pq_measured *m, struct pq_findings *f)
{
    if (!m->lost_known)
        return;
    const double up = part_lost(m, PQ_UP), down = part_lost(m, PQ_DOWN),
                 most = up > down ? up : down;
    pq_finding_add(
        f, most >= WORTH_SAYING ? PQ_FINDING_NOTE : PQ_FINDING_OK, "loss",
        most < MUCH ? NULL
        : m->n_looks
            ? "nothing has to be set: it is sent again; if a look above loses less, use that; "
              "if it is less at other times, the line is full"
            : "nothing has to be set: it is sent again; if it is less at other times, the line is "
              "full",
        "%.1f %% of %u small packets are lost on the way to the server, %.1f %% of %u on the way "
        "back",
        100 * up, m->sent[PQ_UP], 100 * down, m->sent[PQ_DOWN]);
}

static void say_speed(const struct pq_measured *m, const struct pq_check_about *about,
                      struct pq_findings *f)
{
    static const char *const names[] = {[PQ_UP] = "to the server", [PQ_DOWN] = "from the server"};
    const double idle = about->idle;
    for (int way = PQ_DOWN; way >= PQ_UP; way--) {
        const struct pq_measured_speed *s = &m->speed[way];
        if (s->impossible || s->cut) {
            pq_finding_add(f, PQ_FINDING_NOTE, "speed", NULL, "%s it could not be measured: %s",
                           names[way],
                           s->cut ? "the server ended it before its time"
                                  : "the server's figures cannot be true");
            continue;
        }
        if (!s->done) {
            pq_finding_add(
                f, PQ_FINDING_NOTE, "speed", "try again in some minutes",
                "%s it could not be measured: the server measures for others, or has done so much",
                names[way]);
            continue;
        }
        if (!s->pings) { /* it was over within the second that does not count */
            pq_finding_add(f, PQ_FINDING_OK, "speed", NULL, "%.1f Mbit/s %s", s->rate * 8 / 1e6,
                           names[way]);
            continue;
        }
        const bool bloat = s->loaded > idle + BLOAT_MS && s->loaded > BLOAT_TIMES * idle;
        pq_finding_add(
            f, bloat ? PQ_FINDING_NOTE : PQ_FINDING_OK, "speed",
            !bloat ? NULL
            : about->models
                ? "something else fills the line, or a box on the way queues: a router with "
                  "cake or fq_codel keeps that short"
            : about->quic ? "transport.quic.congestion: bbr, which fills no queues"
                          : "transport.kcp.congestion: bbr, which fills no queues",
            "%.1f Mbit/s %s; a round trip takes %.1f ms meanwhile, %.1f without", s->rate * 8 / 1e6,
            names[way], s->loaded, idle);
    }
}

void pq_check_measured(const struct pq_measured *m, const struct pq_check_about *about,
                       struct pq_findings *f)
{
    if (about->quic && m->speed_able)
        pq_finding_add(f, PQ_FINDING_OK, "measure", NULL,
                       "over QUIC losses and the speed, but not looks, flags and sizes");
    else if (!m->speed_able)
        pq_finding_add(
            f, PQ_FINDING_NOTE, "measure", "run this version of this program at both ends",
            "the server is another program, or an older one: what passes each way and how fast "
            "cannot be measured");
    else if (!m->trains_able)
        pq_finding_add(f, PQ_FINDING_NOTE, "measure",
                       "a link of \"paqet init server\", which has keys",
                       "on the classic wire looks, flags and sizes cannot be measured");
    say_impossible(m, f);
    for (unsigned i = 0; i < m->n_looks && (m->over || any_arrived(m)); i++)
        if (m->look[i].sent[PQ_UP] || !m->look[i].open)
            say_look(m, i, f);
    if (m->trains_able)
        say_sizes(m, f);
    say_loss(m, f);
    if (m->cut)
        pq_finding_add(f, PQ_FINDING_NOTE, "speed", NULL,
                       "it was not measured, since packets as long as those in use do not pass");
    else if (m->speed_able && about->seconds && m->over)
        say_speed(m, about, f);
    if (!m->over && !m->cut)
        pq_finding_add(f, PQ_FINDING_BAD, "measure",
                       "see whether the server still runs, and try again; if it is always so, the "
                       "way cuts sessions short",
                       "the session ended while it was measured: the server answers no more");
}
