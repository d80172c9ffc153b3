/* See lone.h. */
#include "tests/sim/membership/lone.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/invariant.h"

static const uint8_t uid[GOSSIP_UID_BYTES] = "a lone member's.";

static struct troupe_bytes name_of(uint32_t n, char out[LONE_NAME_BYTES])
{
    int len = snprintf(out, LONE_NAME_BYTES, "n%u", (unsigned)n);
    return troupe_bytes(out, (size_t)len);
}

static uint32_t number_of(struct troupe_bytes name)
{
    uint32_t number = 0;
    for (size_t i = 1; i < name.len; i++)
        number = number * 10 + (uint32_t)(name.data[i] - '0');
    return number;
}

static uint64_t bit(uint32_t n)
{
    return UINT64_C(1) << n;
}

/* ---- what it sends ---- */

static void note(struct lone *l, const struct swim_send *send)
{
    static struct gossip_record records[GOSSIP_RECORDS_MAX];
    struct gossip_frame frame;
    struct swim_info to;
    const char *why;
    int rc = gossip_decode(troupe_bytes(l->fx.bytes + send->at, send->len), &frame, records, &why);
    INVARIANT(rc == 0 && l->sent_n < LONE_SENDS_MAX && swim_info(l->swim, send->to, &to));
    struct lone_sent *sent = &l->sent[l->sent_n++];
    *sent = (struct lone_sent){
        .at_ns = l->now_ns, .seq = frame.seq, .to = number_of(to.name), .type = frame.type};
    for (size_t i = 0; i < frame.records_n; i++) {
        sent->about |= bit(number_of(records[i].name));
        if (records[i].state == GOSSIP_SUSPECT)
            sent->suspects |= bit(number_of(records[i].name));
    }
}

/* Then whoever is asked answers. */
static void take_effects(struct lone *l)
{
    uint32_t from = l->sent_n;
    for (size_t i = 0; i < l->fx.sends_n; i++)
        note(l, &l->fx.sends[i]);
    l->fx.sends_n = l->fx.bytes_n = 0;
    for (uint32_t to = l->sent_n; from < to && l->others_answer; from++) {
        struct lone_word word = {.from = l->sent[from].to, .seq = l->sent[from].seq};
        if (l->sent[from].type == GOSSIP_PING)
            word.type = GOSSIP_ACK;
        else if (l->sent[from].type == GOSSIP_PING_REQ)
            word.type = GOSSIP_NACK;
        if (word.type == 0 || word.from == l->dumb)
            continue;
        l->now_ns++; /* after the question */
        lone_hear(l, &word);
    }
}

/* ---- what it hears ---- */

static size_t put_record(uint8_t *out, size_t size, const struct gossip_record *record)
{
    return record == NULL ? 0 : gossip_encode_record(record, out, size);
}

void lone_hear(struct lone *l, const struct lone_word *word)
{
    static const uint8_t empty[GOSSIP_BUCKETS * 4];
    uint8_t bytes[GOSSIP_FRAME_BYTES_MAX];
    char from[LONE_NAME_BYTES], target[LONE_NAME_BYTES];
    struct gossip_frame header = {
        .type = word->type,
        .from = name_of(word->from, from),
        .from_generation = word->generation == 0 ? l->generations[word->from] : word->generation,
        .seq = word->seq,
        .members_hash = swim_hash(l->swim) + word->differs,
        .reply = word->digest,
    };
    memcpy(header.uid, uid, sizeof header.uid);
    header.uid[0] ^= word->foreign;
    if (word->target != LONE_NOBODY)
        header.target = name_of(word->target, target);
    if (word->digest)
        header.digest = troupe_bytes(empty, sizeof empty);
    size_t len = gossip_encode_header(&header, bytes, sizeof bytes);
    len += put_record(bytes + len, sizeof bytes - len, word->record);
    swim_receive(l->swim, l->now_ns, troupe_bytes(bytes, len), &l->fx);
    take_effects(l);
}

void lone_tell(struct lone *l, uint8_t type, uint32_t from, uint32_t about, enum gossip_state state,
               uint64_t generation, uint64_t incarnation)
{
    char name[LONE_NAME_BYTES];
    struct gossip_record record = {.name = name_of(about, name),
                                   .generation = generation,
                                   .incarnation = incarnation,
                                   .state = (uint8_t)state};
    record.meta = record.name;
    if (about != 0 && about <= l->others_n && generation > l->generations[about])
        l->generations[about] = generation;
    lone_hear(l, &(struct lone_word){.type = type, .from = from, .record = &record});
}

void lone_rumour(struct lone *l, uint32_t from, uint32_t about, enum gossip_state state,
                 uint64_t generation, uint64_t incarnation)
{
    lone_tell(l, GOSSIP_RUMOURS, from, about, state, generation, incarnation);
}

void lone_evidence(struct lone *l, uint32_t about)
{
    char name[LONE_NAME_BYTES];
    swim_evidence(l->swim, l->now_ns, swim_find(l->swim, name_of(about, name)), &l->fx);
    take_effects(l);
}

/* ---- its life ---- */

void lone_open(struct lone *l, uint32_t others_n)
{
    char name[LONE_NAME_BYTES];
    struct swim_config config;
    INVARIANT(others_n <= LONE_OTHERS_MAX);
    lone_close(l);
    *l = (struct lone){.now_ns = LONE_SECOND, .others_n = others_n};
    swim_config_default(&config);
    config.name = config.meta = name_of(0, name);
    config.generation = config.seed = 1;
    config.members_max = LONE_OTHERS_MAX + 1;
    memcpy(config.uid, uid, sizeof config.uid);
    int rc = swim_open(&l->swim, &config, NULL, NULL, l->now_ns);
    INVARIANT(rc == 0);
    swim_set_state(l->swim, l->now_ns, GOSSIP_ACTIVE, &l->fx);
    for (uint32_t n = 1; n <= others_n; n++) {
        struct gossip_record record = {
            .name = name_of(n, name), .generation = 1, .incarnation = 1, .state = GOSSIP_ACTIVE};
        record.meta = record.name;
        l->generations[n] = 1;
        swim_learn(l->swim, l->now_ns, &record);
    }
    lone_forget(l);
}

void lone_close(struct lone *l)
{
    swim_close(l->swim);
    l->swim = NULL;
}

static void tick(struct lone *l)
{
    swim_tick(l->swim, l->now_ns, &l->fx);
    take_effects(l);
}

void lone_run(struct lone *l, uint64_t ns)
{
    uint64_t until_ns = l->now_ns + ns;
    for (uint64_t at_ns; (at_ns = swim_deadline(l->swim)) <= until_ns;) {
        l->now_ns = at_ns > l->now_ns ? at_ns : l->now_ns;
        tick(l);
    }
    l->now_ns = until_ns;
}

void lone_sleep(struct lone *l, uint64_t ns)
{
    l->now_ns += ns;
}

void lone_forget(struct lone *l)
{
    l->sent_n = 0;
}

const struct lone_sent *lone_await(struct lone *l, uint8_t type)
{
    lone_forget(l);
    for (uint64_t until_ns = l->now_ns + 60 * LONE_SECOND; l->now_ns < until_ns;) {
        uint64_t at_ns = swim_deadline(l->swim);
        l->now_ns = at_ns > l->now_ns ? at_ns : l->now_ns;
        tick(l);
        if (lone_last(l, type, LONE_NOBODY) != NULL)
            return lone_last(l, type, LONE_NOBODY);
    }
    return NULL;
}

/* ---- looking at it ---- */

struct swim_info lone_view(const struct lone *l, uint32_t n)
{
    char name[LONE_NAME_BYTES];
    struct swim_info info = {0};
    if (!swim_info(l->swim, swim_find(l->swim, name_of(n, name)), &info))
        return (struct swim_info){0};
    return info;
}

static bool is(const struct lone_sent *sent, uint8_t type, uint32_t to)
{
    return sent->type == type && (to == LONE_NOBODY || sent->to == to);
}

const struct lone_sent *lone_last(const struct lone *l, uint8_t type, uint32_t to)
{
    for (uint32_t i = l->sent_n; i-- > 0;) {
        if (is(&l->sent[i], type, to))
            return &l->sent[i];
    }
    return NULL;
}

uint32_t lone_count(const struct lone *l, uint8_t type, uint32_t to)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->sent_n; i++)
        n += is(&l->sent[i], type, to);
    return n;
}
