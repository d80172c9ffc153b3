/* See unpack.h. */
#include "proto/unpack.h"

#include "proto/wire.h"
#include "troupe/error.h"

/* What protobuf-c's allocator is over. Tells the two reasons apart for which unpacking fails. */
struct watched_arena {
    struct arena *arena;
    bool is_full;
};

static void *allocate(void *data, size_t size)
{
    struct watched_arena *watched = data;
    void *p = arena_alloc(watched->arena, size);
    watched->is_full |= p == NULL;
    return p;
}

static void release(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

static bool has_submessages(const ProtobufCMessageDescriptor *descriptor)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++)
        if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            return true;
    return false;
}

/* Goes the way that unpacking would go, and no deeper than `levels`. */
static int check_depth(const ProtobufCMessageDescriptor *descriptor, struct troupe_bytes packed,
                       unsigned levels)
{
    struct wire_field field;
    int rc = 0;
    if (levels == 0)
        return TROUPE_ELIMIT;
    if (!has_submessages(descriptor))
        return 0;
    for (struct wire_reader r = wire_reader(packed); rc == 0 && !wire_at_end(&r);) {
        if (!wire_read_field(&r, &field))
            return TROUPE_EMALFORMED;
        if ((field.tag & 7) != WIRE_BYTES)
            continue;
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(field.tag >> 3));
        if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE)
            rc = check_depth(f->descriptor, field.bytes, levels - 1);
    }
    return rc;
}

int unpack_message(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                   struct troupe_bytes packed, ProtobufCMessage **message)
{
    static const uint8_t nothing;
    struct watched_arena watched = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = allocate, .free = release, .allocator_data = &watched};
    int rc = check_depth(descriptor, packed, UNPACK_DEPTH_MAX);
    if (rc != 0)
        return rc;
    *message = protobuf_c_message_unpack(descriptor, &allocator, packed.len,
                                         packed.len == 0 ? &nothing : packed.data);
    if (*message != NULL)
        return 0;
    return watched.is_full ? TROUPE_ELIMIT : TROUPE_EMALFORMED;
}
