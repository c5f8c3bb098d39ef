COMMENT ON COLUMN log.head.recorded_at IS 'Latest recorded time of all events; no later event is recorded earlier.';
COMMENT ON COLUMN log.event.recorded_at IS
    'When the ledger learnt of it; never earlier than that of the event before it in its stream.';
COMMENT ON COLUMN log.event_json.recorded_at IS
    'When the ledger learnt of it; never earlier than that of the event before it in its stream.';
COMMENT ON FUNCTION log.append IS 'The only writer of events.';
