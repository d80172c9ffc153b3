/* Inside the contract suite: the groups that it is made of, one per file. */
#ifndef TROUPE_TESTS_STORE_CONTRACT_PARTS_H
#define TROUPE_TESTS_STORE_CONTRACT_PARTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store_contract.h"

enum { CONTRACT_PART_TESTS_MAX = 32 };

/* What a test finds in *state. */
struct contract_bed {
    const struct store_fixture *fixture;
    char url[CONTRACT_URL_BYTES];
};

struct contract_part {
    const char *name;
    const struct CMUnitTest *tests;
    size_t tests_n;
};

/* Defines contract_part_<name> out of an array of CMUnitTest. */
#define CONTRACT_PART(part, array)                                                                 \
    const struct contract_part contract_part_##part = {#part, array,                               \
                                                       sizeof(array) / sizeof((array)[0])};        \
    _Static_assert(sizeof(array) / sizeof((array)[0]) <= CONTRACT_PART_TESTS_MAX, "raise the "     \
                                                                                  "limit")

extern const struct contract_part contract_part_lease, contract_part_claim, contract_part_rows,
    contract_part_errors, contract_part_race, contract_part_oracle, contract_part_evict,
    contract_part_transfer, contract_part_history, contract_part_recent, contract_part_drain,
    contract_part_kinds, contract_part_joins;

/* A handle of cluster "c" on the test's database. */
static inline void bed_open(struct contract_store *s, const struct contract_bed *bed)
{
    contract_open(s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
}

#endif
