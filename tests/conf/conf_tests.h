/* SPDX-License-Identifier: MIT */
/* conf_tests.h - texts with every documented key, shared by the tests of the configuration. */
#ifndef PQ_TESTS_CONF_TESTS_H
#define PQ_TESTS_CONF_TESTS_H
#include "base/err.h"
#include "conf/conf.h"
#include "unit.h"

#define SECRET "correct-horse-battery"

/* Every key that family A knows, except those of quic. */
#define CONF_FAMILY_A                                                                              \
    "role: client\n"                                                                               \
    "log:\n"                                                                                       \
    "  level: debug\n"                                                                             \
    "socks5:\n"                                                                                    \
    "  - listen: 127.0.0.1:1080\n"                                                                 \
    "    username: me\n"                                                                           \
    "    password: " SECRET "\n"                                                                   \
    "forward:\n"                                                                                   \
    "  - listen: 127.0.0.1:8080\n"                                                                 \
    "    target: 127.0.0.1:80\n"                                                                   \
    "    protocol: tcp\n"                                                                          \
    "tun: {enabled: false, name: tun0, addr: 10.0.0.2/24, mtu: 1400}\n"                            \
    "network:\n"                                                                                   \
    "  interface: eth0\n"                                                                          \
    "  guid: '\\Device\\NPF_{0}'\n"                                                                \
    "  ipv4:\n"                                                                                    \
    "    addr: 192.0.2.1:0\n"                                                                      \
    "    router_mac: 02:00:5e:10:00:01\n"                                                          \
    "  ipv6:\n"                                                                                    \
    "    addr: '[2001:db8::1]:0'\n"                                                                \
    "    router_mac: 02-00-5E-10-00-0a\n"                                                          \
    "  tcp:\n"                                                                                     \
    "    local_flag: [PA, A]\n"                                                                    \
    "    remote_flag: ['', SFRPAUECN, AAPP]\n"                                                     \
    "  pcap:\n"                                                                                    \
    "    sockbuf: 16777216\n"                                                                      \
    "    send_queue_size: 20000\n"                                                                 \
    "    max_retries: 5\n"                                                                         \
    "    initial_backoff_ms: 15\n"                                                                 \
    "    max_backoff_ms: 2000\n"                                                                   \
    "server:\n"                                                                                    \
    "  addr: 203.0.113.7:9999\n"                                                                   \
    "transport:\n"                                                                                 \
    "  protocol: kcp\n"                                                                            \
    "  conn: 4\n"                                                                                  \
    "  tcpbuf: 65536\n"                                                                            \
    "  udpbuf: 16384\n"                                                                            \
    "  tunbuf: 65536\n"                                                                            \
    "  kcp:\n"                                                                                     \
    "    mode: manual\n"                                                                           \
    "    nodelay: 1\n"                                                                             \
    "    interval: 20\n"                                                                           \
    "    resend: 3\n"                                                                              \
    "    nocongestion: 1\n"                                                                        \
    "    wdelay: true\n"                                                                           \
    "    acknodelay: true\n"                                                                       \
    "    mtu: 1400\n"                                                                              \
    "    rcvwnd: 4096\n"                                                                           \
    "    sndwnd: 2048\n"                                                                           \
    "    block: salsa20\n"                                                                         \
    "    key: " SECRET "\n"                                                                        \
    "    smuxbuf: 4194304\n"                                                                       \
    "    streambuf: 2097152\n"                                                                     \
    "performance:\n"                                                                               \
    "  max_concurrent_streams: 5000\n"                                                             \
    "  packet_workers: 4\n"                                                                        \
    "  stream_worker_pool_size: 1000\n"                                                            \
    "  tcp_connection_pool_size: 64\n"                                                             \
    "  tcp_connection_idle_timeout: 75\n"                                                          \
    "  enable_connection_pooling: false\n"                                                         \
    "  max_retry_attempts: 6\n"                                                                    \
    "  retry_initial_backoff_ms: 100\n"                                                            \
    "  retry_max_backoff_ms: 5000\n"                                                               \
    "  connection_health_check_ms: 1000\n"                                                         \
    "  tcp_flag_refresh_ms: 5000\n"

/* Every key that family B knows, and those of this program. */
#define CONF_FAMILY_B                                                                              \
    "role: \"client\"\n"                                                                           \
    "log: {level: warn}\n"                                                                         \
    "socks5:\n"                                                                                    \
    "  - listen: '[::1]:1080'\n"                                                                   \
    "  - listen: ':1081'\n"                                                                        \
    "    username: ''\n"                                                                           \
    "    password: ''\n"                                                                           \
    "network:\n"                                                                                   \
    "  interface: eth0\n"                                                                          \
    "  backend: pcap\n"                                                                            \
    "  ipv4:\n"                                                                                    \
    "    addr: 192.0.2.1:7777\n"                                                                   \
    "    router_mac: 02:00:5e:10:00:01\n"                                                          \
    "  ipv6:\n"                                                                                    \
    "    addr: '[2001:db8::1]:7777'\n"                                                             \
    "    router_mac: 02:00:5e:10:00:01\n"                                                          \
    "  tcp:\n"                                                                                     \
    "    local_flag: [PA]\n"                                                                       \
    "    remote_flag: [PA]\n"                                                                      \
    "  pcap: {sockbuf: 4194304}\n"                                                                 \
    "server:\n"                                                                                    \
    "  addr: server.example:9999\n"                                                                \
    "transport:\n"                                                                                 \
    "  protocol: kcp\n"                                                                            \
    "  conn: 1\n"                                                                                  \
    "  header: binary\n"                                                                           \
    "  kcp:\n"                                                                                     \
    "    mode: fast3\n"                                                                            \
    "    mtu: 1350\n"                                                                              \
    "    rcvwnd: 512\n"                                                                            \
    "    sndwnd: 128\n"                                                                            \
    "    dshard: 0\n"                                                                              \
    "    pshard: 0\n"                                                                              \
    "    block: aes-128-gcm\n"                                                                     \
    "    key: " SECRET "\n"                                                                        \
    "    smuxbuf: 4194304\n"                                                                       \
    "    streambuf: 2097152\n"                                                                     \
    "    smuxkalive: 2\n"                                                                          \
    "    smuxktimeout: 8\n"

#define CONF_SERVER                                                                                \
    "role: server\n"                                                                               \
    "listen: {addr: ':9999'}\n"                                                                    \
    "allow: public\n"                                                                              \
    "transport:\n"                                                                                 \
    "  kcp:\n"                                                                                     \
    "    key: " SECRET "\n"

#define CONF_CLIENT                                                                                \
    "role: client\n"                                                                               \
    "server: {addr: '203.0.113.7:9999'}\n"                                                         \
    "socks5: [{listen: '127.0.0.1:1080'}]\n"                                                       \
    "transport:\n"                                                                                 \
    "  kcp:\n"                                                                                     \
    "    key: " SECRET "\n"

struct want {
    int line;
    const char *text; /* a part of the message, its key first */
};

struct parsed {
    struct pq_conf c;
    struct pq_conf_msgs m;
    int e;
};

void forget_advice(struct pq_conf_msgs *m);
void parse(struct parsed *p, const char *text); /* also checks that no message shows SECRET */
void release(struct parsed *p);
void expect_clean(const struct parsed *p); /* not a message */

/* Exactly these errors (or warnings), in any order; a line of -1 is any. */
void expect(const struct parsed *p, bool error, const struct want *w, size_t n);
void one_error(const char *text, int line, const char *part);
void one_warning(const char *text, int line, const char *part); /* and no error */

int conf_quic(void);
int conf_scalar(void);
int conf_tunnels(void);
int conf_edit(void);
int conf_listen(void);
int conf_front(void);
int conf_fuzz(void);
#endif
