//! What follows from an event without anybody asking.
//!
//! | policy | what is owed | how it is discharged |
//! |---|---|---|
//! | a POM who is inactive holds no cases | each role that an inactive POM still has at that prison | [`domain::prisoner::Command::EndPomRole`] |
//! | a merge is completed | each retired number whose survivor does not have it yet | [`domain::prisoner::Command::CompleteMerge`] |
//!
//! The log is followed from its start. [`Index`] keeps what may be owed; it is a hint, and the streams as the log has
//! them are the authority when a debt is discharged. The ids of the commands are derived from the event that caused
//! them, so that running twice, from the start, or on two servers does nothing twice. A debt that cannot be
//! discharged is tried again, ever more slowly, and never dropped.
//!
//! To add a policy: a variant of [`Owed`], the events that raise and settle it in `index.rs`, a file that discharges it.

mod inactive_pom;
mod index;

use std::{collections::HashSet, future::Future, time::Duration};

use domain::{Stream, event::RecordedBy, identifier::Username};
use event_log::{Followed, LogError, RecordedEvent, decode};
use futures::{StreamExt, TryStreamExt, stream, stream::FuturesUnordered};
use tokio::{sync::Semaphore, time::sleep};

pub(crate) use self::index::{Index, Owed};
use crate::{Error, Service, operations::merge};

/// Most debts discharged at a time: a POM's cases take a moment, and callers' commands go on beside them.
const DISCHARGES_MAX: usize = 16;

/// Most cases loaded at a time to look up who held them, after an entry was voided.
const LOOK_UPS_MAX: usize = 64;

/// The pause after a failure, doubled with each further one …
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this: an outage that ends is noticed within half a minute.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest pause before the log is followed again: until then the service is not ready.
const FOLLOW_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Who records what a policy does.
pub(crate) fn recorded_by() -> RecordedBy {
    RecordedBy { username: "LEDGER_POLICY".parse::<Username>().expect("a username"), client: "policy".to_owned() }
}

/// Follows the log and discharges what is owed, until `shutdown`.
///
/// Nothing is discharged before the log has been read to its end, as what comes later may settle what came before.
pub async fn run(service: Service, shutdown: impl Future<Output = ()>) {
    let _following = service.index().follow();
    tokio::select! {
        () = follow(&service) => {}
        () = discharge_all(&service) => {}
        () = shutdown => {}
    }
}

async fn follow(service: &Service) {
    let index = service.index();
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let mut followed = service.log().follow_all(index.position());
        let error = loop {
            let seen = match followed.next().await {
                Some(Ok(Followed::Events(events))) => take_in(service, &events).await,
                Some(Ok(Followed::CaughtUp { position })) => {
                    index.caught_up(position);
                    Ok(())
                }
                Some(Err(error)) => Err(error.into()),
                None => Err(LogError::Unavailable("the follower of the log ended".into()).into()),
            };
            match seen {
                Ok(()) => pause = RETRY_PAUSE_MIN,
                Err(error) => break error,
            }
        };
        index.fell_behind();
        report(&error, "policies stopped following the log and will start again");
        sleep(pause).await;
        pause = (pause * 2).min(FOLLOW_PAUSE_MAX);
    }
}

async fn take_in(service: &Service, events: &[RecordedEvent]) -> Result<(), Error> {
    let index = service.index();
    let mut voided_in = HashSet::new();
    for recorded in events {
        if !Index::concerns(&recorded.type_name) && matches!(recorded.stream, Stream::Prisoner(_)) {
            continue;
        }
        let stored = decode(recorded)?;
        index.take_in(&stored);
        match &stored.stream {
            Stream::Prison(code) => service.observe_prison(code, &stored)?,
            Stream::Prisoner(number) if recorded.type_name == VOIDED => {
                voided_in.insert(number.clone());
            }
            Stream::Prisoner(_) => {}
        }
    }
    // What was voided may be the end of a role, so everybody who ever held such a case may hold it again.
    stream::iter(voided_in)
        .map(|number| async move {
            let case = service.case_now(&number).await?;
            for entry in case.known().history().entries() {
                index.may_hold(&number, &entry.event, entry.effective_at);
            }
            Ok::<_, Error>(())
        })
        .buffer_unordered(LOOK_UPS_MAX)
        .try_collect::<()>()
        .await?;
    if let Some(last) = events.last() {
        index.has_read(last.position);
    }
    Ok(())
}

/// The type of an event that voids an entry.
const VOIDED: &str = "EntryVoided";

async fn discharge_all(service: &Service) {
    let index = service.index();
    let attempts = Semaphore::new(DISCHARGES_MAX);
    let mut under_way = HashSet::new();
    let mut running = FuturesUnordered::new();
    loop {
        for owed in index.take_owed(&under_way) {
            under_way.insert(owed.clone());
            running.push(discharge_until_done(service, owed, &attempts));
        }
        tokio::select! {
            Some(done) = running.next(), if !running.is_empty() => {
                under_way.remove(&done);
            }
            () = index.owed_changed() => {}
        }
    }
}

async fn discharge_until_done(service: &Service, owed: Owed, attempts: &Semaphore) -> Owed {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let attempt = async {
            let _permit = attempts.acquire().await;
            match &owed {
                Owed::EndOfRole { prison, staff_id, number } => {
                    inactive_pom::discharge(service, prison, *staff_id, number).await
                }
                Owed::Merge { removed } => merge::discharge(service, removed).await,
            }
        };
        match attempt.await {
            Ok(()) => return owed,
            Err(error) => report(&error, &format!("a policy could not discharge {owed} and will try again")),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Says in the log what went wrong, and names no case: the sentence of a refusal may.
fn report(error: &Error, what: &str) {
    let kind = error.kind();
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error {
        Error::Unavailable(_) | Error::Contended { .. } | Error::NotCaughtUp => {
            tracing::warn!(kind, cause, "{what}");
        }
        Error::Refused(refusal) => tracing::error!(kind, code = refusal.code, "{what}"),
        Error::RevisionMismatch { .. } | Error::KeyReused { .. } | Error::Broken(_) => {
            tracing::error!(kind, cause, "{what}");
        }
    }
}

/// Whether a refusal says that what a policy wants to end has ended already.
fn is_settled(code: &str) -> bool {
    matches!(code, "pom-not-holder" | "prisoner-number-retired")
}
