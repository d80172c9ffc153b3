/* Places for those who dial our gossip port: places.h has the rules. A node brings a frame at once,
 * as it dials only when it has something to say. Known are this machine, and where a node of ours
 * is: we have a connection to it. */
#include <string.h>

#include "base/invariant.h"
#include "node/shell/gossip_impl.h"

void gossip__places_init(struct gossip *g)
{
    const struct gossip_options *o = &g->options;
    struct places_limits limits = {.max = o->incoming_max,
                                   .strangers_max = o->strangers_max,
                                   .host_max = o->host_max,
                                   .known_host_max = o->known_host_max};
    places_init(&g->places, &limits, NULL);
}

bool gossip__host_is_known(struct gossip *g, const uint8_t host[PLACES_HOST_BYTES])
{
    if (places_is_loopback(host))
        return true;
    for (struct list *node = g->out.next; node != &g->out; node = node->next) {
        const struct gossip_conn *c = LIST_ENTRY(node, struct gossip_conn, link);
        if (c->up && places_is_same(c->place.host, host))
            return true;
    }
    return false;
}

void gossip__host_met(struct gossip_conn *c)
{
    struct gossip *g = c->g;
    places_met(&g->places, c->place.host);
    if (g->options.on_met != NULL)
        g->options.on_met(g->options.data, c->place.host);
}

bool gossip__place_take(struct gossip_conn *c)
{
    struct gossip *g = c->g;
    struct place *victim;
    uint64_t now_ms = gossip__now_ms(g);
    places_stream_host(c->stream, c->place.host);
    c->place.known = gossip__host_is_known(g, c->place.host);
    enum places_room room = places_ask(&g->places, c->place.host, c->place.known, now_ms, &victim);
    if (room == PLACES_FULL)
        return false;
    if (room == PLACES_ROOM_IF) {
        g->stats.crowded_out++;
        gossip__conn_close(LIST_ENTRY(victim, struct gossip_conn, place));
    }
    places_take(&g->places, &c->place, now_ms);
    return true;
}
