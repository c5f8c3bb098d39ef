//! An import of a sheet by the command line: into the ledger that the settings name, with questions
//! to the user.

use access_log::Shown;
use domain::identifier::PrisonerNumber;
use event_log::SharedLog;
use import::{
    record::ImportObserver,
    sheet_import::{SheetImport, has_joined},
};
use indicatif::ProgressBar;
use spreadsheets::plan::{HeldHistories, ImportPlan};
use uuid::Uuid;

use super::first_prison;
use crate::{shared_settings::StoreSettings, stores::LogStore, tools::read_recording::record_read};

/// An import of a sheet by the command line.
#[derive(Debug, Clone)]
pub struct LocalImport<'a> {
    /// The place of the event log, and of the access log.
    pub stores: &'a StoreSettings,
    /// The sheet and its terms.
    pub sheet: SheetImport<'a>,
    /// Whether nothing is to be recorded.
    pub dry_run: bool,
}

impl LocalImport<'_> {
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
                    let held = self.sheet.load(&store.log).await?;
                    self.record_read(store, &self.sheet.table.case_numbers()).await?;
                    Ok(held)
                };
                store.close_after(load).await?
            }
            None => HeldHistories::of_empty_ledger(&self.sheet.terms.prison),
        };
        first_prison::check_go_live(&held.prison, self.sheet.terms.go_live)?;
        Ok(self.sheet.plan(held))
    }

    /// The import with the go-live date of a prison that joins OMiC by it.
    ///
    /// # Errors
    /// The date is another one than the prison's, or the user does not confirm it.
    pub fn with_go_live(mut self, held: HeldHistories) -> anyhow::Result<Self> {
        let terms = &mut self.sheet.terms;
        first_prison::check_go_live(&held.prison, terms.go_live)?;
        if terms.go_live.is_none()
            && let Some(joined) = self.sheet.plan(held).joined
        {
            let terms = &mut self.sheet.terms;
            terms.go_live = Some(first_prison::confirm_go_live(&terms.prison, joined.go_live_date)?);
        }
        Ok(self)
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
        if let (true, Some(joined), None) = (self.dry_run, &plan.joined, self.sheet.terms.go_live) {
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
        let terms = &self.sheet.terms;
        let is_known = async |log: &SharedLog| has_joined(log, &terms.prison).await;
        first_prison::check_listed(&self.stores.log, &terms.prison, terms.unlisted_prison, is_known).await
    }
}

/// Shows a user how an import goes on, on standard error.
#[derive(Debug)]
pub struct ShownProgress<'a>(pub &'a ProgressBar);

impl ImportObserver for ShownProgress<'_> {
    fn begin(&self, run: Uuid) {
        eprintln!("Run {run}: `allocation-ledger import undo {run}` takes it back.");
    }

    fn add_due(&self, rows: u64) {
        self.0.set_length(self.0.position() + rows);
    }

    fn row_recorded(&self, _: u32) {
        self.0.inc(1);
    }
}

/// Tells a user that the import waits for another.
pub fn tell_wait(sentence: &str) {
    eprintln!("{sentence}");
}
