/* SPDX-License-Identifier: MIT */
/* fec_wrap.c - the encoder at the end of its ids, which no test has the time to count to: this
 * file takes the encoder's own source to set the next one [3.1]. */
#include "fec_ref.h"

#include "fec/fec_enc.c" /* NOLINT(bugprone-suspicious-include) */

/* Groups up to the end of the ids and behind it; those of `late` get no parity. */
static void over_the_end(unsigned d, unsigned p, unsigned late)
{
    struct pq_fec_enc *e;
    uint8_t b[FEC_BYTES] = {0};
    uint32_t g = d + p, limit = ref_limit(g);
    pq_ns now = 1;
    assert_int_equal(pq_fec_enc_new(&e, d, p), 0);
    if (!e)
        return;
    assert_int_equal(e->limit, limit);
    assert_int_equal(limit % g, 0);
    assert_true((uint64_t)limit + g > 0xffffffff);
    e->next = limit - 2 * g;
    pq_fec_enc_data(e, b, 0, now); /* a predecessor, not at the end of a group */
    for (unsigned i = 1; i < d + p; i++)
        if (i < d)
            pq_fec_enc_data(e, b, 0, now);
        else if (d > 1)
            assert_int_equal(pq_fec_enc_parity(e, b, sizeof b), 8);
    for (uint32_t group = 1; group < 5; group++) {
        uint32_t first = group == 1 ? limit - g : (group - 2) * g;
        for (unsigned i = 0; i < d; i++) {
            now += late >> group & 1 && i == d - 1 ? 500 * PQ_MS : 1;
            assert_int_equal(pq_fec_enc_data(e, b, 3, now), 11);
            assert_int_equal(pq_le32(b), first + i);
        }
        for (unsigned i = d; i < g && !(late >> group & 1); i++) {
            assert_int_equal(pq_fec_enc_parity(e, b, sizeof b), 11);
            assert_int_equal(pq_le32(b), first + i);
        }
        assert_int_equal(pq_fec_enc_parity(e, b, sizeof b), 0);
    }
    pq_fec_enc_free(&e);
}

static void encoder_wraps(void **state)
{
    (void)state;
    static const unsigned shape[][2] = {{1, 1},  {2, 1},   {4, 1},   {4, 2},
                                        {10, 3}, {1, 255}, {255, 1}, {128, 128}};
    for (size_t i = 0; i < COUNT_OF(shape); i++)
        for (unsigned late = 0; late < 32; late += shape[i][0] + shape[i][1] < 256 ? 2 : 10)
            over_the_end(shape[i][0], shape[i][1], late);
}

int fec_wrap(void)
{
    const struct CMUnitTest wrap[] = {cmocka_unit_test(encoder_wraps)};
    return ut_run(wrap);
}
