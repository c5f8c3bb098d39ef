-- A projector records who takes the file of an export.

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
                GRANT INSERT ON access.entry TO ledger_project;
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

REVOKE ALL ON FUNCTION access.grant_roles FROM PUBLIC;

SELECT access.grant_roles();
