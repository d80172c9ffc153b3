/* See postgres_server.h. */
#include "tools/bench/postgres_server.h"

#include <errno.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench/bench.h"
#include "tools/common/pg_programs.h"

enum { INITDB_TIMEOUT_MS = 120000, START_TIMEOUT_S = 60, PATH_BYTES = PG_PROGRAMS_BYTES + 16 };

bool postgres_server_exists(void)
{
    char dir[PG_PROGRAMS_BYTES];
    return pg_programs_find(dir);
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

static int make_data(struct bench *b, const char *programs, const char *dir, const char *data,
                     const char *log)
{
    char initdb[PATH_BYTES];
    const char *argv[] = {initdb,      "-D",    data, "-U",   "postgres",
                          "-A",        "trust", "-E", "UTF8", "--locale=C.UTF-8",
                          "--no-sync", NULL};
    snprintf(initdb, sizeof initdb, "%s/initdb", programs);
    if (mkdir(dir, 0777) != 0 || chmod(dir, 0777) != 0)
        return bench_fail(b, "%s: %s", dir, strerror(errno));
    pid_t pid = spawn(b, argv, log);
    if (pid < 0 || sandbox_end(&b->sandbox, pid, 0, INITDB_TIMEOUT_MS) != 0)
        return bench_fail_with_log(b, log, "initdb failed");
    return 0;
}

int postgres_server_start(struct bench *b, struct postgres_server *s)
{
    char dir[SANDBOX_DIR_BYTES + 16], data[sizeof dir + 16], log[sizeof dir + 16];
    char sockets[sizeof dir + 48], programs[PG_PROGRAMS_BYTES], postgres[PATH_BYTES];
    if (!pg_programs_find(programs))
        return bench_fail(b, "no Postgres server is installed; tools/setup --for test does it");
    snprintf(dir, sizeof dir, "%s/postgres", b->sandbox.dir);
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(log, sizeof log, "%s/log", dir);
    snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", dir);
    snprintf(s->url, sizeof s->url, "postgresql://postgres@/postgres?host=%s", dir);
    snprintf(postgres, sizeof postgres, "%s/postgres", programs);
    if (make_data(b, programs, dir, data, log) != 0)
        return -1;
    const char *argv[] = {postgres, "-D", data, "-c", "listen_addresses=", "-c", sockets, NULL};
    s->pid = spawn(b, argv, log);
    double until_s = now_s() + START_TIMEOUT_S;
    while (s->pid > 0 && !sandbox_has_exited(s->pid) && now_s() < until_s) {
        if (PQping(s->url) == PQPING_OK)
            return 0;
        sleep_s(0.02);
    }
    return bench_fail_with_log(b, log, "the Postgres server does not start");
}

void postgres_server_stop(struct bench *b, struct postgres_server *s)
{
    if (s->pid > 0)
        sandbox_end(&b->sandbox, s->pid, SIGQUIT, 10000);
    *s = (struct postgres_server){0};
}
