/* Settings of a node among others: what they default to, where they come from, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/shell/config.h"

/* last: cmocka wants the ones above */
#include <cmocka.h>

enum { ARGS_MAX = 16, FILE_TEXT_BYTES = 512 };

static struct config config;
static char errmsg[CONFIG_ERRMSG_BYTES];

/* Flags (and their values) and the environment, separated by blanks. */
static int read_config(const char *flags, const char *env)
{
    static char texts[2][1024], name[] = "troupe-node";
    char *lists[2][ARGS_MAX] = {{name}, {NULL}};
    size_t n[2] = {1, 0};
    const char *const from[2] = {flags, env};
    enum config_command command;
    for (int k = 0; k < 2; k++) {
        char *save;
        snprintf(texts[k], sizeof texts[k], "%s", from[k]);
        for (char *p = strtok_r(texts[k], " ", &save); p != NULL; p = strtok_r(NULL, " ", &save)) {
            assert_true(n[k] + 1 < ARGS_MAX);
            lists[k][n[k]++] = p;
        }
    }
    errmsg[0] = '\0';
    return config_read(&config, &command, (int)n[0], lists[0], lists[1], errmsg);
}

static void take(const char *flags, const char *env)
{
    if (read_config(flags, env) != 0)
        fail_msg("%s: %s", flags, errmsg);
}

static void refuse(const char *flags, const char *why)
{
    if (read_config(flags, "") == 0 || strstr(errmsg, why) == NULL)
        fail_msg("%s: not '%s' but '%s'", flags, why, errmsg);
}

/* A file of its own; its path. */
static const char *file_with(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/troupe-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

/* ---- addresses ---- */

static void addresses_follow_listen(void **state)
{
    static const struct {
        const char *flags, *peer, *gossip;
    } table[] = {
        {"", "127.0.0.1:7701", "127.0.0.1:7702"},
        {"--listen 127.0.0.1:7710", "127.0.0.1:7711", "127.0.0.1:7712"},
        {"--listen 0.0.0.0:9000", "0.0.0.0:9001", "0.0.0.0:9002"},
        {"--listen [::1]:7700", "[::1]:7701", "[::1]:7702"},
        {"--listen 127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"},
        {"--listen 127.0.0.1:65533", "127.0.0.1:65534", "127.0.0.1:65535"},
        {"--listen 127.0.0.1:65534 --gossip-listen 127.0.0.1:9", "127.0.0.1:65535", "127.0.0.1:9"},
        {"--listen ipc:///tmp/s", "127.0.0.1:0", "127.0.0.1:0"},
        {"--listen 127.0.0.1:7710 --peer-listen 10.0.0.1:1 --gossip-listen 10.0.0.2:2",
         "10.0.0.1:1", "10.0.0.2:2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        take(table[i].flags, "");
        assert_string_equal(config.peer_listen, table[i].peer);
        assert_string_equal(config.gossip_listen, table[i].gossip);
    }
}

static void addresses_are_checked(void **state)
{
    static const char *const listens[] = {"gossip-listen", "peer-listen"};
    static const char *const advertises[] = {"gossip-advertise", "peer-advertise"};
    char flags[128];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(flags, sizeof flags, "--%s ipc:///tmp/x", listens[i]);
        refuse(flags, listens[i]);
        refuse(flags, "must be HOST:PORT");
        snprintf(flags, sizeof flags, "--%s ipc:///tmp/x", advertises[i]);
        refuse(flags, advertises[i]);
        snprintf(flags, sizeof flags, "--%s 127.0.0.1:0", advertises[i]);
        refuse(flags, "a port from 1 to 65535"); /* nobody can dial it */
        snprintf(flags, sizeof flags, "--%s ::1:7702", listens[i]);
        refuse(flags, "brackets");
    }
}

/* ---- joining ---- */

static void joins_add_up(void **state)
{
    (void)state;
    take("--join a:1 --join dns:b:2,c:3 --join=d:4", "");
    assert_string_equal(config.join, "a:1,dns:b:2,c:3,d:4");
    take("--join a:1", "TROUPE_JOIN=x:9"); /* flags replace what the environment says */
    assert_string_equal(config.join, "a:1");
    take("", "TROUPE_JOIN=x:9,y:9");
    assert_string_equal(config.join, "x:9,y:9");
    take("", "");
    assert_string_equal(config.join, "");
    refuse("--join a:1 --join b", "'b' has no port");
    refuse("--join b", "dns:NAME:PORT");
}

/* ---- weight, zone ---- */

static void weights_have_a_range(void **state)
{
    (void)state;
    take("", "");
    assert_int_equal(config.weight, 1);
    take("--weight 100", "TROUPE_WEIGHT=7");
    assert_int_equal(config.weight, 100);
    take("", "TROUPE_WEIGHT=7");
    assert_int_equal(config.weight, 7);
    refuse("--weight 0", "1 to 100");
    refuse("--weight 101", "1 to 100");
    refuse("--weight -1", "not a number");
    refuse("--weigth 2", "did you mean 'weight'");
    refuse("--lis x", "did you mean 'listen'"); /* the rest is missing: nearer than 'kinds' */
    refuse("--store-t x", "did you mean 'store-timeline'");
}

static void zones_come_from_anywhere(void **state)
{
    char flags[128];
    const char *path = file_with("eu-west-1b\nsomething else\n");
    (void)state;
    take("", "TROUPE_ZONE=eu-west-1a");
    assert_string_equal(config.zone, "eu-west-1a");
    snprintf(flags, sizeof flags, "--zone-file %s", path);
    take(flags, "");
    assert_string_equal(config.zone, "eu-west-1b");
    take(flags, "TROUPE_ZONE=eu-west-1a"); /* the text itself, wherever it stands, wins */
    assert_string_equal(config.zone, "eu-west-1a");
    unlink(path);
    refuse(flags, "zone-file");
}

static void zone_files_are_checked(void **state)
{
    static const char text63[] = "0123456789012345678901234567890123456789012345678901234567890ab";
    static const struct {
        const char *before, *after;
        bool fine;
    } table[] = {
        {"", "", true},   {"", "\n", true},   {"", "\r\n", true},
        {"x", "", false}, {"x", "\n", false}, {"x", "yyyyyyyyyy\n", false},
    };
    char flags[128], text[FILE_TEXT_BYTES];
    (void)state;
    assert_int_equal(strlen(text63), CONFIG_ZONE_BYTES_MAX);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        snprintf(text, sizeof text, "%s%s%s", table[i].before, text63, table[i].after);
        const char *path = file_with(text);
        snprintf(flags, sizeof flags, "--zone-file %s", path);
        if (table[i].fine) {
            take(flags, "");
            assert_string_equal(config.zone, text63);
        } else {
            refuse(flags, "1 to 63 bytes");
        }
        unlink(path);
    }
    const char *path = file_with("\neu-west\n");
    snprintf(flags, sizeof flags, "--zone-file %s", path);
    refuse(flags, "first line");
    unlink(path);
    refuse("--zone-file /tmp", "zone-file"); /* no file */
    snprintf(flags, sizeof flags, "--zone %sx", text63);
    refuse(flags, "zone");
}

/* ---- the rest ---- */

static void a_port_that_is_not_there_is_refused(void **state)
{
    (void)state;
    refuse("--listen 127.0.0.1:65535", "peer-listen: it would be listen's port + 1");
    refuse("--listen 127.0.0.1:65534", "gossip-listen: it would be listen's port + 2");
    take("--listen 127.0.0.1:65535 --peer-listen 127.0.0.1:1 --gossip-listen 127.0.0.1:2", "");
}

static void an_empty_variable_is_none(void **state)
{
    (void)state;
    take("", "TROUPE_WEIGHT= TROUPE_LISTEN= TROUPE_ZONE= TROUPE_CONFIG= TROUPE_NO_SUCH_THING=");
    assert_int_equal(config.weight, 1);
    assert_string_equal(config.listen, "127.0.0.1:7700");
    refuse("--zone z --weight=", "weight"); /* a flag is meant */
}

static void the_file_comes_last(void **state)
{
    char flags[128];
    const char *path = file_with("[node]\nweight = 3\njoin = f:1,g:2\nzone = z\ngossip = off\n");
    (void)state;
    snprintf(flags, sizeof flags, "--config %s", path);
    take(flags, "");
    assert_int_equal(config.weight, 3);
    assert_string_equal(config.join, "f:1,g:2");
    assert_string_equal(config.zone, "z");
    assert_false(config.gossip);
    take(flags, "TROUPE_WEIGHT=4 TROUPE_JOIN=e:1 TROUPE_GOSSIP=on");
    assert_int_equal(config.weight, 4);
    assert_string_equal(config.join, "e:1");
    assert_true(config.gossip);
    unlink(path);
}

static void what_is_printed_can_be_read(void **state)
{
    char flags[128], text[8192];
    (void)state;
    take("--name n --listen 127.0.0.1:7710 --join a:1,dns:b:2 --zone z --weight 9 "
         "--gossip-advertise g:5",
         "");
    FILE *out = fmemopen(text, sizeof text, "w");
    config_print(&config, out);
    fclose(out);
    struct config before = config;
    const char *path = file_with(text);
    snprintf(flags, sizeof flags, "--config %s", path);
    take(flags, "");
    assert_memory_equal(&config, &before, sizeof config);
    unlink(path);
}

static void draining_ends_before_stopping(void **state)
{
    (void)state;
    take("--drain-timeout 59s", "");
    refuse("--drain-timeout 60s", "less than stop-timeout");
    take("--drain-timeout 60s --stop-timeout 2m", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_follow_listen),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(joins_add_up),
        cmocka_unit_test(weights_have_a_range),
        cmocka_unit_test(zones_come_from_anywhere),
        cmocka_unit_test(zone_files_are_checked),
        cmocka_unit_test(a_port_that_is_not_there_is_refused),
        cmocka_unit_test(an_empty_variable_is_none),
        cmocka_unit_test(the_file_comes_last),
        cmocka_unit_test(what_is_printed_can_be_read),
        cmocka_unit_test(draining_ends_before_stopping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
