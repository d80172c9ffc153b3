/* What counts as a sign of life or of its lack, and what does not. */
#include "tests/sim/membership/lone.h"
#include "tests/sim/membership/rules.h"

static struct lone l;

static bool any_suspect(void)
{
    for (uint32_t n = 1; n <= l.others_n; n++) {
        if (lone_view(&l, n).suspect || lone_view(&l, n).state == GOSSIP_DEAD)
            return true;
    }
    return false;
}

/* Another one is heard, so that silence is not why nothing is concluded. */
static void hear_somebody_but(uint32_t n)
{
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_RUMOURS, .from = n == 1 ? 2 : 1});
}

static const char *being_stopped_is_no_evidence(void)
{
    lone_open(&l, 5);
    const struct lone_sent *ping = lone_await(&l, GOSSIP_PING);
    HOLD(ping != NULL);
    uint32_t target = ping->to;
    hear_somebody_but(target);
    lone_sleep(&l, 3 * LONE_SECOND);
    lone_run(&l, 0);
    HOLD(!lone_view(&l, target).suspect);
    lone_rumour(&l, 2, 1, GOSSIP_SUSPECT, 1, 1);
    lone_rumour(&l, 3, 1, GOSSIP_SUSPECT, 1, 1);
    lone_rumour(&l, 4, 1, GOSSIP_SUSPECT, 1, 1);
    lone_rumour(&l, 5, 1, GOSSIP_SUSPECT, 1, 1);
    lone_sleep(&l, 60 * LONE_SECOND);
    hear_somebody_but(1);
    lone_run(&l, 0);
    HOLD(lone_view(&l, 1).state == GOSSIP_ACTIVE);
    return NULL;
}

static const char *silence_of_all_is_no_evidence(void)
{
    lone_open(&l, 5);
    lone_run(&l, 3 * LONE_SECOND);
    HOLD(!any_suspect());
    return NULL;
}

static const char *silence_is_believed_in_the_end(void)
{
    lone_open(&l, 2);
    lone_run(&l, 400 * LONE_SECOND);
    HOLD(swim_live(l.swim) == 1);
    return NULL;
}

static const char *an_ack_counts_in_time_only(void)
{
    lone_open(&l, 5);
    const struct lone_sent *ping = lone_await(&l, GOSSIP_PING);
    HOLD(ping != NULL);
    struct lone_word ack = {.type = GOSSIP_ACK, .from = ping->to, .seq = ping->seq};
    lone_run(&l, 599 * LONE_MS);
    lone_sleep(&l, 100 * LONE_MS);
    lone_hear(&l, &ack);
    lone_run(&l, 0);
    HOLD(lone_view(&l, ack.from).suspect);
    return NULL;
}

static const char *an_ack_counts_for_its_ping_only(void)
{
    lone_open(&l, 5);
    const struct lone_sent *ping = lone_await(&l, GOSSIP_PING);
    HOLD(ping != NULL);
    struct lone_word ack = {.type = GOSSIP_ACK, .from = ping->to, .seq = ping->seq + 1000};
    lone_hear(&l, &ack);
    lone_run(&l, 700 * LONE_MS);
    HOLD(lone_view(&l, ack.from).suspect);
    return NULL;
}

static const char *a_relayed_ack_is_that_of_its_ping(void)
{
    lone_open(&l, 5);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING_REQ, .from = 1, .target = 2, .seq = 77});
    const struct lone_sent *ping = lone_last(&l, GOSSIP_PING, 2);
    HOLD(ping != NULL);
    struct lone_word ack = {.type = GOSSIP_ACK, .from = 2, .seq = ping->seq + 5};
    lone_hear(&l, &ack);
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 0);
    ack.seq -= 5;
    lone_hear(&l, &ack);
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 1 && lone_last(&l, GOSSIP_ACK, 1)->seq == 77);
    return NULL;
}

/* A helper that cannot reach the target says so while the prober still waits. */
static const char *a_helper_says_that_it_heard_nothing(void)
{
    lone_open(&l, 5);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING_REQ, .from = 1, .target = 2, .seq = 77});
    lone_run(&l, 249 * LONE_MS);
    HOLD(lone_count(&l, GOSSIP_NACK, 1) == 1 && lone_last(&l, GOSSIP_NACK, 1)->seq == 77);
    lone_run(&l, 2 * LONE_SECOND);
    HOLD(lone_count(&l, GOSSIP_NACK, 1) == 1);
    return NULL;
}

/* Who took over the address of another answers for itself only. */
static const char *a_ping_for_another_is_not_answered(void)
{
    lone_open(&l, 5);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .target = 2, .seq = 9});
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 0);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .seq = 9});
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 1);
    return NULL;
}

static const char *a_run_that_is_over_is_not_listened_to(void)
{
    lone_open(&l, 5);
    lone_rumour(&l, 2, 1, GOSSIP_ACTIVE, 2, 1);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .generation = 1, .seq = 9});
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 0);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .generation = 2, .seq = 9});
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 1);
    return NULL;
}

static const char *another_cluster_is_not_listened_to(void)
{
    lone_open(&l, 5);
    lone_hear(&l, &(struct lone_word){.type = GOSSIP_PING, .from = 1, .foreign = true, .seq = 9});
    HOLD(lone_count(&l, GOSSIP_ACK, 1) == 0);
    return NULL;
}

static const char *a_probe_is_about_the_run_that_it_asks(void)
{
    lone_open(&l, 5);
    const struct lone_sent *ping = lone_await(&l, GOSSIP_PING);
    HOLD(ping != NULL);
    uint32_t target = ping->to;
    lone_rumour(&l, target == 1 ? 2 : 1, target, GOSSIP_ACTIVE, 2, 1);
    l.others_answer = true;
    lone_run(&l, 2 * LONE_SECOND);
    HOLD(!lone_view(&l, target).suspect);
    return NULL;
}

/* Helpers that cannot reach the target either show that our own ears are good. */
static const char *nacks_speak_for_us(void)
{
    lone_open(&l, 5);
    const struct lone_sent *ping = lone_await(&l, GOSSIP_PING);
    HOLD(ping != NULL);
    uint64_t seq = ping->seq;
    lone_run(&l, 300 * LONE_MS);
    HOLD(lone_count(&l, GOSSIP_PING_REQ, LONE_NOBODY) == 3);
    for (uint32_t n = 1; n <= l.others_n; n++) {
        if (lone_count(&l, GOSSIP_PING_REQ, n) > 0)
            lone_hear(&l, &(struct lone_word){.type = GOSSIP_NACK, .from = n, .seq = seq});
    }
    lone_run(&l, 400 * LONE_MS);
    HOLD(any_suspect());
    HOLD(swim_health(l.swim) == 0);
    return NULL;
}

static const char *who_fails_gives_others_more_time(void)
{
    lone_open(&l, 5);
    lone_run(&l, 5 * LONE_SECOND);
    HOLD(swim_health(l.swim) > 0);
    lone_forget(&l);
    lone_run(&l, 10 * LONE_SECOND);
    uint32_t slow = lone_count(&l, GOSSIP_PING, LONE_NOBODY);
    HOLD(slow < 8);
    l.others_answer = true;
    lone_run(&l, 120 * LONE_SECOND);
    HOLD(swim_health(l.swim) == 0);
    return NULL;
}

/* A connection that breaks is a reason to ask, not to suspect. */
static const char *evidence_is_asked_about(void)
{
    lone_open(&l, 5);
    lone_evidence(&l, 3);
    HOLD(lone_count(&l, GOSSIP_PING, 3) == 1 && !lone_view(&l, 3).suspect);
    lone_evidence(&l, 3); /* once more while that is under way: others are asked at once */
    HOLD(lone_count(&l, GOSSIP_PING, 3) == 1 && lone_count(&l, GOSSIP_PING_REQ, LONE_NOBODY) == 3);
    HOLD(!lone_view(&l, 3).suspect);
    return NULL;
}

const struct rule rules_of_evidence[] = {
    {"being stopped is no evidence", being_stopped_is_no_evidence},
    {"silence of all is no evidence", silence_of_all_is_no_evidence},
    {"silence is believed in the end", silence_is_believed_in_the_end},
    {"an ack counts in time only", an_ack_counts_in_time_only},
    {"an ack counts for its ping only", an_ack_counts_for_its_ping_only},
    {"a relayed ack is that of its ping", a_relayed_ack_is_that_of_its_ping},
    {"a helper says that it heard nothing", a_helper_says_that_it_heard_nothing},
    {"a ping for another is not answered", a_ping_for_another_is_not_answered},
    {"a run that is over is not listened to", a_run_that_is_over_is_not_listened_to},
    {"another cluster is not listened to", another_cluster_is_not_listened_to},
    {"a probe is about the run that it asks", a_probe_is_about_the_run_that_it_asks},
    {"nacks speak for us", nacks_speak_for_us},
    {"who fails gives others more time", who_fails_gives_others_more_time},
    {"evidence is asked about", evidence_is_asked_about},
    {NULL, NULL},
};
