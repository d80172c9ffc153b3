#include "node/shell/proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { TEXT_BYTES = STORE_PROOF_BYTES_MAX + 1 };

static const char other_boot[] = "00000000-0000-4000-8000-000000000000";

/* The text with another value behind name, which must be there. */
static void with(char text[TEXT_BYTES], const char *name, const char *value)
{
    char out[2 * TEXT_BYTES];
    char *at = strstr(text, name);
    assert_non_null(at);
    size_t head = (size_t)(at - text) + strlen(name);
    snprintf(out, sizeof out, "%.*s%s%s", (int)head, text, value,
             text + head + strcspn(text + head, " "));
    assert_true(strlen(out) < TEXT_BYTES);
    memcpy(text, out, strlen(out) + 1);
}

static bool has(const char *text, const char *name)
{
    return strstr(text, name) != NULL;
}

static void a_process_that_lives_is_not_gone(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    proof_make(text);
    assert_false(proof_is_gone(text, true));
}

static void a_process_that_ended_is_gone(void **state)
{
    (void)state;
    int pipes[2];
    char text[TEXT_BYTES] = "";
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        char mine[TEXT_BYTES] = "";
        proof_make(mine);
        _exit(write(pipes[1], mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
    }
    assert_int_equal(read(pipes[0], text, sizeof text), sizeof text);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(pipes[0]);
    close(pipes[1]);
    assert_true(proof_is_gone(text, true));
    assert_true(proof_is_gone(text, false)); /* whoever asks */
}

/* Its pid is that of a later process. */
static void a_pid_that_is_used_again_is_gone(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    proof_make(text);
    with(text, " start=", "1");
    assert_true(proof_is_gone(text, true));
}

static void another_namespace_proves_nothing(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    proof_make(text);
    with(text, " start=", "1");
    with(text, " ns=", "4026532999");
    assert_false(proof_is_gone(text, true));
}

static void a_pod_that_was_restarted_is_gone(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    setenv("TROUPE_POD_UID", "3d5a6c2e-pod", 1);
    proof_make(text);
    assert_true(has(text, " pod=3d5a6c2e-pod"));
    assert_false(has(text, " machine="));
    with(text, "boot=", other_boot);
    assert_true(proof_is_gone(text, true));
    assert_false(proof_is_gone(text, false)); /* the pod's other container */
    setenv("TROUPE_POD_UID", "another-pod", 1);
    assert_false(proof_is_gone(text, true));
    unsetenv("TROUPE_POD_UID");
    assert_false(proof_is_gone(text, true));
}

/* Not in a container, where a machine's name for itself is the image's. */
static void a_machine_that_was_booted_again_ends_its_runs(void **state)
{
    (void)state;
    char text[TEXT_BYTES], inside[TEXT_BYTES];
    proof_make(text);
    if (!has(text, " machine="))
        skip();
    with(text, "boot=", other_boot);
    assert_true(proof_is_gone(text, true));
    memcpy(inside, text, sizeof inside);
    with(inside, " ns=", "4026532999");
    assert_false(proof_is_gone(inside, true));
    with(text, " machine=", "0123456789abcdef");
    assert_false(proof_is_gone(text, true));
}

static void what_is_no_proof_proves_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "p",
                                        "boot= ns= pid= start=",
                                        "boot=x",
                                        "boot=x ns=1 pid=-1 start=1",
                                        "boot=x ns=1 pid=1 start=1 pod= machine=",
                                        "boot=x ns=99999999999999999999 pid=9999999999999 start=1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(proof_is_gone(texts[i], true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_lives_is_not_gone),
        cmocka_unit_test(a_process_that_ended_is_gone),
        cmocka_unit_test(a_pid_that_is_used_again_is_gone),
        cmocka_unit_test(another_namespace_proves_nothing),
        cmocka_unit_test(a_pod_that_was_restarted_is_gone),
        cmocka_unit_test(a_machine_that_was_booted_again_ends_its_runs),
        cmocka_unit_test(what_is_no_proof_proves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
