//! `GET /prisoners/{n}/history`: everything that ever happened to a case; `…/{revision}`: one entry.

use std::{borrow::Cow, collections::BTreeSet};

use axum::{
    extract::State as Extracted,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{identifier::PrisonerNumber, prisoner::PrisonerEvent};
use event_log::KnownAt;
use http_api::{
    Params, PathParams, Problem,
    event::RecordedEvent,
    instant::{DateOrInstant, optional_known_at},
    page::{Cursor, Limit},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{IntoParams, ToSchema};

use super::{periods::NoParams, responsibility::unknown};
use crate::{
    State,
    answer::Answer,
    case_log::{self, Happened},
    known,
    present::case::Found,
};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Entries that hold from this instant or London date on.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateOrInstant>,
    /// Entries that hold from before this instant or London date.
    #[param(value_type = Option<String>, example = "2027-01-01")]
    to: Option<DateOrInstant>,
    /// Event types, with commas between them.
    #[serde(rename = "type")]
    #[param(value_type = Option<String>, example = "AllocationMade,Reallocated")]
    types: Option<Types>,
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(rename = "known-at")]
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
    /// Cursor of the page before.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
    /// Rows in a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
}

/// Event types of a case.
#[derive(Debug)]
struct Types(BTreeSet<&'static str>);

impl<'de> Deserialize<'de> for Types {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.split(',')
            .map(|name| {
                PrisonerEvent::TYPE_NAMES.iter().find(|known| **known == name.trim()).copied().ok_or_else(|| {
                    let known = PrisonerEvent::TYPE_NAMES.join(", ");
                    de::Error::custom(format_args!("`{name}` is not a type of event of a case, which are {known}"))
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
    #[schema(value_type = String, example = "A1234BC")]
    prisoner_number: PrisonerNumber,
    /// The revision, under the same number, of the entry that voided this one; null where it stands.
    voided_by: Option<u64>,
    /// The event.
    #[serde(flatten)]
    event: RecordedEvent,
}

impl From<&Happened> for HistoryEntry {
    fn from(happened: &Happened) -> Self {
        Self {
            prisoner_number: happened.number.clone(),
            voided_by: happened.voided_by,
            event: RecordedEvent::from(&happened.stored),
        }
    }
}

/// Everything that happened to a case, newest last, voided entries included and marked.
///
/// In the order in which things hold in the world. Of numbers that were merged, all histories in one, each entry with its
/// number. Read from the log itself, so it is never behind.
#[utoipa::path(
    get, path = "/prisoners/{n}/history", tag = "Answers",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), Which),
    responses(
        (status = 200, body = Vec<HistoryEntry>),
        (status = 404, body = http_api::problem::Document, description = "`prisoner-unknown`"),
    ),
)]
pub(super) async fn history(
    Extracted(state): Extracted<State>,
    PathParams(number): PathParams<PrisonerNumber>,
    Params(which): Params<Which>,
    uri: Uri,
) -> Result<Response, Problem> {
    let after: Option<(DateTime<Utc>, u64)> = which.after.as_ref().map(Cursor::key).transpose()?;
    // Read before the history, so that the history goes at least as far.
    let (position, point) = match which.known_at {
        None => (state.log.head().await.map_err(crate::Error::from)?, None),
        Some(known_at) => {
            let point = known::point(&state.log, known_at).await?;
            (point.position, Some(point.known_at()))
        }
    };
    let all = case_log::whole_history_known_at(&state.log, &number, point).await?;
    if all.is_empty() {
        return Err(unknown(&Found::Unknown, &number).with_position(position));
    }
    let key = |happened: &Happened| (happened.stored.entry.effective_at, happened.stored.entry.position);
    let wanted: Vec<&Happened> = all
        .iter()
        .filter(|happened| {
            let entry = &happened.stored.entry;
            which.from.is_none_or(|from| from.instant() <= entry.effective_at)
                && which.to.is_none_or(|to| entry.effective_at < to.instant())
                && which.types.as_ref().is_none_or(|types| types.0.contains(entry.event.type_name()))
                && after.is_none_or(|after| after < key(happened))
        })
        .collect();
    let page: Vec<HistoryEntry> =
        wanted.iter().take(which.limit.rows()).map(|&happened| HistoryEntry::from(happened)).collect();
    let last = wanted.get(which.limit.rows() - 1).filter(|_| wanted.len() > which.limit.rows());
    let next = last.map(|last| Cursor::after(&key(last)));
    Ok(Answer::new(position, page).followed_by(next.as_ref(), &uri).into_response())
}

/// One entry, by its revision under this very number: what the `Location` of a command's answer leads to.
#[utoipa::path(
    get, path = "/prisoners/{n}/history/{revision}", tag = "Answers",
    params(
        ("n" = String, Path, description = "Prisoner number", example = "A1234BC"),
        ("revision" = u64, Path, description = "0-based place in the number's history"),
    ),
    responses(
        (status = 200, body = HistoryEntry),
        (status = 404, body = http_api::problem::Document, description = "`prisoner-unknown`, `entry-unknown`"),
    ),
)]
pub(super) async fn history_entry(
    Extracted(state): Extracted<State>,
    PathParams((number, revision)): PathParams<(PrisonerNumber, u64)>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let position = state.log.head().await.map_err(crate::Error::from)?;
    let events = case_log::events(&state.log, &number).await?;
    if events.is_empty() {
        return Err(unknown(&Found::Unknown, &number).with_position(position));
    }
    let voided_by = case_log::history(&number, &events).voided_by(revision);
    let stored = events.into_iter().find(|stored| stored.entry.revision == revision).ok_or_else(|| {
        Problem::not_found("entry-unknown", format!("The history of {number} has no entry with revision {revision}."))
            .with_position(position)
    })?;
    let entry = HistoryEntry::from(&Happened { number, stored, voided_by });
    Ok(Answer::new(position, entry).into_response())
}
