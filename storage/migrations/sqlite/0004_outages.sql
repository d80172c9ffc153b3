-- What a node has to know of another one before it may take over from it: for how long that one may
-- serve without the store, and whether it takes partitions at all.

ALTER TABLE node_lease ADD COLUMN outage_ms INTEGER;  -- after its last renewal; NULL: it does not tell

ALTER TABLE node_lease ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;

-- Which kinds each node has, and which of them have opened: node/runtime/kinds_open.h has their form.

ALTER TABLE node_lease ADD COLUMN kinds TEXT NOT NULL DEFAULT '';

ALTER TABLE cluster_meta ADD COLUMN kinds TEXT NOT NULL DEFAULT '';
