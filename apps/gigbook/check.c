#include "check.h"

#include <string.h>

#include "bounds.h"
#include "slot.h"

/* The length of the UTF-8 sequence that text starts with, 0 if it is not one (Unicode, table 3-7).
 * A zero byte ends the text, so it is never read past. */
static size_t utf8_sequence(const unsigned char *text)
{
    unsigned char first = text[0];
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t len;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        len = 2;
    else if (first >= 0xe0 && first <= 0xef)
        len = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        len = 4;
    else
        return 0;
    if (first == 0xe0)
        low = 0xa0; /* shorter forms exist below */
    else if (first == 0xed)
        high = 0x9f; /* surrogates */
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f; /* the end of Unicode */
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    return len;
}

/* Which control characters a text may have. */
enum controls { CONTROLS_NONE, CONTROLS_OF_LINES, CONTROLS_ALL };

static bool is_allowed(unsigned char c, enum controls allowed)
{
    if (c >= 0x20 && c != 0x7f)
        return true;
    bool of_lines = c == '\t' || c == '\n' || c == '\r';
    return allowed == CONTROLS_ALL || (allowed == CONTROLS_OF_LINES && of_lines);
}

static bool check_characters(struct troupe_ctx *ctx, const char *field, const char *text,
                             enum controls allowed)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        size_t len = utf8_sequence(at);
        if (len == 0) {
            troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "%s: is not valid UTF-8 at byte %zu", field,
                        (size_t)(at - (const unsigned char *)text));
            return false;
        }
        if (!is_allowed(*at, allowed)) {
            troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "%s: must not contain control characters",
                        field);
            return false;
        }
        at += len;
    }
    return true;
}

static bool check_bytes(struct troupe_ctx *ctx, const char *field, const char *text,
                        size_t bytes_min, size_t bytes_max)
{
    size_t len = strlen(text);
    if (len >= bytes_min && len <= bytes_max)
        return true;
    if (len == 0)
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "%s: is missing", field);
    else
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "%s: has %zu bytes; at most %zu are allowed",
                    field, len, bytes_max);
    return false;
}

bool check_text(struct troupe_ctx *ctx, const char *field, const char *text, size_t bytes_min,
                size_t bytes_max)
{
    return check_bytes(ctx, field, text, bytes_min, bytes_max) &&
           check_characters(ctx, field, text, CONTROLS_NONE);
}

bool check_lines(struct troupe_ctx *ctx, const char *field, const char *text, size_t bytes_max)
{
    return check_bytes(ctx, field, text, 0, bytes_max) &&
           check_characters(ctx, field, text, CONTROLS_OF_LINES);
}

bool check_id(struct troupe_ctx *ctx, const char *field, const char *id)
{
    return check_bytes(ctx, field, id, 1, ID_BYTES_MAX) &&
           check_characters(ctx, field, id, CONTROLS_ALL);
}

static bool is_capitals(const char *text, size_t n)
{
    if (strnlen(text, n + 1) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (text[i] < 'A' || text[i] > 'Z')
            return false;
    return true;
}

bool check_country(struct troupe_ctx *ctx, const char *country)
{
    if (is_capitals(country, 2))
        return true;
    troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                "country: two capital letters (ISO 3166-1) are expected, such as \"AD\"");
    return false;
}

bool check_currency(struct troupe_ctx *ctx, const char *currency)
{
    if (is_capitals(currency, 3))
        return true;
    troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                "currency: three capital letters (ISO 4217) are expected, such as \"EUR\"");
    return false;
}

bool check_degrees(struct troupe_ctx *ctx, const char *field, double value, double max)
{
    if (value >= -max && value <= max) /* false for NaN */
        return true;
    troupe_fail(ctx, TROUPE_INVALID_ARGUMENT, "%s: degrees from -%g to %g are expected", field, max,
                max);
    return false;
}

bool check_slot(struct troupe_ctx *ctx, const char *field, const char *slot, uint32_t *minute)
{
    if (slot_parse(slot, minute))
        return true;
    /* It may be anything, and the message should be readable: quoted only if it is printable. */
    if (*slot != '\0' && check_text(ctx, field, slot, 1, NAME_BYTES_MAX))
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                    "%s: \"%s\" is not a minute of UTC from %d to %d, such as "
                    "\"2026-12-31T20:00Z\"",
                    field, slot, SLOT_YEAR_MIN, SLOT_YEAR_MAX);
    else if (*slot == '\0')
        troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                    "%s: is missing; a minute of UTC is expected, such as \"2026-12-31T20:00Z\"",
                    field);
    return false;
}

bool check_limit(struct troupe_ctx *ctx, uint32_t asked, size_t *limit)
{
    *limit = asked == 0 ? PAGE_DEFAULT : asked;
    if (*limit <= PAGE_MAX)
        return true;
    troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                "limit: at most %d at once; go on with `after` set to the `next` of the reply",
                PAGE_MAX);
    return false;
}

bool check_self(struct troupe_ctx *ctx)
{
    struct troupe_bytes id = troupe_self_id(ctx);
    if (memchr(id.data, 0, id.len) == NULL)
        return true;
    troupe_fail(ctx, TROUPE_INVALID_ARGUMENT,
                "this id contains a zero byte, which no message can name: choose another");
    return false;
}

const char *self_text(struct troupe_ctx *ctx)
{
    struct troupe_bytes id = troupe_self_id(ctx);
    char *text = troupe_scratch(ctx, id.len + 1);
    if (text != NULL)
        memcpy(text, id.data, id.len);
    return text;
}
