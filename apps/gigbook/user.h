/* The user: what its files share. */
#ifndef GIGBOOK_USER_H
#define GIGBOOK_USER_H

#include "gigbook.pb-c.h"
#include "gigs.h"
#include "idset.h"
#include "troupe/entity.h"

struct profile {
    const char *bio; /* behind name */
    char name[];
};

/* What only a user has who knows somebody or plays somewhere. */
struct circle {
    struct idset followers, following;
    struct gigs gigs;
};

struct user {
    struct profile *profile; /* NULL: none yet */
    struct circle *circle;   /* NULL: empty */
};

extern const struct troupe_kind user_kind;

/* ---- user_state.c ---- */

int user_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state);
int user_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out);
void user_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason);
size_t user_memory(const void *state);
/* NULL: no memory. */
struct profile *profile_new(const char *name, const char *bio);
/* Fills a message whose strings belong to the gig and to scratch memory; NULL: no memory. */
Gigbook__Gig *gig_to_message(struct troupe_ctx *ctx, const struct gig *gig);

/* ---- user.c ---- */

/* The circle, made if need be; NULL, and the call is answered, when there is no memory. */
struct circle *user_circle(struct troupe_ctx *ctx, struct user *u);
enum troupe_outcome user_no_memory(struct troupe_ctx *ctx);
bool user_check_created(struct troupe_ctx *ctx, const struct user *u);

/* ---- user_follow.c ---- */

enum troupe_outcome user_follow(struct troupe_ctx *ctx, struct user *u,
                                struct troupe_bytes payload);
enum troupe_outcome user_unfollow(struct troupe_ctx *ctx, struct user *u,
                                  struct troupe_bytes payload);
enum troupe_outcome user_note_following(struct troupe_ctx *ctx, struct user *u,
                                        struct troupe_bytes payload);
enum troupe_outcome user_followers(struct troupe_ctx *ctx, struct user *u,
                                   struct troupe_bytes payload);
enum troupe_outcome user_following(struct troupe_ctx *ctx, struct user *u,
                                   struct troupe_bytes payload);

/* ---- user_gigs.c ---- */

enum troupe_outcome user_booked(struct troupe_ctx *ctx, struct user *u,
                                struct troupe_bytes payload);
enum troupe_outcome user_cancelled(struct troupe_ctx *ctx, struct user *u,
                                   struct troupe_bytes payload);
enum troupe_outcome user_bookings(struct troupe_ctx *ctx, struct user *u,
                                  struct troupe_bytes payload);
enum troupe_outcome user_prune(struct troupe_ctx *ctx, struct user *u, struct troupe_bytes payload);

#endif
