#include "gigs.h"

#include <stdlib.h>
#include <string.h>

#include "bounds.h"

void gigs_close(struct gigs *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->items[i]);
    free(g->items);
    *g = (struct gigs){0};
}

static int gig_compare(const struct gig *gig, uint32_t minute, const char *venue)
{
    if (gig->minute != minute)
        return gig->minute < minute ? -1 : 1;
    return strcmp(gig->venue, venue);
}

size_t gigs_rank(const struct gigs *g, uint32_t minute, const char *venue)
{
    size_t low = 0, high = g->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (gig_compare(g->items[middle], minute, venue) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t gig_saved_bytes(const char *venue, const char *reference)
{
    return (uint32_t)(GIG_SAVED_BYTES + strlen(venue) + strlen(reference));
}

static struct gig *gig_new(const struct gig *news, const char *venue, const char *reference)
{
    size_t venue_len = strlen(venue) + 1, reference_len = strlen(reference) + 1;
    struct gig *gig = malloc(sizeof *gig + venue_len + reference_len);
    if (gig == NULL)
        return NULL;
    *gig = *news;
    gig->reference = gig->venue + venue_len;
    memcpy(gig->venue, venue, venue_len);
    memcpy(gig->venue + venue_len, reference, reference_len);
    return gig;
}

static int reserve(struct gigs *g)
{
    if (g->n < g->cap)
        return 0;
    uint32_t cap = g->cap == 0 ? 2 : g->cap + g->cap / 2;
    struct gig **items = realloc(g->items, cap * sizeof(struct gig *));
    if (items == NULL)
        return -1;
    g->items = items;
    g->cap = cap;
    return 0;
}

enum gigs_result gigs_put(struct gigs *g, const struct gig *news, const char *venue,
                          const char *reference)
{
    size_t at = gigs_rank(g, news->minute, venue);
    struct gig **same = NULL;
    if (at > 0 && gig_compare(g->items[at - 1], news->minute, venue) == 0)
        same = &g->items[at - 1];
    if (same != NULL && (*same)->change >= news->change)
        return GIGS_OLD;
    uint32_t bytes = g->bytes + gig_saved_bytes(venue, reference);
    if (same != NULL)
        bytes -= gig_saved_bytes((*same)->venue, (*same)->reference);
    if (bytes > USER_GIGS_BYTES_MAX)
        return GIGS_FULL;
    struct gig *gig = gig_new(news, venue, reference);
    if (gig == NULL)
        return GIGS_NO_MEMORY;
    if (same != NULL) {
        free(*same);
        *same = gig;
    } else if (reserve(g) != 0) {
        free(gig);
        return GIGS_NO_MEMORY;
    } else {
        memmove(g->items + at + 1, g->items + at, (g->n - at) * sizeof(struct gig *));
        g->items[at] = gig;
        g->n++;
    }
    g->bytes = bytes;
    return GIGS_OK;
}

size_t gigs_prune(struct gigs *g, uint64_t cancelled_before_ms, uint32_t before)
{
    size_t to = 0, n = g->n;
    for (size_t i = 0; i < n; i++) {
        struct gig *gig = g->items[i];
        bool stale = gig->cancelled_at_ms != 0 && gig->cancelled_at_ms < cancelled_before_ms;
        if (stale || gig->minute < before) {
            g->bytes -= gig_saved_bytes(gig->venue, gig->reference);
            free(gig);
        } else {
            g->items[to++] = gig;
        }
    }
    g->n = (uint32_t)to;
    return n - to;
}

size_t gigs_standing(const struct gigs *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++)
        n += g->items[i]->cancelled_at_ms == 0;
    return n;
}

size_t gigs_memory(const struct gigs *g)
{
    return g->cap * sizeof(struct gig *) + g->bytes;
}
