/* Write a kind of entity. A kind is a struct of callbacks, as an Erlang gen_server is a module of
 * them; a shared object exports its kinds by a function `troupe_plugin`, and the node loads it with
 * --kinds.
 *
 * An entity is one instance of a kind: venue/42. The node starts it on first use from its last
 * persisted state, runs its callbacks one at a time on one thread, persists what it changed, stops
 * it when it idles, and starts it again when it crashes. Callbacks must not block and must not keep
 * pointers that they are given: payloads, ctx and what is parsed with ctx are valid until the
 * callback returns.
 *
 * A handler says what it did by its return value (enum troupe_outcome). It replies with
 * troupe_reply or troupe_fail; a call that does neither is answered OK with an empty payload.
 *
 * Crash: return TROUPE_CRASH, or use TROUPE_ENSURE. The entity's memory is dropped (stop is called
 * with TROUPE_STOP_CRASH) and it starts again from its last persisted state; the caller gets
 * INTERNAL. */
#ifndef TROUPE_ENTITY_H
#define TROUPE_ENTITY_H

#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "troupe/bytes.h"
#include "troupe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TROUPE_API __attribute__((visibility("default")))

/* Of this header. A node takes plug-ins compiled against an older one, back to the oldest, and asks
 * those for nothing that they cannot have. */
enum { TROUPE_ENTITY_ABI = 2, TROUPE_ENTITY_ABI_OLDEST = 1 };

struct troupe_ctx; /* the call under way; valid until the callback returns */

enum troupe_outcome {
    TROUPE_CRASH = -1,
    TROUPE_UNCHANGED = 0, /* the state is as it was */
    TROUPE_DIRTY = 1,     /* changed: persisted within persist_interval, with others */
    TROUPE_DURABLE = 2,   /* changed: the reply waits for the commit, and so does everything that
                             could   have seen the change */
    TROUPE_DELETE = 3, /* the entity ceases to exist: a durable tombstone, then stop. Used again, it
                          starts as new */
    TROUPE_STOP =
        16, /* or'ed to one of the above: stop after persisting; starts again on next use */
};

enum troupe_stop_reason {
    TROUPE_STOP_IDLE,     /* unused for idle_timeout, or its memory is wanted */
    TROUPE_STOP_REQUEST,  /* TROUPE_STOP or TROUPE_DELETE */
    TROUPE_STOP_SHUTDOWN, /* the node stops */
    TROUPE_STOP_MOVED,    /* another node owns the entity now */
    TROUPE_STOP_CRASH,    /* the memory may be inconsistent: free it, do nothing else */
};

/* A growing buffer that the node lends to `save`. */
struct troupe_buffer;
/* Room for len more bytes, to be filled by the caller; NULL when over the limit of a state: return
 * a non-zero code then. */
TROUPE_API uint8_t *troupe_buffer_add(struct troupe_buffer *buffer, size_t len);
/* Packs a message into the buffer: 0, or TROUPE_ELIMIT. */
TROUPE_API int troupe_buffer_add_message(struct troupe_buffer *buffer,
                                         const ProtobufCMessage *message);

enum troupe_info_type {
    TROUPE_INFO_TIMER, /* troupe_timer_set has run out: tag */
    TROUPE_INFO_REPLY, /* the answer to troupe_call: tag, status, payload */
};

struct troupe_info {
    enum troupe_info_type type;
    uint64_t tag;
    enum troupe_status status; /* of a reply */
    struct troupe_bytes
        payload; /* of a reply: the payload, or with a status other than OK the message */
};

enum troupe_method_flags {
    TROUPE_METHOD_READ = 1,    /* never changes anything: its request ids need not be remembered */
    TROUPE_METHOD_DURABLE = 2, /* as a rule ends TROUPE_DURABLE: refused at once when the store is
                                  down and the queue for it is full */
};

/* A method of a kind. request and response make its payloads readable as JSON; NULL: opaque bytes.
 */
struct troupe_method {
    const char *name; /* [a-z][a-z0-9_]*, at most 63 */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    unsigned flags; /* of enum troupe_method_flags */
};

struct troupe_kind_options {
    uint32_t idle_timeout_ms;     /* 0 = 1,800,000 (30 min) */
    uint32_t persist_interval_ms; /* 0 = 30,000: longest time from dirty to persisted */
    uint32_t mailbox_max;  /* 0 = 1,000 calls waiting for one entity; more are RESOURCE_EXHAUSTED */
    uint32_t max_restarts; /* 0 = 3 crashes … */
    uint32_t restart_window_ms; /* 0 = … in 5,000 ms, then quarantine: 1 s, doubling up to 5 min */
    uint32_t request_window_ms; /* 0 = 600,000 (10 min): request ids are remembered for so long, if
                                 * there are not very many; docs/kinds.md tells how many */
};

struct troupe_kind {
    const char *name; /* [a-z][a-z0-9_]*, at most 63 */
    const struct troupe_method *methods;
    size_t methods_n;
    const ProtobufCMessageDescriptor *state; /* how `save` writes it; NULL: opaque bytes */
    struct troupe_kind_options options;

    /* Makes the entity's memory from what save wrote last; saved.len is 0 and is_new true for an
     * entity that has never been persisted. *state is passed to all other callbacks. Non-zero = bad
     * state: a crash. */
    int (*start)(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state);
    /* Answers a call; `method` is an index into methods. */
    enum troupe_outcome (*call)(struct troupe_ctx *ctx, void *state, size_t method,
                                struct troupe_bytes payload);
    /* A message without an answer. NULL: casts go to call, and the reply is dropped. */
    enum troupe_outcome (*cast)(struct troupe_ctx *ctx, void *state, size_t method,
                                struct troupe_bytes payload);
    /* Timers and replies. NULL if the kind uses neither. */
    enum troupe_outcome (*info)(struct troupe_ctx *ctx, void *state,
                                const struct troupe_info *info);
    /* Writes the whole state. Must not change it. Non-zero = a crash. */
    int (*save)(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out);
    /* Frees the memory. Persisting has been done before, unless it crashed or moved. */
    void (*stop)(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason);
    /* Bytes of heap that state uses, about; NULL: taken to be the size of the saved state. */
    size_t (*memory)(const void *state);

    /* ---- from here on since interface 2; docs/kinds.md, "A state that changes" ---- */

    /* Of what save writes: to be raised when a program of before would misread it, or drop what it
     * does not know. It is kept with each state; a node never reads one of a newer version than its
     * kind's, and never writes over it. 0: as if there were no versions. */
    uint32_t state_version;
    /* Makes a saved state of an older version one of state_version, for start. NULL: start reads
     * the older ones, too. Non-zero = bad state: a crash. */
    int (*upgrade)(struct troupe_ctx *ctx, struct troupe_bytes saved, uint32_t from,
                   struct troupe_buffer *out);
    /* As save, but in the form of an older version, back to save_as_oldest: what is written while
     * nodes of an older program are about (troupe_state_version). NULL: it cannot; a node with this
     * kind then waits until those are gone. */
    int (*save_as)(struct troupe_ctx *ctx, const void *state, uint32_t version,
                   struct troupe_buffer *out);
    uint32_t save_as_oldest;
};

struct troupe_plugin {
    uint32_t abi;     /* TROUPE_ENTITY_ABI */
    const char *name; /* for logs */
    const char *version;
    const struct troupe_kind *const *kinds;
    size_t kinds_n;
};

/* The one symbol that a shared object of kinds exports. Static storage. */
TROUPE_API const struct troupe_plugin *troupe_plugin(void);

/* ---- what a callback can do ---- */

/* Answers the call with a payload, copied. The last answer counts. */
TROUPE_API void troupe_reply(struct troupe_ctx *ctx, struct troupe_bytes payload);
TROUPE_API void troupe_reply_message(struct troupe_ctx *ctx, const ProtobufCMessage *message);
/* Answers with a status other than OK and a message that tells the caller what to do. Returns
 * TROUPE_UNCHANGED, so that a handler can write `return troupe_fail(…)`. */
TROUPE_API enum troupe_outcome troupe_fail(struct troupe_ctx *ctx, enum troupe_status status,
                                           const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Unpacks a payload into memory that is freed when the callback returns; NULL when it is malformed
 * or too large, and then the call has been answered INVALID_ARGUMENT already: `return
 * TROUPE_UNCHANGED`. */
TROUPE_API void *troupe_parse(struct troupe_ctx *ctx, const ProtobufCMessageDescriptor *descriptor,
                              struct troupe_bytes payload);
/* Zeroed memory that is freed when the callback returns; NULL when there is none left. */
TROUPE_API void *troupe_scratch(struct troupe_ctx *ctx, size_t size);

/* Sends a message to another entity, wherever it lives (or to oneself): at most once; in order per
 * pair of entities while both stay on their nodes and these reach each other (what had to wait for
 * a partition that moves may come after what was sent later). Leaves when the sender's own changes
 * are as safe as its replies have to be. Non-zero: TROUPE_EINVAL (no such kind or method, bad id),
 * TROUPE_ELIMIT (too many sends in one callback: 10,000). */
TROUPE_API int troupe_cast(struct troupe_ctx *ctx, const char *kind, struct troupe_bytes id,
                           const char *method, struct troupe_bytes payload);
/* The same, and the answer comes as TROUPE_INFO_REPLY with this tag, or a DEADLINE_EXCEEDED in its
 * place. If this entity stops or crashes meanwhile, the answer is dropped. timeout_ms: 1 to
 * 3,600,000. */
TROUPE_API int troupe_call(struct troupe_ctx *ctx, const char *kind, struct troupe_bytes id,
                           const char *method, struct troupe_bytes payload, uint32_t timeout_ms,
                           uint64_t tag);
/* A timer in memory: info(TROUPE_INFO_TIMER, tag) once, delay_ms from now. Setting a tag again
 * moves it. Gone when the entity stops. An entity with a timer is not idle. TROUPE_ELIMIT: more
 * than 1,000 timers. */
TROUPE_API int troupe_timer_set(struct troupe_ctx *ctx, uint64_t tag, uint64_t delay_ms);
TROUPE_API void troupe_timer_cancel(struct troupe_ctx *ctx, uint64_t tag);

/* Wall clock of the event under way, ms since 1970. The only clock a kind should use. */
TROUPE_API uint64_t troupe_now_ms(const struct troupe_ctx *ctx);
/* A pseudo-random number, the same in a replayed simulation. The only dice a kind should use. */
TROUPE_API uint64_t troupe_random(struct troupe_ctx *ctx);
TROUPE_API struct troupe_bytes troupe_self_id(const struct troupe_ctx *ctx);
/* The version in which states of this kind are written at present: state_version, or, while there
 * are nodes that know an older one only, that. A handler whose change has no place in it should
 * refuse (UNAVAILABLE): it would be lost with the next save. Since interface 2. */
TROUPE_API uint32_t troupe_state_version(const struct troupe_ctx *ctx);

enum troupe_log_level { TROUPE_LOG_DEBUG, TROUPE_LOG_INFO, TROUPE_LOG_WARN, TROUPE_LOG_ERROR };
TROUPE_API void troupe_log(struct troupe_ctx *ctx, enum troupe_log_level level, const char *format,
                           ...) __attribute__((format(printf, 3, 4)));

/* Why a crash happened, for the log and the caller; returns TROUPE_CRASH. */
TROUPE_API enum troupe_outcome troupe_crash(struct troupe_ctx *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* In a handler: what must be true of the entity's own state. If not, this entity crashes, and only
 * it. */
#define TROUPE_ENSURE(ctx, cond)                                                                   \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return troupe_crash(ctx, "%s (%s:%d)", #cond, __FILE__, __LINE__);                     \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
