/* See name.h. */
#include "base/name.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/invariant.h"
#include "base/utf8.h"
#include "troupe/error.h"

uint64_t name_hash(struct troupe_bytes kind, struct troupe_bytes id)
{
    uint8_t buf[NAME_KIND_BYTES_MAX + 1 + NAME_ID_BYTES_MAX];
    INVARIANT(kind.len <= NAME_KIND_BYTES_MAX);
    INVARIANT(id.len <= NAME_ID_BYTES_MAX);
    memcpy(buf, kind.data, kind.len);
    buf[kind.len] = 0;
    memcpy(buf + kind.len + 1, id.data, id.len);
    return XXH3_64bits(buf, kind.len + 1 + id.len);
}

int name_partition_bits(uint32_t partitions)
{
    if (partitions < PARTITIONS_MIN || partitions > PARTITIONS_MAX)
        return -1;
    if ((partitions & (partitions - 1)) != 0)
        return -1;
    return __builtin_ctz(partitions);
}

int name_check_kind(struct troupe_bytes kind, const char **why)
{
    *why = "a kind is 1 to 63 characters out of a-z, 0-9 and _, a letter first";
    if (kind.len == 0 || kind.len > NAME_KIND_BYTES_MAX)
        return TROUPE_EINVAL;
    for (size_t i = 0; i < kind.len; i++) {
        uint8_t c = kind.data[i];
        int letter = (c >= 'a' && c <= 'z') || (i == 0 && c == '$' && kind.len > 1);
        int other = (c >= '0' && c <= '9') || c == '_';
        if (!letter && (i == 0 || !other))
            return TROUPE_EINVAL;
    }
    return 0;
}

int name_check_id(struct troupe_bytes id, const char **why)
{
    *why = "an id is 1 to 255 bytes of UTF-8";
    if (id.len == 0 || id.len > NAME_ID_BYTES_MAX)
        return TROUPE_EINVAL;
    *why = "an id must be valid UTF-8";
    return utf8_is_valid(id) ? 0 : TROUPE_EINVAL;
}

int name_parse(struct troupe_bytes name, struct troupe_bytes *kind, struct troupe_bytes *id,
               const char **why)
{
    const uint8_t *slash = name.len == 0 ? NULL : memchr(name.data, '/', name.len);
    if (slash == NULL) {
        *why = "an entity's name is kind/id, as in venue/42";
        return TROUPE_EINVAL;
    }
    size_t at = (size_t)(slash - name.data);
    *kind = troupe_bytes(name.data, at);
    *id = troupe_bytes(slash + 1, name.len - at - 1);
    int rc = name_check_kind(*kind, why);
    return rc != 0 ? rc : name_check_id(*id, why);
}
