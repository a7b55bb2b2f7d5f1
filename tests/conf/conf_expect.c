/* SPDX-License-Identifier: MIT */
/* conf_expect.c - reads a text and compares what was said about it. */
#include "conf_tests.h"

static void no_secret(const struct pq_conf_msgs *m)
{
    for (unsigned i = 0; i < m->n; i++)
        if (strstr(m->v[i].text, SECRET))
            fail_msg("a message shows a secret: %s", m->v[i].text);
}

/* Leaves out what is said of most texts here alike: short keys, a cipher without authentication, a
 * file that others can read.  The test `security` is about those. */
void forget_advice(struct pq_conf_msgs *m)
{
    static const char *const advice[] = {"does not authenticate", "is short", "other users of"};
    unsigned kept = 0;
    for (unsigned i = 0; i < m->n; i++) {
        bool is = false;
        for (size_t k = 0; k < COUNT_OF(advice); k++)
            is = is || (!m->v[i].error && strstr(m->v[i].text, advice[k]));
        if (is)
            free(m->v[i].text);
        else
            m->v[kept++] = m->v[i];
    }
    m->n = kept;
}

void parse(struct parsed *p, const char *text)
{
    p->e = pq_conf_parse(&p->c, text, strlen(text), &p->m);
    forget_advice(&p->m);
    assert_int_equal(p->e, p->m.errors ? PQ_EINVAL : 0);
    no_secret(&p->m);
}

void release(struct parsed *p)
{
    pq_conf_free(&p->c);
    pq_conf_msgs_free(&p->m);
}

static void show(const struct parsed *p)
{
    pq_conf_msgs_print(&p->m, "text", stdout);
}

void expect_clean(const struct parsed *p)
{
    if (p->m.n)
        show(p);
    assert_int_equal(p->m.n, 0);
    assert_int_equal(p->e, 0);
}

static bool matches(const struct pq_conf_msg *m, const struct want *w, bool error)
{
    return m->error == error && (w->line < 0 || m->line == w->line) && strstr(m->text, w->text);
}

/* Exactly these errors (or warnings), in any order. */
void expect(const struct parsed *p, bool error, const struct want *w, size_t n)
{
    size_t found = 0;
    for (unsigned i = 0; i < p->m.n; i++)
        found += p->m.v[i].error == error;
    for (size_t k = 0; k < n; k++) {
        unsigned hits = 0;
        for (unsigned i = 0; i < p->m.n; i++)
            hits += matches(&p->m.v[i], &w[k], error);
        if (hits != 1) {
            show(p);
            fail_msg("%u messages for line %d '%s'", hits, w[k].line, w[k].text);
        }
    }
    if (found != n)
        show(p);
    assert_int_equal(found, n);
}

void one_error(const char *text, int line, const char *part)
{
    struct parsed p;
    const struct want w = {line, part};
    parse(&p, text);
    expect(&p, true, &w, 1);
    release(&p);
}

void one_warning(const char *text, int line, const char *part)
{
    struct parsed p;
    const struct want w = {line, part};
    parse(&p, text);
    assert_int_equal(p.e, 0);
    expect(&p, false, &w, 1);
    release(&p);
}
