//! Records what is safe to record of the differences about a person.
//!
//! Each command is decided on the case as it is then: at the revision that the comparison read, or
//! not at all. Its id is derived from the case, that revision and what it says, so that two runs at
//! once record it once. A person who is unknown has no revision: a reception that a message records
//! in the same moment is found again as the same fact, or stands beside this one for a person to
//! void.

use chrono::{DateTime, Utc};
use command::{Clock, CommandError, Outcome, Request, RequestDigest, Service};
use domain::{
    Confinement,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber},
    prisoner::History,
};
use event_log::request_digest;
use uuid::{Uuid, uuid};

use super::{
    compare::{Discrepancy, LedgerCase, Remedy, Resolution, compare},
    estate::EstateRecord,
};

/// The name space of the ids of commands that a reconciliation makes. It must never change.
const NAMESPACE: Uuid = uuid!("8e1d8f0b-3c0a-4b6e-9a55-0f5f3f2f7d19");

/// How often a person is compared while differences are recorded, and others change the case.
const COMPARISONS_MAX: usize = 12;

/// The end of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscrepancyOutcome {
    /// It was recorded.
    Recorded,
    /// Another run has recorded it, at the same time.
    RecordedBefore,
    /// It would be recorded, if that were asked for.
    WouldRecord,
    /// A person has to say what is right; why.
    Left(String),
}

impl DiscrepancyOutcome {
    /// The word for it in reports.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Recorded => "RECORDED",
            Self::RecordedBefore => "RECORDED_BEFORE",
            Self::WouldRecord => "WOULD_RECORD",
            Self::Left(_) => "LEFT",
        }
    }
}

impl Resolution {
    /// The outcome where nothing is to be recorded.
    #[must_use]
    pub fn outcome(&self) -> DiscrepancyOutcome {
        match self {
            Self::Record(_) => DiscrepancyOutcome::WouldRecord,
            Self::Leave(why) => DiscrepancyOutcome::Left(why.clone()),
        }
    }
}

/// Records differences about people, each with the record that the estate has of them.
pub struct Reconciler {
    service: Service,
    prison: PrisonCode,
    recorded_by: RecordedBy,
    run: Uuid,
    is_one_absent: bool,
}

impl Reconciler {
    /// Records what concerns a prison, by a command side. The events say who let it run.
    /// `is_one_absent` is as in [`LedgerCase`].
    #[must_use]
    pub fn new(service: Service, prison: PrisonCode, recorded_by: RecordedBy, is_one_absent: bool) -> Self {
        Self { service, prison, recorded_by, run: Uuid::new_v4(), is_one_absent }
    }

    /// Records what is safe to record of the differences about a person, and adds all of them to
    /// `settled` with their outcomes, also those before an error. `taken_at` is the time of the
    /// picture that the record is of.
    ///
    /// # Errors
    /// The ledger cannot be read or written. Commands that are recorded by then stay.
    pub async fn settle(
        &self,
        record: &EstateRecord,
        taken_at: Option<DateTime<Utc>>,
        settled: &mut Vec<(Discrepancy, DiscrepancyOutcome)>,
    ) -> Result<(), CommandError> {
        let mut comparisons = 0;
        loop {
            let case = self.service.history(&record.number).await?;
            let mut removed = Vec::with_capacity(record.removed_numbers.len());
            for number in &record.removed_numbers {
                removed.push(self.service.history(number).await?);
            }
            let ledger = LedgerCase { case: &case, removed: &removed, is_one_absent: self.is_one_absent };
            let mut open = compare(&self.prison, record, ledger, taken_at, Clock::system().now());
            open.retain(|finding| !settled.iter().any(|(other, _)| finding.is_about_the_same(other)));
            let is_safe = |finding: &Discrepancy| matches!(finding.resolution, Resolution::Record(_));
            comparisons += 1;
            let Some(next) = open.iter().position(is_safe).filter(|_| comparisons <= COMPARISONS_MAX) else {
                settled.extend(open.into_iter().map(|finding| {
                    let outcome = match finding.resolution.outcome() {
                        DiscrepancyOutcome::WouldRecord => {
                            DiscrepancyOutcome::Left("others keep changing the case: compare again".to_owned())
                        }
                        outcome => outcome,
                    };
                    (finding, outcome)
                }));
                return Ok(());
            };
            let finding = open.swap_remove(next);
            let Resolution::Record(remedy) = &finding.resolution else { continue };
            let outcome = match self.record(&case, remedy).await {
                Ok(outcome) if outcome.is_repeated() => DiscrepancyOutcome::RecordedBefore,
                Ok(_) => DiscrepancyOutcome::Recorded,
                // Decided again, on the case as it is by now.
                Err(CommandError::RevisionMismatch { .. } | CommandError::Contended { .. }) => continue,
                Err(CommandError::Refused(refusal)) => DiscrepancyOutcome::Left(refusal.sentence),
                Err(error) => return Err(error),
            };
            settled.push((finding, outcome));
        }
    }

    async fn record(&self, case: &History, remedy: &Remedy) -> Result<Outcome, CommandError> {
        let Remedy { operation, command, since } = remedy;
        let (number, effective_at) = (case.number().clone(), since.map(|since| since.at));
        let digest = request_digest(operation, number.as_str(), &(command, effective_at));
        let request = Request {
            command_id: command_id(&number, case.revision(), &digest),
            request_digest: RequestDigest::from(digest),
            command: domain::Command::Prisoner(number, command.clone()),
            recorded_by: self.recorded_by.clone(),
            correlation_id: self.run,
            causation_id: None,
            provenance: None,
            effective_at,
            if_match: case.revision(),
            confinement: Confinement::default(),
        };
        self.service.execute(request).await
    }
}

impl Discrepancy {
    /// Whether both are one difference, at two times.
    fn is_about_the_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.estate == other.estate
    }
}

/// The id of a command to a case at a revision.
fn command_id(number: &PrisonerNumber, revision: Option<u64>, digest: &str) -> CommandId {
    let revision = revision.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
    CommandId::of_content(NAMESPACE, &format!("{number} {revision} {digest}"))
}
