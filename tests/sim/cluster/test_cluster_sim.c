/* Stories of whole clusters: every one keeps its promises, and is the same when it is told again.
 * And that this means something: with any safety check taken away, some story fails (mutants.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/cluster/world.h"

/* With sanitizers a story takes twenty times as long: the release build tells them all
 * (tools/test), invariants on. */
#ifdef FEW_STORIES
enum { STORIES = 12, FEW = true };
#else
enum { STORIES = 60, FEW = false };
#endif

enum {
    MUTANT_STORIES_MAX = 1000, /* in one of so many each mutant must be caught; most are in 50 */
};

static struct world w;

static uint64_t tell(const struct world_options *options, bool *well)
{
    *well = story_tell(&w, options);
    if (!*well && options->mutant == MUTANT_NONE)
        printf("seed %llu (troupe-sim --seeds %llu --nodes %u tells it): %s\n",
               (unsigned long long)options->seed, (unsigned long long)options->seed, options->nodes,
               w.failure);
    uint64_t hash = w.hash;
    world_close(&w);
    return hash;
}

static void stories_keep_their_promises(void **state)
{
    (void)state;
    uint64_t acks = 0, crashes = 0, transfers = 0, keys = 0, undecided = 0, failovers = 0,
             strays = 0, wiped = 0;
    bool all_well = true;
    for (uint64_t seed = 1; seed <= STORIES; seed++) {
        bool well;
        struct world_options options = {.seed = seed,
                                        .nodes = 2 + (uint32_t)(seed % 6),
                                        .minutes = 1,
                                        .store_faults = seed % 8 != 0,
                                        .store_failovers = true};
        tell(&options, &well);
        all_well &= well;
        acks += w.stats.acks;
        crashes += w.stats.crashes;
        transfers += w.stats.transfers;
        keys += w.stats.keys;
        undecided += w.stats.undecided;
        failovers += w.stats.failovers;
        strays += w.stats.strays;
        wiped += w.stats.wiped;
    }
    assert_true(all_well);
    /* The stories are about something. */
    assert_true(acks > 500 * STORIES && crashes > 2 * STORIES && transfers > 100 * STORIES);
    assert_true(wiped > STORIES);
    assert_true(keys > 10 * STORIES && undecided * 20 < keys && failovers > STORIES / 4 &&
                (strays > 0 || FEW));
}

static void the_same_seed_is_the_same_story(void **state)
{
    (void)state;
    bool well;
    struct world_options options = {
        .seed = 4711, .nodes = 5, .minutes = 1, .store_faults = true, .store_failovers = true};
    uint64_t first = tell(&options, &well);
    assert_true(first == tell(&options, &well));
    options.seed++;
    assert_true(first != tell(&options, &well));
}

/* What makes the check necessary, in all stories that are to show it; the others lack all that can
 * be switched off, which would hide what they are about. */
static const uint64_t needs[MUTANTS] = {
    [MUTANT_NO_DEDUP] = GROUP_BIT(GROUP_LINK_BREAKS),
    [MUTANT_READ_UNGATED] = GROUP_BIT(GROUP_BATCHES),
    [MUTANT_LATE_LOAD] = GROUP_BIT(GROUP_SLOW_LOADS) | GROUP_BIT(GROUP_EVICTIONS),
    [MUTANT_TRANSFER_FAILED] = GROUP_BIT(GROUP_STORE_DOUBTS),
    [MUTANT_DEPOSED] = GROUP_BIT(GROUP_DEPOSED),
    [MUTANT_NO_REDIAL] = GROUP_BIT(GROUP_DEPOSED) | GROUP_BIT(GROUP_UNTOLD),
    [MUTANT_FORWARD_AGAIN] = GROUP_BIT(GROUP_LINK_BREAKS),
    [MUTANT_LETTERS_UNGATED] = GROUP_BIT(GROUP_LETTERS),
    [MUTANT_CAST_AGAIN] = GROUP_BIT(GROUP_LETTERS) | GROUP_BIT(GROUP_LINK_BREAKS),
    [MUTANT_BATCH_UNGATED] = GROUP_BIT(GROUP_BATCHES),
    [MUTANT_STOP_UNSAVED] = GROUP_BIT(GROUP_STOPS),
    [MUTANT_EVICT_UNSAVED] = GROUP_BIT(GROUP_EVICTIONS),
    [MUTANT_WIPED_WINDOW] = GROUP_BIT(GROUP_WIPES),
    [MUTANT_KIND_LACKING] = GROUP_BIT(GROUP_KINDS),
    [MUTANT_CRASH_KEPT] = GROUP_BIT(GROUP_WIPES),
    [MUTANT_TIMERS_STAY] = GROUP_BIT(GROUP_LETTERS),
};

/* Fails with the mutant, and is well without it. */
static bool is_caught(enum mutant mutant, uint64_t seed, char failure[sizeof w.failure])
{
    bool well;
    struct world_options options = {.seed = seed,
                                    .nodes = 5,
                                    .minutes = 1,
                                    .store_faults = true,
                                    .store_failovers = true,
                                    .groups_on = needs[mutant],
                                    .groups_off = needs[mutant] == 0 ? ~UINT64_C(0) : 0,
                                    .mutant = mutant};
    tell(&options, &well);
    if (well)
        return false;
    memcpy(failure, w.failure, sizeof w.failure);
    options.mutant = MUTANT_NONE;
    tell(&options, &well);
    return well;
}

static void every_mutant_is_caught(void **state)
{
    (void)state;
    char failure[sizeof w.failure];
    if (FEW)
        skip();
    for (int mutant = MUTANT_NONE + 1; mutant < MUTANTS; mutant++) {
        uint64_t seed = 1;
        while (seed <= MUTANT_STORIES_MAX && !is_caught((enum mutant)mutant, seed, failure))
            seed++;
        if (seed > MUTANT_STORIES_MAX)
            fail_msg("%s: not caught in %d stories", mutant_names[mutant], MUTANT_STORIES_MAX);
        printf("%-16s caught in story %llu %s\n", mutant_names[mutant], (unsigned long long)seed,
               failure);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories_keep_their_promises),
        cmocka_unit_test(the_same_seed_is_the_same_story),
        cmocka_unit_test(every_mutant_is_caught),
    };
    return cmocka_run_group_tests_name("cluster_sim", tests, NULL, NULL);
}
