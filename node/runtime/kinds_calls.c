/* Calls to kinds that are not open on this node; see kinds_open.h. One that has opened is run by
 * other nodes, and the call goes there. One that has not is UNAVAILABLE, with the names of the
 * nodes that hold it up. Only what no node has, and none ever had, is NOT_FOUND. */
#include <stdio.h>

#include "node/runtime/internal.h"

enum { NAMES_BYTES = 256, FRESH_MS = 100 };

static struct troupe_bytes name_of(const struct runtime *rt, const struct message *m)
{
    if (m->kind != rt->kinds_n)
        return rt->kinds[m->kind].name;
    return m->request->rpc->calls[m->index].kind;
}

static int shown(struct troupe_bytes name)
{
    return (int)(name.len < 80 ? name.len : 80);
}

/* It is this node that cannot. */
static void send_on(struct runtime *rt, struct message *m, struct troupe_bytes name)
{
    const struct ownership_entry *e = &rt->ownership.entries[m->pid];
    uint32_t node = forward__target(rt, m->pid);
    bool hopped = forward__has_hopped(m);
    if (node != NODE_NONE && !hopped)
        forward__message(rt, m, node);
    else if (e->state == OWNERSHIP_FOREIGN && !hopped && ring_members(&rt->members.ring) > 0)
        deliver__park(rt, m); /* until it is known whose it is */
    else
        message__refuse(rt, m, TROUPE_UNAVAILABLE,
                        "%.*s entities do not run on node %s, which lacks what they need: %s. "
                        "`troupe kinds` shows who has what",
                        shown(name), (const char *)name.data, rt->config.name, rt->kinds_open.why);
}

static bool has_somebody(const struct runtime *rt, struct troupe_bytes name)
{
    const struct kinds_open *o = &rt->kinds_open;
    uint32_t version;
    for (size_t i = 0; i < o->rows_n; i++) {
        if (o->rows[i].kinds != NULL && kinds__find(o->rows[i].kinds, name, &version))
            return true;
    }
    return deliver__kind(rt, name) != NULL;
}

static bool may_somebody(const struct runtime *rt)
{
    const struct kinds_open *o = &rt->kinds_open;
    for (size_t i = 0; i < o->rows_n; i++) {
        if (o->rows[i].kinds == NULL)
            return true;
    }
    return false;
}

static void refuse_closed(struct runtime *rt, struct message *m, struct troupe_bytes name)
{
    char names[NAMES_BYTES];
    kinds__list_lacking(rt, name, names, sizeof names);
    message__refuse(
        rt, m, TROUPE_UNAVAILABLE,
        "kind %.*s is not open yet: it opens when every node has it. These lack it: %s. "
        "Start them with it (--kinds), or stop them",
        shown(name), (const char *)name.data, names);
}

/* Nothing is known of it. A node of a program of before does not tell what it has, and another one
 * that forwards has it. */
static void refuse_unknown(struct runtime *rt, struct message *m, struct troupe_bytes name)
{
    char known[NAMES_BYTES];
    size_t at = 0;
    if (may_somebody(rt) && !forward__has_hopped(m) && forward__target(rt, m->pid) != NODE_NONE) {
        forward__message(rt, m, forward__target(rt, m->pid));
        return;
    }
    if (may_somebody(rt) || m->request->from_peer || m->request->rpc->hops > 0) {
        message__refuse(rt, m, TROUPE_UNAVAILABLE,
                        "node %s does not have kind %.*s, and does not know who has: retry",
                        rt->config.name, shown(name), (const char *)name.data);
        return;
    }
    known[0] = '\0';
    for (size_t i = 0; i < rt->kinds_n && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i == 0 ? "" : ", ",
                               rt->kinds[i].def->name);
    if (rt->kinds_n == 0)
        snprintf(known, sizeof known, "none: start it with --kinds FILE.so");
    message__refuse(rt, m, TROUPE_NOT_FOUND, "no kind '%.*s' here; this node's kinds: %s",
                    (int)name.len, (const char *)name.data, known);
}

/* Who sent it to us knows more than the last renewal told us: then the rows are read again first.
 */
static bool waits_for_news(struct runtime *rt, const struct message *m)
{
    struct kinds_open *o = &rt->kinds_open;
    bool forwarded = m->type != MESSAGE_REQUEST || m->request->rpc->hops > 0;
    if (!forwarded || !rt->lease.held || rt->now.mono_ns - o->read_ns < FRESH_MS * NS_PER_MS)
        return false;
    o->wanted = true;
    rt->lease.next_ns = rt->now.mono_ns;
    return true;
}

void kinds__deliver(struct runtime *rt, struct message *m)
{
    const struct kinds_open *o = &rt->kinds_open;
    struct troupe_bytes name = name_of(rt, m);
    bool ready = rt->phase == RUNTIME_SERVING || rt->phase == RUNTIME_STOPPING;
    bool lacked = m->kind == rt->kinds_n;
    uint32_t version;
    bool unsettled = !ready || !o->known || (!lacked && rt->kinds[m->kind].opening);
    if (!unsettled && kinds__find(o->open, name, &version))
        send_on(rt, m, name);
    else if (unsettled || waits_for_news(rt, m))
        deliver__park(rt, m);
    else if (has_somebody(rt, name))
        refuse_closed(rt, m, name);
    else
        refuse_unknown(rt, m, name);
}
