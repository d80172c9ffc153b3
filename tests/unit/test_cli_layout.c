/* The tables and JSON documents of `troupe members` and `troupe ring`, of made-up clusters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli_fixture.h"
#include "tools/cli/duration.h"
#include "tools/cli/members_layout.h"
#include "tools/cli/ring_layout.h"
#include "tools/cli/table.h"
#include "tools/cli/view.h"

enum { WIDTH_MAX = 120 };

static struct cli_cluster cluster;

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("there is no \"%s\" in:\n%s", part, text);
}

/* What a usual terminal shows without wrapping, and no blanks at the ends of lines. */
static void assert_fits(const char *text)
{
    for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        if (end - line > WIDTH_MAX)
            fail_msg("%d columns: %.*s", (int)(end - line), (int)(end - line), line);
        assert_true(end == line || end[-1] != ' ');
    }
}

static char *members_text(void)
{
    char *text = NULL;
    CLI_TEXT(text, members_layout(out, &cluster.status[0], &cluster.members));
    return text;
}

static char *ring_text(bool partitions)
{
    char *text = NULL;
    CLI_TEXT(text,
             ring_layout(out, &cluster.status[0], &cluster.members, &cluster.ring, partitions));
    return text;
}

/* ---- the table ---- */

static void columns_are_aligned(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"NAME", false}, {"N", true}, {"", false}};
    struct table table;
    char *text = NULL;
    table_init(&table, columns, 3);
    table_cell(&table, "%s", "k\xc3\xb6ln");
    table_number(&table, 1234567);
    table_cell(&table, "%s", "");
    table_cell(&table, "%s", "a\033[31mb");
    table_number(&table, 1);
    table_cell(&table, "%s", "x");
    CLI_TEXT(text, table_print(&table, out));
    assert_string_equal(text, "NAME             N\n"
                              "k\xc3\xb6ln     1,234,567\n"
                              "a?[31mb          1  x\n");
    table_close(&table);
    free(text);
}

static void short_durations_have_no_blanks(void **state)
{
    (void)state;
    char text[DURATION_TEXT_BYTES];
    assert_string_equal(duration_short(850, text), "850ms");
    assert_string_equal(duration_short(4250, text), "4.2s");
    assert_string_equal(duration_short(192000, text), "3m12s");
    assert_string_equal(duration_short(5 * 3600000 + 7 * 60000, text), "5h7m");
    assert_string_equal(duration_short(UINT64_C(12) * 86400000 + 3 * 3600000, text), "12d3h");
}

/* ---- members ---- */

static void a_lone_node_is_a_cluster(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 1);
    char *text = members_text();
    assert_string_equal(
        text,
        "cluster troupe (6f0c1d2e-0000-4000-8000-000000000001), as node-1 sees it\n"
        "1 up, 0 suspect, 0 down; 48 partitions, 0 of them without an owner\n\n"
        "   NODE    PRESENCE  STATE   SINCE   OWNED    RING  ENTITIES  ZONE  WEIGHT  VERSION  "
        "ADDRESS\n"
        "*  node-1  up        active  3m12s  100.0%  100.0%     1,000  east       1  0.2.0    "
        "10.0.0.1:7700\n"
        "   total                            100.0%  100.0%     1,000\n");
    free(text);
}

static void members_have_their_words(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 12);
    cluster.member[1].suspect = true;
    cluster.member[2].state = cli_text("dead");
    cluster.member[3].state = cli_text("left");
    cluster.member[4].state = cli_text("draining");
    cluster.member[5].state = cli_text("joining");
    cluster.member[5].zone = cluster.member[5].version = cli_text("");
    cluster.owner[0] = cluster.owner[2] = 0;
    cli_cluster_count(&cluster);
    char *text = members_text();
    assert_fits(text);
    assert_has(text, "9 up, 1 suspect, 2 down; 48 partitions, 2 of them without an owner\n");
    assert_has(text, "*  node-1   up        active ");
    assert_has(text, "   node-2   suspect   active ");
    assert_has(text, "   node-3   down      dead ");
    assert_has(text, "   node-4   down      left ");
    assert_has(text, "   node-5   up        draining ");
    assert_has(text,
               "   node-6   up        joining   3m12s   8.3%    8.3%     6,000  -          1  -  ");
    assert_has(text, "   total                               95.8%  100.0%    71,000\n");
    free(text);
}

static void members_are_sorted_as_people_count(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 12);
    Troupe__Rpc__Member *first = cluster.member_at[0];
    cluster.member_at[0] = cluster.member_at[10];
    cluster.member_at[10] = cluster.member_at[4];
    cluster.member_at[4] = first;
    view_sort(&cluster.members);
    for (unsigned i = 0; i < 12; i++)
        assert_ptr_equal(cluster.member_at[i], &cluster.member[i]);
    assert_ptr_equal(view_self(&cluster.members), &cluster.member[0]);
}

static void long_names_widen_their_column(void **state)
{
    (void)state;
    static const char name[] = "a-name-of-sixty-three-bytes-which-is-as-long-as-they-can-be-you-";
    cli_cluster_make(&cluster, 3);
    cluster.member[1].name = cli_text(name);
    char *text = members_text();
    assert_has(text, name);
    assert_non_null(strstr(text, "0.2.0    10.0.0.2:7700\n"));
    const char *one = strstr(text, "node-1 "), *three = strstr(text, "node-3 ");
    one = strstr(one + 60, "up ");
    three = strstr(three + 60, "up ");
    assert_non_null(one);
    assert_int_equal(strchr(one, '\n') - one, strchr(three, '\n') - three);
    free(text);
}

static void members_have_a_json_form(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 3);
    cluster.member[2].suspect = true;
    json_t *json = members_json(&cluster.status[0], &cluster.members);
    static const char *const keys[] = {"cluster", "cluster_uid", "members",     "partitions",
                                       "unowned", "ring_hash",   "owners_hash", "members_hash"};
    static const char *const member_keys[] = {
        "name",         "state",        "suspect", "self",    "presence",   "address",
        "zone",         "peer_address", "version", "weight",  "generation", "incarnation",
        "state_age_ms", "owned",        "load",    "proposed"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_object_get(json, keys[i]) == NULL)
            fail_msg("no %s", keys[i]);
    json_t *third = json_array_get(json_object_get(json, "members"), 2);
    for (size_t i = 0; i < sizeof member_keys / sizeof member_keys[0]; i++)
        if (json_object_get(third, member_keys[i]) == NULL)
            fail_msg("no %s", member_keys[i]);
    assert_string_equal(json_string_value(json_object_get(third, "presence")), "suspect");
    assert_true(json_is_false(json_object_get(third, "self")));
    assert_int_equal(json_integer_value(json_object_get(third, "owned")), 16);
    json_decref(json);
}

/* ---- ring ---- */

static void a_settled_ring_says_so(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 3);
    char *text = ring_text(false);
    assert_fits(text);
    assert_has(text, "48 partitions: all are where the ring wants them\n");
    assert_has(text, "   NODE    PRESENCE  STATE   OWNED  RING  TO GIVE  TO GET  BACKUPS\n"
                     "*  node-1  up        active     16    16        0       0       16\n"
                     "   node-2  up        active     16    16        0       0       16\n");
    assert_null(strstr(text, "PARTITION"));
    free(text);
}

/* node-3 has just come: it owns nothing and is to get its third. Two partitions are lost. */
static void a_ring_tells_what_moves(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 3);
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++)
        if (cluster.owner[pid] == 3)
            cluster.owner[pid] = pid % 2 + 1;
    cluster.owner[0] = cluster.owner[1] = 0;
    cli_cluster_count(&cluster);
    struct ring_counts counts = ring_count(&cluster.ring, &cluster.members);
    assert_int_equal(counts.unowned, 2);
    assert_int_equal(counts.moving, 16);
    char *text = ring_text(true);
    assert_fits(text);
    assert_has(text,
               "48 partitions, 16 to move to where the ring wants them, 2 WITHOUT AN OWNER\n");
    assert_has(text, "*  node-1  up        active     23    16        8       1       16\n");
    assert_has(text, "   node-3  up        active      0    16        0      16       16\n");
    assert_has(text, "PARTITION  OWNER   EPOCH  RING    BACKUP\n");
    assert_has(text, "        0  -           1  node-1  node-2  unowned\n");
    assert_has(text, "        2  node-1      3  node-3  node-1  moving\n");
    assert_has(text, "       47  node-2     48  node-3  node-1  moving\n");
    free(text);
}

static void former_nodes_are_left_out_of_the_ring(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 4);
    cluster.member[3].state = cli_text("dead");
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++) {
        cluster.owner[pid] = cluster.owner[pid] == 4 ? 1 : cluster.owner[pid];
        cluster.proposed[pid] = cluster.proposed[pid] == 4 ? 1 : cluster.proposed[pid];
        cluster.backup[pid] = cluster.backup[pid] == 4 ? 2 : cluster.backup[pid];
    }
    char *text = ring_text(false);
    assert_null(strstr(text, "node-4"));
    free(text);
    cluster.owner[5] = 4; /* it still owns one */
    text = ring_text(false);
    assert_has(text, "   node-4  down      dead        1     0        1       0        0\n");
    assert_has(text, "48 partitions, 1 WITHOUT AN OWNER\n"); /* nobody serves it */
    free(text);
    text = ring_text(true);
    assert_has(text, "        5  node-4      6  node-");
    assert_has(text, "  its owner is gone\n");
    free(text);
    cluster.member[3].state = cli_text("active");
    struct ring_counts counts = ring_count(&cluster.ring, &cluster.members);
    assert_int_equal(counts.unowned, 0);
    assert_int_equal(counts.moving, 1);
}

static void the_ring_has_a_json_form(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 3);
    cluster.owner[0] = 0;
    cluster.owner[1] = 1;
    json_t *json = ring_json(&cluster.status[0], &cluster.members, &cluster.ring, true);
    assert_int_equal(json_integer_value(json_object_get(json, "partitions")), 48);
    assert_int_equal(json_integer_value(json_object_get(json, "unowned")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "moving")), 1);
    assert_true(json_is_false(json_object_get(json, "settled")));
    json_t *node = json_array_get(json_object_get(json, "nodes"), 1);
    assert_string_equal(json_string_value(json_object_get(node, "name")), "node-2");
    assert_int_equal(json_integer_value(json_object_get(node, "to_get")), 1);
    json_t *first = json_array_get(json_object_get(json, "map"), 0);
    assert_true(json_is_null(json_object_get(first, "owner")));
    assert_string_equal(json_string_value(json_object_get(first, "epoch")), "1");
    assert_string_equal(json_string_value(json_object_get(first, "backup")), "node-2");
    json_decref(json);
}

static void unsound_rings_are_refused(void **state)
{
    (void)state;
    cli_cluster_make(&cluster, 3);
    assert_true(view_ring_is_sound(&cluster.ring));
    cluster.owner[7] = 4;
    assert_false(view_ring_is_sound(&cluster.ring));
    cluster.owner[7] = 3;
    cluster.ring.n_backup--;
    assert_false(view_ring_is_sound(&cluster.ring));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(short_durations_have_no_blanks),
        cmocka_unit_test(a_lone_node_is_a_cluster),
        cmocka_unit_test(members_have_their_words),
        cmocka_unit_test(members_are_sorted_as_people_count),
        cmocka_unit_test(long_names_widen_their_column),
        cmocka_unit_test(members_have_a_json_form),
        cmocka_unit_test(a_settled_ring_says_so),
        cmocka_unit_test(a_ring_tells_what_moves),
        cmocka_unit_test(former_nodes_are_left_out_of_the_ring),
        cmocka_unit_test(the_ring_has_a_json_form),
        cmocka_unit_test(unsound_rings_are_refused),
    };
    return cmocka_run_group_tests_name("cli layout", tests, NULL, NULL);
}
