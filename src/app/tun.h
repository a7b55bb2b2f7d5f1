/* SPDX-License-Identifier: MIT */
/* tun.h - the TUN device of a role, with its addresses, routes and masquerading; entry/tun_client.h
 * and exit/tun_server.h carry its packets. */
#ifndef PQ_APP_TUN_H
#define PQ_APP_TUN_H
#include "app/app.h"
#include "os/killswitch.h"
#include "os/masquerade.h"
#include "os/tundev.h"

struct pq_app_tun {
    bool open;
    struct pq_tundev dev;
    struct pq_masquerade *nat;  /* server: NULL if not wanted */
    struct pq_killswitch *kill; /* client: NULL if not wanted */
    struct pq_spans direct;     /* what that lets past the device */
};

/* Name of the device that tun.* asks for. */
const char *pq_app_tun_name(const struct pq_conf *c);

/* Opens what tun.* asks for; nothing if tun.enabled is false.  Says what is wrong and how to mend
 * it. Returns 0 or an error: then nothing is left open. */
int pq_app_tun_open(struct pq_app_tun *t, const struct pq_conf *c);

/* Client: this machine has another address; what talks from it is not led into the tunnel.  One
 * thread at a time. */
void pq_app_tun_readdress(struct pq_app_tun *t);

/* Client: what the rules send directly goes past the device from now on, and nothing else does.
 * *ranges (may be NULL) becomes of how many ranges of addresses that is.  Blocking, a second or two
 * for 50,000 networks.  Returns 0 or an error: all of it goes into the device then. */
int pq_app_tun_rules(struct pq_app_tun *t, const struct pq_split *split, size_t *ranges);

/* Client: a single address goes elsewhere than it went by the last call for it, also where the kill
 * switch is on.  Quick; one thread at a time, also during pq_app_tun_rules.  Returns 0 or an error:
 * it goes into the device, or where its network goes. */
int pq_app_tun_one(struct pq_app_tun *t, const struct pq_addr *ip, enum pq_tun_one was,
                   enum pq_tun_one to);

void pq_app_tun_close(struct pq_app_tun *t);
#endif
