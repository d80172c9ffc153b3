/* troupe-bench: see bench.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/descriptors.h"
#include "tools/bench/bench.h"
#include "tools/bench/machine.h"

enum { EXIT_USAGE = 2 };

int bench_fail(struct bench *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->errmsg, sizeof b->errmsg, format, args);
    va_end(args);
    return -1;
}

int bench_fail_with_log(struct bench *b, const char *log, const char *what)
{
    enum { TAIL_BYTES = 600 };
    char tail[TAIL_BYTES + 1] = "";
    FILE *f = fopen(log, "re");
    if (f != NULL) {
        if (fseek(f, -TAIL_BYTES, SEEK_END) != 0)
            rewind(f);
        tail[fread(tail, 1, TAIL_BYTES, f)] = '\0';
        fclose(f);
    }
    return bench_fail(b, "%s; the end of its log:\n%s", what, tail[0] == '\0' ? "(empty)" : tail);
}

void bench_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("troupe-bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

const char *bench_round(const struct bench *b, uint32_t round)
{
    static char text[32];
    snprintf(text, sizeof text, "[%u/%u]", round + 1, b->options->rounds);
    return text;
}

static bool check_build(const struct options *o)
{
    const char *why;
    if (machine_build_is_fit(&why))
        return true;
    fprintf(stderr,
            "troupe-bench: THIS BUILD IS NOT FIT FOR MEASURING: %s. Figures from it say nothing "
            "about the program.\n"
            "Do: cmake --preset release && cmake --build --preset release\n%s",
            why, o->anyway ? "" : "To see it run all the same, give --anyway.\n");
    return o->anyway;
}

static void print(const struct bench *b, const struct machine *m)
{
    if (!b->options->json) {
        report_print(&b->report, stdout);
        return;
    }
    char *text = machine_json(m);
    if (text != NULL)
        report_print_json(&b->report, text, stdout);
    free(text);
}

/* What has been measured is printed even if something else could not be. */
static int run(struct bench *b)
{
    struct machine machine;
    int rc = 0;
    machine_look(&machine, b->options->dir);
    if (!b->options->json)
        machine_print(&machine);
    fflush(stdout);
    for (size_t i = 0; i < BENCHMARKS_N; i++) {
        if (!b->options->selected[i] || BENCHMARKS[i].run(b) == 0)
            continue;
        bench_say("%s: %s", BENCHMARKS[i].name, b->errmsg);
        rc = EXIT_FAILURE;
    }
    print(b, &machine);
    return rc;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static struct options options;
    descriptors_fill();
    if (argc == 3 && strcmp(argv[1], "--echo-server") == 0)
        return echo_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--memory-of") == 0)
        return memory_main(argv[2]);
    switch (options_read(&options, argc, argv)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_DONE:
        return EXIT_SUCCESS;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    }
    if (!check_build(&options))
        return EXIT_USAGE;
    bench.options = &options;
    if (sandbox_open(&bench.sandbox, options.dir) != 0) {
        fprintf(stderr, "troupe-bench: no temporary directory in %s: %s; give --dir\n", options.dir,
                strerror(errno));
        return EXIT_FAILURE;
    }
    int rc = run(&bench);
    sandbox_close(&bench.sandbox);
    return rc;
}
