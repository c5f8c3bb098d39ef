//! A small text form in which the tests of a case are written, so that they read like pages of a
//! ledger.
//!
//! Each line is `MM-DD command arguments | expectation`, at 09:00 UTC of that day in 2026. The
//! expectation is the events that the command makes, or `!code` for a refusal. `who MM-DD` asks for
//! the officers. All lines are decided on 31 December 2026, in the order written, so a line with
//! an earlier date than the one before it is backdated.
//!
//! At LEI and at MDI, on OMiC from 1 January 2026, the POMs are 101 and 103 (prison), 102 and 104
//! (probation), all active, 108 (unavailable) and 109 (inactive). HDI joins on 1 June 2026, with
//! POM 101 alone.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Entry, Refusal, Stream,
    event::RecordedBy,
    handover::Facts,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    officer::{CommunityManager, PomKind, PomStatus, WorkingPattern},
    prison,
    prisoner::{
        self, Allocate, AllocateCoworker, AllocateWithTier, ChoiceReasons, Command, Context, CrnRecorded, Deallocate,
        DeallocationTrigger, EndPomRole, EntryVoided, History, OverrideReason, PrisonerEvent, PrisonerNumberRetired,
        Reallocate, Received, ReceptionReason, RecommendationPolicy, Release, ResponsibilityOverridden,
        ResponsibilityOverrideReason, ResponsibleService, TierAssigned, Transfer, VoidEntries, decide, period_at,
        periods,
    },
    tier::TierSource,
};
use uuid::Uuid;

/// A case under test and the prisons around it.
pub struct Case {
    pub history: History,
    pub prisons: Vec<prison::History>,
    pub policy: RecommendationPolicy,
}

/// Checks a page against the rules, on a case that nothing has happened to, with the default
/// policy.
#[track_caller]
pub fn check(page: &str) {
    Case::new("A1234BC").read(page);
}

impl Case {
    pub fn new(number: &str) -> Self {
        let history = History::new(number.parse().expect("a prisoner number"));
        Self { history, prisons: prisons(), policy: RecommendationPolicy::Tier }
    }

    /// Gives the commands of a page, line by line, and compares what comes of each.
    #[track_caller]
    pub fn read(&mut self, page: &str) {
        for line in page.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (given, expected) = line.split_once('|').unwrap_or_else(|| panic!("no `|` in `{line}`"));
            let words: Vec<&str> = given.split_whitespace().collect();
            let got = match words.as_slice() {
                ["who", day] => self.responsible_on(at(day)),
                [day, rest @ ..] => self.outcome(at(day), &command(rest)),
                [] => panic!("an empty line"),
            };
            assert_eq!(got, expected.trim(), "in `{line}`");
        }
    }

    /// Decides a command and, unless it is refused, records its events.
    pub fn give(&mut self, effective_at: DateTime<Utc>, command: &Command) -> Result<Vec<PrisonerEvent>, Refusal> {
        let events = self.decide(effective_at, command)?;
        record(&mut self.history, effective_at, &events);
        Ok(events)
    }

    pub fn decide(&self, effective_at: DateTime<Utc>, command: &Command) -> Result<Vec<PrisonerEvent>, Refusal> {
        let context = Context {
            now: now(),
            effective_at,
            prison: command
                .prison_of_new_role()
                .and_then(|code| self.prisons.iter().find(|prison| prison.code() == code)),
            recommendation_policy: self.policy,
        };
        decide(&self.history, command, &context)
    }

    fn outcome(&mut self, effective_at: DateTime<Utc>, command: &Command) -> String {
        match self.give(effective_at, command) {
            Ok(events) => events.iter().map(PrisonerEvent::type_name).collect::<Vec<_>>().join(" "),
            Err(refusal) => match refusal.later_entry {
                Some(revision) => format!("!{} {revision}", refusal.rule.code()),
                None => format!("!{}", refusal.rule.code()),
            },
        }
    }

    fn responsible_on(&self, instant: DateTime<Utc>) -> String {
        let periods = periods(&self.history);
        let Some(period) = period_at(&periods, instant) else { return "nothing".into() };
        let pom = period.state.primary_staff_id().map_or("nobody".into(), |id| id.to_string());
        let com = period.state.community_manager.as_ref().map_or("nobody".into(), |role| role.manager.name.clone());
        let officer = |role| match role {
            prisoner::OfficerRole::Pom => format!("POM {pom}"),
            prisoner::OfficerRole::Com => format!("COM {com}"),
        };
        let responsible = period.responsibility.responsible.map_or("nobody".into(), officer);
        let supporting = period.responsibility.supporting.map_or(String::new(), |role| format!(", {}", officer(role)));
        format!("{:?}: {}{supporting}", period.responsibility.phase, responsible)
    }
}

/// Appends events to a history as the log would.
pub fn record(history: &mut History, effective_at: DateTime<Utc>, events: &[PrisonerEvent]) {
    let recorded = history.entries().len() as u64;
    let command_id = CommandId(Uuid::from_u128(u128::from(recorded) + 1));
    let stream = Stream::Prisoner(history.number().clone());
    for (index, event) in events.iter().enumerate() {
        let revision = history.entries().len() as u64;
        history.push(Entry {
            event_id: command_id.event_id(&stream, index),
            revision,
            position: revision + 1,
            effective_at,
            recorded_at: now() + TimeDelta::seconds(i64::try_from(recorded).expect("few entries")),
            recorded_by: recorder(),
            command_id,
            event: event.clone(),
        });
    }
}

pub fn recorder() -> RecordedBy {
    RecordedBy { username: Some("HOMD_LEI".parse().expect("a username")), client: "tests".into(), auth_source: None }
}

pub fn now() -> DateTime<Utc> {
    at("12-31")
}

/// 09:00 UTC on a day of 2026.
pub fn at(month_day: &str) -> DateTime<Utc> {
    format!("2026-{month_day}T09:00:00Z").parse().unwrap_or_else(|_| panic!("`{month_day}` is not MM-DD"))
}

pub fn number(text: &str) -> PrisonerNumber {
    text.parse().expect("a prisoner number")
}

fn code(text: &str) -> PrisonCode {
    text.parse().expect("a prison code")
}

fn staff(text: &str) -> StaffId {
    text.parse().expect("a staff id")
}

/// The command that the words of a line name.
pub fn command(words: &[&str]) -> Command {
    let lei = || code("LEI");
    match *words {
        ["receive", prison] => receive(prison, ReceptionReason::NewAdmission),
        ["receive", prison, "again"] => receive(prison, ReceptionReason::Readmission),
        ["receive", prison, "moved"] => receive(prison, ReceptionReason::Transferred),
        ["tier", tier] => tier_command(tier, None),
        ["tier", tier, prison] => tier_command(tier, Some(code(prison))),
        ["crn", crn] => Command::RecordCrn(CrnRecorded { crn: crn.parse().expect("a CRN") }),
        ["allocate", id] => allocate(id, lei(), &[]),
        ["allocate", id, "at", prison] => allocate(id, code(prison), &[]),
        ["allocate", id, "because", ref why @ ..] => allocate(id, lei(), why),
        ["take", tier, id] => allocate_with_tier(tier, id, None),
        ["take", tier, id, "because", reason] => allocate_with_tier(tier, id, Some(reason)),
        ["reallocate", id] => reallocate(id, lei(), None, &[]),
        ["reallocate", id, "at", prison] => reallocate(id, code(prison), None, &[]),
        ["reallocate", id, "from", holder] => reallocate(id, lei(), Some(staff(holder)), &[]),
        ["reallocate", id, "because", ref why @ ..] => reallocate(id, lei(), None, why),
        ["deallocate"] => Command::Deallocate(Deallocate { trigger: DeallocationTrigger::Manual }),
        ["legal-status"] => Command::Deallocate(Deallocate { trigger: DeallocationTrigger::LegalStatusChanged }),
        ["inactive", id] => Command::EndPomRole(EndPomRole { prison: lei(), staff_id: staff(id) }),
        ["cowork", id] => Command::AllocateCoworker(AllocateCoworker { prison: lei(), staff_id: staff(id) }),
        ["uncowork"] => Command::RemoveCoworker,
        ["com", name] => {
            Command::AssignCommunityManager(CommunityManager { name: name.into(), email: None, team: None, ldu: None })
        }
        ["uncom"] => Command::RemoveCommunityManager,
        ["plan", ref facts @ ..] => Command::PlanHandover(self::facts(facts)),
        ["override", service] => {
            responsibility_override(service, ResponsibilityOverrideReason::PrisonerHasBeenRecalled)
        }
        ["override", service, "other"] => responsibility_override(service, ResponsibilityOverrideReason::Other),
        ["unoverride"] => Command::RemoveResponsibilityOverride,
        ["release"] => Command::Release(Release { prison: None }),
        ["release", prison] => Command::Release(Release { prison: Some(code(prison)) }),
        ["transfer", prison] => Command::Transfer(Transfer { to_prison: code(prison) }),
        ["void", revision] => Command::Void(EntryVoided {
            revision: revision.parse().expect("a revision"),
            reason: "entered in error".into(),
        }),
        ["void", ref revisions @ ..] => Command::VoidEntries(VoidEntries {
            revisions: revisions.iter().map(|revision| revision.parse().expect("a revision")).collect(),
            reason: "entered in error".into(),
        }),
        ["retire", survivor] => Command::Retire(PrisonerNumberRetired { survivor: number(survivor) }),
        ref unknown => panic!("no such command: {unknown:?}"),
    }
}

fn receive(prison: &str, reason: ReceptionReason) -> Command {
    Command::Receive(Received { prison: code(prison), reason })
}

fn tier_command(tier: &str, prison: Option<PrisonCode>) -> Command {
    let (tier, rosh) = tier.split_once('/').map_or((tier, None), |(tier, rosh)| (tier, Some(rosh)));
    Command::AssignTier(TierAssigned {
        tier: tier.parse().expect("a tier"),
        rosh_level: rosh.map(|rosh| serde_json::from_value(rosh.into()).expect("a RoSH level")),
        source: TierSource::Manual,
        crn: None,
        prison,
    })
}

/// `why` is override reasons, each perhaps with a detail after `=`.
fn reasons(why: &[&str]) -> ChoiceReasons {
    let mut reasons = ChoiceReasons::default();
    for word in why {
        let (reason, detail) = word.split_once('=').map_or((*word, None), |(reason, detail)| (reason, Some(detail)));
        let reason: OverrideReason = serde_json::from_value(reason.into()).expect("an override reason");
        match reason {
            OverrideReason::Suitability => reasons.suitability_detail = detail.map(Into::into),
            _ => reasons.override_detail = reasons.override_detail.or(detail.map(Into::into)),
        }
        reasons.override_reasons.push(reason);
    }
    reasons
}

fn allocate(id: &str, prison: PrisonCode, why: &[&str]) -> Command {
    Command::Allocate(Allocate { prison, staff_id: staff(id), reasons: reasons(why) })
}

fn reallocate(id: &str, prison: PrisonCode, expected_holder: Option<StaffId>, why: &[&str]) -> Command {
    let reason = "caseload".to_owned();
    Command::Reallocate(Reallocate { prison, staff_id: staff(id), expected_holder, reason, reasons: reasons(why) })
}

fn allocate_with_tier(tier: &str, id: &str, reallocation_reason: Option<&str>) -> Command {
    let Command::AssignTier(tier) = tier_command(tier, None) else { panic!("a tier") };
    Command::AllocateWithTier(Box::new(AllocateWithTier {
        tier,
        allocate: Allocate { prison: code("LEI"), staff_id: staff(id), reasons: ChoiceReasons::default() },
        reallocation_reason: reallocation_reason.map(Into::into),
    }))
}

fn responsibility_override(service: &str, reason: ResponsibilityOverrideReason) -> Command {
    let responsible = match service {
        "PRISON" => ResponsibleService::Prison,
        "PROBATION" => ResponsibleService::Probation,
        unknown => panic!("no such service: {unknown}"),
    };
    Command::OverrideResponsibility(ResponsibilityOverridden { responsible, reason, detail: None })
}

/// Facts from words such as `sentenceStartDate=2024-01-01` and `recalled`.
fn facts(words: &[&str]) -> Facts {
    let fields = words.iter().map(|word| match word.split_once('=') {
        Some((field, value)) => (field.to_owned(), value.into()),
        None => ((*word).to_owned(), true.into()),
    });
    serde_json::from_value(serde_json::Value::Object(fields.collect())).expect("facts")
}

fn prisons() -> Vec<prison::History> {
    let mut lei = onboarded("LEI", "2026-01-01");
    let mut mdi = onboarded("MDI", "2026-01-01");
    for prison in [&mut lei, &mut mdi] {
        for (id, kind) in [
            (101, PomKind::Prison),
            (102, PomKind::Probation),
            (103, PomKind::Prison),
            (104, PomKind::Probation),
            (108, PomKind::Prison),
            (109, PomKind::Prison),
        ] {
            give_prison(prison, "2026-01-01", &register(id, kind));
        }
        give_prison(prison, "2026-01-01", &status(108, PomStatus::Unavailable));
        give_prison(prison, "2026-01-01", &status(109, PomStatus::Inactive));
    }
    let mut hdi = onboarded("HDI", "2026-06-01");
    give_prison(&mut hdi, "2026-01-01", &register(101, PomKind::Prison));
    vec![lei, mdi, hdi]
}

fn onboarded(prison: &str, go_live_date: &str) -> prison::History {
    let mut history = prison::History::new(code(prison));
    let joined = prison::PrisonJoinedOmic {
        go_live_date: go_live_date.parse().expect("a date"),
        estate: prison::Estate::MensClosed,
    };
    give_prison(&mut history, "2026-01-01", &prison::Command::JoinOmic(joined));
    history
}

pub fn register(id: i64, kind: PomKind) -> prison::Command {
    prison::Command::RegisterPom(prison::PomRegistered {
        staff_id: StaffId::try_from(id).expect("a staff id"),
        name: format!("Surname{id}, Forename"),
        kind,
        working_pattern: WorkingPattern::FULL_TIME,
        email: None,
    })
}

pub fn status(id: i64, status: PomStatus) -> prison::Command {
    prison::Command::ChangePomStatus(prison::PomStatusChanged {
        staff_id: StaffId::try_from(id).expect("a staff id"),
        status,
        returns_on: None,
        reason: None,
    })
}

/// Decides a prison's command effective at the start of a UTC day and, unless it is refused,
/// records its event.
pub fn try_prison(history: &mut prison::History, day: &str, command: &prison::Command) -> Result<(), Refusal> {
    let effective_at: DateTime<Utc> = format!("{day}T00:00:00Z").parse().expect("a date");
    let events = prison::decide(history, command, &prison::Context { now: now(), effective_at })?;
    for event in events {
        let revision = history.entries().len() as u64;
        let command_id = CommandId(Uuid::from_u128(u128::from(revision) + 1));
        history.push(Entry {
            event_id: command_id.event_id(&Stream::Prison(history.code().clone()), 0),
            revision,
            position: revision + 1,
            effective_at,
            recorded_at: now(),
            recorded_by: recorder(),
            command_id,
            event,
        });
    }
    Ok(())
}

#[track_caller]
fn give_prison(history: &mut prison::History, day: &str, command: &prison::Command) {
    try_prison(history, day, command).expect("the roster of the tests is legal");
}
