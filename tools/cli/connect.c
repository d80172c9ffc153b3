/* See connect.h. */
#include "tools/cli/connect.h"

#include <stdio.h>

#include "base/name.h"
#include "tools/cli/options.h"

int connection_open(struct connection *connection, const char *command, const struct common *common)
{
    struct troupe_client_options options = {
        .addresses = common->node, .timeout_ms = common->timeout_ms, .no_ring = true};
    char errmsg[512];
    *connection = (struct connection){0};
    int rc = troupe_client_open(&connection->client, &options, errmsg, sizeof errmsg);
    if (rc == 0)
        connection->batch = troupe_batch_new(connection->client);
    if (rc == TROUPE_EINVAL)
        return usage_error(command, "%s", errmsg);
    if (connection->batch == NULL) {
        fprintf(stderr, "troupe %s: out of memory\n", command);
        connection_close(connection);
        return EXIT_UNREACHED;
    }
    return 0;
}

void connection_close(struct connection *connection)
{
    troupe_batch_free(connection->batch);
    troupe_client_close(connection->client);
}

const struct troupe_call_result *connection_call(struct connection *connection, const char *command,
                                                 const struct call_args *args, uint32_t timeout_ms)
{
    struct troupe_batch *batch = connection->batch;
    troupe_batch_reset(batch);
    int rc = troupe_batch_add(batch, args->kind, args->id, args->method, args->payload, args->ack,
                              args->flags);
    if (rc == 0)
        rc = troupe_batch_send_wait(batch, timeout_ms);
    if (rc == TROUPE_ELIMIT)
        usage_error(command, "the payload is too large; a call has at most 32 MiB");
    else if (rc == TROUPE_EINVAL)
        usage_error(command, "the method is longer than 64 bytes");
    else if (rc != 0)
        usage_error(command, "%s", troupe_error_text(rc));
    return rc == 0 ? troupe_batch_result(batch, 0) : NULL;
}

bool parse_entity(const char *command, const char *name, struct troupe_bytes *kind,
                  struct troupe_bytes *id)
{
    const char *why = "";
    if (name_parse(troupe_bytes_of(name), kind, id, &why) == 0)
        return true;
    usage_error(command, "\"%.300s\": %s", name, why);
    return false;
}
