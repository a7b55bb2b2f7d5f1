/* SPDX-License-Identifier: MIT */
#include "cli/help.h"

#include "base/near.h"

#include <stdio.h>
#include <string.h>

#define NAME_LEN  32
#define NAMES_MAX 48

static const struct {
    const char *command, *text;
} examples[] = {
    {"init",
     "  sudo ./paqet init server                        on the server; it prints a link\n"
     "  sudo ./paqet init client 'paqet://...'           on the other machine\n"
     "  sudo ./paqet init client link.txt --tun          all of it, the link in a file\n"
     "  sudo ./paqet init server --bridge 443,8000-8100  for what runs on the server itself\n"
     "  sudo ./paqet init bridge 'paqet://...' --ports 443,8000-8100\n"
     "  sudo paqet init --remove                         takes all of it back\n"},
    {"link", "  sudo paqet link --user ali --qr\n"
             "  sudo paqet link -c client.yaml --format paqetn\n"},
    {"check", "  sudo paqet check -c /etc/paqet/client.yaml\n"
              "  sudo paqet check -c /etc/paqet/server.yaml --listen 20  while a client asks\n"},
    {"ping", "  sudo paqet ping -c /etc/paqet/client.yaml\n"
             "  sudo paqet ping -c client.yaml -n 0 -i 0.2 -t 127.0.0.1:443\n"},
    {"run", "  sudo paqet run -c client.yaml\n"},
    {"secret", "  paqet secret --pair\n"
               "  paqet secret --public < private.key\n"},
    {"dump", "  sudo paqet dump -i eth0 -p 9999\n"
             "  sudo paqet dump -c /etc/paqet/server.yaml --stats\n"
             "  sudo paqet dump -c /etc/paqet/server.yaml -r packets.pcap\n"},
    {"status", "  sudo paqet status --watch\n"},
    {"top", "  sudo paqet top --watch\n"},
    {"log", "  sudo paqet log -f\n"
            "  sudo paqet log --level debug\n"},
    {"reload", "  sudo paqet reload -c /etc/paqet/server.yaml\n"},
    {"user", "  sudo paqet user add sara --link --qr\n"
             "  sudo paqet user add sara -c /etc/paqet/server.yaml > sara.yaml\n"
             "  sudo paqet user del sara -c /etc/paqet/server.yaml\n"},
    {"forward",
     "  sudo paqet forward add 127.0.0.1:5432 db.example.com:5432 -c /etc/paqet/client.yaml\n"},
};

void pq_cli_examples(const char *command)
{
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++)
        if (!strcmp(examples[i].command, command))
            printf("\nExamples:\n%s", examples[i].text);
}

const char *pq_cli_meant(const char *word, const char *const *names)
{
    const char *best = NULL;
    unsigned least = 64;
    for (; *names; names++) {
        const unsigned d = pq_text_distance(word, *names);
        if (d < least) {
            best = *names;
            least = d;
        }
    }
    /* two slips, but not more than half of a short word */
    return least <= 2 && (size_t)2 * least <= strlen(word) ? best : NULL;
}

/* The long options that a text of help names, without the dashes. */
static size_t list_options(const char *text, char out[NAMES_MAX][NAME_LEN])
{
    size_t n = 0;
    while (n < NAMES_MAX && (text = strstr(text, "--"))) {
        text += 2;
        const size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz-");
        if (len && len < NAME_LEN)
            snprintf(out[n++], NAME_LEN, "%.*s", (int)len, text);
        text += len;
    }
    return n;
}

bool pq_cli_mistyped(const char *command, const char *options, int argc, char **argv)
{
    char names[NAMES_MAX][NAME_LEN];
    const char *list[NAMES_MAX + 1];
    const size_t n = list_options(options, names);
    for (size_t i = 0; i < n; i++)
        list[i] = names[i];
    list[n] = NULL;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char word[NAME_LEN];
        const size_t len = strncmp(argv[i], "--", 2) == 0 ? strcspn(argv[i] + 2, "=") : 0;
        bool known = !len || len >= NAME_LEN;
        for (size_t k = 0; k < n && !known; k++)
            known = strncmp(names[k], argv[i] + 2, len) == 0; /* getopt takes beginnings, too */
        if (known)
            continue;
        snprintf(word, sizeof word, "%.*s", (int)len, argv[i] + 2);
        const char *meant = pq_cli_meant(word, list);
        if (meant)
            fprintf(stderr, "paqet %s: there is no option --%s; did you mean --%s?\n", command,
                    word, meant);
        if (meant)
            return true;
    }
    return false;
}
