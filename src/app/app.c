/* SPDX-License-Identifier: MIT */
#include "app/app.h"

#include "base/text.h"
#include "os/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A client sends NOPs at least so often, whatever smuxkalive says: their acknowledgements tell it
 * that the server lives, also one that sends its own NOPs seldom.  See SILENCE_MAX in
 * client_session.c. */
#define NOP_MAX (2 * PQ_SEC)

#define MEMORY_MIN    ((uint64_t)16 << 20) /* bound of the bytes in chunks of one worker ... */
#define MEMORY_MAX    ((uint64_t)512 << 20)
#define SESSION_SHARE ((uint64_t)256 << 10)
#define SESSIONS_MAX  65536

void pq_say(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pq_text_tame_lines(text);
    const char *name = pq_log_get_name();
    fprintf(stderr, "paqet: %s%s%s\n", name ? name : "", name ? ": " : "", text);
}

const char *pq_app_kind_of(enum pq_request_type type)
{
    return type == PQ_REQ_UDP ? "udp" : type == PQ_REQ_TUN ? "tun" : "tcp";
}

uint64_t pq_app_wall(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint32_t pq_app_t0(void)
{
    return (uint32_t)pq_app_wall(NULL);
}

/* ... a quarter of what there is, shared by the workers. */
static size_t memory_bound(unsigned workers)
{
    const uint64_t bytes = pq_memory_there() / 4 / workers;
    return (size_t)(bytes < MEMORY_MIN ? MEMORY_MIN : bytes > MEMORY_MAX ? MEMORY_MAX : bytes);
}

/* Sessions of one worker: as configured, or one for each 256 KB that there is. */
static uint32_t sessions_bound(const struct pq_conf *c)
{
    uint64_t n = (uint64_t)c->max_sessions;
    if (!n)
        n = pq_memory_there() / SESSION_SHARE;
    n = n > SESSIONS_MAX && !c->max_sessions ? SESSIONS_MAX : n;
    n /= (uint64_t)c->packet_workers;
    return (uint32_t)(n ? n : 1);
}

/* Unread bytes of a connection are bounded as those of a session of KCP are. */
static void quic_conf(struct pq_hub_conf *h, const struct pq_conf *c)
{
    const struct pq_conf_quic *q = &c->quic;
    const uint64_t most = h->memory / 2;
    const bool key = c->kcp.key && *c->kcp.key && !(q->open && h->client);
    h->quic = (struct pq_quic_conf){.key = key ? h->key : NULL,
                                    .open = q->open,
                                    .server_name = q->server_name,
                                    .verify = !q->skip_verify,
                                    .stream_window = (uint64_t)q->stream_window,
                                    .stream_window_max = (uint64_t)q->stream_window_max,
                                    .window = (uint64_t)q->window,
                                    .window_max = (uint64_t)q->window_max,
                                    .max_streams = (uint32_t)q->streams,
                                    .refuses = h->client, /* a server opens none [7.3] */
                                    .datagrams = !q->no_datagrams,
                                    .early = q->early,
                                    .idle = (pq_ns)q->idle * PQ_SEC,
                                    .keepalive = (pq_ns)q->keepalive * PQ_SEC,
                                    .cc = q->cubic ? PQ_QUIC_CUBIC : PQ_QUIC_BBR};
    if (h->quic.window_max > most)
        h->quic.window_max = most;
    if (h->quic.window > most)
        h->quic.window = most;
    if (h->quic.stream_window_max > most)
        h->quic.stream_window_max = most;
    if (h->quic.stream_window > most)
        h->quic.stream_window = most;
    h->mtu = (uint16_t)q->mtu;
}

static void hub_conf(struct pq_hub_conf *h, const struct pq_conf *c)
{
    const struct pq_conf_kcp *k = &c->kcp;
    h->client = c->role == PQ_ROLE_CLIENT;
    h->cipher = c->cipher;
    h->mtu = (uint16_t)k->mtu;
    h->kcp = (struct pq_kcp_conf){.snd_wnd = (uint32_t)k->sndwnd,
                                  .rcv_wnd = (uint32_t)k->rcvwnd,
                                  .resend = (uint16_t)k->resend,
                                  .interval = (pq_ns)k->interval * PQ_MS,
                                  .nodelay = k->nodelay,
                                  .congestion = c->congestion,
                                  .ack_now = k->acknodelay};
    h->smux = (struct pq_smux_conf){.session_buf = (size_t)k->smuxbuf,
                                    .stream_buf = (uint32_t)k->streambuf,
                                    .max_streams = (uint32_t)c->max_streams,
                                    .keepalive = (pq_ns)k->smuxkalive * PQ_SEC,
                                    .timeout = (pq_ns)k->smuxktimeout * PQ_SEC};
    if (h->client)
        h->smux.keepalive = pq_ns_min(h->smux.keepalive, NOP_MAX);
    if (k->dshard > 0 && k->pshard > 0) {
        h->dshard = (uint16_t)k->dshard;
        h->pshard = (uint16_t)k->pshard;
    }
    h->fec_auto = c->fec_auto && !h->dshard;
    h->flags = c->local_flag;
    h->follow_flags = !c->local_flag_text.n;
    h->look = c->look;
    h->ttl4 = pq_host_ttl(true);
    h->ttl6 = pq_host_ttl(false);
    h->rmem = pq_host_rmem();
    h->syns_linear = pq_host_syns_linear();
    h->system = c->system;
    if (pq_system_ttl(c->system))
        h->ttl4 = h->ttl6 = pq_system_ttl(c->system);
    h->max_sessions = sessions_bound(c);
    h->memory = memory_bound(c->all_workers);
    if (h->smux.session_buf > h->memory / 2) /* a small machine */
        h->smux.session_buf = h->memory / 2;
    if (h->smux.stream_buf > h->smux.session_buf / 2)
        h->smux.stream_buf = (uint32_t)(h->smux.session_buf / 2);
    h->workers = (unsigned)c->packet_workers;
    if (c->over_quic)
        quic_conf(h, c);
}

/* Says now, not in each worker, that the cipher cannot be had. */
static int try_cipher(const struct pq_app *app)
{
    struct pq_crypt *crypt;
    int e = pq_crypt_new(&crypt, app->hub.cipher, app->hub.key);
    if (e)
        pq_say("transport.kcp.block: %s cannot be used: libgcrypt has it not, or not in FIPS mode "
               "(%s); choose another one on both ends, aes-128-gcm say",
               pq_cipher_name(app->hub.cipher), pq_strerror(e));
    pq_crypt_free(&crypt);
    return e;
}

/* A client without a key of its own is a new somebody each time. */
static void own_wire(struct pq_app *app, bool key, struct pq_rng *rng)
{
    const struct pq_conf *c = app->conf;
    struct pq_own_conf *o = &app->hub.own;
    o->on = key && !c->over_quic && !c->classic_wire && c->kcp.mtu >= PQ_OWN_MTU_MIN;
    o->required = c->require_keys;
    if (c->has_secret)
        memcpy(app->secret, c->secret, sizeof app->secret);
    else
        pq_rng_fill(rng, app->secret, sizeof app->secret);
    if (c->has_secret || app->hub.client)
        o->secret = app->secret;
}

/* Each listener and each connection takes a descriptor; the usual soft limit of 1024 is for
 * programs with select(). */
static void raise_limits(void)
{
    struct rlimit r;
    if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

unsigned pq_app_udp_flows_max(const struct pq_app *app)
{
    struct rlimit r;
    rlim_t most = (rlim_t)app->conf->max_udp_flows;
    const unsigned workers = app->conf->all_workers;
    if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_max / 2 / workers < most)
        most = r.rlim_max / 2 / workers;
    return most ? (unsigned)most : 1;
}

static void wipe_text(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
}

int pq_app_derive_before(const struct pq_conf *c, struct pq_hub_conf *h)
{
    const char *before = c->role == PQ_ROLE_SERVER ? c->kcp.key_before : NULL;
    h->has_before = before && *before;
    return h->has_before ? pq_crypt_derive(before, h->key_before) : 0;
}

int pq_app_init(struct pq_app *app, struct pq_conf *c, const char *file)
{
    raise_limits();
    memset(app, 0, sizeof *app);
    app->conf = app->own_conf = c;
    app->file = file;
    app->started = pq_clock();
    app->fanout = -1;
    app->n_workers = (unsigned)c->packet_workers;
    struct pq_rng rng;
    pthread_mutex_init(&app->fw_lock, NULL);
    hub_conf(&app->hub, c);
    pq_rng_init(&rng);
    app->hub.look_seed = pq_rng_u64(&rng);
    int e = c->over_quic ? pq_app_load_quic(&app->hub.transport) : 0;
    if (e)
        return e;
    e = pq_crypt_global_init();
    const bool key = c->kcp.key && *c->kcp.key;
    if (!e && (key || (!c->over_quic && pq_cipher_needs_key(c->cipher))))
        e = pq_crypt_derive(c->kcp.key, app->hub.key);
    if (!e)
        e = pq_app_derive_before(c, &app->hub);
    own_wire(app, key, &rng);
    wipe_text(c->kcp.key);
    wipe_text(c->kcp.key_before);
    if (e)
        pq_say("the key could not be derived: %s (is libgcrypt in FIPS mode?)", pq_strerror(e));
    return e || c->over_quic ? e : try_cipher(app);
}

void pq_app_fini(struct pq_app *app)
{
    pq_firewall_close(&app->fw);
    pthread_mutex_destroy(&app->fw_lock);
    explicit_bzero(app->hub.key, sizeof app->hub.key);
    explicit_bzero(app->hub.key_before, sizeof app->hub.key_before);
    explicit_bzero(app->secret, sizeof app->secret);
}

void pq_app_log_session(const struct pq_session *ses)
{
    struct pq_kcp_stats st;
    pq_session_stats(ses, &st);
    PQ_LOG(PQ_LOG_DEBUG,
           "segments: %llu sent, %llu resent (%llu without need, %llu time-outs), %llu received, "
           "%llu twice; RTT %.2f ms",
           (unsigned long long)st.sent, (unsigned long long)st.resent,
           (unsigned long long)st.spurious, (unsigned long long)st.timeouts,
           (unsigned long long)st.received, (unsigned long long)st.duplicate,
           (double)st.srtt / (double)PQ_MS);
}

/* ---- packet backend */

int pq_app_open_io(struct pq_app *app, struct pq_pktio **out)
{
    const struct pq_conf *c = app->conf;
    struct pq_pktio_conf ic = {.sockbuf = (size_t)c->sockbuf};
    memcpy(ic.ifname, app->path.iface.name, sizeof ic.ifname);
    if (!app->hub.client && app->n_workers > 1)
        ic.fanout = &app->fanout;
    int e = PQ_ENOTSUP;
    *out = NULL;
    if (c->backend != PQ_BACKEND_PCAP)
        e = pq_afpacket_open(out, &ic);
#ifdef PQ_WITH_PCAP
    if (c->backend == PQ_BACKEND_PCAP || (c->backend == PQ_BACKEND_AUTO && e == PQ_ENOTSUP))
        e = pq_pcap_open(out, &ic);
#else
    if (c->backend == PQ_BACKEND_PCAP)
        pq_say("network.backend: this build is without libpcap; use afpacket");
#endif
    if (e == -EPERM)
        pq_say("no permission for raw packets: run as root, or give the program the capabilities "
               "CAP_NET_RAW and CAP_NET_ADMIN: setcap "
               "cap_net_raw,cap_net_admin,cap_net_bind_service+ep $(which paqet)");
    else if (e)
        pq_say("network.interface: cannot open %s for packets: %s", ic.ifname, pq_strerror(e));
    return e;
}

/* ---- firewall */

static void firewall_missing(const struct pq_app *app, const char *why)
{
    char advice[512];
    const uint16_t port = app->conf->own_port;
    pq_firewall_advice(&app->fw_conf, port, advice, sizeof advice);
    PQ_LOG(PQ_LOG_WARN,
           "no firewall rule could be made (%s): the kernel will answer the tunnel's packets with "
           "RST, and routers on the way may cut it",
           why);
    pq_say("no firewall rule could be made (%s). Type this yourself%s:\n  %s", why,
           port ? ""
                : ", with the client's port fixed by network.ipv4.addr in "
                  "place of 0",
           advice);
}

void pq_app_open_firewall(struct pq_app *app)
{
    pq_app_hold_signals();
    pq_firewall_open(&app->fw, &app->fw_conf, app->fw_why);
}

void pq_app_say_firewall(const struct pq_app *app)
{
    if (!app->fw)
        firewall_missing(app, app->fw_why);
    else
        PQ_LOG(PQ_LOG_INFO, "the kernel's TCP is kept out by %s", pq_firewall_kind(app->fw));
}

/* A server of before stays covered as long as there is room: it may still be sending. */
static void cover_former(struct pq_firewall_conf *c, const struct pq_firewall_server *former)
{
    for (unsigned i = 0; i < c->n_servers; i++)
        if (pq_addr_eq_ip(&c->server[i].addr, &former->addr) &&
            c->server[i].ports.from == former->ports.from &&
            c->server[i].ports.to == former->ports.to)
            return;
    if (c->n_servers < PQ_FIREWALL_SERVERS)
        c->server[c->n_servers++] = *former;
}

void pq_app_set_server(struct pq_app *app, unsigned i, const struct pq_addr *a)
{
    pthread_mutex_lock(&app->fw_lock);
    const struct pq_firewall_server former = app->fw_conf.server[i];
    app->fw_conf.server[i].addr = *a;
    cover_former(&app->fw_conf, &former);
    pthread_mutex_unlock(&app->fw_lock);
}

void pq_app_set_servers(struct pq_app *app, const struct pq_firewall_server *v, unsigned n)
{
    char ifname[sizeof app->fw_conf.ifname];
    struct pq_firewall_conf *c = &app->fw_conf;
    struct pq_firewall_server former[PQ_FIREWALL_SERVERS];
    pthread_mutex_lock(&app->fw_lock);
    const unsigned n_former = app->n_servers;
    memcpy(former, c->server, n_former * sizeof *v);
    memcpy(c->server, v, n * sizeof *v);
    c->n_servers = app->n_servers = n;
    for (unsigned i = 0; i < n_former; i++)
        cover_former(c, &former[i]);
    memcpy(ifname, c->ifname, sizeof ifname);
    pthread_mutex_unlock(&app->fw_lock);
    pq_app_move_firewall(app, ifname);
}

void pq_app_move_firewall(struct pq_app *app, const char *ifname)
{
    pthread_mutex_lock(&app->fw_lock);
    snprintf(app->fw_conf.ifname, sizeof app->fw_conf.ifname, "%s", ifname);
    int e = app->fw ? pq_firewall_move(app->fw, &app->fw_conf) : PQ_ENOTSUP;
    if (e)
        firewall_missing(app, pq_strerror(e));
    pthread_mutex_unlock(&app->fw_lock);
}

void pq_app_cover_port(struct pq_app *app, uint16_t port, bool on)
{
    pthread_mutex_lock(&app->fw_lock);
    int e = 0;
    if (app->fw)
        e = on ? pq_firewall_add(app->fw, port) : pq_firewall_remove(app->fw, port);
    pthread_mutex_unlock(&app->fw_lock);
    if (e)
        PQ_LOG_SOME(PQ_LOG_WARN, PQ_LOG_MOST, "the firewall rule for port %u could not be %s", port,
                    on ? "added" : "removed");
}
