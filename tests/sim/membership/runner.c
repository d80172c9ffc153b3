/* See runner.h. */
#include "tests/sim/membership/runner.h"

#include <stdio.h>
#include <unistd.h>

const char *const rules_names[RULES_N] = {"troupe", "memberlist", "plain"};

static void (*const rules_configs[RULES_N])(struct swim_config *) = {
    swim_config_default, swim_config_memberlist, swim_config_plain};

/* One experiment at one size: what each set of rules has come to. */
struct row {
    const struct experiment *experiment;
    const struct selection *selection;
    struct table *table;
    uint32_t nodes;
    bool used[RULES_N];
};

void runner_run(const struct experiment *experiment, const struct selection *selection,
                enum rules rules, uint32_t nodes, uint32_t variant, struct figures *figures)
{
    struct trial trial = {.nodes = nodes, .variant = variant};
    uint64_t from = selection->seed_from, to = selection->seed_to;
    if (to == 0) {
        from = 1;
        to = experiment->seeds;
    }
    rules_configs[rules](&trial.config);
    for (trial.seed = from; trial.seed <= to; trial.seed++)
        experiment->run(&trial, figures);
}

static void add_lines(const struct row *row, const char *label, struct figures figures[RULES_N])
{
    static const char *const ratios[RULES_N] = {"", "/ memberlist", "/ plain"};
    char name[TABLE_CELL_BYTES];
    snprintf(name, sizeof name, "%s%s%s", row->experiment->name, label[0] == '\0' ? "" : ", ",
             label);
    for (int r = 0; r < RULES_N; r++) {
        if (row->used[r])
            table_add(row->table, name, row->nodes, rules_names[r], &figures[r]);
    }
    for (int r = RULES_MEMBERLIST; r < RULES_N; r++) {
        if (row->used[RULES_TROUPE] && row->used[r])
            table_add_ratio(row->table, name, row->nodes, ratios[r], &figures[RULES_TROUPE],
                            &figures[r]);
    }
}

static void close_all(struct figures figures[RULES_N])
{
    for (int r = 0; r < RULES_N; r++)
        figures_close(&figures[r]);
}

/* To somebody who waits and watches. */
static void show_progress(const struct row *row, const char *rules)
{
    if (!isatty(STDERR_FILENO) || sim_verbose)
        return;
    fputs("\r\033[K", stderr);
    if (rules != NULL)
        fprintf(stderr, "%s, %u nodes, %s", row->experiment->name, (unsigned)row->nodes, rules);
}

static uint64_t run_row(const struct row *row)
{
    const struct experiment *e = row->experiment;
    struct figures sums[RULES_N] = {0};
    uint64_t trace = 0;
    for (size_t v = 0; v < EXPERIMENT_VARIANTS_MAX; v++) {
        struct figures figures[RULES_N] = {0};
        if (v > 0 && e->variants[v].label == NULL)
            break;
        for (int r = 0; r < RULES_N; r++) {
            if (!row->used[r])
                continue;
            show_progress(row, rules_names[r]);
            runner_run(e, row->selection, (enum rules)r, row->nodes, e->variants[v].value,
                       &figures[r]);
            figures_add(&sums[r], &figures[r]);
            trace = (trace ^ figures[r].trace) * UINT64_C(0x100000001B3);
        }
        add_lines(row, e->variants[v].label == NULL ? "" : e->variants[v].label, figures);
        close_all(figures);
    }
    show_progress(row, NULL);
    if (e->summed)
        add_lines(row, "all", sums);
    close_all(sums);
    return trace;
}

uint64_t runner_table(const struct experiment *experiment, const struct selection *selection,
                      struct table *table)
{
    struct row row = {.experiment = experiment, .selection = selection, .table = table};
    const bool *want = selection->rules;
    uint64_t trace = 0;
    for (int r = 0; r < RULES_N; r++)
        row.used[r] = want[r];
    row.used[RULES_PLAIN] = want[RULES_PLAIN] && (experiment->with_plain ||
                                                  (!want[RULES_TROUPE] && !want[RULES_MEMBERLIST]));
    for (size_t i = 0; i < EXPERIMENT_SIZES_MAX && experiment->sizes[i] != 0; i++) {
        row.nodes = selection->nodes != 0 ? selection->nodes : experiment->sizes[i];
        trace = (trace ^ run_row(&row)) * UINT64_C(0x100000001B3);
        if (selection->nodes != 0)
            break;
    }
    return trace;
}
