/* SPDX-License-Identifier: MIT */
/* link_conf.h - the link that says what a client's configuration says. */
#ifndef PQ_SETUP_LINK_CONF_H
#define PQ_SETUP_LINK_CONF_H
#include "conf/conf.h"
#include "setup/link.h"

/* Fills *l, under this name; wipe it afterwards.  Numbers of mode "manual", proxies and forwards
 * are not in links.  Returns 0, or PQ_EINVAL with the reason in `why`. */
int pq_link_from_conf(const struct pq_conf *c, const char *name, struct pq_setup_link *l,
                      char why[160]);

/* ---- links_kept.c: those that init has written to folder/links/INSTANCE-USER */

/* Calls fn with user and text of each, sorted by name: of the server `instance`, and of one user
 * or, user NULL, of all.  Returns how many there were, or -errno. */
int pq_links_each(const char *folder, const char *instance, const char *user,
                  void (*fn)(void *ctx, const char *user, const char *link), void *ctx);

/* Prints a link as a QR code; see setup_internal.h. */
void pq_qr_print(const char *text, FILE *f, bool plain);

/* Writes an archive with this program and the link, and says so; whether it can: see
 * setup_internal.h.  false: it was said what is wrong. */
bool pq_bundle_may_write(const char *path, bool force);
bool pq_bundle_write(const char *path, const char *link, const char *user);
#endif
