/* See duration.h. */
#include "tools/cli/duration.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MS_MAX = 3600000 };

bool duration_parse(const char *text, uint32_t *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}};
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '.') /* strtod takes "inf" and "0x1" */
        return false;
    double number = strtod(text, &end);
    if (strspn(text, "0123456789.") != (size_t)(end - text))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        double value = number * units[i].ms;
        if (value < 1 || value > MS_MAX)
            return false;
        *ms = (uint32_t)value;
        return true;
    }
    return false;
}

const char *duration_text(uint64_t ms, char text[DURATION_TEXT_BYTES])
{
    uint64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 " ms", ms);
    else if (s < 60)
        snprintf(text, DURATION_TEXT_BYTES, "%.1f s", (double)ms / 1000);
    else if (s < 3600)
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
                 s / 3600 % 24);
    return text;
}

const char *duration_short(uint64_t ms, char text[DURATION_TEXT_BYTES])
{
    char *out = text;
    duration_text(ms, text);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p != ' ')
            *out++ = *p;
        if (*p == 'm' && strncmp(p, "min", 3) == 0)
            p += 2;
    }
    *out = '\0';
    return text;
}
