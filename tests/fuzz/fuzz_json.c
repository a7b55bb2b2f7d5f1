/* SPDX-License-Identifier: MIT */
/* fuzz_json.c - a request at the control socket: any verdict, but every node lies in the text, and
 * what was read is the same when it is written and read again. */
#include "base/err.h"
#include "base/json.h"
#include "fuzz.h"

#define NODES 512

static void copy(const struct pq_json_doc *d, uint32_t at, const char *key, struct pq_json *w)
{
    const struct pq_json_node *n = &d->v[at];
    char text[256], name[256];
    if (n->kind == PQ_JSON_OBJECT || n->kind == PQ_JSON_ARRAY) {
        const bool object = n->kind == PQ_JSON_OBJECT;
        pq_json_begin(w, key, object ? '{' : '[');
        for (uint32_t i = at + 1; i < n->next; i = d->v[i].next) {
            if (object)
                pq_json_get_text(d, &d->v[i++], name, sizeof name);
            copy(d, i, object ? name : NULL, w);
        }
        pq_json_end(w, object ? '}' : ']');
        return;
    }
    uint64_t v;
    if (n->kind == PQ_JSON_TEXT) {
        pq_json_get_text(d, n, text, sizeof text);
        pq_json_text(w, key, text);
    } else if (pq_json_get_uint(d, n, &v)) {
        pq_json_uint(w, key, v);
    } else if (n->kind == PQ_JSON_NUMBER) {
        pq_json_real(w, key, pq_json_get_real(d, n));
    } else {
        pq_json_bool(w, key, n->kind == PQ_JSON_TRUE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct pq_json_node v[NODES], again[NODES];
    struct pq_json_doc d = {.v = v, .max = NODES}, e = {.v = again, .max = NODES};
    uint8_t *exact = fuzz_exact(p, n);
    const int result = pq_json_read(&d, (const char *)exact, n);
    FUZZ_CHECK(result == 0 || result == PQ_EPROTO || (result == PQ_ENOMEM && n / 2 + 1 > NODES));
    for (uint32_t i = 0; !result && i < d.n; i++) {
        FUZZ_CHECK(v[i].next > i && v[i].next <= d.n);
        FUZZ_CHECK(v[i].at <= n && v[i].len <= n - v[i].at);
        fuzz_touch((struct pq_view){exact + v[i].at, v[i].len});
    }
    if (!result) {
        struct pq_json w = {.max = 1 << 20};
        copy(&d, 0, NULL, &w);
        FUZZ_CHECK(!w.failed);
        FUZZ_CHECK(pq_json_read(&e, w.p, w.len) == 0);
        FUZZ_CHECK(e.n == d.n);
        for (uint32_t i = 0; i < d.n; i++)
            FUZZ_CHECK(e.v[i].next == d.v[i].next);
        pq_json_free(&w);
    }
    free(exact);
    return 0;
}
