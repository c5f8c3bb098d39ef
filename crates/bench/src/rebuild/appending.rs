//! The rate of appends alone, and beside a rebuild.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use domain::{Stream, identifier::CommandId};
use event_log::{ExpectedRevision, SharedLog};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    measure::{UNUSED_NUMBER, new_event, number},
    program,
    progress::in_stage,
};

/// The number of callers that append at a time.
const CALLERS: u64 = 64;

/// Rates of durable appends, in appends a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appends {
    pub(super) alone: f64,
    pub(super) during: f64,
}

/// Measures appends for a while, then from the start of a rebuild to its end.
pub(super) async fn measure_appends(log: &SharedLog, data_dir: &Path, duration: Duration) -> anyhow::Result<Appends> {
    let next = Arc::new(AtomicU64::new(UNUSED_NUMBER));
    let waiting = async {
        tokio::time::sleep(duration).await;
        Ok(())
    };
    let (alone, ()) = in_stage("appending", while_it_lasts(log, &next, waiting)).await?;
    let rebuild = program::run(&["projections", "rebuild"], data_dir);
    let (during, _) = while_it_lasts(log, &next, rebuild).await?;
    Ok(Appends { alone, during })
}

/// Measures the rate of appends from the start of `work` to its end.
async fn while_it_lasts<T>(
    log: &SharedLog,
    next: &Arc<AtomicU64>,
    something: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(f64, T)> {
    let done = Arc::new(AtomicBool::new(false));
    // The task must end when the caller gives up.
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (log, next, done) = (log.clone(), Arc::clone(next), Arc::clone(&done));
        callers.spawn(async move {
            let mut appended = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let stream = Stream::Prisoner(number(next.fetch_add(1, Ordering::Relaxed)));
                let events = vec![new_event(&stream, 0, CommandId(Uuid::new_v4()))];
                log.append(&stream, ExpectedRevision::NoStream, events).await.context("append")?;
                appended += 1;
            }
            anyhow::Ok(appended)
        });
    }
    let started = Instant::now();
    let outcome = something.await;
    let taken = started.elapsed();
    done.store(true, Ordering::Relaxed);
    let mut appended = 0;
    while let Some(caller) = callers.join_next().await {
        appended += caller.context("wait for who appends")??;
    }
    Ok((appended as f64 / taken.as_secs_f64(), outcome?))
}
