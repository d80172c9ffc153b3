/* See survey.h. Nodes that are away cost their timeout each, so several are asked at once. */
#include "tools/cli/survey.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/cli/now.h"

enum { ASKERS_MAX = 16, ASK_AGAIN_MS = 200 };

/* ---- asking the others ---- */

struct round {
    struct survey *survey;
    unsigned parts;
    uint32_t timeout_ms;
    pthread_mutex_t mu;
    size_t next; /* node that nobody asks yet */
};

static bool take_node(struct round *round, size_t *i)
{
    pthread_mutex_lock(&round->mu);
    *i = round->next++;
    pthread_mutex_unlock(&round->mu);
    return *i < round->survey->view.nodes_n;
}

static void *asker_main(void *data)
{
    struct round *round = data;
    struct survey *s = round->survey;
    for (size_t i; take_node(round, &i);) {
        struct cluster_node *node = &s->nodes[i];
        if (node->self)
            continue;
        view_ask_at(node->address, round->parts, round->timeout_ms, &s->others[i]);
        node->status = s->others[i].status;
        node->why = s->others[i].message;
    }
    return NULL;
}

static void ask_others(struct survey *s, unsigned parts, uint32_t timeout_ms)
{
    pthread_t threads[ASKERS_MAX];
    struct round round = {
        .survey = s, .parts = parts, .timeout_ms = timeout_ms, .mu = PTHREAD_MUTEX_INITIALIZER};
    size_t started = 0;
    while (started < ASKERS_MAX && started + 1 < s->view.nodes_n &&
           pthread_create(&threads[started], NULL, asker_main, &round) == 0)
        started++;
    if (started == 0) /* none needed, or none to be had */
        asker_main(&round);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&round.mu);
}

/* ---- the first ---- */

/* One of a version that does not know of members is all we see. */
static void list_one(struct survey *s, const char *address)
{
    const Troupe__Rpc__NodeStatus *status = s->first.status;
    s->nodes[s->view.nodes_n++] = (struct cluster_node){
        .name = status->name,
        .address = status->address[0] == '\0' ? address : status->address,
        .state = "active",
        .self = true,
        .status = status,
    };
}

static void list_members(struct survey *s, const Troupe__Rpc__Members *members)
{
    for (size_t i = 0; i < members->n_members; i++) {
        const Troupe__Rpc__Member *m = members->members[i];
        if (view_is_gone(m))
            continue;
        s->nodes[s->view.nodes_n++] = (struct cluster_node){
            .name = m->name,
            .address = m->address,
            .state = m->state,
            .suspect = m->suspect,
            .self = m->self,
            .status = m->self ? s->first.status : NULL,
            .why = "it was not asked",
        };
    }
}

static bool list_nodes(struct survey *s, const char *address, unsigned parts)
{
    const Troupe__Rpc__Members *members = s->first.members;
    size_t max = members == NULL ? 1 : members->n_members + 1;
    s->others = calloc(max, sizeof *s->others);
    s->nodes = calloc(max, sizeof *s->nodes);
    if (s->others == NULL || s->nodes == NULL) {
        snprintf(s->first.message, sizeof s->first.message, "out of memory");
        s->first.code = TROUPE_RESOURCE_EXHAUSTED;
        return false;
    }
    s->view = (struct cluster_view){.asked = s->first.status, .nodes = s->nodes};
    if (parts != VIEW_STATUS) {
        s->view.members = members;
        s->view.ring = s->first.ring;
    }
    if (members != NULL && view_self(members) != NULL)
        list_members(s, members);
    else
        list_one(s, address);
    return true;
}

bool survey_make_parts(struct survey *s, struct troupe_client *client, const char *address,
                       unsigned parts, unsigned other_parts, uint32_t timeout_ms)
{
    *s = (struct survey){0};
    view_ask(client, parts, timeout_ms, &s->first);
    if (s->first.code != TROUPE_OK || s->first.status == NULL || !list_nodes(s, address, parts))
        return false;
    ask_others(s, other_parts, timeout_ms);
    return true;
}

static bool make_once(struct survey *s, struct troupe_client *client, const char *address,
                      unsigned parts, uint32_t timeout_ms)
{
    return survey_make_parts(s, client, address, parts, VIEW_STATUS, timeout_ms);
}

const struct view *survey_of(const struct survey *s, size_t i)
{
    return s->nodes[i].self ? &s->first : &s->others[i];
}

bool survey_make_one(struct survey *s, struct troupe_client *client, const char *address,
                     uint32_t timeout_ms)
{
    return make_once(s, client, address, VIEW_STATUS, timeout_ms);
}

/* By way of the first node. A store that is away is not this survey's failure. */
static void ask_store(struct survey *s, struct troupe_client *client, uint32_t timeout_ms)
{
    struct view view;
    ProtobufCMessage *message =
        view_call(client, "owners", NULL, &troupe__rpc__owners__descriptor, timeout_ms, &view);
    s->store = (Troupe__Rpc__Owners *)(void *)message;
    s->view.store = s->store;
}

bool survey_make(struct survey *s, struct troupe_client *client, const char *address,
                 uint32_t timeout_ms, uint32_t agree_ms)
{
    uint64_t until_ms = now_ms() + agree_ms;
    unsigned parts = VIEW_STATUS | VIEW_MEMBERS | VIEW_RING;
    bool made = make_once(s, client, address, parts, timeout_ms);
    while (made && !judge_agreement(&s->view) && now_ms() < until_ms) {
        nanosleep(&(struct timespec){.tv_nsec = ASK_AGAIN_MS * 1000000L}, NULL);
        survey_close(s);
        made = make_once(s, client, address, parts, timeout_ms);
    }
    if (made && s->view.members != NULL)
        ask_store(s, client, timeout_ms);
    return made;
}

void survey_close(struct survey *s)
{
    for (size_t i = 0; s->others != NULL && i < s->view.nodes_n; i++)
        view_close(&s->others[i]);
    free(s->others);
    free(s->nodes);
    view_close(&s->first);
    if (s->store != NULL)
        protobuf_c_message_free_unpacked(&s->store->base, NULL);
    *s = (struct survey){0};
}
