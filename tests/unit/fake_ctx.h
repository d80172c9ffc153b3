/* A node of one entity, for the unit tests of kinds: it implements what include/troupe/entity.h
 * offers to callbacks, and writes down what they do with it.
 *
 *     struct troupe_ctx *ctx = fake_open(&counter_kind, "7");
 *     fake_start_new(ctx);
 *     assert_int_equal(fake_call(ctx, "incr", NULL), TROUPE_OK);
 *     assert_int_equal(ctx->outcome, TROUPE_DIRTY);
 *     const Counter__Value *reply = fake_reply(ctx);
 *     fake_close(ctx);
 *
 * It is stricter than a node where that finds mistakes: every payload is a block of its own that is
 * gone when the callback returns, so that the address sanitizer sees who keeps a pointer or reads
 * past the end. Link it instead of a node, never beside one. Knows no test framework; what a test
 * does wrong (an unknown method, say) ends the program with a message. */
#ifndef TROUPE_TESTS_FAKE_CTX_H
#define TROUPE_TESTS_FAKE_CTX_H

#include "troupe/entity.h"

enum {
    FAKE_LETTERS_MAX = 10000, /* of one callback, as in a node; and kept in all */
    FAKE_TIMERS_MAX = 1000,
    FAKE_TEXT_BYTES = 512,
};

/* What troupe_cast and troupe_call have sent. */
struct fake_letter {
    bool is_call;
    char kind[64], method[64];
    uint8_t *id, *payload;
    size_t id_len, payload_len;
    uint32_t timeout_ms; /* of a call */
    uint64_t tag;        /* of a call */
};

struct fake_timer {
    uint64_t tag, at_ms;
};

struct fake_block; /* memory until the callback returns */

struct troupe_ctx {
    const struct troupe_kind *kind;
    void *state; /* NULL: not started */
    uint8_t id[255];
    size_t id_len;

    /* The world, to be set as the test likes. */
    uint64_t now_ms;
    uint64_t random;        /* the next number; grows by one each time */
    size_t save_bytes_max;  /* of a saved state; the default is 4 MiB */
    uint32_t state_version; /* in which the cluster writes; the default is the kind's */
    int send_error;         /* what troupe_cast and troupe_call come back with */
    int timer_error;        /* what troupe_timer_set comes back with */

    /* What the last callback did. */
    enum troupe_outcome outcome;
    enum troupe_status status;
    uint8_t *payload; /* of the reply */
    size_t payload_len;
    char text[FAKE_TEXT_BYTES];  /* of troupe_fail */
    char crash[FAKE_TEXT_BYTES]; /* of troupe_crash */

    /* What all callbacks did since fake_forget. */
    struct fake_letter letters[FAKE_LETTERS_MAX];
    size_t letters_n;
    size_t logs_n; /* texts logged as warning or error */

    struct fake_timer timers[FAKE_TIMERS_MAX];
    size_t timers_n;

    size_t method; /* of the last call */
    bool in_callback;
    ProtobufCMessage *reply, *saved;
    struct fake_block *blocks;
};

/* An entity that is not started yet; id is text. */
struct troupe_ctx *fake_open(const struct troupe_kind *kind, const char *id);
/* Stops the entity if it runs, and frees everything. */
void fake_close(struct troupe_ctx *ctx);

/* What `start` returns; if that is not 0, the entity does not run. */
int fake_start(struct troupe_ctx *ctx, struct troupe_bytes saved);
int fake_start_new(struct troupe_ctx *ctx);
void fake_stop(struct troupe_ctx *ctx, enum troupe_stop_reason reason);
/* Save, stop, start again: 0 if all went well. Timers are gone, as are answers to calls. */
int fake_restart(struct troupe_ctx *ctx);

/* Calls a method, and returns the status of the answer; a crash is INTERNAL. NULL = an empty
 * payload. */
enum troupe_status fake_call(struct troupe_ctx *ctx, const char *method,
                             const ProtobufCMessage *request);
enum troupe_status fake_call_bytes(struct troupe_ctx *ctx, const char *method,
                                   struct troupe_bytes payload);
/* The last reply, as the method's response; NULL if it is none. Valid until the next call. */
const void *fake_reply(struct troupe_ctx *ctx);

/* The saved state; *rc = what `save` returned. Valid until fake_saved_free. */
struct troupe_bytes fake_save(struct troupe_ctx *ctx, int *rc);
void fake_saved_free(struct troupe_bytes saved);
/* The same as a message; NULL if it could not be saved. Valid until the next. */
const void *fake_saved(struct troupe_ctx *ctx);

/* Forgets letters and logs. */
void fake_forget(struct troupe_ctx *ctx);
/* Answers the call that letter i is. */
void fake_answer(struct troupe_ctx *ctx, size_t i, enum troupe_status status,
                 struct troupe_bytes payload);
/* Delivers letter i to another entity, and answers it if it is a call. */
enum troupe_status fake_deliver(struct troupe_ctx *from, size_t i, struct troupe_ctx *to);
/* Time passes; timers that run out are handed in, in order. Returns how many. */
size_t fake_advance(struct troupe_ctx *ctx, uint64_t ms);

#endif
