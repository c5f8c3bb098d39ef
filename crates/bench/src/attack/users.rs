//! The users: they record and ask at a steady pace, and count how long each answer takes.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::future::{join_all, try_join_all};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    http::{Connection, tier_request},
    measure::number,
};

/// The numbers of users that record, and that ask.
const WRITERS: u64 = 4;
const READERS: u64 = 4;

/// The pause between two requests of a user.
const PACE: Duration = Duration::from_millis(20);

/// The number of cases that users ask about, enough for a page of events to be long.
const CASES: u64 = 2_000;

/// The number of connections that record these cases.
const PREPARING: u64 = 16;

/// The cases that one user records in one measurement are among so many.
const NUMBERS_OF_USER: u64 = 1_000_000;

/// The measurements of all users.
#[derive(Default)]
pub(super) struct UserFigures {
    pub(super) commands: AnswerTimes,
    pub(super) questions: AnswerTimes,
    /// Commands that were answered as recorded.
    pub(super) acknowledged: u64,
    /// Requests that were refused, or not answered.
    pub(super) unanswered: u64,
}

/// The times that answers took.
#[derive(Default)]
pub(super) struct AnswerTimes(Vec<Duration>);

impl AnswerTimes {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which so many of a hundred answers came; zero where there are none.
    pub(super) fn percentile(&self, of_hundred: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * of_hundred / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }
}

/// Records the cases that users ask about, and returns how many events that makes.
pub(super) async fn prepare(address: SocketAddr) -> anyhow::Result<u64> {
    let record = async |worker: u64| {
        let mut connection = Connection::open(&address.to_string()).await?;
        for index in (worker..CASES).step_by(PREPARING as usize) {
            connection.ask(&tier_request(&address.to_string(), &number(index), "B2")).await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..PREPARING).map(record)).await?;
    Ok(CASES)
}

/// Has the users work for a time. Each `round` records cases of its own.
pub(super) async fn measure(address: SocketAddr, round: u64, duration: Duration) -> anyhow::Result<UserFigures> {
    // On a thread of their own, so that they do not wait for the attackers in this process. They
    // end when this future is dropped.
    let measuring = Arc::new(());
    let wanted = Arc::downgrade(&measuring);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let users = async {
            let writers = (0..WRITERS).map(|user| {
                let first = (round * WRITERS + user + 1) * NUMBERS_OF_USER;
                ask_steadily(address, duration, wanted.clone(), move |count| {
                    tier_request(&address.to_string(), &number(first + count), "B2")
                })
            });
            let readers = (0..READERS).map(|user| {
                ask_steadily(address, duration, wanted.clone(), move |count| {
                    let number = number((user + count * READERS) % CASES);
                    format!("GET /prisoners/{number}/responsibility HTTP/1.1\r\nHost: {address}\r\n\r\n")
                })
            });
            futures::join!(join_all(writers), join_all(readers))
        };
        runtime.map(|runtime| runtime.block_on(users))
    };
    let (writers, readers) =
        tokio::task::spawn_blocking(work).await.context("wait for the users")?.context("start the users")?;
    drop(measuring);
    let mut figures = UserFigures::default();
    for (times, unanswered) in writers {
        figures.acknowledged += times.len() as u64;
        figures.commands.0.extend(times);
        figures.unanswered += unanswered;
    }
    for (times, unanswered) in readers {
        figures.questions.0.extend(times);
        figures.unanswered += unanswered;
    }
    Ok(figures)
}

/// Sends a request each [`PACE`], while the measurement is wanted. Answers the times of those that
/// were answered as asked, and the number of the others.
async fn ask_steadily(
    address: SocketAddr,
    duration: Duration,
    wanted: Weak<()>,
    request: impl Fn(u64) -> String,
) -> (Vec<Duration>, u64) {
    let (mut times, mut unanswered) = (Vec::new(), 0);
    let (mut count, begun) = (0, Instant::now());
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let goes_on = || begun.elapsed() < duration && wanted.strong_count() > 0;
    while goes_on() {
        // A connection that broke is opened again, as a user's program does.
        let Ok(mut connection) = Connection::open(&address.to_string()).await else {
            unanswered += 1;
            pace.tick().await;
            continue;
        };
        while goes_on() {
            pace.tick().await;
            let asked = Instant::now();
            let answer = connection.ask(&request(count)).await;
            count += 1;
            if answer.is_err() {
                unanswered += 1;
                break;
            }
            times.push(asked.elapsed());
        }
    }
    (times, unanswered)
}
