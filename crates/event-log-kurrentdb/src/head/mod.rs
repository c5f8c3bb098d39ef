//! Finding the log's end (head).
//!
//! There are two strategies. [Forward](self::forward) reads on from the last event that this
//! process knows; it is fast where few events have come since. [Backward](self::backward) reads
//! from the end; it is the only way where no event is known, and the server says nothing while it
//! passes over what others have written.
//!
//! Either may have to pass over all that others have written, and some callers, such as health
//! probes, wait no longer than two seconds. So a search is a task of its own, which goes on when
//! nothing waits for it any more: the next search knows what it has passed over, and a client that
//! has lost its node is replaced meanwhile.

mod backward;
mod forward;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use event_log::{LogError, lock};

use crate::{
    client::CallError,
    retries::flatten_join,
    store::{Store, log_error},
};

/// The last search that was asked for. One search runs at a time; all callers that come meanwhile
/// share the next one.
pub(crate) type SharedHeadSearch = Mutex<Option<HeadSearch>>;

pub(crate) struct HeadSearch {
    /// Whether it is too late to share this search: its answer may be older than the question.
    has_begun: Arc<AtomicBool>,
    head: Shared<BoxFuture<'static, Result<u64, CallError>>>,
}

impl Store {
    /// The position of the log's last event, 0 where there is none.
    pub(crate) async fn head(self: &Arc<Self>) -> Result<u64, LogError> {
        let head = {
            let mut last = lock(&self.head_search);
            let waiting = last.take_if(|search| !search.has_begun.load(Ordering::SeqCst));
            let search = waiting.unwrap_or_else(|| self.search_after(last.take()));
            last.insert(search).head.clone()
        };
        head.await.map_err(log_error)
    }

    /// Starts a search that begins when the one before it has ended.
    fn search_after(self: &Arc<Self>, before: Option<HeadSearch>) -> HeadSearch {
        let (store, has_begun) = (Arc::clone(self), Arc::<AtomicBool>::default());
        let begins = Arc::clone(&has_begun);
        let searching = tokio::spawn(async move {
            if let Some(before) = before {
                // Its own callers get its result.
                let _ = before.head.await;
            }
            begins.store(true, Ordering::SeqCst);
            store.find_head().await
        });
        let ends = Arc::clone(&has_begun);
        let head = searching.map(move |head| {
            // Needed where the search's runtime has ended before the search could begin.
            ends.store(true, Ordering::SeqCst);
            flatten_join(head)
        });
        HeadSearch { has_begun, head: head.boxed().shared() }
    }

    async fn find_head(self: &Arc<Self>) -> Result<u64, CallError> {
        if let Some(head) = self.forward().await? {
            return Ok(head);
        }
        // Any event of the ledger that this process meets meanwhile may make the way forward short.
        tokio::select! {
            head = self.backward() => head,
            head = self.forward_from_later() => head,
        }
    }
}
