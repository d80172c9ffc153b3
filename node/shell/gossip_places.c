/* Places for those who dial us, when more want one than there are. They are few enough to count
 * them anew for each newcomer.
 *
 * Who has not brought a whole frame yet is a stranger. A node brings one at once, as it dials only
 * when it has something to say; so strangers have a small part of the places, and the one that has
 * been silent for longest goes for the next one, without a time of grace: nobody can hold a place
 * by saying nothing, and whoever comes with a frame gets in. Those who have spoken keep their
 * places: one goes for a newcomer only when all are taken, if it was silent for a while, and from
 * an address that no node of ours is at, if there is one.
 *
 * No address may have more than a part of them. Where a node of ours is (we have a connection to
 * it) and on this machine that is half of all, as many nodes may stand behind one address. */
#include <arpa/inet.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/gossip_impl.h"

/* ---- addresses ---- */

static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF}; /* ::ffff:a.b.c.d */

bool gossip__stream_host(nng_stream *stream, uint8_t host[GOSSIP_HOST_BYTES])
{
    nng_sockaddr sa;
    memset(host, 0, GOSSIP_HOST_BYTES);
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &sa) != 0)
        return false;
    if (sa.s_family == NNG_AF_INET) {
        memcpy(host, mapped, sizeof mapped);
        memcpy(host + sizeof mapped, &sa.s_in.sa_addr, 4);
        return true;
    }
    if (sa.s_family == NNG_AF_INET6)
        memcpy(host, sa.s_in6.sa_addr, GOSSIP_HOST_BYTES);
    return sa.s_family == NNG_AF_INET6;
}

static bool is_same(const uint8_t a[GOSSIP_HOST_BYTES], const uint8_t b[GOSSIP_HOST_BYTES])
{
    return memcmp(a, b, GOSSIP_HOST_BYTES) == 0;
}

static bool is_loopback(const uint8_t host[GOSSIP_HOST_BYTES])
{
    static const uint8_t six[GOSSIP_HOST_BYTES] = {[15] = 1};
    return is_same(host, six) ||
           (memcmp(host, mapped, sizeof mapped) == 0 && host[sizeof mapped] == 127);
}

bool gossip__host_is_known(struct gossip *g, const uint8_t host[GOSSIP_HOST_BYTES])
{
    if (is_loopback(host))
        return true;
    for (struct list *node = g->out.next; node != &g->out; node = node->next) {
        const struct gossip_conn *c = LIST_ENTRY(node, struct gossip_conn, link);
        if (c->up && is_same(c->host, host))
            return true;
    }
    return false;
}

void gossip__host_met(struct gossip *g, const uint8_t host[GOSSIP_HOST_BYTES])
{
    for (struct list *node = g->in.next; node != &g->in; node = node->next) {
        struct gossip_conn *c = LIST_ENTRY(node, struct gossip_conn, link);
        c->known |= is_same(c->host, host);
    }
}

/* ---- places ---- */

/* Of each kind the one that was silent for longest; NULL: there is none. */
struct census {
    uint32_t strangers, of_host;
    struct gossip_conn *stranger, *unknown_stranger, *stranger_of_host;
    struct gossip_conn *speaker, *unknown_speaker, *speaker_of_host;
};

static void first(struct gossip_conn **place, struct gossip_conn *c, bool matches)
{
    if (*place == NULL && matches)
        *place = c;
}

static struct census take_census(struct gossip *g, const uint8_t host[GOSSIP_HOST_BYTES])
{
    struct census s = {0};
    for (struct list *node = g->in.next; node != &g->in; node = node->next) {
        struct gossip_conn *c = LIST_ENTRY(node, struct gossip_conn, link);
        bool here = is_same(c->host, host);
        s.strangers += !c->spoke;
        s.of_host += here;
        first(c->spoke ? &s.speaker : &s.stranger, c, true);
        first(c->spoke ? &s.unknown_speaker : &s.unknown_stranger, c, !c->known);
        first(c->spoke ? &s.speaker_of_host : &s.stranger_of_host, c, here);
    }
    return s;
}

static struct gossip_conn *either(struct gossip_conn *c, struct gossip_conn *otherwise)
{
    return c != NULL ? c : otherwise;
}

/* NULL, if it was heard a moment ago. */
static struct gossip_conn *unless_spared(const struct gossip *g, struct gossip_conn *c)
{
    bool spared = c != NULL && gossip__now_ms(g) - c->since_ms < GOSSIP_SPARED_MS;
    return spared ? NULL : c;
}

bool gossip__make_place(struct gossip *g, const uint8_t host[GOSSIP_HOST_BYTES], bool known)
{
    const struct gossip_options *o = &g->options;
    struct census s = take_census(g, host);
    struct gossip_conn *victim;
    if (s.of_host >= (known ? o->known_host_max : o->host_max))
        victim = either(s.stranger_of_host, unless_spared(g, s.speaker_of_host));
    else if (s.strangers >= o->strangers_max)
        victim = either(s.unknown_stranger, s.stranger);
    else if (g->stats.connections_in >= o->incoming_max)
        victim = either(either(s.unknown_stranger, s.stranger),
                        either(unless_spared(g, s.unknown_speaker), unless_spared(g, s.speaker)));
    else
        return true;
    if (victim == NULL)
        return false;
    g->stats.crowded_out++;
    gossip__conn_close(victim);
    return true;
}
