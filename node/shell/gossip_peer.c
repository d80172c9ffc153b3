/* Peers and what is queued for them. A peer exists from the first frame for its address until it
 * has been idle for idle_ms, is forgotten, or makes room for another. */
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "node/shell/clock.h"
#include "node/shell/gossip_impl.h"

/* ---- the queue ---- */

static struct gossip_queued *take_off(struct gossip_peer *p)
{
    struct list *node = list_pop(&p->queue);
    if (node == NULL)
        return NULL;
    struct gossip_queued *f = LIST_ENTRY(node, struct gossip_queued, link);
    p->queued_n--;
    p->queued_bytes -= f->len;
    return f;
}

struct gossip_queued *gossip__peer_next(struct gossip *g, struct gossip_peer *p)
{
    struct gossip_queued *f;
    uint64_t now_ns = list_is_empty(&p->queue) ? 0 : clock_now().mono_ns;
    while ((f = take_off(p)) != NULL) {
        if (f->expires_ns == 0 || now_ns <= f->expires_ns)
            return f;
        g->stats.expired++;
        free(f);
    }
    return NULL;
}

void gossip__peer_unget(struct gossip_peer *p, struct gossip_queued *f)
{
    list_push(p->queue.next, &f->link); /* before the first */
    p->queued_n++;
    p->queued_bytes += f->len;
}

static void drop_oldest(struct gossip *g, struct gossip_peer *p)
{
    struct gossip_queued *f = take_off(p);
    INVARIANT(f != NULL);
    g->stats.dropped++;
    free(f);
}

static void enqueue(struct gossip *g, struct gossip_peer *p, struct troupe_bytes frame,
                    uint64_t expires_ns)
{
    while (p->queued_n >= g->options.queue_frames_max ||
           p->queued_bytes + frame.len > GOSSIP_QUEUE_BYTES_MAX)
        drop_oldest(g, p);
    struct gossip_queued *f = malloc(sizeof *f + frame.len);
    if (f == NULL) {
        g->stats.dropped++;
        return;
    }
    f->expires_ns = expires_ns;
    f->len = frame.len;
    if (frame.len > 0)
        memcpy(f->bytes, frame.data, frame.len);
    list_push(&p->queue, &f->link);
    p->queued_n++;
    p->queued_bytes += f->len;
}

/* ---- the table ---- */

/* FNV-1a: nobody gains by collisions in a table of this size. */
static struct list *hash_bucket(struct gossip *g, const char *address)
{
    uint32_t h = 2166136261;
    for (; *address != '\0'; address++)
        h = (h ^ (uint8_t)*address) * 16777619;
    return &g->hash[h % GOSSIP_HASH_BUCKETS];
}

struct gossip_peer *gossip__peer_find(struct gossip *g, const char *address)
{
    struct list *bucket = hash_bucket(g, address);
    for (struct list *node = bucket->next; node != bucket; node = node->next) {
        struct gossip_peer *p = LIST_ENTRY(node, struct gossip_peer, by_hash);
        if (strcmp(p->address, address) == 0)
            return p;
    }
    return NULL;
}

static void peer_free(struct gossip *g, struct gossip_peer *p)
{
    if (p->conn != NULL)
        gossip__peer_disconnect(g, p);
    while (p->queued_n > 0)
        drop_oldest(g, p);
    list_remove(&p->by_use);
    list_remove(&p->by_hash);
    free(p);
    g->stats.peers--;
}

static bool is_idle(const struct gossip_peer *p)
{
    return p->queued_n == 0 && (p->conn == NULL || (p->conn->up && p->conn->frames == 0));
}

/* The idle one unused for longest goes; if none is idle, the one unused for longest. */
static void make_room(struct gossip *g)
{
    struct list *victim = g->peers.next;
    if (g->stats.peers < g->options.peers_max)
        return;
    for (struct list *node = g->peers.next; node != &g->peers; node = node->next) {
        if (is_idle(LIST_ENTRY(node, struct gossip_peer, by_use))) {
            victim = node;
            break;
        }
    }
    peer_free(g, LIST_ENTRY(victim, struct gossip_peer, by_use));
}

static struct gossip_peer *peer_new(struct gossip *g, const char *address)
{
    char url[GOSSIP_URL_BYTES];
    if (!gossip__address_url(address, 0, url)) {
        g->stats.bad_addresses++;
        gossip__complain(g, NULL, "a peer's address is not HOST:PORT");
        return NULL;
    }
    make_room(g);
    struct gossip_peer *p = calloc(1, sizeof *p);
    if (p == NULL) {
        g->stats.dropped++;
        return NULL;
    }
    memcpy(p->address, address, strlen(address) + 1);
    list_init(&p->queue);
    list_init(&p->by_use);
    list_push(hash_bucket(g, address), &p->by_hash);
    g->stats.peers++;
    gossip__wake_at(g, gossip__now_ms(g) + g->options.idle_ms);
    return p;
}

/* ---- what the node calls ---- */

void gossip_send(struct gossip *g, const char *address, struct troupe_bytes frame,
                 uint64_t expires_ns)
{
    INVARIANT(frame.len <= GOSSIP_FRAME_BYTES_MAX);
    if (g->closing)
        return;
    struct gossip_peer *p = gossip__peer_find(g, address);
    if (p == NULL)
        p = peer_new(g, address);
    if (p == NULL)
        return;
    p->used_ms = gossip__now_ms(g);
    list_remove(&p->by_use);
    list_push(&g->peers, &p->by_use);
    enqueue(g, p, frame, expires_ns);
    gossip__peer_go_on(g, p);
}

void gossip_forget(struct gossip *g, const char *address)
{
    struct gossip_peer *p = gossip__peer_find(g, address);
    if (p != NULL)
        peer_free(g, p);
}

/* ---- in time ---- */

static void close_idle(struct gossip *g)
{
    uint64_t now = gossip__now_ms(g);
    while (!list_is_empty(&g->peers)) {
        struct gossip_peer *p = LIST_ENTRY(g->peers.next, struct gossip_peer, by_use);
        if (now - p->used_ms < g->options.idle_ms) {
            gossip__wake_at(g, p->used_ms + g->options.idle_ms);
            return;
        }
        peer_free(g, p);
    }
}

void gossip__peers_due(struct gossip *g)
{
    close_idle(g);
    for (struct list *node = g->peers.next; node != &g->peers; node = node->next) {
        struct gossip_peer *p = LIST_ENTRY(node, struct gossip_peer, by_use);
        if (p->conn == NULL)
            gossip__peer_go_on(g, p);
    }
}

void gossip__peers_free(struct gossip *g)
{
    struct list *node;
    while ((node = list_pop(&g->peers)) != NULL)
        peer_free(g, LIST_ENTRY(node, struct gossip_peer, by_use));
}
