/* SPDX-License-Identifier: MIT */
/* fuzz_measure.c - two hubs with keys, between which nothing is lost; what somebody with a key may
 * say of trains in his session [12.10], from whichever tuple; trains of a client beside that.
 *
 * Over a tuple the server never sends more bytes than came over it since the train that has it
 * began; nothing crashes; no measuring is left behind. */
#include "fuzz.h"
#include "tunnel/measure.h"
#include "tunnel/tunnel_internal.h"

#define STEPS_MAX 300
#define SLOTS     32
#define PORTS     4
#define PORT      40000

enum { CLIENT, SERVER };

static struct fuzz_in in;
static struct pq_hub *hub[2];
static struct pq_rng rng[2];
static struct pq_addr addr[2];
static struct pq_session *session[2];
static pq_ns now;
static uint64_t came[PORTS], went[PORTS]; /* over each tuple that is none of the session's */

static void on_stream(void *ctx, struct pq_stream *st)
{
    (void)ctx;
    (void)st;
}

static bool on_accept(void *ctx, const struct pq_segment *seg, struct pq_flow_conf *fc)
{
    (void)ctx;
    (void)seg;
    (void)fc;
    return true;
}

static void on_proven(void *ctx, struct pq_session *s)
{
    (void)ctx;
    session[SERVER] = s;
}

static void on_secured(void *ctx, struct pq_session *s)
{
    (void)ctx;
    (void)s;
}

static void on_moved(void *ctx, struct pq_session *s, bool ok)
{
    (void)ctx;
    (void)s;
    (void)ok;
}

static uint64_t on_wall(void *ctx)
{
    (void)ctx;
    return UINT64_C(1790000000000) + now / PQ_MS;
}

static void on_ended(void *ctx, struct pq_session *s, int err)
{
    (void)ctx;
    (void)err;
    for (unsigned i = 0; i < 2; i++)
        session[i] = session[i] == s ? NULL : session[i];
}

static const struct pq_hub_events hub_events = {.stream = on_stream,
                                                .accept = on_accept,
                                                .proven = on_proven,
                                                .secured = on_secured,
                                                .moved = on_moved,
                                                .wall = on_wall,
                                                .ended = on_ended};

static int port_of(const uint8_t *tcp, unsigned from)
{
    const int at = pq_be16(from == CLIENT ? tcp : tcp + 2) - PORT - 1;
    return at >= 0 && at < PORTS ? at : -1;
}

/* All that one side has to send goes to the other, or is lost. */
static void carry(unsigned from, bool lost)
{
    static uint8_t memory[SLOTS][PQ_SLOT_SIZE];
    struct pq_slot slots[SLOTS];
    for (unsigned i = 0; i < SLOTS; i++)
        slots[i] = (struct pq_slot){.buf = memory[i]};
    const size_t n = pq_hub_pull(hub[from], slots, SLOTS, now);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK((unsigned)slots[i].off + slots[i].len <= PQ_SLOT_SIZE);
        uint8_t *p = fuzz_exact(slots[i].buf + slots[i].off, slots[i].len);
        const int port = port_of(p + PQ_ETH_LEN + PQ_IP4_LEN, from);
        if (port >= 0 && from == SERVER)
            went[port] += slots[i].len - (size_t)PQ_ETH_LEN;
        if (port >= 0 && from == CLIENT && !lost)
            came[port] += slots[i].len - (size_t)PQ_ETH_LEN;
        FUZZ_CHECK(port < 0 || went[port] <= came[port]);
        const struct pq_frame f = {.p = p, .len = slots[i].len, .wire_len = slots[i].len};
        if (!lost)
            pq_hub_input(hub[!from], &f, now);
        pq_hub_rx_end(hub[!from], now);
        free(p);
    }
}

/* What has been authenticated, and says anything. */
static void say(unsigned to)
{
    const uint8_t kind = (uint8_t)(PQ_KIND_TRAIN + fuzz_u8(&in) % 5), train = fuzz_u8(&in) % 12;
    const unsigned port = fuzz_u8(&in) % PORTS;
    const size_t n = fuzz_u8(&in) % 40, pad = (size_t)6 * fuzz_u8(&in);
    uint8_t *body = calloc(1, n + pad + 1);
    FUZZ_CHECK(body);
    for (size_t i = 0; i < n; i++)
        body[i] = fuzz_u8(&in);
    uint8_t *exact = fuzz_exact(body, n + pad);
    free(body);
    struct pq_segment seg = {.src = addr[!to], .dst = addr[to], .head = PQ_IP4_LEN + PQ_TCP_LEN};
    (to == SERVER ? &seg.src : &seg.dst)->port = (uint16_t)(PORT + 1 + port);
    seg.len = 34 + n + pad;
    seg.data = exact;
    const struct pq_message m = {kind, train, {exact, n + pad}};
    if (to == SERVER)
        came[port] += seg.head + seg.len;
    if (session[to])
        pq_measure_take(session[to], &seg, &m, now);
    free(exact);
}

static void use_train(uint8_t op)
{
    const unsigned i = fuzz_u8(&in) % PQ_TRAINS;
    struct pq_flow_conf fc = {.local = addr[CLIENT], .peer = addr[SERVER], .link_len = PQ_ETH_LEN};
    struct pq_train_seen seen;
    if (!session[CLIENT])
        return;
    fc.local.port = (uint16_t)(PORT + 1 + fuzz_u8(&in) % PORTS);
    fc.look = (enum pq_look)(fuzz_u8(&in) % 3);
    const struct pq_train_order o = {.size = (uint16_t)(PQ_TRAIN_LEAST + fuzz_u8(&in) * 5U),
                                     .answered = op & 0x80,
                                     .look = op & 0x40,
                                     .flags = fuzz_u8(&in),
                                     .answer = (uint16_t)(PQ_TRAIN_LEAST + fuzz_u8(&in) * 5U)};
    if (op & 1)
        pq_train_begin(session[CLIENT], i, &fc, fuzz_u8(&in), now);
    else if (op & 2)
        pq_train_count(session[CLIENT], i);
    else if (op & 4)
        pq_train_run(session[CLIENT], i);
    else if (op & 8)
        pq_train_end(session[CLIENT], i);
    else
        pq_train_send(session[CLIENT], i, &o);
    pq_train_seen(session[CLIENT], i, &seen);
    FUZZ_CHECK(seen.back <= seen.sent || !seen.sent || seen.back > 0);
}

static void step(uint8_t op)
{
    switch (op & 7) {
    case 0:
    case 1:
        say(op & 1);
        break;
    case 2:
    case 3:
        use_train(op >> 3 | (op & 0xc0));
        break;
    case 4:
        now += (pq_ns)(1 + fuzz_u8(&in)) * (op & 0x80 ? 100 : 1) * PQ_MS;
        for (unsigned i = 0; i < 2; i++)
            pq_hub_tick(hub[i], now);
        break;
    default:
        carry(op & 1, (op & 0xf0) == 0xf0);
    }
}

static void begin(void)
{
    static const uint8_t ip[2][4] = {{192, 0, 2, 1}, {198, 51, 100, 2}}, secret[2][32] = {{1}, {3}};
    uint8_t public[32];
    now = 1000 * PQ_SEC;
    memset(came, 0, sizeof came);
    memset(went, 0, sizeof went);
    FUZZ_CHECK(pq_crypt_global_init() == 0 && pq_x25519_public(secret[SERVER], public) == 0);
    for (unsigned i = 0; i < 2; i++) {
        const struct pq_hub_conf c = {
            .client = i == CLIENT,
            .cipher = PQ_CIPHER_NULL,
            .mtu = 1350,
            .kcp = {.snd_wnd = 64, .rcv_wnd = 64, .resend = 2, .interval = 30 * PQ_MS},
            .smux = {.session_buf = 1 << 16,
                     .stream_buf = 1 << 15,
                     .max_streams = 8,
                     .keepalive = 20 * PQ_SEC,
                     .timeout = 600 * PQ_SEC},
            .look = PQ_LOOK_PLAUSIBLE,
            .link_len = PQ_ETH_LEN,
            .max_sessions = 8,
            .memory = 1 << 20,
            .own = {.on = true, .secret = secret[i], .required = true}};
        pq_rng_init_seed(&rng[i], 77 + i);
        pq_addr_set4(&addr[i], ip[i], i == SERVER ? 9999 : PORT);
        FUZZ_CHECK(pq_hub_new(&hub[i], &c, &hub_events, NULL, &rng[i], now) == 0);
    }
    const struct pq_flow_conf fc = {
        .local = addr[CLIENT], .peer = addr[SERVER], .link_len = PQ_ETH_LEN};
    session[SERVER] = NULL;
    now += PQ_SEC; /* stamps are later than the server's start */
    FUZZ_CHECK(!pq_hub_connect(hub[CLIENT], &session[CLIENT], &fc, public, NULL, now));
    for (unsigned i = 0; i < 20 && !session[SERVER]; i++) {
        carry(i & 1, false);
        now += 10 * PQ_MS;
    }
    FUZZ_CHECK(session[SERVER] && pq_session_secure(session[CLIENT]));
}

static void end_session(void *ctx, struct pq_session *s)
{
    (void)ctx;
    pq_session_end(s, PQ_ECLOSED);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    in = fuzz_in_init(p, n);
    begin();
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&in); i++)
        step(fuzz_u8(&in));
    for (unsigned i = 0; i < 2; i++) {
        pq_hub_each(hub[i], end_session, NULL);
        FUZZ_CHECK(hub[i]->n_measures == 0);
        pq_hub_free(&hub[i]);
    }
    return 0;
}
