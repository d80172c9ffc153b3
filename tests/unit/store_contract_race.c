/* The contract's heart: a run that has lost its partitions and does not know it, a zombie, writes
 * on while another run takes over.
 *   - No write of the zombie is applied after the claim is done.
 *   - What the zombie was told is applied is what the new owner loads: the last write is not
 *     missed.
 * Once with the zombie on a thread of its own, several saves in flight; once with single saves and
 * claims thrown at the store at the same moment, in random order. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/unit/store_contract_parts.h"

enum {
    LANES = 3,      /* saves in flight; an entity belongs to one lane */
    ROUND_PIDS = 4, /* partitions that change hands in a round */
    ROUNDS = 48,    /* with the thread */
    FLURRIES = 150, /* without */
    KEYS = LANES * ROUND_PIDS,
    ZOMBIE_SAVES_MAX = 1000000,
};

static const char *const lane_ids[LANES] = {"one", "two", "three"};

struct lane {
    struct contract_request q;
    struct store_row rows[ROUND_PIDS];
    bool fenced[ROUND_PIDS];
    uint64_t version;           /* being saved */
    uint64_t acked[ROUND_PIDS]; /* the last one that the store said is applied */
};

struct zombie {
    struct contract_store s;
    struct lane lanes[LANES];
    uint64_t generation;
    uint64_t epochs[ROUND_PIDS];
    store_pid base; /* partitions base to base + ROUND_PIDS - 1 */
    atomic_ulong acks;
    bool uncertain;     /* some outcome was unknown */
    const char *broken; /* what should never happen, or NULL */
};

static void lane_submit(struct zombie *z, size_t l)
{
    struct lane *lane = &z->lanes[l];
    for (size_t i = 0; i < ROUND_PIDS; i++)
        lane->rows[i] = contract_row(z->base + (store_pid)i, lane_ids[l], z->epochs[i],
                                     lane->version, "written by the zombie");
    arena_reset(&lane->q.arena);
    lane->q.r.u.save = (struct store_save){
        .name = "z", .generation = z->generation, .rows = lane->rows, .rows_n = ROUND_PIDS};
    contract_submit(&z->s, &lane->q);
}

static bool is_fenced(const struct store_save *save, store_pid pid)
{
    for (size_t i = 0; i < save->fenced_n; i++) {
        if (save->fenced[i] == pid)
            return true;
    }
    return false;
}

/* Takes an answer in; whether the lane goes on. */
static bool lane_answer(struct zombie *z, size_t l)
{
    struct lane *lane = &z->lanes[l];
    const struct store_save *save = &lane->q.r.u.save;
    size_t fenced_n = 0;
    if (lane->q.r.error != 0) {
        z->uncertain |= lane->q.r.error == TROUPE_EOUTCOME;
        if (lane->q.r.error != TROUPE_EOUTCOME && lane->q.r.error != TROUPE_EUNAVAILABLE)
            z->broken = "a save failed";
        return z->broken == NULL;
    }
    for (size_t i = 0; i < ROUND_PIDS; i++) {
        bool fenced = is_fenced(save, z->base + (store_pid)i);
        if (lane->fenced[i] && !fenced)
            z->broken = "a write was applied after one that was fenced";
        lane->fenced[i] = fenced;
        fenced_n += fenced;
        if (!fenced)
            lane->acked[i] = lane->version;
    }
    if (save->skipped != 0 || save->applied + fenced_n != ROUND_PIDS)
        z->broken = "the counts of a save do not add up";
    atomic_fetch_add(&z->acks, 1);
    lane->version++;
    return fenced_n < ROUND_PIDS && z->broken == NULL && lane->version < ZOMBIE_SAVES_MAX;
}

/* Saves in all lanes until everything is fenced. */
static void zombie_main(void *data)
{
    struct zombie *z = data;
    size_t running = LANES;
    bool on[LANES] = {true, true, true};
    for (size_t l = 0; l < LANES; l++)
        lane_submit(z, l);
    while (running > 0) {
        for (size_t l = 0; l < LANES; l++) {
            if (!on[l] || !z->lanes[l].q.done)
                continue;
            on[l] = lane_answer(z, l);
            if (on[l])
                lane_submit(z, l);
            else
                running--;
        }
        if (running > 0)
            contract_turn(&z->s);
    }
}

static void zombie_begin(struct zombie *z, size_t round)
{
    z->base = (store_pid)(round * ROUND_PIDS);
    z->generation = contract_must_register(&z->s, "z", 1000 + round);
    z->uncertain = false;
    atomic_store(&z->acks, 0);
    for (size_t i = 0; i < ROUND_PIDS; i++)
        z->epochs[i] = contract_must_claim(&z->s, "z", z->generation, z->base + (store_pid)i);
    for (size_t l = 0; l < LANES; l++) {
        z->lanes[l] = (struct lane){.version = 1};
        contract_init(&z->lanes[l].q, STORE_SAVE);
    }
}

/* Takes the zombie's name over (which frees its partitions); the new generation. */
static uint64_t supersede(struct contract_store *s, uint64_t incarnation)
{
    struct contract_request q;
    assert_int_equal(contract_register(s, &q, "z", incarnation), TROUPE_EBUSY);
    uint64_t generation = q.r.u.reg.holder.generation, seq = q.r.u.reg.holder.renew_seq;
    contract_free(&q);
    contract_init(&q, STORE_REGISTER);
    q.r.u.reg = (struct store_register){.name = "z",
                                        .incarnation = incarnation,
                                        .addr = "z:1",
                                        .ttl_ms = CONTRACT_TTL_MS,
                                        .supersede = true,
                                        .supersede_generation = generation,
                                        .supersede_renew_seq = seq};
    assert_int_equal(contract_do(s, &q), 0);
    contract_free(&q);
    return q.r.u.reg.generation;
}

/* The versions that are in the store, 0 for none. */
static void load_all(struct contract_store *s, store_pid base, uint64_t versions[KEYS])
{
    struct contract_request q;
    struct store_key keys[KEYS];
    for (size_t k = 0; k < KEYS; k++)
        keys[k] =
            contract_row(base + (store_pid)(k % ROUND_PIDS), lane_ids[k / ROUND_PIDS], 0, 0, "")
                .key;
    assert_int_equal(contract_load(s, &q, keys, KEYS), 0);
    for (size_t k = 0; k < KEYS; k++)
        versions[k] = q.r.u.load.found[k] ? q.r.u.load.rows[k].version : 0;
    contract_free(&q);
}

/* In odd rounds the zombie's own name is taken over, in even ones "t" gets what is left behind. */
static void take_over(struct contract_store *s, const struct zombie *z, size_t round,
                      uint64_t versions[KEYS])
{
    struct contract_request q;
    store_pid pids[ROUND_PIDS];
    const char *name = round % 2 == 1 ? "z" : "t";
    uint64_t generation = 1;
    for (size_t i = 0; i < ROUND_PIDS; i++)
        pids[i] = z->base + (store_pid)i;
    if (round % 2 == 1) {
        generation = supersede(s, 5000 + round);
    } else {
        assert_int_equal(contract_leave(s, &q, "z", z->generation), 0);
        contract_free(&q);
    }
    assert_int_equal(contract_claim(s, &q, name, generation, pids, ROUND_PIDS), 0);
    assert_int_equal(q.r.u.claim.claimed_n, ROUND_PIDS);
    for (size_t i = 0; i < ROUND_PIDS; i++)
        assert_true(q.r.u.claim.claimed[i].epoch > z->epochs[i]);
    contract_free(&q);
    load_all(s, z->base, versions);
    if (round % 2 == 1) { /* make room for the next round's zombie */
        assert_int_equal(contract_leave(s, &q, name, generation), 0);
        contract_free(&q);
    }
}

static void check_round(struct contract_store *s, const struct zombie *z,
                        const uint64_t loaded[KEYS])
{
    uint64_t later[KEYS];
    if (z->broken != NULL)
        fail_msg("zombie: %s", z->broken);
    load_all(s, z->base, later);
    for (size_t k = 0; k < KEYS; k++) {
        uint64_t acked = z->lanes[k / ROUND_PIDS].acked[k % ROUND_PIDS];
        if (loaded[k] < acked)
            fail_msg("the new owner loaded version %llu, but %llu was acknowledged",
                     (unsigned long long)loaded[k], (unsigned long long)acked);
        if (loaded[k] > acked && !z->uncertain)
            fail_msg("version %llu is there, but the zombie was told that it was fenced after "
                     "%llu",
                     (unsigned long long)loaded[k], (unsigned long long)acked);
        if (later[k] != loaded[k])
            fail_msg("after the claim the zombie changed version %llu to %llu",
                     (unsigned long long)loaded[k], (unsigned long long)later[k]);
    }
}

static void zombie_on_a_thread_loses(void **state)
{
    static struct zombie z;
    struct contract_store s;
    struct dice dice = dice_new(0x20B1E);
    uint64_t loaded[KEYS];
    _Static_assert(ROUNDS * ROUND_PIDS <= CONTRACT_PARTITIONS, "a round has its own partitions");
    memset(&z, 0, sizeof z);
    bed_open(&z.s, *state);
    bed_open(&s, *state);
    contract_must_register(&s, "t", 1);
    for (size_t round = 0; round < ROUNDS; round++) {
        uv_thread_t thread;
        zombie_begin(&z, round);
        unsigned long after = dice_below(&dice, 12);
        uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
        assert_int_equal(uv_thread_create(&thread, zombie_main, &z), 0);
        while (atomic_load(&z.acks) < after)
            assert_true(uv_hrtime() < deadline);
        take_over(&s, &z, round, loaded);
        uv_thread_join(&thread);
        check_round(&s, &z, loaded);
        for (size_t l = 0; l < LANES; l++)
            contract_free(&z.lanes[l].q);
    }
    contract_close(&z.s);
    contract_close(&s);
}

/* ---- at the same moment ---- */

struct flurry {
    struct contract_store *zombie, *heir;
    struct contract_request save, claim;
    struct store_row row;
    store_pid pid;
};

static void flurry_submit(struct flurry *f, uint64_t zombie_run, uint64_t heir_run,
                          bool claim_first)
{
    contract_init(&f->save, STORE_SAVE);
    f->save.r.u.save =
        (struct store_save){.name = "z", .generation = zombie_run, .rows = &f->row, .rows_n = 1};
    contract_init(&f->claim, STORE_CLAIM);
    f->claim.r.u.claim =
        (struct store_claim){.name = "z", .generation = heir_run, .pids = &f->pid, .pids_n = 1};
    if (claim_first)
        contract_submit(f->heir, &f->claim);
    contract_submit(f->zombie, &f->save);
    if (!claim_first)
        contract_submit(f->heir, &f->claim);
}

/* Both are answered, in the order that the coin says. */
static void flurry_settle(struct flurry *f, bool claim_first)
{
    for (int i = 0; i < 2; i++) {
        bool claim = (i == 0) == claim_first;
        struct contract_store *s = claim ? f->heir : f->zombie;
        struct contract_request *q = claim ? &f->claim : &f->save;
        if (contract_wait(s, q) != 0)
            contract_do(s, q);
        assert_int_equal(q->r.error, 0);
    }
    assert_int_equal(f->claim.r.u.claim.claimed_n, 1);
}

static void saves_and_claims_at_the_same_moment(void **state)
{
    struct contract_store zombie, heir;
    struct contract_request q;
    struct dice dice = dice_new(0xF1A44);
    uint64_t run = 0, applied = 0;
    bed_open(&zombie, *state);
    bed_open(&heir, *state);
    run = contract_must_register(&zombie, "z", 1);
    uint64_t epoch = contract_must_claim(&zombie, "z", run, 5);
    for (uint64_t i = 0; i < FLURRIES; i++) {
        struct flurry f = {.zombie = &zombie, .heir = &heir, .pid = 5};
        struct store_row row = contract_row(5, "x", epoch, 1, "before");
        assert_int_equal(contract_must_save(&zombie, "z", run, row), 1);
        uint64_t next_run = supersede(&heir, 100 + i);
        f.row = contract_row(5, "x", epoch, 2, "the last write");
        flurry_submit(&f, run, next_run, dice_below(&dice, 2) == 0);
        flurry_settle(&f, dice_below(&dice, 2) == 0);
        bool told_applied = f.save.r.u.save.applied == 1;
        assert_int_equal(f.save.r.u.save.fenced_n, !told_applied);
        assert_true(contract_must_load(&heir, &q, 5, "x"));
        assert_true(q.r.u.load.rows[0].epoch == epoch);
        assert_int_equal(q.r.u.load.rows[0].version, told_applied ? 2 : 1);
        contract_free(&q);
        f.row.version = 3;
        assert_int_equal(contract_must_save(&zombie, "z", run, f.row), -1);
        applied += told_applied;
        run = next_run;
        epoch = f.claim.r.u.claim.claimed[0].epoch;
        contract_free(&f.save);
        contract_free(&f.claim);
    }
    print_message("the zombie came first in %llu of %d\n", (unsigned long long)applied, FLURRIES);
    contract_close(&zombie);
    contract_close(&heir);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(zombie_on_a_thread_loses),
    cmocka_unit_test(saves_and_claims_at_the_same_moment),
};

CONTRACT_PART(race, tests);
