/* SPDX-License-Identifier: MIT */
/* remove.c - takes back what init has made, and nothing else. */
#include "setup/server_setup.h"
#include "setup/setup_internal.h"

#include "base/err.h"
#include "os/killswitch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(const struct pq_made_entry *e, const char *folder)
{
    const struct pq_service s = {.kind = (enum pq_service_kind)e->service,
                                 .name = e->instance,
                                 .folder = folder,
                                 .program = e->what};
    pq_service_stop(&s);
    printf("stopped paqet (%s)\n", e->instance);
}

static void forget(void)
{
    const struct pq_service s = {
        .kind = PQ_SERVICE_SYSTEMD, .name = "", .folder = "", .program = ""};
    pq_service_forget(&s);
}

/* What init had written of the file when it was killed. */
static void remove_half(const char *path)
{
    char half[PATH_MAX + 8];
    snprintf(half, sizeof half, "%s" PQ_FILE_HALF, path);
    unlink(half);
}

void pq_setup_undo_entry(const struct pq_made_entry *e, const char *folder)
{
    int err = 0;
    bool was = true;
    switch (e->kind) {
    case PQ_MADE_SERVICE:
        stop(e, folder);
        return;
    case PQ_MADE_USER:
        err = pq_service_remove_user();
        break;
    case PQ_MADE_FOLDER:
        err = rmdir(e->what) && errno != ENOENT ? -errno : 0;
        break;
    case PQ_MADE_PLAIN:
        was = unlink(e->what) == 0;
        err = !was && errno != ENOENT && errno != ENOTDIR ? -errno : 0;
        remove_half(e->what);
        if (e->service == PQ_SERVICE_SYSTEMD && strstr(e->what, "/systemd/"))
            forget();
        break;
    case PQ_MADE_KINDS:
        break;
    }
    /* the folder of the list itself goes last; one that holds files of others stays */
    if (err && !(e->kind == PQ_MADE_FOLDER && (err == -ENOTEMPTY || err == -EEXIST)))
        pq_setup_say("%s could not be removed: %s", e->what, pq_strerror(err));
    else if (!err && was && e->kind != PQ_MADE_FOLDER)
        printf("removed %s%s\n", e->kind == PQ_MADE_USER ? "user " : "", e->what);
}

/* Undoes the entries of an instance, the latest first. */
static int remove_instance(struct pq_made *m, const char *folder, const char *instance)
{
    for (size_t i = m->n; i-- > 0;) {
        if (strcmp(m->v[i].instance, instance) != 0)
            continue;
        pq_setup_undo_entry(&m->v[i], folder);
        const int e = pq_made_drop(m, i);
        if (e)
            return e;
    }
    return 0;
}

static const struct pq_made_entry *any_instance(const struct pq_made *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->v[i].instance, PQ_MADE_ALL) != 0)
            return &m->v[i];
    return NULL;
}

static void show(const struct pq_made *m, const char *name)
{
    static const char *const kinds[PQ_MADE_KINDS] = {"folder, if it is empty then", "file", "user",
                                                     "service of"};
    bool others = false;
    for (size_t i = 0; i < m->n && name; i++)
        others |= strcmp(m->v[i].instance, PQ_MADE_ALL) != 0 && strcmp(m->v[i].instance, name) != 0;
    for (size_t i = m->n; i-- > 0;) {
        const bool all = !strcmp(m->v[i].instance, PQ_MADE_ALL);
        if (all ? !others : !name || !strcmp(m->v[i].instance, name))
            printf("would remove %s %s\n", kinds[m->v[i].kind], m->v[i].what);
    }
}

static void lift_kill_switch(void)
{
    const enum pq_killswitch_lifted lifted = pq_killswitch_lift();
    if (lifted == PQ_KILLSWITCH_LIFTED)
        printf("removed the kill switch\n");
    else if (lifted == PQ_KILLSWITCH_IN_USE)
        printf("the kill switch stays: it is of a client that runs\n");
}

static int remove_all(struct pq_made *m, const struct pq_init_opts *o)
{
    int e = o->name ? remove_instance(m, o->folder, o->name) : 0;
    while (!e && !o->name && any_instance(m)) {
        char *instance = strdup(any_instance(m)->instance);
        e = instance ? remove_instance(m, o->folder, instance) : PQ_ENOMEM;
        free(instance);
    }
    if (!e && !any_instance(m))
        e = remove_instance(m, o->folder, PQ_MADE_ALL);
    if (!e && !any_instance(m))
        lift_kill_switch();
    if (!e && !any_instance(m))
        pq_server_rehearsed(o->folder);
    if (!e && !m->n) {
        remove_half(m->path);
        rmdir(o->folder); /* it held the list until now */
    }
    return e;
}

/* What an init has left that was killed while it wrote its first list: half of that, and its
 * folder, if nothing else is in it. */
static bool drop_half(const struct pq_made *m, const char *folder)
{
    char half[PATH_MAX + sizeof PQ_FILE_HALF];
    snprintf(half, sizeof half, "%s" PQ_FILE_HALF, m->path);
    if (unlink(half))
        return false;
    printf("removed %s\n", half);
    rmdir(folder);
    return true;
}

int pq_init_remove(const struct pq_init_opts *o)
{
    struct pq_made m;
    int e = pq_made_load(&m, o->folder);
    bool there = false;
    for (size_t i = 0; !e && i < m.n; i++)
        there |= !o->name || !strcmp(m.v[i].instance, o->name);
    if (e) {
        pq_setup_say("%s cannot be read: %s%s", m.path, pq_strerror(e == PQ_EPROTO ? PQ_EINVAL : e),
                     e == -EACCES ? "; run it as root, with sudo say" : "");
    } else if (!m.n && !o->name && !o->dry_run && drop_half(&m, o->folder)) {
        there = true;
    } else if (!there) {
        pq_setup_say("nothing%s%s was made by init here (%s)", o->name ? " of the name " : "",
                     o->name ? o->name : "", m.path);
    } else if (o->dry_run) {
        show(&m, o->name);
    } else if (geteuid() != 0) {
        pq_setup_say("--remove needs root: run it with sudo");
        there = false;
    } else if ((e = remove_all(&m, o))) {
        pq_setup_say("%s: %s", m.path, pq_strerror(e));
    }
    pq_made_free(&m);
    return e || !there ? 1 : 0;
}
