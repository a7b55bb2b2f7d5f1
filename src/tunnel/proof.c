/* SPDX-License-Identifier: MIT */
#include "tunnel/proof.h"

#include "base/bytes.h"
#include "wire/connect.h"

#define TAG_BITS 20 /* of a SYN without time stamps; the other bits are the choice, masked */
#define TAG      ((UINT32_C(1) << TAG_BITS) - 1)

enum { STAMPED, PLAIN, CHOICE }; /* what a block is for */

static uint32_t block(struct pq_mask *key, uint32_t value, uint64_t slot, uint8_t purpose)
{
    uint8_t in[16] = {[15] = purpose}, out[16];
    pq_put_be32(in, value);
    pq_put_be32(in + 4, (uint32_t)slot);
    pq_mask_block(key, in, out);
    return pq_be32(out);
}

uint32_t pq_proof_stamped(struct pq_mask *key, uint32_t stamp, uint64_t slot)
{
    return block(key, stamp, slot, STAMPED);
}

static uint32_t choice_mask(struct pq_mask *key, uint32_t tag, uint64_t slot)
{
    return block(key, tag, slot, CHOICE) >> TAG_BITS;
}

uint32_t pq_proof_plain(struct pq_mask *key, uint32_t choice, uint64_t slot)
{
    const uint32_t tag = block(key, choice, slot, PLAIN) & TAG;
    return (choice ^ choice_mask(key, tag, slot)) << TAG_BITS | tag;
}

static bool check_stamped(struct pq_mask *key, const struct pq_segment *syn,
                          const uint64_t slots[2], struct pq_syn *out)
{
    for (unsigned i = 0; i < 2 * PQ_SYN_TIMES; i++) {
        out->slot = slots[i % 2];
        out->stamp = syn->tsval - pq_syn_after(syn->seq, i / 2);
        if (pq_proof_stamped(key, out->stamp, out->slot) == syn->seq)
            return true;
    }
    return false;
}

static bool check_plain(struct pq_mask *key, const struct pq_segment *syn, const uint64_t slots[2],
                        struct pq_syn *out)
{
    const uint32_t tag = syn->seq & TAG;
    for (unsigned i = 0; i < 2; i++) {
        out->slot = slots[i];
        const uint32_t choice = syn->seq >> TAG_BITS ^ choice_mask(key, tag, slots[i]);
        if (pq_proof_plain(key, choice, slots[i]) == syn->seq)
            return true;
    }
    return false;
}

bool pq_proof_check(struct pq_mask *key, const struct pq_segment *syn, uint64_t wall,
                    struct pq_syn *out)
{
    uint64_t slots[2];
    pq_syns_slots(wall, slots);
    *out = (struct pq_syn){.number = syn->seq, .plain = !syn->has_ts, .from = &syn->src};
    return out->plain ? check_plain(key, syn, slots, out) : check_stamped(key, syn, slots, out);
}

bool pq_proof_when(struct pq_mask *key, const struct pq_segment *syn, uint64_t wall, unsigned far,
                   int64_t *apart)
{
    const uint64_t now = wall / PQ_SYN_SLOT;
    struct pq_syn out = {.number = syn->seq, .from = &syn->src};
    for (unsigned k = 0; syn->has_ts && k <= far && k <= now; k++) {
        const uint64_t slots[2] = {now - k, now + k};
        if (!check_stamped(key, syn, slots, &out))
            continue;
        *apart = (int64_t)(out.slot * PQ_SYN_SLOT + PQ_SYN_SLOT / 2) - (int64_t)wall;
        return true;
    }
    return false;
}
