/* See kinds.h. */
#include "node/shell/kinds.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "troupe/error.h"

/* Where the file is: the name as it is, or the first place that has it. */
static void locate(const char *name, char path[PATH_MAX])
{
    static const char *const places[] = {"", "/../lib", "/../lib/troupe"};
    char self[PATH_MAX] = "";
    snprintf(path, PATH_MAX, "%s%s", strchr(name, '/') == NULL ? "./" : "", name);
    if (strchr(name, '/') != NULL || access(path, R_OK) == 0)
        return;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = len > 0 ? strrchr(self, '/') : NULL;
    if (slash == NULL)
        return;
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char found[PATH_MAX];
        int n = snprintf(found, sizeof found, "%s%s/%s", self, places[i], name);
        if (n > 0 && (size_t)n < sizeof found && access(found, R_OK) == 0) {
            memcpy(path, found, (size_t)n + 1);
            return;
        }
    }
}

/* A plug-in of interface 1 ends its structs where the later members begin. */
static const struct troupe_kind *as_of_today(struct kinds *kinds,
                                             const struct troupe_plugin *plugin, size_t i)
{
    if (plugin->abi >= 2)
        return plugin->kinds[i];
    struct troupe_kind *copy = &kinds->completed[kinds->n];
    *copy = (struct troupe_kind){0};
    memcpy(copy, plugin->kinds[i], offsetof(struct troupe_kind, state_version));
    return copy;
}

static int load_one(struct kinds *kinds, const char *name, char errmsg[KINDS_ERRMSG_BYTES])
{
    char path[PATH_MAX];
    union { /* the only portable way from an object to a function pointer */
        void *object;
        const struct troupe_plugin *(*function)(void);
    } entry;
    locate(name, path);
    if (access(path, R_OK) != 0) {
        snprintf(errmsg, KINDS_ERRMSG_BYTES,
                 "kinds: there is no file '%s', neither here nor beside troupe-node; give its path",
                 name);
        return TROUPE_ENOTFOUND;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        snprintf(errmsg, KINDS_ERRMSG_BYTES, "kinds: %.300s cannot be loaded: %.150s", path,
                 dlerror());
        return TROUPE_EINVAL;
    }
    entry.object = dlsym(object, "troupe_plugin");
    const struct troupe_plugin *plugin = entry.object == NULL ? NULL : entry.function();
    if (plugin == NULL) {
        snprintf(errmsg, KINDS_ERRMSG_BYTES,
                 "kinds: %.300s exports no troupe_plugin: it is not a plug-in of this node", path);
        return TROUPE_EINVAL;
    }
    if (plugin->abi < TROUPE_ENTITY_ABI_OLDEST || plugin->abi > TROUPE_ENTITY_ABI) {
        snprintf(errmsg, KINDS_ERRMSG_BYTES,
                 "kinds: %.300s was built for interface %u, this node has %d to %d: build it anew",
                 path, plugin->abi, TROUPE_ENTITY_ABI_OLDEST, TROUPE_ENTITY_ABI);
        return TROUPE_EVERSION;
    }
    for (size_t i = 0; i < plugin->kinds_n; i++) {
        if (kinds->n == KINDS_LOADED_MAX) {
            snprintf(errmsg, KINDS_ERRMSG_BYTES, "kinds: more than %d kinds", KINDS_LOADED_MAX);
            return TROUPE_ELIMIT;
        }
        kinds->all[kinds->n] = as_of_today(kinds, plugin, i);
        kinds->n++;
    }
    return 0;
}

int kinds_load(struct kinds *kinds, const char *files, char errmsg[KINDS_ERRMSG_BYTES])
{
    char list[4096], *rest = list;
    *kinds = (struct kinds){0};
    if (strlen(files) >= sizeof list) {
        snprintf(errmsg, KINDS_ERRMSG_BYTES, "kinds: the list is too long");
        return TROUPE_ELIMIT;
    }
    memcpy(list, files, strlen(files) + 1);
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        name += strspn(name, " ");
        int rc = *name == '\0' ? 0 : load_one(kinds, name, errmsg);
        if (rc != 0)
            return rc;
    }
    return 0;
}
