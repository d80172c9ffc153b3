/* The promise that counts most: kill -9 at any moment during a durable load loses no acknowledged
 * booking, and books no slot twice. Ten times on each store, at random moments.
 *
 * Each round books slots in batches as fast as they are answered, notes what was acknowledged,
 * kills the node, starts it again, and reads every venue's bookings. Calls that were not answered
 * may have happened or not. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node_fixture.h"
#include "pg_fixture.h"
#include "tests/unit/random.h"

enum {
    ROUNDS = 10,
    VENUES = 40,
    CALLS = 32,
    IN_FLIGHT = 4,
    BOOKINGS_MAX = 60000,
    MOMENT_MS_MAX = 500
};

struct load {
    struct node_fixture n;
    struct troupe_client *client;
    struct troupe_batch *batches[IN_FLIGHT];
    uint32_t first[IN_FLIGHT]; /* number of the booking of a batch's first call */
    atomic_bool stop;
    atomic_uint next, under_way;
    _Atomic(uint8_t) acked[BOOKINGS_MAX];
    uint64_t acks;
};

/* Booking i is of a venue and a slot of its own. */
static void booking(uint32_t i, char id[16], char slot[32])
{
    uint32_t at = i / VENUES;
    snprintf(id, 16, "%u", i % VENUES);
    snprintf(slot, 32, "20%02u-%02u-%02uT%02u:%02uZ", 30 + at / (12 * 28 * 24 * 2) % 60,
             at / (28 * 24 * 2) % 12 + 1, at / (24 * 2) % 28 + 1, at / 2 % 24, at % 2 * 30);
}

static void on_answer(struct troupe_batch *batch, void *data);

static void send_next(struct load *l, size_t b)
{
    uint32_t first = atomic_fetch_add(&l->next, CALLS);
    if (atomic_load(&l->stop) || first + CALLS > BOOKINGS_MAX) {
        atomic_fetch_sub(&l->under_way, 1);
        return;
    }
    l->first[b] = first;
    troupe_batch_reset(l->batches[b]);
    for (uint32_t i = 0; i < CALLS; i++) {
        char id[16], slot[32], json[96];
        booking(first + i, id, slot);
        snprintf(json, sizeof json, "{\"slot\":\"%s\",\"user\":\"%u\"}", slot, (first + i) % 97);
        troupe_batch_add(l->batches[b], troupe_bytes_of("venue"), troupe_bytes_of(id),
                         troupe_bytes_of("book"), troupe_bytes_of(json), TROUPE_ACK_MEMORY,
                         TROUPE_CALL_JSON | TROUPE_CALL_NO_ID);
    }
    if (troupe_batch_send(l->batches[b], 3000, on_answer, l) != 0)
        atomic_fetch_sub(&l->under_way, 1);
}

static void on_answer(struct troupe_batch *batch, void *data)
{
    struct load *l = data;
    size_t b = 0;
    while (l->batches[b] != batch)
        b++;
    for (uint32_t i = 0; i < CALLS; i++) {
        const struct troupe_call_result *r = troupe_batch_result(batch, i);
        if (r->status == TROUPE_OK && r->ack == TROUPE_ACK_DURABLE)
            atomic_store(&l->acked[l->first[b] + i], 1);
    }
    send_next(l, b);
}

static void create_venues(struct load *l)
{
    for (uint32_t i = 0; i < VENUES; i++) {
        char entity[32];
        snprintf(entity, sizeof entity, "venue/%u", i);
        const struct troupe_call_result *r =
            node_call(&l->n, entity, "create", "{\"name\":\"Hall\",\"country\":\"NL\"}",
                      TROUPE_ACK_DURABLE, 10000);
        assert_int_equal(r->status, TROUPE_OK);
    }
}

static void book_until(struct load *l, uint64_t ms)
{
    struct troupe_client_options options = {.addresses = l->n.address};
    char errmsg[256];
    assert_int_equal(troupe_client_open(&l->client, &options, errmsg, sizeof errmsg), 0);
    atomic_store(&l->stop, false);
    atomic_store(&l->under_way, IN_FLIGHT);
    for (size_t b = 0; b < IN_FLIGHT; b++) {
        l->batches[b] = troupe_batch_new(l->client);
        assert_non_null(l->batches[b]);
    }
    for (size_t b = 0; b < IN_FLIGHT; b++)
        send_next(l, b);
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000},
              NULL); /* the random moment itself */
    assert_int_equal(node_stop(&l->n, SIGKILL), 128 + SIGKILL);
    atomic_store(&l->stop, true);
    troupe_client_close(l->client); /* fails what is under way; all callbacks have returned */
    for (size_t b = 0; b < IN_FLIGHT; b++)
        troupe_batch_free(l->batches[b]);
    node_free(&l->n);
}

/* Every acknowledged booking is there, once. */
static void look(struct load *l)
{
    uint32_t n = atomic_load(&l->next) < BOOKINGS_MAX ? atomic_load(&l->next) : BOOKINGS_MAX;
    for (uint32_t v = 0; v < VENUES; v++) {
        char entity[32];
        snprintf(entity, sizeof entity, "venue/%u", v);
        const struct troupe_call_result *r =
            node_call(&l->n, entity, "$get", "", TROUPE_ACK_MEMORY, 10000);
        assert_int_equal(r->status, TROUPE_OK);
        char *text = malloc(r->payload.len + 1);
        memcpy(text, r->payload.data, r->payload.len);
        text[r->payload.len] = '\0';
        for (uint32_t i = v; i < n; i += VENUES) {
            char id[16], slot[32], quoted[48];
            booking(i, id, slot);
            snprintf(quoted, sizeof quoted, "\"slot\":\"%s\"", slot);
            const char *found = strstr(text, quoted);
            if (atomic_load(&l->acked[i]) != 0 && found == NULL)
                fail_msg("the acknowledged booking of %s at %s is lost", slot, entity);
            if (found != NULL)
                assert_null(strstr(found + 1, quoted));
        }
        free(text);
    }
}

static void kill_ten_times(const char *store)
{
    static struct load l;
    struct dice d = dice_new((uint64_t)time(NULL));
    char dir[64];
    const char *extra[] = {"--store", store, NULL};
    memset(&l, 0, sizeof l);
    proc_temp_dir(dir);
    node_start(&l.n, dir, extra);
    create_venues(&l);
    for (int round = 0; round < ROUNDS; round++) {
        book_until(&l, 20 + dice_below(&d, MOMENT_MS_MAX));
        node_start(&l.n, dir, extra);
        look(&l);
    }
    uint64_t acks = 0;
    for (size_t i = 0; i < BOOKINGS_MAX; i++)
        acks += atomic_load(&l.acked[i]);
    printf("%s: %llu bookings acknowledged in %d rounds, all there\n", store,
           (unsigned long long)acks, ROUNDS);
    assert_true(acks > 100);
    assert_int_equal(node_stop(&l.n, SIGTERM), 0);
    node_free(&l.n);
    proc_remove_dir(dir);
}

static void sqlite_loses_nothing(void **state)
{
    (void)state;
    kill_ten_times("sqlite:troupe.db");
}

static void postgres_loses_nothing(void **state)
{
    (void)state;
    struct pg_fixture pg;
    char url[256];
    if (!pg_fixture_open(&pg))
        skip();
    pg_fixture_url(&pg, "postgres", url, sizeof url);
    kill_ten_times(url);
    pg_fixture_close(&pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sqlite_loses_nothing),
        cmocka_unit_test(postgres_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
