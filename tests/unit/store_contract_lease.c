/* The contract: register, renew, leave; the lease and who holds a name. */
#include <string.h>

#include "tests/unit/store_contract_parts.h"

static bool is_uid(const char *uid)
{
    if (strlen(uid) != STORE_UID_BYTES)
        return false;
    for (size_t i = 0; i < STORE_UID_BYTES; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? uid[i] != '-' : strchr("0123456789abcdef", uid[i]) == NULL)
            return false;
    }
    return true;
}

static void first_register_makes_the_cluster(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    assert_int_equal(contract_register(&s, &q, "a", 7), 0);
    assert_int_equal(q.r.u.reg.generation, 1);
    assert_true(is_uid(q.r.u.reg.cluster_uid));
    char uid[STORE_UID_BYTES + 1];
    memcpy(uid, q.r.u.reg.cluster_uid, sizeof uid);
    contract_free(&q);

    assert_int_equal(contract_register(&s, &q, "b", 8), 0);
    assert_int_equal(q.r.u.reg.generation, 1);
    assert_string_equal(q.r.u.reg.cluster_uid, uid);
    contract_free(&q);

    assert_int_equal(contract_owners(&s, &q), 0);
    assert_int_equal(q.r.u.owners.owners_n, CONTRACT_PARTITIONS);
    assert_int_equal(q.r.u.owners.nodes_n, 2);
    for (size_t pid = 0; pid < CONTRACT_PARTITIONS; pid++) {
        assert_int_equal(q.r.u.owners.owners[pid].node, UINT32_MAX);
        assert_int_equal(q.r.u.owners.owners[pid].generation, 0);
        assert_int_equal(q.r.u.owners.owners[pid].epoch, 0);
    }
    contract_free(&q);
    contract_close(&s);
}

static void register_again_gives_the_same_generation(void **state)
{
    struct contract_store s, t;
    struct store_node before, after;
    bed_open(&s, *state);
    bed_open(&t, *state);
    assert_int_equal(contract_must_register(&s, "a", 7), 1);
    assert_true(contract_find_node(&s, "a", &before));
    assert_int_equal(contract_must_register(&s, "a", 7), 1);
    assert_int_equal(contract_must_register(&t, "a", 7), 1);
    /* It counts as a renewal: who watched the row since the first attempt must see it move. */
    assert_true(contract_find_node(&s, "a", &after));
    assert_true(after.renew_seq > before.renew_seq);
    assert_int_equal(after.state, STORE_NODE_ACTIVE);
    contract_close(&s);
    contract_close(&t);
}

static void register_of_a_held_name_is_busy(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){.name = "a",
                                        .incarnation = UINT64_MAX - 3,
                                        .addr = "host-1:7700",
                                        .proof = "pod 'x'\\\"\n",
                                        .ttl_ms = 43210};
    assert_int_equal(contract_do(&s, &q), 0);
    contract_free(&q);

    assert_int_equal(contract_register(&t, &q, "a", 7), TROUPE_EBUSY);
    const struct store_node *holder = &q.r.u.reg.holder;
    assert_string_equal(holder->name, "a");
    assert_int_equal(holder->generation, 1);
    assert_true(holder->incarnation == UINT64_MAX - 3);
    assert_string_equal(holder->addr, "host-1:7700");
    assert_string_equal(holder->proof, "pod 'x'\\\"\n");
    assert_int_equal(holder->ttl_ms, 43210);
    assert_int_equal(holder->state, STORE_NODE_ACTIVE);
    assert_false(holder->expired);
    assert_true(holder->age_ms < 43210);
    contract_free(&q);

    assert_int_equal(contract_renew(&s, &q, "a", 1), 0); /* the holder did not notice */
    contract_free(&q);
    contract_close(&s);
    contract_close(&t);
}

static int supersede(struct contract_store *s, struct contract_request *q, uint64_t generation,
                     uint64_t renew_seq)
{
    contract_init(q, STORE_REGISTER);
    q->r.u.reg = (struct store_register){.name = "a",
                                         .incarnation = 99,
                                         .addr = "host-2:7700",
                                         .ttl_ms = CONTRACT_TTL_MS,
                                         .supersede = true,
                                         .supersede_generation = generation,
                                         .supersede_renew_seq = renew_seq};
    return contract_do(s, q);
}

static void supersede_takes_a_silent_row_over(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);

    assert_int_equal(contract_register(&t, &q, "a", 99), TROUPE_EBUSY);
    uint64_t seq = q.r.u.reg.holder.renew_seq;
    contract_free(&q);
    assert_int_equal(supersede(&t, &q, 1, seq), 0);
    assert_int_equal(q.r.u.reg.generation, 2);
    contract_free(&q);

    assert_int_equal(contract_renew(&s, &q, "a", 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_renew(&t, &q, "a", 2), 0);
    contract_free(&q);
    assert_true(contract_must_claim(&t, "a", 2, 5) > epoch);
    struct store_row row = contract_row(5, "x", epoch, 1, "zombie");
    assert_int_equal(contract_must_save(&s, "a", 1, row), -1);
    contract_close(&s);
    contract_close(&t);
}

static void supersede_of_a_row_that_moved_is_busy(void **state)
{
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, *state);
    bed_open(&t, *state);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_register(&t, &q, "a", 99), TROUPE_EBUSY);
    uint64_t seq = q.r.u.reg.holder.renew_seq;
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    uint64_t moved = q.r.u.renew.renew_seq;
    contract_free(&q);

    assert_int_equal(supersede(&t, &q, 1, seq), TROUPE_EBUSY);
    assert_int_equal(q.r.u.reg.holder.renew_seq, moved);
    assert_int_equal(q.r.u.reg.holder.generation, 1);
    contract_free(&q);
    assert_int_equal(supersede(&t, &q, 2, moved), TROUPE_EBUSY); /* another generation */
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    contract_free(&q);
    contract_close(&s);
    contract_close(&t);
}

static void register_after_leave_is_a_new_generation(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    for (uint64_t run = 1; run <= 4; run++) {
        assert_int_equal(contract_must_register(&s, "a", 70 + run / 2), run);
        assert_int_equal(contract_leave(&s, &q, "a", run), 0);
        contract_free(&q);
    }
    contract_close(&s);
}

static void register_after_eviction_is_a_new_generation(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    if (bed->fixture->evict == NULL)
        skip();
    bed_open(&s, bed);
    contract_must_register(&s, "a", 7);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    contract_must_register(&s, "b", 8);
    bed->fixture->evict(bed->fixture, bed->url, "c", "a");

    assert_int_equal(contract_renew(&s, &q, "a", 1), TROUPE_EFENCED);
    contract_free(&q);
    store_pid pid = 6;
    assert_int_equal(contract_claim(&s, &q, "a", 1, &pid, 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_true(contract_must_claim(&s, "b", 1, 5) > epoch);
    assert_int_equal(contract_must_register(&s, "a", 7), 2);
    contract_close(&s);
}

static void other_partition_count_is_refused(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s, t;
    struct contract_request q;
    struct store_node node;
    bed_open(&s, bed);
    contract_must_register(&s, "a", 7);
    contract_open(&t, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS * 2);
    assert_int_equal(contract_register(&t, &q, "b", 8), TROUPE_EVERSION);
    assert_non_null(strstr(q.r.errmsg, "256")); /* tells what would fit */
    contract_free(&q);
    assert_false(contract_find_node(&s, "b", &node));
    contract_close(&s);
    contract_close(&t);
}

static void clusters_do_not_see_each_other(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s, t;
    struct contract_request q;
    bed_open(&s, bed);
    contract_open(&t, bed->fixture, bed->url, "c'\"\\ two", CONTRACT_PARTITIONS * 2);
    assert_int_equal(contract_register(&s, &q, "a", 7), 0);
    char uid[STORE_UID_BYTES + 1];
    memcpy(uid, q.r.u.reg.cluster_uid, sizeof uid);
    contract_free(&q);
    assert_int_equal(contract_register(&t, &q, "a", 8), 0);
    assert_int_equal(q.r.u.reg.generation, 1);
    assert_string_not_equal(q.r.u.reg.cluster_uid, uid);
    contract_free(&q);

    uint64_t mine = contract_must_claim(&s, "a", 1, 5);
    uint64_t theirs = contract_must_claim(&t, "a", 1, 5);
    assert_int_equal(contract_must_save(&s, "a", 1, contract_row(5, "x", mine, 1, "mine")), 1);
    assert_false(contract_must_load(&t, &q, 5, "x"));
    contract_free(&q);
    assert_int_equal(contract_must_save(&t, "a", 1, contract_row(5, "x", theirs, 1, "their")), 1);
    assert_true(contract_must_load(&s, &q, 5, "x"));
    assert_memory_equal(q.r.u.load.rows[0].state.data, "mine", 4);
    contract_free(&q);

    assert_int_equal(contract_leave(&t, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    assert_int_equal(q.r.u.renew.others_n, 0);
    contract_free(&q);
    assert_int_equal(contract_owners(&t, &q), 0);
    assert_int_equal(q.r.u.owners.owners_n, CONTRACT_PARTITIONS * 2);
    assert_int_equal(q.r.u.owners.nodes_n, 1);
    contract_free(&q);
    contract_close(&s);
    contract_close(&t);
}

/* Two nodes start at once on a fresh database: one cluster comes of it. Two runs of one name: one
 * of them gets it. */
static void simultaneous_registers_agree(void **state)
{
    struct contract_store s[4];
    struct contract_request q[4];
    const char *names[] = {"a", "b", "a", "b"};
    for (size_t i = 0; i < 4; i++) {
        bed_open(&s[i], *state);
        contract_init(&q[i], STORE_REGISTER);
        q[i].r.u.reg = (struct store_register){
            .name = names[i], .incarnation = i + 1, .addr = "x:1", .ttl_ms = CONTRACT_TTL_MS};
    }
    for (size_t i = 0; i < 4; i++)
        contract_submit(&s[i], &q[i]);
    for (size_t i = 0; i < 4; i++) {
        contract_wait(&s[i], &q[i]);
        if (q[i].r.error == TROUPE_EUNAVAILABLE || q[i].r.error == TROUPE_EOUTCOME)
            contract_do(&s[i], &q[i]);
    }
    for (size_t name = 0; name < 2; name++) {
        const struct contract_request *one = &q[name], *two = &q[name + 2];
        assert_int_equal((one->r.error == 0) + (two->r.error == 0), 1);
        assert_int_equal(one->r.error + two->r.error, TROUPE_EBUSY);
        const struct contract_request *winner = one->r.error == 0 ? one : two;
        const struct contract_request *loser = one->r.error == 0 ? two : one;
        assert_int_equal(winner->r.u.reg.generation, 1);
        assert_true(loser->r.u.reg.holder.incarnation == winner->r.u.reg.incarnation);
    }
    const char *uid_a = q[0].r.error == 0 ? q[0].r.u.reg.cluster_uid : q[2].r.u.reg.cluster_uid;
    const char *uid_b = q[1].r.error == 0 ? q[1].r.u.reg.cluster_uid : q[3].r.u.reg.cluster_uid;
    assert_string_equal(uid_a, uid_b);
    for (size_t i = 0; i < 4; i++) {
        contract_free(&q[i]);
        contract_close(&s[i]);
    }
}

static void renew_returns_the_others(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    contract_must_register(&s, "gone", 9);
    assert_int_equal(contract_leave(&s, &q, "gone", 1), 0);
    contract_free(&q);
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){
        .name = "d", .incarnation = 10, .addr = "d:1", .proof = "p", .ttl_ms = 31000};
    assert_int_equal(contract_do(&s, &q), 0);
    contract_free(&q);

    uint64_t seq = 0, timeline = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
        const struct store_renew *renew = &q.r.u.renew;
        assert_true(renew->renew_seq > seq);
        assert_true(i == 0 || q.r.timeline == timeline);
        seq = renew->renew_seq;
        timeline = q.r.timeline;
        assert_int_equal(renew->others_n, 2);
        size_t d = strcmp(renew->others[0].name, "d") == 0 ? 0 : 1;
        assert_string_equal(renew->others[1 - d].name, "b");
        assert_int_equal(renew->others[1 - d].incarnation, 8);
        assert_string_equal(renew->others[d].name, "d");
        assert_string_equal(renew->others[d].addr, "d:1");
        assert_string_equal(renew->others[d].proof, "p");
        assert_int_equal(renew->others[d].generation, 1);
        assert_int_equal(renew->others[d].ttl_ms, 31000);
        assert_int_equal(renew->others[d].state, STORE_NODE_ACTIVE);
        assert_false(renew->others[d].expired);
        contract_free(&q);
    }
    contract_close(&s);
}

static void renew_without_an_active_row_is_fenced(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    assert_int_equal(contract_renew(&s, &q, "a", 1), TROUPE_EFENCED); /* not even a cluster */
    contract_free(&q);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_renew(&s, &q, "b", 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 2), TROUPE_EFENCED);
    contract_free(&q);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), TROUPE_EFENCED);
    contract_free(&q);
    contract_close(&s);
}

/* What a sees of b, renewed as often as it takes to see b expired. */
static struct store_node watch_until_expired(struct contract_store *s)
{
    struct contract_request q;
    struct store_node b;
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    do {
        assert_true(uv_hrtime() < deadline);
        assert_int_equal(contract_renew(s, &q, "a", 1), 0);
        assert_int_equal(q.r.u.renew.others_n, 1);
        b = q.r.u.renew.others[0];
        contract_free(&q);
        if (b.expired)
            assert_true(b.age_ms >= b.ttl_ms);
        else
            assert_true(b.age_ms <= b.ttl_ms);
    } while (!b.expired);
    return b;
}

static void leases_expire_by_the_stores_clock(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    contract_init(&q, STORE_RENEW); /* a renewal sets the TTL */
    q.r.u.renew = (struct store_renew){.name = "b", .generation = 1, .ttl_ms = 30};
    assert_int_equal(contract_do(&s, &q), 0);
    uint64_t seq = q.r.u.renew.renew_seq;
    contract_free(&q);

    struct store_node b = watch_until_expired(&s);
    assert_int_equal(b.ttl_ms, 30);
    assert_int_equal(b.renew_seq, seq);
    assert_int_equal(b.state, STORE_NODE_ACTIVE); /* expired is not evicted … */
    assert_int_equal(contract_renew(&s, &q, "b", 1), 0);
    assert_false(q.r.u.renew.others[0].expired); /* a has a long one */
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    assert_false(q.r.u.renew.others[0].expired); /* … and so b is back */
    contract_free(&q);
    contract_close(&s);
}

static void expired_names_stay_held(void **state)
{
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){.name = "b", .incarnation = 8, .addr = "b:1", .ttl_ms = 30};
    assert_int_equal(contract_do(&s, &q), 0);
    contract_free(&q);
    uint64_t epoch = contract_must_claim(&s, "b", 1, 5);
    watch_until_expired(&s);

    assert_int_equal(contract_register(&s, &q, "b", 9), TROUPE_EBUSY);
    assert_true(q.r.u.reg.holder.expired);
    contract_free(&q);
    store_pid pid = 5;
    assert_int_equal(contract_claim(&s, &q, "a", 1, &pid, 1), 0);
    assert_int_equal(q.r.u.claim.claimed_n, 0); /* only an eviction frees it */
    contract_free(&q);
    assert_int_equal(contract_must_save(&s, "b", 1, contract_row(5, "x", epoch, 1, "mine")), 1);
    contract_close(&s);
}

static void leaving_twice_is_no_error(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct store_node node;
    bed_open(&s, *state);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0); /* not even a cluster */
    contract_free(&q);
    contract_must_register(&s, "a", 7);
    assert_int_equal(contract_leave(&s, &q, "a", 2), 0); /* not that run */
    contract_free(&q);
    assert_int_equal(contract_leave(&s, &q, "nobody", 1), 0);
    contract_free(&q);
    assert_true(contract_find_node(&s, "a", &node));
    assert_int_equal(node.state, STORE_NODE_ACTIVE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(contract_leave(&s, &q, "a", 1), 0);
        contract_free(&q);
        assert_true(contract_find_node(&s, "a", &node));
        assert_int_equal(node.state, STORE_NODE_LEFT);
    }
    contract_must_register(&s, "a", 8);
    assert_int_equal(contract_leave(&s, &q, "a", 1), 0); /* late news of the first run */
    contract_free(&q);
    assert_true(contract_find_node(&s, "a", &node));
    assert_int_equal(node.state, STORE_NODE_ACTIVE);
    assert_int_equal(node.generation, 2);
    contract_close(&s);
}

/* Somebody who saw the run end may say so in its stead. */
static void leaving_as_dead(void **state)
{
    struct contract_store s;
    struct contract_request q;
    struct store_node node;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    contract_must_register(&s, "b", 8);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    for (int i = 0; i < 2; i++) {
        contract_init(&q, STORE_LEAVE);
        q.r.u.leave = (struct store_leave){.name = "a", .generation = 1, .dead = i == 0};
        assert_int_equal(contract_do(&s, &q), 0);
        contract_free(&q);
        assert_true(contract_find_node(&s, "a", &node));
        assert_int_equal(node.state, STORE_NODE_DEAD); /* for good: it cannot leave any more */
    }
    assert_int_equal(contract_renew(&s, &q, "a", 1), TROUPE_EFENCED);
    contract_free(&q);
    assert_true(contract_must_claim(&s, "b", 1, 5) > epoch);
    contract_close(&s);
}

static int register_gossip(struct contract_store *s, struct contract_request *q, const char *name,
                           uint64_t incarnation, const char *gossip)
{
    contract_init(q, STORE_REGISTER);
    q->r.u.reg = (struct store_register){.name = name,
                                         .incarnation = incarnation,
                                         .addr = "x:1",
                                         .gossip = gossip,
                                         .proof = "p",
                                         .ttl_ms = CONTRACT_TTL_MS};
    return contract_do(s, q);
}

/* Where a run takes gossip is shown wherever its row is. */
static void gossip_addresses_are_shown(void **state)
{
    static const char *const addresses[] = {"host:7701", "", NULL, "10.0.0.1:7701"};
    struct contract_store s;
    struct contract_request q;
    bed_open(&s, *state);
    contract_must_register(&s, "a", 7);
    for (uint64_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        const char *want = addresses[i] == NULL ? "" : addresses[i];
        assert_int_equal(register_gossip(&s, &q, "b", i, addresses[i]), 0);
        contract_free(&q);
        assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
        assert_string_equal(q.r.u.renew.others[0].gossip, want);
        assert_string_equal(q.r.u.renew.others[0].addr, "x:1");
        assert_string_equal(q.r.u.renew.others[0].proof, "p");
        contract_free(&q);
        assert_int_equal(contract_owners(&s, &q), 0);
        size_t b = strcmp(q.r.u.owners.nodes[0].name, "b") == 0 ? 0 : 1;
        assert_string_equal(q.r.u.owners.nodes[b].gossip, want);
        contract_free(&q);
        assert_int_equal(register_gossip(&s, &q, "b", 99, "thief:1"), TROUPE_EBUSY);
        assert_string_equal(q.r.u.reg.holder.gossip, want);
        contract_free(&q);
        assert_int_equal(contract_leave(&s, &q, "b", i + 1), 0);
        contract_free(&q);
    }
    assert_int_equal(register_gossip(&s, &q, "b", 9, "moved:1"), 0);
    contract_free(&q);
    assert_int_equal(register_gossip(&s, &q, "b", 9, "moved:2"), 0); /* the same run again */
    contract_free(&q);
    assert_int_equal(contract_renew(&s, &q, "a", 1), 0);
    assert_string_equal(q.r.u.renew.others[0].gossip, "moved:2");
    contract_free(&q);
    contract_close(&s);
}

static void longest_names_fit(void **state)
{
    struct contract_store s;
    struct contract_request q;
    char name[STORE_NAME_BYTES_MAX + 2], addr[STORE_ADDR_BYTES_MAX + 2];
    char proof[STORE_PROOF_BYTES_MAX + 2];
    memset(name, '\'', sizeof name);
    memcpy(name, "\xF0\x9F\x8E\xAD\\\"\n{},", 10); /* a pair of masks, and more */
    memset(addr, 'a', sizeof addr);
    memset(proof, '\\', sizeof proof);
    name[STORE_NAME_BYTES_MAX] = addr[STORE_ADDR_BYTES_MAX] = proof[STORE_PROOF_BYTES_MAX] = '\0';
    bed_open(&s, *state);
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){
        .name = name, .incarnation = 1, .addr = addr, .proof = proof, .ttl_ms = CONTRACT_TTL_MS};
    q.r.u.reg.gossip = addr;
    assert_int_equal(contract_do(&s, &q), 0);
    contract_free(&q);
    contract_must_claim(&s, name, 1, 9);

    assert_int_equal(contract_owners(&s, &q), 0);
    assert_int_equal(q.r.u.owners.nodes_n, 1);
    assert_string_equal(q.r.u.owners.nodes[0].name, name);
    assert_string_equal(q.r.u.owners.nodes[0].addr, addr);
    assert_string_equal(q.r.u.owners.nodes[0].gossip, addr);
    assert_string_equal(q.r.u.owners.nodes[0].proof, proof);
    assert_int_equal(q.r.u.owners.owners[9].node, 0);
    contract_free(&q);
    contract_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(first_register_makes_the_cluster),
    cmocka_unit_test(register_again_gives_the_same_generation),
    cmocka_unit_test(register_of_a_held_name_is_busy),
    cmocka_unit_test(supersede_takes_a_silent_row_over),
    cmocka_unit_test(supersede_of_a_row_that_moved_is_busy),
    cmocka_unit_test(register_after_leave_is_a_new_generation),
    cmocka_unit_test(register_after_eviction_is_a_new_generation),
    cmocka_unit_test(other_partition_count_is_refused),
    cmocka_unit_test(clusters_do_not_see_each_other),
    cmocka_unit_test(simultaneous_registers_agree),
    cmocka_unit_test(renew_returns_the_others),
    cmocka_unit_test(renew_without_an_active_row_is_fenced),
    cmocka_unit_test(leases_expire_by_the_stores_clock),
    cmocka_unit_test(expired_names_stay_held),
    cmocka_unit_test(leaving_twice_is_no_error),
    cmocka_unit_test(leaving_as_dead),
    cmocka_unit_test(gossip_addresses_are_shown),
    cmocka_unit_test(longest_names_fit),
};

CONTRACT_PART(lease, tests);
