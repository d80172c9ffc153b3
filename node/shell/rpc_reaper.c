/* Connections that are over are freed here, on a thread of their own: at a timeout nng 1.5.2's
 * timer thread is inside the stream for a moment longer than the operation's callback takes, so the
 * stream must outlive its operations; and nng_aio_free, which waits for that thread and for
 * callbacks that are about to return, cannot be called from such a callback, where most connections
 * come to their end. (nng_aio_reap can, but it frees some time later, and does not say when.) The
 * thread sleeps while no connection ends. */
#include <pthread.h>
#include <stdlib.h>

#include "base/invariant.h"
#include "node/shell/rpc_impl.h"

static struct rpc_conn *next_one(struct rpc_server *s)
{
    pthread_mutex_lock(&s->lock);
    while (list_is_empty(&s->dead) && !s->reaper_ends)
        pthread_cond_wait(&s->dies, &s->lock);
    struct list *node = list_pop(&s->dead);
    pthread_mutex_unlock(&s->lock);
    return node == NULL ? NULL : LIST_ENTRY(node, struct rpc_conn, link);
}

static void *reap(void *server)
{
    struct rpc_server *s = server;
    struct rpc_conn *c;
    while ((c = next_one(s)) != NULL) {
        rpc__conn_free(c);
        pthread_mutex_lock(&s->lock); /* last: rpc_close frees the server when the count is 0 */
        s->conns_n--;
        pthread_cond_signal(&s->gone);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

bool rpc__reaper_start(struct rpc_server *s)
{
    INVARIANT(!s->reaping);
    list_init(&s->dead);
    pthread_cond_init(&s->dies, NULL);
    s->reaping = pthread_create(&s->reaper, NULL, reap, s) == 0;
    return s->reaping;
}

void rpc__reaper_stop(struct rpc_server *s)
{
    if (s->reaping) {
        pthread_mutex_lock(&s->lock);
        s->reaper_ends = true;
        pthread_cond_signal(&s->dies);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->reaper, NULL);
    }
    pthread_cond_destroy(&s->dies);
}

void rpc__reaper_take(struct rpc_conn *c)
{
    struct rpc_server *s = c->server;
    pthread_mutex_lock(&s->lock);
    list_remove(&c->link);
    list_push(&s->dead, &c->link);
    pthread_cond_signal(&s->dies);
    pthread_mutex_unlock(&s->lock);
}
