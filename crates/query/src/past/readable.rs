//! The free texts of a case that a caller may read, by the prison that wrote each.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Event,
    identifier::PrisonerNumber,
    prisoner::{History, PrisonerEvent, ResponsibilityOverridden},
};
use http_api::{ReadableTexts, Texts};
use views::CasePeriodRow;

use super::{CaseEntry, histories::map_histories, point::Point};
use crate::{QueryError, QueryState};

/// Takes the details of overrides that the caller may not read out of rows. Which prison wrote one,
/// the history of the case says; the detail of an override that was taken over in a merge is taken
/// out.
pub(super) async fn hide_details<'r>(
    state: &QueryState,
    texts: &ReadableTexts,
    rows: impl Iterator<Item = &'r mut CasePeriodRow>,
) -> Result<(), QueryError> {
    let ReadableTexts::OfPrisons(prisons) = texts else { return Ok(()) };
    let mut detailed: Vec<&mut CasePeriodRow> = rows.filter(|row| detail(row).is_some()).collect();
    if detailed.is_empty() {
        return Ok(());
    }
    let mut readable = BTreeMap::<PrisonerNumber, Vec<ResponsibilityOverridden>>::new();
    if !prisons.is_empty() {
        let numbers: BTreeSet<_> = detailed.iter().map(|row| row.prisoner_number.clone()).collect();
        let (texts, point) = (texts.clone(), Point { position: state.log.head().await? });
        readable = map_histories(&state.log, numbers.into_iter().collect(), point, move |history| {
            Some((history.number().clone(), readable_overrides(&history, &texts)))
        })
        .await?;
    }
    for row in &mut detailed {
        let of_case = readable.get(&row.prisoner_number).map(Vec::as_slice).unwrap_or_default();
        if let Some(decision) = row.responsibility_override.as_mut().filter(|decision| !of_case.contains(decision)) {
            decision.detail = None;
        }
    }
    Ok(())
}

fn detail(row: &CasePeriodRow) -> Option<&str> {
    row.responsibility_override.as_ref()?.detail.as_deref()
}

/// The overrides of a case whose detail the caller may read.
fn readable_overrides(history: &History, texts: &ReadableTexts) -> Vec<ResponsibilityOverridden> {
    let written = history.detailed_overrides();
    let readable = written.filter(|(_, prison)| texts.of(prison.as_ref()) == Texts::Shown);
    readable.map(|(decision, _)| decision.clone()).collect()
}

impl CaseEntry {
    /// Whether the caller reads the free texts of the entry, which is one of `all` of the case. A
    /// text that it repeats from another is read by those that read it there.
    pub(crate) fn texts(&self, all: &[Self], texts: &ReadableTexts) -> Texts {
        let Event::Prisoner(event) = &self.stored.entry.event else { return texts.of(None) };
        let Some(repeated) = event.repeated_override() else { return texts.of(self.text_prison.as_ref()) };
        let is_origin = |entry: &&Self| match &entry.stored.entry.event {
            Event::Prisoner(PrisonerEvent::ResponsibilityOverridden(decision)) => *decision == repeated,
            Event::Prisoner(_) | Event::Prison(_) => false,
        };
        let origins = all.iter().filter(is_origin);
        let mut readable = origins.map(|entry| texts.of(entry.text_prison.as_ref()));
        readable.find(|texts| *texts == Texts::Shown).unwrap_or_else(|| texts.of(None))
    }
}
