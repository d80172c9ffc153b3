/* Clusters in bad times: processes are killed and stopped under a load of durable increments, on
 * either store. What was acknowledged stays, nobody serves an entity beside its owner, and calls
 * are answered again; how soon is measured and printed, and held against a generous limit only. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/name.h"
#include "cluster_load.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum {
    NODES = 3,
    MANY = 8,
    COUNTERS = 600,
    CALL_MS = 40000, /* longer than any takeover: no call may fail */
    ACKS = 200,
    ACKS_MS = 90000,
    PROBES = 64,
    PROBE_IDS_MAX = 100000,
    ROUNDS = 5,
    PAUSE_SHORT_MS = 2000,
    PAUSE_LONG_MS = 12000, /* more than a lease and all that it takes to find out */
};

static struct cluster c;
static struct load load;
static struct pg_fixture pg;
static bool has_pg;

static int open_group(void **state)
{
    (void)state;
    has_pg = pg_fixture_open(&pg);
    return 0;
}

static int close_group(void **state)
{
    (void)state;
    if (has_pg)
        pg_fixture_close(&pg);
    return 0;
}

/* *state: the store's name. */
static int set_up(void **state, size_t nodes, bool guardian)
{
    bool postgres = strcmp(*state, "postgres") == 0;
    if (!postgres || has_pg)
        cluster_open(&c, postgres ? &pg : NULL, nodes, guardian);
    return 0;
}

static int set_up_guarded(void **state)
{
    return set_up(state, NODES, true);
}

static int set_up_plain(void **state)
{
    return set_up(state, NODES, false);
}

static int set_up_many(void **state)
{
    return set_up(state, MANY, false);
}

static int tear_down(void **state)
{
    (void)state;
    load_close(&load);
    load = (struct load){0};
    cluster_close(&c);
    return 0;
}

static void start_under_load(void)
{
    if (c.n == 0)
        skip();
    cluster_start_all(&c);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    load_open(&load, &c, "k", COUNTERS, true, CALL_MS);
    load_start(&load);
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
}

static void stop_load(void)
{
    load_wait_acks(&load, &c, ACKS, ACKS_MS);
    load_stop(&load);
    printf("%lu durable increments acknowledged, %lu of unknown outcome; the slowest batch took "
           "%lu ms\n",
           atomic_load(&load.acks), atomic_load(&load.unknowns), atomic_load(&load.longest_ms));
}

static void end_load(void)
{
    stop_load();
    load_assert_no_failure(&load);
    load_verify(&load);
}

/* ---- how soon calls are answered again ---- */

struct probe {
    struct troupe_batch *batch;
    atomic_long answered_ms; /* 0: not yet */
};

static struct probe probes[PROBES];

static void on_answer(struct troupe_batch *batch, void *data)
{
    struct probe *p = data;
    (void)batch;
    atomic_store(&p->answered_ms, proc_now_ms());
}

/* Calls to entities of node `victim`, to be sent to the other nodes in turn. */
static void make_probes(size_t victim)
{
    Troupe__Rpc__Ring *ring = cluster_ring(&c, (victim + 1) % c.n, CALL_MS);
    assert_non_null(ring);
    int bits = name_partition_bits((uint32_t)ring->n_owner);
    size_t made = 0;
    for (unsigned k = 0; made < PROBES && k < PROBE_IDS_MAX; k++) {
        char id[24];
        snprintf(id, sizeof id, "probe%u", k);
        uint64_t hash = name_hash(troupe_bytes_of("counter"), troupe_bytes_of(id));
        uint32_t owner = ring->owner[name_partition(hash, (unsigned)bits)];
        if (owner == 0 || strcmp(ring->nodes[owner - 1], c.nodes[victim].name) != 0)
            continue;
        struct cluster_node *by = &c.nodes[(victim + 1 + made % (c.n - 1)) % c.n];
        struct probe *p = &probes[made++];
        atomic_store(&p->answered_ms, 0);
        p->batch = troupe_batch_new(by->client);
        assert_non_null(p->batch);
        assert_int_equal(troupe_batch_add(p->batch, troupe_bytes_of("counter"), troupe_bytes_of(id),
                                          troupe_bytes_of("incr"), (struct troupe_bytes){0},
                                          TROUPE_ACK_MEMORY, 0),
                         0);
    }
    assert_int_equal(made, PROBES);
    cluster_free_message(ring);
}

static bool are_answered(struct cluster *cluster, void *data)
{
    (void)cluster;
    (void)data;
    for (size_t i = 0; i < PROBES; i++) {
        if (atomic_load(&probes[i].answered_ms) == 0)
            return false;
    }
    return true;
}

/* Sends them now; the time from since_ms to each answer. */
static void run_probes(long since_ms, struct figures *figures)
{
    for (size_t i = 0; i < PROBES; i++)
        assert_int_equal(troupe_batch_send(probes[i].batch, CALL_MS, on_answer, &probes[i]), 0);
    assert_true(cluster_wait(&c, are_answered, NULL, CALL_MS + PROC_TIMEOUT_MS));
    for (size_t i = 0; i < PROBES; i++) {
        const struct troupe_call_result *r = troupe_batch_result(probes[i].batch, 0);
        if (r->status != TROUPE_OK) {
            cluster_show(&c);
            fail_msg("a probe failed: %s %.*s", troupe_status_name(r->status), (int)r->message.len,
                     (const char *)r->message.data);
        }
        figures_add(figures, atomic_load(&probes[i].answered_ms) - since_ms);
        troupe_batch_free(probes[i].batch);
        probes[i].batch = NULL;
    }
}

/* ---- kills ---- */

static void guardians_heal_crashes(void **state)
{
    static struct figures healed;
    char what[64];
    healed.n = 0;
    start_under_load();
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t victim = round % NODES;
        make_probes(victim);
        pid_t worker = cluster_worker(&c, victim);
        long since_ms = proc_now_ms();
        assert_int_equal(kill(worker, SIGKILL), 0);
        run_probes(since_ms, &healed);
        cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    }
    snprintf(what, sizeof what, "a crash is healed by the guardian, %s", (const char *)*state);
    figures_print(&healed, what);
    end_load();
}

static void others_take_over_from_a_silent_machine(void **state)
{
    static struct figures taken;
    char what[64];
    taken.n = 0;
    start_under_load();
    make_probes(0);
    long since_ms = proc_now_ms();
    cluster_kill(&c, 0);
    run_probes(since_ms, &taken);
    snprintf(what, sizeof what, "a machine falls silent: taken over, %s", (const char *)*state);
    figures_print(&taken, what);
    assert_true(figures_percentile(&taken, 100) < CLUSTER_TAKEOVER_MS);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    end_load();
}

/* ---- pauses ---- */

struct watch {
    size_t of;
    long until_ms;
    bool dead, still; /* some node has it as dead; all that run see it as active */
};

/* For as long as the watch lasts. */
static bool watch_states(struct cluster *cluster, void *data)
{
    struct watch *w = data;
    w->still = true;
    for (size_t i = 0; i < cluster->n; i++) {
        if (i == w->of)
            continue;
        const char *as = cluster_state(cluster, i, w->of);
        w->dead |= strcmp(as, "dead") == 0;
        w->still &= strcmp(as, "active") == 0;
    }
    return proc_now_ms() >= w->until_ms;
}

static void a_short_pause_is_no_death(void **state)
{
    (void)state;
    start_under_load();
    struct watch w = {.of = 1, .until_ms = proc_now_ms() + PAUSE_SHORT_MS};
    proc_signal(&c.nodes[1].proc, SIGSTOP);
    cluster_wait(&c, watch_states, &w, PAUSE_SHORT_MS + PROC_TIMEOUT_MS);
    proc_signal(&c.nodes[1].proc, SIGCONT);
    w.until_ms = proc_now_ms() + PAUSE_SHORT_MS; /* and none follows */
    cluster_wait(&c, watch_states, &w, PAUSE_SHORT_MS + PROC_TIMEOUT_MS);
    assert_false(w.dead);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    end_load();
}

static void a_long_pause_costs_the_lease(void **state)
{
    start_under_load();
    Troupe__Rpc__NodeStatus *before = cluster_status(&c, 1, CALL_MS);
    assert_non_null(before);
    struct watch w = {.of = 1, .until_ms = proc_now_ms() + PAUSE_LONG_MS};
    proc_signal(&c.nodes[1].proc, SIGSTOP);
    cluster_wait(&c, watch_states, &w, PAUSE_LONG_MS + PROC_TIMEOUT_MS);
    proc_signal(&c.nodes[1].proc, SIGCONT);
    long since_ms = proc_now_ms();
    assert_true(w.dead);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    printf("after a pause of %d ms: one view again after %ld ms\n", PAUSE_LONG_MS,
           proc_now_ms() - since_ms);
    Troupe__Rpc__NodeStatus *after = cluster_status(&c, 1, CALL_MS);
    assert_non_null(after);
    /* It was evicted meanwhile. Unless it was stopped with SQLite's lock in its hands: then nobody
     * could write, and it comes back as who it was. */
    if (strcmp((const char *)*state, "sqlite") != 0)
        assert_true(after->generation > before->generation);
    cluster_free_message(before);
    cluster_free_message(after);
    stop_load();
    load_assert_only_unknown(&load);
    load_verify(&load);
}

/* ---- how soon all know ---- */

/* Until every other node has `victim` in that state, at that address; each one's time. */
static bool sees(size_t i, size_t victim, const char *state)
{
    Troupe__Rpc__Members *m = cluster_members(&c, i, CALL_MS);
    assert_non_null(m);
    bool found = false;
    for (size_t k = 0; k < m->n_members; k++) {
        const Troupe__Rpc__Member *member = m->members[k];
        found |=
            strcmp(member->name, c.nodes[victim].name) == 0 && strcmp(member->state, state) == 0 &&
            !member->suspect &&
            (strcmp(state, "dead") == 0 || strcmp(member->address, c.nodes[victim].address) == 0);
    }
    cluster_free_message(m);
    return found;
}

struct knowing {
    size_t victim;
    const char *state;
    long since_ms;
    bool known[CLUSTER_NODES_MAX];
    struct figures *each, *all;
};

static bool do_all_know(struct cluster *cluster, void *data)
{
    struct knowing *k = data;
    bool all = true;
    for (size_t i = 0; i < cluster->n; i++) {
        if (i == k->victim || k->known[i])
            continue;
        k->known[i] = sees(i, k->victim, k->state);
        if (k->known[i])
            figures_add(k->each, proc_now_ms() - k->since_ms);
        all &= k->known[i];
    }
    if (all)
        figures_add(k->all, proc_now_ms() - k->since_ms);
    return all;
}

static void wait_known(struct knowing k)
{
    if (cluster_wait(&c, do_all_know, &k, CLUSTER_TAKEOVER_MS))
        return;
    cluster_show(&c);
    fail_msg("not all nodes have %s as %s in time", c.nodes[k.victim].name, k.state);
}

static void all_learn_of_a_death_and_a_return(void **state)
{
    static struct figures dead, dead_all, back, back_all;
    (void)state;
    if (c.n == 0)
        skip();
    cluster_start_all(&c);
    cluster_wait_agreed(&c, 2 * CLUSTER_AGREE_MS);
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t victim = (round * 3 + 1) % MANY;
        struct knowing k = {.victim = victim, .since_ms = proc_now_ms()};
        k.state = "dead";
        k.each = &dead;
        k.all = &dead_all;
        cluster_kill(&c, victim);
        wait_known(k);
        k.state = "active";
        k.each = &back;
        k.all = &back_all;
        cluster_new_ports(&c, victim);
        k.since_ms = proc_now_ms();
        cluster_start(&c, victim);
        wait_known(k);
        cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    }
    figures_print(&dead, "8 nodes, one is killed: another knows");
    figures_print(&dead_all, "8 nodes, one is killed: all know");
    figures_print(&back, "8 nodes, started again with new ports: another knows");
    figures_print(&back_all, "8 nodes, started again with new ports: all know");
}

#define ON(store, f, set_up_as)                                                                    \
    {                                                                                              \
        store ": " #f, f, set_up_as, tear_down, (void *)(uintptr_t)store                           \
    }

/* An argument is a pattern of the tests to run. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON("sqlite", guardians_heal_crashes, set_up_guarded),
        ON("postgres", guardians_heal_crashes, set_up_guarded),
        ON("sqlite", others_take_over_from_a_silent_machine, set_up_guarded),
        ON("postgres", others_take_over_from_a_silent_machine, set_up_plain),
        ON("postgres", a_short_pause_is_no_death, set_up_plain),
        ON("sqlite", a_long_pause_costs_the_lease, set_up_plain),
        ON("postgres", a_long_pause_costs_the_lease, set_up_plain),
        ON("sqlite", all_learn_of_a_death_and_a_return, set_up_many),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, open_group, close_group);
}
