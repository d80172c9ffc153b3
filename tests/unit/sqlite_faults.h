/* A disk that fails, for SQLite: a VFS over the ordinary one that lets the n-th write, sync or
 * truncate of the process come to an error. Registered as the default VFS, so that a store opened
 * afterwards uses it. */
#ifndef TROUPE_TESTS_SQLITE_FAULTS_H
#define TROUPE_TESTS_SQLITE_FAULTS_H

#include <stdbool.h>

enum sqlite_fault {
    FAULT_WRITE, /* a write fails, nothing of it happens */
    FAULT_FULL,  /* … because the disk is full */
    FAULT_TORN,  /* … after half of it */
    FAULT_SYNC,  /* what is written may or may not be on the disk */
    FAULTS_N,
};

void sqlite_faults_install(void);
/* The n-th operation from now on that can fail in this way does (n from 1); once, or from then on
 * until sqlite_faults_disarm. */
void sqlite_faults_arm(enum sqlite_fault fault, unsigned n, bool lasting);
/* Whether it has happened. */
bool sqlite_faults_disarm(void);
/* Called once, before the next sync of any file; from the thread that syncs. */
void sqlite_faults_at_sync(void (*call)(void));

#endif
