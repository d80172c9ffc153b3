/* troupe call KIND/ID METHOD [PAYLOAD]: one call, JSON in and out. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/connect.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"

enum { PAYLOAD_BYTES_MAX = 32 << 20, DEFAULT_TIMEOUT_MS = 5000 };

static const char about[] =
    "Calls a method of an entity and prints the reply. PAYLOAD is the JSON form of the method's\n"
    "request message; \"-\" reads it from standard input, \"@FILE\" from a file; left out, the "
    "message\n"
    "is empty.\n"
    "\n"
    "  troupe call venue/42 book '{\"slot\": \"2026-12-31T20:00Z\", \"user\": \"7\"}'";

static const char epilogue[] =
    "A call is sent again when its answer is lost, and is executed at most once, thanks to its "
    "request\n"
    "id.\n"
    "\n"
    "Exit codes: 0 OK; 1 the answer was an error (shown on standard error as STATUS: message);\n"
    "2 wrong usage; 3 no answer: nobody there, or not in time.";

/* Reads all of a file; false after saying why not. */
static bool read_file(FILE *file, const char *name, char **text, size_t *len)
{
    size_t capacity = 0;
    *text = NULL;
    *len = 0;
    for (;;) {
        if (*len == capacity) {
            capacity = capacity == 0 ? 65536 : capacity * 2;
            char *larger =
                capacity > 2 * (size_t)PAYLOAD_BYTES_MAX ? NULL : realloc(*text, capacity);
            if (larger == NULL) {
                usage_error("call", "%s is larger than the 32 MiB of a payload", name);
                return false;
            }
            *text = larger;
        }
        size_t n = fread(*text + *len, 1, capacity - *len, file);
        *len += n;
        if (n == 0)
            break;
    }
    if (ferror(file))
        usage_error("call", "%s: %s", name, strerror(errno));
    return !ferror(file);
}

/* Finds the payload's text, of which *owned is to be freed; false after saying why not. */
static bool find_payload(const char *argument, char **owned, struct troupe_bytes *payload)
{
    size_t len = 0;
    *owned = NULL;
    if (strcmp(argument, "-") == 0) {
        if (!read_file(stdin, "standard input", owned, &len))
            return false;
        *payload = troupe_bytes(*owned, len);
        return true;
    }
    if (argument[0] != '@') {
        *payload = troupe_bytes_of(argument);
        return true;
    }
    FILE *file = fopen(argument + 1, "re");
    if (file == NULL) {
        usage_error("call", "%s: %s", argument + 1, strerror(errno));
        return false;
    }
    bool ok = read_file(file, argument + 1, owned, &len);
    fclose(file);
    *payload = troupe_bytes(*owned, len);
    return ok;
}

/* A typo in JSON is found here, where the position can be told. */
static bool check_json(struct troupe_bytes payload)
{
    if (payload.len == 0)
        return true;
    json_error_t error;
    json_t *json = json_loadb((const char *)payload.data, payload.len,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        usage_error("call", "the payload is not JSON: line %d, column %d: %s", error.line,
                    error.column, error.text);
    json_decref(json);
    return json != NULL;
}

static int run(const struct common *common, const struct call_args *args)
{
    struct connection connection;
    int rc = connection_open(&connection, "call", common);
    if (rc != 0)
        return rc;
    const struct troupe_call_result *result =
        connection_call(&connection, "call", args, common->timeout_ms);
    rc = EXIT_USAGE;
    if (result != NULL) {
        output_result(result, common->json);
        rc = output_exit_code(result);
    }
    connection_close(&connection);
    return rc;
}

static int call(int argc, char **argv)
{
    static const char *const acks[] = {"memory", "replica", "durable", NULL};
    struct common common;
    int ack = TROUPE_ACK_MEMORY, n;
    bool no_id = false;
    char *arguments[3];
    options_common_init(&common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "ack",
         .type = OPTION_CHOICE,
         .target = &ack,
         .choices = acks,
         .value = "LEVEL",
         .help = "how safe the effect must be before the reply comes:\n"
                 "memory (default), replica or durable"},
        {.name = "no-id",
         .type = OPTION_FLAG,
         .target = &no_id,
         .help = "send it once, without a request id"},
        OPTIONS_COMMON(&common),
    };
    const struct usage usage = {.command = "call",
                                .arguments = "KIND/ID METHOD [PAYLOAD]",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_min = 2,
                                .arguments_max = 3};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    struct call_args args = {.method = troupe_bytes_of(arguments[1]),
                             .ack = (enum troupe_ack)ack,
                             .flags = TROUPE_CALL_JSON | (no_id ? TROUPE_CALL_NO_ID : 0u)};
    char *owned = NULL;
    rc = EXIT_USAGE;
    if (parse_entity("call", arguments[0], &args.kind, &args.id) &&
        find_payload(n == 3 ? arguments[2] : "", &owned, &args.payload) && check_json(args.payload))
        rc = run(&common, &args);
    free(owned);
    return rc;
}

/* Programs get their line even for a call that was never sent, be it for a payload with a typo. */
int command_call(int argc, char **argv)
{
    int rc = call(argc, argv);
    for (int i = 1; rc == EXIT_USAGE && i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0)
            continue;
        output_refusal(usage_last_error());
        break;
    }
    return rc;
}
