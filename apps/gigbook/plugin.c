/* gigbook.so: what the node finds when it loads --kinds gigbook.so. */
#include "troupe/entity.h"
#include "user.h"
#include "venue.h"

static const struct troupe_kind *const kinds[] = {&user_kind, &venue_kind};

static const struct troupe_plugin plugin = {
    .abi = TROUPE_ENTITY_ABI,
    .name = "gigbook",
    .version = "1",
    .kinds = kinds,
    .kinds_n = sizeof kinds / sizeof *kinds,
};

const struct troupe_plugin *troupe_plugin(void)
{
    return &plugin;
}
