//! Table `stream_aside`: the streams that the views leave out, because Postgres refuses their
//! rows. It is moved in the same transaction as the rows.

use domain::{
    Stream,
    identifier::{EventId, PrisonerNumber},
};
use serde::{Deserialize, Deserializer, de};

/// A stream that the views leave out.
///
/// It is read from the JSON that [`AS_JSON`] makes of a row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StreamAside {
    /// Its stream.
    #[serde(deserialize_with = "stream")]
    pub stream: Stream,
    /// Position of the event from which on Postgres refuses its rows.
    pub position: u64,
    /// Revision of that event in the stream.
    pub revision: u64,
    /// The event's id.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// Of a case that was merged into another: the surviving number.
    pub merged_into: Option<PrisonerNumber>,
    /// The code with which Postgres refuses the rows.
    pub sql_state: String,
    /// The words with which Postgres refuses the rows.
    pub reason: String,
}

fn stream<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stream, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// A row of the table, called `aside` in the statement, as JSON.
pub const AS_JSON: &str = "to_jsonb(aside)";

/// The statement that makes the table, with its key.
pub const CREATE_TABLE_SQL: &str = "\
CREATE TABLE stream_aside (
    stream text NOT NULL,
    prisoner_number text,
    prison_code text,
    position bigint NOT NULL,
    revision bigint NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    merged_into text,
    sql_state text NOT NULL,
    reason text NOT NULL,
    CONSTRAINT stream_aside_pkey PRIMARY KEY (stream)
);
COMMENT ON TABLE stream_aside IS 'Cases, prisons and contacts in NOMIS that the other tables leave out, as Postgres refuses their rows; empty in a sound ledger.';
COMMENT ON COLUMN stream_aside.stream IS 'Stream of the events, e.g. prisoner-A1234BC.';
COMMENT ON COLUMN stream_aside.prisoner_number IS 'Of a case: NOMS number.';
COMMENT ON COLUMN stream_aside.prison_code IS 'Of a prison: agency code.';
COMMENT ON COLUMN stream_aside.position IS 'Position in the log of the event from which on the rows are refused.';
COMMENT ON COLUMN stream_aside.revision IS 'Revision of that event in its stream.';
COMMENT ON COLUMN stream_aside.event_id IS 'That event''s id.';
COMMENT ON COLUMN stream_aside.event_type IS 'That event''s type.';
COMMENT ON COLUMN stream_aside.merged_into IS 'Of a case that was merged: the surviving number, whose questions are not answered either.';
COMMENT ON COLUMN stream_aside.sql_state IS 'SQLSTATE with which Postgres refuses the rows, of class 22 or 23.';
COMMENT ON COLUMN stream_aside.reason IS 'Postgres''s words for it.';
";
