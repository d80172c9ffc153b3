/* See world.h. */
#include "tests/sim/cluster/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "tests/sim/cluster/accounts.h"
#include "tests/sim/cluster/batches.h"
#include "tests/sim/cluster/scribes.h"

void world_note(struct world *w, uint64_t what)
{
    w->hash = (w->hash ^ what) * UINT64_C(0x100000001B3);
    w->hash ^= w->hash >> 29;
}

void world_trace(struct world *w, const char *format, ...)
{
    if (!w->trace)
        return;
    char *line = w->trace_lines[w->traced++ % TRACE_LINES];
    int n = snprintf(line, TRACE_LINE_BYTES, "%11.6f ", (double)w->now_ns / 1e9);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, TRACE_LINE_BYTES - (size_t)n, format, args);
    va_end(args);
    if (w->trace_all)
        fprintf(stderr, "%s\n", line);
}

void world_fail(struct world *w, const char *format, ...)
{
    if (w->failed)
        return;
    w->failed = true;
    int n = snprintf(w->failure, sizeof w->failure, "at %.6f s: ", (double)w->now_ns / 1e9);
    va_list args;
    va_start(args, format);
    vsnprintf(w->failure + n, sizeof w->failure - (size_t)n, format, args);
    va_end(args);
}

void world_print_failure(const struct world *w, FILE *out)
{
    uint64_t from = w->traced > TRACE_LINES ? w->traced - TRACE_LINES : 0;
    for (uint64_t i = from; w->trace && i < w->traced; i++)
        fprintf(out, "  %s\n", w->trace_lines[i % TRACE_LINES]);
    if (w->failed)
        fprintf(out, "  FAILED %s\n", w->failure);
    if (w->failed_history.ops_n > 0)
        history_print(&w->failed_history, out);
}

uint64_t world_while(struct world *w, uint64_t max_ns)
{
    uint64_t range = max_ns >> dice_below(&w->dice, 5);
    return dice_below(&w->dice, range + 1);
}

bool world_chance(struct world *w, uint32_t per_mille)
{
    return per_mille != 0 && dice_below(&w->dice, 1000) < per_mille;
}

void world_at(struct world *w, uint64_t at_ns, agenda_cb happen, void *data)
{
    INVARIANT(at_ns >= w->now_ns);
    agenda_add(&w->agenda, at_ns, happen, data);
}

void world_run(struct world *w, uint64_t until_ns)
{
    struct agenda_entry next;
    uint64_t spins = 0;
    while (!w->failed && agenda_next(&w->agenda, until_ns, &next)) {
        spins = next.at_ns == w->now_ns ? spins + 1 : 0;
        if (spins > 100000) {
            world_fail(w,
                       "time does not go on: some node asks to be woken at once, again and again");
            return;
        }
        w->now_ns = next.at_ns;
        w->stats.events++;
        next.happen(w, next.data);
    }
    if (!w->failed)
        w->now_ns = until_ns;
}

void world_open(struct world *w, const struct world_options *options)
{
    *w = (struct world){
        .dice = {.state = options->seed * UINT64_C(0x9E3779B97F4A7C15)},
        .now_ns = WORLD_BEGIN_NS,
        .mutant = options->mutant,
        .store_faults = options->store_faults,
        .store_failovers = options->store_failovers,
        .trace = options->trace || options->trace_all,
        .trace_all = options->trace_all,
        .hash = UINT64_C(0xCBF29CE484222325),
        .latency_ns = WORLD_MS / 5,
        .jitter_ns = WORLD_MS,
    };
    if (w->trace) {
        w->trace_lines = calloc(TRACE_LINES, sizeof *w->trace_lines);
        INVARIANT(w->trace_lines != NULL);
    }
    groups_draw(w, options->groups_on, options->groups_off);
    judge_open(w);
    failover_open(w);
    disk_open(w);
    nodes_open(w, options->nodes);
    clients_open(w);
    accounts_open(w);
    batches_open(w);
    scribes_open(w);
}

void world_close(struct world *w)
{
    nodes_close(w);
    batches_close(w);
    scribes_close(w);
    clients_close(w);
    accounts_close(w);
    disk_close(w);
    judge_close(w);
    failover_close(w);
    agenda_close(&w->agenda);
    free(w->trace_lines);
}
