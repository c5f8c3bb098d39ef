//! The table `stream_aside`: the cases and prisons that the views leave out.
//!
//! A list selects [`streams_aside!`] beside its rows, so that it says of the same moment what it
//! lacks. A look-up of a case selects [`damaged_case!`] beside [`damaged_cases!`]. A case is
//! damaged where any number that was merged into it is aside, since its past is theirs, too.

use sqlx::{Row as _, postgres::PgRow};
use views::stream_aside::StreamAside;

use crate::QueryError;

/// A select item: the streams aside, as JSON; null where there is none.
macro_rules! streams_aside {
    () => {
        "(SELECT jsonb_agg(to_jsonb(aside))::text FROM stream_aside aside) AS streams_aside"
    };
}
pub(super) use streams_aside;

/// A recursive CTE: the numbers of the cases that are aside, and each number that they were merged
/// into.
macro_rules! damaged_cases {
    () => {
        "damaged (number, merged_into, stream) AS (
             SELECT prisoner_number, merged_into, stream FROM stream_aside WHERE prisoner_number IS NOT NULL
             UNION
             SELECT c.prisoner_number, c.merged_into, damaged.stream
             FROM damaged JOIN prisoner_case c ON c.prisoner_number = damaged.merged_into
         )"
    };
}
pub(super) use damaged_cases;

/// A select item: the stream aside, as JSON, for which a number that meets the condition is
/// damaged; null where there is none.
macro_rules! damaged_case {
    ($condition:literal) => {
        concat!(
            "(SELECT to_jsonb(aside)::text FROM damaged JOIN stream_aside aside ON aside.stream = damaged.stream WHERE ",
            $condition,
            " ORDER BY aside.position LIMIT 1) AS damaged_case"
        )
    };
}
pub(super) use damaged_case;

/// The streams aside, of a row that selects [`streams_aside!`].
pub(super) fn read_streams(row: &PgRow) -> Result<Vec<StreamAside>, QueryError> {
    let json: Option<&str> = row.try_get("streams_aside")?;
    json.map_or(Ok(Vec::new()), |json| serde_json::from_str(json).map_err(|error| decode_error(error).into()))
}

/// The stream aside for which a case is damaged, of a row that selects [`damaged_case!`].
pub(super) fn read_damaged_case(row: &PgRow) -> Result<Option<Box<StreamAside>>, QueryError> {
    let json: Option<&str> = row.try_get("damaged_case")?;
    Ok(json.map(serde_json::from_str).transpose().map_err(decode_error)?)
}

fn decode_error(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
