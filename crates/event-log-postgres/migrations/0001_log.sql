-- The event log. Schema `log` exists already: the table that records the migrations is in it.

CREATE TABLE log.head (
    position    bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT head_position_not_negative CHECK (position >= 0)
) WITH (
    -- One row, rewritten with every batch: room on the page keeps the rewrites in place, and vacuum looks often.
    fillfactor = 10,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);
CREATE UNIQUE INDEX head_one_row ON log.head ((true));
INSERT INTO log.head (position, recorded_at) VALUES (0, 'epoch');

COMMENT ON SCHEMA log IS 'The event log: the data of the ledger, from which everything else is derived. Append only.';
COMMENT ON TABLE log.head IS 'One row: the end of the log. Whoever appends holds its lock until the commit, so positions are given in commit order.';
COMMENT ON COLUMN log.head.position IS 'Position of the last event; 0 while there is none.';
COMMENT ON COLUMN log.head.recorded_at IS 'Recorded time of the last event; no later event is recorded earlier.';

-- Names compare byte by byte: faster than by a language's rules, and an upgrade of the machine's locales changes nothing.
CREATE TABLE log.stream (
    stream   text COLLATE "C" NOT NULL,
    revision bigint           NOT NULL,
    CONSTRAINT stream_pkey PRIMARY KEY (stream),
    CONSTRAINT stream_revision_not_negative CHECK (revision >= 0)
) WITH (
    -- Only `revision` changes, which no index covers: room on the page keeps the change there.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05
);

COMMENT ON TABLE log.stream IS 'One row a stream: guards its revisions.';
COMMENT ON COLUMN log.stream.stream IS '`prisoner-` and a prisoner number, or `prison-` and a prison code.';
COMMENT ON COLUMN log.stream.revision IS 'Revision of the stream''s last event.';

CREATE TABLE log.event (
    position    bigint           NOT NULL,
    stream      text COLLATE "C" NOT NULL,
    revision    bigint           NOT NULL,
    event_id    uuid             NOT NULL,
    type        text COLLATE "C" NOT NULL,
    recorded_at timestamptz      NOT NULL,
    metadata    bytea            NOT NULL,
    data        bytea            NOT NULL,
    CONSTRAINT event_pkey PRIMARY KEY (position),
    CONSTRAINT event_position_positive CHECK (position > 0),
    CONSTRAINT event_revision_not_negative CHECK (revision >= 0)
) PARTITION BY RANGE (position);

COMMENT ON TABLE log.event IS 'Every event, as appended. Rows are never changed and never removed.';
COMMENT ON COLUMN log.event.position IS 'Order in the whole log: 1, 2, 3 … without gaps. A gap is damage.';
COMMENT ON COLUMN log.event.stream IS 'The stream it belongs to.';
COMMENT ON COLUMN log.event.revision IS 'Place in its stream: 0, 1, 2 … without gaps.';
COMMENT ON COLUMN log.event.event_id IS 'UUIDv5 of the command id and the event''s index in the command. Not indexed: repeats are found by stream and revision.';
COMMENT ON COLUMN log.event.type IS 'The event''s type, e.g. AllocationMade.';
COMMENT ON COLUMN log.event.recorded_at IS 'When the ledger learnt of it; never earlier than that of the event before it.';
COMMENT ON COLUMN log.event.metadata IS 'Canonical JSON (RFC 8785) in UTF-8, byte for byte as appended.';
COMMENT ON COLUMN log.event.data IS 'Canonical JSON (RFC 8785) in UTF-8, byte for byte as appended.';

CREATE FUNCTION log.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append only: % of %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation',
              HINT = 'What was entered in error is voided by a further event.';
END
$$;
COMMENT ON FUNCTION log.refuse_change() IS 'Keeps events from being changed or removed.';

-- A row trigger is inherited by every partition; one on TRUNCATE is not, so each partition gets its own when it is made.
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON log.event
    FOR EACH ROW EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON log.event
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();

CREATE FUNCTION log.make_partition(first_position bigint, next_position bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    name text := format('event_from_%s', first_position);
BEGIN
    IF to_regclass('log.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Several processes may find at the same time that a partition is due. Who waited for the lock looks again, in the
    -- table itself: what to_regclass remembers may be from before the wait.
    PERFORM pg_advisory_xact_lock(hashtextextended('log.make_partition', 0));
    PERFORM FROM pg_class WHERE relname = name AND relnamespace = 'log'::regnamespace;
    IF FOUND THEN
        RETURN;
    END IF;
    -- Made apart and attached: that lets readers and writers go on, where CREATE TABLE ... PARTITION OF would shut
    -- them out.
    EXECUTE format('CREATE TABLE log.%I (LIKE log.event INCLUDING CONSTRAINTS INCLUDING COMMENTS)', name);
    EXECUTE format('ALTER TABLE log.%I ADD CONSTRAINT %I PRIMARY KEY (position)', name, name || '_pkey');
    EXECUTE format('ALTER TABLE log.%I ADD CONSTRAINT %I UNIQUE (stream, revision)',
                   name, name || '_stream_revision_key');
    EXECUTE format('ALTER TABLE log.event ATTACH PARTITION log.%I FOR VALUES FROM (%s) TO (%s)',
                   name, first_position, next_position);
    EXECUTE format('CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON log.%I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change()', name);
    EXECUTE format('COMMENT ON TABLE log.%I IS %L', name,
                   format('Events from position %s to %s.', first_position, next_position - 1));
END
$$;
COMMENT ON FUNCTION log.make_partition(bigint, bigint) IS
    'Makes the partition of log.event for the positions from the first up to, without, the second; where there is one already, does nothing.';

-- Appends a batch, or, where a stream is not where the batch takes it to be, says where it is and appends nothing. One
-- statement is one transaction and one round trip: the head row's lock is never held while a client is waited for.
CREATE FUNCTION log.append(
    -- One element a stream: its name, the revision that it is taken to be at (null: it does not exist), and the one
    -- that it will be at.
    moved_streams text[], moved_before bigint[], moved_after bigint[],
    -- One element an event, in order. Positions follow the head's.
    streams text[], revisions bigint[], event_ids uuid[], types text[], recorded_ats timestamptz[],
    metadatas bytea[], datas bytea[],
    -- The last position that the caller knows a partition for.
    last_place bigint,
    -- The head before the batch; whether the batch was appended; and the streams that were elsewhere, and where.
    OUT head_position bigint, OUT head_recorded_at timestamptz, OUT appended boolean,
    OUT elsewhere_streams text[], OUT elsewhere_revisions bigint[]
)
LANGUAGE plpgsql AS $$
DECLARE
    event_count bigint := cardinality(streams);
BEGIN
    appended := false;
    -- The writers of all processes queue here, so that positions are given in commit order.
    SELECT position, recorded_at INTO STRICT head_position, head_recorded_at FROM log.head FOR UPDATE;
    IF head_position + event_count > last_place THEN
        RETURN;
    END IF;
    -- A statement of its own: its snapshot is taken after the lock, so it sees every append before this one.
    SELECT array_agg(taken.stream), array_agg(taken.revision)
      INTO elsewhere_streams, elsewhere_revisions
      FROM (SELECT moved.stream, moved.before,
                   (SELECT known.revision FROM log.stream AS known WHERE known.stream = moved.stream) AS revision
              FROM unnest(moved_streams, moved_before) AS moved (stream, before)) AS taken
     WHERE taken.revision IS DISTINCT FROM taken.before;
    IF elsewhere_streams IS NOT NULL THEN
        RETURN;
    END IF;
    INSERT INTO log.event (position, stream, revision, event_id, type, recorded_at, metadata, data)
    SELECT head_position + new.place, new.stream, new.revision, new.event_id, new.type,
           greatest(new.recorded_at, head_recorded_at), new.metadata, new.data
      FROM unnest(streams, revisions, event_ids, types, recorded_ats, metadatas, datas) WITH ORDINALITY
           AS new (stream, revision, event_id, type, recorded_at, metadata, data, place);
    INSERT INTO log.stream (stream, revision)
    SELECT moved.stream, moved.after
      FROM unnest(moved_streams, moved_before, moved_after) AS moved (stream, before, after)
     WHERE moved.before IS NULL;
    UPDATE log.stream AS known
       SET revision = moved.after
      FROM unnest(moved_streams, moved_before, moved_after) AS moved (stream, before, after)
     WHERE known.stream = moved.stream AND moved.before IS NOT NULL;
    UPDATE log.head
       SET position = head_position + event_count,
           recorded_at = greatest(head_recorded_at, recorded_ats[event_count]);
    PERFORM pg_notify('allocation_ledger_log', (head_position + event_count)::text);
    appended := true;
END
$$;
COMMENT ON FUNCTION log.append IS
    'The only writer of events. Recorded times must rise within a batch.';

-- `jsonb` cannot hold the character NUL: a body with one is shown as the text it is rather than failing the query.
CREATE VIEW log.event_json AS
SELECT position, stream, revision, event_id, type, recorded_at,
       CASE WHEN strpos(convert_from(metadata, 'UTF8'), '\u0000') > 0
            THEN to_jsonb(convert_from(metadata, 'UTF8'))
            ELSE convert_from(metadata, 'UTF8')::jsonb END AS metadata,
       CASE WHEN strpos(convert_from(data, 'UTF8'), '\u0000') > 0
            THEN to_jsonb(convert_from(data, 'UTF8'))
            ELSE convert_from(data, 'UTF8')::jsonb END AS data
  FROM log.event;
COMMENT ON VIEW log.event_json IS 'The events with their bodies as jsonb, for looking at them. The program reads log.event.';
