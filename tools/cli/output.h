/* How results are shown. */
#ifndef TROUPE_CLI_OUTPUT_H
#define TROUPE_CLI_OUTPUT_H

#include <stdio.h>

#include "tools/cli/cli.h"
#include "troupe/client.h"

/* A payload of JSON text and a newline: indented on a terminal, else as it came. What is not JSON
 * goes out as it is. Nothing for an empty one. */
void output_payload(FILE *file, struct troupe_bytes payload);

/* The result of a call, in the form of --json or for people; errors for people go to stderr. */
void output_result(const struct troupe_call_result *result, bool json);

/* In the form of --json: a call that was not even sent. */
void output_refusal(const char *why);

/* 0, 1 or 3. */
enum exit_code output_exit_code(const struct troupe_call_result *result);

/* Control characters, which could play tricks with a terminal, become question marks. */
void output_clean(char *text);

/* "1,234,567" */
enum { OUTPUT_NUMBER_BYTES = 32 };
const char *output_number(uint64_t number, char text[OUTPUT_NUMBER_BYTES]);
/* "48.1 MiB" */
const char *output_bytes(uint64_t bytes, char text[OUTPUT_NUMBER_BYTES]);

#endif
