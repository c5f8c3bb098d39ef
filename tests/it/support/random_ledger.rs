//! A log filled through the domain's rules: random commands, legal or not, most of them backdated.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Entry, Event, Refusal, Stream,
    generators::{case_commands, contact_commands, prison_commands},
    identifier::{CommandId, PrisonCode, PrisonerNumber},
    nomis_contacts,
    officer::{PomKind, WorkingPattern},
    prison,
    prisoner::{
        self, Allocate, ChoiceReasons, Command, CommandKind, OverrideReason, PrisonerNumberRetired, Received,
        ReceptionReason, RecommendationPolicy, TierAssigned, merge_of,
    },
};
use event_log::{ExpectedRevision, Metadata, Salt, SharedLog, encode, history::push, stored_event::encode_metadata};
use event_log_postgres::PostgresLog;
use proptest::prelude::*;
use sqlx::PgPool;
use uuid::Uuid;

use super::builders::{manual_tier, prison_code, recorded_by, staff_id};

/// A ledger whose prisons LEI and MDI have joined OMiC. Each has the POMs 101 to 104.
pub struct RandomLedger {
    pub log: SharedLog,
    cases: BTreeMap<PrisonerNumber, prisoner::History>,
    prisons: BTreeMap<PrisonCode, prison::History>,
    contacts: BTreeMap<PrisonerNumber, nomis_contacts::History>,
    commands: u128,
}

/// One random step.
#[derive(Debug, Clone)]
pub enum RandomStep {
    /// A command to one of a few cases, so many days after the start.
    Case(u8, i64, Box<Command>),
    /// A command to LEI, so many days after the start.
    Prison(i64, prison::Command),
    /// A command to the contacts of a person, so many days after the start.
    Contacts(i64, PrisonerNumber, nomis_contacts::Command),
    /// The first number is retired for the second.
    Merge(u8, u8, i64),
}

pub fn random_step() -> impl Strategy<Value = RandomStep> {
    let days = 0..60i64;
    prop_oneof![
        12 => (0..5u8, days.clone(), case_commands(is_of_one_case)).prop_map(|(case, day, command)| RandomStep::Case(case, day, Box::new(command))),
        4 => (days.clone(), prison_commands(|_| true)).prop_map(|(day, command)| RandomStep::Prison(day, command)),
        2 => (days.clone(), contact_commands()).prop_map(|(day, (number, command))| RandomStep::Contacts(day, number, command)),
        1 => (0..5u8, 0..5u8, days).prop_map(|(removed, survivor, day)| RandomStep::Merge(removed, survivor, day)),
    ]
}

/// Merges concern two cases, and are steps of their own.
fn is_of_one_case(kind: CommandKind) -> bool {
    !matches!(kind, CommandKind::Retire | CommandKind::CompleteMerge)
}

impl RandomLedger {
    pub async fn new(pool: &PgPool) -> Self {
        event_log_postgres::migrate(pool).await.expect("a log");
        let log: SharedLog = Arc::new(PostgresLog::connect(pool).await.expect("the log"));
        let mut ledger =
            Self { log, cases: BTreeMap::new(), prisons: BTreeMap::new(), contacts: BTreeMap::new(), commands: 0 };
        for prison in ["LEI", "MDI"] {
            let joined = prison::PrisonJoinedOmic {
                go_live_date: "2026-01-01".parse().expect("a date"),
                estate: prison::Estate::MensClosed,
            };
            assert!(ledger.prison(prison, -60, prison::Command::JoinOmic(joined)).await);
            for (id, kind, tenths) in [
                (101, PomKind::Prison, 10),
                (102, PomKind::Probation, 8),
                (103, PomKind::Prison, 1),
                (104, PomKind::Probation, 10),
            ] {
                let registered = prison::PomRegistered {
                    staff_id: staff_id(id),
                    name: format!("Surname{id}, Forename"),
                    kind,
                    working_pattern: share(tenths),
                    email: None,
                };
                assert!(ledger.prison(prison, -60, prison::Command::RegisterPom(registered)).await);
            }
        }
        ledger
    }

    /// Takes a step. The rules may refuse it.
    pub async fn take(&mut self, step: RandomStep) {
        match step {
            RandomStep::Case(case, day, command) => {
                self.case(nth_number(case).as_str(), day, *command).await;
            }
            RandomStep::Prison(day, command) => {
                self.prison("LEI", day, command).await;
            }
            RandomStep::Contacts(day, number, command) => {
                self.contacts(number.as_str(), day, command).await;
            }
            RandomStep::Merge(removed, survivor, day) if removed != survivor => {
                let (removed, survivor) = (nth_number(removed), nth_number(survivor));
                let retire = Command::Retire(PrisonerNumberRetired { survivor: survivor.clone() });
                if self.case(removed.as_str(), day, retire).await {
                    let history = &self.cases[&removed];
                    let merged = merge_of(history, history.revision().expect("a retired number"));
                    self.case(survivor.as_str(), day, Command::CompleteMerge(Box::new(merged))).await;
                }
            }
            RandomStep::Merge(..) => {}
        }
    }

    /// Sends a command to a case, effective so many days after the start, and returns whether the
    /// rules accepted it.
    pub async fn case(&mut self, number: &str, day: i64, command: Command) -> bool {
        let number: PrisonerNumber = number.parse().expect("a prisoner number");
        let history =
            self.cases.entry(number.clone()).or_insert_with(|| prisoner::History::new(number.clone())).clone();
        let prison = command.prison_of_new_role().and_then(|code| self.prisons.get(code));
        let context = prisoner::Context {
            now: now(),
            effective_at: at(day),
            prison,
            recommendation_policy: RecommendationPolicy::Tier,
        };
        let decided = prisoner::decide(&history, &command, &context);
        let events = decided.map(|events| events.into_iter().map(Event::Prisoner).collect());
        let recorded = self.append(Stream::Prisoner(number.clone()), history.revision(), day, events).await;
        let accepted = !recorded.is_empty();
        let history = self.cases.get_mut(&number).expect("a history");
        for entry in recorded {
            push(history, entry).expect("the next event of the stream");
        }
        accepted
    }

    /// Sends a command to a prison, as [`Self::case`] does to a case.
    pub async fn prison(&mut self, code: &str, day: i64, command: prison::Command) -> bool {
        let code = prison_code(code);
        let history = self.prisons.entry(code.clone()).or_insert_with(|| prison::History::new(code.clone())).clone();
        let decided = prison::decide(&history, &command, &prison::Context { now: now(), effective_at: at(day) });
        let events = decided.map(|events| events.into_iter().map(Event::Prison).collect());
        let recorded = self.append(Stream::Prison(code.clone()), history.revision(), day, events).await;
        let accepted = !recorded.is_empty();
        let history = self.prisons.get_mut(&code).expect("a history");
        for entry in recorded {
            push(history, entry).expect("the next event of the stream");
        }
        accepted
    }

    /// Sends a command to a person's contacts in NOMIS, as [`Self::case`] does to a case.
    pub async fn contacts(&mut self, number: &str, day: i64, command: nomis_contacts::Command) -> bool {
        let number: PrisonerNumber = number.parse().expect("a prisoner number");
        let new = || nomis_contacts::History::new(number.clone());
        let history = self.contacts.entry(number.clone()).or_insert_with(new).clone();
        let context = nomis_contacts::Context { now: now(), effective_at: at(day) };
        let decided = nomis_contacts::decide(&history, &command, &context);
        let events = decided.map(|events| events.into_iter().map(Event::Contacts).collect());
        let revision = history.entries().last().map(|entry| entry.revision);
        let recorded = self.append(Stream::Contacts(number.clone()), revision, day, events).await;
        let accepted = !recorded.is_empty();
        let history = self.contacts.get_mut(&number).expect("a history");
        for entry in recorded {
            push(history, entry).expect("the next event of the stream");
        }
        accepted
    }

    async fn append(
        &mut self,
        stream: Stream,
        revision: Option<u64>,
        day: i64,
        events: Result<Vec<Event>, Refusal>,
    ) -> Vec<Entry<Event>> {
        let Ok(events) = events else { return Vec::new() };
        self.commands += 1;
        let metadata = self.envelope(day);
        let encoded = |(index, event)| encode(&stream, event, index, &metadata, Utc::now(), Salt::random());
        let new = events.iter().enumerate().map(encoded).collect();
        let expected = revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let appended = self.log.append(&stream, expected, new).await.expect("append");
        let places = (expected.next()..).zip(appended.events);
        events
            .into_iter()
            .zip(places)
            .enumerate()
            .map(|(index, (event, (revision, (position, recorded_at))))| Entry {
                event_id: metadata.command_id.event_id(&stream, index),
                revision,
                position,
                effective_at: metadata.effective_at,
                recorded_at,
                recorded_by: metadata.recorded_by.clone(),
                command_id: metadata.command_id,
                event,
            })
            .collect()
    }

    /// Metadata for an event that no command made.
    pub fn metadata(&self, day: i64) -> Bytes {
        encode_metadata(&self.envelope(day), Salt::random())
    }

    fn envelope(&self, day: i64) -> Metadata {
        let command_id = CommandId(Uuid::from_u128(self.commands));
        Metadata::new(at(day), recorded_by("HOMD_LEI"), command_id, "digest".into(), Uuid::nil(), None)
    }
}

pub fn tier(tier: &str, prison: Option<&str>) -> Command {
    Command::AssignTier(TierAssigned {
        crn: Some("X123456".parse().expect("a CRN")),
        prison: prison.map(prison_code),
        ..manual_tier(tier)
    })
}

pub fn receive(prison: &str) -> Command {
    Command::Receive(Received { prison: prison_code(prison), reason: ReceptionReason::NewAdmission })
}

pub fn allocate(prison: &str, pom: i64, note: &str) -> Command {
    Command::Allocate(Allocate { prison: prison_code(prison), staff_id: staff_id(pom), reasons: reasons(note) })
}

fn reasons(note: &str) -> ChoiceReasons {
    ChoiceReasons {
        override_reasons: vec![OverrideReason::Suitability],
        suitability_detail: Some("knows the case".into()),
        note: Some(note.to_owned()).filter(|note| !note.is_empty()),
        ..ChoiceReasons::default()
    }
}

/// So many days after 1 March 2026, 09:00 UTC.
fn at(day: i64) -> DateTime<Utc> {
    "2026-03-01T09:00:00Z".parse::<DateTime<Utc>>().expect("an instant") + TimeDelta::days(day)
}

fn now() -> DateTime<Utc> {
    at(200)
}

fn nth_number(index: u8) -> PrisonerNumber {
    format!("A{index:04}BC").parse().expect("a prisoner number")
}

fn share(tenths: u8) -> WorkingPattern {
    (f64::from(tenths) / 10.0).try_into().expect("a working pattern")
}
