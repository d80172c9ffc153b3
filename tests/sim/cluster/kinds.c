/* See kinds.h. */
#include "tests/sim/cluster/kinds.h"

#include "tests/sim/cluster/account.h"
#include "tests/sim/cluster/ledger.h"
#include "tests/sim/cluster/slate.h"
#include "user.h"
#include "venue.h"

const struct troupe_kind *const sim_kinds[SIM_KINDS] = {&ledger_kind, &user_kind, &venue_kind,
                                                        &account_kind, &slate_kind};
const struct troupe_kind *const sim_kinds_few[2][SIM_KINDS_FEW] = {
    {&account_kind, &user_kind, &venue_kind, &slate_kind},
    {&ledger_kind, &user_kind, &venue_kind, &slate_kind},
};
