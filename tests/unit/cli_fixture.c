/* See cli_fixture.h. */
#include "cli_fixture.h"

#include <stdbool.h>
#include <string.h>

char *cli_text(const char *text)
{
    union {
        const char *in;
        char *out;
    } same = {text};
    return same.out;
}

static void make_member(struct cli_cluster *c, unsigned i)
{
    Troupe__Rpc__Member *m = c->member_at[i] = &c->member[i];
    snprintf(c->names[i], sizeof c->names[i], "node-%u", i + 1);
    snprintf(c->addresses[i], sizeof c->addresses[i], "10.0.0.%u:7700", i + 1);
    troupe__rpc__member__init(m);
    m->name = c->names[i];
    m->address = c->addresses[i];
    m->state = cli_text("active");
    m->self = i == 0;
    m->zone = cli_text(i % 2 == 0 ? "east" : "west");
    m->version = cli_text("0.2.0");
    m->weight = 1;
    m->generation = 7;
    m->state_age_ms = 192000 + i;
    m->load = 1000 * (i + 1);
}

static void make_status(struct cli_cluster *c, unsigned i)
{
    Troupe__Rpc__NodeStatus *s = &c->status[i];
    troupe__rpc__node_status__init(s);
    s->name = c->names[i];
    s->version = cli_text("0.2.0");
    s->cluster = cli_text("troupe");
    s->cluster_uid = cli_text("6f0c1d2e-0000-4000-8000-000000000001");
    s->state = cli_text("serving");
    s->uptime_ms = 3600000 * 3;
    s->address = c->addresses[i];
    s->store = cli_text("sqlite:troupe.db");
    s->store_ok = true;
    s->lease_age_ms = 420;
    s->partitions = CLI_PARTITIONS;
    s->members_live = c->n;
    s->members_hash = 11;
    s->ring_hash = 12;
    s->owners_hash = 13;
    s->entities_resident = 45120;
    s->entities_dirty = 12;
    s->calls_per_s = 45120;
    s->memory_bytes = 50435000;
    s->persist_lag_ms = 1250;
}

void cli_cluster_count(struct cli_cluster *c)
{
    c->members.unowned = 0;
    for (unsigned i = 0; i < c->n; i++)
        c->member[i].owned = c->member[i].proposed = 0;
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++) {
        c->members.unowned += c->owner[pid] == 0;
        if (c->owner[pid] != 0)
            c->member[c->owner[pid] - 1].owned++;
        if (c->proposed[pid] != 0)
            c->member[c->proposed[pid] - 1].proposed++;
    }
    for (unsigned i = 0; i < c->n; i++) {
        c->status[i].partitions_owned = c->member[i].owned;
        c->status[i].partitions_proposed = c->member[i].proposed;
        c->status[i].partitions_unowned = c->members.unowned;
    }
}

static void make_ring(struct cli_cluster *c)
{
    troupe__rpc__ring__init(&c->ring);
    for (unsigned i = 0; i < c->n; i++)
        c->ring_nodes[i] = c->names[i];
    for (unsigned pid = 0; pid < CLI_PARTITIONS; pid++) {
        c->owner[pid] = c->proposed[pid] = pid % c->n + 1;
        c->backup[pid] = c->n == 1 ? 0 : (pid + 1) % c->n + 1;
        c->epoch[pid] = pid + 1;
    }
    c->ring.nodes = c->ring_nodes;
    c->ring.n_nodes = c->n;
    c->ring.owner = c->owner;
    c->ring.epoch = c->epoch;
    c->ring.proposed = c->proposed;
    c->ring.backup = c->backup;
    c->ring.n_owner = c->ring.n_epoch = c->ring.n_proposed = c->ring.n_backup = CLI_PARTITIONS;
    c->ring.ring_hash = 12;
    c->ring.owners_hash = 13;
}

void cli_cluster_make(struct cli_cluster *c, unsigned n)
{
    memset(c, 0, sizeof *c);
    c->n = n;
    for (unsigned i = 0; i < n; i++) {
        make_member(c, i);
        make_status(c, i);
    }
    troupe__rpc__members__init(&c->members);
    c->members.members = c->member_at;
    c->members.n_members = n;
    c->members.partitions = CLI_PARTITIONS;
    c->members.members_hash = 11;
    c->members.ring_hash = 12;
    c->members.owners_hash = 13;
    make_ring(c);
    cli_cluster_count(c);
}
