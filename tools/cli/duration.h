/* Times as people write them. */
#ifndef TROUPE_CLI_DURATION_H
#define TROUPE_CLI_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "500ms", "5s", "1.5m", "2h"; a bare number is seconds. False when it is none of these, is not
 * positive or exceeds an hour. */
bool duration_parse(const char *text, uint32_t *ms);

enum { DURATION_TEXT_BYTES = 32 };
/* "850 ms", "4.2 s", "3 min 12 s", "5 h 7 min", "12 d 3 h". */
const char *duration_text(uint64_t ms, char text[DURATION_TEXT_BYTES]);
/* For columns: "850ms", "4.2s", "3m12s", "5h7m", "12d3h". */
const char *duration_short(uint64_t ms, char text[DURATION_TEXT_BYTES]);

#endif
