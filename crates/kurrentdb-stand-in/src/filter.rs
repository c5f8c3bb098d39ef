//! Filters of `$all`, and how fast they search.
//!
//! Two streams are for tests alone. An event in [`SEARCH_RATE_STREAM`] sets how many events a
//! filter looks at in a second, as for a server with a large log or a slow disk.
//! [`SEARCHED_STREAM`] has one event, which says how many events filters have looked at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fancy_regex::Regex;
use tonic::Status;

use kurrentdb_protocol::{FilterBy, FilterExpression, FilterOptions, FilterWindow};

use crate::{
    log::Log,
    requests::not_given,
    streams::{AllStreams, EventRecord},
};

/// How many events a filter looks at for one page by default, and how many it finds at most.
const FILTER_WINDOW_DEFAULT: usize = 32;
const FILTER_FOUND_MAX: usize = 32;

/// The number in this stream's last event is how many events a filter looks at in a second. Without
/// an event there is no limit.
const SEARCH_RATE_STREAM: &str = "$stand-in-search-rate";

/// The number in this stream's one event is how many events filters have looked at.
pub const SEARCHED_STREAM: &str = "$stand-in-searched";
static SEARCHED: AtomicU64 = AtomicU64::new(0);

/// Selects the events of `$all` that are sent.
#[derive(Debug)]
pub struct ReadFilter {
    by_event_type: bool,
    pattern: NamePattern,
    /// How many events are looked at for one page.
    window: usize,
    pub checkpoint_interval: usize,
}

#[derive(Debug)]
enum NamePattern {
    Regex(Regex),
    Prefixes(Vec<String>),
}

impl ReadFilter {
    pub fn new(options: FilterOptions) -> Result<Self, Status> {
        let (by_event_type, expression) = match options.by.ok_or_else(|| not_given("what to filter by"))? {
            FilterBy::Stream(expression) => (false, expression),
            FilterBy::EventType(expression) => (true, expression),
        };
        let pattern = match expression {
            FilterExpression { regex, prefix } if regex.is_empty() => NamePattern::Prefixes(prefix),
            FilterExpression { regex, .. } => {
                NamePattern::Regex(Regex::new(&regex).map_err(|error| Status::invalid_argument(error.to_string()))?)
            }
        };
        let window = match options.window.ok_or_else(|| not_given("the window of a filter"))? {
            FilterWindow::Max(events) => events as usize,
            FilterWindow::Page(()) => FILTER_WINDOW_DEFAULT,
        };
        let checkpoint_interval = window * options.checkpoint_interval_multiplier as usize;
        if checkpoint_interval == 0 {
            return Err(Status::invalid_argument("a filter's window and checkpoint interval are not 0"));
        }
        Ok(Self { by_event_type, pattern, window, checkpoint_interval })
    }

    /// The events to look at for a page that begins at an index.
    pub fn page(&self, streams: &AllStreams, next: usize) -> Vec<Arc<EventRecord>> {
        let mut found = 0;
        let events = streams.all()[next..].iter().take(self.window).take_while(|event| {
            let is_room = found < FILTER_FOUND_MAX;
            found += usize::from(self.matches(event));
            is_room
        });
        events.cloned().collect()
    }

    pub fn matches(&self, event: &EventRecord) -> bool {
        let text = if self.by_event_type { &event.event_type } else { &event.stream };
        match &self.pattern {
            NamePattern::Regex(regex) => regex.is_match(text).unwrap_or(false),
            NamePattern::Prefixes(prefixes) => prefixes.iter().any(|prefix| text.starts_with(prefix)),
        }
    }
}

/// Spends the time that a filter needs for this many events, and counts them.
pub async fn charge_search(log: &Log, events: usize) {
    SEARCHED.fetch_add(events as u64, Ordering::Relaxed);
    let rate =
        log.read().events_of(SEARCH_RATE_STREAM).last().and_then(|event| serde_json::from_slice(&event.data).ok());
    if let Some(rate @ 1..) = rate {
        tokio::time::sleep(Duration::from_secs(events as u64) / rate).await;
    }
}

/// How many events filters have looked at.
pub fn searched_count() -> u64 {
    SEARCHED.load(Ordering::Relaxed)
}
