/* See load_line.h. */
#include "tools/cli/load_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "tools/cli/near.h"

static const char *const keys[] = {"entity", "method", "payload", "ack"};

enum { KEYS_N = sizeof keys / sizeof keys[0] };

static bool wrong(char why[LOAD_WHY_BYTES], const char *format, const char *what)
{
    snprintf(why, LOAD_WHY_BYTES, format, what);
    return false;
}

static bool check_key(const char *key, char why[LOAD_WHY_BYTES])
{
    for (int i = 0; i < KEYS_N; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    const char *meant = near_find(key, keys, KEYS_N);
    if (meant == NULL)
        return wrong(why, "there is no key \"%.60s\"; there are entity, method, payload and ack",
                     key);
    snprintf(why, LOAD_WHY_BYTES, "there is no key \"%.60s\"; did you mean \"%s\"?", key, meant);
    return false;
}

static bool take_ack(const json_t *json, enum troupe_ack *ack, char why[LOAD_WHY_BYTES])
{
    static const char *const names[] = {"memory", "replica", "durable"};
    const char *name = json_string_value(json);
    for (unsigned i = 0; i < 3 && name != NULL; i++)
        if (strcmp(names[i], name) == 0) {
            *ack = (enum troupe_ack)i;
            return true;
        }
    return wrong(why, "%s", "\"ack\" must be \"memory\", \"replica\" or \"durable\"");
}

static bool take_text(const json_t *json, const char *key, struct troupe_bytes *text,
                      char why[LOAD_WHY_BYTES])
{
    if (json == NULL)
        return wrong(why, "\"%s\" is missing", key);
    if (!json_is_string(json))
        return wrong(why, "\"%s\" must be a string", key);
    *text = troupe_bytes(json_string_value(json), json_string_length(json));
    return true;
}

static bool take_payload(struct load_line *line, const json_t *json, char why[LOAD_WHY_BYTES])
{
    if (json == NULL)
        return true;
    line->dumped = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (line->dumped == NULL)
        return wrong(why, "%s", "out of memory");
    line->payload = troupe_bytes_of(line->dumped);
    return true;
}

static bool take_all(struct load_line *line, char why[LOAD_WHY_BYTES])
{
    const char *key, *name_why = "";
    json_t *value;
    if (!json_is_object(line->json))
        return wrong(why, "%s", "a line must be a JSON object, {\"entity\": …, \"method\": …}");
    json_object_foreach(line->json, key, value) if (!check_key(key, why)) return false;
    struct troupe_bytes entity;
    const json_t *ack = json_object_get(line->json, "ack");
    if (!take_text(json_object_get(line->json, "entity"), "entity", &entity, why) ||
        !take_text(json_object_get(line->json, "method"), "method", &line->method, why) ||
        (ack != NULL && !take_ack(ack, &line->ack, why)))
        return false;
    if (name_parse(entity, &line->kind, &line->id, &name_why) != 0)
        return wrong(why, "\"entity\": %s", name_why);
    return take_payload(line, json_object_get(line->json, "payload"), why);
}

bool load_line_parse(struct load_line *line, struct troupe_bytes text, enum troupe_ack ack,
                     char why[LOAD_WHY_BYTES])
{
    json_error_t error;
    *line = (struct load_line){.ack = ack};
    line->json = json_loadb((const char *)text.data, text.len,
                            JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (line->json == NULL) {
        snprintf(why, LOAD_WHY_BYTES, "not JSON: column %d: %s", error.column, error.text);
        return false;
    }
    if (take_all(line, why))
        return true;
    load_line_close(line);
    return false;
}

void load_line_close(struct load_line *line)
{
    free(line->dumped);
    json_decref(line->json);
    *line = (struct load_line){0};
}
