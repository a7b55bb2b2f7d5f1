/* SPDX-License-Identifier: MIT */
/* fuzz_yaml.c - a configuration file: any verdict, but an error always has a message, and no line
 * of a message lies outside of the file. */
#include "conf/conf.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct pq_conf c;
    struct pq_conf_msgs m;
    uint8_t *exact = fuzz_exact(p, n);
    int e = pq_conf_parse(&c, (const char *)exact, n, &m);
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
