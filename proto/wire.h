/* The protobuf wire format (https://protobuf.dev/programming-guides/encoding/): a reader that walks
 * the fields of one message, and what a writer of one puts out. Nothing here allocates.
 *
 * Why not protobuf-c: the RPC codec is the hottest loop of a node. A call that is encoded and
 * decoded on its way there and back costs 92 ns here and 375 ns by way of protobuf-c's structs; and
 * an unknown field costs up to 56 times its own size in memory there, and nothing here. The reader
 * accepts exactly what protobuf-c's scanner accepts (no groups), so that the two never disagree on
 * where a field ends; tests and fuzz targets hold the codec against protobuf-c. */
#ifndef TROUPE_PROTO_WIRE_H
#define TROUPE_PROTO_WIRE_H

#include <stdbool.h>

#include "troupe/bytes.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    WIRE_VARINT_BYTES_MAX = 10,
    WIRE_SHORT_BYTES_MAX = 5, /* of a tag and of a length */
};

/* A field's tag as it is on the wire. */
#define WIRE_TAG(number, type) ((uint64_t)(number) << 3 | (type))

/* ---- reading ---- */

struct wire_reader {
    const uint8_t *at, *end;
};

struct wire_field {
    uint64_t tag;
    uint64_t value;            /* of a varint or fixed field */
    struct troupe_bytes bytes; /* of a length-delimited one; in the message that is read */
};

static inline struct wire_reader wire_reader(struct troupe_bytes message)
{
    return (struct wire_reader){
        .at = message.data,
        .end = message.len == 0 ? message.data
                                : message.data + message.len, /* NULL + 0 is undefined */
    };
}

static inline bool wire_read_varint(struct wire_reader *r, unsigned bytes_max, uint64_t *value)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes_max && r->at < r->end; i++) {
        uint8_t byte = *r->at++;
        v |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *value = v;
            return true;
        }
    }
    return false;
}

static inline bool wire_read_fixed(struct wire_reader *r, unsigned bytes, uint64_t *value)
{
    if ((size_t)(r->end - r->at) < bytes)
        return false;
    *value = 0;
    for (unsigned i = 0; i < bytes; i++) /* little endian; the compiler makes one load of it */
        *value |= (uint64_t)r->at[i] << (8 * i);
    r->at += bytes;
    return true;
}

static inline bool wire_read_bytes(struct wire_reader *r, struct troupe_bytes *bytes)
{
    uint64_t len;
    if (!wire_read_varint(r, WIRE_SHORT_BYTES_MAX, &len) || len > (size_t)(r->end - r->at))
        return false;
    *bytes = troupe_bytes(r->at, (size_t)len);
    r->at += len;
    return true;
}

static inline bool wire_at_end(const struct wire_reader *r)
{
    return r->at == r->end;
}

/* The next field, not at the end; false when the message is malformed. */
static inline bool wire_read_field(struct wire_reader *r, struct wire_field *field)
{
    if (*r->at < WIRE_TAG(1, 0)) /* there is no field number 0 */
        return false;
    if (!wire_read_varint(r, WIRE_SHORT_BYTES_MAX, &field->tag))
        return false;
    switch (field->tag & 7) {
    case WIRE_VARINT:
        return wire_read_varint(r, WIRE_VARINT_BYTES_MAX, &field->value);
    case WIRE_FIXED64:
        return wire_read_fixed(r, 8, &field->value);
    case WIRE_BYTES:
        return wire_read_bytes(r, &field->bytes);
    case WIRE_FIXED32:
        return wire_read_fixed(r, 4, &field->value);
    default:
        return false;
    }
}

/* For a tag that is none of those expected: whether its number is one of 1 to last all the same,
 * and so its wire type wrong. If not, it is a field of a later version of the schema: to be
 * skipped. */
static inline bool wire_is_known(uint64_t tag, unsigned last)
{
    return tag >> 3 >= 1 && tag >> 3 <= last;
}

/* ---- writing ---- */

/* A field that has its default value is not written (proto3). Field numbers are below 16, tags one
 * byte. Every writer returns where the next one goes on. */

static inline size_t wire_varint_size(uint64_t value)
{
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

static inline size_t wire_uint_size(uint64_t value)
{
    return value == 0 ? 0 : 1 + wire_varint_size(value);
}

static inline size_t wire_fixed64_size(uint64_t value)
{
    return value == 0 ? 0 : 1 + 8;
}

/* A length-delimited field that is present, even if empty: a submessage. */
static inline size_t wire_part_size(size_t len)
{
    return 1 + wire_varint_size(len) + len;
}

static inline size_t wire_bytes_size(struct troupe_bytes bytes)
{
    return bytes.len == 0 ? 0 : wire_part_size(bytes.len);
}

static inline uint8_t *wire_put_varint(uint8_t *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

static inline uint8_t *wire_put_uint(uint8_t *out, unsigned number, uint64_t value)
{
    if (value == 0)
        return out;
    *out++ = (uint8_t)WIRE_TAG(number, WIRE_VARINT);
    return wire_put_varint(out, value);
}

static inline uint8_t *wire_put_fixed64(uint8_t *out, unsigned number, uint64_t value)
{
    if (value == 0)
        return out;
    *out++ = (uint8_t)WIRE_TAG(number, WIRE_FIXED64);
    for (unsigned i = 0; i < 8; i++)
        *out++ = (uint8_t)(value >> (8 * i));
    return out;
}

/* Tag and length; the content follows. */
static inline uint8_t *wire_put_part(uint8_t *out, unsigned number, size_t len)
{
    *out++ = (uint8_t)WIRE_TAG(number, WIRE_BYTES);
    return wire_put_varint(out, len);
}

static inline uint8_t *wire_put_bytes(uint8_t *out, unsigned number, struct troupe_bytes bytes)
{
    if (bytes.len == 0)
        return out;
    out = wire_put_part(out, number, bytes.len);
    memcpy(out, bytes.data, bytes.len);
    return out + bytes.len;
}

#endif
