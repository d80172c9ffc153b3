/* Frames are built in place, in the effects: a header, then records for as long as there is room.
 */
#include "cluster/swim_impl.h"

void swim__header(const struct swim *s, enum gossip_type type, struct gossip_frame *header)
{
    *header = (struct gossip_frame){
        .type = (uint8_t)type,
        .from = intern_bytes(s->names, s->self),
        .from_generation = s->members[s->self].generation,
        .members_hash = s->hash,
        .owners_hash = s->owners_hash,
        .load = s->load,
        .hot = s->rumours_n > 0,
    };
    memcpy(header->uid, s->config.uid, sizeof header->uid);
}

struct swim_writer swim__begin(const struct gossip_frame *header, size_t bytes_max,
                               struct swim_effects *fx)
{
    struct swim_writer w = {.fx = fx, .at = fx->bytes_n, .limit = fx->bytes_n + bytes_max};
    if (w.limit > sizeof fx->bytes)
        w.limit = sizeof fx->bytes;
    size_t len = gossip_encode_header(header, fx->bytes + w.at, w.limit - w.at);
    w.failed = len == 0 || fx->sends_n == SWIM_SENDS_MAX;
    if (!w.failed)
        fx->bytes_n += len;
    return w;
}

bool swim__put_member(struct swim *s, struct swim_writer *w, swim_id id)
{
    if (w->failed)
        return false;
    struct gossip_record record;
    swim__record(s, id, &record);
    size_t len =
        gossip_encode_record(&record, w->fx->bytes + w->fx->bytes_n, w->limit - w->fx->bytes_n);
    w->fx->bytes_n += len;
    return len != 0;
}

void swim__address(struct swim *s, struct swim_writer *w, swim_id to)
{
    const struct swim_member *m = &s->members[to];
    if ((m->flags & SWIM_HEARD) == 0)
        swim__put_member(s, w, s->self);
    if (s->config.buddy && (m->suspicion != 0 || !swim__is_live(m)))
        swim__put_member(s, w, to);
}

void swim__put_news(struct swim *s, struct swim_writer *w)
{
    if (!w->failed)
        w->fx->bytes_n +=
            swim__put_rumours(s, w->fx->bytes + w->fx->bytes_n, w->limit - w->fx->bytes_n);
}

void swim__end(struct swim *s, struct swim_writer *w, bool is_contact, uint32_t to,
               uint64_t expires_ns)
{
    struct swim_effects *fx = w->fx;
    if (w->failed)
        return;
    fx->sends[fx->sends_n++] = (struct swim_send){
        .is_contact = is_contact,
        .to = to,
        .at = (uint32_t)w->at,
        .len = (uint32_t)(fx->bytes_n - w->at),
        .expires_ns = expires_ns,
    };
    s->stats.frames_out++;
    s->stats.bytes_out += fx->bytes_n - w->at;
}
