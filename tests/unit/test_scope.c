/* Scoped IPv6 addresses, from what is given to --node and what nodes tell each other to what nng
 * dials. Which interfaces there are is said here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "client/address.h"
#include "node/shell/gossip_impl.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

unsigned __wrap_if_nametoindex(const char *name);

unsigned __wrap_if_nametoindex(const char *name)
{
    return strcmp(name, "Eth0") == 0 ? 7 : strcmp(name, "eth0") == 0 ? 3 : 0;
}

static void names_keep_their_case(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[fe80::1%eth0]:7700", "tcp6://[fe80::1%eth0]:7700"},
        {"[fe80::1%Eth0]:7700", "tcp6://[fe80::1%7]:7700"}, /* nng would write eth0 */
        {"[fe80::1%Eth0]", "tcp6://[fe80::1%7]:7700"},
        {"[fe80::1%Eth1]:7700", "tcp6://[fe80::1%Eth1]:7700"},
        {"[fe80::1%12]:7700", "tcp6://[fe80::1%12]:7700"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address_list list;
        char errmsg[256];
        assert_int_equal(address_list_parse(&list, cases[i][0], errmsg, sizeof errmsg), 0);
        assert_string_equal(list.items[0].url, cases[i][1]);
        address_list_close(&list);
    }
}

static void peers_may_have_a_scope(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[::1]:7702", "tcp6://[::1]:7702"},
        {"[fe80::1%eth0]:7702", "tcp6://[fe80::1%eth0]:7702"},
        {"[fe80::1%Eth0]:7702", "tcp6://[fe80::1%7]:7702"},
        {"[fe80::1%]:7702", NULL},
        {"[%eth0]:7702", NULL},
        {"[fe80::1%eth0:7702", NULL},
        {"[fe80::1%e/th0]:7702", NULL},
        {"[fe80::1%eth0]:0", NULL},
        {"[fe80::1%eth0%eth0]:7702", NULL},
        {"10.0.0.1%eth0:7702", NULL},
        {"", NULL},
        {"%:1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char url[GOSSIP_URL_BYTES];
        bool valid = gossip__address_url(cases[i][0], 0, url);
        assert_int_equal(valid, cases[i][1] != NULL);
        if (valid)
            assert_string_equal(url, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_keep_their_case),
        cmocka_unit_test(peers_may_have_a_scope),
    };
    return cmocka_run_group_tests_name("scope", tests, NULL, NULL);
}
