/* See why_layout.h. */
#include "tools/cli/why_layout.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "tools/cli/duration.h"
#include "tools/cli/output.h"
#include "tools/cli/view.h"

enum { TIME_BYTES = 32, TEXT_BYTES = 400, ENTITY_BYTES = 2048 };

static const char *time_text(uint64_t ms, char text[TIME_BYTES])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(text, TIME_BYTES, "%" PRIu64 " ms", ms);
    return text;
}

/* "moved from n1 to n3: n1 drained" */
static void change_text(const Troupe__Rpc__OwnerChange *c, char text[TEXT_BYTES])
{
    static const struct {
        const char *cause, *head, *middle, *tail;
        bool previous_first, both;
    } known[] = {
        {"first", "", " is its first owner", "", false, false},
        {"left", "taken over by ", ": ", " had left", false, true},
        {"dead", "taken over by ", ": ", " died", false, true},
        {"restart", "taken up again by ", ", which was started anew", "", false, false},
        {"join", "moved from ", " to ", ": that one joined, or came back", true, true},
        {"drain", "moved from ", " to ", ": the former drained, or stopped", true, true},
    };
    snprintf(text, TEXT_BYTES, "from %.80s to %.80s (%.40s)", c->previous, c->owner, c->cause);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *a = known[i].previous_first ? c->previous : c->owner;
        const char *b = known[i].previous_first ? c->owner : c->previous;
        if (strcmp(known[i].cause, c->cause) == 0)
            snprintf(text, TEXT_BYTES, "%s%.80s%s%.80s%s", known[i].head, a, known[i].middle,
                     known[i].both ? b : "", known[i].tail);
    }
    output_clean(text);
}

static const char *owner_of(const struct why *w)
{
    uint32_t owner = w->ring->owner[w->partition];
    return owner == 0 ? NULL : w->ring->nodes[owner - 1];
}

/* Whose the store says it is now. The owner is NULL if that is nobody, or nothing tells. */
struct last_word {
    const char *owner;
    uint64_t epoch;
};

static struct last_word last_word(const struct why *w)
{
    const Troupe__Rpc__Owners *o = w->owners;
    const Troupe__Rpc__History *h = w->history;
    struct last_word last = {0};
    if (o != NULL && w->partition < o->n_owner) {
        uint32_t owner = o->owner[w->partition];
        last.owner = owner == 0 ? NULL : o->nodes[owner - 1]->name;
        last.epoch = o->epoch[w->partition];
    } else if (h->n_changes > 0) {
        last = (struct last_word){h->changes[0]->owner, h->changes[0]->epoch};
    }
    return last;
}

static bool is_same(struct last_word a, struct last_word b)
{
    bool same =
        a.owner == NULL ? b.owner == NULL : b.owner != NULL && strcmp(a.owner, b.owner) == 0;
    return same && (a.owner == NULL || a.epoch == b.epoch);
}

static struct last_word known_to_the_node(const struct why *w)
{
    return (struct last_word){owner_of(w), w->ring->epoch[w->partition]};
}

/* The last change that the store remembers. */
static struct last_word remembered(const struct why *w)
{
    const Troupe__Rpc__History *h = w->history;
    return h->n_changes == 0 ? (struct last_word){0}
                             : (struct last_word){h->changes[0]->owner, h->changes[0]->epoch};
}

/* Whether the node that was asked knows what the store knows. */
static bool is_known(const struct why *w)
{
    return is_same(known_to_the_node(w), last_word(w));
}

static void print_owner(FILE *out, const struct why *w)
{
    char at[TIME_BYTES], age[DURATION_TEXT_BYTES], text[TEXT_BYTES];
    const char *owner = owner_of(w);
    const Troupe__Rpc__History *h = w->history;
    if (owner == NULL)
        snprintf(text, sizeof text, "nobody that %.80s knows of", w->asked);
    else
        snprintf(text, sizeof text, "%.80s, epoch %" PRIu64, owner, w->ring->epoch[w->partition]);
    output_clean(text);
    fprintf(out, "owner        %s", text);
    if (is_same(known_to_the_node(w), remembered(w)) && h->n_changes > 0 && is_known(w)) {
        fprintf(out, ", since %s", time_text(h->changes[0]->at_ms, at));
        if (w->now_ms > h->changes[0]->at_ms)
            fprintf(out, " (%s)", duration_text(w->now_ms - h->changes[0]->at_ms, age));
    } else if (!is_known(w) && last_word(w).owner != NULL) {
        snprintf(text, sizeof text,
                 "; the store's last word is %.80s, epoch %" PRIu64 ": `troupe check` compares",
                 last_word(w).owner, last_word(w).epoch);
        output_clean(text);
        fputs(text, out);
    }
    putc('\n', out);
}

/* The history is kept beside the owners: a program of an older version changes these alone. */
static void print_gap(FILE *out, const struct why *w)
{
    char text[TEXT_BYTES];
    const char *owner = owner_of(w);
    struct last_word last = last_word(w);
    if (w->history->n_changes == 0 && owner == NULL && last.owner == NULL) {
        fprintf(out, "history      none: nobody has owned it yet\n");
    } else if (w->history->n_changes == 0) {
        fprintf(out, "history      none: the store remembers no change of its owner\n");
    } else if (!is_same(last, remembered(w))) {
        snprintf(text, sizeof text, "the store's owner is %.80s, epoch %" PRIu64,
                 last.owner == NULL ? "nobody" : last.owner, last.epoch);
        output_clean(text);
        fprintf(out, "%-13s%s: of that the history does not tell, or it has just changed\n", "",
                text);
    }
}

static void print_entity(FILE *out, const char *entity)
{
    char text[ENTITY_BYTES];
    snprintf(text, sizeof text, "%s", entity);
    output_clean(text);
    fprintf(out, "entity       %s\n", text);
}

void why_layout(FILE *out, const struct why *w)
{
    char number[OUTPUT_NUMBER_BYTES], all[OUTPUT_NUMBER_BYTES], at[TIME_BYTES], text[TEXT_BYTES];
    const Troupe__Rpc__History *h = w->history;
    if (w->entity != NULL)
        print_entity(out, w->entity);
    fprintf(out, "partition    %s of %s\n", output_number(w->partition, number),
            output_number(w->ring->n_owner, all));
    print_owner(out, w);
    for (size_t i = 0; i < h->n_changes; i++) {
        change_text(h->changes[i], text);
        fprintf(out, "%-13s%s  epoch %" PRIu64 "  %s\n", i == 0 ? "history" : "",
                time_text(h->changes[i]->at_ms, at), h->changes[i]->epoch, text);
    }
    print_gap(out, w);
}

json_t *why_json(const struct why *w)
{
    char at[TIME_BYTES], text[TEXT_BYTES];
    const char *owner = owner_of(w);
    json_t *changes = json_array();
    for (size_t i = 0; i < w->history->n_changes; i++) {
        const Troupe__Rpc__OwnerChange *c = w->history->changes[i];
        change_text(c, text);
        json_array_append_new(
            changes,
            json_pack("{s:o, s:o, s:o, s:o, s:s, s:o}", "epoch", json_sprintf("%" PRIu64, c->epoch),
                      "owner", view_text_json(c->owner), "previous",
                      c->previous[0] == '\0' ? json_null() : view_text_json(c->previous), "cause",
                      view_text_json(c->cause), "at", time_text(c->at_ms, at), "text",
                      view_text_json(text)));
    }
    return json_pack("{s:o, s:i, s:i, s:s, s:o, s:o, s:b, s:o}", "entity",
                     w->entity == NULL ? json_null() : view_text_json(w->entity), "partition",
                     (int)w->partition, "partitions", (int)w->ring->n_owner, "answered_by",
                     w->asked, "owner", owner == NULL ? json_null() : view_text_json(owner),
                     "epoch", json_sprintf("%" PRIu64, w->ring->epoch[w->partition]),
                     "agrees_with_store", is_known(w), "history", changes);
}
