//! Why a command was turned away by a rule.

use serde::Serialize;

use crate::identifier::PrisonerNumber;

/// A rule's "no": a stable code for programs, a sentence for a head of offender management.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{sentence}")]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Stable, kebab-case, listed in `docs/api.md`.
    pub code: &'static str,
    /// What is wrong, where, and what to do; a full English sentence.
    pub sentence: String,
    /// The revision of the later entry that stands in the way, where one does (`later-entry-conflict`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub later_entry: Option<u64>,
    /// The number to use instead, where the case was merged (`prisoner-number-retired`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub survivor: Option<PrisonerNumber>,
}

impl Refusal {
    /// A refusal with nothing but its code and sentence.
    pub fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), later_entry: None, survivor: None }
    }
}
