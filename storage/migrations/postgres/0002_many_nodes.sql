-- What several nodes need of each other: where one takes gossip, evictions, handovers, and how a
-- partition came to its owner. What 0001 made still answers as it did, so that nodes of a program
-- that knows only that go on; their claims are in the history, too.

ALTER TABLE troupe.node_lease ADD COLUMN gossip text NOT NULL DEFAULT '';  -- "host:port"; '': takes none

ALTER TABLE troupe.partition ADD COLUMN changes bigint NOT NULL DEFAULT 0;  -- of owner, since this step

-- The last changes of each partition's owner, a ring: a change is in the slot that is its number
-- modulo 8 (STORE_HISTORY_MAX). So the table stays small without anybody who tidies it.
CREATE TABLE troupe.partition_history (
    cluster_id int         NOT NULL REFERENCES troupe.cluster_meta,
    pid        int         NOT NULL,
    slot       int         NOT NULL,
    epoch      bigint      NOT NULL,
    owner      text        NOT NULL,
    previous   text,                  -- NULL: there was none
    cause      int         NOT NULL,  -- 1 first, 2 left, 3 dead, 4 restart, 5 join, 6 drain
    at         timestamptz NOT NULL,
    PRIMARY KEY (cluster_id, pid, slot)
) WITH (fillfactor = 50);

-- No epoch is below it, so that a failover to another copy of the data never hands one out twice.
CREATE FUNCTION troupe.epoch_floor() RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint << 40
$$;

-- As in 0001, with the address for gossip.
CREATE FUNCTION troupe.node_register(
    p_cluster text, p_partitions int, p_name text, p_incarnation bigint, p_addr text, p_gossip text,
    p_proof text, p_ttl_ms bigint, p_supersede boolean, p_generation bigint, p_renew_seq bigint,
    OUT outcome int, OUT o_generation bigint, OUT o_uid text, OUT o_partitions int,
    OUT h_generation bigint, OUT h_incarnation bigint, OUT h_addr text, OUT h_proof text,
    OUT h_renew_seq bigint, OUT h_ttl_ms bigint, OUT h_expired boolean, OUT h_age_ms bigint,
    OUT h_gossip text)
LANGUAGE plpgsql AS $$
DECLARE
    c troupe.cluster_meta%ROWTYPE;
    l troupe.node_lease%ROWTYPE;
BEGIN
    -- One registration of a cluster at a time: the first one makes it.
    PERFORM pg_advisory_xact_lock(hashtext('troupe.cluster'), hashtext(p_cluster));
    SELECT * INTO c FROM troupe.cluster_meta WHERE name = p_cluster;
    IF NOT FOUND THEN
        INSERT INTO troupe.cluster_meta (name, uid, partitions, schema_version)
        VALUES (p_cluster, gen_random_uuid()::text, p_partitions, 1) RETURNING * INTO c;
        INSERT INTO troupe.partition (cluster_id, pid, epoch)
        SELECT c.id, g, 0 FROM generate_series(0, p_partitions - 1) g;
    END IF;
    o_uid := c.uid;
    o_partitions := c.partitions;
    IF c.partitions <> p_partitions THEN
        outcome := 2;
        RETURN;
    END IF;
    SELECT * INTO l FROM troupe.node_lease WHERE cluster_id = c.id AND name = p_name FOR UPDATE;
    IF FOUND AND l.state = 0 THEN
        IF l.incarnation = p_incarnation THEN
            UPDATE troupe.node_lease
            SET addr = p_addr, gossip = p_gossip, proof = p_proof, ttl_ms = p_ttl_ms,
                renew_seq = renew_seq + 1, renewed_at = clock_timestamp()
            WHERE cluster_id = c.id AND name = p_name;
            outcome := 0;
            o_generation := l.generation;
            RETURN;
        END IF;
        IF NOT (p_supersede AND l.generation = p_generation AND l.renew_seq = p_renew_seq) THEN
            outcome := 1;
            h_generation := l.generation;
            h_incarnation := l.incarnation;
            h_addr := l.addr;
            h_proof := l.proof;
            h_renew_seq := l.renew_seq;
            h_ttl_ms := l.ttl_ms;
            h_age_ms := greatest(0, extract(epoch FROM clock_timestamp() - l.renewed_at) * 1000)::bigint;
            h_expired := clock_timestamp() > l.renewed_at + l.ttl_ms * interval '1 ms';
            h_gossip := l.gossip;
            RETURN;
        END IF;
    END IF;
    outcome := 0;
    o_generation := coalesce(l.generation, 0) + 1;
    INSERT INTO troupe.node_lease (
        cluster_id, name, generation, incarnation, addr, gossip, proof, renew_seq, ttl_ms, state, renewed_at)
    VALUES (c.id, p_name, o_generation, p_incarnation, p_addr, p_gossip, p_proof, 0, p_ttl_ms, 0,
            clock_timestamp())
    ON CONFLICT (cluster_id, name) DO UPDATE
    SET generation = excluded.generation, incarnation = excluded.incarnation, addr = excluded.addr,
        gossip = excluded.gossip, proof = excluded.proof, renew_seq = 0, ttl_ms = excluded.ttl_ms,
        state = 0, renewed_at = excluded.renewed_at;
END $$;

CREATE OR REPLACE FUNCTION troupe.node_register(
    p_cluster text, p_partitions int, p_name text, p_incarnation bigint, p_addr text, p_proof text,
    p_ttl_ms bigint, p_supersede boolean, p_generation bigint, p_renew_seq bigint,
    OUT outcome int, OUT o_generation bigint, OUT o_uid text, OUT o_partitions int,
    OUT h_generation bigint, OUT h_incarnation bigint, OUT h_addr text, OUT h_proof text,
    OUT h_renew_seq bigint, OUT h_ttl_ms bigint, OUT h_expired boolean, OUT h_age_ms bigint)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT n.outcome, n.o_generation, n.o_uid, n.o_partitions, n.h_generation, n.h_incarnation, n.h_addr,
           n.h_proof, n.h_renew_seq, n.h_ttl_ms, n.h_expired, n.h_age_ms
    INTO outcome, o_generation, o_uid, o_partitions, h_generation, h_incarnation, h_addr,
         h_proof, h_renew_seq, h_ttl_ms, h_expired, h_age_ms
    FROM troupe.node_register(p_cluster, p_partitions, p_name, p_incarnation, p_addr, ''::text, p_proof,
                              p_ttl_ms, p_supersede, p_generation, p_renew_seq) n;
END $$;

-- 0: the evictor itself is not active any more; 1: not evicted; 2: the target's run is dead.
CREATE FUNCTION troupe.node_evict(
    p_cluster text, p_name text, p_generation bigint, p_target text, p_target_generation bigint,
    p_renew_seq bigint) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_cluster int;
BEGIN
    SELECT id INTO v_cluster FROM troupe.cluster_meta WHERE name = p_cluster;
    -- In the order of names, as whoever locks more than one lease does: of two that would evict each
    -- other the second one waits here, and then sees that it is dead.
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name IN (p_name, p_target)
    ORDER BY name COLLATE "C" FOR NO KEY UPDATE;
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name = p_name AND generation = p_generation AND state = 0;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE troupe.node_lease SET state = 2
    WHERE cluster_id = v_cluster AND name = p_target AND generation = p_target_generation AND state = 0
      AND renew_seq = p_renew_seq AND clock_timestamp() > renewed_at + ttl_ms * interval '1 ms';
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name = p_target AND generation = p_target_generation AND state = 2;
    RETURN CASE WHEN FOUND THEN 2 ELSE 1 END;
END $$;

-- As in 0001; what is won is written into the history.
CREATE OR REPLACE FUNCTION troupe.partition_claim(p_cluster text, p_name text, p_generation bigint, p_pids int[])
RETURNS TABLE (r_pid int, r_epoch bigint, r_epoch_prev bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_cluster int;
    v_floor bigint;
BEGIN
    SELECT id INTO v_cluster FROM troupe.cluster_meta WHERE name = p_cluster;
    -- Whoever evicts us waits until this transaction is over, or we see that we are evicted.
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name = p_name AND generation = p_generation AND state = 0 FOR SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM troupe.partition
    WHERE cluster_id = v_cluster AND pid = ANY (p_pids) ORDER BY pid FOR NO KEY UPDATE;
    -- From here on the rows stand still, and the next statement sees them, and the leases, as they are now.
    v_floor := troupe.epoch_floor();
    RETURN QUERY SELECT -1, 0::bigint, 0::bigint;
    RETURN QUERY
    WITH won AS (
        UPDATE troupe.partition p
        SET epoch = greatest(p.epoch, v_floor) + 1, owner = p_name, owner_generation = p_generation,
            backup = NULL, changes = p.changes + 1
        FROM troupe.partition old
        WHERE p.cluster_id = v_cluster AND p.pid = ANY (p_pids)
          AND old.cluster_id = p.cluster_id AND old.pid = p.pid
          AND (p.owner, p.owner_generation) IS DISTINCT FROM (p_name, p_generation)
          AND NOT EXISTS (
              SELECT FROM troupe.node_lease l
              WHERE l.cluster_id = v_cluster AND l.name = p.owner AND l.generation = p.owner_generation
                AND l.state = 0)
        RETURNING p.pid, p.epoch, p.changes, old.epoch AS epoch_prev, old.owner AS previous,
                  old.owner_generation AS previous_generation),
    noted AS (
        INSERT INTO troupe.partition_history (cluster_id, pid, slot, epoch, owner, previous, cause, at)
        SELECT v_cluster, w.pid, w.changes % 8, w.epoch, p_name, w.previous,
               CASE WHEN w.previous IS NULL THEN 1
                    WHEN l.generation <> w.previous_generation THEN 4
                    WHEN l.state = 1 THEN 2
                    ELSE 3 END,
               clock_timestamp()
        FROM won w LEFT JOIN troupe.node_lease l ON l.cluster_id = v_cluster AND l.name = w.previous
        ON CONFLICT (cluster_id, pid, slot) DO UPDATE
        SET epoch = excluded.epoch, owner = excluded.owner, previous = excluded.previous,
            cause = excluded.cause, at = excluded.at)
    SELECT w.pid, w.epoch, w.epoch_prev FROM won w
    UNION ALL
    SELECT p.pid, p.epoch, p.epoch FROM troupe.partition p
    WHERE p.cluster_id = v_cluster AND p.pid = ANY (p_pids)
      AND p.owner = p_name AND p.owner_generation = p_generation
    ORDER BY 1;
END $$;

-- No row when the giver itself is not active any more; a row with pid -1 first when it is.
CREATE FUNCTION troupe.partition_transfer(
    p_cluster text, p_name text, p_generation bigint, p_to text, p_to_generation bigint, p_cause int,
    p_pids int[], p_epochs bigint[])
RETURNS TABLE (r_pid int, r_epoch bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_cluster int;
    v_floor bigint;
    v_open boolean;
BEGIN
    SELECT id INTO v_cluster FROM troupe.cluster_meta WHERE name = p_cluster;
    -- Whoever evicts one of the two, and either's own leave, waits until this transaction is over, or
    -- we see what it has done.
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name IN (p_name, p_to) ORDER BY name COLLATE "C" FOR SHARE;
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name = p_name AND generation = p_generation AND state = 0;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- A save holds its partitions FOR SHARE: it is waited for here, so the receiver loads what it wrote.
    PERFORM FROM troupe.partition
    WHERE cluster_id = v_cluster AND pid = ANY (p_pids) ORDER BY pid FOR NO KEY UPDATE;
    v_floor := troupe.epoch_floor();
    v_open := EXISTS (
        SELECT FROM troupe.node_lease
        WHERE cluster_id = v_cluster AND name = p_to AND generation = p_to_generation AND state = 0);
    RETURN QUERY SELECT -1, 0::bigint;
    -- IN … IS TRUE and LATERAL … OFFSET 0: lookups in a hash table and by key, whatever the planner
    -- believes about the sizes. The second part sees the table as it was before the first.
    RETURN QUERY
    WITH moved AS (
        UPDATE troupe.partition p
        SET epoch = greatest(p.epoch, v_floor) + 1, owner = p_to, owner_generation = p_to_generation,
            backup = NULL, changes = p.changes + 1
        WHERE v_open AND p.cluster_id = v_cluster AND p.pid = ANY (p_pids)
          AND p.owner = p_name AND p.owner_generation = p_generation
          AND ((p.pid, p.epoch) IN (SELECT m.pid, m.epoch FROM unnest(p_pids, p_epochs) m (pid, epoch))) IS TRUE
        RETURNING p.pid, p.epoch, p.changes),
    noted AS (
        INSERT INTO troupe.partition_history (cluster_id, pid, slot, epoch, owner, previous, cause, at)
        SELECT v_cluster, m.pid, m.changes % 8, m.epoch, p_to, p_name, p_cause, clock_timestamp()
        FROM moved m
        ON CONFLICT (cluster_id, pid, slot) DO UPDATE
        SET epoch = excluded.epoch, owner = excluded.owner, previous = excluded.previous,
            cause = excluded.cause, at = excluded.at)
    SELECT m.pid, m.epoch FROM moved m
    UNION ALL
    SELECT t.pid, t.epoch FROM unnest(p_pids, p_epochs) m (pid, epoch)
    CROSS JOIN LATERAL (
        SELECT q.pid, q.epoch FROM troupe.partition q
        WHERE q.cluster_id = v_cluster AND q.pid = m.pid AND q.epoch > m.epoch
          AND q.owner = p_to AND q.owner_generation = p_to_generation
        OFFSET 0) t
    ORDER BY 1;
END $$;
