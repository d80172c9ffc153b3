/* Who follows whom. `follow` is sent to the user who is followed, who keeps the list of followers;
 * that user tells the follower by a cast, which keeps the list of those it follows. A cast may get
 * lost with its node, so the second list is a convenience and the first one the truth; following
 * again repairs it. */
#include "user.h"

#include <string.h>

#include "bounds.h"
#include "check.h"
#include "message.h"

/* ---- the followed ---- */

/* Tells the follower. Not worth failing for: see above. */
static void cast_following(struct troupe_ctx *ctx, const char *follower, bool following)
{
    uint8_t packed[ID_BYTES_MAX + 16];
    Gigbook__NoteFollowingRequest note = GIGBOOK__NOTE_FOLLOWING_REQUEST__INIT;
    const char *self = self_text(ctx);
    if (self == NULL)
        return;
    note.user = message_text(self);
    note.following = following;
    size_t len = protobuf_c_message_pack(&note.base, packed);
    if (troupe_cast(ctx, "user", troupe_bytes_of(follower), "note_following",
                    troupe_bytes(packed, len)) != 0)
        troupe_log(ctx, TROUPE_LOG_WARN, "user/%s could not be told that it follows", follower);
}

static const Gigbook__FollowRequest *parse_follow(struct troupe_ctx *ctx, const struct user *u,
                                                  struct troupe_bytes payload)
{
    const Gigbook__FollowRequest *r =
        troupe_parse(ctx, &gigbook__follow_request__descriptor, payload);
    if (r == NULL || !user_check_created(ctx, u) || !check_id(ctx, "follower", r->follower))
        return NULL;
    if (troupe_bytes_equal(troupe_self_id(ctx), troupe_bytes_of(r->follower))) {
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "follower: nobody follows themselves");
        return NULL;
    }
    return r;
}

static enum troupe_outcome reply_followers(struct troupe_ctx *ctx, const struct circle *c,
                                           bool changed)
{
    Gigbook__FollowResponse reply = GIGBOOK__FOLLOW_RESPONSE__INIT;
    reply.followers = c->followers.n;
    troupe_reply_message(ctx, &reply.base);
    return changed ? TROUPE_DIRTY : TROUPE_UNCHANGED;
}

static bool has_room(const struct idset *set, const char *id, size_t bytes_max)
{
    return idset_saved_bytes(set) + strlen(id) + 1 + ID_SAVED_BYTES <= bytes_max;
}

enum troupe_outcome user_follow(struct troupe_ctx *ctx, struct user *u, struct troupe_bytes payload)
{
    const Gigbook__FollowRequest *r = parse_follow(ctx, u, payload);
    struct circle *c = r == NULL ? NULL : user_circle(ctx, u);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    bool is_new = !idset_has(&c->followers, r->follower);
    if (is_new && !has_room(&c->followers, r->follower, USER_FOLLOWERS_BYTES_MAX))
        return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                           "this user has %u followers, and no more fit in %d KiB: somebody has to "
                           "unfollow first",
                           c->followers.n, USER_FOLLOWERS_BYTES_MAX >> 10);
    if (is_new && idset_add(&c->followers, r->follower) != 0)
        return user_no_memory(ctx);
    cast_following(ctx, r->follower, true);
    return reply_followers(ctx, c, is_new);
}

enum troupe_outcome user_unfollow(struct troupe_ctx *ctx, struct user *u,
                                  struct troupe_bytes payload)
{
    const Gigbook__FollowRequest *r = parse_follow(ctx, u, payload);
    struct circle *c = r == NULL ? NULL : user_circle(ctx, u);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    bool was = idset_remove(&c->followers, r->follower);
    cast_following(ctx, r->follower, false);
    return reply_followers(ctx, c, was);
}

/* ---- the follower ---- */

enum troupe_outcome user_note_following(struct troupe_ctx *ctx, struct user *u,
                                        struct troupe_bytes payload)
{
    const Gigbook__NoteFollowingRequest *r =
        troupe_parse(ctx, &gigbook__note_following_request__descriptor, payload);
    if (r == NULL || !check_id(ctx, "user", r->user))
        return TROUPE_UNCHANGED;
    struct circle *c = user_circle(ctx, u);
    if (c == NULL)
        return TROUPE_UNCHANGED;
    if (!r->following)
        return idset_remove(&c->following, r->user) ? TROUPE_DIRTY : TROUPE_UNCHANGED;
    if (idset_has(&c->following, r->user))
        return TROUPE_UNCHANGED;
    if (!has_room(&c->following, r->user, USER_FOLLOWING_BYTES_MAX))
        return troupe_fail(ctx, TROUPE_RESOURCE_EXHAUSTED,
                           "this user follows %u others, and no more fit in %d KiB: unfollow "
                           "somebody first",
                           c->following.n, USER_FOLLOWING_BYTES_MAX >> 10);
    if (idset_add(&c->following, r->user) != 0)
        return user_no_memory(ctx);
    return TROUPE_DIRTY;
}

/* ---- lists ---- */

static enum troupe_outcome reply_page(struct troupe_ctx *ctx, const struct idset *set,
                                      struct troupe_bytes payload)
{
    size_t limit;
    const Gigbook__UsersRequest *r =
        troupe_parse(ctx, &gigbook__users_request__descriptor, payload);
    if (r == NULL || !check_limit(ctx, r->limit, &limit))
        return TROUPE_UNCHANGED;
    Gigbook__UsersResponse reply = GIGBOOK__USERS_RESPONSE__INIT;
    size_t end = set == NULL ? 0 : set->n;
    size_t at = set == NULL || *r->after == '\0' ? 0 : idset_rank(set, r->after);
    if ((reply.users = troupe_scratch(ctx, limit * sizeof(char *))) == NULL)
        return user_no_memory(ctx);
    for (; at < end && reply.n_users < limit; at++)
        reply.users[reply.n_users++] = message_text(idset_at(set, at));
    if (at < end)
        reply.next = reply.users[reply.n_users - 1];
    troupe_reply_message(ctx, &reply.base);
    return TROUPE_UNCHANGED;
}

enum troupe_outcome user_followers(struct troupe_ctx *ctx, struct user *u,
                                   struct troupe_bytes payload)
{
    return reply_page(ctx, u->circle == NULL ? NULL : &u->circle->followers, payload);
}

enum troupe_outcome user_following(struct troupe_ctx *ctx, struct user *u,
                                   struct troupe_bytes payload)
{
    return reply_page(ctx, u->circle == NULL ? NULL : &u->circle->following, payload);
}
