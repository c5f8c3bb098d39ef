//! `GET /access-log`: who read which person's data, for auditors.

use access_log::{AccessKey, AccessPage, AccessQuestion, Shown, StoredAccess, read_entries};
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{identifier::PrisonerNumber, text::Excerpt};
use http_api::{ParamGroups, Problem, ProblemCode, instant::DateOrInstant, page::Cursor, problem::Fault};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    answer::{Answer, page_rows},
    parameters::Paging,
};
use crate::{QueryError, QueryState, past::case_numbers};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AccessLogQuery {
    /// Reads that showed this prisoner, under any number that was merged with it.
    #[param(inline)]
    prisoner: Option<PrisonerNumber>,
    /// Reads by this user, or by this client where it acted for itself; in its own letters.
    #[param(value_type = Option<String>, pattern = "^[!-~](?:[ -~]{0,252}[!-~])?$")]
    user: Option<Principal>,
    /// Reads from this instant or London date on.
    #[param(inline)]
    from: Option<DateOrInstant>,
    /// Reads before this instant or London date.
    #[param(inline)]
    to: Option<DateOrInstant>,
}

/// A user or a client, as tokens name them: ASCII, without spaces around it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Principal(String);

/// Longest name of a user.
const PRINCIPAL_LEN_MAX: usize = 254;

impl TryFrom<String> for Principal {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_seen = name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if is_seen && !name.is_empty() && name.len() <= PRINCIPAL_LEN_MAX && name.trim() == name {
            return Ok(Self(name));
        }
        Err(format!("`{}` is not the name of a user or a client", Excerpt(&name)))
    }
}

/// A read of a person's data, or reads that could not be kept.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedRead<'a> {
    /// When it was asked.
    at: DateTime<Utc>,
    /// The user: of the token, or of the operating system for a tool; null where no user is known.
    username: Option<&'a str>,
    /// The client that the token names.
    client: Option<&'a str>,
    /// Where the user signed on; `os` for a user of the operating system.
    auth_source: Option<&'a str>,
    /// The template of the route, or the name of the tool.
    operation: &'a str,
    /// The method of the request; null for a tool.
    method: Option<&'a str>,
    /// The status of the answer; null for a tool.
    status: Option<i16>,
    /// The correlation id of the request; null for a tool.
    correlation_id: Option<Uuid>,
    /// The prisoner numbers that were shown.
    prisoner_numbers: &'a [String],
    /// The conditions of a question that does not name its numbers.
    filter: Option<&'a str>,
    /// The events of the log that were shown.
    positions: Option<ShownPositions>,
    /// Reads of which this is all that is known.
    not_kept: Option<ReadsNotKept>,
}

/// A range of events.
#[derive(Debug, Serialize, ToSchema)]
struct ShownPositions {
    /// The position before the first event.
    after: i64,
    /// The position of the last one; null for a stream when it begins.
    to: Option<i64>,
}

/// Reads that could not be kept, the first of them at `at`.
#[derive(Debug, Serialize, ToSchema)]
struct ReadsNotKept {
    /// How many.
    reads: i64,
    /// When the last of them was asked.
    until: Option<DateTime<Utc>>,
}

impl<'a> From<&'a StoredAccess> for RecordedRead<'a> {
    fn from(stored: &'a StoredAccess) -> Self {
        Self {
            at: stored.at,
            username: stored.username.as_deref(),
            client: stored.client.as_deref(),
            auth_source: stored.auth_source.as_deref(),
            operation: &stored.operation,
            method: stored.method.as_deref(),
            status: stored.status,
            correlation_id: stored.correlation_id,
            prisoner_numbers: &stored.prisoners,
            filter: stored.filter.as_deref(),
            positions: stored.after_position.map(|after| ShownPositions { after, to: stored.to_position }),
            not_kept: stored.reads_lost.map(|reads| ReadsNotKept { reads, until: stored.lost_until }),
        }
    }
}

/// Who read which person's data, newest first.
///
/// A page ends early where its entries have very many numbers. This question is recorded as others
/// are, with its conditions in the place of the numbers that it shows.
#[utoipa::path(
    get, path = "/access-log", tag = "The log and the views",
    params(AccessLogQuery, Paging),
    responses((status = 200, body = Vec<RecordedRead>)),
)]
pub(super) async fn list_access_log_entries(
    State(state): State<QueryState>,
    ParamGroups((query, paging)): ParamGroups<(AccessLogQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let older_than: Option<AccessKey> = paging.after()?;
    let AccessLogQuery { prisoner, user, from, to } = query;
    let (from, to) = (from.map(DateOrInstant::instant), to.map(DateOrInstant::instant));
    if let (Some(first), Some(before)) = (from, to)
        && first > before
    {
        let detail = format!("{} is after to, {}", first.to_rfc3339(), before.to_rfc3339());
        return Err(Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("from", detail)));
    }
    let prisoners = match &prisoner {
        Some(number) => Some(case_numbers(&state.log, number).await.map_err(QueryError::from)?),
        None => None,
    };
    let question = AccessQuestion {
        prisoners: prisoners.map(|numbers| numbers.into_iter().collect()),
        user: user.map(|Principal(name)| name),
        from,
        to,
        older_than,
        rows: paging.limit.rows(),
    };
    let AccessPage { entries, is_more } = read_entries(&state.views, &question).await.map_err(QueryError::from)?;
    let cursor_after = |entry: &StoredAccess| Cursor::after(&entry.key());
    let next = entries.last().filter(|_| is_more).map(cursor_after);
    let (reads, next) = page_rows(&entries, next, RecordedRead::from, cursor_after)?;
    Ok(Answer::beside_ledger(reads, shown_by(&question)).with_next(next.as_ref(), &uri).into_response())
}

/// The entry's part of a question to the access log: the persons it asks about, and its other
/// conditions.
#[must_use]
pub fn shown_by(question: &AccessQuestion) -> Shown {
    let AccessQuestion { prisoners, user, from, to, .. } = question;
    let mut filter = "access log".to_owned();
    for (name, value) in
        [("of", user.clone()), ("from", from.map(|from| from.to_rfc3339())), ("to", to.map(|to| to.to_rfc3339()))]
    {
        filter.extend(value.map(|value| format!(" {name} {value}")));
    }
    let prisoners = prisoners.iter().flatten().cloned().collect();
    Shown { prisoners, ..Shown::filtered(filter) }
}

/// An entry in the shape that this operation lists, for tools that print the same.
#[must_use]
pub fn recorded_read(entry: &StoredAccess) -> impl Serialize {
    RecordedRead::from(entry)
}
