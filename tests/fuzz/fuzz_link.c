/* SPDX-License-Identifier: MIT */
/* fuzz_link.c - links of all formats: what could be read is written, and read again the same; no
 * value that would break a line of the configuration gets through. */
#include "base/err.h"
#include "fuzz.h"
#include "setup/link.h"

static void write_again(const struct pq_setup_link *l, enum pq_link_format format)
{
    char text[PQ_LINK_MAX], once_more[PQ_LINK_MAX], why[160];
    struct pq_setup_link again;
    struct pq_link_msgs m;
    const int e = pq_link_write(l, format, text, why);
    FUZZ_CHECK(e == 0 || e == PQ_EINVAL || (e == PQ_ENOTSUP && format != PQ_LINK_OWN));
    if (e)
        return;
    FUZZ_CHECK(pq_link_read(text, &again, &m) == 0 && m.n == 0 && again.format == format);
    FUZZ_CHECK(again.n_servers == (format == PQ_LINK_OWN ? l->n_servers : 1));
    FUZZ_CHECK(strcmp(again.key, l->key) == 0 && strcmp(again.name, l->name) == 0);
    FUZZ_CHECK(strcmp(again.server[0].host, l->server[0].host) == 0);
    FUZZ_CHECK(strcmp(again.block, l->block) == 0 &&
               again.server[0].ports.to == l->server[0].ports.to);
    if (format == PQ_LINK_OWN)
        FUZZ_CHECK(again.has_secret == l->has_secret &&
                   memcmp(again.secret, l->secret, sizeof l->secret) == 0 &&
                   memcmp(again.server[0].key, l->server[0].key, PQ_LINK_KEY_LEN) == 0 &&
                   again.mtu == l->mtu && again.dshard == l->dshard);
    FUZZ_CHECK(pq_link_write(&again, format, once_more, why) == 0);
    FUZZ_CHECK(strcmp(text, once_more) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct pq_setup_link l;
    struct pq_link_msgs m;
    char *text = calloc(1, n + 1);
    FUZZ_CHECK(text);
    if (n)
        memcpy(text, p, n);
    const int e = pq_link_read(text, &l, &m);
    FUZZ_CHECK(m.n <= PQ_LINK_MSGS && m.errors >= (unsigned)(e != 0));
    FUZZ_CHECK(e == (m.errors ? PQ_EINVAL : 0));
    FUZZ_CHECK(pq_utf8_is_text(l.key) && pq_utf8_is_text(l.name));
    if (!e) {
        FUZZ_CHECK(l.n_servers >= 1 && l.n_servers <= PQ_LINK_SERVERS && *l.block);
        for (unsigned i = 0; i < l.n_servers; i++)
            FUZZ_CHECK(*l.server[i].host && l.server[i].ports.from);
        write_again(&l, PQ_LINK_OWN);
        write_again(&l, PQ_LINK_QUERY);
    }
    free(text);
    return 0;
}
