/* troupe evict NODE: an operator says that a node is gone for good. The node that is asked looks
 * whether it lives, which takes as long as a lease does: this command asks again until it knows. */
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli/connect.h"
#include "tools/cli/now.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/view.h"

enum {
    DEFAULT_TIMEOUT_MS = 5000,
    WATCH_MS_MAX =
        60000, /* a node that answers others, and does not renew, for so long: it lives */
    POLL_MS_MAX = 1000,
    NOTE_BYTES = 256,
};

static const char about[] =
    "Says that a node is gone for good: its machine is lost, or it will not be started again. The\n"
    "others take its partitions at once, whatever it might have served without the store, and "
    "nobody\n"
    "waits for it to come back. Any node can be asked. One that lives is refused: it is watched "
    "for\n"
    "as long as a lease lasts.\n"
    "\n"
    "  troupe evict node-2\n"
    "  troupe evict --yes node-2";

static const char epilogue[] =
    "Exit codes: 0 evicted; 1 refused: it lives, there is no such node, or you said no; 2 wrong\n"
    "usage; 3 no answer.";

struct evict {
    struct common common;
    const char *name;
    bool yes;
    struct troupe_client *client;
};

static int refuse(const struct evict *e, enum troupe_status code, const char *text)
{
    return view_refuse(code, text, e->common.json);
}

/* ---- asking back ---- */

/* "It is dead, and has 1,365 partitions." Nothing when the node that is asked knows nothing. */
static void note_member(const struct evict *e, char note[NOTE_BYTES])
{
    struct view view;
    char number[OUTPUT_NUMBER_BYTES];
    note[0] = '\0';
    view_ask(e->client, VIEW_MEMBERS, e->common.timeout_ms, &view);
    for (size_t i = 0; view.members != NULL && i < view.members->n_members; i++) {
        const Troupe__Rpc__Member *m = view.members->members[i];
        if (strcmp(m->name, e->name) == 0)
            snprintf(note, NOTE_BYTES, "It is %.20s, and has %s partitions. ", m->state,
                     output_number(m->owned, number));
    }
    view_close(&view);
}

static int ask_back(const struct evict *e)
{
    char line[16] = "", note[NOTE_BYTES];
    if (e->yes)
        return OPTIONS_GO_ON;
    if (!isatty(STDIN_FILENO))
        return usage_error("evict", "asks back on a terminal only: say --yes");
    note_member(e, note);
    fprintf(stderr,
            "Evict %s? %sThe others take over what it had; what it acknowledged from memory and "
            "did not persist is lost. Be sure that it does not run. [y/N] ",
            e->name, note);
    if (fgets(line, sizeof line, stdin) != NULL && (line[0] == 'y' || line[0] == 'Y'))
        return OPTIONS_GO_ON;
    fprintf(stderr, "troupe evict: nothing was done\n");
    return EXIT_ANSWERED;
}

/* ---- evicting ---- */

static int finish(const struct evict *e, const char *why)
{
    if (e->common.json)
        view_print_json(stdout, json_pack("{s:s, s:s}", "node", e->name, "state", "evicted"));
    else
        printf("%s is evicted: the other nodes take its partitions, and nobody waits for it%s%s\n",
               e->name, why[0] == '\0' ? "" : ". But ", why);
    return EXIT_OK;
}

static int lives(const struct evict *e, const char *why)
{
    char text[VIEW_MESSAGE_BYTES];
    snprintf(text, sizeof text,
             "%.64s lives: %.60s. To have it gone, stop it (SIGTERM moves its partitions first), "
             "or `troupe drain %.64s`",
             e->name, why, e->name);
    return refuse(e, TROUPE_FAILED_PRECONDITION, text);
}

static void pause_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* One question. OPTIONS_GO_ON: it is watched, and to be asked about again. */
static int try_once(const struct evict *e, Troupe__Rpc__Evict *first, bool *told)
{
    struct view view;
    Troupe__Rpc__EvictRequest what = TROUPE__RPC__EVICT_REQUEST__INIT;
    union { /* protobuf-c wants char *, and only reads it */
        const char *in;
        char *out;
    } name = {.in = e->name};
    what.node = name.out;
    ProtobufCMessage *message =
        view_call(e->client, "evict", &what.base, &troupe__rpc__evict__descriptor,
                  e->common.timeout_ms, &view);
    if (message == NULL)
        return view_show_error(&view, e->common.json, stdout, stderr);
    const Troupe__Rpc__Evict *now = (const Troupe__Rpc__Evict *)(const void *)message;
    int rc = OPTIONS_GO_ON;
    if (strcmp(now->state, "evicted") == 0)
        rc = finish(e, now->why);
    else if (*told && (now->generation != first->generation || now->renew_seq != first->renew_seq))
        rc = lives(e, "it renews its lease");
    else if (!*told && !e->common.json)
        fprintf(stderr, "%s; watching it\n", now->why);
    first->generation = now->generation;
    first->renew_seq = now->renew_seq;
    *told = true;
    if (rc == OPTIONS_GO_ON)
        pause_ms(now->wait_ms < POLL_MS_MAX ? now->wait_ms + 1 : POLL_MS_MAX);
    protobuf_c_message_free_unpacked(message, NULL);
    return rc;
}

static int run(const struct evict *e)
{
    Troupe__Rpc__Evict first = TROUPE__RPC__EVICT__INIT;
    bool told = false;
    uint64_t until_ms = now_ms() + WATCH_MS_MAX;
    int rc = ask_back(e);
    while (rc == OPTIONS_GO_ON && now_ms() < until_ms)
        rc = try_once(e, &first, &told);
    return rc != OPTIONS_GO_ON ? rc : lives(e, "it answers the other nodes");
}

int command_evict(int argc, char **argv)
{
    struct evict e = {0};
    struct connection connection;
    char *arguments[1];
    int n;
    options_common_init(&e.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "yes", .type = OPTION_FLAG, .target = &e.yes, .help = "do not ask back"},
        OPTIONS_COMMON(&e.common),
    };
    const struct usage usage = {.command = "evict",
                                .arguments = "[--yes] NODE",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_min = 1,
                                .arguments_max = 1};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    e.name = arguments[0];
    rc = connection_open(&connection, "evict", &e.common);
    if (rc != 0)
        return rc;
    e.client = connection.client;
    rc = run(&e);
    connection_close(&connection);
    return rc;
}
