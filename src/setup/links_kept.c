/* SPDX-License-Identifier: MIT */
#include "setup/link_conf.h"
#include "setup/setup_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void show(const char *folder, const char *file, const char *user,
                 void (*fn)(void *ctx, const char *user, const char *link), void *ctx, int *n)
{
    char path[PATH_MAX];
    size_t len;
    snprintf(path, sizeof path, "%s/links/%s", folder, file);
    char *text = pq_file_read(path, PQ_LINK_MAX, &len);
    if (!text)
        return;
    text[strcspn(text, "\r\n")] = 0;
    fn(ctx, user, text);
    explicit_bzero(text, len);
    free(text);
    (*n)++;
}

int pq_links_each(const char *folder, const char *instance, const char *user,
                  void (*fn)(void *ctx, const char *user, const char *link), void *ctx)
{
    char path[PATH_MAX];
    struct dirent **v;
    int found = 0;
    const size_t len = strlen(instance);
    snprintf(path, sizeof path, "%s/links", folder);
    const int n = scandir(path, &v, NULL, alphasort);
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++) {
        const char *name = v[i]->d_name;
        const bool his = strncmp(name, instance, len) == 0 && name[len] == '-' && name[len + 1];
        if (his && (!user || !strcmp(name + len + 1, user)))
            show(folder, name, name + len + 1, fn, ctx, &found);
        free(v[i]);
    }
    free(v);
    return found;
}
