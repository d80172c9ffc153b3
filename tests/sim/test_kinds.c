/* Stories of nodes whose programs differ: in the versions of what they save, and in the kinds that
 * they have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/bag.h"
#include "tests/sim/note.h"
#include "tests/sim/troop.h"

static const struct troupe_kind *const v0[] = {&note_kind_0, &bag_kind};
static const struct troupe_kind *const v1[] = {&note_kind_1, &bag_kind};
static const struct troupe_kind *const v2[] = {&note_kind_2, &bag_kind};
static const struct troupe_kind *const v2_only[] = {&note_kind_2_only, &bag_kind};
static const struct troupe_kind *const few[] = {&bag_kind};

static void open_troop(struct troop *t)
{
    troop_open(t, v1, 2);
    t->trace = getenv("TROUPE_SIM_LOG") != NULL;
}

static void start(struct troop *t, uint32_t n, const struct troupe_kind *const *kinds,
                  size_t kinds_n)
{
    t->nodes[n].kinds = kinds;
    t->nodes[n].kinds_n = kinds_n;
    troop_start(t, n);
}

static bool serves(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt != NULL && t->nodes[n].phase == RUNTIME_SERVING;
}

static bool is_down(struct troop *t, uint32_t n)
{
    return t->nodes[n].rt == NULL;
}

static void stop(struct troop *t, uint32_t n)
{
    troop_stop(t, n);
    assert_true(troop_until(t, is_down, n, 60000));
}

static enum troupe_status put(struct troop *t, uint32_t n, const char *id, const char *method,
                              uint64_t value)
{
    return troop_call(t, n, "note", id, method, troupe_bytes(&value, 8), 0, 5000).status;
}

struct read {
    enum troupe_status status;
    uint64_t number, text;
    char why[512];
};

static struct read look(struct troop *t, uint32_t n, const char *id)
{
    struct troop_answer a = troop_call(t, n, "note", id, "read", troupe_bytes(NULL, 0), 0, 5000);
    struct read r = {.status = a.status};
    if (a.status == TROUPE_OK && a.payload.len == 16) {
        memcpy(&r.number, a.payload.data, 8);
        memcpy(&r.text, a.payload.data + 8, 8);
    }
    memcpy(r.why, a.message, sizeof r.why);
    return r;
}

static void assert_note(struct troop *t, uint32_t n, const char *id, uint64_t number, uint64_t text)
{
    struct read r = look(t, n, id);
    if (r.status != TROUPE_OK)
        print_message("note/%s: %s\n", id, r.why);
    assert_int_equal(r.status, TROUPE_OK);
    assert_int_equal(r.number, number);
    assert_int_equal(r.text, text);
}

static uint32_t owned(struct troop *t, uint32_t n)
{
    struct runtime_stats stats;
    troop_stats(t, n, &stats);
    return stats.partitions_owned;
}

static bool has_some(struct troop *t, uint32_t n)
{
    return owned(t, n) > 0;
}

static bool has_none(struct troop *t, uint32_t n)
{
    return owned(t, n) == 0;
}

static bool has_all(struct troop *t, uint32_t n)
{
    return owned(t, n) == 256;
}

/* What `forget_kind` of n answers. */
static enum troupe_status forget(struct troop *t, uint32_t n, const char *kind)
{
    Troupe__Rpc__ForgetKind f = TROUPE__RPC__FORGET_KIND__INIT;
    char name[16];
    uint8_t packed[64];
    snprintf(name, sizeof name, "%s", kind);
    f.name = name;
    size_t len = troupe__rpc__forget_kind__pack(&f, packed);
    return troop_call(t, n, "$node", "self", "forget_kind", troupe_bytes(packed, len), 0, 5000)
        .status;
}

/* What n says of itself: why it takes no partitions. */
static void get_lacks(struct troop *t, uint32_t n, char lacks[256])
{
    troop_run(t, 200); /* an answer is given again for a while */
    struct troop_answer a =
        troop_call(t, n, "$node", "self", "status", troupe_bytes(NULL, 0), 0, 5000);
    Troupe__Rpc__NodeStatus *s =
        troupe__rpc__node_status__unpack(NULL, a.payload.len, a.payload.data);
    assert_non_null(s);
    snprintf(lacks, 256, "%s", s->lacks);
    troupe__rpc__node_status__free_unpacked(s, NULL);
}

/* What a newer program has saved is neither read nor overwritten by an older one; what an older one
 * has saved is made anew for the newer. */
static void newer_state_is_left_alone(void **unused)
{
    (void)unused;
    struct troop t;
    open_troop(&t);
    start(&t, 0, v0, 2);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_int_equal(put(&t, 0, "x", "set", 7), TROUPE_OK);
    stop(&t, 0);

    start(&t, 0, v2, 2);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_note(&t, 0, "x", 7, 0);
    assert_int_equal(put(&t, 0, "x", "annotate", 9), TROUPE_OK);
    stop(&t, 0);

    start(&t, 0, few, 1); /* an operator gives the kind up, and then thinks better of it */
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_int_equal(forget(&t, 0, "note"), TROUPE_OK);
    stop(&t, 0);
    for (int round = 0; round < 2; round++) {
        start(&t, 0, round == 0 ? v0 : v1, 2);
        assert_true(troop_until(&t, has_all, 0, 10000));
        struct read r = look(&t, 0, "x");
        assert_int_equal(r.status, TROUPE_UNAVAILABLE);
        assert_non_null(strstr(r.why, "version 2"));
        assert_int_equal(put(&t, 0, "x", "set", 8), TROUPE_UNAVAILABLE);
        assert_int_equal(put(&t, 0, round == 0 ? "y" : "z", "set", 8), TROUPE_OK);
        stop(&t, 0);
    }
    start(&t, 0, v2, 2);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_note(&t, 0, "x", 7, 9);
    assert_note(&t, 0, "y", 8, 0);
    troop_close(&t);
}

/* A rolling upgrade: while a node of before is there, states are written as it reads them, and what
 * has no place in that is refused; then the new form is used, and who would come back old finds
 * itself without partitions. */
static void a_rolling_upgrade_loses_nothing(void **unused)
{
    (void)unused;
    struct troop t;
    char id[16], lacks[256];
    open_troop(&t);
    start(&t, 0, v1, 2);
    start(&t, 1, v1, 2);
    assert_true(troop_until(&t, has_some, 0, 10000) && troop_until(&t, has_some, 1, 10000));
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(put(&t, 0, id, "set", 100 + (uint64_t)i), TROUPE_OK);
    }
    stop(&t, 0);
    start(&t, 0, v2, 2);
    assert_true(troop_until(&t, has_some, 0, 10000));
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "n%d", i);
        enum troupe_status status = put(&t, 0, id, "annotate", 5);
        assert_true(status == TROUPE_UNAVAILABLE || status == TROUPE_UNIMPLEMENTED ||
                    status == TROUPE_OK);
        if (status == TROUPE_OK) /* at the old one it is another method's business */
            continue;
        assert_int_equal(put(&t, 0, id, "set", 200 + (uint64_t)i), TROUPE_OK);
    }
    stop(&t, 1);
    start(&t, 1, v2, 2);
    assert_true(troop_until(&t, has_some, 1, 10000));
    troop_run(&t, 2000);
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(put(&t, 0, id, "annotate", 300 + (uint64_t)i), TROUPE_OK);
    }
    stop(&t, 1);
    start(&t, 1, v1, 2); /* by mistake */
    assert_true(troop_until(&t, serves, 1, 10000));
    troop_run(&t, 5000);
    assert_true(has_none(&t, 1));
    assert_true(has_all(&t, 0));
    get_lacks(&t, 1, lacks);
    assert_non_null(strstr(lacks, "version 1"));
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "n%d", i);
        struct read r = look(&t, 1, id);
        assert_int_equal(r.status, TROUPE_OK);
        assert_int_equal(r.text, 300 + i);
    }
    troop_close(&t);
}

/* One that cannot write what the others read waits for them to go. */
static void a_new_form_waits_for_the_old_nodes(void **unused)
{
    (void)unused;
    struct troop t;
    char lacks[256];
    open_troop(&t);
    start(&t, 0, v1, 2);
    assert_true(troop_until(&t, serves, 0, 10000));
    assert_int_equal(put(&t, 0, "x", "set", 7), TROUPE_OK);
    start(&t, 1, v2_only, 2);
    assert_true(troop_until(&t, serves, 1, 10000));
    troop_run(&t, 5000);
    assert_true(has_all(&t, 0) && has_none(&t, 1));
    get_lacks(&t, 1, lacks);
    assert_non_null(strstr(lacks, "cannot write"));
    assert_int_equal(put(&t, 1, "x", "set", 8), TROUPE_OK);
    stop(&t, 0);
    assert_true(troop_until(&t, has_all, 1, 20000));
    assert_note(&t, 1, "x", 8, 0);
    assert_int_equal(put(&t, 1, "x", "annotate", 9), TROUPE_OK);
    troop_close(&t);
}

/* A node that was started without a kind takes no partitions, and nobody is told that what there is
 * is not there, whichever node is asked. */
static void a_forgotten_kind_hides_nothing(void **unused)
{
    (void)unused;
    struct troop t;
    char id[16], lacks[256];
    open_troop(&t);
    start(&t, 0, v1, 2);
    start(&t, 1, v1, 2);
    assert_true(troop_until(&t, has_some, 0, 10000) && troop_until(&t, has_some, 1, 10000));
    for (int i = 0; i < 50; i++) {
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(put(&t, 0, id, "set", 100 + (uint64_t)i), TROUPE_OK);
    }
    stop(&t, 1);
    start(&t, 1, few, 1);
    start(&t, 2, few, 1);
    for (int i = 0; i < 50; i++) { /* from its first moment on */
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(look(&t, 1 + (uint32_t)i % 2, id).status, TROUPE_OK);
    }
    troop_run(&t, 5000);
    assert_true(has_none(&t, 1) && has_none(&t, 2) && has_all(&t, 0));
    get_lacks(&t, 1, lacks);
    assert_non_null(strstr(lacks, "note"));
    assert_int_equal(forget(&t, 1, "note"), TROUPE_FAILED_PRECONDITION); /* n0 has it */
    assert_int_equal(forget(&t, 1, "nothing"), TROUPE_NOT_FOUND);
    struct troop_answer a = troop_call(&t, 1, "typo", "x", "read", troupe_bytes(NULL, 0), 0, 5000);
    assert_int_equal(a.status, TROUPE_NOT_FOUND);

    stop(&t, 0); /* now nobody has it: it may be, and nobody says that it is not */
    a = troop_call(&t, 1, "note", "n1", "read", troupe_bytes(NULL, 0), 0, 5000);
    assert_int_equal(a.status, TROUPE_UNAVAILABLE);
    assert_non_null(strstr(a.message, "note"));
    a = troop_call(&t, 1, "bag", "x", "$get", troupe_bytes(NULL, 0), 0, 5000); /* it has that one */
    assert_int_equal(a.status, TROUPE_UNAVAILABLE);
    if (strstr(a.message, "takes none: it does not have kind note") == NULL)
        fail_msg("%s", a.message);
    troop_run(&t, 1500);
    assert_int_equal(forget(&t, 1, "note"), TROUPE_OK);
    assert_true(troop_until(&t, has_some, 1, 10000) && troop_until(&t, has_some, 2, 10000));
    a = troop_call(&t, 1, "note", "n1", "read", troupe_bytes(NULL, 0), 0, 5000);
    assert_int_equal(a.status, TROUPE_NOT_FOUND);
    troop_close(&t);
}

/* A kind that is new opens when the last node has it. */
static void a_new_kind_opens_when_all_have_it(void **unused)
{
    (void)unused;
    struct troop t;
    open_troop(&t);
    start(&t, 0, few, 1);
    start(&t, 1, few, 1);
    assert_true(troop_until(&t, has_some, 0, 10000) && troop_until(&t, has_some, 1, 10000));
    stop(&t, 0);
    start(&t, 0, v1, 2);
    assert_true(troop_until(&t, has_some, 0, 10000));
    troop_run(&t, 1500);
    for (uint32_t n = 0; n < 2; n++) {
        struct read r = look(&t, n, "x");
        assert_int_equal(r.status, TROUPE_UNAVAILABLE);
        assert_non_null(strstr(r.why, "lack it: n1"));
    }
    stop(&t, 1);
    start(&t, 1, v1, 2);
    assert_int_equal(put(&t, 1, "x", "set", 7), TROUPE_OK);
    assert_note(&t, 0, "x", 7, 0);
    troop_close(&t);
}

/* Nodes that begin at once open their kinds without ado. */
static void equal_nodes_start_at_once(void **unused)
{
    (void)unused;
    struct troop t;
    open_troop(&t);
    start(&t, 0, v1, 2);
    uint64_t begun = t.now.mono_ns;
    assert_int_equal(put(&t, 0, "x", "set", 7), TROUPE_OK);
    assert_true(t.now.mono_ns - begun < 250 * TROOP_MS);
    for (uint32_t n = 1; n < 4; n++)
        start(&t, n, v1, 2);
    for (uint32_t n = 1; n < 4; n++)
        assert_int_equal(put(&t, n, "x", "set", 7), TROUPE_OK);
    assert_true(t.now.mono_ns - begun < 2500 * TROOP_MS);
    troop_close(&t);
}

static void call_names(struct troop *t, const char *own, size_t own_len, size_t kind_n, size_t id_n,
                       size_t method_n, uint8_t with)
{
    static uint8_t name[400];
    memset(name, with, sizeof name);
    struct rpc_call call = {
        .kind = kind_n == 0 ? troupe_bytes(own, own_len) : troupe_bytes(name, kind_n - 1),
        .id = troupe_bytes(name, id_n),
        .method = troupe_bytes(name, method_n),
    };
    struct troop_peer *p = troop_begin(t, 0, &call, 1, 50);
    for (uint32_t ms = 0; ms < 500 && troop_answered(p) == NULL; ms += 10)
        troop_run(t, 10);
    assert_non_null(troop_answered(p));
    assert_int_not_equal(troop_answered(p)->results[0].status, TROUPE_OK);
    troop_end(p);
}

/* Whoever writes the protocol by hand writes names of any length, of any bytes, and of kinds that
 * there are and are not. Each is answered, on both ports, before and after kinds are known. */
static void names_of_any_length_are_answered(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 62, 63, 64, 65, 127, 128, 254, 255, 256, 257, 300};
    static const uint8_t bytes[] = {'x', '$', 0, 0xFF};
    enum { LENGTHS = sizeof lengths / sizeof lengths[0] };
    struct troop t;
    open_troop(&t);
    start(&t, 0, v1, 2);
    troop_run(&t, 2000);
    start(&t, 1, v1, 2);
    troop_run(&t, 2000);
    for (uint32_t as_node = 0; as_node < 2; as_node++) {
        t.as_node = as_node != 0;
        for (size_t b = 0; b < sizeof bytes; b++) {
            for (size_t k = 0; k < LENGTHS; k++) {
                for (size_t i = 0; i < LENGTHS; i++)
                    call_names(&t, "note", 4, lengths[k] + 1, lengths[i], 1, bytes[b]);
                call_names(&t, "note", 4, 0, 1, lengths[k], bytes[b]);
                call_names(&t, "note", 4, lengths[k] + 1, 1, lengths[k], bytes[b]);
                call_names(&t, "$node", 5, 0, lengths[k], lengths[k], bytes[b]);
                call_names(&t, "$peer", 5, 0, lengths[k], lengths[k], bytes[b]);
            }
        }
    }
    troop_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_state_is_left_alone),
        cmocka_unit_test(a_rolling_upgrade_loses_nothing),
        cmocka_unit_test(a_new_form_waits_for_the_old_nodes),
        cmocka_unit_test(a_forgotten_kind_hides_nothing),
        cmocka_unit_test(a_new_kind_opens_when_all_have_it),
        cmocka_unit_test(equal_nodes_start_at_once),
        cmocka_unit_test(names_of_any_length_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
