//! Policies (process managers): commands that follow from events without a caller. The numbers of
//! rules are those of `docs/domain.md`.
//!
//! | policy | obligation | command |
//! |---|---|---|
//! | an inactive POM holds no cases (rule 7) | each role that such a POM still has | `EndPomRole` |
//! | a merge is completed (rule 10) | each retired number without a takeover | `CompleteMerge` |
//! | no allocation is earlier than the go-live date (rule 1) | each prison with a corrected date | none: it reports |
//!
//! The policies follow the log and keep an index of possible obligations (`obligations`), which is
//! saved now and then (`snapshots`). The index is a hint; a policy reads the streams up to the end
//! of the log before it acts. The ids of its commands are derived from the event that caused them,
//! so that running twice, from the start, or on two servers records nothing twice. A policy that
//! fails is tried again, ever more slowly, and never given up.
//!
//! To add a policy: a variant of `Obligation`, the events that raise and settle it in
//! `obligations`, and a file here that discharges it.

mod go_live;
mod inactive_pom;
mod merge_completion;
mod snapshots;

use std::{collections::HashSet, time::Duration};

use domain::{Stream, event::RecordedBy, prisoner::PrisonerEventType};
use event_log::{FollowerItem, LogError, RecordedEvent, decode};
use futures::{FutureExt as _, StreamExt, TryStreamExt, future::BoxFuture, stream, stream::FuturesUnordered};
use tokio::{sync::Semaphore, time::sleep};

use crate::{CommandError, Service, obligations::Obligation};

pub use crate::obligations::SNAPSHOT;

/// Most obligations discharged at a time: each waits for several answers of the event store, a POM
/// may have a thousand cases, and callers' commands go on beside them.
const DISCHARGES_MAX: usize = 64;

/// Most cases loaded at a time to find their former holders.
const LOOK_UPS_MAX: usize = 64;

/// The pause after a failure, doubled with each further one …
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this: the policies notice within half a minute that an outage has ended.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest pause before the log is followed again: until then the service is not ready.
const FOLLOW_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The policies as the recorder of their events.
#[must_use]
pub fn recorded_by() -> RecordedBy {
    RecordedBy {
        username: Some("LEDGER_POLICY".parse().expect("a username")),
        client: "policy".to_owned(),
        auth_source: None,
    }
}

/// Follows the log and discharges obligations, until `shutdown`.
///
/// No policy acts before the log has been read to its end, as a later event may settle what an
/// earlier one raised.
pub fn run(service: Service, shutdown: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
    async move {
        let _follower = service.obligations().guard_follower();
        tokio::select! {
            () = follow(&service) => {}
            () = discharge_all(&service) => {}
            () = snapshots::keep_saved(&service) => {}
            () = shutdown => {}
        }
        snapshots::save_at_end(&service).await;
    }
    .boxed()
}

async fn follow(service: &Service) {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let error = match prepare(service).await {
            Ok(()) => follow_until_error(service, &mut pause).await,
            Err(error) => error,
        };
        service.obligations().mark_behind();
        report(&error, "policies stopped following the log and will start again");
        sleep(pause).await;
        pause = (pause * 2).min(FOLLOW_PAUSE_MAX);
    }
}

/// Refuses a log of an earlier version, takes the snapshot, and then learns the keys up to the
/// log's end, so that the follower misses none.
async fn prepare(service: &Service) -> Result<(), CommandError> {
    service.refuse_older_log().await?;
    snapshots::restore(service).await?;
    Ok(service.log().learn_keys().await?)
}

/// Follows the log from where the index ends. Resets the pause after a failure whenever it gets on.
async fn follow_until_error(service: &Service, pause: &mut Duration) -> CommandError {
    let index = service.obligations();
    let mut pages = service.log().follow_all(index.position());
    loop {
        let result = match pages.next().await {
            Some(Ok(FollowerItem::Events(events))) => observe(service, &events).await,
            Some(Ok(FollowerItem::CaughtUp { position })) => {
                index.mark_caught_up(position);
                Ok(())
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(LogError::Unavailable("the follower of the log ended".into()).into()),
        };
        match result {
            Ok(()) => *pause = RETRY_PAUSE_MIN,
            Err(error) => return error,
        }
    }
}

async fn observe(service: &Service, events: &[RecordedEvent]) -> Result<(), CommandError> {
    let index = service.obligations();
    let mut cases_in_doubt = HashSet::new();
    for recorded in events {
        let case_event = match &recorded.stream {
            Stream::Prisoner(_) => PrisonerEventType::from_name(&recorded.type_name),
            Stream::Prison(_) | Stream::Contacts(_) => None,
        };
        // A void may be of the end of a role. A backdated end, or a tier with a prison, may be the
        // reason for which a later merge takes a role over.
        if let Stream::Prisoner(number) = &recorded.stream
            && (case_event == Some(PrisonerEventType::EntryVoided) || index.has_merged_roles(number))
        {
            cases_in_doubt.insert(number.clone());
        }
        if case_event.is_some_and(|event_type| !event_type.may_change_roles()) {
            continue;
        }
        let stored = decode(recorded)?;
        index.observe(&stored);
        if let Stream::Prison(code) = &stored.stream {
            service.observe_prison(code, &stored)?;
        }
    }
    // Every POM whom an entry of such a case names may hold it again.
    stream::iter(cases_in_doubt)
        .map(|number| async move {
            let case = service.case_now(&number).await?;
            for entry in case.read().history().entries() {
                index.list_holders(&number, &entry.event, entry.effective_at);
            }
            Ok::<_, CommandError>(())
        })
        .buffer_unordered(LOOK_UPS_MAX)
        .try_collect::<()>()
        .await?;
    index.end_batch(events);
    service.count_key_collisions();
    Ok(())
}

async fn discharge_all(service: &Service) {
    let index = service.obligations();
    let attempts = Semaphore::new(DISCHARGES_MAX);
    let mut running = FuturesUnordered::new();
    loop {
        for obligation in index.take() {
            running.push(discharge_until_done(service, obligation, &attempts));
        }
        tokio::select! {
            Some(obligation) = running.next(), if !running.is_empty() => {
                index.finish(&obligation);
            }
            () = index.wait_for_more() => {}
        }
    }
}

/// Tries until the obligation is discharged, and gives it back.
async fn discharge_until_done(service: &Service, obligation: Obligation, attempts: &Semaphore) -> Obligation {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let attempt = async {
            let _permit = attempts.acquire().await;
            match &obligation {
                Obligation::EndOfRole { prison, staff_id, number } => {
                    inactive_pom::discharge(service, prison, *staff_id, number).await
                }
                Obligation::Merge { removed } => merge_completion::discharge(service, removed).await,
                Obligation::GoLiveReport { prison } => go_live::discharge(service, prison).await,
            }
        };
        match attempt.await {
            Ok(()) => return obligation,
            Err(error) => report(&error, &format!("a policy could not discharge {obligation} and will try again")),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Logs an error without its text, which may name a case if it is the sentence of a refusal.
fn report(error: &CommandError, what: &str) {
    let kind = error.kind();
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error {
        CommandError::Unavailable(_) | CommandError::Contended { .. } | CommandError::NotCaughtUp => {
            tracing::warn!(kind, cause, "{what}");
        }
        CommandError::Refused(refusal) => tracing::error!(kind, code = refusal.rule.code(), "{what}"),
        CommandError::RevisionMismatch { .. } | CommandError::KeyReused { .. } | CommandError::Broken(_) => {
            tracing::error!(kind, cause, "{what}");
        }
    }
}
