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
