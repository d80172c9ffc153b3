/* Members take turns and ask for partitions, see ring.h and ring_turn.h. In a turn each member asks
 * for one partition, one of weight w for w of them: a turn has sub-turns, and in the k-th those of
 * weight > k ask. As a member asks once in a sub-turn, the order in which members ask within one
 * makes no difference, and a build may stop and go on anywhere.
 *
 * First everybody asks for partitions to own: a free one goes to who asks, and of several that ask
 * in the same sub-turn to the one with the greatest tie hash; who is at its cap stops asking. Then
 * all over again for backups: whoever is the first to ask, is not the owner and is in another zone.
 * Who cannot get anything any more drops out, and so most partitions cost a few claims only: some
 * ten per partition all told, however many members there are. */
#include "base/invariant.h"
#include "cluster/ring.h"
#include "cluster/ring_turn.h"

/* Everybody asks again from the first turn on, the heaviest first. */
static void first_turn(struct ring *ring, const struct ring_table *t)
{
    struct ring_build *b = &ring->build;
    uint32_t starts[RING_WEIGHT_MAX + 1] = {0};
    for (uint32_t i = 0; i < t->members_n; i++)
        starts[t->nodes[i].weight - 1]++; /* [w]: how many are of weight w + 1 … */
    for (uint32_t w = RING_WEIGHT_MAX; w-- > 0;)
        starts[w] += starts[w + 1]; /* … then: how many of more than w */
    for (uint32_t i = 0; i < t->members_n; i++)
        b->askers[starts[t->nodes[i].weight]++] = (uint16_t)i;
    b->askers_n = b->prefix_n = t->members_n;
    b->turn = b->sub = b->at = 0;
    b->askers_stale = false;
    b->left = ring->partitions;
    b->sub_turn++;
}

static void clear(struct ring *ring, struct ring_table *t)
{
    for (uint32_t pid = 0; pid < ring->partitions; pid++)
        t->owners[pid] = t->backups[pid] = RING_NONE;
    for (uint32_t i = 0; i < t->members_n; i++)
        t->shares[i] = 0;
    ring->build.sub_turn = 0;
    first_turn(ring, t);
}

static void start_backups(struct ring *ring, struct ring_table *t)
{
    struct ring_build *b = &ring->build;
    for (uint32_t z = 0; z < b->zones_n; z++)
        b->zone_left[z] = 0;
    for (uint32_t i = 0; i < t->members_n; i++) {
        INVARIANT(t->shares[i] <= b->caps[i]);
        b->zone_left[t->nodes[i].zone_index] += t->shares[i];
    }
    first_turn(ring, t);
}

/* ---- claims ---- */

static uint32_t asked_for(const struct ring *ring, const struct ring_node *node)
{
    return ring_turn_pid(ring_turn_key(node->hash, ring->build.sub), ring->build.turn, ring->bits);
}

/* Whether m, which asks for pid in this sub-turn, goes before the one that has it. */
static bool goes_before(const struct ring *ring, const struct ring_table *t, uint32_t m,
                        uint32_t has, uint32_t pid)
{
    return ring->build.taken[pid] == ring->build.sub_turn &&
           ring_turn_tie(t->nodes[m].hash, pid) > ring_turn_tie(t->nodes[has].hash, pid);
}

/* False: it is at its cap. */
static bool may_own(const struct ring *ring, const struct ring_table *t, uint32_t m)
{
    return t->shares[m] < ring->build.caps[m];
}

static void claim_owner(struct ring *ring, struct ring_table *t, uint32_t m)
{
    struct ring_build *b = &ring->build;
    uint32_t pid = asked_for(ring, &t->nodes[m]);
    uint32_t has = t->owners[pid];
    if (has == RING_NONE)
        b->left--;
    else if (goes_before(ring, t, m, has, pid))
        t->shares[has]--;
    else
        return;
    t->owners[pid] = (uint16_t)m;
    t->shares[m]++;
    b->taken[pid] = b->sub_turn;
}

/* False: all that is left is owned in its own zone. */
static bool may_back_up(const struct ring *ring, const struct ring_table *t, uint32_t m)
{
    const struct ring_build *b = &ring->build;
    return b->zones_n == 1 || b->left > b->zone_left[t->nodes[m].zone_index];
}

static void claim_backup(struct ring *ring, struct ring_table *t, uint32_t m)
{
    struct ring_build *b = &ring->build;
    uint32_t pid = asked_for(ring, &t->nodes[m]);
    uint32_t owner = t->owners[pid], has = t->backups[pid];
    uint16_t zone = t->nodes[owner].zone_index;
    if (m == owner || (b->zones_n > 1 && t->nodes[m].zone_index == zone))
        return;
    if (has == RING_NONE) {
        b->left--;
        b->zone_left[zone]--;
    } else if (!goes_before(ring, t, m, has, pid)) {
        return;
    }
    t->backups[pid] = (uint16_t)m;
    b->taken[pid] = b->sub_turn;
}

/* ---- turns ---- */

/* Asks for one member. One that can get nothing any more drops out at the end of the sub-turn;
 * until then it may still go before others in it. */
static void ask(struct ring *ring, struct ring_table *t, uint32_t m)
{
    struct ring_build *b = &ring->build;
    if (b->phase == RING_BACKUPS) {
        b->askers_stale |= !may_back_up(ring, t, m);
        claim_backup(ring, t, m);
    } else if (may_own(ring, t, m)) {
        claim_owner(ring, t, m);
    } else {
        b->askers_stale = true;
    }
}

static void drop_out(struct ring *ring, const struct ring_table *t)
{
    struct ring_build *b = &ring->build;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->askers_n; i++) {
        uint16_t m = b->askers[i];
        if (b->phase == RING_OWNERS ? may_own(ring, t, m) : may_back_up(ring, t, m))
            b->askers[n++] = m;
    }
    b->askers_n = b->prefix_n = n;
    b->askers_stale = false;
}

/* There is always somebody to ask as long as something is left, and one that goes on asking until
 * the last turn has asked for everything. */
static void next_sub_turn(struct ring *ring, const struct ring_table *t)
{
    struct ring_build *b = &ring->build;
    if (b->askers_stale)
        drop_out(ring, t);
    INVARIANT(b->askers_n > 0);
    b->at = 0;
    b->sub++;
    b->sub_turn++;
    while (b->prefix_n > 0 && t->nodes[b->askers[b->prefix_n - 1]].weight <= b->sub)
        b->prefix_n--;
    if (b->prefix_n > 0)
        return;
    b->sub = 0;
    b->prefix_n = b->askers_n;
    b->turn++;
    INVARIANT(b->turn < ring->partitions);
}

static void next_phase(struct ring *ring, struct ring_table *t)
{
    struct ring_build *b = &ring->build;
    if (b->phase == RING_CLEAR) {
        clear(ring, t);
        b->phase = t->members_n > 0 ? RING_OWNERS : RING_IDLE;
    } else if (b->phase == RING_OWNERS && t->members_n > 1) {
        start_backups(ring, t);
        b->phase = RING_BACKUPS;
    } else {
        b->phase = RING_IDLE;
    }
    if (b->phase == RING_IDLE)
        ring->now = (uint8_t)(1 - ring->now);
}

/* A phase ends with a sub-turn, not within: others may go before those that asked already. */
bool ring_build_step(struct ring *ring, uint32_t budget)
{
    struct ring_build *b = &ring->build;
    struct ring_table *t = &ring->tables[1 - ring->now];
    if (b->phase == RING_CLEAR)
        next_phase(ring, t);
    while (b->phase != RING_IDLE && budget > 0) {
        for (; b->at < b->prefix_n && budget > 0; budget--)
            ask(ring, t, b->askers[b->at++]);
        if (b->at < b->prefix_n)
            break;
        if (b->left == 0)
            next_phase(ring, t);
        else
            next_sub_turn(ring, t);
    }
    return b->phase == RING_IDLE;
}
