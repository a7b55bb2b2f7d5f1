/* SPDX-License-Identifier: MIT */
#include "base/rng.h"
#include "cli/cli.h"

int pq_cmd_secret(int argc, char **argv)
{
    struct pq_rng rng;
    uint8_t key[32];
    (void)argc;
    (void)argv;
    pq_rng_init(&rng);
    pq_rng_fill(&rng, key, sizeof key);
    for (size_t i = 0; i < sizeof key; i++)
        printf("%02x", key[i]);
    printf("\n");
    return 0;
}
