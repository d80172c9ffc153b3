/* What the configuration's files share. */
#ifndef TROUPE_SHELL_CONFIG_IMPL_H
#define TROUPE_SHELL_CONFIG_IMPL_H

#include "node/shell/config.h"

enum { CONFIG_KEY_BYTES = 64, CONFIG_VALUE_BYTES = 32 };

/* Puts the text into errmsg; TROUPE_EINVAL. The arguments must not lie in errmsg. */
int config__fail(char errmsg[CONFIG_ERRMSG_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The option of that name, written with hyphens or underscores, in any case; NULL if there is none.
 */
const struct config_option *config__find(const char *key);
/* Says that there is no such thing, and what is near. what: "setting", "option". */
int config__unknown(const char *what, const char *key, char errmsg[CONFIG_ERRMSG_BYTES]);
/* Checks and takes a value. append: to a list that has been begun by the same source. */
int config__set(struct config *config, const struct config_option *o, const char *text, bool append,
                char errmsg[CONFIG_ERRMSG_BYTES]);
/* A number in the largest unit that gives a whole number: "10m", "4GiB". */
void config__format(const struct config_option *o, uint64_t value, char text[CONFIG_VALUE_BYTES]);

int config__read_file(struct config *config, const char *path, char errmsg[CONFIG_ERRMSG_BYTES]);
int config__read_env(struct config *config, char **env, char errmsg[CONFIG_ERRMSG_BYTES]);

#endif
