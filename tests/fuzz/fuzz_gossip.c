/* A gossip frame from anybody: the codec takes what protobuf-c takes and the limits allow, reads
 * the same out of it, and what it took is encoded and decoded to the same again. What was decoded
 * is inside the frame. */
#include "base/invariant.h"
#include "tests/unit/gossip_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(struct troupe_bytes part, const uint8_t *data, size_t size)
{
    return part.len == 0 ||
           (part.data >= data && part.len <= size && part.data <= data + size - part.len);
}

static void check_places(const uint8_t *data, size_t size)
{
    static struct gossip_record records[GOSSIP_RECORDS_MAX];
    struct gossip_frame frame;
    const char *why = NULL;
    if (gossip_decode(troupe_bytes(data, size), &frame, records, &why) != 0)
        return;
    INVARIANT(is_inside(frame.from, data, size) && is_inside(frame.target, data, size));
    INVARIANT(is_inside(frame.digest, data, size) && is_inside(frame.owners, data, size));
    for (size_t i = 0; i < frame.records_n; i++) {
        INVARIANT(is_inside(records[i].name, data, size));
        INVARIANT(is_inside(records[i].suspecter, data, size));
        INVARIANT(is_inside(records[i].meta, data, size));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    INVARIANT(gossip_oracle(troupe_bytes(data, size)) == NULL);
    check_places(data, size);
    return 0;
}
