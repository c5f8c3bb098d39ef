//! The subject of an export: a view, all of them, or the log.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use domain::identifier::PrisonCode;
use projector::{
    VIEWS, View,
    export::{CASE_NOW, ExportSelection, ExportSource},
};

/// The subject of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportSubject {
    /// The event log.
    Log,
    /// Each view, and the names of prisons.
    All,
    /// The cases as they are at an instant.
    CaseNow,
    /// The names of prisons.
    Establishment,
    /// A view.
    View(View),
}

const LOG: &str = "log";
const ALL: &str = "all";

impl ExportSubject {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Log => LOG,
            Self::All => ALL,
            Self::CaseNow => CASE_NOW,
            Self::Establishment => ExportSource::Establishment.name(),
            Self::View(view) => view.name(),
        }
    }

    /// An export of it in words, for the access log.
    pub(crate) fn describe(self, prison: Option<&PrisonCode>, on: Option<DateTime<Utc>>) -> String {
        let what = if self == Self::Log { "the log" } else { self.name() };
        let mut text = format!("export of {what}");
        for (word, value) in [("at", prison.map(ToString::to_string)), ("on", on.map(|on| on.to_rfc3339()))] {
            text.extend(value.map(|value| format!(" {word} {value}")));
        }
        text
    }

    /// The rows to export from the views, with free texts; `None` of the log.
    ///
    /// # Errors
    /// [`SelectionRefusal`].
    pub(crate) fn selection(
        self,
        on: Option<DateTime<Utc>>,
        prison: Option<PrisonCode>,
    ) -> Result<Option<ExportSelection>, SelectionRefusal> {
        let (sources, on) = match (self, on) {
            (Self::Log, Some(_)) => return Err(SelectionRefusal::LogHasNoPeriods),
            (Self::Log, None) if prison.is_some() => return Err(SelectionRefusal::LogNamesNoPrison),
            (Self::Log, None) => return Ok(None),
            (Self::All, Some(_)) => return Err(SelectionRefusal::AllHasEveryPeriod),
            (Self::CaseNow, None) => return Err(SelectionRefusal::NowNeedsInstant),
            (Self::CaseNow, Some(on)) => (vec![ExportSource::CasesAt(on)], None),
            (Self::All, None) => (all_sources(), None),
            (Self::Establishment, on) => (vec![ExportSource::Establishment], on),
            (Self::View(view), on) => (vec![ExportSource::View(view)], on),
        };
        Ok(Some(ExportSelection { sources, on, prison, without_texts: false }))
    }
}

/// Why a subject is not exported so; the sentence names the options of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionRefusal {
    /// The log at an instant.
    #[error("the log has no periods, so --on does not apply to it: --as-of leaves out what was recorded later")]
    LogHasNoPeriods,
    /// The log of a prison.
    #[error(
        "an event may be about two prisons, or name none, so --prison does not apply to the log: \
         `allocation-ledger replay --prison` says which events it selects"
    )]
    LogNamesNoPrison,
    /// All views at an instant.
    #[error(
        "`{ALL}` has every period, so --on does not apply to it: export case_period, pom_period or {CASE_NOW} with --on"
    )]
    AllHasEveryPeriod,
    /// The cases as they are, without an instant.
    #[error(
        "`{CASE_NOW}` depends on the moment of the question: say of which day or instant it should be, with --on, so that \
         the same export gives the same rows"
    )]
    NowNeedsInstant,
}

impl FromStr for ExportSubject {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let others = [Self::Log, Self::All, Self::CaseNow, Self::Establishment];
        if let Some(subject) = others.into_iter().find(|subject| subject.name() == name) {
            return Ok(subject);
        }
        name.parse().map(Self::View).map_err(|unknown| {
            let [log, all, now, names] = others.map(Self::name);
            format!("{unknown}; and there are `{now}`, `{names}`, `{all}` of these, and `{log}`, the event log itself")
        })
    }
}

/// The tables of an export of all.
pub(crate) fn all_sources() -> Vec<ExportSource> {
    VIEWS.map(ExportSource::View).into_iter().chain([ExportSource::Establishment]).collect()
}
