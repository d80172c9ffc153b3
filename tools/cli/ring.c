/* troupe ring: who owns the partitions, and who should. */
#include "tools/cli/ring_layout.h"
#include "tools/cli/watch.h"

enum { DEFAULT_TIMEOUT_MS = 5000, WATCH_MS = 1000 };

static const char about[] =
    "Shows how many partitions every node owns now (OWNED) and as the ring proposes (RING), how\n"
    "many it has to give and to get for that, and for how many it is the backup.";

static const char epilogue[] = "Exit codes: 0 OK, and when Ctrl-C ends --watch; 1 the answer was "
                               "an error, or the node is too\n"
                               "old; 2 wrong usage; 3 no answer. `troupe status` judges.";

struct ring_options {
    bool partitions;
};

static int look(struct watch *watch, struct troupe_client *client, FILE *out, FILE *errors)
{
    const struct ring_options *o = watch->data;
    struct view view;
    int rc = EXIT_OK;
    bool json = watch->common.json;
    view_ask(client, VIEW_STATUS | VIEW_MEMBERS | VIEW_RING, watch->common.timeout_ms, &view);
    if (view.code != TROUPE_OK) {
        rc = view_show_error(&view, json, out, errors);
    } else if (view.too_old) {
        rc = view_show_too_old(&view, json, out, errors);
    } else {
        watch_learn(watch, view.members);
        if (json)
            view_print_json(out, ring_json(view.status, view.members, view.ring, o->partitions));
        else
            ring_layout(out, view.status, view.members, view.ring, o->partitions);
    }
    view_close(&view);
    return rc;
}

int command_ring(int argc, char **argv)
{
    struct ring_options own = {0};
    struct watch watch = {.command = "ring", .look = look, .data = &own};
    char *arguments[1];
    int n;
    options_common_init(&watch.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "partitions",
         .type = OPTION_FLAG,
         .target = &own.partitions,
         .help = "list every partition: owner, epoch, ring, backup"},
        OPTION_WATCH(&watch, WATCH_MS, "1 s"),
        OPTIONS_COMMON(&watch.common),
    };
    const struct usage usage = {.command = "ring",
                                .arguments = "[OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    return rc != OPTIONS_GO_ON ? rc : watch_run(&watch);
}
