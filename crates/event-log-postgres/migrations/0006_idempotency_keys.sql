-- A key of a caller (`Idempotency-Key`) means one request. Its own stream knows it for ever; this table keeps it from being
-- used for another stream, or after a request that recorded nothing.
--
-- Every writer of keys takes the lock of `log.head` first, as an append does anyway: so of two requests with one key one comes
-- before the other, whatever their services, and no two writers wait for each other.
--
-- First of all: from here to the end of this migration no transaction moves the head. One that has locked it already, in the
-- former `log.append`, waits for the trigger below. Readers of the head wait for nothing.
LOCK TABLE log.head IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE log.idempotency_key (
    day     date             NOT NULL,
    key     uuid             NOT NULL,
    request text COLLATE "C" NOT NULL,
    answer  text COLLATE "C",
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (day, key)
) WITH (
    -- Days are removed some thousand rows at a time: vacuum follows, so that their room is used again.
    autovacuum_vacuum_scale_factor = 0.05
);

COMMENT ON TABLE log.idempotency_key IS
    'The keys of callers'' requests, of today and yesterday at least. It guards every stream against a key of another; what a request recorded is in the events.';
COMMENT ON COLUMN log.idempotency_key.day IS 'The day in UTC on which the key was spent.';
COMMENT ON COLUMN log.idempotency_key.key IS 'The `Idempotency-Key`, or the id made up for a request without one.';
COMMENT ON COLUMN log.idempotency_key.request IS
    'What it was spent on: the stream on which the request recorded, or the digest of a request that recorded nothing itself.';
COMMENT ON COLUMN log.idempotency_key.answer IS
    'For a request that recorded nothing itself, what its repeat is answered with; it may hold prisoner numbers.';

-- As before, with the keys of the batch.
CREATE FUNCTION log.append(
    moved_streams text[], moved_before bigint[], moved_after bigint[],
    streams text[], revisions bigint[], event_ids uuid[], types text[], recorded_ats timestamptz[],
    metadatas bytea[], datas bytea[],
    last_place bigint,
    -- One element a command that has a key: the key, and the stream that the command is for.
    keys uuid[], key_streams text[],
    OUT head_position bigint, OUT head_recorded_at timestamptz, OUT appended boolean,
    OUT elsewhere_streams text[], OUT elsewhere_revisions bigint[],
    -- The keys that were spent on something else, and on what. Then nothing is appended.
    OUT taken_keys uuid[], OUT taken_requests text[], OUT taken_answers text[]
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event_count bigint := cardinality(streams);
    today       date;
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
    IF cardinality(keys) > 0 THEN
        -- The clock, and not the transaction's time, which is from before the wait for the lock. Tomorrow counts too: the
        -- clock may have been set back, or be another server's.
        today := (clock_timestamp() AT TIME ZONE 'UTC')::date;
        -- OFFSET 0 keeps each look-up one by the whole primary key. A plan from when the table was empty, which a session
        -- keeps, would otherwise go through all keys of a day.
        SELECT array_agg(asked.key), array_agg(spent.request), array_agg(spent.answer)
          INTO taken_keys, taken_requests, taken_answers
          FROM unnest(keys, key_streams) AS asked (key, stream)
         CROSS JOIN LATERAL (SELECT known.request, known.answer
                               FROM log.idempotency_key AS known
                              WHERE known.day = ANY (ARRAY[today - 1, today, today + 1]) AND known.key = asked.key
                             OFFSET 0) AS spent
         WHERE spent.request <> asked.stream;
        IF taken_keys IS NOT NULL THEN
            RETURN;
        END IF;
        INSERT INTO log.idempotency_key (day, key, request)
        SELECT today, asked.key, asked.stream FROM unnest(keys, key_streams) AS asked (key, stream)
            ON CONFLICT DO NOTHING;
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
    -- Keeps the trigger on `log.head` from looking for the keys in these events.
    PERFORM set_config('ledger.keys_spent_to', (head_position + event_count)::text, true);
    UPDATE log.head
       SET position = head_position + event_count,
           recorded_at = greatest(head_recorded_at, recorded_ats[event_count]);
    PERFORM pg_notify('allocation_ledger_log', (head_position + event_count)::text);
    appended := true;
END
$$;
COMMENT ON FUNCTION log.append(text[], bigint[], bigint[], text[], bigint[], uuid[], text[], timestamptz[], bytea[], bytea[], bigint, uuid[], text[]) IS
    'The only writer of events. It spends the keys of their commands, or appends nothing where one was spent on something else.';

-- Takes keys from events. Ids of the ledger's own commands are no keys: version 8, from `1ed9e25e` on.
CREATE FUNCTION log.learn_keys(after_position bigint, to_position bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- In JSON no text has a quotation mark without a backslash before it, so this is the member itself. In the events' order:
    -- of a key on two streams the first use counts.
    INSERT INTO log.idempotency_key (day, key, request)
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, found.key::uuid, found.stream
      FROM (SELECT event.position, event.stream,
                   substring(encode(event.metadata, 'escape') FROM
                             '"commandId":"(?!1ed9e25e-[0-9a-f]{4}-8)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"') AS key
              FROM log.event AS event
             WHERE event.position > after_position AND event.position <= to_position
               AND event.recorded_at > clock_timestamp() - interval '24 hours') AS found
     WHERE found.key IS NOT NULL
     ORDER BY found.position
        ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION log.learn_keys(bigint, bigint) IS 'Takes the keys of the last day from the events after a position, up to another.';

-- For a writer that gives no keys: a copy of a log, and a service that was started before this migration, also in a call that
-- waited for its end. They are taken from the events, and none is refused, since the caller has decided without them.
CREATE FUNCTION log.learn_keys_of_batch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM log.learn_keys(OLD.position, NEW.position);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION log.learn_keys_of_batch() IS 'Takes the keys of the last day from the events of a batch that came without keys.';
CREATE TRIGGER head_learns_keys AFTER UPDATE ON log.head
    FOR EACH ROW WHEN (NEW.position > OLD.position
                       AND current_setting('ledger.keys_spent_to', true) IS DISTINCT FROM NEW.position::text)
    EXECUTE FUNCTION log.learn_keys_of_batch();

-- Spends keys on requests that record nothing themselves. Answers for each, in order, whether that was the first use of the key
-- and, where it was not, what it was spent on.
CREATE FUNCTION log.spend_keys(
    new_keys uuid[], new_requests text[], new_answers text[],
    -- Whether a key that was spent on the same request gets this answer in the place of the one before.
    replaces_answers boolean[],
    OUT is_first boolean, OUT spent_on text, OUT answered_with text
)
RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today date;
BEGIN
    PERFORM FROM log.head FOR UPDATE;
    today := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    FOR place IN 1 .. cardinality(new_keys) LOOP
        IF replaces_answers[place] THEN
            UPDATE log.idempotency_key AS spent
               SET answer = new_answers[place]
             WHERE spent.day IN (today - 1, today, today + 1)
               AND spent.key = new_keys[place] AND spent.request = new_requests[place];
        END IF;
        SELECT false, spent.request, spent.answer
          INTO is_first, spent_on, answered_with
          FROM log.idempotency_key AS spent
         WHERE spent.day = ANY (ARRAY[today - 1, today, today + 1]) AND spent.key = new_keys[place]
         ORDER BY spent.day
         LIMIT 1;
        IF NOT FOUND THEN
            INSERT INTO log.idempotency_key (day, key, request, answer)
            VALUES (today, new_keys[place], new_requests[place], new_answers[place]);
            is_first := true;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION log.spend_keys(uuid[], text[], text[], boolean[]) IS
    'Spends keys on requests that record nothing themselves; answers for each whether it was the first use, or else what it was spent on.';

-- Waits for no one: rows that another call is removing are passed over. Nothing looks at days before yesterday, so what is left
-- for the next call does no harm.
CREATE FUNCTION log.remove_old_keys(OUT removed bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- As a value, so that the index leads to the days before it, and no others are looked at.
    yesterday date := (clock_timestamp() AT TIME ZONE 'UTC')::date - 1;
BEGIN
    DELETE FROM log.idempotency_key
     WHERE ctid = ANY (ARRAY(SELECT kept.ctid
                               FROM log.idempotency_key AS kept
                              WHERE kept.day < yesterday
                              ORDER BY kept.day, kept.key
                              LIMIT 2000
                                FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS removed = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION log.remove_old_keys() IS 'Removes some keys of days before yesterday; answers how many.';

-- As before; `ledger_append` also spends keys.
CREATE OR REPLACE FUNCTION log.grant_roles() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledger_append', 'ledger_project', 'ledger_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN CONTINUE;
            END;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA log TO %I', role);
        -- `log.migration` tells a service whether the log is as it knows it.
        EXECUTE format('GRANT SELECT ON log.event, log.head, log.stream, log.migration TO %I', role);
        IF role = 'ledger_append' THEN
            GRANT EXECUTE ON FUNCTION
                log.append(text[], bigint[], bigint[], text[], bigint[], uuid[], text[], timestamptz[], bytea[], bytea[], bigint),
                log.append(text[], bigint[], bigint[], text[], bigint[], uuid[], text[], timestamptz[], bytea[], bytea[], bigint, uuid[], text[]),
                log.make_room(), log.save_snapshot(text, bigint, bytea),
                log.spend_keys(uuid[], text[], text[], boolean[]), log.remove_old_keys() TO ledger_append;
            GRANT SELECT ON log.snapshot, log.idempotency_key TO ledger_append;
        END IF;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION
    log.append(text[], bigint[], bigint[], text[], bigint[], uuid[], text[], timestamptz[], bytea[], bytea[], bigint, uuid[], text[]),
    log.learn_keys(bigint, bigint), log.learn_keys_of_batch(), log.spend_keys(uuid[], text[], text[], boolean[]), log.remove_old_keys() FROM PUBLIC;

-- The keys of the last day. Positions are in the order of recorded times but for copied logs, so the look back ends where a
-- whole stretch is older.
DO $$
DECLARE
    last  bigint := (SELECT position FROM log.head);
    first bigint := last;
BEGIN
    WHILE EXISTS (SELECT FROM log.event AS event
                   WHERE event.position > first - 100000 AND event.position <= first
                     AND event.recorded_at > clock_timestamp() - interval '24 hours') LOOP
        first := first - 100000;
    END LOOP;
    PERFORM log.learn_keys(first, last);
END
$$;

SELECT log.grant_roles();

COMMENT ON COLUMN log.event.event_id IS
    'UUIDv5 of the command id, the stream and the event''s index in the command; of earlier events, without the stream. Not indexed: repeats are found by stream and revision.';
