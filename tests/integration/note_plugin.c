/* A plug-in of one kind `note`, as a program of before or of after has it: NOTE_KIND. */
#include "tests/sim/note.h"

static const struct troupe_kind *const kinds[] = {&NOTE_KIND};
static const struct troupe_plugin plugin = {
    .abi = TROUPE_ENTITY_ABI, .name = "note", .version = "1", .kinds = kinds, .kinds_n = 1};

const struct troupe_plugin *troupe_plugin(void)
{
    return &plugin;
}
