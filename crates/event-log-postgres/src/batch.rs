//! Decides a batch of appends: which succeed, and the rows that they make. No IO.
//!
//! A batch is decided on where its streams are *taken to be*: first, where its callers expect them. The store appends it
//! only if that is where they are; else it says where, and the batch is decided again.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use chrono::{DateTime, SubsecRound as _, Utc};
use domain::Stream;
use uuid::Uuid;

use event_log::{Appended, ExpectedRevision, NewEvent};

/// The end of the log; by default, of an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// Position of the last event.
    pub(crate) position: u64,
    /// Recorded time of the last event.
    pub(crate) recorded_at: DateTime<Utc>,
}

/// One append, waiting to be decided.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) stream: Stream,
    /// The stream's name, as its column has it.
    pub(crate) stream_name: String,
    pub(crate) expected: ExpectedRevision,
    /// At least one.
    pub(crate) events: Vec<NewEvent>,
}

impl Append {
    pub(crate) fn new(stream: Stream, expected: ExpectedRevision, events: Vec<NewEvent>) -> Self {
        let stream_name = stream.to_string();
        Self { stream, stream_name, expected, events }
    }

    /// Whether the stream has events at every revision that this append would have written: it may stand there
    /// already, from an earlier try.
    pub(crate) fn may_be_repeated(&self, actual: ExpectedRevision) -> bool {
        self.expected.next().saturating_add(self.events.len() as u64) <= actual.next()
    }
}

/// Where streams are taken to be, by name.
pub(crate) type Taken = HashMap<String, ExpectedRevision>;

/// Takes each stream to be where the best informed of its callers expects it.
pub(crate) fn take<'a>(appends: impl Iterator<Item = &'a Append>) -> Taken {
    let mut taken = Taken::new();
    for append in appends {
        match taken.get_mut(&append.stream_name) {
            Some(revision) if revision.next() >= append.expected.next() => {}
            Some(revision) => *revision = append.expected,
            None => drop(taken.insert(append.stream_name.clone(), append.expected)),
        }
    }
    taken
}

/// What becomes of an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its events are these of the batch's rows.
    Won(Range<usize>),
    /// The stream is elsewhere.
    Lost {
        /// Where the stream is.
        actual: ExpectedRevision,
    },
}

/// The rows of a batch, as columns for `unnest`. Their positions follow from where the log ends.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    pub(crate) streams: Vec<&'a str>,
    pub(crate) revisions: Vec<i64>,
    pub(crate) event_ids: Vec<Uuid>,
    pub(crate) types: Vec<&'a str>,
    /// Rising; the log's end may raise them further.
    pub(crate) recorded_at: Vec<DateTime<Utc>>,
    pub(crate) metadata: Vec<&'a [u8]>,
    pub(crate) data: Vec<&'a [u8]>,
}

impl<'a> Rows<'a> {
    /// Adds an event that will stand in `stream` at `revision`.
    pub(crate) fn push(&mut self, stream: &'a str, revision: u64, event: &'a NewEvent, recorded_at: DateTime<Utc>) {
        self.streams.push(stream);
        self.revisions.push(revision.cast_signed());
        self.event_ids.push(event.event_id.0);
        self.types.push(&event.type_name);
        self.recorded_at.push(recorded_at);
        self.metadata.push(&event.metadata);
        self.data.push(&event.data);
    }

    /// The answer to the append whose rows these are, once they stand behind what was the log's end.
    pub(crate) fn appended(&self, rows: Range<usize>, before: Head) -> Appended {
        let events: Vec<_> = rows
            .clone()
            .map(|row| (before.position + 1 + row as u64, self.recorded_at[row].max(before.recorded_at)))
            .collect();
        Appended {
            revision: self.revisions[rows.end - 1].cast_unsigned(),
            position: before.position + rows.end as u64,
            events,
            repeated: false,
        }
    }
}

/// The streams that a batch moves, as columns for `unnest`, in the streams' order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved<'a> {
    pub(crate) streams: Vec<&'a str>,
    /// The revision before; none where the stream does not exist yet.
    pub(crate) before: Vec<Option<i64>>,
    pub(crate) after: Vec<i64>,
}

/// A decided batch.
#[derive(Debug)]
pub(crate) struct Decided<'a> {
    /// One for each append, in order.
    pub(crate) verdicts: Vec<Verdict>,
    /// The events of those that won.
    pub(crate) rows: Rows<'a>,
    pub(crate) moved: Moved<'a>,
}

/// Decides appends in order; one sees what those before it did.
pub(crate) fn decide<'a>(taken: &Taken, appends: impl Iterator<Item = &'a Append>) -> Decided<'a> {
    let mut verdicts = Vec::new();
    let mut rows = Rows::default();
    let mut moved: BTreeMap<&str, (ExpectedRevision, u64)> = BTreeMap::new();
    // Postgres keeps microseconds: what is answered must be what will be read.
    let mut recorded_at = DateTime::UNIX_EPOCH;
    for append in appends {
        let name = append.stream_name.as_str();
        let before = taken.get(name).copied().unwrap_or(ExpectedRevision::NoStream);
        let actual = moved.get(name).map_or(before, |&(_, revision)| ExpectedRevision::Exact(revision));
        if actual != append.expected {
            verdicts.push(Verdict::Lost { actual });
            continue;
        }
        let first_row = rows.streams.len();
        let first_revision = append.expected.next();
        for (revision, event) in (first_revision..).zip(&append.events) {
            recorded_at = recorded_at.max(event.recorded_at.trunc_subsecs(6));
            rows.push(name, revision, event, recorded_at);
        }
        let last = first_revision + append.events.len() as u64 - 1;
        moved.entry(name).and_modify(|stream| stream.1 = last).or_insert((before, last));
        verdicts.push(Verdict::Won(first_row..rows.streams.len()));
    }
    let mut columns = Moved::default();
    for (stream, (before, after)) in moved {
        columns.streams.push(stream);
        columns.before.push(match before {
            ExpectedRevision::NoStream => None,
            ExpectedRevision::Exact(revision) => Some(revision.cast_signed()),
        });
        columns.after.push(after.cast_signed());
    }
    Decided { verdicts, rows, moved: columns }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::identifier::EventId;

    use super::*;
    use ExpectedRevision::{Exact, NoStream};

    const EPOCH: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn append(number: &str, expected: ExpectedRevision, seconds: &[i64]) -> Append {
        let event = |&second: &i64| NewEvent {
            event_id: EventId(Uuid::nil()),
            type_name: "Tested".to_owned(),
            recorded_at: EPOCH + TimeDelta::seconds(second) + TimeDelta::nanoseconds(999),
            metadata: "{}".into(),
            data: "{}".into(),
        };
        let stream = Stream::Prisoner(number.parse().expect("a prisoner number"));
        Append::new(stream, expected, seconds.iter().map(event).collect())
    }

    /// Decides appends on a log that ends at position 10, second 5, in which `A0001AA` is at revision 3. A verdict reads
    /// `r3 p11@5`: last revision, then position and second of each event; or `at Exact(3)`.
    #[track_caller]
    fn check(appends: &[Append], verdicts: &[&str], moved: &[(&str, Option<i64>, i64)]) {
        let head = Head { position: 10, recorded_at: EPOCH + TimeDelta::seconds(5) };
        let taken = Taken::from([("prisoner-A0001AA".to_owned(), Exact(3))]);
        let decided = decide(&taken, appends.iter());
        let shown: Vec<String> = decided
            .verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Won(rows) => {
                    let appended = decided.rows.appended(rows.clone(), head);
                    let mut text = format!("r{}", appended.revision);
                    for (position, at) in &appended.events {
                        let since = *at - EPOCH;
                        assert_eq!(since.subsec_nanos(), 0, "what is stamped is what Postgres keeps");
                        text += &format!(" p{position}@{}", since.num_seconds());
                    }
                    text
                }
                Verdict::Lost { actual } => format!("at {actual:?}"),
            })
            .collect();
        assert_eq!(shown, verdicts);
        let streams: Vec<_> = decided
            .moved
            .streams
            .iter()
            .zip(decided.moved.before.iter().zip(&decided.moved.after))
            .map(|(stream, (before, after))| (*stream, *before, *after))
            .collect();
        assert_eq!(streams, moved);
    }

    #[test]
    fn positions_are_dense_and_recorded_times_never_run_backwards() {
        check(
            &[append("A0001AA", Exact(3), &[7, 6]), append("A0002AA", NoStream, &[1])],
            &["r5 p11@7 p12@7", "r0 p13@7"],
            &[("prisoner-A0001AA", Some(3), 5), ("prisoner-A0002AA", None, 0)],
        );
        check(&[append("A0002AA", NoStream, &[1, 6])], &["r1 p11@5 p12@6"], &[("prisoner-A0002AA", None, 1)]);
    }

    #[test]
    fn losers_leave_no_gap() {
        check(
            &[append("A0001AA", NoStream, &[9]), append("A0002AA", NoStream, &[6])],
            &["at Exact(3)", "r0 p11@6"],
            &[("prisoner-A0002AA", None, 0)],
        );
    }

    #[test]
    fn an_append_sees_those_before_it_in_the_batch() {
        check(
            &[
                append("A0002AA", NoStream, &[6]),
                append("A0002AA", NoStream, &[6]),
                append("A0002AA", Exact(0), &[6]),
                append("A0002AA", Exact(7), &[6]),
            ],
            &["r0 p11@6", "at Exact(0)", "r1 p12@6", "at Exact(1)"],
            &[("prisoner-A0002AA", None, 1)],
        );
    }

    #[test]
    fn a_stream_is_taken_to_be_where_the_best_informed_caller_expects_it() {
        let appends = [
            append("A0001AA", Exact(2), &[1]),
            append("A0001AA", Exact(4), &[1]),
            append("A0001AA", NoStream, &[1]),
            append("A0002AA", NoStream, &[1]),
        ];
        let expected = [("prisoner-A0001AA".to_owned(), Exact(4)), ("prisoner-A0002AA".to_owned(), NoStream)];
        assert_eq!(take(appends.iter()), Taken::from(expected));
    }

    #[test]
    fn only_a_stream_that_is_long_enough_may_hold_a_repeat() {
        let two = append("A0001AA", Exact(3), &[1, 1]);
        assert!(two.may_be_repeated(Exact(5)));
        assert!(!two.may_be_repeated(Exact(4)));
        assert!(!two.may_be_repeated(NoStream));
    }
}
