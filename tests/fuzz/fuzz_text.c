/* SPDX-License-Identifier: MIT */
/* fuzz_text.c - short texts of the configuration and of peers: addresses, networks, host:port, TCP
 * flags, entries of allow and deny.  What is read can be written and read again, and the two ways
 * to ask about an entry agree. */
#include "base/addr.h"
#include "base/err.h"
#include "base/flags.h"
#include "fuzz.h"
#include "relay/match.h"
#include "relay/rules.h"

static void address(const char *text)
{
    struct pq_addr a, again;
    char buf[PQ_ADDR_STRLEN], host[PQ_ADDR_STRLEN];
    uint16_t port;
    if (pq_addr_parse_ip(&a, text))
        return;
    FUZZ_CHECK(pq_addr_parse_ip(&again, pq_addr_ip_str(&a, buf)) == 0 && pq_addr_eq(&a, &again));
    a.port = 65535;
    FUZZ_CHECK(pq_hostport_split(pq_addr_str(&a, buf), host, sizeof host, &port) == 0);
    FUZZ_CHECK(port == a.port);
    FUZZ_CHECK(pq_addr_parse_ip(&again, host) == 0 && pq_addr_eq_ip(&a, &again));
    struct sockaddr_storage ss;
    FUZZ_CHECK(pq_addr_to_sock(&a, &ss) <= sizeof ss);
    FUZZ_CHECK(pq_addr_from_sock(&again, (const struct sockaddr *)&ss) == 0);
    FUZZ_CHECK(pq_addr_eq(&a, &again));
}

static void network(const char *text)
{
    struct pq_net n;
    if (pq_net_parse(&n, text))
        return;
    FUZZ_CHECK(n.bits <= 128 && n.ip.port == 0);
    FUZZ_CHECK(!pq_addr_is4(&n.ip) || n.bits >= 96);
    FUZZ_CHECK(pq_net_has(&n, &n.ip));
    FUZZ_CHECK(n.bits <= 126 || !pq_net_is_edge(&n, &n.ip));
}

static void host_port(const char *text)
{
    static const size_t caps[] = {1, 4, 256};
    char *before = NULL;
    for (size_t i = 0; i < COUNT_OF(caps); i++) {
        uint16_t port;
        char *host = malloc(caps[i]);
        FUZZ_CHECK(host);
        int e = pq_hostport_split(text, host, caps[i], &port);
        FUZZ_CHECK(e == 0 || e == PQ_EINVAL);
        FUZZ_CHECK(e || memchr(host, 0, caps[i]));
        struct pq_range r;
        int ranges = pq_hostports_split(text, host, caps[i], &r);
        FUZZ_CHECK(e ? ranges || r.to >= r.from : !ranges && r.from == port);
        FUZZ_CHECK(!before || (e == 0 && strcmp(host, before) == 0)); /* more room: the same */
        free(before);
        before = e ? NULL : host;
        if (e)
            free(host);
    }
    free(before);
}

static void flags(const char *text)
{
    uint16_t set = 0xffff;
    int e = pq_flags_parse(text, &set);
    FUZZ_CHECK(e == 0 || (e == PQ_EINVAL && set == 0xffff));
    FUZZ_CHECK(e || !(set & ~PQ_TCP_ALL));
}

/* Questions about some addresses; `deny` must refuse whatever the same list as `allow` permits. */
static void ask(const struct pq_rules *allow, const struct pq_rules *deny, const char *host)
{
    static const char *const texts[] = {
        "127.0.0.1", "10.1.2.3", "8.8.8.8",          "::",  "2600::1",  "2002:7f00:1::", "0.0.0.0",
        "fe80::1",   "fd00::1",  "64:ff9b::a00:101", "::1", "240.0.0.1"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct pq_addr a;
        FUZZ_CHECK(pq_addr_parse_ip(&a, texts[i]) == 0);
        a.port = (uint16_t)(i * 443);
        for (int port = 0; port < 2; port++)
            FUZZ_CHECK(!pq_rules_target(allow, host, &a, port) ||
                       !pq_rules_target(deny, host, &a, port));
    }
    pq_rules_name(allow, host, 443);
    pq_rules_name(deny, host, 443);
    FUZZ_CHECK(pq_rules_has_allow(allow) && !pq_rules_has_allow(deny));
    FUZZ_CHECK(pq_rules_need_addr(allow) == pq_rules_need_addr(deny));
    FUZZ_CHECK(pq_rules_need_name(allow) == pq_rules_need_name(deny));
}

static void rules(const char *entry, const char *host)
{
    struct pq_rules *allow, *deny;
    int e = pq_rules_check_entry(entry);
    FUZZ_CHECK(e == 0 || e == PQ_EINVAL);
    FUZZ_CHECK(pq_rules_new(&allow, &entry, 1, NULL, 0) == e && !allow == !!e);
    FUZZ_CHECK(pq_rules_new(&deny, NULL, 0, &entry, 1) == e && !deny == !!e);
    if (!e)
        ask(allow, deny, host);
    pq_rules_free(&allow);
    pq_rules_free(&deny);
    pq_match_is_name(host);
}

/* The first line is the text; what follows is a host that a rule is asked about. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const uint8_t *end = n ? memchr(p, '\n', n) : NULL;
    size_t len = end ? (size_t)(end - p) : n;
    char *text = calloc(1, len + 1), *host = calloc(1, n - len + 1);
    FUZZ_CHECK(text && host);
    if (len)
        memcpy(text, p, len);
    if (end)
        memcpy(host, end + 1, n - len - 1);
    address(text);
    network(text);
    host_port(text);
    flags(text);
    rules(text, host);
    free(text);
    free(host);
    return 0;
}
