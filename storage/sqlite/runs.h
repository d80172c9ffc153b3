/* Proof that a run has ended, for everybody who uses the same file (DESIGN §6.14). All of them are
 * on one machine, under one kernel, and a kernel ends the locks of a process with it: so each run
 * holds a lock on a small file of its own beside the database, and who finds that file with nobody
 * holding it knows that this run is gone. Neither the run's name matters for that, nor its
 * container or pid namespace, nor any clock.
 *
 * FILE-run-CLUSTER-GENERATION-NAME: the cluster's number in the file; of the name, what is neither
 * letter, digit, dot, dash nor underscore as %XX. The lock is taken before the row that tells of
 * the run is committed. A run without such a file (of an older program; the name is too long; a
 * file system that is not known to keep locks on this machine alone) proves nothing: then its lease
 * is waited for, as ever.
 *
 * Files are removed by who knows that their run is over: itself, as it leaves; its successor of the
 * same name; who evicts it. What is left over is an empty file. */
#ifndef TROUPE_STORAGE_SQLITE_RUNS_H
#define TROUPE_STORAGE_SQLITE_RUNS_H

#include "storage/sqlite/connection.h"

/* That run is ours from now on; an earlier one of this store is over. In the transaction that
 * registers it. Without a lock there is a warning in the log and no proof, and that is no error. */
void sqlite__run_hold(struct sqlite_connection *c, const char *name, uint64_t generation);
/* The store closes. */
void sqlite__run_release(struct sqlite_config *config);
/* Sets node->fate, if its file tells. */
void sqlite__run_judge(const struct sqlite_connection *c, struct store_node *node);
/* After the request was committed: files of runs that are over by it. */
void sqlite__runs_tidy(struct sqlite_connection *c, const struct store_request *r);

#endif
