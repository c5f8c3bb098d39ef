-- As before, but the time of an event is looked at first, and its metadata only where the event is
-- of the last day. Postgres tests cheap conditions first, and takes the pattern for the cheaper
-- one: a copied or made-up history, whose times are past, took twice its time. OFFSET 0 keeps the
-- two apart.
CREATE OR REPLACE FUNCTION log.learn_keys(after_position bigint, to_position bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- In JSON no text has a quotation mark without a backslash before it, so this is the member
    -- itself. In the events' order: of a key on two streams the first use counts.
    INSERT INTO log.idempotency_key (day, key, request)
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, found.key::uuid, found.stream
      FROM (SELECT event.position, event.stream,
                   substring(encode(event.metadata, 'escape') FROM
                             '"commandId":"(?!1ed9e25e-[0-9a-f]{4}-8)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"') AS key
              FROM (SELECT position, stream, metadata
                      FROM log.event
                     WHERE position > after_position AND position <= to_position
                       AND recorded_at > clock_timestamp() - interval '24 hours'
                    OFFSET 0) AS event) AS found
     WHERE found.key IS NOT NULL
     ORDER BY found.position
        ON CONFLICT DO NOTHING;
END
$$;
