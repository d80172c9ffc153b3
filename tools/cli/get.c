/* troupe get KIND/ID: the state of an entity, as JSON. */
#include "tools/cli/connect.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"

enum { DEFAULT_TIMEOUT_MS = 5000 };

static const char about[] = "Prints the state of an entity, which is loaded if it is not in "
                            "memory. An entity that has never\n"
                            "had a state is NOT_FOUND.\n"
                            "\n"
                            "  troupe get venue/42";

static const char epilogue[] = "Exit codes: 0 OK; 1 the answer was an error, NOT_FOUND for one; 2 "
                               "wrong usage; 3 no answer: nobody\n"
                               "there, or not in time.";

int command_get(int argc, char **argv)
{
    struct common common;
    char *arguments[1];
    int n;
    options_common_init(&common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {OPTIONS_COMMON(&common)};
    const struct usage usage = {.command = "get",
                                .arguments = "KIND/ID",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_min = 1,
                                .arguments_max = 1};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    /* Reading needs no request id: asked again, it changes nothing. It has one all the same, so
     * that a lost answer is asked for again. */
    struct call_args args = {.method = troupe_bytes_of("$get"), .flags = TROUPE_CALL_JSON};
    if (!parse_entity("get", arguments[0], &args.kind, &args.id))
        return EXIT_USAGE;
    struct connection connection;
    rc = connection_open(&connection, "get", &common);
    if (rc != 0)
        return rc;
    const struct troupe_call_result *result =
        connection_call(&connection, "get", &args, common.timeout_ms);
    rc = EXIT_USAGE;
    if (result != NULL) {
        output_result(result, common.json);
        rc = output_exit_code(result);
    }
    connection_close(&connection);
    return rc;
}
