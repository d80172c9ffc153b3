/* See status_layout.h. A line per subject: node, store, partitions and so on */
#include "tools/cli/status_layout.h"

#include <inttypes.h>
#include <stdarg.h>

#include "tools/cli/duration.h"
#include "tools/cli/output.h"

struct number {
    char text[OUTPUT_NUMBER_BYTES];
};

/* For a printf: n(x).text lives until the end of the full expression. */
static struct number n(uint64_t value)
{
    struct number number;
    output_number(value, number.text);
    return number;
}

static void line(FILE *out, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void line(FILE *out, const char *subject, const char *format, ...)
{
    va_list args;
    fprintf(out, "%-13s", subject);
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    putc('\n', out);
}

static void node_lines(FILE *out, const Troupe__Rpc__NodeStatus *s)
{
    char up[DURATION_TEXT_BYTES];
    line(out, "node", "%s: %s, up %s, version %s", s->name, s->state,
         duration_text(s->uptime_ms, up), s->version);
    line(out, "address", "%s", s->address);
    line(out, "cluster", "%s (%s), generation %" PRIu64, s->cluster, s->cluster_uid, s->generation);
    fprintf(out, "%-13s", "kinds");
    for (size_t i = 0; i < s->n_kinds; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ", ", s->kinds[i]);
    fputs(s->n_kinds == 0 ? "none\n" : "\n", out);
}

static void store_lines(FILE *out, const Troupe__Rpc__NodeStatus *s)
{
    char age[DURATION_TEXT_BYTES];
    const char *why = s->store_error[0] == '\0' ? "no answer" : s->store_error;
    line(out, "store", "%s", s->store);
    if (s->store_ok)
        line(out, "", "ok, lease renewed %s ago, last commit took %.1f ms",
             duration_text(s->lease_age_ms, age), (double)s->commit_us / 1000);
    else
        line(out, "", "NOT USABLE%s%s: %s; lease renewed %s ago",
             s->n_store_troubles == 0 ? "" : " for ",
             s->n_store_troubles == 0 ? "" : s->store_troubles[0]->doing,
             s->n_store_troubles == 0 ? why : s->store_troubles[0]->why,
             duration_text(s->lease_age_ms, age));
}

void status_layout(FILE *out, const Troupe__Rpc__NodeStatus *s)
{
    char bytes[OUTPUT_NUMBER_BYTES], lag[DURATION_TEXT_BYTES];
    node_lines(out, s);
    store_lines(out, s);
    if (s->members_live > 1)
        line(out, "members", "%s live, %s of them suspect", n(s->members_live).text,
             n(s->members_suspect).text);
    line(out, "partitions", "%s of %s owned", n(s->partitions_owned).text, n(s->partitions).text);
    line(out, "entities", "%s resident, %s dirty, %s loading, %s quarantined; %s",
         n(s->entities_resident).text, n(s->entities_dirty).text, n(s->entities_loading).text,
         n(s->entities_quarantined).text, output_bytes(s->memory_bytes, bytes));
    line(out, "calls", "%s/s; %s so far, %s failed, %s waiting for a commit; %s crashes",
         n(s->calls_per_s).text, n(s->calls).text, n(s->calls_failed).text,
         n(s->replies_gated).text, n(s->crashes).text);
    line(out, "persistence", "lag %s; %s rows saved, %s loaded, %s saves under way",
         duration_text(s->persist_lag_ms, lag), n(s->rows_saved).text, n(s->rows_loaded).text,
         n(s->saves_in_flight).text);
    if (s->entities_warmed > 0 || s->partitions_to_warm > 0)
        line(out, "warming", "%s entities loaded before they were called; %s partitions to look at",
             n(s->entities_warmed).text, n(s->partitions_to_warm).text);
}
