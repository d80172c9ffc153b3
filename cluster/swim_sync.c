/* Anti-entropy. Rumours reach nearly all; what they miss is found by comparing (Demers et al.,
 * "Epidemic algorithms for replicated database maintenance", PODC 1987). Every frame carries a hash
 * of all the sender knows. When two differ though nobody has news to tell, one sends its digest, a
 * hash per bucket of members; the other answers with its records of the buckets that differ, and
 * its own digest, upon which the first does the same.
 *
 * A DEAD that comes this way is taken for a suspicion only: after a partition each side holds the
 * other's members for dead, and one exchange would kill them all over again. */
#include <endian.h>

#include "cluster/swim_impl.h"

enum { DIGEST_BYTES = GOSSIP_BUCKETS * 4 };

/* In place of the hashes that do not differ there is nothing to be sent. */
struct difference {
    bool differs[GOSSIP_BUCKETS];
};

static void digest(const struct swim *s, uint8_t out[DIGEST_BYTES])
{
    for (uint32_t i = 0; i < GOSSIP_BUCKETS; i++) {
        uint32_t le = htole32(s->buckets[i]);
        memcpy(out + (size_t)i * 4, &le, 4);
    }
}

static void compare(const struct swim *s, struct troupe_bytes theirs, struct difference *d)
{
    uint8_t ours[DIGEST_BYTES];
    digest(s, ours);
    for (uint32_t i = 0; i < GOSSIP_BUCKETS; i++)
        d->differs[i] = theirs.len != DIGEST_BYTES ||
                        memcmp(ours + (size_t)i * 4, theirs.data + (size_t)i * 4, 4) != 0;
}

void swim__sync(struct swim *s, bool is_contact, uint32_t to, struct swim_effects *fx)
{
    uint8_t ours[DIGEST_BYTES];
    struct gossip_frame header;
    swim__header(s, GOSSIP_DIGEST, &header);
    header.reply = true;
    if (s->order_n > 0) {
        digest(s, ours);
        header.digest = troupe_bytes(ours, sizeof ours);
    }
    struct swim_writer w = swim__begin(&header, GOSSIP_FRAME_BYTES_MAX, fx);
    swim__put_member(s, &w, s->self);
    if (!is_contact && s->config.buddy &&
        (s->members[to].suspicion != 0 || !swim__is_live(&s->members[to])))
        swim__put_member(s, &w, to);
    swim__end(s, &w, is_contact, to, s->now_ns + 2 * s->config.probe_interval_ns);
    s->last_sync_ns = s->now_ns;
    s->stats.syncs++;
}

/* ---- the answer ---- */

struct answer {
    struct swim *s;
    struct swim_effects *fx;
    swim_id to;
    struct swim_writer w;
    uint32_t frames;
};

static void begin_frame(struct answer *a, const struct gossip_frame *header)
{
    a->w = swim__begin(header, GOSSIP_FRAME_BYTES_MAX, a->fx);
    a->frames++;
}

static void end_frame(struct answer *a)
{
    swim__end(a->s, &a->w, false, a->to, a->s->now_ns + 2 * a->s->config.probe_interval_ns);
}

/* False: the answer is full; the next comparison goes on where this one ends. */
static bool put(struct answer *a, swim_id id)
{
    if (swim__put_member(a->s, &a->w, id))
        return true;
    end_frame(a);
    if (a->w.failed || a->frames == SWIM_SYNC_FRAMES_MAX)
        return false;
    struct gossip_frame header;
    swim__header(a->s, GOSSIP_RECORDS, &header);
    begin_frame(a, &header);
    return swim__put_member(a->s, &a->w, id);
}

static bool put_list(struct answer *a, const struct difference *d, const uint32_t *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (d->differs[swim__bucket(a->s, list[i])] && !put(a, list[i]))
            return false;
    }
    return true;
}

void swim__answer_digest(struct swim *s, swim_id to, struct troupe_bytes theirs, bool reply,
                         struct swim_effects *fx)
{
    struct difference d;
    uint8_t ours[DIGEST_BYTES];
    struct gossip_frame header;
    struct answer a = {.s = s, .fx = fx, .to = to};
    compare(s, theirs, &d);
    swim__header(s, GOSSIP_RECORDS, &header);
    if (reply) {
        digest(s, ours);
        header.digest = troupe_bytes(ours, sizeof ours);
        header.reply = true;
    }
    begin_frame(&a, &header);
    swim__address(s, &a.w, to); /* what we think of it, first of all */
    bool whole = put(&a, s->self) && put_list(&a, &d, s->order, s->order_n) &&
                 put_list(&a, &d, s->dead, s->dead_n);
    if (whole)
        end_frame(&a);
}

/* ---- when ---- */

void swim__compare(struct swim *s, swim_id from, const struct gossip_frame *frame,
                   struct swim_effects *fx)
{
    if (s->config.sync_always || frame->members_hash == s->hash || s->now_ns < s->sync_at_ns)
        return;
    /* What is being told will settle it; unless it is told for ever. */
    bool news = frame->hot || s->rumours_n > 0;
    bool joining = s->members[s->self].state == GOSSIP_JOINING;
    if (news && !joining && s->now_ns - s->last_sync_ns < 5 * s->config.sync_interval_ns)
        return;
    s->sync_at_ns = s->now_ns + s->config.sync_interval_ns / (joining ? 10 : 1);
    swim__sync(s, false, from, fx);
}

/* memberlist: push/pull with a member at random, in a big cluster less often. */
void swim__sync_turn(struct swim *s, struct swim_effects *fx)
{
    uint64_t interval = s->config.sync_interval_ns;
    for (uint32_t n = 32; n < s->order_n + 1; n *= 2)
        interval += s->config.sync_interval_ns;
    s->sync_at_ns = s->now_ns + interval;
    swim_id to;
    if (swim__pick(s, SWIM_NOBODY, 1, &to) == 1)
        swim__sync(s, false, to, fx);
}

/* One of the dead: it may live on the far side of a partition that is over. Those that have been
 * dead for long are tried less often. */
void swim__heal(struct swim *s, struct swim_effects *fx)
{
    s->heal_at_ns =
        s->now_ns + s->config.heal_ns * 3 / 4 + swim__random(s) % (s->config.heal_ns / 2 + 1);
    for (int tries = 0; tries < 8 && s->dead_n > 0; tries++) {
        swim_id id = s->dead[swim__below(s, s->dead_n)];
        const struct swim_member *m = &s->members[id];
        bool long_dead = s->now_ns - m->changed_ns > 100 * s->config.heal_ns;
        if (m->state != GOSSIP_DEAD || m->meta == INTERN_NONE ||
            (long_dead && swim__below(s, 16) != 0))
            continue;
        swim__sync(s, false, id, fx);
        s->stats.heals++;
        return;
    }
}
