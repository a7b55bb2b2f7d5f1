/* SPDX-License-Identifier: MIT */
/* vectors.h - the files of tests/vectors, found through the environment variable PQ_VECTORS.
 * Whatever is missing or malformed ends the program with a message. */
#ifndef PQ_TESTS_VECTORS_H
#define PQ_TESTS_VECTORS_H
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Loads PQ_VECTORS/name; the caller drops it with json_decref. */
json_t *vec_load(const char *name);

/* Members of an object.  vec_str returns NULL, vec_int 0 if there is none; vec_get ends. */
json_t *vec_get(const json_t *obj, const char *key);
const char *vec_str(const json_t *obj, const char *key);
long long vec_int(const json_t *obj, const char *key);

/* Decodes hex text into bytes that the caller frees; one byte is allocated for none. */
uint8_t *vec_hex(const char *text, size_t *n);
uint8_t *vec_bytes(const json_t *obj, const char *key, size_t *n);
#endif
