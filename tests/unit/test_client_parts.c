/* The client's parts that need no node: addresses, the heap of due times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/address.h"
#include "client/due.h"
#include "troupe/client.h"

static void addresses_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *urls[3];
    } cases[] = {
        {"127.0.0.1:7700", {"tcp4://127.0.0.1:7700"}},
        {"tcp://127.0.0.1:1", {"tcp4://127.0.0.1:1"}},
        {"10.0.0.1", {"tcp4://10.0.0.1:7700"}},
        {"[::1]:65535", {"tcp6://[::1]:65535"}},
        {"tcp://[fe80::1%eth0]", {"tcp6://[fe80::1%eth0]:7700"}},
        {"node-1.example:80", {"tcp4://node-1.example:80", "tcp6://node-1.example:80"}},
        {"ipc:///run/troupe.sock", {"ipc:///run/troupe.sock"}},
        {" 10.0.0.1:1 ,\t10.0.0.2:2", {"tcp4://10.0.0.1:1", "tcp4://10.0.0.2:2"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address_list list;
        char errmsg[512] = "";
        assert_int_equal(address_list_parse(&list, cases[i].text, errmsg, sizeof errmsg), 0);
        size_t n = 0;
        while (n < 3 && cases[i].urls[n] != NULL)
            n++;
        assert_int_equal(list.count, n);
        for (size_t k = 0; k < n; k++) {
            assert_string_equal(list.items[k].url, cases[i].urls[k]);
            assert_int_equal(list.items[k].ipc, strncmp(cases[i].urls[k], "ipc", 3) == 0);
        }
        address_list_close(&list);
    }
}

static void bad_addresses_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "host is missing"},
        {"a:1,,b:2", "host is missing"},
        {":7700", "host is missing"},
        {"host:", "1 to 65535"},
        {"host:0", "1 to 65535"},
        {"host:65536", "1 to 65535"},
        {"host:7700x", "1 to 65535"},
        {"::1", "in brackets"},
        {"[::1", "\"]\" is missing"},
        {"[::1]7700", "may follow"},
        {"[venue]:1", "not an IPv6 address"},
        {"[venue:1]", "not an IPv6 address"},
        {"ho st:1", "letters, digits"},
        {"http://host:1", "tcp and ipc only"},
        {"tls+tcp://host:1", "tcp and ipc only"},
        {"ipc://", "path is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address_list list;
        char errmsg[512] = "";
        int rc = address_list_parse(&list, cases[i].text, errmsg, sizeof errmsg);
        if (rc != TROUPE_EINVAL || strstr(errmsg, cases[i].why) == NULL)
            fail_msg("\"%s\" gives \"%s\", not \"%s\"", cases[i].text, errmsg, cases[i].why);
    }
}

static void long_and_many_addresses_are_refused(void **state)
{
    (void)state;
    char text[4096] = "ipc:///", errmsg[512] = "";
    struct address_list list;
    memset(text + strlen(text), 'a', 107); /* with the slash 108 bytes, one too many */
    assert_int_equal(address_list_parse(&list, text, errmsg, sizeof errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "107 bytes"));

    text[0] = '\0';
    for (int i = 0; i <= ADDRESSES_MAX; i++)
        strcat(text, i == 0 ? "10.0.0.1:1" : ",10.0.0.1:1");
    assert_int_equal(address_list_parse(&list, text, errmsg, sizeof errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "more than"));

    memset(text, 'h', 254);
    text[254] = '\0';
    assert_int_equal(address_list_parse(&list, text, errmsg, sizeof errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "253 bytes"));
}

/* The oracle: a scan over all entries. */
static const struct due *earliest(const struct due *entries, size_t n)
{
    const struct due *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (entries[i].place != 0 && (best == NULL || entries[i].at_ms < best->at_ms))
            best = &entries[i];
    return best;
}

static void due_heap_agrees_with_a_scan(void **state)
{
    (void)state;
    enum { N = 200, STEPS = 20000 };
    static struct due entries[N];
    struct due_heap heap;
    srand(42);
    assert_int_equal(due_heap_init(&heap, N), 0);
    for (int step = 0; step < STEPS; step++) {
        struct due *entry = &entries[rand() % N];
        if (rand() % 3 == 0)
            due_remove(&heap, entry);
        else
            due_set(&heap, entry, (uint64_t)(rand() % 1000));
        const struct due *want = earliest(entries, N), *have = due_first(&heap);
        assert_int_equal(want == NULL, have == NULL);
        if (want != NULL)
            assert_int_equal(want->at_ms, have->at_ms);
    }
    uint64_t last = 0;
    while (due_first(&heap) != NULL) { /* comes out in order */
        assert_true(due_first(&heap)->at_ms >= last);
        last = due_first(&heap)->at_ms;
        due_remove(&heap, due_first(&heap));
    }
    due_heap_close(&heap);
}

static void a_batch_takes_what_fits(void **state)
{
    (void)state;
    struct troupe_client_options options = {.addresses = "127.0.0.1:1"};
    struct troupe_client *client = NULL;
    char errmsg[256];
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), 0);
    struct troupe_batch *batch = troupe_batch_new(client);
    uint8_t long_text[300] = {0};
    memset(long_text, 'a', sizeof long_text);
    struct troupe_bytes kind = troupe_bytes_of("venue"), id = troupe_bytes_of("42"),
                        method = troupe_bytes_of("book"), none = {0};
    struct {
        struct troupe_bytes kind, id, method;
        int ack, rc;
    } cases[] = {
        {troupe_bytes(long_text, 64), id, method, 0, TROUPE_EINVAL},
        {kind, troupe_bytes(long_text, 256), method, 0, TROUPE_EINVAL},
        {kind, id, troupe_bytes(long_text, 65), 0, TROUPE_EINVAL},
        {kind, id, method, 3, TROUPE_EINVAL},
        {troupe_bytes(long_text, 63), troupe_bytes(long_text, 255), troupe_bytes(long_text, 64), 2,
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(troupe_batch_add(batch, cases[i].kind, cases[i].id, cases[i].method, none,
                                          (enum troupe_ack)cases[i].ack, 0),
                         cases[i].rc);
    for (int i = 1; i < 4096; i++)
        assert_int_equal(troupe_batch_add(batch, kind, id, method, none, TROUPE_ACK_MEMORY, 0), 0);
    assert_int_equal(troupe_batch_add(batch, kind, id, method, none, TROUPE_ACK_MEMORY, 0),
                     TROUPE_ELIMIT);
    assert_int_equal(troupe_batch_count(batch), 4096);
    assert_null(troupe_batch_result(batch, 0)); /* not answered yet */
    troupe_batch_reset(batch);
    assert_int_equal(troupe_batch_count(batch), 0);
    assert_int_equal(troupe_batch_send_wait(batch, 100), TROUPE_EINVAL); /* empty */
    size_t too_much = (32u << 20) + 1;
    uint8_t *payload = calloc(1, too_much);
    assert_int_equal(troupe_batch_add(batch, kind, id, method, troupe_bytes(payload, too_much),
                                      TROUPE_ACK_MEMORY, 0),
                     TROUPE_ELIMIT);
    /* It fits by itself, but not with what is around it. */
    assert_int_equal(troupe_batch_add(batch, kind, id, method, troupe_bytes(payload, too_much - 1),
                                      TROUPE_ACK_MEMORY, 0),
                     0);
    assert_int_equal(troupe_batch_send_wait(batch, 100), TROUPE_ELIMIT);
    free(payload);
    troupe_batch_free(batch);
    troupe_batch_free(NULL);
    troupe_client_close(client);
    troupe_client_close(NULL);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    struct troupe_client *client = NULL;
    char errmsg[256];
    struct troupe_client_options options = {.addresses = "nowhere:port"};
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "nowhere:port"));
    options = (struct troupe_client_options){.in_flight_max = 1u << 20};
    assert_int_equal(troupe_client_open(&client, &options, errmsg, sizeof errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "65536"));
    assert_int_equal(troupe_client_open(&client, &options, NULL, 0), TROUPE_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_understood),
        cmocka_unit_test(bad_addresses_are_explained),
        cmocka_unit_test(long_and_many_addresses_are_refused),
        cmocka_unit_test(due_heap_agrees_with_a_scan),
        cmocka_unit_test(a_batch_takes_what_fits),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests_name("client parts", tests, NULL, NULL);
}
