/* The node as a process: what it does with good settings and bad ones, with clients that behave and
 * ones that do not, with a store that comes and goes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node_fixture.h"
#include "pg_fixture.h"

#define BOOK "{\"slot\":\"2026-12-31T20:00Z\",\"user\":\"7\"}"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    proc_temp_dir(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_remove_dir(dir);
    return 0;
}

static void assert_result(const struct troupe_call_result *r, enum troupe_status status,
                          const char *part)
{
    struct troupe_bytes text = status == TROUPE_OK ? r->payload : r->message;
    if (r->status != status || memmem(text.data, text.len, part, strlen(part)) == NULL)
        fail_msg("%s instead of %s with '%s': %.*s", troupe_status_name(r->status),
                 troupe_status_name(status), part,
                 (int)(r->status == TROUPE_OK ? r->payload.len : r->message.len),
                 (const char *)(r->status == TROUPE_OK ? r->payload.data : r->message.data));
}

static const struct troupe_call_result *call(struct node_fixture *n, const char *entity,
                                             const char *method, const char *json)
{
    return node_call(n, entity, method, json, TROUPE_ACK_MEMORY, 5000);
}

/* ---- life ---- */

static void serves_stops_cleanly_and_remembers(void **state)
{
    (void)state;
    struct node_fixture n;
    node_start(&n, dir, NULL);
    assert_result(call(&n, "venue/42", "create", "{\"name\":\"Blue Note\",\"country\":\"US\"}"),
                  TROUPE_OK, "");
    assert_result(call(&n, "venue/42", "book", BOOK), TROUPE_OK, "reference");
    assert_result(call(&n, "venue/42", "book", "{\"slot\":\"2026-12-31T20:00Z\",\"user\":\"8\"}"),
                  TROUPE_ALREADY_EXISTS, "user/7");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    assert_true(proc_has_line(&n.proc, "msg=stopped"));
    node_free(&n);
    node_start(&n, dir, NULL);
    assert_result(call(&n, "venue/42", "$get", ""), TROUPE_OK, "Blue Note");
    /* The venue tells the user by itself, if need be again after the restart. */
    const struct troupe_call_result *r = call(&n, "user/7", "$get", "");
    for (long end = proc_now_ms() + PROC_TIMEOUT_MS;
         r->status == TROUPE_NOT_FOUND && proc_now_ms() < end;)
        r = call(&n, "user/7", "$get", "");
    assert_result(r, TROUPE_OK, "2026-12-31T20:00Z");
    assert_int_equal(node_stop(&n, SIGINT), 0);
    node_free(&n);
}

static void a_killed_node_comes_back_at_once(void **state)
{
    (void)state;
    struct node_fixture n;
    node_start(&n, dir, NULL);
    assert_result(call(&n, "venue/42", "create", "{\"name\":\"Blue Note\",\"country\":\"US\"}"),
                  TROUPE_OK, "");
    assert_result(call(&n, "venue/42", "book", BOOK), TROUPE_OK, "reference");
    assert_int_equal(node_stop(&n, SIGKILL), 128 + SIGKILL);
    node_free(&n);
    long before = proc_now_ms();
    node_start(&n, dir, NULL);
    assert_true(proc_now_ms() - before < 4000); /* it did not wait for the old lease to run out */
    assert_result(call(&n, "venue/42", "$get", ""), TROUPE_OK, "2026-12-31T20:00Z");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
}

static void a_second_node_of_a_live_name_gives_up(void **state)
{
    (void)state;
    struct node_fixture first, second;
    node_start(&first, dir, NULL);
    node_spawn(&second, dir, NULL);
    assert_non_null(proc_wait_line(&second.proc, "is taken", PROC_TIMEOUT_MS));
    assert_int_equal(proc_wait_exit(&second.proc, PROC_TIMEOUT_MS), 4);
    node_free(&second);
    assert_result(call(&first, "venue/1", "create", "{\"name\":\"x\",\"country\":\"US\"}"),
                  TROUPE_OK, "");
    assert_int_equal(node_stop(&first, SIGTERM), 0);
    node_free(&first);
}

/* Without gossip, another name on the same store owns nothing as long as the first lives, and says
 * who does. */
static void a_second_node_tells_who_owns(void **state)
{
    (void)state;
    struct node_fixture first, second;
    static const char *const alone[] = {"--gossip", "off", NULL};
    static const char *const other[] = {"--name", "n2", "--gossip", "off", NULL};
    node_start(&first, dir, alone);
    node_start(&second, dir, other);
    const struct troupe_call_result *r =
        node_call(&second, "venue/1", "$get", "", TROUPE_ACK_MEMORY, 500);
    assert_result(r, TROUPE_UNAVAILABLE, "n1");
    assert_true(troupe_bytes_equal(r->owner_address, troupe_bytes_of(first.address)));
    assert_int_equal(node_stop(&first, SIGTERM), 0); /* leaves: its partitions are free */
    r = node_call(&second, "venue/1", "create", "{\"name\":\"x\",\"country\":\"US\"}",
                  TROUPE_ACK_MEMORY, 10000);
    assert_result(r, TROUPE_OK, "");
    assert_int_equal(node_stop(&second, SIGTERM), 0);
    node_free(&first);
    node_free(&second);
}

/* ---- settings ---- */

static void run_and_expect(const char *const *extra, const char *const *env, int code,
                           const char *text)
{
    struct proc p;
    const char *argv[16] = {TROUPE_NODE_BIN};
    for (size_t i = 0; extra[i] != NULL; i++)
        argv[i + 1] = extra[i];
    proc_start(&p, &(struct proc_options){.argv = argv, .env = env, .dir = dir});
    assert_int_equal(proc_wait_exit(&p, PROC_TIMEOUT_MS), code);
    if (!proc_has_line(&p, text))
        fail_msg("no line with '%s' in: %s", text, p.log);
    proc_close(&p);
}

static void wrong_settings_are_told(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof path, "%s/node.ini", dir);
    FILE *f = fopen(path, "w");
    fputs("[node]\nname = a\nlease-tl = 5s\n", f);
    fclose(f);
    run_and_expect((const char *[]){"--lsten", "x", NULL}, NULL, 2, "did you mean 'listen'");
    run_and_expect((const char *[]){"--config", path, NULL}, NULL, 2, "line 3");
    run_and_expect((const char *[]){"--config", path, NULL}, NULL, 2, "did you mean 'lease-ttl'");
    run_and_expect((const char *[]){"--config", "/nowhere", NULL}, NULL, 2, "/nowhere");
    run_and_expect((const char *[]){"--help", NULL}, (const char *[]){"TROUPE_LISTN=x", NULL}, 0,
                   "--listen");
    run_and_expect((const char *[]){NULL}, (const char *[]){"TROUPE_LISTN=x", NULL}, 2,
                   "did you mean 'listen'");
    run_and_expect((const char *[]){"--lease-ttl", "5 parsecs", NULL}, NULL, 2, "a duration like");
    run_and_expect((const char *[]){"--partitions", "1000", NULL}, NULL, 2, "power of two");
    run_and_expect((const char *[]){"--join", "n2", NULL}, NULL, 2, "dns:NAME:PORT");
    run_and_expect((const char *[]){NULL}, (const char *[]){"TROUPE_WEIGHT=101", NULL}, 2,
                   "TROUPE_WEIGHT");
    run_and_expect((const char *[]){"--store", "mysql://x", NULL}, NULL, 2, "sqlite");
    run_and_expect((const char *[]){"--kinds", "gigbok.so", NULL}, NULL, 6, "gigbok.so");
    run_and_expect((const char *[]){"--kinds", path, NULL}, NULL, 6, "cannot be loaded");
    run_and_expect((const char *[]){"--print-config", "--lease-ttl", "7s", NULL},
                   (const char *[]){"TROUPE_LEASE_TTL=9s", "TROUPE_CLUSTER=gigs", NULL}, 0,
                   "lease-ttl = 7s");
    run_and_expect((const char *[]){"--print-config", "--store", "postgres://u:secret@h/d", NULL},
                   NULL, 0, "postgres://u:***@h/d");
    run_and_expect((const char *[]){"migrate", "--store", "sqlite:m.db", "--dry-run", NULL}, NULL,
                   0, "would be applied");
    run_and_expect((const char *[]){"migrate", "--store", "sqlite:m.db", NULL}, NULL, 0, "applied");
}

static void a_port_in_use_is_told(void **state)
{
    (void)state;
    struct node_fixture n;
    node_start(&n, dir, NULL);
    run_and_expect((const char *[]){"--listen", n.address, "--store", "memory:", NULL}, NULL, 5,
                   "in use");
    run_and_expect((const char *[]){"--listen", "127.0.0.1:0", "--peer-listen", n.address, NULL},
                   NULL, 5, "change peer-listen");
    run_and_expect((const char *[]){"--listen", "127.0.0.1:0", "--gossip-listen", n.address, NULL},
                   NULL, 5, "change gossip-listen");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
}

/* ---- clients that misbehave ---- */

static int dial(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval timeout = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static int shake_hands(const char *address)
{
    static const uint8_t ours[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    static const uint8_t theirs[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    uint8_t got[8];
    int fd = dial(address);
    assert_int_equal(write(fd, ours, 8), 8);
    assert_int_equal(recv(fd, got, 8, MSG_WAITALL), 8);
    assert_memory_equal(got, theirs, 8);
    return fd;
}

static void send_frame(int fd, uint64_t announced, const void *body, size_t len)
{
    uint8_t head[12];
    for (int i = 0; i < 8; i++)
        head[i] = (uint8_t)((announced + 4) >> (8 * (7 - i)));
    memcpy(head + 8, "\x80\x00\x00\x01", 4);
    (void)!write(fd, head, sizeof head);
    (void)!write(fd, body, len);
}

/* The reply's body, or -1 when the connection is closed. */
static ssize_t receive_frame(int fd, uint8_t *body, size_t size)
{
    uint8_t head[12];
    if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
        return -1;
    uint64_t len = 0;
    for (int i = 0; i < 8; i++)
        len = len << 8 | head[i];
    assert_true(len >= 4 && len - 4 <= size);
    return recv(fd, body, (size_t)len - 4, MSG_WAITALL);
}

static void garbage_is_answered_or_cut_off(void **state)
{
    (void)state;
    struct node_fixture n;
    uint8_t body[4096], noise[512];
    node_start(&n, dir, NULL);
    int fd = shake_hands(n.address);
    send_frame(fd, 5, "\xFF\xFF\xFF\xFF\xFF", 5); /* malformed: refused with a text */
    ssize_t len = receive_frame(fd, body, sizeof body);
    assert_true(len > 0 && memmem(body, (size_t)len, "protobuf", 8) != NULL);
    send_frame(fd, 0, "", 0); /* an empty request is a request without calls */
    assert_true(receive_frame(fd, body, sizeof body) >= 0);
    close(fd);
    fd = shake_hands(n.address); /* far too large: cut off */
    send_frame(fd, UINT64_C(1) << 40, "x", 1);
    assert_true(receive_frame(fd, body, sizeof body) < 0);
    close(fd);
    fd = shake_hands(n.address); /* truncated */
    send_frame(fd, 1000, "x", 1);
    close(fd);
    srandom(1);
    for (int i = 0; i < 50; i++) { /* no handshake at all */
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)random();
        fd = dial(n.address);
        (void)!write(fd, noise, sizeof noise);
        close(fd);
    }
    for (int i = 0; i < 200; i++) { /* a handshake, then noise in frames */
        fd = shake_hands(n.address);
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)random();
        size_t size = (size_t)random() % sizeof noise;
        send_frame(fd, size, noise, size);
        assert_true(receive_frame(fd, body, sizeof body) >= 0);
        close(fd);
    }
    assert_result(call(&n, "venue/1", "create", "{\"name\":\"x\",\"country\":\"US\"}"), TROUPE_OK,
                  "");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
}

static void wrong_calls_are_told(void **state)
{
    (void)state;
    struct node_fixture n;
    node_start(&n, dir, NULL);
    assert_result(call(&n, "venu/1", "get", ""), TROUPE_NOT_FOUND, "venue");
    assert_result(call(&n, "venue/1", "bok", ""), TROUPE_UNIMPLEMENTED, "book");
    assert_result(call(&n, "venue/1", "book", "{\"slt\":1}"), TROUPE_INVALID_ARGUMENT,
                  "did you mean 'slot'");
    assert_result(call(&n, "venue/1", "book", "{\"slot\":1}"), TROUPE_INVALID_ARGUMENT,
                  "slot: expected a string");
    assert_result(call(&n, "venue/1", "book", "{\"slot\":"), TROUPE_INVALID_ARGUMENT, "not JSON");
    assert_result(call(&n, "venue/1", "book", "[]"), TROUPE_INVALID_ARGUMENT, "an object");
    assert_result(call(&n, "venue/\xFF", "get", ""), TROUPE_INVALID_ARGUMENT, "UTF-8");
    assert_result(call(&n, "venue/1", "$get", ""), TROUPE_NOT_FOUND, "does not exist");
    assert_result(call(&n, "$node/self", "status", ""), TROUPE_OK, "serving");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
}

/* ---- a store that comes and goes ---- */

static void an_absent_store_is_waited_for_then_given_up(void **state)
{
    (void)state;
    struct node_fixture n;
    char path[96];
    node_spawn(&n, dir,
               (const char *[]){"--store", "sqlite:sub/troupe.db", "--store-wait", "1s", NULL});
    assert_non_null(proc_wait_line(&n.proc, "sub", PROC_TIMEOUT_MS));
    assert_int_equal(proc_wait_exit(&n.proc, PROC_TIMEOUT_MS), 3);
    node_free(&n);
    node_spawn(&n, dir, (const char *[]){"--store", "sqlite:sub/troupe.db", NULL});
    assert_non_null(proc_wait_line(&n.proc, "cannot be reached", PROC_TIMEOUT_MS));
    snprintf(path, sizeof path, "%s/sub", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    node_wait_ready(&n);
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
}

static void a_postgres_that_comes_and_goes(void **state)
{
    (void)state;
    struct pg_fixture pg;
    struct node_fixture n;
    char url[256];
    if (!pg_fixture_open(&pg))
        skip();
    pg_fixture_url(&pg, "postgres", url, sizeof url);
    pg_fixture_stop(&pg, SIGQUIT);
    node_spawn(&n, dir, (const char *[]){"--store", url, NULL});
    assert_non_null(proc_wait_line(&n.proc, "cannot be reached", PROC_TIMEOUT_MS));
    pg_fixture_start(&pg);
    node_wait_ready(&n);
    assert_result(call(&n, "venue/1", "create", "{\"name\":\"x\",\"country\":\"US\"}"), TROUPE_OK,
                  "");
    assert_result(call(&n, "venue/1", "book", BOOK), TROUPE_OK, "reference");

    pg_fixture_stop(&pg, SIGQUIT);
    assert_result(call(&n, "venue/1", "get", ""), TROUPE_OK, "\"x\""); /* from memory */
    assert_result(node_call(&n, "venue/1", "book",
                            "{\"slot\":\"2027-01-01T20:00Z\",\"user\":\"9\"}", TROUPE_ACK_MEMORY,
                            1500),
                  TROUPE_UNAVAILABLE, "");
    pg_fixture_start(&pg);
    assert_result(node_call(&n, "venue/1", "book",
                            "{\"slot\":\"2027-01-02T20:00Z\",\"user\":\"9\"}", TROUPE_ACK_MEMORY,
                            20000),
                  TROUPE_OK, "reference");
    assert_result(call(&n, "venue/1", "$get", ""), TROUPE_OK,
                  "2027-01-01T20:00Z"); /* it was kept, too */
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
    node_start(&n, dir, (const char *[]){"--store", url, NULL});
    assert_result(call(&n, "venue/1", "$get", ""), TROUPE_OK, "2027-01-01T20:00Z");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
    pg_fixture_close(&pg);
}

/* Waits until the status has the text, or has it no more, and the node serves all the while. */
static void wait_status(struct node_fixture *n, const char *part, bool has)
{
    for (long end = proc_now_ms() + PROC_TIMEOUT_MS;;) {
        const struct troupe_call_result *r = call(n, "$node/self", "status", "");
        assert_result(r, TROUPE_OK, "serving");
        if ((memmem(r->payload.data, r->payload.len, part, strlen(part)) != NULL) == has)
            return;
        if (proc_now_ms() > end)
            fail_msg("the status %s '%s'", has ? "never has" : "always has", part);
    }
}

/* The saves wait for a lock, as it were, until Postgres gives them up, and the renewals go on. */
static void saves_that_hang_are_told(void **state)
{
    (void)state;
    struct pg_fixture pg;
    struct node_fixture n;
    char url[256];
    if (!pg_fixture_open(&pg))
        skip();
    pg_fixture_url(&pg, "postgres", url, sizeof url);
    node_start(&n, dir, (const char *[]){"--store", url, NULL});
    assert_result(call(&n, "venue/1", "create", "{\"name\":\"x\",\"country\":\"US\"}"), TROUPE_OK,
                  "");
    wait_status(&n, "saving entities", false);
    pg_fixture_sql(&pg, "postgres",
                   "CREATE FUNCTION troupe.hang() RETURNS trigger LANGUAGE plpgsql AS "
                   "'BEGIN PERFORM pg_sleep(600); RETURN NULL; END'");
    pg_fixture_sql(&pg, "postgres",
                   "CREATE TRIGGER hang BEFORE INSERT OR UPDATE ON troupe.entity "
                   "FOR EACH STATEMENT EXECUTE FUNCTION troupe.hang()");
    node_call(&n, "venue/1", "book", BOOK, TROUPE_ACK_MEMORY, 300);
    wait_status(&n, "saving entities", true);
    assert_result(call(&n, "venue/2", "$get", ""), TROUPE_NOT_FOUND, ""); /* reads go on */
    wait_status(&n, "saving entities", true);
    assert_non_null(
        proc_wait_line(&n.proc, "does not keep up with what it is asked", PROC_TIMEOUT_MS));
    pg_fixture_sql(&pg, "postgres", "DROP TRIGGER hang ON troupe.entity");
    pg_fixture_sql(&pg, "postgres",
                   "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = "
                   "'PgSleep'");
    wait_status(&n, "saving entities", false);
    assert_result(node_call(&n, "venue/1", "book",
                            "{\"slot\":\"2027-01-02T20:00Z\",\"user\":\"9\"}", TROUPE_ACK_MEMORY,
                            20000),
                  TROUPE_OK, "reference");
    assert_int_equal(node_stop(&n, SIGTERM), 0);
    node_free(&n);
    pg_fixture_close(&pg);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(serves_stops_cleanly_and_remembers),
        TEST(a_killed_node_comes_back_at_once),
        TEST(a_second_node_of_a_live_name_gives_up),
        TEST(a_second_node_tells_who_owns),
        TEST(wrong_settings_are_told),
        TEST(a_port_in_use_is_told),
        TEST(garbage_is_answered_or_cut_off),
        TEST(wrong_calls_are_told),
        TEST(an_absent_store_is_waited_for_then_given_up),
        TEST(a_postgres_that_comes_and_goes),
        TEST(saves_that_hang_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
