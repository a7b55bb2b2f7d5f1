/* SPDX-License-Identifier: MIT */
/* test_header.c - the stream header of both families: vectors both ways, edges, random input. */
#include "header/header.h"

#include "header_tests.h"
#include "unit.h"
#include "vectors.h"

struct pq_request header_fields(const json_t *message)
{
    const json_t *f = vec_get(message, "fields");
    struct pq_request r = {.type = (enum pq_request_type)vec_int(f, "type")};
    const char *host = vec_str(f, "host");
    snprintf(r.host, sizeof r.host, "%s", host ? host : "");
    r.port = (uint16_t)vec_int(f, "port");
    size_t i;
    json_t *set;
    json_array_foreach(json_object_get(f, "tcpf"), i, set)
        assert_int_equal(pq_flags_parse(json_string_value(set), &r.flags.v[r.flags.n++]), 0);
    return r;
}

void header_same(const struct pq_request *a, const struct pq_request *b, const char *name)
{
    if (a->type != b->type || strcmp(a->host, b->host) != 0 || a->port != b->port ||
        a->flags.n != b->flags.n ||
        memcmp(a->flags.v, b->flags.v, a->flags.n * sizeof a->flags.v[0]) != 0)
        fail_msg("%s: decoded differently", name);
}

static int decode_binary(const uint8_t *p, size_t n, struct pq_request *out, size_t *used)
{
    bool bare = true;
    int e = pq_binary_decode(p, n, out, &bare, used);
    if (!e)
        assert_false(bare);
    return e;
}

static void binary_vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("binary.json"), *m;
    size_t i, n, used;
    json_array_foreach(vec_get(root, "messages"), i, m)
    {
        uint8_t *want = vec_bytes(m, "hex", &n), got[PQ_HEADER_MAX];
        struct pq_request r = header_fields(m), out;
        enum pq_family family;
        assert_int_equal(pq_header_encode(PQ_FAMILY_BINARY, &r, got, sizeof got), n);
        assert_memory_equal(got, want, n);
        for (size_t cap = 0; cap < n; cap++)
            assert_int_equal(pq_header_encode(PQ_FAMILY_BINARY, &r, got, cap), PQ_EINVAL);
        for (size_t k = 0; k < n; k++) { /* every cut asks for more */
            uint8_t *p = ut_exact(want, k);
            assert_int_equal(pq_header_decode(p, k, &out, &family, &used), PQ_EMORE);
            free(p);
        }
        memcpy(got, want, n);
        got[n] = 0x50; /* payload may follow in the same frame [6.1] */
        assert_int_equal(pq_header_decode(got, n + 1, &out, &family, &used), 0);
        assert_int_equal(family, PQ_FAMILY_BINARY);
        assert_int_equal(used, n);
        header_same(&out, &r, vec_str(m, "name"));
        free(want);
    }
    json_decref(root);
}

static void binary_malformed(void **state)
{
    (void)state;
    json_t *root = vec_load("binary.json"), *m;
    size_t i, n, used;
    json_array_foreach(vec_get(root, "malformed"), i, m)
    {
        uint8_t *p = vec_bytes(m, "hex", &n);
        const char *name = vec_str(m, "name"), *result = vec_str(m, "result");
        struct pq_request out;
        int r = decode_binary(p, n, &out, &used);
        if (strncmp(result, "accept", 6) == 0) {
            assert_int_equal(r, 0);
            assert_int_equal(used, n);
        } else if (strstr(result, "waits")) { /* now or when the body is there */
            uint8_t body[5 + 131] = {0};
            memcpy(body, p, n);
            if (r == PQ_EMORE)
                r = decode_binary(body, sizeof body, &out, &used);
            assert_int_equal(r, PQ_EPROTO);
        } else if (r != PQ_EPROTO) {
            fail_msg("%s gave %d", name, r);
        }
        free(p);
    }
    json_decref(root);
}

static void binary_edges(void **state)
{
    (void)state;
    struct pq_request r = {.type = PQ_REQ_TUN}, out;
    uint8_t b[PQ_HEADER_MAX];
    size_t used;
    static const uint8_t tun[] = {0x50, 1, 6, 0, 0}; /* between peers of our kind [8.8] */
    assert_int_equal(pq_header_encode(PQ_FAMILY_BINARY, &r, b, sizeof b), sizeof tun);
    assert_memory_equal(b, tun, sizeof tun);
    assert_int_equal(decode_binary(tun, sizeof tun, &out, &used), 0);
    assert_int_equal(out.type, PQ_REQ_TUN);
    r.type = PQ_REQ_TCP;
    memset(r.host, 'h', PQ_HOST_MAX);
    r.port = 1;
    int n = pq_binary_encode(&r, false, b, 512);
    assert_int_equal(n, 5 + 3 + 253);
    assert_int_equal(decode_binary(b, (size_t)n, &out, &used), 0);
    header_same(&out, &r, "longest host");
    b[5] = 254; /* a host of 254 is refused, whatever follows */
    b[4] = (uint8_t)(b[4] + 1);
    assert_int_equal(decode_binary(b, sizeof b, &out, &used), PQ_EPROTO);

    r = (struct pq_request){.type = PQ_REQ_TCPF};
    r.flags.n = PQ_FLAGS_MAX;
    memset(r.flags.v, 1, sizeof r.flags.v);
    n = pq_binary_encode(&r, false, b, sizeof b);
    assert_int_equal(n, 5 + 1 + 128);
    assert_int_equal(decode_binary(b, (size_t)n, &out, &used), 0);
    assert_int_equal(out.flags.n, 64);
    b[6] = 0xff; /* bits above NS do not reach the TCP header */
    assert_int_equal(decode_binary(b, (size_t)n, &out, &used), 0);
    assert_int_equal(out.flags.v[0] & ~PQ_TCP_ALL, 0);

    const uint8_t nul[] = {0x50, 1, 4, 0, 5, 2, 'a', 0, 0, 1}; /* NUL in a host */
    assert_int_equal(decode_binary(nul, sizeof nul, &out, &used), PQ_EPROTO);
    assert_int_equal(decode_binary((const uint8_t *)"\x50\x01\x04\0\0", 5, &out, &used), PQ_EPROTO);
    assert_int_equal(decode_binary((const uint8_t *)"\x50\x01\x03\0\0", 5, &out, &used), PQ_EPROTO);
    assert_int_equal(decode_binary((const uint8_t *)"\x50\x01\x00\0\0", 5, &out, &used), PQ_EPROTO);
}

/* A PONG with an extension, and any PING, must stay what they are [8]. */
static void binary_extension(void **state)
{
    (void)state;
    uint8_t b[5 + 4096] = {0x50, 1, 2, 0x10, 0x00};
    struct pq_request out;
    size_t used;
    assert_int_equal(decode_binary(b, sizeof b - 1, &out, &used), PQ_EMORE);
    assert_int_equal(decode_binary(b, sizeof b, &out, &used), 0);
    assert_int_equal(out.type, PQ_REQ_PONG);
    assert_int_equal(used, sizeof b);
}

static uint32_t abilities_of(const json_t *names)
{
    static const char *const known[] = {"half-close", "dial result", "bye",   "copies",
                                        "datagrams",  "tun gso",     "split", "frames"};
    uint32_t a = json_is_null(names) ? 0 : PQ_ABLE_HELLO;
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        unsigned k = 0;
        while (strcmp(json_string_value(name), known[k]) != 0)
            assert_true(++k < COUNT_OF(known));
        a |= 1u << (k + 1);
    }
    return a;
}

static void hello_one(const json_t *m, enum pq_family family, const char *form)
{
    size_t n, used;
    uint8_t *p = vec_bytes(m, form, &n), b[512];
    struct pq_request out;
    enum pq_family f;
    assert_int_equal(pq_header_decode(p, n, &out, &f, &used), 0);
    assert_int_equal(f, family);
    assert_int_equal(used, n);
    assert_int_equal(out.type, vec_int(m, "type"));
    assert_int_equal(out.abilities, abilities_of(vec_get(m, "abilities")));
    if (json_is_true(vec_get(m, "canonical"))) {
        assert_int_equal(pq_header_encode(family, &out, b, sizeof b), n);
        assert_memory_equal(b, p, n);
    }
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(pq_header_decode(p, cut, &out, &f, &used), PQ_EMORE);
    free(p);
}

/* HELLO and RESULT [8.2] [8.4]. */
static void hello_vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("hello.json"), *m;
    size_t i, n, used;
    json_array_foreach(vec_get(root, "messages"), i, m)
    {
        hello_one(m, PQ_FAMILY_BINARY, "binary");
        hello_one(m, PQ_FAMILY_GOB, "gob");
    }
    struct pq_request r;
    uint8_t *p = vec_bytes(vec_get(root, "result"), "binary_refused", &n), b[16];
    assert_int_equal(decode_binary(p, n, &r, &used), 0);
    assert_int_equal(r.type, PQ_REQ_RESULT);
    assert_int_equal(r.result, 5);
    assert_int_equal(pq_binary_encode(&r, false, b, sizeof b), n);
    assert_memory_equal(b, p, n);
    free(p);
    static const uint8_t measure[] = {0x50, 1, 8, 0, 2, 1, 4}; /* [8.11] */
    assert_int_equal(decode_binary(measure, sizeof measure, &r, &used), 0);
    assert_int_equal(r.type, PQ_REQ_MEASURE);
    assert_int_equal(r.port, PQ_MEASURE(1, 4));
    assert_int_equal(pq_binary_encode(&r, false, b, sizeof b), sizeof measure);
    assert_memory_equal(b, measure, sizeof measure);
    assert_int_equal(decode_binary((const uint8_t[]){0x50, 1, 8, 0, 1, 1}, 6, &r, &used),
                     PQ_EPROTO);
    json_decref(root);
}

static void decode_fuzz(const char *file, uint64_t *seed, int rounds)
{
    json_t *root = vec_load(file), *list = vec_get(root, "messages");
    uint8_t *sample[32], b[700];
    size_t len[32], count = json_array_size(list);
    for (size_t i = 0; i < count; i++)
        sample[i] = vec_bytes(json_array_get(list, i), "hex", &len[i]);
    for (int i = 0; i < rounds; i++) {
        size_t k = ut_below(seed, (uint32_t)count), n = len[k];
        memcpy(b, sample[k], n);
        if (i % 16 == 0)
            ut_random(seed, b, n = ut_below(seed, sizeof b));
        else
            n = ut_mutate(seed, b, n, sizeof b);
        uint8_t *p = ut_exact(b, n);
        struct pq_request out;
        enum pq_family family;
        size_t used = 0;
        int r = pq_header_decode(p, n, &out, &family, &used);
        if (r == 0) {
            assert_true(used > 0 && used <= n);
            assert_true(strlen(out.host) <= PQ_HOST_MAX && out.flags.n <= PQ_FLAGS_MAX);
            assert_true(out.type >= PQ_REQ_PING && out.type <= PQ_REQ_MEASURE);
        } else {
            assert_true(r == PQ_EMORE || r == PQ_EPROTO);
        }
        free(p);
    }
    for (size_t i = 0; i < count; i++)
        free(sample[i]);
    json_decref(root);
}

/* alpha.20, which has no length: its bytes, and how the two are told apart, also by the PONG. */
static void without_length(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        struct pq_request want;
    } t[] = {
        {"\x50\x01\x04\x0b"
         "example.com\x01\xbb",
         17,
         {.type = PQ_REQ_TCP, .host = "example.com", .port = 443}},
        {"\x50\x01\x05\x01"
         "a\x00\x35",
         7,
         {.type = PQ_REQ_UDP, .host = "a", .port = 53}},
        {"\x50\x01\x03\x01\x00\x18", 6, {.type = PQ_REQ_TCPF, .flags = {{0x18}, 1}}},
        {"\x50\x01\x03\x02\x00\x18\x00\x10", 8, {.type = PQ_REQ_TCPF, .flags = {{0x18, 0x10}, 2}}},
    };
    enum pq_family family;
    struct pq_request out;
    size_t used;
    uint8_t b[PQ_HEADER_MAX];
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        const uint8_t *p = (const uint8_t *)t[i].bytes;
        size_t at = 0;
        for (size_t n = 0; n < t[i].n; n++) {
            assert_false(pq_header_whole(p, n, &at));
            assert_int_equal(pq_header_decode(p, n, &out, &family, &used), PQ_EMORE);
        }
        assert_int_equal(pq_header_decode(p, t[i].n, &out, &family, &used), 0);
        assert_int_equal(family, PQ_FAMILY_BINARY20);
        assert_int_equal(used, t[i].n);
        header_same(&out, &t[i].want, t[i].bytes);
        int n = pq_header_encode(PQ_FAMILY_BINARY20, &t[i].want, b, sizeof b);
        assert_int_equal(n, t[i].n);
        assert_memory_equal(b, p, t[i].n);
    }
    /* every request of .21 is still one, up to the longest host */
    struct pq_request r = {.type = PQ_REQ_TCP, .port = 1};
    for (size_t len = 1; len <= PQ_HOST_MAX; len++) {
        r.host[len - 1] = 'h';
        int n = pq_header_encode(PQ_FAMILY_BINARY, &r, b, sizeof b);
        assert_int_equal(pq_header_decode(b, (size_t)n, &out, &family, &used), 0);
        assert_int_equal(family, PQ_FAMILY_BINARY);
        n = pq_header_encode(PQ_FAMILY_BINARY20, &r, b, sizeof b);
        assert_int_equal(pq_header_decode(b, (size_t)n, &out, &family, &used), 0);
        assert_int_equal(family, PQ_FAMILY_BINARY20);
        header_same(&out, &r, "host");
    }
    const struct pq_request ping = {.type = PQ_REQ_PING, .abilities = PQ_ABLE_ALL};
    assert_int_equal(pq_header_encode(PQ_FAMILY_BINARY20, &ping, b, sizeof b), 3);
    assert_true(pq_header_is_bare(b, 3, PQ_REQ_PING));
    assert_false(pq_header_is_bare(b, 3, PQ_REQ_PONG));
    assert_false(pq_header_is_bare(b, 2, PQ_REQ_PING));
    assert_int_equal(pq_header_decode(b, 3, &out, &family, &used), PQ_EMORE);
    const struct pq_request tun = {.type = PQ_REQ_TUN};
    assert_int_equal(pq_header_encode(PQ_FAMILY_BINARY20, &tun, b, sizeof b), PQ_EINVAL);
}

static void fuzz(void **state)
{
    (void)state;
    uint64_t seed = ut_seed("header");
    decode_fuzz("binary.json", &seed, FUZZ_ROUNDS / 2);
    decode_fuzz("gob.json", &seed, FUZZ_ROUNDS);
}

int main(void)
{
    const struct CMUnitTest header[] = {
        cmocka_unit_test(binary_vectors), cmocka_unit_test(binary_malformed),
        cmocka_unit_test(binary_edges),   cmocka_unit_test(binary_extension),
        cmocka_unit_test(hello_vectors),  cmocka_unit_test(without_length),
        cmocka_unit_test(fuzz),
    };
    return ut_run(header) + header_gob();
}
