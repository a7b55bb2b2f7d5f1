/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "cli/help.h"
#include "os/process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Options of commands that ask a paqet that runs. */
#define WHICH_ONE                                                                                  \
    "  -c, --config FILE  what it was started with; may be left out where only one runs\n"         \
    "  -s, --socket PATH  its control socket\n"

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;    /* in one line */
    const char *options; /* for --help behind the command */
} commands[] = {
    {"init", pq_cmd_init,
     "init server | client LINK | bridge LINK: set up, install, start and check",
     "For all:\n"
     "      --dry-run         show what would be done, and do nothing\n"
     "      --force           in place of a configuration that is there\n"
     "      --name NAME       of configuration and service; server, client or bridge\n"
     "      --config-dir DIR  instead of /etc/paqet\n"
     "      --no-service      write the files, start nothing\n"
     "      --remove [NAME]   take back what init did, all of it or that configuration\n"
     "init server:\n"
     "  -p, --port PORT       or a range: 20000-20100; a free one is chosen\n"
     "      --address HOST    that clients use: the public one behind NAT; up to 4 times\n"
     "  -i, --interface NAME  the one of the default route\n"
     "      --user NAME       a link for each; again for more\n"
     "      --label TEXT      name in the links; the host's\n"
     "      --no-tun          no TUN device for clients that send everything\n"
     "      --quic            speak QUIC in place of kcp; the links say so to clients\n"
     "      --bridge PORTS    let clients reach these ports of this machine; or: all\n"
     "      --key-of LINK     one more server for who has this link: makes a link for all\n"
     "      --bundle FILE     make an archive with program and link, to carry by hand\n"
     "      --qr              print the QR code in any case\n"
     "init client LINK:\n"
     "      --socks ADDR:PORT where the proxy listens; 127.0.0.1:1080\n"
     "      --tun             send all of this machine through the tunnel\n"
     "init bridge LINK:\n"
     "      --ports LIST      such as 443,2053,8000-8100,53/udp\n"
     "      --all-ports       all, but those that a program here listens on\n"
     "      --except LIST     with --all-ports: these stay as well; those of SSH\n"
     "      --target HOST     they lead to, as the server sees it; 127.0.0.1\n"
     "      --listen ADDR     of this machine; all\n"
     "LINK may be a file that holds it, or - for standard input: nobody sees it in ps then.\n"},
    {"link", pq_cmd_link, "link [--user NAME]: show the links that init has made again",
     "      --user NAME       of that user alone\n"
     "      --qr              with QR code\n"
     "      --bundle FILE     an archive with program and link, to carry by hand\n"
     "      --name NAME       of another server than the one called server\n"
     "      --config-dir DIR  instead of /etc/paqet\n"
     "  -c, --config FILE     make one of a client's configuration, ...\n"
     "      --tunnel NAME     ... of several tunnels this one, ...\n"
     "      --address HOST    ... with this address of the server\n"
     "      --format paqetn   as the programs paqetN and paqetNG read it\n"},
    {"check", pq_cmd_check, "check -c FILE: find out what is in the way, here and at the server",
     "  -c, --config FILE   of a client or a server; config.yaml if it is left out, or else the "
     "only\n"
     "                      one in /etc/paqet\n"
     "      --tunnel NAME   of several tunnels in FILE this one\n"
     "      --json          print it for programs\n"
     "      --quick         a client: nothing is measured\n"
     "      --speed S       seconds to measure the speed each way, up to 10; 4. 0: that is left "
     "out\n"
     "  -w, --wait S        seconds to wait for the server's answer; 8\n"
     "      --listen S      a server: see for S seconds what arrives, and whether it has the right "
     "keys\n"},
    {"run", pq_cmd_run, "run -c FILE: run the client or server that FILE configures",
     "  -c, --config FILE   the configuration; config.yaml if it is left out\n"
     "      --user NAME     root starts it, but it runs as this user, with the capabilities for\n"
     "                      raw packets, network settings and low ports alone\n"},
    {"status", pq_cmd_status, "status [--watch] [--json]: what the running one does",
     WHICH_ONE "      --watch        again each second\n"
               "      --json         as the program says it, see docs/control.md\n"},
    {"top", pq_cmd_top, "top [--watch] [--kill ID]: its streams, the busiest first",
     WHICH_ONE "      --watch        again each second\n"
               "  -n, --lines N      so many; 20 if it is left out\n"
               "      --kill ID      ends a stream\n"
               "      --json         as the program says it, see docs/control.md\n"},
    {"log", pq_cmd_log, "log [-f] [--level LEVEL]: the last lines of its log",
     WHICH_ONE "  -n, --lines N      so many; 50 if it is left out\n"
               "  -f, --follow       and those that come\n"
               "      --level LEVEL  instead: what is logged from now on\n"},
    {"reload", pq_cmd_reload, "reload [-c FILE]: have the running one read its configuration again",
     WHICH_ONE},
    {"secret", pq_cmd_secret, "secret [--pair | --public]: make a random key",
     "      --pair    a private and a public key, for transport.private_key and public_key\n"
     "      --public  the public key that belongs to the private one on standard input\n"},
    {"user", pq_cmd_user, "user add NAME | del NAME | list: who may use a server",
     "  -c, --config FILE     the server's configuration, which is changed; config.yaml if it is\n"
     "                        left out, or else the only one in /etc/paqet. A server that runs\n"
     "                        follows at once\n"
     "  -s, --socket PATH     its control socket, where that is not what FILE says\n"
     "      --link            add: print his link instead\n"
     "      --qr              add: the link as a QR code, too\n"
     "      --address HOST    add: by which the link leads here; as the links of init if it is "
     "left "
     "out\n"
     "      --public-key KEY  add: of a pair that the user has made himself\n"
     "add writes a configuration for the client to standard output, or with --link a link.\n"},
    {"forward", pq_cmd_forward, "forward add LISTEN TARGET | del LISTEN | list: ports of a client",
     "  -c, --config FILE    the client's configuration, which is changed; config.yaml if it is "
     "left\n"
     "                       out, or else the only one in /etc/paqet. A client that runs follows\n"
     "                       at once\n"
     "  -s, --socket PATH    its control socket, where that is not what FILE says\n"
     "      --tunnel NAME    of several tunnels in FILE this one; not needed where only one fits\n"
     "      --protocol WORD  add: tcp (if it is left out), udp, or tcp,udp\n"
     "      --name NAME      add: for the log; del takes it, too\n"},
    {"iface", pq_cmd_iface, "list interfaces, addresses and routers, for the configuration", ""},
    {"ping", pq_cmd_ping, "ping -c FILE [-t HOST:PORT]: measure round trips through the tunnel",
     "  -c, --config FILE     a client's configuration; config.yaml if it is left out, or else "
     "the\n"
     "                        only one in /etc/paqet\n"
     "      --tunnel NAME     of several tunnels in FILE this one\n"
     "  -n, --count N         so many; 4 if it is left out, 0: until Ctrl-C\n"
     "  -i, --interval S      seconds from one to the next; 1\n"
     "  -w, --wait S          seconds to wait for an answer; 10\n"
     "  -t, --target H:P      connect to this target from the server each time\n"
     "      --json            print figures for programs\n"
     "      --packet          send one forged packet instead; dump at the server shows it\n"
     "      --payload TEXT    the same, and what it carries\n"},
    {"dump", pq_cmd_dump, "dump -c FILE: show the packets that come in, layer by layer",
     "  -i, --interface NAME   where they come in\n"
     "  -p, --port PORT        that they go to, or a range of them\n"
     "  -c, --config FILE      what comes to this server or client, with its keys: a line a "
     "datagram\n"
     "      --tunnel NAME      of several tunnels in FILE this one\n"
     "  -r, --read FILE        packets of a pcap file, of both directions\n"
     "  -w, --write FILE       keep them in a pcap file\n"
     "      --stats            count them by kind until Ctrl-C, to compare both ends; with -c\n"
     "      --hex              with -c, too: all bytes of the payload\n"},
    {"version", pq_cmd_version, "show version and build", ""},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *f)
{
    fprintf(f,
            "paqet carries TCP and UDP through networks that filter protocols, inside forged TCP "
            "packets.\n\nUsage: paqet COMMAND [OPTIONS]\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(f,
            "\n'paqet COMMAND --help' tells its options. The configuration file is described in\n"
            "docs/configuration.md and paqet.yaml(5).\n");
}

static int command_usage(const struct command *c)
{
    /* behind the form of the command, where it has one */
    const char *about = strstr(c->help, ": ");
    printf("%s\n\nUsage: paqet %.*s\n", about ? about + 2 : c->help,
           about ? (int)(about - c->help) : (int)strlen(c->name), about ? c->help : c->name);
    if (*c->options)
        printf("\nOptions:\n%s", c->options);
    pq_cli_examples(c->name);
    return 0;
}

static bool is_help(const char *arg)
{
    return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

/* Options whose value is the next argument: so the command is found behind them, too. */
static bool takes_value(const char *arg)
{
    static const char *const names[] = {
        "-c",         "--config", "-i",        "--interface", "-p",           "--port",
        "--payload",  "-s",       "--snaplen", "--socket",    "--public-key", "-n",
        "--lines",    "--kill",   "--level",   "--protocol",  "--name",       "--count",
        "--interval", "-w",       "--wait",    "-t",          "--target",     "--tunnel"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(arg, names[i]))
            return true;
    return false;
}

/* The Go programs take the command behind its options as well, and "-c=FILE".  Puts the command
 * first, and "-cFILE" in the place of that.  Returns false if there is no command. */
static bool sort_arguments(int argc, char **argv)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-')
        at += takes_value(argv[at]) ? 2 : 1;
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-' && argv[i][1] && argv[i][1] != '-' && argv[i][2] == '=')
            memmove(argv[i] + 2, argv[i] + 3, strlen(argv[i] + 2));
    if (at >= argc)
        return false;
    char *command = argv[at];
    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
    argv[1] = command;
    return true;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(name, commands[i].name))
            return &commands[i];
    return NULL;
}

static int run_command(const struct command *c, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (is_help(argv[i]))
            return command_usage(c);
        i += takes_value(argv[i]);
    }
    if (!*c->options && argc > 2) {
        fprintf(stderr, "paqet %s: unexpected argument '%s'; it takes none\n", c->name, argv[2]);
        return 1;
    }
    if (pq_cli_mistyped(c->name, c->options, argc - 2, argv + 2))
        return 1;
    char name[32]; /* as getopt says it in front of what is wrong */
    snprintf(name, sizeof name, "paqet %s", c->name);
    argv[1] = name;
    pq_process_protect(); /* each may have keys in its memory */
    return c->main(argc - 1, argv + 1);
}

/* What other programs of this kind have as a command, and this one elsewhere. */
static const char *elsewhere(const char *word)
{
    static const char *const words[][2] = {
        {"remove", "To take back what init did: paqet init --remove"},
        {"uninstall", "To take back what init did: paqet init --remove"},
        {"install", "To set up: paqet init server, or paqet init client LINK"},
        {"setup", "To set up: paqet init server, or paqet init client LINK"},
        {"server", "To set up: paqet init server. To run a file: paqet run -c FILE"},
        {"client", "To set up: paqet init client LINK. To run a file: paqet run -c FILE"},
        {"start",
         "The service does that, as the last lines of init say: systemctl start paqet@NAME"},
        {"stop", "The service does that, as the last lines of init say: systemctl stop paqet@NAME"},
        {"restart",
         "The service does that, as the last lines of init say: systemctl restart paqet@NAME"},
        {"test", "To see whether it works: paqet check"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i][0]) == 0)
            return words[i][1];
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *names[N_COMMANDS + 1] = {NULL};
    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const char *meant = pq_cli_meant(word, names), *instead = elsewhere(word);
    fprintf(stderr, "Error: unknown command \"%s\" for \"paqet\"\n", word);
    if (instead)
        fprintf(stderr, "%s. ", instead);
    else if (meant)
        fprintf(stderr, "Did you mean 'paqet %s'? ", meant);
    fprintf(stderr, "Run 'paqet help' for usage.\n");
    return 1;
}

int pq_cli_load_all(struct pq_conf *c, const char *path)
{
    struct pq_conf_msgs m;
    int e = pq_conf_load(c, path, &m);
    pq_conf_msgs_print(&m, path, stderr);
    if (e)
        fprintf(stderr, "paqet: %s has %u error%s; nothing was started\n", path, m.errors,
                m.errors == 1 ? "" : "s");
    pq_conf_msgs_free(&m);
    if (e)
        pq_conf_free(c);
    return e ? 1 : 0;
}

/* The long dash that text programs make of two short ones: says what to type. */
static bool has_long_dash(int argc, char **argv)
{
    static const char *const dashes[] = {"\xe2\x80\x93", "\xe2\x80\x94", "\xe2\x88\x92"};
    for (int i = 1; i < argc; i++)
        for (size_t k = 0; k < sizeof dashes / sizeof dashes[0]; k++) {
            const char *word = argv[i][0] == '-' ? argv[i] + 1 : argv[i];
            if (strncmp(word, dashes[k], strlen(dashes[k])) != 0)
                continue;
            fprintf(stderr,
                    "paqet: '%s' begins with a long dash, as text programs make it; type two plain "
                    "ones: --%s\n",
                    argv[i], word + strlen(dashes[k]));
            return true;
        }
    return false;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader of the output that goes away does not end the tunnel */
    if (has_long_dash(argc, argv))
        return 1;
    if (argc > 1 && !strcmp(argv[1], "--version"))
        argv[1] = "version";
    if (argc > 2 && !strcmp(argv[1], "help") && find_command(argv[2]))
        return command_usage(find_command(argv[2]));
    if (argc > 1 && (is_help(argv[1]) || !strcmp(argv[1], "help"))) {
        usage(stdout);
        return 0;
    }
    if (!sort_arguments(argc, argv)) {
        if (argc > 1)
            fprintf(stderr,
                    "Error: unknown flag or missing command: %s\nRun 'paqet help' for usage.\n",
                    argv[1]);
        else
            usage(stderr);
        return 1;
    }
    if (find_command(argv[1]))
        return run_command(find_command(argv[1]), argc, argv);
    return unknown_command(argv[1]);
}
