/* The SQLite store: the contract. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "tests/unit/store_contract_parts.h"

static void sqlite_create(const struct store_fixture *fixture, char url[CONTRACT_URL_BYTES])
{
    char dir[] = "/tmp/troupe-sqlite-XXXXXX";
    (void)fixture;
    assert_non_null(mkdtemp(dir));
    snprintf(url, CONTRACT_URL_BYTES, "sqlite:%s/troupe.db", dir);
}

static void sqlite_destroy(const struct store_fixture *fixture, const char *url)
{
    char path[CONTRACT_URL_BYTES];
    (void)fixture;
    const char *suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", url + strlen("sqlite:"), suffixes[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s", url + strlen("sqlite:"));
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
}

static void sqlite_evict(const struct store_fixture *fixture, const char *url, const char *cluster,
                         const char *name)
{
    sqlite3 *db;
    (void)fixture;
    assert_int_equal(sqlite3_open(url + strlen("sqlite:"), &db), SQLITE_OK);
    char *sql = sqlite3_mprintf("UPDATE node_lease SET state = 2 WHERE name = %Q AND cluster ="
                                " (SELECT cluster FROM cluster_meta WHERE name = %Q)",
                                name, cluster);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_free(sql);
    sqlite3_close(db);
}

int main(void)
{
    struct store_fixture fixture = {
        .name = "sqlite",
        .create = sqlite_create,
        .destroy = sqlite_destroy,
        .evict = sqlite_evict,
    };
    int failed = store_contract_run(&fixture);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
