-- What a node has to know of another one before it may take over from it: for how long that one may
-- serve without the store, and whether it takes partitions at all.

ALTER TABLE node_lease ADD COLUMN outage_ms INTEGER;  -- after its last renewal; NULL: it does not tell

ALTER TABLE node_lease ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;

-- Who knows of whom: the number that a name got when it became active, and the highest one that a run has been told
-- of (storage/store.h, REGISTER and RENEW).

ALTER TABLE node_lease ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;  -- 0: it does not tell

ALTER TABLE node_lease ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;

ALTER TABLE cluster_meta ADD COLUMN joins INTEGER NOT NULL DEFAULT 0;  -- the last one that was given

-- Which kinds each node has, and which of them have opened: node/runtime/kinds_open.h has their form.

ALTER TABLE node_lease ADD COLUMN kinds TEXT NOT NULL DEFAULT '';

ALTER TABLE cluster_meta ADD COLUMN kinds TEXT NOT NULL DEFAULT '';

-- By which name the database is open, and so where its log is: storage/sqlite/note.h. No row: it was closed.

CREATE TABLE log_note (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    file  TEXT NOT NULL,  -- what it is about: a copy has another identity
    log   TEXT NOT NULL,
    place TEXT NOT NULL,  -- directory and name of the log
    path  TEXT NOT NULL   -- the same for people, as the node saw it
) STRICT;
