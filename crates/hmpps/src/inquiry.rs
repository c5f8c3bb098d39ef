//! Finds out what a message means that does not say it itself: whose case a CRN is, and what other
//! services know of the person now.
//!
//! A CRN is a person's by the views, which have it from events, or by its record in Delius. The
//! views may be behind the log, so the history of the case is looked at before they are believed.

use chrono::{DateTime, TimeDelta, Utc};
use command::{Clock, CommandError, Service};
use domain::{
    identifier::{Crn, PrisonerNumber},
    prisoner::{DeallocationTrigger, History, PrisonerEvent, TierAssigned},
    tier::TierSource,
};
use sqlx::PgPool;
use views::crn_map;

use crate::{
    lookup::{Absence, CaseRecord, LookUpError, LookUpService, LookUps, RecordedRosh, TierVersion},
    notification::{DeliusFact, Fact, PrisonerUpdate},
    outage::Outage,
    parked::within,
    plan::{Finding, FoundFact, ParkReason, PassReason},
};

/// How long a person may be out before the update that says so is a release. The message of the
/// release comes with it, and says when that was, or it was lost.
const RELEASE_PATIENCE: TimeDelta = TimeDelta::minutes(15);

/// Merges that are followed from a number to the one that has the case now.
const MERGES_MAX: usize = 64;

/// Finds out what messages about cases in Delius mean.
pub(crate) struct Inquiry {
    service: Service,
    views: PgPool,
    look_ups: Option<LookUps>,
}

/// The end of an inquiry.
pub(crate) enum InquiryOutcome {
    /// The findings, of people whom the ledger knows.
    Found(Vec<Finding>),
    /// The findings, and the fault in what was to be found besides.
    FoundPart(Vec<Finding>, String),
    /// Nothing, and why.
    PassOver(PassReason),
    /// Nothing yet: the ledger does not know this person so far.
    Unknown(PrisonerNumber),
    /// Nothing yet: nobody has this case as far as the views have come. They may be behind, and the
    /// message that gives it to somebody may come late.
    UnknownCase(Crn),
    /// Nothing yet, of this person: another message is to be waited for.
    TooEarly(PrisonerUpdate),
    /// Nothing, as there is no address of the service that would say it.
    NotConfigured(LookUpError),
    /// A person has to decide, and why.
    Park(ParkReason, String),
}

/// Why an inquiry came to no end.
pub(crate) enum InquiryError {
    /// The message must come again.
    Outage(Outage),
    /// The history of a case cannot be read.
    History(CommandError),
    /// A service gives an answer that makes no sense; the fault in it.
    Unusable(String),
}

impl From<sqlx::Error> for InquiryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Outage(Outage::of_views(error))
    }
}

impl From<CommandError> for InquiryError {
    fn from(error: CommandError) -> Self {
        Self::History(error)
    }
}

impl From<LookUpError> for InquiryError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Unavailable { .. } | LookUpError::NotConfigured { .. } => Self::Outage(error.into()),
            LookUpError::Unusable { .. } => Self::Unusable(format!("A look-up failed: {error}.")),
        }
    }
}

/// The person whose case has a CRN.
enum CrnHolder {
    /// A person whom the ledger knows.
    Known(Box<History>),
    /// A person whom it does not know.
    Stranger(PrisonerNumber),
    /// No person in NOMIS.
    Nobody,
    /// One of these, and there is no service that says which.
    OneOf(Vec<PrisonerNumber>),
}

impl Inquiry {
    pub(crate) fn new(service: Service, views: PgPool, look_ups: Option<LookUps>) -> Self {
        Self { service, views, look_ups }
    }

    /// Finds out what a fact means that has to be looked up. Any other means nothing here.
    pub(crate) async fn inquire(&self, fact: &Fact) -> Result<InquiryOutcome, InquiryError> {
        match fact {
            Fact::InDelius(fact) => self.ask_about_case(fact).await,
            Fact::Updated(update) => self.ask_about_prisoner(update).await,
            Fact::Released(_)
            | Fact::TransferredOut(_)
            | Fact::Received(..)
            | Fact::Merged { .. }
            | Fact::BookingMoved { .. }
            | Fact::Deletion(_)
            | Fact::Irrelevant => Ok(InquiryOutcome::PassOver(PassReason::Irrelevant)),
        }
    }

    async fn ask_about_case(&self, fact: &DeliusFact) -> Result<InquiryOutcome, InquiryError> {
        match fact {
            DeliusFact::TierChanged { crn, version } => self.ask_for_tier(crn, *version).await,
            DeliusFact::RecordChanged { crn } => self.ask_for_record(crn).await,
            DeliusFact::Matched { crn, number, at } => {
                let case = self.case_of(number).await?;
                Ok(find_as_told(&case, number, *at, FoundFact::Crn(crn.clone())))
            }
            DeliusFact::Merged { source, target, at } => {
                let holder = match self.known_holder(source).await? {
                    CrnHolder::Nobody => self.holder(target).await?,
                    holder => holder,
                };
                if let CrnHolder::Nobody = holder {
                    return Ok(InquiryOutcome::UnknownCase(source.clone()));
                }
                let fact = FoundFact::Crn(target.clone());
                Ok(of_holder(target, holder, |case| find_as_told(case, case.number(), *at, fact)))
            }
            DeliusFact::Unmerged { reactivated, unmerged } => self.ask_who_is_who(reactivated, unmerged).await,
            DeliusFact::Deleted { crn } => {
                // Its record is gone, so the ledger's own map says whose it was.
                let numbers = match self.known_holder(crn).await? {
                    CrnHolder::Known(case) => case.number().to_string(),
                    CrnHolder::OneOf(numbers) => in_words(&numbers),
                    CrnHolder::Stranger(_) | CrnHolder::Nobody => {
                        return Ok(InquiryOutcome::UnknownCase(crn.clone()));
                    }
                };
                let why = format!("{crn} was deleted in Delius. Decide about what the ledger has of {numbers}.");
                Ok(InquiryOutcome::Park(ParkReason::Deletion, why))
            }
        }
    }

    async fn ask_about_prisoner(&self, update: &PrisonerUpdate) -> Result<InquiryOutcome, InquiryError> {
        let Some(look_ups) = self.look_ups_of(LookUpService::PrisonerSearch) else {
            return Ok(InquiryOutcome::NotConfigured(LookUpService::PrisonerSearch.not_configured()));
        };
        let case = self.case_of(&update.number).await?;
        if case.is_empty() {
            return Ok(InquiryOutcome::PassOver(PassReason::UnknownPerson));
        }
        let has_left = case.state().left_at.is_some();
        if has_left && !(update.status && was_out_of_scope(&case)) {
            return Ok(InquiryOutcome::PassOver(PassReason::AlreadyHeld));
        }
        let asked_at = Clock::system().now();
        let number = case.number();
        let Some(record) = look_ups.client.prisoner(number).await? else {
            return Ok(park(format!("Prisoner search has no record of {number}, whom the ledger knows.")));
        };
        // It may have merged the number already, which the ledger has not heard of.
        if record.number != *number && self.case_of(&record.number).await?.number() != number {
            return Err(LookUpService::PrisonerSearch.answers_with_another().into());
        }
        let (Some(_), Some(_)) = (&record.prison_id, &record.legal_status) else {
            return Ok(park(format!("The record of {number} in prisoner search names no prison, or no legal status.")));
        };
        let absence = record.absence();
        if has_left {
            return Ok(match absence.is_none() && record.is_in_scope() {
                true => {
                    park(format!("{number} has a legal status with POMs again. Say at which prison the case goes on."))
                }
                false => InquiryOutcome::PassOver(PassReason::AlreadyHeld),
            });
        }
        let finding = |fact| Finding { number: number.clone(), since: None, asked_at, fact };
        let mut findings = Vec::new();
        match absence.filter(|_| update.status) {
            None if update.status && record.is_out_of_scope() => findings.push(finding(FoundFact::OutOfScope)),
            None | Some(Absence::Serving) => {}
            Some(Absence::Released | Absence::Unknown) if is_too_early(update) => {
                return Ok(InquiryOutcome::TooEarly(update.clone()));
            }
            Some(Absence::Released) => findings.push(finding(FoundFact::Out)),
            Some(Absence::Unknown) => {
                let why = "is in no prison, and prisoner search does not say whether that is a release. Release the \
                           person, or dismiss this.";
                return Ok(park(format!("{number} {why}")));
            }
        }
        if update.sentence && findings.is_empty() && absence.is_none() {
            findings.push(finding(FoundFact::Sentence(Box::new(record))));
        }
        Ok(InquiryOutcome::Found(findings))
    }

    /// Whether a service of this name answers another question, in the midst of failures.
    pub(crate) async fn answers_otherwise(&self, name: &str) -> bool {
        let service = LookUpService::ALL.into_iter().find(|service| service.name() == name);
        match (service, &self.look_ups) {
            (Some(service), Some(look_ups)) => look_ups.client.answers_otherwise(service).await,
            // The sign-on is asked for all.
            _ => false,
        }
    }

    /// Whether a message that waits may mean something by now: its person is known, or the other
    /// message is overdue. It spares look-ups.
    pub(crate) async fn is_ripe(&self, fact: &Fact, key: &str) -> Result<bool, InquiryError> {
        match (fact, key.parse::<PrisonerNumber>()) {
            (Fact::Updated(update), _) => Ok(!is_too_early(update)),
            (_, Ok(number)) => Ok(!self.case_of(&number).await?.is_empty()),
            (Fact::InDelius(DeliusFact::Deleted { crn }), _) => self.is_known(&[crn]).await,
            (
                Fact::InDelius(
                    DeliusFact::Merged { source: first, target: second, .. }
                    | DeliusFact::Unmerged { reactivated: first, unmerged: second },
                ),
                _,
            ) => self.is_known(&[first, second]).await,
            _ => Ok(true),
        }
    }

    /// Whether somebody has one of these cases, by the views alone.
    async fn is_known(&self, crns: &[&Crn]) -> Result<bool, InquiryError> {
        for crn in crns {
            if !matches!(self.known_holder(crn).await?, CrnHolder::Nobody) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn ask_for_tier(&self, crn: &Crn, version: Option<TierVersion>) -> Result<InquiryOutcome, InquiryError> {
        let Some(look_ups) = self.look_ups_of(LookUpService::Tiers) else {
            return Ok(InquiryOutcome::NotConfigured(LookUpService::Tiers.not_configured()));
        };
        let case = match self.holder(crn).await? {
            CrnHolder::Known(case) => case,
            other => return Ok(of_holder(crn, other, |_| InquiryOutcome::Found(Vec::new()))),
        };
        let Some(version) = look_ups.tier_version.or(version) else {
            let why = "The link of the message names no version of the tier service, and no setting does.";
            return Ok(InquiryOutcome::Park(ParkReason::Unreadable, why.to_owned()));
        };
        let asked_at = Clock::system().now();
        let number = case.number();
        let Some(record) = look_ups.client.tier(crn, version).await? else {
            return Ok(park(format!("The tier service has no tier of {crn}, the case of {number}.")));
        };
        let finding = |since, fact| Finding { number: number.clone(), since, asked_at, fact };
        // With its first tier from Delius a case gets the rest of its record, too: messages about
        // that may have come before anything was known of the person.
        let (rest, fault) = match case.state().tier {
            None | Some(TierAssigned { source: TierSource::Manual, rosh_level: None, .. }) => {
                match self.record(crn).await {
                    Err(InquiryError::Unusable(problem)) => (None, Some(problem)),
                    rest => (rest?, None),
                }
            }
            Some(_) => (None, None),
        };
        let rosh_level = rest.as_ref().and_then(|rest| match rest.rosh() {
            RecordedRosh::Level(level) => Some(level),
            RecordedRosh::None | RecordedRosh::Unknown => None,
        });
        let mut findings =
            vec![finding(Some(record.calculated_at), FoundFact::Tier(crn.clone(), record.tier, rosh_level))];
        findings.extend(rest.map(|rest| finding(None, FoundFact::CommunityManager(rest.community_manager()))));
        Ok(match fault {
            None => InquiryOutcome::Found(findings),
            Some(problem) => InquiryOutcome::FoundPart(findings, problem),
        })
    }

    async fn ask_for_record(&self, crn: &Crn) -> Result<InquiryOutcome, InquiryError> {
        if self.look_ups_of(LookUpService::CaseRecords).is_none() {
            return Ok(InquiryOutcome::NotConfigured(LookUpService::CaseRecords.not_configured()));
        }
        let asked_at = Clock::system().now();
        let Some(record) = self.record(crn).await? else {
            let why = |case: &History| format!("Delius has no record of {crn}, the case of {}.", case.number());
            return Ok(of_holder(crn, self.known_holder(crn).await?, |case| park(why(case))));
        };
        let holder = match &record.number {
            Some(number) => self.holder_of_number(number).await?,
            None => self.known_holder(crn).await?,
        };
        Ok(of_holder(crn, holder, |case| {
            let finding = |fact| Finding { number: case.number().clone(), since: None, asked_at, fact };
            let mut findings = vec![finding(FoundFact::CommunityManager(record.community_manager()))];
            // So that the ledger's own map has it once its record is gone.
            if record.number.is_some() && case.state().crn.is_none() {
                findings.insert(0, finding(FoundFact::Crn(crn.clone())));
            }
            findings.extend(match record.rosh() {
                RecordedRosh::Unknown => None,
                RecordedRosh::None => Some(finding(FoundFact::RoshLevel(None))),
                RecordedRosh::Level(level) => Some(finding(FoundFact::RoshLevel(Some(level)))),
            });
            InquiryOutcome::Found(findings)
        }))
    }

    /// After a merge was taken back, each of the two cases is the person's of whom its record says
    /// so.
    async fn ask_who_is_who(&self, reactivated: &Crn, unmerged: &Crn) -> Result<InquiryOutcome, InquiryError> {
        let mut findings = Vec::new();
        for (crn, fact) in [(unmerged, FoundFact::Crn as fn(Crn) -> _), (reactivated, FoundFact::OtherCrn)] {
            let asked_at = Clock::system().now();
            let Some(number) = self.record(crn).await?.and_then(|record| record.number) else { continue };
            let case = self.case_of(&number).await?;
            if !case.is_empty() {
                let number = case.number().clone();
                findings.push(Finding { number, since: None, asked_at, fact: fact(crn.clone()) });
            }
        }
        if !findings.is_empty() {
            return Ok(InquiryOutcome::Found(findings));
        }
        Ok(match self.is_known(&[reactivated, unmerged]).await? {
            true => park(format!("Delius took {reactivated} and {unmerged} apart. Say whose case has which of them.")),
            false => InquiryOutcome::UnknownCase(reactivated.clone()),
        })
    }

    /// The holder of a CRN: by the views, or else by its record in Delius.
    async fn holder(&self, crn: &Crn) -> Result<CrnHolder, InquiryError> {
        match self.known_holder(crn).await? {
            CrnHolder::Known(case) => Ok(CrnHolder::Known(case)),
            holder if self.look_ups_of(LookUpService::CaseRecords).is_none() => Ok(holder),
            _ => match self.record(crn).await?.and_then(|record| record.number) {
                Some(number) => self.holder_of_number(&number).await,
                None => Ok(CrnHolder::Nobody),
            },
        }
    }

    /// The holder of a CRN by the views alone.
    async fn known_holder(&self, crn: &Crn) -> Result<CrnHolder, InquiryError> {
        let mut holders = Vec::new();
        for number in within(crn_map::find_numbers(&self.views, crn)).await? {
            let case = self.case_of(&number).await?;
            if case.state().crn.as_ref() == Some(crn) {
                holders.push(case);
            }
        }
        Ok(match holders.len() {
            0 => CrnHolder::Nobody,
            1 => CrnHolder::Known(Box::new(holders.remove(0))),
            _ => CrnHolder::OneOf(holders.iter().map(|case| case.number().clone()).collect()),
        })
    }

    async fn holder_of_number(&self, number: &PrisonerNumber) -> Result<CrnHolder, InquiryError> {
        let case = self.case_of(number).await?;
        Ok(match case.is_empty() {
            true => CrnHolder::Stranger(number.clone()),
            false => CrnHolder::Known(Box::new(case)),
        })
    }

    /// The case of a number, or that of the number under which it goes on.
    async fn case_of(&self, number: &PrisonerNumber) -> Result<History, InquiryError> {
        let mut case = self.service.history(number).await?;
        for _ in 0..MERGES_MAX {
            let Some(survivor) = case.retirement().map(|(_, survivor)| survivor.clone()) else { break };
            case = self.service.history(&survivor).await?;
        }
        Ok(case)
    }

    /// The record of a case in Delius; `None` where there is none, or no service to ask.
    async fn record(&self, crn: &Crn) -> Result<Option<CaseRecord>, InquiryError> {
        let Some(look_ups) = self.look_ups_of(LookUpService::CaseRecords) else { return Ok(None) };
        Ok(look_ups.client.case_record(crn).await?)
    }

    fn look_ups_of(&self, service: LookUpService) -> Option<&LookUps> {
        self.look_ups.as_ref().filter(|look_ups| look_ups.client.has(service))
    }
}

/// What waits for a person who decides.
fn park(why: String) -> InquiryOutcome {
    InquiryOutcome::Park(ParkReason::NeedsDecision, why)
}

/// Whether a person has left by a legal status with which there are no POMs, which may end.
fn was_out_of_scope(case: &History) -> bool {
    let last = case.in_effective_order().into_iter().rev().find_map(|entry| match &entry.event {
        PrisonerEvent::Deallocated(ended) => Some(ended.trigger),
        _ => None,
    });
    last == Some(DeallocationTrigger::LegalStatusChanged)
}

fn is_too_early(update: &PrisonerUpdate) -> bool {
    Clock::system().now() < update.at + RELEASE_PATIENCE
}

/// A fact that a message tells by itself about a person, if the ledger knows that one.
fn find_as_told(case: &History, number: &PrisonerNumber, at: DateTime<Utc>, fact: FoundFact) -> InquiryOutcome {
    if case.is_empty() {
        return InquiryOutcome::Unknown(number.clone());
    }
    let finding = Finding { number: case.number().clone(), since: Some(at), asked_at: Clock::system().now(), fact };
    InquiryOutcome::Found(vec![finding])
}

/// The outcome of an inquiry about the holder of a CRN.
fn of_holder(crn: &Crn, holder: CrnHolder, known: impl FnOnce(&History) -> InquiryOutcome) -> InquiryOutcome {
    match holder {
        CrnHolder::Known(case) => known(&case),
        CrnHolder::Stranger(number) => InquiryOutcome::Unknown(number),
        CrnHolder::Nobody => InquiryOutcome::PassOver(PassReason::UnknownPerson),
        CrnHolder::OneOf(numbers) => {
            park(format!("Several people have {crn}: {}. Say whose it is.", in_words(&numbers)))
        }
    }
}

fn in_words(numbers: &[PrisonerNumber]) -> String {
    numbers.iter().map(PrisonerNumber::as_str).collect::<Vec<_>>().join(", ")
}
