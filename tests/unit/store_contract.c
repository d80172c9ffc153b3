/* See store_contract.h: the rig, and the run of all tests. */
#include "tests/unit/store_contract.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "storage/memory/memory.h"
#include "tests/unit/store_contract_parts.h"

enum { TICK_MS = 20 };

/* ---- handles ---- */

static void report(void *data, const char *line)
{
    (void)data;
    (void)line;
}

static void on_log(void *data, enum store_log_level level, const char *message)
{
    struct contract_store *s = data;
    atomic_fetch_add(&s->warns_n, level >= STORE_LOG_WARN);
    if (level >= STORE_LOG_WARN && getenv("TROUPE_TEST_LOG") != NULL)
        print_message("store: %s\n", message);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void contract_open(struct contract_store *s, const struct store_fixture *fixture, const char *url,
                   const char *cluster, uint32_t partitions)
{
    char errmsg[STORE_ERRMSG_BYTES] = "";
    *s = (struct contract_store){.without_loop = fixture->without_loop};
    if (!s->without_loop) {
        assert_int_equal(uv_loop_init(&s->loop), 0);
        uv_timer_init(&s->loop, &s->tick);
        uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    }
    if (store_migrate(url, false, report, NULL, errmsg) != 0)
        fail_msg("migrate: %s", errmsg);
    struct store_options options = {
        .url = url,
        .cluster = cluster,
        .partitions = partitions,
        .loop = s->without_loop ? NULL : &s->loop,
        .prepared_statements = true,
        .timeline_none = fixture->timeline_none,
        .log = on_log,
        .log_data = s,
    };
    if (store_open(&s->store, &options, errmsg) != 0)
        fail_msg("open: %s", errmsg);
    assert_non_null(s->store);
}

static void on_closed(void *data)
{
    struct contract_store *s = data;
    assert_false(s->closed);
    s->closed = true;
}

void contract_close(struct contract_store *s)
{
    uint64_t deadline = uv_hrtime() / 1000000 + CONTRACT_DEADLINE_MS;
    store_close(s->store, on_closed, s);
    while (!s->closed) {
        assert_true(uv_hrtime() / 1000000 < deadline);
        contract_turn(s);
    }
    if (s->without_loop)
        return;
    uv_close((uv_handle_t *)&s->tick, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0); /* the store has left nothing behind */
}

void contract_turn(struct contract_store *s)
{
    if (s->without_loop)
        store_memory_poll(s->store, 1);
    else
        uv_run(&s->loop, UV_RUN_ONCE);
}

/* ---- requests ---- */

void contract_init(struct contract_request *q, enum store_op op)
{
    *q = (struct contract_request){.r = {.op = op}};
    arena_init(&q->arena, 0, 0);
}

void contract_free(struct contract_request *q)
{
    arena_close(&q->arena);
}

static void on_done(struct store_request *request)
{
    struct contract_request *q = request->data;
    if (q->done)
        fail_msg("done was called twice");
    if (request->error != 0 && request->errmsg[0] == '\0')
        fail_msg("%s without a message", troupe_error_name(request->error));
    q->done = true;
}

void contract_submit(struct contract_store *s, struct contract_request *q)
{
    q->done = false;
    q->r.data = q;
    q->r.arena = &q->arena;
    q->r.done = on_done;
    store_submit(s->store, &q->r);
    if (q->done)
        fail_msg("done was called from inside submit");
}

int contract_wait(struct contract_store *s, struct contract_request *q)
{
    uint64_t deadline = uv_hrtime() / 1000000 + CONTRACT_DEADLINE_MS;
    while (!q->done) {
        if (uv_hrtime() / 1000000 > deadline)
            fail_msg("operation %d: no answer in %d ms", q->r.op, CONTRACT_DEADLINE_MS);
        contract_turn(s);
    }
    return q->r.error;
}

int contract_do(struct contract_store *s, struct contract_request *q)
{
    uint64_t deadline = uv_hrtime() / 1000000 + CONTRACT_DEADLINE_MS;
    int rc;
    do {
        arena_reset(&q->arena);
        contract_submit(s, q);
        rc = contract_wait(s, q);
    } while ((rc == TROUPE_EUNAVAILABLE || rc == TROUPE_EOUTCOME) &&
             uv_hrtime() / 1000000 < deadline);
    return rc;
}

/* ---- verbs ---- */

int contract_register(struct contract_store *s, struct contract_request *q, const char *name,
                      uint64_t incarnation)
{
    contract_init(q, STORE_REGISTER);
    q->r.u.reg = (struct store_register){
        .name = name,
        .incarnation = incarnation,
        .addr = "127.0.0.1:7700",
        .proof = "",
        .ttl_ms = CONTRACT_TTL_MS,
    };
    return contract_do(s, q);
}

int contract_renew(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation)
{
    contract_init(q, STORE_RENEW);
    q->r.u.renew =
        (struct store_renew){.name = name, .generation = generation, .ttl_ms = CONTRACT_TTL_MS};
    return contract_do(s, q);
}

int contract_leave(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation)
{
    contract_init(q, STORE_LEAVE);
    q->r.u.leave = (struct store_leave){.name = name, .generation = generation};
    return contract_do(s, q);
}

int contract_claim(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation, const store_pid *pids, size_t pids_n)
{
    contract_init(q, STORE_CLAIM);
    q->r.u.claim = (struct store_claim){
        .name = name, .generation = generation, .pids = pids, .pids_n = pids_n};
    return contract_do(s, q);
}

int contract_evict(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation, const struct store_node *target)
{
    contract_init(q, STORE_EVICT);
    q->r.u.evict = (struct store_evict){
        .name = name,
        .generation = generation,
        .target = target->name,
        .target_generation = target->generation,
        .target_renew_seq = target->renew_seq,
    };
    return contract_do(s, q);
}

int contract_drain(struct contract_store *s, struct contract_request *q, const char *name,
                   uint64_t generation, bool drain)
{
    contract_init(q, STORE_DRAIN);
    q->r.u.drain = (struct store_drain){.name = name, .generation = generation, .drain = drain};
    return contract_do(s, q);
}

int contract_transfer(struct contract_store *s, struct contract_request *q, const char *name,
                      uint64_t generation, const char *to, uint64_t to_generation,
                      const struct store_move *moves, size_t moves_n)
{
    contract_init(q, STORE_TRANSFER);
    q->r.u.transfer = (struct store_transfer){
        .name = name,
        .generation = generation,
        .to = to,
        .to_generation = to_generation,
        .cause = STORE_CAUSE_JOIN,
        .moves = moves,
        .moves_n = moves_n,
    };
    return contract_do(s, q);
}

int contract_history(struct contract_store *s, struct contract_request *q, store_pid pid)
{
    contract_init(q, STORE_HISTORY);
    q->r.u.history.pid = pid;
    return contract_do(s, q);
}

int contract_load(struct contract_store *s, struct contract_request *q,
                  const struct store_key *keys, size_t keys_n)
{
    contract_init(q, STORE_LOAD);
    q->r.u.load = (struct store_load){.keys = keys, .keys_n = keys_n};
    return contract_do(s, q);
}

int contract_save(struct contract_store *s, struct contract_request *q, const char *name,
                  uint64_t generation, struct store_row *rows, size_t rows_n)
{
    contract_init(q, STORE_SAVE);
    q->r.u.save =
        (struct store_save){.name = name, .generation = generation, .rows = rows, .rows_n = rows_n};
    return contract_do(s, q);
}

int contract_owners(struct contract_store *s, struct contract_request *q)
{
    contract_init(q, STORE_OWNERS);
    return contract_do(s, q);
}

int contract_recent(struct contract_store *s, struct contract_request *q, const store_pid *pid)
{
    contract_init(q, STORE_RECENT);
    q->r.u.recent = (struct store_recent){
        .pids = pid, .pids_n = 1, .within_ms = 3600000, .rows_max = STORE_RECENT_MAX};
    return contract_do(s, q);
}

/* ---- shorter still ---- */

static void must(const char *what, const struct contract_request *q)
{
    if (q->r.error != 0)
        fail_msg("%s: %s: %s", what, troupe_error_name(q->r.error), q->r.errmsg);
}

bool contract_find_node(struct contract_store *s, const char *name, struct store_node *node)
{
    struct contract_request q;
    bool found = false;
    contract_owners(s, &q);
    must("owners", &q);
    for (size_t i = 0; i < q.r.u.owners.nodes_n; i++) {
        if (strcmp(q.r.u.owners.nodes[i].name, name) != 0)
            continue;
        assert_false(found);
        *node = q.r.u.owners.nodes[i];
        node->name = name;
        node->addr = node->gossip = node->proof = NULL;
        found = true;
    }
    contract_free(&q);
    return found;
}

struct store_node contract_wait_expired(struct contract_store *s, const char *name)
{
    struct store_node node;
    uint64_t deadline = uv_hrtime() + (uint64_t)CONTRACT_DEADLINE_MS * 1000000;
    do {
        assert_true(uv_hrtime() < deadline);
        assert_true(contract_find_node(s, name, &node));
    } while (!node.expired);
    return node;
}

void contract_must_renew(struct contract_store *s, const char *name, uint64_t generation,
                         uint32_t ttl_ms)
{
    struct contract_request q;
    contract_init(&q, STORE_RENEW);
    q.r.u.renew = (struct store_renew){.name = name, .generation = generation, .ttl_ms = ttl_ms};
    contract_do(s, &q);
    must("renew", &q);
    contract_free(&q);
}

uint64_t contract_must_register(struct contract_store *s, const char *name, uint64_t incarnation)
{
    struct contract_request q;
    contract_register(s, &q, name, incarnation);
    must("register", &q);
    contract_free(&q);
    return q.r.u.reg.generation;
}

uint64_t contract_must_claim(struct contract_store *s, const char *name, uint64_t generation,
                             store_pid pid)
{
    struct contract_request q;
    contract_claim(s, &q, name, generation, &pid, 1);
    must("claim", &q);
    assert_int_equal(q.r.u.claim.claimed_n, 1);
    assert_int_equal(q.r.u.claim.claimed[0].pid, pid);
    uint64_t epoch = q.r.u.claim.claimed[0].epoch;
    contract_free(&q);
    return epoch;
}

struct store_row contract_row(store_pid pid, const char *id, uint64_t epoch, uint64_t version,
                              const char *state)
{
    return (struct store_row){
        .key = {.pid = pid, .kind = troupe_bytes("k", 1), .id = troupe_bytes_of(id)},
        .epoch = epoch,
        .version = version,
        .state = troupe_bytes_of(state),
    };
}

int contract_must_save(struct contract_store *s, const char *name, uint64_t generation,
                       struct store_row row)
{
    struct contract_request q;
    contract_save(s, &q, name, generation, &row, 1);
    must("save", &q);
    const struct store_save *save = &q.r.u.save;
    assert_int_equal(save->applied + save->skipped + save->fenced_n, 1);
    if (save->fenced_n == 1)
        assert_int_equal(save->fenced[0], row.key.pid);
    int outcome = save->fenced_n == 1 ? -1 : (int)save->applied;
    contract_free(&q);
    return outcome;
}

bool contract_must_load(struct contract_store *s, struct contract_request *q, store_pid pid,
                        const char *id)
{
    struct store_key key = {.pid = pid, .kind = troupe_bytes("k", 1), .id = troupe_bytes_of(id)};
    contract_load(s, q, &key, 1);
    must("load", q);
    return q->r.u.load.found[0];
}

/* ---- the run ---- */

static int set_up(void **state)
{
    struct contract_bed *bed = calloc(1, sizeof *bed);
    assert_non_null(bed);
    bed->fixture = *state;
    bed->fixture->create(bed->fixture, bed->url);
    *state = bed;
    return 0;
}

static int tear_down(void **state)
{
    struct contract_bed *bed = *state;
    bed->fixture->destroy(bed->fixture, bed->url);
    free(bed);
    return 0;
}

int store_contract_run(const struct store_fixture *fixture)
{
    static const struct contract_part *const parts[] = {
        &contract_part_lease,  &contract_part_claim,    &contract_part_rows,
        &contract_part_errors, &contract_part_race,     &contract_part_oracle,
        &contract_part_evict,  &contract_part_transfer, &contract_part_history,
        &contract_part_recent, &contract_part_drain,    &contract_part_kinds,
        &contract_part_joins,
    };
    int failed = 0;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        struct CMUnitTest tests[CONTRACT_PART_TESTS_MAX];
        char name[128];
        for (size_t i = 0; i < parts[p]->tests_n; i++) {
            tests[i] = parts[p]->tests[i];
            tests[i].setup_func = set_up;
            tests[i].teardown_func = tear_down;
            tests[i].initial_state = (void *)(uintptr_t)fixture;
        }
        snprintf(name, sizeof name, "%s: %s", fixture->name, parts[p]->name);
        failed += _cmocka_run_group_tests(name, tests, parts[p]->tests_n, NULL, NULL);
    }
    return failed;
}
