/* See cluster.h. */
#include "node/shell/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/shell/log.h"

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
    struct gossip_options options = {
        .address = listen, .data = c, .on_frame = on_frame, .on_evidence = on_evidence};
    return gossip_open(&c->gossip, loop, &options, c->gossip_bound, errmsg);
}

int cluster_start(struct cluster *c, uv_loop_t *loop, struct core *core, const char *join,
                  char errmsg[CLUSTER_ERRMSG_BYTES])
{
    struct peers_options peers = {.data = c, .done = on_peers_done};
    struct discover_options discover = {.data = c, .contact = on_contact};
    c->core = core;
    int rc = peers_open(&c->peers, loop, &peers);
    if (rc != 0) {
        snprintf(errmsg, CLUSTER_ERRMSG_BYTES, "out of memory for requests to other nodes");
        return rc;
    }
    return discover_open(&c->discover, loop, join, &discover, errmsg);
}

void cluster_frames(struct cluster *c, struct runtime_frame *frames)
{
    while (frames != NULL) {
        struct runtime_frame *f = frames;
        frames = f->next;
        if (c->gossip != NULL && f->redial)
            gossip_redial(c->gossip, f->address);
        else if (c->gossip != NULL)
            gossip_send(c->gossip, f->address, troupe_bytes(f->bytes, f->len), f->expires_ns);
        free(f);
    }
}

void cluster_peers(struct cluster *c, struct runtime_peer_request *requests)
{
    peers_send(c->peers, requests);
}

static void count(char text[24], uint64_t n)
{
    snprintf(text, 24, "%" PRIu64, n);
}

void cluster_report(struct cluster *c)
{
    if (c->gossip == NULL || c->core == NULL)
        return;
    struct gossip_stats s;
    char oversized[24], malformed[24], turned_away[24], dropped[24];
    gossip_stats(c->gossip, &s);
    uint64_t lost = atomic_load(&c->core->news_dropped);
    if (s.oversized == c->logged.oversized && s.malformed == c->logged.malformed &&
        s.turned_away == c->logged.turned_away && lost == c->dropped_logged)
        return;
    count(oversized, s.oversized - c->logged.oversized);
    count(malformed, s.malformed - c->logged.malformed);
    count(turned_away, s.turned_away - c->logged.turned_away);
    count(dropped, lost - c->dropped_logged);
    log_line(LOG_LEVEL_WARN,
             "gossip: connections that spoke something else, or too much: who talks to this port?",
             "oversized", oversized, "malformed", malformed, "turned_away", turned_away, "dropped",
             dropped, NULL);
    c->logged = s;
    c->dropped_logged = lost;
}

static void on_part_closed(void *data)
{
    struct cluster *c = data;
    if (--c->open == 0)
        c->closed(c->data);
}

void cluster_close(struct cluster *c, void (*closed)(void *data), void *data)
{
    c->closed = closed;
    c->data = data;
    c->open = 1;
    discover_close(c->discover);
    c->discover = NULL;
    if (c->peers != NULL) {
        c->open++;
        peers_close(c->peers, on_part_closed, c);
        c->peers = NULL;
    }
    if (c->gossip != NULL) {
        c->open++;
        gossip_close(c->gossip, on_part_closed, c);
        c->gossip = NULL;
    }
    on_part_closed(c);
}
