/* See kinds_open.h. */
#include "node/runtime/kinds_open.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/runtime/internal.h"

/* ---- texts ---- */

/* What nobody can have written is skipped. */
bool kinds__next(const char **list, struct troupe_bytes *name, uint32_t *version)
{
    for (const char *at = *list; *at != '\0';) {
        size_t len = strcspn(at, ","), colon = strcspn(at, ":,");
        char *end;
        unsigned long v = colon < len ? strtoul(at + colon + 1, &end, 10) : 0;
        bool good = colon > 0 && colon < len && end == at + len && v <= UINT32_MAX;
        *name = troupe_bytes(at, colon);
        *version = (uint32_t)v;
        at += len + (at[len] == ',');
        *list = at;
        if (good)
            return true;
    }
    return false;
}

bool kinds__find(const char *list, struct troupe_bytes name, uint32_t *version)
{
    struct troupe_bytes one;
    while (kinds__next(&list, &one, version)) {
        if (troupe_bytes_equal(one, name))
            return true;
    }
    return false;
}

/* False: it does not fit. */
static bool add_entry(char text[STORE_KINDS_BYTES_MAX + 1], struct troupe_bytes name,
                      uint32_t version)
{
    size_t used = strlen(text), room = STORE_KINDS_BYTES_MAX + 1 - used;
    int n = snprintf(text + used, room, "%s%.*s:%" PRIu32, used == 0 ? "" : ",", (int)name.len,
                     (const char *)name.data, version);
    if (n > 0 && (size_t)n < room)
        return true;
    text[used] = '\0';
    return false;
}

const char *kinds__without(const char *list, struct troupe_bytes name, struct arena *arena)
{
    struct troupe_bytes one;
    uint32_t version;
    char *out = arena_calloc(arena, 1, STORE_KINDS_BYTES_MAX + 1);
    while (out != NULL && kinds__next(&list, &one, &version)) {
        if (!troupe_bytes_equal(one, name))
            add_entry(out, one, version);
    }
    return out;
}

bool kinds__init(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    char list[STORE_KINDS_BYTES_MAX + 1] = "";
    bool fits = true;
    for (uint32_t i = 0; i < 2; i++)
        arena_init(&o->arenas[i], 0, 0);
    for (size_t i = 0; i < rt->kinds_n && fits; i++)
        fits = add_entry(list, rt->kinds[i].name, rt->kinds[i].def->state_version);
    return fits && strlen(list) + 64 < sizeof list; /* with the generation before it */
}

void kinds__close(struct runtime *rt)
{
    for (uint32_t i = 0; i < 2; i++)
        arena_close(&rt->kinds_open.arenas[i]);
}

/* ---- telling ---- */

void kinds__registered(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    o->told = o->telling = false;
    snprintf(o->mine, sizeof o->mine, "%" PRIu64 ";", rt->generation);
    size_t head = strlen(o->mine);
    char list[STORE_KINDS_BYTES_MAX + 1] = "";
    for (size_t i = 0; i < rt->kinds_n; i++)
        add_entry(list, rt->kinds[i].name, rt->kinds[i].def->state_version);
    snprintf(o->mine + head, sizeof o->mine - head, "%s", list);
}

bool kinds__are_settled(const struct runtime *rt)
{
    bool settled = rt->kinds_open.known;
    for (size_t i = 0; i < rt->kinds_n; i++)
        settled &= !rt->kinds[i].opening;
    return settled;
}

const char *kinds__to_tell(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    o->telling = !o->told;
    return o->telling ? o->mine : NULL;
}

/* ---- what the rows tell ---- */

static const struct kinds_row *find_row(const struct kinds_row *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

/* What the row tells of its own run; NULL: nothing. */
static const char *told_by(const struct store_node *row)
{
    char *end;
    unsigned long long generation = row->kinds == NULL ? 0 : strtoull(row->kinds, &end, 10);
    bool own =
        row->kinds != NULL && row->kinds[0] != '\0' && *end == ';' && generation == row->generation;
    return own ? end + 1 : NULL;
}

static const char *copy(struct arena *a, const char *text)
{
    return (const char *)arena_copy(a, troupe_bytes_of(text)).data;
}

/* False: out of memory, and nothing has changed. */
static bool take_rows(struct kinds_open *o, const struct store_node *others, size_t n)
{
    struct arena *a = &o->arenas[!o->arena];
    arena_reset(a);
    struct kinds_row *rows = arena_calloc(a, n + 1, sizeof *rows);
    for (size_t i = 0; i < n && rows != NULL; i++) {
        const struct store_node *row = &others[i];
        const char *kinds = told_by(row);
        const struct kinds_row *was = find_row(o->rows, o->rows_n, row->name);
        bool same = was != NULL && was->generation == row->generation && was->kinds == NULL;
        rows[i] = (struct kinds_row){
            .name = copy(a, row->name),
            .kinds = kinds == NULL ? NULL : copy(a, kinds),
            .generation = row->generation,
            .renew_seq = row->renew_seq,
            .silent = kinds == NULL && same && (was->silent || was->renew_seq != row->renew_seq),
        };
        if (rows[i].name == NULL || (kinds != NULL && rows[i].kinds == NULL))
            return false;
    }
    if (rows == NULL)
        return false;
    o->rows = rows;
    o->rows_n = n;
    o->arena = !o->arena;
    return true;
}

static void append_name(char *text, size_t bytes, const char *name)
{
    size_t used = strlen(text);
    snprintf(text + used, bytes - used, "%s%s", used == 0 ? "" : ", ", name);
}

void kinds__list_lacking(const struct runtime *rt, struct troupe_bytes name, char *text,
                         size_t bytes)
{
    const struct kinds_open *o = &rt->kinds_open;
    uint32_t version;
    text[0] = '\0';
    if (deliver__kind(rt, name) == NULL)
        append_name(text, bytes, rt->config.name);
    for (size_t i = 0; i < o->rows_n; i++) {
        const struct kinds_row *r = &o->rows[i];
        if (r->kinds != NULL && !kinds__find(r->kinds, name, &version))
            append_name(text, bytes, r->name);
    }
}

/* ---- opening ---- */

enum coverage { LACKING, UNTOLD, ALL };

/* Whether every active node has it, and the version that all have. */
static enum coverage cover(const struct runtime *rt, const struct kind *k, uint32_t *version)
{
    const struct kinds_open *o = &rt->kinds_open;
    enum coverage all = ALL;
    *version = k->def->state_version;
    for (size_t i = 0; i < o->rows_n; i++) {
        const struct kinds_row *r = &o->rows[i];
        uint32_t theirs = 0;
        if (r->kinds == NULL && !r->silent)
            all = all == ALL ? UNTOLD : all;
        else if (r->kinds != NULL && !kinds__find(r->kinds, k->name, &theirs))
            all = LACKING;
        *version = theirs < *version ? theirs : *version;
    }
    return all;
}

/* What the store should remember: what it does, and what can be added or raised. */
static void propose(struct runtime *rt, char is[STORE_KINDS_BYTES_MAX + 1])
{
    struct kinds_open *o = &rt->kinds_open;
    const char *list = o->open;
    struct troupe_bytes name;
    uint32_t version, all;
    is[0] = '\0';
    while (kinds__next(&list, &name, &version)) {
        struct kind *k = deliver__kind(rt, name);
        bool raised = k != NULL && cover(rt, k, &all) == ALL && all > version;
        if (k != NULL)
            k->opening = raised && !state_version__can_write(k->def, version) &&
                         state_version__can_write(k->def, all);
        add_entry(is, name, raised ? all : version);
    }
    for (size_t i = 0; i < rt->kinds_n; i++) {
        struct kind *k = &rt->kinds[i];
        if (kinds__find(o->open, k->name, &version))
            continue;
        enum coverage covered = cover(rt, k, &all);
        k->opening = covered == UNTOLD || (covered == ALL && add_entry(is, k->name, all));
    }
}

static void set(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    if (rt->kinds_set.out || !rt->lease.held || rt->phase >= RUNTIME_STOPPING)
        return;
    propose(rt, o->is);
    if (strcmp(o->is, o->open) == 0)
        return;
    memcpy(o->was, o->open, sizeof o->was);
    arena_reset(&rt->kinds_set.arena);
    rt->kinds_set.request.u.kinds = (struct store_kinds){
        .name = rt->config.name, .generation = rt->generation, .was = o->was, .is = o->is};
    lifecycle__submit(rt, &rt->kinds_set, STORE_KINDS);
}

/* ---- what follows ---- */

static void note_lack(struct kinds_open *o, const struct kind *k, struct troupe_bytes name,
                      uint32_t version)
{
    size_t used = strlen(o->why), room = sizeof o->why - used;
    const char *comma = used == 0 ? "" : "; ";
    if (k == NULL)
        snprintf(o->why + used, room, "%sit does not have kind %.*s", comma, (int)name.len,
                 (const char *)name.data);
    else if (version > k->def->state_version)
        snprintf(o->why + used, room, "%sit has kind %.*s in version %u, and states are of %u",
                 comma, (int)name.len, (const char *)name.data, k->def->state_version, version);
    else
        snprintf(o->why + used, room,
                 "%sit cannot write kind %.*s in version %u, which the others read", comma,
                 (int)name.len, (const char *)name.data, version);
}

static void log_opened(struct runtime *rt, const struct kind *k)
{
    char version[24];
    snprintf(version, sizeof version, "%u", k->write_version);
    log__add(rt, RUNTIME_INFO, "a kind is open", "kind", k->def->name, "state_version", version,
             NULL);
}

static bool open_kinds(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    bool changed = false;
    for (size_t i = 0; i < rt->kinds_n; i++) {
        struct kind *k = &rt->kinds[i];
        uint32_t version = 0, was = k->write_version;
        bool open =
            kinds__find(o->open, k->name, &version) && state_version__can_write(k->def, version);
        if (open)
            k->write_version = version;
        if (open && (!k->open || version != was))
            log_opened(rt, k);
        changed |= open != k->open;
        k->open = open;
    }
    return changed;
}

static void find_lacks(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    const char *list = o->open;
    struct troupe_bytes name;
    uint32_t version;
    bool lacked = o->lacks;
    o->lacks = false;
    o->why[0] = '\0';
    while (kinds__next(&list, &name, &version)) {
        const struct kind *k = deliver__kind(rt, name);
        if (k != NULL && (k->open || k->opening))
            continue;
        o->lacks = true;
        note_lack(o, k, name, version);
    }
    if (o->lacks && !lacked)
        log__add(rt, RUNTIME_ERROR,
                 "this node takes no partitions: it cannot run a kind that the cluster has opened. "
                 "Give it that (--kinds), or: troupe kinds forget NAME",
                 "why", o->why, NULL);
    else if (lacked && !o->lacks)
        log__add(rt, RUNTIME_INFO, "this node has all kinds now: it takes partitions", NULL);
    if (o->lacks != lacked)
        claims__kinds_changed(rt);
}

/* What is held up by a node that lacks it is told once, and again when that changes. */
static void tell_closed(struct runtime *rt)
{
    char names[256];
    for (size_t i = 0; i < rt->kinds_n; i++) {
        struct kind *k = &rt->kinds[i];
        uint32_t version;
        bool closed =
            !k->open && !k->opening && !kinds__find(rt->kinds_open.open, k->name, &version);
        if (closed && !k->closed_told) {
            kinds__list_lacking(rt, k->name, names, sizeof names);
            log__add(rt, RUNTIME_WARN, "a kind is not open: it waits for nodes that lack it",
                     "kind", k->def->name, "nodes", names, NULL);
        }
        k->closed_told = closed;
    }
}

static void review(struct runtime *rt)
{
    set(rt);
    bool changed = open_kinds(rt);
    find_lacks(rt);
    tell_closed(rt);
    if (changed || !rt->kinds_open.known)
        rt->unpark_ns = rt->now.mono_ns;
    rt->kinds_open.known = true;
}

/* What does not fit or cannot be read is not believed: what was known before stands. */
void kinds__renewed(struct runtime *rt, const struct store_renew *renew)
{
    struct kinds_open *o = &rt->kinds_open;
    o->told |= o->telling;
    if (renew->kinds_open == NULL || strlen(renew->kinds_open) > STORE_KINDS_BYTES_MAX ||
        !take_rows(o, renew->others, renew->others_n))
        return;
    snprintf(o->open, sizeof o->open, "%s", renew->kinds_open);
    review(rt);
    o->read_ns = rt->now.mono_ns;
    if (o->wanted)
        rt->unpark_ns = rt->now.mono_ns;
    o->wanted = false;
}

void kinds__is(struct runtime *rt, const char *open)
{
    struct kinds_open *o = &rt->kinds_open;
    snprintf(o->open, sizeof o->open, "%s", open);
    review(rt);
}

void kinds__set_done(struct runtime *rt)
{
    struct kinds_open *o = &rt->kinds_open;
    const struct store_request *request = &rt->kinds_set.request;
    bool stands = request->error == 0 && request->u.kinds.generation == rt->generation;
    if (stands && request->u.kinds.done)
        memcpy(o->open, o->is, sizeof o->open);
    if (stands && !request->u.kinds.done && rt->lease.held)
        rt->lease.next_ns = rt->now.mono_ns; /* somebody was faster */
    else if (stands)
        review(rt);
}
