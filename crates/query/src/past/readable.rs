//! The free texts of a case that a caller may read, by the prison that wrote each.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Event,
    identifier::PrisonerNumber,
    prisoner::{History, PrisonerEvent, ResponsibilityOverridden},
};
use event_log::LogError;
use http_api::{ReadableTexts, Texts};
use views::CasePeriodRow;

use super::{CaseEntry, histories::map_histories, point::Point};
use crate::{QueryError, QueryState};

/// Takes the details of overrides that the caller may not read out of rows. Which prison wrote one,
/// the history of the case says, or that of a number that was merged into it: a row of the time
/// before a merge has the survivor's number.
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
    let readable = match prisons.is_empty() {
        true => ReadableOverrides::default(),
        false => ReadableOverrides::read(state, texts, &detailed).await?,
    };
    for row in &mut detailed {
        let number = row.prisoner_number.clone();
        if let Some(decision) = row.responsibility_override.as_mut().filter(|of| !readable.has(&number, of)) {
            decision.detail = None;
        }
    }
    Ok(())
}

fn detail(row: &CasePeriodRow) -> Option<&str> {
    row.responsibility_override.as_ref()?.detail.as_deref()
}

/// The overrides whose detail a caller may read, by the number that each was recorded under.
#[derive(Default)]
struct ReadableOverrides(BTreeMap<PrisonerNumber, OverridesOfNumber>);

struct OverridesOfNumber {
    readable: Vec<ResponsibilityOverridden>,
    /// The numbers that were merged into this one.
    removed: Vec<PrisonerNumber>,
}

impl ReadableOverrides {
    /// Those of the numbers of some rows, and of the numbers merged into them.
    async fn read(state: &QueryState, texts: &ReadableTexts, rows: &[&mut CasePeriodRow]) -> Result<Self, QueryError> {
        let point = Point { position: state.log.head().await? };
        let numbers: BTreeSet<PrisonerNumber> = rows.iter().map(|row| row.prisoner_number.clone()).collect();
        let mut read = OverridesOfNumber::read(state, texts, numbers.into_iter().collect(), point).await?;
        let mut found = BTreeMap::new();
        loop {
            let removed = read.values().flat_map(|of| of.removed.iter().cloned());
            let unread: BTreeSet<PrisonerNumber> =
                removed.filter(|number| !found.contains_key(number) && !read.contains_key(number)).collect();
            found.extend(read);
            if unread.is_empty() {
                return Ok(Self(found));
            }
            read = OverridesOfNumber::read_merged(state, texts, unread.into_iter().collect(), point).await?;
        }
    }

    /// Whether the caller reads the detail of an override of a case.
    fn has(&self, number: &PrisonerNumber, decision: &ResponsibilityOverridden) -> bool {
        let (mut seen, mut numbers) = (BTreeSet::new(), vec![number]);
        while let Some(number) = numbers.pop() {
            let Some(of_number) = self.0.get(number).filter(|_| seen.insert(number)) else { continue };
            if of_number.readable.contains(decision) {
                return true;
            }
            numbers.extend(&of_number.removed);
        }
        false
    }
}

impl OverridesOfNumber {
    async fn read(
        state: &QueryState,
        texts: &ReadableTexts,
        numbers: Vec<PrisonerNumber>,
        point: Point,
    ) -> Result<BTreeMap<PrisonerNumber, Self>, QueryError> {
        let texts = texts.clone();
        map_histories(&state.log, numbers, point, move |history| {
            Some((history.number().clone(), Self::of(&history, &texts)))
        })
        .await
    }

    /// As [`Self::read`], of numbers that were merged into those of the rows. The rows are sound
    /// without them: where one is damaged, the caller reads nothing that was written under it.
    async fn read_merged(
        state: &QueryState,
        texts: &ReadableTexts,
        numbers: Vec<PrisonerNumber>,
        point: Point,
    ) -> Result<BTreeMap<PrisonerNumber, Self>, QueryError> {
        match Self::read(state, texts, numbers.clone(), point).await {
            Err(QueryError::Log(LogError::Damaged { .. })) => {}
            read => return read,
        }
        let mut found = BTreeMap::new();
        for number in numbers {
            match Self::read(state, texts, vec![number], point).await {
                Ok(read) => found.extend(read),
                Err(QueryError::Log(error @ LogError::Damaged { position, .. })) => {
                    tracing::warn!(
                        position,
                        "a merged number is damaged, and its texts are shown to no confined caller: {error}"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn of(history: &History, texts: &ReadableTexts) -> Self {
        let written = history.detailed_overrides();
        let readable = written.filter(|(_, prison)| texts.of(prison.as_ref()) == Texts::Shown);
        let removed = history.entries().iter().filter_map(|entry| match &entry.event {
            PrisonerEvent::PrisonerNumberMerged(merged) => Some(merged.removed_number.clone()),
            _ => None,
        });
        Self { readable: readable.map(|(decision, _)| decision.clone()).collect(), removed: removed.collect() }
    }
}

impl CaseEntry {
    /// Whether the caller reads the free texts of the entry, which is one of `all` of the case. A
    /// text that it repeats from another is read by those that read it there.
    pub(crate) fn texts(&self, all: &[Self], texts: &ReadableTexts) -> Texts {
        let Event::Prisoner(event) = &self.stored.entry.event else { return texts.of(None) };
        let Some(repeated) = event.repeated_override() else { return texts.of(self.text_prison.as_ref()) };
        let is_origin = |entry: &&Self| match &entry.stored.entry.event {
            Event::Prisoner(PrisonerEvent::ResponsibilityOverridden(decision)) => *decision == repeated,
            Event::Prisoner(_) | Event::Prison(_) | Event::Contacts(_) => false,
        };
        let origins = all.iter().filter(is_origin);
        let mut readable = origins.map(|entry| texts.of(entry.text_prison.as_ref()));
        readable.find(|texts| *texts == Texts::Shown).unwrap_or_else(|| texts.of(None))
    }
}
