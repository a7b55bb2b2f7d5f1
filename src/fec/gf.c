/* SPDX-License-Identifier: MIT */
#include "fec/gf.h"

#include <stdbool.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#include <tmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* Powers of 2, which are all numbers but 0, and which power each number is. */
static const uint8_t power[255] = {
    1,   2,   4,   8,   16,  32,  64,  128, 29,  58,  116, 232, 205, 135, 19,  38,  76,  152, 45,
    90,  180, 117, 234, 201, 143, 3,   6,   12,  24,  48,  96,  192, 157, 39,  78,  156, 37,  74,
    148, 53,  106, 212, 181, 119, 238, 193, 159, 35,  70,  140, 5,   10,  20,  40,  80,  160, 93,
    186, 105, 210, 185, 111, 222, 161, 95,  190, 97,  194, 153, 47,  94,  188, 101, 202, 137, 15,
    30,  60,  120, 240, 253, 231, 211, 187, 107, 214, 177, 127, 254, 225, 223, 163, 91,  182, 113,
    226, 217, 175, 67,  134, 17,  34,  68,  136, 13,  26,  52,  104, 208, 189, 103, 206, 129, 31,
    62,  124, 248, 237, 199, 147, 59,  118, 236, 197, 151, 51,  102, 204, 133, 23,  46,  92,  184,
    109, 218, 169, 79,  158, 33,  66,  132, 21,  42,  84,  168, 77,  154, 41,  82,  164, 85,  170,
    73,  146, 57,  114, 228, 213, 183, 115, 230, 209, 191, 99,  198, 145, 63,  126, 252, 229, 215,
    179, 123, 246, 241, 255, 227, 219, 171, 75,  150, 49,  98,  196, 149, 55,  110, 220, 165, 87,
    174, 65,  130, 25,  50,  100, 200, 141, 7,   14,  28,  56,  112, 224, 221, 167, 83,  166, 81,
    162, 89,  178, 121, 242, 249, 239, 195, 155, 43,  86,  172, 69,  138, 9,   18,  36,  72,  144,
    61,  122, 244, 245, 247, 243, 251, 235, 203, 139, 11,  22,  44,  88,  176, 125, 250, 233, 207,
    131, 27,  54,  108, 216, 173, 71,  142,
};

static const uint8_t exponent[256] = {
    0,   0,   1,   25,  2,   50,  26,  198, 3,   223, 51,  238, 27,  104, 199, 75,  4,   100, 224,
    14,  52,  141, 239, 129, 28,  193, 105, 248, 200, 8,   76,  113, 5,   138, 101, 47,  225, 36,
    15,  33,  53,  147, 142, 218, 240, 18,  130, 69,  29,  181, 194, 125, 106, 39,  249, 185, 201,
    154, 9,   120, 77,  228, 114, 166, 6,   191, 139, 98,  102, 221, 48,  253, 226, 152, 37,  179,
    16,  145, 34,  136, 54,  208, 148, 206, 143, 150, 219, 189, 241, 210, 19,  92,  131, 56,  70,
    64,  30,  66,  182, 163, 195, 72,  126, 110, 107, 58,  40,  84,  250, 133, 186, 61,  202, 94,
    155, 159, 10,  21,  121, 43,  78,  212, 229, 172, 115, 243, 167, 87,  7,   112, 192, 247, 140,
    128, 99,  13,  103, 74,  222, 237, 49,  197, 254, 24,  227, 165, 153, 119, 38,  184, 180, 124,
    17,  68,  146, 217, 35,  32,  137, 46,  55,  63,  209, 91,  149, 188, 207, 205, 144, 135, 151,
    178, 220, 252, 190, 97,  242, 86,  211, 171, 20,  42,  93,  158, 132, 60,  57,  83,  71,  109,
    65,  162, 31,  45,  67,  216, 183, 123, 164, 118, 196, 23,  73,  236, 127, 12,  111, 246, 108,
    161, 59,  82,  41,  157, 85,  170, 251, 96,  134, 177, 187, 204, 62,  90,  203, 89,  95,  176,
    156, 169, 160, 81,  11,  245, 22,  235, 122, 117, 44,  215, 79,  174, 213, 233, 230, 231, 173,
    232, 116, 214, 244, 234, 168, 80,  88,  175,
};

uint8_t pq_gf_mul(uint8_t a, uint8_t b)
{
    return a && b ? power[(exponent[a] + exponent[b]) % 255] : 0;
}

uint8_t pq_gf_inv(uint8_t a)
{
    return a ? power[(255 - exponent[a]) % 255] : 0;
}

void pq_gf_table(uint8_t c, uint8_t table[PQ_GF_TABLE])
{
    for (uint8_t i = 0; i < 16; i++) {
        table[i] = pq_gf_mul(c, i);
        table[16 + i] = pq_gf_mul(c, (uint8_t)(i << 4));
    }
}

/* ---- sixteen bytes at once, where the processor has an instruction for it.  Each returns how many
 * bytes it has done; the rest is for plain C. */

#if defined(__x86_64__) || defined(__i386__)

/* To ask the processor takes longer than all of a row, in a virtual machine a thousand times. */
static bool has_ssse3(void)
{
    static _Atomic signed char known = -1;
    unsigned a, b, c, d;
    if (known < 0)
        known = __get_cpuid(1, &a, &b, &c, &d) && c & bit_SSSE3;
    return known;
}

__attribute__((target("ssse3"))) static size_t add_wide(const uint8_t *table, const uint8_t *from,
                                                        uint8_t *to, size_t n)
{
    if (!has_ssse3())
        return 0;
    const __m128i low = _mm_loadu_si128((const __m128i_u *)table);
    const __m128i high = _mm_loadu_si128((const __m128i_u *)(table + 16));
    const __m128i half = _mm_set1_epi8(15);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i_u *)(from + i));
        const __m128i was = _mm_loadu_si128((const __m128i_u *)(to + i));
        const __m128i l = _mm_shuffle_epi8(low, _mm_and_si128(v, half));
        const __m128i h = _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi64(v, 4), half));
        _mm_storeu_si128((__m128i_u *)(to + i), _mm_xor_si128(was, _mm_xor_si128(l, h)));
    }
    return i;
}

#elif defined(__aarch64__) && defined(__ARM_NEON)

static size_t add_wide(const uint8_t *table, const uint8_t *from, uint8_t *to, size_t n)
{
    const uint8x16_t low = vld1q_u8(table), high = vld1q_u8(table + 16);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const uint8x16_t v = vld1q_u8(from + i);
        const uint8x16_t l = vqtbl1q_u8(low, vandq_u8(v, vdupq_n_u8(15)));
        const uint8x16_t h = vqtbl1q_u8(high, vshrq_n_u8(v, 4));
        vst1q_u8(to + i, veorq_u8(vld1q_u8(to + i), veorq_u8(l, h)));
    }
    return i;
}

#else

static size_t add_wide(const uint8_t *table, const uint8_t *from, uint8_t *to, size_t n)
{
    (void)table;
    (void)from;
    (void)to;
    (void)n;
    return 0;
}

#endif

void pq_gf_add(const uint8_t table[PQ_GF_TABLE], const uint8_t *from, uint8_t *to, size_t n)
{
    for (size_t i = add_wide(table, from, to, n); i < n; i++)
        to[i] ^= table[from[i] & 15] ^ table[16 + (from[i] >> 4)];
}
