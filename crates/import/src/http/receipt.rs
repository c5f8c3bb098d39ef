//! Takes the body of an upload into a temporary file that no path names, so that it is gone with
//! the process however that ends.

use std::{
    fs::File,
    io::{self, Seek as _},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody as _},
    http::HeaderMap,
};
use futures::StreamExt as _;
use http_api::{Problem, ProblemCode, extract::media_type};
use spreadsheets::reader::FILE_LEN_MAX;
use tokio::{
    io::AsyncWriteExt as _,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

/// How long a client may send nothing of a body.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a body may take to come: the largest, over a line of 1.6 Mbit/s, takes six minutes.
const WHOLE_MAX: Duration = Duration::from_mins(10);

/// The types that a spreadsheet may be announced as. Its content decides how it is read.
const MEDIA_TYPES: [&str; 8] = [
    "application/octet-stream",
    "application/vnd.ms-excel",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "text/csv",
    "text/plain",
    "text/tab-separated-values",
];

/// Refuses a body that is announced as something else than a spreadsheet, or as too long.
///
/// # Errors
/// `content-type-unsupported` or `body-too-large`.
pub(super) fn check_announced(headers: &HeaderMap, body: &Body) -> Result<(), Problem> {
    if !media_type(headers).is_some_and(|announced| MEDIA_TYPES.contains(&announced.as_str())) {
        let detail = "The body is the file itself: send it with the header Content-Type: application/octet-stream, or \
                      with the type of the spreadsheet.";
        return Err(Problem::new(ProblemCode::ContentTypeUnsupported, detail));
    }
    if body.size_hint().lower() > FILE_LEN_MAX { Err(refuse_long()) } else { Ok(()) }
}

/// Receives a body. Nothing of it stays where it does not come whole.
///
/// # Errors
/// `body-too-large`, `body-slow`, `body-incomplete`, or there is no room on the disk.
pub(super) async fn receive(body: Body) -> Result<File, Problem> {
    let made = spawn_blocking(tempfile::tempfile).await;
    let file = made.map_err(io::Error::other).flatten().map_err(|error| no_room(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunks = body.into_data_stream();
    let deadline = Instant::now() + WHOLE_MAX;
    let mut len = 0;
    loop {
        let Ok(chunk) = timeout_at(deadline.min(Instant::now() + PAUSE_MAX), chunks.next()).await else {
            let detail = format!(
                "The file did not come: it may pause for {} seconds, and take {} minutes.",
                PAUSE_MAX.as_secs(),
                WHOLE_MAX.as_secs() / 60
            );
            return Err(Problem::new(ProblemCode::BodySlow, detail));
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| {
            Problem::new(ProblemCode::BodyIncomplete, "The file ended before its end. Nothing is kept.")
        })?;
        len += chunk.len() as u64;
        if len > FILE_LEN_MAX {
            return Err(refuse_long());
        }
        file.write_all(&chunk).await.map_err(|error| no_room(&error))?;
    }
    file.flush().await.map_err(|error| no_room(&error))?;
    let mut file = file.into_std().await;
    file.rewind().map_err(|error| no_room(&error))?;
    Ok(file)
}

fn refuse_long() -> Problem {
    let detail = format!(
        "A spreadsheet has at most {} MiB ({FILE_LEN_MAX} bytes). Please send the file of one prison.",
        FILE_LEN_MAX >> 20
    );
    Problem::new(ProblemCode::BodyTooLarge, detail)
}

fn no_room(error: &io::Error) -> Problem {
    tracing::error!(%error, "an upload cannot be written to a temporary file");
    Problem::internal()
}
