/* The troupe command: its parts, and its commands as functions against a fake node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_node.h"
#include "status.pb-c.h"
#include "tools/cli/cli.h"
#include "tools/cli/duration.h"
#include "tools/cli/line_reader.h"
#include "tools/cli/load_line.h"
#include "tools/cli/near.h"
#include "tools/cli/output.h"
#include "troupe/status.h"

/* ---- parts ---- */

static void typos_are_recognised(void **state)
{
    (void)state;
    static const char *const words[] = {"call", "get", "load", "status"};
    static const char *const cases[][2] = {
        {"cal", "call"},
        {"staus", "status"},
        {"stauts", "status"},
        {"laod", "load"},
        {"statusses", "status"},
        {"gte", "get"},
        {"venue", NULL},
        {"", NULL},
        {"a-word-that-is-longer-than-thirty-two-characters", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *meant = near_find(cases[i][0], words, 4);
        assert_int_equal(meant == NULL, cases[i][1] == NULL);
        if (meant != NULL)
            assert_string_equal(meant, cases[i][1]);
    }
}

static void durations_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t ms; /* 0: not a duration */
    } cases[] = {
        {"500ms", 500},
        {"5s", 5000},
        {"5", 5000},
        {"1.5m", 90000},
        {"2min", 120000},
        {"1h", 3600000},
        {".5s", 500},
        {"0", 0},
        {"0.1ms", 0},
        {"2h", 0},
        {"5x", 0},
        {"", 0},
        {"-5s", 0},
        {"inf", 0},
        {"0x10s", 0},
        {"1e3ms", 0},
        {"5 s", 0},
        {"nan", 0},
        {"9999999999999999999999s", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t ms = 0;
        if (duration_parse(cases[i].text, &ms) != (cases[i].ms != 0) || ms != cases[i].ms)
            fail_msg("\"%s\" is taken for %u ms", cases[i].text, ms);
    }
    char text[DURATION_TEXT_BYTES];
    assert_string_equal(duration_text(850, text), "850 ms");
    assert_string_equal(duration_text(4250, text), "4.2 s");
    assert_string_equal(duration_text(192000, text), "3 min 12 s");
    assert_string_equal(duration_text(5 * 3600000 + 7 * 60000, text), "5 h 7 min");
    assert_string_equal(duration_text(UINT64_C(12) * 86400000 + 3 * 3600000, text), "12 d 3 h");
    char number[OUTPUT_NUMBER_BYTES];
    assert_string_equal(output_number(0, number), "0");
    assert_string_equal(output_number(999, number), "999");
    assert_string_equal(output_number(1234567, number), "1,234,567");
    assert_string_equal(output_number(UINT64_MAX, number), "18,446,744,073,709,551,615");
    assert_string_equal(output_bytes(1023, number), "1023 B");
    assert_string_equal(output_bytes(50435000, number), "48.1 MiB");
}

/* A temporary file that holds a text; the descriptor is at its beginning. */
static int file_with(const void *text, size_t len)
{
    char path[] = "/tmp/troupe-cli-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void lines_are_read_as_they_are(void **state)
{
    (void)state;
    static const char text[] = "first\n\r\n\nfourth\r\nlast\0one";
    static const char *const lines[] = {"first", "", "", "fourth"};
    struct line_reader reader;
    struct troupe_bytes line;
    int fd = file_with(text, sizeof text - 1);
    line_reader_init(&reader, fd);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(line_reader_next(&reader, &line), LINE_OK);
        assert_true(troupe_bytes_equal(line, troupe_bytes_of(lines[i])));
        assert_int_equal(reader.number, i + 1);
    }
    assert_int_equal(line_reader_next(&reader, &line), LINE_OK);
    assert_true(troupe_bytes_equal(line, troupe_bytes("last\0one", 8)));
    assert_int_equal(line_reader_next(&reader, &line), LINE_END);
    assert_int_equal(line_reader_next(&reader, &line), LINE_END);
    assert_int_equal(reader.read_bytes, sizeof text - 1);
    line_reader_close(&reader);
    close(fd);
}

static void long_lines_are_skipped(void **state)
{
    (void)state;
    size_t big = (size_t)LINE_BYTES_MAX + 1;
    size_t sizes[] = {LINE_BYTES_MAX, big, 3 * big, 10};
    char *text = malloc(big * 6);
    size_t len = 0;
    for (size_t i = 0; i < 4; i++) {
        memset(text + len, 'a' + (int)i, sizes[i]);
        len += sizes[i];
        text[len++] = '\n';
    }
    struct line_reader reader;
    struct troupe_bytes line;
    int fd = file_with(text, len);
    line_reader_init(&reader, fd);
    assert_int_equal(line_reader_next(&reader, &line), LINE_OK);
    assert_int_equal(line.len, LINE_BYTES_MAX);
    assert_int_equal(line_reader_next(&reader, &line), LINE_TOO_LONG);
    assert_int_equal(line_reader_next(&reader, &line), LINE_TOO_LONG);
    assert_int_equal(line_reader_next(&reader, &line), LINE_OK);
    assert_int_equal(reader.number, 4);
    assert_true(troupe_bytes_equal(line, troupe_bytes_of("dddddddddd")));
    assert_int_equal(line_reader_next(&reader, &line), LINE_END);
    assert_true(reader.capacity <= 2 * (size_t)LINE_BYTES_MAX + (1 << 20));
    line_reader_close(&reader);
    close(fd);
    free(text);
}

static void a_load_line_is_a_call(void **state)
{
    (void)state;
    struct load_line line;
    char why[LOAD_WHY_BYTES];
    const char *text =
        "{\"ack\": \"durable\", \"entity\": \"venue/4 \\\"2\\\"/x\", \"method\": \"book\","
        " \"payload\": {\"slot\": [1, 2.5, \"\\u00e4\"]}}";
    assert_true(load_line_parse(&line, troupe_bytes_of(text), TROUPE_ACK_MEMORY, why));
    assert_true(troupe_bytes_equal(line.kind, troupe_bytes_of("venue")));
    assert_true(troupe_bytes_equal(line.id, troupe_bytes_of("4 \"2\"/x")));
    assert_true(troupe_bytes_equal(line.method, troupe_bytes_of("book")));
    assert_true(
        troupe_bytes_equal(line.payload, troupe_bytes_of("{\"slot\":[1,2.5,\"\xc3\xa4\"]}")));
    assert_int_equal(line.ack, TROUPE_ACK_DURABLE);
    load_line_close(&line);
    text = "{\"entity\": \"user/1\", \"method\": \"touch\"}";
    assert_true(load_line_parse(&line, troupe_bytes_of(text), TROUPE_ACK_REPLICA, why));
    assert_int_equal(line.payload.len, 0);
    assert_int_equal(line.ack, TROUPE_ACK_REPLICA);
    load_line_close(&line);
}

static void bad_load_lines_are_explained(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"entity\": \"venue/1\"", "column 20"},
        {"[]", "must be a JSON object"},
        {"17", "must be a JSON object"},
        {"{\"entity\": \"venue/1\"}", "\"method\" is missing"},
        {"{\"method\": \"x\"}", "\"entity\" is missing"},
        {"{\"entity\": 1, \"method\": \"x\"}", "\"entity\" must be a string"},
        {"{\"entity\": \"venue\", \"method\": \"x\"}", "kind/id"},
        {"{\"entity\": \"V/1\", \"method\": \"x\"}", "a-z"},
        {"{\"entity\": \"v/1\", \"method\": \"x\", \"ack\": \"safe\"}", "\"durable\""},
        {"{\"entity\": \"v/1\", \"method\": \"x\", \"ack\": 2}", "\"durable\""},
        {"{\"entity\": \"v/1\", \"method\": \"x\", \"paylaod\": {}}", "did you mean \"payload\""},
        {"{\"entity\": \"v/1\", \"method\": \"x\", \"zebra\": {}}", "there are entity"},
        {"{\"entity\": \"v/1\", \"entity\": \"v/2\", \"method\": \"x\"}", "duplicate"},
        {"\xff", "not JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct load_line line;
        char why[LOAD_WHY_BYTES] = "";
        bool ok = load_line_parse(&line, troupe_bytes_of(cases[i][0]), TROUPE_ACK_MEMORY, why);
        if (ok || strstr(why, cases[i][1]) == NULL)
            fail_msg("%s gives \"%s\", not \"%s\"", cases[i][0], why, cases[i][1]);
    }
}

/* ---- commands ---- */

enum { ENTITIES = 100 };

/* Answers by the method: "taken" ALREADY_EXISTS, "down" UNAVAILABLE, "echo" its payload; counts per
 * entity, whose payloads must come as 0, 1, 2 … */
struct world {
    unsigned calls, next[ENTITIES];
    bool in_order, json;
    enum troupe_ack ack;
    uint64_t sequence;
    Troupe__Rpc__NodeStatus status;
    uint8_t packed[1024];
};

static void one_call(struct world *w, const struct rpc_call *call, struct rpc_result *result)
{
    w->calls++;
    w->ack = (enum troupe_ack)call->ack;
    w->sequence = call->sequence;
    w->json = call->format == RPC_JSON;
    result->payload = call->payload;
    if (troupe_bytes_equal(call->method, troupe_bytes_of("taken"))) {
        result->status = TROUPE_ALREADY_EXISTS;
        result->message = troupe_bytes_of("it is there");
    } else if (troupe_bytes_equal(call->method, troupe_bytes_of("$get"))) {
        result->payload = troupe_bytes_of("{\"name\":\"Hall\"}");
    } else if (troupe_bytes_equal(call->method, troupe_bytes_of("status"))) {
        result->payload =
            troupe_bytes(w->packed, troupe__rpc__node_status__pack(&w->status, w->packed));
    } else if (troupe_bytes_equal(call->method, troupe_bytes_of("members")) ||
               troupe_bytes_equal(call->method, troupe_bytes_of("ring"))) {
        result->status = TROUPE_UNIMPLEMENTED; /* as before there were clusters */
        result->message = troupe_bytes_of("$node has no such method; it has status");
    } else if (troupe_bytes_equal(call->method, troupe_bytes_of("count"))) {
        char id[16] = "", number[16] = "";
        memcpy(id, call->id.data, call->id.len);
        memcpy(number, call->payload.data, call->payload.len);
        if ((unsigned)atoi(number) != w->next[atoi(id)]++)
            w->in_order = false;
    }
}

static enum fake_action answer(void *data, const struct rpc_request *request,
                               struct rpc_reply *reply)
{
    for (size_t i = 0; i < request->calls_n; i++)
        one_call(data, &request->calls[i], &reply->results[i]);
    return FAKE_REPLY;
}

struct fixture {
    struct world world;
    struct fake_node *node;
    char out[4096], err[8192];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    troupe__rpc__node_status__init(&f->world.status);
    f->world.in_order = true;
    f->node = fake_node_start(0, NULL, answer, &f->world);
    setenv("TROUPE_NODE", fake_node_address(f->node), 1);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fake_node_stop(f->node);
    free(f);
    return 0;
}

static void slurp(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
}

/* Runs a command with its output captured; words end with NULL. */
static int run(struct fixture *f, int (*command)(int, char **), const char *const *words)
{
    char *argv[16];
    int argc = 0;
    for (; words[argc] != NULL; argc++)
        argv[argc] = strdup(words[argc]);
    argv[argc] = NULL;
    int out = file_with("", 0), err = file_with("", 0);
    fflush(stdout);
    fflush(stderr);
    int old_out = dup(STDOUT_FILENO), old_err = dup(STDERR_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    int rc = command(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_err, STDERR_FILENO);
    close(old_out);
    close(old_err);
    slurp(out, f->out, sizeof f->out);
    slurp(err, f->err, sizeof f->err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return rc;
}

#define RUN(f, command, ...) run(f, command, (const char *const[]){__VA_ARGS__, NULL})

static void call_prints_the_reply(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "echo", "{\"a\": 1}"), EXIT_OK);
    assert_string_equal(f->out, "{\"a\": 1}\n");
    assert_string_equal(f->err, "");
    assert_true(f->world.json && f->world.sequence != 0);
    assert_int_equal(f->world.ack, TROUPE_ACK_MEMORY);
    assert_int_equal(
        RUN(f, command_call, "call", "--no-id", "--ack=durable", "--", "venue/1", "echo"), EXIT_OK);
    assert_string_equal(f->out, "");
    assert_int_equal(f->world.sequence, 0);
    assert_int_equal(f->world.ack, TROUPE_ACK_DURABLE);
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "echo", "[1]", "--json"), EXIT_OK);
    assert_string_equal(f->out,
                        "{\"status\":\"OK\",\"ack\":\"memory\",\"version\":\"0\",\"reply\":[1]}\n");
    assert_int_equal(RUN(f, command_get, "get", "venue/1"), EXIT_OK);
    assert_string_equal(f->out, "{\"name\":\"Hall\"}\n");
}

static void call_reads_its_payload_from_a_file(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/troupe-cli-XXXXXX", at[64];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "{\"x\":2}", 7), 7);
    close(fd);
    snprintf(at, sizeof at, "@%s", path);
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "echo", at), EXIT_OK);
    assert_string_equal(f->out, "{\"x\":2}\n");
    unlink(path);
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "echo", at), EXIT_USAGE);
    assert_non_null(strstr(f->err, "No such file"));
}

static void errors_have_their_exit_codes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "taken"), EXIT_ANSWERED);
    assert_string_equal(f->err, "ALREADY_EXISTS: it is there\n");
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "taken", "--json"), EXIT_ANSWERED);
    assert_string_equal(
        f->out, "{\"status\":\"ALREADY_EXISTS\",\"message\":\"it is there\",\"answered\":true}\n");
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "echo", "{"), EXIT_USAGE);
    assert_non_null(strstr(f->err, "line 1, column 1"));
    assert_string_equal(f->out, "");
    static const struct { /* programs get one line, whatever is wrong */
        const char *entity, *method, *payload, *why;
    } wrong[] = {
        {"venue/1", "echo", "{", "the payload is not JSON: line 1, column 1"},
        {"venue", "echo", "{}", "\\\"venue\\\": "},
        {"venue/1", "echo", "@/no/such/file", "/no/such/file: No such file"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(RUN(f, command_call, "call", wrong[i].entity, wrong[i].method,
                             wrong[i].payload, "--json"),
                         EXIT_USAGE);
        assert_ptr_equal(strstr(f->out, "{\"status\":\"INVALID_ARGUMENT\",\"message\":\""), f->out);
        assert_non_null(strstr(f->out, wrong[i].why));
        assert_ptr_equal(strchr(f->out, '\n'), f->out + strlen(f->out) - 1);
    }
    assert_int_equal(RUN(f, command_call, "call", "venue/1"), EXIT_USAGE);
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "x", "--akc", "durable"), EXIT_USAGE);
    assert_non_null(strstr(f->err, "did you mean --ack?"));
    assert_int_equal(RUN(f, command_call, "call", "venue/1", "x", "--timeout"), EXIT_USAGE);
    assert_non_null(strstr(f->err, "needs a value"));
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", fake_free_port());
    assert_int_equal(RUN(f, command_get, "get", "venue/1", "--timeout=200ms", "--node", address),
                     EXIT_UNREACHED);
    assert_non_null(strstr(f->err, "is it running?"));
    assert_int_equal(RUN(f, command_get, "get", "venue/1", "--node", "host:port"), EXIT_USAGE);
}

/* As a command: prints a result with that status and an owner. */
static int show_result(int argc, char **argv)
{
    (void)argc;
    struct troupe_call_result r = {.status = (enum troupe_status)atoi(argv[0]),
                                   .message = troupe_bytes_of("no"),
                                   .owner_node = troupe_bytes_of("n2"),
                                   .owner_address = troupe_bytes_of("10.0.0.2:7700")};
    output_result(&r, false);
    return 0;
}

static void an_owner_is_worth_a_try_only_if_it_has_not_answered(void **state)
{
    struct fixture *f = *state;
    RUN(f, show_result, "14"); /* UNAVAILABLE */
    assert_string_equal(f->err, "UNAVAILABLE: no\nIts owner is n2 at 10.0.0.2:7700; try --node "
                                "10.0.0.2:7700.\n");
    RUN(f, show_result, "4");
    assert_non_null(strstr(f->err, "try --node"));
    static const char *const answers[] = {"2", "3", "5", "6", "8", "9", "10", "11", "12", "13"};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        RUN(f, show_result, answers[i]);
        assert_null(strstr(f->err, "try --node"));
    }
}

static void status_tells_how_the_node_is(void **state)
{
    struct fixture *f = *state;
    char serving[] = "serving", suspended[] = "suspended", name[] = "node-1",
         store[] = "sqlite:troupe.db", error[] = "disk full", user[] = "user", venue[] = "venue";
    char *kinds[] = {user, venue};
    f->world.status.name = name;
    f->world.status.state = serving;
    f->world.status.store = store;
    f->world.status.store_ok = true;
    f->world.status.kinds = kinds;
    f->world.status.n_kinds = 2;
    f->world.status.entities_resident = 135233;
    f->world.status.partitions = f->world.status.partitions_owned = 4096;
    f->world.status.persist_lag_ms = 1250;
    assert_int_equal(RUN(f, command_status, "status"), EXIT_OK);
    assert_non_null(strstr(f->out, "node-1: serving"));
    assert_non_null(strstr(f->out, "user, venue"));
    assert_non_null(strstr(f->out, "4,096 of 4,096 owned"));
    assert_non_null(strstr(f->out, "135,233 resident"));
    assert_non_null(strstr(f->out, "lag 1.2 s"));
    assert_non_null(strstr(f->out, "verdict      HEALTHY\n"));
    f->world.status.store_ok = false;
    f->world.status.store_error = error;
    assert_int_equal(RUN(f, command_status, "status"), EXIT_ANSWERED);
    assert_non_null(strstr(f->out, "NOT USABLE: disk full"));
    assert_non_null(strstr(f->out, "verdict      DEGRADED\n             node-1: it cannot use "
                                   "its store: disk full\n"));
    f->world.status.store_ok = true;
    f->world.status.state = suspended;
    assert_int_equal(RUN(f, command_status, "status", "--json"), EXIT_ANSWERED);
    json_t *json = json_loads(f->out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "DEGRADED");
    json_t *status = json_object_get(json_array_get(json_object_get(json, "nodes"), 0), "status");
    assert_string_equal(json_string_value(json_object_get(status, "state")), "suspended");
    assert_string_equal(json_string_value(json_object_get(status, "entities_resident")), "135233");
    json_decref(json);
}

static void an_old_node_is_told_from_a_new_one(void **state)
{
    struct fixture *f = *state;
    char name[] = "node-1", version[] = "0.1.0", serving[] = "serving";
    f->world.status.name = name;
    f->world.status.version = version;
    f->world.status.state = serving;
    f->world.status.store_ok = true;
    assert_int_equal(RUN(f, command_members, "members"), EXIT_ANSWERED);
    assert_string_equal(f->out, "");
    assert_non_null(strstr(f->err, "node-1 is of version 0.1.0, which does not tell about its "
                                   "cluster yet: upgrade it, or"));
    assert_int_equal(RUN(f, command_ring, "ring", "--json"), EXIT_ANSWERED);
    assert_non_null(strstr(f->out, "{\"status\":\"UNIMPLEMENTED\",\"message\":\"node-1 is of"));
    assert_int_equal(RUN(f, command_status, "status"), EXIT_OK);
    assert_non_null(strstr(f->out, "note         node-1: its version, 0.1.0, does not tell"));
}

/* ---- load ---- */

static void write_file(char *path, const char *text)
{
    strcpy(path, "/tmp/troupe-load-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void load_makes_every_call_in_order(void **state)
{
    struct fixture *f = *state;
    char path[32];
    write_file(path, "");
    FILE *file = fopen(path, "w");
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < ENTITIES; i++)
            fprintf(file, "{\"entity\": \"venue/%d\", \"method\": \"count\", \"payload\": %d}\n", i,
                    round);
    fclose(file);
    assert_int_equal(RUN(f, command_load, "load", path, "--batch", "7", "--in-flight", "9"),
                     EXIT_OK);
    assert_int_equal(f->world.calls, 50 * ENTITIES);
    assert_true(f->world.in_order);
    for (int i = 0; i < ENTITIES; i++)
        assert_int_equal(f->world.next[i], 50);
    assert_non_null(strstr(f->err, "5,000 calls: 5,000 OK, 0 failed"));
    assert_string_equal(f->out, "");
    unlink(path);
}

static void load_reports_what_failed(void **state)
{
    struct fixture *f = *state;
    char path[32], errors[] = "/tmp/troupe-errors-XXXXXX", text[4096];
    close(mkstemp(errors));
    write_file(path, "{\"entity\": \"venue/1\", \"method\": \"echo\"}\n"
                     "not json\n"
                     "\n"
                     "{\"entity\": \"venue/1\", \"method\": \"taken\", \"ack\": \"durable\"}\n"
                     "{\"entity\": \"venue/1\", \"methud\": \"echo\"}\n"
                     "{\"entity\": \"venue/2\", \"method\": \"echo\"}");
    assert_int_equal(RUN(f, command_load, "load", path), EXIT_ANSWERED);
    assert_non_null(strstr(f->err, "line 2: malformed: not JSON"));
    assert_non_null(strstr(f->err, "line 4: ALREADY_EXISTS: it is there"));
    assert_non_null(strstr(f->err, "line 5: malformed: there is no key \"methud\""));
    assert_non_null(strstr(f->err, "3 calls: 2 OK, 1 failed"));
    assert_non_null(strstr(f->err, "malformed lines      2"));
    assert_int_equal(RUN(f, command_load, "load", path, "--json", "--errors", errors),
                     EXIT_ANSWERED);
    json_t *json = json_loads(f->out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "ok")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "malformed")), 2);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "errors"), "ALREADY_EXISTS")), 1);
    json_decref(json);
    assert_string_equal(f->err, "");
    slurp(open(errors, O_RDONLY), text, sizeof text);
    assert_non_null(strstr(text, "{\"line\":4,\"status\":\"ALREADY_EXISTS\",\"message\":"));
    assert_non_null(strstr(text, "{\"line\":5,\"status\":\"malformed\","));
    f->world.calls = 0;
    assert_int_equal(RUN(f, command_load, "load", path, "--strict"), EXIT_ANSWERED);
    assert_non_null(strstr(f->err, "Stopped at line 2"));
    assert_int_equal(f->world.calls, 1); /* what came before it is sent */
    unlink(path);
    unlink(errors);
}

static void load_keeps_the_replies(void **state)
{
    struct fixture *f = *state;
    char path[32], replies[] = "/tmp/troupe-replies-XXXXXX", text[4096];
    close(mkstemp(replies));
    write_file(path,
               "{\"entity\": \"venue/1\", \"method\": \"echo\", \"payload\": {\"a\": \"\\n\"}}\n"
               "{\"entity\": \"venue/1\", \"method\": \"taken\"}\n"
               "{\"entity\": \"venue/2\", \"method\": \"echo\", \"payload\": {}}\n");
    assert_int_equal(RUN(f, command_load, "load", path, "--replies", replies), EXIT_ANSWERED);
    slurp(open(replies, O_RDONLY), text, sizeof text);
    assert_non_null(strstr(text, "{\"line\":1,\"status\":\"OK\",\"reply\":{\"a\":\"\\n\"}}\n"));
    assert_non_null(
        strstr(text, "{\"line\":2,\"status\":\"ALREADY_EXISTS\",\"message\":\"it is there"));
    assert_non_null(strstr(text, "{\"line\":3,\"status\":\"OK\",\"reply\":{}}\n"));
    assert_non_null(strstr(f->err, "line 2: ALREADY_EXISTS"));
    assert_int_equal(RUN(f, command_load, "load", path, "--replies", "/nonexistent/file"),
                     EXIT_USAGE);
    assert_non_null(strstr(f->err, "--replies /nonexistent/file: No such file"));
    assert_int_equal(RUN(f, command_load, "load", path, "--replies", "/dev/full"), EXIT_ANSWERED);
    assert_non_null(strstr(f->err, "--replies /dev/full: No space left"));
    unlink(path);
    unlink(replies);
}

static void load_stops_when_nobody_answers(void **state)
{
    struct fixture *f = *state;
    char path[32], address[32];
    write_file(path, "");
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 5000; i++)
        fprintf(file, "{\"entity\": \"venue/%d\", \"method\": \"echo\"}\n", i);
    fclose(file);
    snprintf(address, sizeof address, "127.0.0.1:%d", fake_free_port());
    assert_int_equal(RUN(f, command_load, "load", path, "--node", address, "--timeout", "200ms",
                         "--batch", "10", "--in-flight", "4"),
                     EXIT_UNREACHED);
    assert_non_null(strstr(f->err, "line 1"));
    assert_non_null(strstr(f->err, "More errors are not shown"));
    assert_non_null(strstr(f->err, "Stopped after line"));
    assert_null(strstr(f->err, "5,000 calls"));
    assert_int_equal(RUN(f, command_load, "load", "/nonexistent/file"), EXIT_USAGE);
    assert_int_equal(RUN(f, command_load, "load", "/"), EXIT_ANSWERED); /* a folder */
    assert_non_null(strstr(f->err, "directory"));
    assert_int_equal(RUN(f, command_load, "load", path, "--batch", "5000"), EXIT_USAGE);
    unlink(path);
}

int main(void)
{
#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typos_are_recognised),
        cmocka_unit_test(durations_are_read_and_written),
        cmocka_unit_test(lines_are_read_as_they_are),
        cmocka_unit_test(long_lines_are_skipped),
        cmocka_unit_test(a_load_line_is_a_call),
        cmocka_unit_test(bad_load_lines_are_explained),
        WITH_NODE(call_prints_the_reply),
        WITH_NODE(call_reads_its_payload_from_a_file),
        WITH_NODE(errors_have_their_exit_codes),
        WITH_NODE(an_owner_is_worth_a_try_only_if_it_has_not_answered),
        WITH_NODE(status_tells_how_the_node_is),
        WITH_NODE(an_old_node_is_told_from_a_new_one),
        WITH_NODE(load_makes_every_call_in_order),
        WITH_NODE(load_reports_what_failed),
        WITH_NODE(load_keeps_the_replies),
        WITH_NODE(load_stops_when_nobody_answers),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
