/* SPDX-License-Identifier: MIT */
/* findings.c - the list of what check finds; why a server may be silent. */
#include "setup/check.h"

#include <stdarg.h>
#include <stdio.h>

void pq_finding_add(struct pq_findings *f, enum pq_finding_level level, const char *topic,
                    const char *remedy, const char *fmt, ...)
{
    va_list ap;
    f->bad += level == PQ_FINDING_BAD;
    if (f->n == PQ_FINDINGS_MAX)
        return;
    struct pq_finding *v = &f->v[f->n++];
    *v = (struct pq_finding){.level = level, .topic = topic};
    snprintf(v->remedy, sizeof v->remedy, "%s", remedy ? remedy : "");
    va_start(ap, fmt);
    vsnprintf(v->text, sizeof v->text, fmt, ap);
    va_end(ap);
}

static const char way_or_keys[] =
    "at the server, \"paqet check -c server.yaml --listen 20\" while this asks again tells which: "
    "whether "
    "packets arrive, and with the right key. What it is most often: paqet does not run there; the "
    "provider's firewall keeps TCP to the port out; the link is an old one";

void pq_check_explain(const struct pq_check_silence *s, struct pq_findings *f)
{
    if (s->heard && s->header_set) {
        pq_finding_add(f, PQ_FINDING_BAD, "server", "transport.header: auto",
                       "it takes the packets, but does not understand the requests: it is of "
                       "another family than "
                       "transport.header says");
    } else if (s->heard) {
        pq_finding_add(f, PQ_FINDING_BAD, "server",
                       "look at its log; update whichever end is older",
                       "its packets come and can be opened, but it answers no request: a program "
                       "of another kind, or one that hangs");
    } else if (s->foreign) {
        pq_finding_add(
            f, PQ_FINDING_BAD, "server",
            "make transport.kcp.key and block the same at both ends; in Go programs \"aes\" is the "
            "default, in links of "
            "init aes-128-gcm",
            "packets come back, but cannot be opened: the other end has another key or cipher");
    } else if (s->empty) {
        pq_finding_add(f, PQ_FINDING_BAD, "server",
                       "start paqet on the server, or use the port that it has; if it runs there, "
                       "its firewall rule is missing "
                       "(its log says so)",
                       "only empty packets come back, as of a kernel that resets: the machine is "
                       "reached, but no paqet has that port");
    } else if (s->by_keys) {
        pq_finding_add(f, PQ_FINDING_BAD, "server", way_or_keys,
                       "nothing comes back at all. A server with keys is silent to all that it "
                       "does not know, so it is either "
                       "the way or the keys");
    } else {
        pq_finding_add(f, PQ_FINDING_BAD, "server", way_or_keys,
                       "nothing comes back at all: the packets do not arrive, their answers do "
                       "not, or they have the wrong key");
    }
}
