//! The start of a command service: the time until its policies have read the log to its end, and
//! with that until the service is ready.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use command::{Clock, Service, ServiceSettings, policies};
use event_log::SharedLog;
use tokio::{sync::oneshot, time::sleep};

/// The pause between two looks at the policies.
const LOOK: Duration = Duration::from_millis(5);

/// The times of two starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartTimes {
    /// The first reads the whole log, and leaves a snapshot.
    pub(super) from_log: Duration,
    /// The second begins with the snapshot.
    pub(super) from_snapshot: Duration,
}

/// Measures both starts on a log that has no snapshot, and on which the policies have nothing to
/// do.
///
/// # Errors
/// The policies end, or the first start leaves no snapshot.
pub(super) async fn measure_starts(log: &SharedLog) -> anyhow::Result<StartTimes> {
    let from_log = start(log).await?;
    if log.load_snapshot(policies::SNAPSHOT).await.context("look for the snapshot")?.is_none() {
        bail!("the policies left no snapshot");
    }
    Ok(StartTimes { from_log, from_snapshot: start(log).await? })
}

/// Starts the policies, and stops them when they have read the log to its end.
async fn start(log: &SharedLog) -> anyhow::Result<Duration> {
    let settings = ServiceSettings {
        clock: Clock::system(),
        recommendation_policy: domain::prisoner::RecommendationPolicy::default(),
        local_user: "BENCH".parse().context("a username")?,
    };
    let started = Instant::now();
    let service = Service::new(log.clone(), settings);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = tokio::spawn(policies::run(service.clone(), async { drop(stopped.await) }));
    while !service.is_caught_up() {
        tokio::select! {
            ended = &mut running => {
                ended.context("run the policies")?;
                bail!("the policies ended by themselves");
            }
            () = sleep(LOOK) => {}
        }
    }
    let taken = started.elapsed();
    drop(stop);
    running.await.context("stop the policies")?;
    Ok(taken)
}
