/* See judge.h. */
#include "tools/cli/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli/duration.h"
#include "tools/cli/output.h"
#include "tools/cli/ring_layout.h"
#include "tools/cli/view.h"

enum { NAMES_SHOWN = 6, GROUPS_SHOWN = 4, NAMES_BYTES = 1024 };

struct court {
    const struct cluster_view *view;
    struct arena *arena;
    struct verdict *verdict;
};

static char *format_line(struct arena *arena, const char *format, va_list args)
{
    char text[NAMES_BYTES + 256];
    vsnprintf(text, sizeof text, format, args);
    output_clean(text);
    return arena_printf(arena, "%s", text);
}

static void reason(struct court *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct court *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void reason(struct court *c, const char *format, ...)
{
    va_list args;
    struct verdict *v = c->verdict;
    if (v->code == EXIT_OK)
        v->code = EXIT_ANSWERED;
    va_start(args, format);
    char *text = v->reasons_n < VERDICT_LINES_MAX ? format_line(c->arena, format, args) : NULL;
    va_end(args);
    if (text != NULL)
        v->reasons[v->reasons_n++] = text;
    else
        v->reasons_left_out++;
}

static void note(struct court *c, const char *format, ...)
{
    va_list args;
    struct verdict *v = c->verdict;
    va_start(args, format);
    char *text = v->notes_n < VERDICT_LINES_MAX ? format_line(c->arena, format, args) : NULL;
    va_end(args);
    if (text != NULL)
        v->notes[v->notes_n++] = text;
}

/* ---- agreement ---- */

typedef uint64_t (*hash_of)(const Troupe__Rpc__NodeStatus *status);

static uint64_t members_hash(const Troupe__Rpc__NodeStatus *s)
{
    return s->members_hash;
}

static uint64_t ring_hash(const Troupe__Rpc__NodeStatus *s)
{
    return s->ring_hash;
}

static uint64_t owners_hash(const Troupe__Rpc__NodeStatus *s)
{
    return s->owners_hash;
}

static bool is_too_old(const struct cluster_node *n)
{
    return n->status != NULL && n->status->members_live == 0;
}

/* Of an operator's free will, and well otherwise. */
static bool is_drained(const struct cluster_node *n)
{
    return n->status != NULL && n->status->drain_asked && strcmp(n->status->state, "draining") == 0;
}

/* One that comes or goes need not know everything. */
static bool is_asked_for_its_view(const struct cluster_node *n)
{
    return n->status != NULL && !is_too_old(n) && strcmp(n->state, "joining") != 0 &&
           (strcmp(n->status->state, "serving") == 0 || is_drained(n) ||
            strcmp(n->status->state, "suspended") == 0);
}

static bool agree(const struct cluster_view *v, hash_of hash)
{
    const struct cluster_node *first = NULL;
    for (size_t i = 0; i < v->nodes_n; i++) {
        const struct cluster_node *n = &v->nodes[i];
        if (!is_asked_for_its_view(n))
            continue;
        if (first != NULL && hash(first->status) != hash(n->status))
            return false;
        first = n;
    }
    return true;
}

bool judge_agreement(const struct cluster_view *v)
{
    return agree(v, members_hash) && agree(v, ring_hash);
}

static void append(char *text, const char *format, const char *name)
{
    size_t used = strlen(text);
    snprintf(text + used, NAMES_BYTES - used, format, name);
}

static bool is_first_of_its_group(const struct cluster_view *v, size_t at, hash_of hash)
{
    for (size_t i = 0; i < at; i++)
        if (is_asked_for_its_view(&v->nodes[i]) &&
            hash(v->nodes[i].status) == hash(v->nodes[at].status))
            return false;
    return true;
}

static void append_group(const struct cluster_view *v, size_t first, hash_of hash, char *text)
{
    char more[32];
    size_t n = 0;
    for (size_t i = first; i < v->nodes_n; i++) {
        if (!is_asked_for_its_view(&v->nodes[i]) ||
            hash(v->nodes[i].status) != hash(v->nodes[first].status))
            continue;
        if (n < NAMES_SHOWN)
            append(text, n == 0 ? "%s" : ", %s", v->nodes[i].name);
        n++;
    }
    snprintf(more, sizeof more, "%zu", n - NAMES_SHOWN);
    if (n > NAMES_SHOWN)
        append(text, " and %s more", more);
}

/* "node-1, node-2 / node-3": those who agree with each other. */
static void list_groups(const struct cluster_view *v, hash_of hash, char text[NAMES_BYTES])
{
    size_t groups = 0;
    text[0] = '\0';
    for (size_t i = 0; i < v->nodes_n; i++) {
        if (!is_asked_for_its_view(&v->nodes[i]) || !is_first_of_its_group(v, i, hash))
            continue;
        if (groups == GROUPS_SHOWN)
            append(text, "%s", " / and others");
        if (groups++ >= GROUPS_SHOWN)
            continue;
        append(text, "%s", groups == 1 ? "" : " / ");
        append_group(v, i, hash, text);
    }
}

static void judge_views(struct court *c)
{
    char groups[NAMES_BYTES];
    struct verdict *v = c->verdict;
    v->members_agree = agree(c->view, members_hash);
    v->ring_agrees = agree(c->view, ring_hash);
    if (!v->members_agree) {
        list_groups(c->view, members_hash, groups);
        reason(c,
               "the nodes do not agree on who is a member: %s; compare `troupe members --node "
               "ADDR` of them",
               groups);
    }
    if (!v->ring_agrees) {
        list_groups(c->view, ring_hash, groups);
        reason(c, "the nodes do not agree on the ring: %s", groups);
    }
    if (!v->members_agree || !v->ring_agrees)
        v->code = EXIT_DISAGREED;
}

/* ---- partitions ---- */

static void judge_partitions(struct court *c)
{
    char number[OUTPUT_NUMBER_BYTES];
    const struct cluster_view *v = c->view;
    struct ring_counts counts = {0};
    if (v->ring != NULL)
        counts = ring_count(v->ring, v->members);
    else
        counts.unowned = v->asked->partitions_unowned;
    if (counts.unowned != 0)
        reason(c, "partitions without an owner: %s (calls to their entities wait)",
               output_number(counts.unowned, number));
    if (counts.moving != 0)
        reason(c, "partitions that are moving: %s (they are with another node than the ring wants)",
               output_number(counts.moving, number));
    else if (counts.unowned == 0 && !agree(v, owners_hash))
        reason(c, "the nodes do not agree on who owns the partitions: some have not heard the "
                  "latest yet");
}

/* By the word of the node that was asked. */
static void judge_waits(struct court *c)
{
    char left[DURATION_TEXT_BYTES], number[OUTPUT_NUMBER_BYTES];
    const Troupe__Rpc__NodeStatus *s = c->view->asked;
    for (size_t i = 0; i < s->n_waits; i++) {
        const Troupe__Rpc__Waiting *w = s->waits[i];
        if (w->partitions > 0)
            reason(c,
                   "%s partitions wait for %s, which is silent, and may serve them without the "
                   "store, for at most %s: start it again, or, if it is gone for good, `troupe "
                   "evict %s`",
                   output_number(w->partitions, number), w->node, duration_text(w->left_ms, left),
                   w->node);
    }
}

/* ---- nodes ---- */

/* Its own name is another run's, as far as it can know. */
static void judge_name(struct court *c, const Troupe__Rpc__NodeStatus *s)
{
    char left[DURATION_TEXT_BYTES];
    for (size_t i = 0; i < s->n_waits; i++)
        if (s->waits[i]->partitions == 0)
            reason(
                c,
                "%s: it waits for an earlier run of its name, at %s, which may live, for at most "
                "%s: stop that one, or, if it is gone for good, `troupe evict %s`",
                s->name, s->waits[i]->address, duration_text(s->waits[i]->left_ms, left), s->name);
}

/* Versions before tell no more than the last error. */
static void judge_store(struct court *c, const Troupe__Rpc__NodeStatus *s)
{
    char age[DURATION_TEXT_BYTES];
    for (size_t i = 0; i < s->n_store_troubles; i++)
        reason(c, "%s: %s does not work, for %s: %s", s->name, s->store_troubles[i]->doing,
               duration_text(s->store_troubles[i]->for_ms, age), s->store_troubles[i]->why);
    if (!s->store_ok && s->n_store_troubles == 0)
        reason(c, "%s: it cannot use its store: %s", s->name,
               s->store_error[0] == '\0' ? "no answer" : s->store_error);
}

static void judge_answer(struct court *c, const struct cluster_node *n)
{
    const Troupe__Rpc__NodeStatus *s = n->status;
    if (strcmp(s->name, n->name) != 0)
        reason(c, "%s: at its address %s there is %s", n->name, n->address, s->name);
    else if (strcmp(s->cluster_uid, c->view->asked->cluster_uid) != 0)
        reason(c, "%s: it is of another cluster, %s (%s): its store is not the others' store",
               n->name, s->cluster, s->cluster_uid);
    if (is_drained(n))
        note(c,
             "%s: drained by an operator, %" PRIu32 " partitions left; `troupe drain --cancel %s` "
             "takes it back",
             n->name, s->partitions_owned, n->name);
    else if (strcmp(s->state, "serving") != 0)
        reason(c, "%s: it does not serve; it is %s", n->name, s->state);
    judge_name(c, s);
    if (s->lacks[0] != '\0')
        reason(c, "%s: it takes no partitions: %s; `troupe kinds` shows who has what", n->name,
               s->lacks);
    for (size_t i = 0; i < s->n_kinds_closed; i++)
        reason(c, "%s: kind %s is not open, for other nodes lack it: `troupe kinds`", n->name,
               s->kinds_closed[i]);
    judge_store(c, s);
    if (s->entities_quarantined != 0)
        note(c, "%s: %" PRIu64 " entities are in quarantine after crashes", n->name,
             s->entities_quarantined);
}

static void judge_node(struct court *c, const struct cluster_node *n)
{
    if (n->status == NULL)
        reason(c, "%s: no answer at %s%s: %s", n->name, n->address,
               n->suspect ? ", and the others suspect it" : "", n->why);
    else
        judge_answer(c, n);
    if (n->suspect && n->status != NULL)
        reason(c, "%s: %s suspects it: it does not answer the other nodes", n->name,
               c->view->asked->name);
    bool lacks = n->status != NULL && n->status->lacks[0] != '\0'; /* that has been told */
    if (strcmp(n->state, "active") != 0 && !is_drained(n) && !lacks)
        reason(c, "%s: it is %s", n->name, n->state);
}

/* ---- who is not there ---- */

static const Troupe__Rpc__OwnerNode *row_of(const struct cluster_view *v, const char *name)
{
    for (size_t i = 0; v->store != NULL && i < v->store->n_nodes; i++)
        if (strcmp(v->store->nodes[i]->name, name) == 0)
            return v->store->nodes[i];
    return NULL;
}

static const Troupe__Rpc__Member *member_of(const struct cluster_view *v, const char *name)
{
    for (size_t i = 0; v->members != NULL && i < v->members->n_members; i++)
        if (strcmp(v->members->members[i]->name, name) == 0)
            return v->members->members[i];
    return NULL;
}

static bool is_live(const struct cluster_view *v, const char *name)
{
    for (size_t i = 0; i < v->nodes_n; i++)
        if (strcmp(v->nodes[i].name, name) == 0)
            return true;
    return false;
}

/* Its lease is over, and nobody has said that it is gone for good: whoever stops leaves, whoever is
 * given up is evicted. So it is to be looked after, whoever has its partitions by now. */
static void judge_missing(struct court *c)
{
    const struct cluster_view *v = c->view;
    for (size_t i = 0; v->store != NULL && i < v->store->n_nodes; i++) {
        const char *name = v->store->nodes[i]->name, *state = v->store->nodes[i]->state;
        char age[DURATION_TEXT_BYTES] = "";
        const Troupe__Rpc__Member *m = member_of(v, name);
        if (strcmp(state, "dead") != 0 || is_live(v, name))
            continue;
        if (m != NULL && strcmp(m->state, "dead") == 0)
            duration_text(m->state_age_ms, age);
        reason(c,
               "%s: it is missing%s%s: start it again, or, if it is gone for good, `troupe evict "
               "%s`",
               name, age[0] == '\0' ? "" : ", for ", age, name);
    }
}

/* Those of which the store says nothing, or has not heard yet. */
static void note_the_gone(struct court *c)
{
    char age[DURATION_TEXT_BYTES];
    const Troupe__Rpc__Members *m = c->view->members;
    for (size_t i = 0; m != NULL && i < m->n_members; i++) {
        const Troupe__Rpc__OwnerNode *row = row_of(c->view, m->members[i]->name);
        bool told = row != NULL && strcmp(row->state, "active") != 0;
        if (strcmp(m->members[i]->state, "dead") == 0 && !told)
            note(c, "%s: dead for %s", m->members[i]->name,
                 duration_text(m->members[i]->state_age_ms, age));
    }
}

static void note_the_old(struct court *c)
{
    for (size_t i = 0; i < c->view->nodes_n; i++)
        if (is_too_old(&c->view->nodes[i]))
            note(c,
                 "%s: its version, %s, does not tell about its cluster, so that only the node "
                 "itself was judged; upgrade it",
                 c->view->nodes[i].name, c->view->nodes[i].status->version);
}

void judge(const struct cluster_view *view, struct arena *arena, struct verdict *verdict)
{
    struct court c = {.view = view, .arena = arena, .verdict = verdict};
    *verdict = (struct verdict){.code = EXIT_OK};
    judge_views(&c);
    judge_waits(&c);
    judge_partitions(&c);
    for (size_t i = 0; i < view->nodes_n; i++)
        judge_node(&c, &view->nodes[i]);
    judge_missing(&c);
    note_the_gone(&c);
    note_the_old(&c);
}
