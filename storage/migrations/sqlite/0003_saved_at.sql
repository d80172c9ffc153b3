-- When a row was last saved: what was in use lately, for a node that takes over from one that died.
-- No index: each save would have to keep it up. 0: before this step.

ALTER TABLE entity ADD COLUMN saved_at INTEGER NOT NULL DEFAULT 0;
