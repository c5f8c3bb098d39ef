//! Publishes what the ledger decided, as domain events on a topic of SNS.
//!
//! The log is the outbox: the publisher follows it from a durable checkpoint, works out what each
//! command has changed in the answers, sends the messages, and then moves the checkpoint. One
//! publisher is active, the others stand by.
//!
//! | module | knows |
//! |---|---|
//! | `answer` | what is answered about a person, as of any position |
//! | `changes` | the messages that follow from two answers, and from the calendar |
//! | `message` | the exact members of each message |
//! | `topic` | SNS |
//! | `sending` | the order and the waits: nothing is skipped |
//! | `publication` | the checkpoint, and which publisher may move it |
//!
//! Promises: a message goes out only when all views that answer questions include its position;
//! messages about one person go out one after the other; the checkpoint is moved after the messages
//! are sent, so that a crash doubles messages and loses none.

mod answer;
mod changes;
mod message;
mod publication;
mod sending;
mod topic;

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use chrono::{NaiveDate, TimeDelta};
use command::Clock;
use domain::{Stream, identifier::PrisonerNumber, london};
use event_log::{Bookmark, FollowerItem, LogError, RecordedEvent, SharedLog, error_chain};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use prometheus_client::registry::Registry;
use sqlx::PgPool;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use views::checkpoint;

pub use self::{message::MessageType, publication::Publication, topic::Topic};

use self::{changes::Announcer, sending::MessageCounts};
use crate::{background_follower::BackgroundFollower, sender_lock::SenderLock};

/// The name of the lock of the active publisher.
const LOCK_NAME: &str = "allocation-ledger publisher";

/// Events whose histories are read at once, and whose messages go out before the checkpoint moves.
const STEP_EVENTS_MAX: usize = 500;

/// How often the calendar is looked at.
const CALENDAR_INTERVAL: Duration = Duration::from_secs(1);

/// How long after midnight in London a day's handovers are published: by then the clocks of all
/// services agree on the day.
const DAY_MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Cases whose handovers are worked out at once.
const CASES_MAX: usize = 500;

/// The pause after a failure, doubled with each further one …
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a publisher is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublisherStatus {
    /// It has not begun.
    Starting,
    /// Another publishes.
    StandBy,
    /// It has published all up to this position.
    Publishing(u64),
    /// It goes no further for now, and why.
    Waiting(String),
}

/// The reason why a publisher starts again.
#[derive(Debug, thiserror::Error)]
pub enum PublisherError {
    /// The log cannot be read.
    #[error("read the event log")]
    Log(#[from] LogError),
    /// The database of the checkpoint is out of reach, or that of the views.
    #[error("reach the database of the views")]
    Database(#[from] sqlx::Error),
    /// The checkpoint is of another log.
    #[error(
        "the publisher has come to position {position} of another log: delete the row of integration.publication to begin \
         at the end of this one"
    )]
    OtherLog {
        /// The position of the checkpoint.
        position: u64,
    },
    /// Nothing was published yet, so there is no position up to which to send messages again.
    #[error("no publisher has begun yet: start `serve` with the topic, or in shadow mode")]
    NotBegun,
    /// Another publisher has taken over.
    #[error("another publisher has taken over")]
    Fenced,
}

impl PublisherError {
    /// The reason without its sources: what a store says is for the log, and `/health` is open.
    fn shown(&self) -> String {
        self.to_string()
    }
}

/// A publisher of domain events.
pub struct Publisher {
    log: SharedLog,
    /// Where the checkpoint is.
    database: PgPool,
    /// All views that questions are answered from.
    views: Vec<PgPool>,
    /// The URL under which the ledger answers, without a slash at its end.
    base: String,
    /// `None` in shadow mode.
    topic: Option<Topic>,
    clock: Clock,
    counts: MessageCounts,
    status: watch::Sender<PublisherStatus>,
}

impl Publisher {
    /// A publisher of the events of `log` to a topic; without one, in shadow mode: its checkpoint
    /// moves on, and nothing is sent. `views` are all that questions are answered from, first those
    /// of the projector; `base_url` is where consumers ask them.
    #[must_use]
    pub fn new(log: SharedLog, database: PgPool, views: Vec<PgPool>, base_url: &str, topic: Option<Topic>) -> Self {
        let base = base_url.trim_end_matches('/').to_owned();
        let status = watch::channel(PublisherStatus::Starting).0;
        Self { log, database, views, base, topic, clock: Clock::system(), counts: MessageCounts::default(), status }
    }

    /// How the publisher is, from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<PublisherStatus> {
        self.status.subscribe()
    }

    /// Adds the counts of messages to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.counts.register(registry);
    }

    /// Publishes until `stop`, whatever fails meanwhile.
    pub fn run(self, stop: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        async move {
            tokio::select! {
                () = stop => {}
                never = self.run_sessions() => match never {},
            }
        }
        .boxed()
    }

    /// Sends the messages of events after a position once more, up to the checkpoint: later ones
    /// are for the serving publisher to send. Answers how many messages went out.
    ///
    /// # Errors
    /// There is no checkpoint, or a store is out of reach. A topic that refuses is tried again.
    pub async fn publish_since(&self, position: u64) -> Result<u64, PublisherError> {
        let publication = Publication::read(&self.database).await?.ok_or(PublisherError::NotBegun)?;
        let mut pages = self.log.read_pages(position, publication.last.position);
        let mut sent = 0;
        while let Some(page) = pages.next().await {
            for events in page?.chunks(STEP_EVENTS_MAX) {
                // The waits that are noted are those of the serving publisher.
                sent += self.announce(events, london::date(self.clock.now()), None).await?;
            }
        }
        Ok(sent)
    }

    async fn run_sessions(&self) -> Infallible {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let Err(error) = self.session().await;
            if matches!(*self.status.borrow(), PublisherStatus::Publishing(_)) {
                pause = RETRY_PAUSE_MIN;
            }
            let reason = error_chain(&error);
            tracing::warn!(reason, "the publisher tries again: {reason}");
            self.status.send_replace(PublisherStatus::Waiting(error.shown()));
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Waits for the lock and publishes for as long as it holds.
    async fn session(&self) -> Result<Infallible, PublisherError> {
        let stand_by = || {
            self.status.send_replace(PublisherStatus::StandBy);
        };
        let mut lock = SenderLock::take(&self.database, LOCK_NAME, stand_by).await?;
        tokio::select! {
            biased;
            lost = lock.until_lost() => Err(lost.into()),
            failed = self.follow() => failed,
        }
    }

    async fn follow(&self) -> Result<Infallible, PublisherError> {
        let mut publication = self.take_over().await?;
        let Err(error) = self.publish_from(&mut publication).await;
        // The failure counts. That it cannot be noted as well is no news.
        let _ = publication.note_wait(&self.database, Some(&error.shown())).await;
        Err(error)
    }

    /// Publishes what the log has after the checkpoint, and what comes.
    async fn publish_from(&self, publication: &mut Publication) -> Result<Infallible, PublisherError> {
        let Bookmark { position, .. } = publication.last;
        if !publication.last.is_in(&self.log).await? {
            return Err(PublisherError::OtherLog { position });
        }
        let is_shadow = self.topic.is_none();
        tracing::info!(position, is_shadow, "publishing from position {position}");
        let mut follower = BackgroundFollower::start(&self.log, position);
        // A publisher that has waited, this one or one before, does so until something goes on.
        if let Some(reason) = &publication.waits_for {
            self.status.send_replace(PublisherStatus::Waiting(reason.clone()));
        } else if !self.is_waiting() {
            self.status.send_replace(PublisherStatus::Publishing(position));
        }
        loop {
            self.publish_handovers(publication).await?;
            let Ok(piece) = timeout(CALENDAR_INTERVAL, follower.next()).await else { continue };
            match piece? {
                FollowerItem::Events(events) => {
                    for events in events.chunks(STEP_EVENTS_MAX) {
                        self.publish_handovers(publication).await?;
                        self.publish(events, publication).await?;
                    }
                }
                FollowerItem::CaughtUp { .. } => self.rest(publication).await?,
            }
        }
    }

    /// The checkpoint, made at the log's end where there is none.
    async fn take_over(&self) -> Result<Publication, PublisherError> {
        let is_shadow = self.topic.is_none();
        if let Some(publication) = Publication::take_over(&self.database, is_shadow).await? {
            return Ok(publication);
        }
        let head = self.log.head().await?;
        let last = self.log.event_at(head).await?.as_ref().map_or(Bookmark::START, Bookmark::from);
        if Publication::begin(&self.database, last, self.day()).await? {
            tracing::info!(
                position = last.position,
                "no publisher has begun before: messages go out for what is recorded after position {}",
                last.position
            );
        }
        Publication::take_over(&self.database, is_shadow).await?.ok_or(PublisherError::NotBegun)
    }

    /// The day in London that has begun everywhere.
    fn day(&self) -> NaiveDate {
        london::date(self.clock.now() - DAY_MARGIN)
    }

    async fn publish(&self, events: &[RecordedEvent], publication: &mut Publication) -> Result<(), PublisherError> {
        let Some(last) = events.last() else { return Ok(()) };
        let day = publication.handover_day;
        self.announce(events, day, Some(publication)).await?;
        self.advance(publication, last.into(), day).await
    }

    /// Sends the messages of events, and notes waits in a publication. Answers how many there are.
    async fn announce(
        &self,
        events: &[RecordedEvent],
        day: NaiveDate,
        publication: Option<&Publication>,
    ) -> Result<u64, PublisherError> {
        let messages = self.announcer().of_events(events, day).await?;
        let count = messages.len() as u64;
        self.send(messages, publication).await?;
        Ok(count)
    }

    /// Publishes the handovers of the days that have begun since the last ones, once.
    async fn publish_handovers(&self, publication: &mut Publication) -> Result<(), PublisherError> {
        let (day, today) = (publication.handover_day, self.day());
        if today <= day {
            return Ok(());
        }
        let position = publication.last.position;
        if self.topic.is_some() {
            self.wait_for_views(position, Some(publication)).await?;
        }
        let numbers = self.cases_of_days(position, (day, today)).await?;
        for numbers in numbers.chunks(CASES_MAX) {
            let messages = self.announcer().of_calendar(numbers, position, (day, today)).await?;
            self.send(messages, Some(publication)).await?;
        }
        tracing::info!(%today, "the handovers of the days up to {today} are published");
        let last = publication.last;
        self.advance(publication, last, today).await
    }

    /// The cases that may have, by the log up to a position, a period that begins on a day after
    /// one, up to another. The views are further, so a later entry may have removed the period from
    /// them: all cases with later entries are among these, and those that the views leave out.
    async fn cases_of_days(
        &self,
        position: u64,
        (after, to): (NaiveDate, NaiveDate),
    ) -> Result<Vec<PrisonerNumber>, PublisherError> {
        const SQL: &str = "SELECT prisoner_number FROM case_period WHERE valid_from >= $1 AND valid_from <= $2
            UNION SELECT prisoner_number FROM stream_aside WHERE prisoner_number IS NOT NULL";
        let first = after.succ_opt().map(london::midnight);
        let views = self.views.first().unwrap_or(&self.database);
        let texts: Vec<String> =
            sqlx::query_scalar(SQL).bind(first).bind(london::midnight(to)).fetch_all(views).await?;
        let numbers = texts.iter().map(|text| text.parse::<PrisonerNumber>());
        let mut numbers: BTreeSet<PrisonerNumber> =
            numbers.collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(error.into()))?;
        // Read after the rows: they are no further.
        let views_at = checkpoint::read(views).await?.position;
        let mut pages = self.log.read_pages(position, views_at);
        while let Some(page) = pages.next().await {
            numbers.extend(page?.into_iter().filter_map(|event| match event.stream {
                Stream::Prisoner(number) => Some(number),
                Stream::Prison(_) | Stream::Contacts(_) => None,
            }));
        }
        Ok(numbers.into_iter().collect())
    }

    async fn advance(
        &self,
        publication: &mut Publication,
        last: Bookmark,
        day: NaiveDate,
    ) -> Result<(), PublisherError> {
        if !publication.advance(&self.database, last, day).await? {
            return Err(PublisherError::Fenced);
        }
        self.status.send_replace(PublisherStatus::Publishing(last.position));
        Ok(())
    }

    /// Ends a wait where nothing is left to publish.
    async fn rest(&self, publication: &Publication) -> Result<(), PublisherError> {
        if self.is_waiting() {
            publication.note_wait(&self.database, None).await?;
            self.status.send_replace(PublisherStatus::Publishing(publication.last.position));
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        matches!(&*self.status.borrow(), PublisherStatus::Waiting(_))
    }

    fn announcer(&self) -> Announcer<'_> {
        Announcer { log: &*self.log, base: &self.base }
    }
}
