/* Where a new connection leads, when somebody says that the database has failed over and none of
 * ours has broken (store_redial). A *scout*, which carries no requests, is made as the first
 * connection was: the host's name is looked up, a server that takes writes is looked for, and asked
 * for its timeline.
 *
 *   it leads to a later server   that is the server from now on, and all other connections are
 *                                closed, as whenever one of them finds that (server.c)
 *   to the same one              nothing has changed
 *   to none, or an earlier one   it is tried again for a while. (Where new connections are steered
 *                                a little later they lead to the same one at first: the node
 *                                asks again, after 1, 2, 4 s …)
 *
 * In every case the scout is closed then. So what is said costs one connection, true or not: to
 * close the lease's first and see where the next one leads would stake the lease on it. */
#include "storage/postgres/postgres.h"

bool pg_redial_is_scout(const struct pg_conn *c)
{
    return c == &c->store->scout;
}

static void end(struct pg_store *s, const char *why)
{
    s->scout_until_ms = 0;
    pg_conn_break(&s->scout, why);
}

bool pg_redial_arrived(struct pg_conn *c)
{
    if (!pg_redial_is_scout(c))
        return false;
    end(c->store, "the scout has seen where new connections lead");
    return true;
}

void pg_redial(struct store *base)
{
    struct pg_store *s = (struct pg_store *)(void *)base;
    if (!pg_server_is_asked(s) || s->closing || s->scout_until_ms != 0)
        return;
    uint64_t now_ms = pg_now_ms(s);
    s->scout_until_ms = now_ms + PG_SCOUT_MS;
    s->scout.retry_ms = now_ms;
    s->scout.failures = 0;
}

void pg_redial_tick(struct pg_store *s, uint64_t now_ms)
{
    if (s->scout_until_ms == 0)
        return;
    if (now_ms >= s->scout_until_ms)
        end(s, "the scout has found no later server in time");
    else
        pg_conn_tick(&s->scout, now_ms);
}
