/* A user: a profile, who follows whom, and the list of its bookings, which the venues keep up to
 * date. */
#include "user.h"

#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "check.h"
#include "message.h"

typedef enum troupe_outcome (*handler)(struct troupe_ctx *ctx, struct user *u,
                                       struct troupe_bytes payload);

bool user_check_created(struct troupe_ctx *ctx, const struct user *u)
{
    if (u->profile != NULL)
        return true;
    struct troupe_bytes id = troupe_self_id(ctx);
    troupe_fail(ctx, TROUPE_NOT_FOUND,
                "user/%.*s does not exist: call its method `create` with {\"name\": …} first",
                (int)id.len, (const char *)id.data);
    return false;
}

enum troupe_outcome user_no_memory(struct troupe_ctx *ctx)
{
    return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                       "the node is out of memory, nothing was changed: try again later");
}

struct circle *user_circle(struct troupe_ctx *ctx, struct user *u)
{
    if (u->circle == NULL)
        u->circle = calloc(1, sizeof *u->circle);
    if (u->circle == NULL)
        user_no_memory(ctx);
    return u->circle;
}

/* ---- the profile ---- */

static bool check_profile(struct troupe_ctx *ctx, const char *name, const char *bio)
{
    return check_self(ctx) && check_text(ctx, "name", name, 1, NAME_BYTES_MAX) &&
           check_lines(ctx, "bio", bio, BIO_BYTES_MAX);
}

static bool profile_is_same(const struct profile *p, const char *name, const char *bio)
{
    return p != NULL && strcmp(p->name, name) == 0 && strcmp(p->bio, bio) == 0;
}

/* Replaces the profile. Non-zero: no memory, nothing was changed. */
static int set(struct user *u, const char *name, const char *bio)
{
    struct profile *p = profile_new(name, bio);
    if (p == NULL)
        return -1;
    free(u->profile);
    u->profile = p;
    return 0;
}

static enum troupe_outcome create(struct troupe_ctx *ctx, struct user *u,
                                  struct troupe_bytes payload)
{
    const Gigbook__CreateUserRequest *r =
        troupe_parse(ctx, &gigbook__create_user_request__descriptor, payload);
    if (r == NULL || !check_profile(ctx, r->name, r->bio))
        return TROUPE_UNCHANGED;
    Gigbook__CreateUserResponse reply = GIGBOOK__CREATE_USER_RESPONSE__INIT;
    if (u->profile != NULL && !profile_is_same(u->profile, r->name, r->bio))
        return troupe_fail(ctx, TROUPE_ALREADY_EXISTS,
                           "the user exists with another profile, as \"%s\": `set_profile` changes "
                           "it",
                           u->profile->name);
    reply.created = u->profile == NULL;
    if (reply.created && set(u, r->name, r->bio) != 0)
        return user_no_memory(ctx);
    troupe_reply_message(ctx, &reply.base);
    return reply.created ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}

static enum troupe_outcome set_profile(struct troupe_ctx *ctx, struct user *u,
                                       struct troupe_bytes payload)
{
    const Gigbook__SetProfileRequest *r =
        troupe_parse(ctx, &gigbook__set_profile_request__descriptor, payload);
    if (r == NULL || !check_profile(ctx, r->name, r->bio) ||
        profile_is_same(u->profile, r->name, r->bio))
        return TROUPE_UNCHANGED;
    if (set(u, r->name, r->bio) != 0)
        return user_no_memory(ctx);
    return TROUPE_DIRTY;
}

static enum troupe_outcome get(struct troupe_ctx *ctx, struct user *u, struct troupe_bytes payload)
{
    if (!user_check_created(ctx, u))
        return TROUPE_UNCHANGED;
    Gigbook__Profile profile = GIGBOOK__PROFILE__INIT;
    profile.name = u->profile->name;
    profile.bio = message_text(u->profile->bio);
    Gigbook__GetUserResponse reply = GIGBOOK__GET_USER_RESPONSE__INIT;
    reply.profile = &profile;
    if (u->circle != NULL) {
        reply.followers = u->circle->followers.n;
        reply.following = u->circle->following.n;
        reply.bookings = (uint32_t)gigs_standing(&u->circle->gigs);
    }
    troupe_reply_message(ctx, &reply.base);
    return TROUPE_UNCHANGED;
}

/* ---- the kind ---- */

enum {
    CREATE,
    SET_PROFILE,
    GET,
    FOLLOW,
    UNFOLLOW,
    NOTE_FOLLOWING,
    FOLLOWERS,
    FOLLOWING,
    BOOKED,
    CANCELLED,
    BOOKINGS,
    PRUNE,
    METHODS_N
};

#define MESSAGES(name)                                                                             \
    .request = &gigbook__##name##_request__descriptor,                                             \
    .response = &gigbook__##name##_response__descriptor

static const struct troupe_method methods[METHODS_N] = {
    [CREATE] = {.name = "create", MESSAGES(create_user)},
    [SET_PROFILE] = {.name = "set_profile", MESSAGES(set_profile)},
    [GET] = {.name = "get", MESSAGES(get_user), .flags = TROUPE_METHOD_READ},
    [FOLLOW] = {.name = "follow", MESSAGES(follow)},
    [UNFOLLOW] = {.name = "unfollow", MESSAGES(follow)},
    [NOTE_FOLLOWING] = {.name = "note_following", MESSAGES(note_following)},
    [FOLLOWERS] = {.name = "followers", MESSAGES(users), .flags = TROUPE_METHOD_READ},
    [FOLLOWING] = {.name = "following", MESSAGES(users), .flags = TROUPE_METHOD_READ},
    [BOOKED] = {.name = "booked", MESSAGES(booked), .flags = TROUPE_METHOD_DURABLE},
    [CANCELLED] = {.name = "cancelled", MESSAGES(cancelled), .flags = TROUPE_METHOD_DURABLE},
    [BOOKINGS] = {.name = "bookings", MESSAGES(user_bookings), .flags = TROUPE_METHOD_READ},
    [PRUNE] = {.name = "prune", MESSAGES(prune)},
};

static const handler handlers[METHODS_N] = {
    [CREATE] = create,
    [SET_PROFILE] = set_profile,
    [GET] = get,
    [FOLLOW] = user_follow,
    [UNFOLLOW] = user_unfollow,
    [NOTE_FOLLOWING] = user_note_following,
    [FOLLOWERS] = user_followers,
    [FOLLOWING] = user_following,
    [BOOKED] = user_booked,
    [CANCELLED] = user_cancelled,
    [BOOKINGS] = user_bookings,
    [PRUNE] = user_prune,
};

static enum troupe_outcome call(struct troupe_ctx *ctx, void *state, size_t method,
                                struct troupe_bytes payload)
{
    return handlers[method](ctx, state, payload);
}

const struct troupe_kind user_kind = {
    .name = "user",
    .methods = methods,
    .methods_n = METHODS_N,
    .state = &gigbook__user_state__descriptor,
    .start = user_start,
    .call = call,
    .save = user_save,
    .stop = user_stop,
    .memory = user_memory,
};
