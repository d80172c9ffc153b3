/* Looking at what a request brings. Each function returns whether it is fine; if not, the call has
 * been answered INVALID_ARGUMENT, naming the field and what it should be. */
#ifndef GIGBOOK_CHECK_H
#define GIGBOOK_CHECK_H

#include <stdbool.h>

#include "troupe/entity.h"

/* Valid UTF-8 without control characters, of bytes_min to bytes_max bytes. */
bool check_text(struct troupe_ctx *ctx, const char *field, const char *text, size_t bytes_min,
                size_t bytes_max);
/* As above, but tabs and line ends are allowed: text of several lines. */
bool check_lines(struct troupe_ctx *ctx, const char *field, const char *text, size_t bytes_max);
/* A user's or venue's id: any UTF-8, as the node has it. */
bool check_id(struct troupe_ctx *ctx, const char *field, const char *id);
/* Two capital letters. */
bool check_country(struct troupe_ctx *ctx, const char *country);
/* Three capital letters. */
bool check_currency(struct troupe_ctx *ctx, const char *currency);
bool check_degrees(struct troupe_ctx *ctx, const char *field, double value, double max);
bool check_slot(struct troupe_ctx *ctx, const char *field, const char *slot, uint32_t *minute);
/* The size of a page: *limit = what was asked, or the default. */
bool check_limit(struct troupe_ctx *ctx, uint32_t asked, size_t *limit);

/* The entity's own id can be named in a message: has no zero byte. */
bool check_self(struct troupe_ctx *ctx);

/* The entity's own id as a string, in scratch memory; NULL: no memory. Answers nothing. */
const char *self_text(struct troupe_ctx *ctx);

#endif
