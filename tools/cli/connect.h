/* One call to a node, start to finish: what call, get and status have in common. */
#ifndef TROUPE_CLI_CONNECT_H
#define TROUPE_CLI_CONNECT_H

#include "tools/cli/cli.h"
#include "troupe/client.h"

struct connection {
    struct troupe_client *client;
    struct troupe_batch *batch;
};

/* Connects in the background. 0, or an exit code after everything has been said. */
int connection_open(struct connection *connection, const char *command,
                    const struct common *common);
void connection_close(struct connection *connection);

struct call_args {
    struct troupe_bytes kind, id, method, payload;
    enum troupe_ack ack;
    unsigned flags; /* of enum troupe_call_flags */
};

/* Waits for the answer, which is the connection's until its next call. NULL after saying why the
 * call cannot be made. */
const struct troupe_call_result *connection_call(struct connection *connection, const char *command,
                                                 const struct call_args *args, uint32_t timeout_ms);

/* Takes "venue/42" apart; false after saying what is wrong with it. */
bool parse_entity(const char *command, const char *name, struct troupe_bytes *kind,
                  struct troupe_bytes *id);

#endif
