/* troupe status: how the cluster is doing, by the word of each of its nodes. */
#include "tools/cli/cluster_layout.h"
#include "tools/cli/status_layout.h"
#include "tools/cli/survey.h"
#include "tools/cli/watch.h"

enum { DEFAULT_TIMEOUT_MS = 2000, WATCH_MS = 2000, AGREE_MS = 2000 };

static const char about[] =
    "Asks a node, and every live member that it lists, how they are doing, and judges: HEALTHY, "
    "or\n"
    "DEGRADED and why. Of a lone node, or with --one, it tells more: store, entities, calls,\n"
    "persistence. --timeout is for each node.";

static const char epilogue[] =
    "Exit codes: 0 healthy; 1 degraded: a node does not answer, does not serve or cannot use\n"
    "its store, is suspect, comes or goes, or partitions are unowned or moving (or the answer was\n"
    "an error); 2 wrong usage; 3 no answer; 4 the nodes do not agree on the members or on the\n"
    "ring. With --watch: of the last look.";

struct status_options {
    bool one;
};

static int look(struct watch *watch, struct troupe_client *client, FILE *out, FILE *errors)
{
    const struct status_options *o = watch->data;
    struct survey survey;
    uint32_t timeout_ms = watch->common.timeout_ms;
    int rc;
    bool json = watch->common.json;
    if (o->one ? survey_make_one(&survey, client, watch->common.node, timeout_ms)
               : survey_make(&survey, client, watch->common.node, timeout_ms, AGREE_MS)) {
        struct arena arena;
        struct verdict verdict;
        arena_init(&arena, 0, 0);
        judge(&survey.view, &arena, &verdict);
        if (survey.first.members != NULL)
            watch_learn(watch, survey.first.members);
        if (json)
            view_print_json(out, cluster_json(&survey.view, &verdict));
        else
            cluster_layout(out, &survey.view, &verdict);
        rc = verdict.code;
        arena_close(&arena);
    } else {
        rc = view_show_error(&survey.first, json, out, errors);
    }
    survey_close(&survey);
    return rc;
}

int command_status(int argc, char **argv)
{
    struct status_options own = {0};
    struct watch watch = {.command = "status", .look = look, .data = &own, .last_code = true};
    char *arguments[1];
    int n;
    options_common_init(&watch.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "one",
         .type = OPTION_FLAG,
         .target = &own.one,
         .help = "only the node that is asked, and more about it"},
        OPTION_WATCH(&watch, WATCH_MS, "2 s"),
        OPTIONS_COMMON(&watch.common),
    };
    const struct usage usage = {.command = "status",
                                .arguments = "[OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    return rc != OPTIONS_GO_ON ? rc : watch_run(&watch);
}
