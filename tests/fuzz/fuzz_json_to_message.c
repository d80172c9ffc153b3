/* JSON text from a client. What becomes a message must go to JSON and come back as the same
 * message; what does not must have a reason, in one line of UTF-8. */
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
    INVARIANT(why[0] != '\0' && strchr(why, '\n') == NULL);
    INVARIANT(utf8_is_valid(troupe_bytes_of(why)));
}

static void check_comes_back(struct arena *arena, const ProtobufCMessageDescriptor *type,
                             struct troupe_bytes packed, bool with_defaults)
{
    struct troupe_bytes text, again;
    char why[JSON_WHY_BYTES];
    INVARIANT(json_from_message(arena, type, packed, with_defaults, &text, why) == 0);
    INVARIANT(json_to_message(arena, type, text, &again, why) == 0);
    INVARIANT(troupe_bytes_equal(again, packed));
}

static void run(const ProtobufCMessageDescriptor *type, struct troupe_bytes text)
{
    struct arena arena;
    struct troupe_bytes packed;
    char why[JSON_WHY_BYTES];
    arena_init(&arena, 0, ARENA_BYTES_MAX);
    int rc = json_to_message(&arena, type, text, &packed, why);
    if (rc != 0) {
        check_why(rc, why);
    } else {
        check_comes_back(&arena, type, packed, false);
        check_comes_back(&arena, type, packed, true);
    }
    arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run(&sample__every__descriptor, troupe_bytes(data, size));
    run(&sample2__old__descriptor, troupe_bytes(data, size));
    return 0;
}
