/* Real nodes whose programs differ: one was started without a kind, and a rolling upgrade to a kind
 * with another form of its state. Nothing that is there is NOT_FOUND, and nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cluster_fixture.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { ENTITIES = 40, CALL_MS = 20000, ASK_MS = 5000, WAIT_MS = 60000 };

static struct cluster c;

static int tear_down(void **state)
{
    (void)state;
    cluster_close(&c);
    return 0;
}

struct answer {
    enum troupe_status status;
    uint8_t bytes[16];
    size_t len;
};

/* One call to an entity, sent to node i. */
static struct answer call(size_t i, const char *kind, unsigned entity, const char *method,
                          const void *payload, size_t len)
{
    char id[16], errmsg[256];
    struct troupe_client *client;
    struct troupe_client_options options = {.addresses = c.nodes[i].address, .no_ring = true};
    struct answer answer = {0};
    snprintf(id, sizeof id, "%u", entity);
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), 0);
    struct troupe_batch *batch = troupe_batch_new(client);
    assert_non_null(batch);
    assert_int_equal(troupe_batch_add(batch, troupe_bytes_of(kind), troupe_bytes_of(id),
                                      troupe_bytes_of(method), troupe_bytes(payload, len),
                                      TROUPE_ACK_MEMORY, 0),
                     0);
    assert_int_equal(troupe_batch_send_wait(batch, CALL_MS), 0);
    const struct troupe_call_result *r = troupe_batch_result(batch, 0);
    answer.status = r->status;
    answer.len = r->payload.len < sizeof answer.bytes ? r->payload.len : sizeof answer.bytes;
    if (answer.len > 0)
        memcpy(answer.bytes, r->payload.data, answer.len);
    if (r->status != TROUPE_OK)
        fprintf(stderr, "%s/%u %s at n%zu: %.*s\n", kind, entity, method, i + 1,
                (int)r->message.len, (const char *)r->message.data);
    troupe_batch_free(batch);
    troupe_client_close(client);
    return answer;
}

static enum troupe_status put(size_t i, unsigned entity, const char *method, uint64_t value)
{
    return call(i, "note", entity, method, &value, sizeof value).status;
}

static bool is_up(struct cluster *cluster, void *data)
{
    Troupe__Rpc__NodeStatus *s = cluster_status(cluster, *(const size_t *)data, ASK_MS);
    bool up = s != NULL && strcmp(s->state, "serving") == 0;
    cluster_free_message(s);
    return up;
}

/* It serves, has nothing, and says that it lacks something. */
static bool is_without(struct cluster *cluster, void *data)
{
    Troupe__Rpc__NodeStatus *s = cluster_status(cluster, *(const size_t *)data, ASK_MS);
    bool without = s != NULL && s->lacks[0] != '\0' && s->partitions_owned == 0 &&
                   strcmp(s->state, "draining") != 0;
    cluster_free_message(s);
    return without;
}

static void start(size_t i, const char *kinds)
{
    c.nodes[i].kinds = kinds;
    cluster_start(&c, i);
    assert_true(cluster_wait(&c, is_up, &i, WAIT_MS));
}

static void a_node_without_the_kind(void **state)
{
    (void)state;
    size_t third = 2;
    cluster_open(&c, NULL, 3, false);
    cluster_start(&c, 0);
    cluster_start(&c, 1);
    cluster_wait_agreed(&c, CLUSTER_AGREE_MS);
    for (unsigned e = 0; e < ENTITIES; e++)
        assert_int_equal(call(0, "counter", e, "incr", NULL, 0).status, TROUPE_OK);
    start(third, NOTE_1); /* and nothing else */
    for (unsigned e = 0; e < ENTITIES; e++)
        assert_int_equal(call(third, "counter", e, "incr", NULL, 0).status, TROUPE_OK);
    assert_true(cluster_wait(&c, is_without, &third, WAIT_MS));
    for (unsigned e = 0; e < ENTITIES; e++)
        assert_int_equal(call(third, "counter", e, "read", NULL, 0).status, TROUPE_OK);
    assert_int_equal(call(third, "typo", 1, "read", NULL, 0).status, TROUPE_NOT_FOUND);
}

static bool is_annotated(struct cluster *cluster, void *data)
{
    (void)cluster;
    return put(0, *(const unsigned *)data, "annotate", 5) == TROUPE_OK;
}

static void a_rolling_upgrade(void **state)
{
    (void)state;
    unsigned first = 0;
    size_t second = 1;
    cluster_open(&c, NULL, 2, false);
    start(0, NOTE_1);
    start(1, NOTE_1);
    for (unsigned e = 0; e < ENTITIES; e++)
        assert_int_equal(put(0, e, "set", 100 + e), TROUPE_OK);
    assert_int_equal(cluster_stop(&c, 0), 0);
    start(0, NOTE_2);
    for (unsigned e = 0; e < ENTITIES; e++)
        assert_int_equal(put(0, e, "set", 200 + e), TROUPE_OK);
    assert_int_equal(cluster_stop(&c, 1), 0);
    start(1, NOTE_2);
    assert_true(cluster_wait(&c, is_annotated, &first, WAIT_MS));
    for (unsigned e = 0; e < ENTITIES; e++)
        assert_int_equal(put(0, e, "annotate", 300 + e), TROUPE_OK);
    assert_int_equal(cluster_stop(&c, 1), 0);
    start(1, NOTE_1); /* by mistake: it would write the notes away */
    assert_true(cluster_wait(&c, is_without, &second, WAIT_MS));
    for (unsigned e = 0; e < ENTITIES; e++) {
        uint64_t words[2];
        struct answer a = call(1, "note", e, "read", NULL, 0);
        assert_int_equal(a.status, TROUPE_OK);
        assert_int_equal(a.len, sizeof words);
        memcpy(words, a.bytes, sizeof words);
        assert_int_equal(words[0], 200 + e);
        assert_int_equal(words[1], 300 + e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_node_without_the_kind, tear_down),
        cmocka_unit_test_teardown(a_rolling_upgrade, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
