/* Log lines as effects: the driver writes them. Bounded per collect; what does not fit is counted.
 */
#include <stdarg.h>
#include <stdio.h>

#include "node/runtime/internal.h"

void log__reset(struct runtime *rt)
{
    arena_reset(&rt->log.arena);
    uint32_t dropped = rt->log.dropped;
    rt->log.n = rt->log.dropped = 0;
    rt->log.stale = false;
    if (dropped > 0) {
        char count[24];
        snprintf(count, sizeof count, "%u", dropped);
        log__add(rt, RUNTIME_WARN, "more happened than could be logged", "lines_dropped", count,
                 NULL);
    }
}

void log__add(struct runtime *rt, enum runtime_log_level level, const char *message, ...)
{
    if (rt->log.stale)
        log__reset(rt);
    if (rt->log.n == LOGS_MAX) {
        rt->log.dropped++;
        return;
    }
    struct runtime_log *entry = &rt->log.entries[rt->log.n++];
    *entry = (struct runtime_log){.level = level, .message = message};
    va_list args;
    va_start(args, message);
    for (size_t i = 0; i < RUNTIME_LOG_FIELDS_MAX; i++) {
        const char *key = va_arg(args, const char *);
        if (key == NULL)
            break;
        struct troupe_bytes copy =
            arena_copy(&rt->log.arena, troupe_bytes_of(va_arg(args, const char *)));
        entry->fields[i].key = key;
        entry->fields[i].value = copy.data == NULL ? "" : (const char *)copy.data;
    }
    va_end(args);
}
