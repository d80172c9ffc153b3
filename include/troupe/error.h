/* Named codes for the int that our functions return: 0 is success, these are all negative. One
 * X-macro gives the enum, the name and the text (as libuv's UV_ERRNO_MAP). A code says what kind of
 * failure it is; objects that do I/O keep an errmsg beside it that says which. */
#ifndef TROUPE_ERROR_H
#define TROUPE_ERROR_H

#define TROUPE_ERROR_MAP(X)                                                                        \
    X(ENOMEM, -1, "out of memory")                                                                 \
    X(EINVAL, -2, "invalid argument")                                                              \
    X(ELIMIT, -3, "over a limit")                                                                  \
    X(EMALFORMED, -4, "malformed input")                                                           \
    X(ENOTFOUND, -5, "not found")                                                                  \
    X(EBUSY, -6, "in use")                                                                         \
    X(ECLOSED, -7, "closed")                                                                       \
    X(ETIMEOUT, -8, "timed out")                                                                   \
    X(EIO, -9, "input/output error")                                                               \
    X(EUNAVAILABLE, -10, "the store cannot be reached; nothing was changed")                       \
    X(EOUTCOME, -11, "the connection broke during commit: outcome unknown")                        \
    X(EREJECTED, -12, "the store refuses this data")                                               \
    X(EVERSION, -13, "incompatible version")                                                       \
    X(EFENCED, -14, "the lease is not ours any more")

enum troupe_error {
#define X(name, number, text) TROUPE_##name = number,
    TROUPE_ERROR_MAP(X)
#undef X
};

/* "EBUSY" for TROUPE_EBUSY, "OK" for 0, "E?" for a number that is none. Static storage. */
__attribute__((visibility("default"))) const char *troupe_error_name(int code);
/* The text beside the name above. Static storage. */
__attribute__((visibility("default"))) const char *troupe_error_text(int code);

#endif
