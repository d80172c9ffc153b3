/* troupe why KIND/ID: where an entity lives, and how its partition came there. */
#include <time.h>

#include "base/name.h"
#include "tools/cli/connect.h"
#include "tools/cli/options.h"
#include "tools/cli/view.h"
#include "tools/cli/why_layout.h"

enum { DEFAULT_TIMEOUT_MS = 5000, PARTITION_NONE = UINT32_MAX };

static const char about[] =
    "Shows which partition an entity is in, who owns that, and how it came to its owners, as the\n"
    "store remembers: the last few changes.\n"
    "\n"
    "  troupe why venue/42\n"
    "  troupe why --partition 7";

static const char epilogue[] =
    "Exit codes: 0 OK; 1 the answer was an error, or the node is too old; 2 wrong usage; 3 no\n"
    "answer.";

struct asked {
    struct common common;
    const char *entity;
    struct troupe_bytes kind, id;
    uint32_t partition;
};

static int show(const struct asked *a, struct troupe_client *client, const struct view *view)
{
    struct view failed;
    uint32_t n = (uint32_t)view->ring->n_owner;
    int bits = name_partition_bits(n);
    Troupe__Rpc__HistoryRequest request = TROUPE__RPC__HISTORY_REQUEST__INIT;
    request.partition = a->partition;
    if (a->entity != NULL && bits > 0)
        request.partition = name_partition(name_hash(a->kind, a->id), (unsigned)bits);
    if (request.partition >= n)
        return usage_error("why", "there is no partition %u: they are 0 to %u", request.partition,
                           n == 0 ? 0 : n - 1);
    ProtobufCMessage *message =
        view_call(client, "history", &request.base, &troupe__rpc__history__descriptor,
                  a->common.timeout_ms, &failed);
    if (message == NULL)
        return view_show_error(&failed, a->common.json, stdout, stderr);
    view_ask(client, VIEW_OWNERS, a->common.timeout_ms, &failed);
    struct why why = {.owners = failed.code == TROUPE_OK ? failed.owners : NULL,
                      .entity = a->entity,
                      .partition = request.partition,
                      .asked = view->status->name,
                      .ring = view->ring,
                      .history = (const Troupe__Rpc__History *)(const void *)message,
                      .now_ms = (uint64_t)time(NULL) * 1000};
    if (a->common.json)
        view_print_json(stdout, why_json(&why));
    else
        why_layout(stdout, &why);
    view_close(&failed);
    protobuf_c_message_free_unpacked(message, NULL);
    return EXIT_OK;
}

static int run(const struct asked *a)
{
    struct connection connection;
    struct view view;
    int rc = connection_open(&connection, "why", &a->common);
    if (rc != 0)
        return rc;
    view_ask(connection.client, VIEW_STATUS | VIEW_RING, a->common.timeout_ms, &view);
    if (view.code != TROUPE_OK)
        rc = view_show_error(&view, a->common.json, stdout, stderr);
    else if (view.too_old)
        rc = view_show_too_old(&view, a->common.json, stdout, stderr);
    else
        rc = show(a, connection.client, &view);
    view_close(&view);
    connection_close(&connection);
    return rc;
}

int command_why(int argc, char **argv)
{
    struct asked a = {.partition = PARTITION_NONE};
    char *arguments[1];
    int n;
    options_common_init(&a.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "partition",
         .type = OPTION_NUMBER,
         .target = &a.partition,
         .value = "N",
         .max = PARTITIONS_MAX - 1,
         .help = "the partition itself, in place of an entity"},
        OPTIONS_COMMON(&a.common),
    };
    const struct usage usage = {.command = "why",
                                .arguments = "KIND/ID | --partition N",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_max = 1};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    if ((n == 1) == (a.partition != PARTITION_NONE))
        return usage_error("why", "give an entity, KIND/ID, or --partition N: one of them");
    if (n == 1) {
        a.entity = arguments[0];
        if (!parse_entity("why", a.entity, &a.kind, &a.id))
            return EXIT_USAGE;
    }
    return run(&a);
}
