/* A slot of a calendar is a minute of UTC, written "2026-12-31T20:00Z" and kept as the number of
 * minutes since 1970. */
#ifndef GIGBOOK_SLOT_H
#define GIGBOOK_SLOT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SLOT_YEAR_MIN = 1970,
    SLOT_YEAR_MAX = 9999,
    SLOT_TEXT_LEN = 17, /* of YYYY-MM-DDTHH:MMZ */
};

/* Exactly that form, a date that exists and a time from 00:00 to 23:59; false for anything else. */
bool slot_parse(const char *text, uint32_t *minute);

/* Writes the text and a final zero. minute must come from slot_parse. */
void slot_format(uint32_t minute, char text[SLOT_TEXT_LEN + 1]);

#endif
