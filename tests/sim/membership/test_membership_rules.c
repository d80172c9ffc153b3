/* Each rule of membership holds (rules.h). Built with the real membership; and once more with the
 * mutants (mutants.h), where it shows that each of them breaks a rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sim/membership/mutants.h"
#include "tests/sim/membership/rules.h"

static const struct rule *const all[] = {rules_of_evidence, rules_of_suspicion, rules_of_identity,
                                         rules_of_spreading};

enum { PARTS = sizeof all / sizeof *all };

static void every_rule_holds(void **state)
{
    swim_mutant = 0;
    for (size_t part = 0; part < PARTS; part++) {
        for (const struct rule *rule = all[part]; rule->name != NULL; rule++) {
            const char *broken = rule->broken();
            if (broken != NULL)
                fail_msg("%s: %s", rule->name, broken);
        }
    }
}

/* In a process of its own: a mutant may break an invariant. */
static bool is_broken(const struct rule *rule)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        _exit(rule->broken() == NULL ? 0 : 1);
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status != 0;
}

static const struct rule *what_breaks(void)
{
    for (size_t part = 0; part < PARTS; part++) {
        for (const struct rule *rule = all[part]; rule->name != NULL; rule++) {
            if (is_broken(rule))
                return rule;
        }
    }
    return NULL;
}

static void every_mutant_is_caught(void **state)
{
    int survivors = 0;
    for (swim_mutant = 1; swim_mutant < swim_mutants_n; swim_mutant++) {
        const struct rule *rule = what_breaks();
        printf("%-22s %s\n", swim_mutants[swim_mutant].name,
               rule == NULL ? "SURVIVES" : rule->name);
        survivors += rule == NULL;
    }
    swim_mutant = 0;
    assert_int_equal(survivors, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_holds),
        cmocka_unit_test(every_mutant_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
