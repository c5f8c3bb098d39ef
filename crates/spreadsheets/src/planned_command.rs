//! A command that an import is about to send, and the terms on which it is decided.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Command, Entry, Refusal, Rule, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode},
    prison::Estate,
    prisoner::{self, ChoiceReasons, OverrideReason, RecommendationPolicy},
};
use uuid::Uuid;

use super::row::SheetCase;

/// The namespace of the command ids of spreadsheet imports. It must never change: later imports
/// recognise earlier ones by it.
const NAMESPACE: Uuid = Uuid::from_u128(0x0f6d_7a52_8c1e_4f0b_b3a9_52e4_17c8_d902);

/// The override detail of imported cases whose POM is not of the recommended kind.
const OVERRIDE_DETAIL: &str = "as it stood in the prison's spreadsheet";

/// The settings of an import, beside the sheet.
#[derive(Debug, Clone)]
pub struct ImportTerms {
    /// The prison that holds the cases.
    pub prison: PrisonCode,
    /// The prison's estate, for the case that it must join OMiC.
    pub estate: Estate,
    /// The prison's go-live date, for the case that it must join OMiC; absent, the earliest date in
    /// the sheet.
    pub go_live: Option<NaiveDate>,
    /// Whether the prison may be one that the program's list of prisons lacks.
    pub unlisted_prison: bool,
    /// The day from which the differences between the sheet and the ledger hold, where they are to
    /// be recorded.
    pub changes_on: Option<NaiveDate>,
    /// The policy that recommends a kind of POM.
    pub recommendation_policy: RecommendationPolicy,
    /// The current time.
    pub now: DateTime<Utc>,
    /// The user and the client that record.
    pub recorded_by: RecordedBy,
}

/// A command to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCommand {
    /// The command itself.
    pub command: Command,
    /// The command's id.
    pub command_id: CommandId,
    /// The digest of the request, by which a repeat is recognised.
    pub request_digest: String,
    /// The effective time.
    pub effective_at: DateTime<Utc>,
    /// The revision of the history that the plan was made on, where it holds for that one alone.
    pub if_match: Option<u64>,
}

/// The id of a command that is made of this content.
pub(super) fn command_id(content: &serde_json::Value) -> CommandId {
    CommandId::of_content(NAMESPACE, &content.to_string())
}

/// The entries that the events of a command become in a stream that has `recorded` entries.
pub(super) fn foreseen_entries<E>(
    stream: &Stream,
    recorded: usize,
    events: Vec<E>,
    command_id: CommandId,
    effective_at: DateTime<Utc>,
    terms: &ImportTerms,
) -> impl Iterator<Item = Entry<E>> {
    events.into_iter().enumerate().map(move |(index, event)| Entry {
        event_id: command_id.event_id(stream, index),
        revision: (recorded + index) as u64,
        // The position is unknown before the append, and no rule looks at it.
        position: 0,
        effective_at,
        recorded_at: terms.now,
        recorded_by: terms.recorded_by.clone(),
        command_id,
        event,
    })
}

/// The time at which a command on a case is decided, as the command side has it: the clock of
/// another machine may be ahead, and the plan may be made a while after the import began.
pub(super) fn decision_time(history: &prisoner::History, terms: &ImportTerms) -> DateTime<Utc> {
    history.entries().last().map_or(terms.now, |last| last.recorded_at.max(terms.now))
}

/// The history of a case as it is after a command.
///
/// # Errors
/// The rules refuse the command.
pub(super) fn foresee(
    history: &prisoner::History,
    command: &prisoner::Command,
    context: &prisoner::Context<'_>,
    terms: &ImportTerms,
) -> Result<prisoner::History, Refusal> {
    let events = prisoner::decide(history, command, context)?;
    let stream = Stream::Prisoner(history.number().clone());
    let recorded = history.entries().len();
    // An id that no command has: the rules look at none.
    let id = command_id(&serde_json::json!(["foreseen", history.number(), recorded]));
    let mut after = history.clone();
    foreseen_entries(&stream, recorded, events, id, context.effective_at, terms).for_each(|entry| after.push(entry));
    Ok(after)
}

/// The command, with reasons where it goes against the recommendation, if the rules allow it.
pub(super) fn decide_with_reasons(
    history: &prisoner::History,
    context: &prisoner::Context<'_>,
    case: &SheetCase,
    command: impl Fn(ChoiceReasons) -> prisoner::Command,
) -> Result<prisoner::Command, Refusal> {
    let reasons = ChoiceReasons { note: case.note.clone(), ..ChoiceReasons::default() };
    let against_recommendation = ChoiceReasons {
        override_reasons: vec![OverrideReason::Other],
        override_detail: Some(OVERRIDE_DETAIL.to_owned()),
        ..reasons.clone()
    };
    let mut planned = command(reasons);
    let mut decided = prisoner::decide(history, &planned, context);
    if decided.as_ref().is_err_and(|refusal| refusal.rule == Rule::OverrideReasonsNeeded) {
        planned = command(against_recommendation);
        decided = prisoner::decide(history, &planned, context);
    }
    decided.map(|_| planned)
}
