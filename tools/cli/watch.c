/* See watch.h. Every look is made into memory first and shown at once: on a terminal over the one
 * before it, line by line, which does not flicker; elsewhere after it. */
#include "tools/cli/watch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli/output.h"

/* What Ctrl-C does: ends the program at once, but not in the middle of a line. */
static volatile sig_atomic_t exit_code, writing, interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
    if (!writing)
        _exit(exit_code);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void watch_learn(struct watch *w, const Troupe__Rpc__Members *members)
{
    size_t used = 0, taken = 0;
    char all[sizeof w->learned] = "";
    for (size_t i = 0; i < members->n_members && taken < VIEW_CLIENT_ADDRESSES_MAX; i++) {
        const Troupe__Rpc__Member *m = members->members[i];
        size_t len = strlen(m->address);
        if (m->self || view_is_gone(m) || len == 0 || used + len + 2 > sizeof all)
            continue;
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", taken == 0 ? "" : ",",
                                 m->address);
        taken++;
    }
    memcpy(w->learned, all, sizeof all);
}

/* ---- showing ---- */

static void draw_over(const char *text)
{
    fputs("\033[H", stdout); /* home */
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\033[K", stdout); /* clears the rest of the line */
        putchar(*text);
    }
    fputs("\033[J", stdout); /* and of the screen */
}

static void draw(const struct watch *w, const char *text, bool first)
{
    writing = 1;
    if (w->common.json || !isatty(STDOUT_FILENO))
        printf("%s%s", first || w->common.json ? "" : "\n", text);
    else
        draw_over(text);
    fflush(stdout);
    writing = 0;
    if (interrupted)
        _exit(exit_code);
}

/* A look that failed, with the time it happened and where we look next. */
static void tell_failure(const struct watch *w, FILE *out)
{
    char at[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (localtime_r(&now, &tm) != NULL)
        strftime(at, sizeof at, "%H:%M:%S", &tm);
    if (w->learned[0] != '\0')
        fprintf(out, "%s no answer; next: %s\n", at, w->learned);
    else
        fprintf(out, "%s no answer; trying again\n", at);
}

/* One look on the screen. *shown keeps the last good one, to be shown below a failure. */
static int look_again(struct watch *w, struct troupe_client *client, char **shown, bool first)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return EXIT_UNREACHED;
    int rc = w->look(w, client, out, out);
    bool failed = rc == EXIT_UNREACHED;
    if (failed && !w->common.json) {
        tell_failure(w, out);
        if (*shown != NULL && isatty(STDOUT_FILENO))
            fprintf(out, "\nThe last answer was:\n\n%s", *shown);
    }
    if (fclose(out) == 0) {
        exit_code = w->last_code ? rc : EXIT_OK;
        draw(w, text, first);
    }
    free(failed ? text : *shown);
    if (!failed)
        *shown = text;
    return rc;
}

/* ---- looking ---- */

static int open_client(const struct watch *w, const char *addresses, struct troupe_client **client)
{
    struct troupe_client_options options = {
        .addresses = addresses, .timeout_ms = w->common.timeout_ms, .no_ring = true};
    char errmsg[512];
    int rc = troupe_client_open(client, &options, errmsg, sizeof errmsg);
    if (rc == TROUPE_EINVAL)
        return usage_error(w->command, "%s", errmsg);
    if (rc != 0)
        fprintf(stderr, "troupe %s: %s\n", w->command, troupe_error_text(rc));
    return rc == 0 ? EXIT_OK : EXIT_UNREACHED;
}

/* The members we know of, then the addresses we were given. What a node told may be no address;
 * then we keep to what we have. */
static void look_elsewhere(const struct watch *w, struct troupe_client **client)
{
    size_t bytes = strlen(w->learned) + strlen(w->common.node) + 2;
    char *addresses = w->learned[0] == '\0' ? NULL : malloc(bytes);
    struct troupe_client_options options = {
        .addresses = addresses, .timeout_ms = w->common.timeout_ms, .no_ring = true};
    struct troupe_client *other;
    char errmsg[512];
    if (addresses == NULL)
        return;
    snprintf(addresses, bytes, "%s,%s", w->learned, w->common.node);
    if (troupe_client_open(&other, &options, errmsg, sizeof errmsg) == 0) {
        troupe_client_close(*client);
        *client = other;
    }
    free(addresses);
}

static void wait_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
              NULL);
}

int watch_run(struct watch *w)
{
    struct troupe_client *client;
    char *shown = NULL;
    int rc = open_client(w, w->common.node, &client);
    if (rc != EXIT_OK)
        return rc;
    if (w->every_ms != 0)
        catch_signals();
    else
        rc = w->look(w, client, stdout, stderr);
    for (bool first = true; w->every_ms != 0 && !ferror(stdout); first = false) {
        rc = look_again(w, client, &shown, first);
        if (rc == EXIT_UNREACHED)
            look_elsewhere(w, &client);
        wait_ms(w->every_ms);
    }
    free(shown);
    troupe_client_close(client);
    return rc;
}
