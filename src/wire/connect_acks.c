/* SPDX-License-Identifier: MIT */
/* connect_acks.c - when a connection acknowledges without data, and how often [12.9]. */
#include "wire/connect.h"
#include "wire/connect_internal.h"
#include "wire/flow.h"

#include <string.h>

#define ACK_NEAR   PQ_MS /* between acknowledgements without data on short paths: ... */
#define NEAR       3     /* ... of so many ms; */
#define ACKS_DENSE 32    /* on others so many of a round trip go each PQ_ACK_EACH segments, ... */
#define ACK_MANY   3     /* ... more where more than so many have come, ... */
#define ACK_PAST   16    /* ... beyond max_acks of them where more than so many; ... */
#define ACK_FEWEST 256   /* ... or all of them up to so many: ... */
#define FEWER      4     /* so many times more in each round trip in which ... */
#define QUEUED     8     /* ... packets wait so many ms more than at best, and in others ... */
#define MORE       16    /* ... less again, by such a part */
#define WAY_KEPT   20000 /* ms for which the best is remembered, at least */
#define ACK_LATEST (40 * PQ_MS)  /* after a lone segment, as Linux does */
#define ACK_AGAIN  (100 * PQ_MS) /* between two to a peer that repeats itself */
#define DUPS_FIRST 3             /* that go at once where something is lacking; ... */
#define DUP_MANY   9             /* ... then where more than so many segments have come, or ... */
#define DUPS_RTT   16            /* ... so many in a round trip, but one each ... */
#define DUP_SOON   PQ_MS         /* ... that at most */
#define MOVES      4             /* one of so many moves the window */

void pq_connect_note_way(struct pq_connect *c, uint32_t way, uint32_t at)
{
    if (!c->way_known || at - c->way_ts > WAY_KEPT) {
        c->way = c->way_known ? c->way_next : way;
        c->way_next = way;
        c->way_ts = at;
        c->way_known = true;
    }
    if ((int32_t)(way - c->way_next) < 0)
        c->way_next = way;
    if ((int32_t)(way - c->way) < 0)
        c->way = way;
    c->n_ways++;
    c->n_late += way - c->way > QUEUED;
}

void pq_connect_thin_out(struct pq_connect *c)
{
    const uint32_t most = ACK_FEWEST * (uint32_t)c->mss, least = PQ_ACK_EACH * (uint32_t)c->mss;
    const bool late = 2 * c->n_late > c->n_ways;
    c->every = late ? FEWER * c->every : c->every - c->every / MORE;
    if (c->every > most)
        c->every = most;
    if (c->every < least)
        c->every = least;
    if (c->n_acks >= c->max_acks && !late)
        c->max_acks += c->max_acks / 4;
    c->n_ways = c->n_late = c->n_acks = 0;
}

/* With how many bytes more than that an acknowledgement is due: on a fast path a kernel gets what
 * comes glued together, too, and many at once would come as a surprise to a narrow way to the peer.
 */
static uint32_t each(const struct pq_connect *c)
{
    uint32_t segments = c->n_acks < ACKS_DENSE ? PQ_ACK_EACH : ACK_MANY;
    if (c->dup)
        segments = DUP_MANY;
    if (c->n_acks >= c->max_acks)
        segments = ACK_PAST;
    const uint32_t bytes = segments * c->mss;
    const uint32_t least = PQ_ACK_EACH * (uint32_t)c->mss;
    if (c->dup && c->every > least) /* these are long, and packets wait */
        return DUP_MANY * c->every;
    return c->every > bytes ? c->every : bytes;
}

static bool is_near(const struct pq_connect *c)
{
    return c->rtt_min && c->rtt_min <= NEAR;
}

/* Each frame may bring an acknowledgement, as each makes a kernel send one. */
void pq_connect_owe(struct pq_flow *f, uint32_t fresh)
{
    struct pq_connect *c = &f->conn;
    c->owed += fresh;
    if (c->owed <= each(c) || is_near(c))
        return;
    if (c->n_points == PQ_ACK_POINTS)
        c->n_points--;
    c->points[c->n_points++] =
        (struct pq_ack_point){f->st.ack, f->st.ts_echo, pq_holes_high(&c->holes, f->st.ack)};
    c->n_acks++;
    c->owed = 0;
    c->owed_since = 0;
}

/* That something has come beside a hole. */
static pq_ns dup_at(const struct pq_connect *c, pq_ns now)
{
    const bool many = c->n_acks >= c->max_acks; /* the way to the peer may not carry more */
    if (!many && (c->dups < DUPS_FIRST || c->new_holes > 1))
        return now;
    return c->dup_at + pq_ns_max(c->rtt_min * PQ_MS / DUPS_RTT, DUP_SOON);
}

pq_ns pq_connect_ack_at(struct pq_flow *f, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    if (c->state != PQ_CONNECT_OPEN ||
        (!c->owed && !c->n_points && !c->again && !c->finish && !c->dup))
        return PQ_NEVER;
    pq_connect_note_rtt(f, now);
    if (c->finish || c->n_points)
        return now;
    if (c->dup)
        return dup_at(c, now);
    if (c->again)
        return c->sent_at + ACK_AGAIN;
    if (!c->owed_since)
        c->owed_since = now;
    const bool near = is_near(c);
    if (c->owed <= (near ? c->mss : each(c)))
        return c->owed_since + ACK_LATEST;
    return near ? c->sent_at + ACK_NEAR : c->sent_at;
}

static void note_dup(struct pq_connect *c, pq_ns now)
{
    c->dups = (uint8_t)(c->dups < UINT8_MAX ? c->dups + 1 : c->dups);
    c->dup_at = now;
}

/* The acknowledgement of a point, as it would have gone then: what came later is not told, nor
 * holes that showed later. */
static void forge_point(struct pq_flow *f, const struct pq_ack_point *p, struct pq_slot *slot,
                        pq_ns now)
{
    struct pq_connect *c = &f->conn;
    f->st.ack = p->ack;
    f->st.ts_echo = p->ts_echo;
    pq_holes_cut(&c->holes, p->high);
    c->moves = p->high != p->ack && !(++c->n_moves % MOVES);
    pq_connect_forge_bare(f, slot, PQ_TCP_ACK, now);
    c->moves = false;
    if (p->high != p->ack)
        note_dup(c, now);
}

size_t pq_connect_acks(struct pq_flow *f, struct pq_slot *slots, size_t n, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    const unsigned many = c->n_points;
    size_t done = 0;
    unsigned i = 0;
    if (!many || !n)
        return 0;
    pq_connect_give_up(f, now);
    const uint32_t ack = f->st.ack, echo = f->st.ts_echo, owed = c->owed;
    const struct pq_holes holes = c->holes;
    const pq_ns since = c->owed_since;
    const bool dup = c->dup;
    for (; i < many && done < n; i++) {
        const struct pq_ack_point p = c->points[i];
        if (p.high != p.ack && p.ack != ack)
            continue; /* the hole above it is none any more */
        forge_point(f, &p, &slots[done++], now);
        c->holes = holes;
    }
    f->st.ack = ack;
    f->st.ts_echo = echo;
    c->n_points = (uint8_t)(many - i);
    memmove(c->points, c->points + i, c->n_points * sizeof c->points[0]);
    c->owed = owed;
    c->owed_since = since;
    c->dup = dup;
    return done;
}

void pq_connect_ack(struct pq_flow *f, struct pq_slot *slot, pq_ns now)
{
    struct pq_connect *c = &f->conn;
    pq_connect_forge_bare(f, slot, PQ_TCP_ACK, now);
    if (!c->dup)
        return;
    c->dup = false;
    c->n_acks++;
    note_dup(c, now);
}
