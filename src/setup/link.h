/* SPDX-License-Identifier: MIT */
/* link.h - links: all that a client needs to know of its servers, in one text that fits into a QR
 * code.  docs/links.md is the user's side of it.  Pure: texts in, texts out; any thread.  A link
 * holds secrets: it is never logged, and messages about it name its parts, not their values. */
#ifndef PQ_SETUP_LINK_H
#define PQ_SETUP_LINK_H
#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

#define PQ_LINK_MAX     4096 /* bytes of a link, the final NUL included */
#define PQ_LINK_SERVERS 8
#define PQ_LINK_KEY_LEN 32
#define PQ_LINK_TEXT    256 /* of a name, key or host */
#define PQ_LINK_WORD    64
#define PQ_LINK_FLAGS   16
#define PQ_LINK_MSGS    16

enum pq_link_format {
    PQ_LINK_OWN,   /* paqet://v1/HOST:PORT?k=...  */
    PQ_LINK_QUERY, /* paqet://HOST:PORT?enc=&key=... of paqetN and paqetNG */
    PQ_LINK_USER,  /* paqet://KEY@HOST:PORT?block=... of autopaqet; read only */
};

struct pq_link_server {
    char host[PQ_LINK_TEXT]; /* a name or an address without brackets */
    struct pq_range ports;
    bool has_key;
    uint8_t key[PQ_LINK_KEY_LEN]; /* public */
};

struct pq_setup_link {
    enum pq_link_format format;
    struct pq_link_server server[PQ_LINK_SERVERS];
    unsigned n_servers;
    char name[PQ_LINK_TEXT]; /* what the user calls it; may be empty */
    char key[PQ_LINK_TEXT];  /* transport.kcp.key, or that of quic; empty where the cipher needs
                                none */
    bool quic;               /* transport.protocol: quic; then block is of no use, mode and FEC are
                                not said */
    bool has_secret;
    uint8_t secret[PQ_LINK_KEY_LEN];             /* transport.private_key of the user */
    char block[PQ_LINK_WORD];                    /* always set */
    char mode[PQ_LINK_WORD], look[PQ_LINK_WORD]; /* empty: not said */
    char local_flag[PQ_LINK_WORD], remote_flag[PQ_LINK_WORD]; /* the same; "PA,A" */
    long mtu, conn, dshard, pshard;                           /* 0: not said */
    struct pq_net tun4, tun6; /* inner addresses with their network, where bits is not 0 */
};

struct pq_link_msgs {
    struct pq_link_msg {
        bool error; /* else a note */
        char text[160];
    } v[PQ_LINK_MSGS]; /* what there is no room for is left out, notes first */
    unsigned n, errors;
};

/* Whether a link begins here; the case of its first letters does not matter. */
bool pq_link_begins(const char *text);

/* The bytes of blanks, and of what nobody sees (pq_text_unseen), that a text begins with. */
size_t pq_link_blanks(const char *text);

/* Reads a link of any format; blanks around it do not count, nor do line ends in it and the blanks
 * beside them, nor what nobody sees, in front of the name.  Says all that is wrong with it, and
 * what was left aside.  Returns 0, or PQ_EINVAL if `msgs` holds an error (*out holds what could be
 * read). */
int pq_link_read(const char *text, struct pq_setup_link *out, struct pq_link_msgs *msgs);

/* Writes it, NUL-terminated, as PQ_LINK_OWN or PQ_LINK_QUERY.  Returns 0; PQ_ENOTSUP with the
 * reason in `why` if the format cannot say it; or PQ_EINVAL (longer than PQ_LINK_MAX). */
int pq_link_write(const struct pq_setup_link *l, enum pq_link_format format, char out[PQ_LINK_MAX],
                  char why[160]);

/* Overwrites all of it. */
void pq_link_wipe(struct pq_setup_link *l);

/* ---- codec.c */

#define PQ_B64_KEY_LEN 43 /* digits of 32 bytes */

/* Writes 32 bytes in base64url without padding, NUL-terminated; reads them, exactly so: returns
 * false for anything else. */
void pq_b64_write(const uint8_t key[PQ_LINK_KEY_LEN], char out[PQ_B64_KEY_LEN + 1]);
bool pq_b64_read(const char *text, uint8_t key[PQ_LINK_KEY_LEN]);

/* Decodes %XX of n bytes of text, and, if `form`, '+' as a blank.  Returns false if that is more
 * than cap - 1 bytes, malformed, or not printable UTF-8 (a NUL or another control character). */
bool pq_percent_read(const char *text, size_t n, bool form, char *out, size_t cap);

/* Appends text, with %XX for all but letters, digits and those of `plain`.  Returns false if there
 * is no room. */
bool pq_percent_write(const char *text, const char *plain, char *out, size_t cap);

/* Whether it is UTF-8 without control characters. */
bool pq_utf8_is_text(const char *text);
#endif
