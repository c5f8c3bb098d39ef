//! Reading the whole log page by page, where the store reads ahead.

use std::{ops::Range, sync::Arc};

use event_log::{APPEND_EVENTS_MAX, EventLog as _, ExpectedRevision::NoStream, FollowerItem, SharedLog};
use event_log_kurrentdb::KurrentLog;
use futures::TryStreamExt as _;
use uuid::Uuid;

use super::{client, log, made_up_data, stream, write_foreign};
use crate::support::{StandIn, builders::contract_event, eventually, whole_log::read_recorded};

/// Appends full streams, and now and then an event that does not belong to the ledger.
async fn append_streams(log: &KurrentLog, server: &kurrentdb::Client, run: Uuid, streams: Range<u64>) {
    for number in streams {
        let first = number as usize * APPEND_EVENTS_MAX;
        let events = (first..first + APPEND_EVENTS_MAX).map(|event| contract_event(run, event)).collect();
        log.append(&stream(run, number), NoStream, events).await.expect("append");
        if number % 7 == 0 {
            write_foreign(server, "of-others").await;
        }
    }
}

/// The log is three pages long when the reader begins, and grows by one meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_many_pages_gets_each_event_once_while_others_write() {
    const STREAMS: u64 = 240;
    let server = StandIn::start();
    let (writer, reader) = (log(&server), Arc::new(log(&server)) as SharedLog);
    let (run, other) = (Uuid::new_v4(), client(&server));
    append_streams(&writer, &other, run, 0..STREAMS * 3 / 4).await;
    let writing = tokio::spawn(async move { append_streams(&writer, &other, run, STREAMS * 3 / 4..STREAMS).await });
    let mut following = reader.follow_all(0);
    let mut read = Vec::new();
    while read.len() < STREAMS as usize * APPEND_EVENTS_MAX {
        let item = following.try_next().await.expect("a log that can be read").expect("a follower never ends");
        if let FollowerItem::Events(page) = item {
            read.extend(page);
        }
    }
    writing.await.expect("the other writer");
    assert_eq!(read, read_recorded(&*reader).await);

    let to = read[read.len() / 2].position;
    let part: Vec<_> = reader.read_pages(read[9].position, to).try_concat().await.expect("a part of the log");
    assert_eq!(part, read[10..=read.len() / 2]);
    let whole: Vec<_> = reader.read_pages(0, u64::MAX).try_concat().await.expect("the log");
    assert_eq!(whole, read);
}

/// Its reader takes the first page alone, and not the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_asks_for_the_next_page_before_its_reader_does() {
    let server = StandIn::start();
    let (writer, other) = (log(&server), client(&server));
    append_streams(&writer, &other, Uuid::new_v4(), 0..140).await;
    let mut following = log(&server).follow_all(0);
    following.try_next().await.expect("a log that can be read").expect("a page");
    eventually("a read of the second page", async || {
        let calls = made_up_data(&other, "$stand-in-calls").await;
        calls.as_array()?.iter().any(|call| call == "read $all").then_some(())
    })
    .await;
}
