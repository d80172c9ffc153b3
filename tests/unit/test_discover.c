/* Discovery with a resolver that answers what the test says, when it says it; and once with
 * libuv's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/shell/discover.h"
#include "node/shell/log.h"
#include "troupe/error.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { WAIT_MS = 20000, LOOKUPS_MAX = 256, CONTACTS_MAX = 4096, HASTE_PERCENT = 1 };

/* ---- a resolver ---- */

struct lookup {
    uv_getaddrinfo_t *request; /* NULL: answered */
    uv_getaddrinfo_cb callback;
    char node[256], service[8];
    uint64_t at_ms;
};

static uv_loop_t loop;
static struct discover *discover;
static bool closed;
static struct lookup lookups[LOOKUPS_MAX];
static size_t lookups_n;
static int refuse_with; /* what the resolver says at once */
static char contacts[CONTACTS_MAX][64];
static size_t contacts_n;

static int resolve(uv_loop_t *on, uv_getaddrinfo_t *request, uv_getaddrinfo_cb callback,
                   const char *node, const char *service, const struct addrinfo *hints)
{
    assert_ptr_equal(on, &loop);
    assert_int_equal(hints->ai_socktype, SOCK_STREAM); /* else each address comes three times */
    assert_true(lookups_n < LOOKUPS_MAX);
    struct lookup *l = &lookups[lookups_n++];
    *l = (struct lookup){.request = request, .callback = callback, .at_ms = uv_hrtime() / 1000000};
    snprintf(l->node, sizeof l->node, "%s", node);
    snprintf(l->service, sizeof l->service, "%s", service);
    if (refuse_with == 0)
        return 0;
    l->request = NULL;
    return refuse_with;
}

/* Addresses as a resolver's list, separated by blanks. */
static struct addrinfo *addresses(const char *text)
{
    struct addrinfo *list = NULL, **tail = &list;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    char copy[256], *save;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save)) {
        assert_int_equal(getaddrinfo(p, NULL, &hints, tail), 0);
        tail = &(*tail)->ai_next;
    }
    return list;
}

static void answer(size_t i, int status, const char *text)
{
    uv_getaddrinfo_t *request = lookups[i].request;
    assert_non_null(request);
    lookups[i].request = NULL;
    lookups[i].callback(request, status, status == 0 ? addresses(text) : NULL);
}

/* ---- what it tells ---- */

static void on_contact(void *data, const char *address)
{
    assert_ptr_equal(data, &loop);
    assert_true(contacts_n < CONTACTS_MAX);
    snprintf(contacts[contacts_n++], sizeof contacts[0], "%s", address);
}

static bool is_told(const char *address)
{
    for (size_t i = 0; i < contacts_n; i++) {
        if (strcmp(contacts[i], address) == 0)
            return true;
    }
    return false;
}

static void on_closed(void *data)
{
    assert_ptr_equal(data, &loop);
    closed = true;
}

static void on_limit(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop until it is true, and fails the test when that takes too long. */
#define WAIT(cond)                                                                                 \
    do {                                                                                           \
        bool late = false;                                                                         \
        uv_timer_t limit;                                                                          \
        uv_timer_init(&loop, &limit);                                                              \
        limit.data = &late;                                                                        \
        uv_timer_start(&limit, on_limit, WAIT_MS, 0);                                              \
        while (!(cond) && !late)                                                                   \
            uv_run(&loop, UV_RUN_ONCE);                                                            \
        uv_close((uv_handle_t *)&limit, NULL);                                                     \
        uv_run(&loop, UV_RUN_NOWAIT);                                                              \
        if (late)                                                                                  \
            fail_msg("waited in vain for %s", #cond);                                              \
    } while (0)

static void open_discover(const char *join, unsigned haste_percent)
{
    char errmsg[DISCOVER_ERRMSG_BYTES];
    struct discover_options options = {
        .data = &loop, .contact = on_contact, .resolve = resolve, .haste_percent = haste_percent};
    assert_int_equal(discover_open(&discover, &loop, join, &options, errmsg), 0);
}

static void close_discover(void)
{
    discover_close(discover, on_closed, &loop);
    for (size_t i = 0; i < lookups_n; i++) {
        if (lookups[i].request != NULL)
            answer(i, UV_ECANCELED, "");
    }
    WAIT(closed);
}

static int set_up(void **state)
{
    (void)state;
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_ERROR);
    lookups_n = contacts_n = 0;
    refuse_with = 0;
    closed = false;
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* ---- the list ---- */

static void lists_are_checked(void **state)
{
    static const struct {
        const char *join, *fault; /* NULL: it is fine */
    } table[] = {
        {"", NULL},
        {"10.0.0.1:7702", NULL},
        {"a.example:7702,[::1]:7702,dns:troupe.default.svc:7702", NULL},
        {",a:1,,b:65535,", NULL},
        {"dns:[fe80::1]:7702", NULL},
        {"a", "no port"},
        {"dns:a", "no port"},
        {"a:", "no port from 1"},
        {"a:0", "no port from 1"},
        {"a:65536", "no port from 1"},
        {"a:-1", "no port from 1"},
        {"a:+7702", "no port from 1"},
        {"a:77x", "no port from 1"},
        {"a:000000000007702", "no port from 1"},
        {":7702", "no host"},
        {"dns::7702", "no host"},
        {"[]:7702", "no valid host"},
        {"::1:7702", "too many colons"},
        {"tcp://a:7702", "too many colons"},
        {"a b:7702", "no valid host"},
        {"ok:7702,a b:7702", "'a b:7702'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char errmsg[DISCOVER_ERRMSG_BYTES] = "";
        int rc = discover_check(table[i].join, errmsg);
        if ((rc == 0) != (table[i].fault == NULL) ||
            (rc != 0 && strstr(errmsg, table[i].fault) == NULL))
            fail_msg("'%s': %d, '%s'", table[i].join, rc, errmsg);
        assert_true(rc == 0 || strstr(errmsg, "dns:NAME:PORT") != NULL);
    }
}

static void lists_have_limits(void **state)
{
    char join[DISCOVER_ENTRIES_MAX * 4 + 8] = "", errmsg[DISCOVER_ERRMSG_BYTES], host[400];
    (void)state;
    for (int i = 0; i < DISCOVER_ENTRIES_MAX; i++)
        strcat(join, "a:1,");
    assert_int_equal(discover_check(join, errmsg), 0);
    strcat(join, "a:1");
    assert_int_equal(discover_check(join, errmsg), TROUPE_EINVAL);
    assert_non_null(strstr(errmsg, "at most 64"));
    memset(host, 'a', sizeof host);
    memcpy(host + sizeof host - 3, ":1", 3);
    assert_int_equal(discover_check(host, errmsg), TROUPE_EINVAL);
    memcpy(host + 253, ":1", 3);
    assert_int_equal(discover_check(host, errmsg), 0);
    memcpy(host + 254, ":1", 3);
    host[253] = 'a';
    assert_int_equal(discover_check(host, errmsg), TROUPE_EINVAL);
}

static void a_bad_list_opens_nothing(void **state)
{
    char errmsg[DISCOVER_ERRMSG_BYTES];
    struct discover_options options = {.contact = on_contact, .resolve = resolve};
    (void)state;
    assert_int_equal(discover_open(&discover, &loop, "a:1,b", &options, errmsg), TROUPE_EINVAL);
    assert_int_equal(lookups_n, 0);
}

/* ---- resolving ---- */

static void every_address_is_told(void **state)
{
    (void)state;
    open_discover("dns:troupe.svc:7702,[::1]:7703", HASTE_PERCENT);
    assert_int_equal(lookups_n, 2); /* at once */
    assert_string_equal(lookups[0].node, "troupe.svc");
    assert_string_equal(lookups[0].service, "7702");
    assert_string_equal(lookups[1].node, "::1");
    answer(0, 0, "10.0.0.1 10.0.0.2 fd00::2");
    answer(1, 0, "::1");
    assert_int_equal(contacts_n, 4);
    assert_string_equal(contacts[0], "10.0.0.1:7702");
    assert_string_equal(contacts[1], "10.0.0.2:7702");
    assert_string_equal(contacts[2], "[fd00::2]:7702");
    assert_string_equal(contacts[3], "[::1]:7703");
    close_discover();
}

static void names_are_resolved_again(void **state)
{
    (void)state;
    open_discover("dns:a:1", HASTE_PERCENT);
    answer(0, 0, "10.0.0.1");
    WAIT(lookups_n == 2);
    answer(1, 0, "10.0.0.7"); /* a pod that was replaced */
    WAIT(lookups_n == 3);
    assert_true(is_told("10.0.0.1:1") && is_told("10.0.0.7:1"));
    close_discover();
}

/* One lookup of a name at a time, however long it takes. */
static void a_slow_name_holds_up_no_other(void **state)
{
    (void)state;
    open_discover("slow:1,quick:2", HASTE_PERCENT);
    for (size_t i = 1; i < 6; i++) {
        answer(i, 0, "10.0.0.2");
        WAIT(lookups_n == i + 2);
        assert_string_equal(lookups[i + 1].node, "quick");
    }
    answer(0, 0, "10.0.0.1");
    assert_true(is_told("10.0.0.1:1"));
    close_discover();
}

static void what_fails_is_tried_less_and_less(void **state)
{
    enum { PERCENT = 10, SLACK_MS = 2 }; /* the loop's clock has whole milliseconds */
    static const int results[] = {UV_EAI_NONAME, UV_EAI_AGAIN, UV_EAI_FAIL, 0};
    (void)state;
    open_discover("dns:a:1", PERCENT);
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        uint64_t least_ms = (DISCOVER_RETRY_MIN_MS * PERCENT / 100 << i) * 9 / 10 - SLACK_MS;
        uint64_t answered_ms = uv_hrtime() / 1000000;
        answer(i, results[i], ""); /* the last one: a name without addresses */
        WAIT(lookups_n == i + 2);
        assert_true(lookups[i + 1].at_ms - answered_ms >= least_ms);
    }
    assert_int_equal(contacts_n, 0);
    answer(4, 0, "10.0.0.1");
    assert_int_equal(contacts_n, 1);
    close_discover();
}

static void a_resolver_that_refuses_is_asked_again(void **state)
{
    (void)state;
    refuse_with = UV_ENOMEM;
    open_discover("dns:a:1", HASTE_PERCENT);
    WAIT(lookups_n == 4);
    refuse_with = 0;
    WAIT(lookups_n == 5);
    answer(4, 0, "10.0.0.1");
    assert_int_equal(contacts_n, 1);
    close_discover();
}

static void libuv_resolves(void **state)
{
    char errmsg[DISCOVER_ERRMSG_BYTES];
    struct discover_options options = {.data = &loop, .contact = on_contact};
    (void)state;
    assert_int_equal(
        discover_open(&discover, &loop, "127.0.0.1:7702,dns:[::1]:7702", &options, errmsg), 0);
    WAIT(is_told("127.0.0.1:7702") && is_told("[::1]:7702"));
    close_discover();
}

/* ---- the log ---- */

static size_t lines_with(FILE *log, const char *text)
{
    char line[1024];
    size_t n = 0;
    rewind(log);
    while (fgets(line, sizeof line, log) != NULL)
        n += strstr(line, text) != NULL;
    return n;
}

static void only_changes_are_logged(void **state)
{
    size_t next = 0;
    FILE *log = tmpfile();
    int before = dup(STDERR_FILENO);
    (void)state;
    dup2(fileno(log), STDERR_FILENO);
    log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO); /* looks at what standard error is */
    open_discover("dns:a:1", HASTE_PERCENT);
    for (; next < 4; next++) {
        answer(next, UV_EAI_NONAME, "");
        WAIT(lookups_n == next + 2);
    }
    for (; next < 8; next++) {
        answer(next, 0, "10.0.0.1 10.0.0.2");
        WAIT(lookups_n == next + 2);
    }
    answer(next++, 0, "10.0.0.1");
    log_flush(true);
    dup2(before, STDERR_FILENO);
    close(before);
    assert_int_equal(lines_with(log, "cannot be resolved"), 1);
    assert_int_equal(lines_with(log, "addresses=2"), 1);
    assert_int_equal(lines_with(log, "addresses=1"), 1);
    fclose(log);
    close_discover();
}

/* ---- the end ---- */

static void nothing_to_find_closes_too(void **state)
{
    (void)state;
    open_discover("", 0);
    assert_int_equal(lookups_n, 0);
    close_discover();
}

static void a_lookup_outlives_the_close(void **state)
{
    (void)state;
    open_discover("dns:a:1,dns:b:1", HASTE_PERCENT);
    answer(1, 0, "10.0.0.2");
    contacts_n = 0;
    discover_close(discover, on_closed, &loop);
    for (int i = 0; i < 10; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_false(closed);
    answer(0, 0, "10.0.0.1");
    WAIT(closed);
    assert_int_equal(contacts_n, 0);
    assert_int_equal(lookups_n, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lists_are_checked),
        TEST(lists_have_limits),
        TEST(a_bad_list_opens_nothing),
        TEST(every_address_is_told),
        TEST(names_are_resolved_again),
        TEST(a_slow_name_holds_up_no_other),
        TEST(what_fails_is_tried_less_and_less),
        TEST(a_resolver_that_refuses_is_asked_again),
        TEST(libuv_resolves),
        TEST(only_changes_are_logged),
        TEST(nothing_to_find_closes_too),
        TEST(a_lookup_outlives_the_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
