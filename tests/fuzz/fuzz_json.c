/* JSON text from a client to a message, and whatever message came of it to JSON and back: the same
 * bytes. The first byte picks the message type; bytes that are no JSON are also tried as a packed
 * message. */
#include "proto/json.h"

#include "base/invariant.h"
#include "rpc.pb-c.h"
#include "status.pb-c.h"

enum { ARENA_BYTES_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_there_and_back(struct arena *arena, const ProtobufCMessageDescriptor *type,
                                 struct troupe_bytes packed)
{
    struct troupe_bytes text, again, text_again;
    char why[JSON_WHY_BYTES] = "";
    if (json_from_message(arena, type, packed, false, &text, why) != 0) {
        INVARIANT(why[0] != '\0');
        return;
    }
    if (json_to_message(arena, type, text, &again, why) != 0)
        return; /* larger or deeper than what is accepted from outside */
    INVARIANT(json_from_message(arena, type, again, false, &text_again, why) == 0 ||
              why[0] != '\0');
    INVARIANT(text_again.len == text.len);
    INVARIANT(memcmp(text_again.data, text.data, text.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &troupe__rpc__request__descriptor,
        &troupe__rpc__reply__descriptor,
        &troupe__rpc__node_status__descriptor,
    };
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % 3];
    struct troupe_bytes input = troupe_bytes(data + 1, size - 1), packed;
    struct arena arena;
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    char why[JSON_WHY_BYTES] = "";
    if (json_to_message(&arena, type, input, &packed, why) == 0) {
        check_there_and_back(&arena, type, packed);
    } else {
        INVARIANT(why[0] != '\0');
        check_there_and_back(&arena, type, input);
    }
    arena_close(&arena);
    return 0;
}
