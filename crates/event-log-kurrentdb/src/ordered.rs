//! Ordered append: events of many streams in a given order, for copying a log.
//!
//! Many appends are in flight on one long call (batch append), each at an exact revision, which
//! keeps other writers out of its stream. Servers were seen to do them in the order of sending, and
//! do not promise it. So the positions in the answers are compared: they must grow from each append
//! to the next.
//!
//! After the first answer that is no success nothing more is sent. The appends in flight are
//! awaited, and those that were not acknowledged are looked for in their streams. Where the appends
//! that arrived are the first ones in the order, the writer goes on behind them, with the same ids
//! and revisions. Where a later one arrived and an earlier one did not, the order is lost, and the
//! error says which event was overtaken.

use std::{collections::BTreeSet, fmt};

use domain::Stream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use event_log::{
    APPEND_EVENTS_MAX,
    ExpectedRevision::{self, Exact, NoStream},
    LogError, NewEvent, OrderedError, OrderedEvent,
};

use crate::{
    KurrentLog, STREAMS_READ_AT_ONCE,
    append::stream_state,
    client::{BatchAnswer, BatchCall, CallError, NewServerEvent},
    event_format::{AppendId, event_data},
    retries::in_time,
    stream_names::{GENERATION, StreamNames},
};

/// Most appends sent from the first in flight on. Servers were seen to take 7,000 a second with so
/// many, 4,400 to 6,400 with a quarter of them, 10,000 with four times as many. Those that follow
/// a refused one are what its refusal may cost.
const IN_FLIGHT_MAX: usize = 256;

/// Most bytes of events in one append, unless a single event has more.
const APPEND_BYTES_MAX: usize = 512 * 1024;

/// Most bytes of an append that is sent beside others: less than the mebibyte that a server takes
/// unless it is configured otherwise. A larger one may be refused, and no later one may be in
/// flight then.
const SHARED_BYTES_MAX: usize = 1000 * 1024;

/// Failures in one call of [`KurrentOrderedWriter::append`] after which it ends.
const TRIES_MAX: u32 = 3;

/// Appends events of many streams in the order given.
pub struct KurrentOrderedWriter {
    finder: AppendFinder,
    in_flight_max: usize,
    call: Option<BatchCall>,
}

/// Finds the appends of a writer in the log.
struct AppendFinder {
    log: KurrentLog,
    id: AppendId,
}

impl fmt::Debug for KurrentOrderedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KurrentOrderedWriter").field("log", &self.finder.log).finish_non_exhaustive()
    }
}

/// Events of one append: consecutive ones of one stream.
struct OrderedAppend<'a> {
    stream: &'a Stream,
    /// The stream's name on the server. Errors name it, too: it tells nothing of a person.
    name: String,
    first_revision: u64,
    events: &'a [OrderedEvent],
}

/// The outcome of sending appends.
struct SendOutcome {
    /// How many were sent.
    sent: usize,
    /// The reason why not all of them were acknowledged, and the first in the order that the server
    /// refused; none where the call has ended.
    failure: Option<(Option<usize>, CallError)>,
}

impl KurrentOrderedWriter {
    /// A writer to a log, with many appends in flight.
    #[must_use]
    pub fn new(log: &KurrentLog) -> Self {
        let finder = AppendFinder { log: log.clone(), id: AppendId::new() };
        Self { finder, in_flight_max: IN_FLIGHT_MAX, call: None }
    }

    /// A writer to a log that sends each append when the one before it is acknowledged. It cannot
    /// lose the order, whatever the server does.
    #[must_use]
    pub fn one_at_a_time(log: &KurrentLog) -> Self {
        Self { in_flight_max: 1, ..Self::new(log) }
    }

    /// Appends events in their order, each at its revision and with its recorded time, and answers
    /// the position of the last one. Where this fails, the first of the events are appended, and
    /// none after those. Exceptions are [`OrderedError::Overtaken`] and a server that is out of
    /// reach: then it is unknown. The caller may send all of them again, as events that the log has
    /// already are passed over.
    ///
    /// # Errors
    /// A stream is not at the revision that its next event expects; the server has lost the order,
    /// refuses an event, or is out of reach.
    pub fn append<'a>(&'a mut self, events: &'a [OrderedEvent]) -> BoxFuture<'a, Result<Option<u64>, OrderedError>> {
        async move {
            let appends = divide(self.finder.log.store.names_to_write().await?, events)?;
            // The position of each append; none where it is not known to be in the log.
            let mut positions: Vec<Option<u64>> = vec![None; appends.len()];
            let (mut begin, mut failures) = (0, 0);
            loop {
                let SendOutcome { sent, failure } = self.send(&appends[begin..], &mut positions[begin..]).await;
                let end = begin + sent;
                if failure.is_some() {
                    self.finder.find_lost(&appends[begin..end], &mut positions[begin..end]).await?;
                }
                let error_of = |index: usize| {
                    let (refused, error) = failure.as_ref()?;
                    refused.is_none_or(|refused| begin + refused == index).then_some(error)
                };
                if let Some(first) = find_overtaken(&positions) {
                    let (append, error) = (&appends[first], error_of(first));
                    let reason = match positions[first] {
                        Some(_) => None,
                        None => match self.finder.check_acceptable(append, error).await {
                            Err(reason) => Some(reason),
                            Ok(()) => error.map(|error| LogError::Unavailable(error.clone().into()).into()),
                        },
                    };
                    return Err(OrderedError::Overtaken {
                        index: appends[..first].iter().map(|append| append.events.len()).sum(),
                        stream: append.name.clone(),
                        revision: append.first_revision,
                        reason: reason.map(Box::new),
                    });
                }
                let arrived = positions.iter().take_while(|position| position.is_some()).count();
                let Some((_, error)) = failure.as_ref().filter(|_| arrived < appends.len()) else { break };
                if arrived < end {
                    self.finder.check_acceptable(&appends[arrived], error_of(arrived)).await?;
                }
                // Events that the log had before are refused, and found.
                if !matches!(error, CallError::WrongRevision { .. }) || arrived == begin {
                    failures += 1;
                }
                if failures == TRIES_MAX {
                    return Err(LogError::Unavailable(error.clone().into()).into());
                }
                begin = arrived;
            }
            Ok(positions.last().copied().flatten())
        }
        .boxed()
    }

    /// Sends appends in their order and notes the position of each that is acknowledged. Ends when
    /// all are, or when none of those that were sent is open any more.
    async fn send(&mut self, appends: &[OrderedAppend<'_>], positions: &mut [Option<u64>]) -> SendOutcome {
        let (mut sent, mut failure, mut in_flight) = (0, None, BTreeSet::new());
        let mut call = match self.open_call().await {
            Ok(call) => call,
            Err(error) => return SendOutcome { sent, failure: Some((None, error)) },
        };
        call.number_anew();
        let mut room = self.in_flight_max;
        loop {
            while failure.is_none()
                && let Some(append) = appends.get(sent)
                && sent - in_flight.first().unwrap_or(&sent) < room.min(append.in_flight_max())
            {
                call.send(sent, &append.name, stream_state(append.expected()), &append.data(self.finder.id));
                in_flight.insert(sent);
                room = self.in_flight_max.min(append.in_flight_max());
                sent += 1;
            }
            if in_flight.is_empty() {
                break;
            }
            let BatchAnswer { number, outcome } = match in_time(call.answer()).await {
                Ok(answer) => answer,
                Err(error) => return SendOutcome { sent, failure: failure.or(Some((None, error))) },
            };
            if !in_flight.remove(&number) {
                continue;
            }
            match outcome {
                Ok(appended) if appended.revision == appends[number].last_revision() => {
                    positions[number] = Some(appended.position);
                }
                // Where a stream was deleted before, it goes on after its deleted events.
                Ok(_) => failure = failure.or(Some((Some(number), CallError::Unexpected("an append elsewhere")))),
                Err(_) if matches!(failure, Some((Some(first), _)) if first < number) => {}
                Err(error) => failure = Some((Some(number), error)),
            }
        }
        if failure.is_none() {
            self.call = Some(call);
        }
        SendOutcome { sent, failure }
    }

    async fn open_call(&mut self) -> Result<BatchCall, CallError> {
        match self.call.take() {
            Some(call) => Ok(call),
            None => Ok(self.finder.log.store.connection.client().await?.batch_append()),
        }
    }
}

impl AppendFinder {
    /// Looks in the streams for the appends that were not acknowledged.
    async fn find_lost(&self, appends: &[OrderedAppend<'_>], positions: &mut [Option<u64>]) -> Result<(), LogError> {
        self.find(appends, positions).await?;
        // The server may still be at work on what was sent. If it does that in order, all appends
        // before one that was found are there by now.
        if find_overtaken(positions).is_some()
            && let Some(last) = positions.iter().rposition(Option::is_some)
        {
            self.find(&appends[..last], &mut positions[..last]).await?;
        }
        Ok(())
    }

    async fn find(&self, appends: &[OrderedAppend<'_>], positions: &mut [Option<u64>]) -> Result<(), LogError> {
        let missing: Vec<_> = (0..appends.len()).filter(|index| positions[*index].is_none()).collect();
        let found: Vec<_> = stream::iter(missing)
            .map(async |index| match self.position(&appends[index]).await {
                // Another program's event is in the way.
                Err(LogError::Damaged { .. }) => Ok((index, None)),
                position => Ok::<_, LogError>((index, position?)),
            })
            .buffer_unordered(STREAMS_READ_AT_ONCE)
            .try_collect()
            .await?;
        for (index, position) in found {
            positions[index] = position;
        }
        Ok(())
    }

    /// The position of an append, where it is in the log.
    async fn position(&self, append: &OrderedAppend<'_>) -> Result<Option<u64>, LogError> {
        let events: Vec<NewEvent> = append.events.iter().map(|event| event.event.clone()).collect();
        let found = self.log.store.read_back(append.stream, append.expected(), &events, self.id).await?;
        Ok(found.map(|receipt| receipt.position))
    }

    /// Checks that an append that is not in the log may still go there.
    async fn check_acceptable(
        &self,
        append: &OrderedAppend<'_>,
        error: Option<&CallError>,
    ) -> Result<(), OrderedError> {
        let (stream, revision) = (append.name.clone(), append.first_revision);
        if let Some(CallError::TooLarge) = error {
            return Err(OrderedError::TooLarge { stream, revision, bytes: append.bytes() });
        }
        let actual = self.log.store.revision(append.stream).await?;
        // In this order: it may arrive even now.
        if actual != append.expected() && self.position(append).await?.is_none() {
            return Err(OrderedError::Revision { stream, revision, actual });
        }
        Ok(())
    }
}

impl OrderedAppend<'_> {
    fn expected(&self) -> ExpectedRevision {
        self.first_revision.checked_sub(1).map_or(NoStream, Exact)
    }

    fn last_revision(&self) -> u64 {
        self.first_revision + self.events.len() as u64 - 1
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(event_bytes).sum()
    }

    /// How many appends may be in flight together with this one.
    fn in_flight_max(&self) -> usize {
        if self.bytes() > SHARED_BYTES_MAX { 1 } else { IN_FLIGHT_MAX }
    }

    fn data(&self, id: AppendId) -> Vec<NewServerEvent> {
        self.events
            .iter()
            .map(|OrderedEvent { event, .. }| event_data(self.stream, event, event.recorded_at, id))
            .collect()
    }
}

/// Divides events into appends.
fn divide<'a>(names: &StreamNames, events: &'a [OrderedEvent]) -> Result<Vec<OrderedAppend<'a>>, LogError> {
    let follows = |one: &OrderedEvent, next: &OrderedEvent| {
        one.stream == next.stream && one.revision.checked_add(1) == Some(next.revision)
    };
    let mut appends = Vec::new();
    for mut rest in events.chunk_by(follows) {
        while let Some(OrderedEvent { stream, revision, .. }) = rest.first() {
            let (events, after) = rest.split_at(append_len(rest));
            let name = names.name(stream, GENERATION)?;
            appends.push(OrderedAppend { stream, name, first_revision: *revision, events });
            rest = after;
        }
    }
    Ok(appends)
}

/// How many of these events fit into one append.
fn append_len(events: &[OrderedEvent]) -> usize {
    let mut bytes = 0;
    let fit = events.iter().take(APPEND_EVENTS_MAX).take_while(|event| {
        bytes += event_bytes(event);
        bytes <= APPEND_BYTES_MAX
    });
    fit.count().max(1)
}

fn event_bytes(OrderedEvent { event, .. }: &OrderedEvent) -> usize {
    event.data.len() + event.metadata.len()
}

/// The first append that comes after a later one in the log; one without a position comes after all
/// others.
fn find_overtaken(positions: &[Option<u64>]) -> Option<usize> {
    let (mut first, mut least) = (None, None);
    for (index, position) in positions.iter().enumerate().rev() {
        match (position, least) {
            (Some(position), Some(later)) if *position < later => least = Some(*position),
            (_, Some(_)) => first = Some(index),
            (position, None) => least = *position,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_overtaken_where_a_later_one_has_no_greater_position() {
        let cases: [(&[Option<u64>], Option<usize>); 9] = [
            (&[], None),
            (&[None, None], None),
            (&[Some(1), Some(2), Some(5)], None),
            (&[Some(1), Some(2), None, None], None),
            (&[None, Some(1)], Some(0)),
            (&[Some(1), None, None, Some(2), None], Some(1)),
            (&[Some(1), Some(3), Some(2), Some(4)], Some(1)),
            (&[Some(4), Some(5), Some(6), Some(3)], Some(0)),
            (&[Some(1), Some(2), Some(2)], Some(1)),
        ];
        for (positions, first) in cases {
            assert_eq!(find_overtaken(positions), first, "{positions:?}");
        }
    }
}
