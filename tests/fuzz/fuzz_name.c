/* Names as a client gives them: whatever the bytes, parsing ends with parts that obey the limits,
 * or with a reason. */
#include "base/name.h"
#include "base/utf8.h"

#include "base/invariant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct troupe_bytes kind, id;
    const char *why = NULL;
    if (name_parse(troupe_bytes(data, size), &kind, &id, &why) != 0) {
        INVARIANT(why != NULL);
        return 0;
    }
    INVARIANT(kind.len + 1 + id.len == size);
    INVARIANT(utf8_is_valid(id));
    uint64_t hash = name_hash(kind, id);
    INVARIANT(name_partition(hash, 12) < 4096);
    return 0;
}
