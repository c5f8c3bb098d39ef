//! The answers of the API, as far as pages show them.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde_json::Value;

/// The officer in a role, or its vacancy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownOfficer {
    pub(crate) role: Option<String>,
    pub(crate) staff_id: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) vacancy: Option<String>,
}

/// A POM who has a case.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownPom {
    pub(crate) name: String,
}

/// A COM.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownCom {
    pub(crate) name: String,
}

/// A handover plan in effect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanReason {
    pub(crate) code: String,
    pub(crate) start_date: Option<NaiveDate>,
    pub(crate) handover_date: Option<NaiveDate>,
}

/// A decision against the plan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct OverrideInForce {
    pub(crate) responsible: String,
    pub(crate) reason: String,
    pub(crate) detail: Option<String>,
}

/// Who is responsible for a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownResponsibility {
    pub(crate) prisoner_number: String,
    pub(crate) prison: Option<String>,
    pub(crate) phase: String,
    pub(crate) tier: Option<String>,
    pub(crate) responsible: ShownOfficer,
    pub(crate) supporting: Option<ShownOfficer>,
    pub(crate) coworker: Option<ShownPom>,
    pub(crate) reason: Option<PlanReason>,
    #[serde(rename = "override")]
    pub(crate) in_force: Option<OverrideInForce>,
    pub(crate) as_of: AsOf,
}

/// How far an answer reaches.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AsOf {
    pub(crate) revision: Option<u64>,
}

/// A period of a case, in which its answers are the same.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownPeriod {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: Option<DateTime<Utc>>,
    pub(crate) prison: Option<String>,
    pub(crate) responsible: ShownOfficer,
    pub(crate) supporting: Option<ShownOfficer>,
}

/// An entry of a history or of the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownEntry {
    #[serde(default)]
    pub(crate) prisoner_number: Option<String>,
    /// The entry that voids this one.
    #[serde(default)]
    pub(crate) voided_by: Option<u64>,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) event_id: String,
    pub(crate) stream: String,
    pub(crate) revision: u64,
    pub(crate) position: u64,
    pub(crate) effective_at: DateTime<Utc>,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) recorded_by: EntryAuthor,
    #[serde(default)]
    pub(crate) data: Value,
}

/// Who recorded an entry.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EntryAuthor {
    pub(crate) username: Option<String>,
    #[serde(default)]
    pub(crate) client: String,
}

/// A case that waits to be allocated.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownWaitingCase {
    pub(crate) prisoner_number: String,
    pub(crate) tier: Option<String>,
    pub(crate) rosh_level: Option<String>,
    pub(crate) waiting_since: DateTime<Utc>,
    pub(crate) waiting_reason: String,
    pub(crate) days: i64,
}

/// A case in a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownCase {
    pub(crate) prisoner_number: String,
    #[serde(default)]
    pub(crate) prison: Option<String>,
    pub(crate) tier: Option<String>,
    pub(crate) phase: String,
    pub(crate) pom: Option<ShownPom>,
    pub(crate) com: Option<ShownCom>,
    pub(crate) reason: Option<PlanReason>,
    #[serde(default)]
    pub(crate) role: Option<String>,
}

/// Handovers of a prison.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownHandovers {
    pub(crate) starting: Vec<ShownCase>,
    pub(crate) due: Vec<ShownCase>,
    pub(crate) overdue: Vec<ShownCase>,
}

/// A POM on a roster.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownRosterPom {
    pub(crate) staff_id: i64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) email: Option<String>,
    pub(crate) status: String,
    pub(crate) returns_on: Option<NaiveDate>,
    pub(crate) working_pattern: f64,
    pub(crate) caseload: ShownCaseload,
}

/// Cases by role.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownCaseload {
    pub(crate) primary: ShownCaseCount,
    pub(crate) coworking: ShownCaseCount,
}

/// A number of cases.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownCaseCount {
    pub(crate) total: u64,
    pub(crate) by_tier: BTreeMap<String, u64>,
}

/// The POMs who may take a case.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownSuggestions {
    pub(crate) case: ShownWaitingCase,
    pub(crate) recommendation: ShownRecommendation,
    pub(crate) suggestions: Vec<RankedPom>,
}

/// The kind of POM that is recommended.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ShownRecommendation {
    pub(crate) kind: Option<String>,
    pub(crate) text: String,
}

/// A POM who may take a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RankedPom {
    pub(crate) staff_id: i64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) working_pattern: f64,
    pub(crate) caseload: ShownCaseload,
    pub(crate) weighted_caseload: f64,
    pub(crate) load_with_case: f64,
    pub(crate) reasons: Vec<SuggestedPomReason>,
}

/// A reason for the place of a POM.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SuggestedPomReason {
    pub(crate) text: String,
}

/// How far a view has come.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownView {
    pub(crate) view: String,
    pub(crate) version: u32,
    pub(crate) position: u64,
    pub(crate) lag_events: u64,
    pub(crate) lag_seconds: f64,
    pub(crate) rows: Option<u64>,
    pub(crate) rows_are: String,
    pub(crate) bytes: u64,
    pub(crate) state: String,
}
