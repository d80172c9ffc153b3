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
