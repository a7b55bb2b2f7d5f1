/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <string.h>

const char *pq_strerror(int err)
{
    switch (err) {
    case 0:
        return "success";
    case PQ_EINVAL:
        return "value out of range";
    case PQ_ENOMEM:
        return "out of memory";
    case PQ_EAGAIN:
        return "no room now";
    case PQ_EPROTO:
        return "peer broke the protocol";
    case PQ_ECLOSED:
        return "closed";
    case PQ_ETIMEOUT:
        return "timed out";
    case PQ_EMORE:
        return "incomplete message";
    case PQ_ENOTSUP:
        return "not supported";
    case PQ_EFAMILY:
        return "peer speaks the other header family";
    case PQ_EDENIED:
        return "not allowed by the server's rules";
    case PQ_EREPLACED:
        return "replaced by another session";
    case PQ_EREVOKED:
        return "no user of this server any more";
    case PQ_EUNREAD:
        return "nobody reads what came";
    default:
        return strerror(err < 0 ? -err : err);
    }
}

const char *pq_drop_name(enum pq_drop d)
{
    static const char *const names[PQ_DROP_COUNT] = {
        [PQ_DROP_NONE] = "used",
        [PQ_DROP_BAD_ADDR] = "impossible address",
        [PQ_DROP_SHORT_FRAME] = "short frame",
        [PQ_DROP_NOT_TCP] = "not TCP",
        [PQ_DROP_IP_FRAGMENT] = "IP fragment",
        [PQ_DROP_IP6_EXT] = "IPv6 extension header",
        [PQ_DROP_NO_PAYLOAD] = "no payload",
        [PQ_DROP_TRUNCATED] = "truncated by the kernel",
        [PQ_DROP_NOT_PEER] = "not from the server",
        [PQ_DROP_SHORT] = "short datagram",
        [PQ_DROP_AUTH] = "wrong key or cipher",
        [PQ_DROP_REFLECTED] = "our own, sent back",
        [PQ_DROP_FEC] = "FEC of no use",
        [PQ_DROP_OOB] = "out-of-band of no use",
        [PQ_DROP_CONV] = "other conversation",
        [PQ_DROP_SEGMENT] = "bad KCP segment",
        [PQ_DROP_NO_SESSION] = "no session",
        [PQ_DROP_REPLAY] = "replayed",
        [PQ_DROP_HANDSHAKE] = "handshake of no use",
        [PQ_DROP_USER] = "handshake of an unknown user",
        [PQ_DROP_STAMP] = "handshake that is not later than the last",
        [PQ_DROP_RATE] = "too many handshakes",
        [PQ_DROP_FULL] = "limit reached",
        [PQ_DROP_ELSEWHERE] = "handed over to another worker",
    };
    return (unsigned)d < PQ_DROP_COUNT ? names[d] : "unknown";
}
