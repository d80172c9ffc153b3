/* One file, one name. SQLite's write-ahead log and its locks lie beside the file, under the name by
 * which it was opened. Under two names (a hard link; a bind mount of the file alone, as containers
 * make them) one file has two logs, and two programs write over each other without noticing.
 *
 * So a file with several links is refused, and everybody who has the file open holds a lock on the
 * file itself that says where his log is: a byte far behind any content, whose position is a hash
 * of the log's name and directory. Those who share a log share that byte; whoever finds a lock on
 * another one in that region is refused. These locks belong to an open file description
 * (F_OFD_SETLK), so they end with the process, and SQLite's own are not touched. */
#ifndef TROUPE_STORAGE_SQLITE_NAMES_H
#define TROUPE_STORAGE_SQLITE_NAMES_H

#include "storage/sqlite/connection.h"

/* The connection's file, before its log is looked at. 0, or the request's error. */
int sqlite__names_take(struct sqlite_connection *c, struct store_request *r);
/* When c->db has been closed: closing a file takes a process's locks on it, SQLite's, too. */
void sqlite__names_give(struct sqlite_connection *c);
/* Looks after a link that was made later, and says so in the log, now and then. It is no error: by
 * that name nobody of ours opens the file. */
void sqlite__names_look(struct sqlite_connection *c);

#endif
