/* See sqlite_fixture.h. */
#include "tests/unit/sqlite_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *sqlite_fixture_path(const char *url)
{
    return url + strlen("sqlite:");
}

static sqlite3 *open_file(const char *url)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(sqlite_fixture_path(url), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, CONTRACT_DEADLINE_MS);
    return db;
}

void sqlite_fixture_query(const char *url, const char *sql, char *value, size_t bytes)
{
    sqlite3 *db = open_file(url);
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    snprintf(value, bytes, "%s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    sqlite3_close(db);
}

void sqlite_fixture_exec(const char *url, const char *sql)
{
    sqlite3 *db = open_file(url);
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
}

static void create(const struct store_fixture *fixture, char url[CONTRACT_URL_BYTES])
{
    char dir[] = "/tmp/troupe-sqlite-XXXXXX";
    (void)fixture;
    assert_non_null(mkdtemp(dir));
    snprintf(url, CONTRACT_URL_BYTES, "sqlite:%s/troupe.db", dir);
}

/* The directory has no directories. */
static void destroy(const struct store_fixture *fixture, const char *url)
{
    char dir[CONTRACT_URL_BYTES], path[2 * CONTRACT_URL_BYTES];
    (void)fixture;
    snprintf(dir, sizeof dir, "%s", sqlite_fixture_path(url));
    *strrchr(dir, '/') = '\0';
    DIR *list = opendir(dir);
    assert_non_null(list);
    for (struct dirent *e; (e = readdir(list)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    closedir(list);
    assert_int_equal(rmdir(dir), 0);
}

static void evict(const struct store_fixture *fixture, const char *url, const char *cluster,
                  const char *name)
{
    (void)fixture;
    char *sql = sqlite3_mprintf("UPDATE node_lease SET state = 2 WHERE name = %Q AND cluster_id ="
                                " (SELECT id FROM cluster_meta WHERE name = %Q)",
                                name, cluster);
    sqlite_fixture_exec(url, sql);
    sqlite3_free(sql);
}

static void set_back(const struct store_fixture *fixture, const char *url, const char *cluster,
                     const char *name, uint64_t ms)
{
    (void)fixture;
    char *sql = sqlite3_mprintf("UPDATE node_lease SET renewed_at = renewed_at + %llu"
                                " WHERE name = %Q AND cluster_id ="
                                " (SELECT id FROM cluster_meta WHERE name = %Q)",
                                (unsigned long long)ms, name, cluster);
    sqlite_fixture_exec(url, sql);
    sqlite3_free(sql);
}

void sqlite_fixture_crash(const char *url, uint64_t version)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct contract_store s;
        contract_open(&s, &sqlite_fixture, url, "c", CONTRACT_PARTITIONS);
        uint64_t generation = contract_must_register(&s, "a", 1);
        uint64_t epoch = contract_must_claim(&s, "a", generation, 5);
        contract_must_save(&s, "a", generation, contract_row(5, "x", epoch, version, "state"));
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

const struct store_fixture sqlite_fixture = {
    .name = "sqlite",
    .create = create,
    .destroy = destroy,
    .evict = evict,
    .set_back = set_back,
};

int sqlite_fixture_set_up(void **state)
{
    struct contract_bed *bed = calloc(1, sizeof *bed);
    assert_non_null(bed);
    bed->fixture = &sqlite_fixture;
    create(&sqlite_fixture, bed->url);
    *state = bed;
    return 0;
}

int sqlite_fixture_tear_down(void **state)
{
    struct contract_bed *bed = *state;
    destroy(&sqlite_fixture, bed->url);
    free(bed);
    return 0;
}
