/* SPDX-License-Identifier: MIT */
/* nft_set.c - the sets of a table: ports; addresses and ports of strangers; networks; single
 * addresses. */
#include "os/linux/nft_set.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <string.h>

#define STRANGERS    65536 /* of each family at a time */
#define INET_SERVICE 13    /* nft's number for the type of ports, for who lists the set */

void pq_nft_add_ports(struct pq_nft_batch *b)
{
    struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_NEWSET, NLM_F_CREATE);
    pq_nl_put_str(o, NFTA_SET_TABLE, b->n->table);
    pq_nl_put_str(o, NFTA_SET_NAME, PQ_NFT_PORTS);
    pq_nl_put_be32(o, NFTA_SET_FLAGS, NFT_SET_TIMEOUT);
    pq_nl_put_be32(o, NFTA_SET_KEY_TYPE, INET_SERVICE);
    pq_nl_put_be32(o, NFTA_SET_KEY_LEN, 2);
    pq_nl_put_be32(o, NFTA_SET_ID, 1);
}

const char *pq_nft_strangers(bool is4)
{
    return is4 ? "strangers4" : "strangers6";
}

static uint32_t key_len(bool is4)
{
    return (is4 ? 4 : 16) + 4; /* each field takes whole registers of 32 bits */
}

void pq_nft_add_strangers(struct pq_nft_batch *b)
{
    static const uint32_t types[] = {8 << 6 | INET_SERVICE, 7 << 6 | INET_SERVICE}; /* v6, v4 */
    for (uint32_t is4 = 0; is4 < 2; is4++) {
        struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_NEWSET, NLM_F_CREATE);
        pq_nl_put_str(o, NFTA_SET_TABLE, b->n->table);
        pq_nl_put_str(o, NFTA_SET_NAME, pq_nft_strangers(is4));
        pq_nl_put_be32(o, NFTA_SET_FLAGS, NFT_SET_TIMEOUT | NFT_SET_EVAL);
        pq_nl_put_be32(o, NFTA_SET_KEY_TYPE, types[is4]);
        pq_nl_put_be32(o, NFTA_SET_KEY_LEN, key_len(is4));
        pq_nl_put_be32(o, NFTA_SET_ID, 2 + is4);
        const size_t desc = pq_nl_nest(o, NFTA_SET_DESC);
        pq_nl_put_be32(o, NFTA_SET_DESC_SIZE, STRANGERS);
        pq_nl_nest_end(o, desc);
    }
}

void pq_nft_put_timeout(struct pq_nl_out *o, uint16_t type, uint64_t ms)
{
    uint8_t be[8];
    pq_put_be32(be, (uint32_t)(ms >> 32));
    pq_put_be32(be + 4, (uint32_t)ms);
    pq_nl_put(o, type, be, sizeof be);
}

struct element {
    const char *set;
    const void *key;
    size_t len;
    uint64_t timeout_ms; /* 0 = it stays */
};

static void element(struct pq_nft_batch *b, uint16_t type, uint16_t flags, const struct element *e)
{
    struct pq_nl_out *o = pq_nft_command(b, type, flags);
    pq_nl_put_str(o, NFTA_SET_ELEM_LIST_TABLE, b->n->table);
    pq_nl_put_str(o, NFTA_SET_ELEM_LIST_SET, e->set);
    const size_t list = pq_nl_nest(o, NFTA_SET_ELEM_LIST_ELEMENTS);
    const size_t one = pq_nl_nest(o, 1);
    const size_t key = pq_nl_nest(o, NFTA_SET_ELEM_KEY);
    pq_nl_put(o, NFTA_DATA_VALUE, e->key, e->len);
    pq_nl_nest_end(o, key);
    if (e->timeout_ms)
        pq_nft_put_timeout(o, NFTA_SET_ELEM_TIMEOUT, e->timeout_ms);
    pq_nl_nest_end(o, one);
    pq_nl_nest_end(o, list);
}

void pq_nft_add_port(struct pq_nft_batch *b, uint16_t port, uint64_t timeout_ms)
{
    const uint16_t key_be = htons(port);
    const struct element e = {PQ_NFT_PORTS, &key_be, sizeof key_be, timeout_ms};
    element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, &e);
}

void pq_nft_del_port(struct pq_nft_batch *b, uint16_t port)
{
    const uint16_t key_be = htons(port);
    const struct element e = {PQ_NFT_PORTS, &key_be, sizeof key_be, 0};
    element(b, NFT_MSG_DELSETELEM, 0, &e);
}

static void stranger(struct pq_nft_batch *b, uint16_t type, uint16_t flags, const struct pq_addr *a,
                     uint64_t timeout_ms)
{
    const bool is4 = pq_addr_is4(a);
    uint8_t key[16 + 4] = {0};
    memcpy(key, is4 ? pq_addr_v4(a) : a->ip, is4 ? 4 : 16);
    pq_put_be16(key + key_len(is4) - 4, a->port);
    const struct element e = {pq_nft_strangers(is4), key, key_len(is4), timeout_ms};
    element(b, type, flags, &e);
}

void pq_nft_add_stranger(struct pq_nft_batch *b, const struct pq_addr *a, uint64_t timeout_ms)
{
    stranger(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, a, timeout_ms);
}

void pq_nft_del_stranger(struct pq_nft_batch *b, const struct pq_addr *a)
{
    stranger(b, NFT_MSG_DELSETELEM, 0, a, 0);
}

/* ---- networks */

#define SPAN_ROOM 256 /* bytes of a range, and what follows the last one */

const char *pq_nft_networks(bool is4)
{
    return is4 ? "networks4" : "networks6";
}

const char *pq_nft_ones(bool is4)
{
    return is4 ? "addresses4" : "addresses6";
}

static void add_addresses(struct pq_nft_batch *b, const char *name, uint32_t flags, bool is4,
                          uint32_t id)
{
    struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_NEWSET, NLM_F_CREATE);
    pq_nl_put_str(o, NFTA_SET_TABLE, b->n->table);
    pq_nl_put_str(o, NFTA_SET_NAME, name);
    pq_nl_put_be32(o, NFTA_SET_FLAGS, flags);
    pq_nl_put_be32(o, NFTA_SET_KEY_TYPE, is4 ? 7 : 8); /* nft's numbers, for who lists it */
    pq_nl_put_be32(o, NFTA_SET_KEY_LEN, is4 ? 4 : 16);
    pq_nl_put_be32(o, NFTA_SET_ID, id);
}

void pq_nft_add_networks(struct pq_nft_batch *b)
{
    for (uint32_t is4 = 0; is4 < 2; is4++) {
        add_addresses(b, pq_nft_networks(is4), NFT_SET_INTERVAL, is4, PQ_NFT_NETWORKS_ID + is4);
        add_addresses(b, pq_nft_ones(is4), 0, is4, PQ_NFT_ONES_ID + is4);
    }
}

void pq_nft_change_one(struct pq_nft_batch *b, const struct pq_addr *a, bool add)
{
    const bool is4 = pq_addr_is4(a);
    const struct element e = {pq_nft_ones(is4), is4 ? pq_addr_v4(a) : a->ip, is4 ? 4 : 16, 0};
    element(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE : 0, &e);
}

static void put_end(struct pq_nl_out *o, const uint8_t ip[16], bool is4, bool behind)
{
    const size_t one = pq_nl_nest(o, NFTA_LIST_ELEM);
    const size_t key = pq_nl_nest(o, NFTA_SET_ELEM_KEY);
    pq_nl_put(o, NFTA_DATA_VALUE, is4 ? ip + 12 : ip, is4 ? 4 : 16);
    pq_nl_nest_end(o, key);
    if (behind)
        pq_nl_put_be32(o, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
    pq_nl_nest_end(o, one);
}

size_t pq_nft_change_networks(struct pq_nft_batch *b, const struct pq_spans *s, size_t from,
                              bool add)
{
    size_t i = from;
    while (i < s->n && b->out.len + 2 * (size_t)SPAN_ROOM < b->out.cap) {
        const bool is4 = pq_span_is4(&s->v[i]);
        struct pq_nl_out *o = pq_nft_command(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
                                             add ? NLM_F_CREATE : 0);
        pq_nl_put_str(o, NFTA_SET_ELEM_LIST_TABLE, b->n->table);
        pq_nl_put_str(o, NFTA_SET_ELEM_LIST_SET, pq_nft_networks(is4));
        const size_t list = pq_nl_nest(o, NFTA_SET_ELEM_LIST_ELEMENTS);
        for (; i < s->n && pq_span_is4(&s->v[i]) == is4 && o->len + SPAN_ROOM < o->cap; i++) {
            uint8_t next[16];
            memcpy(next, s->v[i].to, sizeof next);
            put_end(o, s->v[i].from, is4, false);
            if (pq_ip_next(next) && (!is4 || next[11] == 0xff))
                put_end(o, next, is4, true);
        }
        pq_nl_nest_end(o, list);
    }
    return i - from;
}

void pq_nft_clear_networks(struct pq_nft_batch *b)
{
    for (int is4 = 0; is4 < 2; is4++) {
        struct pq_nl_out *o = pq_nft_command(b, NFT_MSG_DELSETELEM, 0);
        pq_nl_put_str(o, NFTA_SET_ELEM_LIST_TABLE, b->n->table);
        pq_nl_put_str(o, NFTA_SET_ELEM_LIST_SET, pq_nft_networks(is4));
    }
}
