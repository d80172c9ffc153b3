/* The schema of a database file and its migrations. */
#ifndef TROUPE_STORAGE_SQLITE_MIGRATE_H
#define TROUPE_STORAGE_SQLITE_MIGRATE_H

#include "storage/migration.h"
#include "storage/sqlite/connection.h"

/* Applies the steps that are missing, each in a transaction that looks again under the write lock,
 * so that any number of processes may do this at once. 0; TROUPE_EVERSION with errmsg (the file is
 * newer than this program, or another program's); TROUPE_EIO: ask db for the error. */
int sqlite__migrate(sqlite3 *db, const struct sqlite_config *config,
                    char errmsg[STORE_ERRMSG_BYTES]);

/* The version of this program's schema. */
uint32_t sqlite__schema_version(void);

#endif
