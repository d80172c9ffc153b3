/* troupe kinds: which kinds the cluster has, who has them in which version, and whether they are
 * open; troupe kinds forget NAME: that one is given up. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/connect.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/table.h"
#include "tools/cli/view.h"

enum { DEFAULT_TIMEOUT_MS = 5000, NAMES_BYTES = 512 };

static const char about[] =
    "Shows every kind that a node has, or that has opened: a kind opens when all nodes have it, "
    "and "
    "is\n"
    "remembered from then on. A node that lacks one of those takes no partitions.\n"
    "\n"
    "  troupe kinds\n"
    "  troupe kinds forget venue     give it up: no node has it any more, and none shall need it";

static const char epilogue[] = "Exit codes: 0 OK; 1 a kind is not open, a node lacks one, or the "
                               "answer was an error; 2 wrong\n"
                               "usage; 3 no answer.";

struct kinds_options {
    struct common common;
    bool yes;
};

/* "node-1, node-2 (2)": those that have it, with the version where it is not the written one. */
static void list_nodes(const Troupe__Rpc__Kind *k, bool having, char text[NAMES_BYTES])
{
    text[0] = '\0';
    for (size_t i = 0; i < k->n_nodes; i++) {
        const Troupe__Rpc__KindNode *n = k->nodes[i];
        size_t used = strlen(text);
        if (n->has != having)
            continue;
        snprintf(text + used, NAMES_BYTES - used, "%s%s", used == 0 ? "" : ", ", n->node);
        used = strlen(text);
        if (n->untold)
            snprintf(text + used, NAMES_BYTES - used, " (does not tell)");
        else if (having && n->version != k->version)
            snprintf(text + used, NAMES_BYTES - used, " (%" PRIu32 ")", n->version);
    }
}

static bool is_well(const Troupe__Rpc__Kinds *all)
{
    bool well = all->lacks[0] == '\0';
    for (size_t i = 0; i < all->n_kinds; i++) {
        const Troupe__Rpc__Kind *k = all->kinds[i];
        well &= k->open;
        for (size_t at = 0; at < k->n_nodes; at++)
            well &= k->nodes[at]->has || k->nodes[at]->untold;
    }
    return well;
}

static void show(const Troupe__Rpc__Kinds *all)
{
    static const struct table_column columns[] = {{"KIND", false},
                                                  {"STATE", false},
                                                  {"WRITES", true},
                                                  {"NODES", false},
                                                  {"LACKED BY", false}};
    struct table table;
    char having[NAMES_BYTES], lacking[NAMES_BYTES];
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < all->n_kinds; i++) {
        const Troupe__Rpc__Kind *k = all->kinds[i];
        list_nodes(k, true, having);
        list_nodes(k, false, lacking);
        table_cell(&table, "%s", k->name);
        table_cell(&table, "%s", k->open ? "open" : "waits");
        table_number(&table, k->version);
        table_cell(&table, "%s", having[0] == '\0' ? "-" : having);
        table_cell(&table, "%s", lacking);
    }
    table_print(&table, stdout);
    table_close(&table);
    if (all->n_kinds == 0)
        printf("no node has a kind: start them with --kinds FILE.so\n");
}

static int finish(const struct kinds_options *o, const Troupe__Rpc__Kinds *all)
{
    if (o->common.json)
        view_print_json(stdout, view_json(&all->base));
    else
        show(all);
    return is_well(all) ? EXIT_OK : EXIT_ANSWERED;
}

static bool has_agreed(const struct kinds_options *o, const char *name)
{
    char line[16] = "";
    if (o->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        usage_error("kinds", "forget asks back on a terminal only: say --yes");
        return false;
    }
    fprintf(
        stderr,
        "Nodes without kind %s will take partitions, and its entities, which stay in the store, "
        "will not be found. Forget it? [y/N] ",
        name);
    return fgets(line, sizeof line, stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

static bool is_listed(const Troupe__Rpc__Kinds *all, const char *name)
{
    for (size_t i = 0; i < all->n_kinds; i++)
        if (strcmp(all->kinds[i]->name, name) == 0 && all->kinds[i]->open)
            return true;
    return false;
}

static int ask(const struct kinds_options *o, struct troupe_client *client, char *forget)
{
    struct view view;
    Troupe__Rpc__ForgetKind what = TROUPE__RPC__FORGET_KIND__INIT;
    what.name = forget;
    ProtobufCMessage *message = view_call(
        client, forget == NULL ? "kinds" : "forget_kind", forget == NULL ? NULL : &what.base,
        &troupe__rpc__kinds__descriptor, o->common.timeout_ms, &view);
    if (message == NULL)
        return view_show_error(&view, o->common.json, stdout, stderr);
    const Troupe__Rpc__Kinds *all = (const Troupe__Rpc__Kinds *)(const void *)message;
    int rc = finish(o, all);
    if (forget != NULL && is_listed(all, forget)) {
        fprintf(stderr, "troupe kinds: the list has just been changed by a node: try again\n");
        rc = EXIT_ANSWERED;
    } else if (forget != NULL) {
        rc = EXIT_OK;
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return rc;
}

int command_kinds(int argc, char **argv)
{
    struct kinds_options o = {0};
    struct connection connection;
    char *arguments[3];
    int n;
    options_common_init(&o.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "yes", .type = OPTION_FLAG, .target = &o.yes, .help = "do not ask back"},
        OPTIONS_COMMON(&o.common),
    };
    const struct usage usage = {.command = "kinds",
                                .arguments = "[OPTION]... [forget NAME]",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_max = 2};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    if (n != 0 && (n != 2 || strcmp(arguments[0], "forget") != 0))
        return usage_error("kinds", "say nothing, or: forget NAME");
    if (n == 2 && !has_agreed(&o, arguments[1]))
        return EXIT_USAGE;
    rc = connection_open(&connection, "kinds", &o.common);
    if (rc != 0)
        return rc;
    rc = ask(&o, connection.client, n == 2 ? arguments[1] : NULL);
    connection_close(&connection);
    return rc;
}
