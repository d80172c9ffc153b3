/* troupe transfers, and troupe rebalance --plan: what moves between the nodes, by the word of each
 * of those that give. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/cli/now.h"
#include "tools/cli/survey.h"
#include "tools/cli/transfers_layout.h"
#include "tools/cli/watch.h"

enum { DEFAULT_TIMEOUT_MS = 2000, WATCH_MS = 1000, RATE_MS = 500, NODE_NAME_BYTES = 64 };

struct collected {
    struct survey survey;
    const Troupe__Rpc__Transfers **all;
    const char **silent;
    double *per_s_of;
    struct transfers_view view;
};

/* Between two looks: how fast it goes, of each node that gives. */
struct pace_of {
    char name[NODE_NAME_BYTES];
    uint64_t moved;
};

struct pace {
    uint64_t at_ms;
    struct pace_of *nodes;
    size_t n;
};

static void release(struct collected *c)
{
    survey_close(&c->survey);
    free(c->all);
    free(c->silent);
    free(c->per_s_of);
}

/* False: the first node did not answer, or not with what we need. */
static bool collect(struct collected *c, struct watch *w, struct troupe_client *client,
                    unsigned first_parts)
{
    *c = (struct collected){0};
    bool made = survey_make_parts(&c->survey, client, w->common.node, first_parts | VIEW_TRANSFERS,
                                  VIEW_STATUS | VIEW_TRANSFERS, w->common.timeout_ms);
    if (!made || c->survey.first.too_old)
        return false;
    size_t n = c->survey.view.nodes_n;
    c->all = calloc(n + 1, sizeof *c->all);
    c->silent = calloc(n + 1, sizeof *c->silent);
    c->per_s_of = calloc(n + 1, sizeof *c->per_s_of);
    if (c->all == NULL || c->silent == NULL || c->per_s_of == NULL) {
        c->survey.first.code = TROUPE_RESOURCE_EXHAUSTED;
        snprintf(c->survey.first.message, sizeof c->survey.first.message, "out of memory");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const Troupe__Rpc__Transfers *t = survey_of(&c->survey, i)->transfers;
        if (t != NULL)
            c->all[c->view.all_n++] = t;
        else
            c->silent[c->view.silent_n++] = c->survey.nodes[i].name;
    }
    c->view.asked = c->survey.first.status;
    c->view.all = c->all;
    c->view.silent = c->silent;
    watch_learn(w, c->survey.first.members);
    return true;
}

static int refuse(const struct collected *c, bool json, FILE *out, FILE *errors)
{
    const struct view *first = &c->survey.first;
    return first->code != TROUPE_OK || first->status == NULL
               ? view_show_error(first, json, out, errors)
               : view_show_too_old(first, json, out, errors);
}

/* ---- transfers ---- */

/* How much it has moved since then; 0 for one that was not there. */
static uint64_t moved_since(const struct pace *pace, const Troupe__Rpc__Transfers *t)
{
    for (size_t i = 0; i < pace->n; i++) {
        const struct pace_of *p = &pace->nodes[i];
        if (strcmp(p->name, t->node) == 0 && t->partitions_out > p->moved)
            return t->partitions_out - p->moved;
    }
    return 0;
}

/* Out of memory: the next look knows no pace. */
static void remember(struct pace *pace, const struct collected *c, uint64_t now)
{
    free(pace->nodes);
    *pace = (struct pace){.at_ms = now, .nodes = calloc(c->view.all_n + 1, sizeof(struct pace_of))};
    for (size_t i = 0; pace->nodes != NULL && i < c->view.all_n; i++) {
        struct pace_of *p = &pace->nodes[pace->n++];
        snprintf(p->name, sizeof p->name, "%s", c->all[i]->node);
        p->moved = c->all[i]->partitions_out;
    }
}

static void measure(struct collected *c, struct pace *pace)
{
    uint64_t now = now_ms();
    if (pace->at_ms != 0 && now > pace->at_ms) {
        for (size_t i = 0; i < c->view.all_n; i++) {
            c->per_s_of[i] =
                1000 * (double)moved_since(pace, c->all[i]) / (double)(now - pace->at_ms);
            c->view.per_s += c->per_s_of[i];
        }
        c->view.per_s_of = c->per_s_of;
    }
    remember(pace, c, now);
}

static int look_transfers(struct watch *watch, struct troupe_client *client, FILE *out,
                          FILE *errors)
{
    struct pace *pace = watch->data;
    struct collected c;
    unsigned parts = VIEW_STATUS | VIEW_MEMBERS;
    bool made = collect(&c, watch, client, parts), first = pace->at_ms == 0;
    if (made)
        measure(&c, pace);
    if (made && first && transfers_sum(c.all, c.view.all_n).pending > 0) {
        release(&c);
        nanosleep(&(struct timespec){.tv_nsec = RATE_MS * 1000000L}, NULL);
        made = collect(&c, watch, client, parts);
        if (made)
            measure(&c, pace);
    }
    int rc = EXIT_OK;
    if (!made)
        rc = refuse(&c, watch->common.json, out, errors);
    else if (watch->common.json)
        view_print_json(out, transfers_json(&c.view));
    else
        transfers_layout(out, &c.view);
    release(&c);
    return rc;
}

int command_transfers(int argc, char **argv)
{
    static const char about[] =
        "Shows the partitions that move from node to node: what is left (LEFT, with their entities "
        "in\n"
        "memory and their estimated size), for how long at the pace of the node that gives (ETA), "
        "and\n"
        "what is under way just now, in which phase.\n"
        "Asks every live member; --timeout is for each.";
    static const char epilogue[] =
        "Exit codes: 0 OK, and when Ctrl-C ends --watch; 1 the answer was an error, or the node is "
        "too\n"
        "old; 2 wrong usage; 3 no answer.";
    struct pace pace = {0};
    struct watch watch = {.command = "transfers", .look = look_transfers, .data = &pace};
    char *arguments[1];
    int n;
    options_common_init(&watch.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        OPTION_WATCH(&watch, WATCH_MS, "1 s"),
        OPTIONS_COMMON(&watch.common),
    };
    const struct usage usage = {.command = "transfers",
                                .arguments = "[OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc == OPTIONS_GO_ON)
        rc = watch_run(&watch);
    free(pace.nodes);
    return rc;
}

/* ---- rebalance ---- */

static int look_plan(struct watch *watch, struct troupe_client *client, FILE *out, FILE *errors)
{
    struct collected c;
    int rc = EXIT_OK;
    if (!collect(&c, watch, client, VIEW_STATUS | VIEW_MEMBERS | VIEW_RING))
        rc = refuse(&c, watch->common.json, out, errors);
    else if (watch->common.json)
        view_print_json(out, plan_json(&c.view, c.survey.first.ring));
    else
        plan_layout(out, &c.view, c.survey.first.ring);
    release(&c);
    return rc;
}

int command_rebalance(int argc, char **argv)
{
    static const char about[] =
        "Shows what is to move: by pairs of nodes, how many partitions, and how many entities in\n"
        "memory move with them. It changes nothing: partitions move by themselves when nodes come, "
        "go\n"
        "or drain, or weights change.";
    static const char epilogue[] =
        "Exit codes: 0 OK; 1 the answer was an error, or the node is too old; 2 wrong usage; 3 no\n"
        "answer.";
    bool plan = false;
    struct watch watch = {.command = "rebalance", .look = look_plan};
    char *arguments[1];
    int n;
    options_common_init(&watch.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "plan", .type = OPTION_FLAG, .target = &plan, .help = "show it"},
        OPTIONS_COMMON(&watch.common),
    };
    const struct usage usage = {.command = "rebalance",
                                .arguments = "--plan [OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    if (!plan)
        return usage_error("rebalance", "partitions move by themselves, nothing needs to be begun; "
                                        "--plan shows what is to move");
    return watch_run(&watch);
}
