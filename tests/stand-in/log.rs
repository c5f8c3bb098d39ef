//! The file of events, written by one thread.
//!
//! An event's record is the length of its message, a checksum and the message; its position is where the record begins.
//! Writes that come while the file is being flushed are taken together and flushed once. Nobody is answered, and no
//! reader sees an event, before it is flushed.
//!
//! When the file is opened, what stands behind the last complete commit is cut off: it was being written when the server
//! ended, and nobody was told of it.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, mpsc},
};

use anyhow::{Context as _, ensure};
use prost::{Message as _, bytes::Bytes};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::{
    rules::{self, Decision, NewEvent, RecentIds, Write},
    streams::{Event, Streams},
};

/// What a file begins with, so that no event stands at position 0.
const FILE_HEADER: &[u8] = b"kurrentdb-stand-in 1\n";

/// A record's length and checksum.
const RECORD_HEADER_LEN: usize = 4 + 8;

/// After how many events the server writes statistics of its own, so that readers have something to leave out.
const STATISTICS_EVERY_EVENTS: usize = 32;

/// How many writes are flushed together.
const WRITES_TOGETHER_MAX: usize = 1024;

/// How a write ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The stream's revision and the position of the last event of the write, if there is one.
    Done {
        revision: Option<u64>,
        position: Option<u64>,
    },
    WrongRevision {
        current: Option<u64>,
    },
    StreamDeleted,
}

/// The log, for everybody who reads and writes.
#[derive(Clone, Debug)]
pub struct Log {
    flushed: Arc<RwLock<Streams>>,
    grown: watch::Receiver<()>,
    writes: mpsc::Sender<(Write, oneshot::Sender<Outcome>)>,
}

/// The writing thread's own.
#[derive(Debug)]
struct Writer {
    file: File,
    /// Where the next record begins.
    end: u64,
    /// All events, also those that are not flushed yet.
    streams: Streams,
    recent: RecentIds,
    /// What is not flushed yet, as bytes and as events.
    bytes: Vec<u8>,
    events: Vec<Arc<Event>>,
}

impl Log {
    /// Opens a file, or makes it, and starts the writing thread.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut writer = Writer::open(path)?;
        let flushed = Arc::new(RwLock::new(Streams::default()));
        let (announce, grown) = watch::channel(());
        for event in writer.streams.all() {
            flushed.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(event));
        }
        let (writes, requests) = mpsc::channel::<(Write, oneshot::Sender<Outcome>)>();
        let log = Self { flushed: Arc::clone(&flushed), grown, writes };
        std::thread::spawn(move || {
            while let Ok(first) = requests.recv() {
                let together = std::iter::once(first).chain(requests.try_iter()).take(WRITES_TOGETHER_MAX);
                let answers: Vec<_> = together.map(|(write, answer)| (writer.take(&write), answer)).collect();
                writer.flush(&flushed);
                announce.send_replace(());
                for (outcome, answer) in answers {
                    // Who does not wait any more is not told.
                    let _ = answer.send(outcome);
                }
            }
        });
        Ok(log)
    }

    /// Hands in a write, and gives what its outcome will come from. Writes are done in the order in which they are
    /// handed in.
    pub fn write(&self, write: Write) -> oneshot::Receiver<Outcome> {
        let (answer, outcome) = oneshot::channel();
        // Without the thread the server is at its end: nobody is answered.
        let _ = self.writes.send((write, answer));
        outcome
    }

    /// All events that are flushed.
    pub fn read(&self) -> RwLockReadGuard<'_, Streams> {
        self.flushed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of each change of what [`Self::read`] gives.
    pub fn grown(&self) -> watch::Receiver<()> {
        self.grown.clone()
    }
}

impl Writer {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut streams = Streams::default();
        if bytes.len() < FILE_HEADER.len() {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(FILE_HEADER)?;
            bytes = FILE_HEADER.to_vec();
        }
        ensure!(bytes.starts_with(FILE_HEADER), "it is no file of this server's");

        let mut end = FILE_HEADER.len();
        let mut commit = Vec::new();
        let mut rest = end;
        while let Some(message) = record(&bytes[rest..]) {
            let event = Event::decode(message).with_context(|| format!("damage at {rest}"))?;
            ensure!(event.position == rest as u64, "damage at {rest}: an event of position {}", event.position);
            rest += RECORD_HEADER_LEN + message.len();
            let ends_commit = event.ends_commit;
            commit.push(Arc::new(event));
            if ends_commit {
                commit.drain(..).for_each(|event| streams.push(event));
                end = rest;
            }
        }
        let end = end as u64;
        file.set_len(end)?;
        file.seek(SeekFrom::End(0))?;
        file.sync_all()?;
        Ok(Self { file, end, streams, recent: RecentIds::new(), bytes: Vec::new(), events: Vec::new() })
    }

    /// Does a write, short of flushing it.
    fn take(&mut self, write: &Write) -> Outcome {
        match rules::decide(&self.streams, &self.recent, write) {
            Decision::Write { asked: (stream, first, events), metadata } => {
                let last = events.len() - 1;
                let mut outcome = Outcome::Done { revision: None, position: None };
                for (index, event) in events.into_iter().enumerate() {
                    let (id, revision) = (event.id, first + index as u64);
                    let event = self.push(&stream, revision, event, index == last && metadata.is_none());
                    outcome = Outcome::Done { revision: Some(event.revision), position: Some(event.position) };
                    self.recent.insert(id, event);
                }
                if let Some((stream, revision, event)) = metadata {
                    self.push(&stream, revision, event, true);
                }
                self.push_statistics();
                outcome
            }
            Decision::Repeated(last) => Outcome::Done { revision: Some(last.revision), position: Some(last.position) },
            Decision::Nothing { current } => Outcome::Done { revision: current, position: None },
            Decision::WrongRevision { current } => Outcome::WrongRevision { current },
            Decision::StreamDeleted => Outcome::StreamDeleted,
        }
    }

    fn push(&mut self, stream: &str, revision: u64, event: NewEvent, ends_commit: bool) -> Arc<Event> {
        let event = Arc::new(Event {
            position: self.end,
            stream: stream.to_owned(),
            revision,
            id: event.id.into_bytes().to_vec(),
            event_type: event.event_type,
            is_json: event.is_json,
            created: chrono::Utc::now().timestamp_micros() * 10,
            custom_metadata: event.custom_metadata,
            data: event.data,
            ends_commit,
        });
        let message = event.encode_to_vec();
        let len = u32::try_from(message.len()).expect("an event is smaller than a request may be");
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(checksum(&message).to_le_bytes());
        self.bytes.extend(&message);
        self.end += (RECORD_HEADER_LEN + message.len()) as u64;
        self.streams.push(Arc::clone(&event));
        self.events.push(Arc::clone(&event));
        event
    }

    /// Writes statistics if it is time to.
    fn push_statistics(&mut self) {
        const STREAM: &str = "$stats-127.0.0.1:2113";
        let statistics = self.streams.written(STREAM);
        let latest = statistics.last().map_or(0, |event| event.position);
        let since = self.streams.all().iter().rev().take_while(|event| event.position > latest).count();
        if since >= STATISTICS_EVERY_EVENTS {
            let revision = statistics.len() as u64;
            let event = NewEvent {
                id: Uuid::new_v4(),
                event_type: "$statsCollected".to_owned(),
                is_json: true,
                custom_metadata: Bytes::new(),
                data: json!({ "es-checksum": self.end }).to_string().into(),
            };
            self.push(STREAM, revision, event, true);
        }
    }

    /// Brings everything to the disk and shows it to readers.
    fn flush(&mut self, flushed: &RwLock<Streams>) {
        if self.events.is_empty() {
            return;
        }
        let written = self.file.write_all(&self.bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What the file holds now is known only to who reads it anew.
            eprintln!("the file cannot be written: {error}");
            std::process::exit(1);
        }
        self.bytes.clear();
        let mut flushed = flushed.write().unwrap_or_else(PoisonError::into_inner);
        self.events.drain(..).for_each(|event| flushed.push(event));
    }
}

/// The message of the record that the bytes begin with, if it is complete.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (expected, rest) = rest.split_first_chunk()?;
    let message = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (checksum(message) == u64::from_le_bytes(*expected)).then_some(message)
}

/// FNV-1a: against torn writes, not against anybody's intent.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
