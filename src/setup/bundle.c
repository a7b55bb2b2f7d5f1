/* SPDX-License-Identifier: MIT */
/* bundle.c - one archive to be carried to a machine that can download nothing. */
#include "setup/setup_internal.h"

#include "base/err.h"
#include "os/process.h"
#include "os/spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROGRAM_MAX ((size_t)256 << 20)

static const char words[] =
    "This folder holds the program paqet (for machines of the kind %s) and, in the file link, all "
    "that it needs\n"
    "to know to reach its server. Whoever has that file is that user: keep it secret, and remove "
    "it when it is\n"
    "no longer needed.\n"
    "\n"
    "On the machine that is to use the tunnel, in this folder:\n"
    "\n"
    "    sudo ./paqet init client link          programs use a proxy on this machine\n"
    "    sudo ./paqet init client link --tun    all of this machine goes through the tunnel\n"
    "    sudo ./paqet init bridge link --ports 443,8000-8100\n"
    "                                           ports of this machine lead to the same ones of the "
    "server\n"
    "\n"
    "To take it back: sudo paqet init --remove\n";

bool pq_bundle_may_write(const char *path, bool force)
{
    char folder[PATH_MAX];
    struct stat st;
    if (lstat(path, &st) == 0 && (!force || !S_ISREG(st.st_mode))) {
        pq_setup_say("--bundle: %s is there already: name another file, or remove it", path);
        return false;
    }
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    if (access(slash ? folder : ".", W_OK | X_OK)) {
        pq_setup_say("--bundle: nothing can be written to the folder %s: %s", slash ? folder : ".",
                     strerror(errno));
        return false;
    }
    return true;
}

/* Who has called sudo carries the archive away, and is not root then. */
static int write_for_caller(const char *path, const struct pq_tar_file *v, size_t n)
{
    const char *uid = getenv("SUDO_UID"), *gid = getenv("SUDO_GID");
    if (geteuid() != 0 || !uid || !gid)
        return pq_tar_write(path, v, n, NULL);
    const struct pq_file_owner caller = {(unsigned)strtoul(uid, NULL, 10),
                                         (unsigned)strtoul(gid, NULL, 10)};
    const int no = pq_tar_write(path, v, n, &caller), e = no ? pq_tar_write(path, v, n, NULL) : 0;
    if (no && !e) /* a file system without owners, say */
        pq_setup_say("--bundle: %s stays root's: %s", path, pq_strerror(no));
    return e;
}

bool pq_bundle_write(const char *path, const char *link, const char *user)
{
    char self[PATH_MAX], text[2048], line[PQ_LINK_MAX + 1];
    struct utsname u;
    size_t n = 0;
    uname(&u);
    char *program = pq_spawn_self(self, sizeof self) ? NULL : pq_file_read(self, PROGRAM_MAX, &n);
    snprintf(text, sizeof text, words, u.machine);
    snprintf(line, sizeof line, "%s\n", link);
    const struct pq_tar_file files[] = {{"paqet/paqet", program, n, 0755},
                                        {"paqet/link", line, strlen(line), 0600},
                                        {"paqet/README", text, strlen(text), 0644}};
    const int e = program ? write_for_caller(path, files, 3) : PQ_ENOMEM;
    free(program);
    explicit_bzero(line, sizeof line);
    if (e) {
        pq_setup_say("--bundle: %s cannot be written: %s", path, pq_strerror(e));
        return false;
    }
    printf("%s holds the program and the link of %s; on the other machine:\n"
           "  tar xf %s && cd paqet && sudo ./paqet init client link\n",
           path, user, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    if (!pq_process_is_static())
        printf("NOTE: this program needs libraries that the other machine may not have; one that "
               "needs none makes script/release\n");
    return true;
}
