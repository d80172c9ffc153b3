/* A plug-in as the header of interface 1 made them: its kind ends where the later members begin,
 * and what comes behind it is something else. */
#include <stddef.h>

#include "troupe/entity.h"

static const union {
    struct troupe_kind kind;
    struct {
        const char *name;
        uint8_t rest[offsetof(struct troupe_kind, state_version) - sizeof(const char *)];
        uint8_t other[sizeof(struct troupe_kind) - offsetof(struct troupe_kind, state_version)];
    } bytes;
} old = {.bytes = {.name = "old", .rest = {1, 2, 3}, .other = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}};

static const struct troupe_kind *const kinds[] = {&old.kind};
static const struct troupe_plugin plugin = {
    .abi = 1, .name = "old", .version = "1", .kinds = kinds, .kinds_n = 1};

const struct troupe_plugin *troupe_plugin(void)
{
    return &plugin;
}
