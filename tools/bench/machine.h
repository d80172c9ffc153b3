/* What the figures were measured on. */
#ifndef TROUPE_BENCH_MACHINE_H
#define TROUPE_BENCH_MACHINE_H

#include <stdbool.h>

enum { MACHINE_TEXT_BYTES = 256 };

struct machine {
    char cpu[MACHINE_TEXT_BYTES], kernel[MACHINE_TEXT_BYTES], date[32];
    char filesystem[32]; /* of the directory of temporary data: it decides what a commit costs */
    const char *compiler, *build;
    long cores;
    double memory_gib, load; /* load: of the last minute, before we began */
};

void machine_look(struct machine *m, const char *dir);
void machine_print(const struct machine *m);
/* A JSON object; the caller frees it. NULL: out of memory. */
char *machine_json(const struct machine *m);
/* Whether this build is good for measuring; otherwise *why (static text). */
bool machine_build_is_fit(const char **why);

#endif
