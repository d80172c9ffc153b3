/* What the files of the kind $node share. */
#ifndef TROUPE_RUNTIME_NODE_KIND_H
#define TROUPE_RUNTIME_NODE_KIND_H

#include "node/runtime/internal.h"
#include "status.pb-c.h"

/* An empty message packs to no bytes, and not to NULL data, which says: no memory. */
struct troupe_bytes node_kind__pack(struct arena *arena, const ProtobufCMessage *message);
/* protobuf-c's structs want char *, and only read it. */
char *node_kind__text(const char *text);
/* The call has this answer. */
void node_kind__finish(struct runtime *rt, struct message *m, struct troupe_bytes packed);

/* ---- node_kind_ops.c ---- */
/* NULL: done. Else why not, in static text. */
const char *node_kind__drain(struct runtime *rt);
const char *node_kind__undrain(struct runtime *rt);
struct troupe_bytes node_kind__drain_state(struct runtime *rt, struct arena *arena);
struct troupe_bytes node_kind__transfers(struct runtime *rt, struct arena *arena);

/* ---- node_kind_store.c ---- */
struct node_answer {
    enum store_op op;
    /* Fills in the request: false after it has answered the call with an error. */
    bool (*begin)(struct runtime *rt, struct message *m, struct store_request *request);
    struct troupe_bytes (*pack)(const struct store_request *request, struct arena *arena);
};
extern const struct node_answer node_kind__history, node_kind__owners;
void node_kind__ask(struct runtime *rt, struct message *m, const struct node_answer *answer);

#endif
