/* What an error of Postgres means: every row of the table, and whose word it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/postgres/verdict.h"

struct row {
    const char *severity, *sqlstate;
    int write, read; /* the error of a request that writes, or only reads */
    enum pg_stay stay;
};

enum { NO = TROUPE_EUNAVAILABLE, DOUBT = TROUPE_EOUTCOME };

static const struct row ROWS[] = {
    /* connection exceptions: any of the class */
    {"ERROR", "08000", DOUBT, NO, PG_LEAVES},
    {"ERROR", "08003", DOUBT, NO, PG_LEAVES},
    {"ERROR", "08006", DOUBT, NO, PG_LEAVES},
    {"ERROR", "08007", DOUBT, NO, PG_LEAVES},
    {"ERROR", "08P01", DOUBT, NO, PG_LEAVES},
    /* operator intervention */
    {"ERROR", "57000", DOUBT, NO, PG_LEAVES},
    {"ERROR", "57P01", DOUBT, NO, PG_LEAVES},
    {"ERROR", "57P02", DOUBT, NO, PG_LEAVES},
    {"ERROR", "57P03", DOUBT, NO, PG_LEAVES},
    {"ERROR", "57P04", DOUBT, NO, PG_LEAVES},
    {"ERROR", "57P05", DOUBT, NO, PG_LEAVES},
    {"ERROR", "57014", NO, NO, PG_STAYS},
    /* system errors, and what we do not know */
    {"ERROR", "58000", DOUBT, NO, PG_STAYS},
    {"ERROR", "58030", DOUBT, NO, PG_STAYS},
    {"ERROR", "58P01", DOUBT, NO, PG_STAYS},
    {"ERROR", "XX000", DOUBT, NO, PG_STAYS},
    {"ERROR", "XX001", DOUBT, NO, PG_STAYS},
    {"ERROR", "99999", DOUBT, NO, PG_STAYS},
    {"ERROR", "01000", DOUBT, NO, PG_STAYS},
    {"ERROR", "", DOUBT, NO, PG_STAYS},
    {"ERROR", "4", DOUBT, NO, PG_STAYS},
    /* transactions */
    {"ERROR", "40001", NO, NO, PG_STAYS},
    {"ERROR", "40002", NO, NO, PG_STAYS},
    {"ERROR", "40003", DOUBT, NO, PG_STAYS},
    {"ERROR", "40P01", NO, NO, PG_STAYS},
    {"ERROR", "25006", NO, NO, PG_LEAVES_SERVER},
    {"ERROR", "25P02", NO, NO, PG_LEAVES},
    {"ERROR", "25P03", DOUBT, NO, PG_LEAVES},
    {"ERROR", "25P04", DOUBT, NO, PG_LEAVES},
    /* resources, locks */
    {"ERROR", "53100", NO, NO, PG_STAYS},
    {"ERROR", "53200", NO, NO, PG_STAYS},
    {"ERROR", "53300", NO, NO, PG_STAYS},
    {"ERROR", "55006", NO, NO, PG_STAYS},
    {"ERROR", "55P03", NO, NO, PG_STAYS},
    /* prepared statements of a session that is not ours */
    {"ERROR", "26000", NO, NO, PG_STAYS},
    {"ERROR", "42P05", NO, NO, PG_LEAVES},
    {"ERROR", "0A000", NO, NO, PG_LEAVES},
    /* data */
    {"ERROR", "22001", TROUPE_EREJECTED, TROUPE_EREJECTED, PG_STAYS},
    {"ERROR", "22P05", TROUPE_EREJECTED, TROUPE_EREJECTED, PG_STAYS},
    {"ERROR", "23514", TROUPE_EREJECTED, TROUPE_EREJECTED, PG_STAYS},
    {"ERROR", "44000", TROUPE_EREJECTED, TROUPE_EREJECTED, PG_STAYS},
    {"ERROR", "54000", TROUPE_EREJECTED, TROUPE_EREJECTED, PG_STAYS},
    /* statement, schema, rights */
    {"ERROR", "21000", NO, NO, PG_STAYS},
    {"ERROR", "42601", NO, NO, PG_STAYS},
    {"ERROR", "42501", NO, NO, PG_STAYS},
    {"ERROR", "P0001", NO, NO, PG_STAYS},
    {"ERROR", "3F000", TROUPE_EVERSION, TROUPE_EVERSION, PG_STAYS},
    {"ERROR", "42P01", TROUPE_EVERSION, TROUPE_EVERSION, PG_STAYS},
    {"ERROR", "42703", TROUPE_EVERSION, TROUPE_EVERSION, PG_STAYS},
    {"ERROR", "42883", TROUPE_EVERSION, TROUPE_EVERSION, PG_STAYS},
    /* not the server's word about the statement, whatever the code */
    {"FATAL", "08P01", DOUBT, NO, PG_LEAVES},
    {"FATAL", "57P01", DOUBT, NO, PG_LEAVES},
    {"FATAL", "40001", DOUBT, NO, PG_LEAVES},
    {"FATAL", "22001", DOUBT, NO, PG_LEAVES},
    {"FATAL", "42P01", DOUBT, NO, PG_LEAVES},
    {"PANIC", "53100", DOUBT, NO, PG_LEAVES},
    {NULL, "08P01", DOUBT, NO, PG_LEAVES},
    {NULL, "40001", DOUBT, NO, PG_LEAVES},
    {NULL, "22001", DOUBT, NO, PG_LEAVES},
    {"FEHLER", "40001", DOUBT, NO, PG_LEAVES},
    {"ERROR", NULL, DOUBT, NO, PG_LEAVES},
    {NULL, NULL, DOUBT, NO, PG_LEAVES},
};

static void every_code_means_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        const struct row *row = &ROWS[i];
        const struct pg_verdict *v = pg_verdict_of(row->severity, row->sqlstate);
        int write = pg_verdict_error(v, true), read = pg_verdict_error(v, false);
        if (write != row->write || read != row->read || v->stay != row->stay)
            fail_msg("%s %s: a write %d, a read %d, stay %d",
                     row->severity == NULL ? "-" : row->severity,
                     row->sqlstate == NULL ? "-" : row->sqlstate, write, read, v->stay);
        assert_int_equal(v->refused, write != TROUPE_EOUTCOME);
    }
}

/* A change that was made and not understood is not "nothing was changed". */
static void an_answer_that_cannot_be_read_leaves_doubt(void **state)
{
    static const enum store_op WRITES[] = {STORE_CLAIM, STORE_TRANSFER, STORE_SAVE, STORE_EVICT,
                                           STORE_LEAVE};
    (void)state;
    for (size_t i = 0; i < sizeof WRITES / sizeof WRITES[0]; i++) {
        assert_int_equal(pg_verdict_unread(WRITES[i], true, 0), 0);
        assert_int_equal(pg_verdict_unread(WRITES[i], true, TROUPE_EFENCED), TROUPE_EFENCED);
        assert_int_equal(pg_verdict_unread(WRITES[i], true, TROUPE_EVERSION), TROUPE_EOUTCOME);
        assert_int_equal(pg_verdict_unread(WRITES[i], true, TROUPE_EUNAVAILABLE), TROUPE_EOUTCOME);
        assert_int_equal(pg_verdict_unread(WRITES[i], true, TROUPE_ENOMEM), TROUPE_EOUTCOME);
    }
    assert_int_equal(pg_verdict_unread(STORE_LOAD, false, TROUPE_ENOMEM), TROUPE_ENOMEM);
    assert_int_equal(pg_verdict_unread(STORE_REGISTER, true, TROUPE_EBUSY), TROUPE_EBUSY);
    assert_int_equal(pg_verdict_unread(STORE_REGISTER, true, TROUPE_EVERSION), TROUPE_EVERSION);
    assert_int_equal(pg_verdict_unread(STORE_RENEW, true, TROUPE_EUNAVAILABLE),
                     TROUPE_EUNAVAILABLE);
}

static void a_commit_without_standbys_is_known_in_any_language(void **state)
{
    (void)state;
    assert_true(pg_verdict_is_unreplicated(
        "WARNING", "SyncRepWaitForLSN",
        "WARNUNG:  storniere Warten auf synchrone Replikation wegen Benutzeraufforderung"));
    assert_true(pg_verdict_is_unreplicated("WARNING", "SyncRepWaitForLSN", NULL));
    assert_true(pg_verdict_is_unreplicated(NULL, "SyncRepWaitForLSN", NULL));
    assert_true(pg_verdict_is_unreplicated(
        "WARNING", NULL,
        "WARNING:  canceling the wait\nDETAIL:  The transaction has already "
        "committed locally, but might not have been replicated to the standby."));
    assert_false(pg_verdict_is_unreplicated("NOTICE", "SyncRepWaitForLSN", "replicated"));
    assert_false(pg_verdict_is_unreplicated("WARNING", "other", "WARNING:  another one"));
    assert_false(pg_verdict_is_unreplicated("WARNING", NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_means_what_the_table_says),
        cmocka_unit_test(an_answer_that_cannot_be_read_leaves_doubt),
        cmocka_unit_test(a_commit_without_standbys_is_known_in_any_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
