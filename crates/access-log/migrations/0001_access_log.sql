-- The access log: one entry for each read of a person's data. It lies beside the views and is no view: nothing can build it
-- again, and no rebuild touches it.
--
-- | role | the service | the access log |
-- |---|---|---|
-- | ledger_read | query | adds entries; reads them by `access.read`, a page at a time |
-- | ledger_project | projector | removes old entries by `access.remove_old` |

CREATE TABLE access.entry (
    at             timestamptz NOT NULL,
    id             uuid        NOT NULL,
    username       text,
    client         text,
    auth_source    text,
    operation      text        NOT NULL,
    method         text,
    status         smallint,
    correlation_id uuid,
    prisoners      text[]      NOT NULL,
    filter         text,
    after_position bigint,
    to_position    bigint,
    reads_lost     bigint,
    lost_until     timestamptz,
    CONSTRAINT entry_pkey PRIMARY KEY (at, id)
);
CREATE INDEX entry_prisoners ON access.entry USING gin (prisoners);
CREATE INDEX entry_principal ON access.entry (coalesce(username, client), at, id);

COMMENT ON TABLE access.entry IS 'Reads of personal data: who, what and when. Entries are added and, when their time is over, removed; they never change.';
COMMENT ON COLUMN access.entry.at IS 'When it was asked; of lost reads, the first of them.';
COMMENT ON COLUMN access.entry.id IS 'Tells apart entries of the same instant.';
COMMENT ON COLUMN access.entry.username IS 'The user of the token; of a tool, the user of the operating system. Null where no user is known.';
COMMENT ON COLUMN access.entry.client IS 'The client of the token.';
COMMENT ON COLUMN access.entry.auth_source IS 'Where the user signed on; `os` for a user of the operating system.';
COMMENT ON COLUMN access.entry.operation IS 'The template of the route, or the name of the tool.';
COMMENT ON COLUMN access.entry.method IS 'The method of the request; null for a tool.';
COMMENT ON COLUMN access.entry.status IS 'The status of the answer; null for a tool.';
COMMENT ON COLUMN access.entry.correlation_id IS 'The correlation id of the request; null for a tool.';
COMMENT ON COLUMN access.entry.prisoners IS 'The prisoner numbers shown.';
COMMENT ON COLUMN access.entry.filter IS 'The conditions of a question that does not name its numbers.';
COMMENT ON COLUMN access.entry.after_position IS 'Events of the log were shown after this position.';
COMMENT ON COLUMN access.entry.to_position IS 'The last position of those events; null for a stream that goes on.';
COMMENT ON COLUMN access.entry.reads_lost IS 'Reads that were not kept: this entry is all that is known of them.';
COMMENT ON COLUMN access.entry.lost_until IS 'When the last of those was asked.';

-- A page of entries, newest first. Runs as the owner, so that the login of a query service holds no right to the table but
-- that to add. The conditions are put together, because a plan for all of them at once would use no index. An entry has up to
-- some 10,000 numbers, so a page ends after 100,000 of them, too; an entry with more is a page of its own.
CREATE FUNCTION access.read(
    of_prisoners text[], of_principal text, first timestamptz, before timestamptz, older_at timestamptz, older_id uuid, rows integer)
    RETURNS TABLE (entry access.entry, is_more boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rows_max CONSTANT integer := least(rows, 1000);
    older    access.entry;
    rows_in  integer := 0;
    numbers  bigint := 0;
BEGIN
    FOR older IN EXECUTE
        'SELECT * FROM access.entry WHERE true'
        || CASE WHEN of_prisoners IS NOT NULL THEN ' AND prisoners && $1' ELSE '' END
        || CASE WHEN of_principal IS NOT NULL THEN ' AND coalesce(username, client) = $2' ELSE '' END
        || CASE WHEN first IS NOT NULL THEN ' AND at >= $3' ELSE '' END
        || CASE WHEN before IS NOT NULL THEN ' AND at < $4' ELSE '' END
        || CASE WHEN older_at IS NOT NULL THEN ' AND (at, id) < ($5, $6)' ELSE '' END
        || ' ORDER BY at DESC, id DESC LIMIT $7 + 1'
        USING of_prisoners, of_principal, first, before, older_at, older_id, rows_max
    LOOP
        numbers := numbers + cardinality(older.prisoners);
        IF rows_in > 0 THEN
            is_more := rows_in = rows_max OR numbers > 100000;
            RETURN NEXT;
            IF is_more THEN
                RETURN;
            END IF;
        END IF;
        entry := older;
        rows_in := rows_in + 1;
    END LOOP;
    IF rows_in > 0 THEN
        is_more := false;
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION access.read(text[], text, timestamptz, timestamptz, timestamptz, uuid, integer) IS
    'A page of entries, newest first; a condition that is null does not count. The last one says whether there are more.';

-- A stolen login of a projector can remove no entry that is younger than the fewest days.
CREATE FUNCTION access.remove_old(kept_days integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    -- KEPT_DAYS_MIN in the program.
    IF kept_days IS NULL OR kept_days < 30 THEN
        RAISE EXCEPTION 'entries of the access log are kept for 30 days at least';
    END IF;
    DELETE FROM access.entry
     WHERE (at, id) IN (SELECT at, id FROM access.entry WHERE at < now() - make_interval(days => kept_days)
                         ORDER BY at LIMIT 10000 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION access.remove_old(integer) IS
    'Removes up to 10,000 of the entries that are older than this many days, at least 30, and answers how many.';

-- Roles are the whole server's, so another database may have made them, or be making them. Who may not make roles goes
-- without, until an administrator has made them and this is called again: `allocation-ledger prepare` does.
CREATE FUNCTION access.grant_roles() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledger_project', 'ledger_read'] LOOP
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
        IF role = 'ledger_read' THEN
            GRANT INSERT ON access.entry TO ledger_read;
            GRANT EXECUTE ON FUNCTION
                access.read(text[], text, timestamptz, timestamptz, timestamptz, uuid, integer) TO ledger_read;
        ELSE
            GRANT EXECUTE ON FUNCTION access.remove_old(integer) TO ledger_project;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION access.grant_roles() IS
    'Makes the roles of the services, where it may, and lets each do its work.';

REVOKE ALL ON FUNCTION access.read, access.remove_old, access.grant_roles FROM PUBLIC;

SELECT access.grant_roles();
