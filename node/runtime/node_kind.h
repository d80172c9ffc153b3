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

/* What it has changed shows at once: answers that are kept for a while are not, any more. */
void node_kind__changed(struct runtime *rt);

/* ---- node_kind_ops.c ---- */
struct troupe_bytes node_kind__transfers(struct runtime *rt, struct arena *arena);

/* ---- node_kind_kinds.c ---- */
struct troupe_bytes node_kind__kinds(struct runtime *rt, struct arena *arena);

/* ---- node_kind_store.c ---- */
struct node_answer {
    enum store_op op;
    /* Fills in the request: false after it has answered the call with an error. */
    bool (*begin)(struct runtime *rt, struct message *m, struct store_request *request);
    struct troupe_bytes (*pack)(const struct store_request *request, struct arena *arena);
    /* Instead of pack: takes note of what the store has done, and answers the call. m NULL: nobody
     * waits any more. */
    void (*done)(struct runtime *rt, struct message *m, const struct store_request *request);
};
extern const struct node_answer node_kind__history, node_kind__owners, node_kind__drain,
    node_kind__undrain, node_kind__forget_kind, node_kind__evict;
void node_kind__ask(struct runtime *rt, struct message *m, const struct node_answer *answer);

#endif
