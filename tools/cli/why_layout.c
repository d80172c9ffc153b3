/* See why_layout.h. */
#include "tools/cli/why_layout.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "tools/cli/duration.h"
#include "tools/cli/output.h"
#include "tools/cli/view.h"

enum { TIME_BYTES = 32, TEXT_BYTES = 400 };

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

/* Whether the node that was asked knows what the store knows. */
static bool is_known(const struct why *w)
{
    const char *owner = owner_of(w);
    const Troupe__Rpc__History *h = w->history;
    if (h->n_changes == 0)
        return owner == NULL;
    return owner != NULL && strcmp(owner, h->changes[0]->owner) == 0 &&
           w->ring->epoch[w->partition] == h->changes[0]->epoch;
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
    if (is_known(w) && h->n_changes > 0) {
        fprintf(out, ", since %s", time_text(h->changes[0]->at_ms, at));
        if (w->now_ms > h->changes[0]->at_ms)
            fprintf(out, " (%s)", duration_text(w->now_ms - h->changes[0]->at_ms, age));
    } else if (h->n_changes > 0) {
        snprintf(text, sizeof text,
                 "; the store's last word is %.80s, epoch %" PRIu64 ": `troupe check` compares",
                 h->changes[0]->owner, h->changes[0]->epoch);
        output_clean(text);
        fputs(text, out);
    }
    putc('\n', out);
}

void why_layout(FILE *out, const struct why *w)
{
    char number[OUTPUT_NUMBER_BYTES], all[OUTPUT_NUMBER_BYTES], at[TIME_BYTES], text[TEXT_BYTES];
    const Troupe__Rpc__History *h = w->history;
    if (w->entity != NULL)
        fprintf(out, "entity       %s\n", w->entity);
    fprintf(out, "partition    %s of %s\n", output_number(w->partition, number),
            output_number(w->ring->n_owner, all));
    print_owner(out, w);
    for (size_t i = 0; i < h->n_changes; i++) {
        change_text(h->changes[i], text);
        fprintf(out, "%-13s%s  epoch %" PRIu64 "  %s\n", i == 0 ? "history" : "",
                time_text(h->changes[i]->at_ms, at), h->changes[i]->epoch, text);
    }
    if (h->n_changes == 0)
        fprintf(out, "history      none: nobody has owned it yet\n");
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
