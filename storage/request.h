/* What the implementations share: the checks that every request has to pass before it may reach a
 * database, so that all stores refuse the same things with the same words. */
#ifndef TROUPE_STORAGE_REQUEST_H
#define TROUPE_STORAGE_REQUEST_H

#include "storage/store.h"

/* 0, or TROUPE_EINVAL with errmsg: the names and numbers of the options, not the url's inside. */
int store__check_options(const struct store_options *options, char errmsg[STORE_ERRMSG_BYTES]);

/* options->partitions with its default. */
uint32_t store__partitions(const struct store_options *options);

/* Sets request->error and errmsg; returns error. */
int store__fail(struct store_request *request, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The caller's arena could not take the answer. */
int store__fail_memory(struct store_request *request);

/* 0, or store__fail: TROUPE_EINVAL for what no correct caller sends, TROUPE_EREJECTED for data that
 * are too large. Sorts the rows of a save by (pid, kind, id). After it: names fit, pids ascend,
 * kinds and ids are valid, numbers fit into 63 bits, no entity is there twice, all rows of a pid
 * bear the same epoch, optional strings are "" instead of NULL. */
int store__check_request(struct store_request *request);

#endif
