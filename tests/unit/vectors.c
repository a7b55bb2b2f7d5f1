/* SPDX-License-Identifier: MIT */
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die(const char *what, const char *arg)
{
    fprintf(stderr, "vectors: %s: %s\n", what, arg ? arg : "(null)");
    exit(2);
}

json_t *vec_load(const char *name)
{
    const char *dir = getenv("PQ_VECTORS");
    char path[4096];
    json_error_t err;
    if (!dir)
        die("set the environment variable", "PQ_VECTORS");
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *root = json_load_file(path, 0, &err);
    if (!root)
        die(path, err.text);
    return root;
}

json_t *vec_get(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    if (!v)
        die("no such member", key);
    return v;
}

const char *vec_str(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

long long vec_int(const json_t *obj, const char *key)
{
    return json_integer_value(json_object_get(obj, key));
}

static unsigned digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    if (!at)
        die("not a hex digit in a byte string", "");
    return (unsigned)(at - digits);
}

uint8_t *vec_hex(const char *text, size_t *n)
{
    if (!text || strlen(text) % 2)
        die("not a byte string", text);
    *n = strlen(text) / 2;
    uint8_t *p = malloc(*n + 1);
    if (!p)
        die("out of memory", "");
    for (size_t i = 0; i < *n; i++)
        p[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return p;
}

uint8_t *vec_bytes(const json_t *obj, const char *key, size_t *n)
{
    return vec_hex(vec_str(obj, key), n);
}
