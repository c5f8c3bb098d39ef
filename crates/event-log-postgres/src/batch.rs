//! Decides a batch of appends: which of them succeed, and the rows that they make. No IO.
//!
//! A batch is decided on *assumed* revisions of its streams: at first, those that its callers
//! expect (optimistic concurrency). The store appends the batch only if they are the actual ones,
//! and if no key in it was spent on something else. Otherwise it answers the actual ones, or the
//! keys that are taken, and the batch is decided again.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use chrono::{DateTime, Utc};
use domain::{Stream, moment::normalise};
use uuid::Uuid;

use event_log::{AppendReceipt, ExpectedRevision, NewEvent, SpentKey};

/// The end of the log; by default, of an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogEnd {
    /// Position of the last event.
    pub(crate) position: u64,
    /// Recorded time of the last event.
    pub(crate) recorded_at: DateTime<Utc>,
}

/// One append that is to be decided.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) stream: Stream,
    /// The stream's name, as in its column.
    pub(crate) stream_name: String,
    pub(crate) expected: ExpectedRevision,
    /// At least one.
    pub(crate) events: Vec<NewEvent>,
    /// The key of the command, where it came with one.
    pub(crate) key: Option<Uuid>,
}

impl Append {
    pub(crate) fn new(stream: Stream, expected: ExpectedRevision, events: Vec<NewEvent>, key: Option<Uuid>) -> Self {
        let stream_name = stream.to_string();
        Self { stream, stream_name, expected, events, key }
    }

    /// Whether the stream has events at every revision that this append would have written. Then
    /// they may be those of this append, from an earlier try.
    pub(crate) fn may_be_repeated(&self, actual: ExpectedRevision) -> bool {
        self.expected.next().saturating_add(self.events.len() as u64) <= actual.next()
    }
}

/// The assumed revisions of streams, by the streams' names.
pub(crate) type AssumedRevisions = HashMap<String, ExpectedRevision>;

/// The state of the log on which a batch is decided.
#[derive(Debug, Default)]
pub(crate) struct Assumptions {
    pub(crate) revisions: AssumedRevisions,
    /// The keys that were spent, and on what. All others are assumed to be free.
    pub(crate) spent_keys: HashMap<Uuid, SpentKey>,
}

/// Assumes for each stream the highest revision that one of its callers expects.
pub(crate) fn assume_revisions<'a>(appends: impl Iterator<Item = &'a Append>) -> AssumedRevisions {
    let mut assumed = AssumedRevisions::new();
    for append in appends {
        match assumed.get_mut(&append.stream_name) {
            Some(revision) if revision.next() >= append.expected.next() => {}
            Some(revision) => *revision = append.expected,
            None => {
                assumed.insert(append.stream_name.clone(), append.expected);
            }
        }
    }
    assumed
}

/// The decision on an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AppendVerdict {
    /// It succeeds. Its events are these rows of the batch.
    Won(Range<usize>),
    /// Its stream is at another revision than it expects.
    Lost {
        /// The revision at which the stream is.
        actual: ExpectedRevision,
    },
    /// Its key was spent on something else.
    KeyTaken {
        /// The request that it was spent on.
        spent: SpentKey,
    },
}

/// The rows of a batch, as columns for `unnest`. Their positions follow from the log's end.
#[derive(Debug, Default)]
pub(crate) struct EventRows<'a> {
    pub(crate) streams: Vec<&'a str>,
    pub(crate) revisions: Vec<i64>,
    pub(crate) event_ids: Vec<Uuid>,
    pub(crate) types: Vec<&'a str>,
    /// These never fall; the recorded time at the log's end may raise them further.
    pub(crate) recorded_at: Vec<DateTime<Utc>>,
    pub(crate) metadata: Vec<&'a [u8]>,
    pub(crate) data: Vec<&'a [u8]>,
}

impl<'a> EventRows<'a> {
    /// Adds an event that will have `revision` in `stream`.
    pub(crate) fn push(&mut self, stream: &'a str, revision: u64, event: &'a NewEvent, recorded_at: DateTime<Utc>) {
        self.streams.push(stream);
        self.revisions.push(revision.cast_signed());
        self.event_ids.push(event.event_id.0);
        self.types.push(&event.type_name);
        self.recorded_at.push(recorded_at);
        self.metadata.push(&event.metadata);
        self.data.push(&event.data);
    }

    /// The answer to the append that made these rows, once they are appended at what was the log's
    /// end.
    pub(crate) fn receipt(&self, rows: Range<usize>, before: LogEnd) -> AppendReceipt {
        let events: Vec<_> = rows
            .clone()
            .map(|row| (before.position + 1 + row as u64, self.recorded_at[row].max(before.recorded_at)))
            .collect();
        AppendReceipt {
            revision: self.revisions[rows.end - 1].cast_unsigned(),
            position: before.position + rows.end as u64,
            events,
            repeated: false,
        }
    }
}

/// The streams that a batch moves, as columns for `unnest`, in the streams' order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamMoves<'a> {
    pub(crate) streams: Vec<&'a str>,
    /// The revision before; absent where the stream does not exist yet.
    pub(crate) before: Vec<Option<i64>>,
    pub(crate) after: Vec<i64>,
}

/// The keys that a batch spends, as columns for `unnest`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SpentKeys<'a> {
    pub(crate) keys: Vec<Uuid>,
    /// The streams that the keys are spent on.
    pub(crate) streams: Vec<&'a str>,
}

/// A decided batch.
#[derive(Debug)]
pub(crate) struct DecidedBatch<'a> {
    /// One verdict for each append, in order.
    pub(crate) verdicts: Vec<AppendVerdict>,
    /// The events of the appends that won.
    pub(crate) rows: EventRows<'a>,
    pub(crate) moves: StreamMoves<'a>,
    /// Absent in a copy of a log, which takes the events as they are.
    pub(crate) keys: Option<SpentKeys<'a>>,
}

/// Decides appends in order. Each sees the effect of those before it.
pub(crate) fn decide<'a>(assumed: &Assumptions, appends: impl Iterator<Item = &'a Append>) -> DecidedBatch<'a> {
    let mut verdicts = Vec::new();
    let mut rows = EventRows::default();
    let mut keys: HashMap<Uuid, &str> = HashMap::new();
    let mut moved: BTreeMap<&str, (ExpectedRevision, u64)> = BTreeMap::new();
    // Postgres keeps microseconds, and an answer must say what a reader will read.
    let mut recorded_at = DateTime::UNIX_EPOCH;
    for append in appends {
        let name = append.stream_name.as_str();
        let before = assumed.revisions.get(name).copied().unwrap_or(ExpectedRevision::NoStream);
        let actual = moved.get(name).map_or(before, |&(_, revision)| ExpectedRevision::Exact(revision));
        if actual != append.expected {
            verdicts.push(AppendVerdict::Lost { actual });
            continue;
        }
        if let Some(key) = append.key {
            let spent_before = || keys.get(&key).map(|&stream| SpentKey { request: stream.to_owned(), answer: None });
            let spent = assumed.spent_keys.get(&key).cloned().or_else(spent_before);
            if let Some(spent) = spent.filter(|spent| spent.request != name) {
                verdicts.push(AppendVerdict::KeyTaken { spent });
                continue;
            }
            keys.insert(key, name);
        }
        let first_row = rows.streams.len();
        let first_revision = append.expected.next();
        for (revision, event) in (first_revision..).zip(&append.events) {
            recorded_at = recorded_at.max(normalise(event.recorded_at));
            rows.push(name, revision, event, recorded_at);
        }
        let last = first_revision + append.events.len() as u64 - 1;
        moved.entry(name).and_modify(|stream| stream.1 = last).or_insert((before, last));
        verdicts.push(AppendVerdict::Won(first_row..rows.streams.len()));
    }
    let mut moves = StreamMoves::default();
    for (stream, (before, after)) in moved {
        moves.streams.push(stream);
        moves.before.push(match before {
            ExpectedRevision::NoStream => None,
            ExpectedRevision::Exact(revision) => Some(revision.cast_signed()),
        });
        moves.after.push(after.cast_signed());
    }
    let (keys, streams) = keys.into_iter().unzip();
    DecidedBatch { verdicts, rows, moves, keys: Some(SpentKeys { keys, streams }) }
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
        Append::new(stream, expected, seconds.iter().map(event).collect(), None)
    }

    const KEY: Uuid = Uuid::from_u128(1);

    fn keyed(number: &str, expected: ExpectedRevision) -> Append {
        Append { key: Some(KEY), ..append(number, expected, &[6]) }
    }

    /// Decides appends on a log that ends at position 10, second 5, in which `A0001AA` is at
    /// revision 3. A verdict reads `r3 p11@5`: last revision, then position and second of each
    /// event; or `at Exact(3)`.
    #[track_caller]
    fn check(appends: &[Append], verdicts: &[&str], moved: &[(&str, Option<i64>, i64)]) {
        let end = LogEnd { position: 10, recorded_at: EPOCH + TimeDelta::seconds(5) };
        let revisions = AssumedRevisions::from([("prisoner-A0001AA".to_owned(), Exact(3))]);
        let decided = decide(&Assumptions { revisions, ..Assumptions::default() }, appends.iter());
        let shown: Vec<String> = decided
            .verdicts
            .iter()
            .map(|verdict| match verdict {
                AppendVerdict::Won(rows) => {
                    let appended = decided.rows.receipt(rows.clone(), end);
                    let mut text = format!("r{}", appended.revision);
                    for (position, at) in &appended.events {
                        let since = *at - EPOCH;
                        assert_eq!(
                            since.subsec_nanos(),
                            0,
                            "a recorded time has whole microseconds, as Postgres keeps it"
                        );
                        text += &format!(" p{position}@{}", since.num_seconds());
                    }
                    text
                }
                AppendVerdict::Lost { actual } => format!("at {actual:?}"),
                AppendVerdict::KeyTaken { spent } => format!("key of {}", spent.request),
            })
            .collect();
        assert_eq!(shown, verdicts);
        let streams: Vec<_> = decided
            .moves
            .streams
            .iter()
            .zip(decided.moves.before.iter().zip(&decided.moves.after))
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
    fn of_two_streams_in_a_batch_one_gets_a_key() {
        check(
            &[keyed("A0002AA", NoStream), keyed("A0003AA", NoStream), keyed("A0002AA", Exact(0))],
            &["r0 p11@6", "key of prisoner-A0002AA", "r1 p12@6"],
            &[("prisoner-A0002AA", None, 1)],
        );
        // One that lost at its revision spends no key.
        check(
            &[keyed("A0001AA", NoStream), keyed("A0003AA", NoStream)],
            &["at Exact(3)", "r0 p11@6"],
            &[("prisoner-A0003AA", None, 0)],
        );
    }

    #[test]
    fn a_key_that_was_spent_before_is_taken_for_all_but_its_stream() {
        let spent = SpentKey { request: "prisoner-A0002AA".to_owned(), answer: None };
        let assumed = Assumptions { spent_keys: HashMap::from([(KEY, spent.clone())]), ..Assumptions::default() };
        let appends = [keyed("A0002AA", NoStream), keyed("A0003AA", NoStream)];
        let decided = decide(&assumed, appends.iter());
        assert_eq!(decided.verdicts, [AppendVerdict::Won(0..1), AppendVerdict::KeyTaken { spent }]);
        assert_eq!(decided.keys, Some(SpentKeys { keys: vec![KEY], streams: vec!["prisoner-A0002AA"] }));
    }

    #[test]
    fn the_highest_expected_revision_of_a_stream_is_assumed() {
        let appends = [
            append("A0001AA", Exact(2), &[1]),
            append("A0001AA", Exact(4), &[1]),
            append("A0001AA", NoStream, &[1]),
            append("A0002AA", NoStream, &[1]),
        ];
        let expected = [("prisoner-A0001AA".to_owned(), Exact(4)), ("prisoner-A0002AA".to_owned(), NoStream)];
        assert_eq!(assume_revisions(appends.iter()), AssumedRevisions::from(expected));
    }

    #[test]
    fn only_a_stream_that_is_long_enough_may_hold_a_repeat() {
        let two = append("A0001AA", Exact(3), &[1, 1]);
        assert!(two.may_be_repeated(Exact(5)));
        assert!(!two.may_be_repeated(Exact(4)));
        assert!(!two.may_be_repeated(NoStream));
    }
}
