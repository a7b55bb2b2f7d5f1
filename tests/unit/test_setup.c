/* SPDX-License-Identifier: MIT */
/* test_setup.c - parts of `paqet init`: port lists, the texts of configurations, the list of what
 * was made, archives, links of configurations. */
#include "base/err.h"
#include "conf/conf.h"
#include "setup/check.h"
#include "setup/link_conf.h"
#include "setup/setup_internal.h"
#include "setup_tests.h"
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/paqet-setup-XXXXXX";

/* ---- ports */

static void ports(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tcp, *udp; /* tcp NULL: refused */
    } t[] = {
        {"443", "443", ""},
        {"443,2053,8000-8100", "443,2053,8000-8100", ""},
        {"53/udp,443", "443", "53"},
        {"80,81,82,79/tcp", "79-82", ""},
        {"1-10,5-20,7", "1-20", ""},
        {"53/tcp+udp", "53", "53"},
        {"1-65535", "1-65535", ""},
        {"65535,1", "1,65535", ""},
        {"", NULL, NULL},
        {"0", NULL, NULL},
        {"65536", NULL, NULL},
        {"10-5", NULL, NULL},
        {"80,", NULL, NULL},
        {",80", NULL, NULL},
        {"80-", NULL, NULL},
        {"-80", NULL, NULL},
        {" 80", NULL, NULL},
        {"80 ", NULL, NULL},
        {"80/sctp", NULL, NULL},
        {"80/udpx", NULL, NULL},
        {"99999999999999999999", NULL, NULL},
        {"80,http", NULL, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        char tcp[PQ_PORTS_TEXT], udp[PQ_PORTS_TEXT], why[160] = "";
        const int e = pq_ports_read(t[i].text, tcp, udp, why);
        assert_int_equal(e, t[i].tcp ? 0 : PQ_EINVAL);
        if (e)
            assert_true(*why);
        else
            assert_string_equal(tcp, t[i].tcp);
        if (!e)
            assert_string_equal(udp, t[i].udp);
    }
}

static void ports_bound(void **state)
{
    (void)state;
    char text[1024] = "", tcp[PQ_PORTS_TEXT], udp[PQ_PORTS_TEXT], why[160];
    for (unsigned i = 0; i < 64; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", i ? "," : "",
                 1000 + 2 * i);
    assert_int_equal(pq_ports_read(text, tcp, udp, why), 0);
    strcat(text, ",9000");
    assert_int_equal(pq_ports_read(text, tcp, udp, why), PQ_EINVAL);
    assert_non_null(strstr(why, "64 parts"));
}

static bool add_up(void *ctx, uint16_t port)
{
    unsigned *sum = ctx;
    *sum += port;
    return port != 7;
}

static void ports_each(void **state)
{
    (void)state;
    unsigned sum = 0;
    pq_ports_each("1,3-4", add_up, &sum);
    assert_int_equal(sum, 8);
    sum = 0;
    pq_ports_each("5-9,100", add_up, &sum);
    assert_int_equal(sum, 5 + 6 + 7);
    pq_ports_each("", add_up, &sum);
    for (int i = 0; i < 20; i++)
        assert_in_range(pq_ports_choose(), 10000, 65535);
}

/* ---- texts */

static void load(struct pq_conf *c, char *text)
{
    struct pq_conf_msgs m;
    assert_non_null(text);
    const int e = pq_conf_parse(c, text, strlen(text), &m);
    for (unsigned i = 0; i < m.n; i++)
        print_message("%d: %s\n%s\n", m.v[i].line, m.v[i].text, text);
    assert_int_equal(e, 0);
    assert_int_equal(m.n, 0); /* no warnings either */
    pq_conf_msgs_free(&m);
    pq_text_free(text);
}

static void plan_server(struct pq_server_plan *p)
{
    static const uint8_t net6[16] = {0xfd, 1, 2, 3, 4, 5, 6, 7};
    *p = (struct pq_server_plan){
        .ports = {20000, 20100}, .n_users = 2, .tun = true, .tun6 = true, .tun_name = "paqet7"};
    memcpy(p->tun4_net, (const uint8_t[4]){10, 99, 8, 0}, 4);
    memcpy(p->tun6_net, net6, sizeof net6);
    for (unsigned i = 0; i < PQ_SETUP_KEYS; i++)
        snprintf(p->key + (size_t)2 * i, 3, "%02x", i);
    ut_pattern(p->secret, sizeof p->secret, 1);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(p->user[i].name, sizeof p->user[i].name, i ? "sara" : "1e5"); /* no number */
        ut_pattern(p->user[i].public_key, sizeof p->user[i].public_key, 2 + i);
    }
}

static void server_text(void **state)
{
    (void)state;
    struct pq_server_plan p;
    struct pq_conf c;
    plan_server(&p);
    load(&c, pq_yaml_server(&p));
    assert_int_equal(c.role, PQ_ROLE_SERVER);
    assert_int_equal(c.own_ports.from, 20000);
    assert_int_equal(c.own_ports.to, 20100);
    assert_true(c.require_keys && c.has_secret && !c.open_rules && c.tun.masquerade);
    assert_memory_equal(c.secret, p.secret, sizeof c.secret);
    assert_string_equal(c.kcp.key, p.key);
    assert_int_equal(c.cipher, PQ_CIPHER_AES_128_GCM);
    assert_int_equal(c.n_users, 2);
    assert_string_equal(c.user[0].name, "1e5");
    assert_memory_equal(c.user[1].key, p.user[1].public_key, sizeof c.user[1].key);
    struct pq_net net4, net6;
    pq_plan_inner(&p, 1, &net4, &net6);
    assert_int_equal(c.user[1].n_tun, 2);
    assert_true(pq_addr_eq_ip(&c.user[1].tun[0].ip, &net4.ip) && net4.ip.ip[15] == 3);
    assert_true(pq_addr_eq_ip(&c.user[1].tun[1].ip, &net6.ip) && net6.bits == 64);
    assert_int_equal(c.tun.net4.ip.ip[15], 1);
    assert_int_equal(c.rules.allow.n, 1);
    pq_conf_free(&c);
    p.tun = false;
    p.ifname = "eth0";
    p.bridge = "443,8000-8100";
    p.state = "/tmp/a \"b\" \\c";
    load(&c, pq_yaml_server(&p));
    assert_string_equal(c.ifname, "eth0");
    assert_string_equal(c.state, p.state);
    assert_int_equal(c.rules.allow.n, 3);
    assert_string_equal(c.rules.allow.v[2], "127.0.0.1:8000-8100");
    assert_false(c.tun.enabled);
    pq_conf_free(&c);
    p.bridge = "all";
    load(&c, pq_yaml_server(&p));
    assert_string_equal(c.rules.allow.v[1], "127.0.0.1");
    pq_conf_free(&c);
#ifdef PQ_WITH_QUIC
    p.quic = true;
    load(&c, pq_yaml_server(&p));
    assert_true(c.over_quic && !c.quic.open && c.require_keys && c.has_secret && !c.state);
    assert_string_equal(c.kcp.key, p.key);
    pq_conf_free(&c);
#endif
}

static void plan_link(struct pq_setup_link *l, const char *text)
{
    struct pq_link_msgs m;
    assert_int_equal(pq_link_read(text, l, &m), 0);
}

#define K43 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

/* What a link says arrives in the configuration, and makes the same link again. */
static void client_text(void **state)
{
    (void)state;
    static const char *const links[] = {
        "paqet://v1/203.0.113.7:23571?s=" K43 "&u=" K43 "&t=10.9.8.2/24&t=fd01::2/64&k=" K43 "#n",
        "paqet://v1/[2001:db8::1]:443,a.example:8443?s=" K43 "&u=" K43
        "&b=aes&m=fast2&l=classic&mtu=1200&conn=3&fec=10/3&lf=PA%2CA&rf=S&key=a%20%22%5C%20b#n",
        "paqet://v1/a.example:1?b=none#n",
#ifdef PQ_WITH_QUIC
        "paqet://v1/a.example:20000-20100?s=" K43 "&u=" K43 "&p=quic&l=classic&mtu=1236&k=" K43
        "#n",
        "paqet://v1/203.0.113.7:9?p=quic&conn=3&key=a%20%22%5C%20bc#n",
#endif
    };
    for (size_t i = 0; i < 2 * COUNT_OF(links); i++) { /* with its TUN device, and without */
        const char *const link = links[i / 2];
        struct pq_setup_link l, again;
        struct pq_conf c;
        struct pq_conf_msgs m;
        char out[PQ_LINK_MAX], why[160];
        plan_link(&l, link);
        const bool tun = i % 2 && l.tun4.bits;
        struct pq_client_plan p = {
            .link = &l, .socks = "127.0.0.1:1081", .tun = tun, .tun_name = "paqet8"};
        char *text = pq_yaml_client(&p);
        assert_non_null(text);
        assert_int_equal(pq_conf_parse(&c, text, strlen(text), &m), 0);
        for (unsigned k = 0; k < m.n; k++) /* weak keys and ciphers are warned of, nothing else */
            assert_true(strstr(m.v[k].text, "transport.kcp.") || strstr(m.v[k].text, ".quic.key"));
        pq_conf_msgs_free(&m);
        pq_text_free(text);
        assert_int_equal(c.socks5[0].addr.port, 1081);
        assert_int_equal(c.over_quic, l.quic);
        assert_int_equal(c.tun.enabled, tun);
        assert_int_equal(pq_link_from_conf(&c, "n", &again, why), 0);
        assert_int_equal(pq_link_write(&again, PQ_LINK_OWN, out, why), 0);
        assert_string_equal(out, link);
        pq_conf_free(&c);
    }
}

static void bridge_text(void **state)
{
    (void)state;
    struct pq_setup_link l;
    struct pq_conf c;
    plan_link(&l, "paqet://v1/203.0.113.7:23571?k=" K43 "&s=" K43 "&u=" K43);
    struct pq_client_plan p = {.link = &l,
                               .ports = "443,8000-8100,53/udp",
                               .tcp = "443,8000-8100",
                               .udp = "53",
                               .target = "fd00::1"};
    load(&c, pq_yaml_client(&p));
    assert_int_equal(c.n_socks5, 0);
    assert_int_equal(c.n_forward, 2);
    assert_int_equal(c.n_ports, 1 + 101 + 1);
    assert_int_equal(c.port[101].port, 8100);
    pq_conf_free(&c);
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* The address of a device that is off belongs to the user whose key the file has, and is nobody's
 * without one; that of a device that is on is in use. */
static void link_of_device(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const bool own = i & 1, on = i & 2;
        struct pq_setup_link l;
        struct pq_conf c;
        char text[512], why[160];
        snprintf(text, sizeof text,
                 "role: client\nsocks5: [{listen: 127.0.0.1:1080}]\n"
                 "server: {addr: 192.0.2.1:443%s}\n"
                 "tun: {enabled: %s, name: tun0, addr: 10.0.0.2/24}\n"
                 "transport: {protocol: kcp, kcp: {key: a key of many letters}%s}\n",
                 own ? ", public_key: " HEX : "", on ? "true" : "false",
                 own ? ", private_key: " HEX : "");
        struct pq_conf_msgs m;
        assert_int_equal(pq_conf_parse(&c, text, strlen(text), &m), 0);
        pq_conf_msgs_free(&m);
        assert_int_equal(c.tun.enabled, on);
        assert_int_equal(pq_link_from_conf(&c, "n", &l, why), 0);
        assert_int_equal(l.has_secret, own);
        assert_int_equal(l.tun4.bits != 0, own || on);
        pq_conf_free(&c);
    }
}

/* A server's file holds no user's key. */
static void link_of_server(void **state)
{
    (void)state;
    struct pq_server_plan p;
    struct pq_setup_link l;
    struct pq_conf c;
    char why[160];
    plan_server(&p);
    load(&c, pq_yaml_server(&p));
    assert_int_equal(pq_link_from_conf(&c, "n", &l, why), PQ_EINVAL);
    assert_non_null(strstr(why, "private keys"));
    pq_conf_free(&c);
}

/* ---- silence */

static void silence(void **state)
{
    (void)state;
    static const struct {
        struct pq_check_silence s;
        const char *says;
    } t[] = {
        {{.by_keys = true}, "either the way or the keys"},
        {{.by_keys = false}, "nothing comes back"},
        {{.by_keys = true, .connects = true}, "either the way, the keys or a clock"},
        {{.connects = true, .empty = 3}, "only empty packets"},
        {{.empty = 3}, "only empty packets"},
        {{.by_keys = true, .empty = 3}, "only empty packets"},
        {{.foreign = 4, .empty = 1}, "another key or cipher"},
        {{.foreign = 1, .heard = true}, "answers no request"},
        {{.heard = true, .header_set = true}, "another family"},
        {{.quic = true}, "only who has its key,"},
        {{.quic = true, .by_keys = true}, "only who has its keys,"},
        {{.quic = true, .open = true, .trust = true}, "wants a key"},
        {{.quic = true, .open = true, .trust = true, .heard = true}, "its certificate"},
        {{.quic = true, .open = true, .trust = true, .foreign = 3}, "its certificate"},
        {{.quic = true, .open = true, .heard = true, .header_set = true}, "another family"},
        {{.quic = true, .foreign = 2}, "kcp in place of quic"},
        {{.quic = true, .empty = 2}, "only empty packets"},
    };
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        struct pq_findings *f = calloc(1, sizeof *f);
        assert_non_null(f);
        pq_check_explain(&t[i].s, f);
        assert_int_equal(f->n, 1);
        assert_int_equal(f->bad, 1);
        assert_non_null(strstr(f->v[0].text, t[i].says));
        assert_true(*f->v[0].remedy);
        free(f);
    }
}

/* ---- clocks */

/* Whoever has a user's key says of his clock what he likes. */
static void stamps(void **state)
{
    (void)state;
    static const uint64_t wall = 1800000000000;
    static const struct {
        uint64_t told;
        int64_t ahead;
        const char *says;
    } t[] = {
        {1800000002500, 2500, "2.5 s before"},
        {1799999997500, -2500, "2.5 s behind"},
        {1800000000000, 0, "0.0 s before"},
        {0, -1800000000000, "20833 days behind"},
        {INT64_MAX, INT64_MAX - 1800000000000, "days before"},
        {UINT64_C(1) << 63, INT64_MAX - 1800000000000 + 1, "days before"},
        {(UINT64_C(1) << 63) + 1800000000000, INT64_MAX, "days before"},
        {UINT64_MAX, INT64_MAX, "106751991167 days before"},
    };
    char text[48];
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        assert_true(pq_check_ahead(t[i].told, wall) == t[i].ahead);
        assert_non_null(strstr(pq_check_apart(t[i].ahead, text), t[i].says));
    }
    assert_true(pq_check_ahead(0, UINT64_MAX) == -INT64_MAX);
}

static void clocks(void **state)
{
    (void)state;
    static const struct {
        struct pq_probe_clock clock;
        unsigned bound;
        enum pq_finding_level level;
        const char *says;
    } t[] = {
        {{true, 0, 20, false}, 60, PQ_FINDING_OK, "is 0.0 s before this one, give or take 0.0 s"},
        {{true, -2500, 120, false},
         120,
         PQ_FINDING_OK,
         "2.5 s behind this one, give or take 0.1 s"},
        {{true, 30000, 1, false}, 60, PQ_FINDING_OK, "30.0 s before"},
        {{true, 30300, 1, false}, 60, PQ_FINDING_NOTE, "30.3 s before"},
        {{true, -45000, 1, false}, 60, PQ_FINDING_NOTE, "45.0 s behind"},
        {{true, -45000, 1, false}, 120, PQ_FINDING_OK, "45.0 s behind"},
        {{true, -60500, 100, false}, 60, PQ_FINDING_BAD, "60.5 s behind"},
        {{true, -60500, 1000, false},
         60,
         PQ_FINDING_NOTE,
         "60.5 s behind"}, /* perhaps it is less */
        {{true, 600000, 5, false}, 120, PQ_FINDING_BAD, "10 minutes before"},
        {{true, 7200000, 5, false}, 120, PQ_FINDING_BAD, "2.0 hours before"},
        {{true, -864000000, 5, false}, 120, PQ_FINDING_BAD, "10 days behind"},
        {{true, -864000000, 5, false},
         0,
         PQ_FINDING_OK,
         "10 days behind"}, /* nothing comes of it */
        {{.impossible = true}, 0, PQ_FINDING_NOTE, "cannot be true"},
        {{.impossible = true}, 60, PQ_FINDING_NOTE, "cannot be true"},
    };
    struct pq_findings *f = calloc(1, sizeof *f);
    assert_non_null(f);
    pq_check_clock(&(struct pq_probe_clock){.ahead = 100000000}, 60, f);
    assert_int_equal(f->n, 0); /* not known */
    for (unsigned i = 0; i < COUNT_OF(t); i++) {
        f->n = 0;
        pq_check_clock(&t[i].clock, t[i].bound, f);
        assert_int_equal(f->n, 1);
        assert_int_equal(f->v[0].level, t[i].level);
        assert_non_null(strstr(f->v[0].text, t[i].says));
        assert_int_equal(*f->v[0].remedy != 0, t[i].level != PQ_FINDING_OK);
    }
    free(f);
}

/* What there is no room for is left out, but not forgotten. */
static void findings_bound(void **state)
{
    (void)state;
    struct pq_findings *f = calloc(1, sizeof *f);
    assert_non_null(f);
    for (unsigned i = 0; i < PQ_FINDINGS_MAX + 5; i++)
        pq_finding_add(f, PQ_FINDING_BAD, "topic", NULL, "%u", i);
    assert_int_equal(f->n, PQ_FINDINGS_MAX);
    f->n = 0; /* what others say is no order to a terminal */
    pq_finding_add(f, PQ_FINDING_BAD, "topic", "b\a\n", "a\033[2J %s", "c\x9b\nd");
    assert_string_equal(f->v[0].text, "a?[2J c?\nd");
    assert_string_equal(f->v[0].remedy, "b?\n");
    f->bad--;
    assert_int_equal(f->bad, PQ_FINDINGS_MAX + 5);
    free(f);
}

/* ---- the list, files, archives */

static void made(void **state)
{
    (void)state;
    struct pq_made m;
    char path[64];
    struct stat st;
    assert_int_equal(pq_made_load(&m, folder), 0);
    assert_int_equal(m.n, 0);
    assert_int_equal(pq_made_add(&m, PQ_MADE_ALL, PQ_MADE_FOLDER, 0, "/etc/paqet"), 0);
    assert_int_equal(pq_made_add(&m, "server", PQ_MADE_PLAIN, 1, "/etc/with blank"), 0);
    assert_int_equal(pq_made_add(&m, "server", PQ_MADE_PLAIN, 1, "/etc/with blank"), 0);
    assert_int_equal(pq_made_add(&m, "server", PQ_MADE_SERVICE, 3, "/usr/bin/paqet"), 0);
    pq_made_free(&m);
    assert_int_equal(pq_made_load(&m, folder), 0);
    assert_int_equal(m.n, 3);
    assert_string_equal(m.v[1].what, "/etc/with blank");
    assert_int_equal(m.v[2].service, 3);
    assert_int_equal(pq_made_drop(&m, 0), 0);
    assert_int_equal(m.v[0].kind, PQ_MADE_PLAIN);
    assert_int_equal(pq_made_drop(&m, 1), 0);
    assert_int_equal(stat(m.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(pq_made_drop(&m, 0), 0);
    assert_int_equal(stat(m.path, &st), -1); /* the list goes with its last entry */
    pq_made_free(&m);
    static const char title[] =
        "# What \"paqet init\" has made here; \"paqet init --remove\" takes it back.\n";
    static const char *const bad[] = {"",
                                      "other\n",
                                      "x\tfile\t0\n",
                                      "x\tnoise\t0\tp\n",
                                      "x\tfile\t9\tp\n",
                                      "x\tfile\t0\tp\tq\n",
                                      "\tfile\t0\tp\n"};
    snprintf(path, sizeof path, "%s/" PQ_MADE_FILE, folder);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s", i > 1 ? title : "", bad[i]);
        assert_int_equal(pq_file_write(path, text, strlen(text), 0600, NULL), 0);
        assert_int_equal(pq_made_load(&m, folder), PQ_EPROTO);
        assert_int_equal(m.n, 0);
    }
    unlink(path);
}

static void whole_files(void **state)
{
    (void)state;
    char path[64], copy[64];
    size_t n;
    struct stat st;
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(copy, sizeof copy, "%s/copy", folder);
    assert_int_equal(pq_file_write(path, "12345", 5, 0640, NULL), 0);
    assert_int_equal(pq_file_write(path, "1234", 4, 0600, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 4);
    assert_null(pq_file_read(path, 3, &n));
    assert_int_equal(errno, EFBIG);
    char *text = pq_file_read(path, 4, &n);
    assert_string_equal(text, "1234");
    free(text);
    assert_int_equal(pq_file_copy(path, copy, 0755), 0);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(pq_file_write("/nonexistent/x", "", 0, 0600, NULL), -ENOENT);
    unlink(path);
    unlink(copy);
}

static void archive(void **state)
{
    (void)state;
    char path[64], command[160], out[256] = "";
    char name[120];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    snprintf(path, sizeof path, "%s/a.tar", folder);
    const struct pq_tar_file too_long = {name, "", 0, 0600};
    assert_int_equal(pq_tar_write(path, &too_long, 1, NULL), PQ_EINVAL);
    static const uint8_t bytes[513] = {1};
    const struct pq_tar_file files[] = {{"d/program", bytes, sizeof bytes, 0755},
                                        {"d/empty", "", 0, 0600}};
    assert_int_equal(pq_tar_write(path, files, 2, NULL), 0);
    snprintf(command, sizeof command, "tar tvf %s 2>&1 | tr -s ' ' | cut -d' ' -f1,3,6", path);
    FILE *f = popen(command, "r"); /* NOLINT(cert-env33-c): what it says of our bytes is the test */
    const size_t n = fread(out, 1, sizeof out - 1, f);
    out[n] = 0;
    pclose(f);
    assert_string_equal(out, "-rwxr-xr-x 513 d/program\n-rw------- 0 d/empty\n");
    unlink(path);
}

/* Nothing is left of what stands for something else, and shells can read what is for them. */
static void service_files(void **state)
{
    (void)state;
    char path[64], command[128];
    for (int kind = PQ_SERVICE_SYSTEMD; kind <= PQ_SERVICE_PROCD; kind++) {
        const struct pq_service s = {.kind = (enum pq_service_kind)kind,
                                     .name = "one",
                                     .folder = "/etc/two",
                                     .program = "/opt/three"};
        char text[PQ_SERVICE_TEXT];
        assert_true(pq_service_text(&s, true, text));
        assert_true(strlen(text) < sizeof text - 1);
        assert_null(strstr(text, "@PROGRAM@"));
        assert_null(strstr(text, "@FOLDER@"));
        assert_null(strstr(text, "@NAME@"));
        assert_null(strstr(text, "@USER@"));
        assert_null(strstr(text, "@AS@"));
        assert_null(strstr(text, "@OWNER@"));
        assert_non_null(strstr(text, "/opt/three"));
        assert_non_null(
            strstr(text, kind == PQ_SERVICE_SYSTEMD ? "/etc/two/%i.yaml" : "/etc/two/one.yaml"));
        if (kind == PQ_SERVICE_SYSTEMD)
            assert_non_null(strstr(text, "\nUser=paqet\n"));
        if (kind == PQ_SERVICE_OPENRC)
            assert_non_null(strstr(text, "\"run --user paqet -c /etc/two/one.yaml\""));
        assert_true(pq_service_text(&s, false, text));
        assert_null(strstr(text, "User=paqet"));
        assert_null(strstr(text, "--user"));
        assert_null(strstr(text, "--owner"));
        snprintf(path, sizeof path, "%s/script", folder);
        assert_int_equal(pq_file_write(path, text, strlen(text), 0600, NULL), 0);
        snprintf(command, sizeof command, "sh -n %s", path);
        if (kind != PQ_SERVICE_SYSTEMD)
            assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): its own judgement */
        unlink(path);
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* which is empty again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports),          cmocka_unit_test(ports_bound),
        cmocka_unit_test(ports_each),     cmocka_unit_test(server_text),
        cmocka_unit_test(client_text),    cmocka_unit_test(bridge_text),
        cmocka_unit_test(link_of_device), cmocka_unit_test(link_of_server),
        cmocka_unit_test(made),           cmocka_unit_test(whole_files),
        cmocka_unit_test(archive),        cmocka_unit_test(service_files),
        cmocka_unit_test(silence),        cmocka_unit_test(clocks),
        cmocka_unit_test(stamps),         cmocka_unit_test(findings_bound),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder) + setup_attack();
}
