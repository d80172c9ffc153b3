/* See pg_fixture.h. */
#include "pg_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc.h"
#include "tools/common/child.h"
#include "tools/common/pg_programs.h"

enum { START_MS = 60000, ARGS_MAX = 32 };

/* What the server wrote goes to stderr at once: a fixture may be opened where nobody else shows why
 * it failed. */
static void show_log(const struct pg_fixture *f)
{
    char path[80], line[512];
    snprintf(path, sizeof path, "%s/log", f->dir);
    FILE *log = fopen(path, "re");
    fprintf(stderr, "---- %s\n", path);
    while (log != NULL && fgets(line, sizeof line, log) != NULL)
        fputs(line, stderr);
    fprintf(stderr, "---- its end\n");
    if (log != NULL)
        fclose(log);
}

/* In the child: no orphan, and not root. */
static void become_postgres(const struct pg_fixture *f)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    int null = open("/dev/null", O_RDWR);
    char log[128];
    snprintf(log, sizeof log, "%s/log", f->dir);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
    dup2(null, 0);
    dup2(out < 0 ? null : out, 1);
    dup2(out < 0 ? null : out, 2);
    if (user != NULL && (initgroups("postgres", user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
                         setuid(user->pw_uid) != 0))
        child_give_up("become the user", user->pw_name);
    if (chdir(f->dir) != 0)
        child_give_up("enter", f->dir);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
}

/* argv[0] is a program of the server, which gets its whole path in that place. */
static pid_t spawn(const struct pg_fixture *f, const char *const *argv)
{
    char path[PG_PROGRAMS_BYTES + 32];
    const char *args[ARGS_MAX] = {path};
    snprintf(path, sizeof path, "%s/%s", f->bin, argv[0]);
    for (size_t i = 1; argv[i] != NULL; i++) {
        assert_true(i < ARGS_MAX - 1);
        args[i] = argv[i];
    }
    pid_t pid = fork();
    if (pid < 0)
        proc_give_up("no process for %s: %s", path, strerror(errno));
    if (pid > 0)
        return pid;
    become_postgres(f);
    union { /* execv wants no const, and only reads */
        const char *const *in;
        char *const *out;
    } as_argv = {.in = args};
    execv(path, as_argv.out);
    child_give_up("start", path);
}

void pg_fixture_url(const struct pg_fixture *f, const char *database, char *url, size_t bytes)
{
    snprintf(url, bytes, "postgresql://postgres@/%s?host=%s", database,
             f->host[0] == '\0' ? f->dir : f->host);
}

void pg_fixture_start(struct pg_fixture *f)
{
    char data[80], url[256];
    snprintf(data, sizeof data, "%s/data", f->dir);
    char sockets[96], addresses[96];
    snprintf(addresses, sizeof addresses, "listen_addresses=%s", f->host);
    snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", f->dir);
    const char *const argv[] = {
        "postgres", "-D", data, "-c", addresses, "-c", sockets, "-c", "max_connections=100", NULL};
    f->pid = spawn(f, argv);
    pg_fixture_url(f, "postgres", url, sizeof url);
    for (long end = proc_now_ms() + START_MS; PQping(url) != PQPING_OK;) {
        int status;
        if (waitpid(f->pid, &status, WNOHANG) == f->pid) {
            f->pid = 0;
            show_log(f);
            proc_give_up("the Postgres server ended at once (wait status %#x)", (unsigned)status);
        }
        if (proc_now_ms() >= end) {
            show_log(f);
            proc_give_up("the Postgres server does not answer at %s", url);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

/* argv[0] as in spawn; fails the test when it fails. */
static void run(const struct pg_fixture *f, const char *const *argv)
{
    int status;
    pid_t pid = spawn(f, argv);
    if (waitpid(pid, &status, 0) == pid && status == 0)
        return;
    show_log(f);
    proc_give_up("%s failed (wait status %#x)", argv[0], (unsigned)status);
}

bool pg_fixture_open(struct pg_fixture *f)
{
    char data[80];
    *f = (struct pg_fixture){0};
    if (!pg_programs_find(f->bin)) {
        printf("skipped: no Postgres server is installed (tools/setup --for test installs it)\n");
        return false;
    }
    proc_temp_dir(f->dir);
    chmod(f->dir, 0777);
    snprintf(data, sizeof data, "%s/data", f->dir);
    const char *const argv[] = {"initdb",    "-D",    data, "-U",   "postgres",
                                "-A",        "trust", "-E", "UTF8", "--locale=C.UTF-8",
                                "--no-sync", NULL};
    run(f, argv);
    pg_fixture_start(f);
    return true;
}

void pg_fixture_follow(struct pg_fixture *f, const struct pg_fixture *primary)
{
    char data[80];
    *f = (struct pg_fixture){0};
    memcpy(f->bin, primary->bin, sizeof f->bin);
    proc_temp_dir(f->dir);
    chmod(f->dir, 0777);
    snprintf(data, sizeof data, "%s/data", f->dir);
    const char *const argv[] = {
        "pg_basebackup", "-D", data,         "-R", "-X",       "stream",    "-c",
        "fast",          "-h", primary->dir, "-U", "postgres", "--no-sync", NULL};
    run(f, argv);
    pg_fixture_start(f);
}

void pg_fixture_listen(struct pg_fixture *f, const char *host, const char *network)
{
    char path[96];
    snprintf(path, sizeof path, "%s/data/pg_hba.conf", f->dir);
    FILE *hba = fopen(path, "ae");
    assert_non_null(hba);
    fprintf(hba, "host all all %s trust\n", network);
    assert_int_equal(fclose(hba), 0);
    snprintf(f->host, sizeof f->host, "%s", host);
    pg_fixture_stop(f, SIGINT);
    pg_fixture_start(f);
}

void pg_fixture_stop(struct pg_fixture *f, int signum)
{
    int status;
    if (f->pid == 0)
        return;
    kill(f->pid, SIGCONT);
    kill(f->pid, signum);
    while (waitpid(f->pid, &status, 0) < 0 && errno == EINTR) {
    }
    f->pid = 0;
}

void pg_fixture_close(struct pg_fixture *f)
{
    pg_fixture_stop(f, SIGQUIT);
    if (f->dir[0] != '\0')
        proc_remove_dir(f->dir);
}

void pg_fixture_sql(const struct pg_fixture *f, const char *database, const char *sql)
{
    char url[256];
    pg_fixture_url(f, database, url, sizeof url);
    PGconn *pg = PQconnectdb(url);
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        proc_give_up("%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
    PQfinish(pg);
}

bool pg_fixture_is(const struct pg_fixture *f, const char *database, const char *sql)
{
    char url[256];
    pg_fixture_url(f, database, url, sizeof url);
    PGconn *pg = PQconnectdb(url);
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    bool is = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    PQfinish(pg);
    return is;
}
