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
#include <unistd.h>
#include <xxhash.h>

#include "base/invariant.h"
#include "base/list.h"
#include "storage/request.h"

/* SQLite's locks end at 2^30 + 512, its files at 2^48. */
#define REGION_AT    (INT64_C(1) << 62)
#define REGION_BYTES (INT64_C(1) << 61)

enum { TELL_AGAIN_MS = 60000 };

struct sqlite_names {
    struct list link;
    dev_t device;
    ino_t inode;
    int64_t log; /* where the lock is */
    int fd;
    unsigned users;
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

/* Where the lock is for this log: its directory and name, which stay when the log is made anew. */
static bool find_log(struct sqlite_connection *c, int64_t *at)
{
    struct stat st;
    const char *name = sqlite3_filename_wal(sqlite3_db_filename(c->db, "main"));
    const char *slash = name == NULL ? NULL : strrchr(name, '/');
    if (slash == NULL)
        return false;
    size_t len = slash == name ? 1 : (size_t)(slash - name);
    char *directory = strndup(name, len);
    bool found = directory != NULL && stat(directory, &st) == 0;
    free(directory);
    if (!found)
        return false;
    uint64_t seed = XXH3_64bits_withSeed(&st.st_ino, sizeof st.st_ino, (uint64_t)st.st_dev);
    uint64_t hash = XXH3_64bits_withSeed(slash + 1, strlen(slash + 1), seed);
    *at = REGION_AT + (int64_t)(hash % (uint64_t)REGION_BYTES);
    return true;
}

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

/* First its own lock, then a look at the others': so of two at least one sees the other. */
static int lock_log(struct sqlite_connection *c, int fd, int64_t at, struct store_request *r)
{
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int before = -1, behind = -1;
    if (fcntl(fd, F_OFD_SETLK, &l) == 0) {
        before = is_locked(fd, REGION_AT, at);
        behind = is_locked(fd, at + 1, REGION_AT + REGION_BYTES);
    }
    if (before > 0 || behind > 0)
        return fail_shared(r, c->config->path);
    if (before < 0 || behind < 0)
        sqlite__log(c->config, STORE_LOG_WARN,
                    "a second name of the file would not be noticed, as it cannot be locked (%s)",
                    strerror(errno));
    return 0;
}

/* A description for the file at our name; opened once per process, under the lock. */
static int names_new(struct sqlite_connection *c, const struct stat *st, int64_t at,
                     struct store_request *r)
{
    struct sqlite_names *n = calloc(1, sizeof *n);
    if (n == NULL)
        return store__fail(r, TROUPE_EUNAVAILABLE, "out of memory");
    *n = (struct sqlite_names){
        .device = st->st_dev, .inode = st->st_ino, .log = at, .users = 1, .fd = -1};
    n->fd = open(c->config->path, O_RDONLY | O_CLOEXEC);
    int rc = n->fd >= 0
                 ? lock_log(c, n->fd, at, r)
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

static int take(struct sqlite_connection *c, const struct stat *st, int64_t at,
                struct store_request *r)
{
    for (struct list *node = all.next; node != &all; node = node->next) {
        struct sqlite_names *n = LIST_ENTRY(node, struct sqlite_names, link);
        if (n->device != st->st_dev || n->inode != st->st_ino)
            continue;
        if (n->log != at)
            return fail_shared(r, c->config->path);
        n->users++;
        c->names = n;
        return 0;
    }
    return names_new(c, st, at, r);
}

int sqlite__names_take(struct sqlite_connection *c, struct store_request *r)
{
    struct stat st;
    int64_t at;
    INVARIANT(c->names == NULL);
    if (stat(c->config->path, &st) != 0 || !find_log(c, &at))
        return store__fail(r, TROUPE_EUNAVAILABLE, "%s: %s", strerror(errno), c->config->path);
    if (st.st_nlink > 1)
        return fail_links(r, c->config->path, st.st_nlink);
    pthread_mutex_lock(&lock);
    int rc = take(c, &st, at, r);
    pthread_mutex_unlock(&lock);
    return rc;
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
