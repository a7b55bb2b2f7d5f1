/* SPDX-License-Identifier: MIT */
/* test_link.c - links: what is written is read again, three formats, all mistakes in one go. */
#include "base/err.h"
#include "base/text.h"
#include "setup/link.h"
#include "unit.h"

#define K43     "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define S43     "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
#define U43     "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8"
#define LINK_AT "paqet://v1/a:1?b=aes"
#define KHEX    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void base64(void **state)
{
    (void)state;
    uint64_t s = ut_seed("base64");
    uint8_t key[PQ_LINK_KEY_LEN], again[PQ_LINK_KEY_LEN];
    char text[PQ_B64_KEY_LEN + 1];
    for (unsigned i = 0; i < 1000; i++) {
        ut_random(&s, key, sizeof key);
        pq_b64_write(key, text);
        assert_int_equal(strlen(text), PQ_B64_KEY_LEN);
        assert_true(pq_b64_read(text, again));
        assert_memory_equal(key, again, sizeof key);
    }
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    pq_b64_write(key, text);
    assert_string_equal(text, K43);
    static const char *const bad[] = {
        "",
        K43 "A",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9", /* bits behind */
        K43 "=",
        "+AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        " AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(pq_b64_read(bad[i], again));
}

static void percent(void **state)
{
    (void)state;
    char out[16];
    assert_true(pq_percent_read("a%20b+%C3%a9", 12, false, out, sizeof out));
    assert_string_equal(out, "a b+\xc3\xa9");
    assert_true(pq_percent_read("a+b", 3, true, out, sizeof out));
    assert_string_equal(out, "a b");
    assert_true(pq_percent_read("123456789012345", 15, false, out, sizeof out));
    static const char *const bad[] = {"%",
                                      "%4",
                                      "%zz",
                                      "%00",
                                      "%0a",
                                      "%7f",
                                      "\xc3",
                                      "%c3%",
                                      "%C0%80",
                                      "%85",
                                      "%ed%a0%80",
                                      "%f5%80%80%80",
                                      "\n",
                                      "%FF",
                                      "%c2%85",
                                      "%e2%80%a8",
                                      "1234567890123456"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(pq_percent_read(bad[i], strlen(bad[i]), false, out, sizeof out));
    char w[8] = "x";
    assert_true(pq_percent_write("a%", "", w, sizeof w));
    assert_string_equal(w, "xa%25");
    assert_false(pq_percent_write("%", "", w, sizeof w));
}

static void read_ok(const char *text, struct pq_setup_link *l, unsigned notes)
{
    struct pq_link_msgs m;
    const int e = pq_link_read(text, l, &m);
    for (unsigned i = 0; e && i < m.n; i++)
        print_message("%s: %s\n", text, m.v[i].text);
    assert_int_equal(e, 0);
    assert_int_equal(m.n, notes);
}

static void own(void **state)
{
    (void)state;
    struct pq_setup_link l;
    char out[PQ_LINK_MAX], why[160];
    static const char *const same[] = {
        "paqet://v1/203.0.113.7:23571?s=" S43 "&u=" U43 "&k=" K43,
        "paqet://v1/203.0.113.7:23571?s=" S43 "&u=" U43 "&t=10.9.8.2/24&t=fd01::2/64&k=" K43
        "#my%20server",
        "paqet://v1/[2001:db8::1]:443,a.example:8443?s=" S43 "&s=" U43 "&u=" U43
        "&b=aes&m=fast2&l=classic&mtu=1200&conn=3&fec=10/3&lf=PA%2CA&rf=S&key=a%20%26%20b",
        "paqet://v1/a.example:20000-20100,[2001:db8::1]:7?s=" S43 "&k=" K43,
        "paqet://v1/a.example:1?b=none",
        "paqet://v1/203.0.113.7:20000-20100?p=quic&mtu=1452&conn=2&k=" K43,
    };
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        read_ok(same[i], &l, 0);
        assert_int_equal(l.format, PQ_LINK_OWN);
        assert_int_equal(pq_link_write(&l, PQ_LINK_OWN, out, why), 0);
        assert_string_equal(out, same[i]);
    }
    read_ok(same[1], &l, 0);
    assert_string_equal(l.server[0].host, "203.0.113.7");
    assert_int_equal(l.server[0].ports.from, 23571);
    assert_int_equal(l.server[0].ports.to, 23571);
    assert_true(l.server[0].has_key && l.has_secret);
    assert_int_equal(l.server[0].key[0], 0x20);
    assert_int_equal(l.secret[31], 0x5f);
    assert_string_equal(l.key, KHEX);
    assert_string_equal(l.block, "aes-128-gcm");
    assert_string_equal(l.name, "my server");
    assert_int_equal(l.tun4.bits, 96 + 24);
    assert_int_equal(l.tun6.bits, 64);
    read_ok(same[2], &l, 0);
    assert_int_equal(l.n_servers, 2);
    assert_string_equal(l.server[0].host, "2001:db8::1");
    assert_int_equal(l.server[1].key[0], 0x40);
    assert_string_equal(l.key, "a & b");
    assert_int_equal(l.dshard, 10);
    assert_string_equal(l.local_flag, "PA,A");
    assert_false(l.quic);
    read_ok(same[5], &l, 0);
    assert_true(l.quic && l.mtu == 1452 && !l.server[0].has_key);
    assert_int_equal(pq_link_write(&l, PQ_LINK_QUERY, out, why), PQ_ENOTSUP);
    assert_non_null(strstr(why, "no place for QUIC"));
    read_ok("paqet://v1/a:1?p=kcp&k=" K43, &l, 0);
    assert_false(l.quic);
    /* one public key counts for all servers; blanks around do not count; what may be unknown is */
    read_ok(" paqet://v1/a:1,b:2?k=" K43 "&s=" S43 "&Extra=1\r\n", &l, 1);
    assert_true(l.server[1].has_key && l.server[1].key[0] == 0x20);
    pq_link_wipe(&l);
    assert_int_equal(l.n_servers, 0);
}

/* Wherever a link was cut off, by a shell at a & or by a thumb, it is told; behind the key only the
 * name is left. */
static void cut_off(void **state)
{
    (void)state;
    static const char *const whole[] = {"paqet://v1/203.0.113.7:23571?k=" K43 "&s=" S43 "&u=" U43
                                        "&t=10.9.8.2/24&t=fd01::2/64#my%20server",
                                        "paqet://v1/203.0.113.7:20000-20100,b.example:9?k=" K43
                                        "&p=quic&mtu=1452&s=" S43 "&u=" U43};
    for (size_t i = 0; i < COUNT_OF(whole); i++) {
        char text[PQ_LINK_MAX], part[PQ_LINK_MAX], why[160];
        struct pq_setup_link l;
        struct pq_link_msgs m;
        read_ok(whole[i], &l, 0);
        assert_int_equal(pq_link_write(&l, PQ_LINK_OWN, text, why), 0);
        const size_t key_end = strcspn(text, "#");
        for (size_t n = strlen("paqet://v1/"); n < strlen(text); n++) {
            memcpy(part, text, n);
            part[n] = 0;
            assert_int_equal(pq_link_read(part, &l, &m), n < key_end ? PQ_EINVAL : 0);
        }
    }
}

static void folded(void **state)
{
    (void)state;
    struct pq_setup_link l;
    struct pq_link_msgs m;
    read_ok("\n paqet://v1/203.0.113.7:235 \r\n   71?s=" S43 "\n&u=" U43 "&k=\n\n" K43 "\n", &l, 0);
    assert_int_equal(l.server[0].ports.from, 23571);
    assert_string_equal(l.key, KHEX);
    /* a blank alone is a mistake, as any other character that does not belong there */
    assert_int_equal(pq_link_read("paqet://v1/203.0.113.7:23571?k= " K43, &l, &m), PQ_EINVAL);
}

static void query_format(void **state)
{
    (void)state;
    struct pq_setup_link l;
    char out[PQ_LINK_MAX], why[160];
    read_ok("paqet://"
            "192.0.2.1:8443?enc=salsa20&local=PA%2CA&remote=PA&key=a+b%2B&conn=2&mode=fast3&mtu="
            "1300#b+c",
            &l, 0);
    assert_int_equal(l.format, PQ_LINK_QUERY);
    assert_string_equal(l.key, "a b+");
    assert_string_equal(l.block, "salsa20");
    assert_string_equal(l.mode, "fast3");
    assert_string_equal(l.local_flag, "PA,A");
    assert_string_equal(l.name, "b c");
    assert_int_equal(pq_link_write(&l, PQ_LINK_QUERY, out, why), 0);
    assert_string_equal(out, "paqet://"
                             "192.0.2.1:8443?enc=salsa20&local=PA%2CA&remote=PA&key=a%20b%2B&conn="
                             "2&mode=fast3&mtu=1300#b%20c");
    /* its defaults are those of the origin; numbers of manual are left aside */
    read_ok("paqet://h.example:1?key=x&mode=manual&nodelay=1&new=7", &l, 2);
    assert_string_equal(l.block, "aes");
    assert_string_equal(l.mode, "");
    read_ok("paqet://v1/a:1?k=" K43 "&s=" S43, &l, 0);
    assert_int_equal(pq_link_write(&l, PQ_LINK_QUERY, out, why), PQ_ENOTSUP);
    assert_non_null(strstr(why, "public keys"));
}

static void user_format(void **state)
{
    (void)state;
    struct pq_setup_link l;
    read_ok("paqet://"
            "secret%2Fkey+@[2001:db8::2]:9090?socks=127.0.0.1:1080&mode=fast3&conn=2&block=aes-128&"
            "lf=PA&rf=PA&dshard=10&pshard=3#Test",
            &l, 0);
    assert_int_equal(l.format, PQ_LINK_USER);
    assert_string_equal(l.key, "secret/key+");
    assert_string_equal(l.server[0].host, "2001:db8::2");
    assert_string_equal(l.block, "aes-128");
    assert_int_equal(l.dshard, 10);
    assert_int_equal(l.pshard, 3);
    assert_string_equal(l.name, "Test");
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        unsigned errors;
    } t[] = {
        {"", "it is empty", 1},
        {" \n ", "it is empty", 1},
        {"paqet://...", "the dots stand for", 1},
        {"https://example.com", "begins with paqet://", 1},
        {"paqet://v1/a:\xdb\xb1?b=none", "in the digits 0 to 9", 1},
        {"paqet://v1/1.2.3:1?b=none", "neither a name", 1},
        {"paqet://v1/a..b:1?b=none", "neither a name", 1},
        {"paqet://v1/12:1?b=none", "neither a name", 1},
        {"paqet://", "not a link of a kind", 1},
        {"paqet://eyJ2IjoxfQ", "not a link of a kind", 1},
        {"paqet://v2/a:1?k=" K43, "version v2", 1},
        {"paqet://v1/a:0?k=" K43, "port from 1", 1},
        {"paqet://v1/a:70000?k=" K43, "port from 1", 1},
        {"paqet://v1/a:2-1?k=" K43 "&s=" S43, "or a range", 1},
        {"paqet://v1/a:1-9?k=" K43, "only for servers with a public key", 1},
        {"paqet://a:1-9?key=x", "only for servers with a public key", 1},
        {"paqet://v1/?k=" K43, "HOST:PORT", 1},
        {"paqet://v1/a b:1?k=" K43, "neither a name nor", 1},
        {"paqet://v1/a:1?k=short", "k: the key", 1},
        {"paqet://v1/a:1", "k: the key is missing", 1},
        {"paqet://v1/a:1?s=" S43, "it belongs in quotes", 1},
        {"paqet://v1/a:1?k=" K43 "&k=" K43, "twice", 1},
        {"paqet://v1/a:1?k=" K43 "&u=" U43, "s: the server's public key is missing", 1},
        {"paqet://v1/a:1?k=" K43 "&s=" S43 "&s=" S43, "more public keys", 1},
        {"paqet://v1/a:1,b:1,c:1?k=" K43 "&s=" S43 "&s=" S43, "2 public keys for 3", 1},
        {"paqet://v1/a:1?k=" K43 "&b=rot13", "b: 'rot13'", 1},
        {"paqet://v1/a:1?k=" K43 "&zz=1", "use a newer paqet", 1},
        {"paqet://v1/a:1?k=" K43 "&=1", "NAME=VALUE", 1},
        {"paqet://v1/a:1?k=" K43 "&mtu=49", "mtu: is not", 1},
        {"paqet://v1/a:1?k=" K43 "&mtu=1300&mtu=1300", "mtu: is there twice", 1},
        {"paqet://v1/a:1?k=" K43 "&t=10.0.0.1", "t: '10.0.0.1'", 1},
        {"paqet://v1/a:1?k=" K43 "&t=10.0.0.1/0", "t: '10.0.0.1/0'", 1},
        {"paqet://v1/a:1?k=" K43 "&t=fd00::1/15", "t: 'fd00::1/15'", 1},
        {"paqet://v1/a:1?k=" K43 "&t=10.0.0.1/8&t=10.0.0.2/8", "two addresses", 1},
        {"paqet://v1/a:1?k=" K43 "&fec=10", "DATA/PARITY", 1},
        {"paqet://v1/a:1?k=" K43 "&lf=XX", "lf: 'XX'", 1},
        {"paqet://v1/a:1?k=" K43 "&p=tcp", "p: 'tcp' is neither", 1},
        {"paqet://v1/a:1?k=" K43 "&p=quic&p=quic", "p: is there twice", 1},
        {"paqet://v1/a:1?p=quic", "k: the key is missing", 1},
        {"paqet://v1/a:1?k=" K43 "&p=quic&b=aes", "b: is of kcp", 1},
        {"paqet://v1/a:1?k=" K43 "&m=fast&p=quic", "m: is of kcp", 1},
        {"paqet://v1/a:1?k=" K43 "&p=quic&fec=10/3", "fec: is of kcp", 1},
        {"paqet://v1/a:1?k=" K43 "&p=quic&mtu=1235", "1236 to 1452", 1},
        {"paqet://a:1?enc=aes", "key: the key is missing", 1},
        {"paqet://a:1?key=x&dshard=3", "pshard: both", 1},
        {"paqet://k@a:1?key=x", "twice", 1},
        {"paqet://%zz@a:1", "no text", 1},
        {"paqet://v1/a,b:0?k=x&u=y&b=z&mtu=0", "server 1", 7},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_setup_link l;
        struct pq_link_msgs m;
        bool said = false;
        assert_int_equal(pq_link_read(t[i].text, &l, &m), PQ_EINVAL);
        for (unsigned k = 0; k < m.n; k++) {
            said |= strstr(m.v[k].text, t[i].says) != NULL;
            assert_null(strstr(m.v[k].text, "AAECAwQF")); /* no secret in a message */
        }
        if (!said || m.errors != t[i].errors)
            print_message("%s: %u errors, first: %s\n", t[i].text, m.errors, m.v[0].text);
        assert_true(said);
        assert_int_equal(m.errors, t[i].errors);
    }
}

/* What messengers, mails and pages do to a link on its way. */
static void unseen(void **state)
{
    (void)state;
    static const char *const same[] = {
        "\xe2\x80\x8e" LINK_AT "&s=" S43 "&k=" K43,          /* a mark of direction in front, ... */
        LINK_AT "&s=" S43 "&k=" K43 "\xe2\x80\x8f\n",        /* ... and behind */
        "\xef\xbb\xbf" LINK_AT "&s=" S43 "&k=" K43 "\r\n",   /* of a file */
        LINK_AT "&\xe2\x80\x8bs=" S43 "&k=\xe2\x81\xa0" K43, /* of no width */
        "\xc2\xa0 " LINK_AT "&s=" S43 "&k=" K43 " \xc2\xa0",
        LINK_AT "&amp;s=" S43 "&amp;k=" K43,
        "PaQet"
        "://v1/a:1?b=aes&s=" S43 "&k=" K43,
    };
    struct pq_setup_link l;
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        read_ok(same[i], &l, 0);
        assert_true(l.server[0].has_key && l.server[0].key[0] == 0x20);
        assert_string_equal(l.key, KHEX);
        assert_string_equal(l.name, "");
    }
    read_ok(LINK_AT "&k=" K43 "#\xd9\x85\xe2\x80\x8c\xd9\x85", &l, 0); /* it is part of names */
    assert_string_equal(l.name, "\xd9\x85\xe2\x80\x8c\xd9\x85");
}

/* A link comes from a stranger, and what is said of it goes to root's terminal. */
static void no_orders(void **state)
{
    (void)state;
    static const char *const t[] = {"paqet://v9\033[31m/a:1?k=" K43,
                                    "paqet://v1\033]0;\a/a:1?k=" K43,
                                    "paqet://v1/\033[2J:1?k=" K43,
                                    "paqet://v1/a:1?k=" K43 "&l=%C2%9B2J",
                                    "paqet://v1/a:1?k=" K43 "&t=%E2%80%AE1.0.0.01",
                                    "paqet://v1/a:1?k=" K43 "#\033c",
                                    "paqet://\033[31m@a:1",
                                    "paqet://a:1?\033[31m=1"};
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_setup_link l;
        struct pq_link_msgs m;
        pq_link_read(t[i], &l, &m);
        assert_true(m.n > 0);
        for (unsigned k = 0; k < m.n; k++)
            for (const char *p = m.v[k].text; *p; p += pq_text_char(p)) {
                assert_int_not_equal(pq_text_char(p), 0);
                assert_int_not_equal(strncmp(p, "\xe2\x80\xae", 3), 0);
            }
    }
}

static void bounds(void **state)
{
    (void)state;
    struct pq_setup_link l;
    struct pq_link_msgs m;
    char text[PQ_LINK_MAX + 64];
    strcpy(text, "paqet://v1/a:1");
    for (unsigned i = 1; i < PQ_LINK_SERVERS; i++)
        strcat(text, ",a:1");
    strcat(text, "?b=none");
    assert_int_equal(pq_link_read(text, &l, &m), 0);
    assert_int_equal(l.n_servers, PQ_LINK_SERVERS);
    strcpy(text, "paqet://v1/a:1");
    for (unsigned i = 0; i < PQ_LINK_SERVERS; i++)
        strcat(text, ",a:1");
    strcat(text, "?b=none");
    assert_int_equal(pq_link_read(text, &l, &m), PQ_EINVAL);
    assert_int_equal(m.errors, 1);
    /* more messages than there is room for: errors stay, all are counted */
    strcpy(text, "paqet://v1/a:1?b=none");
    for (unsigned i = 0; i < PQ_LINK_MSGS; i++)
        strcat(text, "&Note=1");
    strcat(text, "&zz=1");
    assert_int_equal(pq_link_read(text, &l, &m), PQ_EINVAL);
    assert_int_equal(m.n, PQ_LINK_MSGS);
    assert_true(m.v[0].error && m.errors == 1);
    for (unsigned i = 0; i < 2 * PQ_LINK_MSGS; i++)
        strcat(text, "&zz=1");
    assert_int_equal(pq_link_read(text, &l, &m), PQ_EINVAL);
    assert_int_equal(m.errors, 1 + 2 * PQ_LINK_MSGS);
    memset(text, 'a', sizeof text);
    memcpy(text, "paqet://v1/", 11);
    text[PQ_LINK_MAX] = 0;
    assert_int_equal(pq_link_read(text, &l, &m), PQ_EINVAL);
    assert_non_null(strstr(m.v[0].text, "longer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64),      cmocka_unit_test(percent),   cmocka_unit_test(own),
        cmocka_unit_test(cut_off),     cmocka_unit_test(folded),    cmocka_unit_test(query_format),
        cmocka_unit_test(user_format), cmocka_unit_test(mistakes),  cmocka_unit_test(bounds),
        cmocka_unit_test(unseen),      cmocka_unit_test(no_orders),
    };
    return ut_run(tests);
}
