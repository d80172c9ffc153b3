/* See route.h. */
#include "client/route.h"

#include <stdlib.h>
#include <string.h>

#include "client/engine.h"
#include "client/monotonic.h"

int routes_init(struct troupe_client *c)
{
    size_t n = 1 + (size_t)c->links_max;
    c->routes = calloc(n, sizeof *c->routes);
    if (c->routes == NULL)
        return TROUPE_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct route *r = &c->routes[i];
        r->client = c;
        list_init(&r->queue);
        list_init(&r->flight);
        list_init(&r->unsent);
    }
    c->routes_n = 1;
    c->routes[0].addresses = c->addresses;
    c->routes[0].wanted = true;
    c->addresses = (struct address_list){0};
    return link_new(&c->routes[0].link, &(struct link_events){.frame = engine_on_frame,
                                                              .burst = engine_on_burst,
                                                              .changed = engine_on_change,
                                                              .data = &c->routes[0]});
}

void routes_close(struct troupe_client *c)
{
    for (size_t i = 0; c->routes != NULL && i < c->routes_n; i++) {
        link_free(c->routes[i].link);
        address_list_close(&c->routes[i].addresses);
    }
    free(c->routes);
    c->routes = NULL;
}

const char *route_text(const struct route *r)
{
    return r->addresses.items[r->address_now].text;
}

/* ---- which way ---- */

bool route_has_others(const struct troupe_client *c)
{
    return c->routes_n > 1;
}

struct route *route_any(struct troupe_client *c)
{
    for (size_t i = 0; i < c->routes_n; i++)
        if (c->routes[i].ready)
            return &c->routes[i];
    return NULL;
}

struct route *route_of_spot(struct troupe_client *c, ring_spot spot)
{
    struct route *r = &c->routes[ring_table_node(&c->ring, spot)];
    if (r == c->routes)
        return NULL;
    if (r->ready)
        return r;
    if (!r->wanted) {
        r->wanted = true;
        engine_wake_clock(c, r->redial_ms);
    }
    return NULL;
}

void route_lower(struct route *r)
{
    struct troupe_client *c = r->client;
    r->ready = false;
    r->check_until_ms = r->owes_ms = 0;
    if (r == c->routes)
        return; /* what waits for the seed is for nobody else */
    for (struct list *l = r->queue.next; l != &r->queue; l = l->next)
        LIST_ENTRY(l, struct leg, node)->way = NULL;
    list_splice(&c->queue, &r->queue);
}

/* ---- learning ---- */

static bool is_text(struct troupe_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

static bool fits_text(struct troupe_bytes bytes, size_t bytes_max)
{
    return bytes.len > 0 && bytes.len <= bytes_max && memchr(bytes.data, '\0', bytes.len) == NULL;
}

static bool leads_to(const struct route *r, const struct rpc_owner *owner)
{
    return is_text(owner->node, r->node) && is_text(owner->address, route_text(r)) &&
           is_text(owner->cluster_uid, r->uid);
}

/* One that has never been used, or whose node is not to be reached and not asked for. */
static struct route *free_route(struct troupe_client *c)
{
    if (c->routes_n <= c->links_max)
        return &c->routes[c->routes_n];
    uint64_t now_ms = monotonic_ms();
    for (size_t i = 1; i < c->routes_n; i++) {
        struct route *r = &c->routes[i];
        if (!r->wanted && !r->tended && now_ms >= r->redial_ms && list_is_empty(&r->flight) &&
            list_is_empty(&r->queue) && link_state(r->link) == LINK_DOWN)
            return r;
    }
    return NULL;
}

static void set_text(char *to, struct troupe_bytes from)
{
    memcpy(to, from.data, from.len);
    to[from.len] = '\0';
}

/* To a node that is new; NULL: there is no room, or its address is none. */
static struct route *new_route(struct troupe_client *c, const struct rpc_owner *owner)
{
    char text[ADDRESS_TEXT_BYTES], why[BATCH_TEXT_BYTES];
    struct route *r = free_route(c);
    if (r == NULL || !fits_text(owner->address, sizeof text - 1) ||
        !fits_text(owner->node, ROUTE_NODE_BYTES_MAX) ||
        !fits_text(owner->cluster_uid, ROUTE_UID_BYTES_MAX))
        return NULL;
    set_text(text, owner->address);
    struct address_list addresses;
    if (strchr(text, ',') != NULL || address_list_parse(&addresses, text, why, sizeof why) != 0)
        return NULL;
    struct link_events events = {
        .frame = engine_on_frame, .burst = engine_on_burst, .changed = engine_on_change, .data = r};
    if (r->link == NULL && link_new(&r->link, &events) != 0) {
        address_list_close(&addresses);
        return NULL;
    }
    ring_table_forget(&c->ring, (uint8_t)(r - c->routes));
    address_list_close(&r->addresses);
    r->addresses = addresses;
    r->address_next = r->address_now = 0;
    r->redial_failures = 0;
    r->redial_ms = 0;
    r->why[0] = '\0';
    set_text(r->node, owner->node);
    set_text(r->uid, owner->cluster_uid);
    r->wanted = true;
    if (r == &c->routes[c->routes_n])
        c->routes_n++;
    engine_wake_clock(c, 0);
    return r;
}

/* The route to the owner; the seed if that is where it leads, and if there is none. */
static struct route *route_to(struct troupe_client *c, const struct rpc_owner *owner)
{
    for (size_t i = 1; i < c->routes_n; i++)
        if (leads_to(&c->routes[i], owner))
            return &c->routes[i];
    if (c->routes[0].ready && is_text(owner->address, route_text(&c->routes[0])))
        return &c->routes[0];
    struct route *r = new_route(c, owner);
    return r == NULL ? &c->routes[0] : r;
}

void route_learn(struct troupe_client *c, ring_spot spot, const struct rpc_owner *owner,
                 struct route *by)
{
    if (ring_table_fit(&c->ring, owner->partitions) != 0)
        return;
    struct route *r = route_to(c, owner);
    ring_table_learn(&c->ring, spot, (uint8_t)(r - c->routes), owner->epoch,
                     (uint8_t)(by - c->routes));
    atomic_store(&c->ring_known, true);
}
