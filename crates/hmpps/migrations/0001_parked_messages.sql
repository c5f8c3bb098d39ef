-- Messages that wait for a person. They lie beside the views and are no view: nothing can build them again, and no rebuild
-- touches them. They are no events of the ledger either: nothing has been decided by them.
--
-- | role | the service | the messages |
-- |---|---|---|
-- | ledger_integrate | integration | adds, reads, changes and removes them |
--
-- Beside them, those that were passed over for now, which no person has to look at.

CREATE TABLE integration.parked_message (
    id           text        NOT NULL CONSTRAINT parked_message_pkey PRIMARY KEY,
    event_type   text,
    reason       text        NOT NULL,
    detail       text        NOT NULL,
    body         bytea       NOT NULL,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    tries        integer     NOT NULL DEFAULT 1,
    dismissed_at timestamptz,
    dismissed_by text
);

CREATE INDEX parked_message_waiting_idx ON integration.parked_message (parked_at, id) WHERE dismissed_at IS NULL;
CREATE INDEX parked_message_dismissed_at_idx ON integration.parked_message (dismissed_at) WHERE dismissed_at IS NOT NULL;

COMMENT ON TABLE integration.parked_message IS 'Messages of the estate that the ledger could not take in. One that is taken in later is removed; one that is dismissed stays for 14 days, without its body.';
COMMENT ON COLUMN integration.parked_message.id IS 'The MessageId of SNS, or that of SQS where there is none.';
COMMENT ON COLUMN integration.parked_message.event_type IS 'The type that the message names, if it can be read.';
COMMENT ON COLUMN integration.parked_message.reason IS 'UNREADABLE, REFUSED, NEEDS_DECISION or FAILED.';
COMMENT ON COLUMN integration.parked_message.detail IS 'The reason in a sentence, which may name a person.';
COMMENT ON COLUMN integration.parked_message.body IS 'The body of the message, as SQS delivered it; empty once dismissed.';
COMMENT ON COLUMN integration.parked_message.parked_at IS 'When it was parked first.';
COMMENT ON COLUMN integration.parked_message.tries IS 'How often the ledger has tried to take it in.';
COMMENT ON COLUMN integration.parked_message.dismissed_at IS 'When a person decided that nothing is to be recorded of it.';
COMMENT ON COLUMN integration.parked_message.dismissed_by IS 'That person or client, where it is known.';

CREATE TABLE integration.passed_message (
    number      text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    id          text        NOT NULL,
    body        bytea       NOT NULL,
    passed_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT passed_message_pkey PRIMARY KEY (number, occurred_at, id)
);

CREATE INDEX passed_message_passed_at_idx ON integration.passed_message (passed_at);

COMMENT ON TABLE integration.passed_message IS 'Messages that said nothing new of a person when they came, kept for 14 days: they are decided again once an earlier fact of that person is recorded, and from time to time.';
COMMENT ON COLUMN integration.passed_message.number IS 'A number that the message is about, which the ledger need not know.';
COMMENT ON COLUMN integration.passed_message.occurred_at IS 'When its fact occurred; infinity for a merge, which holds at all times.';
COMMENT ON COLUMN integration.passed_message.id IS 'The MessageId of SNS.';
COMMENT ON COLUMN integration.passed_message.body IS 'The body of the message, as SQS delivered it.';
COMMENT ON COLUMN integration.passed_message.passed_at IS 'When it was passed over first.';

-- Roles are the whole server's, so another database may have made it, or be making it. Who may not make roles goes
-- without, until an administrator has made it and this is called again: `allocation-ledger prepare` does.
CREATE FUNCTION integration.grant_roles() RETURNS void
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
END
$$;
COMMENT ON FUNCTION integration.grant_roles() IS 'Makes the role of the integration service, where it may, and lets it do its work.';

REVOKE ALL ON FUNCTION integration.grant_roles FROM PUBLIC;

SELECT integration.grant_roles();
