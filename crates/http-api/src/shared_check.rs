//! A check whose result many requests share.
//!
//! Probes need no token and have no limit, and a check asks Postgres. So requests that come while a
//! check runs, or shortly after it has ended, get its result: however many ask, one check of a kind
//! runs at a time.

use std::{sync::Mutex, time::Duration};

use event_log::lock;
use tokio::{sync::watch, time::Instant};

/// How long a result counts.
const RESULT_AGE_MAX: Duration = Duration::from_secs(1);

/// A check, with its latest run.
#[derive(Debug)]
pub(crate) struct SharedCheck<T> {
    age_max: Duration,
    latest: Mutex<Option<CheckRun<T>>>,
}

/// A run of a check: has the result and the time of its end, once there is one.
type CheckRun<T> = watch::Receiver<Option<(T, Instant)>>;

impl<T> Default for SharedCheck<T> {
    fn default() -> Self {
        Self { age_max: RESULT_AGE_MAX, latest: Mutex::default() }
    }
}

impl<T: Clone + Send + Sync + 'static> SharedCheck<T> {
    /// The result of the check that runs or has just ended, or else of a new one; `None` where that
    /// panicked. It runs in a task of its own, so a caller that gives up does not end it.
    pub(crate) async fn result<F>(&self, check: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut run = self.join_or_start(check);
        let ended = run.wait_for(Option::is_some).await.ok()?;
        ended.as_ref().map(|(result, _)| result.clone())
    }

    fn join_or_start<F>(&self, check: impl FnOnce() -> F) -> CheckRun<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut latest = lock(&self.latest);
        let counts = |run: &&CheckRun<T>| match &*run.borrow() {
            Some((_, ended_at)) => ended_at.elapsed() <= self.age_max,
            // A check that panicked gives no result any more.
            None => run.has_changed().is_ok(),
        };
        if let Some(run) = latest.as_ref().filter(counts) {
            return run.clone();
        }
        let (end, run) = watch::channel(None);
        let check = check();
        tokio::spawn(async move {
            let result = check.await;
            end.send_replace(Some((result, Instant::now())));
        });
        *latest = Some(run.clone());
        run
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// A check that counts its runs, and waits until it may end.
    struct CountedCheck {
        shared: SharedCheck<usize>,
        runs: Arc<AtomicUsize>,
        may_end: Arc<Semaphore>,
    }

    impl CountedCheck {
        fn with_age_max(age_max: Duration) -> Arc<Self> {
            let shared = SharedCheck { age_max, latest: Mutex::default() };
            Arc::new(Self { shared, runs: Arc::default(), may_end: Arc::new(Semaphore::new(0)) })
        }

        async fn ask(&self) -> Option<usize> {
            let (runs, may_end) = (Arc::clone(&self.runs), Arc::clone(&self.may_end));
            let check = || async move {
                let run = runs.fetch_add(1, Ordering::Relaxed) + 1;
                may_end.acquire().await.expect("an open semaphore").forget();
                run
            };
            self.shared.result(check).await
        }
    }

    #[tokio::test]
    async fn requests_share_a_check_while_it_runs_and_shortly_after() {
        let checked = CountedCheck::with_age_max(Duration::from_secs(600));
        checked.may_end.add_permits(1_000);
        assert_eq!(join_all((0..100).map(|_| checked.ask())).await, [Some(1); 100]);
        assert_eq!(checked.ask().await, Some(1));
        let checked = CountedCheck::with_age_max(Duration::ZERO);
        checked.may_end.add_permits(1_000);
        assert_eq!(join_all((0..100).map(|_| checked.ask())).await, [Some(1); 100]);
        assert_eq!(checked.ask().await, Some(2));
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_leaves_the_check_to_others() {
        let checked = CountedCheck::with_age_max(Duration::from_secs(600));
        let first = tokio::spawn({
            let checked = Arc::clone(&checked);
            async move { checked.ask().await }
        });
        while checked.runs.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.expect_err("it was given up").is_cancelled());
        // No request waits for it now, and it ends all the same.
        checked.may_end.add_permits(1);
        while checked.may_end.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        checked.may_end.add_permits(1);
        assert_eq!(checked.ask().await, Some(1));
    }

    #[tokio::test]
    async fn a_check_that_panicked_is_made_again() {
        let shared = SharedCheck::<u32>::default();
        let broken = async || if true { panic!("as asked") } else { 7 };
        assert_eq!(shared.result(broken).await, None);
        assert_eq!(shared.result(async || 7).await, Some(7));
    }
}
