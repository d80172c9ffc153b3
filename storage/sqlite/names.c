/* See names.h. A process has one description per file for all its connections, however many stores:
 * it is closed when the last of them has gone.
 *
 * Failures: two that open the file under two names at the same moment may both be refused, never
 * both served. Where the system has no such locks (it says EINVAL or the like) there is a warning,
 * and links are looked at all the same. */
#include "storage/sqlite/names.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/invariant.h"
#include "base/list.h"
#include "storage/request.h"

/* SQLite's locks end at 2^30 + 512, its files at 2^48. */
#define PLACES_AT    (INT64_C(1) << 62)         /* where the log is */
#define LOGS_AT      (PLACES_AT + REGION_BYTES) /* which one it is */
#define REGION_BYTES (INT64_C(1) << 60)

enum {
    TELL_AGAIN_MS = 60000,
    CLOSING_POLL_MS = 1,
    WAIT = 1, /* somebody is closing the file: ask again */
};

struct identity {
    dev_t device;
    ino_t inode;
};

struct sqlite_names {
    struct list link;
    struct identity file;
    int64_t place; /* where the lock is */
    int fd;
    unsigned users;
    bool is_locked;              /* the system has such locks */
    bool has_note;               /* see note.h */
    bool closing;                /* the last user is about to go */
    bool has_log;                /* what follows is known */
    struct identity log, memory; /* FILE-wal, FILE-shm */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list all = {&all, &all};

static int fail_links(struct store_request *r, const char *path, nlink_t links)
{
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "the file has %lu names (hard links), and each has a log of its own: remove "
                       "the others, and stop who has it open under one of them: %s",
                       (unsigned long)links, path);
}

static int fail_shared(struct store_request *r, const char *path)
{
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "the file is in use under another name, with another log: is the file alone "
                       "mounted there or here? Mount its directory instead: %s",
                       path);
}

static int fail_before(struct store_request *r, const char *path)
{
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "a process still has the log open that was deleted or replaced; it goes on "
                       "as soon as that one has noticed, or is stopped: %s",
                       path);
}

/* ---- where, and which ---- */

static bool is_same(struct identity a, struct identity b)
{
    return a.device == b.device && a.inode == b.inode;
}

static bool identify(const char *path, struct identity *identity)
{
    struct stat st;
    if (path == NULL || stat(path, &st) != 0)
        return false;
    *identity = (struct identity){.device = st.st_dev, .inode = st.st_ino};
    return true;
}

static uint64_t hash(struct identity identity, uint64_t seed)
{
    return XXH3_64bits_withSeed(&identity.inode, sizeof identity.inode,
                                seed ^ (uint64_t)identity.device);
}

static const char *log_name(struct sqlite_connection *c)
{
    return sqlite3_filename_wal(sqlite3_db_filename(c->db, "main"));
}

/* Where the lock is for this log: its directory and name, which stay when the log is made anew. */
static bool find_place(struct sqlite_connection *c, int64_t *at)
{
    struct identity found;
    const char *name = log_name(c);
    const char *slash = name == NULL ? NULL : strrchr(name, '/');
    if (slash == NULL)
        return false;
    char *directory = strndup(name, slash == name ? 1 : (size_t)(slash - name));
    bool ok = identify(directory, &found);
    free(directory);
    if (!ok)
        return false;
    uint64_t number = XXH3_64bits_withSeed(slash + 1, strlen(slash + 1), hash(found, 0));
    *at = PLACES_AT + (int64_t)(number % (uint64_t)REGION_BYTES);
    return true;
}

/* The log that is under its name now, with its shared memory. */
static bool find_log(struct sqlite_connection *c, struct identity *log, struct identity *memory)
{
    const char *name = log_name(c), *file = sqlite3_db_filename(c->db, "main");
    if (!identify(name, log))
        return false;
    size_t size = strlen(file) + sizeof "-shm";
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s-shm", file);
    bool found = identify(path, memory);
    free(path);
    return found;
}

/* ---- locks ---- */

/* 1: somebody holds a lock there, 0: nobody, -1: the system cannot tell. */
static int is_locked(int fd, int64_t from, int64_t to)
{
    if (from == to)
        return 0;
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = to - from};
    if (fcntl(fd, F_OFD_GETLK, &l) != 0)
        return -1;
    return l.l_type != F_UNLCK;
}

/* First its own lock, then a look at the others': so of two at least one sees the other. 1:
 * somebody is elsewhere in the region, 0: nobody, -1: the system cannot tell; EAGAIN. */
static int lock_alone(int fd, int64_t region, int64_t at)
{
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &l) != 0)
        return errno == EAGAIN || errno == EACCES ? EAGAIN : -1;
    int before = is_locked(fd, region, at);
    int behind = is_locked(fd, at + 1, region + REGION_BYTES);
    if (before > 0 || behind > 0)
        return 1;
    return before < 0 || behind < 0 ? -1 : 0;
}

static int lock_place(struct sqlite_connection *c, struct sqlite_names *n, struct store_request *r)
{
    int rc = lock_alone(n->fd, PLACES_AT, n->place);
    n->is_locked = rc == 0;
    if (rc == EAGAIN)
        return WAIT;
    if (rc > 0)
        return fail_shared(r, c->config->path);
    if (rc < 0)
        sqlite__log(c->config, STORE_LOG_WARN,
                    "a second name of the file would not be noticed, as it cannot be locked (%s)",
                    strerror(errno));
    return 0;
}

/* ---- the file ---- */

/* A description for the file at our name; opened once per process, under the lock. */
static int names_new(struct sqlite_connection *c, struct identity file, int64_t at,
                     struct store_request *r)
{
    struct sqlite_names *n = calloc(1, sizeof *n);
    if (n == NULL)
        return store__fail(r, TROUPE_EUNAVAILABLE, "out of memory");
    *n = (struct sqlite_names){.file = file, .place = at, .users = 1, .fd = -1};
    n->fd = open(c->config->path, O_RDWR | O_CLOEXEC); /* a lock for writing asks for that */
    int rc = n->fd >= 0
                 ? lock_place(c, n, r)
                 : store__fail(r, TROUPE_EUNAVAILABLE, "%s: %s", strerror(errno), c->config->path);
    if (rc != 0) {
        if (n->fd >= 0)
            close(n->fd);
        free(n);
        return rc;
    }
    list_push(&all, &n->link);
    c->names = n;
    return 0;
}

/* Whoever opens the file beside us reads the shared memory that we have. */
static int join(struct sqlite_connection *c, struct sqlite_names *n, int64_t at,
                struct store_request *r)
{
    struct identity log, memory;
    if (n->place != at)
        return fail_shared(r, c->config->path);
    if (n->closing)
        return WAIT;
    if (n->has_log &&
        (!find_log(c, &log, &memory) || !is_same(log, n->log) || !is_same(memory, n->memory)))
        return fail_before(r, c->config->path);
    n->users++;
    c->names = n;
    return 0;
}

static int take(struct sqlite_connection *c, struct identity file, int64_t at,
                struct store_request *r)
{
    for (struct list *node = all.next; node != &all; node = node->next) {
        struct sqlite_names *n = LIST_ENTRY(node, struct sqlite_names, link);
        if (is_same(n->file, file))
            return join(c, n, at, r);
    }
    return names_new(c, file, at, r);
}

static int try_take(struct sqlite_connection *c, struct store_request *r)
{
    struct stat st;
    int64_t at;
    if (stat(c->config->path, &st) != 0 || !find_place(c, &at))
        return store__fail(r, TROUPE_EUNAVAILABLE, "%s: %s", strerror(errno), c->config->path);
    if (st.st_nlink > 1)
        return fail_links(r, c->config->path, st.st_nlink);
    pthread_mutex_lock(&lock);
    int rc = take(c, (struct identity){.device = st.st_dev, .inode = st.st_ino}, at, r);
    pthread_mutex_unlock(&lock);
    return rc;
}

int sqlite__names_take(struct sqlite_connection *c, struct store_request *r)
{
    INVARIANT(c->names == NULL);
    for (;;) {
        int rc = try_take(c, r);
        if (rc != WAIT)
            return rc;
        if (uv_hrtime() >= c->patience_ns)
            return store__fail(r, TROUPE_EUNAVAILABLE, "the database is being closed: %s",
                               c->config->path);
        nanosleep(&(struct timespec){.tv_nsec = CLOSING_POLL_MS * 1000000L}, NULL);
    }
}

/* ---- the note ---- */

bool sqlite__names_wants_note(struct sqlite_connection *c)
{
    pthread_mutex_lock(&lock);
    bool wants = c->names->is_locked && !c->names->has_note;
    pthread_mutex_unlock(&lock);
    return wants;
}

void sqlite__names_has_note(struct sqlite_connection *c)
{
    pthread_mutex_lock(&lock);
    c->names->has_note = true;
    pthread_mutex_unlock(&lock);
}

/* A lock for writing is had by one alone; it keeps others from taking theirs for reading. */
bool sqlite__names_is_last(struct sqlite_connection *c)
{
    struct sqlite_names *n = c->names;
    if (n == NULL)
        return false;
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = n->place, .l_len = 1};
    pthread_mutex_lock(&lock);
    if (n->users == 1 && n->has_note && fcntl(n->fd, F_OFD_SETLK, &l) == 0)
        n->closing = true;
    bool last = n->closing;
    pthread_mutex_unlock(&lock);
    return last;
}

void sqlite__names_give(struct sqlite_connection *c)
{
    struct sqlite_names *n = c->names;
    c->names = NULL;
    if (n == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (--n->users == 0) {
        list_remove(&n->link);
        close(n->fd);
        free(n);
    }
    pthread_mutex_unlock(&lock);
}

void sqlite__names_look(struct sqlite_connection *c)
{
    struct stat st;
    if (fstat(c->names->fd, &st) != 0 || st.st_nlink <= 1)
        return;
    uint64_t now_ns = uv_hrtime(), told_ns = atomic_load(&c->config->links_told_ns);
    if (told_ns != 0 && now_ns - told_ns < (uint64_t)TELL_AGAIN_MS * 1000000)
        return;
    if (!atomic_compare_exchange_strong(&c->config->links_told_ns, &told_ns, now_ns))
        return; /* another thread tells it */
    sqlite__log(c->config, STORE_LOG_WARN,
                "the file has been given another name (a hard link): remove that, as no node opens "
                "the file while it is there, and nobody may write to it by that name: %s",
                c->config->path);
}

/* ---- the log ---- */

/* The first connection of the process finds the log, the others must find the same. */
static int take_log(struct sqlite_connection *c, struct store_request *r)
{
    struct sqlite_names *n = c->names;
    struct identity log, memory;
    bool found = find_log(c, &log, &memory);
    if (found && n->has_log && is_same(log, n->log) && is_same(memory, n->memory))
        return 0;
    if (!found || n->has_log)
        return fail_before(r, c->config->path);
    uint64_t number = hash(log, hash(memory, 0));
    if (lock_alone(n->fd, LOGS_AT, LOGS_AT + (int64_t)(number % (uint64_t)REGION_BYTES)) > 0)
        return fail_before(r, c->config->path);
    n->log = log;
    n->memory = memory;
    n->has_log = true;
    return 0;
}

int sqlite__names_take_log(struct sqlite_connection *c, struct store_request *r)
{
    pthread_mutex_lock(&lock);
    int rc = take_log(c, r);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* Once known it does not change as long as anybody has it, so the mutex is not needed. */
bool sqlite__names_has_log(struct sqlite_connection *c)
{
    struct identity log, memory;
    return find_log(c, &log, &memory) && is_same(log, c->names->log) &&
           is_same(memory, c->names->memory);
}

bool sqlite__names_rescue(struct sqlite_connection *c)
{
    int pages = 0, copied = -1;
    int rc = sqlite3_wal_checkpoint_v2(c->db, "main", SQLITE_CHECKPOINT_FULL, &pages, &copied);
    return rc == SQLITE_OK && pages == copied;
}

void sqlite__names_spare_log(struct sqlite_connection *c)
{
    int keep = c->names != NULL && c->names->has_log && !sqlite__names_has_log(c);
    if (keep)
        sqlite3_file_control(c->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
}

int sqlite__names_fail_log(struct sqlite_connection *c, struct store_request *r)
{
    const char *file = c->config->path;
    if (!sqlite__names_rescue(c)) /* it stays open: the next request tries again */
        return store__fail(r, TROUPE_EUNAVAILABLE,
                           "the log was deleted or replaced while it was in use, and cannot be "
                           "copied into the database just now (%s): do not kill the node: %s",
                           sqlite3_errmsg(c->db), file);
    c->has_failed = true;
    atomic_store(&c->config->log_gone, true);
    return store__fail(r, TROUPE_EUNAVAILABLE,
                       "the log (-wal, -shm) was deleted or replaced while it was in use: what it "
                       "had is in the database now; never touch it while nodes run: %s",
                       file);
}
