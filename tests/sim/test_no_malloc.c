/* SPDX-License-Identifier: MIT */
/* test_no_malloc.c - no datagram of our own wire costs an allocation once a transfer is under way:
 * what the cores and tunnel/ ask the C library and the kernel for is counted while a hub works. */
#include "base/pages.h"
#include "tunnel/syns.h"
#include "world.h"

#define FEW 8 /* what happens now and then, whatever is carried */

static unsigned inside;    /* a hub at work */
static uint64_t allocated; /* times, since counting began */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_pq_pages_new(size_t n);
void __real_pq_hub_input(struct pq_hub *h, struct pq_frame *f, pq_ns now);
void __real_pq_hub_rx_end(struct pq_hub *h, pq_ns now);
void __real_pq_hub_tick(struct pq_hub *h, pq_ns now);
size_t __real_pq_hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t max, pq_ns now);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_pq_pages_new(size_t n);
void __wrap_pq_hub_input(struct pq_hub *h, struct pq_frame *f, pq_ns now);
void __wrap_pq_hub_rx_end(struct pq_hub *h, pq_ns now);
void __wrap_pq_hub_tick(struct pq_hub *h, pq_ns now);
size_t __wrap_pq_hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t max, pq_ns now);

void *__wrap_malloc(size_t n)
{
    allocated += inside;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocated += inside;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocated += inside;
    return __real_realloc(p, n);
}

void *__wrap_pq_pages_new(size_t n)
{
    allocated += inside;
    return __real_pq_pages_new(n);
}

void __wrap_pq_hub_input(struct pq_hub *h, struct pq_frame *f, pq_ns now)
{
    inside = 1;
    __real_pq_hub_input(h, f, now);
    inside = 0;
}

void __wrap_pq_hub_rx_end(struct pq_hub *h, pq_ns now)
{
    inside = 1;
    __real_pq_hub_rx_end(h, now);
    inside = 0;
}

void __wrap_pq_hub_tick(struct pq_hub *h, pq_ns now)
{
    inside = 1;
    __real_pq_hub_tick(h, now);
    inside = 0;
}

size_t __wrap_pq_hub_pull(struct pq_hub *h, struct pq_slot *slots, size_t max, pq_ns now)
{
    inside = 1;
    const size_t n = __real_pq_hub_pull(h, slots, max, now);
    inside = 0;
    return n;
}

static void transfer(enum pq_look look, unsigned loss, uint64_t up, uint64_t down)
{
    struct world_conf c = world_keyed(20 * PQ_MS);
    struct pq_syns *syns = NULL;
    world_no_syns(&syns);
    c.hub[SERVER].syns = syns;
    for (unsigned i = 0; i < 2; i++) {
        c.hub[i].look = i == CLIENT ? look : PQ_LOOK_PLAUSIBLE;
        c.hub[i].rmem = 6U << 20;
        c.hub[i].link_mtu = 1500;
        c.hub[i].kcp.congestion = PQ_CONGESTION_BBR;
        c.hub[i].smux.stream_buf = 8 << 20;
        c.link[i].rate = 12500000 / UT_LESS;
        c.link[i].queue = c.link[i].rate / 10;
        c.link[i].loss = loss;
    }
    struct world *w = world_new(&c, ut_seed("no malloc"));
    world_run(w, w->now + PQ_SEC, NULL);
    struct half *h = world_open(w, up, down);
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    struct half *other = &w->half[SERVER][h->index];
    const uint64_t packets = w->end[0].packets + w->end[1].packets, got = h->rx_at + other->rx_at;
    allocated = 0;
    world_run(w, w->now + 5 * PQ_SEC, NULL);
    const uint64_t n = allocated, sent = w->end[0].packets + w->end[1].packets - packets;
    printf("look %d, loss %u: %llu allocations, %llu datagrams, %.1f Mbit/s\n", (int)look, loss,
           (unsigned long long)n, (unsigned long long)sent,
           (double)(h->rx_at + other->rx_at - got) * 8 / 5e6);
    assert_true(sent >= 20000 / UT_LESS);
    /* while a hole is open what is behind it lies in memory that pools get and give back by slabs
     */
    assert_true(n <= (loss ? sent / 200 : FEW));
    w->sloppy = true;
    world_free(w);
    pq_syns_free(&syns);
}

static void downloads(void **state)
{
    (void)state;
    for (unsigned look = PQ_LOOK_CLASSIC; look <= PQ_LOOK_CONNECT; look++)
        for (unsigned loss = 0; loss <= 20; loss += 20)
            transfer((enum pq_look)look, loss, 100, (uint64_t)1 << 40);
}

static void uploads(void **state)
{
    (void)state;
    transfer(PQ_LOOK_PLAUSIBLE, 0, (uint64_t)1 << 40, 0);
    transfer(PQ_LOOK_PLAUSIBLE, 20, (uint64_t)1 << 40, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(downloads), cmocka_unit_test(uploads)};
    if (pq_crypt_global_init())
        return 1;
    return cmocka_run_group_tests_name("no malloc", tests, NULL, NULL);
}
