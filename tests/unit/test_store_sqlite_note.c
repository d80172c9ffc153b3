/* A database that was not closed, and that is opened by another name than before: what was
 * committed last is in the log beside the old name. It is refused, unless nothing is missing; and
 * whatever is complete can be opened: by its own name, with its log, as a backup. */
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sqlite_faults.h"
#include "tests/unit/sqlite_fixture.h"

enum { PATH_BYTES = CONTRACT_URL_BYTES + 32, SAVES = 3, POINTS_MAX = 1000 };

static char other_url[PATH_BYTES], old_log[PATH_BYTES], new_log[PATH_BYTES];

static void name_files(const char *url)
{
    snprintf(other_url, sizeof other_url, "%s.other", url);
    snprintf(old_log, sizeof old_log, "%s-wal", sqlite_fixture_path(url));
    snprintf(new_log, sizeof new_log, "%s-wal", sqlite_fixture_path(other_url));
}

/* The file alone, by another name from now on. */
static void move_file(const char *from, const char *to)
{
    assert_int_equal(rename(sqlite_fixture_path(from), sqlite_fixture_path(to)), 0);
}

static int version_in(const char *url)
{
    char value[32];
    sqlite_fixture_query(url, "SELECT coalesce(max(version), 0) FROM entity WHERE id = 'x'", value,
                         sizeof value);
    return atoi(value);
}

static void assert_refused(const char *url, const char *words)
{
    char errmsg[STORE_ERRMSG_BYTES];
    for (int dry = 0; dry < 2; dry++) {
        assert_int_equal(store_migrate(url, dry == 1, NULL, NULL, errmsg), TROUPE_EVERSION);
        if (strstr(errmsg, words) == NULL)
            fail_msg("'%s' does not say '%s'", errmsg, words);
    }
}

static void assert_opens(const char *url)
{
    char errmsg[STORE_ERRMSG_BYTES];
    if (store_migrate(url, false, NULL, NULL, errmsg) != 0)
        fail_msg("%s", errmsg);
}

static void a_file_moved_without_its_log_is_refused(void **state)
{
    struct contract_bed *bed = *state;
    name_files(bed->url);
    sqlite_fixture_crash(bed->url, 1);
    move_file(bed->url, other_url);
    assert_refused(other_url, old_log); /* where the log is */
    assert_refused(other_url, new_log); /* where it could be put */
    assert_refused(other_url, "DELETE FROM log_note");
    assert_int_equal(access(new_log, F_OK), -1);
    move_file(other_url, bed->url);
    assert_opens(bed->url);
    assert_int_equal(version_in(bed->url), 1);
}

static void with_its_log_it_may_move(void **state)
{
    struct contract_bed *bed = *state;
    name_files(bed->url);
    sqlite_fixture_crash(bed->url, 1);
    move_file(bed->url, other_url);
    assert_int_equal(rename(old_log, new_log), 0);
    assert_opens(other_url);
    assert_int_equal(version_in(other_url), 1);
}

static void who_wants_to_goes_on_without_it(void **state)
{
    struct contract_bed *bed = *state;
    name_files(bed->url);
    sqlite_fixture_crash(bed->url, 1);
    move_file(bed->url, other_url);
    sqlite_fixture_exec(other_url, "DELETE FROM log_note");
    assert_opens(other_url);
    assert_int_equal(version_in(other_url), 0);
}

/* However often: nothing is left of the note. */
static void a_file_that_was_closed_may_have_any_name(void **state)
{
    struct contract_bed *bed = *state;
    char notes[16];
    name_files(bed->url);
    sqlite_fixture_crash(bed->url, 1);
    for (int i = 0; i < 3; i++) {
        assert_opens(bed->url);
        sqlite_fixture_query(bed->url, "SELECT count(*) FROM log_note", notes, sizeof notes);
        assert_string_equal(notes, "0");
        assert_int_equal(access(old_log, F_OK), -1);
        move_file(bed->url, other_url);
        assert_opens(other_url);
        assert_int_equal(version_in(other_url), 1);
        move_file(other_url, bed->url);
    }
}

/* As sqlite3 does it, be it only for a look: it copies the log into the file and deletes it. */
static void another_program_may_have_closed_it(void **state)
{
    struct contract_bed *bed = *state;
    name_files(bed->url);
    sqlite_fixture_crash(bed->url, 1);
    assert_int_equal(version_in(bed->url), 1);
    assert_int_equal(access(old_log, F_OK), -1);
    assert_opens(bed->url);
    sqlite_fixture_crash(bed->url, 2);
    assert_opens(bed->url);
    assert_int_equal(version_in(bed->url), 2);
}

/* ---- backups ---- */

static void back_up(const char *url, const char *path, bool into)
{
    sqlite3 *from, *to;
    char sql[PATH_BYTES + 32];
    snprintf(sql, sizeof sql, "VACUUM INTO '%s'", path);
    if (into) {
        sqlite_fixture_exec(url, sql);
        return;
    }
    assert_int_equal(sqlite3_open(sqlite_fixture_path(url), &from), SQLITE_OK);
    assert_int_equal(sqlite3_open(path, &to), SQLITE_OK);
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main"); /* as .backup */
    assert_non_null(b);
    assert_int_equal(sqlite3_backup_step(b, -1), SQLITE_DONE);
    assert_int_equal(sqlite3_backup_finish(b), SQLITE_OK);
    sqlite3_close(from);
    sqlite3_close(to);
}

static void backups_made_while_it_is_open_are_restored(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    char copy[PATH_BYTES], memory[PATH_BYTES];
    name_files(bed->url);
    snprintf(copy, sizeof copy, "%s.copy", bed->url);
    snprintf(memory, sizeof memory, "%s-shm", sqlite_fixture_path(bed->url));
    for (int into = 0; into < 2; into++) {
        contract_open(&s, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
        uint64_t generation = contract_must_register(&s, "a", 1);
        uint64_t epoch = contract_must_claim(&s, "a", generation, 5);
        contract_must_save(&s, "a", generation,
                           contract_row(5, "x", epoch, (uint64_t)into + 1, "state"));
        back_up(bed->url, sqlite_fixture_path(copy), into == 1);
        contract_close(&s);
        sqlite_fixture_crash(bed->url, 9);
        char notes[16];
        sqlite_fixture_query(copy, "SELECT count(*) FROM log_note", notes, sizeof notes);
        assert_string_equal(notes, "1"); /* it is about the other file */
        if (into == 1)                   /* by its own name, too */
            assert_opens(copy);
        unlink(sqlite_fixture_path(bed->url));
        unlink(old_log);
        unlink(memory);
        move_file(copy, bed->url);
        assert_opens(bed->url);
        assert_int_equal(version_in(bed->url), into + 1);
    }
}

/* ---- crashes in between ---- */

static int *saved; /* shared with the child: the version that was acknowledged last */
static int syncs_left;

static void die_at_last(void)
{
    if (--syncs_left == 0)
        raise(SIGKILL);
    sqlite_faults_at_sync(die_at_last);
}

/* Opens, saves, closes; killed at that sync. Whether it came so far. */
static bool crash_at(const char *url, int sync)
{
    int status;
    *saved = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct contract_store s;
        syncs_left = sync;
        sqlite_faults_at_sync(die_at_last);
        contract_open(&s, &sqlite_fixture, url, "c", CONTRACT_PARTITIONS);
        uint64_t generation = contract_must_register(&s, "a", 1);
        uint64_t epoch = contract_must_claim(&s, "a", generation, 5);
        for (int v = 1; v <= SAVES; v++) {
            struct store_row row = contract_row(5, "x", epoch, (uint64_t)v, "state");
            *saved = contract_must_save(&s, "a", generation, row) == 1 ? v : *saved;
        }
        contract_close(&s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void remove_all(const char *url)
{
    char path[PATH_BYTES];
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", sqlite_fixture_path(url), ends[i]);
        unlink(path);
    }
}

/* Wherever it dies: without its log it is refused, or complete; with its log it opens. */
static void a_crash_at_any_point_leaves_it_refused_or_complete(void **state)
{
    struct contract_bed *bed = *state;
    char errmsg[STORE_ERRMSG_BYTES];
    int refused = 0, sync = 1;
    name_files(bed->url);
    saved = mmap(NULL, sizeof *saved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(saved != MAP_FAILED);
    for (; crash_at(bed->url, sync); sync++) {
        assert_true(sync < POINTS_MAX);
        move_file(bed->url, other_url);
        int rc = store_migrate(other_url, true, NULL, NULL, errmsg);
        refused += rc != 0;
        if (rc == 0 && *saved > 0)
            assert_true(version_in(other_url) >= *saved);
        move_file(other_url, bed->url);
        assert_opens(bed->url);
        if (*saved > 0)
            assert_true(version_in(bed->url) >= *saved);
        remove_all(bed->url);
    }
    assert_int_equal(*saved, SAVES);
    assert_true(refused >= SAVES);
    munmap(saved, sizeof *saved);
}

int main(void)
{
    sqlite_faults_install();
#define CASE(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, sqlite_fixture_set_up, sqlite_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_file_moved_without_its_log_is_refused),
        CASE(with_its_log_it_may_move),
        CASE(who_wants_to_goes_on_without_it),
        CASE(a_file_that_was_closed_may_have_any_name),
        CASE(another_program_may_have_closed_it),
        CASE(backups_made_while_it_is_open_are_restored),
        CASE(a_crash_at_any_point_leaves_it_refused_or_complete),
    };
#undef CASE
    return cmocka_run_group_tests_name("sqlite: its name", tests, NULL, NULL);
}
