/* See verdict.h.
 *
 * An ERROR that the server reports comes before the commit record is written (after it, errors are
 * PANICs), so the transaction is rolled back, and the code says why. A FATAL ends the connection,
 * and a pooler says it in its own name for whatever happens to the server behind it. Poolers also
 * borrow the server's codes, but not the field with the untranslated severity, which servers send
 * since 9.6 (pgbouncer 1.18: FATAL 08P01 "server conn crashed?", without it).
 *
 * Codes: appendix A of the PostgreSQL manual. The longest entry that a code begins with counts. */
#include "storage/postgres/verdict.h"

#include <stddef.h>
#include <string.h>

#define REFUSED true
#define UNKNOWN false
#define LEAVES  PG_LEAVES
#define STAYS   PG_STAYS

#define NO_SESSION   "behind a pooler set --prepared-statements off"
#define NO_RIGHT     "the role has no right to the schema troupe: grant it, or use its owner"
#define OTHER_SCHEMA "the schema does not fit this program; run: troupe-node migrate --store …"

static const struct pg_verdict VERDICTS[] = {
    {"", UNKNOWN, STAYS, TROUPE_EUNAVAILABLE, "unexpected error"},
    /* the connection, or what stands in it */
    {"08", UNKNOWN, LEAVES, TROUPE_EUNAVAILABLE, NULL},
    {"57", UNKNOWN, LEAVES, TROUPE_EUNAVAILABLE, NULL},    /* shutdown, crash, starting, dropped */
    {"58", UNKNOWN, STAYS, TROUPE_EUNAVAILABLE, NULL},     /* system errors; poolers' own, too */
    {"25P03", UNKNOWN, LEAVES, TROUPE_EUNAVAILABLE, NULL}, /* timeouts that end the session */
    {"25P04", UNKNOWN, LEAVES, TROUPE_EUNAVAILABLE, NULL},
    {"40003", UNKNOWN, STAYS, TROUPE_EUNAVAILABLE, NULL}, /* statement completion unknown */
    /* later, perhaps: too much at once, or locks */
    {"40", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NULL},    /* serialization, deadlock */
    {"53", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NULL},    /* disk full, memory */
    {"55", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NULL},    /* lock_timeout */
    {"57014", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NULL}, /* statement_timeout, or cancelled */
    /* not on this connection */
    {"25006", REFUSED, PG_LEAVES_SERVER, TROUPE_EUNAVAILABLE, "this server takes no writes"},
    {"25", REFUSED, LEAVES, TROUPE_EUNAVAILABLE, NULL}, /* somebody else's transaction in it */
    {"26", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NO_SESSION},
    {"42P05", REFUSED, LEAVES, TROUPE_EUNAVAILABLE, NO_SESSION}, /* else for each time we ask */
    {"0A", REFUSED, LEAVES, TROUPE_EUNAVAILABLE, NULL}, /* a plan from before a migration */
    /* the data */
    {"22", REFUSED, STAYS, TROUPE_EREJECTED, NULL},
    {"23", REFUSED, STAYS, TROUPE_EREJECTED, NULL},
    {"44", REFUSED, STAYS, TROUPE_EREJECTED, NULL},
    {"54", REFUSED, STAYS, TROUPE_EREJECTED, NULL},
    /* the statement, the schema */
    {"21", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NULL},
    {"42", REFUSED, STAYS, TROUPE_EUNAVAILABLE, "unexpected error"},
    {"P0", REFUSED, STAYS, TROUPE_EUNAVAILABLE, "unexpected error"}, /* raised by a trigger, say */
    {"42501", REFUSED, STAYS, TROUPE_EUNAVAILABLE, NO_RIGHT},
    {"3F", REFUSED, STAYS, TROUPE_EVERSION, OTHER_SCHEMA},
    {"42P01", REFUSED, STAYS, TROUPE_EVERSION, OTHER_SCHEMA},
    {"42703", REFUSED, STAYS, TROUPE_EVERSION, OTHER_SCHEMA},
    {"42883", REFUSED, STAYS, TROUPE_EVERSION, OTHER_SCHEMA},
};

/* FATAL and PANIC, and what a pooler or libpq says, whatever its code. */
static const struct pg_verdict BROKEN = {"", UNKNOWN, LEAVES, TROUPE_EUNAVAILABLE, NULL};

const struct pg_verdict *pg_verdict_of(const char *severity, const char *sqlstate)
{
    const struct pg_verdict *best = &VERDICTS[0];
    if (severity == NULL || strcmp(severity, "ERROR") != 0 || sqlstate == NULL)
        return &BROKEN;
    for (size_t i = 1; i < sizeof VERDICTS / sizeof VERDICTS[0]; i++) {
        size_t len = strlen(VERDICTS[i].sqlstate);
        if (len > strlen(best->sqlstate) && strncmp(sqlstate, VERDICTS[i].sqlstate, len) == 0)
            best = &VERDICTS[i];
    }
    return best;
}

int pg_verdict_error(const struct pg_verdict *v, bool writes)
{
    return writes && !v->refused ? TROUPE_EOUTCOME : v->error;
}

int pg_verdict_unread(enum store_op op, bool writes, int error)
{
    /* Of a registration the next one tells what is there, and of a renewal nobody counts on it. */
    if (!writes || error == 0 || op == STORE_REGISTER || op == STORE_RENEW)
        return error;
    return error == TROUPE_EFENCED ? error : TROUPE_EOUTCOME;
}

bool pg_verdict_is_unreplicated(const char *severity, const char *function, const char *text)
{
    if (function != NULL && strcmp(function, "SyncRepWaitForLSN") == 0)
        return severity == NULL || strcmp(severity, "WARNING") == 0;
    return text != NULL && strstr(text, "might not have been replicated") != NULL;
}
