/* protobuf-c's messages point to their texts without const, also when they are only written. */
#ifndef GIGBOOK_MESSAGE_H
#define GIGBOOK_MESSAGE_H

static inline char *message_text(const char *text)
{
    union {
        const char *from;
        char *to;
    } text_of = {.from = text};
    return text_of.to;
}

#endif
