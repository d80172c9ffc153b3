/* How a suspicion begins, grows certain, and ends. */
#include "tests/sim/membership/lone.h"
#include "tests/sim/membership/rules.h"

static struct lone l;

static void suspect(uint32_t by, uint64_t incarnation)
{
    lone_rumour(&l, by, 1, GOSSIP_SUSPECT, 1, incarnation);
}

/* n1 says nothing any more, and three others have noticed: over in 1.8 s. */
static void suspect_by_three(void)
{
    l.others_answer = true;
    l.dumb = 1;
    for (uint32_t by = 2; by <= 4; by++)
        suspect(by, 1);
    suspect(5, 1);
}

static bool lives(void)
{
    return lone_view(&l, 1).state == GOSSIP_ACTIVE;
}

static const char *confirmations_shorten_a_suspicion(void)
{
    lone_open(&l, 6);
    suspect_by_three();
    lone_run(&l, 1700 * LONE_MS);
    HOLD(lives());
    lone_run(&l, 500 * LONE_MS);
    HOLD(!lives());
    return NULL;
}

static const char *a_suspecter_counts_once(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    l.dumb = 1;
    for (int i = 0; i < 10; i++)
        suspect(2, 1);
    lone_run(&l, 2500 * LONE_MS);
    HOLD(lives());
    lone_run(&l, 10 * LONE_SECOND);
    HOLD(!lives());
    return NULL;
}

static const char *the_suspect_has_the_last_word(void)
{
    lone_open(&l, 6);
    suspect_by_three();
    lone_run(&l, 1200 * LONE_MS);
    lone_forget(&l);
    lone_run(&l, 550 * LONE_MS);
    HOLD(lone_count(&l, GOSSIP_PING, 1) >= 2);
    HOLD((lone_last(&l, GOSSIP_PING, 1)->suspects & 2) != 0);
    HOLD(lone_count(&l, GOSSIP_PING, LONE_NOBODY) - lone_count(&l, GOSSIP_PING, 1) >= 2);
    lone_rumour(&l, 1, 1, GOSSIP_ACTIVE, 1, 2);
    lone_run(&l, 2 * LONE_SECOND);
    HOLD(lives());
    return NULL;
}

/* Who hears nobody after asking is deaf itself. */
static const char *the_deaf_do_not_judge(void)
{
    lone_open(&l, 6);
    suspect_by_three();
    lone_run(&l, 1250 * LONE_MS);
    l.others_answer = false;
    lone_run(&l, 1750 * LONE_MS);
    HOLD(lives());
    l.others_answer = true;
    lone_run(&l, 1 * LONE_SECOND);
    HOLD(!lives());
    return NULL;
}

/* The answers to what was asked before it was stopped may wait in its inbox. */
static const char *who_was_stopped_asks_anew(void)
{
    lone_open(&l, 6);
    suspect_by_three();
    lone_run(&l, 1600 * LONE_MS);
    lone_sleep(&l, 1 * LONE_SECOND);
    lone_forget(&l);
    lone_run(&l, 1 * LONE_SECOND);
    HOLD(lone_count(&l, GOSSIP_PING, 1) >= 2);
    return NULL;
}

static const char *a_suspect_is_told_so(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    l.dumb = 1;
    suspect(2, 1);
    lone_run(&l, 3 * LONE_SECOND);
    HOLD(lives() && swim_is_quiet(l.swim));
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9});
    HOLD((lone_last(&l, GOSSIP_ACK, 1)->suspects & 2) != 0);
    return NULL;
}

static const char *only_a_higher_incarnation_refutes(void)
{
    lone_open(&l, 6);
    suspect(2, 1);
    lone_rumour(&l, 3, 1, GOSSIP_ACTIVE, 1, 1);
    HOLD(lone_view(&l, 1).suspect);
    lone_rumour(&l, 3, 1, GOSSIP_ACTIVE, 1, 2);
    HOLD(lives() && !lone_view(&l, 1).suspect);
    suspect(4, 1);
    HOLD(!lone_view(&l, 1).suspect);
    lone_rumour(&l, 4, 1, GOSSIP_DEAD, 1, 1);
    HOLD(lives());
    suspect(4, 2);
    HOLD(lone_view(&l, 1).suspect);
    return NULL;
}

/* A suspicion of a later word is another one: it has all its time. */
static const char *a_later_suspicion_begins_anew(void)
{
    lone_open(&l, 6);
    suspect_by_three();
    lone_run(&l, 1500 * LONE_MS);
    suspect(2, 2);
    lone_run(&l, 2500 * LONE_MS);
    HOLD(lives());
    return NULL;
}

static const char *our_refutation_is_above_what_it_refutes(void)
{
    lone_open(&l, 6);
    uint64_t heard = lone_view(&l, 0).incarnation + 3;
    lone_rumour(&l, 1, 0, GOSSIP_SUSPECT, 1, heard);
    HOLD(lone_view(&l, 0).incarnation > heard && lone_view(&l, 0).state == GOSSIP_ACTIVE);
    lone_rumour(&l, 1, 0, GOSSIP_DEAD, 1, heard + 10);
    HOLD(lone_view(&l, 0).incarnation > heard + 10);
    return NULL;
}

/* n1 has missed it, and asks long after it was told. */
static const char *a_refutation_is_said_again(void)
{
    lone_open(&l, 6);
    l.others_answer = true;
    uint64_t heard = lone_view(&l, 0).incarnation;
    lone_rumour(&l, 2, 0, GOSSIP_SUSPECT, 1, heard);
    lone_run(&l, 5 * LONE_SECOND);
    HOLD(swim_is_quiet(l.swim));
    lone_tell(&l, GOSSIP_PING, 1, 0, GOSSIP_SUSPECT, 1, heard);
    HOLD(lone_last(&l, GOSSIP_ACK, 1) != NULL && (lone_last(&l, GOSSIP_ACK, 1)->about & 1) != 0);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9});
    HOLD((lone_last(&l, GOSSIP_ACK, 1)->about & 1) == 0);
    return NULL;
}

static const char *a_rumour_of_suspicion_is_looked_into(void)
{
    lone_open(&l, 6);
    suspect(2, 1);
    HOLD(lone_count(&l, GOSSIP_PING, 1) == 1);
    return NULL;
}

/* A refutation needs longer to reach all: 1.5 s times log10(60). */
static const char *in_a_big_cluster_it_takes_longer(void)
{
    lone_open(&l, 59);
    suspect_by_three();
    lone_run(&l, 2500 * LONE_MS);
    HOLD(lives());
    lone_run(&l, 500 * LONE_MS);
    HOLD(!lives());
    return NULL;
}

const struct rule rules_of_suspicion[] = {
    {"confirmations shorten a suspicion", confirmations_shorten_a_suspicion},
    {"a suspecter counts once", a_suspecter_counts_once},
    {"the suspect has the last word", the_suspect_has_the_last_word},
    {"the deaf do not judge", the_deaf_do_not_judge},
    {"who was stopped asks anew", who_was_stopped_asks_anew},
    {"a suspect is told so", a_suspect_is_told_so},
    {"only a higher incarnation refutes", only_a_higher_incarnation_refutes},
    {"a later suspicion begins anew", a_later_suspicion_begins_anew},
    {"our refutation is above what it refutes", our_refutation_is_above_what_it_refutes},
    {"a refutation is said again", a_refutation_is_said_again},
    {"a rumour of suspicion is looked into", a_rumour_of_suspicion_is_looked_into},
    {"in a big cluster it takes longer", in_a_big_cluster_it_takes_longer},
    {NULL, NULL},
};
