/* SPDX-License-Identifier: MIT */
/* test_passed.c - what a client remembers of how servers were reached. */
#include "app/passed.h"
#include "base/err.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#define WALL UINT64_C(1700000000000)

static struct pq_addr server(unsigned i)
{
    struct pq_addr a;
    if (i % 2)
        pq_addr_set4(&a, (const uint8_t[]){192, 0, 2, (uint8_t)i}, 9999);
    else
        a = (struct pq_addr){{0x20, 1, 0xd, 0xb8, [15] = (uint8_t)i}, (uint16_t)i};
    return a;
}

static int read_text(struct pq_passed *p, const char *text)
{
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(f);
    const int e = pq_passed_read(p, f);
    fclose(f);
    return e;
}

static void notes(void **state)
{
    (void)state;
    struct pq_passed p = {0};
    const struct pq_addr a = server(1), b = server(2);
    assert_false(pq_passed_note(&p, &a, 0, WALL));
    assert_true(pq_passed_note(&p, &a, 1, WALL));
    assert_false(pq_passed_note(&p, &a, 1, WALL + 5));
    assert_true(pq_passed_note(&p, &b, 4, WALL));
    assert_int_equal(pq_passed_of(&p, &a, WALL), 1);
    assert_int_equal(pq_passed_of(&p, &b, WALL), 4);
    assert_int_equal(pq_passed_of(&p, &b, WALL - 1), 0);
    assert_int_equal(pq_passed_of(&p, &a, WALL + PQ_PASSED_KEPT - 1), 1);
    assert_int_equal(pq_passed_of(&p, &a, WALL + PQ_PASSED_KEPT), 0);
    assert_true(pq_passed_note(&p, &a, 1, WALL + PQ_PASSED_KEPT)); /* found anew */
    assert_int_equal(pq_passed_of(&p, &a, WALL + PQ_PASSED_KEPT), 1);
    assert_true(pq_passed_note(&p, &b, 0, WALL));
    assert_int_equal(p.n, 1);
    for (unsigned i = 3; i < 3 + PQ_PASSED_MAX; i++) {
        const struct pq_addr s = server(i);
        assert_true(pq_passed_note(&p, &s, 2, WALL));
    }
    assert_int_equal(p.n, PQ_PASSED_MAX);
    assert_int_equal(pq_passed_of(&p, &a, WALL + PQ_PASSED_KEPT), 0);
}

static void text(void **state)
{
    (void)state;
    struct pq_passed p = {0}, q;
    char *t;
    size_t n;
    for (unsigned i = 0; i < PQ_PASSED_MAX; i++) {
        const struct pq_addr s = server(i);
        pq_passed_note(&p, &s, 1 + i % 4, WALL + i);
    }
    FILE *f = open_memstream(&t, &n);
    assert_true(pq_passed_write(&p, f));
    fclose(f);
    assert_int_equal(read_text(&q, t), 0);
    assert_int_equal(q.n, PQ_PASSED_MAX);
    for (unsigned i = 0; i < q.n; i++) {
        const struct pq_addr s = server(i);
        assert_int_equal(pq_passed_of(&q, &s, WALL + i), 1 + i % 4);
    }
    free(t);
    static const char *const wrong[] = {
        "x",
        "paqet passed 1\n",
        "paqet passed 1\n192.0.2.1 9999 1 5\n",
        "paqet passed 1\n192.0.2.1 9999 0 5\nend\n",
        "paqet passed 1\n192.0.2.1 9999 10 5\nend\n",
        "paqet passed 1\n192.0.2 9999 1 5\nend\n",
        "paqet passed 1\n192.0.2.1 9999 1\nend\n",
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(read_text(&q, wrong[i]), PQ_EPROTO);
        assert_int_equal(q.n, 0);
    }
}

static void file(void **state)
{
    (void)state;
    char folder[] = "/tmp/paqet-passed-XXXXXX", path[64];
    struct pq_passed p;
    const struct pq_addr a = server(1);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/passed", folder);
    pq_passed_load(path, &p);
    assert_int_equal(p.n, 0);
    assert_int_equal(pq_passed_keep(path, &a, 3, WALL), 0);
    pq_passed_load(path, &p);
    assert_int_equal(pq_passed_of(&p, &a, WALL), 3);
    assert_int_equal(pq_passed_keep(path, &a, 0, WALL), 0);
    pq_passed_load(path, &p);
    assert_int_equal(p.n, 0);
    unlink(path);
    rmdir(folder); /* nothing else is left there */
    assert_int_not_equal(access(folder, F_OK), 0);
    assert_true(pq_passed_keep(path, &a, 3, WALL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes),
        cmocka_unit_test(text),
        cmocka_unit_test(file),
    };
    return ut_run(tests);
}
