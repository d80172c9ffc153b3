/* See progress.h. */
#include "tools/cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/output.h"

enum { BAR_CELLS = 24, RATE_WINDOW_MS = 1000 };

void progress_init(struct progress *p, bool wanted, uint64_t now_ms)
{
    const char *terminal = getenv("TERM");
    bool able = isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
    *p = (struct progress){.on = wanted && able, .started_ms = now_ms, .rate_from_ms = now_ms};
}

static void update_rate(struct progress *p, uint64_t now_ms, uint64_t done)
{
    uint64_t passed = now_ms - p->rate_from_ms;
    if (passed < RATE_WINDOW_MS && p->rate > 0)
        return;
    if (passed > 0)
        p->rate = (double)(done - p->rate_from_done) * 1000 / (double)passed;
    p->rate_from_ms = now_ms;
    p->rate_from_done = done;
}

static void draw_bar(uint64_t part, uint64_t whole)
{
    double share = (double)part / (double)whole;
    if (share > 1)
        share = 1;
    int full = (int)(share * BAR_CELLS);
    fprintf(stderr, "[");
    for (int i = 0; i < BAR_CELLS; i++)
        putc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3d%%  ", (int)(share * 100));
}

void progress_show(struct progress *p, uint64_t now_ms, uint64_t done, uint64_t failed,
                   uint64_t part, uint64_t whole)
{
    char count[OUTPUT_NUMBER_BYTES], rate[OUTPUT_NUMBER_BYTES], errors[OUTPUT_NUMBER_BYTES];
    if (!p->on || now_ms < p->drawn_ms + PROGRESS_EVERY_MS)
        return;
    p->drawn_ms = now_ms;
    update_rate(p, now_ms, done);
    fprintf(stderr, "\r\033[K");
    if (whole != 0)
        draw_bar(part, whole);
    fprintf(stderr, "%s calls, %s/s, %s failed", output_number(done, count),
            output_number((uint64_t)p->rate, rate), output_number(failed, errors));
    if (whole != 0 && part > 0 && part <= whole) {
        double left_s =
            (double)(now_ms - p->started_ms) / 1000 / (double)part * (double)(whole - part);
        fprintf(stderr, ", %d:%02d left", (int)left_s / 60, (int)left_s % 60);
    }
    fflush(stderr);
}

void progress_wipe(struct progress *p)
{
    if (p->on && p->drawn_ms != 0)
        fprintf(stderr, "\r\033[K");
}
