/* Who is there? A node's route is not used before the node has said that it has the name, and is of
 * the cluster, that the reply told which named it. The same question, later, tells whether it is
 * there still; so it does for the seed, of which nothing is known beforehand. */
#include <string.h>

#include "client/engine.h"
#include "proto/wire.h"

/* Fields of NodeStatus, proto/status.proto. */
enum { STATUS_NAME = 1, STATUS_CLUSTER_UID = 4 };

bool route_check_begin(struct route *r, uint64_t now_ms)
{
    struct rpc_call call = {
        .kind = troupe_bytes_of("$node"),
        .id = troupe_bytes_of("self"),
        .method = troupe_bytes_of("status"),
    };
    struct rpc_request request = {.timeout_ms = LINK_CONNECT_MS, .calls = &call, .calls_n = 1};
    uint64_t position;
    uint8_t *body =
        link_frame_begin(r->link, ROUTE_CHECK_ID, rpc_request_size(&request), &position);
    if (body == NULL)
        return false;
    rpc_request_encode(&request, body);
    link_frame_end(r->link);
    if (list_is_empty(&r->unsent))
        list_push(&r->client->unsent, &r->unsent);
    r->check_until_ms = now_ms + LINK_CONNECT_MS;
    return true;
}

static bool is_text(struct troupe_bytes bytes, const char *text)
{
    return troupe_bytes_equal(bytes, troupe_bytes_of(text));
}

const char *route_check_answer(const struct route *r, struct troupe_bytes body)
{
    struct arena arena;
    struct rpc_reply reply;
    struct troupe_bytes name = {0}, uid = {0};
    const char *why;
    arena_init(&arena, 0, BATCH_REPLY_BYTES_MAX);
    bool sound = rpc_reply_decode(&arena, body, &reply, &why) == 0 && reply.results_n == 1 &&
                 reply.results[0].status == TROUPE_OK;
    struct wire_reader reader =
        wire_reader(sound ? reply.results[0].payload : (struct troupe_bytes){0});
    struct wire_field field;
    while (sound && !wire_at_end(&reader)) {
        sound = wire_read_field(&reader, &field);
        if (sound && field.tag == WIRE_TAG(STATUS_NAME, WIRE_BYTES))
            name = field.bytes;
        else if (sound && field.tag == WIRE_TAG(STATUS_CLUSTER_UID, WIRE_BYTES))
            uid = field.bytes;
    }
    bool same_node = is_text(name, r->node), same_cluster = is_text(uid, r->uid);
    arena_close(&arena);
    if (r == r->client->routes)
        return NULL;
    if (!sound)
        return "it does not tell who it is";
    if (!same_cluster)
        return "another cluster's node answers there";
    return same_node ? NULL : "another node answers there";
}
