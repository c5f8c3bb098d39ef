//! Histories read from the log up to a point, each stream once: some streams at a time, folded on
//! threads that may block.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Stream,
    identifier::{PrisonCode, PrisonerNumber},
    prison,
    prisoner::{
        History,
        lineage::{ChainLink, RemovedNumbers, SurvivorChain},
    },
};
use event_log::{LogError, RecordedEvent, SharedLog, history::fold};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::point::Point;
use crate::QueryError;

/// Streams read from the log at once; bounds the memory of an answer.
const STREAMS_READ_MAX: usize = 250;

/// Reads under way at a time: while one is folded the next comes.
pub(super) const READS_MAX: usize = 3;

/// A form into which a number's events are read.
pub(super) trait FromEvents: Send + Sized + 'static {
    /// Reads a number's own events, in the order recorded.
    fn from_events(number: PrisonerNumber, events: &[RecordedEvent]) -> Result<Self, LogError>;

    /// The number's own history.
    fn history(&self) -> &History;
}

impl FromEvents for History {
    fn from_events(number: PrisonerNumber, events: &[RecordedEvent]) -> Result<Self, LogError> {
        fold(number, events)
    }

    fn history(&self) -> &History {
        self
    }
}

/// The histories of numbers as they were known at a point. A stream that was read is not read
/// again, so that every answer made from one of these is of one state of each stream.
pub(super) struct Histories<'l, H = History> {
    log: &'l SharedLog,
    point: Point,
    /// `None` under a number of which nothing was known.
    read: BTreeMap<PrisonerNumber, Option<OwnHistory<H>>>,
}

/// A number's own history.
struct OwnHistory<H> {
    history: H,
    /// The number that it had been merged into by its end.
    survivor: Option<PrisonerNumber>,
}

impl<'l, H: FromEvents> Histories<'l, H> {
    pub(super) fn new(log: &'l SharedLog, point: Point) -> Self {
        Self { log, point, read: BTreeMap::new() }
    }

    /// Reads those of the numbers that were not read yet.
    pub(super) async fn read(&mut self, numbers: impl IntoIterator<Item = PrisonerNumber>) -> Result<(), QueryError> {
        let unread: BTreeSet<PrisonerNumber> =
            numbers.into_iter().filter(|number| !self.read.contains_key(number)).collect();
        self.read.extend(unread.iter().map(|number| (number.clone(), None)));
        let found: Vec<(PrisonerNumber, OwnHistory<H>)> =
            map_streams(self.log, unread.into_iter().collect(), self.point, |number, events| {
                if events.is_empty() {
                    return Ok(None);
                }
                let history = H::from_events(number.clone(), events)?;
                let survivor = history.history().retirement().map(|(_, survivor)| survivor.clone());
                Ok(Some((number, OwnHistory { history, survivor })))
            })
            .await?;
        self.read.extend(found.into_iter().map(|(number, own)| (number, Some(own))));
        Ok(())
    }

    /// Reads the numbers and, of those that had been merged, the numbers that they were merged
    /// into.
    pub(super) async fn read_survivors(&mut self, numbers: &[PrisonerNumber]) -> Result<(), QueryError> {
        let mut numbers = numbers.to_vec();
        while !numbers.is_empty() {
            self.read(numbers.iter().cloned()).await?;
            let survivors = numbers.iter().filter_map(|number| self.own(number)?.survivor.clone());
            numbers = survivors.filter(|survivor| !self.read.contains_key(survivor)).collect();
        }
        Ok(())
    }

    /// The numbers under which a case was known before it was known under the number that answers
    /// for `asked`, each with the position of its merge: those that the number took over, those
    /// that were merged into them, and those between `asked` and it that no number took over yet.
    /// Reads all of them; [`Self::read_survivors`] must have read `asked`.
    pub(super) async fn read_removed(
        &mut self,
        asked: &PrisonerNumber,
    ) -> Result<Vec<(u64, PrisonerNumber)>, QueryError> {
        let mut chain = self.known_chain(asked)?;
        let Some(survivor) = chain.pop().and_then(|number| self.get(&number)) else { return Ok(Vec::new()) };
        let mut unread = RemovedNumbers::of(survivor.history());
        let mut removed = Vec::new();
        loop {
            let next: Vec<(u64, PrisonerNumber)> = std::iter::from_fn(|| unread.take_next()).collect();
            if next.is_empty() {
                let Some(merged) = chain.pop() else { return Ok(removed) };
                self.get(&merged).into_iter().for_each(|merged| unread.add_retired(merged.history()));
                continue;
            }
            self.read(next.iter().map(|(_, number)| number.clone())).await?;
            let read = next.iter().filter_map(|(_, number)| self.get(number));
            read.for_each(|history| unread.add(history.history()));
            removed.extend(next);
        }
    }

    /// A number's own history, if it was read and anything was known.
    pub(super) fn get(&self, number: &PrisonerNumber) -> Option<&H> {
        self.own(number).map(|own| &own.history)
    }

    /// Takes a number's own history out.
    pub(super) fn take(&mut self, number: &PrisonerNumber) -> Option<H> {
        self.read.remove(number)?.map(|own| own.history)
    }

    fn own(&self, number: &PrisonerNumber) -> Option<&OwnHistory<H>> {
        self.read.get(number)?.as_ref()
    }

    /// The number whose history answers for a number: itself, or once it had been merged the
    /// survivor, as soon as anything was known of that one. `None` where nothing was known.
    /// [`Self::read_survivors`] must have read the number.
    pub(super) fn answering_number(&self, asked: &PrisonerNumber) -> Result<Option<PrisonerNumber>, QueryError> {
        Ok(self.known_chain(asked)?.pop())
    }

    /// The number and those that its case goes on under, in order, as far as anything was known of
    /// them: the survivor of a merge whose second half is not recorded may have no history.
    fn known_chain(&self, asked: &PrisonerNumber) -> Result<Vec<PrisonerNumber>, QueryError> {
        let survivor_of = |number: &PrisonerNumber| self.own(number)?.survivor.clone();
        let chain = SurvivorChain::follow_all(asked.clone(), survivor_of)?;
        let numbers = chain.links().map(|ChainLink { number, .. }| number);
        Ok(numbers.filter(|number| self.own(number).is_some()).cloned().collect())
    }
}

/// Applies `fold` to each number's own history as it was known at a point, and collects what it
/// returns.
pub(super) async fn map_histories<T: Send + 'static, C: Default + Extend<T>>(
    log: &SharedLog,
    numbers: Vec<PrisonerNumber>,
    point: Point,
    fold: impl Fn(History) -> Option<T> + Clone + Send + 'static,
) -> Result<C, QueryError> {
    map_streams(log, numbers, point, move |number, events| Ok(fold(History::from_events(number, events)?))).await
}

/// Applies `make` to each number's own events and collects what it returns. Memory holds the few
/// streams that are read at once and what was collected.
async fn map_streams<T: Send + 'static, C: Default + Extend<T>>(
    log: &SharedLog,
    numbers: Vec<PrisonerNumber>,
    point: Point,
    make: impl Fn(PrisonerNumber, &[RecordedEvent]) -> Result<Option<T>, LogError> + Clone + Send + 'static,
) -> Result<C, QueryError> {
    let mut reads = stream::iter(chunks(numbers))
        .map(|numbers| {
            let make = make.clone();
            async move {
                let streams: Vec<Stream> = numbers.iter().cloned().map(Stream::Prisoner).collect();
                let read = log.read_streams_to(&streams, point.position).await?;
                run_blocking(move || {
                    let made = numbers.into_iter().zip(&read).map(|(number, events)| make(number, events));
                    made.filter_map(Result::transpose).collect::<Result<Vec<T>, LogError>>()
                })
                .await
            }
        })
        .buffer_unordered(READS_MAX);
    let mut all = C::default();
    while let Some(made) = reads.try_next().await? {
        all.extend(made);
    }
    Ok(all)
}

/// A prison's history as it was known at a point.
pub(super) async fn prison_history(
    log: &SharedLog,
    code: PrisonCode,
    point: Point,
) -> Result<prison::History, QueryError> {
    let read = log.read_streams_to(&[Stream::Prison(code.clone())], point.position).await?;
    Ok(run_blocking(move || fold(code, read.iter().flatten())).await?)
}

/// The numbers, as many at a time as are read at once.
fn chunks(mut numbers: Vec<PrisonerNumber>) -> Vec<Vec<PrisonerNumber>> {
    let mut chunks = Vec::with_capacity(numbers.len().div_ceil(STREAMS_READ_MAX));
    while !numbers.is_empty() {
        let rest = numbers.split_off(numbers.len().min(STREAMS_READ_MAX));
        chunks.push(std::mem::replace(&mut numbers, rest));
    }
    chunks
}

/// Runs work that takes long on a thread that may block.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
