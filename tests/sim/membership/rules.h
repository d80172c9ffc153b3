/* The rules of membership, one by one: each is a short story of one member (lone.h) that ends as
 * the rule says, or does not. With the product all hold; a mutant breaks one at least. */
#ifndef TROUPE_SIM_MEMBERSHIP_RULES_H
#define TROUPE_SIM_MEMBERSHIP_RULES_H

#include <stdbool.h>
#include <stddef.h>

struct rule {
    const char *name;
    /* NULL: it holds; else what did not, valid as long as the program. */
    const char *(*broken)(void);
};

extern const struct rule rules_of_evidence[], rules_of_suspicion[], rules_of_identity[],
    rules_of_spreading[]; /* each until a name is NULL */

/* A rule's story says what it wants; the first that is not so breaks the rule. */
#define HOLD(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return #condition;                                                                     \
    } while (0)

#endif
