-- Where the ledger runs as separate services, each logs in with the right to do its work and no more: as a member of one of
-- these roles. The right to append is the right to call `log.append`, not to write a table.
--
-- | role | the service | the log |
-- |---|---|---|
-- | ledger_append | command | reads it and appends |
-- | ledger_project | projector | reads it |
-- | ledger_read | query | reads it |

-- Both run as the owner of the log, so nobody else's names may come into them.
ALTER FUNCTION log.append(text[], bigint[], bigint[], text[], bigint[], uuid[], text[], timestamptz[], bytea[], bytea[], bigint)
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;

-- Takes no bounds, since whoever gave odd ones would leave the log without a place for events to come.
CREATE FUNCTION log.make_room(OUT last_place bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- PARTITION_EVENTS in the program, which can never change for a log in use.
    size    CONSTANT bigint := 10000000;
    current bigint;
BEGIN
    SELECT (position + 1) / size INTO STRICT current FROM log.head;
    PERFORM log.make_partition(current * size, (current + 1) * size);
    PERFORM log.make_partition((current + 1) * size, (current + 2) * size);
    last_place := (current + 2) * size - 1;
END
$$;
COMMENT ON FUNCTION log.make_room() IS
    'Makes the partition that the next event goes into and the one after it, where they are missing; answers the last position that there is a place for.';

-- Roles are the whole server's, so another database may have made them, or be making them. Who may not make roles goes
-- without, until an administrator has made them and this is called again: `allocation-ledger prepare` does.
CREATE FUNCTION log.grant_roles() RETURNS void
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
            GRANT EXECUTE ON FUNCTION log.append, log.make_room TO ledger_append;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION log.grant_roles() IS
    'Makes the roles of the services, where it may, and lets each do its work.';

REVOKE ALL ON FUNCTION log.append, log.make_room, log.make_partition, log.grant_roles FROM PUBLIC;

SELECT log.grant_roles();
