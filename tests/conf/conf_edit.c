/* SPDX-License-Identifier: MIT */
/* conf_edit.c - lists in a file are changed and all else stays byte for byte; what changes while
 * the program runs. */
#include "conf/edit.h"
#include "conf_tests.h"

static const struct pq_edit_list list = {"list", -1};
static const struct pq_edit_pair pair[] = {{"name", "a \"b\" \\"}, {"key", "k"}, {0}};

#define BLOCK(indent) indent "- name: \"a \\\"b\\\" \\\\\"\n" indent "  key: \"k\"\n"
#define FLOW          "{name: \"a \\\"b\\\" \\\\\", key: \"k\"}"

static void adds(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } v[] = {
        {"a: 1\n", "a: 1\nlist:\n" BLOCK("  ")},
        {"a: 1", "a: 1\nlist:\n" BLOCK("  ")},
        {"a: 1\n# end\n\n", "a: 1\n# end\n\nlist:\n" BLOCK("  ")},
        {"list:\nb: 2\n", "list:\n" BLOCK("  ") "b: 2\n"},
        {"list: # none\nb: 2\n", "list: # none\n" BLOCK("  ") "b: 2\n"},
        {"list:\n- x: 1\n# c\nb: 2\n", "list:\n- x: 1\n" BLOCK("") "# c\nb: 2\n"},
        {"list:\n    - x: 1 # c\n      y: 2 # d\n\n    # e\n",
         "list:\n    - x: 1 # c\n      y: 2 # d\n" BLOCK("    ") "\n    # e\n"},
        {"list:\n  - x: 1", "list:\n  - x: 1\n" BLOCK("  ")},
        {"list:\n  - x: [1,\n      2] # c\nb: 1\n",
         "list:\n  - x: [1,\n      2] # c\n" BLOCK("  ") "b: 1\n"},
        {"list:\n  - x: |\n      text\n\nb: 1\n",
         "list:\n  - x: |\n      text\n\n" BLOCK("  ") "b: 1\n"},
        {"list:\n  - {x: 1}\nb: 1\n", "list:\n  - {x: 1}\n" BLOCK("  ") "b: 1\n"},
        {"list: []\nb: 1\n", "list: [" FLOW "]\nb: 1\n"},
        {"list: [{x: 1}] # c\n", "list: [{x: 1}, " FLOW "] # c\n"},
        {"list: [{x: 1},\n  {x: 2},\n]\n", "list: [{x: 1},\n  {x: 2},\n" FLOW "]\n"},
        {"\xc3\xa4: \xe2\x82\xac # \xf0\x9f\x98\x80\nlist:\n  - x: \xc3\xa4\r\nb: 1\r\n",
         "\xc3\xa4: \xe2\x82\xac # \xf0\x9f\x98\x80\nlist:\n  - x: \xc3\xa4\r\n" BLOCK(
             "  ") "b: 1\r\n"},
        {"", NULL},
        {"[1, 2]\n", NULL},
        {"{a: 1}\n", NULL},
        {"  a: 1\n", NULL},
        {"a: [1\n", NULL},
        {"a: 1\n...\n", NULL},
        {"list: x\n", NULL},
        {"list: {x: 1}\n", NULL},
        {"a: &l [{x: 1}]\nlist: *l\n", NULL},
        {"a: &l {list: []}\n<<: *l\n", NULL},
        {"\xef\xbb\xbf"
         "a: 1\n",
         NULL},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char *out, why[PQ_EDIT_WHY_LEN] = "";
        size_t n;
        int e = pq_edit_add(v[i].text, strlen(v[i].text), &list, pair, &out, &n, why);
        assert_int_equal(e, v[i].want ? 0 : PQ_EINVAL);
        assert_true(!e || *why);
        if (!e) {
            assert_string_equal(out, v[i].want);
            assert_int_equal(n, strlen(out));
        }
        free(out);
    }
}

/* Pairs of one key in a row are a list. */
static void adds_a_list(void **state)
{
    (void)state;
    static const struct pq_edit_pair several[] = {
        {"name", "a"}, {"nets", "1"}, {"nets", "2"}, {"key", "k"}, {0}};
    static const char *const want[][2] = {
        {"list: []\n", "list: [{name: \"a\", nets: [\"1\", \"2\"], key: \"k\"}]\n"},
        {"list:\n- x: 1\n",
         "list:\n- x: 1\n- name: \"a\"\n  nets: [\"1\", \"2\"]\n  key: \"k\"\n"}};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        char *out, why[PQ_EDIT_WHY_LEN] = "";
        size_t n;
        const size_t len = strlen(want[i][0]);
        assert_int_equal(pq_edit_add(want[i][0], len, &list, several, &out, &n, why), 0);
        assert_string_equal(out, want[i][1]);
        free(out);
    }
}

static void removes(void **state)
{
    (void)state;
    static const struct {
        unsigned nth;
        const char *text, *want;
    } v[] = {
        {0, "list:\n  - x: 1\n    y: 2 # c\n  # second\n  - x: 2\nb: 1\n",
         "list:\n  # second\n  - x: 2\nb: 1\n"},
        {1, "list:\n  - x: 1\n  # second\n  - x: 2\n    y:\n      - 1\n\nb: 1\n",
         "list:\n  - x: 1\n  # second\n\nb: 1\n"},
        {1, "list:\n- x: 1\n- x: 2\n- x: 3", "list:\n- x: 1\n- x: 3"},
        {2, "list:\n- x: 1\n- x: 2\n- x: 3", "list:\n- x: 1\n- x: 2\n"},
        {0, "list: [{x: 1}, {x: 2}]\n", "list: [{x: 2}]\n"},
        {1, "list: [{x: 1}, {x: 2}]\n", "list: [{x: 1}]\n"},
        {1, "list: [{x: 1},\n {x: 2},\n {x: 3}]\n", "list: [{x: 1},\n \n {x: 3}]\n"},
        {0, "list:\n  - x: 1\n", "list: []\n"},
        {0, "a: 1\nlist : # c\n  # d\n  - x: 1\n\nb: 1\n", "a: 1\nlist : [] # c\n  # d\n\nb: 1\n"},
        {0, "list: [ {x: 1} ] # c\n", "list: [  ] # c\n"},
        {2, "list:\n  - x: 1\n  - x: 2\n", NULL},
        {0, "a: 1\n", NULL},
        {0, "list:\n  -\n    x: 1\n  - x: 2\n", NULL},
        {1, "a: &x {x: 2}\nlist:\n  - x: 1\n  - *x\n", NULL},
        {1, "list: [{x: 1} # , c\n, {x: 2}]\n", "list: [{x: 1} # , c\n]\n"},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char *out, why[PQ_EDIT_WHY_LEN] = "";
        size_t n;
        int e = pq_edit_remove(v[i].text, strlen(v[i].text), &list, v[i].nth, &out, &n, why);
        assert_int_equal(e, v[i].want ? 0 : PQ_EINVAL);
        assert_true(!e || *why);
        if (!e)
            assert_string_equal(out, v[i].want);
        free(out);
    }
}

/* A list in an entry of `tunnels`. */
static void in_tunnel(void **state)
{
    (void)state;
    static const struct {
        int tunnel;
        const char *text, *want, *less; /* with one more; without its second one */
    } v[] = {
        {0, "tunnels:\n  - a: 1\n    list:\n      - x: 1\n      - x: 2\n  - a: 2\n",
         "tunnels:\n  - a: 1\n    list:\n      - x: 1\n      - x: 2\n" BLOCK("      ") "  - a: 2\n",
         "tunnels:\n  - a: 1\n    list:\n      - x: 1\n  - a: 2\n"},
        {1, "tunnels:\n- a: 1\n- a: 2 # c\n# d\nlog: 1\n",
         "tunnels:\n- a: 1\n- a: 2 # c\n  list:\n" BLOCK("    ") "# d\nlog: 1\n", NULL},
        {0, "list: [{x: 0}]\ntunnels:\n  - &t\n    a: 1\n    list: [{x: 1}, {x: 2}]\n  - *t\n",
         "list: [{x: 0}]\ntunnels:\n  - &t\n    a: 1\n    list: [{x: 1}, {x: 2}, " FLOW
         "]\n  - *t\n",
         "list: [{x: 0}]\ntunnels:\n  - &t\n    a: 1\n    list: [{x: 1}]\n  - *t\n"},
        {1, "tunnels:\n  - &t {a: 1}\n  - <<: *t\n    list:\n    - x: 1\n    - x: 2\n",
         "tunnels:\n  - &t {a: 1}\n  - <<: *t\n    list:\n    - x: 1\n    - x: 2\n" BLOCK("    "),
         "tunnels:\n  - &t {a: 1}\n  - <<: *t\n    list:\n    - x: 1\n"},
        {1, "tunnels:\n  - &t {list: []}\n  - <<: *t\n", NULL, NULL},
        {1, "tunnels:\n  - &t\n    a: 1\n  - *t\n", NULL, NULL},
        {0, "tunnels:\n  - {a: 1}\n", NULL, NULL},
        {0, "tunnels:\n  - {}\n", NULL, NULL},
        {1, "tunnels:\n  - a: 1\n", NULL, NULL},
        {0, "list: []\n", NULL, NULL},
        {0, "tunnels: x\n", NULL, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        const struct pq_edit_list in = {"list", v[i].tunnel};
        char *out, why[PQ_EDIT_WHY_LEN] = "";
        size_t n;
        int e = pq_edit_add(v[i].text, strlen(v[i].text), &in, pair, &out, &n, why);
        assert_int_equal(e, v[i].want ? 0 : PQ_EINVAL);
        if (!e)
            assert_string_equal(out, v[i].want);
        free(out);
        e = pq_edit_remove(v[i].text, strlen(v[i].text), &in, 1, &out, &n, why);
        assert_int_equal(e, v[i].less ? 0 : PQ_EINVAL);
        if (!e)
            assert_string_equal(out, v[i].less);
        free(out);
    }
}

/* ---- what differs between two files */

static void note(void *ctx, const char *path)
{
    char *all = ctx;
    strcat(strcat(all, *all ? " " : ""), path);
}

static void differs(void **state)
{
    (void)state;
    static const struct {
        const char *more, *want;
    } v[] = {
        {"", ""},
        {"log: {level: debug}\nsocks5: [{listen: ':7'}]\nservers: [{addr: 'h:2'}]\n", ""},
        {"forward: [{listen: ':1', target: h, protocol: tcp}]\n", ""},
        {"spread: true\nservers: [{addr: 'h:2'}]\n", "spread"},
        {"performance: {packet_workers: 2, max_udp_flows: 16384}\n", "performance.packet_workers"},
        {"network: {interface: eth1, tcp: {local_flag: [A]}}\n",
         "network.interface network.tcp.local_flag"},
        {"control: /run/x\ntun: {enabled: true, addr: 10.0.0.1/24}\n",
         "control tun.enabled tun.name tun.addr"},
    };
    static const char first[] = "role: client\nserver: {addr: 'h:1'}\ntransport: {kcp: {key: k}}\n";
    struct parsed a, b;
    parse(&a, first);
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char text[1024], got[256] = "";
        snprintf(text, sizeof text, "%s%s", first, v[i].more);
        parse(&b, text);
        assert_int_equal(b.e, 0);
        pq_conf_differ(&a.c, &b.c, note, got);
        assert_string_equal(got, v[i].want);
        release(&b);
    }
    parse(&b, "role: client\nserver: {addr: 'h:2'}\ntransport: {kcp: {key: other, mtu: 1200}}\n"
              "socks5: [{listen: ':7'}]\n");
    pq_conf_swap_live(&a.c, &b.c);
    assert_int_equal(a.c.server[0].ports.from, 2);
    assert_int_equal(a.c.n_socks5, 1);
    assert_int_equal(a.c.kcp.mtu, 1350); /* stays */
    assert_int_equal(b.c.server[0].ports.from, 1);
    release(&b);
    release(&a);
}

int conf_edit(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds),    cmocka_unit_test(adds_a_list), cmocka_unit_test(in_tunnel),
        cmocka_unit_test(removes), cmocka_unit_test(differs),
    };
    return ut_run(tests);
}
