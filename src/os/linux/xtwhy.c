/* SPDX-License-Identifier: MIT */
#include "os/linux/xtwhy.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WORDS 40
#define LINE  512

int pq_xt_one(const struct pq_xt_tool *t, const char *table, const char *line, pq_xt_run *run,
              char *said, size_t cap)
{
    char text[LINE], *rest = text, *word;
    const char *argv[WORDS] = {t->program, "-t", table};
    unsigned n = 3;
    if (t->waits)
        argv[n++] = "-w";
    snprintf(text, sizeof text, "%s", line);
    while ((word = strsep(&rest, " ")) && n < WORDS - 1)
        if (*word)
            argv[n++] = word;
    argv[n] = NULL;
    return run(argv, NULL, said, cap);
}

/* Its first line, without what a user has no use for. */
static void shorten(char out[160], const char *said)
{
    snprintf(out, 160, "%.*s", (int)strcspn(said, "\n"), said);
}

void pq_xt_why_no_table(char why[PQ_OS_WHY_LEN], const char *program, const char *table,
                        const char *said)
{
    const bool six = program[2] == '6';
    char first[160];
    if (!said) {
        snprintf(why, PQ_OS_WHY_LEN,
                 "there is no program %s (Debian: apt install iptables; OpenWrt: opkg install "
                 "%s)",
                 program, six ? "ip6tables" : "iptables");
        return;
    }
    shorten(first, said);
    snprintf(why, PQ_OS_WHY_LEN,
             "%s cannot use the table %s: the kernel's module ip%stable_%s is missing (modprobe "
             "ip%stable_%s%s)? It says: %s",
             program, table, six ? "6" : "", table, six ? "6" : "", table,
             strcmp(table, "nat") != 0 ? ""
             : six                     ? "; OpenWrt: opkg install kmod-ipt-nat6"
                                       : "; OpenWrt: opkg install kmod-ipt-nat",
             first);
}

/* What has to be installed for a match or target. */
static const struct {
    const char *name, *module, *openwrt;
} parts[] = {
    {"socket", "xt_socket", "iptables-mod-tproxy"},
    {"TPROXY", "xt_TPROXY", "iptables-mod-tproxy"},
    {"addrtype", "xt_addrtype", "iptables-mod-extra"},
    {"conntrack", "xt_conntrack", "iptables-mod-conntrack-extra"},
    {"mark", "xt_mark", "iptables-mod-ipopt"},
    {"MASQUERADE", "xt_MASQUERADE", "kmod-ipt-nat"},
    {"REDIRECT", "xt_REDIRECT", "kmod-ipt-nat"},
    {"REJECT", "ipt_REJECT or ip6t_REJECT", "kmod-ipt-core"},
};

static void name_part(char *out, size_t cap, const char *rule)
{
    char word[32];
    size_t len = 0;
    *out = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *at = NULL;
        for (int target = 0; target < 2 && !at; target++) {
            const size_t n =
                (size_t)snprintf(word, sizeof word, " -%c %s", target ? 'j' : 'm', parts[i].name);
            at = strstr(rule, word);
            if (at && at[n] && at[n] != ' ')
                at = NULL;
        }
        if (at && len < cap)
            len += (size_t)snprintf(
                out + len, cap - len, "%s%s (kernel: module %s; OpenWrt: opkg install %s)",
                len ? ", " : "", parts[i].name, parts[i].module, parts[i].openwrt);
    }
}

/* The conditions of a rule and what it does, but for a jump to one of our chains, which is not
 * there for the trial. */
static bool trial_of(char out[LINE], const char *line, const char *name)
{
    char jump[2][40];
    if (strncmp(line, "-A ", 3) != 0 && strncmp(line, "-I ", 3) != 0)
        return false;
    line += 3 + strcspn(line + 3, " ");
    snprintf(out, LINE, "%s", line);
    snprintf(jump[0], sizeof jump[0], " -j %s-", name);
    snprintf(jump[1], sizeof jump[1], " -g %s-", name);
    for (int i = 0; i < 2; i++) {
        char *at = strstr(out, jump[i]);
        if (at)
            snprintf(at, LINE - (size_t)(at - out), " -j RETURN");
    }
    return true;
}

void pq_xt_why_refused(char why[PQ_OS_WHY_LEN], const struct pq_xt_tool *t, const char *name,
                       const char *table, const char *text, const char *said, pq_xt_run *run)
{
    char line[LINE], trial[LINE], rule[LINE + 64], more[LINE], part[256], first[160];
    bool refused = false;
    snprintf(more, sizeof more, "-N %s-try", name);
    if (pq_xt_one(t, table, more, run, first, sizeof first) == 0) {
        for (const char *p = text; *p && !refused; p += strcspn(p, "\n"), p += *p == '\n') {
            snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
            if (!trial_of(trial, line, name))
                continue;
            snprintf(rule, sizeof rule, "-A %s-try%s", name, trial);
            refused = pq_xt_one(t, table, rule, run, more, sizeof more) != 0;
        }
        snprintf(rule, sizeof rule, "-F %s-try", name);
        pq_xt_one(t, table, rule, run, first, sizeof first);
        snprintf(rule, sizeof rule, "-X %s-try", name);
        pq_xt_one(t, table, rule, run, first, sizeof first);
    }
    shorten(first, refused ? more : said);
    name_part(part, sizeof part, refused ? trial : "");
    if (refused)
        snprintf(why, PQ_OS_WHY_LEN, "%s refuses \"%.160s\" in its table %s%s%s. It says: %s",
                 t->program, trial + 1, table, *part ? "; it needs " : "", part, first);
    else
        snprintf(why, PQ_OS_WHY_LEN, "%s refuses the rules of its table %s. It says: %s",
                 t->restore, table, first);
}

void pq_xt_why_both(char why[PQ_OS_WHY_LEN], int nft_error, const char *said)
{
    if (nft_error == -EPERM)
        snprintf(why, PQ_OS_WHY_LEN,
                 "no permission: run as root, or give the program CAP_NET_ADMIN");
    else
        snprintf(why, PQ_OS_WHY_LEN, "nftables: %s%s%.400s",
                 nft_error == PQ_ENOTSUP ? "refused by this kernel" : pq_strerror(nft_error),
                 *said ? "; " : "", said);
}
