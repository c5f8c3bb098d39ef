//! The ledger's side of an import: what it holds, and sending commands to it.

use std::collections::HashMap;

use anyhow::Context as _;
use command::{Error, Request, Service};
use domain::{
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber},
    prison,
};
use event_log::{
    SharedLog,
    history::{read_cases, read_prison},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use spreadsheets::{
    plan::{HeldHistories, PlannedCommand, PlannedRow, Verdict},
    row::RowProblem,
};
use uuid::Uuid;

/// Streams in one read of the log; bounds the memory that a read takes.
const LOAD_STREAMS_MAX: usize = 256;

/// Cases recorded side by side. The log carries many appends in one commit, so this is what makes
/// an import fast; a case's own commands wait for one another.
const CASES_AT_ONCE: usize = 64;

/// Loads a prison.
///
/// # Errors
/// The log cannot be read.
pub async fn load_prison(log: &SharedLog, code: &PrisonCode) -> anyhow::Result<prison::History> {
    read_prison(&**log, code.clone(), None).await.context("read the prison's stream")
}

/// Loads a prison and cases.
///
/// # Errors
/// The log cannot be read.
pub async fn load(log: &SharedLog, code: &PrisonCode, numbers: &[PrisonerNumber]) -> anyhow::Result<HeldHistories> {
    let mut cases = HashMap::with_capacity(numbers.len());
    for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
        let histories = read_cases(&**log, numbers, None).await.context("read the cases' streams")?;
        cases.extend(histories.into_iter().map(|history| (history.number().clone(), history)));
    }
    Ok(HeldHistories { prison: load_prison(log, code).await?, cases })
}

/// Sends commands as one import.
pub struct ImportRecorder<'a> {
    /// The command side.
    pub service: &'a Service,
    /// The user and client that the events are recorded by.
    pub recorded_by: RecordedBy,
    /// Ties together everything that one file brought in.
    pub correlation_id: Uuid,
}

impl ImportRecorder<'_> {
    /// Sends one command.
    ///
    /// # Errors
    /// Those of the command side.
    pub async fn send(&self, step: PlannedCommand) -> Result<(), Error> {
        let request = Request {
            command: step.command,
            command_id: step.command_id,
            request_digest: step.request_digest,
            recorded_by: self.recorded_by.clone(),
            correlation_id: self.correlation_id,
            causation_id: None,
            effective_at: Some(step.effective_at),
            if_match: None,
        };
        self.service.execute(request).await.map(drop)
    }

    /// Sends the commands of all rows that have some, and gives each row's verdict after that: a
    /// row that another writer has made illegal since the plan is refused.
    ///
    /// # Errors
    /// The store is out of reach or damaged. Events recorded until then stay recorded, and the next
    /// run of the import knows them.
    pub async fn record_rows(&self, rows: Vec<PlannedRow>, recorded: impl Fn()) -> anyhow::Result<Vec<PlannedRow>> {
        stream::iter(rows)
            .map(|mut row| {
                let recorded = &recorded;
                async move {
                    if let Verdict::Record(steps) = &row.verdict {
                        for step in steps.clone() {
                            match self.send(step).await {
                                Ok(()) => {}
                                Err(Error::Refused(refusal)) => {
                                    row.verdict = Verdict::Refused(RowProblem {
                                        code: refusal.rule.code().to_owned(),
                                        column: None,
                                        value: None,
                                        reason: refusal.sentence,
                                    });
                                    break;
                                }
                                Err(error) => return Err(explain_interruption(error)),
                            }
                        }
                        recorded();
                    }
                    Ok(row)
                }
            })
            .buffered(CASES_AT_ONCE)
            .try_collect()
            .await
    }
}

/// An import that could not go on, and what to do.
pub fn explain_interruption(error: Error) -> anyhow::Error {
    anyhow::Error::new(error).context(
        "the import was interrupted: run the same command again, what is recorded already is not recorded twice",
    )
}
