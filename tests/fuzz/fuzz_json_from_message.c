/* A packed message from a client, a kind or the database, shown as JSON: printed or refused with a
 * reason; and what is printed is understood, as a message that comes back from then on. (Not the
 * first message: fields may come in any order and more than once, and protobuf-c does not pack a
 * -0.0.) */
#include "base/invariant.h"
#include "base/utf8.h"
#include "proto/json.h"
#include "sample.pb-c.h"
#include "sample2.pb-c.h"
#include "troupe/error.h"

enum { ARENA_BYTES_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_why(int rc, const char *why)
{
    INVARIANT(rc == TROUPE_EMALFORMED || rc == TROUPE_ELIMIT);
    INVARIANT(why[0] != '\0' && utf8_is_valid(troupe_bytes_of(why)));
}

static void run(const ProtobufCMessageDescriptor *type, struct troupe_bytes packed,
                bool with_defaults)
{
    struct arena arena;
    struct troupe_bytes text, first, second;
    char why[JSON_WHY_BYTES];
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    int rc = json_from_message(&arena, type, packed, with_defaults, &text, why);
    if (rc != 0) {
        check_why(rc, why);
    } else {
        INVARIANT(utf8_is_valid(text) && text.data[text.len] == '\0');
        INVARIANT(json_to_message(&arena, type, text, &first, why) == 0);
        INVARIANT(json_from_message(&arena, type, first, with_defaults, &text, why) == 0);
        INVARIANT(json_to_message(&arena, type, text, &second, why) == 0);
        INVARIANT(troupe_bytes_equal(first, second));
    }
    arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run(&sample__every__descriptor, troupe_bytes(data, size), false);
    run(&sample__every__descriptor, troupe_bytes(data, size), true);
    run(&sample2__old__descriptor, troupe_bytes(data, size), false);
    return 0;
}
