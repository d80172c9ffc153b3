/* Validity of UTF-8 as Unicode 15 table 3-7 has it: shortest form, no surrogates, at most U+10FFFF.
 */
#ifndef TROUPE_BASE_UTF8_H
#define TROUPE_BASE_UTF8_H

#include <stdbool.h>

#include "troupe/bytes.h"

/* The empty string is valid, and so is U+0000. */
bool utf8_is_valid(struct troupe_bytes text);

#endif
