//! Followers: the pages that they read on a KurrentDB server.
//!
//! Followers are woken by the one subscription of [`KurrentWakeups`]. A follower that finds events
//! which the subscription did not announce has it replaced.

use std::sync::Arc;

use futures::stream::BoxStream;

use event_log::{FollowerItem, LogError, LogPage, PageNext, Pages};

use crate::{paging::PageReader, store::Store, wakeups::KurrentWakeups};

struct KurrentPages {
    store: Arc<Store>,
    wakeups: Arc<KurrentWakeups>,
    reader: PageReader,
}

/// Follows the log after a position.
pub(crate) fn follow(
    store: Arc<Store>,
    wakeups: Arc<KurrentWakeups>,
    after: u64,
) -> BoxStream<'static, Result<FollowerItem, LogError>> {
    let wake_ups = wakeups.subscribe();
    let pages = KurrentPages { store, wakeups, reader: PageReader::following(after) };
    event_log::follow(pages, wake_ups, after)
}

impl Pages for KurrentPages {
    async fn page_after(&mut self, position: u64, limit: usize) -> Result<LogPage, LogError> {
        let page = self.store.page(position, limit, &mut self.reader).await?;
        if matches!(page.next, PageNext::LogEnd) {
            self.wakeups.listen();
        }
        Ok(page)
    }

    async fn check_start(&mut self, position: u64) -> Result<(), LogError> {
        self.store.check_gap(position).await
    }

    /// A log that was put back from a backup would otherwise be taken for one that is quiet.
    async fn check_end(&mut self, position: u64) -> Result<(), LogError> {
        let head = self.store.head().await?;
        if head < position {
            return Err(LogError::Damaged {
                position,
                what: format!("the log ends at position {head}, before what was read from it earlier"),
            });
        }
        Ok(())
    }

    fn found_unannounced(&mut self, position: u64) {
        self.wakeups.report_found(position);
    }
}
