/* What operators are shown: why a partition is where it is, what moves, and where nodes and store
 * differ; of made-up clusters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli_fixture.h"
#include "tools/cli/compare.h"
#include "tools/cli/judge.h"
#include "tools/cli/transfers_layout.h"
#include "tools/cli/why_layout.h"

enum { NODES = 3 };

static struct cli_cluster cluster;

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("there is no \"%s\" in:\n%s", part, text);
}

/* ---- why ---- */

static void a_history_is_told_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *cause, *owner, *previous, *text;
    } rows[] = {
        {"drain", "node-1", "node-3",
         "moved from node-3 to node-1: the former drained, or stopped"},
        {"join", "node-3", "node-2", "moved from node-2 to node-3: that one joined, or came back"},
        {"dead", "node-2", "node-9", "taken over by node-2: node-9 died"},
        {"left", "node-9", "node-8", "taken over by node-9: node-8 had left"},
        {"restart", "node-8", "node-8", "taken up again by node-8, which was started anew"},
        {"magic", "node-8", "node-7", "from node-7 to node-8 (magic)"},
        {"first", "no\033de", "", "no?de is its first owner"},
    };
    enum { N = sizeof rows / sizeof rows[0] };
    Troupe__Rpc__OwnerChange changes[N], *all[N];
    Troupe__Rpc__History history = TROUPE__RPC__HISTORY__INIT;
    char *text = NULL;
    cli_cluster_make(&cluster, NODES);
    for (size_t i = 0; i < N; i++) {
        troupe__rpc__owner_change__init(&changes[i]);
        changes[i].epoch = N - i;
        changes[i].cause = cli_text(rows[i].cause);
        changes[i].owner = cli_text(rows[i].owner);
        changes[i].previous = cli_text(rows[i].previous);
        changes[i].at_ms = UINT64_C(1795490904070) - 1000 * i;
        all[i] = &changes[i];
    }
    history.changes = all;
    history.n_changes = N;
    cluster.owner[0] = 1;
    cluster.epoch[0] = N;
    struct why why = {.entity = "venue/42",
                      .asked = "node-1",
                      .ring = &cluster.ring,
                      .history = &history,
                      .now_ms = UINT64_C(1795490904070) + 192000};
    CLI_TEXT(text, why_layout(out, &why));
    assert_has(text, "entity       venue/42\npartition    0 of 48\n"
                     "owner        node-1, epoch 7, since 2026-11-24T03:28:24Z (3 min 12 s)\n"
                     "history      2026-11-24T03:28:24Z  epoch 7  moved from node-3");
    for (size_t i = 0; i < N; i++)
        assert_has(text, rows[i].text);
    free(text);
    cluster.owner[0] = 2;
    CLI_TEXT(text, why_layout(out, &why));
    assert_has(text, "owner        node-2, epoch 7; the store's last word is node-1, epoch 7");
    free(text);
    json_t *json = why_json(&why);
    assert_true(json_is_false(json_object_get(json, "agrees_with_store")));
    assert_int_equal(json_array_size(json_object_get(json, "history")), N);
    json_decref(json);
    history.n_changes = 0;
    cluster.owner[0] = 0;
    CLI_TEXT(text, why_layout(out, &why));
    assert_has(text,
               "owner        nobody that node-1 knows of\nhistory      none: nobody has owned");
    free(text);
}

/* A program of an older version changes owners without a history. */
static void a_history_that_lacks_changes_is_told(void **state)
{
    (void)state;
    uint32_t owner = 1;
    uint64_t epoch = 9;
    char *text = NULL;
    cli_cluster_make(&cluster, NODES);
    Troupe__Rpc__OwnerNode node, *nodes[] = {&node};
    troupe__rpc__owner_node__init(&node);
    node.name = cli_text("node-2");
    Troupe__Rpc__Owners owners = TROUPE__RPC__OWNERS__INIT;
    owners.nodes = nodes;
    owners.n_nodes = owners.n_owner = owners.n_epoch = 1;
    owners.owner = &owner;
    owners.epoch = &epoch;
    Troupe__Rpc__OwnerChange change, *changes[] = {&change};
    troupe__rpc__owner_change__init(&change);
    change.epoch = 8;
    change.cause = cli_text("first");
    change.owner = cli_text("node-1");
    change.previous = cli_text("");
    Troupe__Rpc__History history = TROUPE__RPC__HISTORY__INIT;
    cluster.owner[0] = 2;
    cluster.epoch[0] = 9;
    struct why why = {.entity = "venue/\033[2J\n42",
                      .asked = "node-1",
                      .ring = &cluster.ring,
                      .history = &history,
                      .owners = &owners};
    CLI_TEXT(text, why_layout(out, &why));
    assert_has(text, "entity       venue/?[2J?42\n");
    assert_has(text, "owner        node-2, epoch 9\n"
                     "history      none: the store remembers no change");
    free(text);
    json_t *json = why_json(&why);
    assert_true(json_is_true(json_object_get(json, "agrees_with_store")));
    json_decref(json);
    history.changes = changes;
    history.n_changes = 1;
    CLI_TEXT(text, why_layout(out, &why));
    assert_has(text, "owner        node-2, epoch 9\nhistory  ");
    assert_has(text,
               "\n             the store's owner is node-2, epoch 9: of that the history does not");
    free(text);
    change.owner = cli_text("node-2");
    change.epoch = 9;
    CLI_TEXT(text, why_layout(out, &why));
    assert_null(strstr(text, "the store's owner"));
    free(text);
}

/* ---- transfers ---- */

struct moving {
    Troupe__Rpc__Transfers node[2];
    Troupe__Rpc__TransferBatch batch[3], *batches[3];
    Troupe__Rpc__TransferPending pending, *pendings[1];
    const Troupe__Rpc__Transfers *all[2];
    const char *silent[1];
    double per_s_of[2];
    struct transfers_view view;
};

/* node-1 gives to node-3, and is telling node-2 what it has; node-2 gets something. */
static void make_moving(struct moving *m)
{
    cli_cluster_make(&cluster, NODES);
    for (int i = 0; i < 2; i++) {
        troupe__rpc__transfers__init(&m->node[i]);
        m->node[i].node = cluster.names[i];
        m->all[i] = &m->node[i];
    }
    for (int i = 0; i < 3; i++) {
        troupe__rpc__transfer_batch__init(&m->batch[i]);
        m->batches[i] = &m->batch[i];
        m->batch[i].out = i < 2;
        m->batch[i].node = cluster.names[i == 0 ? 2 : i == 1 ? 1 : 0];
        m->batch[i].phase = cli_text(i == 0 ? "streaming" : i == 1 ? "telling" : "received");
        m->batch[i].partitions = 10;
        m->batch[i].entities = 1000;
        m->batch[i].bytes = 65536;
        m->batch[i].age_ms = 15;
    }
    troupe__rpc__transfer_pending__init(&m->pending);
    m->pending.node = cluster.names[2];
    m->pending.partitions = 340;
    m->pending.entities = 15020;
    m->pending.bytes = 4 << 20;
    m->pendings[0] = &m->pending;
    m->node[0].batches = m->batches;
    m->node[0].n_batches = 2;
    m->node[0].pending = m->pendings;
    m->node[0].n_pending = 1;
    m->node[0].partitions_out = 100;
    m->node[0].freeze_max_us = 12345;
    m->node[0].aborted = 2;
    m->node[1].batches = m->batches + 2;
    m->node[1].n_batches = 1;
    m->silent[0] = cluster.names[2];
    m->view = (struct transfers_view){.asked = &cluster.status[0],
                                      .all = m->all,
                                      .all_n = 2,
                                      .silent = m->silent,
                                      .silent_n = 1,
                                      .per_s = 170,
                                      .per_s_of = m->per_s_of};
    m->per_s_of[0] = 170;
}

static void transfers_are_told_by_pairs(void **state)
{
    (void)state;
    struct moving m;
    char *text = NULL;
    make_moving(&m);
    CLI_TEXT(text, transfers_layout(out, &m.view));
    assert_has(text,
               "340 partitions with 15,020 entities in memory (4.0 MiB) are to move: at 170 a "
               "second, for 2.0 s\n");
    assert_has(text,
               "FROM    TO      LEFT  ENTITIES    BYTES   ETA  UNDER WAY  PHASE       AGE\n"
               "node-1  node-3   340    15,020  4.0 MiB  2.0s         10  streaming  15ms\n"
               "node-1  node-2     0         0      0 B   0ms         10  telling    15ms\n\n");
    assert_has(text, "moved so far 100 partitions, 0 entities, 0 B; calls waited 12.3 ms at most\n"
                     "             2 batches could not move at once");
    assert_has(text, "note         node-3 did not tell what it gives\n");
    free(text);
    json_t *json = transfers_json(&m.view);
    assert_int_equal(json_integer_value(json_object_get(json, "pending")), 340);
    assert_true(json_real_value(json_object_get(json, "seconds_left")) == 2.0);
    assert_int_equal(json_array_size(json_object_get(json, "nodes")), 2);
    json_t *giver = json_array_get(json_object_get(json, "nodes"), 0);
    assert_true(json_real_value(json_object_get(giver, "seconds_left")) == 2.0);
    json_decref(json);
    m.view.per_s_of = NULL;
    CLI_TEXT(text, transfers_layout(out, &m.view));
    assert_has(text, "  4.0 MiB    -  ");
    free(text);
    m.view.all_n = 0;
    CLI_TEXT(text, transfers_layout(out, &m.view));
    assert_has(text, "nothing moves, and nothing is to move\n");
    free(text);
}

static void a_plan_is_told_by_pairs(void **state)
{
    (void)state;
    struct moving m;
    char *text = NULL;
    make_moving(&m);
    CLI_TEXT(text, plan_layout(out, &m.view, &cluster.ring));
    assert_has(text, "nothing is to move: all partitions are where the ring wants them\n");
    free(text);
    cluster.owner[2] = cluster.owner[5] = 1; /* both are proposed for node-3 */
    cluster.owner[8] = 2;
    cluster.owner[0] = 0;
    CLI_TEXT(text, plan_layout(out, &m.view, &cluster.ring));
    assert_has(text, "FROM      TO      PARTITIONS  ENTITIES\n"
                     "(nobody)  node-1           1         -\n"
                     "node-1    node-3           2    15,020\n"
                     "node-2    node-3           1         -\n\n"
                     "This happens by itself");
    free(text);
    json_t *json = plan_json(&m.view, &cluster.ring);
    assert_int_equal(json_integer_value(json_object_get(json, "partitions")), 4);
    assert_int_equal(json_array_size(json_object_get(json, "moves")), 3);
    json_decref(json);
}

/* ---- check ---- */

struct checked {
    struct compare_node nodes[NODES];
    Troupe__Rpc__Ring rings[NODES];
    Troupe__Rpc__Members members[NODES];
    uint32_t owner[NODES][CLI_PARTITIONS], store_owner[CLI_PARTITIONS];
    uint64_t generation[CLI_PARTITIONS], store_epoch[CLI_PARTITIONS];
    Troupe__Rpc__OwnerNode row[NODES], *rows[NODES];
    Troupe__Rpc__Owners store;
    struct arena arena;
    struct findings found;
};

/* Every node has a view of its own, and the store is of one mind with all. */
static void make_checked(struct checked *c)
{
    cli_cluster_make(&cluster, NODES);
    troupe__rpc__owners__init(&c->store);
    for (unsigned i = 0; i < NODES; i++) {
        c->rings[i] = cluster.ring;
        c->rings[i].owner = c->owner[i];
        memcpy(c->owner[i], cluster.owner, sizeof cluster.owner);
        c->members[i] = cluster.members;
        c->nodes[i] = (struct compare_node){.name = cluster.names[i],
                                            .address = cluster.addresses[i],
                                            .status = &cluster.status[i],
                                            .members = &c->members[i],
                                            .ring = &c->rings[i]};
        troupe__rpc__owner_node__init(&c->row[i]);
        c->row[i].name = cluster.names[i];
        c->row[i].state = cli_text("active");
        c->row[i].generation = 7;
        c->rows[i] = &c->row[i];
    }
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++)
        c->generation[pid] = 7;
    memcpy(c->store_owner, cluster.owner, sizeof cluster.owner);
    memcpy(c->store_epoch, cluster.epoch, sizeof cluster.epoch);
    c->store.nodes = c->rows;
    c->store.n_nodes = NODES;
    c->store.owner = c->store_owner;
    c->store.epoch = c->store_epoch;
    c->store.generation = c->generation;
    c->store.n_owner = c->store.n_epoch = c->store.n_generation = CLI_PARTITIONS;
    arena_init(&c->arena, 0, 0);
}

static void look(struct checked *c)
{
    compare(c->nodes, NODES, &c->store, &c->arena, &c->found);
    assert_false(c->found.out_of_memory);
}

static void assert_found(const struct checked *c, size_t at, enum finding_type type,
                         const char *text)
{
    assert_true(at < c->found.n);
    assert_string_equal(c->found.all[at].text, text);
    assert_int_equal(c->found.all[at].type, type);
    assert_non_null(finding_name(type));
}

static void differences_are_named(void **state)
{
    (void)state;
    struct checked c;
    make_checked(&c);
    look(&c);
    assert_int_equal(c.found.n, 0);
    c.owner[1][6] = 3;
    c.store_owner[9] = 0;
    c.row[2].expired = true;
    c.members[2].members_hash = 99;
    look(&c);
    assert_int_equal(c.found.n, 4);
    assert_found(&c, 0, FINDING_MEMBERS, "node-1 and node-3 do not agree on who is a member");
    assert_found(&c, 1, FINDING_UNOWNED, "partition 9: it has no owner");
    assert_found(&c, 2, FINDING_EXPIRED,
                 "node-3 has not renewed its lease in time, and nobody has evicted it");
    assert_found(&c, 3, FINDING_VIEW,
                 "partition 6: the store says node-1@7, node-2 believes node-3@7");
    arena_close(&c.arena);
}

/* The partitions of one that is gone are told as such, not by what each node believes of them. */
static void a_store_that_does_not_do_everything_is_named(void **state)
{
    (void)state;
    struct checked c;
    Troupe__Rpc__NodeStatus status = TROUPE__RPC__NODE_STATUS__INIT;
    Troupe__Rpc__StoreTrouble saves = TROUPE__RPC__STORE_TROUBLE__INIT, *trouble = &saves;
    make_checked(&c);
    saves.doing = cli_text("saving entities");
    saves.why = cli_text("disk full");
    if (c.nodes[1].status != NULL)
        status = *c.nodes[1].status;
    status.store_troubles = &trouble;
    status.n_store_troubles = 1;
    c.nodes[1].status = &status;
    look(&c);
    assert_int_equal(c.found.n, 1);
    assert_found(&c, 0, FINDING_STORE, "node-2: saving entities does not work: disk full");
    arena_close(&c.arena);
}

static void owners_that_are_gone_are_named(void **state)
{
    (void)state;
    struct checked c;
    make_checked(&c);
    c.row[1].state = cli_text("dead");
    c.generation[0] = 6;
    c.nodes[1].status = NULL;
    c.nodes[1].why = "refused";
    look(&c);
    assert_int_equal(c.found.n, 1 + CLI_PARTITIONS / NODES + 1);
    assert_found(&c, 0, FINDING_SILENT, "node-2 does not answer at 10.0.0.2:7700: refused");
    assert_found(&c, 1, FINDING_DEAD,
                 "partition 0: its owner is an earlier run of node-1, which has not taken it up "
                 "again");
    assert_found(&c, 2, FINDING_DEAD,
                 "partition 1: its owner node-2 is dead, and nobody has taken it over");
    arena_close(&c.arena);
}

static void only_what_persists_is_told(void **state)
{
    (void)state;
    struct checked c;
    make_checked(&c);
    c.owner[1][6] = 3;
    c.owner[2][7] = 3;
    look(&c);
    struct findings before = c.found;
    assert_int_equal(before.n, 2);
    c.owner[2][7] = 2;  /* the news has come */
    c.owner[1][6] = 0;  /* another error, at the same place */
    c.owner[0][11] = 2; /* news on its way */
    look(&c);
    assert_int_equal(c.found.n, 2);
    compare_persist(&before, &c.found);
    assert_int_equal(c.found.n, 1);
    assert_found(&c, 0, FINDING_VIEW,
                 "partition 6: the store says node-1@7, node-2 believes nobody@7");
    arena_close(&c.arena);
}

/* ---- a drain is no reason to worry ---- */

static void a_drained_node_is_healthy(void **state)
{
    (void)state;
    struct arena arena;
    struct verdict verdict;
    struct cluster_node nodes[NODES];
    cli_cluster_make(&cluster, NODES);
    arena_init(&arena, 0, 0);
    for (unsigned i = 0; i < NODES; i++)
        nodes[i] = (struct cluster_node){.name = cluster.names[i],
                                         .address = cluster.addresses[i],
                                         .state = i == 1 ? "draining" : "active",
                                         .status = &cluster.status[i]};
    struct cluster_view view = {.asked = &cluster.status[0], .nodes = nodes, .nodes_n = NODES};
    cluster.status[1].state = cli_text("draining");
    judge(&view, &arena, &verdict);
    assert_int_equal(verdict.code, EXIT_ANSWERED); /* it stops */
    cluster.status[1].drain_asked = true;
    judge(&view, &arena, &verdict);
    assert_int_equal(verdict.code, EXIT_OK);
    assert_int_equal(verdict.notes_n, 1);
    assert_has(verdict.notes[0], "node-2: drained by an operator, 16 partitions left");
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_history_is_told_in_words),
        cmocka_unit_test(a_history_that_lacks_changes_is_told),
        cmocka_unit_test(transfers_are_told_by_pairs),
        cmocka_unit_test(a_plan_is_told_by_pairs),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(a_store_that_does_not_do_everything_is_named),
        cmocka_unit_test(owners_that_are_gone_are_named),
        cmocka_unit_test(only_what_persists_is_told),
        cmocka_unit_test(a_drained_node_is_healthy),
    };
    return cmocka_run_group_tests_name("cli for operators", tests, NULL, NULL);
}
