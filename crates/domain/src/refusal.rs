//! The refusal of a command by a rule.

use crate::{Rule, identifier::PrisonerNumber};

/// Longest detail of an override, and longest reason of a command, in characters ("Streams and
/// events" in `docs/domain.md`).
pub const DETAIL_LEN_MAX: usize = 175;

/// A rule's "no": the rule for programs, a sentence for a head of offender management.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// The rule; its code is what programs compare.
    pub rule: Rule,
    /// The mistake, its place and the remedy, in full English sentences.
    pub sentence: String,
    /// The revision of the later entry that is in the way, if one is (`later-entry-conflict`).
    pub later_entry: Option<u64>,
    /// The number to use instead, if the case was merged (`prisoner-number-retired`).
    pub survivor: Option<PrisonerNumber>,
}

impl Refusal {
    /// A refusal with nothing but its rule and sentence.
    pub fn new(rule: Rule, sentence: impl Into<String>) -> Self {
        Self { rule, sentence: sentence.into(), later_entry: None, survivor: None }
    }
}

/// Refuses a text with more characters than a rule allows.
pub(crate) fn refuse_long(field: &str, text: Option<&String>, len_max: usize) -> Result<(), Refusal> {
    match text.map(|text| text.chars().count()) {
        Some(len) if len > len_max => Err(Refusal::new(
            Rule::DetailTooLong,
            format!("{field} has {len} characters; at most {len_max} are allowed. Shorten it."),
        )),
        _ => Ok(()),
    }
}
