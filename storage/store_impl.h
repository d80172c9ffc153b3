/* Between store_open and the implementations: each scheme has an open and, where there is a schema,
 * a migrate. Same contracts as in store.h. */
#ifndef TROUPE_STORAGE_STORE_IMPL_H
#define TROUPE_STORAGE_STORE_IMPL_H

#include "storage/store.h"

int store_memory_open(struct store **store, const struct store_options *options,
                      char errmsg[STORE_ERRMSG_BYTES]);
int store_sqlite_open(struct store **store, const struct store_options *options,
                      char errmsg[STORE_ERRMSG_BYTES]);
int store_postgres_open(struct store **store, const struct store_options *options,
                        char errmsg[STORE_ERRMSG_BYTES]);

typedef void (*store_report_cb)(void *data, const char *line);
int store_sqlite_migrate(const char *url, bool dry_run, store_report_cb report, void *data,
                         char errmsg[STORE_ERRMSG_BYTES]);
int store_postgres_migrate(const char *url, bool dry_run, store_report_cb report, void *data,
                           char errmsg[STORE_ERRMSG_BYTES]);

#endif
