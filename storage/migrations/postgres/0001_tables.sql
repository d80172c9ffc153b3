-- The tables of docs/stores.md in the schema troupe, and the two operations that need more than one
-- statement as functions: inside a function of READ COMMITTED each statement sees what is committed
-- when it begins, which a single statement with its one snapshot does not.

CREATE TABLE troupe.cluster_meta (
    id             int    GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text   NOT NULL UNIQUE,
    uid            text   NOT NULL,
    partitions     int    NOT NULL,
    schema_version int    NOT NULL  -- what a program must know to take part in this cluster
);

CREATE TABLE troupe.node_lease (
    cluster_id  int         NOT NULL REFERENCES troupe.cluster_meta,
    name        text        NOT NULL,
    generation  bigint      NOT NULL,
    incarnation bigint      NOT NULL,  -- 64 bits to compare, not a number
    addr        text        NOT NULL,
    proof       text        NOT NULL,
    renew_seq   bigint      NOT NULL,
    ttl_ms      bigint      NOT NULL,
    state       int         NOT NULL,  -- 0 active, 1 left, 2 dead
    renewed_at  timestamptz NOT NULL,
    PRIMARY KEY (cluster_id, name)
) WITH (fillfactor = 50);

CREATE TABLE troupe.partition (
    cluster_id       int    NOT NULL REFERENCES troupe.cluster_meta,
    pid              int    NOT NULL,
    epoch            bigint NOT NULL,
    owner            text,    -- node_lease.name; the run of it that owns is:
    owner_generation bigint,
    backup           text,
    PRIMARY KEY (cluster_id, pid)
) WITH (fillfactor = 50);

-- An id may contain U+0000, which text cannot: bytea. No index but the key: updates stay HOT.
CREATE TABLE troupe.entity (
    cluster_id int     NOT NULL,
    pid        int     NOT NULL,
    kind       text    COLLATE "C" NOT NULL,
    id         bytea   NOT NULL,
    epoch      bigint  NOT NULL,
    version    bigint  NOT NULL,
    deleted    boolean NOT NULL,
    state      bytea   NOT NULL,
    dedup      bytea   NOT NULL,
    PRIMARY KEY (cluster_id, pid, kind, id)
) WITH (fillfactor = 80);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE troupe.entity ALTER COLUMN state SET COMPRESSION lz4;
        ALTER TABLE troupe.entity ALTER COLUMN dedup SET COMPRESSION lz4;
    END IF;
END $$;

-- For people.
CREATE VIEW troupe.entity_names AS
    SELECT c.name AS cluster, e.pid, e.kind, encode(e.id, 'escape') AS id, e.epoch, e.version, e.deleted,
           octet_length(e.state) AS state_bytes
    FROM troupe.entity e JOIN troupe.cluster_meta c ON c.id = e.cluster_id;

-- outcome 0: registered as generation; 1: the name is held by the run in h_*; 2: other partition count.
CREATE FUNCTION troupe.node_register(
    p_cluster text, p_partitions int, p_name text, p_incarnation bigint, p_addr text, p_proof text,
    p_ttl_ms bigint, p_supersede boolean, p_generation bigint, p_renew_seq bigint,
    OUT outcome int, OUT o_generation bigint, OUT o_uid text, OUT o_partitions int,
    OUT h_generation bigint, OUT h_incarnation bigint, OUT h_addr text, OUT h_proof text,
    OUT h_renew_seq bigint, OUT h_ttl_ms bigint, OUT h_expired boolean, OUT h_age_ms bigint)
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
            SET addr = p_addr, proof = p_proof, ttl_ms = p_ttl_ms, renew_seq = renew_seq + 1,
                renewed_at = clock_timestamp()
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
            h_expired := h_age_ms > l.ttl_ms;
            RETURN;
        END IF;
    END IF;
    outcome := 0;
    o_generation := coalesce(l.generation, 0) + 1;
    INSERT INTO troupe.node_lease
    VALUES (c.id, p_name, o_generation, p_incarnation, p_addr, p_proof, 0, p_ttl_ms, 0, clock_timestamp())
    ON CONFLICT (cluster_id, name) DO UPDATE
    SET generation = excluded.generation, incarnation = excluded.incarnation, addr = excluded.addr,
        proof = excluded.proof, renew_seq = 0, ttl_ms = excluded.ttl_ms, state = 0,
        renewed_at = excluded.renewed_at;
END $$;

-- No row when the claimant itself is not active any more; a row with pid -1 first when it is.
CREATE FUNCTION troupe.partition_claim(p_cluster text, p_name text, p_generation bigint, p_pids int[])
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
    v_floor := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint << 40;
    RETURN QUERY SELECT -1, 0::bigint, 0::bigint;
    RETURN QUERY
    WITH won AS (
        UPDATE troupe.partition p
        SET epoch = greatest(p.epoch, v_floor) + 1, owner = p_name, owner_generation = p_generation,
            backup = NULL
        FROM troupe.partition old
        WHERE p.cluster_id = v_cluster AND p.pid = ANY (p_pids)
          AND old.cluster_id = p.cluster_id AND old.pid = p.pid
          AND (p.owner, p.owner_generation) IS DISTINCT FROM (p_name, p_generation)
          AND NOT EXISTS (
              SELECT FROM troupe.node_lease l
              WHERE l.cluster_id = v_cluster AND l.name = p.owner AND l.generation = p.owner_generation
                AND l.state = 0)
        RETURNING p.pid, p.epoch, old.epoch AS epoch_prev)
    SELECT w.pid, w.epoch, w.epoch_prev FROM won w
    UNION ALL
    SELECT p.pid, p.epoch, p.epoch FROM troupe.partition p
    WHERE p.cluster_id = v_cluster AND p.pid = ANY (p_pids)
      AND p.owner = p_name AND p.owner_generation = p_generation
    ORDER BY 1;
END $$;
