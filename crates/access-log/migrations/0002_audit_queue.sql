-- Entries that the audit queue of HMPPS has not had yet, and how far its sender has come. Entries become visible late and out of
-- order: a sender that kept the time of the last one would pass over those that come later with an earlier time. So each new one is noted in the transaction that adds it, and its note is deleted
-- once it is sent. While there is no row in `audit_checkpoint`, nothing is noted.
--
-- | role | the service | here |
-- |---|---|---|
-- | ledger_integrate | integration | reads the entries that are noted, by `access.read_unsent`; deletes their notes; moves the checkpoint |
-- | ledger_project | projector | measures how far the sender is behind |

CREATE TABLE access.audit_checkpoint (
    singleton   boolean     NOT NULL DEFAULT true CONSTRAINT audit_checkpoint_pkey PRIMARY KEY,
    position    bigint      NOT NULL,
    event_id    uuid,
    recorded_at timestamptz,
    epoch       bigint      NOT NULL DEFAULT 0,
    waits_for   text,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_checkpoint_singleton CHECK (singleton)
);

COMMENT ON TABLE access.audit_checkpoint IS 'How far the sender to the audit queue has come in the log. While it has its row, new entries are noted in `unsent_entry`.';
COMMENT ON COLUMN access.audit_checkpoint.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN access.audit_checkpoint.position IS 'Position of the last event of the log that was sent.';
COMMENT ON COLUMN access.audit_checkpoint.event_id IS 'That event''s id, by which the checkpoint is known to be of this log; null before the first.';
COMMENT ON COLUMN access.audit_checkpoint.recorded_at IS 'When that event was recorded; null before the first.';
COMMENT ON COLUMN access.audit_checkpoint.epoch IS 'Raised by each sender that takes over, so that one that lost its lock cannot move the checkpoint.';
COMMENT ON COLUMN access.audit_checkpoint.waits_for IS 'The reason why the active sender waits; null while it does not.';
COMMENT ON COLUMN access.audit_checkpoint.begun_at IS 'When the first sender began.';

CREATE TABLE access.unsent_entry (
    at        timestamptz NOT NULL,
    id        uuid        NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT unsent_entry_pkey PRIMARY KEY (at, id),
    -- A note without its entry would stand before the others for ever.
    CONSTRAINT unsent_entry_entry_fkey FOREIGN KEY (at, id) REFERENCES access.entry ON DELETE CASCADE
);
CREATE INDEX unsent_entry_queued_at ON access.unsent_entry (queued_at, at, id);

COMMENT ON TABLE access.unsent_entry IS 'The keys of the entries that the audit queue has not had yet. They are kept until it has, however old they are.';
COMMENT ON COLUMN access.unsent_entry.at IS 'When the entry was asked: the first part of its key.';
COMMENT ON COLUMN access.unsent_entry.id IS 'The second part of its key.';
COMMENT ON COLUMN access.unsent_entry.queued_at IS 'When the entry was stored.';

-- A trigger for whole statements: one for each batch of entries. It runs as the owner, so that a query service needs no right
-- to the notes.
CREATE FUNCTION access.note_unsent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM access.audit_checkpoint) THEN
        INSERT INTO access.unsent_entry (at, id) SELECT at, id FROM added ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION access.note_unsent() IS 'Notes new entries for the audit queue, if a sender has begun.';

CREATE TRIGGER entry_note_unsent AFTER INSERT ON access.entry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION access.note_unsent();

-- An entry has up to some 10,000 numbers, so a page ends after 100,000 of them.
CREATE FUNCTION access.read_unsent(rows integer) RETURNS SETOF access.entry
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (entry).* FROM (
        SELECT entry, row_number() OVER waiting AS place, sum(cardinality(entry.prisoners)) OVER waiting AS numbers
          FROM (SELECT * FROM access.unsent_entry ORDER BY queued_at, at, id LIMIT least(rows, 1000)) AS unsent
          JOIN access.entry ON entry.at = unsent.at AND entry.id = unsent.id
        WINDOW waiting AS (ORDER BY unsent.queued_at, unsent.at, unsent.id)
    ) AS page
     WHERE place = 1 OR numbers <= 100000
     ORDER BY place
$$;
COMMENT ON FUNCTION access.read_unsent(integer) IS 'Entries that the audit queue has not had yet, those first that were stored first.';

-- No lock but that of the row: entries are added meanwhile, and one that was being added may still be noted.
CREATE FUNCTION access.end_audit() RETURNS bigint
LANGUAGE sql AS $$
    DELETE FROM access.audit_checkpoint;
    SELECT count(*) FROM access.unsent_entry;
$$;
COMMENT ON FUNCTION access.end_audit() IS
    'Forgets how far the audit queue has come in the log, for its owner to call: a later sender begins anew at the log''s end. Answers how many reads the queue has not had, which that sender sends, unless they are deleted from access.unsent_entry.';

-- As before, but for entries that are not sent yet.
CREATE OR REPLACE FUNCTION access.remove_old(kept_days integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    -- KEPT_DAYS_MIN in the program.
    IF kept_days IS NULL OR kept_days < 30 THEN
        RAISE EXCEPTION 'entries of the access log are kept for 30 days at least';
    END IF;
    DELETE FROM access.entry
     WHERE (at, id) IN (SELECT old.at, old.id FROM access.entry AS old
                         WHERE old.at < now() - make_interval(days => kept_days)
                           AND NOT EXISTS (SELECT FROM access.unsent_entry AS unsent
                                            WHERE unsent.at = old.at AND unsent.id = old.id)
                         ORDER BY old.at LIMIT 10000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION access.remove_old(integer) IS
    'Removes up to 10,000 of the entries that are older than this many days, at least 30, and that the audit queue does not wait for. Answers how many.';

CREATE OR REPLACE FUNCTION access.grant_roles() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledger_project', 'ledger_read', 'ledger_integrate'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN CONTINUE;
            END;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA access TO %I', role);
        -- `access.migration` tells a service whether the schema is as it knows it.
        EXECUTE format('GRANT SELECT ON access.migration TO %I', role);
        CASE role
            WHEN 'ledger_read' THEN
                GRANT INSERT ON access.entry TO ledger_read;
                GRANT EXECUTE ON FUNCTION
                    access.read(text[], text, timestamptz, timestamptz, timestamptz, uuid, integer) TO ledger_read;
            WHEN 'ledger_project' THEN
                GRANT EXECUTE ON FUNCTION access.remove_old(integer) TO ledger_project;
                GRANT SELECT ON access.audit_checkpoint, access.unsent_entry TO ledger_project;
            ELSE
                GRANT EXECUTE ON FUNCTION access.read_unsent(integer) TO ledger_integrate;
                GRANT SELECT, INSERT, UPDATE ON access.audit_checkpoint TO ledger_integrate;
                GRANT SELECT, DELETE ON access.unsent_entry TO ledger_integrate;
        END CASE;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION access.note_unsent, access.read_unsent, access.end_audit FROM PUBLIC;

SELECT access.grant_roles();
