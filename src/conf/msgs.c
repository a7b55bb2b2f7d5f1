/* SPDX-License-Identifier: MIT */
/* msgs.c - what there is to say of a configuration. */
#include "conf/conf_internal.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for an error.  Returns false if there are only errors. */
static bool drop_warning(struct pq_conf_msgs *m)
{
    unsigned i = m->n;
    while (i && m->v[i - 1].error)
        i--;
    if (!i)
        return false;
    free(m->v[i - 1].text);
    memmove(&m->v[i - 1], &m->v[i], (m->n - i) * sizeof m->v[0]);
    m->n--;
    return true;
}

void pq_conf_say(struct pq_conf_msgs *m, bool error, int line, const char *fmt, ...)
{
    char text[512];
    const size_t n = strlen(m->prefix);
    va_list ap;
    memcpy(text, m->prefix, n);
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof text - n, fmt, ap);
    va_end(ap);
    pq_text_tame(text); /* the file may be a stranger's, the reader a terminal */
    m->errors += error;
    if (m->n == PQ_CONF_MSGS_MAX) {
        m->left_out++;
        if (!error || !drop_warning(m))
            return;
    }
    m->v[m->n++] = (struct pq_conf_msg){error, line, strdup(text)};
}

static int by_line(const void *a, const void *b)
{
    const struct pq_conf_msg *x = a, *y = b;
    return (x->line > y->line) - (x->line < y->line);
}

void pq_conf_msgs_print(const struct pq_conf_msgs *m, const char *path, FILE *f)
{
    struct pq_conf_msgs sorted = *m;
    qsort(sorted.v, sorted.n, sizeof sorted.v[0], by_line);
    for (unsigned i = 0; i < sorted.n; i++) {
        const struct pq_conf_msg *v = &sorted.v[i];
        fprintf(f, "%s:", path);
        if (v->line)
            fprintf(f, "%d:", v->line);
        fprintf(f, " %s: %s\n", v->error ? "error" : "warning", v->text ? v->text : "?");
    }
    if (m->left_out)
        fprintf(f, "%s: %u more messages are not shown\n", path, m->left_out);
}

void pq_conf_msgs_free(struct pq_conf_msgs *m)
{
    for (unsigned i = 0; i < m->n; i++)
        free(m->v[i].text);
    m->n = m->errors = m->left_out = 0;
}
