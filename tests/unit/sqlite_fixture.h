/* The contract's fixture for SQLite: a file in a directory of its own under /tmp. */
#ifndef TROUPE_TESTS_SQLITE_FIXTURE_H
#define TROUPE_TESTS_SQLITE_FIXTURE_H

#include "tests/unit/store_contract_parts.h"

extern const struct store_fixture sqlite_fixture;

/* The path in a fixture's url. */
const char *sqlite_fixture_path(const char *url);
/* Executes SQL on the file of a url, as another program; fails the test if that does. */
void sqlite_fixture_exec(const char *url, const char *sql);
/* … and tells the first column of the first row. */
void sqlite_fixture_query(const char *url, const char *sql, char *value, size_t bytes);
/* Another process, as node "a", saves row x of partition 5 in that version, and is killed; what it
 * has saved stays in the log. */
void sqlite_fixture_crash(const char *url, uint64_t version);

/* cmocka: a struct contract_bed with an empty database in *state. */
int sqlite_fixture_set_up(void **state);
int sqlite_fixture_tear_down(void **state);

#endif
