/* SPDX-License-Identifier: MIT */
/* reload.h - the configuration is read again while the program runs.  What can change does, without
 * disturbing what stays; a wrong file changes nothing.  Of the main thread. */
#ifndef PQ_APP_RELOAD_H
#define PQ_APP_RELOAD_H
#include "app/app.h"

#define PQ_NEWS_MAX 128 /* lines; more are counted */

enum pq_news_kind {
    PQ_NEWS_ERROR,   /* why nothing was changed */
    PQ_NEWS_WARNING, /* of the file */
    PQ_NEWS_CHANGED,
    PQ_NEWS_RESTART, /* a key that has another value in the file, which a restart will take */
    PQ_NEWS_KINDS
};

struct pq_news { /* what a reload has to say; zero-initialized before the first line */
    struct {
        enum pq_news_kind kind;
        char *text;
    } v[PQ_NEWS_MAX];
    unsigned n, left_out;
    const char *name; /* of the tunnel that what is added is about; NULL: of none alone */
};

__attribute__((format(printf, 3, 4))) void pq_news_add(struct pq_news *news, enum pq_news_kind kind,
                                                       const char *fmt, ...);
void pq_news_free(struct pq_news *news);

/* Adds the keys that differ between what runs and `next`, and that only a restart will take. */
void pq_reload_differ(const struct pq_app *app, const struct pq_conf *next, struct pq_news *news);

/* ---- those of a program, one after the other */

struct pq_reloads;

struct pq_reload_wait { /* somebody who waits for what comes of it; zero: nobody */
    struct pq_list node;
    /* Called once: 0, or PQ_EINVAL: there are errors in `news`, and nothing has changed. */
    void (*done)(void *ctx, int err, const struct pq_news *news);
    void *ctx;
};

/* Returns 0 or PQ_ENOMEM. */
int pq_reloads_new(struct pq_reloads **out, uv_loop_t *loop, struct pq_app *app);

/* One under way is given up.  Frees once the loop has closed the handles.  Sets *r to NULL; NULL
 * does nothing. */
void pq_reloads_close(struct pq_reloads **r);

/* Reads app->file again, soon, and takes over what can change; logs what came of it in short. Names
 * that it needs are looked up while everything goes on.  What is asked for while one is under way
 * is one more after it.  `w`, which the caller keeps until then, may be NULL. */
void pq_reload(struct pq_reloads *r, struct pq_reload_wait *w);

/* done will not be called. */
void pq_reload_forget(struct pq_reload_wait *w);
#endif
