-- The tables of docs/stores.md. Numbers are 64-bit signed; times are milliseconds since 1970 by the
-- clock of the machine. Every key begins with the cluster, so that clusters can share a file.

CREATE TABLE cluster_meta (
    id             INTEGER PRIMARY KEY,
    name           TEXT    NOT NULL UNIQUE,
    uid            TEXT    NOT NULL,
    partitions     INTEGER NOT NULL CHECK (partitions BETWEEN 256 AND 65536),
    schema_version INTEGER NOT NULL  -- what a program must know to take part in this cluster
) STRICT;

CREATE TABLE node_lease (
    cluster_id  INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    generation  INTEGER NOT NULL CHECK (generation > 0),
    incarnation INTEGER NOT NULL,    -- 64 bits to compare, not a number
    addr        TEXT    NOT NULL,
    proof       TEXT    NOT NULL,
    renew_seq   INTEGER NOT NULL CHECK (renew_seq >= 0),
    ttl_ms      INTEGER NOT NULL CHECK (ttl_ms BETWEEN 0 AND 4294967295),
    state       INTEGER NOT NULL CHECK (state IN (0, 1, 2)),  -- active, left, dead
    renewed_at  INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE partition (
    cluster_id       INTEGER NOT NULL,
    pid              INTEGER NOT NULL,
    epoch            INTEGER NOT NULL CHECK (epoch >= 0),
    owner            TEXT,           -- node_lease.name; the run of it that owns is:
    owner_generation INTEGER,
    backup           TEXT,
    PRIMARY KEY (cluster_id, pid)
) STRICT, WITHOUT ROWID;

-- With a rowid: a state may be large, and in a WITHOUT ROWID table it would lie in the tree that is
-- searched by name. So an insert goes to the end of the table plus into a compact index.
CREATE TABLE entity (
    cluster_id INTEGER NOT NULL,
    pid        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    deleted    INTEGER NOT NULL,
    state      BLOB    NOT NULL,
    dedup      BLOB    NOT NULL,
    UNIQUE (cluster_id, pid, kind, id)
) STRICT;
