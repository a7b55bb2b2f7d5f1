/* SPDX-License-Identifier: MIT */
/* fuzz_yaml.c - a configuration file: any verdict, but an error always has a message, and no line
 * of a message lies outside of the file.  Then lists in it are changed: the text is another one, or
 * it was said why not. */
#include "base/err.h"
#include "conf/conf.h"
#include "conf/edit.h"
#include "fuzz.h"

static void change(const char *text, size_t n, bool add, int tunnel)
{
    static const struct pq_edit_pair v[] = {{"name", "x"}, {"public_key", "y"}, {0}};
    const struct pq_edit_list list = {"users", tunnel};
    char *out, why[PQ_EDIT_WHY_LEN] = "";
    size_t out_n = 0;
    const int e = add ? pq_edit_add(text, n, &list, v, &out, &out_n, why)
                      : pq_edit_remove(text, n, &list, 1, &out, &out_n, why);
    FUZZ_CHECK(e == 0 || e == PQ_EINVAL);
    FUZZ_CHECK((e == 0) == (out != NULL) && (e == 0 || *why));
    if (!e)
        FUZZ_CHECK(add ? out_n > n : out_n < n);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct pq_conf c;
    struct pq_conf_msgs m;
    uint8_t *exact = fuzz_exact(p, n);
    int e = pq_conf_parse(&c, (const char *)exact, n, &m);
    for (int i = 0; i < 4 && e == 0; i++)
        change((const char *)exact, n, i & 1, i < 2 ? -1 : 0);
    free(exact);
    FUZZ_CHECK(e == 0 || e == PQ_EINVAL);
    FUZZ_CHECK((e == 0) == (m.errors == 0));
    FUZZ_CHECK(e == 0 || m.n > 0);
    FUZZ_CHECK(m.n <= PQ_CONF_MSGS_MAX);
    for (unsigned i = 0; i < m.n; i++) {
        FUZZ_CHECK(m.v[i].text);
        FUZZ_CHECK(m.v[i].line >= 0 && (size_t)m.v[i].line <= n + 1);
    }
    pq_conf_msgs_free(&m);
    pq_conf_free(&c);
    return 0;
}
