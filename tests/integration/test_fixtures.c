/* The fixtures themselves. A machine may lack what they start, or keep it elsewhere: a plain Debian
 * has no program of a Postgres server in PATH. What cannot start has to say why, even where cmocka
 * shows nothing: outside of a test. That is seen in a process of its own, this program with a word
 * after its name. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "pg_fixture.h"
#include "proc.h"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    proc_temp_dir(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_remove_dir(dir);
    return 0;
}

/* ---- where a server's programs are ---- */

/* A program that only has to be there, with the directories that lead to it. */
static void make_program(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *at = path + strlen(dir) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        mkdir(path, 0755);
    }
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

static void assert_found(const char *path, const char *expected)
{
    char found[PG_PROGRAMS_BYTES], wanted[256];
    snprintf(wanted, sizeof wanted, "%s/%s", dir, expected);
    assert_true(pg_programs_find_in(dir, path, found));
    assert_string_equal(found, wanted);
}

static void the_newest_whole_version_is_taken(void **state)
{
    (void)state;
    char path[256], found[PG_PROGRAMS_BYTES];
    snprintf(path, sizeof path, ":relative:%s/nowhere:%s/opt/bin", dir, dir);
    assert_false(pg_programs_find_in(dir, NULL, found));
    assert_false(pg_programs_find_in(dir, path, found));
    make_program("opt/bin/initdb");
    make_program("opt/bin/postgres");
    assert_found(path, "opt/bin");
    make_program("usr/lib/postgresql/9.6/bin/initdb");
    make_program("usr/lib/postgresql/9.6/bin/postgres");
    assert_found(path, "usr/lib/postgresql/9.6/bin");
    make_program("usr/lib/postgresql/15/bin/initdb");
    make_program("usr/lib/postgresql/15/bin/postgres");
    make_program("usr/lib/postgresql/16/bin/initdb"); /* its client package alone */
    assert_found(path, "usr/lib/postgresql/15/bin");
    assert_found(NULL, "usr/lib/postgresql/15/bin");
}

static void a_server_starts_whatever_path_says(void **state)
{
    (void)state;
    struct pg_fixture pg;
    char path[4096];
    snprintf(path, sizeof path, "%s", getenv("PATH") == NULL ? "/usr/bin:/bin" : getenv("PATH"));
    setenv("PATH", "/usr/bin:/bin", 1);
    bool opened = pg_fixture_open(&pg);
    setenv("PATH", path, 1);
    if (!opened)
        skip();
    pg_fixture_sql(&pg, "postgres", "SELECT 1");
    pg_fixture_close(&pg);
}

/* ---- what cannot start ---- */

static int spoil_a_server(void)
{
    struct pg_fixture pg;
    char conf[96];
    if (!pg_fixture_open(&pg))
        return EXIT_SUCCESS;
    pg_fixture_stop(&pg, SIGINT);
    printf("spoiling %s\n", pg.dir);
    fflush(stdout);
    snprintf(conf, sizeof conf, "%s/data/postgresql.conf", pg.dir);
    FILE *f = fopen(conf, "ae");
    if (f == NULL || fprintf(f, "no_such_setting = 1\n") < 0 || fclose(f) != 0)
        return EXIT_FAILURE;
    pg_fixture_start(&pg);
    return EXIT_SUCCESS; /* not reached */
}

static void a_server_that_does_not_start_shows_its_log(void **state)
{
    (void)state;
    struct proc p;
    char spoiled[64] = "";
    proc_start(&p,
               &(struct proc_options){.argv = (const char *[]){"/proc/self/exe", "spoil", NULL}});
    int code = proc_wait_exit(&p, 2 * PROC_TIMEOUT_MS);
    if (code == 0) {
        proc_close(&p);
        skip();
    }
    bool told = proc_has_line(&p, "no_such_setting") &&
                proc_has_line(&p, "the Postgres server ended at once");
    const char *line = proc_wait_line(&p, "spoiling ", PROC_TIMEOUT_MS);
    if (line != NULL)
        sscanf(line, "spoiling %63s", spoiled);
    if (!told)
        fprintf(stderr, "it said only: %s\n", p.log_len > 0 ? p.log : "(nothing)");
    proc_close(&p);
    if (spoiled[0] == '/')
        proc_remove_dir(spoiled);
    assert_true(told);
}

static void a_program_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct proc p;
    proc_start(&p, &(struct proc_options){.argv = (const char *[]){"/no/such/program", NULL}});
    assert_int_equal(proc_wait_exit(&p, PROC_TIMEOUT_MS), 127);
    assert_true(proc_has_line(&p, "cannot start /no/such/program: No such file or directory"));
    proc_close(&p);
    proc_start(&p,
               &(struct proc_options){.argv = (const char *[]){"true", NULL}, .dir = "/no/such"});
    assert_int_equal(proc_wait_exit(&p, PROC_TIMEOUT_MS), 127);
    assert_true(proc_has_line(&p, "cannot enter /no/such: No such file or directory"));
    proc_close(&p);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "spoil") == 0)
        return spoil_a_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_whole_version_is_taken, set_up, tear_down),
        cmocka_unit_test(a_server_starts_whatever_path_says),
        cmocka_unit_test(a_server_that_does_not_start_shows_its_log),
        cmocka_unit_test(a_program_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("fixtures", tests, NULL, NULL);
}
