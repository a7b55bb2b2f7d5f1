/* SPDX-License-Identifier: MIT */
/* leave.c - ends of connections, for who watches them [12.9]: FIN both ways where a session has
 * ended in order, a reset elsewhere.  Nothing depends on them: a session is over before, by what
 * was sealed. */
#include "tunnel/tunnel_internal.h"

#include <stdlib.h>

#define LEAVING_MAX 1024          /* connections that end */
#define FINS        4             /* times that a FIN goes, if nobody acknowledges it, ... */
#define FIN_AGAIN   (200 * PQ_MS) /* ... first after that and 2 RTT, then twice as late each time */
#define REMAINS     (2 * PQ_SEC)  /* afterwards: the other side's may come again */
#define IN_FLIGHT   (10 * PQ_MS)  /* and 5/4 RTT: what may still come when a program stops */
#define ANSWERS     8 /* acknowledgements without need: nobody proves that he has sent a FIN */

struct pq_leaving {
    struct pq_list node;    /* in hub->leaving */
    struct pq_list parting; /* in hub->parting, while something is to be sent */
    struct pq_hash_node by_tuple;
    struct pq_heap_node due;
    struct pq_addr peer, local;
    struct pq_flow flow;
    bool in_order;
    bool answers; /* owes an acknowledgement */
    bool remains; /* nothing goes again */
    unsigned n_answers;
    uint8_t *last; /* datagram, malloc'ed, which may go again; NULL: there is none */
    uint16_t last_len;
    uint32_t last_seq;
    uint8_t lasts; /* FINs that had gone when it went again */
};

static struct pq_leaving *find(struct pq_hub *h, const struct pq_addr *peer,
                               const struct pq_addr *local)
{
    if (!h->n_leaving)
        return NULL;
    struct pq_hash_node *i = pq_hash_find(&h->by_leaving, pq_session_key(h, peer, local->port));
    for (; i; i = pq_hash_next(i)) {
        struct pq_leaving *l = PQ_OF(i, struct pq_leaving, by_tuple);
        if (pq_addr_eq(&l->peer, peer) && pq_addr_eq(&l->local, local))
            return l;
    }
    return NULL;
}

static void forget(struct pq_hub *h, struct pq_leaving *l)
{
    pq_list_remove(&l->node);
    pq_list_remove(&l->parting);
    pq_hash_remove(&h->by_leaving, &l->by_tuple);
    pq_heap_remove(&h->leaving_due, &l->due);
    h->n_leaving--;
    free(l->last);
    free(l);
}

static void speak(struct pq_hub *h, struct pq_leaving *l)
{
    if (pq_list_empty(&l->parting))
        pq_list_push(&h->parting, &l->parting);
}

static struct pq_leaving *oldest(struct pq_hub *h)
{
    return PQ_OF(h->leaving.next, struct pq_leaving, node);
}

/* NULL: nothing is to be said there, or there is no memory. */
static struct pq_leaving *begin(struct pq_hub *h, struct pq_flow *f, bool in_order)
{
    if (f->look != PQ_LOOK_CONNECT || f->conn.state != PQ_CONNECT_OPEN || f->conn.gone)
        return NULL;
    if (h->n_leaving >= LEAVING_MAX)
        forget(h, oldest(h));
    struct pq_leaving *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->flow = *f;
    l->in_order = in_order;
    f->conn.gone = true;
    pq_flow_ends(f, &l->local, &l->peer);
    pq_list_init(&l->parting);
    pq_list_push(&h->leaving, &l->node);
    h->n_leaving++;
    if (pq_hash_add(&h->by_leaving, &l->by_tuple, pq_session_key(h, &l->peer, l->local.port))) {
        forget(h, l);
        return NULL;
    }
    speak(h, l);
    return l;
}

void pq_leave(struct pq_hub *h, struct pq_flow *f, bool in_order)
{
    begin(h, f, in_order);
}

void pq_leave_session(struct pq_session *s, bool in_order)
{
    struct pq_leaving *l = begin(s->hub, &s->flow, in_order);
    if (!l || !s->stalled.copy)
        return;
    l->last = s->stalled.copy;
    l->last_len = (uint16_t)s->stalled.len;
    l->last_seq = s->stalled.seq;
    s->stalled = (struct pq_stalled){0};
}

static void leave(void *ctx, struct pq_session *s)
{
    struct pq_hub *h = ctx;
    struct pq_kcp_stats st;
    if (s->away)
        return;
    pq_leave_session(s, true);
    pq_session_stats(s, &st);
    h->quiet_at = pq_ns_max(h->quiet_at, h->now + st.srtt + st.srtt / 4 + IN_FLIGHT);
}

void pq_hub_leave(struct pq_hub *h, pq_ns now)
{
    h->now = h->quiet_at = now;
    pq_hub_each(h, leave, h);
    h->left = true;
}

static bool is_over(struct pq_leaving *l)
{
    return l->remains || (pq_connect_fin_acked(&l->flow) && pq_connect_fin_came(&l->flow));
}

bool pq_hub_left(const struct pq_hub *h, pq_ns now)
{
    if (now < h->quiet_at)
        return false;
    for (struct pq_list *i = h->leaving.next; i != &h->leaving; i = i->next) {
        struct pq_leaving *l = PQ_OF(i, struct pq_leaving, node);
        if (!is_over(l) || !pq_list_empty(&l->parting))
            return false;
    }
    return true;
}

void pq_leave_forget(struct pq_hub *h, const struct pq_addr *peer, const struct pq_addr *local)
{
    struct pq_leaving *l = find(h, peer, local);
    if (l)
        forget(h, l);
}

void pq_leave_again(struct pq_hub *h, const struct pq_flow *f)
{
    struct pq_addr peer, local;
    pq_flow_ends(f, &local, &peer);
    struct pq_leaving *l = find(h, &peer, &local);
    if (!l)
        return;
    l->in_order = false;
    speak(h, l);
}

bool pq_leave_take(struct pq_hub *h, const struct pq_segment *seg, pq_ns now)
{
    struct pq_leaving *l = find(h, &seg->src, &seg->dst);
    (void)now;
    if (!l || !seg->sound)
        return false;
    pq_connect_bare(&l->flow, seg);
    if (l->flow.conn.gone) {
        forget(h, l);
        return true;
    }
    if (seg->flags & PQ_TCP_FIN && l->flow.conn.fins && pq_connect_fin_came(&l->flow) &&
        l->n_answers < ANSWERS) {
        l->n_answers++;
        l->answers = l->answers || pq_list_empty(&l->parting); /* else a FIN goes, which says it */
        speak(h, l);
    }
    return true;
}

bool pq_leave_ready(const struct pq_hub *h)
{
    return !pq_list_empty(&h->parting);
}

/* Whether it goes once more before the FIN that goes again. */
static bool repeat_last(struct pq_leaving *l, struct pq_slot *slot, pq_ns now)
{
    struct pq_flow *f = &l->flow;
    const uint32_t end = l->last_seq + l->last_len;
    if (!l->last || f->conn.fins <= l->lasts || (int32_t)(end - f->conn.una) <= 0)
        return false;
    l->lasts = f->conn.fins;
    slot->off = PQ_SLOT_HEAD;
    slot->len = l->last_len;
    memcpy(slot->buf + slot->off, l->last, l->last_len);
    pq_flow_craft_again(f, slot, l->last_seq, false, now);
    return true;
}

static void part(struct pq_hub *h, struct pq_leaving *l, struct pq_slot *slot, pq_ns now)
{
    struct pq_flow *f = &l->flow;
    if (l->answers) {
        pq_connect_ack(f, slot, now);
    } else if (repeat_last(l, slot, now)) {
        speak(h, l);
    } else {
        const pq_ns again = FIN_AGAIN + 2 * (pq_ns)f->conn.rtt_min * PQ_MS;
        pq_connect_fin(f, slot, now);
        pq_heap_set(&h->leaving_due, &l->due, now + (again << (f->conn.fins - 1)));
    }
    l->answers = false;
}

size_t pq_leave_pull(struct pq_hub *h, struct pq_slot *slots, size_t n, pq_ns now)
{
    size_t done = 0;
    struct pq_list *i;
    for (; done < n && (i = pq_list_pop(&h->parting)); done++) {
        struct pq_leaving *l = PQ_OF(i, struct pq_leaving, parting);
        h->stats.tx_packets++;
        if (l->in_order) {
            part(h, l, &slots[done], now);
        } else {
            pq_connect_reset(&l->flow, &slots[done], now);
            forget(h, l);
        }
    }
    return done;
}

void pq_leave_tick(struct pq_hub *h, pq_ns now)
{
    struct pq_heap_node *n;
    while ((n = pq_heap_top(&h->leaving_due)) && n->at <= now) {
        struct pq_leaving *l = PQ_OF(n, struct pq_leaving, due);
        pq_heap_remove(&h->leaving_due, n);
        if (l->remains) {
            forget(h, l);
        } else if (pq_connect_fin_acked(&l->flow) || l->flow.conn.fins >= FINS) {
            l->remains = true;
            if (pq_heap_set(&h->leaving_due, n, now + REMAINS))
                forget(h, l);
        } else {
            speak(h, l);
        }
    }
}

pq_ns pq_leave_deadline(const struct pq_hub *h)
{
    const struct pq_heap_node *n = pq_heap_top(&h->leaving_due);
    return n ? n->at : PQ_NEVER;
}

void pq_leave_fini(struct pq_hub *h)
{
    while (h->n_leaving)
        forget(h, oldest(h));
    pq_hash_fini(&h->by_leaving);
    pq_heap_fini(&h->leaving_due);
}
