/* One SQLite file under two names: it has a log under each, so whoever comes by the second one is
 * refused; whoever comes to the same log, by whatever path, is not. The program starts itself again
 * for what needs another process:
 *     test_store_sqlite_names open URL [OVER FROM]
 * looks whether it can open URL, with FROM mounted over OVER before, for itself alone. */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sqlite_fixture.h"

enum { OPENED = 0, REFUSED = 10, NOT_PERMITTED = 77 };

static char second[CONTRACT_URL_BYTES + 16]; /* the other name, or a directory */

/* ---- the other process ---- */

/* Root's right, or that of a namespace of users of our own. */
static int mount_over(const char *over, const char *from)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return -1;
    return mount(from, over, NULL, MS_BIND, NULL);
}

static int open_main(int argc, char **argv)
{
    char errmsg[STORE_ERRMSG_BYTES];
    if (argc > 4 && mount_over(argv[3], argv[4]) != 0)
        return NOT_PERMITTED;
    if (store_migrate(argv[2], false, NULL, NULL, errmsg) == 0)
        return OPENED;
    fprintf(stderr, "refused: %s\n", errmsg);
    return strstr(errmsg, "another name") != NULL || strstr(errmsg, "last commits") != NULL
               ? REFUSED
               : 1;
}

static int in_another_process(const char *path, const char *over, const char *from)
{
    char url[sizeof second + 16];
    int status;
    snprintf(url, sizeof url, "sqlite:%s", path);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "test_store_sqlite_names", "open", url, over, from, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- hard links ---- */

static void assert_refused(const char *url, const char *words)
{
    char errmsg[STORE_ERRMSG_BYTES];
    for (int dry = 0; dry < 2; dry++) {
        assert_int_equal(store_migrate(url, dry == 1, NULL, NULL, errmsg), TROUPE_EUNAVAILABLE);
        if (strstr(errmsg, words) == NULL)
            fail_msg("'%s' does not say '%s'", errmsg, words);
    }
}

static void a_file_with_two_links_is_refused(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    char url[sizeof second + 16], errmsg[STORE_ERRMSG_BYTES];
    assert_int_equal(store_migrate(bed->url, false, NULL, NULL, errmsg), 0);
    snprintf(second, sizeof second, "%s.link", sqlite_fixture_path(bed->url));
    snprintf(url, sizeof url, "sqlite:%s", second);
    assert_int_equal(link(sqlite_fixture_path(bed->url), second), 0);
    assert_refused(bed->url, "2 names");
    assert_refused(url, "2 names");
    assert_int_equal(unlink(second), 0);
    contract_open(&s, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    contract_close(&s);
}

static void take_line(void *data, enum store_log_level level, const char *text)
{
    unsigned *told = data;
    *told += level == STORE_LOG_WARN && strstr(text, "another name") != NULL;
}

static void open_with_log(struct contract_store *s, const char *url, unsigned *told)
{
    char errmsg[STORE_ERRMSG_BYTES];
    *s = (struct contract_store){0};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    uv_timer_init(&s->loop, &s->tick);
    struct store_options options = {.url = url,
                                    .cluster = "c",
                                    .partitions = CONTRACT_PARTITIONS,
                                    .loop = &s->loop,
                                    .log = take_line,
                                    .log_data = told};
    assert_int_equal(store_open(&s->store, &options, errmsg), 0);
}

static void a_link_made_later_is_told_of_and_opened_by_nobody(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    unsigned told = 0;
    char url[sizeof second + 16];
    open_with_log(&s, bed->url, &told);
    uint64_t generation = contract_must_register(&s, "a", 1);
    assert_int_equal(told, 0);
    snprintf(second, sizeof second, "%s.link", sqlite_fixture_path(bed->url));
    snprintf(url, sizeof url, "sqlite:%s", second);
    assert_int_equal(link(sqlite_fixture_path(bed->url), second), 0);
    for (int i = 0; i < 3; i++) {
        struct contract_request q;
        assert_int_equal(contract_renew(&s, &q, "a", generation), 0);
        contract_free(&q);
    }
    assert_int_equal(told, 1); /* once a minute */
    assert_refused(url, "2 names");
    assert_int_equal(unlink(second), 0);
    contract_close(&s);
}

/* ---- mounts ---- */

static bool is_permitted(int code)
{
    if (code == NOT_PERMITTED)
        fprintf(stderr, "skipped: this user may mount nothing\n");
    return code != NOT_PERMITTED;
}

/* As a container is given a single file. */
static void the_file_alone_mounted_elsewhere_is_refused(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store a, b;
    const char *path = sqlite_fixture_path(bed->url);
    snprintf(second, sizeof second, "%s.mounted", path);
    int fd = open(second, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
    contract_open(&a, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_open(&b, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&a, "a", 1);
    contract_must_register(&b, "b", 1);
    int code = in_another_process(second, second, path);
    if (is_permitted(code)) {
        assert_int_equal(code, REFUSED);
        contract_close(&a); /* the lock is both stores' */
        assert_int_equal(in_another_process(second, second, path), REFUSED);
        contract_close(&b);
        assert_int_equal(in_another_process(second, second, path), OPENED);
    } else {
        contract_close(&a);
        contract_close(&b);
    }
    assert_int_equal(unlink(second), 0);
}

/* Nobody has it open any more, but what was committed last is in the log beside the other name. */
static void the_file_alone_mounted_after_a_crash_is_refused(void **state)
{
    struct contract_bed *bed = *state;
    const char *path = sqlite_fixture_path(bed->url);
    char errmsg[STORE_ERRMSG_BYTES];
    snprintf(second, sizeof second, "%s.mounted", path);
    int fd = open(second, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
    sqlite_fixture_crash(bed->url, 1);
    int code = in_another_process(second, second, path);
    if (is_permitted(code)) {
        assert_int_equal(code, REFUSED);
        assert_int_equal(store_migrate(bed->url, false, NULL, NULL, errmsg), 0); /* and closes it */
        assert_int_equal(in_another_process(second, second, path), OPENED);
    }
    assert_int_equal(unlink(second), 0);
}

static void other_ways_to_the_same_log_are_fine(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    char directory[CONTRACT_URL_BYTES], inside[sizeof second + NAME_MAX];
    const char *path = sqlite_fixture_path(bed->url);
    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = '\0';
    contract_open(&s, &sqlite_fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "a", 1);
    assert_int_equal(in_another_process(path, NULL, NULL), OPENED);

    snprintf(second, sizeof second, "%s.symlink", path);
    assert_int_equal(symlink(path, second), 0);
    assert_int_equal(in_another_process(second, NULL, NULL), OPENED);
    assert_int_equal(unlink(second), 0);

    snprintf(second, sizeof second, "%s.d", path);
    snprintf(inside, sizeof inside, "%s%s", second, strrchr(path, '/'));
    assert_int_equal(mkdir(second, 0755), 0);
    int code = in_another_process(inside, second, directory);
    assert_int_equal(rmdir(second), 0);
    if (is_permitted(code))
        assert_int_equal(code, OPENED);
    contract_close(&s);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "open") == 0)
        return open_main(argc, argv);
#define CASE(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, sqlite_fixture_set_up, sqlite_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_file_with_two_links_is_refused),
        CASE(a_link_made_later_is_told_of_and_opened_by_nobody),
        CASE(the_file_alone_mounted_elsewhere_is_refused),
        CASE(the_file_alone_mounted_after_a_crash_is_refused),
        CASE(other_ways_to_the_same_log_are_fine),
    };
#undef CASE
    return cmocka_run_group_tests_name("sqlite names", tests, NULL, NULL);
}
