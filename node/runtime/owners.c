/* The map of owners among the nodes: what this node claims, gives away or reads from the store is
 * told to others as news, with gossip, for as long as news are told; and whoever is seen to have
 * another map (its hash is in every frame) compares with us, chunk by chunk, and both learn what
 * they lack. The map says where calls are likely to be answered; the store says whose they are. */
#include "node/runtime/internal.h"

enum {
    NEWS_MS = 100,     /* between two tellings of news */
    COMPARE_MS = 1000, /* between two comparisons that we begin */
    PAYLOAD_BYTES = OWNER_MAP_PAYLOAD_BYTES_MAX,
    DOUBT_MS = 5000,  /* between two looks at the store because of what others tell */
    NEWS_MULT = 4,    /* each piece is told so many times by log10 of the members */
    PAYLOADS_MAX = 4, /* of news at once */
    ANSWERS_MAX = 32, /* to one frame: a whole map of 65,536 partitions */
};

int owners__init(struct runtime *rt)
{
    return owner_map_init(&rt->owner_map, rt->config.partitions, 2 * rt->config.members_max);
}

void owners__close(struct runtime *rt)
{
    owner_map_close(&rt->owner_map);
}

uint64_t owners__hash(const struct runtime *rt)
{
    return owner_map_hash(&rt->owner_map);
}

static uint32_t ticks(uint64_t ns)
{
    return (uint32_t)(ns / (OWNER_MAP_TICK_MS * NS_PER_MS));
}

bool owners__is_settled(const struct runtime *rt, uint32_t pid, uint64_t asked_ns)
{
    return owner_map_heard(&rt->owner_map, pid) < ticks(asked_ns);
}

void owners__correct(struct runtime *rt, uint32_t pid, const char *name, uint64_t epoch,
                     uint64_t asked_ns)
{
    owner_map_set_time(&rt->owner_map, ticks(rt->now.mono_ns));
    if (members__is_on(&rt->members))
        owner_map_correct(&rt->owner_map, pid, troupe_bytes_of(name), epoch, ticks(asked_ns));
}

void owners__doubt(struct runtime *rt)
{
    rt->owner_map.doubts++;
}

void owners__told(struct runtime *rt, uint32_t pid)
{
    owner_map_set_time(&rt->owner_map, ticks(rt->now.mono_ns));
    owner_map_hear(&rt->owner_map, pid);
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    bool ours = ownership_is_held(&rt->ownership, pid);
    const struct node_info *n = node__at(rt, ours ? rt->members.self : e->node);
    if (members__is_on(&rt->members) && n != NULL && e->epoch > 0)
        owner_map_set(&rt->owner_map, pid, troupe_bytes_of(n->name), e->epoch);
}

/* ---- in ---- */

/* That it is ours: a claim or a transfer has taken effect long after it was given up. The store
 * tells whether that is true. */
static bool is_news_to_us(const struct runtime *rt, uint32_t pid, const struct owner *owner,
                          uint32_t node)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    return node == rt->members.self && !ownership_is_held(&rt->ownership, pid) && !e->coming &&
           owner->epoch > e->epoch;
}

/* It is being handed to us, and said to be another's already. What has come of it is not thrown
 * away because of what somebody tells: the store is asked. */
static bool is_unsure(struct runtime *rt, uint32_t pid, const struct owner *owner)
{
    const struct ownership_entry *e = &rt->ownership.entries[pid];
    bool unsure = e->coming && owner->epoch > e->epoch;
    if (unsure)
        owners__doubt(rt);
    return unsure;
}

static void learn(struct runtime *rt)
{
    for (uint32_t pid; (pid = owner_map_next_change(&rt->owner_map)) != OWNER_MAP_NONE;) {
        struct owner owner = owner_map_get(&rt->owner_map, pid);
        /* We should know whose it is: somebody has taken it, or somebody is wrong. */
        if (ownership_is_held(&rt->ownership, pid))
            owners__doubt(rt);
        uint32_t node = nodes__take(rt, owner.name);
        store_doubt__hear_epoch(rt, owner.epoch);
        /* The store may have failed over since, and lost it: then only the store knows. */
        bool old = owner.epoch >> OWNERSHIP_EPOCH_BITS < rt->timeline;
        rt->want_map |= !old && is_news_to_us(rt, pid, &owner, node);
        if (old || node == NODE_NONE || node == rt->members.self || is_unsure(rt, pid, &owner) ||
            !claims__learn(rt, pid, owner.epoch, node, true))
            continue;
        rt->unpark_ns = rt->now.mono_ns;
    }
}

static void send(struct runtime *rt, swim_id to, const uint8_t *payload, size_t len, bool reply)
{
    swim_send_owners(rt->members.swim, rt->now.mono_ns, to, troupe_bytes(payload, len), reply,
                     rt->members.fx);
    members__perform(rt);
}

void owners__frame(struct runtime *rt, struct troupe_bytes bytes)
{
    struct members *m = &rt->members;
    struct gossip_frame frame;
    struct owner_map_diff diff;
    uint32_t at = 0;
    uint8_t payload[PAYLOAD_BYTES];
    const char *why;
    if (!members__is_on(m) || gossip_decode(bytes, &frame, m->records, &why) != 0 ||
        frame.type != GOSSIP_OWNERS || memcmp(frame.uid, m->uid, sizeof m->uid) != 0)
        return;
    swim_id from = swim_find(m->swim, frame.from);
    if (from == SWIM_NOBODY || from == swim_self(m->swim))
        return;
    owner_map_set_time(&rt->owner_map, ticks(rt->now.mono_ns));
    int rc = owner_map_apply(&rt->owner_map, frame.owners, &diff, &why);
    rt->owners_malformed_n += rc != 0;
    learn(rt);
    for (size_t i = 0, len;
         diff.any && i < ANSWERS_MAX &&
         (len = owner_map_put_answer(&rt->owner_map, &diff, &at, payload, sizeof payload)) > 0;
         i++)
        send(rt, from, payload, len, diff.ask);
}

/* ---- out ---- */

static void tell_news(struct runtime *rt)
{
    uint8_t payload[PAYLOAD_BYTES];
    size_t len;
    rt->owners_news_ns = rt->now.mono_ns + NEWS_MS * NS_PER_MS;
    owner_map_set_audience(&rt->owner_map, swim_live(rt->members.swim), NEWS_MULT);
    for (size_t i = 0; i < PAYLOADS_MAX &&
                       (len = owner_map_put_news(&rt->owner_map, payload, sizeof payload)) > 0;
         i++)
        send(rt, SWIM_NOBODY, payload, len, false);
}

static void compare(struct runtime *rt, swim_id with)
{
    uint8_t payload[PAYLOAD_BYTES];
    rt->owners_compare_ns = rt->now.mono_ns + COMPARE_MS * NS_PER_MS;
    size_t len = owner_map_put_digest(&rt->owner_map, payload, sizeof payload);
    if (len > 0)
        send(rt, with, payload, len, true);
}

static bool is_in_doubt(const struct runtime *rt)
{
    return owner_map_doubts(&rt->owner_map) != rt->owners_doubts_n;
}

/* What others tell contradicts what we know: the store settles it, and by and by for all. */
static void look_into_doubts(struct runtime *rt)
{
    if (!is_in_doubt(rt) || rt->now.mono_ns < rt->owners_doubt_ns)
        return;
    rt->owners_doubts_n = owner_map_doubts(&rt->owner_map);
    rt->owners_doubt_ns = rt->now.mono_ns + DOUBT_MS * NS_PER_MS;
    rt->want_map = true;
}

void owners__tick(struct runtime *rt)
{
    look_into_doubts(rt);
    struct swim *s = rt->members.swim;
    uint64_t now = rt->now.mono_ns, hash = owner_map_hash(&rt->owner_map);
    if (hash != rt->owners_hash_told) {
        rt->owners_hash_told = hash;
        swim_set_owners_hash(s, hash);
    }
    if (owner_map_has_news(&rt->owner_map)) {
        if (now >= rt->owners_news_ns)
            tell_news(rt);
        return;
    }
    if (now < rt->owners_compare_ns)
        return;
    swim_id with = swim_take_owners_differ(s);
    if (with != SWIM_NOBODY)
        compare(rt, with);
}

uint64_t owners__next_ns(const struct runtime *rt)
{
    uint64_t news_ns = owner_map_has_news(&rt->owner_map) ? rt->owners_news_ns : UINT64_MAX;
    uint64_t doubt_ns = is_in_doubt(rt) ? rt->owners_doubt_ns : UINT64_MAX;
    return news_ns < doubt_ns ? news_ns : doubt_ns;
}
