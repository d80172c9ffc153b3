/* What a failover of the store may lose, and what not (docs/ownership.md, "When the store fails
 * over"). The standby is an older copy: commits, claims, moves, evictions and registrations since
 * then are gone, and the judge's books go back with them.
 *
 * Of each entity that clients use, the judge knows which run has the last commit in memory. A row
 * that goes back has a guard if that run lives, owned the partition until then, and owns it still,
 * or can claim it again, since the copy has it as nobody's or as an earlier run's of that node. The
 * guard has to write the row again before it tells anybody of it, and nobody may load what is there
 * meanwhile. It is relieved if it dies or loses its lease; if somebody else claims the partition
 * first; or if the store fences a save of it before it can know. Without a guard a row may be
 * loaded as it is: so much is lost then (history.h).
 *
 * Who owned a partition until the failover does not know that it does no longer, until it has heard
 * of the failover: it may go on answering for so long, for a lease at most from when the store is
 * back. If the
 * copy has the partition as another's, who may be active, these answers count for nothing. Nor do
 * those that it gave before, if the other has not heard that it was deposed: that one goes on from
 * what it has in memory. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/name.h"
#include "gigbook.pb-c.h"
#include "tests/sim/cluster/deposed.h"
#include "tests/sim/cluster/disk.h"
#include "tests/sim/cluster/peek.h"

enum { WATCHES_MAX = KEYS_N + VENUES_N, LEASE_MS = 5000 };

/* A row on both sides of the failover. */
struct side {
    struct store_key key;
    struct watch *watch;
    char id[16];
    bool found;
    struct store_row row;
};

struct standby {
    uint64_t kept_ns;
    uint64_t runs_made; /* those that started later are not known to it */
    uint64_t generations[NODES_MAX];
    struct owner owners[PARTITIONS];
    bool had_lease[PARTITIONS]; /* their owners, until the failover */
    struct arena arena;         /* of the rows before */
    struct side sides[WATCHES_MAX];
    size_t sides_n;
};

void failover_open(struct world *w)
{
    w->standby = calloc(1, sizeof *w->standby);
    INVARIANT(w->standby != NULL);
    arena_init(&w->standby->arena, 4 << 10, 0);
    for (uint32_t i = 0; i < VENUES_N; i++) {
        char id[2] = {(char)('0' + i), '\0'};
        w->venues[i].pid = name_partition(name_hash(troupe_bytes_of("venue"), troupe_bytes_of(id)),
                                          PARTITION_BITS);
    }
}

static struct watch *watch_at(struct world *w, uint32_t i)
{
    return i < KEYS_N ? &w->keys[i]->watch : &w->venues[i - KEYS_N];
}

void failover_forget(struct watch *watch)
{
    free(watch->lost);
    watch->lost = NULL;
    watch->behind = false;
    watch->guard = 0;
}

void failover_close(struct world *w)
{
    for (size_t i = 0; i < VENUES_N; i++)
        failover_forget(&w->venues[i]);
    arena_close(&w->standby->arena);
    free(w->standby);
}

/* ---- runs ---- */

static struct run *find_run(const struct world *w, uint64_t number)
{
    struct run *run = w->runs;
    while (run != NULL && run->number != number)
        run = run->next;
    return run;
}

/* By the store's word: it may own something. */
static bool is_active(const struct world *w, uint64_t number)
{
    const struct run *run = find_run(w, number);
    return run != NULL && run->generation != 0 && !run->ended;
}

/* The run that has lost a partition can claim it again, and keep what it has in memory: the copy
 * has it as nobody's, or as that of an earlier run of the node, which is gone. */
static bool can_repeat(const struct world *w, const struct run *run, uint64_t kept_number)
{
    const struct run *kept = find_run(w, kept_number);
    return kept == NULL ||
           (!is_active(w, kept_number) && strcmp(kept->node->name, run->node->name) == 0);
}

static bool guards(const struct world *w, const struct watch *watch)
{
    const struct run *run = watch->guard == 0 ? NULL : find_run(w, watch->guard);
    return run != NULL && !run->dead && !run->ended && !run->stopping;
}

void failover_acted(struct world *w, const struct run *run, uint64_t generation)
{
    if (generation != run->generation)
        world_fail(
            w, "%s (run %" PRIu64 ") acts as generation %" PRIu64 ", which is not it but %" PRIu64,
            run->node->client, run->number, generation, run->generation);
}

/* ---- rows ---- */

struct watch *failover_watch(struct world *w, const struct store_key *key)
{
    if (troupe_bytes_equal(key->kind, troupe_bytes_of("ledger"))) {
        for (uint32_t i = 0; i < KEYS_N; i++) {
            if (troupe_bytes_equal(key->id, troupe_bytes_of(w->keys[i]->id)))
                return &w->keys[i]->watch;
        }
    } else if (troupe_bytes_equal(key->kind, troupe_bytes_of("venue")) && key->id.len == 1 &&
               key->id.data[0] < '0' + VENUES_N) {
        return &w->venues[key->id.data[0] - '0'];
    }
    return NULL;
}

static struct key *key_of(struct world *w, const struct watch *watch)
{
    for (uint32_t i = 0; i < KEYS_N; i++) {
        if (&w->keys[i]->watch == watch)
            return w->keys[i];
    }
    return NULL;
}

static void put_side(struct standby *s, const char *kind, const char *id, struct watch *watch)
{
    struct side *side = &s->sides[s->sides_n++];
    snprintf(side->id, sizeof side->id, "%s", id);
    side->key.kind = troupe_bytes_of(kind);
    side->key.id = troupe_bytes_of(side->id);
    side->key.pid = watch->pid;
    side->watch = watch;
}

/* ---- losses ---- */

/* Bookings that the venue does not have any more. */
static void lose_bookings(struct world *w, uint32_t venue, bool found, struct troupe_bytes state)
{
    Gigbook__VenueState *v =
        found ? gigbook__venue_state__unpack(NULL, state.len, state.data) : NULL;
    w->created[venue] &= found;
    w->venues[venue].lost_ns = w->now_ns;
    for (uint32_t slot = 0; slot < SLOTS_N; slot++) {
        struct booking *b = &w->bookings[venue][slot];
        char reference[16];
        bool kept = b->reference == 0;
        snprintf(reference, sizeof reference, "r%u", b->reference);
        for (size_t i = 0; v != NULL && i < v->n_slots && !kept; i++)
            kept = v->slots[i]->booking != NULL &&
                   strcmp(v->slots[i]->booking->reference, reference) == 0;
        if (!kept)
            *b = (struct booking){0};
    }
    if (v != NULL)
        gigbook__venue_state__free_unpacked(v, NULL);
}

static void lose_commits(struct world *w, struct watch *watch, bool found,
                         const struct store_row *row)
{
    struct key *key = key_of(w, watch);
    w->stats.commits_lost++;
    if (key == NULL) {
        lose_bookings(w, (uint32_t)(watch - w->venues), found, row->state);
        return;
    }
    struct history *h = &key->history;
    if (h->losses_n == HISTORY_LOSSES_MAX)
        return; /* judge_key sees that there were too many */
    h->losses[h->losses_n++] =
        (struct history_loss){.at_ns = w->now_ns,
                              .of_commits = true,
                              .kept = found ? (uint32_t)(row->state.len / sizeof(uint64_t)) : 0};
}

/* ---- going back ---- */

void failover_keep(struct world *w)
{
    struct standby *s = w->standby;
    s->kept_ns = w->now_ns;
    s->runs_made = w->runs_made;
    memcpy(s->generations, w->generations, sizeof s->generations);
    memcpy(s->owners, w->owners, sizeof s->owners);
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        run->kept.generation = run->generation;
        run->kept.ended = run->ended;
    }
}

void failover_begins(struct world *w)
{
    struct standby *s = w->standby;
    char id[16];
    arena_reset(&s->arena);
    s->sides_n = 0;
    for (uint32_t i = 0; i < KEYS_N; i++)
        put_side(s, "ledger", w->keys[i]->id, &w->keys[i]->watch);
    for (uint32_t i = 0; i < VENUES_N; i++) {
        snprintf(id, sizeof id, "%u", i);
        put_side(s, "venue", id, &w->venues[i]);
    }
    for (size_t i = 0; i < s->sides_n; i++)
        s->sides[i].found = disk_load(w, &s->sides[i].key, &s->arena, &s->sides[i].row);
    for (uint32_t pid = 0; pid < PARTITIONS; pid++) {
        const struct run *run = find_run(w, w->owners[pid].run_number);
        s->had_lease[pid] = run != NULL && !run->dead && !run->ended;
    }
}

/* Who owns it by the copy. The run that did until now may know nothing of that. */
static void owner_goes_back(struct world *w, uint32_t pid)
{
    struct owner *o = &w->owners[pid];
    const struct owner *kept = &w->standby->owners[pid];
    bool other = o->run_number != kept->run_number;
    if ((other || o->generation != kept->generation) && w->standby->had_lease[pid]) {
        o->displaced = o->run_number;
        o->displaced_until_ns = w->outage_until_ns + LEASE_MS * WORLD_MS;
        o->undone = !other || !is_active(w, kept->run_number);
        o->keeper = o->undone && can_repeat(w, find_run(w, o->run_number), kept->run_number)
                        ? o->run_number
                        : 0;
        if (!o->undone) /* what the last owner had in memory alone is lost */
            o->claims_ns[o->claims_n++ % CLAIMS_KEPT] = w->now_ns;
    }
    o->node = kept->node;
    o->giver = kept->giver;
    o->since_ns = kept->since_ns;
    o->given_by = kept->given_by;
    o->run_number = kept->run_number;
    o->generation = kept->generation;
    o->epoch = kept->epoch;
}

/* Before the owners go back, and after the runs have. */
static uint64_t guard_of(const struct world *w, const struct side *side)
{
    const struct owner *o = &w->owners[side->key.pid], *kept = &w->standby->owners[side->key.pid];
    const struct run *run = find_run(w, side->watch->holder);
    bool owns = run != NULL && !run->dead && !run->stopping && o->run_number == run->number;
    bool keeps = owns && (kept->run_number == run->number || can_repeat(w, run, kept->run_number));
    return keeps && peek_version(run->rt, &side->key) >= side->row.version ? run->number : 0;
}

/* The one who has it again goes on from what it has in memory, as if it had never lost it: what
 * others answered in between is on a branch that is gone. */
static void forget_branch(struct world *w, const struct store_key *name, const struct run *run)
{
    struct key *key = key_of(w, failover_watch(w, name));
    if (key == NULL || run->dead || peek_version(run->rt, name) == 0)
        return;
    for (uint32_t i = 0; i < key->history.ops_n; i++) {
        struct history_op *op = &key->history.ops[i];
        if (op->outcome != HISTORY_DONE || op->run == run->number ||
            op->end_ns < w->standby->kept_ns)
            continue;
        op->outcome = HISTORY_OPEN;
        op->end_ns = UINT64_MAX;
    }
}

static void fall_behind(struct watch *watch, const struct store_row *lost, uint64_t guard)
{
    failover_forget(watch);
    watch->behind = true;
    watch->guard = guard;
    watch->lost_version = lost->version;
    watch->lost_len = lost->state.len;
    watch->lost = malloc(watch->lost_len + 1);
    INVARIANT(watch->lost != NULL);
    if (watch->lost_len > 0)
        memcpy(watch->lost, lost->state.data, watch->lost_len);
}

static void row_goes_back(struct world *w, const struct side *side, const struct store_row *now,
                          bool found)
{
    struct watch *watch = side->watch;
    if (!side->found ||
        (found && now->epoch == side->row.epoch && now->version == side->row.version))
        return;
    w->stats.behind++;
    if (watch->behind) { /* since another failover */
        watch->guard = 0;
        return;
    }
    fall_behind(watch, &side->row, guard_of(w, side));
    w->stats.guarded += watch->guard != 0;
    world_trace(w, "%.*s/%s goes back to version %" PRIu64 " from %" PRIu64 "; guard: run %" PRIu64,
                (int)side->key.kind.len, (const char *)side->key.kind.data, side->id,
                found ? now->version : 0, side->row.version, watch->guard);
}

/* Another one has it again, who may have the entity in memory, and need not load it. */
static void owner_comes_back(struct world *w, const struct side *side, bool found,
                             const struct store_row *now)
{
    const struct owner *last = &w->owners[side->key.pid];
    const struct owner *kept = &w->standby->owners[side->key.pid];
    const struct run *run = find_run(w, kept->run_number);
    if (run == NULL || kept->run_number == last->run_number || !is_active(w, kept->run_number))
        return;
    forget_branch(w, &side->key, run);
    lose_commits(w, side->watch, found, now);
}

void failover_ends(struct world *w)
{
    struct standby *s = w->standby;
    struct arena a;
    struct store_row now;
    arena_init(&a, 4 << 10, 0);
    memcpy(w->generations, s->generations, sizeof s->generations);
    for (struct run *run = w->runs; run != NULL; run = run->next) {
        bool known = run->number <= s->runs_made;
        run->there = run->generation;
        run->generation = known ? run->kept.generation : 0;
        run->ended = known && run->kept.ended;
    }
    for (size_t i = 0; i < s->sides_n; i++) {
        bool found = disk_load(w, &s->sides[i].key, &a, &now);
        row_goes_back(w, &s->sides[i], &now, found);
        owner_comes_back(w, &s->sides[i], found, &now);
    }
    for (uint32_t pid = 0; pid < PARTITIONS; pid++)
        owner_goes_back(w, pid);
    arena_close(&a);
    w->timeline = w->timeline == 0 ? 2 : w->timeline + 1;
    w->strays_until_ns = w->outage_until_ns + LEASE_MS * WORLD_MS;
    w->stats.failovers++;
}

/* ---- what a deposed server commits ---- */

/* It is lost, as what was committed just before the failover: whoever can write it again has to. */
static void stray_saved(struct world *w, const struct run *run, const struct store_row *row)
{
    struct watch *watch = failover_watch(w, &row->key);
    struct store_request load = {.op = STORE_LOAD};
    struct arena a;
    if (watch == NULL)
        return;
    arena_init(&a, 1 << 10, 0);
    load.arena = &a;
    load.u.load = (struct store_load){.keys = &row->key, .keys_n = 1};
    deposed_run(w, &load);
    const struct store_row *now = &load.u.load.rows[0];
    if (load.u.load.found[0] && now->epoch == row->epoch && now->version == row->version) {
        const struct owner *o = &w->owners[row->key.pid];
        bool may = o->run_number == run->number || o->keeper == run->number;
        bool first = !watch->behind || watch->guard == run->number;
        watch->holder = run->number;
        w->stats.strays++;
        fall_behind(watch, now, may && first && !run->stopping ? run->number : 0);
    }
    arena_close(&a);
}

/* What it has in memory from there is not written again. What an earlier failover had lost before
 * is lost there, too. */
static void stray_loaded(struct world *w, const struct run *run, const struct store_load *load)
{
    for (size_t i = 0; i < load->keys_n; i++) {
        struct watch *watch = failover_watch(w, &load->keys[i]);
        if (watch != NULL && watch->behind && !guards(w, watch))
            lose_commits(w, watch, load->found[i], &load->rows[i]);
        if (watch != NULL && watch->holder == run->number)
            watch->holder = 0;
        if (watch != NULL && watch->guard == run->number)
            watch->guard = 0;
    }
}

/* Somebody has claimed it there, or evicted its owner: who is told so before it hears of the
 * failover lets go of what it has in memory. */
static void stray_fenced(struct world *w, const struct run *run, uint32_t pid)
{
    struct owner *o = &w->owners[pid];
    o->claims_ns[o->claims_n++ % CLAIMS_KEPT] = w->now_ns;
    failover_fenced(w, run, pid);
}

/* What its last owner had in memory alone, the one who claims it there does not have. */
static void stray_claimed(struct world *w, const struct run *run, const struct store_claim *claim)
{
    for (size_t i = 0; i < claim->claimed_n; i++) {
        struct owner *o = &w->owners[claim->claimed[i].pid];
        o->stray = run->number;
        if (claim->claimed[i].epoch != claim->claimed[i].epoch_prev)
            o->claims_ns[o->claims_n++ % CLAIMS_KEPT] = w->now_ns;
    }
}

static void stray_moved(struct world *w, const struct store_transfer *t)
{
    const struct run *to = w->runs;
    while (to != NULL && (to->there != t->to_generation || strcmp(to->node->name, t->to) != 0))
        to = to->next;
    for (size_t i = 0; i < t->moved_n; i++) {
        uint32_t pid = t->moved[i].pid;
        w->owners[pid].stray = to == NULL ? 0 : to->number;
        for (uint32_t k = 0; k < WATCHES_MAX; k++) {
            struct watch *watch = watch_at(w, k);
            if (watch->pid != pid)
                continue;
            watch->guard = 0;
            watch->holder = 0;
        }
    }
}

/* Nobody who knows of the failover is told by it that anything has been done. */
void failover_stray(struct world *w, struct run *run, const struct store_request *r)
{
    if (r->error != 0 || run->dead || run->timeline >= w->timeline)
        return;
    switch (r->op) {
    case STORE_SAVE:
        for (size_t i = 0; i < r->u.save.rows_n; i++)
            stray_saved(w, run, &r->u.save.rows[i]);
        for (size_t i = 0; i < r->u.save.fenced_n; i++)
            stray_fenced(w, run, r->u.save.fenced[i]);
        break;
    case STORE_LOAD:
        stray_loaded(w, run, &r->u.load);
        break;
    case STORE_CLAIM:
        stray_claimed(w, run, &r->u.claim);
        break;
    case STORE_TRANSFER:
        stray_moved(w, &r->u.transfer);
        break;
    default:
        break;
    }
}

/* ---- what comes after ---- */

static bool is_whole(const struct watch *watch, const struct store_key *key,
                     const struct store_row *now)
{
    if (!troupe_bytes_equal(key->kind, troupe_bytes_of("ledger")))
        return now->version >= watch->lost_version;
    return now->state.len >= watch->lost_len &&
           (watch->lost_len == 0 || memcmp(now->state.data, watch->lost, watch->lost_len) == 0);
}

void failover_saved(struct world *w, const struct run *run, const struct store_key *key,
                    const struct store_row *now, bool applied)
{
    struct watch *watch = failover_watch(w, key);
    if (watch == NULL || !applied)
        return;
    watch->holder = run->number;
    if (!watch->behind)
        return;
    bool whole = is_whole(watch, key, now), guarded = guards(w, watch);
    if (w->trace_all)
        world_trace(w, "%.*s is written %s", (int)key->id.len, (const char *)key->id.data,
                    whole ? "again" : "as it goes on from the older state");
    if (!whole && guarded)
        return; /* by one that is deposed: the guard has a higher epoch, or will have one */
    if (!whole || (!guarded && key_of(w, watch) == NULL)) {
        forget_branch(w, key, run);
        lose_commits(w, watch, true, now);
    }
    failover_forget(watch);
}

static void relieve(struct world *w, const struct run *run, uint32_t pid)
{
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        struct watch *watch = watch_at(w, i);
        if (watch->pid == pid && watch->guard == run->number)
            watch->guard = 0;
    }
}

/* Whether the run still has in memory what it is to write again. */
static bool has_kept(struct world *w, const struct run *run, uint32_t i)
{
    const struct watch *watch = watch_at(w, i);
    char id[16];
    struct store_key key = {.pid = watch->pid, .kind = troupe_bytes_of("ledger")};
    if (i < KEYS_N) {
        snprintf(id, sizeof id, "%s", w->keys[i]->id);
    } else {
        key.kind = troupe_bytes_of("venue");
        snprintf(id, sizeof id, "%u", i - KEYS_N);
    }
    key.id = troupe_bytes_of(id);
    return peek_version(run->rt, &key) >= watch->lost_version;
}

void failover_heard(struct world *w, const struct run *run)
{
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        struct watch *watch = watch_at(w, i);
        if (watch->behind && watch->guard == run->number && !has_kept(w, run, i))
            watch->guard = 0; /* it has been stopped meanwhile */
    }
}

void failover_fenced(struct world *w, const struct run *run, uint32_t pid)
{
    struct owner *o = &w->owners[pid];
    if (run->timeline >= w->timeline)
        return;
    o->keeper = o->keeper == run->number ? 0 : o->keeper;
    relieve(w, run, pid);
}

void failover_loaded(struct world *w, const struct run *run, const struct store_load *load)
{
    for (size_t i = 0; i < load->keys_n && !run->dead; i++) {
        const struct store_key *key = &load->keys[i];
        struct watch *watch = failover_watch(w, key);
        if (watch == NULL)
            continue;
        if (watch->holder == run->number) /* it had been stopped, or dropped */
            watch->holder = 0;
        if (!watch->behind)
            continue;
        bool owns = w->owners[key->pid].run_number == run->number;
        if (watch->guard == run->number && run->timeline < w->timeline)
            watch->guard = 0; /* stopped before it could hear of the failover */
        if (!guards(w, watch))
            lose_commits(w, watch, load->found[i], &load->rows[i]);
        else if (owns || watch->guard == run->number)
            world_fail(w,
                       "%s (run %" PRIu64 ") loads %.*s/%.*s as the failover has left it, though "
                       "run %" PRIu64 " has what is missing, and was to write it again",
                       run->node->client, run->number, (int)key->kind.len,
                       (const char *)key->kind.data, (int)key->id.len, (const char *)key->id.data,
                       watch->guard);
    }
}

void failover_unheard(struct world *w, const struct run *run, const struct store_claim *claim)
{
    for (size_t i = 0; i < claim->claimed_n; i++) {
        const struct store_claimed *c = &claim->claimed[i];
        if (c->epoch != c->epoch_prev)
            w->owners[c->pid].unheard = run->number;
    }
}

void failover_claimed_again(struct world *w, const struct run *run, uint32_t pid)
{
    struct owner *o = &w->owners[pid];
    if (o->unheard != run->number && o->stray == 0)
        return;
    relieve(w, run, pid);
    o->claims_ns[o->claims_n++ % CLAIMS_KEPT] = w->now_ns;
}

/* Somebody else has been quicker than the keeper. It may have the entities in memory, from before
 * the keeper had them, and need not load them. */
static void taken_from_keeper(struct world *w, uint32_t pid, const struct run *by)
{
    struct arena a;
    struct store_row row;
    arena_init(&a, 1 << 10, 0);
    for (size_t i = 0; i < w->standby->sides_n; i++) {
        const struct side *side = &w->standby->sides[i];
        if (side->key.pid != pid || failover_watch(w, &side->key) != side->watch)
            continue; /* … or it is another entity by now */
        forget_branch(w, &side->key, by);
        bool found = disk_load(w, &side->key, &a, &row);
        lose_commits(w, side->watch, found, &row);
    }
    arena_close(&a);
}

void failover_moved(struct world *w, uint32_t pid, const struct run *from, const struct run *to,
                    bool claimed)
{
    const struct owner *o = &w->owners[pid];
    if (claimed && o->undone && o->keeper != to->number)
        taken_from_keeper(w, pid, to);
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        struct watch *watch = watch_at(w, i);
        if (watch->pid != pid)
            continue;
        if (claimed) {
            watch->guard = watch->guard == to->number ? watch->guard : 0;
            continue;
        }
        if (from != NULL && watch->holder == from->number)
            watch->holder = to->number;
        if (from != NULL && watch->guard == from->number)
            watch->guard = guards(w, watch) && has_kept(w, from, i) ? to->number : 0;
    }
}

bool failover_admits(struct world *w, const struct run *run, uint32_t pid, uint64_t client)
{
    const struct owner *o = &w->owners[pid];
    bool displaced = o->displaced == run->number && w->now_ns <= o->displaced_until_ns;
    bool astray = o->stray == run->number && w->now_ns <= w->strays_until_ns;
    if (run->timeline >= w->timeline || !(displaced || astray))
        return false;
    if (o->run_number != run->number && is_active(w, o->run_number)) {
        w->stats.overlaps++;
        clients_overlap(w, client);
    }
    return true;
}

void failover_answered(struct world *w, const struct run *run, const struct store_key *key,
                       uint64_t client)
{
    clients_told(w, client, key, run->number);
    const struct watch *watch = failover_watch(w, key);
    if (watch == NULL || !watch->behind || watch->guard != run->number ||
        run->timeline < w->timeline)
        return;
    world_fail(w,
               "%s (run %" PRIu64 ") knows of the failover, and answers for %.*s/%.*s, which it "
               "has not written again",
               run->node->client, run->number, (int)key->kind.len, (const char *)key->kind.data,
               (int)key->id.len, (const char *)key->id.data);
}

bool failover_is_settled(struct world *w, char why[64])
{
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        const struct watch *watch = watch_at(w, i);
        if (!watch->behind || !guards(w, watch))
            continue;
        snprintf(why, 64, "run %" PRIu64 " has not written %s again", watch->guard,
                 i < KEYS_N ? w->keys[i]->id : "a venue");
        return false;
    }
    return true;
}
