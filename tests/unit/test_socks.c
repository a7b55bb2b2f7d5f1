/* SPDX-License-Identifier: MIT */
/* test_socks.c - the messages of SOCKS5 (RFC 1928, RFC 1929), SOCKS4 and 4a. */
#include "header/socks.h"
#include "unit.h"

static void greeting(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        int want;
        size_t used;
        bool no_auth, password;
    } t[] = {
        {"", 0, PQ_EMORE, 0, false, false},
        {"\5", 1, PQ_EMORE, 0, false, false},
        {"\4\1\0", 3, PQ_EPROTO, 0, false, false},
        {"\4", 1, PQ_EPROTO, 0, false, false},
        {"\5\1", 2, PQ_EMORE, 0, false, false},
        {"\5\0", 2, 0, 2, false, false},
        {"\5\1\0", 3, 0, 3, true, false},
        {"\5\1\2", 3, 0, 3, false, true},
        {"\5\3\2\1\0", 5, 0, 5, true, true},
        {"\5\1\1\0\2", 5, 0, 3, false, false}, /* what follows is not the greeting */
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        uint8_t *p = ut_exact((const uint8_t *)t[i].bytes, t[i].n);
        size_t used = 0;
        bool no_auth = false, password = false;
        assert_int_equal(pq_socks_read_greeting(p, t[i].n, &used, &no_auth, &password), t[i].want);
        if (!t[i].want) {
            assert_int_equal(used, t[i].used);
            assert_int_equal(no_auth, t[i].no_auth);
            assert_int_equal(password, t[i].password);
        }
        free(p);
    }
}

static void password(void **state)
{
    (void)state;
    const uint8_t m[] = "\1\4user\3pw!rest";
    struct pq_view user, pass;
    size_t used;
    for (size_t n = 0; n < 10; n++) {
        uint8_t *p = ut_exact(m, n);
        assert_int_equal(pq_socks_read_password(p, n, &used, &user, &pass), PQ_EMORE);
        free(p);
    }
    assert_int_equal(pq_socks_read_password(m, sizeof m - 1, &used, &user, &pass), 0);
    assert_int_equal(used, 10);
    assert_int_equal(user.n, 4);
    assert_memory_equal(user.p, "user", 4);
    assert_int_equal(pass.n, 3);
    assert_memory_equal(pass.p, "pw!", 3);
    assert_int_equal(pq_socks_read_password((const uint8_t *)"\1\0\0", 3, &used, &user, &pass), 0);
    assert_int_equal(user.n + pass.n, 0);
    assert_int_equal(pq_socks_read_password((const uint8_t *)"\5", 1, &used, &user, &pass),
                     PQ_EPROTO);
}

static void request(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *host;
        uint16_t port;
        uint8_t cmd;
    } t[] = {
        {"\5\1\0\1\1\2\3\4\0\x50", 10, "1.2.3.4", 80, PQ_SOCKS_CONNECT},
        {"\5\3\0\3\1a\xff\xff", 8, "a", 65535, PQ_SOCKS_UDP},
        {"\5\2\7\3\13example.com\1\xbb", 18, "example.com", 443, PQ_SOCKS_BIND},
        {"\5\1\0\4\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0", 22, "2001::1", 0, PQ_SOCKS_CONNECT},
        {"\5\1\0\4\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4\0\1", 22, "1.2.3.4", 1, PQ_SOCKS_CONNECT},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_socks_request out;
        enum pq_socks_reply reply;
        size_t used = 0;
        for (size_t n = 0; n < t[i].n; n++) {
            uint8_t *p = ut_exact((const uint8_t *)t[i].bytes, n);
            assert_int_equal(pq_socks_read_request(p, n, &used, &out, &reply), PQ_EMORE);
            free(p);
        }
        uint8_t *p = ut_exact((const uint8_t *)t[i].bytes, t[i].n);
        assert_int_equal(pq_socks_read_request(p, t[i].n, &used, &out, &reply), 0);
        assert_int_equal(used, t[i].n);
        assert_string_equal(out.host, t[i].host);
        assert_int_equal(out.port, t[i].port);
        assert_int_equal(out.cmd, t[i].cmd);
        free(p);
    }
}

static void request_bad(void **state)
{
    (void)state;
    struct pq_socks_request out;
    enum pq_socks_reply reply;
    size_t used;
    assert_int_equal(pq_socks_read_request((const uint8_t *)"\4", 1, &used, &out, &reply),
                     PQ_EPROTO);
    for (int atyp = 0; atyp < 256; atyp++) {
        const uint8_t m[] = {5, 1, 0, (uint8_t)atyp, 0, 0, 0, 0};
        int r = pq_socks_read_request(m, atyp == 3 ? 8 : 4, &used, &out, &reply);
        if (atyp == 1 || atyp == 4) {
            assert_int_equal(r, PQ_EMORE);
        } else {
            assert_int_equal(r, PQ_EPROTO);
            if (atyp != 3) /* an empty name is no address either */
                assert_int_equal(reply, PQ_SOCKS_BAD_ATYP);
        }
    }
    assert_int_equal(
        pq_socks_read_request((const uint8_t *)"\5\1\0\3\2a\0\0\1", 9, &used, &out, &reply),
        PQ_EPROTO); /* NUL in a name */
    uint8_t longest[4 + 1 + 255 + 2] = {5, 1, 0, 3, 255};
    memset(longest + 5, 'x', 255);
    assert_int_equal(pq_socks_read_request(longest, sizeof longest, &used, &out, &reply), 0);
    assert_int_equal(strlen(out.host), 255);
}

static void reply_bytes(void **state)
{
    (void)state;
    uint8_t b[PQ_SOCKS_REPLY_MAX];
    struct pq_addr a;
    pq_addr_parse_ip(&a, "127.0.0.1");
    a.port = 1080;
    assert_int_equal(pq_socks_write_reply(b, PQ_SOCKS_OK, &a), 10);
    assert_memory_equal(b, "\5\0\0\1\x7f\0\0\1\4\x38", 10);
    pq_addr_parse_ip(&a, "fd88::2");
    a.port = 65535;
    assert_int_equal(pq_socks_write_reply(b, PQ_SOCKS_BAD_COMMAND, &a), 22);
    assert_memory_equal(b, "\5\7\0\4\xfd\x88\0\0\0\0\0\0\0\0\0\0\0\0\0\2\xff\xff", 22);
}

static void socks4_request(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *host;
        uint16_t port;
        uint8_t cmd;
    } t[] = {
        {"\4\1\0\x50\1\2\3\4user\0", 13, "1.2.3.4", 80, PQ_SOCKS_CONNECT},
        {"\4\1\xff\xff\x7f\0\0\1\0", 9, "127.0.0.1", 65535, PQ_SOCKS_CONNECT},
        {"\4\2\0\1\0\0\0\0\0", 9, "0.0.0.0", 1, PQ_SOCKS_BIND}, /* not 4a */
        {"\4\1\0\1\0\0\1\0\0", 9, "0.0.1.0", 1, PQ_SOCKS_CONNECT},
        {"\4\1\1\xbb\0\0\0\1me\0a.example\0", 21, "a.example", 443, PQ_SOCKS_CONNECT},
        {"\4\1\1\xbb\0\0\0\xff\0a\0", 11, "a", 443, PQ_SOCKS_CONNECT},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_socks_request out;
        size_t used = 0;
        for (size_t n = 0; n < t[i].n; n++) {
            uint8_t *p = ut_exact((const uint8_t *)t[i].bytes, n);
            assert_int_equal(pq_socks4_read_request(p, n, &used, &out), PQ_EMORE);
            free(p);
        }
        uint8_t longer[64];
        memcpy(longer, t[i].bytes, t[i].n);
        memcpy(longer + t[i].n, "rest", 5);
        assert_int_equal(pq_socks4_read_request(longer, t[i].n + 5, &used, &out), 0);
        assert_int_equal(used, t[i].n);
        assert_string_equal(out.host, t[i].host);
        assert_int_equal(out.port, t[i].port);
        assert_int_equal(out.cmd, t[i].cmd);
    }
}

static void socks4_bad(void **state)
{
    (void)state;
    struct pq_socks_request out;
    size_t used;
    uint8_t b[600] = {4, 1, 0, 80, 0, 0, 0, 1};
    assert_int_equal(pq_socks4_read_request((const uint8_t *)"\5", 1, &used, &out), PQ_EPROTO);
    assert_int_equal(pq_socks4_read_request(b, 10, &used, &out), PQ_EPROTO); /* empty name */
    memset(b + 8, 'x', sizeof b - 8);
    assert_int_equal(pq_socks4_read_request(b, 8 + 255, &used, &out), PQ_EMORE);
    assert_int_equal(pq_socks4_read_request(b, 8 + 256, &used, &out), PQ_EPROTO);
    b[8 + 255] = 0;
    assert_int_equal(pq_socks4_read_request(b, 8 + 256 + 255, &used, &out), PQ_EMORE);
    assert_int_equal(pq_socks4_read_request(b, 8 + 256 + 256, &used, &out), PQ_EPROTO);
    b[8 + 256 + 255] = 0;
    assert_int_equal(pq_socks4_read_request(b, sizeof b, &used, &out), 0);
    assert_int_equal(used, 8 + 256 + 256);
    assert_int_equal(strlen(out.host), 255);
}

static void socks4_reply(void **state)
{
    (void)state;
    uint8_t b[PQ_SOCKS4_REPLY];
    pq_socks4_write_reply(b, true);
    assert_memory_equal(b, "\0\x5a\0\0\0\0\0\0", 8);
    pq_socks4_write_reply(b, false);
    assert_memory_equal(b, "\0\x5b\0\0\0\0\0\0", 8);
}

static void fuzz(void **state)
{
    (void)state;
    static const char *const sample[] = {"\5\2\0\2",
                                         "\1\4user\4pass",
                                         "\5\1\0\3\4name\1\2",
                                         "\5\1\0\1abcd\1\2",
                                         "\5\3\0\4abcdefghijklmnop\1\2",
                                         "\4\1\0\1\0\0\0\1me\0name\0"};
    static const size_t len[] = {4, 11, 11, 10, 22, 16};
    uint64_t seed = ut_seed("socks");
    uint8_t b[300];
    for (int i = 0; i < FUZZ_ROUNDS; i++) {
        size_t k = ut_below(&seed, COUNT_OF(sample)), n = len[k], used = 0;
        memcpy(b, sample[k], n);
        if (i % 16 == 0)
            ut_random(&seed, b, n = ut_below(&seed, sizeof b));
        else
            n = ut_mutate(&seed, b, n, sizeof b);
        uint8_t *p = ut_exact(b, n);
        struct pq_socks_request out;
        struct pq_view user, pass;
        enum pq_socks_reply reply;
        bool x, y;
        if (!pq_socks_read_greeting(p, n, &used, &x, &y))
            assert_true(used <= n);
        if (!pq_socks_read_password(p, n, &used, &user, &pass))
            assert_true(used <= n && user.n + pass.n + 3 == used);
        if (!pq_socks_read_request(p, n, &used, &out, &reply))
            assert_true(used <= n && strlen(out.host) > 0);
        if (!pq_socks4_read_request(p, n, &used, &out))
            assert_true(used <= n && strlen(out.host) > 0);
        free(p);
    }
}

/* What the client's side writes is what the server's side reads. */
static void client_side(void **state)
{
    (void)state;
    static const char *const hosts[] = {"10.1.2.3", "2001:db8::7", "a.example", "x"};
    uint8_t buf[PQ_SOCKS_PASSWORD_MAX];
    bool no_auth, pw;
    size_t used;
    for (int want = 0; want < 2; want++) {
        size_t n = pq_socks_write_greeting(buf, want);
        assert_int_equal(pq_socks_read_greeting(buf, n, &used, &no_auth, &pw), 0);
        assert_true(used == n && no_auth && pw == want);
    }

    char longest[257];
    memset(longest, 'x', 255);
    longest[255] = 0;
    struct pq_view user, pass;
    size_t n = pq_socks_write_password(buf, longest, longest);
    assert_int_equal(n, PQ_SOCKS_PASSWORD_MAX);
    assert_int_equal(pq_socks_read_password(buf, n, &used, &user, &pass), 0);
    assert_true(used == n && user.n == 255 && pass.n == 255);

    struct pq_socks_request out;
    enum pq_socks_reply reply;
    for (size_t i = 0; i <= COUNT_OF(hosts); i++) {
        const char *host = i < COUNT_OF(hosts) ? hosts[i] : longest;
        n = pq_socks_write_request(buf, PQ_SOCKS_CONNECT, host, 443);
        assert_true(n && n <= PQ_SOCKS_REQUEST_MAX);
        assert_int_equal(pq_socks_read_request(buf, n, &used, &out, &reply), 0);
        assert_true(used == n && out.cmd == PQ_SOCKS_CONNECT && out.port == 443);
        assert_string_equal(out.host, host);
    }
    assert_int_equal(pq_socks_write_request(buf, PQ_SOCKS_CONNECT, "", 443), 0);
    longest[255] = 'x';
    longest[256] = 0;
    assert_int_equal(pq_socks_write_request(buf, PQ_SOCKS_CONNECT, longest, 443), 0);
    assert_int_equal(pq_socks_write_password(buf, longest, ""), 0);
    assert_int_equal(pq_socks_write_password(buf, "", longest), 0);
}

static void read_reply(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        int want;
        size_t used;
    } t[] = {
        {"", 0, PQ_EMORE, 5},
        {"\4", 1, PQ_EPROTO, 0},
        {"\5\0\0\1", 4, PQ_EMORE, 5},
        {"\5\5\0\1\0", 5, PQ_EMORE, 10},
        {"\5\5\0\1\0\0\0\0\0", 9, PQ_EMORE, 10},
        {"\5\5\0\1\0\0\0\0\0\0", 10, 0, 10},
        {"\5\5\0\1\0\0\0\0\0\0x", 11, 0, 10},
        {"\5\5\0\4\0", 5, PQ_EMORE, 22},
        {"\5\5\0\3\0", 5, PQ_EMORE, 7},
        {"\5\5\0\3\1x\0\0", 8, 0, 8},
        {"\5\5\0\3\377", 5, PQ_EMORE, PQ_SOCKS_REQUEST_MAX},
        {"\5\0\0\2\0", 5, PQ_EPROTO, 0},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        uint8_t *p = ut_exact((const uint8_t *)t[i].bytes, t[i].n);
        size_t used = 0;
        uint8_t code = 0;
        assert_int_equal(pq_socks_read_reply(p, t[i].n, &used, &code), t[i].want);
        assert_int_equal(used, t[i].used);
        if (!t[i].want)
            assert_int_equal(code, 5);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest socks[] = {
        cmocka_unit_test(greeting),    cmocka_unit_test(password),
        cmocka_unit_test(request),     cmocka_unit_test(request_bad),
        cmocka_unit_test(reply_bytes), cmocka_unit_test(client_side),
        cmocka_unit_test(read_reply),  cmocka_unit_test(socks4_request),
        cmocka_unit_test(socks4_bad),  cmocka_unit_test(socks4_reply),
        cmocka_unit_test(fuzz),
    };
    return ut_run(socks);
}
