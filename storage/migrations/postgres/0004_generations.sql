-- Generations that a failover to another copy of the data has lost are not handed out again: two
-- runs of a name that are one for the store could write over each other.
CREATE OR REPLACE FUNCTION troupe.node_register(
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
    o_generation := greatest(coalesce(l.generation, 0), troupe.epoch_floor() - (1::bigint << 40)) + 1;
    INSERT INTO troupe.node_lease (
        cluster_id, name, generation, incarnation, addr, gossip, proof, renew_seq, ttl_ms, state, renewed_at)
    VALUES (c.id, p_name, o_generation, p_incarnation, p_addr, p_gossip, p_proof, 0, p_ttl_ms, 0,
            clock_timestamp())
    ON CONFLICT (cluster_id, name) DO UPDATE
    SET generation = excluded.generation, incarnation = excluded.incarnation, addr = excluded.addr,
        gossip = excluded.gossip, proof = excluded.proof, renew_seq = 0, ttl_ms = excluded.ttl_ms,
        state = 0, renewed_at = excluded.renewed_at;
END $$;
