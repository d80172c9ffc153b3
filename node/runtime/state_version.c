/* States of older and of newer programs (DESIGN §7, "Versions and kinds"). A kind says of which
 * version its saved states are; that version is kept with each of them, in the row and in what is
 * handed over. A node upgrades an older state, and leaves a newer one alone: reading it would drop
 * what it does not know, and the next save would make that good for ever.
 *
 * Kept where? Not in a column of its own: a node of a program that has never heard of versions
 * would read the state, and write it back, whatever stands there. It stands before the window of
 * request ids instead, whose format such a program checks: it finds it malformed, and neither reads
 * nor overwrites the row. A state without version is kept as ever.
 *
 *   u8 mark = 200, u8 0, u16 0, u32 version (little-endian), the window */
#include <endian.h>
#include <stdio.h>

#include "node/runtime/internal.h"

enum { MARK = 200, HEAD_BYTES = 8 };

struct troupe_bytes state_version__seal(struct arena *arena, uint32_t version,
                                        struct troupe_bytes window)
{
    if (version == 0 || (window.data == NULL && window.len > 0))
        return window;
    uint8_t *sealed = arena_alloc(arena, HEAD_BYTES + window.len);
    if (sealed == NULL)
        return troupe_bytes(NULL, HEAD_BYTES + window.len);
    uint32_t little = htole32(version);
    memset(sealed, 0, HEAD_BYTES);
    sealed[0] = MARK;
    memcpy(sealed + 4, &little, 4);
    if (window.len > 0)
        memcpy(sealed + HEAD_BYTES, window.data, window.len);
    return troupe_bytes(sealed, HEAD_BYTES + window.len);
}

int state_version__unseal(struct troupe_bytes sealed, uint32_t *version,
                          struct troupe_bytes *window)
{
    static const uint8_t zeros[3] = {0};
    uint32_t little;
    *version = 0;
    *window = sealed;
    if (sealed.len == 0 || sealed.data[0] != MARK)
        return 0;
    if (sealed.len < HEAD_BYTES || memcmp(sealed.data + 1, zeros, sizeof zeros) != 0)
        return TROUPE_EMALFORMED;
    memcpy(&little, sealed.data + 4, 4);
    *version = le32toh(little);
    *window = troupe_bytes(sealed.data + HEAD_BYTES, sealed.len - HEAD_BYTES);
    return *version == 0 ? TROUPE_EMALFORMED : 0;
}

int state_version__upgrade(struct troupe_ctx *ctx, uint32_t version, struct troupe_bytes *saved)
{
    const struct troupe_kind *def = ctx->kind->def;
    if (version > def->state_version)
        return TROUPE_EVERSION;
    if (version == def->state_version || def->upgrade == NULL)
        return 0;
    struct troupe_buffer buffer = {.arena = &ctx->rt->scratch,
                                   .max = ctx->rt->config.state_bytes_max};
    int rc = def->upgrade(ctx, *saved, version, &buffer);
    if (rc != 0 && ctx->crash[0] == '\0')
        snprintf(ctx->crash, sizeof ctx->crash,
                 buffer.full ? "upgrading its state from version %u makes it too large (%d)"
                             : "upgrade refuses its saved state of version %u (%d)",
                 version, rc);
    *saved = troupe_bytes(buffer.data, buffer.len);
    return rc;
}

int state_version__save(struct troupe_ctx *ctx, struct troupe_buffer *out)
{
    const struct troupe_kind *def = ctx->kind->def;
    uint32_t version = ctx->kind->write_version;
    INVARIANT(state_version__can_write(def, version));
    return version == def->state_version ? def->save(ctx, ctx->e->state, out)
                                         : def->save_as(ctx, ctx->e->state, version, out);
}

bool state_version__can_write(const struct troupe_kind *def, uint32_t version)
{
    return version == def->state_version ||
           (def->save_as != NULL && version < def->state_version && version >= def->save_as_oldest);
}

const char *state_version__check(const struct troupe_kind *def)
{
    if (def->save_as == NULL && def->save_as_oldest != 0)
        return "save_as_oldest is set, and save_as is not";
    if (def->save_as != NULL && def->save_as_oldest >= def->state_version)
        return "save_as_oldest must be below state_version";
    return NULL;
}
