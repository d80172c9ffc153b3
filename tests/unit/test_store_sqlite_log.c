/* SQLite's write-ahead log, deleted or replaced while a store has it open. What was acknowledged is
 * in the database file before anything else is; then the store goes on with a new log, and not
 * before everybody has left the one before. A crash is looked at as a copy of the file alone, which
 * is all that a later process would find. The program starts itself again for another process:
 *     test_store_sqlite_log hold URL
 * has it open as node "b" until its standard input ends. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sqlite_faults.h"
#include "tests/unit/sqlite_fixture.h"

enum { PATH_BYTES = CONTRACT_URL_BYTES + 16 };

static char log_path[PATH_BYTES], memory_path[PATH_BYTES];

static void delete_log(void)
{
    unlink(log_path);
}

static void delete_memory(void)
{
    unlink(memory_path);
}

static void delete_both(void)
{
    delete_log();
    delete_memory();
}

static void replace_log(void)
{
    char other[PATH_BYTES + 8];
    snprintf(other, sizeof other, "%s.new", log_path);
    int fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    close(fd);
    rename(other, log_path);
}

/* ---- the store ---- */

/* Node "a" with partition 5; its epoch. */
static uint64_t open_store(struct contract_store *s, const char *url)
{
    const char *path = sqlite_fixture_path(url);
    snprintf(log_path, sizeof log_path, "%s-wal", path);
    snprintf(memory_path, sizeof memory_path, "%s-shm", path);
    contract_open(s, &sqlite_fixture, url, "c", CONTRACT_PARTITIONS);
    uint64_t generation = contract_must_register(s, "a", 1);
    struct contract_request q;
    contract_load(
        s, &q,
        &(struct store_key){.pid = 5, .kind = troupe_bytes_of("k"), .id = troupe_bytes_of("none")},
        1); /* all three connections have the log */
    contract_free(&q);
    return contract_must_claim(s, "a", generation, 5);
}

static int try_save(struct contract_store *s, struct contract_request *q, uint64_t epoch,
                    uint64_t version)
{
    static struct store_row row;
    row = contract_row(5, "x", epoch, version, "state");
    contract_init(q, STORE_SAVE);
    q->r.u.save = (struct store_save){.name = "a", .generation = 1, .rows = &row, .rows_n = 1};
    contract_submit(s, q);
    return contract_wait(s, q);
}

/* Until it is saved. What stands in the way meanwhile says the words. */
static void save_in_the_end(struct contract_store *s, uint64_t epoch, uint64_t version,
                            const char *words)
{
    struct contract_request q;
    for (unsigned tries = 0;; tries++) {
        int rc = try_save(s, &q, epoch, version);
        if (rc != 0 && (tries > 1000 || strstr(q.r.errmsg, words) == NULL))
            fail_msg("%d: '%s' does not say '%s'", rc, q.r.errmsg, words);
        contract_free(&q);
        if (rc == 0)
            return;
        usleep(2000);
    }
}

/* The version of x in the file alone, as a copy of it would be found after a crash. */
static int version_in_file(const char *url)
{
    char copy[CONTRACT_URL_BYTES + 16], value[32];
    struct stat st;
    snprintf(copy, sizeof copy, "%s.copy", url);
    int from = open(sqlite_fixture_path(url), O_RDONLY | O_CLOEXEC);
    int to = open(sqlite_fixture_path(copy), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(from >= 0 && to >= 0);
    assert_int_equal(fstat(from, &st), 0);
    assert_int_equal(sendfile(to, from, NULL, (size_t)st.st_size), st.st_size);
    close(from);
    close(to);
    sqlite_fixture_query(copy, "SELECT coalesce(max(version), 0) FROM entity WHERE id = 'x'", value,
                         sizeof value);
    unlink(sqlite_fixture_path(copy));
    return atoi(value);
}

/* ---- deleted ---- */

static void what_was_acknowledged_gets_into_the_file(void **state)
{
    static void (*const ways[])(void) = {delete_log, delete_memory, delete_both, replace_log};
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_store(&s, bed->url);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uint64_t version = 2 * i + 1;
        save_in_the_end(&s, epoch, version, "");
        assert_true(version_in_file(bed->url) < (int)version); /* it is in the log */
        ways[i]();
        assert_int_equal(try_save(&s, &q, epoch, version + 1), TROUPE_EUNAVAILABLE);
        if (strstr(q.r.errmsg, "what it had is in the database") == NULL)
            fail_msg("%s", q.r.errmsg);
        contract_free(&q);
        assert_int_equal(version_in_file(bed->url), version);
        save_in_the_end(&s, epoch, version + 1, "log");
        assert_int_equal(access(log_path, F_OK), 0);
        assert_int_equal(access(memory_path, F_OK), 0);
    }
    contract_close(&s);
    assert_int_equal(version_in_file(bed->url), 8);
}

/* By whichever operation it is noticed: a node that only renews its lease saves it, too. */
static void a_renewal_notices_it(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_store(&s, bed->url);
    save_in_the_end(&s, epoch, 1, "");
    delete_both();
    contract_init(&q, STORE_RENEW);
    q.r.u.renew = (struct store_renew){.name = "a", .generation = 1, .ttl_ms = 1000};
    contract_submit(&s, &q);
    assert_int_equal(contract_wait(&s, &q), TROUPE_EUNAVAILABLE);
    contract_free(&q);
    assert_int_equal(version_in_file(bed->url), 1);
    contract_close(&s);
}

/* Between the look before a transaction and its end. */
static void a_commit_into_a_deleted_log_is_acknowledged_from_the_file(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    uint64_t epoch = open_store(&s, bed->url);
    save_in_the_end(&s, epoch, 1, "");
    sqlite_faults_at_sync(delete_both);
    assert_int_equal(try_save(&s, &q, epoch, 2), 0);
    contract_free(&q);
    assert_int_equal(access(log_path, F_OK), -1);
    assert_int_equal(version_in_file(bed->url), 2);
    save_in_the_end(&s, epoch, 3, "log");
    contract_close(&s);
}

/* ---- several processes ---- */

static int hold_main(const char *url)
{
    struct contract_store s;
    char byte = '.';
    contract_open(&s, &sqlite_fixture, url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "b", 1);
    if (write(STDOUT_FILENO, &byte, 1) != 1)
        return 1;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    contract_close(&s);
    return 0;
}

static pid_t start_holder(const char *url, int *in)
{
    int to[2], from[2];
    char byte;
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_store_sqlite_log", "hold", url, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(read(from[0], &byte, 1), 1);
    close(from[0]);
    *in = to[1];
    return pid;
}

/* Who begins a new log while somebody still writes into the old one would lose either's. */
static void nobody_begins_a_new_log_while_another_has_the_old_one(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    int in, status;
    uint64_t epoch = open_store(&s, bed->url);
    save_in_the_end(&s, epoch, 1, "");
    pid_t pid = start_holder(bed->url, &in);
    delete_both();
    assert_int_equal(try_save(&s, &q, epoch, 2), TROUPE_EUNAVAILABLE);
    contract_free(&q);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(try_save(&s, &q, epoch, 2), TROUPE_EUNAVAILABLE);
        if (strstr(q.r.errmsg, "still has the log open") == NULL)
            fail_msg("%s", q.r.errmsg);
        contract_free(&q);
    }
    close(in);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    save_in_the_end(&s, epoch, 2, "log");
    contract_close(&s);
    assert_int_equal(version_in_file(bed->url), 2);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "hold") == 0)
        return hold_main(argv[2]);
    sqlite_faults_install();
#define CASE(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, sqlite_fixture_set_up, sqlite_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_was_acknowledged_gets_into_the_file),
        CASE(a_renewal_notices_it),
        CASE(a_commit_into_a_deleted_log_is_acknowledged_from_the_file),
        CASE(nobody_begins_a_new_log_while_another_has_the_old_one),
    };
#undef CASE
    return cmocka_run_group_tests_name("sqlite: its log", tests, NULL, NULL);
}
