/* The SQLite store on a failing disk: every write and every fsync on its way fails once, in each
 * way that there is. Whatever happens, an answer is the truth:
 *   0                    it is in the store.
 *   TROUPE_EUNAVAILABLE  it is not.
 *   TROUPE_EOUTCOME      either.
 * and the same request succeeds once the disk is well again, without anything being restarted. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sqlite_faults.h"
#include "tests/unit/sqlite_fixture.h"

enum { ROWS = 12, POINTS_MAX = 10000 };

static const char *const fault_names[FAULTS_N] = {"write", "full", "torn", "sync"};

/* A save that touches a few pages, and a claim, of node "a". */
struct job {
    struct contract_request q;
    struct store_row rows[ROWS];
    char ids[ROWS][16];
    store_pid pid;
    uint64_t version;
    bool is_claim;
};

static char big_state[3000];

static void job_init(struct job *j, bool is_claim, uint64_t epoch, uint64_t n)
{
    j->is_claim = is_claim;
    j->version = n;
    j->pid = (store_pid)(10 + n % 200);
    contract_init(&j->q, is_claim ? STORE_CLAIM : STORE_SAVE);
    memset(big_state, 's', sizeof big_state - 1);
    for (size_t i = 0; i < ROWS; i++) {
        snprintf(j->ids[i], sizeof j->ids[i], "%zu", i);
        j->rows[i] = contract_row(5, j->ids[i], epoch, n, big_state);
    }
    if (is_claim)
        j->q.r.u.claim =
            (struct store_claim){.name = "a", .generation = 1, .pids = &j->pid, .pids_n = 1};
    else
        j->q.r.u.save =
            (struct store_save){.name = "a", .generation = 1, .rows = j->rows, .rows_n = ROWS};
}

/* Whether it has happened, as seen by another handle: all of it, or nothing. */
static bool job_is_done(struct contract_store *other, const struct job *j)
{
    struct contract_request q;
    size_t n = 0, all = j->is_claim ? 1 : ROWS;
    if (j->is_claim) {
        assert_int_equal(contract_owners(other, &q), 0);
        n = q.r.u.owners.owners[j->pid].node != UINT32_MAX;
    } else {
        struct store_key keys[ROWS];
        for (size_t i = 0; i < ROWS; i++)
            keys[i] = j->rows[i].key;
        assert_int_equal(contract_load(other, &q, keys, ROWS), 0);
        for (size_t i = 0; i < ROWS; i++)
            n += q.r.u.load.found[i] && q.r.u.load.rows[i].version == j->version;
    }
    contract_free(&q);
    assert_true(n == 0 || n == all);
    return n == all;
}

/* One job whose n-th operation fails; false when the job has fewer than n. */
static bool strike_once(struct contract_store *s, struct contract_store *other, struct job *j,
                        enum sqlite_fault fault, unsigned n)
{
    sqlite_faults_arm(fault, n, false);
    contract_submit(s, &j->q);
    int rc = contract_wait(s, &j->q);
    bool happened = sqlite_faults_disarm();
    bool done = job_is_done(other, j);
    if (rc != 0 && rc != TROUPE_EUNAVAILABLE && rc != TROUPE_EOUTCOME)
        fail_msg("%s %u: %s", fault_names[fault], n, j->q.r.errmsg);
    if ((rc == 0 && !done) || (rc == TROUPE_EUNAVAILABLE && done))
        fail_msg("%s %u: the store says %d, and the rows are%s there", fault_names[fault], n, rc,
                 done ? "" : " not");
    if (contract_do(s, &j->q) != 0)
        fail_msg("%s %u, again: %s", fault_names[fault], n, j->q.r.errmsg);
    assert_true(job_is_done(other, j));
    return happened;
}

static void every_point_of_a_job(void **state, bool is_claim)
{
    struct contract_bed *bed = *state;
    struct contract_store s, other;
    static struct job j;
    uint64_t version = 0;
    contract_open(&s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_open(&other, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    for (int fault = 0; fault < FAULTS_N; fault++) {
        unsigned n = 0;
        bool happened;
        do {
            job_init(&j, is_claim, epoch, ++version);
            happened = strike_once(&s, &other, &j, (enum sqlite_fault)fault, ++n);
            contract_free(&j.q);
            assert_true(n < POINTS_MAX);
        } while (happened);
        print_message("%s: %u points\n", fault_names[fault], n - 1);
        assert_true(n > 1); /* the disk did fail */
    }
    contract_close(&s);
    contract_close(&other);
}

static void every_point_of_a_save(void **state)
{
    every_point_of_a_job(state, false);
}

static void every_point_of_a_claim(void **state)
{
    every_point_of_a_job(state, true);
}

/* The first request makes the file, the schema and the cluster; whatever of that fails, the next
 * attempt finds its way from where it is. */
static void every_point_of_the_beginning(void **state)
{
    struct contract_bed *bed = *state;
    char errmsg[STORE_ERRMSG_BYTES];
    for (int fault = 0; fault < FAULTS_N; fault++) {
        bool happened = true;
        for (unsigned n = 1; happened; n++) {
            struct contract_store s = {.without_loop = false};
            struct contract_request q;
            char url[CONTRACT_URL_BYTES];
            bed->fixture->create(bed->fixture, url);
            assert_int_equal(uv_loop_init(&s.loop), 0);
            uv_timer_init(&s.loop, &s.tick);
            struct store_options options = {
                .url = url, .cluster = "c", .partitions = CONTRACT_PARTITIONS, .loop = &s.loop};
            assert_int_equal(store_open(&s.store, &options, errmsg), 0);
            sqlite_faults_arm((enum sqlite_fault)fault, n, false);
            contract_init(&q, STORE_REGISTER);
            q.r.u.reg = (struct store_register){
                .name = "a", .incarnation = 1, .addr = "a:1", .ttl_ms = CONTRACT_TTL_MS};
            contract_submit(&s, &q);
            int rc = contract_wait(&s, &q);
            happened = sqlite_faults_disarm();
            if (rc != 0 && rc != TROUPE_EUNAVAILABLE && rc != TROUPE_EOUTCOME)
                fail_msg("%s %u: %s", fault_names[fault], n, q.r.errmsg);
            if (contract_do(&s, &q) != 0)
                fail_msg("%s %u, again: %s", fault_names[fault], n, q.r.errmsg);
            assert_int_equal(q.r.u.reg.generation, 1);
            contract_free(&q);
            assert_int_equal(contract_owners(&s, &q), 0);
            assert_int_equal(q.r.u.owners.owners_n, CONTRACT_PARTITIONS);
            contract_free(&q);
            contract_close(&s);
            bed->fixture->destroy(bed->fixture, url);
        }
    }
}

/* A disk that stays full for a while: nothing is lost, nothing is half there, and it goes on when
 * there is room. */
static void a_disk_that_stays_full(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s, other;
    static struct job j;
    struct contract_request q;
    contract_open(&s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_open(&other, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    uint64_t epoch = contract_must_claim(&s, "a", 1, 5);
    job_init(&j, false, epoch, 1);
    assert_int_equal(contract_do(&s, &j.q), 0);
    contract_free(&j.q);

    sqlite_faults_arm(FAULT_FULL, 1, true);
    for (uint64_t version = 2; version < 6; version++) {
        job_init(&j, false, epoch, version);
        contract_submit(&s, &j.q);
        int rc = contract_wait(&s, &j.q);
        assert_true(rc == TROUPE_EUNAVAILABLE || rc == TROUPE_EOUTCOME);
        assert_non_null(strstr(j.q.r.errmsg, "disk is full"));
        contract_free(&j.q);
        assert_true(contract_must_load(&other, &q, 5, "7")); /* reading goes on */
        assert_int_equal(q.r.u.load.rows[0].version, 1);
        contract_free(&q);
    }
    assert_true(sqlite_faults_disarm());
    assert_int_equal(s.warns_n, 1); /* not for each attempt */
    job_init(&j, false, epoch, 6);
    assert_int_equal(contract_do(&s, &j.q), 0);
    assert_int_equal(j.q.r.u.save.applied, ROWS);
    assert_true(job_is_done(&other, &j));
    contract_free(&j.q);
    contract_close(&s);
    contract_close(&other);
}

#define FAULT_TEST(f)                                                                              \
    cmocka_unit_test_setup_teardown(f, sqlite_fixture_set_up, sqlite_fixture_tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        FAULT_TEST(every_point_of_a_save),
        FAULT_TEST(every_point_of_a_claim),
        FAULT_TEST(every_point_of_the_beginning),
        FAULT_TEST(a_disk_that_stays_full),
    };
    sqlite_faults_install();
    return cmocka_run_group_tests_name("sqlite: faults", tests, NULL, NULL) == 0 ? EXIT_SUCCESS
                                                                                 : EXIT_FAILURE;
}
