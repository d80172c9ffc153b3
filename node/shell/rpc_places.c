/* For whom the listener has a place (places.h), and whose place ends: idle connections, and, when
 * no descriptor is left, the one that is needed least. A timer looks around twice a second; it also
 * keeps the coarse clock by which each receive is noted, so that this costs a store.
 *
 * Out of descriptors: accept fails whether somebody waits or not. So a spare descriptor is given
 * up, and it waits; who comes then takes it, and somebody silent goes for the next one. If there is
 * nobody, who comes from this machine, an operator as a rule, is served all the same; others are
 * turned away. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/invariant.h"
#include "node/shell/log.h"
#include "node/shell/rpc_impl.h"

enum {
    TICK_MS = 500,
    SWEEPS = 8,            /* looks for idle connections in the time that makes one idle … */
    SWEEP_MS_MAX = 10000,  /* … or more often */
    VICTIMS_MAX = 64,      /* closed at once */
    TELL_AGAIN_MS = 60000, /* between two lines of a kind */
    REST_MS = 10,          /* a descriptor may be free then */
    KEPT_MAX = 64,
    KEPT_PART = 16,
};

/* ---- who has a place ---- */

static struct rpc_conn *conn_of(struct place *p)
{
    return LIST_ENTRY(p, struct rpc_conn, place);
}

/* Under the lock. */
static bool is_busy(const struct place *p)
{
    const struct rpc_conn *c = (const void *)((const char *)p - offsetof(struct rpc_conn, place));
    return c->in_flight > 0 || c->paused || atomic_load(&c->out_bytes) > 0;
}

static uint32_t at_least_one(uint32_t n)
{
    return n > 0 ? n : 1;
}

static uint32_t at_most(uint32_t n, uint32_t max)
{
    return n < max ? n : max;
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void rpc__places_init(struct rpc_server *s)
{
    const struct rpc_options *o = &s->options;
    uint32_t max = at_least_one(o->connections_max);
    uint32_t host_max = o->host_max > 0 ? o->host_max : at_least_one(max / 4);
    struct places_limits limits = {
        .max = max,
        .kept = at_most(max / KEPT_PART, KEPT_MAX),
        .strangers_max = at_least_one(max / 2),
        .host_max = at_most(host_max, max),
        .known_host_max = o->from_peer ? at_least_one(max / 2) : max,
    };
    places_init(&s->places, &limits, is_busy);
    atomic_init(&s->now_ms, nng_clock());
    s->spare_fd = open_spare();
}

/* False: it was told a moment ago. */
static bool tell_again(uint64_t *told_ms)
{
    uint64_t now_ms = nng_clock();
    if (*told_ms != 0 && now_ms - *told_ms < TELL_AGAIN_MS)
        return false;
    *told_ms = now_ms;
    return true;
}

/* Takes the place away. The connection, with a reference for who closes it, or NULL: it is about to
 * be freed anyway. Under the lock. */
static struct rpc_conn *evict(struct rpc_server *s, struct place *victim)
{
    struct rpc_conn *c = conn_of(victim);
    places_leave(&s->places, victim);
    return rpc__conn_try_ref(c) ? c : NULL;
}

static void close_victim(struct rpc_conn *victim)
{
    if (victim == NULL)
        return;
    rpc__conn_close(victim, NULL);
    rpc__conn_unref(victim);
}

static bool is_met(const struct rpc_server *s, const uint8_t host[PLACES_HOST_BYTES])
{
    for (uint32_t i = 0; i < at_most(s->met_n, RPC_MET_MAX); i++) {
        if (places_is_same(s->met[i], host))
            return true;
    }
    return false;
}

void rpc_met(struct rpc_server *s, const uint8_t *host)
{
    pthread_mutex_lock(&s->lock);
    if (!is_met(s, host))
        memcpy(s->met[s->met_n++ % RPC_MET_MAX], host, PLACES_HOST_BYTES);
    places_met(&s->places, host);
    pthread_mutex_unlock(&s->lock);
}

bool rpc__place_take(struct rpc_conn *c)
{
    struct rpc_server *s = c->server;
    struct rpc_conn *evicted = NULL;
    struct place *victim;
    places_stream_host(c->stream, c->place.host);
    pthread_mutex_lock(&s->lock);
    c->place.known = s->ipc || places_is_loopback(c->place.host) || is_met(s, c->place.host);
    enum places_room room =
        places_ask(&s->places, c->place.host, c->place.known, c->opened_ms, &victim);
    /* Who has gone and is not freed yet has a descriptor all the same. */
    bool taken = room != PLACES_FULL && !atomic_load(&s->closing) &&
                 s->conns_n <= 2 * (uint64_t)s->options.connections_max;
    if (taken && room == PLACES_ROOM_IF)
        evicted = evict(s, victim);
    if (taken) {
        places_take(&s->places, &c->place, c->opened_ms);
        list_push(&s->conns, &c->link);
        s->conns_n++;
    }
    bool tell = !taken && !atomic_load(&s->closing) && tell_again(&s->full_told_ms);
    pthread_mutex_unlock(&s->lock);
    close_victim(evicted);
    if (tell)
        log_line(LOG_LEVEL_WARN,
                 "connections are turned away: as many as may be are in use (rpc-connections-max, "
                 "rpc-connections-per-address)",
                 NULL);
    return taken;
}

/* ---- idle connections ---- */

/* Some that are idle, with a reference each. Under the lock. */
static size_t find_idle(struct rpc_server *s, uint64_t now_ms, struct rpc_conn *idle[VICTIMS_MAX])
{
    size_t n = 0;
    for (struct list *node = s->conns.next; n < VICTIMS_MAX && node != &s->conns;
         node = node->next) {
        struct rpc_conn *c = LIST_ENTRY(node, struct rpc_conn, link);
        uint64_t since_ms = atomic_load_explicit(&c->place.since_ms, memory_order_relaxed);
        if (is_busy(&c->place))
            atomic_store_explicit(&c->place.since_ms, now_ms, memory_order_relaxed);
        else if (since_ms + s->options.idle_ms < now_ms && !atomic_load(&c->closed) &&
                 rpc__conn_try_ref(c))
            idle[n++] = c;
    }
    return n;
}

static void sweep(struct rpc_server *s, uint64_t now_ms)
{
    struct rpc_conn *idle[VICTIMS_MAX];
    size_t n;
    do {
        pthread_mutex_lock(&s->lock);
        n = find_idle(s, now_ms, idle);
        pthread_mutex_unlock(&s->lock);
        for (size_t i = 0; i < n; i++)
            close_victim(idle[i]);
    } while (n == VICTIMS_MAX);
}

static uint32_t tick_ms(const struct rpc_server *s)
{
    uint32_t idle_ms = s->options.idle_ms;
    return idle_ms == 0 || idle_ms / SWEEPS > TICK_MS ? TICK_MS : at_least_one(idle_ms / SWEEPS);
}

void rpc__places_tick(void *server)
{
    struct rpc_server *s = server;
    if (nng_aio_result(s->tick_aio) != 0 || atomic_load(&s->closing))
        return;
    uint64_t now_ms = nng_clock();
    atomic_store_explicit(&s->now_ms, now_ms, memory_order_relaxed);
    if (s->options.idle_ms != 0 && now_ms >= s->sweep_ms) {
        sweep(s, now_ms);
        s->sweep_ms = now_ms + at_most(s->options.idle_ms / SWEEPS, SWEEP_MS_MAX);
    }
    nng_sleep_aio((nng_duration)tick_ms(s), s->tick_aio);
}

void rpc__places_start(struct rpc_server *s)
{
    nng_sleep_aio((nng_duration)tick_ms(s), s->tick_aio);
}

/* ---- out of descriptors ---- */

void rpc__places_close(struct rpc_server *s)
{
    if (s->spare_fd >= 0)
        close(s->spare_fd);
}

nng_duration rpc__no_descriptor(struct rpc_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool tell = tell_again(&s->files_told_ms);
    pthread_mutex_unlock(&s->lock);
    if (tell)
        log_line(
            LOG_LEVEL_ERROR,
            "out of files: connections wait, and silent ones are closed for them; raise the "
            "limit on open files (ulimit -n, LimitNOFILE= in a unit, or fs.file-max for all of "
            "the machine), or lower rpc-connections-max",
            NULL);
    if (s->spare_fd < 0)
        return REST_MS;
    close(s->spare_fd);
    s->spare_fd = -1;
    return 0;
}

bool rpc__may_have_spare(struct rpc_server *s, nng_stream *stream)
{
    uint8_t host[PLACES_HOST_BYTES];
    if (s->spare_fd < 0)
        s->spare_fd = open_spare();
    if (s->spare_fd >= 0)
        return true;
    struct rpc_conn *victim = NULL;
    pthread_mutex_lock(&s->lock);
    struct place *p = places_victim(&s->places, nng_clock());
    if (p != NULL)
        victim = evict(s, p);
    pthread_mutex_unlock(&s->lock);
    close_victim(victim);
    places_stream_host(stream, host);
    return p != NULL || s->ipc || places_is_loopback(host);
}
