//! `replay`: the log as JSON lines, in its own order, all of it or what is asked for.
//!
//! The log is read in pages, a few ahead, while another thread makes lines and writes them: memory
//! grows neither with the log nor with a slow reader. A line is written only of an event that this
//! program can read; at the first that it cannot, all lines before have been written, and the error
//! names the position.
//!
//! `printer` makes the lines. `--raw` leaves the position out and takes everything else as
//! recorded: positions are the store's, while the order of the log, a stream and the revision in it
//! say which event it is in any store. So two stores that hold the same ledger give the same bytes,
//! and `--digest` the same digest of them.

mod printer;

use std::{
    io::{self, IsTerminal as _},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use command::Clock;
use domain::identifier::{PrisonCode, PrisonerNumber};
use event_log::{FollowerItem, KnownAt, LogError, RecordedEvent, SharedLog};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_api::instant::{DateOrInstant, parse_known_at};
use indicatif::{ProgressBar, ProgressDrawTarget};
use query::feed::{EventFilter, EventType};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use self::printer::{PrintProgress, Printer};
use super::read_recording::record_read;
use crate::{
    interrupt::{interruption, unless_interrupted},
    progress::{POSITIONS, style},
    shared_settings::{self, identifier},
    stores::LogStore,
};

/// Pages read ahead of the lines; a page has some thousands of events, so this is some ten
/// megabytes.
const PAGES_AHEAD: usize = 3;

/// How long an interrupted replay waits for the line that is being written. Its reader may have
/// stopped reading.
const LAST_LINE_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often the progress bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(200);

/// The settings of `replay`.
#[derive(Debug, Args)]
pub struct ReplaySettings {
    /// Begin with the event at this position
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["after", "since"])]
    from: Option<u64>,
    /// Resume: begin after the event at this position, the last that was seen
    #[arg(long, value_name = "POSITION", conflicts_with = "since")]
    after: Option<u64>,
    /// End with the event at this position
    #[arg(long, value_name = "POSITION", conflicts_with = "until")]
    to: Option<u64>,
    /// Begin with what was recorded at this instant, or when this London day began
    #[arg(long, value_name = "DATE|INSTANT")]
    since: Option<DateOrInstant>,
    /// End with what was recorded at this instant, or when this London day ended
    #[arg(long, value_name = "DATE|INSTANT", value_parser = parse_until, conflicts_with = "follow")]
    until: Option<DateTime<Utc>>,
    /// Only events of this type; may be given several times, or several with commas between them
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<EventType>,
    /// Only events of this prison's roster, and those of cases that name it
    #[arg(long, value_name = "PRISON", value_parser = identifier::<PrisonCode>)]
    prison: Option<PrisonCode>,
    /// Only events of this prisoner's case, those under numbers merged with it included
    #[arg(long, value_name = "A1234BC", value_parser = identifier::<PrisonerNumber>)]
    prisoner: Option<PrisonerNumber>,
    /// Go on with new events as they are recorded, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// The recorded bytes of data and metadata as they are, and no position: the same from every
    /// store of this ledger
    #[arg(long)]
    raw: bool,
    /// The SHA-256 of the bytes that --raw prints, in the place of them, with the position and the
    /// number of events; nothing where the log cannot be read to there
    #[arg(long, conflicts_with_all = ["raw", "from", "after", "since", "types", "prison", "prisoner", "follow"])]
    digest: bool,
    /// JSON lines, which is what it prints in any case; with --digest a JSON object
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Reads an instant, or a London date, which means its last instant.
fn parse_until(text: &str) -> Result<DateTime<Utc>, String> {
    match parse_known_at(text) {
        Ok(KnownAt::Instant(instant)) => Ok(instant),
        Ok(KnownAt::Position(_)) => Err("a position is given with --to".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Prints the events.
///
/// # Errors
/// There is no such position, the log is out of reach or damaged, or it was interrupted without
/// `--follow`.
pub async fn run(settings: &ReplaySettings) -> anyhow::Result<()> {
    let log = shared_settings::LogSettings { can_lack_naming_key: true, ..settings.stores.log.clone() };
    LogStore::with_existing(&log, async |store| replay(settings, store).await).await
}

async fn replay(settings: &ReplaySettings, store: &LogStore) -> anyhow::Result<()> {
    let log = &store.log;
    let progress = Arc::new(PrintProgress::default());
    let (pages, received) = mpsc::channel(PAGES_AHEAD);
    let (outcome, mut printed) = oneshot::channel();
    let work = async {
        let range = PositionRange::of(settings, log).await?;
        let wanted = build_filter(settings, log).await?;
        // A digest shows no event.
        if !settings.digest {
            let database = store.access_log(&settings.stores)?;
            record_read(database.as_ref(), "replay", wanted.shown(range.after, range.to)).await;
        }
        let print = Printer::new(wanted.clone(), settings.raw || settings.digest, Arc::clone(&progress));
        let digest = settings.digest.then_some((range.to.unwrap_or(range.head), settings.json));
        // A thread that the program's end does not wait for, as it may hang on a reader that has
        // stopped reading.
        std::thread::spawn(move || {
            // The receiver is gone only where the program is ending.
            let _ = outcome.send(match digest {
                Some((position, as_json)) => print.digest(received, position, as_json),
                None => print.all(received),
            });
        });
        let reading = read(log, &wanted, range, settings.follow, pages);
        let bar = bar(range, settings.follow);
        tokio::pin!(reading);
        let mut is_read = false;
        loop {
            tokio::select! {
                outcome = &mut printed => {
                    bar.finish_and_clear();
                    let lines = outcome.context("print the events")??;
                    return require_known_prison(settings, log, lines).await;
                }
                () = &mut reading, if !is_read => is_read = true,
                () = sleep(BAR_INTERVAL), if !bar.is_hidden() => {
                    bar.set_position(progress.position.load(Ordering::Relaxed).saturating_sub(range.after));
                }
            }
        }
    };
    let finished = unless_interrupted(work).await;
    progress.stop.store(true, Ordering::Relaxed);
    if finished?.is_some() {
        return Ok(());
    }
    // The printing has ended, or it hangs on a reader that has stopped reading.
    let _ = timeout(LAST_LINE_WAIT_MAX, printed).await;
    match progress.position.load(Ordering::Relaxed) {
        _ if settings.follow => Ok(()),
        _ if settings.digest => Err(interruption("no digest was made")),
        0 => Err(interruption("nothing was printed")),
        position => Err(interruption(&format!("printed up to position {position}; go on with --after {position}"))),
    }
}

/// The positions asked for: after one, up to and with another.
#[derive(Debug, Clone, Copy)]
struct PositionRange {
    after: u64,
    /// None where new events are followed without end.
    to: Option<u64>,
    /// The log's end when it was asked for.
    head: u64,
}

impl PositionRange {
    async fn of(settings: &ReplaySettings, log: &SharedLog) -> anyhow::Result<Self> {
        let head = log.head().await.context("find the end of the log")?;
        let check = |position: u64, allowed: u64| {
            if position > allowed {
                bail!("the log ends at position {head}: there is no position {position} yet");
            }
            Ok(position)
        };
        // With --follow it may begin with the next event, and wait for that to come.
        let ahead = if settings.follow { head.saturating_add(1) } else { head };
        let after = match (settings.from, settings.after, settings.since) {
            (Some(0), _, _) => 0,
            (Some(from), _, _) => check(from, ahead)? - 1,
            (_, Some(after), _) => check(after, head)?,
            (_, _, Some(since)) if since.instant() > Clock::system().now() => {
                bail!("{} is yet to come: give a --since that has begun", since.instant())
            }
            (_, _, Some(since)) => log.position_at(since.instant() - TimeDelta::microseconds(1)).await?,
            (None, None, None) => 0,
        };
        let to = match (settings.to, settings.until) {
            (Some(to), _) if settings.follow => Some(to),
            (Some(to), _) => Some(check(to, head)?),
            (None, Some(until)) => Some(log.position_at(until).await?),
            (None, None) => (!settings.follow).then_some(head),
        };
        if let Some(to) = to
            && to < after
        {
            bail!("what is asked for ends at position {to}, before it begins, after position {after}");
        }
        Ok(Self { after, to, head })
    }
}

async fn build_filter(settings: &ReplaySettings, log: &SharedLog) -> anyhow::Result<EventFilter> {
    let wanted = EventFilter::new(settings.types.iter().copied(), settings.prison.clone());
    let Some(number) = &settings.prisoner else { return Ok(wanted) };
    let wanted = wanted.of_case(log, number).await.with_context(|| format!("look up the case of {number}"))?;
    let is_known = wanted.of_case_alone(log, 0, u64::MAX).await?.is_some_and(|events| !events.is_empty());
    if !is_known && !settings.follow {
        bail!("nothing is known of {number}: is that the number meant?");
    }
    Ok(wanted)
}

/// Refuses a prison of which nothing was printed, where neither the list of prisons nor the whole
/// log names it: a slip of the pen would look like a prison without events.
async fn require_known_prison(settings: &ReplaySettings, log: &SharedLog, lines: u64) -> anyhow::Result<()> {
    let unlisted = settings.prison.as_ref().filter(|prison| prison.listed_name().is_none());
    let Some(prison) = unlisted.filter(|_| lines == 0) else { return Ok(()) };
    // Cases alone may name it, so its own stream does not tell.
    let mut named = EventFilter::new([], Some(prison.clone()));
    let mut pages = log.read_pages(0, log.head().await.context("find the end of the log")?);
    while let Some(page) = pages.try_next().await? {
        for event in &page {
            if named.select(event)?.is_some() {
                return Ok(());
            }
        }
    }
    bail!("{} No event of the ledger names it either. Please check the code", prison.unlisted_sentence())
}

/// A page of events, or why there is none.
type ReplayPage = Result<Vec<RecordedEvent>, LogError>;

/// Reads the range, in order, into the channel, until its end, an error, or the end of the
/// printing.
async fn read(
    log: &SharedLog,
    wanted: &EventFilter,
    range: PositionRange,
    follow: bool,
    pages: mpsc::Sender<ReplayPage>,
) {
    let mut events = events(log, wanted, range, follow);
    while let Some(page) = events.next().await {
        if pages.send(page).await.is_err() {
            return;
        }
    }
}

/// The events of the range, a page at a time.
fn events<'a>(
    log: &'a SharedLog,
    wanted: &'a EventFilter,
    range: PositionRange,
    follow: bool,
) -> impl Stream<Item = ReplayPage> + Unpin + 'a {
    let PositionRange { after, to, head } = range;
    let up_to = to.unwrap_or(u64::MAX);
    // A case is found by its numbers; only events after the log's end are searched for among all
    // events.
    let of_case = stream::once(wanted.of_case_alone(log, after, up_to.min(head)));
    of_case
        .map_ok(move |of_case| {
            let (first, after) = match of_case {
                Some(of_case) => (vec![Ok(of_case)], after.max(head)),
                None => (Vec::new(), after),
            };
            let go_on = follow || first.is_empty();
            let rest = match go_on && after < up_to {
                true if follow => follow_pages(log, after, up_to).boxed(),
                true => log.read_pages(after, up_to),
                false => stream::empty().boxed(),
            };
            stream::iter(first).chain(rest)
        })
        .try_flatten()
        .boxed()
}

/// The events after a position of the log up to another, as they come.
fn follow_pages(log: &SharedLog, after: u64, up_to: u64) -> impl Stream<Item = ReplayPage> + use<> {
    // None once the last page has been given.
    stream::unfold(Some(log.follow_all(after)), move |pages| async move {
        let mut pages = pages?;
        loop {
            match pages.next().await? {
                Ok(FollowerItem::Events(mut page)) => {
                    let is_last = page.last().is_some_and(|last| last.position >= up_to);
                    page.retain(|event| event.position <= up_to);
                    return Some((Ok(page), (!is_last).then_some(pages)));
                }
                Ok(FollowerItem::CaughtUp { .. }) => {}
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}

/// A bar on standard error, where that is a terminal and the lines go elsewhere.
fn bar(range: PositionRange, follow: bool) -> ProgressBar {
    if follow || io::stdout().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let positions = range.to.unwrap_or(range.head).saturating_sub(range.after);
    ProgressBar::new(positions).with_style(style(POSITIONS)).with_message("replaying")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_takes_times_and_no_position() {
        assert_eq!(parse_until("2026-07-01"), Ok("2026-07-01T22:59:59.999999Z".parse().expect("an instant")));
        assert_eq!(parse_until("81233"), Err("a position is given with --to".to_owned()));
        parse_until("soon").expect_err("no time");
    }
}
