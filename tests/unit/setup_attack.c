/* SPDX-License-Identifier: MIT */
/* setup_attack.c - the service's user, whose program may have been taken over, owns a folder into
 * which root writes: he puts a link to a file of root's in the place of what is made for him. */
#include "base/time.h"
#include "os/local.h"
#include "setup/setup_internal.h"
#include "setup_tests.h"
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/paqet-attack-XXXXXX";

enum { HIS = 54321 };

struct attack {
    char his[64], path[80], victim[64], link[80];
    pid_t pid;
    pq_ns until;
};

static void attack_begin(struct attack *a)
{
    if (geteuid() != 0)
        skip();
    snprintf(a->his, sizeof a->his, "%s/his", folder);
    snprintf(a->path, sizeof a->path, "%s/it", a->his);
    snprintf(a->link, sizeof a->link, "%s/link", a->his);
    snprintf(a->victim, sizeof a->victim, "%s/victim", folder);
    assert_int_equal(mkdir(a->his, 0700), 0);
    assert_int_equal(chown(a->his, HIS, HIS), 0);
    assert_int_equal(pq_file_write(a->victim, "root", 4, 0600, NULL), 0);
    a->until = pq_clock() + PQ_SEC;
    a->pid = fork();
    if (a->pid == 0) {
        for (;;)
            if (link(a->victim, a->link) || rename(a->link, a->path) || unlink(a->path))
                unlink(a->link);
    }
    assert_true(a->pid > 0);
}

static bool attack_goes_on(const struct attack *a)
{
    struct stat st;
    return pq_clock() < a->until && stat(a->victim, &st) == 0 && st.st_uid == 0 && st.st_gid == 0;
}

/* Whether the file is root's still. */
static void attack_end(const struct attack *a)
{
    struct stat st;
    kill(a->pid, SIGKILL);
    waitpid(a->pid, NULL, 0);
    assert_int_equal(stat(a->victim, &st), 0);
    assert_true(st.st_uid == 0 && st.st_gid == 0);
    unlink(a->link);
    unlink(a->path);
}

static void attack_clean(const struct attack *a)
{
    unlink(a->path);
    unlink(a->victim);
    rmdir(a->his);
}

static void files_of_his(void **state)
{
    (void)state;
    const struct pq_init_opts o = {.folder = folder};
    struct pq_setup s = {.o = &o, .name = "server", .own_user = true, .uid = HIS, .gid = HIS};
    struct attack a;
    struct stat st;
    assert_int_equal(pq_made_load(&s.made, folder), 0);
    attack_begin(&a);
    while (attack_goes_on(&a))
        pq_setup_write(&s, a.path, "his", 3, PQ_SETUP_OWN);
    attack_end(&a);
    assert_true(pq_setup_write(&s, a.path, "his", 3, PQ_SETUP_OWN));
    assert_int_equal(stat(a.path, &st), 0);
    assert_true(st.st_uid == HIS && st.st_gid == HIS && (st.st_mode & 07777) == 0600);
    assert_true(pq_setup_write(&s, a.path, "seen", 4, PQ_SETUP_READ));
    assert_int_equal(stat(a.path, &st), 0);
    assert_true(st.st_uid == 0 && st.st_gid == HIS && (st.st_mode & 07777) == 0640);
    attack_clean(&a);
    unlink(s.made.path);
    pq_made_free(&s.made);
}

static void sockets_of_his(void **state)
{
    (void)state;
    struct attack a;
    struct stat st;
    attack_begin(&a);
    while (attack_goes_on(&a)) {
        const int fd = pq_local_listen(a.path);
        if (fd >= 0)
            close(fd);
    }
    attack_end(&a);
    const int fd = pq_local_listen(a.path);
    assert_true(fd >= 0);
    assert_int_equal(stat(a.path, &st), 0);
    assert_true(st.st_uid == HIS && st.st_gid == HIS && (st.st_mode & 0777) == 0600);
    close(fd);
    attack_clean(&a);
}

int setup_attack(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_of_his),
                                       cmocka_unit_test(sockets_of_his)};
    if (!mkdtemp(folder))
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + (rmdir(folder) != 0);
}
