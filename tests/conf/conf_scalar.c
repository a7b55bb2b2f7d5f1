/* SPDX-License-Identifier: MIT */
/* conf_scalar.c - values as the Go programs take them, and what is said about weak secrets. */
#include "conf_tests.h"

/* Numbers as the Go programs' library takes them, where a number is meant and where a text is. */
static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long mtu; /* 0 = not a whole number */
        const char *key;
    } t[] = {{"1350", 1350, "1350"},
             {"1_024", 1024, "1024"},
             {"1350.0", 1350, "1350"},
             {"1350.7", 1350, "1350.7"},
             {"0o2500", 1344, "1344"},
             {"0b10000000000", 1024, "1024"},
             {"0x500", 1280, "1280"},
             {"02500", 1344, "1344"},
             {"'1350'", 1350, "1350"},
             {"\"1.35e3\"", 1350, "1.35e3"},
             {"1e3", 1000, "1e3"},
             {"!!str 1350", 1350, "1350"},
             {"0123", 0, "83"},
             {"007", 0, "7"},
             {"1.10", 0, "1.1"},
             {"12_34", 1234, "1234"},
             {".5", 0, "0.5"},
             {"-7", 0, "-7"},
             {"08", 0, "08"},
             {"1.2.3", 0, "1.2.3"},
             {"True", 0, "true"},
             {"yes", 0, "yes"},
             {"+5", 0, "5"},
             {"123456789012345678901", 0, "123456789012345678901"},
             {"1000000.0", 0, "1e+06"},
             {"0.00001", 0, "1e-05"},
             {"1.5e21", 0, "1.5e+21"},
             {"!!binary aGVsbG8=", 0, "hello"},
             {"'0123'", 0, "0123"}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char text[512];
        struct parsed p;
        snprintf(text, sizeof text,
                 "role: server\nlisten: {addr: ':9'}\nallow: any\ntransport: {kcp: {key: %s}}\n",
                 t[i].text);
        parse(&p, text);
        assert_int_equal(p.e, 0);
        assert_string_equal(p.c.kcp.key, t[i].key);
        release(&p);
        if (!t[i].mtu)
            continue;
        snprintf(text, sizeof text, CONF_SERVER "    mtu: %s\n", t[i].text);
        parse(&p, text);
        assert_int_equal(p.e, 0);
        assert_int_equal(p.c.kcp.mtu, t[i].mtu);
        release(&p);
    }
    one_error(CONF_SERVER "tun: {enabled: true, addr: 10.0.0.1/24, name: !!binary '*'}\n", 7,
              "base64");
}

/* Merge keys: what the map itself has comes first. */
static void merged(void **state)
{
    (void)state;
    struct parsed p;
    parse(
        &p,
        "x: &a {mtu: 1300, key: " SECRET "}\ny: &b {mtu: 1200, sndwnd: 77}\nrole: server\n"
        "listen: {addr: ':9'}\nallow: any\ntransport:\n  kcp:\n    <<: [*a, *b]\n    mtu: 1350\n");
    assert_int_equal(p.e, 0);
    assert_int_equal(p.c.kcp.mtu, 1350);
    assert_int_equal(p.c.kcp.sndwnd, 77);
    assert_string_equal(p.c.kcp.key, SECRET);
    release(&p);
    one_error(CONF_SERVER "    <<: 5\n", 7, "<<: expected a map");
    one_error("role: server\n# caf\xe9\n", 2, "must be UTF-8"); /* Latin-1 */
}

/* What weakens the secrecy is said in one line each. */
static void security(void **state)
{
    (void)state;
    static const struct {
        const char *block, *key, *want;
    } t[] = {{"aes-128-gcm", "sixteen letters!", NULL},
             {"aes-128-gcm", "fifteen letters", "transport.kcp.key: is short"},
             {"aes", "sixteen letters!", "aes does not authenticate: who"},
             {"xor", "sixteen letters!", "hides next to nothing"},
             {"blowfish", "sixteen letters!", "short blocks"},
             {"none", "sixteen letters!", "none does not encrypt"}};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char text[512];
        struct parsed p;
        snprintf(text, sizeof text,
                 "role: server\nlisten: {addr: ':9'}\nallow: any\n"
                 "transport: {kcp: {block: %s, key: %s}}\n",
                 t[i].block, t[i].key);
        p.e = pq_conf_parse(&p.c, text, strlen(text), &p.m);
        assert_int_equal(p.e, 0);
        assert_int_equal(p.m.n, t[i].want != NULL);
        if (t[i].want)
            assert_non_null(strstr(p.m.v[0].text, t[i].want));
        release(&p);
    }
}

int conf_scalar(void)
{
    const struct CMUnitTest scalar[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(merged),
        cmocka_unit_test(security),
    };
    return ut_run(scalar);
}
