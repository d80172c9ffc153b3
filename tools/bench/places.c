/* See places.h. */
#include "tools/bench/places.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gigbook.pb-c.h"
#include "tools/bench/bench.h"

enum { COLUMNS = 6, GZIP_TIMEOUT_MS = 10000 };

struct source {
    FILE *file;
    pid_t gzip; /* 0 = none */
};

static int source_open(struct bench *b, struct source *s, const char *path)
{
    size_t len = strlen(path);
    int fds[2];
    *s = (struct source){0};
    if (access(path, R_OK) != 0)
        return bench_fail(b, "%s: %s", path, strerror(errno));
    if (len < 3 || strcmp(path + len - 3, ".gz") != 0) {
        s->file = fopen(path, "re");
        return s->file != NULL ? 0 : bench_fail(b, "%s: %s", path, strerror(errno));
    }
    const char *argv[] = {"/bin/gzip", "-dc", path, NULL};
    if (pipe2(fds, O_CLOEXEC) != 0)
        return bench_fail(b, "pipe: %s", strerror(errno));
    s->gzip = sandbox_spawn(
        &b->sandbox,
        &(struct sandbox_child){.argv = argv, .stdout_fd = fds[1], .end_signal = SIGKILL});
    close(fds[1]);
    s->file = fdopen(fds[0], "r");
    if (s->file == NULL)
        close(fds[0]);
    return s->file != NULL && s->gzip > 0 ? 0 : bench_fail(b, "gzip could not be started");
}

static int source_close(struct bench *b, struct source *s)
{
    if (s->file != NULL)
        fclose(s->file);
    if (s->gzip > 0 && sandbox_end(&b->sandbox, s->gzip, 0, GZIP_TIMEOUT_MS) != 0)
        return bench_fail(b, "gzip failed: is the file whole?");
    return 0;
}

static bool split(char *line, char *columns[COLUMNS])
{
    size_t n = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *rest = line, *column; (column = strsep(&rest, "\t")) != NULL; n++) {
        if (n == COLUMNS)
            return false;
        columns[n] = column;
    }
    return n == COLUMNS;
}

static bool add_place(struct places *p, char *columns[COLUMNS])
{
    if (p->n == p->capacity) {
        size_t capacity = p->capacity == 0 ? 16384 : p->capacity * 2;
        struct place *items = realloc(p->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        p->items = items;
        p->capacity = capacity;
    }
    Gigbook__CreateVenueRequest request = GIGBOOK__CREATE_VENUE_REQUEST__INIT;
    request.name = columns[1];
    request.country = columns[2];
    request.population = (uint32_t)strtoul(columns[3], NULL, 10);
    request.longitude = strtod(columns[4], NULL);
    request.latitude = strtod(columns[5], NULL);
    size_t size = gigbook__create_venue_request__get_packed_size(&request);
    uint8_t *packed = arena_alloc(&p->arena, size);
    struct place *place = &p->items[p->n];
    place->id = arena_copy(&p->arena, troupe_bytes_of(columns[0]));
    if (packed == NULL || place->id.data == NULL)
        return false;
    place->create = troupe_bytes(packed, gigbook__create_venue_request__pack(&request, packed));
    p->n++;
    return true;
}

static int read_lines(struct bench *b, struct places *p, FILE *file, const char *path)
{
    char *line = NULL, *columns[COLUMNS];
    size_t room = 0, number = 0;
    int rc = 0;
    while (rc == 0 && getline(&line, &room, file) > 0) {
        if (!split(line, columns))
            rc = bench_fail(b, "%s:%zu: not %d columns", path, number + 1, COLUMNS);
        else if (number++ > 0 && !add_place(p, columns)) /* the first line names the columns */
            rc = bench_fail(b, "out of memory");
    }
    free(line);
    return rc;
}

int places_read(struct bench *b, struct places *p, const char *path)
{
    struct source source;
    *p = (struct places){0};
    arena_init(&p->arena, 1 << 20, 0);
    int rc = source_open(b, &source, path);
    if (rc == 0)
        rc = read_lines(b, p, source.file, path);
    int closed = source_close(b, &source);
    if (rc == 0)
        rc = closed;
    if (rc == 0 && p->n == 0)
        rc = bench_fail(b, "%s: there are no places in it", path);
    return rc;
}

void places_close(struct places *p)
{
    free(p->items);
    arena_close(&p->arena);
    *p = (struct places){0};
}
