//! Work that takes long, on threads that may block.

/// Runs work that would keep the threads that serve requests busy for too long.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down drops its tasks, and it does not come back here.
            Err(_) => std::future::pending().await,
        },
    }
}
