/* Who is who: names, generations, and words that are the last. */
#include "tests/sim/membership/lone.h"
#include "tests/sim/membership/rules.h"

static struct lone l;

static enum gossip_state state_of(uint32_t n)
{
    return lone_view(&l, n).state;
}

/* After a partition one comparison would kill everybody else. */
static const char *a_death_that_is_synced_is_a_suspicion(void)
{
    lone_open(&l, 6);
    lone_tell(&l, GOSSIP_RECORDS, 2, 1, GOSSIP_DEAD, 1, 1);
    HOLD(state_of(1) == GOSSIP_ACTIVE && lone_view(&l, 1).suspect);
    lone_tell(&l, GOSSIP_DIGEST, 2, 3, GOSSIP_DEAD, 1, 1);
    HOLD(state_of(3) == GOSSIP_ACTIVE && lone_view(&l, 3).suspect);
    lone_rumour(&l, 2, 1, GOSSIP_DEAD, 1, 1);
    HOLD(state_of(1) == GOSSIP_DEAD && !lone_view(&l, 1).suspect);
    return NULL;
}

static const char *a_run_that_left_stays_away(void)
{
    lone_open(&l, 6);
    lone_rumour(&l, 2, 1, GOSSIP_LEFT, 1, 2);
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 1, 3);
    HOLD(state_of(1) == GOSSIP_LEFT);
    lone_rumour(&l, 2, 1, GOSSIP_SUSPECT, 1, 4);
    HOLD(state_of(1) == GOSSIP_LEFT);
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 2, 1);
    HOLD(state_of(1) == GOSSIP_ACTIVE && lone_view(&l, 1).generation == 2);
    return NULL;
}

static const char *leaving_is_our_last_word(void)
{
    lone_open(&l, 6);
    swim_set_state(l.swim, l.now_ns, GOSSIP_LEFT, &l.fx);
    swim_set_state(l.swim, l.now_ns, GOSSIP_ACTIVE, &l.fx);
    HOLD(state_of(0) == GOSSIP_LEFT);
    return NULL;
}

/* Generations come first: a new run begins its incarnations anew. */
static const char *a_new_run_is_above_all_words_of_the_old(void)
{
    lone_open(&l, 6);
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 1, 1000);
    lone_rumour(&l, 2, 1, GOSSIP_DEAD, 1, 1000);
    HOLD(state_of(1) == GOSSIP_DEAD);
    lone_rumour(&l, 2, 1, GOSSIP_JOINING, 2, 1);
    HOLD(state_of(1) == GOSSIP_JOINING && lone_view(&l, 1).incarnation == 1);
    lone_rumour(&l, 2, 1, GOSSIP_DEAD, 1, 2000);
    HOLD(state_of(1) == GOSSIP_JOINING);
    return NULL;
}

static const char *the_dead_are_not_met(void)
{
    lone_open(&l, 6);
    lone_rumour(&l, 2, 40, GOSSIP_DEAD, 1, 1);
    lone_rumour(&l, 2, 41, GOSSIP_SUSPECT, 1, 1);
    HOLD(state_of(40) == 0 && state_of(41) == 0);
    lone_rumour(&l, 2, 41, GOSSIP_ACTIVE, 1, 1);
    HOLD(state_of(41) == GOSSIP_ACTIVE);
    return NULL;
}

/* Else an old rumour would bring them back. */
static const char *the_dead_are_remembered(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    l.dumb = 1;
    lone_rumour(&l, 2, 1, GOSSIP_DEAD, 1, 1);
    lone_run(&l, 60 * LONE_SECOND);
    HOLD(state_of(1) == GOSSIP_DEAD);
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 1, 1);
    HOLD(state_of(1) == GOSSIP_DEAD);
    return NULL;
}

static const char *a_newer_run_of_our_name_is_noticed(void)
{
    lone_open(&l, 6);
    HOLD(!swim_is_superseded(l.swim));
    lone_rumour(&l, 2, 0, GOSSIP_JOINING, 2, 1);
    HOLD(swim_is_superseded(l.swim));
    return NULL;
}

/* DRAINING is further on than ACTIVE: two rumours of one incarnation may come in any order. */
static const char *of_one_incarnation_the_furthest_counts(void)
{
    lone_open(&l, 6);
    lone_rumour(&l, 2, 1, GOSSIP_DRAINING, 1, 1);
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 1, 1);
    HOLD(state_of(1) == GOSSIP_DRAINING);
    return NULL;
}

static const char *the_longest_dead_makes_room(void)
{
    lone_open(&l, LONE_OTHERS_MAX);
    lone_rumour(&l, 3, 61, GOSSIP_ACTIVE, 1, 1);
    HOLD(state_of(61) == 0); /* nobody living goes for it */
    lone_rumour(&l, 3, 1, GOSSIP_DEAD, 1, 1);
    lone_run(&l, LONE_SECOND);
    lone_rumour(&l, 3, 2, GOSSIP_DEAD, 1, 1);
    lone_rumour(&l, 3, 61, GOSSIP_ACTIVE, 1, 1);
    HOLD(state_of(1) == 0 && state_of(2) == GOSSIP_DEAD && state_of(61) == GOSSIP_ACTIVE);
    return NULL;
}

const struct rule rules_of_identity[] = {
    {"a death that is synced is a suspicion", a_death_that_is_synced_is_a_suspicion},
    {"a run that left stays away", a_run_that_left_stays_away},
    {"leaving is our last word", leaving_is_our_last_word},
    {"a new run is above all words of the old", a_new_run_is_above_all_words_of_the_old},
    {"the dead are not met", the_dead_are_not_met},
    {"the dead are remembered", the_dead_are_remembered},
    {"a newer run of our name is noticed", a_newer_run_of_our_name_is_noticed},
    {"of one incarnation the furthest counts", of_one_incarnation_the_furthest_counts},
    {"the longest dead makes room", the_longest_dead_makes_room},
    {NULL, NULL},
};
