/* Membership inside the runtime. Happy path: the node registers with the store and so has a
 * generation; it opens its membership machine with it, as JOINING; the store's rows of the others,
 * which come with each renewal, and the driver's --join tell where gossip may be taken, and each of
 * these is contacted until it is a member. Once all that the store knows of are members, or the
 * store says that there are none, or it has waited long enough, it is ACTIVE, takes part in the
 * ring, and begins to claim.
 *
 * Failure modes. The store lists nodes that cannot be reached: after JOIN_WAIT_MS we go on without
 * them; what they own stays theirs, for the store says so. Gossip is cut, the store is not: every
 * side builds a ring of its own; claims and evictions are judged by the store alone. A later run of
 * our name is about: the store will tell us so with the next renewal. */
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

enum {
    JOIN_WAIT_MS = 2000,
    CONTACT_AGAIN_MS = 2000, /* a node of the store's rows that is no member */
    FRAMES_MAX = 4096,       /* waiting for the driver; beyond that they are dropped */
    REPORT_MS = 60000,
    LEAVE_MS = 500,     /* for the last word to get about */
    NO_LEASE_MS = 1000, /* so long without a lease: out of the ring */
};

/* ---- opening ---- */

int members__init(struct runtime *rt)
{
    struct members *m = &rt->members;
    int rc = nodes__init(&m->nodes, 2 * rt->config.members_max);
    if (rc == 0)
        rc = ring__init(rt);
    if (rc != 0)
        return rc;
    arena_init(&rt->members_arena, 0, 64 << 10);
    m->frames_tail = &m->frames;
    m->wake_ns = UINT64_MAX;
    m->self = nodes__take(rt, troupe_bytes_of(rt->config.name));
    if (m->self == NODE_NONE)
        return TROUPE_ENOMEM;
    struct node_info *self = node__at(rt, m->self);
    snprintf(self->address, sizeof self->address, "%s", rt->config.address);
    snprintf(self->version, sizeof self->version, "%s", rt->config.version);
    snprintf(self->zone, sizeof self->zone, "%s", rt->config.zone);
    snprintf(self->gossip, sizeof self->gossip, "%s", rt->config.gossip_address);
    snprintf(self->peer, sizeof self->peer, "%s", rt->config.peer_address);
    self->weight = rt->config.weight;
    if (rt->config.gossip_address[0] == '\0')
        return 0;
    m->fx = calloc(1, sizeof *m->fx);
    m->records = calloc(GOSSIP_RECORDS_MAX, sizeof *m->records);
    return m->fx == NULL || m->records == NULL ? TROUPE_ENOMEM : 0;
}

void members__close(struct runtime *rt)
{
    struct members *m = &rt->members;
    swim_close(m->swim);
    while (m->frames != NULL) {
        struct runtime_frame *next = m->frames->next;
        free(m->frames);
        m->frames = next;
    }
    free(m->fx);
    free(m->records);
    free(m->node_of);
    ring__close(rt);
    nodes__close(&m->nodes);
    arena_close(&rt->members_arena);
}

/* "xxxxxxxx-xxxx-…" as 16 bytes. What is no hex counts as 0: all nodes read it alike. */
static void uid_bytes(const char *text, uint8_t uid[GOSSIP_UID_BYTES])
{
    memset(uid, 0, GOSSIP_UID_BYTES);
    for (size_t n = 0; *text != '\0' && n < 2 * GOSSIP_UID_BYTES; text++) {
        if (*text == '-')
            continue;
        unsigned digit = *text >= '0' && *text <= '9'   ? (unsigned)(*text - '0')
                         : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a' + 10)
                                                        : 0;
        uid[n / 2] = (uint8_t)(uid[n / 2] | digit << (n % 2 == 0 ? 4 : 0));
        n++;
    }
}

static void forget_members(struct runtime *rt)
{
    struct members *m = &rt->members;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        m->nodes.all[i]->member = SWIM_NOBODY;
        m->nodes.all[i]->state = 0;
        m->nodes.all[i]->suspect = false;
    }
    swim_close(m->swim);
    free(m->node_of);
    m->swim = NULL;
    m->node_of = NULL;
}

int members__begin(struct runtime *rt)
{
    struct members *m = &rt->members;
    uint8_t meta[SWIM_META_BYTES_MAX];
    struct swim_config c;
    if (m->fx == NULL)
        return 0;
    forget_members(rt);
    swim_config_default(&c);
    c.name = troupe_bytes_of(rt->config.name);
    c.meta = troupe_bytes(meta, node__write_meta(rt, meta));
    c.generation = rt->generation;
    c.seed = runtime__random(rt);
    c.members_max = rt->config.members_max;
    uid_bytes(rt->cluster_uid, c.uid);
    memcpy(m->uid, c.uid, sizeof m->uid);
    int rc = swim_open(&m->swim, &c, NULL, NULL, rt->now.mono_ns);
    if (rc != 0)
        return rc;
    rt->owners_hash_told = 0; /* the machine does not know it */
    m->node_of = malloc(swim_ids(m->swim) * sizeof *m->node_of);
    if (m->node_of == NULL)
        return TROUPE_ENOMEM;
    for (uint32_t i = 0; i < swim_ids(m->swim); i++)
        m->node_of[i] = NODE_NONE;
    m->opened_ns = rt->now.mono_ns;
    m->joined = m->alone_told = m->out = false;
    m->timeline_told = rt->timeline;
    m->told = (struct swim_stats){0};
    m->report_ns = rt->now.mono_ns + REPORT_MS * NS_PER_MS;
    m->lease_good_ns = 0;
    m->wake_ns = rt->now.mono_ns;
    m->ring_stale = true;
    return 0;
}

/* ---- frames that leave ---- */

static void push_frame(struct runtime *rt, const char *address, struct troupe_bytes bytes,
                       uint64_t expires_ns, bool redial)
{
    struct members *m = &rt->members;
    struct runtime_frame *f = NULL;
    if (address[0] != '\0' && m->frames_n < FRAMES_MAX)
        f = malloc(sizeof *f + bytes.len);
    if (f == NULL) {
        m->frames_dropped++;
        return;
    }
    f->next = NULL;
    f->expires_ns = expires_ns;
    f->redial = redial;
    f->len = (uint32_t)bytes.len;
    snprintf(f->address, sizeof f->address, "%s", address);
    if (bytes.len > 0)
        memcpy(f->bytes, bytes.data, bytes.len);
    *m->frames_tail = f;
    m->frames_tail = &f->next;
    m->frames_n++;
}

struct runtime_frame *members__take_frames(struct runtime *rt)
{
    struct members *m = &rt->members;
    struct runtime_frame *all = m->frames;
    m->frames = NULL;
    m->frames_tail = &m->frames;
    m->frames_n = 0;
    return all;
}

static struct node_info *node_of_member(const struct runtime *rt, swim_id id)
{
    const struct members *m = &rt->members;
    return id < swim_ids(m->swim) ? node__at(rt, m->node_of[id]) : NULL;
}

/* ---- what membership has found out ---- */

/* One that joins is given nothing yet, but what is free waits for it: a node that is back a moment
 * after it crashed finds its part as it left it. */
bool node__is_in_ring(const struct node_info *n)
{
    return (n->state == GOSSIP_JOINING || n->state == GOSSIP_ACTIVE) && node__may_own(n);
}

static void log_change(struct runtime *rt, const struct node_info *n, uint8_t was)
{
    static const char *const texts[GOSSIP_STATES] = {
        [GOSSIP_JOINING] = "a node joins",
        [GOSSIP_ACTIVE] = "a node is active",
        [GOSSIP_DRAINING] = "a node drains: it gives its partitions away",
        [GOSSIP_DEAD] = "a node is dead: it does not answer anybody",
        [GOSSIP_LEFT] = "a node has left",
    };
    if (n->state == was || texts[n->state] == NULL)
        return;
    log__add(rt, n->state == GOSSIP_DEAD ? RUNTIME_WARN : RUNTIME_INFO, texts[n->state], "node",
             n->name, "address", n->address, "zone", n->zone, NULL);
}

static void forgotten(struct runtime *rt, swim_id id)
{
    struct members *m = &rt->members;
    struct node_info *n = node_of_member(rt, id);
    m->node_of[id] = NODE_NONE;
    if (n == NULL || n->member != id)
        return;
    m->ring_stale |= node__is_in_ring(n);
    n->member = SWIM_NOBODY;
    n->state = 0;
    n->suspect = false;
}

/* Its number may have been another's before. */
static struct node_info *place_of(struct runtime *rt, swim_id id, const struct swim_info *info)
{
    struct members *m = &rt->members;
    struct node_info *n = node_of_member(rt, id);
    if (n != NULL && troupe_bytes_equal(troupe_bytes_of(n->name), info->name))
        return n;
    if (n != NULL)
        forgotten(rt, id);
    m->node_of[id] = nodes__take(rt, info->name);
    n = node__at(rt, m->node_of[id]);
    if (n != NULL)
        n->member = id;
    return n;
}

static void changed(struct runtime *rt, swim_id id, const struct swim_info *info)
{
    struct members *m = &rt->members;
    struct node_info *n = place_of(rt, id, info);
    if (n == NULL) /* a name that cannot be, or no room */
        return;
    uint8_t was = n->state;
    uint32_t weight = n->weight, zone = (uint32_t)strlen(n->zone);
    char old_zone[sizeof n->zone];
    memcpy(old_zone, n->zone, sizeof old_zone);
    bool counted = node__is_in_ring(n), suspect = n->suspect, restarted;
    restarted = n->generation != 0 && info->generation > n->generation;
    n->generation = info->generation;
    n->state = (uint8_t)info->state;
    n->suspect = info->suspect;
    if (info->meta.len > 0 && !info->self)
        node__read_meta(rt, n, info->meta);
    store_doubt__hear(rt, n->timeline);
    if (!info->self)
        log_change(rt, n, was);
    if (!info->self && (was != n->state || restarted) && node__is_in_ring(n))
        lease_company(&rt->lease, rt->now.mono_ns);
    if (info->suspect && !suspect) /* its silence may be that of a dead connection */
        push_frame(rt, n->gossip, troupe_bytes(NULL, 0), 0, true);
    m->ring_stale |= counted != node__is_in_ring(n) ||
                     (counted && (weight != n->weight || zone != strlen(n->zone) ||
                                  strcmp(old_zone, n->zone) != 0));
    if (restarted || (was != n->state && !node__is_live(n)))
        claims__owner_gone(rt, m->node_of[id]);
}

static void note_changes(struct runtime *rt)
{
    struct members *m = &rt->members;
    struct swim_info info;
    for (swim_id id; (id = swim_next_change(m->swim)) != SWIM_NOBODY;) {
        if (swim_info(m->swim, id, &info))
            changed(rt, id, &info);
        else
            forgotten(rt, id);
    }
}

/* After each step of the machine: what it has learnt, then what it wants sent. */
static void perform(struct runtime *rt, const char *contact)
{
    struct members *m = &rt->members;
    note_changes(rt);
    for (size_t i = 0; i < m->fx->sends_n; i++) {
        const struct swim_send *send = &m->fx->sends[i];
        const struct node_info *to = send->is_contact ? NULL : node_of_member(rt, send->to);
        const char *address = send->is_contact ? contact : to == NULL ? "" : to->gossip;
        push_frame(rt, address, troupe_bytes(m->fx->bytes + send->at, send->len), send->expires_ns,
                   false);
    }
    m->wake_ns = swim_deadline(m->swim);
}

void members__perform(struct runtime *rt)
{
    perform(rt, "");
}

/* ---- joining ---- */

static void contact(struct runtime *rt, const char *address)
{
    struct members *m = &rt->members;
    swim_contact(m->swim, rt->now.mono_ns, 0, m->fx);
    perform(rt, address);
}

void members__contact(struct runtime *rt, const char *address)
{
    struct members *m = &rt->members;
    if (!members__is_on(m) || rt->phase >= RUNTIME_STOPPING ||
        strcmp(address, rt->config.gossip_address) == 0)
        return;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        if (node__is_live(m->nodes.all[i]) && strcmp(m->nodes.all[i]->gossip, address) == 0)
            return;
    }
    contact(rt, address);
}

/* Nodes that the store lists and that are no members: again and again, which also heals a
 * partition. */
static void contact_listed(struct runtime *rt)
{
    struct members *m = &rt->members;
    uint64_t now = rt->now.mono_ns;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        struct node_info *n = m->nodes.all[i];
        bool known = node__is_live(n) && n->generation >= n->row_generation;
        if (i == m->self || !n->row_active || known || n->gossip[0] == '\0' ||
            (n->contact_ns != 0 && now - n->contact_ns < CONTACT_AGAIN_MS * NS_PER_MS))
            continue;
        n->contact_ns = now;
        contact(rt, n->gossip);
    }
}

void members__rows(struct runtime *rt, const struct store_node *others, size_t others_n)
{
    struct members *m = &rt->members;
    m->alone_told = true;
    m->others = (uint32_t)others_n;
    failover__rows(rt, others, others_n);
    if (members__is_on(m) && rt->phase < RUNTIME_STOPPING)
        contact_listed(rt);
}

static bool has_found_all(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    for (uint32_t i = 0; i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i != m->self && n->row_active && !n->row_expired && n->row_fate != STORE_FATE_BURIED &&
            n->gossip[0] != '\0' && !node__is_live(n))
            return false;
    }
    return true;
}

static void try_join(struct runtime *rt)
{
    struct members *m = &rt->members;
    bool late = rt->now.mono_ns - m->opened_ns >= JOIN_WAIT_MS * NS_PER_MS;
    if (m->joined || !m->alone_told || !(late || has_found_all(rt)))
        return;
    m->joined = true;
    m->out = kinds__lacks(rt);
    swim_set_state(m->swim, rt->now.mono_ns, m->out ? GOSSIP_DRAINING : GOSSIP_ACTIVE, m->fx);
    perform(rt, "");
}

/* Without a lease we cannot have partitions, whatever the others hear from us: out of the ring,
 * that others may be proposed for ours; and in again when the lease is back. */
static void tell_standing(struct runtime *rt)
{
    struct members *m = &rt->members;
    bool good = lease_is_valid(&rt->lease, rt->now.mono_ns, rt->now.wall_ms);
    if (good || m->lease_good_ns == 0)
        m->lease_good_ns = rt->now.mono_ns;
    bool out = rt->draining || rt->drain_asked || kinds__lacks(rt) ||
               rt->now.mono_ns - m->lease_good_ns > NO_LEASE_MS * NS_PER_MS;
    if (!m->joined || m->left_ns != 0 || out == m->out)
        return;
    m->out = out;
    swim_set_state(m->swim, rt->now.mono_ns, out ? GOSSIP_DRAINING : GOSSIP_ACTIVE, m->fx);
    perform(rt, "");
}

/* ---- going ---- */

void members__drain(struct runtime *rt)
{
    struct members *m = &rt->members;
    if (!members__is_on(m))
        return;
    m->joined = true;
    tell_standing(rt);
}

void members__leave(struct runtime *rt)
{
    struct members *m = &rt->members;
    if (!members__is_on(m) || m->left_ns != 0)
        return;
    m->left_ns = rt->now.mono_ns;
    swim_set_state(m->swim, rt->now.mono_ns, GOSSIP_LEFT, m->fx);
    perform(rt, "");
}

bool members__is_quiet(struct runtime *rt)
{
    const struct members *m = &rt->members;
    return !members__is_on(m) || swim_live(m->swim) <= 1 || swim_is_quiet(m->swim) ||
           rt->now.mono_ns - m->left_ns >= LEAVE_MS * NS_PER_MS;
}

/* ---- what should not come in ---- */

static void report_one(struct runtime *rt, uint64_t now, uint64_t *told, const char *text)
{
    char number[24];
    if (now <= *told)
        return;
    snprintf(number, sizeof number, "%llu", (unsigned long long)(now - *told));
    *told = now;
    log__add(rt, RUNTIME_WARN, text, "frames", number, NULL);
}

/* Once a minute, what there was of it. */
static void report(struct runtime *rt)
{
    struct members *m = &rt->members;
    struct swim_stats s;
    if (rt->now.mono_ns < m->report_ns)
        return;
    m->report_ns = rt->now.mono_ns + REPORT_MS * NS_PER_MS;
    swim_stats(m->swim, &s);
    report_one(rt, s.foreign, &m->told.foreign,
               "gossip of another cluster comes in: do two clusters use one address, or --join?");
    report_one(rt, s.malformed + rt->owners_malformed_n, &m->told.malformed,
               "gossip that cannot be read comes in: is a node of another version, or no node?");
    report_one(rt, s.conflicts, &m->told.conflicts,
               "another node bears this node's name: give one of them another --name");
    report_one(rt, s.refused, &m->told.refused,
               "more members than can be known: names of nodes must be stable");
}

/* ---- driving ---- */

void members__frame(struct runtime *rt, struct troupe_bytes bytes)
{
    struct members *m = &rt->members;
    if (!members__is_on(m))
        return;
    swim_receive(m->swim, rt->now.mono_ns, bytes, m->fx);
    perform(rt, "");
    owners__frame(rt, bytes);
}

void members__evidence(struct runtime *rt, const char *address)
{
    struct members *m = &rt->members;
    for (uint32_t i = 0; members__is_on(m) && i < m->nodes.n; i++) {
        const struct node_info *n = m->nodes.all[i];
        if (i == m->self || !node__is_live(n) || n->member == SWIM_NOBODY ||
            strcmp(n->gossip, address) != 0)
            continue;
        swim_evidence(m->swim, rt->now.mono_ns, n->member, m->fx);
        perform(rt, "");
    }
}

void members__tick(struct runtime *rt)
{
    struct members *m = &rt->members;
    if (!members__is_on(m))
        return;
    if (rt->now.mono_ns >= m->wake_ns) {
        swim_set_load(m->swim,
                      (uint32_t)(rt->entities_n < UINT32_MAX ? rt->entities_n : UINT32_MAX));
        swim_tick(m->swim, rt->now.mono_ns, m->fx);
        perform(rt, "");
        if (rt->phase < RUNTIME_STOPPING)
            contact_listed(rt);
    }
    if (rt->phase == RUNTIME_STARTING)
        try_join(rt);
    tell_standing(rt);
    store_doubt__tell(rt);
    report(rt);
    owners__tick(rt);
    if ((m->ring_stale || m->ring_building) && ring__work(rt))
        claims__ring_changed(rt);
}

uint64_t members__next_ns(const struct runtime *rt)
{
    const struct members *m = &rt->members;
    if (!members__is_on(m))
        return UINT64_MAX;
    if (m->ring_stale || m->ring_building)
        return rt->now.mono_ns;
    uint64_t next = m->wake_ns;
    uint64_t owners = owners__next_ns(rt);
    next = owners < next ? owners : next;
    uint64_t late = m->opened_ns + JOIN_WAIT_MS * NS_PER_MS;
    return !m->joined && late < next && late > rt->now.mono_ns ? late : next;
}
