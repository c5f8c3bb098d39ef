//! Decisions by the rules of `domain`: the events of a command on a stream, and their times.

use chrono::{DateTime, Utc};
use domain::{
    Refusal,
    nomis_contacts::{self, NomisContactEvent},
    prison::{self, PrisonEvent},
    prisoner::{self, PrisonerEvent},
};
use event_log::history::StreamHistory as _;

use super::{CachedPrison, Service};
use crate::{request::RequestTimes, streams::CachedStream};

/// The events that `domain` decided on, and the times of the decision.
pub(super) struct DecidedEvents<E> {
    pub(super) events: Vec<E>,
    pub(super) now: DateTime<Utc>,
    pub(super) effective_at: DateTime<Utc>,
    /// The revision of the entry that says the same already; the events are then not recorded.
    pub(super) same_fact: Option<u64>,
}

impl Service {
    /// Decides a command on a case, with its prison's roster if [`Self::roster_for`] has one.
    pub(super) fn decide_on_case(
        &self,
        case: &prisoner::History,
        roster: Option<&CachedPrison>,
        command: &prisoner::Command,
        times: RequestTimes,
    ) -> Result<DecidedEvents<PrisonerEvent>, Refusal> {
        let roster = roster.map(CachedStream::read);
        let roster_recorded_at = roster.as_ref().and_then(|roster| roster.history().last_recorded_at());
        let now = self.time_of_decision([case.last_recorded_at(), roster_recorded_at, times.caused_at]);
        let effective_at = times.effective_at.unwrap_or(now);
        let context = prisoner::Context {
            now,
            effective_at,
            prison: roster.as_ref().map(|roster| roster.history()),
            recommendation_policy: self.inner.settings.recommendation_policy,
        };
        let events = prisoner::decide(case, command, &context)?;
        let same_fact = match &events[..] {
            [event] => prisoner::find_same_fact(case, event, effective_at),
            _ => None,
        };
        Ok(DecidedEvents { events, now, effective_at, same_fact })
    }

    pub(super) fn decide_on_prison(
        &self,
        prison: &prison::History,
        command: &prison::Command,
        times: RequestTimes,
    ) -> Result<DecidedEvents<PrisonEvent>, Refusal> {
        let now = self.time_of_decision([prison.last_recorded_at(), times.caused_at, None]);
        let effective_at = times.effective_at.unwrap_or(now);
        Ok(DecidedEvents {
            events: prison::decide(prison, command, &prison::Context { now, effective_at })?,
            now,
            effective_at,
            same_fact: None,
        })
    }

    pub(super) fn decide_on_contacts(
        &self,
        contacts: &nomis_contacts::History,
        command: &nomis_contacts::Command,
        times: RequestTimes,
    ) -> Result<DecidedEvents<NomisContactEvent>, Refusal> {
        let now = self.time_of_decision([contacts.last_recorded_at(), times.caused_at, None]);
        let effective_at = times.effective_at.unwrap_or(now);
        let context = nomis_contacts::Context { now, effective_at };
        Ok(DecidedEvents {
            events: nomis_contacts::decide(contacts, command, &context)?,
            now,
            effective_at,
            same_fact: None,
        })
    }

    /// The time of a decision: this clock's, or the latest that the ledger has recorded, where
    /// another server's clock is ahead of this one.
    pub(crate) fn time_of_decision(&self, recorded_at: [Option<DateTime<Utc>>; 3]) -> DateTime<Utc> {
        recorded_at.into_iter().flatten().fold(self.inner.settings.clock.now(), Ord::max)
    }
}
