/* Silence. A peer that has been asked something and from which nothing has come for a while is
 * pinged; nothing of its connection is given up before a ping has left and has had its time. What
 * has left is with the kernel: on a slow way a large request may be in front of it, so the time
 * begins anew as long as something leaves. Anything that comes from the peer ends the matter, be it
 * the first bytes of a large reply. If it was us who stood still (a suspended process), everything
 * begins anew, too: the answers may have been waiting for us. */
#include "client/monotonic.h"
#include "node/shell/peers_impl.h"

enum { PING_TIMEOUT_MS = 1000, ID_MASK = 0x7fffffff };

uint32_t peers__next_id(struct peer *peer)
{
    return peer->last_id = (peer->last_id + 1) & ID_MASK;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* On the clock of now, which the link does not use. */
static uint64_t heard_ns(const struct peer *peer, uint64_t now)
{
    uint64_t heard_ms = link_heard_ms(peer->connection), now_ms = monotonic_ms();
    uint64_t ago_ns = heard_ms < now_ms ? (now_ms - heard_ms) * PEERS_NS_PER_MS : 0;
    return ago_ns < now ? now - ago_ns : 0;
}

void peers__ping_asked(struct peer *peer, uint64_t now)
{
    if (peer->asked_ns == 0)
        peer->asked_ns = now;
}

/* Tried again with each tick until there is room for it. */
static void send_ping(struct peer *peer)
{
    struct rpc_request ping = {.timeout_ms = PING_TIMEOUT_MS};
    uint32_t id = peers__next_id(peer);
    uint64_t position;
    uint8_t *body = link_frame_begin(peer->connection, id, rpc_request_size(&ping), &position);
    if (body == NULL)
        return;
    rpc_request_encode(&ping, body);
    link_frame_end(peer->connection);
    link_flush(peer->connection);
    peer->ping_position = position;
    peer->ping_id = id;
    peer->ping_out = true;
    peer->owner->stats.pings++;
}

static void begin(struct peer *peer, uint64_t now)
{
    peer->ping_ns = peer->moved_ns = now;
    peer->moved_bytes = link_sent_bytes(peer->connection);
    peer->ping_position = UINT64_MAX;
    peer->ping_left_ns = 0;
    send_ping(peer);
}

static bool is_silent(struct peer *peer, uint64_t now)
{
    uint64_t sent = link_sent_bytes(peer->connection);
    if (peer->ping_position == UINT64_MAX)
        send_ping(peer);
    if (peer->ping_left_ns == 0 && peer->ping_position < sent)
        peer->ping_left_ns = now;
    if (peer->ping_left_ns != 0)
        return now >= peer->ping_left_ns + peer->owner->options.silence_ms * PEERS_NS_PER_MS;
    if (sent != peer->moved_bytes)
        peer->moved_ns = now;
    peer->moved_bytes = sent;
    return now >= peer->moved_ns + PEERS_STUCK_MS * PEERS_NS_PER_MS;
}

void peers__ping_tick(struct peer *peer, uint64_t now)
{
    bool owes = peer->asked_ns != 0 || !list_is_empty(&peer->flight);
    if (!peer->up || peer->silent || !owes)
        return;
    uint64_t alive = later(later(heard_ns(peer, now), peer->asked_ns), peer->owner->awake_ns);
    if (now < alive + peer->owner->options.ping_ms * PEERS_NS_PER_MS)
        return;
    if (peer->ping_ns <= alive) {
        begin(peer, now);
    } else if (is_silent(peer, now)) {
        peer->silent = true;
        peer->owner->stats.silent++;
        peers__attend(peer);
    }
}

bool peers__ping_is_answer(struct peer *peer, uint32_t id)
{
    bool is = peer->ping_out && id == peer->ping_id;
    peer->ping_out = peer->ping_out && !is;
    if (is) {
        peer->answered = true;
        peer->failures = 0;
    }
    return is;
}

void peers__ping_reset(struct peer *peer)
{
    peer->asked_ns = peer->ping_ns = 0;
    peer->ping_out = peer->silent = false;
}
