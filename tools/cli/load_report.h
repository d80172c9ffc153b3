/* What a load has come to: counts, the errors, the last word. Called by the reading thread and by
 * the client's; locks for itself. */
#ifndef TROUPE_CLI_LOAD_REPORT_H
#define TROUPE_CLI_LOAD_REPORT_H

#include <pthread.h>
#include <stdio.h>

#include "troupe/client.h"

enum { LOAD_ERRORS_SHOWN = 10 };

struct load_counts {
    uint64_t calls;      /* made */
    uint64_t ok, failed; /* of those, answered; failed: or given up */
    uint64_t unanswered; /* of failed: no node answered */
    uint64_t malformed;  /* lines that were no call */
    uint64_t by_status[TROUPE_STATUS_COUNT];
};

struct load_report {
    pthread_mutex_t mu;
    struct load_counts counts;
    FILE *errors;  /* --errors; NULL: the first few go to stderr */
    FILE *replies; /* --replies, or NULL */
    uint64_t shown;
    bool progress_line; /* there is a progress bar on stderr that has to be wiped first */
};

void load_report_init(struct load_report *report, FILE *errors, FILE *replies);
void load_report_close(struct load_report *report);

void load_report_sent(struct load_report *report, uint64_t calls);
void load_report_result(struct load_report *report, uint64_t line,
                        const struct troupe_call_result *result);
/* A batch has landed: whoever follows the replies may see them. */
void load_report_flush(struct load_report *report);
void load_report_malformed(struct load_report *report, uint64_t line, const char *why);
struct load_counts load_report_counts(struct load_report *report);

/* The summary: for people on stderr, or one line of JSON on stdout. */
void load_report_finish(struct load_report *report, double seconds, bool json);

#endif
