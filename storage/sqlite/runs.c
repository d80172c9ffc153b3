/* See runs.h. Locks belong to an open file description (F_OFD_SETLK): one process may have several
 * stores, and closing another description of the same file costs no lock. To look at a lock takes
 * none, so that nobody's look keeps a run from taking its own. */
#include "storage/sqlite/runs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { NAME_TEXT_BYTES = 3 * STORE_NAME_BYTES_MAX + 1 };

struct sqlite_run {
    int fd;
    char path[PATH_MAX];
};

/* The file's name. False: it is too long, or the cluster is not known. */
static bool path_of(const struct sqlite_connection *c, const char *name, uint64_t generation,
                    char path[PATH_MAX])
{
    char text[NAME_TEXT_BYTES] = "";
    size_t used = 0;
    for (const char *at = name; *at != '\0' && used + 4 <= sizeof text; at++) {
        bool plain = isalnum((unsigned char)*at) || strchr(".-_", *at) != NULL;
        used += (size_t)snprintf(text + used, sizeof text - used, plain ? "%c" : "%%%02X",
                                 (unsigned char)*at);
    }
    int len = snprintf(path, PATH_MAX, "%s-run-%lld-%llu-%s", c->config->path,
                       (long long)c->cluster, (unsigned long long)generation, text);
    const char *slash = strrchr(path, '/');
    return c->cluster != 0 && len < PATH_MAX && slash != NULL && strlen(slash + 1) <= NAME_MAX;
}

/* File systems whose locks are this kernel's own business. Over a network (NFS, SMB, 9p, FUSE, what
 * virtual machines share) a lock may be another machine's, or be lost while its holder lives. */
static bool keeps_locks(int fd)
{
    static const unsigned long known[] = {
        0xEF53,     /* ext2, ext3, ext4 */
        0x58465342, /* xfs */
        0x9123683E, /* btrfs */
        0x01021994, /* tmpfs */
        0x858458F6, /* ramfs */
        0xF2F52010, /* f2fs */
        0x2FC12FC1, /* zfs */
        0xCA451A4E, /* bcachefs */
        0x794C7630, /* overlayfs */
    };
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (((unsigned long)fs.f_type & 0xFFFFFFFF) == known[i])
            return true;
    }
    return false;
}

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* ---- our own ---- */

void sqlite__run_release(struct sqlite_config *config)
{
    struct sqlite_run *run = config->run;
    config->run = NULL;
    if (run == NULL)
        return;
    close(run->fd);
    free(run);
}

static struct sqlite_run *hold(const char *path)
{
    struct sqlite_run *run = calloc(1, sizeof *run);
    struct flock lock = whole_file();
    if (run == NULL)
        return NULL;
    snprintf(run->path, sizeof run->path, "%s", path);
    unlink(path); /* of a run that a restored copy of the database has forgotten */
    run->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (run->fd >= 0 && keeps_locks(run->fd) && fcntl(run->fd, F_OFD_SETLK, &lock) == 0)
        return run;
    if (run->fd >= 0) {
        unlink(path); /* without a lock it would say that we are gone */
        close(run->fd);
    }
    free(run);
    return NULL;
}

void sqlite__run_hold(struct sqlite_connection *c, const char *name, uint64_t generation)
{
    char path[PATH_MAX];
    bool named = path_of(c, name, generation, path);
    if (named && c->config->run != NULL && strcmp(c->config->run->path, path) == 0)
        return; /* once more: the answer of the first time was lost */
    sqlite__run_release(c->config);
    c->config->run = named ? hold(path) : NULL;
    if (c->config->run == NULL)
        sqlite__log(c->config, STORE_LOG_WARN,
                    "should this node die, others cannot prove it and wait for its lease: its file "
                    "beside the database cannot be locked, or not be relied upon: %s",
                    path);
}

/* ---- others' ---- */

void sqlite__run_judge(const struct sqlite_connection *c, struct store_node *node)
{
    char path[PATH_MAX];
    struct flock lock = whole_file();
    int fd = path_of(c, node->name, node->generation, path)
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                 : -1;
    if (fd < 0)
        return;
    if (keeps_locks(fd) && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK)
        node->fate = STORE_FATE_BURIED;
    close(fd);
}

static void remove_file(struct sqlite_connection *c, const char *name, uint64_t generation)
{
    char path[PATH_MAX];
    if (path_of(c, name, generation, path))
        unlink(path);
}

void sqlite__runs_tidy(struct sqlite_connection *c, const struct store_request *r)
{
    switch (r->op) {
    case STORE_REGISTER:
        if (r->u.reg.generation > 1)
            remove_file(c, r->u.reg.name, r->u.reg.generation - 1);
        break;
    case STORE_LEAVE:
        remove_file(c, r->u.leave.name, r->u.leave.generation);
        break;
    case STORE_EVICT:
        if (r->u.evict.evicted)
            remove_file(c, r->u.evict.target, r->u.evict.target_generation);
        break;
    default:
        break;
    }
}
