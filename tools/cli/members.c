/* troupe members: who is in the cluster, as one node sees it. */
#include "tools/cli/members_layout.h"
#include "tools/cli/watch.h"

enum { DEFAULT_TIMEOUT_MS = 2000, WATCH_MS = 1000 };

static const char about[] = "Shows the members of the cluster, as one of them sees it: whether "
                            "they are there (up, suspect,\n"
                            "down), what they do (joining, active, draining, left, dead) and for "
                            "how long, their shares of\n"
                            "the partitions now (OWNED) and as the ring proposes (RING), entities "
                            "in memory, zone, weight,\n"
                            "version, address. * is the node that answered.";

static const char epilogue[] =
    "With --watch it goes on when the node is away, and asks the other members then.\n\n"
    "Exit codes: 0 OK, and when Ctrl-C ends --watch; 1 the answer was an error, or the node is "
    "too\n"
    "old; 2 wrong usage; 3 no answer. `troupe status` judges.";

static int look(struct watch *watch, struct troupe_client *client, FILE *out, FILE *errors)
{
    struct view view;
    int rc = EXIT_OK;
    bool json = watch->common.json;
    view_ask(client, VIEW_STATUS | VIEW_MEMBERS, watch->common.timeout_ms, &view);
    if (view.code != TROUPE_OK) {
        rc = view_show_error(&view, json, out, errors);
    } else if (view.too_old) {
        rc = view_show_too_old(&view, json, out, errors);
    } else {
        watch_learn(watch, view.members);
        if (json)
            view_print_json(out, members_json(view.status, view.members));
        else
            members_layout(out, view.status, view.members);
    }
    view_close(&view);
    return rc;
}

int command_members(int argc, char **argv)
{
    struct watch watch = {.command = "members", .look = look};
    char *arguments[1];
    int n;
    options_common_init(&watch.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        OPTION_WATCH(&watch, WATCH_MS, "1 s"),
        OPTIONS_COMMON(&watch.common),
    };
    const struct usage usage = {.command = "members",
                                .arguments = "[OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    return rc != OPTIONS_GO_ON ? rc : watch_run(&watch);
}
