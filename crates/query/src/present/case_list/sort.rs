//! The order of a list of cases, twice as its filter is: as an expression of a statement, and as a
//! text that is made of a case.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use domain::prisoner::Phase;
use http_api::page::Cursor;
use views::CasePeriodRow;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CaseSort {
    pub(crate) by: SortBy,
    pub(crate) descending: bool,
}

/// The key of a list's order; cases with the same key are in the order of their numbers, whatever
/// the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SortBy {
    #[default]
    PrisonerNumber,
    Tier,
    PomName,
    Phase,
    HandoverStartDate,
    HandoverDate,
    WaitingSince,
    ResponsibleSince,
}

impl SortBy {
    /// The value of [`SortBy::text`] for a case.
    fn text_of(self, case: &CasePeriodRow) -> Option<String> {
        let instant = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        match self {
            Self::PrisonerNumber => Some(case.prisoner_number.to_string()),
            Self::Tier => case.tier.map(|tier| tier.to_string()),
            Self::PomName => case.pom.as_ref().map(|pom| pom.name.clone()),
            Self::Phase => Some(phase_rank(case.phase).to_string()),
            Self::HandoverStartDate => case.plan.and_then(|plan| plan.start_date).map(|day| day.to_string()),
            Self::HandoverDate => case.plan.and_then(|plan| plan.handover_date).map(|day| day.to_string()),
            Self::WaitingSince => case.waiting.map(|waiting| instant(waiting.since)),
            Self::ResponsibleSince => Some(instant(case.responsible_since)),
        }
    }

    /// A text that sorts as the thing itself, byte by byte; null where it is absent.
    fn text(self) -> &'static str {
        match self {
            Self::PrisonerNumber => "p.prisoner_number",
            Self::Tier => "p.tier",
            Self::PomName => "p.pom_name",
            Self::Phase => {
                "CASE p.phase WHEN 'CUSTODY_ONLY' THEN '1' WHEN 'CUSTODY_WITH_COM' THEN '2' \
                  WHEN 'COMMUNITY' THEN '3' ELSE '4' END"
            }
            Self::HandoverStartDate => "p.plan_start_date::text",
            Self::HandoverDate => "p.plan_handover_date::text",
            Self::WaitingSince => "to_char(p.waiting_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            Self::ResponsibleSince => "to_char(p.responsible_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        }
    }
}

/// The place of a phase in the order in which a case goes through them.
fn phase_rank(phase: Phase) -> u8 {
    match phase {
        Phase::CustodyOnly => 1,
        Phase::CustodyWithCom => 2,
        Phase::Community => 3,
        Phase::NotInCustody => 4,
    }
}

impl CaseSort {
    /// The order of two cases, each by its key and its number.
    pub(super) fn order(self, (key, number): (&str, &str), (other_key, other_number): (&str, &str)) -> Ordering {
        let by_key = key.cmp(other_key);
        (if self.descending { by_key.reverse() } else { by_key }).then_with(|| number.cmp(other_number))
    }

    /// The text to sort by, never null: absent values come last in either direction. No text comes
    /// after Unicode's last character, none before the empty one.
    pub(super) fn key(self) -> String {
        format!("coalesce({}, '{}')", self.by.text(), self.absent())
    }

    /// The value of [`CaseSort::key`] for a case.
    pub(super) fn key_of(self, case: &CasePeriodRow) -> String {
        self.by.text_of(case).unwrap_or_else(|| self.absent().to_owned())
    }

    /// Where the page begins that follows a case.
    pub(crate) fn cursor_after(self, case: &CasePeriodRow) -> Cursor {
        Cursor::after(&(self.key_of(case), case.prisoner_number.as_str()))
    }

    fn absent(self) -> &'static str {
        if self.descending { "" } else { "\u{10FFFF}" }
    }
}
