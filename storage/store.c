/* See store.h. The scheme of the url chooses the implementation; everything else is theirs. */
#include <stdio.h>
#include <string.h>

#include "storage/request.h"
#include "storage/store_impl.h"

struct scheme {
    const char *prefix;
    int (*open)(struct store **store, const struct store_options *options,
                char errmsg[STORE_ERRMSG_BYTES]);
    int (*migrate)(const char *url, bool dry_run, store_report_cb report, void *data,
                   char errmsg[STORE_ERRMSG_BYTES]); /* NULL: has no schema */
};

static const struct scheme schemes[] = {
    {"memory:", store_memory_open, NULL},
    {"sqlite:", store_sqlite_open, store_sqlite_migrate},
#ifdef TROUPE_STORAGE_POSTGRES
    {"postgres://", store_postgres_open, store_postgres_migrate},
    {"postgresql://", store_postgres_open, store_postgres_migrate},
#endif
};

/* What is wrong is told without the rest of the url, which may contain a password. */
static const struct scheme *find_scheme(const char *url, char errmsg[STORE_ERRMSG_BYTES])
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strncmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
            return &schemes[i];
    }
    int n = (int)strcspn(url, ":");
    int at = snprintf(errmsg, STORE_ERRMSG_BYTES,
                      "the store's url begins with '%.*s', which is no kind of store; known are",
                      n < 40 ? n : 40, url);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0] && at < STORE_ERRMSG_BYTES; i++)
        at += snprintf(errmsg + at, (size_t)(STORE_ERRMSG_BYTES - at), "%s %s", i == 0 ? "" : ",",
                       schemes[i].prefix);
    return NULL;
}

int store_open(struct store **store, const struct store_options *options,
               char errmsg[STORE_ERRMSG_BYTES])
{
    *store = NULL;
    int rc = store__check_options(options, errmsg);
    if (rc != 0)
        return rc;
    const struct scheme *scheme = find_scheme(options->url, errmsg);
    return scheme == NULL ? TROUPE_EINVAL : scheme->open(store, options, errmsg);
}

int store_migrate(const char *url, bool dry_run, void (*report)(void *data, const char *line),
                  void *data, char errmsg[STORE_ERRMSG_BYTES])
{
    const struct scheme *scheme = find_scheme(url, errmsg);
    if (scheme == NULL)
        return TROUPE_EINVAL;
    if (scheme->migrate != NULL)
        return scheme->migrate(url, dry_run, report, data, errmsg);
    report(data, "a store in memory has no schema: nothing to do");
    return 0;
}
