/* See note.h.
 *
 * Failures: a crash between the note and its copy into the file leaves both in the log, under the
 * name that the note tells. A crash after the note was taken away leaves that in the log, too, or
 * has it all in the file. Somebody who reads for long keeps the note from being copied: that is
 * told, and is no reason not to start. */
#include "storage/sqlite/note.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "storage/request.h"
#include "storage/sqlite/names.h"

enum {
    IDENTITY_BYTES = 64,
    PLACE_BYTES = IDENTITY_BYTES + NAME_MAX + 2,
    COPY_TRIES = 100, /* … with a pause: until readers have let the note be copied */
    COPY_PAUSE_MS = 2,
    TAKE_AWAY_MS = 500,
};

struct note {
    char file[IDENTITY_BYTES], log[IDENTITY_BYTES];
    char place[PLACE_BYTES]; /* the directory's identity, and the log's name in it */
    char path[PATH_MAX];     /* of the log, for people */
};

/* ---- ours ---- */

/* "INODE-TIME", or empty: there is nothing. Without a time of making the inode has to do. */
static void identify(const char *path, char identity[IDENTITY_BYTES])
{
    struct statx st;
    identity[0] = '\0';
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st) != 0)
        return;
    bool has_time = (st.stx_mask & STATX_BTIME) != 0;
    snprintf(identity, IDENTITY_BYTES, "%" PRIu64 "-%" PRId64 ".%09u", (uint64_t)st.stx_ino,
             has_time ? (int64_t)st.stx_btime.tv_sec : 0, has_time ? st.stx_btime.tv_nsec : 0);
}

static bool make_note(struct sqlite_connection *c, struct note *note)
{
    char directory[PATH_MAX];
    const char *file = sqlite3_db_filename(c->db, "main");
    const char *log = sqlite3_filename_wal(file), *slash = log == NULL ? NULL : strrchr(log, '/');
    if (slash == NULL || strlen(log) >= PATH_MAX)
        return false;
    snprintf(directory, sizeof directory, "%.*s", slash == log ? 1 : (int)(slash - log), log);
    identify(file, note->file);
    identify(log, note->log);
    identify(directory, note->place);
    snprintf(note->path, sizeof note->path, "%s", log);
    size_t len = strlen(note->place);
    snprintf(note->place + len, sizeof note->place - len, "%s", slash);
    return note->file[0] != '\0' && note->log[0] != '\0' && len > 0;
}

/* ---- the one that is there ---- */

static int has_table(sqlite3 *db, bool *has)
{
    static const char sql[] = "SELECT count(*) FROM sqlite_schema WHERE name = 'log_note'";
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    *has = rc == SQLITE_ROW && sqlite3_column_int(s, 0) > 0;
    sqlite3_finalize(s);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static void take_column(sqlite3_stmt *s, int at, char *text, size_t size)
{
    const char *value = (const char *)sqlite3_column_text(s, at);
    snprintf(text, size, "%s", value == NULL ? "" : value);
}

/* SQLITE_OK, or the error; note->file is empty if there is none. */
static int read_note(sqlite3 *db, struct note *note)
{
    sqlite3_stmt *s = NULL;
    bool has = false;
    *note = (struct note){.file = ""};
    int rc = has_table(db, &has);
    if (rc != SQLITE_OK || !has)
        return rc;
    rc = sqlite3_prepare_v2(db, "SELECT file, log, place, path FROM log_note", -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        take_column(s, 0, note->file, sizeof note->file);
        take_column(s, 1, note->log, sizeof note->log);
        take_column(s, 2, note->place, sizeof note->place);
        take_column(s, 3, note->path, sizeof note->path);
    }
    sqlite3_finalize(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int fail_name(struct store_request *r, const struct note *found, const char *path)
{
    return store__fail(r, TROUPE_EVERSION,
                       "its last commits are in %s: open it by that name, or put that beside it, "
                       "as %s-wal; to go on without: sqlite3 FILE 'DELETE FROM log_note'",
                       found->path, path);
}

int sqlite__note_look(struct sqlite_connection *c, struct store_request *r)
{
    struct note found, ours;
    if (read_note(c->db, &found) != SQLITE_OK)
        return sqlite__fail(c, r);
    if (found.file[0] == '\0' || !make_note(c, &ours))
        return 0;
    if (strcmp(found.file, ours.file) != 0) {
        sqlite__log(c->config, STORE_LOG_INFO,
                    "the database is a copy that was made while it was open (by .backup or VACUUM "
                    "INTO it is complete, by cp it lacks what was in its log): %s",
                    c->config->path);
        return 0;
    }
    if (strcmp(found.log, ours.log) == 0)
        return 0;
    if (strcmp(found.place, ours.place) != 0)
        return fail_name(r, &found, c->config->path);
    sqlite__log(c->config, STORE_LOG_WARN,
                "the database was not closed, and the log that it had then is not there any more: "
                "if another program (sqlite3) has opened and closed it since, nothing is missing; "
                "if the log was deleted, the last commits are lost: %s",
                found.path);
    return 0;
}

/* ---- leaving it ---- */

static int write_note(struct sqlite_connection *c, const struct note *note)
{
    static const char sql[] = "INSERT OR REPLACE INTO log_note (one, file, log, place, path)"
                              " VALUES (1, ?1, ?2, ?3, ?4)";
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &s, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite__bind_string(s, 1, note->file);
    sqlite__bind_string(s, 2, note->log);
    sqlite__bind_string(s, 3, note->place);
    sqlite__bind_string(s, 4, note->path);
    sqlite3_step(s);
    return sqlite3_finalize(s);
}

/* Copies the log, as far as the note reaches, into the file. It waits for readers of an older state
 * a little, and keeps nobody from writing meanwhile. */
static int copy_note(struct sqlite_connection *c)
{
    for (int i = 0; i < COPY_TRIES; i++) {
        int pages = 0, copied = 0;
        int rc =
            sqlite3_wal_checkpoint_v2(c->db, "main", SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
        if ((rc == SQLITE_OK && pages == copied) || (rc != SQLITE_OK && (rc & 0xFF) != SQLITE_BUSY))
            return rc;
        nanosleep(&(struct timespec){.tv_nsec = COPY_PAUSE_MS * 1000000L}, NULL);
    }
    sqlite__log(c->config, STORE_LOG_WARN,
                "another program reads the database for long: until the log is copied into it, do "
                "not move the file while a node runs: %s",
                c->config->path);
    return SQLITE_OK;
}

int sqlite__note_leave(struct sqlite_connection *c, struct store_request *r)
{
    struct note found, ours;
    bool has = false;
    if (!sqlite__names_wants_note(c))
        return 0;
    if (has_table(c->db, &has) != SQLITE_OK || read_note(c->db, &found) != SQLITE_OK)
        return sqlite__fail(c, r);
    if (!has || !make_note(c, &ours))
        return 0;
    bool same = strcmp(found.file, ours.file) == 0 && strcmp(found.log, ours.log) == 0 &&
                strcmp(found.place, ours.place) == 0;
    if ((!same && write_note(c, &ours) != SQLITE_OK) || copy_note(c) != SQLITE_OK)
        return sqlite__fail(c, r);
    sqlite__names_has_note(c);
    return 0;
}

void sqlite__note_take_away(struct sqlite_connection *c)
{
    if (c->db == NULL || sqlite3_get_autocommit(c->db) == 0 || !sqlite__names_is_last(c))
        return;
    sqlite__set_patience(c, TAKE_AWAY_MS);
    if (sqlite3_exec(c->db, "DELETE FROM log_note", NULL, NULL, NULL) != SQLITE_OK)
        sqlite__log(c->config, STORE_LOG_WARN, "the database is not marked as closed: %s",
                    sqlite3_errmsg(c->db));
}
