/* SPDX-License-Identifier: MIT */
/* gob_decode.c - reads what Go's encoding/gob writes for the message of [6.2]: type descriptions
 * in any order and with any ids, then one value, whose fields are found by name.  Unknown fields
 * are skipped by their type.  Every count and depth is bounded. */
#include "header/header.h"

#define TYPES_MAX  12
#define FIELDS_MAX 16
#define NAME_MAX   12 /* longer field names are none of ours: cut */
#define DEPTH_MAX  6

enum { ID_BOOL = 1, ID_INT, ID_UINT, ID_FLOAT, ID_BYTES, ID_STRING, ID_COMPLEX, ID_USER = 64 };

enum kind {
    KIND_ARRAY = 1,
    KIND_SLICE,
    KIND_STRUCT,
    KIND_MAP
}; /* field numbers of Go's wireType */

struct field {
    char name[NAME_MAX];
    int64_t type;
};

struct type {
    int64_t id, elem, key;
    enum kind kind;
    unsigned n;
    struct field f[FIELDS_MAX];
};

struct gob {
    struct pq_rd r;
    struct type types[TYPES_MAX];
    unsigned n;
};

static uint64_t get_uint(struct pq_rd *r)
{
    uint8_t b = pq_rd_u8(r);
    if (b < 128)
        return b;
    unsigned n = 256u - b;
    if (n > 8) {
        r->bad = true;
        return 0;
    }
    uint64_t v = 0;
    while (n--)
        v = v << 8 | pq_rd_u8(r);
    return v;
}

static int64_t get_int(struct pq_rd *r)
{
    uint64_t u = get_uint(r);
    return (int64_t)(u & 1 ? ~(u >> 1) : u >> 1);
}

static struct pq_view get_bytes(struct pq_rd *r)
{
    uint64_t n = get_uint(r);
    if (n > PQ_HEADER_MAX)
        r->bad = true;
    const uint8_t *p = r->bad ? NULL : pq_rd_bytes(r, n);
    return (struct pq_view){p, p ? n : 0};
}

/* Next field of a struct: moves *field by the delta.  False at the end of the struct. */
static bool next_field(struct pq_rd *r, int64_t *field)
{
    uint64_t delta = get_uint(r);
    if (r->bad || !delta || delta > 1000)
        return r->bad = r->bad || delta, false;
    *field += (int64_t)delta;
    return true;
}

/* ---- type descriptions: values of Go's wireType, whose shape is fixed */

static void get_name(struct pq_rd *r, char name[NAME_MAX])
{
    struct pq_view v = get_bytes(r);
    size_t n = v.n < NAME_MAX - 1 ? v.n : NAME_MAX - 1;
    if (n)
        memcpy(name, v.p, n);
    name[n] = 0;
}

static void read_common(struct pq_rd *r)
{
    char name[NAME_MAX];
    for (int64_t f = 0; next_field(r, &f);) {
        if (f == 1)
            get_name(r, name);
        else
            get_int(r); /* the id again */
    }
}

static void read_fields(struct pq_rd *r, struct type *t)
{
    uint64_t n = get_uint(r);
    if (n > FIELDS_MAX - t->n) /* of all lists of the type together */
        r->bad = true;
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct field *fd = &t->f[t->n++];
        for (int64_t f = 0; next_field(r, &f);) {
            if (f == 1)
                get_name(r, fd->name);
            else
                fd->type = get_int(r);
        }
    }
}

/* The body of one kind of description: common part first, then what the kind has. */
static void read_kind(struct pq_rd *r, struct type *t)
{
    for (int64_t f = 0; next_field(r, &f);) {
        if (f == 1)
            read_common(r);
        else if (t->kind == KIND_STRUCT)
            read_fields(r, t);
        else if (t->kind == KIND_MAP && f == 2)
            t->key = get_int(r);
        else if (f == 2 || t->kind == KIND_MAP)
            t->elem = get_int(r);
        else
            get_int(r); /* length of an array */
    }
}

static void read_type(struct gob *g, int64_t id)
{
    struct pq_rd *r = &g->r;
    if (g->n == TYPES_MAX) {
        r->bad = true;
        return;
    }
    struct type *t = &g->types[g->n++];
    *t = (struct type){.id = id};
    for (int64_t f = 0; next_field(r, &f);) {
        if (f > KIND_MAP) { /* GobEncoder and the like */
            r->bad = true;
            return;
        }
        t->kind = (enum kind)f;
        read_kind(r, t);
    }
}

static const struct type *find_type(const struct gob *g, int64_t id)
{
    for (unsigned i = 0; i < g->n; i++)
        if (g->types[i].id == id)
            return &g->types[i];
    return NULL;
}

/* ---- values */

static void skip_value(struct gob *g, int64_t id, int depth);

static void skip_elements(struct gob *g, const struct type *t, int depth)
{
    uint64_t n = get_uint(&g->r);
    for (uint64_t i = 0; i < n && !g->r.bad; i++) {
        if (t->kind == KIND_MAP)
            skip_value(g, t->key, depth + 1);
        skip_value(g, t->elem, depth + 1);
    }
}

static int64_t field_type(struct gob *g, const struct type *t, int64_t field)
{
    if (field < 1 || field > (int64_t)t->n) {
        g->r.bad = true;
        return 0;
    }
    return t->f[field - 1].type;
}

static void skip_value(struct gob *g, int64_t id, int depth)
{
    struct pq_rd *r = &g->r;
    if (depth > DEPTH_MAX) {
        r->bad = true;
    } else if (id == ID_BYTES || id == ID_STRING) {
        get_bytes(r);
    } else if (id >= ID_BOOL && id <= ID_FLOAT) {
        get_uint(r);
    } else if (id == ID_COMPLEX) {
        get_uint(r);
        get_uint(r);
    } else {
        const struct type *t = find_type(g, id);
        if (!t || !t->kind)
            r->bad = true;
        else if (t->kind != KIND_STRUCT)
            skip_elements(g, t, depth);
        else
            for (int64_t f = 0; next_field(r, &f) && !r->bad;)
                skip_value(g, field_type(g, t, f), depth + 1);
    }
}

/* A struct type by id, or NULL with the reader latched. */
static const struct type *struct_type(struct gob *g, int64_t id)
{
    const struct type *t = find_type(g, id);
    if (!t || t->kind != KIND_STRUCT) {
        g->r.bad = true;
        return NULL;
    }
    return t;
}

static bool is(const struct type *t, int64_t field, const char *name)
{
    return field >= 1 && field <= (int64_t)t->n && strcmp(t->f[field - 1].name, name) == 0;
}

static void read_addr(struct gob *g, int64_t id, struct pq_request *out)
{
    const struct type *t = struct_type(g, id);
    for (int64_t f = 0; t && next_field(&g->r, &f);) {
        if (is(t, f, "Host")) {
            struct pq_view v = get_bytes(&g->r);
            if (v.n > PQ_HOST_MAX || (v.n && memchr(v.p, 0, v.n))) {
                g->r.bad = true;
                return;
            }
            if (v.n)
                memcpy(out->host, v.p, v.n);
            out->host[v.n] = 0;
        } else if (is(t, f, "Port")) {
            int64_t port = get_int(&g->r);
            g->r.bad = g->r.bad || port < 0 || port > 65535;
            out->port = (uint16_t)port;
        } else {
            skip_value(g, field_type(g, t, f), 1);
        }
    }
}

static uint16_t read_flag_set(struct gob *g, const struct type *t)
{
    static const char names[9][4] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"};
    unsigned set = 0;
    for (int64_t f = 0; next_field(&g->r, &f);) {
        int bit = 0;
        while (bit < 9 && !is(t, f, names[bit]))
            bit++;
        if (bit == 9)
            skip_value(g, field_type(g, t, f), 2);
        else if (get_uint(&g->r))
            set |= 1u << bit;
    }
    return (uint16_t)set;
}

static void read_flags(struct gob *g, int64_t id, struct pq_request *out)
{
    const struct type *slice = find_type(g, id);
    const struct type *t = slice && slice->kind == KIND_SLICE ? struct_type(g, slice->elem) : NULL;
    uint64_t n = get_uint(&g->r);
    if (!t || n > PQ_FLAGS_MAX - (unsigned)out->flags.n) { /* a name may come twice */
        g->r.bad = true;
        return;
    }
    for (uint64_t i = 0; i < n && !g->r.bad; i++)
        out->flags.v[out->flags.n++] = read_flag_set(g, t);
}

static void read_ext(struct gob *g, struct pq_request *out)
{
    struct pq_view v = get_bytes(&g->r);
    if (v.n)
        out->abilities = pq_ext_decode(v.p, v.n);
}

static void read_message(struct gob *g, int64_t id, struct pq_request *out)
{
    const struct type *t = struct_type(g, id);
    uint64_t type = 0;
    *out = (struct pq_request){0};
    for (int64_t f = 0; t && next_field(&g->r, &f) && !g->r.bad;) {
        if (is(t, f, "Type"))
            type = get_uint(&g->r);
        else if (is(t, f, "Addr"))
            read_addr(g, field_type(g, t, f), out);
        else if (is(t, f, "TCPF"))
            read_flags(g, field_type(g, t, f), out);
        else if (is(t, f, "Ext") && field_type(g, t, f) == ID_BYTES)
            read_ext(g, out);
        else
            skip_value(g, field_type(g, t, f), 0);
    }
    if (type < PQ_REQ_PING || type > PQ_REQ_TUN)
        g->r.bad = true;
    else
        out->type = (enum pq_request_type)type;
    if (type != PQ_REQ_PING && type != PQ_REQ_PONG)
        out->abilities = 0; /* the extension is theirs alone [8.2] */
}

/* Length of the message at *all, whose bytes begin at the reader afterwards.  Returns 0, PQ_EMORE
 * (it is not all there) or PQ_EPROTO. */
static int next_message(struct pq_rd *all, const uint8_t **msg, uint64_t *len)
{
    const uint8_t *start = all->p;
    *len = get_uint(all);
    if (all->bad) /* a byte count above 8 is malformed, else the length is cut off */
        return start < all->end && *start >= 128 && 256u - *start > 8 ? PQ_EPROTO : PQ_EMORE;
    if (!*len || *len > PQ_HEADER_MAX)
        return PQ_EPROTO;
    *msg = pq_rd_bytes(all, *len);
    return *msg ? 0 : PQ_EMORE;
}

bool pq_gob_whole(const uint8_t *p, size_t n, size_t *at)
{
    struct pq_rd all = pq_rd_init(p + *at, n - *at);
    const uint8_t *msg;
    uint64_t len;
    int e;
    while (!(e = next_message(&all, &msg, &len))) {
        struct pq_rd r = pq_rd_init(msg, len);
        if (get_int(&r) >= 0 || r.bad)
            return true; /* a value, the end; or nonsense */
        *at = (size_t)(all.p - p);
    }
    return e != PQ_EMORE;
}

int pq_gob_decode(const uint8_t *p, size_t n, struct pq_request *out, size_t *used)
{
    struct pq_rd all = pq_rd_init(p, n);
    struct gob g = {.n = 0};
    for (;;) {
        const uint8_t *msg;
        uint64_t len;
        int e = next_message(&all, &msg, &len);
        if (e)
            return e;
        g.r = pq_rd_init(msg, len);
        int64_t id = get_int(&g.r);
        if (id == INT64_MIN)
            return PQ_EPROTO;
        if (id < 0)
            read_type(&g, -id);
        else
            read_message(&g, id, out);
        if (g.r.bad || pq_rd_left(&g.r))
            return PQ_EPROTO;
        if (id >= 0) {
            *used = (size_t)(all.p - p);
            return 0;
        }
    }
}
