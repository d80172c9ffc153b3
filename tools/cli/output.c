/* See output.h. */
#include "tools/cli/output.h"

#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

static json_t *parse(struct troupe_bytes text)
{
    return json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

void output_payload(FILE *file, struct troupe_bytes payload)
{
    if (payload.len == 0)
        return;
    json_t *json = isatty(fileno(file)) ? parse(payload) : NULL;
    if (json != NULL)
        json_dumpf(json, file, JSON_INDENT(2) | JSON_ENCODE_ANY);
    else
        fwrite(payload.data, 1, payload.len, file);
    json_decref(json);
    putc('\n', file);
}

static const char *ack_name(enum troupe_ack ack)
{
    return ack == TROUPE_ACK_DURABLE ? "durable" : ack == TROUPE_ACK_REPLICA ? "replica" : "memory";
}

static json_t *text_of(struct troupe_bytes bytes)
{
    json_t *json = json_stringn((const char *)bytes.data, bytes.len);
    return json != NULL ? json : json_string("(not UTF-8)");
}

void output_refusal(const char *why)
{
    json_t *all =
        json_pack("{s:s, s:o, s:b}", "status", troupe_status_name(TROUPE_INVALID_ARGUMENT),
                  "message", text_of(troupe_bytes_of(why)), "answered", 0);
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(all);
}

/* One object. The version is a string, as ProtoJSON has 64-bit integers. */
static void result_as_json(const struct troupe_call_result *r)
{
    char version[24];
    json_t *all = json_object();
    json_object_set_new(all, "status", json_string(troupe_status_name((int)r->status)));
    if (r->status == TROUPE_OK) {
        snprintf(version, sizeof version, "%" PRIu64, r->version);
        json_object_set_new(all, "ack", json_string(ack_name(r->ack)));
        json_object_set_new(all, "version", json_string(version));
        json_t *reply = r->payload.len == 0 ? json_null() : parse(r->payload);
        json_object_set_new(all, "reply", reply != NULL ? reply : text_of(r->payload));
    } else {
        json_object_set_new(all, "message", text_of(r->message));
        json_object_set_new(all, "answered", json_boolean(r->answered));
    }
    if (r->owner_address.len != 0) {
        json_object_set_new(all, "owner", text_of(r->owner_node));
        json_object_set_new(all, "owner_address", text_of(r->owner_address));
    }
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(all);
}

/* An owner is told with whatever the owner has said, too. Only where it may not have been reached
 * is it worth asking it oneself. */
static bool may_help_to_ask_owner(const struct troupe_call_result *r)
{
    return r->status == TROUPE_UNAVAILABLE || r->status == TROUPE_DEADLINE_EXCEEDED;
}

void output_result(const struct troupe_call_result *r, bool json)
{
    if (json) {
        result_as_json(r);
        return;
    }
    if (r->status == TROUPE_OK) {
        output_payload(stdout, r->payload);
        return;
    }
    fprintf(stderr, "%s: %.*s\n", troupe_status_name((int)r->status), (int)r->message.len,
            (const char *)r->message.data);
    if (r->owner_address.len != 0 && may_help_to_ask_owner(r))
        fprintf(stderr, "Its owner is %.*s at %.*s; try --node %.*s.\n", (int)r->owner_node.len,
                (const char *)r->owner_node.data, (int)r->owner_address.len,
                (const char *)r->owner_address.data, (int)r->owner_address.len,
                (const char *)r->owner_address.data);
}

enum exit_code output_exit_code(const struct troupe_call_result *r)
{
    if (r->status == TROUPE_OK)
        return EXIT_OK;
    return r->answered && r->status != TROUPE_DEADLINE_EXCEEDED ? EXIT_ANSWERED : EXIT_UNREACHED;
}

void output_clean(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

const char *output_number(uint64_t number, char text[OUTPUT_NUMBER_BYTES])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *out = text;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return text;
}

const char *output_bytes(uint64_t bytes, char text[OUTPUT_NUMBER_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(text, OUTPUT_NUMBER_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}
