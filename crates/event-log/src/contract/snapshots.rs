//! The promise about snapshots.

use bytes::Bytes;
use uuid::Uuid;

use crate::{ExpectedRevision::NoStream, Snapshot};

use super::{
    BrokenPromise, ensure,
    run::{ContractRun, is_made_up, read_all},
};

/// More than a store takes in one event or one message.
const LARGE_BYTES: usize = 2_500_000;

/// The name of the snapshot that a run leaves behind.
#[must_use]
pub fn snapshot_name(run: Uuid) -> String {
    format!("contract-{}", run.simple())
}

pub(super) async fn snapshots(run: &ContractRun) -> Result<(), BrokenPromise> {
    let (log, other, name) = (run.log(), run.other_log(), snapshot_name(run.id()));
    let loaded = log.load_snapshot(&name).await?;
    ensure!(loaded.is_none(), "a snapshot that was never saved has {:?}", loaded.map(|loaded| loaded.position));
    let appended = log.append(&run.stream().await?, NoStream, run.some_events(3)).await?;
    let [first, second, third] = appended.events[..] else {
        return Err(BrokenPromise(format!("3 events appended, {} answered", appended.events.len())));
    };

    // In the order saved: the position, the number of bytes, and whether it becomes the newest.
    for (position, bytes, is_newest) in [
        (second.0, LARGE_BYTES, true),
        (third.0, LARGE_BYTES / 2, true),
        (first.0, 10, false),
        // Another snapshot of the same position.
        (third.0, 0, true),
        // One of another log, whose end is further, and one that takes its place.
        (third.0 + 1_000_000_000, 20, true),
        (first.0, LARGE_BYTES, true),
    ] {
        let snapshot = Snapshot { position, content: content(position, bytes) };
        let before = log.load_snapshot(&name).await?;
        let is_saved = log.save_snapshot(&name, &snapshot).await?;
        ensure!(is_saved == is_newest, "whether a snapshot of position {position} was saved: {is_saved}");
        let expected = if is_newest { Some(snapshot) } else { before };
        for log in [log, other] {
            let loaded = log.load_snapshot(&name).await?;
            let found = loaded.as_ref().map(|loaded| (loaded.position, loaded.content.len()));
            ensure!(loaded == expected, "after one of position {position} and {bytes} bytes was saved: {found:?}");
        }
    }
    let another = other.load_snapshot(&format!("{name}-2")).await?;
    ensure!(another.is_none(), "a snapshot of one name came back under another");

    let read = read_all(other, first.0).await?;
    ensure!(read.len() >= 2, "{} events read where 2 were appended", read.len());
    let stranger = read.iter().find(|event| !is_made_up(event));
    ensure!(stranger.is_none(), "a reader of events met {stranger:?}");
    Ok(())
}

/// Bytes that differ from place to place and from position to position.
fn content(position: u64, bytes: usize) -> Bytes {
    (0..bytes).map(|place| (place as u64).wrapping_mul(position | 1).to_le_bytes()[1]).collect()
}
