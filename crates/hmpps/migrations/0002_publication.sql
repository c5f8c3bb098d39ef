-- How far the publisher of domain events has come. One row, which the active publisher moves: its epoch is the fence, as
-- that of the views' checkpoint is.

CREATE TABLE integration.publication (
    singleton    boolean     NOT NULL DEFAULT true CONSTRAINT publication_pkey PRIMARY KEY,
    position     bigint      NOT NULL,
    event_id     uuid,
    recorded_at  timestamptz,
    handover_day date        NOT NULL,
    epoch        bigint      NOT NULL DEFAULT 0,
    is_shadow    boolean     NOT NULL DEFAULT false,
    waits_for    text,
    begun_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT publication_singleton CHECK (singleton)
);

COMMENT ON TABLE integration.publication IS 'How far the publisher of domain events has come in the log. Without its row it begins at the log''s end.';
COMMENT ON COLUMN integration.publication.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN integration.publication.position IS 'Position of the last event whose messages have been sent, or passed over in shadow mode.';
COMMENT ON COLUMN integration.publication.event_id IS 'That event''s id, by which the checkpoint is known to be of this log; null before the first.';
COMMENT ON COLUMN integration.publication.recorded_at IS 'When that event was recorded; null before the first.';
COMMENT ON COLUMN integration.publication.handover_day IS 'The last day in London whose handovers have been published.';
COMMENT ON COLUMN integration.publication.epoch IS 'Raised by each publisher that takes over, so that one that lost its lock cannot move the checkpoint.';
COMMENT ON COLUMN integration.publication.is_shadow IS 'Whether the active publisher sends nothing (shadow mode).';
COMMENT ON COLUMN integration.publication.waits_for IS 'The reason why the active publisher waits; null while it does not.';
COMMENT ON COLUMN integration.publication.begun_at IS 'When the checkpoint was made.';

CREATE OR REPLACE FUNCTION integration.grant_roles() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger_integrate') THEN
        BEGIN
            CREATE ROLE ledger_integrate NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN RETURN;
        END;
    END IF;
    GRANT USAGE ON SCHEMA integration TO ledger_integrate;
    GRANT SELECT ON integration.migration TO ledger_integrate;
    GRANT SELECT, INSERT, UPDATE, DELETE ON integration.parked_message, integration.passed_message TO ledger_integrate;
    GRANT SELECT, INSERT, UPDATE ON integration.publication TO ledger_integrate;
END
$$;

SELECT integration.grant_roles();
