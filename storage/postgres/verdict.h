/* What an error says about the statement that it answers: was it refused, so that nothing has
 * changed, or is its outcome unknown? DESIGN §6.11: doubt is not failure.
 *
 * "The connection broke" may come after the commit: from a pooler that lost its server while the
 * answer was under way, from a server that was being shut down, from libpq. Whoever takes that for
 * "nothing was changed" serves what it has given away. So an error means "refused" only if the
 * server itself says so, about this statement, by a code in the table; all else is doubt. */
#ifndef TROUPE_POSTGRES_VERDICT_H
#define TROUPE_POSTGRES_VERDICT_H

#include <stdbool.h>

#include "storage/store.h"

enum pg_stay {
    PG_STAYS,
    PG_LEAVES,        /* it is of no more use: another one is made */
    PG_LEAVES_SERVER, /* nor are the others, which lead to the same server */
};

struct pg_verdict {
    const char *sqlstate; /* five characters, or the first ones of a class; "" = any other */
    bool refused;         /* rolled back by the server: nothing has changed */
    enum pg_stay stay;    /* of the connection on which it was said */
    int error;            /* of the request, if it was refused or only reads */
    const char *advice;   /* what to do, before the server's words; NULL: they say it all */
};

/* severity: not translated (PG_DIAG_SEVERITY_NONLOCALIZED). Either may be NULL: then it is not the
 * server's own answer. Never NULL; static. */
const struct pg_verdict *pg_verdict_of(const char *severity, const char *sqlstate);

/* The error of a request, of which the server said that. */
int pg_verdict_error(const struct pg_verdict *v, bool writes);

/* The error of a request whose statement went well, but whose answer was not taken because of
 * `error`. A change that nobody has heard of is one of unknown outcome. */
int pg_verdict_unread(enum store_op op, bool writes, int error);

/* Whether a notice says that a commit is on the primary alone: somebody has cancelled the wait for
 * the synchronous standbys. By the server's function that says so, which no language changes; its
 * text is for servers that tell no function. Each may be NULL. */
bool pg_verdict_is_unreplicated(const char *severity, const char *function, const char *text);

#endif
