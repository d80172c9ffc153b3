/* troupe load FILE: many calls, one JSON object per line. Here: reading, and the end of it; lanes.c
 * sends. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/lanes.h"
#include "tools/cli/line_reader.h"
#include "tools/cli/load_report.h"
#include "tools/cli/now.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"

enum {
    DEFAULT_TIMEOUT_MS = 30000,
    DEFAULT_BATCH = 64,
    DEFAULT_IN_FLIGHT = 32,
};

static const char about[] = "Makes a call for every line of FILE (\"-\": standard input). A line "
                            "is a JSON object; payload and\n"
                            "ack may be left out:\n"
                            "\n"
                            "  {\"entity\": \"venue/42\", \"method\": \"create\", \"payload\": "
                            "{\"name\": \"Hall\"}, \"ack\": "
                            "\"durable\"}\n"
                            "\n"
                            "The calls of one entity are made in the order of the file.";

static const char epilogue[] = "A malformed line is reported with its number and skipped. The load "
                               "stops when no node answers.\n"
                               "\n"
                               "Exit codes: 0 every line was a call that ended OK; 1 some were "
                               "not; 2 wrong usage; 3 no answer:\n"
                               "nobody there, or not in time.";

static volatile sig_atomic_t interrupted;

struct load {
    /* Options. */
    struct common common;
    uint32_t batch_calls, in_flight;
    int ack;
    bool strict;
    const char *errors_path, *replies_path;
    FILE *errors, *replies; /* NULL: not asked for */

    struct lanes lanes;
    struct line_reader reader;
    struct load_report report;
    struct progress progress;
    uint64_t file_bytes; /* 0 = not known */
};

static void show_progress(void *data)
{
    struct load *l = data;
    if (!l->progress.on)
        return;
    struct load_counts c = load_report_counts(&l->report);
    uint64_t buffered = l->reader.end - l->reader.begin;
    progress_show(&l->progress, now_ms(), c.ok + c.failed, c.failed + c.malformed,
                  l->reader.read_bytes - buffered, l->file_bytes);
}

/* ---- lines ---- */

static bool is_blank(struct troupe_bytes line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t')
            return false;
    return true;
}

static int take_line(struct load *l, struct troupe_bytes text)
{
    struct load_line line;
    char why[LOAD_WHY_BYTES];
    if (is_blank(text))
        return 0;
    if (!load_line_parse(&line, text, (enum troupe_ack)l->ack, why)) {
        load_report_malformed(&l->report, l->reader.number, why);
        return 0;
    }
    int rc = lanes_add(&l->lanes, &line, l->reader.number);
    load_line_close(&line);
    if (rc == TROUPE_EINVAL || rc == TROUPE_ELIMIT) {
        load_report_malformed(&l->report, l->reader.number,
                              rc == TROUPE_EINVAL ? "the method is longer than 64 bytes"
                                                  : "the call is over the limit of 32 MiB");
        rc = 0;
    }
    return rc;
}

/* Input that comes slowly must not wait for full batches. */
static bool input_pauses(const struct line_reader *reader)
{
    size_t have = reader->end - reader->begin;
    if (reader->at_end || (have > 0 && memchr(reader->buffer + reader->begin, '\n', have) != NULL))
        return false;
    struct pollfd ready = {.fd = reader->fd, .events = POLLIN};
    return poll(&ready, 1, 0) == 0;
}

/* True when the load has to stop before the end of its input. */
static bool must_stop(struct load *l)
{
    struct load_counts c = load_report_counts(&l->report);
    return interrupted || c.unanswered > 0 || (l->strict && c.malformed > 0);
}

/* Reads and sends until the end or until it has to stop; 0, or an exit code after saying why. */
static int run_lines(struct load *l, const char *path)
{
    struct troupe_bytes line;
    int rc = 0;
    while (rc == 0 && !must_stop(l)) {
        if (input_pauses(&l->reader))
            rc = lanes_flush(&l->lanes);
        enum line_result result = rc != 0 ? LINE_END : line_reader_next(&l->reader, &line);
        if (result == LINE_END || result == LINE_INTERRUPTED)
            break;
        if (result == LINE_ERROR) {
            fprintf(stderr, "troupe load: %s: %s\n", path, strerror(errno));
            return EXIT_ANSWERED;
        }
        if (result == LINE_TOO_LONG)
            load_report_malformed(&l->report, l->reader.number, "longer than 16 MiB");
        else
            rc = take_line(l, line);
        show_progress(l);
    }
    if (rc != 0)
        fprintf(stderr, "troupe load: %s\n", troupe_error_text(rc));
    return rc != 0 ? EXIT_ANSWERED : 0;
}

/* ---- the whole ---- */

static void on_signal(int number)
{
    interrupted = number;
}

/* The first Ctrl-C ends the reading and keeps the summary, the second ends it all. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int exit_code(struct load *l, int rc)
{
    struct load_counts c = load_report_counts(&l->report);
    uint64_t line = l->reader.number;
    if (c.unanswered > 0) {
        fprintf(stderr, "Stopped after line %" PRIu64 ": no answer to %" PRIu64 " calls.\n", line,
                c.unanswered);
        return EXIT_UNREACHED;
    }
    if (interrupted)
        fprintf(stderr, "Interrupted after line %" PRIu64 ".\n", line);
    else if (l->strict && c.malformed > 0)
        fprintf(stderr, "Stopped at line %" PRIu64 ", which is malformed (--strict).\n", line);
    return rc != 0 || c.failed > 0 || c.malformed > 0 || interrupted ? EXIT_ANSWERED : EXIT_OK;
}

static int run(struct load *l, const char *path)
{
    uint64_t started_ms = now_ms();
    progress_init(&l->progress, !l->common.json, started_ms);
    l->report.progress_line = l->progress.on;
    catch_signals();
    int rc = run_lines(l, path);
    if (!interrupted && load_report_counts(&l->report).unanswered == 0 && rc == 0)
        rc = lanes_flush(&l->lanes); /* of a strict load, what came before the line that ended it */
    lanes_wait(&l->lanes);
    progress_wipe(&l->progress);
    load_report_finish(&l->report, (double)(now_ms() - started_ms) / 1000, l->common.json);
    return exit_code(l, rc);
}

static int run_with(struct load *l, const char *path, int fd)
{
    struct troupe_client_options options = {.addresses = l->common.node,
                                            .in_flight_max = l->in_flight};
    struct troupe_client *client = NULL;
    char errmsg[512];
    int rc = troupe_client_open(&client, &options, errmsg, sizeof errmsg);
    if (rc == TROUPE_EINVAL)
        return usage_error("load", "%s", errmsg);
    line_reader_init(&l->reader, fd);
    load_report_init(&l->report, l->errors, l->replies);
    struct stat file;
    if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode))
        l->file_bytes = (uint64_t)file.st_size;
    l->lanes = (struct lanes){.client = client,
                              .n = l->in_flight,
                              .batch_calls = l->batch_calls,
                              .timeout_ms = l->common.timeout_ms,
                              .report = &l->report,
                              .waiting = show_progress,
                              .waiting_data = l};
    if (rc != 0 || lanes_open(&l->lanes) != 0) {
        fprintf(stderr, "troupe load: out of memory; try a smaller --batch or --in-flight\n");
        rc = EXIT_ANSWERED;
    } else {
        rc = run(l, path);
    }
    troupe_client_close(client);
    lanes_close(&l->lanes);
    load_report_close(&l->report);
    line_reader_close(&l->reader);
    return rc;
}

/* False, having said why, if the file that an option names cannot be written. */
static bool open_output(FILE **file, const char *option, const char *path)
{
    *file = path == NULL ? NULL : fopen(path, "we");
    if (path == NULL || *file != NULL)
        return true;
    fprintf(stderr, "troupe load: --%s %s: %s\n", option, path, strerror(errno));
    return false;
}

/* What could not be written is no success. */
static int close_output(FILE *file, const char *option, const char *path, int rc)
{
    if (file == NULL)
        return rc;
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed)
        return rc;
    fprintf(stderr, "troupe load: --%s %s: %s\n", option, path, strerror(errno));
    return rc == EXIT_OK ? EXIT_ANSWERED : rc;
}

static int open_files(struct load *l, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "troupe load: %s: %s\n", path, strerror(errno));
        return EXIT_USAGE;
    }
    int rc = EXIT_USAGE;
    if (open_output(&l->errors, "errors", l->errors_path) &&
        open_output(&l->replies, "replies", l->replies_path))
        rc = run_with(l, is_stdin ? "standard input" : path, fd);
    rc = close_output(l->errors, "errors", l->errors_path, rc);
    rc = close_output(l->replies, "replies", l->replies_path, rc);
    if (!is_stdin)
        close(fd);
    return rc;
}

int command_load(int argc, char **argv)
{
    static const char *const acks[] = {"memory", "replica", "durable", NULL};
    struct load l = {.batch_calls = DEFAULT_BATCH, .in_flight = DEFAULT_IN_FLIGHT};
    char *arguments[1];
    int n;
    options_common_init(&l.common, DEFAULT_TIMEOUT_MS);
    const struct option options[] = {
        {.name = "batch",
         .type = OPTION_NUMBER,
         .target = &l.batch_calls,
         .min = 1,
         .max = 4096,
         .value = "N",
         .help = "calls in a message (default 64)"},
        {.name = "in-flight",
         .type = OPTION_NUMBER,
         .target = &l.in_flight,
         .min = 1,
         .max = LANES_MAX,
         .value = "N",
         .help = "messages under way at once (default 32)"},
        {.name = "ack",
         .type = OPTION_CHOICE,
         .target = &l.ack,
         .choices = acks,
         .value = "LEVEL",
         .help = "of lines that do not say: memory (default), replica or\ndurable"},
        {.name = "errors",
         .type = OPTION_TEXT,
         .target = &l.errors_path,
         .value = "FILE",
         .help = "write every error there, as lines of JSON; without it the\n"
                 "first 10 are shown"},
        {.name = "replies",
         .type = OPTION_TEXT,
         .target = &l.replies_path,
         .value = "FILE",
         .help = "write every answer there as it comes, as lines of JSON with\n"
                 "the number of the line that it answers"},
        {.name = "strict",
         .type = OPTION_FLAG,
         .target = &l.strict,
         .help = "stop at the first malformed line"},
        OPTIONS_COMMON(&l.common),
    };
    const struct usage usage = {.command = "load",
                                .arguments = "FILE",
                                .about = about,
                                .epilogue = epilogue,
                                .options = options,
                                .options_n = sizeof options / sizeof options[0],
                                .arguments_min = 1,
                                .arguments_max = 1};
    int rc = options_parse(&usage, argc, argv, arguments, &n);
    return rc != OPTIONS_GO_ON ? rc : open_files(&l, arguments[0]);
}
