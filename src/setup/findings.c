/* SPDX-License-Identifier: MIT */
/* findings.c - the list of what check finds; why a server may be silent. */
#include "setup/check.h"

#include "base/text.h"

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
    pq_text_tame_lines(v->text);
    pq_text_tame_lines(v->remedy);
}

struct pq_check_silence pq_check_silence_of(const struct pq_conf *c,
                                            const struct pq_probe_seen *seen)
{
    return (struct pq_check_silence){.by_keys = c->server[0].has_key,
                                     .header_set = c->header != PQ_FAMILY_NONE &&
                                                   !(c->over_quic && !c->quic.open),
                                     .connects = !c->over_quic && c->look == PQ_LOOK_CONNECT,
                                     .quic = c->over_quic,
                                     .open = c->over_quic && c->quic.open,
                                     .trust = !c->quic.skip_verify,
                                     .foreign = seen->foreign,
                                     .empty = seen->empty,
                                     .heard = seen->heard};
}

static const char way_or_keys[] =
    "at the server, \"sudo paqet check -c /etc/paqet/server.yaml --listen 20\" while this asks "
    "again tells which: "
    "whether "
    "packets arrive, and with the right key. What it is most often: paqet does not run there; the "
    "provider's firewall keeps TCP to the port out; the link is an old one";

/* With look: connect the server answers no SYN of who has another clock [12.9]. */
static const char way_keys_or_clock[] =
    "compare the clocks (date -u at both ends; network.tcp.look: auto does without). At the "
    "server, "
    "\"sudo paqet check -c /etc/paqet/server.yaml --listen 20\" while this asks again tells "
    "whether packets "
    "arrive. What it is most often: paqet does not run there, or was started anew less than three "
    "minutes ago; the provider's firewall keeps TCP to the port out; the link is an old one";

static const char key_or_way[] =
    "at the server, \"sudo paqet check -c /etc/paqet/server.yaml --listen 20\" while this asks "
    "again tells which. "
    "What it is most often: paqet does not run there, or speaks kcp (transport.protocol); the "
    "provider's firewall keeps TCP to the port out; the link is an old one; the clocks of both "
    "machines differ by more than two minutes; it is a Go server, which takes auth: none alone";

/* Over QUIC nobody is answered without the key. */
static void explain_quic(const struct pq_check_silence *s, struct pq_findings *f)
{
    if ((s->heard || s->foreign) && s->open && s->trust)
        pq_finding_add(f, PQ_FINDING_BAD, "server", "transport.quic.insecure_skip_verify: true",
                       "it answers, but the handshake comes to nothing: its certificate is not one "
                       "that this system trusts, as it seems; those of Go servers are not");
    else if (s->open)
        pq_finding_add(f, PQ_FINDING_BAD, "server",
                       "if it is a paqet of this kind, use its link; if it is a Go server, see "
                       "whether it runs, has transport.protocol: quic, and gets TCP to its port",
                       "nothing comes back at all: the packets do not arrive, their answers do "
                       "not, or the server wants a key, and this file has auth: none");
    else
        pq_finding_add(f, PQ_FINDING_BAD, "server", key_or_way,
                       "nothing comes back at all. Over QUIC a server answers only who has its %s, "
                       "so it is either the way or the keys",
                       s->by_keys ? "keys" : "key");
}

void pq_check_explain(const struct pq_check_silence *s, struct pq_findings *f)
{
    const bool nothing = !s->heard && !s->foreign && !s->empty;
    if (s->quic && (nothing || (s->open && s->trust && !s->empty))) {
        explain_quic(s, f);
    } else if (s->heard && s->header_set) {
        pq_finding_add(f, PQ_FINDING_BAD, "server", "transport.header: auto",
                       "it takes the packets, but does not understand the requests: it is of "
                       "another family than "
                       "transport.header says");
    } else if (s->heard) {
        pq_finding_add(f, PQ_FINDING_BAD, "server",
                       "look at its log; update whichever end is older",
                       "its packets come and can be opened, but it answers no request: a program "
                       "of another kind, or one that hangs");
    } else if (s->foreign && s->quic) {
        pq_finding_add(f, PQ_FINDING_BAD, "server",
                       "make transport.protocol and transport.quic.key the same at both ends",
                       "packets come back, but cannot be opened: the other end has another key, or "
                       "speaks kcp in place of quic");
    } else if (s->foreign) {
        pq_finding_add(
            f, PQ_FINDING_BAD, "server",
            "make transport.kcp.key and block the same at both ends; in Go programs \"aes\" is the "
            "default, in links of "
            "init aes-128-gcm",
            "packets come back, but cannot be opened: the other end has another key or cipher");
    } else if (s->empty) {
        pq_finding_add(
            f, PQ_FINDING_BAD, "server",
            "start paqet on the server, or use the port that it has (\"paqet link\" there shows "
            "today's link); if it runs there, "
            "its firewall rule is missing "
            "(its log says so)",
            "only empty packets come back, as of a kernel that resets: the machine is "
            "reached, but no paqet has that port");
    } else if (s->connects) {
        pq_finding_add(f, PQ_FINDING_BAD, "server", way_keys_or_clock,
                       "nothing comes back at all. With look: connect a server is silent to all "
                       "whose keys it does not know, or whose clock is not within a minute of its "
                       "own, so it is either the way, the keys or a clock");
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
