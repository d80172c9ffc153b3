/* troupe check: compares what every node believes of the partitions with what the store says. Looks
 * twice, since news take a moment, and tells what it has seen both times. */
#include <stdlib.h>
#include <time.h>

#include "tools/cli/compare.h"
#include "tools/cli/connect.h"
#include "tools/cli/members_layout.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/survey.h"

enum { DEFAULT_TIMEOUT_MS = 5000, AGAIN_MS = 1000, SHOWN_MAX = 20 };

static const char about[] =
    "Asks every live member what it knows of the members, the ring and the owners of the "
    "partitions,\n"
    "and one of them what the store says; names every difference: nodes that do not agree, and\n"
    "partitions whose owner is gone, or is another one than a node believes; and what the store "
    "does\n"
    "not do for a node. What is seen is looked at again after 1 s, and told when it is still so.\n"
    "--timeout is for each node.";

static const char epilogue[] =
    "Exit codes: 0 no differences; 1 the answer was an error, or the node is too old, or nodes "
    "agree\n"
    "and cannot use their store; 2 wrong usage;\n"
    "3 no answer, of all or of some; 4 differences.";

/* One look at all of them. */
struct look {
    struct survey survey;
    struct compare_node *nodes;
    struct arena arena;
    struct findings found;
};

static void look_close(struct look *l)
{
    survey_close(&l->survey);
    arena_close(&l->arena);
}

/* False: the first node did not answer, or not with what we need. */
static bool look_make(struct look *l, struct troupe_client *client, const struct common *common)
{
    const unsigned parts = VIEW_STATUS | VIEW_MEMBERS | VIEW_RING;
    *l = (struct look){0};
    arena_init(&l->arena, 0, 0);
    if (!survey_make_parts(&l->survey, client, common->node, parts | VIEW_OWNERS, parts,
                           common->timeout_ms) ||
        l->survey.first.too_old)
        return false;
    size_t n = l->survey.view.nodes_n;
    l->nodes = arena_calloc(&l->arena, n + 1, sizeof *l->nodes);
    l->found.out_of_memory = l->nodes == NULL;
    for (size_t i = 0; l->nodes != NULL && i < n; i++) {
        const struct view *view = survey_of(&l->survey, i);
        const struct cluster_node *node = &l->survey.nodes[i];
        l->nodes[i] = (struct compare_node){
            .name = node->name,
            .address = node->address,
            .why = node->why,
            .status = node->status,
            .members = view->members,
            .ring = view->code == TROUPE_OK ? view->ring : NULL,
        };
    }
    if (l->nodes != NULL)
        compare(l->nodes, n, l->survey.first.owners, &l->arena, &l->found);
    return true;
}

static int refuse(const struct look *l, const struct common *common)
{
    const struct view *first = &l->survey.first;
    return first->code != TROUPE_OK || first->status == NULL
               ? view_show_error(first, common->json, stdout, stderr)
               : view_show_too_old(first, common->json, stdout, stderr);
}

static int code_of(const struct findings *f)
{
    bool silent = false;
    for (size_t i = 0; i < f->n; i++) {
        if (f->all[i].type != FINDING_SILENT && f->all[i].type != FINDING_STORE)
            return EXIT_DISAGREED;
        silent |= f->all[i].type == FINDING_SILENT;
    }
    if (silent)
        return EXIT_UNREACHED;
    return f->n == 0 ? EXIT_OK : EXIT_ANSWERED;
}

/* ---- showing ---- */

static void show(const struct look *l)
{
    char partitions[OUTPUT_NUMBER_BYTES], number[OUTPUT_NUMBER_BYTES];
    const struct findings *f = &l->found;
    size_t of_type = 0;
    members_headline(stdout, l->survey.first.status);
    printf("%zu live nodes, %s partitions", l->survey.view.nodes_n,
           output_number(l->survey.first.owners->n_owner, partitions));
    if (f->n == 0)
        printf(": the nodes agree with each other and with the store\n");
    else
        printf(": %s differences, seen twice\n\n", output_number(f->n, number));
    for (size_t i = 0; i < l->survey.view.nodes_n; i++) {
        const struct cluster_node *n = &l->survey.nodes[i];
        if (n->status != NULL && n->status->lacks[0] != '\0')
            printf("%s takes no partitions: %s; `troupe kinds`\n", n->name, n->status->lacks);
    }
    for (size_t i = 0; i < f->n; i++) {
        bool first = i == 0 || f->all[i - 1].type != f->all[i].type;
        bool last = i + 1 == f->n || f->all[i + 1].type != f->all[i].type;
        of_type = first ? 1 : of_type + 1;
        if (of_type <= SHOWN_MAX)
            printf("%s\n", f->all[i].text);
        else if (last)
            printf("and %s more like the last; --json shows all\n",
                   output_number(of_type - SHOWN_MAX, number));
    }
}

static void show_json(const struct look *l, int code)
{
    const struct findings *f = &l->found;
    const Troupe__Rpc__NodeStatus *asked = l->survey.first.status;
    json_t *list = json_array();
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *one = &f->all[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:o, s:o, s:s}", "type", finding_name(one->type), "partition",
                      one->partition == UINT32_MAX ? json_null() : json_integer(one->partition),
                      "node", one->node[0] == '\0' ? json_null() : view_text_json(one->node),
                      "text", one->text));
    }
    view_print_json(stdout, json_pack("{s:b, s:i, s:s, s:s, s:s, s:i, s:i, s:o}", "agree",
                                      code == EXIT_OK || code == EXIT_ANSWERED, "exit_code", code,
                                      "cluster", asked->cluster, "cluster_uid", asked->cluster_uid,
                                      "answered_by", asked->name, "nodes",
                                      (int)l->survey.view.nodes_n, "partitions",
                                      (int)l->survey.first.owners->n_owner, "differences", list));
}

static int judge_and_show(const struct look *l, bool json)
{
    int code = code_of(&l->found);
    if (l->found.out_of_memory) {
        fprintf(stderr, "troupe check: out of memory\n");
        return EXIT_UNREACHED;
    }
    if (json)
        show_json(l, code);
    else
        show(l);
    return code;
}

static int run(struct troupe_client *client, const struct common *common)
{
    struct look first, second;
    int rc;
    bool made = look_make(&first, client, common);
    if (!made || first.found.n == 0) {
        rc = made ? judge_and_show(&first, common->json) : refuse(&first, common);
        look_close(&first);
        return rc;
    }
    nanosleep(&(struct timespec){.tv_sec = AGAIN_MS / 1000}, NULL);
    if (look_make(&second, client, common)) {
        compare_persist(&first.found, &second.found);
        rc = judge_and_show(&second, common->json);
    } else {
        rc = refuse(&second, common);
    }
    look_close(&first);
    look_close(&second);
    return rc;
}

int command_check(int argc, char **argv)
{
    struct common common;
    struct connection connection;
    char *arguments[1];
    int n;
    options_common_init(&common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {OPTIONS_COMMON(&common)};
    const struct usage usage = {.command = "check",
                                .arguments = "[OPTION]...",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0]};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    rc = connection_open(&connection, "check", &common);
    if (rc != 0)
        return rc;
    rc = run(connection.client, &common);
    connection_close(&connection);
    return rc;
}
