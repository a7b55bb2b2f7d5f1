/* SPDX-License-Identifier: MIT */
/* test_json.c - JSON written and read; jansson says what is right. */
#include "base/err.h"
#include "base/json.h"
#include "unit.h"

#include <jansson.h>

#define NODES 256

static struct pq_json_node nodes[NODES];

static struct pq_json_doc doc_of(uint32_t max)
{
    return (struct pq_json_doc){.v = nodes, .max = max};
}

static int read_text(struct pq_json_doc *d, const char *text)
{
    *d = doc_of(NODES);
    return pq_json_read(d, text, strlen(text));
}

static void writes(void **state)
{
    (void)state;
    struct pq_json w = {.max = 1 << 16};
    pq_json_begin(&w, NULL, '{');
    pq_json_text(&w, "name", "a \"quoted\"\\ \n\x01\x7f \xc3\xa4 \xff\xc3( \xed\xa0\x80 end");
    pq_json_uint(&w, "most", INT64_MAX);
    pq_json_real(&w, "rtt", 1.2345);
    pq_json_real(&w, "none", 0.0 / 0.0);
    pq_json_begin(&w, "list", '[');
    pq_json_bool(&w, NULL, true);
    pq_json_begin(&w, NULL, '{');
    pq_json_end(&w, '}');
    pq_json_bool(&w, NULL, false);
    pq_json_end(&w, ']');
    pq_json_end(&w, '}');
    assert_false(w.failed);
    json_error_t why;
    json_t *j = json_loadb(w.p, w.len, 0, &why);
    if (!j)
        fail_msg("%s: %.*s", why.text, (int)w.len, w.p);
#define BAD "\xef\xbf\xbd"
    assert_string_equal(json_string_value(json_object_get(j, "name")),
                        "a \"quoted\"\\ \n\x01\x7f \xc3\xa4 " BAD BAD "( " BAD BAD BAD " end");
    assert_true(json_real_value(json_object_get(j, "rtt")) == 1.234 ||
                json_real_value(json_object_get(j, "rtt")) == 1.235);
    assert_int_equal(json_array_size(json_object_get(j, "list")), 3);
    json_decref(j);
    pq_json_free(&w);
}

static void bounded(void **state)
{
    (void)state;
    struct pq_json w = {.max = 20};
    pq_json_text(&w, NULL, "12345678901234567");
    assert_false(w.failed);
    pq_json_raw(&w, "ab", 2);
    assert_true(w.failed);
    assert_true(w.len <= 20);
    pq_json_raw(&w, "a", 1);
    assert_true(w.failed);
    pq_json_free(&w);
}

static void reads(void **state)
{
    (void)state;
    struct pq_json_doc d;
    char text[64];
    uint64_t v = 0;
    assert_int_equal(
        read_text(&d, " {\"v\" : 1, \"t\":\"\\u00e4\\ud83d\\ude00\\n\\/\",\"l\":[ ],\"m\":[1,[2],"
                      "{\"x\":3}],\"big\":18446744073709551616,\"f\":-2.5e1,\"v\":2} "),
        0);
    const struct pq_json_node *top = d.v;
    assert_true(pq_json_get_uint(&d, pq_json_get(&d, top, "v"), &v) && v == 1);
    assert_true(pq_json_get_text(&d, pq_json_get(&d, top, "t"), text, sizeof text));
    assert_string_equal(text, "\xc3\xa4\xf0\x9f\x98\x80\n/");
    assert_false(pq_json_get_text(&d, pq_json_get(&d, top, "t"), text, 4));
    assert_string_equal(text, "");
    assert_null(pq_json_first(&d, pq_json_get(&d, top, "l")));
    const struct pq_json_node *list = pq_json_get(&d, top, "m");
    const struct pq_json_node *at = pq_json_first(&d, list);
    assert_true(at && pq_json_get_real(&d, at) == 1);
    at = pq_json_after(&d, list, at);
    assert_int_equal(at->kind, PQ_JSON_ARRAY);
    at = pq_json_after(&d, list, at);
    assert_true(pq_json_get_real(&d, pq_json_get(&d, at, "x")) == 3);
    assert_null(pq_json_after(&d, list, at));
    assert_false(pq_json_get_uint(&d, pq_json_get(&d, top, "big"), &v));
    assert_false(pq_json_get_uint(&d, pq_json_get(&d, top, "f"), &v));
    assert_true(pq_json_get_real(&d, pq_json_get(&d, top, "f")) == -25);
    assert_null(pq_json_get(&d, top, "x"));
    assert_null(pq_json_get(&d, NULL, "x"));
    assert_null(pq_json_get(&d, list, "x"));
}

static void refuses(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "{",
                                        "}",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "[1,]",
                                        "[1 2]",
                                        "01",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "1e",
                                        "-",
                                        "tru",
                                        "\"",
                                        "\"\\x\"",
                                        "\"\\u12g4\"",
                                        "\"\n\"",
                                        "{} {}",
                                        "{a:1}",
                                        "{\"a\":1]",
                                        "nul",
                                        "'a'",
                                        "\"a",
                                        "[",
                                        "[[]",
                                        "\x80",
                                        "{\"a\":1,\"b\"",
                                        "{1:2}"};
    struct pq_json_doc d;
    char text[8];
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        if (read_text(&d, wrong[i]) != PQ_EPROTO)
            fail_msg("taken: %s", wrong[i]);
    static const char *const halves[] = {"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"",
                                         "\"\\u0000\"", "\"\\ud800x\""};
    for (size_t i = 0; i < COUNT_OF(halves); i++) {
        assert_int_equal(read_text(&d, halves[i]), 0);
        assert_false(pq_json_get_text(&d, d.v, text, sizeof text));
    }
    char deep[2 * PQ_JSON_DEPTH + 3];
    for (size_t n = PQ_JSON_DEPTH; n <= PQ_JSON_DEPTH + 1; n++) {
        memset(deep, '[', n);
        memset(deep + n, ']', n);
        deep[2 * n] = 0;
        assert_int_equal(read_text(&d, deep), n > PQ_JSON_DEPTH ? PQ_EPROTO : 0);
    }
    d = doc_of(3);
    assert_int_equal(pq_json_read(&d, "[1,2]", 5), 0);
    assert_int_equal(pq_json_read(&d, "[1,2,3]", 7), PQ_ENOMEM);
}

/* What jansson takes, so does this; each node lies within the text. */
static void as_jansson(void **state)
{
    (void)state;
    static const char good[] = "{\"v\":1,\"do\":\"st\\u0061tus\",\"a\":[1.5e3,-0,true,null,{}]}";
    uint64_t seed = ut_seed("json");
    uint8_t buf[128];
    unsigned taken = 0;
    for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
        memcpy(buf, good, sizeof good);
        size_t n = ut_mutate(&seed, buf, sizeof good - 1, sizeof buf);
        uint8_t *p = ut_exact(buf, n);
        struct pq_json_doc d = doc_of(NODES);
        json_t *j = json_loadb((const char *)p, n, JSON_DECODE_ANY, NULL);
        int e = pq_json_read(&d, (const char *)p, n);
        if (j && e)
            fail_msg("refused: %.*s", (int)n, p);
        taken += j != NULL;
        for (uint32_t k = 0; !e && k < d.n; k++)
            assert_true(d.v[k].at + d.v[k].len <= n && d.v[k].next <= d.n && d.v[k].next > k);
        json_decref(j);
        free(p);
    }
    assert_true(taken > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes),  cmocka_unit_test(bounded),    cmocka_unit_test(reads),
        cmocka_unit_test(refuses), cmocka_unit_test(as_jansson),
    };
    return ut_run(tests);
}
