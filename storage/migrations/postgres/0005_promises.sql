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

-- What a node has to know of another one before it may take over from it: for how long that one may
-- serve without the store, and whether it takes partitions at all. What the earlier steps made still
-- answers as it did, for nodes of a program that knows only that.

ALTER TABLE troupe.node_lease
    ADD COLUMN outage_ms bigint,  -- after its last renewal; NULL: it does not tell
    ADD COLUMN draining boolean NOT NULL DEFAULT false,
    -- Who knows of whom: the number that the name got when it became active, and the highest one that the run has
    -- been told of (storage/store.h, REGISTER and RENEW).
    ADD COLUMN joined bigint NOT NULL DEFAULT 0,  -- 0: it does not tell
    ADD COLUMN seen bigint NOT NULL DEFAULT 0;

ALTER TABLE troupe.cluster_meta ADD COLUMN joins bigint NOT NULL DEFAULT 0;  -- the last one that was given

-- Whether a lease stands by our clock. A renewal that lies in the future, by a clock that was ahead, counts
-- as one of this moment, for one TTL at the most.
CREATE FUNCTION troupe.is_fresh(p_renewed_at timestamptz, p_ttl_ms bigint) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT clock_timestamp() BETWEEN p_renewed_at - p_ttl_ms * interval '1 ms'
                                 AND p_renewed_at + p_ttl_ms * interval '1 ms'
$$;

-- As in 0004, with outage_ms, draining, and who knows of whom.
CREATE FUNCTION troupe.node_register(
    p_cluster text, p_partitions int, p_name text, p_incarnation bigint, p_addr text, p_gossip text,
    p_proof text, p_ttl_ms bigint, p_outage_ms bigint, p_draining boolean, p_supersede boolean,
    p_generation bigint, p_renew_seq bigint, p_former_gone boolean,
    OUT outcome int, OUT o_generation bigint, OUT o_uid text, OUT o_partitions int,
    OUT h_generation bigint, OUT h_incarnation bigint, OUT h_addr text, OUT h_proof text,
    OUT h_renew_seq bigint, OUT h_ttl_ms bigint, OUT h_expired boolean, OUT h_age_ms bigint,
    OUT h_gossip text, OUT h_outage_ms bigint, OUT h_draining boolean, OUT o_joined bigint)
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
                outage_ms = p_outage_ms, draining = p_draining, renew_seq = renew_seq + 1,
                renewed_at = clock_timestamp()
            WHERE cluster_id = c.id AND name = p_name;
            outcome := 0;
            o_generation := l.generation;
            o_joined := l.joined;
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
            h_expired := NOT troupe.is_fresh(l.renewed_at, l.ttl_ms);
            h_gossip := l.gossip;
            h_outage_ms := l.outage_ms;
            h_draining := l.draining;
            RETURN;
        END IF;
    END IF;
    outcome := 0;
    o_generation := greatest(coalesce(l.generation, 0), troupe.epoch_floor() - (1::bigint << 40)) + 1;
    o_joined := CASE WHEN l.state = 0 AND p_former_gone THEN nullif(l.joined, 0) END;
    IF o_joined IS NULL THEN
        UPDATE troupe.cluster_meta SET joins = greatest(joins, troupe.epoch_floor()) + 1
        WHERE id = c.id RETURNING joins INTO o_joined;
    END IF;
    INSERT INTO troupe.node_lease (
        cluster_id, name, generation, incarnation, addr, gossip, proof, renew_seq, ttl_ms, outage_ms,
        draining, joined, seen, state, renewed_at)
    VALUES (c.id, p_name, o_generation, p_incarnation, p_addr, p_gossip, p_proof, 0, p_ttl_ms,
            p_outage_ms, p_draining, o_joined, 0, 0, clock_timestamp())
    ON CONFLICT (cluster_id, name) DO UPDATE
    SET generation = excluded.generation, incarnation = excluded.incarnation, addr = excluded.addr,
        gossip = excluded.gossip, proof = excluded.proof, renew_seq = 0, ttl_ms = excluded.ttl_ms,
        outage_ms = excluded.outage_ms, draining = excluded.draining, joined = excluded.joined, seen = 0,
        state = 0, renewed_at = excluded.renewed_at;
END $$;

-- That of 0004: a run of an older program, which does not tell, leaves nothing of its predecessor's word.
CREATE OR REPLACE FUNCTION troupe.node_register(
    p_cluster text, p_partitions int, p_name text, p_incarnation bigint, p_addr text, p_gossip text,
    p_proof text, p_ttl_ms bigint, p_supersede boolean, p_generation bigint, p_renew_seq bigint,
    OUT outcome int, OUT o_generation bigint, OUT o_uid text, OUT o_partitions int,
    OUT h_generation bigint, OUT h_incarnation bigint, OUT h_addr text, OUT h_proof text,
    OUT h_renew_seq bigint, OUT h_ttl_ms bigint, OUT h_expired boolean, OUT h_age_ms bigint,
    OUT h_gossip text)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT n.outcome, n.o_generation, n.o_uid, n.o_partitions, n.h_generation, n.h_incarnation, n.h_addr,
           n.h_proof, n.h_renew_seq, n.h_ttl_ms, n.h_expired, n.h_age_ms, n.h_gossip
    INTO outcome, o_generation, o_uid, o_partitions, h_generation, h_incarnation, h_addr,
         h_proof, h_renew_seq, h_ttl_ms, h_expired, h_age_ms, h_gossip
    FROM troupe.node_register(p_cluster, p_partitions, p_name, p_incarnation, p_addr, p_gossip, p_proof,
                              p_ttl_ms, NULL::bigint, false, p_supersede, p_generation, p_renew_seq, false) n;
END $$;

-- As in 0002, by is_fresh; p_why is an enum store_evict_why: 2 is an operator's order, after which the
-- target has left (state 1), and which is for dead runs, too, with generation 0 of whichever.
CREATE FUNCTION troupe.node_evict(
    p_cluster text, p_name text, p_generation bigint, p_target text, p_target_generation bigint,
    p_renew_seq bigint, p_why int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_cluster int;
    v_end int := CASE p_why WHEN 2 THEN 1 ELSE 2 END;
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
    UPDATE troupe.node_lease SET state = v_end
    WHERE cluster_id = v_cluster AND name = p_target
      AND (generation = p_target_generation AND state = 0 AND renew_seq = p_renew_seq
               AND (p_why > 0 OR NOT troupe.is_fresh(renewed_at, ttl_ms))
           OR p_why = 2 AND state = 2 AND p_target_generation IN (0, generation));
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name = p_target AND state = v_end
      AND (generation = p_target_generation OR p_why = 2 AND p_target_generation = 0);
    RETURN CASE WHEN FOUND THEN 2 ELSE 1 END;
END $$;

CREATE OR REPLACE FUNCTION troupe.node_evict(
    p_cluster text, p_name text, p_generation bigint, p_target text, p_target_generation bigint,
    p_renew_seq bigint) RETURNS int
LANGUAGE sql AS $$
    SELECT troupe.node_evict(p_cluster, p_name, p_generation, p_target, p_target_generation, p_renew_seq, 0)
$$;

-- 0: the node itself is not active any more; 1: refused, for nobody would be left; 2: done.
CREATE FUNCTION troupe.node_drain(p_cluster text, p_name text, p_generation bigint, p_drain boolean)
RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_cluster int;
BEGIN
    SELECT id INTO v_cluster FROM troupe.cluster_meta WHERE name = p_cluster;
    -- All rows, in the order of names: of two that drain at once the second one waits here, and then
    -- sees that the first one does.
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND state = 0 ORDER BY name COLLATE "C" FOR NO KEY UPDATE;
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name = p_name AND generation = p_generation AND state = 0;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    PERFORM FROM troupe.node_lease
    WHERE cluster_id = v_cluster AND name <> p_name AND state = 0 AND NOT draining
      AND troupe.is_fresh(renewed_at, ttl_ms);
    IF p_drain AND NOT FOUND THEN
        RETURN 1;
    END IF;
    UPDATE troupe.node_lease SET draining = p_drain WHERE cluster_id = v_cluster AND name = p_name;
    RETURN 2;
END $$;

-- Which kinds each node has, and which of them have opened: node/runtime/kinds_open.h has their form. Nodes of
-- a program that knows nothing of them leave them as they are.

ALTER TABLE troupe.node_lease ADD COLUMN kinds text NOT NULL DEFAULT '';

ALTER TABLE troupe.cluster_meta ADD COLUMN kinds text NOT NULL DEFAULT '';
