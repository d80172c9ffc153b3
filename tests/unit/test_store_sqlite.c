/* The SQLite store: the contract. */
#include <stdlib.h>

#include "tests/unit/sqlite_fixture.h"

int main(void)
{
    return store_contract_run(&sqlite_fixture) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
