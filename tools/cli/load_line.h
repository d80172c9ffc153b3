/* One line of a load file: a JSON object that says which call to make. */
#ifndef TROUPE_CLI_LOAD_LINE_H
#define TROUPE_CLI_LOAD_LINE_H

#include <jansson.h>
#include <stdbool.h>

#include "troupe/client.h"

enum { LOAD_WHY_BYTES = 256 };

struct load_line {
    json_t *json; /* owns what the rest points to */
    char *dumped; /* the payload's text */
    struct troupe_bytes kind, id, method, payload;
    enum troupe_ack ack;
};

/* Reads {"entity": "venue/42", "method": "create", "payload": {…}, "ack": "durable"}; payload and
 * ack may be left out. False with what is wrong in why; true: load_line_close it. */
bool load_line_parse(struct load_line *line, struct troupe_bytes text, enum troupe_ack ack,
                     char why[LOAD_WHY_BYTES]);
void load_line_close(struct load_line *line);

#endif
