/* A progress bar on stderr, when that is a terminal. */
#ifndef TROUPE_CLI_PROGRESS_H
#define TROUPE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { PROGRESS_EVERY_MS = 100 };

struct progress {
    bool on;
    uint64_t started_ms, drawn_ms;
    uint64_t rate_from_ms, rate_from_done; /* the window of the rate shown */
    double rate;
};

/* `on` only if stderr is a terminal that can move its cursor. */
void progress_init(struct progress *progress, bool wanted, uint64_t now_ms);
/* Draws it if it is time. part of whole (whole 0: not known, no bar and no ETA). */
void progress_show(struct progress *progress, uint64_t now_ms, uint64_t done, uint64_t failed,
                   uint64_t part, uint64_t whole);
void progress_wipe(struct progress *progress);

#endif
