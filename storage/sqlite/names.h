/* One file, one name. SQLite's write-ahead log and its locks lie beside the file, under the name by
 * which it was opened. Under two names (a hard link; a bind mount of the file alone, as containers
 * make them) one file has two logs, and two programs write over each other without noticing.
 *
 * So a file with several links is refused, and everybody who has the file open holds a lock on the
 * file itself that says where his log is: a byte far behind any content, whose position is a hash
 * of the log's name and directory. Those who share a log share that byte; whoever finds a lock on
 * another one in that region is refused. These locks belong to an open file description
 * (F_OFD_SETLK), so they end with the process, and SQLite's own are not touched.
 *
 * Nor may the log go while it is in use: what is committed then lies in a file without a name, and
 * ends with the process. So its identity, and that of the shared memory beside it, is looked at
 * before each transaction and after each commit. Who finds another one, or none, copies what the
 * log has into the file (through the descriptor that is still open), and all connections are opened
 * anew. A second region of locks says which log it is, so that nobody begins a new one while
 * somebody still has that before. */
#ifndef TROUPE_STORAGE_SQLITE_NAMES_H
#define TROUPE_STORAGE_SQLITE_NAMES_H

#include "storage/sqlite/connection.h"

/* The connection's file, before its log is looked at. 0, or the request's error. */
int sqlite__names_take(struct sqlite_connection *c, struct store_request *r);
/* … and when the log is open, too: from now on it is watched. 0, or the request's error. */
int sqlite__names_take_log(struct sqlite_connection *c, struct store_request *r);
/* Whether the log that the connection has open is under its name. */
bool sqlite__names_has_log(struct sqlite_connection *c);
/* Copies all of a log that has no name any more into the file; whether all of it is there now.
 * Outside of a transaction. */
bool sqlite__names_rescue(struct sqlite_connection *c);
/* Before c->db is closed: the last one to close deletes the log by its name, and what is there may
 * be somebody else's. */
void sqlite__names_spare_log(struct sqlite_connection *c);
/* It was not under its name, and has been dealt with. Returns the request's error. */
int sqlite__names_fail_log(struct sqlite_connection *c, struct store_request *r);
/* Whether this process still has to leave its note in the file (note.h); it has. */
bool sqlite__names_wants_note(struct sqlite_connection *c);
void sqlite__names_has_note(struct sqlite_connection *c);
/* Whether the note is to be taken away: nobody else has the file open. Then nobody can open it
 * until the connection has been closed. */
bool sqlite__names_is_last(struct sqlite_connection *c);
/* When c->db has been closed: closing a file takes a process's locks on it, SQLite's, too. */
void sqlite__names_give(struct sqlite_connection *c);
/* Looks after a link that was made later, and says so in the log, now and then. It is no error: by
 * that name nobody of ours opens the file. */
void sqlite__names_look(struct sqlite_connection *c);

#endif
