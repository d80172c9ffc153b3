/* See cluster.h. */
#include "node/shell/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/shell/log.h"
#include "troupe/error.h"

static void on_frame(void *data, struct troupe_bytes frame)
{
    struct cluster *c = data;
    if (c->core == NULL)
        return;
    core_push_frame(c->core, frame);
    core_run(c->core);
}

/* A node that refuses is likely to be dead; one that merely takes long is not. */
static void on_evidence(void *data, const char *address, enum gossip_evidence what)
{
    struct cluster *c = data;
    if (c->core == NULL || what == GOSSIP_TIMEOUT)
        return;
    core_push_address(c->core, RUNTIME_EVIDENCE, address);
    core_run(c->core);
}

static void on_met(void *data, const uint8_t *host)
{
    struct cluster *c = data;
    if (c->peer_rpc != NULL)
        rpc_met(c->peer_rpc, host);
}

static void on_contact(void *data, const char *address)
{
    struct cluster *c = data;
    core_push_address(c->core, RUNTIME_CONTACT, address);
    core_run(c->core);
}

static void on_peers_done(void *data, struct runtime_peer_request *finished)
{
    struct cluster *c = data;
    core_push_peers(c->core, finished);
    core_run(c->core);
}

int cluster_open(struct cluster *c, uv_loop_t *loop, const char *listen,
                 char errmsg[CLUSTER_ERRMSG_BYTES])
{
    c->loop = loop;
    struct gossip_options options = {.address = listen,
                                     .data = c,
                                     .on_frame = on_frame,
                                     .on_evidence = on_evidence,
                                     .on_met = on_met};
    return gossip_open(&c->gossip, loop, &options, c->gossip_bound, errmsg);
}

int cluster_start(struct cluster *c, uv_loop_t *loop, struct core *core, const char *join,
                  char errmsg[CLUSTER_ERRMSG_BYTES])
{
    struct peers *opened;
    struct peers_options peers = {.data = c, .done = on_peers_done};
    struct discover_options discover = {.data = c, .contact = on_contact};
    c->core = core;
    int rc = peers_open(&opened, loop, &peers);
    if (rc != 0) {
        snprintf(errmsg, CLUSTER_ERRMSG_BYTES, "out of memory for requests to other nodes");
        return rc;
    }
    c->peers = opened;
    rc = discover_open(&c->discover, loop, join, &discover, errmsg);
    c->looks_up = rc == 0;
    return rc;
}

void cluster_frames(struct cluster *c, struct runtime_frame *frames)
{
    while (frames != NULL) {
        struct runtime_frame *f = frames;
        frames = f->next;
        if (c->gossip != NULL && f->redial) {
            gossip_redial(c->gossip, f->address);
        } else if (c->gossip != NULL) {
            gossip_send(c->gossip, f->address, troupe_bytes(f->bytes, f->len), f->expires_ns);
            c->frames++;
        }
        free(f);
    }
}

void cluster_peers(struct cluster *c, struct runtime_peer_request *requests)
{
    struct peers *peers = c->peers;
    if (peers != NULL) {
        peers_send(peers, requests);
        return;
    }
    for (struct runtime_peer_request *r = requests; r != NULL; r = r->next)
        r->error = TROUPE_EUNAVAILABLE;
    core_push_peers(c->core, requests); /* whoever steps is about to look again */
}

static void count(char text[24], uint64_t n)
{
    snprintf(text, 24, "%" PRIu64, n);
}

/* Somebody who is no node talks to us, or a node of another make. */
static void report_bad_input(struct cluster *c, const struct gossip_stats *s)
{
    char oversized[24], malformed[24], turned_away[24], crowded_out[24];
    if (s->oversized == c->logged.oversized && s->malformed == c->logged.malformed &&
        s->turned_away == c->logged.turned_away && s->crowded_out == c->logged.crowded_out)
        return;
    count(oversized, s->oversized - c->logged.oversized);
    count(malformed, s->malformed - c->logged.malformed);
    count(turned_away, s->turned_away - c->logged.turned_away);
    count(crowded_out, s->crowded_out - c->logged.crowded_out);
    log_line(LOG_LEVEL_WARN,
             "gossip: connections that spoke something else, or too much: who talks to this port?",
             "oversized", oversized, "malformed", malformed, "turned_away", turned_away,
             "crowded_out", crowded_out, NULL);
}

void cluster_report(struct cluster *c)
{
    char text[24];
    struct gossip_stats s;
    if (c->gossip == NULL || c->core == NULL)
        return;
    gossip_stats(c->gossip, &s);
    report_bad_input(c, &s);
    c->logged = s;
    uint64_t dropped = atomic_load(&c->core->news_dropped);
    if (dropped == c->dropped_logged)
        return;
    count(text, dropped - c->dropped_logged);
    log_line(LOG_LEVEL_WARN, "gossip came in faster than it could be handled: some was dropped",
             "dropped", text, NULL);
    c->dropped_logged = dropped;
}

/* ---- the end ---- */

static void on_part_closed(void *data)
{
    struct cluster *c = data;
    if (--c->open == 0)
        c->closed(c->data);
}

static void on_drain_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void on_discover_closed(void *data)
{
    ((struct cluster *)data)->looks_up = false;
}

/* Every frame that gossip was given has left, or never will. */
static bool is_drained(const struct cluster *c)
{
    struct gossip_stats s;
    gossip_stats(c->gossip, &s);
    return s.frames_out + s.dropped + s.expired + s.lost + s.bad_addresses >= c->frames;
}

static void on_drain(uv_timer_t *timer)
{
    struct cluster *c = timer->data;
    if (!is_drained(c) && uv_now(c->loop) < c->drain_until_ms)
        return;
    uv_close((uv_handle_t *)&c->drain, on_drain_closed);
    c->open++;
    gossip_close(c->gossip, on_part_closed, c);
    c->gossip = NULL;
}

void cluster_close(struct cluster *c, void (*closed)(void *data), void *data)
{
    struct peers *peers = atomic_exchange(&c->peers, NULL);
    c->closed = closed;
    c->data = data;
    c->open = 1;
    if (c->discover != NULL)
        discover_close(c->discover, on_discover_closed, c);
    c->discover = NULL;
    if (peers != NULL) {
        c->open++;
        peers_close(peers, on_part_closed, c);
    }
    if (c->gossip != NULL) {
        c->open++;
        uv_timer_init(c->loop, &c->drain);
        c->drain.data = c;
        uv_update_time(c->loop);
        c->drain_until_ms = uv_now(c->loop) + CLUSTER_DRAIN_MS;
        uv_timer_start(&c->drain, on_drain, 0, CLUSTER_DRAIN_POLL_MS);
    }
    on_part_closed(c);
}
