//! Decides a batch of appends: which succeed, at which positions, and the rows that they make. No IO.

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound as _, Utc};
use domain::Stream;
use uuid::Uuid;

use crate::{Appended, ExpectedRevision, NewEvent};

/// The end of the log, as the locked head row says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Position of the last event.
    pub(super) position: u64,
    /// Recorded time of the last event.
    pub(super) recorded_at: DateTime<Utc>,
}

/// One append, waiting to be decided.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) stream: Stream,
    /// The stream's name, as its column has it.
    pub(super) stream_name: String,
    pub(super) expected: ExpectedRevision,
    /// At least one.
    pub(super) events: Vec<NewEvent>,
}

impl Append {
    pub(super) fn new(stream: Stream, expected: ExpectedRevision, events: Vec<NewEvent>) -> Self {
        let stream_name = stream.to_string();
        Self { stream, stream_name, expected, events }
    }

    /// Whether the stream has events at every revision that this append would have written: it may stand there
    /// already, from an earlier try.
    pub(super) fn may_be_repeated(&self, actual: ExpectedRevision) -> bool {
        self.expected.next().saturating_add(self.events.len() as u64) <= actual.next()
    }
}

/// What becomes of an append.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its events are among the rows.
    Won(Appended),
    /// The stream is elsewhere.
    Lost {
        /// Where the stream is.
        actual: ExpectedRevision,
    },
}

/// The rows of a batch, as columns for `unnest`.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    pub(super) positions: Vec<i64>,
    pub(super) streams: Vec<&'a str>,
    pub(super) revisions: Vec<i64>,
    pub(super) event_ids: Vec<Uuid>,
    pub(super) types: Vec<&'a str>,
    pub(super) recorded_at: Vec<DateTime<Utc>>,
    pub(super) metadata: Vec<&'a [u8]>,
    pub(super) data: Vec<&'a [u8]>,
}

/// A decided batch.
#[derive(Debug)]
pub(super) struct Decided<'a> {
    /// One for each append, in order.
    pub(super) verdicts: Vec<Verdict>,
    /// The events of those that won.
    pub(super) rows: Rows<'a>,
    /// The streams that moved, each with its last revision, in the streams' order.
    pub(super) moved: Vec<(&'a str, u64)>,
    /// Where the log ends after the batch.
    pub(super) head: Head,
}

/// Decides appends in order; one sees what those before it did. `revisions` has the last revision of every stream among
/// them that exists.
pub(super) fn decide<'a>(
    mut head: Head,
    revisions: &HashMap<String, u64>,
    appends: impl Iterator<Item = &'a Append>,
) -> Decided<'a> {
    let mut verdicts = Vec::new();
    let mut rows = Rows::default();
    let mut moved: HashMap<&str, u64> = HashMap::new();
    for append in appends {
        let name = append.stream_name.as_str();
        let actual = match moved.get(name).or_else(|| revisions.get(name)) {
            Some(&revision) => ExpectedRevision::Exact(revision),
            None => ExpectedRevision::NoStream,
        };
        if actual != append.expected {
            verdicts.push(Verdict::Lost { actual });
            continue;
        }
        let mut revision = append.expected.next();
        let mut answers = Vec::with_capacity(append.events.len());
        for event in &append.events {
            head.position += 1;
            // Postgres keeps microseconds: what is answered must be what will be read.
            head.recorded_at = head.recorded_at.max(event.recorded_at.trunc_subsecs(6));
            rows.positions.push(head.position.cast_signed());
            rows.streams.push(name);
            rows.revisions.push(revision.cast_signed());
            rows.event_ids.push(event.event_id.0);
            rows.types.push(&event.type_name);
            rows.recorded_at.push(head.recorded_at);
            rows.metadata.push(&event.metadata);
            rows.data.push(&event.data);
            answers.push((head.position, head.recorded_at));
            revision += 1;
        }
        let last = revision - 1;
        moved.insert(name, last);
        verdicts.push(Verdict::Won(Appended {
            revision: last,
            position: head.position,
            events: answers,
            repeated: false,
        }));
    }
    let mut moved: Vec<_> = moved.into_iter().collect();
    moved.sort_unstable();
    Decided { verdicts, rows, moved, head }
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
    fn check(appends: &[Append], verdicts: &[&str], moved: &[(&str, u64)]) {
        let head = Head { position: 10, recorded_at: EPOCH + TimeDelta::seconds(5) };
        let revisions = HashMap::from([("prisoner-A0001AA".to_owned(), 3)]);
        let decided = decide(head, &revisions, appends.iter());
        let shown: Vec<String> = decided
            .verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Won(appended) => {
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
        assert_eq!(decided.moved, moved);
        assert_eq!(decided.head.position, 10 + decided.rows.positions.len() as u64);
    }

    #[test]
    fn positions_are_dense_and_recorded_times_never_run_backwards() {
        check(
            &[append("A0001AA", Exact(3), &[7, 6]), append("A0002AA", NoStream, &[1])],
            &["r5 p11@7 p12@7", "r0 p13@7"],
            &[("prisoner-A0001AA", 5), ("prisoner-A0002AA", 0)],
        );
    }

    #[test]
    fn losers_leave_no_gap() {
        check(
            &[append("A0001AA", NoStream, &[9]), append("A0002AA", NoStream, &[6])],
            &["at Exact(3)", "r0 p11@6"],
            &[("prisoner-A0002AA", 0)],
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
            &[("prisoner-A0002AA", 1)],
        );
    }

    #[test]
    fn only_a_stream_that_is_long_enough_may_hold_a_repeat() {
        let two = append("A0001AA", Exact(3), &[1, 1]);
        assert!(two.may_be_repeated(Exact(5)));
        assert!(!two.may_be_repeated(Exact(4)));
        assert!(!two.may_be_repeated(NoStream));
    }
}
