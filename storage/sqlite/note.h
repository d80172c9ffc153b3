/* By which name the database is open, written into the database itself. The log lies beside that
 * name, so after a crash the last commits are there and nowhere else: who then opens the file by
 * another name (it was moved without its log; a mount of the file alone) would find an older state,
 * and go on from it.
 *
 * The note is in the file, copied there from the log, before a node is told that the database is
 * open; the last to close takes it away. Who finds one refuses, unless
 *   - it is of this name: the log is where it is looked for;
 *   - the log that it tells of is beside this name: both were moved;
 *   - it is about another file: this is a copy, as backups are, and complete by itself.
 * Files are known by their inode and when they were made, for inodes are used again.
 *
 * By the same name the log may be missing, too. That is no error: another program, such as sqlite3,
 * that opens and closes the database after a crash copies the log into it and deletes it. But it
 * may also have been deleted by hand, so the log says so. */
#ifndef TROUPE_STORAGE_SQLITE_NOTE_H
#define TROUPE_STORAGE_SQLITE_NOTE_H

#include "storage/sqlite/connection.h"

/* Whether the file may be opened by this name, before anything is written. 0, or the request's
 * error. */
int sqlite__note_look(struct sqlite_connection *c, struct store_request *r);
/* Leaves our note, if the process has not yet. The schema is up to date. 0, or the request's
 * error. */
int sqlite__note_leave(struct sqlite_connection *c, struct store_request *r);
/* Before the connection is closed: takes the note away if nobody else has the database open. */
void sqlite__note_take_away(struct sqlite_connection *c);

#endif
