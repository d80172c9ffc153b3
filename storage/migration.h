/* A step of a store's schema: one numbered .sql file of storage/migrations/<store>/, compiled in
 * (cmake/TroupeEmbed.cmake). The version of a schema is the number of the last step applied to it.
 * A step that has been released is never edited; what it left to be desired is the next step. */
#ifndef TROUPE_STORAGE_MIGRATION_H
#define TROUPE_STORAGE_MIGRATION_H

#include <stddef.h>
#include <stdint.h>

struct store_migration {
    uint32_t version; /* 1, 2, 3, … */
    const char *name; /* "0001_tables" */
    const char *sql;  /* any number of statements */
};

#endif
