/* See machine.h. */
#include "tools/bench/machine.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* The value after "key : " of the first such line of a file of /proc. */
static void read_value(const char *path, const char *key, char *value, size_t bytes)
{
    char line[512];
    FILE *f = fopen(path, "re");
    snprintf(value, bytes, "unknown");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || colon == NULL)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(value, bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
        break;
    }
    fclose(f);
}

static const char *filesystem_name(long type)
{
    static const struct {
        long type;
        const char *name;
    } known[] = {
        {0xEF53, "ext4"},        {0x58465342, "xfs"}, {0x9123683E, "btrfs"}, {0x01021994, "tmpfs"},
        {0x794C7630, "overlay"}, {0x6969, "nfs"},     {0x2FC12FC1, "zfs"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].type == type)
            return known[i].name;
    }
    return "another kind";
}

void machine_look(struct machine *m, const char *dir)
{
    char memory[64];
    struct utsname name;
    struct statfs fs;
    time_t now = time(NULL);
    struct tm utc;
    *m = (struct machine){.compiler = BENCH_COMPILER, .build = BENCH_BUILD};
    read_value("/proc/cpuinfo", "model name", m->cpu, sizeof m->cpu);
    read_value("/proc/meminfo", "MemTotal", memory, sizeof memory);
    m->memory_gib = strtod(memory, NULL) / (1 << 20);
    m->cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (uname(&name) == 0)
        snprintf(m->kernel, sizeof m->kernel, "%s %s", name.sysname, name.release);
    snprintf(m->filesystem, sizeof m->filesystem, "%s",
             statfs(dir, &fs) == 0 ? filesystem_name((long)fs.f_type) : "unknown");
    if (getloadavg(&m->load, 1) != 1)
        m->load = -1;
    if (gmtime_r(&now, &utc) != NULL)
        strftime(m->date, sizeof m->date, "%Y-%m-%d %H:%M UTC", &utc);
}

void machine_print(const struct machine *m)
{
    printf("machine   %s, %ld cores, %.1f GiB\n", m->cpu, m->cores, m->memory_gib);
    printf("system    %s; temporary data on %s\n", m->kernel, m->filesystem);
    printf("build     %s, %s\n", m->compiler, m->build);
    printf("when      %s; load before the start %.2f\n\n", m->date, m->load);
    if (strcmp(m->filesystem, "tmpfs") == 0)
        printf(
            "NOTE: on tmpfs a commit costs nothing; give --dir on a disk for durable figures\n\n");
    if (m->load > 0.3 * (double)m->cores)
        printf("NOTE: the machine was busy already; trust the ratios more than the figures\n\n");
}

char *machine_json(const struct machine *m)
{
    json_t *object = json_pack("{s:s, s:I, s:f, s:s, s:s, s:s, s:s, s:s, s:f}", "cpu", m->cpu,
                               "cores", (json_int_t)m->cores, "memory_gib", m->memory_gib, "kernel",
                               m->kernel, "filesystem", m->filesystem, "compiler", m->compiler,
                               "build", m->build, "date", m->date, "load", m->load);
    char *text = json_dumps(object, 0);
    json_decref(object);
    return text;
}

bool machine_build_is_fit(const char **why)
{
    *why = NULL;
    if (strcmp(BENCH_SANITIZE, "") != 0)
        *why = "it is built with sanitizers (" BENCH_SANITIZE ")";
    else if (strstr(BENCH_BUILD, "Rel") == NULL)
        *why = "it is a " BENCH_BUILD " build";
    return *why == NULL;
}
