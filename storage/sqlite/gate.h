/* Whose turn it is to write, among the threads of one store. SQLite lets one connection write at a
 * time and makes the others poll, so a stream of saves could keep a renewal of the lease waiting
 * for long. The gate lets threads wait without polling, and lets the lease go first: it waits for
 * one transaction at the most. (Other processes are not behind this gate; see worker.c for what
 * they get.) */
#ifndef TROUPE_STORAGE_SQLITE_GATE_H
#define TROUPE_STORAGE_SQLITE_GATE_H

#include <stdbool.h>
#include <uv.h>

struct sqlite_gate {
    uv_mutex_t lock;
    uv_cond_t changed;
    bool taken;
    unsigned hurried; /* threads that wait and go first */
};

int sqlite__gate_init(struct sqlite_gate *gate);
void sqlite__gate_close(struct sqlite_gate *gate);
void sqlite__gate_enter(struct sqlite_gate *gate, bool hurried);
void sqlite__gate_leave(struct sqlite_gate *gate);
/* Whether somebody who goes first is waiting: whoever is inside and has nothing begun should
 * leave. */
bool sqlite__gate_is_wanted(struct sqlite_gate *gate);

#endif
