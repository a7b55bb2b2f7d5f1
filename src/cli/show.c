/* SPDX-License-Identifier: MIT */
#include "cli/show.h"

#include "base/time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *pq_show_bytes(double bytes, char buf[PQ_SHOW_LEN])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    unsigned i = 0;
    while (bytes >= 1000 && i < 5) {
        bytes /= 1000;
        i++;
    }
    snprintf(buf, PQ_SHOW_LEN, i && bytes < 10 ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    return buf;
}

const char *pq_show_time(double seconds, char buf[PQ_SHOW_LEN])
{
    const unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
    if (s < 60)
        snprintf(buf, PQ_SHOW_LEN, "%lu s", s);
    else if (s < 3600)
        snprintf(buf, PQ_SHOW_LEN, "%lu min", s / 60);
    else if (s < 86400)
        snprintf(buf, PQ_SHOW_LEN, "%lu h %lu min", s / 3600, s % 3600 / 60);
    else
        snprintf(buf, PQ_SHOW_LEN, "%lu d %lu h", s / 86400, s % 86400 / 3600);
    return buf;
}

const char *pq_show_rate(double bytes, double seconds, char buf[PQ_SHOW_LEN])
{
    const double kbit = seconds > 0 && bytes > 0 ? bytes * 8 / 1000 / seconds : 0;
    if (kbit < 1000)
        snprintf(buf, PQ_SHOW_LEN, "%.0f kbit/s", kbit);
    else
        snprintf(buf, PQ_SHOW_LEN, "%.*f Mbit/s", kbit < 100000 ? 1 : 0, kbit / 1000);
    return buf;
}

static double now_s(void)
{
    return (double)pq_clock() / (double)PQ_SEC;
}

/* An answer that is no error; else it was said why. */
static int ask(const struct pq_show *s, int fd, struct pq_cli_answer *a)
{
    char why[512];
    int code = pq_cli_ask(fd, s->command, s->request, a);
    if (code || pq_cli_is_ok(a))
        return code;
    fprintf(stderr, "paqet %s: %s\n", s->command,
            pq_cli_text(a, a->doc.v, "error", why, sizeof why));
    pq_cli_answer_free(a);
    return 1;
}

static void pause_for(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int run(const struct pq_show *s, int fd)
{
    struct pq_cli_answer before, now;
    int code = ask(s, fd, &before);
    double then = now_s();
    const bool terminal = isatty(STDOUT_FILENO);
    if (!code && s->json)
        puts(before.text);
    while (!code && (s->watch || !s->json)) {
        fflush(stdout);
        pause_for(s->pause_ms);
        code = ask(s, fd, &now);
        if (code)
            break;
        const double at = now_s();
        if (s->watch && terminal && !s->json)
            fputs("\033[H\033[2J", stdout); /* a clean screen */
        if (s->json)
            puts(now.text);
        else
            s->print(s->ctx, &before, &now, at - then);
        then = at;
        pq_cli_answer_free(&before);
        before = now;
        if (!s->watch || ferror(stdout))
            break;
    }
    pq_cli_answer_free(&before);
    return code || fflush(stdout) ? 1 : 0;
}

int pq_show_run(const struct pq_show *s, const struct pq_cli_target *t)
{
    int fd = pq_cli_connect(t, s->command);
    if (fd < 0)
        return 1;
    int code = run(s, fd);
    close(fd);
    return code;
}

const struct pq_json_node *pq_show_same(const struct pq_cli_answer *a,
                                        const struct pq_json_node *list,
                                        const struct pq_json_node **hint,
                                        const struct pq_cli_answer *other,
                                        const struct pq_json_node *of)
{
    char wanted[32], id[32];
    pq_cli_text(other, of, "id", wanted, sizeof wanted);
    const struct pq_json_node *from = *hint ? *hint : pq_json_first(&a->doc, list);
    for (const struct pq_json_node *i = from; i;) {
        const struct pq_json_node *next = pq_json_after(&a->doc, list, i);
        if (strcmp(pq_cli_text(a, i, "id", id, sizeof id), wanted) == 0) {
            *hint = next;
            return i;
        }
        i = next ? next : pq_json_first(&a->doc, list);
        if (i == from)
            break;
    }
    return NULL;
}

double pq_show_grown(const struct pq_cli_answer *before, const struct pq_json_node *old,
                     const struct pq_cli_answer *now, const struct pq_json_node *of,
                     const char *key)
{
    return pq_cli_real(now, of, key) - (old ? pq_cli_real(before, old, key) : 0);
}

const char *pq_show_whose(const struct pq_cli_answer *a, const struct pq_json_node *of)
{
    return pq_json_get(&a->doc, of, "tunnel") ? "tunnel" : "user";
}

const char *pq_show_whose_head(const struct pq_cli_answer *a, const struct pq_json_node *list)
{
    const struct pq_json_node *first = pq_json_first(&a->doc, list);
    return first && pq_json_get(&a->doc, first, "tunnel") ? "TUNNEL" : "USER";
}
