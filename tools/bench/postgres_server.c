/* See postgres_server.h. */
#include "tools/bench/postgres_server.h"

#include <errno.h>
#include <glob.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench/bench.h"

enum { INITDB_TIMEOUT_MS = 120000, START_TIMEOUT_S = 60, PATH_BYTES = 256 };

/* A program of the newest version that is installed. */
static bool find_program(const char *name, char path[PATH_BYTES])
{
    char pattern[PATH_BYTES];
    glob_t found;
    snprintf(pattern, sizeof pattern, "/usr/lib/postgresql/*/bin/%s", name);
    bool ok = glob(pattern, 0, NULL, &found) == 0;
    if (ok)
        snprintf(path, PATH_BYTES, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return ok;
}

bool postgres_server_exists(void)
{
    char path[PATH_BYTES];
    return find_program("initdb", path) && find_program("postgres", path);
}

/* A child that is not root. */
static pid_t spawn(struct bench *b, const char *const *argv, const char *log)
{
    struct sandbox_child child = {
        .argv = argv, .output = log, .stdout_fd = -1, .end_signal = SIGQUIT};
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL) {
        child.uid = user->pw_uid;
        child.gid = user->pw_gid;
    }
    return sandbox_spawn(&b->sandbox, &child);
}

static int make_data(struct bench *b, const char *dir, const char *data, const char *log)
{
    char initdb[PATH_BYTES];
    const char *argv[] = {initdb,      "-D",    data, "-U",   "postgres",
                          "-A",        "trust", "-E", "UTF8", "--locale=C.UTF-8",
                          "--no-sync", NULL};
    if (!find_program("initdb", initdb))
        return bench_fail(b, "no Postgres server is installed; tools/setup --for test does it");
    if (mkdir(dir, 0777) != 0 || chmod(dir, 0777) != 0)
        return bench_fail(b, "%s: %s", dir, strerror(errno));
    pid_t pid = spawn(b, argv, log);
    if (pid < 0 || sandbox_end(&b->sandbox, pid, 0, INITDB_TIMEOUT_MS) != 0)
        return bench_fail(b, "initdb failed");
    return 0;
}

int postgres_server_start(struct bench *b, struct postgres_server *s)
{
    char dir[SANDBOX_DIR_BYTES + 16], data[sizeof dir + 16], log[sizeof dir + 16];
    char sockets[sizeof dir + 48], postgres[PATH_BYTES];
    snprintf(dir, sizeof dir, "%s/postgres", b->sandbox.dir);
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(log, sizeof log, "%s/log", dir);
    snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", dir);
    snprintf(s->url, sizeof s->url, "postgresql://postgres@/postgres?host=%s", dir);
    if (make_data(b, dir, data, log) != 0)
        return -1;
    const char *argv[] = {postgres, "-D", data, "-c", "listen_addresses=", "-c", sockets, NULL};
    s->pid = find_program("postgres", postgres) ? spawn(b, argv, log) : -1;
    double until_s = now_s() + START_TIMEOUT_S;
    while (s->pid > 0 && !sandbox_has_exited(s->pid) && now_s() < until_s) {
        if (PQping(s->url) == PQPING_OK)
            return 0;
        sleep_s(0.02);
    }
    return bench_fail(b, "the Postgres server does not start");
}

void postgres_server_stop(struct bench *b, struct postgres_server *s)
{
    if (s->pid > 0)
        sandbox_end(&b->sandbox, s->pid, SIGQUIT, 10000);
    *s = (struct postgres_server){0};
}
