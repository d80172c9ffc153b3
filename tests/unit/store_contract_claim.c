/* The contract: claims and the owner map. */
#include <string.h>

#include "tests/unit/store_contract_parts.h"

static void all_pids(store_pid *pids)
{
    for (store_pid i = 0; i < CONTRACT_PARTITIONS; i++)
        pids[i] = i;
}

static uint64_t timeline_of(struct contract_store *s, const char *name, uint64_t generation)
{
    struct contract_request q;
    assert_int_equal(contract_renew(s, &q, name, generation), 0);
    contract_free(&q);
    return q.r.timeline;
}

static void free_partitions_are_won(void **state)
{
    struct contract_store s;
    struct contract_request q;
    store_pid pids[CONTRACT_PARTITIONS];
    all_pids(pids);
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    uint64_t first = (timeline_of(&s, "a", 1) << 40) + 1;
    assert_int_equal(contract_claim(&s, &q, "a", 1, pids, CONTRACT_PARTITIONS), 0);
    assert_int_equal(q.r.u.claim.claimed_n, CONTRACT_PARTITIONS);
    for (store_pid i = 0; i < CONTRACT_PARTITIONS; i++) {
        assert_int_equal(q.r.u.claim.claimed[i].pid, i);
        assert_true(q.r.u.claim.claimed[i].epoch == first);
        assert_int_equal(q.r.u.claim.claimed[i].epoch_prev, 0);
    }
    contract_free(&q);

    assert_int_equal(contract_owners(&s, &q), 0);
    assert_int_equal(q.r.u.owners.owners_n, CONTRACT_PARTITIONS);
    for (store_pid i = 0; i < CONTRACT_PARTITIONS; i++) {
        assert_int_equal(q.r.u.owners.owners[i].node, 0);
        assert_int_equal(q.r.u.owners.owners[i].generation, 1);
        assert_true(q.r.u.owners.owners[i].epoch == first);
    }
    contract_free(&q);
    contract_close(&s);
}

static void own_partitions_keep_their_epoch(void **state)
{
    struct contract_store s;
    struct contract_request q;
    store_pid first[] = {3, 9}, second[] = {3, 4, 9};
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_claim(&s, &q, "a", 1, first, 2), 0);
    uint64_t epoch = q.r.u.claim.claimed[0].epoch;
    contract_free(&q);
    assert_int_equal(contract_claim(&s, &q, "a", 1, second, 3), 0);
    assert_int_equal(q.r.u.claim.claimed_n, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct store_claimed *won = &q.r.u.claim.claimed[i];
        assert_int_equal(won->pid, second[i]);
        assert_true(won->epoch == epoch); /* of 4 as well: it was at 0, like they were */
        assert_true(won->epoch_prev == (second[i] == 4 ? 0 : epoch));
    }
    contract_free(&q);
    contract_close(&s);
}

static void partitions_of_others_are_left_out(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    store_pid of_a[] = {1, 2, 7}, of_b[] = {0, 1, 2, 3, 7, 200};
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&t, "b", 8);
    assert_int_equal(contract_claim(&s, &q, "a", 1, of_a, 3), 0);
    contract_free(&q);
    assert_int_equal(contract_claim(&t, &q, "b", 1, of_b, 6), 0);
    assert_int_equal(q.r.u.claim.claimed_n, 3);
    assert_int_equal(q.r.u.claim.claimed[0].pid, 0);
    assert_int_equal(q.r.u.claim.claimed[1].pid, 3);
    assert_int_equal(q.r.u.claim.claimed[2].pid, 200);
    contract_free(&q);

    assert_int_equal(contract_owners(&t, &q), 0);
    const struct store_owners *map = &q.r.u.owners;
    assert_string_equal(map->nodes[map->owners[7].node].name, "a");
    assert_string_equal(map->nodes[map->owners[3].node].name, "b");
    assert_int_equal(map->owners[4].node, UINT32_MAX);
    contract_free(&q);
    contract_close(&s);
    contract_close(&t);
}

static void partitions_of_a_leaver_are_free(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&t, "b", 8);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    store_pid pid = 5;
    assert_int_equal(contract_claim(&t, &q, "b", 1, &pid, 1), 0);
    assert_int_equal(q.r.u.claim.claimed_n, 1);
    assert_true(q.r.u.claim.claimed[0].epoch == epoch + 1);
    assert_true(q.r.u.claim.claimed[0].epoch_prev == epoch);
    contract_free(&q);
    contract_close(&s);
    contract_close(&t);
}

static void partitions_of_an_earlier_run_are_free(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    uint64_t epoch = 0;
    for (uint64_t run = 1; run <= 5; run++) {
        assert_int_equal(contract_must_register(&s, "a", run), run);
        uint64_t won = contract_must_claim(&s, "a", run, 5);
        assert_true(won > epoch);
        epoch = won;
        assert_int_equal(contract_leave(&s, &q, "a", run), 0);
        contract_free(&q);
    }
    contract_close(&s);
}

static void claims_without_a_lease_are_fenced(void **state)
{
    struct contract_store s;
    struct contract_request q;
    store_pid pid = 5;
    bed_open(&s, *state);
    assert_int_equal(contract_claim(&s, &q, "a", 1, &pid, 1), TROUPE_EFENCED);
    contract_free(&q);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_claim(&s, &q, "a", 2, &pid, 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_claim(&s, &q, "b", 1, &pid, 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_claim(&s, &q, "a", 1, &pid, 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_owners(&s, &q), 0);
    assert_int_equal(q.r.u.owners.owners[5].node, UINT32_MAX);
    assert_int_equal(q.r.u.owners.owners[5].epoch, 0);
    contract_free(&q);
    contract_close(&s);
}

static void strange_claims(void **state)
{
    struct contract_store s;
    struct contract_request q;
    store_pid beyond[] = {CONTRACT_PARTITIONS - 1, CONTRACT_PARTITIONS, UINT32_MAX};
    store_pid unsorted[] = {2, 1}, twice[] = {2, 2};
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_claim(&s, &q, "a", 1, NULL, 0), 0);
    assert_int_equal(q.r.u.claim.claimed_n, 0);
    contract_free(&q);
    assert_int_equal(contract_claim(&s, &q, "a", 1, beyond, 3), 0);
    assert_int_equal(q.r.u.claim.claimed_n, 1); /* what does not exist cannot be won */
    contract_free(&q);
    assert_int_equal(contract_claim(&s, &q, "a", 1, unsorted, 2), TROUPE_EINVAL);
    contract_free(&q);
    assert_int_equal(contract_claim(&s, &q, "a", 1, twice, 2), TROUPE_EINVAL);
    contract_free(&q);
    contract_close(&s);
}

/* Two nodes want everything at once: each partition has one winner, and the map says the same. */
static void racing_claims_have_one_winner(void **state)
{
    struct contract_store s[2];
    struct contract_request q[2], map;
    const char *names[] = {"a", "b"};
    store_pid pids[CONTRACT_PARTITIONS];
    all_pids(pids);
    for (size_t i = 0; i < 2; i++) {
        bed_open(&s[i], *state);
        contract_must_register(&s[i], names[i], 7 + i);
        contract_init(&q[i], STORE_CLAIM);
        q[i].r.u.claim = (struct store_claim){
            .name = names[i], .generation = 1, .pids = pids, .pids_n = CONTRACT_PARTITIONS};
    }
    for (size_t i = 0; i < 2; i++)
        contract_submit(&s[i], &q[i]);
    for (size_t i = 0; i < 2; i++) {
        contract_wait(&s[i], &q[i]);
        if (q[i].r.error != 0)
            assert_int_equal(contract_do(&s[i], &q[i]), 0);
    }
    assert_int_equal(contract_owners(&s[0], &map), 0);
    size_t won = 0;
    for (size_t i = 0; i < 2; i++) {
        const struct store_claim *claim = &q[i].r.u.claim;
        won += claim->claimed_n;
        for (size_t k = 0; k < claim->claimed_n; k++) {
            const struct store_owner *owner = &map.r.u.owners.owners[claim->claimed[k].pid];
            assert_string_equal(map.r.u.owners.nodes[owner->node].name, names[i]);
            assert_true(owner->epoch == claim->claimed[k].epoch);
        }
    }
    assert_int_equal(won, CONTRACT_PARTITIONS);
    contract_free(&map);
    for (size_t i = 0; i < 2; i++) {
        contract_free(&q[i]);
        contract_close(&s[i]);
    }
}

static void owner_map_shows_nodes_of_every_state(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    assert_int_equal(contract_owners(&s, &q), 0); /* not even a cluster */
    assert_int_equal(q.r.u.owners.owners_n, 0);
    assert_int_equal(q.r.u.owners.nodes_n, 0);
    contract_free(&q);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    contract_must_claim(&s, "b", 1, 5);
    assert_int_equal(contract_leave(&s, &q, "b", 1), 0);
    contract_free(&q);
    contract_must_register(&s, "b", 9); /* the map still shows the run that claimed it */

    assert_int_equal(contract_owners(&s, &q), 0);
    const struct store_owners *map = &q.r.u.owners;
    assert_int_equal(map->nodes_n, 2);
    const struct store_node *b = &map->nodes[map->owners[5].node];
    assert_string_equal(b->name, "b");
    assert_int_equal(b->generation, 2);
    assert_int_equal(map->owners[5].generation, 1);
    contract_free(&q);
    assert_int_equal(contract_leave(&s, &q, "b", 2), 0);
    contract_free(&q);
    assert_int_equal(contract_owners(&s, &q), 0);
    assert_int_equal(q.r.u.owners.nodes[q.r.u.owners.owners[5].node].state, STORE_NODE_LEFT);
    contract_free(&q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(free_partitions_are_won),
    cmocka_unit_test(own_partitions_keep_their_epoch),
    cmocka_unit_test(partitions_of_others_are_left_out),
    cmocka_unit_test(partitions_of_a_leaver_are_free),
    cmocka_unit_test(partitions_of_an_earlier_run_are_free),
    cmocka_unit_test(claims_without_a_lease_are_fenced),
    cmocka_unit_test(strange_claims),
    cmocka_unit_test(racing_claims_have_one_winner),
    cmocka_unit_test(owner_map_shows_nodes_of_every_state),
};

CONTRACT_PART(claim, tests);
