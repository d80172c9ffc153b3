/* How news and probes go round. */
#include "tests/sim/membership/lone.h"
#include "tests/sim/membership/rules.h"

static struct lone l;

static const char *the_dead_are_tried_again(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    l.dumb = 1;
    lone_rumour(&l, 2, 1, GOSSIP_DEAD, 1, 1);
    lone_run(&l, 10 * LONE_SECOND);
    HOLD(lone_count(&l, GOSSIP_DIGEST, 1) >= 1);
    HOLD((lone_last(&l, GOSSIP_DIGEST, 1)->about & 2) != 0); /* it hears that it is dead */
    lone_run(&l, 300 * LONE_SECOND);
    lone_forget(&l);
    lone_run(&l, 300 * LONE_SECOND);
    HOLD(lone_count(&l, GOSSIP_DIGEST, 1) >= 10 && lone_count(&l, GOSSIP_DIGEST, 1) <= 70);
    return NULL;
}

static const char *a_rumour_ends(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 1, 2);
    HOLD(!swim_is_quiet(l.swim));
    lone_run(&l, 20 * LONE_SECOND);
    HOLD(swim_is_quiet(l.swim));
    return NULL;
}

/* Of seven others it tells four, and never one twice. */
static const char *a_rumour_goes_to_one_after_the_other(void)
{
    lone_open(&l, 7);
    for (uint64_t i = 2; i < 12; i++) {
        l.others_answer = true;
        lone_run(&l, 5 * LONE_SECOND);
        lone_forget(&l);
        lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 1, i);
        lone_run(&l, 150 * LONE_MS);
        for (uint32_t n = 1; n <= l.others_n; n++)
            HOLD(lone_count(&l, GOSSIP_RUMOURS, n) <= 1);
        HOLD(lone_count(&l, GOSSIP_RUMOURS, LONE_NOBODY) >= 3);
    }
    return NULL;
}

static uint32_t most_pinged(uint32_t *count)
{
    uint32_t most = 1;
    for (uint32_t n = 1; n <= l.others_n; n++) {
        if (lone_count(&l, GOSSIP_PING, n) > lone_count(&l, GOSSIP_PING, most))
            most = n;
    }
    *count = lone_count(&l, GOSSIP_PING, most);
    return most;
}

/* Every second probe; and when that one is gone, of the next one. */
static const char *each_sees_to_its_neighbour(void)
{
    uint32_t count;
    lone_open(&l, 7);
    l.others_answer = true;
    lone_run(&l, 20 * LONE_SECOND);
    uint32_t neighbour = most_pinged(&count);
    HOLD(count >= 10 && count <= 15);
    lone_rumour(&l, neighbour == 1 ? 2 : 1, neighbour, GOSSIP_LEFT, 1, 2);
    lone_run(&l, 2 * LONE_SECOND);
    lone_forget(&l);
    lone_run(&l, 20 * LONE_SECOND);
    HOLD(most_pinged(&count) != neighbour && count >= 10 && count <= 15);
    return NULL;
}

/* It is asked enough by all who hear of it; the others are not to wait. */
static const char *a_suspected_neighbour_is_not_all(void)
{
    uint32_t count;
    lone_open(&l, 7);
    l.others_answer = true;
    lone_run(&l, 20 * LONE_SECOND);
    l.dumb = most_pinged(&count);
    lone_rumour(&l, l.dumb == 1 ? 2 : 1, l.dumb, GOSSIP_SUSPECT, 1, 1);
    lone_forget(&l);
    lone_run(&l, 5 * LONE_SECOND);
    HOLD(lone_view(&l, l.dumb).suspect);
    HOLD(3 * lone_count(&l, GOSSIP_PING, l.dumb) <= lone_count(&l, GOSSIP_PING, LONE_NOBODY));
    return NULL;
}

/* The other half goes to all by turns. */
static const char *everybody_is_probed(void)
{
    lone_open(&l, 7);
    l.others_answer = true;
    lone_run(&l, 30 * LONE_SECOND);
    for (uint32_t n = 1; n <= l.others_n; n++)
        HOLD(lone_count(&l, GOSSIP_PING, n) >= 1);
    return NULL;
}

static const char *views_that_differ_are_compared(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    lone_run(&l, 5 * LONE_SECOND);
    lone_forget(&l);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9});
    HOLD(lone_count(&l, GOSSIP_DIGEST, 1) == 0);
    lone_rumour(&l, 2, 3, GOSSIP_ACTIVE, 1, 2);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9, .differs = true});
    HOLD(lone_count(&l, GOSSIP_DIGEST, LONE_NOBODY) == 0); /* what is being told will settle it */
    lone_run(&l, 3 * LONE_SECOND);
    lone_forget(&l);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9, .differs = true});
    HOLD(lone_count(&l, GOSSIP_DIGEST, 1) == 1);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9, .differs = true});
    HOLD(lone_count(&l, GOSSIP_DIGEST, 1) == 1); /* not again so soon */
    return NULL;
}

static const char *both_sides_of_a_comparison_learn(void)
{
    lone_open(&l, 6);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_RECORDS, .from = 1, .digest = true});
    HOLD(lone_count(&l, GOSSIP_RECORDS, 1) == 1);
    HOLD((lone_last(&l, GOSSIP_RECORDS, 1)->about & 0x7F) == 0x7F);
    return NULL;
}

const struct rule rules_of_spreading[] = {
    {"the dead are tried again", the_dead_are_tried_again},
    {"a rumour ends", a_rumour_ends},
    {"a rumour goes to one after the other", a_rumour_goes_to_one_after_the_other},
    {"each sees to its neighbour", each_sees_to_its_neighbour},
    {"a suspected neighbour is not all", a_suspected_neighbour_is_not_all},
    {"everybody is probed", everybody_is_probed},
    {"views that differ are compared", views_that_differ_are_compared},
    {"both sides of a comparison learn", both_sides_of_a_comparison_learn},
    {NULL, NULL},
};
