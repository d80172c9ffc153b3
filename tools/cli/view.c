/* See view.h. */
#include "tools/cli/view.h"

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "tools/cli/output.h"

static void fail(struct view *view, enum troupe_status code, bool answered, const char *message,
                 size_t len)
{
    if (view->code != TROUPE_OK)
        return;
    view->code = code;
    view->answered = answered;
    snprintf(view->message, sizeof view->message, "%.*s", (int)(len < 300 ? len : 300), message);
    output_clean(view->message);
}

/* ---- reading ---- */

bool view_ring_is_sound(const Troupe__Rpc__Ring *r)
{
    size_t n = r->n_owner;
    if (r->n_epoch != n || r->n_proposed != n || r->n_backup != n)
        return false;
    for (size_t pid = 0; pid < n; pid++)
        if (r->owner[pid] > r->n_nodes || r->proposed[pid] > r->n_nodes ||
            r->backup[pid] > r->n_nodes)
            return false;
    return true;
}

bool view_owners_are_sound(const Troupe__Rpc__Owners *o)
{
    if (o->n_epoch != o->n_owner || o->n_generation != o->n_owner)
        return false;
    for (size_t pid = 0; pid < o->n_owner; pid++)
        if (o->owner[pid] > o->n_nodes)
            return false;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const Troupe__Rpc__Member *const *left = a, *const *right = b;
    int order = strverscmp((*left)->name, (*right)->name);
    return order != 0 ? order : (*left)->generation > (*right)->generation ? 1 : -1;
}

void view_sort(Troupe__Rpc__Members *members)
{
    if (members->n_members > 1)
        qsort(members->members, members->n_members, sizeof(Troupe__Rpc__Member *), by_name);
}

const Troupe__Rpc__Member *view_self(const Troupe__Rpc__Members *members)
{
    for (size_t i = 0; i < members->n_members; i++)
        if (members->members[i]->self)
            return members->members[i];
    return NULL;
}

bool view_is_gone(const Troupe__Rpc__Member *member)
{
    return strcmp(member->state, "dead") == 0 || strcmp(member->state, "left") == 0;
}

static bool unpack(struct view *view, unsigned part, struct troupe_bytes packed)
{
    switch (part) {
    case VIEW_STATUS:
        view->status = troupe__rpc__node_status__unpack(NULL, packed.len, packed.data);
        return view->status != NULL;
    case VIEW_MEMBERS:
        view->members = troupe__rpc__members__unpack(NULL, packed.len, packed.data);
        if (view->members != NULL)
            view_sort(view->members);
        return view->members != NULL;
    case VIEW_TRANSFERS:
        view->transfers = troupe__rpc__transfers__unpack(NULL, packed.len, packed.data);
        return view->transfers != NULL;
    case VIEW_OWNERS:
        view->owners = troupe__rpc__owners__unpack(NULL, packed.len, packed.data);
        return view->owners != NULL && view_owners_are_sound(view->owners);
    default:
        view->ring = troupe__rpc__ring__unpack(NULL, packed.len, packed.data);
        return view->ring != NULL && view_ring_is_sound(view->ring);
    }
}

/* ---- asking ---- */

static const struct {
    unsigned part;
    const char *method;
} parts_known[] = {{VIEW_STATUS, "status"},
                   {VIEW_MEMBERS, "members"},
                   {VIEW_RING, "ring"},
                   {VIEW_TRANSFERS, "transfers"},
                   {VIEW_OWNERS, "owners"}};

enum { PARTS_N = sizeof parts_known / sizeof parts_known[0] };

static const char unreadable[] = "the answer cannot be read; is the node of another version?";

/* What only the store knows is asked for without a request id, and so once: if the node says that
 * the store is away, that is the answer, and not a reason to try until the time is over. */
static uint32_t flags_of(const char *method)
{
    return strcmp(method, "owners") == 0 || strcmp(method, "history") == 0 ? TROUPE_CALL_NO_ID : 0;
}

static void read_result(struct view *view, unsigned part, const struct troupe_call_result *result)
{
    if (result->status == TROUPE_UNIMPLEMENTED && part != VIEW_STATUS)
        view->too_old = true;
    else if (result->status != TROUPE_OK)
        fail(view, result->status, result->answered, (const char *)result->message.data,
             result->message.len);
    else if (!unpack(view, part, result->payload))
        fail(view, TROUPE_INTERNAL, true, unreadable, sizeof unreadable - 1);
}

static void ask(struct troupe_batch *batch, unsigned parts, uint32_t timeout_ms, struct view *view)
{
    int rc = 0;
    size_t at = 0;
    for (int i = 0; i < PARTS_N && rc == 0; i++)
        if ((parts & parts_known[i].part) != 0)
            rc = troupe_batch_add(batch, troupe_bytes_of("$node"), troupe_bytes_of("self"),
                                  troupe_bytes_of(parts_known[i].method), troupe_bytes(NULL, 0),
                                  TROUPE_ACK_MEMORY, flags_of(parts_known[i].method));
    if (rc == 0)
        rc = troupe_batch_send_wait(batch, timeout_ms);
    if (rc != 0) {
        fail(view, TROUPE_INTERNAL, false, troupe_error_text(rc), strlen(troupe_error_text(rc)));
        return;
    }
    for (int i = 0; i < PARTS_N; i++)
        if ((parts & parts_known[i].part) != 0)
            read_result(view, parts_known[i].part, troupe_batch_result(batch, at++));
}

void view_ask(struct troupe_client *client, unsigned parts, uint32_t timeout_ms, struct view *view)
{
    *view = (struct view){0};
    struct troupe_batch *batch = troupe_batch_new(client);
    if (batch == NULL)
        fail(view, TROUPE_RESOURCE_EXHAUSTED, false, "out of memory", 13);
    else
        ask(batch, parts, timeout_ms, view);
    troupe_batch_free(batch);
}

void view_ask_at(const char *address, unsigned parts, uint32_t timeout_ms, struct view *view)
{
    struct troupe_client_options options = {
        .addresses = address, .timeout_ms = timeout_ms, .no_ring = true};
    struct troupe_client *client = NULL;
    char errmsg[VIEW_MESSAGE_BYTES] = "";
    if (troupe_client_open(&client, &options, errmsg, sizeof errmsg) != 0) {
        *view = (struct view){0};
        fail(view, TROUPE_INVALID_ARGUMENT, false, errmsg, strlen(errmsg));
        return;
    }
    view_ask(client, parts, timeout_ms, view);
    troupe_client_close(client);
}

void view_close(struct view *view)
{
    if (view->status != NULL)
        troupe__rpc__node_status__free_unpacked(view->status, NULL);
    if (view->members != NULL)
        troupe__rpc__members__free_unpacked(view->members, NULL);
    if (view->ring != NULL)
        troupe__rpc__ring__free_unpacked(view->ring, NULL);
    if (view->transfers != NULL)
        troupe__rpc__transfers__free_unpacked(view->transfers, NULL);
    if (view->owners != NULL)
        troupe__rpc__owners__free_unpacked(view->owners, NULL);
    *view = (struct view){0};
}

static int send_call(struct troupe_batch *batch, const char *method,
                     const ProtobufCMessage *payload, uint32_t timeout_ms)
{
    size_t len = payload == NULL ? 0 : protobuf_c_message_get_packed_size(payload);
    uint8_t *packed = malloc(len + 1);
    if (packed == NULL)
        return TROUPE_ENOMEM;
    if (payload != NULL)
        protobuf_c_message_pack(payload, packed);
    int rc = troupe_batch_add(batch, troupe_bytes_of("$node"), troupe_bytes_of("self"),
                              troupe_bytes_of(method), troupe_bytes(packed, len), TROUPE_ACK_MEMORY,
                              flags_of(method));
    if (rc == 0)
        rc = troupe_batch_send_wait(batch, timeout_ms);
    free(packed);
    return rc;
}

ProtobufCMessage *view_call(struct troupe_client *client, const char *method,
                            const ProtobufCMessage *payload,
                            const ProtobufCMessageDescriptor *answer, uint32_t timeout_ms,
                            struct view *view)
{
    ProtobufCMessage *message = NULL;
    struct troupe_batch *batch = troupe_batch_new(client);
    *view = (struct view){0};
    int rc = batch == NULL ? TROUPE_ENOMEM : send_call(batch, method, payload, timeout_ms);
    const struct troupe_call_result *r = rc == 0 ? troupe_batch_result(batch, 0) : NULL;
    if (r == NULL) {
        fail(view, TROUPE_INTERNAL, false, troupe_error_text(rc), strlen(troupe_error_text(rc)));
    } else if (r->status != TROUPE_OK) {
        fail(view, r->status, r->answered, (const char *)r->message.data, r->message.len);
    } else {
        message = protobuf_c_message_unpack(answer, NULL, r->payload.len, r->payload.data);
        if (message == NULL)
            fail(view, TROUPE_INTERNAL, true, unreadable, sizeof unreadable - 1);
    }
    troupe_batch_free(batch);
    return message;
}

/* ---- showing ---- */

void view_print_json(FILE *out, json_t *json)
{
    if (json == NULL || json_dumpf(json, out, JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0)
        fprintf(stderr, "troupe: the answer has no JSON form: it holds text that is not UTF-8\n");
    else
        putc('\n', out);
    json_decref(json);
}

json_t *view_text_json(const char *text)
{
    json_t *json = json_string(text);
    return json != NULL ? json : json_string("(not UTF-8)");
}

static void show_json(FILE *out, enum troupe_status code, const char *message, bool answered)
{
    json_t *all = json_pack("{s:s, s:o, s:b}", "status", troupe_status_name((int)code), "message",
                            view_text_json(message), "answered", answered);
    view_print_json(out, all);
}

int view_show_error(const struct view *view, bool json, FILE *out, FILE *errors)
{
    if (json)
        show_json(out, view->code, view->message, view->answered);
    else
        fprintf(errors, "%s: %s\n", troupe_status_name((int)view->code), view->message);
    return view->answered && view->code != TROUPE_DEADLINE_EXCEEDED ? EXIT_ANSWERED
                                                                    : EXIT_UNREACHED;
}

int view_refuse(enum troupe_status code, const char *text, bool json)
{
    struct view view = {.code = code, .answered = true};
    snprintf(view.message, sizeof view.message, "%s", text);
    output_clean(view.message);
    return view_show_error(&view, json, stdout, stderr);
}

int view_show_too_old(const struct view *view, bool json, FILE *out, FILE *errors)
{
    char text[VIEW_MESSAGE_BYTES];
    const Troupe__Rpc__NodeStatus *s = view->status;
    snprintf(text, sizeof text,
             "%.80s is of version %.40s, which does not tell about its cluster yet: upgrade it, or "
             "ask another node with --node",
             s == NULL ? "the node" : s->name, s == NULL ? "unknown" : s->version);
    output_clean(text);
    if (json)
        show_json(out, TROUPE_UNIMPLEMENTED, text, true);
    else
        fprintf(errors, "%s: %s\n", troupe_status_name(TROUPE_UNIMPLEMENTED), text);
    return EXIT_ANSWERED;
}

json_t *view_json(const ProtobufCMessage *message)
{
    struct arena arena;
    struct troupe_bytes text;
    char why[JSON_WHY_BYTES];
    json_t *json = NULL;
    arena_init(&arena, 0, 0);
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(&arena, len + 1);
    if (packed != NULL) {
        protobuf_c_message_pack(message, packed);
        if (json_from_message(&arena, message->descriptor, troupe_bytes(packed, len), true, &text,
                              why) == 0)
            json = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, NULL);
    }
    arena_close(&arena);
    return json;
}
