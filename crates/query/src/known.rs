//! What was known at a point: the answers that the views would have given, had the log ended there.
//!
//! A list is put together from two sources, so that it costs what has changed and not what there is:
//!
//! 1. cases to which nothing has happened since: the views still say of them what they said then;
//! 2. cases to which something has: their streams are read from the log and folded up to the point.
//!
//! In this order, each by a statement of its own: a case that changes in between is found by both, and both say the same.
//! The other way round it would be found by neither.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prison::{self, PrisonEvent},
    prisoner::{History, PrisonerEvent, period_at, periods},
};
use event_log::{KnownAt, LogError, RecordedEvent, SharedLog, decode};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_api::{Problem, problem::Fault};

use crate::{
    Error, State, freshness,
    present::{
        allocation::{self, Counted, Month},
        case::Case,
        case_list::{self, Filter, List, Page, Sort},
        case_prison,
        nomis_contact::{self, Contact},
        roster::{Caseload, Pom},
    },
};

/// Streams read from the log at once; bounds the memory of an answer.
const STREAMS_READ_MAX: usize = 250;

/// Reads under way at a time: while one is folded the next comes.
const READS_MAX: usize = 3;

/// A point in what the ledger knew: everything up to a position, and nothing after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) position: u64,
}

impl Point {
    /// The same for the functions that take either.
    pub(crate) fn known_at(self) -> KnownAt {
        KnownAt::Position(self.position)
    }
}

/// The point that a caller means. An instant stands for the last position recorded by then, so that a whole list is of one
/// point; one that is still to come (such as the end of today) for the log's end.
///
/// A position that is still to come is refused: what will be known there nobody can say.
pub(crate) async fn point(log: &SharedLog, known_at: KnownAt) -> Result<Point, Problem> {
    let position = match known_at {
        KnownAt::Instant(instant) => log.position_at(instant).await.map_err(Error::from)?,
        KnownAt::Position(position) => {
            let head = log.head().await.map_err(Error::from)?;
            if position > head {
                let detail =
                    format!("{position} is past the ledger's end, which is at position {head}; ask for an earlier one");
                return Err(Problem::fault("parameter-invalid", Fault::parameter("known-at", detail)));
            }
            position
        }
    };
    Ok(Point { position })
}

/// Whose cases a list has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    Prison(&'a PrisonCode),
    Pom(StaffId),
}

/// Pages of lists, as the views have them or as they were known at a point, and the position that all of them are of.
pub(crate) async fn lists<const N: usize>(
    state: &State,
    whose: Whose<'_>,
    lists: [List; N],
    at: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(u64, [Page; N]), Problem> {
    let point = match known_at {
        Some(known_at) => Some(reached(state, known_at).await?),
        None => None,
    };
    let mut position = u64::MAX;
    let mut found = Vec::with_capacity(N);
    for list in &lists {
        let read = case_list::first(&state.views, list, at, point.map(|point| point.position)).await?;
        position = position.min(read.position);
        found.push(read.rows);
    }
    if let Some(point) = point {
        position = point.position;
        let filters = lists.iter().map(|list| list.filter.clone()).collect();
        let changed = changed_since(state, whose, point, at, filters).await?;
        for (list, keyed) in lists.iter().zip(&mut found) {
            keyed.retain(|(_, case)| !changed.contains_key(&case.number));
            list.insert(changed.values(), keyed);
        }
    }
    let mut found = found.into_iter();
    Ok((position, lists.map(|list| list.page(found.next().unwrap_or_default()))))
}

/// The point that a caller means, once the views have come as far: they say which cases may be in a list.
async fn reached(state: &State, known_at: KnownAt) -> Result<Point, Problem> {
    let point = point(&state.log, known_at).await?;
    if state.freshness.reached(point.position).await? { Ok(point) } else { Err(freshness::behind()) }
}

/// The cases to which something has happened since the point, as they were known then; those that pass a filter.
async fn changed_since(
    state: &State,
    whose: Whose<'_>,
    point: Point,
    at: DateTime<Utc>,
    filters: Vec<Filter>,
) -> Result<BTreeMap<PrisonerNumber, Case>, Error> {
    let numbers = match whose {
        Whose::Prison(prison) => {
            case_prison::changed_since_at_prison(&state.views, prison, Some(at), point.position).await?
        }
        Whose::Pom(staff_id) => {
            case_prison::changed_since_around_pom(&state.views, staff_id, at, point.position).await?
        }
    };
    let filters = Arc::new(filters);
    each_history(&state.log, numbers, point, move |history| {
        let periods = periods(&history);
        let case = Case::of(&history, period_at(&periods, at)?);
        filters.iter().any(|filter| filter.passes(&case)).then(|| (history.number().clone(), case))
    })
    .await
}

/// What `fold` makes of each number's own history as it was known at a point, where it makes anything. The streams are
/// read some at a time and folded on threads that may block, so that memory holds the few of them and what was made.
async fn each_history<T: Send + 'static, C: Default + Extend<T>>(
    log: &SharedLog,
    numbers: Vec<PrisonerNumber>,
    point: Point,
    fold: impl Fn(History) -> Option<T> + Clone + Send + 'static,
) -> Result<C, Error> {
    let mut reads = stream::iter(chunks(numbers))
        .map(|numbers| {
            let fold = fold.clone();
            async move {
                let streams: Vec<Stream> = numbers.iter().cloned().map(Stream::Prisoner).collect();
                let read = log.read_streams_to(&streams, point.position).await?;
                blocking(move || {
                    let made = numbers.into_iter().zip(&read).map(|(number, events)| {
                        let history = History::from_entries(number, entries(events, as_of_prisoner)?);
                        Ok(fold(history))
                    });
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

/// The numbers, as many at a time as are read at once.
fn chunks(mut numbers: Vec<PrisonerNumber>) -> Vec<Vec<PrisonerNumber>> {
    let mut chunks = Vec::with_capacity(numbers.len().div_ceil(STREAMS_READ_MAX));
    while !numbers.is_empty() {
        let rest = numbers.split_off(numbers.len().min(STREAMS_READ_MAX));
        chunks.push(std::mem::replace(&mut numbers, rest));
    }
    chunks
}

/// A stream's entries.
fn entries<E>(events: &[RecordedEvent], kind: impl Fn(Event) -> Option<E>) -> Result<Vec<Entry<E>>, LogError> {
    events
        .iter()
        .map(|event| decode(event).map(|stored| stored.entry.try_map(|event| kind(event).ok_or(())).ok()))
        // A stream has no other events than its kind's; decoding sees to that.
        .filter_map(Result::transpose)
        .collect()
}

fn as_of_prisoner(event: Event) -> Option<PrisonerEvent> {
    match event {
        Event::Prisoner(event) => Some(event),
        Event::Prison(_) => None,
    }
}

fn as_of_prison(event: Event) -> Option<PrisonEvent> {
    match event {
        Event::Prison(event) => Some(event),
        Event::Prisoner(_) => None,
    }
}

/// Runs what takes long on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// A history, and the number that its case had been merged into by its end.
type Read = (Arc<History>, Option<PrisonerNumber>);

/// Of each number the history, as it was known at a point, of the case that it belonged to then: its own, or the survivor's
/// once it had been merged. Numbers of which nothing was known are absent.
pub(crate) async fn histories<'n>(
    log: &SharedLog,
    numbers: &'n [PrisonerNumber],
    point: Point,
) -> Result<BTreeMap<&'n PrisonerNumber, Arc<History>>, Error> {
    let mut read: BTreeMap<PrisonerNumber, Option<Read>> = BTreeMap::new();
    let mut to_read: BTreeSet<PrisonerNumber> = numbers.iter().cloned().collect();
    while !to_read.is_empty() {
        read.extend(to_read.iter().map(|number| (number.clone(), None)));
        let wanted = std::mem::take(&mut to_read).into_iter().collect();
        let found: Vec<Read> = each_history(log, wanted, point, |history| {
            let survivor = history.state().retired_into;
            (!history.is_empty()).then(|| (Arc::new(history), survivor))
        })
        .await?;
        for (history, survivor) in found {
            to_read.extend(survivor.clone().filter(|survivor| !read.contains_key(survivor)));
            read.insert(history.number().clone(), Some((history, survivor)));
        }
    }
    let mut answers = BTreeMap::new();
    for asked in numbers {
        let mut number = asked;
        let mut followed = BTreeSet::from([number]);
        while let Some(Some((history, survivor))) = read.get(number) {
            match survivor {
                None => {
                    answers.insert(asked, Arc::clone(history));
                    break;
                }
                Some(survivor) if followed.insert(survivor) => number = survivor,
                Some(survivor) => return Err(Error::MergeCircle { number: survivor.clone() }),
            }
        }
    }
    Ok(answers)
}

/// A prison's POMs by name with the cases that each held there, as was known at a point; and that point's position.
pub(crate) async fn roster(
    state: &State,
    prison: &PrisonCode,
    at: DateTime<Utc>,
    known_at: KnownAt,
) -> Result<(u64, Vec<(Pom, Caseload)>), Problem> {
    let filter = Filter { prison: Some(prison.clone()), ..Filter::default() };
    let all = List { filter, sort: Sort::default(), after: None, limit: None };
    let (position, [here]) = lists(state, Whose::Prison(prison), [all], at, Some(known_at)).await?;
    let mut loads: BTreeMap<StaffId, Caseload> = BTreeMap::new();
    for case in here.cases {
        let letter = case.tier.map(|tier| tier.to_string().chars().take(1).collect::<String>());
        if let Some(pom) = case.pom {
            *loads.entry(pom.staff_id).or_default().primary.entry(letter.clone()).or_default() += 1;
        }
        if let Some(pom) = case.coworker {
            *loads.entry(pom.staff_id).or_default().coworking.entry(letter).or_default() += 1;
        }
    }
    let history = prison_history(&state.log, prison.clone(), Point { position }).await?;
    let mut poms: Vec<(Pom, Caseload)> = Pom::of(&history, at)
        .into_iter()
        .map(|pom| {
            let load = loads.remove(&pom.staff_id).unwrap_or_default();
            (pom, load)
        })
        .collect();
    poms.sort_by(|(pom, _), (other, _)| (&pom.name, pom.staff_id).cmp(&(&other.name, other.staff_id)));
    Ok((position, poms))
}

/// A prison's allocations by month as was known at a point, and that point's position.
pub(crate) async fn months(
    state: &State,
    prison: &PrisonCode,
    known_at: KnownAt,
) -> Result<(u64, Vec<Month>), Problem> {
    let point = reached(state, known_at).await?;
    let mut counted = allocation::unchanged_since(&state.views, prison, point.position).await?;
    let changed = case_prison::changed_since_at_prison(&state.views, prison, None, point.position).await?;
    let both: BTreeSet<PrisonerNumber> = changed.iter().cloned().collect();
    counted.retain(|counted| !both.contains(&counted.number));
    let here = prison.clone();
    let of_changed: Vec<Vec<Counted>> =
        each_history(&state.log, changed, point, move |history| Some(Counted::of(&history, &here))).await?;
    counted.extend(of_changed.into_iter().flatten());
    Ok((point.position, Month::of(counted)))
}

/// The first POM contacts of a list, one more than make a page, as the views have them or as was known at a point; and the
/// position that they are of.
pub(crate) async fn contacts(
    state: &State,
    list: &nomis_contact::List,
    known_at: Option<KnownAt>,
) -> Result<(u64, Vec<Contact>), Problem> {
    let point = match known_at {
        Some(known_at) => Some(reached(state, known_at).await?),
        None => None,
    };
    let read = nomis_contact::first(&state.views, list, point.map(|point| point.position)).await?;
    let Some(point) = point else { return Ok((read.position, read.rows)) };
    let changed = nomis_contact::changed_since(&state.views, list, point.position).await?;
    let mut contacts = Vec::new();
    let mut histories =
        stream::iter(changed.clone()).map(|prison| prison_history(&state.log, prison, point)).buffered(READS_MAX);
    // By prison first: once a page is full, those to come are on later pages.
    while contacts.len() <= list.limit.rows()
        && let Some(history) = histories.try_next().await?
    {
        contacts.extend(list.of(&history));
    }
    contacts.extend(read.rows.into_iter().filter(|contact| !changed.contains(&contact.prison)));
    contacts.sort_by_key(Contact::key);
    Ok((point.position, contacts))
}

/// A prison's history as it was known at a point.
async fn prison_history(log: &SharedLog, code: PrisonCode, point: Point) -> Result<prison::History, Error> {
    let read = log.read_streams_to(&[Stream::Prison(code.clone())], point.position).await?;
    let entries = blocking(move || entries(read.first().map_or(&[], Vec::as_slice), as_of_prison)).await?;
    Ok(prison::History::from_entries(code, entries))
}
