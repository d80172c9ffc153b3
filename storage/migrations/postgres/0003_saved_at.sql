-- When a row was last saved: what was in use lately, for a node that takes over from one that died.
-- No index: it would have to be kept up with each save, and keep updates from being heap-only. Rows
-- that are there, and those that nodes of the version before insert, count as old.

ALTER TABLE troupe.entity ADD COLUMN saved_at timestamptz NOT NULL DEFAULT '-infinity';
