//! Lists as they are or as they were known at a point: cases, POMs, POM contacts.
//!
//! A list as known at a point is put together from two sources, so that it costs what has changed
//! and not what there is:
//!
//! 1. cases to which nothing has happened since: the views still say of them what they said then;
//! 2. cases to which something has: their streams are read from the log and folded up to the point.
//!
//! Which cases are of which kind, and how many streams the views leave out, is read in one snapshot
//! of the views, so that each case is in one of the two, and none is missing that is not counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    Confinement, Stream,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
};
use event_log::{KnownAt, SharedLog, history::read_contacts};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_api::CallerScope;
use sqlx::PgConnection;
use views::{CasePeriodRow, NomisContactRow, stream_aside::StreamAside};

use super::{
    PastError,
    histories::{READS_MAX, map_histories, prison_history},
    point::Point,
    readable::hide_details,
};
use crate::{
    QueryError, QueryState,
    present::{
        ViewRows,
        case_list::{self, CaseFilter, CaseList, CasePage, CaseSort},
        case_prison,
        nomis_contact::{self, ContactAtPrison, ContactList, ContactsThen, GoLiveDates, PersonAtPrison},
        roster::{self, PomCaseload, RegisteredPom},
        snapshot,
    },
};

/// Persons whose contacts are read from the log at once; bounds the memory of an answer.
const CONTACTS_READ_MAX: usize = 250;

/// The cases that a list chooses from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CaseListScope<'a> {
    Prison(&'a PrisonCode),
    Pom(StaffId),
}

/// How far a list goes, and how much it leaves out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListExtent {
    /// The position in the log that it includes.
    pub(crate) position: u64,
    /// How many cases and prisons the views leave out.
    pub(crate) streams_aside: usize,
}

impl ListExtent {
    /// The extent of rows of the present.
    pub(crate) fn of<T>(read: &ViewRows<T>) -> Self {
        Self { position: read.position, streams_aside: read.aside.len() }
    }

    /// The extent of a list as known at a point, for which the rows were read.
    ///
    /// # Errors
    /// [`PastError::ViewsBehind`] where the views have gone back since they had come to the point.
    pub(super) fn at<T>(point: Point, read: &ViewRows<T>) -> Result<Self, PastError> {
        if read.position < point.position {
            return Err(PastError::ViewsBehind);
        }
        Ok(Self { position: point.position, ..Self::of(read) })
    }
}

/// Pages of lists of the caller's cases, and the extent that all of them have. A case that is not
/// at the caller's prisons now is in no list, whatever the time asked about.
pub(crate) async fn case_lists<const N: usize>(
    state: &QueryState,
    caller: &CallerScope,
    scope: CaseListScope<'_>,
    lists: [CaseList; N],
    at: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(ListExtent, [CasePage; N]), PastError> {
    let point = match known_at {
        Some(known_at) => Some(point_in_views(state, known_at).await?),
        None => None,
    };
    let mut views = snapshot(&state.views).await?;
    let mut extent = ListExtent { position: 0, streams_aside: 0 };
    let mut found = Vec::with_capacity(N);
    for list in &lists {
        let read =
            case_list::first(&mut views, list, at, point.map(|point| point.position), &caller.confinement).await?;
        extent = point.map_or_else(|| Ok(ListExtent::of(&read)), |point| ListExtent::at(point, &read))?;
        found.push(read.rows);
    }
    let changed = match point {
        Some(point) => {
            let numbers = numbers_changed_since(&mut views, scope, at, point).await?;
            Some((point, case_prison::retain_own(&mut *views, numbers, &caller.confinement).await?))
        }
        None => None,
    };
    views.commit().await.map_err(QueryError::from)?;
    if let Some((point, numbers)) = changed {
        let filters = lists.iter().map(|list| list.filter.clone()).collect();
        let changed = cases_then(&state.log, numbers, point, at, filters).await?;
        for (list, keyed) in lists.iter().zip(&mut found) {
            list.insert(changed.values(), keyed);
        }
    }
    let mut found = found.into_iter();
    let mut pages = lists.map(|list| list.page(found.next().unwrap_or_default()));
    hide_details(state, &caller.texts, pages.iter_mut().flat_map(|page| &mut page.cases)).await?;
    Ok((extent, pages))
}

/// The point that a caller names, once the views have come as far: they say which cases may be in a
/// list.
pub(super) async fn point_in_views(state: &QueryState, known_at: KnownAt) -> Result<Point, PastError> {
    let point = Point::of(&state.log, known_at).await?;
    if state.checkpoint.wait_for(point.position).await? { Ok(point) } else { Err(PastError::ViewsBehind) }
}

/// The cases of a scope to which something has happened since the point.
async fn numbers_changed_since(
    views: &mut PgConnection,
    scope: CaseListScope<'_>,
    at: DateTime<Utc>,
    point: Point,
) -> Result<Vec<PrisonerNumber>, QueryError> {
    match scope {
        CaseListScope::Prison(prison) => {
            case_prison::changed_since_at_prison(views, prison, Some(at), point.position).await
        }
        CaseListScope::Pom(staff_id) => {
            case_prison::changed_since_around_pom(views, staff_id, at, point.position).await
        }
    }
}

/// Cases as they were known at the point; those that pass a filter.
async fn cases_then(
    log: &SharedLog,
    numbers: Vec<PrisonerNumber>,
    point: Point,
    at: DateTime<Utc>,
    filters: Vec<CaseFilter>,
) -> Result<BTreeMap<PrisonerNumber, CasePeriodRow>, QueryError> {
    let filters = Arc::new(filters);
    map_histories(log, numbers, point, move |history| {
        let case = CasePeriodRow::find_at(&history, at)?;
        filters.iter().any(|filter| filter.passes(&case)).then(|| (history.number().clone(), case))
    })
    .await
}

/// A prison's POMs by name with the cases that each holds there, and the extent of the answer.
///
/// # Errors
/// [`QueryError::Aside`] where the views leave out the prison, or as any list.
pub(crate) async fn roster(
    state: &QueryState,
    prison: &PrisonCode,
    at: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(ListExtent, Vec<(RegisteredPom, PomCaseload)>), PastError> {
    if known_at.is_none() {
        let read = roster::with_caseloads(&state.views, prison, at).await?;
        check_has_prison(&read.aside, prison)?;
        return Ok((ListExtent::of(&read), read.rows));
    }
    let filter = CaseFilter { prison: Some(prison.clone()), ..CaseFilter::default() };
    let all = CaseList { filter, sort: CaseSort::default(), after: None, limit: None };
    // Of these only numbers are told, so they are counted wherever they are by now.
    let everything = CallerScope::default();
    let (extent, [here]) = case_lists(state, &everything, CaseListScope::Prison(prison), [all], at, known_at).await?;
    let mut loads: BTreeMap<StaffId, PomCaseload> = BTreeMap::new();
    for case in here.cases {
        let letter = case.tier.map(|tier| tier.to_string().chars().take(1).collect::<String>());
        if let Some(pom) = case.pom {
            *loads.entry(pom.staff_id).or_default().primary.entry(letter.clone()).or_default() += 1;
        }
        if let Some(pom) = case.coworker {
            *loads.entry(pom.staff_id).or_default().coworking.entry(letter).or_default() += 1;
        }
    }
    let history = prison_history(&state.log, prison.clone(), Point { position: extent.position }).await?;
    let mut poms: Vec<(RegisteredPom, PomCaseload)> = RegisteredPom::of(&history, at)
        .into_iter()
        .map(|pom| {
            let load = loads.remove(&pom.pom.staff_id).unwrap_or_default();
            (pom, load)
        })
        .collect();
    poms.sort_by(|(pom, _), (other, _)| (&pom.pom.name, pom.pom.staff_id).cmp(&(&other.pom.name, other.pom.staff_id)));
    Ok((extent, poms))
}

/// The first POM contacts of a list, at least one more than make a page where there are as many;
/// and the extent of the answer.
///
/// # Errors
/// [`QueryError::Aside`] where the views leave out the prison that is asked about, or as any list.
pub(crate) async fn contacts(
    state: &QueryState,
    list: &ContactList,
    known_at: Option<KnownAt>,
) -> Result<(ListExtent, Vec<ContactAtPrison>), PastError> {
    let Some(known_at) = known_at else {
        let read = nomis_contact::first(&state.views, list, None).await?;
        list.prison.iter().try_for_each(|prison| check_has_prison(&read.aside, prison))?;
        return Ok((ListExtent::of(&read), read.rows));
    };
    let point = point_in_views(state, known_at).await?;
    let mut views = snapshot(&state.views).await?;
    // Within the snapshot, since the first page follows from the dates: a prison's stream is short.
    let changed = nomis_contact::prisons_changed_since(&mut *views, list, point.position).await?;
    let go_live_dates: GoLiveDates = stream::iter(changed)
        .map(|prison| prison_history(&state.log, prison, point))
        .buffer_unordered(READS_MAX)
        .map_ok(|history| {
            let joined = history.roster().joined.as_ref();
            (history.code().clone(), joined.map(|joined| joined.go_live_date))
        })
        .try_collect()
        .await?;
    let then = ContactsThen { position: point.position, go_live_dates: &go_live_dates };
    let read = nomis_contact::first(&mut *views, list, Some(then)).await?;
    let changed = nomis_contact::persons_changed_since(&mut *views, list, point.position).await?;
    views.commit().await.map_err(QueryError::from)?;
    list.prison.iter().try_for_each(|prison| check_has_prison(&read.aside, prison))?;
    let extent = ListExtent::at(point, &read)?;
    let mut contacts = Vec::new();
    for persons in changed.chunks(CONTACTS_READ_MAX) {
        let numbers: Vec<PrisonerNumber> = persons.iter().map(|person| person.number.clone()).collect();
        let histories = read_contacts(&*state.log, &numbers, Some(point.position)).await.map_err(QueryError::from)?;
        for (PersonAtPrison { prison, go_live_date, .. }, history) in persons.iter().zip(&histories) {
            let go_live_date = go_live_dates.get(prison).copied().unwrap_or(*go_live_date);
            contacts.extend(list.of(history, prison, go_live_date));
        }
        // In the order of the list: once a page is full, those to come are on later pages.
        if contacts.len() > list.limit.rows() {
            break;
        }
    }
    contacts.extend(read.rows);
    contacts.sort_by_key(ContactAtPrison::key);
    Ok((extent, contacts))
}

/// Every POM contact ever seen of some numbers, removed ones included. Those that the views leave
/// out come from the log, so that nothing is left out.
pub(crate) async fn contacts_of_prisoners(
    state: &QueryState,
    numbers: &BTreeSet<PrisonerNumber>,
) -> Result<ViewRows<NomisContactRow>, QueryError> {
    let mut read = nomis_contact::of_prisoners(&state.views, numbers).await?;
    let aside = std::mem::take(&mut read.aside).into_iter().filter_map(|aside| match aside.stream {
        Stream::Contacts(number) => Some(number).filter(|number| numbers.contains(number)),
        Stream::Prisoner(_) | Stream::Prison(_) => None,
    });
    let unread: Vec<PrisonerNumber> = aside.collect();
    let histories = read_contacts(&*state.log, &unread, Some(read.position)).await?;
    read.rows.extend(histories.iter().flat_map(NomisContactRow::all_of));
    read.rows.sort_by_key(|contact| (contact.found_at, contact.prison_code.clone(), contact.contact_id));
    Ok(read)
}

/// Fails where the views leave out a prison.
pub(super) fn check_has_prison(aside: &[StreamAside], prison: &PrisonCode) -> Result<(), QueryError> {
    let stream = Stream::Prison(prison.clone());
    let found = aside.iter().find(|aside| aside.stream == stream);
    found.map_or(Ok(()), |found| Err(QueryError::Aside(Box::new(found.clone()))))
}

/// Fails where one of the streams aside named any of the POMs at a position: as one on the roster,
/// or as the primary POM of the case. A stream of a prison that is not the caller's does not count,
/// since the error names it.
pub(crate) async fn check_names_no_pom(
    state: &QueryState,
    confinement: &Confinement,
    aside: Vec<StreamAside>,
    position: u64,
    staff_ids: &[StaffId],
    at: DateTime<Utc>,
) -> Result<(), QueryError> {
    let point = Point { position };
    for aside in aside {
        let names_one = match &aside.stream {
            Stream::Prisoner(number) => {
                let cases: Vec<CasePeriodRow> =
                    map_histories(&state.log, vec![number.clone()], point, move |history| {
                        CasePeriodRow::find_at(&history, at)
                    })
                    .await?;
                let is_named = |case: &CasePeriodRow| {
                    let holder = case.pom.as_ref().map(|pom| pom.staff_id);
                    confinement.has(case.prison.as_ref()) && holder.is_some_and(|holder| staff_ids.contains(&holder))
                };
                cases.iter().any(is_named)
            }
            // A contact in NOMIS is neither.
            Stream::Contacts(_) => false,
            Stream::Prison(code) if !confinement.has(Some(code)) => false,
            Stream::Prison(code) => {
                let history = prison_history(&state.log, code.clone(), point).await?;
                RegisteredPom::of(&history, at).iter().any(|of| staff_ids.contains(&of.pom.staff_id))
            }
        };
        if names_one {
            return Err(QueryError::Aside(Box::new(aside)));
        }
    }
    Ok(())
}
