/* SPDX-License-Identifier: MIT */
/* header_gob.c - family A's header [6.2]: vectors both ways, other type descriptions than the
 * usual ones, and descriptions made to break a reader. */
#include "header/header.h"

#include "header_tests.h"
#include "unit.h"
#include "vectors.h"

struct msg { /* a stream of gob messages being written */
    uint8_t b[4096];
    size_t n, start;
};

static void put(struct msg *m, const void *p, size_t n)
{
    assert_true(m->n + n <= sizeof m->b);
    memcpy(m->b + m->n, p, n);
    m->n += n;
}

static void put_u(struct msg *m, uint64_t v)
{
    uint8_t b[9];
    size_t n = 1;
    if (v < 128) {
        b[0] = (uint8_t)v;
    } else {
        while (n < 8 && v >> (8 * n))
            n++;
        b[0] = (uint8_t)(256 - n);
        for (size_t i = 0; i < n; i++)
            b[1 + i] = (uint8_t)(v >> (8 * (n - 1 - i)));
        n++;
    }
    put(m, b, n);
}

static void put_i(struct msg *m, int64_t v)
{
    put_u(m, v < 0 ? ~(uint64_t)v << 1 | 1 : (uint64_t)v << 1);
}

static void put_s(struct msg *m, const char *s)
{
    put_u(m, strlen(s));
    put(m, s, strlen(s));
}

static void begin(struct msg *m)
{
    m->start = m->n;
}

static void end(struct msg *m) /* puts the length in front, always as FE xx xx */
{
    size_t n = m->n - m->start;
    assert_true(m->n + 3 <= sizeof m->b);
    memmove(m->b + m->start + 3, m->b + m->start, n);
    m->b[m->start] = 0xfe;
    m->b[m->start + 1] = (uint8_t)(n >> 8);
    m->b[m->start + 2] = (uint8_t)n;
    m->n += 3;
}

struct fd {
    const char *name;
    int64_t type;
};

static void field_list(struct msg *m, const struct fd *f, size_t n)
{
    put_u(m, n);
    for (size_t i = 0; i < n; i++) {
        put_u(m, 1);
        put_s(m, f[i].name);
        put_u(m, 1);
        put_i(m, f[i].type);
        put_u(m, 0);
    }
}

static void common(struct msg *m, const char *name, int64_t id)
{
    put_u(m, 1);
    put_u(m, 1);
    put_s(m, name);
    put_u(m, 1);
    put_i(m, id);
    put_u(m, 0);
}

static void describe_struct(struct msg *m, const char *name, int64_t id, const struct fd *f,
                            size_t n)
{
    begin(m);
    put_i(m, -id);
    put_u(m, 3);
    common(m, name, id);
    put_u(m, 1);
    field_list(m, f, n);
    put(m, "\0\0", 2);
    end(m);
}

static void describe_slice(struct msg *m, int64_t id, int64_t elem)
{
    begin(m);
    put_i(m, -id);
    put_u(m, 2);
    common(m, "[]x", id);
    put_u(m, 1);
    put_i(m, elem);
    put(m, "\0\0", 2);
    end(m);
}

static int decode(const struct msg *m, struct pq_request *out)
{
    size_t used = 0;
    uint8_t *p = ut_exact(m->b, m->n);
    int r = pq_gob_decode(p, m->n, out, &used);
    assert_true(r != 0 || used == m->n);
    free(p);
    return r;
}

static void vectors(void **state)
{
    (void)state;
    json_t *root = vec_load("gob.json"), *m;
    size_t i, n, used;
    json_array_foreach(vec_get(root, "messages"), i, m)
    {
        uint8_t *want = vec_bytes(m, "hex", &n), got[PQ_HEADER_MAX];
        const char *name = vec_str(m, "name");
        struct pq_request r = header_fields(m), out;
        enum pq_family family;
        bool valid = r.type >= PQ_REQ_PING && r.type <= PQ_REQ_TUN;
        int e = pq_header_decode(want, n, &out, &family, &used);
        assert_int_equal(family, PQ_FAMILY_GOB);
        assert_int_equal(e, valid ? 0 : PQ_EPROTO);
        for (size_t k = 0; k < n; k++) {
            uint8_t *p = ut_exact(want, k);
            assert_int_equal(pq_header_decode(p, k, &out, &family, &used), PQ_EMORE);
            free(p);
        }
        if (valid) {
            assert_int_equal(pq_header_decode(want, n, &out, &family, &used), 0);
            assert_int_equal(used, n);
            header_same(&out, &r, name);
        }
        if (valid && strcmp(name, "TCP without address") != 0) { /* a nil pointer is not ours */
            assert_int_equal(pq_header_encode(PQ_FAMILY_GOB, &r, got, sizeof got), n);
            assert_memory_equal(got, want, n);
            assert_int_equal(pq_header_encode(PQ_FAMILY_GOB, &r, got, n - 1), PQ_EINVAL);
        }
        free(want);
    }
    json_decref(root);
}

/* The descriptions of one encoder with each of its values in turn. */
static void one_encoder(void **state)
{
    (void)state;
    json_t *root = vec_load("gob.json"), *list = vec_get(root, "one_encoder");
    static const enum pq_request_type want[] = {PQ_REQ_PING, PQ_REQ_TCPF, PQ_REQ_TCP};
    for (size_t v = 0; v < 3; v++) {
        struct msg m = {.n = 0};
        for (size_t i = 0; i < 5; i++) {
            size_t n;
            const char *hex = json_string_value(json_array_get(list, i < 4 ? i : 4 + v));
            uint8_t *p = vec_hex(hex, &n);
            put(&m, p, n);
            free(p);
        }
        struct pq_request out;
        assert_int_equal(decode(&m, &out), 0);
        assert_int_equal(out.type, want[v]);
    }
    json_decref(root);
}

static const struct fd flag_fields[] = {{"FIN", 1}, {"NS", 1}, {"PSH", 1}};

/* Other ids, another order of descriptions and fields, unknown fields of every kind: all that a
 * reader by names must bear [6.2]. */
static void foreign_types(void **state)
{
    (void)state;
    const struct fd proto[] = {{"Extra", 100}, {"TCPF", 70}, {"Blob", 5}, {"Type", 3},
                               {"Map", 101},   {"Addr", 90}, {"Fl", 4},   {"Cx", 7}};
    const struct fd addr[] = {{"Zone", 6}, {"Port", 2}, {"Host", 6}};
    const struct fd extra[] = {{"N", 2}, {"L", 102}};
    struct msg m = {.n = 0};
    struct pq_request out;
    describe_struct(&m, "TCPF", 71, flag_fields, 3);
    describe_slice(&m, 70, 71);
    describe_struct(&m, "Addr", 90, addr, 3);
    describe_struct(&m, "Extra", 100, extra, 2);
    describe_slice(&m, 102, 6);
    begin(&m); /* a map from string to int */
    put_i(&m, -101);
    put_u(&m, 4);
    common(&m, "map", 101);
    put(&m, "\x01\x0c\x01\x04\0\0", 6);
    end(&m);
    describe_struct(&m, "Proto", 99, proto, COUNT_OF(proto));
    begin(&m);
    put_i(&m, 99);
    put(&m,
        "\x01\x01\x09\x01\x02\x01"
        "a\x02"
        "bc\0",
        11);                                             /* Extra: N -5, L "a" "bc" */
    put(&m, "\x01\x02\x01\x01\x02\x01\0\x02\x01\0", 10); /* TCPF: {FIN, PSH}, {NS} */
    put(&m, "\x01\x03xyz", 5);                           /* Blob */
    put(&m, "\x01\x05", 2);                              /* Type 5 */
    put(&m, "\x01\x02\x01k\x02\x01l\x04", 8);            /* Map */
    put(&m, "\x01\x01\x02zz\x01\x6a\x01\x04host\0", 14); /* Addr: Zone, Port 53, Host */
    put(&m, "\x01\xfe\xf0\x3f\x01\x01\x02\0", 8);        /* Fl 1.0, Cx, end */
    end(&m);
    assert_int_equal(decode(&m, &out), 0);
    assert_int_equal(out.type, PQ_REQ_UDP);
    assert_string_equal(out.host, "host");
    assert_int_equal(out.port, 53);
    assert_int_equal(out.flags.n, 2);
    assert_int_equal(out.flags.v[0], PQ_TCP_FIN | PQ_TCP_PSH);
    assert_int_equal(out.flags.v[1], PQ_TCP_NS);
}

/* A PING or PONG with an unknown field is what it was [8]. */
static void extension(void **state)
{
    (void)state;
    const struct fd proto[] = {{"Type", 3}, {"Tlv", 5}};
    struct msg m = {.n = 0};
    struct pq_request out;
    describe_struct(&m, "Proto", 64, proto, 2);
    begin(&m);
    put_i(&m, 64);
    put(&m, "\x01\x02\x01\x03\0\0\0\0", 8);
    end(&m);
    assert_int_equal(decode(&m, &out), 0);
    assert_int_equal(out.type, PQ_REQ_PONG);
}

/* One field list in each of many parts of a struct description: together more fields than any
 * table holds. */
static void repeated_field_lists(void **state)
{
    (void)state;
    struct fd f[16];
    struct msg m = {.n = 0};
    struct pq_request out;
    for (size_t i = 0; i < COUNT_OF(f); i++)
        f[i] = (struct fd){"Type", 3};
    for (int64_t id = 64; id < 66; id++) {
        begin(&m);
        put_i(&m, -id);
        put_u(&m, 3);
        common(&m, "P", id);
        for (int i = 0; i < 8; i++) {
            put_u(&m, 1);
            field_list(&m, f, COUNT_OF(f));
        }
        put(&m, "\0\0", 2);
        end(&m);
    }
    assert_int_equal(decode(&m, &out), PQ_EPROTO);
}

/* Many fields of the name TCPF, each with the most entries allowed. */
static void repeated_flag_lists(void **state)
{
    (void)state;
    struct fd f[10] = {{"Type", 3}};
    struct msg m = {.n = 0};
    struct pq_request out;
    for (size_t i = 1; i < COUNT_OF(f); i++)
        f[i] = (struct fd){"TCPF", 67};
    describe_struct(&m, "TCPF", 66, flag_fields, 3);
    describe_slice(&m, 67, 66);
    describe_struct(&m, "Proto", 64, f, COUNT_OF(f));
    begin(&m);
    put_i(&m, 64);
    put(&m, "\x01\x03", 2);
    for (size_t i = 1; i < COUNT_OF(f); i++) {
        put_u(&m, 1);
        put_u(&m, PQ_FLAGS_MAX);
        for (int k = 0; k < PQ_FLAGS_MAX; k++)
            put(&m, "\0", 1);
    }
    put(&m, "\0", 1);
    end(&m);
    int r = decode(&m, &out);
    assert_true(r == PQ_EPROTO || (r == 0 && out.flags.n <= PQ_FLAGS_MAX));
}

static void extreme_numbers(void **state)
{
    (void)state;
    struct pq_request out;
    size_t used;
    static const struct {
        const char *bytes;
        size_t n;
        int want;
    } t[] = {
        {"\x0a\xf8\xff\xff\xff\xff\xff\xff\xff\xff\0", 11, PQ_EPROTO}, /* type id -2^63 */
        {"\x0a\xf8\xff\xff\xff\xff\xff\xff\xff\xfe\0", 11, PQ_EPROTO}, /* 2^63 - 1 */
        {"\xf7\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, PQ_EPROTO},   /* length of 9 bytes */
        {"\xf8\xff\xff\xff\xff\xff\xff\xff\xff", 9, PQ_EPROTO},        /* length 2^64 - 1 */
        {"\xfe\x20\x01", 3, PQ_EPROTO},                                /* length 8193 */
        {"\x00", 1, PQ_EPROTO},
        {"\x01\x00", 2, PQ_EPROTO}, /* value of type 0 */
        {"\x02\x02\x01", 3, PQ_EPROTO},
        {"\xff", 1, PQ_EMORE},
        {"\xfd\0", 2, PQ_EMORE},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        uint8_t *p = ut_exact((const uint8_t *)t[i].bytes, t[i].n);
        int r = pq_gob_decode(p, t[i].n, &out, &used);
        if (r != t[i].want)
            fail_msg("case %zu gave %d", i, r);
        free(p);
    }
}

/* Depth without end, and a table without end. */
static void bounds(void **state)
{
    (void)state;
    struct msg m = {.n = 0};
    struct pq_request out;
    const struct fd self[] = {{"Type", 3}, {"Me", 64}};
    describe_struct(&m, "P", 64, self, 2);
    begin(&m);
    put_i(&m, 64);
    for (int i = 0; i < 1000; i++)
        put_u(&m, 2);
    end(&m);
    assert_int_equal(decode(&m, &out), PQ_EPROTO);

    m.n = 0;
    for (int64_t id = 64; id < 164; id++)
        describe_struct(&m, "P", id, self, 1);
    begin(&m);
    put(&m, "\xff\x80\x01\x01\0", 5);
    end(&m);
    assert_int_equal(decode(&m, &out), PQ_EPROTO);

    static uint8_t endless[PQ_HEADER_MAX];
    enum pq_family family;
    size_t used;
    memset(endless, 0, sizeof endless);
    endless[0] = 0xfe;
    endless[1] = 0x1f;
    endless[2] = 0xfe; /* announces 8190 bytes and never ends */
    assert_int_equal(pq_header_decode(endless, sizeof endless, &out, &family, &used), PQ_EPROTO);
    assert_int_equal(pq_header_decode(endless, 0, &out, &family, &used), PQ_EMORE);
}

/* A header that comes byte by byte is read once, when it is whole. */
static void in_pieces(void **state)
{
    (void)state;
    const struct pq_request r = {.type = PQ_REQ_TCP, .host = "a.example", .port = 443};
    static const enum pq_family families[] = {PQ_FAMILY_GOB, PQ_FAMILY_BINARY};
    struct pq_request out;
    enum pq_family family;
    uint8_t b[PQ_HEADER_MAX];
    size_t used;
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        size_t at = 0, before = 0, len = (size_t)pq_header_encode(families[i], &r, b, sizeof b);
        for (size_t n = 0; n < len; n++) {
            uint8_t *p = ut_exact(b, n);
            assert_false(pq_header_whole(p, n, &at));
            assert_int_equal(n ? pq_header_decode(p, n, &out, &family, &used) : PQ_EMORE, PQ_EMORE);
            assert_true(at >= before && at <= n);
            before = at;
            free(p);
        }
        assert_true(pq_header_whole(b, len, &at));
        assert_int_equal(at > 0, families[i] == PQ_FAMILY_GOB); /* its types were passed over */
        assert_int_equal(pq_header_decode(b, len, &out, &family, &used), 0);
        header_same(&out, &r, "in pieces");
    }
    size_t at = 0;
    assert_true(pq_header_whole((const uint8_t *)"\0", 1, &at)); /* nonsense is whole, too */
}

static void flag_lists(void **state)
{
    (void)state;
    struct pq_request r = {.type = PQ_REQ_TCPF}, out;
    uint8_t b[PQ_HEADER_MAX];
    size_t used;
    uint64_t seed = ut_seed("flag lists");
    for (unsigned n = 0; n <= PQ_FLAGS_MAX; n++) {
        r.flags.n = (uint8_t)n;
        for (unsigned i = 0; i < n; i++)
            r.flags.v[i] = (uint16_t)(ut_below(&seed, 8) ? ut_below(&seed, 512) : PQ_TCP_ALL);
        int len = pq_gob_encode(&r, b, sizeof b);
        assert_true(len > 0);
        assert_int_equal(pq_gob_decode(b, (size_t)len, &out, &used), 0);
        header_same(&out, &r, "random flags");
    }
}

int header_gob(void)
{
    const struct CMUnitTest gob[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(one_encoder),
        cmocka_unit_test(foreign_types),
        cmocka_unit_test(extension),
        cmocka_unit_test(extreme_numbers),
        cmocka_unit_test(bounds),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(flag_lists),
        cmocka_unit_test(repeated_field_lists),
        cmocka_unit_test(repeated_flag_lists),
    };
    return ut_run(gob);
}
