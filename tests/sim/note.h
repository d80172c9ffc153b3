/* A kind for stories about versions: a number, and since version 2 a note beside it. As a program
 * of before and one of after would have it, in the same process. */
#ifndef TROUPE_SIM_NOTE_H
#define TROUPE_SIM_NOTE_H

#include "troupe/entity.h"

/* Methods `set` (number) and `annotate` (note), both durable, and `read` (number, note). Numbers
 * are 8 bytes. */
extern const struct troupe_kind
    note_kind_0; /* says nothing of versions; reads what it can of any */
extern const struct troupe_kind note_kind_1;
extern const struct troupe_kind note_kind_2; /* can write version 1, and refuses `annotate` then */
extern const struct troupe_kind note_kind_2_only; /* cannot */

#endif
