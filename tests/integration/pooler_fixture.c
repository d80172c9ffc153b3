/* See pooler_fixture.h. */
#include "pooler_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* last: cmocka wants the ones above */
#include <cmocka.h>

#include "proc.h"

#define POOLER "/usr/sbin/pgbouncer"

enum { START_MS = 60000 };

static void write_file(const struct pooler_fixture *f, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void write_file(const struct pooler_fixture *f, const char *name, const char *format, ...)
{
    char path[128];
    va_list args;
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    assert_int_equal(fclose(file), 0);
    chmod(path, 0644);
}

/* In the child. PR_SET_PDEATHSIG after the change of user, which would clear it. */
static void become_pooler(const struct pooler_fixture *f)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    char log[128], config[128];
    snprintf(log, sizeof log, "%s/log", f->dir);
    snprintf(config, sizeof config, "%s/config", f->dir);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
    dup2(out, 1);
    dup2(out, 2);
    if (user != NULL && (initgroups("postgres", user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
                         setuid(user->pw_uid) != 0))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char program[] = POOLER;
    char *const argv[] = {program, config, NULL};
    execv(program, argv);
    _exit(127);
}

static void wait_until_up(struct pooler_fixture *f)
{
    char url[256];
    pooler_fixture_url(f, "postgres", url, sizeof url);
    for (long end = proc_now_ms() + START_MS; PQping(url) != PQPING_OK;) {
        int status;
        if (waitpid(f->pid, &status, WNOHANG) == f->pid) {
            f->pid = 0;
            fail_msg("pgbouncer ended at once; see %s/log", f->dir);
        }
        assert_true(proc_now_ms() < end);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

bool pooler_fixture_open(struct pooler_fixture *f, const char *server_dir, unsigned pool)
{
    *f = (struct pooler_fixture){0};
    if (access(POOLER, X_OK) != 0) {
        printf("skipped: no pgbouncer is installed (tools/setup --for test installs it)\n");
        return false;
    }
    proc_temp_dir(f->dir);
    chmod(f->dir, 0777);
    write_file(f, "users", "\"postgres\" \"\"\n");
    write_file(f, "config",
               "[databases]\n* = host=%s user=postgres\n"
               "[pgbouncer]\npool_mode = transaction\nlisten_addr =\nlisten_port = 6432\n"
               "unix_socket_dir = %s\nauth_type = trust\nauth_file = %s/users\n"
               "default_pool_size = %u\nserver_login_retry = 1\n",
               server_dir, f->dir, f->dir, pool);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0)
        become_pooler(f);
    wait_until_up(f);
    return true;
}

void pooler_fixture_close(struct pooler_fixture *f)
{
    if (f->pid != 0) {
        kill(f->pid, SIGKILL);
        while (waitpid(f->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (f->dir[0] != '\0')
        proc_remove_dir(f->dir);
    *f = (struct pooler_fixture){0};
}

void pooler_fixture_url(const struct pooler_fixture *f, const char *database, char *url,
                        size_t bytes)
{
    snprintf(url, bytes, "postgresql://postgres@/%s?host=%s&port=6432", database, f->dir);
}
