/* SPDX-License-Identifier: MIT */
/* setup_internal.h - between the files of this module. */
#ifndef PQ_SETUP_INTERNAL_H
#define PQ_SETUP_INTERNAL_H
#include "os/inputs.h"
#include "os/service.h"
#include "setup/init.h"
#include "setup/link.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- files.c: whole files */

#define PQ_FILE_HALF ".new" /* behind the path, while it is written */

struct pq_file_owner {
    unsigned uid, gid;
};

/* Writes a file in one go: it is there as a whole, or not at all.  With an owner (else NULL) it is
 * his before it has its name, so in a folder of his own nothing else can be made his by a link.
 * Returns 0 or -errno. */
int pq_file_write(const char *path, const void *p, size_t n, unsigned mode,
                  const struct pq_file_owner *owner);

/* Reads one, NUL-terminated, owned by the caller.  Returns NULL (errno is set; EFBIG: more than
 * `max` bytes). */
char *pq_file_read(const char *path, size_t max, size_t *n);

/* Copies a file, as above.  Returns 0 or -errno. */
int pq_file_copy(const char *from, const char *to, unsigned mode);

/* ---- made.c: what init has made, in the order it was made, in folder/made-by-init */

#define PQ_MADE_FILE "made-by-init"
#define PQ_MADE_ALL  "*" /* instance of what all configurations share */

enum pq_made_kind { PQ_MADE_FOLDER, PQ_MADE_PLAIN, PQ_MADE_USER, PQ_MADE_SERVICE, PQ_MADE_KINDS };

struct pq_made_entry {
    char *instance, *what; /* what: a path; of a service, its program */
    enum pq_made_kind kind;
    int service; /* enum pq_service_kind */
};

struct pq_made {
    char path[PATH_MAX];
    struct pq_made_entry *v;
    size_t n;
};

/* Reads the list; none is an empty one.  Returns 0, PQ_EPROTO (not such a list) or -errno. */
int pq_made_load(struct pq_made *m, const char *folder);
void pq_made_free(struct pq_made *m);

/* Adds an entry, unless it is there, and writes the list.  Returns 0, PQ_ENOMEM or -errno. */
int pq_made_add(struct pq_made *m, const char *instance, enum pq_made_kind kind, int service,
                const char *what);

/* Takes the i-th entry out, and writes the list, or removes it with its last entry. */
int pq_made_drop(struct pq_made *m, size_t i);

/* ---- the common part, common.c */

struct pq_setup {
    const struct pq_init_opts *o;
    const char *role; /* server, client or bridge */
    char name[64];
    char conf[PATH_MAX];        /* folder/name.yaml */
    char before[PATH_MAX + 16]; /* where the one that was there is kept, once it is displaced */
    char program[PATH_MAX];     /* what the service runs */
    struct pq_service service;
    struct pq_made made;
    bool own_user, displaced, was_running;
    unsigned uid, gid;
    size_t made_before; /* entries that were there: what comes after is taken back on failure */
};

/* Checks name and folder, loads the list, finds the service manager.  Returns false after it has
 * said what is wrong. */
bool pq_setup_begin(struct pq_setup *s, const struct pq_init_opts *o, const char *role);
void pq_setup_end(struct pq_setup *s);

/* Whether the configuration may be written: it is not there, or --force was given. */
bool pq_setup_may_write(struct pq_setup *s);

/* Stops what is there and moves its configuration away; pq_setup_undo puts it back. */
bool pq_setup_displace(struct pq_setup *s);

/* Makes folder, user, program; each returns false after it has said what is wrong. */
bool pq_setup_prepare(struct pq_setup *s);

enum pq_setup_owner { /* of a file; where the service is root's all are */
                      PQ_SETUP_ROOT,
                      PQ_SETUP_READ, /* root's: the service may read it, not change it */
                      PQ_SETUP_OWN,  /* the service's user's */
};

/* Writes a file of this configuration, with mode 0600 or, PQ_SETUP_READ, 0640. */
bool pq_setup_write(struct pq_setup *s, const char *path, const void *p, size_t n,
                    enum pq_setup_owner owner);

/* Makes a folder and those above it, if they are not there. */
bool pq_setup_folder(struct pq_setup *s, const char *path, unsigned mode, bool owned);

/* Whether the text is a configuration without mistakes; else says which: a mistake of this
 * program, or of a link. */
bool pq_setup_check(const struct pq_setup *s, const char *text);

/* Installs and starts the service, unless --no-service. */
bool pq_setup_start(struct pq_setup *s);

/* Adds to the list of what was made.  Returns false after it has said what is wrong. */
bool pq_setup_note(struct pq_setup *s, const char *instance, enum pq_made_kind kind,
                   const char *what);

/* Before a file is written, which is noted afterwards: notes it now already, since init may be
 * killed, unless something lies there.  That may be somebody's own, and stays his if the write
 * fails or is cut short.  Returns as above. */
bool pq_setup_note_new(struct pq_setup *s, const char *instance, const char *path);

/* Whether init has made the file, as the list says. */
bool pq_setup_is_ours(const struct pq_setup *s, const char *path);

/* The service did not come up: says so, with the end of its log. */
void pq_setup_explain(const struct pq_setup *s, const char *what);

/* Takes back what this run has made, and puts back what it had moved away. */
void pq_setup_undo(struct pq_setup *s);

/* How to see the log, stop it, take all back. */
void pq_setup_words(const struct pq_setup *s);

/* A name for a TUN device that no interface has: paqet0, paqet1, ... */
void pq_setup_tun_name(char out[16]);

/* Whether something can listen on this TCP address now.  Returns 0 or -errno. */
int pq_setup_try_listen(const struct pq_addr *a);

/* Who listens on this TCP port, in words: "nginx, process 12". */
const char *pq_setup_listener(uint16_t port, char out[64]);

/* Whether that is one of this program's own, which may be called as this one is. */
struct pq_listener;
bool pq_setup_is_paqet(const struct pq_listener *l);

/* What starts the service of a configuration, in words of a remedy (check_local.c). */
const char *pq_check_start_words(const char *path, char out[512]);

/* Whether a server's firewall keeps what comes out of its TUN device from going on, and what to do
 * (check_forwards.c). */
bool pq_setup_forward_shut(const char *device, char chain[PQ_INPUTS_CHAIN], char remedy[256]);

/* Prints one line on standard error. */
__attribute__((format(printf, 1, 2))) void pq_setup_say(const char *fmt, ...);

struct pq_setup_pong {
    double rtt;    /* the mean in ms */
    int result;    /* 0, or with a target what the server says of it, a SOCKS5 reply code */
    char why[800]; /* without an answer: why that may be, a line, and what to do, another */
};

/* Runs this program's ping with a configuration, `count` times, each waiting `wait_s` seconds at
 * most, to a target behind the server or, where that is NULL, to the server itself.  Returns
 * whether it was answered. */
bool pq_setup_ping(const char *conf, const char *target, unsigned count, unsigned wait_s,
                   struct pq_setup_pong *out);

/* ---- program.c */

/* Where the program is to be: where it is, if that is a usual place, or where it is put.  Returns
 * 0 or -errno. */
int pq_setup_find_program(char out[PATH_MAX]);

/* Copies the program there, unless it is there, and what it loads for QUIC to where an installed
 * one looks for it, if that lies beside it.  What is there and not init's is left, without --force.
 * Returns false after it has said what is wrong. */
bool pq_setup_program(struct pq_setup *s);

/* Whether this program can speak QUIC here.  Returns false after it has said what is missing, and
 * `instead`: what to do without. */
bool pq_setup_can_quic(const char *instead);

/* ---- remove.c */

/* Undoes the entry, and says what could not be. */
void pq_setup_undo_entry(const struct pq_made_entry *e, const char *folder);

/* ---- yaml.c: the texts of configurations, owned by the caller (wiped and freed by
 * pq_text_free); NULL: no memory */

#define PQ_SETUP_KEYS 32

struct pq_server_plan {
    struct pq_range ports;
    bool quic;          /* transport.protocol: quic in place of kcp */
    const char *ifname; /* NULL: found at each start */
    char key[2 * PQ_SETUP_KEYS + 1];
    uint8_t secret[PQ_SETUP_KEYS], public_key[PQ_SETUP_KEYS];
    struct pq_plan_user {
        char name[64];
        uint8_t secret[PQ_SETUP_KEYS], public_key[PQ_SETUP_KEYS];
    } user[PQ_SETUP_USERS];
    unsigned n_users;
    bool tun, tun6;
    char tun_name[16];
    uint8_t tun4_net[4], tun6_net[16]; /* networks of /24 and /64; ours is .1, ... */
    uint8_t first_inner;               /* ... the users' from this one on; 0: from .2 on */
    const char *bridge;                /* ports, or "all"; NULL: none */
    const char *state;                 /* NULL: the usual file; over QUIC there is none */
};

char *pq_yaml_server(const struct pq_server_plan *p);

struct pq_client_plan {
    const struct pq_setup_link *link;
    const char *socks; /* NULL: no proxy port */
    bool tun;
    char tun_name[16];
    const char *listen, *target, *ports; /* bridge, if ports is not NULL; normalized lists: */
    const char *tcp, *udp;               /* "443,8000-8100"; "" = none; or, ... */
    const char *except;                  /* ... if not NULL, all ports but these */
};

char *pq_yaml_client(const struct pq_client_plan *p);
void pq_text_free(char *text);

/* Network of user number i: its address in the server's TUN. */
void pq_plan_inner(const struct pq_server_plan *p, unsigned i, struct pq_net *net4,
                   struct pq_net *net6);

/* ---- ports.c */

#define PQ_PORTS_TEXT 512

/* Reads "443,2053,8000-8100/udp"; writes the TCP and the UDP ports, sorted and joined, as lists
 * without /udp.  Returns 0, or PQ_EINVAL with the reason in `why`. */
int pq_ports_read(const char *text, char tcp[PQ_PORTS_TEXT], char udp[PQ_PORTS_TEXT],
                  char why[160]);

/* Calls fn for each port of a list that pq_ports_read has written, until it returns false. */
void pq_ports_each(const char *list, bool (*fn)(void *ctx, uint16_t port), void *ctx);

/* The TCP ports that SSH has here, also while it does not run: 22, the one that this session came
 * over, and what sshd says of its own (sshd -T). */
void pq_ports_of_ssh(char out[PQ_PORTS_TEXT]);

/* A free port for a server, at random: none that anything has, none that the kernel gives away. */
uint16_t pq_ports_choose(void);

/* ---- qr.c and tar.c */

/* Prints the code, or a line that says why not. `plain`: without colours. */
void pq_qr_print(const char *text, FILE *f, bool plain);

/* Whether this build can. */
bool pq_qr_there(void);

struct pq_tar_file {
    const char *name; /* in the archive, at most 99 bytes */
    const void *p;
    size_t n;
    unsigned mode;
};

/* Writes an uncompressed ustar archive of the files to `path`, mode 0600, for the owner, if not
 * NULL.  Returns 0, -errno, PQ_EINVAL (a name) or PQ_ENOMEM. */
int pq_tar_write(const char *path, const struct pq_tar_file *v, size_t n,
                 const struct pq_file_owner *owner);

/* ---- bundle.c */

/* Whether the archive can be made: the file is not there yet, unless `force`, and its folder can be
 * written to.  Returns false after it has said what is wrong. */
bool pq_bundle_may_write(const char *path, bool force);

/* The program, a link, and a text that says what to do, in one archive of mode 0600, which under
 * sudo belongs to who called that.  Prints it.  Returns false after it has said what is wrong. */
bool pq_bundle_write(const char *path, const char *link, const char *user);
#endif
