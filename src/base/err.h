/* SPDX-License-Identifier: MIT */
/* err.h - the one number space of errors, and the reasons for which a packet is dropped.
 * A bad packet is a statistic (enum pq_drop); an error ends something (negative int). */
#ifndef PQ_BASE_ERR_H
#define PQ_BASE_ERR_H

/* 0 = success; -errno from the system; below these codes of our own. */
enum {
    PQ_EINVAL = -10001,    /* an argument or setting is out of its range */
    PQ_ENOMEM = -10002,    /* a memory bound was reached, or malloc failed */
    PQ_EAGAIN = -10003,    /* no room now; nothing changed */
    PQ_EPROTO = -10004,    /* the peer broke the protocol; the stream or session ends */
    PQ_ECLOSED = -10005,   /* the stream or session has ended */
    PQ_ETIMEOUT = -10006,  /* the peer gave no sign of life in time */
    PQ_EMORE = -10007,     /* the message is not complete yet; call again with more bytes */
    PQ_ENOTSUP = -10008,   /* not supported by this build or system */
    PQ_EFAMILY = -10009,   /* the peer speaks the other header family */
    PQ_EDENIED = -10010,   /* the rules of this server do not allow the target */
    PQ_EREPLACED = -10011, /* another session has taken the place of this one */
    PQ_EREVOKED = -10012,  /* its user is let in no more */
    PQ_EUNREAD = -10013,   /* nobody reads what came, and others had to wait for it */
};

/* Text for any error of this program or the system; static storage, never NULL. */
const char *pq_strerror(int err);

/* Why a packet was not used.  Each has a counter; none is ever answered. */
enum pq_drop {
    PQ_DROP_NONE = 0,
    PQ_DROP_BAD_ADDR,    /* an address that no packet may have: IPv4-mapped, in an IPv6 header */
    PQ_DROP_SHORT_FRAME, /* link, IP or TCP header cut off, or a length that lies */
    PQ_DROP_NOT_TCP,     /* EtherType or IP protocol is another */
    PQ_DROP_IP_FRAGMENT, /* IPv4 fragments are not reassembled */
    PQ_DROP_IP6_EXT,     /* IPv6 extension headers are not read */
    PQ_DROP_NO_PAYLOAD,  /* a segment without data: RST, keepalive of other software */
    PQ_DROP_TRUNCATED,   /* the kernel delivered less than was on the wire */
    PQ_DROP_NOT_PEER,    /* client: not from the server's address and port */
    PQ_DROP_SHORT,       /* datagram shorter than its layer's header */
    PQ_DROP_AUTH,        /* CRC or tag wrong: other key, other cipher, or noise */
    PQ_DROP_REFLECTED,   /* what this side has sealed came back */
    PQ_DROP_FEC,         /* FEC packet that is malformed, too old or fits nothing */
    PQ_DROP_OOB,         /* out-of-band packet that is malformed, or of no use here */
    PQ_DROP_CONV,        /* KCP: another conversation */
    PQ_DROP_SEGMENT,     /* KCP: unknown command or a length that lies */
    PQ_DROP_NO_SESSION,  /* no session, and the datagram may not open one */
    PQ_DROP_REPLAY,      /* it, or the opening in it, has been seen before */
    PQ_DROP_HANDSHAKE,   /* of our own wire: not for us, malformed, or not authentic */
    PQ_DROP_USER,        /* the same, of a key that no user has */
    PQ_DROP_STAMP,       /* the same, not later than the last of its sender */
    PQ_DROP_RATE,        /* more handshakes than are computed */
    PQ_DROP_FULL,        /* the limit of sessions or memory is reached */
    PQ_DROP_ELSEWHERE,   /* of a session that another worker has: handed over to it */
    PQ_DROP_COUNT
};

/* Short name of a drop reason for logs and counters; static storage, never NULL. */
const char *pq_drop_name(enum pq_drop d);
#endif
