/* What a call can come back with: the gRPC status codes, by their names and numbers
 * (https://grpc.io/docs/guides/status-codes/). A status other than OK travels with a message that
 * says what the caller can do. */
#ifndef TROUPE_STATUS_H
#define TROUPE_STATUS_H

#define TROUPE_STATUS_MAP(X)                                                                       \
    X(OK, 0, "done")                                                                               \
    X(CANCELLED, 1, "given up by the caller")                                                      \
    X(UNKNOWN, 2, "the outcome cannot be known: it may or may not have happened")                  \
    X(INVALID_ARGUMENT, 3, "the request is wrong, whatever the state")                             \
    X(DEADLINE_EXCEEDED, 4, "not done in time")                                                    \
    X(NOT_FOUND, 5, "no such thing")                                                               \
    X(ALREADY_EXISTS, 6, "it is there already")                                                    \
    X(PERMISSION_DENIED, 7, "not allowed")                                                         \
    X(RESOURCE_EXHAUSTED, 8, "a limit is reached")                                                 \
    X(FAILED_PRECONDITION, 9, "not in this state")                                                 \
    X(ABORTED, 10, "not done because of something else that happened: retry")                      \
    X(OUT_OF_RANGE, 11, "outside the valid range")                                                 \
    X(UNIMPLEMENTED, 12, "no such method")                                                         \
    X(INTERNAL, 13, "a fault of the program")                                                      \
    X(UNAVAILABLE, 14, "not now: retry later")                                                     \
    X(DATA_LOSS, 15, "data are lost or damaged")                                                   \
    X(UNAUTHENTICATED, 16, "who are you?")

enum troupe_status {
#define X(name, number, text) TROUPE_##name = number,
    TROUPE_STATUS_MAP(X)
#undef X
};

enum { TROUPE_STATUS_COUNT = 17 };

/* "NOT_FOUND" for TROUPE_NOT_FOUND, "STATUS?" for a number that is none. Static storage. */
__attribute__((visibility("default"))) const char *troupe_status_name(int status);

/* How a reply is kept safe, and what a caller asks for at least. A reply tells the level reached.
 */
enum troupe_ack {
    TROUPE_ACK_MEMORY = 0,  /* in the memory of the owner */
    TROUPE_ACK_REPLICA = 1, /* in the memory of the owner and of its backup */
    TROUPE_ACK_DURABLE = 2, /* committed in the store */
};

#endif
