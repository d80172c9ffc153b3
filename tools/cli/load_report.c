/* See load_report.h. */
#include "tools/cli/load_report.h"

#include <inttypes.h>
#include <jansson.h>

#include "tools/cli/output.h"

void load_report_init(struct load_report *r, FILE *errors, FILE *replies)
{
    *r = (struct load_report){.errors = errors, .replies = replies};
    pthread_mutex_init(&r->mu, NULL);
}

void load_report_close(struct load_report *r)
{
    pthread_mutex_destroy(&r->mu);
}

void load_report_sent(struct load_report *r, uint64_t calls)
{
    pthread_mutex_lock(&r->mu);
    r->counts.calls += calls;
    pthread_mutex_unlock(&r->mu);
}

static void write_line(FILE *file, json_t *all)
{
    json_dumpf(all, file, JSON_COMPACT);
    putc('\n', file);
    json_decref(all);
}

/* One answer; the lock is held. A reply of opaque bytes that are no JSON is left out. */
static void keep(struct load_report *r, uint64_t line, const struct troupe_call_result *result)
{
    bool ok = result->status == TROUPE_OK;
    struct troupe_bytes text = ok ? result->payload : result->message;
    json_t *what = ok ? json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, NULL)
                      : json_stringn((const char *)text.data, text.len);
    write_line(r->replies,
               json_pack("{s:I, s:s, s:o*}", "line", (json_int_t)line, "status",
                         troupe_status_name((int)result->status), ok ? "reply" : "message", what));
}

/* One error; the lock is held. */
static void show(struct load_report *r, uint64_t line, const char *status,
                 struct troupe_bytes message)
{
    if (r->errors != NULL) {
        json_t *text = json_stringn((const char *)message.data, message.len);
        write_line(r->errors, json_pack("{s:I, s:s, s:o?}", "line", (json_int_t)line, "status",
                                        status, "message", text));
        return;
    }
    if (r->shown++ >= LOAD_ERRORS_SHOWN)
        return;
    fprintf(stderr, "%sline %" PRIu64 ": %s: %.*s\n", r->progress_line ? "\r\033[K" : "", line,
            status, (int)(message.len > 500 ? 500 : message.len), (const char *)message.data);
    if (r->shown == LOAD_ERRORS_SHOWN)
        fprintf(stderr, "More errors are not shown; --errors FILE keeps them all.\n");
}

void load_report_result(struct load_report *r, uint64_t line,
                        const struct troupe_call_result *result)
{
    pthread_mutex_lock(&r->mu);
    unsigned status = (unsigned)result->status;
    r->counts.by_status[status < TROUPE_STATUS_COUNT ? status : TROUPE_UNKNOWN]++;
    if (result->status == TROUPE_OK) {
        r->counts.ok++;
    } else {
        r->counts.failed++;
        r->counts.unanswered += !result->answered;
        show(r, line, troupe_status_name((int)status), result->message);
    }
    if (r->replies != NULL)
        keep(r, line, result);
    pthread_mutex_unlock(&r->mu);
}

void load_report_flush(struct load_report *r)
{
    if (r->replies != NULL)
        fflush(r->replies);
}

void load_report_malformed(struct load_report *r, uint64_t line, const char *why)
{
    pthread_mutex_lock(&r->mu);
    r->counts.malformed++;
    show(r, line, "malformed", troupe_bytes_of(why));
    pthread_mutex_unlock(&r->mu);
}

struct load_counts load_report_counts(struct load_report *r)
{
    pthread_mutex_lock(&r->mu);
    struct load_counts counts = r->counts;
    pthread_mutex_unlock(&r->mu);
    return counts;
}

static void finish_json(const struct load_counts *c, double seconds, double rate)
{
    json_t *by_status = json_object();
    for (int i = 1; i < TROUPE_STATUS_COUNT; i++)
        if (c->by_status[i] != 0)
            json_object_set_new(by_status, troupe_status_name(i),
                                json_integer((json_int_t)c->by_status[i]));
    json_t *all = json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:o}", "calls", (json_int_t)c->calls,
                            "ok", (json_int_t)c->ok, "failed", (json_int_t)c->failed, "malformed",
                            (json_int_t)c->malformed, "seconds", seconds, "calls_per_s", rate,
                            "errors", by_status);
    json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(all);
}

static void finish_text(const struct load_counts *c, double seconds, double rate)
{
    char calls[OUTPUT_NUMBER_BYTES], ok[OUTPUT_NUMBER_BYTES], failed[OUTPUT_NUMBER_BYTES],
        per_s[OUTPUT_NUMBER_BYTES];
    fprintf(stderr, "%s calls: %s OK, %s failed, in %.2f s (%s/s)\n",
            output_number(c->calls, calls), output_number(c->ok, ok),
            output_number(c->failed, failed), seconds, output_number((uint64_t)rate, per_s));
    for (int i = 1; i < TROUPE_STATUS_COUNT; i++)
        if (c->by_status[i] != 0)
            fprintf(stderr, "  %-20s %s\n", troupe_status_name(i),
                    output_number(c->by_status[i], calls));
    if (c->malformed != 0)
        fprintf(stderr, "  %-20s %s\n", "malformed lines", output_number(c->malformed, calls));
}

void load_report_finish(struct load_report *r, double seconds, bool json)
{
    struct load_counts c = load_report_counts(r);
    double rate = seconds > 0 ? (double)c.calls / seconds : 0;
    if (json)
        finish_json(&c, seconds, rate);
    else
        finish_text(&c, seconds, rate);
}
