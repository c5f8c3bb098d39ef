//! The parts of an orderly end: signals, flags that tasks wait for, and workers that stop when
//! told.

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

/// Counts the SIGINTs and SIGTERMs that come from now on.
pub(super) fn count_signals() -> anyhow::Result<watch::Receiver<u32>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let (counter, count) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = counter.closed() => return,
            }
            counter.send_modify(|count| *count += 1);
        }
    });
    Ok(count)
}

/// Waits until so many signals have come.
pub(super) async fn wait_for_signals(mut signals: watch::Receiver<u32>, wanted: u32) {
    if signals.wait_for(|count| *count >= wanted).await.is_err() {
        // The counting task is gone, which happens only when the program ends.
        std::future::pending().await
    }
}

/// Waits until the sender says `true` or is gone.
pub(super) fn wait_until_raised(sender: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut flag = sender.subscribe();
    async move { wait_for_flag(&mut flag).await }
}

/// Waits until the flag is raised or its sender gone.
pub(super) async fn wait_for_flag(flag: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which counts as raised.
    let _ = flag.wait_for(|raised| *raised).await;
}

/// A task that works beside the requests until it is told to stop. A worker that ends before that
/// is logged and shows in the health; the other parts of the program go on.
pub(super) struct Worker {
    watch: JoinHandle<anyhow::Result<()>>,
    failure: watch::Receiver<Option<String>>,
}

impl Worker {
    /// Starts a worker. `stop_working` must be the signal that tells `work` to stop.
    pub(super) fn start(
        name: &'static str,
        stop_working: &watch::Sender<bool>,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Self {
        let (report, failure) = watch::channel(None);
        let stopping = stop_working.subscribe();
        let work = tokio::spawn(work);
        let watch = tokio::spawn(async move {
            let ended = work.await.unwrap_or_else(|error| Err(error.into()));
            let ended = ended.with_context(|| format!("run the {name}"));
            if !*stopping.borrow() {
                let reason = match &ended {
                    Ok(()) => "it ended by itself".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                tracing::error!(worker = name, reason, "the {name} ended and will not work again: {reason}");
                report.send_replace(Some(reason));
            }
            ended
        });
        Self { watch, failure }
    }

    /// The reason, once the worker has ended before it was told to.
    pub(super) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.clone()
    }

    /// Waits for the end of the worker.
    pub(super) async fn join(self) -> anyhow::Result<()> {
        self.watch.await.unwrap_or_else(|error| Err(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_ends_before_it_is_told_to_has_failed() {
        let (stop_working, _) = watch::channel(false);
        let worker = Worker::start("policies", &stop_working, async { panic!("a mistake") });
        let mut failure = worker.failure();
        let reason = failure.wait_for(Option::is_some).await.expect("a reason").clone();
        assert!(reason.as_deref().is_some_and(|reason| reason.contains("a mistake")), "{reason:?}");
        assert!(worker.join().await.is_err());

        let stopped = wait_until_raised(&stop_working);
        let worker = Worker::start("policies", &stop_working, async {
            stopped.await;
            Ok(())
        });
        stop_working.send_replace(true);
        let failure = worker.failure();
        worker.join().await.expect("it did as told");
        assert_eq!(*failure.borrow(), None);
    }
}
