//! `GET /prisoners/{prisonerNumber}/history`: everything that ever happened to a case;
//! `…/{revision}`: one entry.

use std::{borrow::Cow, collections::BTreeSet};

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{Rule, identifier::PrisonerNumber, prisoner::PrisonerEvent, text::Excerpt};
use http_api::{
    CallerScope, ParamGroups, Params, PathParams, Problem,
    event::{EventDocument, event_types_schema},
    instant::DateOrInstant,
    page::Cursor,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{
    answer::{Answer, page_rows},
    error_problem::prisoner_unknown,
    parameters::{KnownAtQuery, NoParams, Paging},
};
use crate::{
    QueryState,
    past::{self, CaseEntry},
};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Entries that hold from this instant or London date on.
    #[param(inline)]
    from: Option<DateOrInstant>,
    /// Entries that hold from before this instant or London date.
    #[param(inline)]
    to: Option<DateOrInstant>,
    /// Event types, with commas between them.
    #[serde(rename = "type")]
    #[param(inline)]
    types: Option<CaseEventTypes>,
}

/// Event types of a case.
#[derive(Debug)]
struct CaseEventTypes(BTreeSet<&'static str>);

impl PartialSchema for CaseEventTypes {
    fn schema() -> RefOr<Schema> {
        event_types_schema(PrisonerEvent::TYPE_NAMES)
    }
}

impl ToSchema for CaseEventTypes {}

impl<'de> Deserialize<'de> for CaseEventTypes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.split(',')
            .map(|name| {
                PrisonerEvent::TYPE_NAMES.iter().find(|known| **known == name.trim()).copied().ok_or_else(|| {
                    let known = PrisonerEvent::TYPE_NAMES.join(", ");
                    de::Error::custom(format_args!(
                        "`{}` is not a type of event of a case, which are {known}",
                        Excerpt(name)
                    ))
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// An entry of a case's history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryEntry {
    /// The number that it was recorded under.
    prisoner_number: PrisonerNumber,
    /// The revision, under the same number, of the entry that voided this one; null where none did.
    voided_by: Option<u64>,
    /// The event.
    #[serde(flatten)]
    event: EventDocument,
}

impl HistoryEntry {
    /// One of the entries of a case, with the free texts that the caller may read.
    fn new(entry: &CaseEntry, all: &[CaseEntry], caller: &CallerScope) -> Self {
        Self {
            prisoner_number: entry.number.clone(),
            voided_by: entry.voided_by,
            event: EventDocument::new(&entry.stored, entry.texts(all, &caller.texts)),
        }
    }
}

/// Everything that happened to a case, newest last, voided entries included and marked.
///
/// In the order in which things hold in the world. Of numbers that were merged, all histories in
/// one, each entry with its number. Read from the log itself, so it is never behind. A note or
/// other free text is null for callers of another prison than the one that wrote it.
#[utoipa::path(
    get, path = "/prisoners/{prisonerNumber}/history", tag = "Questions about a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1000AA"),
        HistoryQuery, KnownAtQuery, Paging,
    ),
    responses(
        (status = 200, body = Vec<HistoryEntry>),
        (status = 404, body = http_api::problem::ProblemDocument, description = "`prisoner-unknown`"),
    ),
)]
pub(super) async fn list_history_entries(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(number): PathParams<PrisonerNumber>,
    ParamGroups((query, KnownAtQuery { known_at }, paging)): ParamGroups<(HistoryQuery, KnownAtQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let after: Option<(DateTime<Utc>, u64)> = paging.after()?;
    let (position, all) = past::case_history(&state.log, &number, known_at).await?;
    if all.is_empty() {
        return Err(prisoner_unknown(&number).with_position(position));
    }
    let key = |entry: &CaseEntry| (entry.stored.entry.effective_at, entry.stored.entry.position);
    let wanted: Vec<&CaseEntry> = all
        .iter()
        .filter(|entry| {
            let recorded = &entry.stored.entry;
            query.from.is_none_or(|from| from.instant() <= recorded.effective_at)
                && query.to.is_none_or(|to| recorded.effective_at < to.instant())
                && query.types.as_ref().is_none_or(|types| types.0.contains(recorded.event.type_name()))
                && after.is_none_or(|after| after < key(entry))
        })
        .collect();
    let page = &wanted[..wanted.len().min(paging.limit.rows())];
    let last = page.last().filter(|_| wanted.len() > page.len());
    let next = last.map(|last| Cursor::after(&key(last)));
    let document = |entry: &&CaseEntry| HistoryEntry::new(entry, &all, &caller);
    let (entries, next) = page_rows(page, next, document, |entry| Cursor::after(&key(entry)))?;
    let shown = Shown::prisoners(page.iter().take(entries.len()).map(|entry| &entry.number));
    Ok(Answer::new(position, entries, shown).with_next(next.as_ref(), &uri).into_response())
}

/// One entry, by its revision under this very number: what the `Location` of a command's answer
/// leads to.
#[utoipa::path(
    get, path = "/prisoners/{prisonerNumber}/history/{revision}", tag = "Questions about a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1000AA"),
        ("revision" = u64, Path, description = "0-based place in the number's history", example = 0),
    ),
    responses(
        (status = 200, body = HistoryEntry),
        (status = 404, body = http_api::problem::ProblemDocument, description = "`prisoner-unknown`, `entry-unknown`"),
    ),
)]
pub(super) async fn get_history_entry(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams((number, revision)): PathParams<(PrisonerNumber, u64)>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let (position, entries) = past::own_entries(&state.log, &number).await?;
    if entries.is_empty() {
        return Err(prisoner_unknown(&number).with_position(position));
    }
    let entry = entries.iter().find(|entry| entry.stored.entry.revision == revision).ok_or_else(|| {
        Problem::not_found(
            Rule::EntryUnknown,
            format!("The history of {number} has no entry with revision {revision}."),
        )
        .with_position(position)
    })?;
    Ok(Answer::new(position, HistoryEntry::new(entry, &entries, &caller), Shown::prisoners([&number])).into_response())
}
