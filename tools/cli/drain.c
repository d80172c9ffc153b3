/* troupe drain NODE: has a node give its partitions away, and watches it do so. */
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli/duration.h"
#include "tools/cli/near.h"
#include "tools/cli/now.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/view.h"

enum {
    DEFAULT_TIMEOUT_MS = 5000,
    WAIT_MS = 600000,
    POLL_MS = 200,
    TELL_MS = 1000,
    ALONE_MS = 2000, /* for so long nobody can take anything: news of a node take a moment */
    NAMES_MAX = 64,
};

static const char about[] =
    "Has a node give all its partitions to the others, and take none until it is told otherwise, "
    "or\n"
    "started again. The process stays, and still answers calls: it passes them on. Waits until\n"
    "nothing is left, and shows what is.\n"
    "\n"
    "  troupe drain node-2\n"
    "  troupe drain --cancel node-2";

static const char epilogue[] =
    "Exit codes: 0 drained (--no-wait: begun; --cancel: active again); 1 refused, not done in\n"
    "time or taken back by somebody else; 2 wrong usage; 3 no answer.";

struct drain {
    struct common common;
    const char *name;
    bool cancel, no_wait;
    uint32_t wait_ms;
    struct troupe_client *client; /* of the node itself */
    uint32_t first;               /* partitions at the beginning */
    uint64_t begun_ms, told_ms,
        alone_ms; /* since then nobody can take its partitions; 0: somebody */
};

static int refuse(const struct drain *d, enum troupe_status code, const char *text)
{
    return view_refuse(code, text, d->common.json);
}

/* ---- finding the node ---- */

static int refuse_name(const struct drain *d, const Troupe__Rpc__Members *members)
{
    const char *names[NAMES_MAX];
    char text[VIEW_MESSAGE_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < members->n_members && n < NAMES_MAX; i++)
        names[n++] = members->members[i]->name;
    const char *meant = near_find(d->name, names, n);
    snprintf(text, sizeof text, "there is no member \"%.80s\"%s%.80s%s: see `troupe members`",
             d->name, meant == NULL ? "" : "; did you mean \"", meant == NULL ? "" : meant,
             meant == NULL ? "" : "\"?");
    return refuse(d, TROUPE_NOT_FOUND, text);
}

static const Troupe__Rpc__Member *find_member(const Troupe__Rpc__Members *members, const char *name)
{
    const Troupe__Rpc__Member *found = NULL;
    for (size_t i = 0; i < members->n_members; i++) {
        const Troupe__Rpc__Member *m = members->members[i];
        if (strcmp(m->name, name) == 0 && (found == NULL || !view_is_gone(m)))
            found = m;
    }
    return found;
}

/* A client of that node alone: with several addresses it could go to another node. */
static int open_node(struct drain *d, const Troupe__Rpc__Member *m)
{
    char text[VIEW_MESSAGE_BYTES];
    struct view view;
    struct troupe_client_options options = {
        .addresses = m->address, .timeout_ms = d->common.timeout_ms, .no_ring = true};
    if (view_is_gone(m)) {
        snprintf(text, sizeof text, "%.80s is %.20s: it has nothing to give away", m->name,
                 m->state);
        return refuse(d, TROUPE_FAILED_PRECONDITION, text);
    }
    if (troupe_client_open(&d->client, &options, text, sizeof text) != 0)
        return refuse(d, TROUPE_FAILED_PRECONDITION, text);
    view_ask(d->client, VIEW_STATUS, d->common.timeout_ms, &view);
    int rc = EXIT_OK;
    if (view.code != TROUPE_OK || view.status == NULL) {
        rc = view_show_error(&view, d->common.json, stdout, stderr);
    } else if (strcmp(view.status->name, m->name) != 0) {
        snprintf(text, sizeof text, "at %.80s, the address of %.80s, there is %.80s", m->address,
                 m->name, view.status->name);
        rc = refuse(d, TROUPE_FAILED_PRECONDITION, text);
    }
    view_close(&view);
    return rc;
}

static int find_node(struct drain *d)
{
    struct view view;
    struct troupe_client *client;
    char errmsg[VIEW_MESSAGE_BYTES];
    struct troupe_client_options options = {
        .addresses = d->common.node, .timeout_ms = d->common.timeout_ms, .no_ring = true};
    if (troupe_client_open(&client, &options, errmsg, sizeof errmsg) != 0)
        return usage_error("drain", "%s", errmsg);
    view_ask(client, VIEW_STATUS | VIEW_MEMBERS, d->common.timeout_ms, &view);
    int rc;
    if (view.code != TROUPE_OK) {
        rc = view_show_error(&view, d->common.json, stdout, stderr);
    } else if (view.too_old) {
        rc = view_show_too_old(&view, d->common.json, stdout, stderr);
    } else {
        const Troupe__Rpc__Member *m = find_member(view.members, d->name);
        rc = m == NULL ? refuse_name(d, view.members) : open_node(d, m);
    }
    view_close(&view);
    troupe_client_close(client);
    return rc;
}

/* ---- telling ---- */

static int finish(const struct drain *d, const char *state, uint32_t partitions, int code)
{
    char took[DURATION_TEXT_BYTES], left[OUTPUT_NUMBER_BYTES];
    uint64_t ms = now_ms() - d->begun_ms;
    if (d->common.json) {
        view_print_json(stdout,
                        json_pack("{s:s, s:s, s:i, s:i, s:f}", "node", d->name, "state", state,
                                  "partitions_left", (int)partitions, "partitions_at_first",
                                  (int)d->first, "seconds", (double)ms / 1000));
        return code;
    }
    if (d->cancel)
        printf("%s takes partitions again; they come by themselves: `troupe transfers`\n", d->name);
    else if (strcmp(state, "drained") == 0)
        printf("%s is drained: %s partitions in %s. It still runs, and passes calls on.\n", d->name,
               output_number(d->first, left), duration_text(ms, took));
    else if (code == EXIT_OK)
        printf("%s drains: %s partitions left; `troupe transfers --watch` shows it\n", d->name,
               output_number(partitions, left));
    else
        fprintf(stderr,
                "troupe drain: after %s %s partitions are left; it goes on: `troupe transfers`, "
                "`troupe status`\n",
                duration_text(ms, took), output_number(partitions, left));
    return code;
}

static void tell_progress(struct drain *d, uint32_t left)
{
    char number[OUTPUT_NUMBER_BYTES], all[OUTPUT_NUMBER_BYTES];
    bool terminal = isatty(STDERR_FILENO) != 0;
    uint64_t now = now_ms();
    if (d->common.json || (!terminal && now - d->told_ms < TELL_MS))
        return;
    d->told_ms = now;
    d->first = left > d->first ? left : d->first; /* it was given some when it began */
    fprintf(stderr, "%s%s: %s of %s partitions left%s", terminal ? "\r" : "", d->name,
            output_number(left, number), output_number(d->first, all), terminal ? "\033[K" : "\n");
    if (terminal && left == 0)
        putc('\n', stderr);
}

/* ---- waiting ---- */

static bool gives(const Troupe__Rpc__Transfers *t)
{
    for (size_t i = 0; t != NULL && i < t->n_batches; i++)
        if (t->batches[i]->out)
            return true;
    return false;
}

/* The last node that was active has gone since: nobody is left to take anything, and the node
 * serves on. */
static bool is_alone(struct drain *d, const Troupe__Rpc__Members *members)
{
    bool alone = members != NULL;
    for (size_t i = 0; members != NULL && i < members->n_members; i++)
        alone &= members->members[i]->self || strcmp(members->members[i]->state, "active") != 0;
    if (!alone)
        d->alone_ms = 0;
    else if (d->alone_ms == 0)
        d->alone_ms = now_ms();
    return alone && now_ms() - d->alone_ms >= ALONE_MS;
}

static int tell_alone(const struct drain *d, uint32_t left)
{
    char text[VIEW_MESSAGE_BYTES], number[OUTPUT_NUMBER_BYTES];
    snprintf(
        text, sizeof text,
        "no active node is left to take its partitions: %.80s keeps %s, and serves them. Start "
        "a node, or `troupe drain --cancel` one; then the drain goes on",
        d->name, output_number(left, number));
    return refuse(d, TROUPE_FAILED_PRECONDITION, text);
}

/* Looks only: to ask for the drain again would undo what another operator has said since. */
static int wait_drained(struct drain *d)
{
    uint32_t left = d->first;
    uint64_t until_ms = d->begun_ms + d->wait_ms;
    for (;;) {
        struct view view;
        view_ask(d->client, VIEW_STATUS | VIEW_TRANSFERS | VIEW_MEMBERS, d->common.timeout_ms,
                 &view);
        int rc = OPTIONS_GO_ON;
        if (view.code != TROUPE_OK || view.status == NULL) {
            rc = view_show_error(&view, d->common.json, stdout, stderr);
        } else if (!view.status->drain_asked) {
            rc = refuse(d, TROUPE_ABORTED,
                        "it does not drain any more: somebody has taken it back, or the node has "
                        "been started anew");
        } else {
            left = view.status->partitions_owned;
            bool alone = left > 0 && is_alone(d, view.members);
            if (d->alone_ms == 0)
                tell_progress(d, left);
            if (left == 0 && !gives(view.transfers))
                rc = finish(d, "drained", 0, EXIT_OK);
            else if (alone && !gives(view.transfers))
                rc = tell_alone(d, left);
        }
        view_close(&view);
        if (rc != OPTIONS_GO_ON)
            return rc;
        if (now_ms() >= until_ms)
            return finish(d, "draining", left, EXIT_ANSWERED);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

static int run(struct drain *d)
{
    struct view view;
    int rc = find_node(d);
    if (rc != EXIT_OK)
        return rc;
    d->begun_ms = now_ms();
    ProtobufCMessage *message =
        view_call(d->client, d->cancel ? "undrain" : "drain", NULL, &troupe__rpc__drain__descriptor,
                  d->common.timeout_ms, &view);
    if (message == NULL)
        return view_show_error(&view, d->common.json, stdout, stderr);
    const Troupe__Rpc__Drain *told = (const Troupe__Rpc__Drain *)(const void *)message;
    d->first = told->partitions;
    bool done = d->cancel || d->no_wait;
    if (done)
        rc = finish(d, told->state, told->partitions, EXIT_OK);
    protobuf_c_message_free_unpacked(message, NULL);
    return done ? rc : wait_drained(d);
}

int command_drain(int argc, char **argv)
{
    struct drain d = {.wait_ms = WAIT_MS};
    char *arguments[1];
    int n;
    options_common_init(&d.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "cancel",
         .type = OPTION_FLAG,
         .target = &d.cancel,
         .help = "let it take partitions again"},
        {.name = "no-wait",
         .type = OPTION_FLAG,
         .target = &d.no_wait,
         .help = "do not wait until nothing is left"},
        {.name = "wait",
         .type = OPTION_DURATION,
         .target = &d.wait_ms,
         .value = "TIME",
         .help = "how long to wait for that"},
        OPTIONS_COMMON(&d.common),
    };
    const struct usage usage = {.command = "drain",
                                .arguments = "[--cancel] NODE",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_min = 1,
                                .arguments_max = 1};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    if (rc != OPTIONS_GO_ON)
        return rc;
    d.name = arguments[0];
    rc = run(&d);
    troupe_client_close(d.client);
    return rc;
}
