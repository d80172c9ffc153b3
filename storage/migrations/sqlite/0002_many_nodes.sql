-- What several nodes need of each other: where one takes gossip, and how a partition came to its
-- owner.

ALTER TABLE node_lease ADD COLUMN gossip TEXT NOT NULL DEFAULT '';  -- "host:port"; '': takes none

ALTER TABLE partition ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;  -- of owner, since this step

-- The last changes of each partition's owner, a ring: a change is in the slot that is its number
-- modulo 8 (STORE_HISTORY_MAX). So the table stays small without anybody who tidies it.
CREATE TABLE partition_history (
    cluster_id INTEGER NOT NULL,
    pid        INTEGER NOT NULL,
    slot       INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 7),
    epoch      INTEGER NOT NULL,
    owner      TEXT    NOT NULL,
    previous   TEXT,             -- NULL: there was none
    cause      INTEGER NOT NULL, -- 1 first, 2 left, 3 dead, 4 restart, 5 join, 6 drain
    at         INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, pid, slot)
) STRICT, WITHOUT ROWID;
