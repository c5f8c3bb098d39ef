//! The lines of `replay`, and their digest.

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use event_log::{LogError, RecordedEvent};
use http_api::{Texts, event::EventDocument};
use query::feed::EventFilter;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::ReplayPage;
use crate::stdout::{self, print_line};

/// The state that the printing thread shares with the rest.
#[derive(Default)]
pub(super) struct PrintProgress {
    /// The position up to which everything is printed.
    pub(super) position: AtomicU64,
    /// Set to make the printing end after the current line.
    pub(super) stop: AtomicBool,
}

/// Makes lines of events and prints them.
pub(super) struct Printer {
    wanted: EventFilter,
    raw: bool,
    /// The position of the last event looked at, whose line may be printed yet or not.
    reached: u64,
    /// The lines made.
    lines: u64,
    progress: Arc<PrintProgress>,
}

impl Printer {
    /// A printer of the wanted events, as recorded where they are to be `raw`.
    pub(super) fn new(wanted: EventFilter, raw: bool, progress: Arc<PrintProgress>) -> Self {
        Self { wanted, raw, reached: 0, lines: 0, progress }
    }

    /// Prints the digest of the lines of what comes, up to `position`, where all of it comes.
    /// Returns the number of lines.
    pub(super) fn digest(
        mut self,
        mut pages: mpsc::Receiver<ReplayPage>,
        position: u64,
        as_json: bool,
    ) -> anyhow::Result<u64> {
        let mut digest = LineDigest::default();
        while let Some(page) = pages.blocking_recv() {
            self.page(&page.context("replay the log")?, &mut digest).context("replay the log")?;
            if self.progress.stop.load(Ordering::Relaxed) {
                return Ok(self.lines);
            }
            self.progress.position.store(self.reached, Ordering::Relaxed);
        }
        let events = self.lines;
        let sha256 = format!("{:x}", digest.0.finalize());
        print_line(&if as_json {
            json!({ "position": position, "events": events, "sha256": sha256 }).to_string()
        } else {
            format!("position {position}, {events} events, SHA-256 {sha256}")
        })?;
        Ok(events)
    }

    /// Prints what comes, to its end or to the first error. Returns the number of lines.
    pub(super) fn all(mut self, mut pages: mpsc::Receiver<ReplayPage>) -> anyhow::Result<u64> {
        let mut out = stdout::lock();
        let printed = loop {
            match pages.blocking_recv() {
                None => break Ok(()),
                Some(Err(error)) => break Err(error.into()),
                Some(Ok(page)) => {
                    if let Err(error) = self.page(&page, &mut out) {
                        break Err(error);
                    }
                    if self.progress.stop.load(Ordering::Relaxed) {
                        break Ok(());
                    }
                    // A follower wants to see what there is; and only what is printed may be gone
                    // on from.
                    if let Err(error) = out.flush() {
                        break Err(error.into());
                    }
                    self.progress.position.store(self.reached, Ordering::Relaxed);
                }
            }
        };
        // The lines before an error are printed, whatever the error is.
        let flushed = out.flush().map_err(anyhow::Error::from);
        if flushed.is_ok() {
            self.progress.position.store(self.reached, Ordering::Relaxed);
        }
        match printed.and(flushed) {
            // The reader has read enough, as `head` does.
            Err(error) if error.downcast_ref().is_some_and(is_broken_pipe) => Ok(self.lines),
            printed => printed.map(|()| self.lines).context("replay the log"),
        }
    }

    fn page(&mut self, page: &[RecordedEvent], out: &mut impl io::Write) -> anyhow::Result<()> {
        for recorded in page {
            if self.progress.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if let Some(stored) = self.wanted.select(recorded)? {
                if self.raw {
                    serde_json::to_writer(&mut *out, &RawLine::of(recorded)?).map_err(io::Error::from)?;
                } else {
                    let line = EventDocument::new(&stored, Texts::Shown);
                    serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
                }
                out.write_all(b"\n")?;
                self.lines += 1;
            }
            self.reached = recorded.position;
        }
        Ok(())
    }
}

/// Takes lines for a digest.
#[derive(Default)]
struct LineDigest(Sha256);

impl io::Write for LineDigest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// An event as recorded: what every store of the ledger holds alike.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawLine<'a> {
    stream: String,
    revision: u64,
    event_id: uuid::Uuid,
    r#type: &'a str,
    recorded_at: DateTime<Utc>,
    metadata: &'a RawValue,
    data: &'a RawValue,
}

impl<'a> RawLine<'a> {
    fn of(recorded: &'a RecordedEvent) -> Result<Self, LogError> {
        Ok(Self {
            stream: recorded.stream.to_string(),
            revision: recorded.revision,
            event_id: recorded.event_id.0,
            r#type: &recorded.type_name,
            recorded_at: recorded.recorded_at,
            metadata: verbatim(&recorded.metadata, "metadata", recorded)?,
            data: verbatim(&recorded.data, "data", recorded)?,
        })
    }
}

/// Bytes that a line can hold as they are: canonical JSON, which begins and ends with its value and
/// has no line breaks. Other bytes would not come out unchanged.
fn verbatim<'a>(bytes: &'a [u8], part: &str, recorded: &RecordedEvent) -> Result<&'a RawValue, LogError> {
    serde_json::from_slice::<&RawValue>(bytes)
        .ok()
        .filter(|value| value.get().len() == bytes.len() && !bytes.contains(&b'\n') && !bytes.contains(&b'\r'))
        .ok_or_else(|| LogError::Damaged {
            position: recorded.position,
            what: format!("the {part} of this `{}` is not canonical JSON", recorded.type_name),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::identifier::EventId;

    fn recorded(data: &str) -> RecordedEvent {
        RecordedEvent {
            position: 7,
            stream: "prison-LEI".parse().expect("a stream"),
            revision: 2,
            event_id: EventId(uuid::Uuid::nil()),
            type_name: "PomRegistered".to_owned(),
            recorded_at: DateTime::UNIX_EPOCH,
            metadata: b"{}".as_slice().into(),
            data: data.as_bytes().to_vec().into(),
        }
    }

    #[test]
    fn raw_lines_hold_the_recorded_bytes_and_no_position() {
        let event = recorded(r#"{"a":1.0,"b":"\u00e9"}"#);
        let line = serde_json::to_string(&RawLine::of(&event).expect("sound")).expect("JSON");
        assert_eq!(
            line,
            r#"{"stream":"prison-LEI","revision":2,"eventId":"00000000-0000-0000-0000-000000000000","type":"PomRegistered","recordedAt":"1970-01-01T00:00:00Z","metadata":{},"data":{"a":1.0,"b":"\u00e9"}}"#
        );
    }

    #[test]
    fn bytes_that_are_not_canonical_json_are_damage() {
        for wrong in ["", "nonsense", " {}", "{} ", "{}\n", "{\n}", "{}{}"] {
            let error = RawLine::of(&recorded(wrong)).err().expect(wrong).to_string();
            assert!(error.contains("damaged at position 7: the data of this `PomRegistered`"), "{error}");
        }
    }
}
