/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include "base/pages.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

/* Where AddressSanitizer is, what is not handed out may not be touched. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) && __has_include(<sanitizer/asan_interface.h>)
#define WATCHED 1
#endif
#elif defined __SANITIZE_ADDRESS__
#define WATCHED 1
#endif
#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#define SHUT(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define OPEN(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define SHUT(p, n) ((void)(p), (void)(n))
#define OPEN(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN      alignof(max_align_t)
#define UP(n)      (((n) + ALIGN - 1) / ALIGN * ALIGN)
#define HEAD       UP(sizeof(struct slab))
#define SLAB_MIN   ((size_t)64 << 10)
#define SLAB_MAX   ((size_t)256 << 10) /* unless not one object fits */
#define SLAB_EACH  15                  /* objects that are worth a slab */
#define OBJECT_MAX ((size_t)1 << 20)

struct slab {            /* at the start of its memory, which lies at a multiple of its length */
    struct pq_list link; /* in pool->open, while it has room */
    void *free;          /* those that came back, singly linked through the first word */
    size_t used;         /* handed out now */
    size_t made;         /* ever handed out: the rest was never touched */
};

void pq_pool_init(struct pq_pool *p, size_t size, size_t limit, size_t keep)
{
    assert(size <= OBJECT_MAX);
    size = size < sizeof(void *) ? sizeof(void *) : size;
    size_t step = UP(size), slab = SLAB_MIN;
    while (HEAD + step > slab || (slab < SLAB_MAX && (slab - HEAD) / step < SLAB_EACH))
        slab *= 2;
    *p = (struct pq_pool){.size = size,
                          .step = step,
                          .limit = limit,
                          .keep = keep,
                          .slab = slab,
                          .each = (slab - HEAD) / step};
    pq_list_init(&p->open);
}

static void give_back(struct pq_pool *p, struct slab *s)
{
    pq_list_remove(&s->link);
    OPEN(s, p->slab);
    pq_pages_free(s, p->slab);
    p->n_slabs--;
}

void pq_pool_fini(struct pq_pool *p)
{
    assert(p->used == 0);
    while (p->n_slabs)
        give_back(p, PQ_OF(p->open.next, struct slab, link));
}

static struct slab *slab_with_room(struct pq_pool *p)
{
    if (!pq_list_empty(&p->open))
        return PQ_OF(p->open.next, struct slab, link);
    struct slab *s = pq_pages_new(p->slab);
    if (!s)
        return NULL;
    SHUT((uint8_t *)s + HEAD, p->slab - HEAD);
    pq_list_push(&p->open, &s->link);
    p->n_slabs++;
    return s;
}

void *pq_pool_get(struct pq_pool *p)
{
    bool over = p->budget && p->budget->used + p->size > p->budget->limit;
    struct slab *s = over || (p->limit && p->used >= p->limit) ? NULL : slab_with_room(p);
    if (!s)
        return NULL;
    void *obj = s->free;
    if (!obj)
        obj = (uint8_t *)s + HEAD + s->made++ * p->step;
    OPEN(obj, p->size);
    if (obj == s->free)
        memcpy(&s->free, obj, sizeof s->free);
    if (++s->used == p->each)
        pq_list_remove(&s->link);
    p->used++;
    if (p->budget)
        p->budget->used += p->size;
    return obj;
}

/* Slabs of which nothing is in use are the last ones of the list. */
static void trim(struct pq_pool *p)
{
    struct slab *last = PQ_OF(p->open.prev, struct slab, link);
    if (!last->used && p->n_slabs * p->each >= 2 * p->used + p->keep + p->each)
        give_back(p, last);
}

void pq_pool_put(struct pq_pool *p, void *obj)
{
    if (!obj)
        return;
    assert(p->used > 0);
    p->used--;
    if (p->budget)
        p->budget->used -= p->size;
    struct slab *s = (void *)((uint8_t *)obj - ((uintptr_t)obj & (p->slab - 1)));
    memcpy(obj, &s->free, sizeof s->free);
    s->free = obj;
    SHUT(obj, p->size);
    if (s->used-- == p->each) /* the fullest is the next to be filled, and the others get empty */
        pq_list_insert_before(p->open.next, &s->link);
    if (!s->used) {
        pq_list_remove(&s->link);
        pq_list_push(&p->open, &s->link);
    }
    trim(p);
}
