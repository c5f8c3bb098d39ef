COMMENT ON COLUMN log.stream.stream IS '`prisoner-` or `contacts-` and a prisoner number, or `prison-` and a prison code.';
COMMENT ON COLUMN log.event_json.stream IS 'The stream it belongs to: `prisoner-` or `contacts-` and a prisoner number, or `prison-` and a prison code.';
