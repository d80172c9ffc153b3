/* What one node tells of itself and of its cluster ($node/self: status, members, ring and so on),
 * asked for in one message so that it fits together. */
#ifndef TROUPE_CLI_VIEW_H
#define TROUPE_CLI_VIEW_H

#include <jansson.h>
#include <stdio.h>

#include "status.pb-c.h"
#include "tools/cli/cli.h"
#include "troupe/client.h"

enum view_parts {
    VIEW_STATUS = 1,
    VIEW_MEMBERS = 2,
    VIEW_RING = 4,
    VIEW_TRANSFERS = 8,
    VIEW_OWNERS = 16
};
enum { VIEW_MESSAGE_BYTES = 320, VIEW_CLIENT_ADDRESSES_MAX = 16 };

/* Parts that were not asked for, or not told, are NULL. */
struct view {
    Troupe__Rpc__NodeStatus *status;
    Troupe__Rpc__Members *members; /* sorted by name */
    Troupe__Rpc__Ring *ring;
    Troupe__Rpc__Transfers *transfers;
    Troupe__Rpc__Owners *owners;
    bool too_old; /* of a version that does not know one of the parts; the others are there */
    /* Of the first part that failed for another reason; code is TROUPE_OK if none did. */
    enum troupe_status code;
    bool answered;
    char message[VIEW_MESSAGE_BYTES];
};

/* Waits for the answer. view_close it whatever it says. */
void view_ask(struct troupe_client *client, unsigned parts, uint32_t timeout_ms, struct view *view);
/* The same with a client of its own. */
void view_ask_at(const char *address, unsigned parts, uint32_t timeout_ms, struct view *view);
void view_close(struct view *view);
/* One call with a payload. The answer, which the caller frees with
 * protobuf_c_message_free_unpacked; or NULL, and `view` (which has nothing else) tells why. */
ProtobufCMessage *view_call(struct troupe_client *client, const char *method,
                            const ProtobufCMessage *payload,
                            const ProtobufCMessageDescriptor *answer, uint32_t timeout_ms,
                            struct view *view);

/* Complete, with numbers that can be relied on: lists of the same length, no unknown node. */
bool view_ring_is_sound(const Troupe__Rpc__Ring *ring);
bool view_owners_are_sound(const Troupe__Rpc__Owners *owners);
/* By name as people count: node-2 before node-10. */
void view_sort(Troupe__Rpc__Members *members);
const Troupe__Rpc__Member *view_self(const Troupe__Rpc__Members *members); /* or NULL */
bool view_is_gone(const Troupe__Rpc__Member *member);                      /* dead or left */

/* Shows why a part was not told: for people to `errors`, as JSON to `out`. The exit code. */
int view_show_error(const struct view *view, bool json, FILE *out, FILE *errors);
/* As if a node had answered with this. */
int view_refuse(enum troupe_status code, const char *text, bool json);
/* "node-1 is of version 0.1.0, which …": what to do about a node that is too old. */
int view_show_too_old(const struct view *view, bool json, FILE *out, FILE *errors);
/* The JSON form of a message, with all its fields; NULL: it could not be made. */
json_t *view_json(const ProtobufCMessage *message);
/* A string; messages of nodes need not be UTF-8, nor whole. */
json_t *view_text_json(const char *text);
/* On one line; takes it over. */
void view_print_json(FILE *out, json_t *json);

#endif
