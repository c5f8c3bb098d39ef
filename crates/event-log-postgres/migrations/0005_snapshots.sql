-- Snapshots: the state that a service has built from the log up to a position, so that its next start need not read the log
-- from the beginning. A cache: an empty table costs the next start its time, and nothing else.

CREATE TABLE log.snapshot (
    name     text   NOT NULL,
    position bigint NOT NULL,
    content  bytea  NOT NULL,
    CONSTRAINT snapshot_pkey PRIMARY KEY (name),
    CONSTRAINT snapshot_position_positive CHECK (position > 0)
);
-- Packed numbers: compressing them again takes time and saves nothing.
ALTER TABLE log.snapshot ALTER COLUMN content SET STORAGE EXTERNAL;

COMMENT ON TABLE log.snapshot IS
    'The state that a service has built from the log up to a position, for its next start: a cache that may be emptied. It is derived from the events, and no reader of them needs it.';
COMMENT ON COLUMN log.snapshot.name IS 'The name that the service gives it.';
COMMENT ON COLUMN log.snapshot.position IS 'Position of the last event that it is made of.';
COMMENT ON COLUMN log.snapshot.content IS 'The service''s own format; it holds prisoner numbers.';

CREATE FUNCTION log.save_snapshot(new_name text, new_position bigint, new_content bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One writer at a time, so that the next statement sees both the snapshot before and a head that is not behind it.
    PERFORM pg_advisory_xact_lock(hashtextextended('log.save_snapshot', 0));
    INSERT INTO log.snapshot AS kept (name, position, content) VALUES (new_name, new_position, new_content)
    ON CONFLICT (name) DO UPDATE SET position = EXCLUDED.position, content = EXCLUDED.content
     WHERE kept.position <= EXCLUDED.position
        OR kept.position > (SELECT head.position FROM log.head AS head);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION log.save_snapshot(text, bigint, bytea) IS
    'The only writer of snapshots. Answers false, and saves nothing, where there is a newer one. One that is beyond the head is of another log, and gives way to any.';
REVOKE ALL ON FUNCTION log.save_snapshot(text, bigint, bytea) FROM PUBLIC;

-- As before; `ledger_append` also keeps snapshots.
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
                log.make_room(), log.save_snapshot(text, bigint, bytea) TO ledger_append;
            GRANT SELECT ON log.snapshot TO ledger_append;
        END IF;
    END LOOP;
END
$$;

SELECT log.grant_roles();
