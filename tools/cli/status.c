/* troupe status: how a node is doing, by its own word. */
#include <jansson.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "proto/json.h"
#include "tools/cli/connect.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/status_layout.h"

enum { DEFAULT_TIMEOUT_MS = 3000, WATCH_MS = 2000 };

static const char about[] = "Shows how a node is doing: its store, partitions, entities, calls and "
                            "persistence.";

static const char epilogue[] =
    "Exit codes: 0 the node is healthy; 1 it is not: not serving, or its store cannot be reached "
    "(or\n"
    "the answer was an error); 2 wrong usage; 3 no answer. With --watch: of the last answer.";

static bool is_healthy(const Troupe__Rpc__NodeStatus *status)
{
    return strcmp(status->state, "serving") == 0 && status->store_ok;
}

static int show_json(struct troupe_bytes packed)
{
    struct arena arena;
    struct troupe_bytes text;
    char why[JSON_WHY_BYTES];
    arena_init(&arena, 0, 0);
    int rc =
        json_from_message(&arena, &troupe__rpc__node_status__descriptor, packed, true, &text, why);
    if (rc == 0)
        printf("%.*s\n", (int)text.len, (const char *)text.data);
    else
        fprintf(stderr, "troupe status: the answer cannot be read: %s\n", why);
    arena_close(&arena);
    return rc == 0 ? 0 : EXIT_ANSWERED;
}

static int show(const struct troupe_call_result *result, bool json)
{
    if (result->status != TROUPE_OK) {
        output_result(result, json);
        return output_exit_code(result);
    }
    Troupe__Rpc__NodeStatus *status =
        troupe__rpc__node_status__unpack(NULL, result->payload.len, result->payload.data);
    if (status == NULL) {
        fprintf(stderr,
                "troupe status: the answer cannot be read; is the node of another version?\n");
        return EXIT_ANSWERED;
    }
    int rc = is_healthy(status) ? EXIT_OK : EXIT_ANSWERED;
    if (json)
        rc = show_json(result->payload) != 0 ? EXIT_ANSWERED : rc;
    else
        status_layout(stdout, status);
    troupe__rpc__node_status__free_unpacked(status, NULL);
    return rc;
}

static void clear_screen(void)
{
    if (isatty(STDOUT_FILENO))
        printf("\033[H\033[2J"); /* home, and clear from there */
}

static int run(const struct common *common, uint32_t watch_ms)
{
    struct connection connection;
    int rc = connection_open(&connection, "status", common);
    if (rc != 0)
        return rc;
    const struct call_args args = {.kind = troupe_bytes_of("$node"),
                                   .id = troupe_bytes_of("self"),
                                   .method = troupe_bytes_of("status")};
    for (;;) {
        const struct troupe_call_result *result =
            connection_call(&connection, "status", &args, common->timeout_ms);
        if (watch_ms != 0 && !common->json)
            clear_screen();
        rc = result == NULL ? EXIT_USAGE : show(result, common->json);
        fflush(stdout);
        if (watch_ms == 0 || result == NULL || ferror(stdout))
            break;
        nanosleep(&(struct timespec){.tv_sec = watch_ms / 1000,
                                     .tv_nsec = (long)(watch_ms % 1000) * 1000000},
                  NULL);
    }
    connection_close(&connection);
    return rc;
}

int command_status(int argc, char **argv)
{
    struct common common;
    char *arguments[1];
    uint32_t watch_ms = 0;
    int n;
    options_common_init(&common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "watch",
         .type = OPTION_PERIOD,
         .target = &watch_ms,
         .standard = WATCH_MS,
         .value = "[=TIME]",
         .help = "show it again and again, every 2 s, until Ctrl-C"},
        OPTIONS_COMMON(&common),
    };
    const struct usage usage = {.command = "status",
                                .arguments = "[OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    return rc != OPTIONS_GO_ON ? rc : run(&common, watch_ms);
}
