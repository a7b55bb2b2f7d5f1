/* SPDX-License-Identifier: MIT */
/* conf_listen.c - lists and ranges of ports, thousands of them; where the program itself is asked.
 */
#include "conf_tests.h"

#define CLIENT "role: client\nserver: {addr: 'h:1'}\ntransport: {kcp: {key: k}}\n"

/* Lists and ranges of ports, several addresses, both protocols: which listener leads where. */
static void forward_lists(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *want; /* protocol, where it listens > port of the target, ... */
    } v[] = {
        {"listen: ':443,2053,8000-8002', target: h, protocol: tcp",
         "t443>443 t2053>2053 t8000>8000 t8001>8001 t8002>8002"},
        {"listen: ':443, 2053', target: '[2001:db8::1]', protocol: tcp", "t443>443 t2053>2053"},
        {"listen: ':80-82', target: 'h:7000-7002', protocol: udp", "u80>7000 u81>7001 u82>7002"},
        {"listen: ':80-81,90', target: 'h:1,5-6', protocol: udp", "u80>1 u81>5 u90>6"},
        {"listen: ':80-82', target: 'h:443', protocol: tcp", "t80>443 t81>443 t82>443"},
        {"listen: ':53', target: h, protocol: 'tcp,udp'", "t53>53 u53>53"},
        {"listen: ':53', target: h, protocol: [udp, tcp]", "t53>53 u53>53"},
        {"listen: [':1', '[::1]:2-3'], target: 'h:5-7', protocol: tcp", "t1>5 t2>6 t3>7"},
        {"name: web, listen: ':65535', target: h, protocol: tcp", "t65535>65535"},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        struct parsed p;
        char text[512], got[256] = "";
        snprintf(text, sizeof text, CLIENT "forward:\n  - {%s}\n", v[i].keys);
        parse(&p, text);
        expect_clean(&p);
        for (unsigned k = 0; k < p.c.n_ports; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%c%u>%u", k ? " " : "",
                     p.c.port[k].udp ? 'u' : 't', p.c.port[k].addr.port, p.c.port[k].port);
        assert_string_equal(got, v[i].want);
        release(&p);
    }
}

static void bad_forward_lists(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *part;
    } v[] = {
        {"listen: ':443,', target: h, protocol: tcp", "forward[0].listen: ':443,' has no list"},
        {"listen: ':443,0', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: ':443,65536', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: ':443,99999999999', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: ':9-8', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: ':1-2-3', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: ':-3', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: ':a-b', target: h, protocol: tcp", "forward[0].listen: "},
        {"listen: 'name:1-2', target: h, protocol: tcp", "forward[0].listen: 'name' is not an IP"},
        {"listen: ':1-3', target: 'h:1-2', protocol: tcp",
         "forward[0].target: has 2 ports, but listen has 3"},
        {"listen: ':1-3', target: 'h:1,2-', protocol: tcp", "forward[0].target: "},
        {"listen: ':1', target: 'a b', protocol: tcp", "forward[0].target: "},
        {"listen: ':1', target: '[h]', protocol: tcp", "forward[0].target: "},
        {"listen: ':1', target: h, protocol: 'tcp,sctp'", "forward[0].protocol: 'sctp' is not"},
        {"listen: ':1', target: h, protocol: [tcp, udp, tcp]", "protocol: more than 2 entries"},
        {"listen: [], target: h, protocol: tcp", "forward[0].listen: is missing"},
        {"listen: ':80,80', target: h, protocol: tcp",
         "forward[0].listen: forward[0] already listens there, on port 80"},
        {"listen: ':1-5000', target: h, protocol: tcp", "more than 4096 ports"},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char text[512];
        snprintf(text, sizeof text, CLIENT "forward:\n  - {%s}\n", v[i].keys);
        one_error(text, 5, v[i].part);
    }
}

/* All ports, but for some. */
static void all_ports(void **state)
{
    (void)state;
    static const struct {
        const char *keys,
            *want; /* sockets: protocol, IP version > port of the target; exceptions */
    } v[] = {
        {"listen: all, target: h, protocol: tcp", "t4>0 t6>0 22-22"},
        {"listen: [all], target: 'h:443', protocol: udp, except: null", "u4>443 u6>443 22-22"},
        {"listen: all, target: h, protocol: 'tcp,udp', except: '22,8000-8100'",
         "t4>0 u4>0 t6>0 u6>0 22-22 8000-8100"},
        {"listen: all, target: h, protocol: tcp, except: [2222, '1-9,11']",
         "t4>0 t6>0 2222-2222 1-9 11-11"},
        {"listen: all, target: h, protocol: tcp, except: []", "t4>0 t6>0"},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        struct parsed p;
        char text[512], got[256] = "";
        snprintf(text, sizeof text, CLIENT "forward:\n  - {%s}\n", v[i].keys);
        parse(&p, text);
        expect_clean(&p);
        for (unsigned k = 0; k < p.c.n_ports; k++) {
            const struct pq_conf_port *q = &p.c.port[k];
            assert_true(q->all && q->addr.port == 0);
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%c%c>%u", k ? " " : "",
                     q->udp ? 'u' : 't', pq_addr_is4(&q->addr) ? '4' : '6', q->port);
        }
        const struct pq_conf_forward *f = &p.c.forward[0];
        for (unsigned k = 0; k < f->n_not_taken; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), " %u-%u", f->not_taken[k].from,
                     f->not_taken[k].to);
        assert_string_equal(got, v[i].want);
        release(&p);
    }
}

static void bad_all_ports(void **state)
{
    (void)state;
    static const struct {
        const char *entries, *part;
    } v[] = {
        {"{listen: all, target: 'h:1-2', protocol: tcp}", "forward[0].target: has 2 ports; with"},
        {"{listen: all, target: h, protocol: tcp, except: x}", "forward[0].except: 'x' is no list"},
        {"{listen: all, target: h, protocol: tcp, except: '9-8'}", "forward[0].except: "},
        {"{listen: all, target: h, protocol: tcp, except: ''}", "forward[0].except: '' is no list"},
        {"{listen: ':1', target: h, protocol: tcp, except: 2}",
         "forward[0].except: is of use only"},
        {"{listen: [all, ':1'], target: h, protocol: tcp}", "forward[0].listen: 'all' "},
        {"{listen: all, target: h, protocol: tcp}\n"
         "  - {listen: all, target: i, protocol: 'tcp,udp'}",
         "forward[1].listen: forward[0] has all ports for tcp already"},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char text[512];
        snprintf(text, sizeof text, CLIENT "forward:\n  - %s\n", v[i].entries);
        one_error(text, 5 + (strchr(v[i].entries, '\n') != NULL), v[i].part);
    }
    char text[1024];
    int n = snprintf(text, sizeof text,
                     CLIENT "forward:\n  - {listen: all, target: h, protocol: tcp, except: '1");
    for (int i = 0; i < 64; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, ",%d", 3 + 2 * i);
    snprintf(text + n, sizeof text - (size_t)n, "'}\n");
    one_error(text, 5, "of at most 64 parts");
}

/* A thousand are read at once; of a thousand wrong ones a bounded number is told, all are counted.
 */
static void thousand_forwards(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct parsed p;
        char *text = malloc(200000), *w = text + sprintf(text, CLIENT "forward:\n");
        for (int i = 0; i < PQ_CONF_FORWARD_MAX; i++)
            w += sprintf(w, "  - {listen: ':%d', target: 'h%d:%d', protocol: 'tcp,udp'}\n",
                         10000 + (wrong ? 0 : i), i, wrong ? 0 : 80);
        parse(&p, text);
        assert_int_equal(p.m.n, wrong ? PQ_CONF_MSGS_MAX : 0);
        assert_int_equal(p.m.errors, wrong ? 3 * PQ_CONF_FORWARD_MAX - 2 : 0);
        assert_int_equal(p.c.n_ports, 2 * PQ_CONF_FORWARD_MAX);
        release(&p);
        sprintf(w, "  - {listen: ':1', target: 'h:1', protocol: tcp}\n");
        if (!wrong)
            one_error(text, 5 + PQ_CONF_FORWARD_MAX, "forward: too many entries");
        free(text);
    }
}

/* The page about the program: near, or with a token. */
static void status_keys(void **state)
{
    (void)state;
#ifndef PQ_WITH_HTTP
    skip(); /* then it is an error that says so */
#endif
    static const struct {
        const char *keys, *error;
    } v[] = {
        {"listen: '127.0.0.1:9180'", NULL},
        {"listen: '[::1]:9180'", NULL},
        {"listen: 'localhost:9180'", NULL},
        {"listen: ':9180', token: 0123456789abcdefg", NULL},
        {"listen: ':9180'", "can be reached from elsewhere"},
        {"listen: '[::]:9180'", "can be reached from elsewhere"},
        {"listen: '192.0.2.1:9180', token: ''", "can be reached from elsewhere"},
        {"listen: '127.0.0.1:9180', token: short", "status.token: is shorter than 16"},
        {"listen: 'name:1'", "status.listen: 'name' is not an IP"},
        {"listen: '127.0.0.1'", "status.listen: "},
    };
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        char text[512];
        struct parsed p;
        snprintf(text, sizeof text, CLIENT "status: {%s}\n", v[i].keys);
        if (v[i].error) {
            one_error(text, 4, v[i].error);
            continue;
        }
        parse(&p, text);
        assert_true(p.e == 0 && p.c.has_status);
        assert_int_equal(p.c.status_addr.port, 9180);
        release(&p);
    }
    one_error(CLIENT "control: run/x\n", 4, "control: must be off, or a path");
}

int conf_listen(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_lists),     cmocka_unit_test(bad_forward_lists),
        cmocka_unit_test(all_ports),         cmocka_unit_test(bad_all_ports),
        cmocka_unit_test(thousand_forwards), cmocka_unit_test(status_keys),
    };
    return ut_run(tests);
}
