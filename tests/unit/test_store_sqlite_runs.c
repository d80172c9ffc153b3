/* Proof by lock: each run of a node holds one beside the SQLite file, and whoever uses the file
 * sees by it that a run is over, whatever it is called and however it ended. Without the file,
 * nothing is proved. */
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sqlite_fixture.h"

static const char odd_name[] = "b/ü %x";

/* How many runs have files, and the path of the last one. */
static size_t count_files(const char *url, char path[CONTRACT_URL_BYTES])
{
    char pattern[CONTRACT_URL_BYTES + 8];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s-run-*", sqlite_fixture_path(url));
    int rc = glob(pattern, 0, NULL, &found);
    size_t n = rc == 0 ? found.gl_pathc : 0;
    if (n > 0 && path != NULL)
        snprintf(path, CONTRACT_URL_BYTES, "%s", found.gl_pathv[n - 1]);
    globfree(&found);
    return n;
}

/* What the run "a" sees of the only other one. */
static enum store_fate seen_by_a(struct contract_store *s)
{
    struct contract_request q;
    assert_int_equal(contract_renew(s, &q, "a", 1), 0);
    assert_int_equal(q.r.u.renew.others_n, 1);
    enum store_fate fate = q.r.u.renew.others[0].fate;
    contract_free(&q);
    return fate;
}

static void open_two(struct contract_bed *bed, struct contract_store *a, struct contract_store *b)
{
    contract_open(a, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_open(b, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(a, "a", 7);
    contract_must_register(b, odd_name, 8);
    assert_int_equal(count_files(bed->url, NULL), 2);
}

static void a_run_ends_with_its_lock(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store a, b;
    struct contract_request q;
    open_two(bed, &a, &b);
    assert_int_equal(seen_by_a(&a), STORE_FATE_UNKNOWN);
    contract_must_renew(&b, odd_name, 1, CONTRACT_TTL_MS);
    assert_int_equal(contract_register(&a, &q, odd_name, 9), TROUPE_EBUSY); /* nor by its name */
    assert_int_equal(q.r.u.reg.holder.fate, STORE_FATE_UNKNOWN);
    contract_free(&q);
    contract_close(&b);
    assert_int_equal(seen_by_a(&a), STORE_FATE_BURIED);
    assert_int_equal(contract_register(&a, &q, odd_name, 9), TROUPE_EBUSY);
    assert_int_equal(q.r.u.reg.holder.fate, STORE_FATE_BURIED);
    contract_free(&q);
    contract_close(&a);
}

static void without_its_file_nothing_is_proved(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store a, b;
    char path[CONTRACT_URL_BYTES];
    open_two(bed, &a, &b);
    assert_int_equal(count_files(bed->url, path), 2);
    assert_non_null(strstr(path, "-1-b%2F%C3%BC%20%25x"));
    assert_int_equal(unlink(path), 0);
    contract_close(&b);
    assert_int_equal(seen_by_a(&a), STORE_FATE_UNKNOWN);
    contract_close(&a);
}

/* Its second registration is another run, and its first one is over. */
static void files_go_with_their_runs(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store a, b;
    struct contract_request q;
    struct store_node row = {.name = odd_name, .generation = 2};
    open_two(bed, &a, &b);
    assert_int_equal(contract_leave(&b, &q, odd_name, 1), 0);
    contract_free(&q);
    assert_int_equal(count_files(bed->url, NULL), 1);
    assert_int_equal(contract_must_register(&b, odd_name, 8), 2);
    assert_int_equal(contract_must_register(&b, odd_name, 8), 2); /* its answer was lost */
    assert_int_equal(count_files(bed->url, NULL), 2);
    assert_int_equal(seen_by_a(&a), STORE_FATE_UNKNOWN);
    contract_close(&b);
    contract_init(&q, STORE_EVICT);
    assert_true(contract_find_node(&a, odd_name, &row));
    q.r.u.evict = (struct store_evict){.name = "a",
                                       .generation = 1,
                                       .target = odd_name,
                                       .target_generation = 2,
                                       .target_renew_seq = row.renew_seq,
                                       .why = STORE_EVICT_GONE};
    assert_int_equal(contract_do(&a, &q), 0);
    assert_true(q.r.u.evict.evicted);
    contract_free(&q);
    assert_int_equal(count_files(bed->url, NULL), 1);
    contract_close(&a);
    assert_int_equal(count_files(bed->url, NULL), 1); /* it did not leave: its end is to be seen */
}

/* A process that is killed, and one that holds the database open meanwhile. */
static void a_killed_process_is_gone(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store a, b;
    char byte;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        contract_open(&b, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
        contract_must_register(&b, "b", 8);
        if (write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    contract_open(&a, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&a, "a", 7);
    assert_int_equal(seen_by_a(&a), STORE_FATE_UNKNOWN);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(seen_by_a(&a), STORE_FATE_BURIED);
    contract_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_ends_with_its_lock, sqlite_fixture_set_up,
                                        sqlite_fixture_tear_down),
        cmocka_unit_test_setup_teardown(without_its_file_nothing_is_proved, sqlite_fixture_set_up,
                                        sqlite_fixture_tear_down),
        cmocka_unit_test_setup_teardown(files_go_with_their_runs, sqlite_fixture_set_up,
                                        sqlite_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_killed_process_is_gone, sqlite_fixture_set_up,
                                        sqlite_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
