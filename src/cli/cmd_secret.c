/* SPDX-License-Identifier: MIT */
#include "base/hex.h"
#include "base/rng.h"
#include "cli/cli.h"
#include "noise/noise.h"

#include <string.h>

static void print_hex(const char *before, const uint8_t key[PQ_X25519_LEN])
{
    printf("%s", before);
    for (size_t i = 0; i < PQ_X25519_LEN; i++)
        printf("%02x", key[i]);
    printf("\n");
}

static void random_key(uint8_t key[PQ_X25519_LEN])
{
    struct pq_rng rng;
    pq_rng_init(&rng);
    pq_rng_fill(&rng, key, PQ_X25519_LEN);
    explicit_bzero(&rng, sizeof rng);
}

static int fail(const char *why)
{
    fprintf(stderr, "paqet secret: %s\n", why);
    return 1;
}

/* A private key as 64 hex digits on standard input. */
static bool read_private(uint8_t key[PQ_X25519_LEN])
{
    char line[256];
    bool ok = fgets(line, sizeof line, stdin) && pq_hex_read(line, key, PQ_X25519_LEN);
    const char *rest = line + (size_t)2 * PQ_X25519_LEN;
    ok = ok && rest[strspn(rest, " \t\r\n")] == 0;
    explicit_bzero(line, sizeof line);
    return ok;
}

static int print_public(void)
{
    uint8_t key[PQ_X25519_LEN], pub[PQ_X25519_LEN];
    if (!read_private(key))
        return fail("--public wants a private key of 64 hex digits on standard input, as --pair "
                    "prints it: paqet secret --public < FILE");
    const int e = pq_crypt_global_init() || pq_x25519_public(key, pub);
    explicit_bzero(key, sizeof key);
    if (e)
        return fail("libgcrypt cannot compute the public key");
    print_hex("", pub);
    return 0;
}

static int print_pair(void)
{
    uint8_t key[PQ_X25519_LEN], pub[PQ_X25519_LEN];
    random_key(key);
    if (pq_crypt_global_init() || pq_x25519_public(key, pub))
        return fail("libgcrypt cannot compute the public key");
    print_hex("private_key: ", key);
    print_hex("public_key: ", pub);
    explicit_bzero(key, sizeof key);
    return 0;
}

int pq_cmd_secret(int argc, char **argv)
{
    uint8_t key[PQ_X25519_LEN];
    if (argc == 2 && strcmp(argv[1], "--pair") == 0)
        return print_pair();
    if (argc == 2 && strcmp(argv[1], "--public") == 0)
        return print_public();
    if (argc > 1) {
        fprintf(stderr,
                "paqet secret: unexpected argument '%s'; it takes --pair, --public or none\n",
                argv[argc > 2 ? 2 : 1]);
        return 1;
    }
    random_key(key);
    print_hex("", key);
    explicit_bzero(key, sizeof key);
    return 0;
}
