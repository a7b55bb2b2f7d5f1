/* SPDX-License-Identifier: MIT */
/* The test pattern: byte n is byte n mod 8 (little endian) of a mixed n / 8. Every offset can be
 * computed on its own, and no shift of the stream by less than 2^61 bytes looks the same. */
#include "load.h"

#include <string.h>

static uint64_t word_at(uint64_t index) /* the output function of splitmix64 */
{
    uint64_t z = (index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(word_at(offset / 8) >> (offset % 8 * 8));
}

static void put_word(uint8_t *bytes, uint64_t word)
{
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(word >> (i * 8));
}

void pattern_fill(uint8_t *bytes, size_t len, uint64_t offset)
{
    size_t i = 0;
    for (; i < len && (offset + i) % 8 != 0; i++)
        bytes[i] = byte_at(offset + i);
    for (; len - i >= 8; i += 8)
        put_word(bytes + i, word_at((offset + i) / 8));
    for (; i < len; i++)
        bytes[i] = byte_at(offset + i);
}

size_t pattern_match(const uint8_t *bytes, size_t len, uint64_t offset)
{
    uint8_t expected[4096];
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < sizeof expected ? len - done : sizeof expected;
        pattern_fill(expected, piece, offset + done);
        if (memcmp(bytes + done, expected, piece) != 0) {
            for (size_t i = 0; i < piece; i++)
                if (bytes[done + i] != expected[i])
                    return done + i;
        }
        done += piece;
    }
    return len;
}

uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ bytes[i]) * 0x100000001B3u;
    return sum;
}
