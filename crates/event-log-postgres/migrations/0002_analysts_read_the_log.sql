-- Analysts read the log: who is in the role `analyst` may look at every event and change nothing. The role is the whole
-- server's, so another database may have made it, or be making it; and who may not make roles goes without, until somebody
-- who may grants the same by hand (docs/analysts.md).

DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'analyst') THEN
        BEGIN
            CREATE ROLE analyst NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN RETURN;
        END;
    END IF;
    GRANT USAGE ON SCHEMA log TO analyst;
    -- A grant on a partitioned table reaches its partitions, also those made later, for whoever asks by way of the table.
    GRANT SELECT ON log.event, log.event_json, log.head, log.stream TO analyst;
END
$do$;

-- The data dictionary (docs/data-dictionary.md) is made of these comments and of those beside the tables.

COMMENT ON COLUMN log.event_json.position IS 'Order in the whole log: 1, 2, 3 … without gaps.';
COMMENT ON COLUMN log.event_json.stream IS 'The stream it belongs to: `prisoner-` and a prisoner number, or `prison-` and a prison code.';
COMMENT ON COLUMN log.event_json.revision IS 'Place in its stream: 0, 1, 2 … without gaps.';
COMMENT ON COLUMN log.event_json.event_id IS 'The event''s id, the same in every store of the ledger.';
COMMENT ON COLUMN log.event_json.type IS 'The event''s type, e.g. AllocationMade.';
COMMENT ON COLUMN log.event_json.recorded_at IS 'When the ledger learnt of it; never earlier than that of the event before it.';
COMMENT ON COLUMN log.event_json.metadata IS 'Who, when and why: `effectiveAt` (when it holds in the world), `recordedBy` (`username`, `client`), `commandId`, `correlationId`, `causationId` where a policy acted on an event, `schemaVersion` and `requestDigest`.';
COMMENT ON COLUMN log.event_json.data IS 'What happened, by type: the member `data` of the entries that GET /prisoners/{n}/history answers, described in the OpenAPI document.';

COMMENT ON TABLE log.migration IS 'Which changes of this schema have been made; kept by the program, of no meaning to the ledger.';
COMMENT ON COLUMN log.migration.version IS 'Number of the change.';
COMMENT ON COLUMN log.migration.description IS 'Its name.';
COMMENT ON COLUMN log.migration.installed_on IS 'When it was made.';
COMMENT ON COLUMN log.migration.success IS 'Whether it was made to its end.';
COMMENT ON COLUMN log.migration.checksum IS 'Tells it from a changed one of the same number.';
COMMENT ON COLUMN log.migration.execution_time IS 'How long it took, in nanoseconds.';
