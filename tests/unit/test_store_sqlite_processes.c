/* The SQLite store between processes: killed in the middle of its saves it keeps what it has
 * acknowledged, and several nodes may share one file. The program starts itself again as a node
 * that saves and tells of each acknowledgement through its standard output:
 *     test_store_sqlite_processes node URL NAME SAVES FIRST_PARTITION
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/unit/sqlite_fixture.h"

enum {
    LANES = 3, /* saves in flight */
    ROWS = 20, /* of a save, in one partition per lane */
    KILLS = 12,
    SHARERS = 3,
    SHARED_SAVES = 60,
};

/* What a node tells: this version of this lane is in the store. */
struct ack {
    uint32_t lane;
    uint64_t version;
};

/* ---- the node ---- */

static void lane_rows(struct store_row *rows, char ids[ROWS][16], store_pid pid, uint64_t epoch,
                      uint64_t version)
{
    for (size_t i = 0; i < ROWS; i++) {
        snprintf(ids[i], sizeof ids[i], "row-%zu", i);
        rows[i] = contract_row(pid, ids[i], epoch, version, "a state of some bytes");
    }
}

/* Saves in all lanes, n versions in each (0: for ever). */
static int node_main(const char *url, const char *name, uint64_t n, store_pid base)
{
    static struct contract_store s;
    static struct contract_request saves[LANES], renewal;
    static struct store_row rows[LANES][ROWS];
    static char ids[LANES][ROWS][16];
    uint64_t version[LANES] = {0}, epochs[LANES];
    contract_open(&s, &sqlite_fixture, url, "c", CONTRACT_PARTITIONS);
    uint64_t generation = contract_must_register(&s, name, (uint64_t)getpid());
    for (size_t l = 0; l < LANES; l++) {
        epochs[l] = contract_must_claim(&s, name, generation, base + (store_pid)l);
        contract_init(&saves[l], STORE_SAVE);
        saves[l].done = true;
    }
    for (size_t running = LANES; running > 0; contract_turn(&s)) {
        for (size_t l = 0; l < LANES; l++) {
            if (!saves[l].done || version[l] > n)
                continue;
            const struct store_save *save = &saves[l].r.u.save;
            if (version[l] > 0 && (saves[l].r.error != 0 || save->applied != ROWS)) {
                fprintf(stderr, "node %s: %d %s\n", name, saves[l].r.error, saves[l].r.errmsg);
                return 1;
            }
            struct ack ack = {.lane = (uint32_t)l, .version = version[l]};
            if (version[l] > 0 && write(STDOUT_FILENO, &ack, sizeof ack) != sizeof ack)
                return 1;
            if (++version[l] > n) {
                running--;
                continue;
            }
            arena_reset(&saves[l].arena);
            lane_rows(rows[l], ids[l], base + (store_pid)l, epochs[l], version[l]);
            saves[l].r.u.save = (struct store_save){
                .name = name, .generation = generation, .rows = rows[l], .rows_n = ROWS};
            contract_submit(&s, &saves[l]);
        }
    }
    int rc = contract_renew(&s, &renewal, name, generation);
    contract_free(&renewal);
    for (size_t l = 0; l < LANES; l++)
        contract_free(&saves[l]);
    contract_close(&s);
    return rc == 0 ? 0 : 1;
}

/* ---- the test's side of it ---- */

struct child {
    pid_t pid;
    int acks; /* what it tells */
    uint64_t acked[LANES];
    unsigned acks_n;
};

static void child_start(struct child *c, const char *url, const char *name, const char *saves,
                        const char *base)
{
    int pipe_ends[2];
    *c = (struct child){0};
    assert_int_equal(pipe(pipe_ends), 0);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        dup2(pipe_ends[1], STDOUT_FILENO);
        close(pipe_ends[0]);
        close(pipe_ends[1]);
        execl("/proc/self/exe", "test_store_sqlite_processes", "node", url, name, saves, base,
              (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    c->acks = pipe_ends[0];
}

/* The next ack; false at the end. Acks are shorter than PIPE_BUF and so come whole. */
static bool child_read(struct child *c)
{
    struct ack ack;
    ssize_t n = read(c->acks, &ack, sizeof ack);
    if (n != (ssize_t)sizeof ack) {
        assert_int_equal(n, 0);
        return false;
    }
    assert_true(ack.lane < LANES && ack.version == c->acked[ack.lane] + 1);
    c->acked[ack.lane] = ack.version;
    c->acks_n++;
    return true;
}

static int child_end(struct child *c)
{
    int status;
    while (child_read(c))
        ;
    close(c->acks);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    return status;
}

/* What is in the store of a lane: the same version in all rows, and at least what was acked. */
static void check_lane(struct contract_store *s, store_pid pid, uint64_t acked)
{
    struct contract_request q;
    struct store_key keys[ROWS];
    struct store_row rows[ROWS];
    char ids[ROWS][16];
    lane_rows(rows, ids, pid, 0, 0);
    for (size_t i = 0; i < ROWS; i++)
        keys[i] = rows[i].key;
    assert_int_equal(contract_load(s, &q, keys, ROWS), 0);
    const struct store_load *load = &q.r.u.load;
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(load->found[i], load->found[0]);
        if (!load->found[i]) {
            assert_int_equal(acked, 0);
            continue;
        }
        assert_true(load->rows[i].version >= acked);
        assert_true(load->rows[i].version == load->rows[0].version); /* a save is one thing */
    }
    contract_free(&q);
}

static void killed_nodes_keep_what_they_acknowledged(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct contract_request q;
    struct child c;
    struct dice dice = dice_new(0x5164171);
    contract_open(&s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    contract_must_register(&s, "watcher", 1);
    for (uint64_t run = 1; run <= KILLS; run++) {
        char base[16];
        snprintf(base, sizeof base, "%llu", (unsigned long long)run * LANES);
        child_start(&c, bed->url, "victim", "1000000000", base);
        unsigned acks = (unsigned)dice_below(&dice, 120);
        while (c.acks_n < acks)
            assert_true(child_read(&c));
        assert_int_equal(kill(c.pid, SIGKILL), 0);
        int status = child_end(&c);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        for (size_t l = 0; l < LANES; l++)
            check_lane(&s, (store_pid)(run * LANES + l), c.acked[l]);
        /* It may have died before it had registered. */
        assert_int_equal(contract_owners(&s, &q), 0);
        for (size_t i = 0; i < q.r.u.owners.nodes_n; i++) {
            struct contract_request leave;
            const struct store_node *node = &q.r.u.owners.nodes[i];
            if (strcmp(node->name, "victim") != 0)
                continue;
            assert_int_equal(contract_leave(&s, &leave, "victim", node->generation), 0);
            contract_free(&leave);
        }
        contract_free(&q);
    }
    contract_close(&s);
    char found[256];
    sqlite_fixture_query(bed->url, "PRAGMA integrity_check", found, sizeof found);
    assert_string_equal(found, "ok");
}

static void several_processes_share_a_file(void **state)
{
    struct contract_bed *bed = *state;
    struct contract_store s;
    struct child c[SHARERS];
    static const char *const names[SHARERS] = {"one", "two", "three"};
    static const char *const bases[SHARERS] = {"10", "20", "30"};
    char saves[16];
    snprintf(saves, sizeof saves, "%d", SHARED_SAVES);
    for (size_t i = 0; i < SHARERS; i++) /* all at once on a file that does not exist */
        child_start(&c[i], bed->url, names[i], saves, bases[i]);
    for (size_t i = 0; i < SHARERS; i++) {
        int status = child_end(&c[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(c[i].acks_n, SHARED_SAVES * LANES);
    }
    contract_open(&s, bed->fixture, bed->url, "c", CONTRACT_PARTITIONS);
    for (size_t i = 0; i < SHARERS; i++) {
        for (size_t l = 0; l < LANES; l++)
            check_lane(&s, (store_pid)(10 * (i + 1) + l), SHARED_SAVES);
    }
    contract_close(&s);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "node") == 0)
        return node_main(argv[2], argv[3], strtoull(argv[4], NULL, 10),
                         (store_pid)strtoul(argv[5], NULL, 10));
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_nodes_keep_what_they_acknowledged,
                                        sqlite_fixture_set_up, sqlite_fixture_tear_down),
        cmocka_unit_test_setup_teardown(several_processes_share_a_file, sqlite_fixture_set_up,
                                        sqlite_fixture_tear_down),
    };
    return cmocka_run_group_tests_name("sqlite: processes", tests, NULL, NULL) == 0 ? EXIT_SUCCESS
                                                                                    : EXIT_FAILURE;
}
