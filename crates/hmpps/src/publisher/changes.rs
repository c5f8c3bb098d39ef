//! The messages that follow from a change: what is answered now and was not answered before.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Stream,
    identifier::{EventId, PrisonerNumber, StaffId},
    prisoner::{History, Period, PomRole, PrisonerEvent},
};
use event_log::{EventLog, LogError, RecordedEvent, stored_event::decode_metadata};
use uuid::Uuid;

use super::{
    answer::{CaseAnswer, KnownCases},
    message::{EventTrigger, MessageContent, MessageOrigin, MessageType, OutgoingMessage, message},
};

/// Works out messages.
pub(super) struct Announcer<'a> {
    pub(super) log: &'a dyn EventLog,
    /// The URL under which the ledger answers, without a slash at its end.
    pub(super) base: &'a str,
}

impl Announcer<'_> {
    /// The messages of events, in their order, once the handovers of `day` were published.
    pub(super) async fn of_events(
        &self,
        events: &[RecordedEvent],
        day: NaiveDate,
    ) -> Result<Vec<OutgoingMessage>, LogError> {
        let numbers = events.iter().filter_map(|event| match &event.stream {
            Stream::Prisoner(number) => Some(number.clone()),
            Stream::Prison(_) | Stream::Contacts(_) => None,
        });
        let cases = KnownCases::read(self.log, numbers).await?;
        let mut messages = Vec::new();
        for event in events {
            if let Stream::Prisoner(number) = &event.stream
                && let Some(step) = Step::of(event, number, &cases)?
            {
                for number in cases.answered_by(number, step.origin.position) {
                    let change = Change {
                        before: cases.answer(&number, step.before, day),
                        after: cases.answer(&number, step.origin.position, day),
                        trigger: step.trigger,
                    };
                    messages.extend(change.messages(self.base, &number, &step.origin));
                }
            }
        }
        Ok(messages)
    }

    /// The messages of handover dates that have arrived since a day, of the cases of these numbers
    /// as the log has them up to a position.
    pub(super) async fn of_calendar(
        &self,
        numbers: &[PrisonerNumber],
        position: u64,
        (day, today): (NaiveDate, NaiveDate),
    ) -> Result<Vec<OutgoingMessage>, LogError> {
        let cases = KnownCases::read(self.log, numbers.iter().cloned()).await?;
        // With those that are merged later: by then the views have no periods of theirs.
        let numbers: BTreeSet<_> = numbers.iter().flat_map(|number| cases.answered_by(number, u64::MAX)).collect();
        let mut messages = Vec::new();
        for number in numbers {
            let change = Change {
                before: cases.answer(&number, position, day),
                after: cases.answer(&number, position, today),
                trigger: EventTrigger::User,
            };
            // No request has caused it, and a trace that follows from the number would tell it.
            let trace = Uuid::new_v4();
            let origin = MessageOrigin::new(position, trace, EventId(trace));
            messages.extend(change.responsibility().map(|announced| announced.message(self.base, &number, &origin)));
        }
        Ok(messages)
    }
}

/// The events that one command recorded under a number: they take effect together.
struct Step {
    /// The position before the first of them.
    before: u64,
    /// That of the last.
    origin: MessageOrigin,
    trigger: EventTrigger,
}

impl Step {
    /// The step that begins with an event; `None` where the event is a later one of its command.
    fn of(event: &RecordedEvent, number: &PrisonerNumber, cases: &KnownCases) -> Result<Option<Self>, LogError> {
        let entries = cases.history(number).map(History::entries).unwrap_or_default();
        let at = entries.partition_point(|entry| entry.position < event.position);
        let Some(first) = entries.get(at).filter(|first| first.position == event.position) else {
            let what = "an event that its stream does not have".to_owned();
            return Err(LogError::Damaged { position: event.position, what });
        };
        if at.checked_sub(1).is_some_and(|before| entries[before].command_id == first.command_id) {
            return Ok(None);
        }
        let of_command = entries[at..].iter().take_while(|entry| entry.command_id == first.command_id);
        let position = of_command.clone().last().map_or(first.position, |last| last.position);
        let events = || of_command.clone().map(|entry| &entry.event);
        // The case goes on under the survivor, whose part of the merge follows at once and is told.
        if events().any(|event| matches!(event, PrisonerEvent::PrisonerNumberRetired(_))) {
            return Ok(None);
        }
        let mut triggers = events().map(EventTrigger::of);
        Ok(Some(Self {
            before: first.position.saturating_sub(1),
            origin: MessageOrigin::new(position, decode_metadata(event)?.correlation_id, first.event_id),
            trigger: triggers.find(|trigger| *trigger != EventTrigger::User).unwrap_or(EventTrigger::User),
        }))
    }
}

/// The answers about a number before and after a step.
struct Change {
    before: Option<CaseAnswer>,
    after: Option<CaseAnswer>,
    trigger: EventTrigger,
}

impl Change {
    /// All messages of the change.
    fn messages(&self, base: &str, number: &PrisonerNumber, origin: &MessageOrigin) -> Vec<OutgoingMessage> {
        let found = [
            self.pom(MessageType::AllocationChanged, |period| period.state.primary_pom.as_ref()),
            self.pom(MessageType::CoworkingChanged, |period| period.state.coworking_pom.as_ref()),
            self.handover_dates(),
            self.responsibility_override(),
            self.responsibility(),
        ];
        let found = found.into_iter().flatten();
        found.map(|announced| announced.message(base, number, origin)).collect()
    }

    /// The present fact, and since when, where it is another than before. A case of which nothing
    /// is known has the fact's default.
    fn changed<T: PartialEq + Default>(&self, fact: impl Fn(&Period) -> T) -> Option<(T, DateTime<Utc>)> {
        let before = self.before.as_ref().map(|answer| fact(answer.now())).unwrap_or_default();
        let now = self.after.as_ref().map(|answer| fact(answer.now())).unwrap_or_default();
        // Where all that was known is void, what is void has never been.
        let answer = self.after.as_ref().or(self.before.as_ref())?;
        (now != before).then(|| (now, answer.since(fact)))
    }

    fn pom(&self, message_type: MessageType, role: impl Fn(&Period) -> Option<&PomRole>) -> Option<Announced> {
        let (staff_id, since) = self.changed(|period| role(period).map(|role| role.pom.staff_id))?;
        let before = self.before.as_ref().and_then(|answer| role(answer.now()));
        let after = self.after.as_ref().and_then(|answer| role(answer.now()));
        let prison_id = after.or(before)?.prison.clone();
        let (staff_code, event_trigger) = (staff_id.map(StaffId::get), self.trigger);
        // A role may have been taken over in a merge, and is then older than the case.
        let occurred_at = after.map_or(since, |role| role.since);
        Some(Announced {
            message_type,
            content: MessageContent::Pom { staff_code, prison_id, event_trigger },
            occurred_at,
        })
    }

    fn handover_dates(&self) -> Option<Announced> {
        let (_, occurred_at) = self.changed(|period| {
            let plan = period.state.arrangements.handover_plan.as_ref();
            plan.map_or((None, None), |plan| (plan.start_date, plan.handover_date))
        })?;
        Some(Announced { message_type: MessageType::HandoverChanged, content: MessageContent::Handover, occurred_at })
    }

    fn responsibility_override(&self) -> Option<Announced> {
        let (decision, occurred_at) =
            self.changed(|period| period.state.arrangements.responsibility_override.clone())?;
        let responsible = decision.as_ref().map(|decision| decision.responsible);
        let reason = decision.map(|decision| decision.reason);
        let content = MessageContent::Override { responsible, reason };
        Some(Announced { message_type: MessageType::OverrideChanged, content, occurred_at })
    }

    fn responsibility(&self) -> Option<Announced> {
        let (now, occurred_at) = self.changed(|period| Some(period.responsibility))?;
        let content = MessageContent::Responsibility {
            phase: now.map(|now| now.phase),
            responsible: now.and_then(|now| now.responsible),
            supporting: now.and_then(|now| now.supporting),
        };
        Some(Announced { message_type: MessageType::ResponsibilityChanged, content, occurred_at })
    }
}

/// A fact to be told.
struct Announced {
    message_type: MessageType,
    content: MessageContent,
    /// Since when it holds.
    occurred_at: DateTime<Utc>,
}

impl Announced {
    fn message(&self, base: &str, number: &PrisonerNumber, origin: &MessageOrigin) -> OutgoingMessage {
        message(base, number, (self.message_type, &self.content), self.occurred_at, origin)
    }
}
