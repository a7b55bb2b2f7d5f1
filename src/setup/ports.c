/* SPDX-License-Identifier: MIT */
#include "setup/setup_internal.h"

#include "base/err.h"
#include "base/rng.h"
#include "os/port.h"
#include "os/spawn.h"

#include <stdlib.h>
#include <string.h>

#define PORTS         65536U
#define CHOOSE_FROM   10000U
#define TRIES         1000
#define SSH_PORT      "22"
#define SSHD_WAIT     (5 * PQ_SEC)
#define SSHD_SAYS_MAX ((size_t)64 << 10)
#define PARTS_MAX     64 /* of a list in the configuration */

/* ---- lists */

/* "80" or "80-90" at the start of text; returns what follows, or NULL. */
static const char *read_range(const char *text, unsigned long *from, unsigned long *to)
{
    char *end;
    if (*text < '0' || *text > '9')
        return NULL;
    *from = *to = strtoul(text, &end, 10);
    if (*end == '-') {
        if (end[1] < '0' || end[1] > '9')
            return NULL;
        *to = strtoul(end + 1, &end, 10);
    }
    return *from && *from <= *to && *to < PORTS ? end : NULL;
}

static bool write_list(const uint8_t *set, uint8_t bit, char out[PQ_PORTS_TEXT])
{
    size_t len = 0;
    unsigned parts = 0;
    out[0] = 0;
    for (unsigned i = 1; i < PORTS; i++) {
        if (!(set[i] & bit))
            continue;
        unsigned to = i;
        while (to + 1 < PORTS && set[to + 1] & bit)
            to++;
        const int n =
            to > i ? snprintf(out + len, PQ_PORTS_TEXT - len, "%s%u-%u", len ? "," : "", i, to)
                   : snprintf(out + len, PQ_PORTS_TEXT - len, "%s%u", len ? "," : "", i);
        len += (size_t)n;
        if (len >= PQ_PORTS_TEXT || ++parts > PARTS_MAX)
            return false;
        i = to;
    }
    return true;
}

static int read_into(const char *text, uint8_t *set, char why[160])
{
    for (const char *p = text;; p++) {
        unsigned long from, to;
        const size_t n = strcspn(p, ",");
        const char *end = read_range(p, &from, &to);
        const size_t rest = end ? n - (size_t)(end - p) : 1;
        uint8_t bits = 1;
        if (end && rest == 4 && !strncmp(end, "/udp", 4))
            bits = 2;
        else if (end && rest == 8 && !strncmp(end, "/tcp+udp", 8))
            bits = 3;
        else if (!end || (rest && !(rest == 4 && !strncmp(end, "/tcp", 4)))) {
            snprintf(why, 160,
                     "'%.*s' is no port or range such as 443, 8000-8100 or 443/udp, in the digits "
                     "0 to 9",
                     (int)(n > 40 ? 40 : n), p);
            return PQ_EINVAL;
        }
        for (unsigned long i = from; i <= to; i++)
            set[i] |= bits;
        p += n;
        if (!*p)
            return 0;
    }
}

/* ---- SSH */

static void add_port(uint8_t *set, const char *text)
{
    char *end;
    const unsigned long port = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    if (port && port < PORTS)
        set[port] = 1;
}

/* What `sshd -T` prints: "port 22", and "listenaddress 0.0.0.0:2222". */
static void add_ports_of_sshd(uint8_t *set, char *said)
{
    for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n")) {
        const char *colon = strrchr(line, ':');
        if (strncmp(line, "port ", 5) == 0)
            add_port(set, line + 5);
        else if (strncmp(line, "listenaddress ", 14) == 0 && colon)
            add_port(set, colon + 1);
    }
}

void pq_ports_of_ssh(char out[PQ_PORTS_TEXT])
{
    static const char *const argv[] = {"sshd", "-T", NULL};
    const char *us = getenv("SSH_CONNECTION"); /* client's address and port, ours */
    char *said = malloc(SSHD_SAYS_MAX);
    uint8_t *set = calloc(PORTS, 1);
    strcpy(out, SSH_PORT);
    if (said && set) {
        add_port(set, SSH_PORT);
        us = us ? strrchr(us, ' ') : NULL;
        if (us)
            add_port(set, us + 1);
        if (pq_spawn_finds(argv[0]) && pq_spawn(argv, said, SSHD_SAYS_MAX, SSHD_WAIT) == 0)
            add_ports_of_sshd(set, said);
        if (!write_list(set, 1, out))
            strcpy(out, SSH_PORT);
    }
    free(said);
    free(set);
}

/* ---- read */

int pq_ports_read(const char *text, char tcp[PQ_PORTS_TEXT], char udp[PQ_PORTS_TEXT], char why[160])
{
    uint8_t *set = calloc(PORTS, 1);
    if (!set) {
        snprintf(why, 160, "no memory");
        return PQ_EINVAL;
    }
    int e = read_into(text, set, why);
    if (!e && !(write_list(set, 1, tcp) && write_list(set, 2, udp))) {
        snprintf(why, 160, "more than %d parts; make ranges of them", PARTS_MAX);
        e = PQ_EINVAL;
    }
    free(set);
    return e;
}

void pq_ports_each(const char *list, bool (*fn)(void *ctx, uint16_t port), void *ctx)
{
    unsigned long from, to;
    while (*list && (list = read_range(list, &from, &to))) {
        for (unsigned long i = from; i <= to; i++)
            if (!fn(ctx, (uint16_t)i))
                return;
        list += *list == ',';
    }
}

/* ---- a port for a server */

/* The ports that the kernel gives to connections by itself. */
static void given_away(unsigned *from, unsigned *to)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (!f || fscanf(f, "%u %u", from, to) != 2) {
        *from = 32768;
        *to = 60999;
    }
    if (f)
        fclose(f);
}

uint16_t pq_ports_choose(void)
{
    unsigned from, to;
    struct pq_rng rng;
    uint16_t found = 0;
    given_away(&from, &to);
    pq_rng_init(&rng);
    for (int i = 0; i < TRIES && !found; i++) {
        const unsigned port = CHOOSE_FROM + pq_rng_u32(&rng) % (PORTS - CHOOSE_FROM);
        struct pq_port held;
        /* where nearly all are given away, one of them has to do: the server holds it */
        if (port >= from && port <= to && i < TRIES / 2)
            continue;
        if (pq_port_reserve(&held, (uint16_t)port) == 0) {
            found = (uint16_t)port;
            pq_port_release(&held);
        }
    }
    return found;
}
