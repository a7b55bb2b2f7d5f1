/* SPDX-License-Identifier: MIT */
/* test_nft.c - what becomes of a connection by rules of others: reasons, what is not known, and
 * rules that lead nowhere. */
#include "os/linux/nft_judge.h"
#include "unit.h"

#include <stdio.h>

enum { RULES = 64, PORTS = 2 };

static struct pq_nft_seen rules[RULES];
static size_t n_rules;
static struct pq_nft_port ports[PORTS];
static struct pq_nft_judge judge;

static bool no_sets(void *ctx, const char *set, struct pq_view *out)
{
    (void)ctx;
    (void)set;
    (void)out;
    return false;
}

static bool empty_sets(void *ctx, const char *set, struct pq_view *out)
{
    (void)ctx;
    (void)set;
    *out = (struct pq_view){NULL, 0};
    return true;
}

static void begin(void)
{
    n_rules = 0;
    ports[0] = (struct pq_nft_port){.port = 443};
    ports[1] = (struct pq_nft_port){.port = 53, .udp = true};
    judge = (struct pq_nft_judge){
        .rule = rules, .elements = empty_sets, .port = ports, .n_ports = PORTS};
}

/* A rule of a chain, about all there is, whose verdict is still to be set. */
static struct pq_nft_seen *rule(const char *chain, const char *from)
{
    struct pq_nft_seen *r = &rules[n_rules++];
    *r = (struct pq_nft_seen){.tcp = true, .udp = true};
    snprintf(r->chain, sizeof r->chain, "%s", chain);
    snprintf(r->asks, sizeof r->asks, "%s", from);
    r->when = *from ? PQ_NFT_SOMETIMES : PQ_NFT_ALWAYS;
    return r;
}

static void jump(const char *chain, const char *to)
{
    struct pq_nft_verdict *v = &rule(chain, "")->verdict;
    snprintf(v->to, sizeof v->to, "%s", to);
}

static void run(bool drops)
{
    struct pq_nft_base base = {.drops = drops};
    snprintf(base.name, sizeof base.name, "input");
    judge.n = n_rules;
    assert_int_equal(pq_nft_judge(&judge, &base), 0);
}

static const char *why(uint8_t index)
{
    return judge.why[index].text;
}

static void policy_alone(void **state)
{
    (void)state;
    begin();
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_OUT);
    run(false);
    assert_int_equal(ports[1].met, PQ_NFT_IN);
    assert_true(judge.whole);
    judge.n_ports = 0;
    run(true);
}

/* Who returns from a chain meets what is behind the jump, the others what is in the chain. */
static void some_return(void **state)
{
    (void)state;
    begin();
    jump("input", "more");
    rule("more", "from A")->verdict.returns = true;
    rule("more", "")->verdict.accepts = true;
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_SOME_IN | PQ_NFT_OUT);
    assert_string_equal(why(ports[0].some_in), "but not from A");
}

/* A goto for some, after which the others go on: all are let in. */
static void some_leave(void **state)
{
    (void)state;
    begin();
    struct pq_nft_seen *r = rule("input", "through eth0");
    r->verdict.leaves = true;
    snprintf(r->verdict.to, sizeof r->verdict.to, "zone");
    rule("input", "")->verdict.accepts = true;
    rule("zone", "")->verdict.accepts = true;
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_SOME_IN | PQ_NFT_IN);
    rules[2].verdict = (struct pq_nft_verdict){.returns = true}; /* to the policy */
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_SOME_IN | PQ_NFT_OUT);
}

/* What is not understood may be so of all, or of none. */
static void not_understood(void **state)
{
    (void)state;
    begin();
    struct pq_nft_seen *r = rule("input", "a thing");
    r->strange = true;
    r->verdict.accepts = true;
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_MAYBE_IN | PQ_NFT_OUT);
    assert_string_equal(why(ports[0].maybe_in), "a thing");
    r->port[r->n_ports++] = (struct pq_range){443, 443};
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_MAYBE_BY_NAME | PQ_NFT_OUT);
    assert_int_equal(ports[1].met, PQ_NFT_OUT);
    r->verdict = (struct pq_nft_verdict){.drops = true};
    run(false);
    assert_int_equal(ports[0].met, PQ_NFT_MAYBE_OUT | PQ_NFT_IN);
    r->verdict.drops = false;
    r->unknown = true;
    run(false);
    assert_int_equal(ports[0].met, PQ_NFT_MAYBE_OUT | PQ_NFT_MAYBE_BY_NAME | PQ_NFT_IN);
}

static void look(struct pq_nft_seen *r, enum pq_nft_what what)
{
    r->look[r->n_looks] = (struct pq_nft_look){.what = what};
    snprintf(r->look[r->n_looks++].set, PQ_NFT_NAME, "set");
}

/* A set that cannot be read is not an empty one. */
static void unknown_set(void **state)
{
    (void)state;
    begin();
    struct pq_nft_seen *r = rule("input", "");
    r->verdict.accepts = true;
    look(r, PQ_NFT_PORT);
    run(true);
    assert_true(judge.whole);
    assert_int_equal(ports[0].met, PQ_NFT_OUT);
    r->look[0].what = PQ_NFT_SOURCE; /* nor does it matter of whom it is empty */
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_OUT);
    r->look[0] = (struct pq_nft_look){.what = PQ_NFT_PORT, .turned = true, .set = "set"};
    run(true);
    assert_int_equal(ports[0].met, PQ_NFT_IN);
    judge.elements = no_sets;
    run(true);
    assert_false(judge.whole);
    assert_int_equal(ports[0].met, PQ_NFT_MAYBE_BY_NAME | PQ_NFT_OUT);
    r->map = true;
    run(true);
    assert_false(judge.whole);
}

/* Jumps in a circle, and deeper than the kernel lets any be, end, and it is said. */
static void no_way_out(void **state)
{
    (void)state;
    char from[16], to[16];
    begin();
    jump("input", "input");
    jump("input", "input");
    run(true);
    assert_false(judge.whole);
    for (unsigned depth = 15; depth < 18; depth++) {
        begin();
        for (unsigned i = 0; i < depth; i++) {
            snprintf(from, sizeof from, "c%u", i);
            snprintf(to, sizeof to, "c%u", i + 1);
            jump(i ? from : "input", to);
        }
        rule(to, "")->verdict.accepts = true;
        run(true);
        assert_int_equal(judge.whole, depth <= 16);
        assert_int_equal(ports[0].met, depth <= 16 ? PQ_NFT_IN : PQ_NFT_OUT);
    }
}

/* More reasons than there is room for: the ports behind them are told to be not understood. */
static void many_reasons(void **state)
{
    (void)state;
    char from[16];
    begin();
    for (unsigned i = 0; i < PQ_NFT_WHYS + 4; i++) {
        snprintf(from, sizeof from, "from %u", i);
        struct pq_nft_seen *r = rule("input", from);
        r->verdict.accepts = true;
        r->udp = i == PQ_NFT_WHYS + 3;
    }
    run(true);
    assert_int_equal(judge.n_whys, PQ_NFT_WHYS);
    assert_string_equal(why(ports[0].some_in), "from 0");
    assert_int_equal(ports[1].met, PQ_NFT_MAYBE_IN | PQ_NFT_OUT);
    assert_int_equal(ports[1].maybe_in, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_alone), cmocka_unit_test(some_return),
        cmocka_unit_test(some_leave),   cmocka_unit_test(not_understood),
        cmocka_unit_test(unknown_set),  cmocka_unit_test(no_way_out),
        cmocka_unit_test(many_reasons),
    };
    return ut_run(tests);
}
