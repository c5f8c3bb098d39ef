//! One import of a prison's sheet: its rows, its terms and its ledger, whether the whole sheet is
//! recorded or its differences.

use std::sync::Mutex;

use access_log::Shown;
use command::{Service, ServiceSettings};
use domain::identifier::PrisonerNumber;
use event_log::SharedLog;
use indicatif::ProgressBar;
use spreadsheets::{
    plan::{HeldHistories, ImportPlan, ImportTerms, plan},
    row::CaseTable,
};

use super::{
    first_prison,
    record::{ImportRecorder, load, load_prison},
    source::ImportSource,
};
use crate::{shared_settings::StoreSettings, stores::LogStore, tools::read_recording::record_read};

/// An import of a sheet.
#[derive(Debug, Clone)]
pub struct SheetImport<'a> {
    /// The place of the event log, and of the access log.
    pub stores: &'a StoreSettings,
    /// The rows of the sheet.
    pub table: &'a CaseTable,
    /// The terms on which they are planned.
    pub terms: ImportTerms,
    /// The settings of the command side.
    pub commands: ServiceSettings,
    /// The file and the run, which the events name.
    pub source: ImportSource,
    /// Whether nothing is to be recorded.
    pub dry_run: bool,
}

impl SheetImport<'_> {
    /// Plans the rows on what a ledger holds.
    #[must_use]
    pub fn plan(&self, held: HeldHistories) -> ImportPlan {
        plan(self.table.rows.clone(), held, &self.terms)
    }

    /// Loads the histories of the prison and of the cases in the sheet.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn load(&self, log: &SharedLog) -> anyhow::Result<HeldHistories> {
        load(log, &self.terms.prison, &self.table.case_numbers()).await
    }

    /// Records in the access log that the report tells of these cases: it says where the ledger and
    /// the sheet differ, and why a row is refused.
    ///
    /// # Errors
    /// --views is no URL of a database.
    pub async fn record_read<'n>(
        &self,
        store: &LogStore,
        numbers: impl IntoIterator<Item = &'n PrisonerNumber>,
    ) -> anyhow::Result<()> {
        let access_log = store.access_log(self.stores)?;
        record_read(access_log.as_ref(), "import spreadsheet", Shown::prisoners(numbers)).await;
        Ok(())
    }

    /// Plans the rows on what the ledger holds, which may not be begun.
    ///
    /// # Errors
    /// The log cannot be read, or the go-live date is another one than the prison's.
    pub async fn plan_dry(&self) -> anyhow::Result<ImportPlan> {
        let held = match LogStore::open_existing(&self.stores.log).await? {
            Some(store) => {
                let load = async |store: &LogStore| {
                    let held = self.load(&store.log).await?;
                    self.record_read(store, &self.table.case_numbers()).await?;
                    Ok(held)
                };
                store.close_after(load).await?
            }
            None => HeldHistories::of_empty_ledger(&self.terms.prison),
        };
        first_prison::check_go_live(&held.prison, self.terms.go_live)?;
        Ok(self.plan(held))
    }

    /// The import with the go-live date of a prison that joins OMiC by it.
    ///
    /// # Errors
    /// The date is another one than the prison's, or the user does not confirm it.
    pub fn with_go_live(mut self, held: HeldHistories) -> anyhow::Result<Self> {
        first_prison::check_go_live(&held.prison, self.terms.go_live)?;
        if self.terms.go_live.is_none()
            && let Some(joined) = self.plan(held).joined
        {
            self.terms.go_live = Some(first_prison::confirm_go_live(&self.terms.prison, joined.go_live_date)?);
        }
        Ok(self)
    }

    /// Records the rows, and answers the plan as it went. The first plan is made on `held`, where
    /// the caller has read it already, and otherwise on what the ledger holds.
    ///
    /// # Errors
    /// The store is out of reach or damaged.
    pub async fn record(
        &self,
        log: &SharedLog,
        held: Option<HeldHistories>,
        recorder: &ImportRecorder<'_>,
        progress: &ProgressBar,
    ) -> anyhow::Result<ImportPlan> {
        let first = Mutex::new(held);
        let plan = async || {
            let held = event_log::lock(&first).take();
            Ok(self.plan(match held {
                Some(held) => held,
                None => self.load(log).await?,
            }))
        };
        recorder.record(plan, progress).await
    }

    /// The recorder of the import.
    #[must_use]
    pub fn recorder<'s>(&self, service: &'s Service) -> ImportRecorder<'s> {
        ImportRecorder::new(service, self.terms.recorded_by.clone(), self.source.clone())
    }

    /// The sentences after the summary: POMs who are active again, and the go-live date.
    #[must_use]
    pub fn closing_remarks(&self, plan: &ImportPlan) -> Vec<String> {
        let mut remarks = Vec::new();
        for pom in &plan.reactivated {
            let is = if self.dry_run { "would be" } else { "is" };
            remarks
                .push(format!("{} (staff id {}) {is} active again, after an undone import.", pom.name, pom.staff_id));
        }
        if let (true, Some(joined), None) = (self.dry_run, &plan.joined, self.terms.go_live) {
            remarks.push(format!(
                "The go-live date {} is the earliest in the sheet. The import asks whether it is right: say it with \
                 --go-live DATE.",
                joined.go_live_date
            ));
        }
        remarks
    }

    /// Refuses a prison that neither the program's list nor the ledger's prisons on OMiC have,
    /// unless the user says that it is unlisted.
    ///
    /// # Errors
    /// There is no such prison, or the ledger cannot be read.
    pub async fn check_listed(&self) -> anyhow::Result<()> {
        // Contacts of NOMIS alone do not make a prison that has joined.
        let is_known =
            async |log: &SharedLog| Ok(load_prison(log, &self.terms.prison).await?.roster().joined.is_some());
        first_prison::check_listed(&self.stores.log, &self.terms.prison, self.terms.unlisted_prison, is_known).await
    }
}
