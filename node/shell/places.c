/* See places.h. Strangers stand in a list in the order in which they came, so the first one is at
 * hand; those of one address in a bucket, which is about as long as the limit for one address. All
 * speakers are looked through only when all places are taken. */
#include "node/shell/places.h"

#include <string.h>

#include "base/invariant.h"

enum { NETWORK_BYTES = 8 };

static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF}; /* ::ffff:a.b.c.d */

/* ---- addresses ---- */

bool places_stream_host(nng_stream *stream, uint8_t host[PLACES_HOST_BYTES])
{
    nng_sockaddr sa;
    memset(host, 0, PLACES_HOST_BYTES);
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &sa) != 0)
        return false;
    if (sa.s_family == NNG_AF_INET) {
        memcpy(host, mapped, sizeof mapped);
        memcpy(host + sizeof mapped, &sa.s_in.sa_addr, 4);
        return true;
    }
    if (sa.s_family != NNG_AF_INET6)
        return false;
    memcpy(host, sa.s_in6.sa_addr, PLACES_HOST_BYTES);
    places_to_network(host);
    return true;
}

void places_to_network(uint8_t host[PLACES_HOST_BYTES])
{
    static const uint8_t own[NETWORK_BYTES] = {0}; /* ::1, and mapped ones */
    bool is_link_local = host[0] == 0xFE && (host[1] & 0xC0) == 0x80;
    if (!is_link_local && memcmp(host, own, sizeof own) != 0)
        memset(host + NETWORK_BYTES, 0, PLACES_HOST_BYTES - NETWORK_BYTES);
}

bool places_is_same(const uint8_t a[PLACES_HOST_BYTES], const uint8_t b[PLACES_HOST_BYTES])
{
    return memcmp(a, b, PLACES_HOST_BYTES) == 0;
}

bool places_is_loopback(const uint8_t host[PLACES_HOST_BYTES])
{
    static const uint8_t six[PLACES_HOST_BYTES] = {[15] = 1};
    return places_is_same(host, six) ||
           (memcmp(host, mapped, sizeof mapped) == 0 && host[sizeof mapped] == 127);
}

static size_t bucket_of(const uint8_t host[PLACES_HOST_BYTES])
{
    uint64_t words[2];
    memcpy(words, host, sizeof words);
    uint64_t mixed = (words[0] ^ words[1]) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 32) % PLACES_BUCKETS;
}

/* ---- who has to go ---- */

/* Of each kind the one that was silent for longest; NULL: there is none. */
struct choice {
    struct place *any, *unknown;
};

static uint64_t since(const struct place *p)
{
    return atomic_load_explicit(&p->since_ms, memory_order_relaxed);
}

static void older(struct place **best, struct place *p)
{
    if (*best == NULL || since(p) < since(*best))
        *best = p;
}

static struct place *either(const struct choice *c)
{
    return c->unknown != NULL ? c->unknown : c->any;
}

/* The first one, of those who are not known if there is one. */
static struct place *first_stranger(const struct places *ps)
{
    struct choice c = {0};
    for (struct list *node = ps->strangers.next; node != &ps->strangers && c.unknown == NULL;
         node = node->next) {
        struct place *p = LIST_ENTRY(node, struct place, link);
        c.any = c.any == NULL ? p : c.any;
        c.unknown = p->known ? NULL : p;
    }
    return either(&c);
}

static bool may_go(const struct places *ps, const struct place *p, uint64_t now_ms)
{
    bool spared = since(p) + PLACES_SPARED_MS > now_ms;
    return !spared && (ps->is_busy == NULL || !ps->is_busy(p));
}

static struct place *silent_speaker(const struct places *ps, uint64_t now_ms)
{
    struct choice c = {0};
    for (struct list *node = ps->speakers.next; node != &ps->speakers; node = node->next) {
        struct place *p = LIST_ENTRY(node, struct place, link);
        if (!may_go(ps, p, now_ms))
            continue;
        older(&c.any, p);
        if (!p->known)
            older(&c.unknown, p);
    }
    return either(&c);
}

struct place *places_victim(const struct places *ps, uint64_t now_ms)
{
    struct place *p = first_stranger(ps);
    return p != NULL ? p : silent_speaker(ps, now_ms);
}

/* How many are from there, and who of them goes first. */
static uint32_t count_host(const struct places *ps, const uint8_t host[PLACES_HOST_BYTES],
                           uint64_t now_ms, struct place **victim)
{
    uint32_t n = 0;
    struct place *stranger = NULL, *speaker = NULL;
    const struct list *bucket = &ps->hosts[bucket_of(host)];
    for (struct list *node = bucket->next; node != bucket; node = node->next) {
        struct place *p = LIST_ENTRY(node, struct place, by_host);
        if (!places_is_same(p->host, host))
            continue;
        n++;
        if (!p->spoke)
            older(&stranger, p);
        else if (may_go(ps, p, now_ms))
            older(&speaker, p);
    }
    *victim = stranger != NULL ? stranger : speaker;
    return n;
}

static enum places_room room_if(struct place *victim)
{
    return victim != NULL ? PLACES_ROOM_IF : PLACES_FULL;
}

enum places_room places_ask(const struct places *ps, const uint8_t host[PLACES_HOST_BYTES],
                            bool known, uint64_t now_ms, struct place **victim)
{
    const struct places_limits *l = &ps->limits;
    uint32_t host_max = known ? l->known_host_max : l->host_max;
    uint32_t max = known ? l->max : l->max - l->kept;
    *victim = NULL;
    if (ps->n >= host_max && count_host(ps, host, now_ms, victim) >= host_max)
        return room_if(*victim);
    *victim = NULL;
    if (ps->strangers_n >= l->strangers_max)
        *victim = first_stranger(ps);
    else if (ps->n >= max)
        *victim = places_victim(ps, now_ms);
    else
        return PLACES_ROOM;
    return room_if(*victim);
}

/* ---- coming and going ---- */

void places_init(struct places *ps, const struct places_limits *limits,
                 bool (*is_busy)(const struct place *p))
{
    INVARIANT(limits->kept < limits->max && limits->strangers_max > 0 && limits->host_max > 0);
    *ps = (struct places){.limits = *limits, .is_busy = is_busy};
    list_init(&ps->strangers);
    list_init(&ps->speakers);
    for (size_t i = 0; i < PLACES_BUCKETS; i++)
        list_init(&ps->hosts[i]);
}

void places_take(struct places *ps, struct place *p, uint64_t now_ms)
{
    p->spoke = false;
    atomic_store_explicit(&p->since_ms, now_ms, memory_order_relaxed);
    list_init(&p->link);
    list_init(&p->by_host);
    list_push(&ps->strangers, &p->link);
    list_push(&ps->hosts[bucket_of(p->host)], &p->by_host);
    ps->n++;
    ps->strangers_n++;
}

static bool has_place(const struct place *p)
{
    return !list_is_empty(&p->by_host);
}

void places_spoke(struct places *ps, struct place *p)
{
    if (!has_place(p) || p->spoke)
        return;
    p->spoke = true;
    list_remove(&p->link);
    list_push(&ps->speakers, &p->link);
    ps->strangers_n--;
}

void places_leave(struct places *ps, struct place *p)
{
    if (!has_place(p))
        return;
    list_remove(&p->by_host);
    list_remove(&p->link);
    ps->n--;
    if (!p->spoke)
        ps->strangers_n--;
    INVARIANT(ps->strangers_n <= ps->n);
}

void places_met(struct places *ps, const uint8_t host[PLACES_HOST_BYTES])
{
    struct list *bucket = &ps->hosts[bucket_of(host)];
    for (struct list *node = bucket->next; node != bucket; node = node->next) {
        struct place *p = LIST_ENTRY(node, struct place, by_host);
        p->known |= places_is_same(p->host, host);
    }
}
