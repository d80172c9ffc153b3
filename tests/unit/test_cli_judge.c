/* The verdict on a cluster, and how it is shown, of made-up clusters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli_fixture.h"
#include "tools/cli/cluster_layout.h"
#include "tools/cli/judge.h"

/* The words of the exit codes. */
#define HEALTHY   EXIT_OK
#define DEGRADED  EXIT_ANSWERED
#define DISAGREED EXIT_DISAGREED

static struct cli_cluster cluster;
static struct cluster_node nodes[CLI_NODES_MAX];
static struct cluster_view view;
static struct verdict verdict;
static struct arena arena;

static void make(unsigned n)
{
    cli_cluster_make(&cluster, n);
    for (unsigned i = 0; i < n; i++)
        nodes[i] = (struct cluster_node){.name = cluster.names[i],
                                         .address = cluster.addresses[i],
                                         .state = "active",
                                         .self = i == 0,
                                         .status = &cluster.status[i],
                                         .why = ""};
    view = (struct cluster_view){.asked = &cluster.status[0],
                                 .members = &cluster.members,
                                 .ring = &cluster.ring,
                                 .nodes = nodes,
                                 .nodes_n = n};
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 0, 0);
    make(3);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

static bool is_among(const char *const *lines, size_t n, const char *part)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(lines[i], part) != NULL)
            return true;
    return false;
}

static void show_and_fail(const char *part)
{
    char *text = NULL;
    CLI_TEXT(text, cluster_layout(out, &view, &verdict));
    fail_msg("no \"%s\" in:\n%s", part, text);
}

/* The one reason, or NULL for none. */
static void expect(enum exit_code code, const char *reason)
{
    judge(&view, &arena, &verdict);
    if (reason != NULL && !is_among(verdict.reasons, verdict.reasons_n, reason))
        show_and_fail(reason);
    if (verdict.reasons_n != (reason != NULL) || verdict.code != code)
        show_and_fail("just one reason, or another verdict");
}

static void clusters_that_are_well_are_healthy(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 3, 12};
    for (size_t i = 0; i < 3; i++) {
        make(sizes[i]);
        expect(HEALTHY, NULL);
        assert_int_equal(verdict.notes_n, 0);
    }
}

static void a_node_that_is_away_degrades(void **state)
{
    (void)state;
    nodes[1].status = NULL;
    nodes[1].why = "connection refused";
    expect(DEGRADED, "node-2: no answer at 10.0.0.2:7700: connection refused");
    nodes[1].suspect = true;
    expect(DEGRADED, "node-2: no answer at 10.0.0.2:7700, and the others suspect it: connection");
}

static void a_suspect_that_answers_degrades(void **state)
{
    (void)state;
    nodes[2].suspect = true;
    expect(DEGRADED, "node-3: node-1 suspects it");
}

static void a_node_that_does_not_serve_degrades(void **state)
{
    (void)state;
    cluster.status[1].state = cli_text("suspended");
    expect(DEGRADED, "node-2: it does not serve; it is suspended");
    cluster.status[1].state = cli_text("serving");
    cluster.status[1].store_ok = false;
    expect(DEGRADED, "node-2: it cannot use its store: no answer");
    cluster.status[1].store_error = cli_text("disk full\033[2J");
    expect(DEGRADED, "node-2: it cannot use its store: disk full?[2J");
    cluster.status[1].store_ok = true;
    nodes[1].state = "draining";
    expect(DEGRADED, "node-2: it is draining");
}

/* One reason for each kind of request that does not work, and for how long. */
static void a_store_that_does_not_do_everything_degrades(void **state)
{
    (void)state;
    Troupe__Rpc__StoreTrouble saves = TROUPE__RPC__STORE_TROUBLE__INIT,
                              *troubles[] = {&saves, &saves};
    saves.doing = cli_text("saving entities");
    saves.why = cli_text("disk full");
    saves.for_ms = 17200;
    cluster.status[1].store_ok = false;
    cluster.status[1].store_error = saves.why;
    cluster.status[1].store_troubles = troubles;
    cluster.status[1].n_store_troubles = 1;
    expect(DEGRADED, "node-2: saving entities does not work, for 17.2 s: disk full");
    cluster.status[1].n_store_troubles = 2;
    judge(&view, &arena, &verdict);
    assert_int_equal(verdict.reasons_n, 2);
}

static void partitions_that_are_not_in_place_degrade(void **state)
{
    (void)state;
    cluster.owner[3] = 2;
    cluster.owner[4] = 3;
    expect(DEGRADED, "partitions that are moving: 2 (they are with");
    make(3);
    cluster.owner[3] = 0;
    expect(DEGRADED, "partitions without an owner: 1 (calls");
    make(3);
    cluster.status[2].owners_hash = 99;
    expect(DEGRADED, "some have not heard the latest yet");
}

static void nodes_of_another_place_degrade(void **state)
{
    (void)state;
    cluster.status[1].cluster_uid = cli_text("another");
    expect(DEGRADED, "node-2: it is of another cluster, troupe (another)");
    make(3);
    cluster.status[1].name = cli_text("node-9");
    expect(DEGRADED, "node-2: at its address 10.0.0.2:7700 there is node-9");
}

static void nodes_that_do_not_agree_are_worst(void **state)
{
    (void)state;
    make(4);
    assert_true(judge_agreement(&view));
    cluster.status[2].ring_hash = 99;
    assert_false(judge_agreement(&view));
    expect(DISAGREED, "do not agree on the ring: node-1, node-2, node-4 / node-3");
    assert_true(verdict.members_agree && !verdict.ring_agrees);
    make(4);
    cluster.status[0].members_hash = 99;
    expect(DISAGREED, "on who is a member: node-1 / node-2, node-3, node-4; compare");
    cluster.status[1].store_ok = false; /* something else as well: the exit code stays */
    judge(&view, &arena, &verdict);
    assert_int_equal(verdict.code, DISAGREED);
    assert_int_equal(verdict.reasons_n, 2);
}

/* Who has just come, is about to go or cannot be asked may see things otherwise. */
static void only_settled_nodes_have_a_say(void **state)
{
    (void)state;
    cluster.status[2].members_hash = 99;
    nodes[2].state = "joining";
    expect(DEGRADED, "node-3: it is joining");
    nodes[2].state = "active";
    cluster.status[2].state = cli_text("starting");
    expect(DEGRADED, "node-3: it does not serve; it is starting");
    cluster.status[2].state = cli_text("serving");
    cluster.status[2].members_live = 0;
    cluster.status[2].version = cli_text("0.1.0");
    expect(HEALTHY, NULL);
    assert_true(is_among(verdict.notes, verdict.notes_n, "node-3: its version, 0.1.0, does not"));
}

static void who_is_waited_for_is_named(void **state)
{
    Troupe__Rpc__Waiting waiting = TROUPE__RPC__WAITING__INIT, *at = &waiting;
    (void)state;
    waiting.node = cli_text("node-9");
    waiting.address = cli_text("10.0.0.9:7700");
    waiting.partitions = 1365;
    waiting.left_ms = 125000;
    cluster.status[0].waits = &at;
    cluster.status[0].n_waits = 1;
    expect(DEGRADED,
           "1,365 partitions wait for node-9, which is silent, and may serve them without "
           "the store, for at most 2 min 5 s: start it again, or, if it is gone for good, "
           "`troupe evict node-9`");
    waiting.partitions = 0;
    expect(DEGRADED,
           "node-1: it waits for an earlier run of its name, at 10.0.0.9:7700, which may");
}

/* By the store's word: whoever died is missed until it is back, or given up. */
static void the_missing_degrade(void **state)
{
    static const struct {
        const char *state;
        int code;
        const char *reason;
    } rows[] = {
        {"dead", DEGRADED, "node-3: it is missing, for 3 min 12 s: start it again, or, if it is"},
        {"left", HEALTHY, NULL},
        {"active", HEALTHY, NULL},
    };
    Troupe__Rpc__Owners store = TROUPE__RPC__OWNERS__INIT;
    Troupe__Rpc__OwnerNode row = TROUPE__RPC__OWNER_NODE__INIT, *row_at = &row;
    (void)state;
    row.name = cli_text("node-3");
    store.nodes = &row_at;
    store.n_nodes = 1;
    view.store = &store;
    cluster.member[2].state = cli_text("dead");
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++)
        if (cluster.owner[pid] == 3)
            cluster.owner[pid] = cluster.proposed[pid] = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        row.state = cli_text(rows[i].state);
        view.nodes_n = 2;
        expect(rows[i].code, rows[i].reason);
        assert_int_equal(verdict.notes_n, rows[i].state[0] == 'a'); /* the store has not heard */
    }
    row.state = cli_text("dead"); /* it is back just now */
    view.nodes_n = 3;
    cluster.member[2].state = cli_text("active");
    expect(HEALTHY, NULL);
    row.name = cli_text("node-9"); /* nobody but the store has known it */
    expect(DEGRADED, "node-9: it is missing: start it again, or, if it is gone for good, `troupe "
                     "evict node-9`");
}

static void the_dead_are_noted_only(void **state)
{
    (void)state;
    cluster.member[2].state = cli_text("dead");
    expect(DEGRADED, "partitions without an owner: 16 (calls"); /* it owns what nobody serves */
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++)
        if (cluster.owner[pid] == 3)
            cluster.owner[pid] = cluster.proposed[pid] = 1;
    view.nodes_n = 2;
    expect(HEALTHY, NULL);
    assert_true(is_among(verdict.notes, verdict.notes_n, "node-3: dead for 3 min 12 s"));
    cluster.status[1].entities_quarantined = 3;
    expect(HEALTHY, NULL);
    assert_true(is_among(verdict.notes, verdict.notes_n, "node-2: 3 entities are in quarantine"));
}

/* More disagreement than anybody wants to read is cut short, not cut off. */
static void many_groups_are_cut_short(void **state)
{
    (void)state;
    make(12);
    for (unsigned i = 0; i < 12; i++)
        cluster.status[i].ring_hash = i < 8 ? 1 : i;
    expect(DISAGREED, "node-1, node-2, node-3, node-4, node-5, node-6 and 2 more / node-9 / "
                      "node-10 / node-11 / and others");
}

/* ---- showing ---- */

static void a_cluster_is_a_table(void **state)
{
    (void)state;
    char *text = NULL;
    nodes[1].status = NULL;
    nodes[1].suspect = true;
    nodes[1].why = "connection refused";
    cluster.status[2].store_ok = false;
    judge(&view, &arena, &verdict);
    CLI_TEXT(text, cluster_layout(out, &view, &verdict));
    assert_string_equal(
        text,
        "cluster troupe (6f0c1d2e-0000-4000-8000-000000000001), as node-1 sees it\n"
        "3 live nodes, 2 of them answered; 48 partitions, 0 unowned, 0 moving\n\n"
        "   NODE    STATE                 UP  PARTITIONS  ENTITIES  DIRTY  CALLS/S   LAG  STORE  "
        "LEASE    MEMORY\n"
        "*  node-1  serving             3h0m          16    45,120     12   45,120  1.2s  ok     "
        "420ms  48.1 MiB\n"
        "   node-2  no answer, suspect     -           -         -      -        -     -  -        "
        "  "
        "-         -\n"
        "   node-3  serving             3h0m          16    45,120     12   45,120  1.2s  LOST   "
        "420ms  48.1 MiB\n\n"
        "verdict      DEGRADED\n"
        "             node-2: no answer at 10.0.0.2:7700, and the others suspect it: connection "
        "refused\n"
        "             node-3: it cannot use its store: no answer\n");
    free(text);
}

static void a_lone_node_is_shown_in_full(void **state)
{
    (void)state;
    char *text = NULL;
    make(1);
    judge(&view, &arena, &verdict);
    CLI_TEXT(text, cluster_layout(out, &view, &verdict));
    assert_non_null(strstr(text, "node         node-1: serving, up 3 h 0 min, version 0.2.0\n"));
    assert_non_null(strstr(text, "partitions   48 of 48 owned\n"));
    assert_non_null(strstr(text, "verdict      HEALTHY\n"));
    free(text);
}

static void a_verdict_has_a_json_form(void **state)
{
    (void)state;
    nodes[2].status = NULL;
    nodes[2].why = "not in time";
    judge(&view, &arena, &verdict);
    json_t *json = cluster_json(&view, &verdict);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "DEGRADED");
    assert_int_equal(json_integer_value(json_object_get(json, "exit_code")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "reasons")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "notes")), 0);
    assert_true(json_is_true(json_object_get(json, "members_agree")));
    json_t *list = json_object_get(json, "nodes");
    assert_int_equal(json_array_size(list), 3);
    json_t *second = json_array_get(list, 1), *third = json_array_get(list, 2);
    assert_true(json_is_null(json_object_get(second, "error")));
    json_t *status = json_object_get(second, "status");
    assert_string_equal(json_string_value(json_object_get(status, "entities_dirty")), "12");
    assert_true(json_is_null(json_object_get(third, "status")));
    assert_string_equal(json_string_value(json_object_get(third, "error")), "not in time");
    json_decref(json);
    nodes[2].why = "half a character: \xc3"; /* no reason to leave the node out */
    judge(&view, &arena, &verdict);
    json = cluster_json(&view, &verdict);
    third = json_array_get(json_object_get(json, "nodes"), 2);
    assert_string_equal(json_string_value(json_object_get(third, "name")), "node-3");
    json_decref(json);
}

int main(void)
{
#define JUDGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        JUDGED(clusters_that_are_well_are_healthy),
        JUDGED(a_node_that_is_away_degrades),
        JUDGED(a_suspect_that_answers_degrades),
        JUDGED(a_node_that_does_not_serve_degrades),
        JUDGED(a_store_that_does_not_do_everything_degrades),
        JUDGED(partitions_that_are_not_in_place_degrade),
        JUDGED(nodes_of_another_place_degrade),
        JUDGED(nodes_that_do_not_agree_are_worst),
        JUDGED(only_settled_nodes_have_a_say),
        JUDGED(who_is_waited_for_is_named),
        JUDGED(the_missing_degrade),
        JUDGED(the_dead_are_noted_only),
        JUDGED(many_groups_are_cut_short),
        JUDGED(a_cluster_is_a_table),
        JUDGED(a_lone_node_is_shown_in_full),
        JUDGED(a_verdict_has_a_json_form),
    };
    return cmocka_run_group_tests_name("cli judge", tests, NULL, NULL);
}
