-- A server that may not tell its timeline (managed services; store-timeline = none) can be used, too:
-- epochs and generations grow from what is in the rows then, and that a failover does not lose them
-- is the operator's to exclude.
CREATE OR REPLACE FUNCTION troupe.epoch_floor() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint << 40;
EXCEPTION
    WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN
        RETURN 0;
END $$;
