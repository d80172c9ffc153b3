/* The file, by libinih. Three of its habits are kept from users: it cuts lines of more than 198
 * bytes without a word, takes an indented line as the continuation of the one before (and calls
 * back with that one's key again), and tells the line of the first error only. So lines are handed
 * to it one by one, without what they are indented by, and counted here. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "node/shell/config_impl.h"
#include "troupe/error.h"

struct file_reader {
    FILE *file;
    struct config *config;
    char *errmsg;
    int line, error_line;
    int rc;
    bool seen[CONFIG_OPTIONS_MAX];
};

static void line_failed(struct file_reader *r, int rc)
{
    r->rc = rc;
    r->error_line = r->line;
}

/* inih's reader: a line into str, or NULL at the end. */
static char *next_line(char *str, int size, void *data)
{
    struct file_reader *r = data;
    int n = 0, c;
    if (r->rc != 0)
        return NULL;
    r->line++;
    while ((c = getc(r->file)) != EOF && c != '\n') {
        if (n == 0 && isspace(c))
            continue;
        if (n < size - 2)
            str[n] = (char)c;
        n++;
    }
    if (c == EOF && n == 0)
        return NULL;
    if (n >= size - 1) {
        line_failed(r, config__fail(r->errmsg,
                                    "the line has more than %d bytes; put the value into the "
                                    "environment",
                                    size - 2));
        return NULL;
    }
    str[n] = '\n';
    str[n + 1] = '\0';
    return str;
}

static int take(struct file_reader *r, const char *section, const char *key, const char *value)
{
    const struct config_option *o = config__find(key);
    if (section[0] != '\0' && strcmp(section, "node") != 0)
        return config__fail(
            r->errmsg, "unknown section [%.60s]; settings stand in [node] or in none", section);
    if (o == NULL)
        return config__unknown("setting", key, r->errmsg);
    bool *seen = &r->seen[o - CONFIG_OPTIONS];
    if (*seen)
        return config__fail(r->errmsg, "'%s' is set a second time", o->name);
    *seen = true;
    return config__set(r->config, o, value, false, r->errmsg);
}

/* inih's handler: 1 = go on, 0 = an error on this line. */
static int on_setting(void *data, const char *section, const char *key, const char *value)
{
    struct file_reader *r = data;
    int rc = r->rc == 0 ? take(r, section, key, value) : r->rc;
    if (rc != 0 && r->rc == 0)
        line_failed(r, rc);
    return rc == 0;
}

int config__read_file(struct config *config, const char *path, char errmsg[CONFIG_ERRMSG_BYTES])
{
    char why[CONFIG_ERRMSG_BYTES / 2] = "not of the form 'setting = value'";
    struct file_reader r = {.config = config, .errmsg = errmsg, .file = fopen(path, "re")};
    if (r.file == NULL)
        return config__fail(errmsg, "cannot read %s: %s", path, strerror(errno));
    int line = ini_parse_stream(next_line, &r, on_setting, &r);
    bool unreadable = ferror(r.file) != 0;
    fclose(r.file);
    if (unreadable)
        return config__fail(errmsg, "cannot read %s: is it a file?", path);
    if (line == 0 && r.rc == 0)
        return 0;
    if (r.rc != 0 && (line <= 0 || line >= r.error_line)) { /* else: no setting, before that */
        snprintf(why, sizeof why, "%s", errmsg);
        line = r.error_line;
    }
    return config__fail(errmsg, "%s, line %d: %s", path, line, why);
}
