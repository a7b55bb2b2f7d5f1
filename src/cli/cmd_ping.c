/* SPDX-License-Identifier: MIT */
/* ping: one forged packet with a text as its payload goes to the server; no answer is awaited.
 * With dump at the other end it shows whether such packets pass. */
#include "app/app.h"
#include "cli/cli.h"

#include <getopt.h>
#include <string.h>

static int send_one(const struct pq_conf *c, const char *text)
{
    char why[PQ_WHY_LEN], from[PQ_ADDR_STRLEN], to[PQ_ADDR_STRLEN];
    struct pq_app app = {.conf = c, .n_workers = 1};
    struct pq_addr addrs[PQ_SERVER_ADDRS], server;
    unsigned n;
    struct pq_pktio *io;
    app.hub.client = true;
    if (pq_discover_resolve(c, &c->server[0], addrs, &n, why) ||
        pq_discover_client(c, &addrs[0], 3 * PQ_SEC, &app.path, why)) {
        pq_say("%s", why);
        return 1;
    }
    server = addrs[0];
    if (pq_app_open_io(&app, &io))
        return 1;
    struct pq_rng rng;
    pq_rng_init(&rng);
    struct pq_flow_conf fc = {
        .local = app.path.local, .peer = server, .link_len = io->link_len, .t0 = pq_app_t0()};
    fc.local.port = c->own_port ? c->own_port : (uint16_t)(32768 + pq_rng_u32(&rng) % 32768);
    memcpy(fc.local_mac, app.path.iface.mac, 6);
    memcpy(fc.peer_mac, app.path.router_mac, 6);
    struct pq_flow flow;
    pq_flow_init(&flow, &fc);
    pq_flow_set_flags(&flow, &c->local_flag);

    uint8_t buf[PQ_SLOT_SIZE];
    struct pq_slot slot = {.buf = buf, .off = PQ_SLOT_HEAD, .len = (uint16_t)strlen(text)};
    for (size_t i = 0; text[i]; i++)
        buf[PQ_SLOT_HEAD + i] = (uint8_t)text[i];
    pq_flow_craft(&flow, &slot, false, pq_clock());
    int sent = pq_pktio_send(io, &slot, 1);
    pq_pktio_close(&io);
    if (sent != 1) {
        pq_say("the packet could not be sent on %s: %s", app.path.iface.name,
               sent < 0 ? pq_strerror(sent) : "the kernel's queue is full");
        return 1;
    }
    printf("sent %zu bytes from %s to %s on %s\n", strlen(text), pq_addr_str(&fc.local, from),
           pq_addr_str(&server, to), app.path.iface.name);
    return 0;
}

int pq_cmd_ping(int argc, char **argv)
{
    static const struct option opts[] = {
        {"config", required_argument, NULL, 'c'}, {"payload", required_argument, NULL, 'p'}, {0}};
    const char *path = "config.yaml", *text = "PING";
    struct pq_conf c;
    for (int o; (o = getopt_long(argc, argv, "c:p:", opts, NULL)) != -1;) {
        if (o == 'c')
            path = optarg;
        else if (o == 'p')
            text = optarg;
        else
            return 1;
    }
    if (strlen(text) > PQ_DGRAM_MAX) {
        pq_say("ping: --payload is longer than %d bytes", PQ_DGRAM_MAX);
        return 1;
    }
    if (pq_cli_load(&c, path))
        return 1;
    int code = 1;
    if (c.role == PQ_ROLE_CLIENT)
        code = send_one(&c, text);
    else
        pq_say("ping: %s is a server's configuration; a client's is needed", path);
    pq_conf_free(&c);
    return code;
}
