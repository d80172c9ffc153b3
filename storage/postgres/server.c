/* Which server a connection leads to (DESIGN §6.10): the store is one of them at a time.
 *
 * Primary and standby are two servers of one database. When the standby is promoted, the old
 * primary may live on, and what stands before both (a virtual address, a proxy, a name) steers only
 * new connections: those that are open go on leading to the old one, which commits what is then
 * lost. So every connection asks, before it is used, which server is at its other end: by the
 * system identifier, which initdb gives and all copies share, and the timeline, which each
 * promotion raises.
 *
 *   a later timeline       the database has failed over. It is the server from now on; every other
 *                          connection is closed, and what was under way on it has an unknown
 * outcome. an earlier timeline    a server that was deposed. The connection is not used, and made
 * anew, with backoff, until it leads elsewhere. another identifier     another database (a logical
 * copy, a restored dump): which of the two is meant has no order. The lease's connection decides:
 * any other one that finds it makes the lease's connection be made anew, and waits for its word.
 *
 * A primary cannot change its timeline without ending, so one look is enough for a connection. A
 * pooler in transaction mode is no server: there each request is followed by a look, within the
 * same transaction, and its answer counts for what that says.
 *
 * With store-timeline = none nobody is asked (managed services may not tell), and every connection
 * is taken to lead to the same server. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/postgres/postgres.h"

/* It fails on a standby: that is no server that could be used. */
#define TIMELINE                                                                                   \
    "('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, "   \
    "8))"                                                                                          \
    "::bit(32)::int8"
#define SYSTEM "(SELECT c.system_identifier FROM pg_catalog.pg_control_system() c)"

enum { SETTINGS_COLUMNS = 4 }; /* of pg_settings, before ours */

static bool is_lease(const struct pg_conn *c)
{
    return c == &c->store->conns[0];
}

bool pg_server_is_asked(const struct pg_store *s)
{
    return !s->timeline_none;
}

const char *pg_server_question(const struct pg_store *s)
{
    return pg_server_is_asked(s) ? "SELECT " TIMELINE ", " SYSTEM : "SELECT";
}

const char *pg_server_columns(const struct pg_store *s)
{
    if (!pg_server_is_asked(s))
        return "";
    return s->prepare ? ", " TIMELINE : ", " TIMELINE ", " SYSTEM;
}

/* Of either format. */
static uint64_t read_number(const PGresult *result, int column)
{
    if (PQfformat(result, column) == 1)
        return pg_get_int(result, 0, column);
    return (uint64_t)strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static void leave_all_but(struct pg_store *s, const struct pg_conn *c)
{
    for (unsigned i = 0; i < s->conns_n; i++) {
        struct pg_conn *other = &s->conns[i];
        if (other == c || other->state != PG_READY || other->server == s->server.number)
            continue;
        pg_conn_break(other, "the connection leads to a server that is deposed: another one has "
                             "taken over");
        other->retry_ms = pg_now_ms(s);
    }
}

static void take_over(struct pg_conn *c, const struct pg_server *found)
{
    struct pg_store *s = c->store;
    if (s->server.number > 0)
        pg_log(s, STORE_LOG_WARN,
               "postgres: the database has failed over: from timeline %" PRIu64
               " of system %" PRIu64 " to timeline %" PRIu64 " of system %" PRIu64,
               s->server.timeline, s->server.system, found->timeline, found->system);
    s->server = (struct pg_server){
        .number = s->server.number + 1, .system = found->system, .timeline = found->timeline};
    c->server = s->server.number;
    leave_all_but(s, c);
}

/* Where does the lease's connection lead, if it is made anew now? Not again and again. */
static void ask_lease(struct pg_store *s)
{
    struct pg_conn *lease = &s->conns[0];
    uint64_t now_ms = pg_now_ms(s);
    if (lease->state != PG_READY || now_ms < s->ask_lease_ms)
        return;
    s->ask_lease_ms = now_ms + PG_ASK_LEASE_MS;
    pg_conn_break(lease, "another connection leads to another database: where does this one?");
    lease->retry_ms = now_ms;
}

static const char *judge(struct pg_conn *c, const struct pg_server *found)
{
    const struct pg_server *last = &c->store->server;
    bool first = last->number == 0, same_system = found->system == last->system;
    c->server = 0;
    c->system = found->system;
    if (!first && same_system && found->timeline < last->timeline)
        return "the connection leads to a server that is deposed, of an earlier timeline";
    if (!first && !same_system && !is_lease(c)) {
        ask_lease(c->store);
        return "the connection leads to another database than the lease's";
    }
    if (!first && same_system && found->timeline == last->timeline)
        c->server = last->number;
    else
        take_over(c, found);
    return NULL;
}

const char *pg_server_met(struct pg_conn *c, const PGresult *result)
{
    if (!pg_server_is_asked(c->store))
        return NULL;
    if (PQntuples(result) != 1 || PQnfields(result) != 2)
        return "the server answers strangely when it is asked for its timeline";
    const struct pg_server found = {.timeline = read_number(result, 0),
                                    .system = read_number(result, 1)};
    return judge(c, &found);
}

const char *pg_server_told(struct pg_conn *c, const PGresult *result)
{
    int fields = PQnfields(result);
    if (!pg_server_is_asked(c->store) || PQntuples(result) != 1 || fields <= SETTINGS_COLUMNS)
        return NULL;
    const struct pg_server found = {.timeline = read_number(result, SETTINGS_COLUMNS),
                                    .system = fields > SETTINGS_COLUMNS + 1
                                                  ? read_number(result, SETTINGS_COLUMNS + 1)
                                                  : c->system};
    return judge(c, &found);
}

const char *pg_server_hidden(const char *sqlstate)
{
    static const char *const STATES[] = {"42501", "42883",
                                         "0A000"}; /* may not, knows not, has not */
    for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++) {
        if (sqlstate != NULL && strcmp(sqlstate, STATES[i]) == 0)
            return "the server does not tell its timeline, so that a failover could not be "
                   "noticed; "
                   "if it cannot (some managed services), set store-timeline = none "
                   "(docs/store-postgres.md)";
    }
    return NULL;
}

void pg_server_stamp(const struct pg_conn *c, struct store_request *r)
{
    r->server = c->server;
    r->timeline = c->server == c->store->server.number ? c->store->server.timeline : 0;
}
