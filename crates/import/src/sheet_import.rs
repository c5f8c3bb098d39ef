//! One import of a prison's sheet: its rows, its terms and its ledger, whether the whole sheet is
//! recorded or its differences.

use std::sync::Mutex;

use chrono::NaiveDate;
use command::{Service, ServiceSettings};
use domain::{
    Confinement,
    identifier::PrisonCode,
    prison,
    prisoner::{self, Command},
    tier::TierSource,
};
use event_log::SharedLog;
use spreadsheets::{
    plan::{HeldHistories, ImportPlan, ImportTerms, plan},
    row::{CaseTable, DataRow},
};

use crate::{
    record::{ImportObserver, ImportRecorder, load, load_prison},
    source::ImportSource,
};

/// An import of a sheet.
#[derive(Debug, Clone)]
pub struct SheetImport<'a> {
    /// The rows of the sheet.
    pub table: &'a CaseTable,
    /// The terms on which they are planned.
    pub terms: ImportTerms,
    /// The settings of the command side.
    pub commands: ServiceSettings,
    /// The file and the run, which the events name.
    pub source: ImportSource,
    /// The prisons that the caller is confined to.
    pub confinement: Confinement,
}

/// A go-live date other than that which the prison has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoLiveConflict {
    /// The date of the prison.
    pub known: NaiveDate,
    /// The date that was given.
    pub given: NaiveDate,
}

impl SheetImport<'_> {
    /// Plans the rows on what a ledger holds. A row whose case is not the caller's is refused as a
    /// command to it is, and tells nothing else about the case.
    #[must_use]
    pub fn plan(&self, held: HeldHistories) -> ImportPlan {
        let mut rows = self.table.rows.clone();
        if self.confinement.prisons().is_some() {
            rows.iter_mut().for_each(|row| self.refuse_case_elsewhere(row, &held));
        }
        plan(rows, held, &self.terms)
    }

    /// Refuses a row whose case is neither at one of the caller's prisons nor free to arrive there.
    fn refuse_case_elsewhere(&self, row: &mut DataRow, held: &HeldHistories) {
        let Ok(case) = &row.case else { return };
        let Some(history) = held.cases.get(case.prisoner_number()) else { return };
        let arrival = Command::AssignTier(prisoner::TierAssigned {
            tier: case.tier(),
            rosh_level: None,
            source: TierSource::Manual,
            crn: None,
            prison: Some(self.terms.prison.clone()),
        });
        if let Err(refusal) = self.confinement.check_command(history, &arrival) {
            row.case = Err(refusal.into());
        }
    }

    /// Loads the histories of the prison and of the cases in the sheet.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn load(&self, log: &SharedLog) -> anyhow::Result<HeldHistories> {
        load(log, &self.terms.prison, &self.table.case_numbers()).await
    }

    /// Records the rows, and answers the plan as it went. The first plan is made on `held`, where
    /// the caller has read it already, and otherwise on what the ledger holds.
    ///
    /// # Errors
    /// The store is out of reach or damaged, or the import was cancelled.
    pub async fn record(
        &self,
        log: &SharedLog,
        held: Option<HeldHistories>,
        recorder: &ImportRecorder<'_>,
    ) -> anyhow::Result<ImportPlan> {
        let first = Mutex::new(held);
        let plan = || async {
            let held = event_log::lock(&first).take();
            Ok(self.plan(match held {
                Some(held) => held,
                None => self.load(log).await?,
            }))
        };
        recorder.record(plan).await
    }

    /// The recorder of the import.
    #[must_use]
    pub fn recorder<'s>(&self, service: &'s Service, observer: &'s dyn ImportObserver) -> ImportRecorder<'s> {
        ImportRecorder::new(service, self.terms.recorded_by.clone(), self.source.clone(), observer)
            .confined_to(self.confinement.clone())
    }
}

/// Whether the prison is one that the program's list has, or the ledger's prisons on OMiC, or that
/// the user says is unlisted.
///
/// # Errors
/// The ledger cannot be read.
pub async fn is_prison_known(log: &SharedLog, code: &PrisonCode, is_unlisted: bool) -> anyhow::Result<bool> {
    Ok(is_unlisted || code.listed_name().is_some() || has_joined(log, code).await?)
}

/// Whether the prison has joined OMiC. Contacts of NOMIS alone do not make a prison that has.
///
/// # Errors
/// The ledger cannot be read.
pub async fn has_joined(log: &SharedLog, code: &PrisonCode) -> anyhow::Result<bool> {
    Ok(load_prison(log, code).await?.roster().joined.is_some())
}

/// Compares a go-live date with that of a prison which has joined.
///
/// # Errors
/// The dates differ.
pub fn check_go_live(prison: &prison::History, given: Option<NaiveDate>) -> Result<(), GoLiveConflict> {
    match (given, &prison.roster().joined) {
        (Some(given), Some(joined)) if given != joined.go_live_date => {
            Err(GoLiveConflict { known: joined.go_live_date, given })
        }
        _ => Ok(()),
    }
}
