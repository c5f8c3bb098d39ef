//! The file of events, written by one thread of one server.
//!
//! An event's record is the length of its message, a checksum and the message. The event's position
//! is that of its record in the file. Writes that come while the file is being flushed are flushed
//! together, once. No client gets an answer, and no reader sees an event, before it is flushed.
//!
//! The nodes of a cluster share the file, as if each of them had received all acknowledged events.
//! The node that holds the file's lock leads; the operating system releases the lock of a process
//! that is killed. A node that gets the lock first waits for the time of an election, in which no
//! node leads. Then it writes an event of the new epoch, from which the other nodes learn the
//! leader. Until then they take the former leader for the leader. They poll the file for new
//! events.
//!
//! When a node begins to lead, it cuts off the bytes after the last complete commit. The former
//! leader was writing them when it ended, and no client has an answer to them.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::SocketAddr,
    num::NonZeroU32,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use prost::{Message as _, bytes::Bytes};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::{
    clock,
    streams::{AllStreams, EventRecord},
    write_rules::{self, ProposedEvent, RecentIds, Write, WriteDecision},
};

/// The header of a file, so that no event has position 0.
const FILE_HEADER: &[u8] = b"kurrentdb-stand-in 1\n";

/// A record's length and checksum.
const RECORD_HEADER_LEN: usize = 4 + 8;

/// After this many events the server writes statistics, so that readers have events of others to
/// pass over.
const STATISTICS_EVERY_EVENTS: usize = 32;

/// Most writes that are flushed together.
const WRITES_TOGETHER_MAX: usize = 1024;

/// How often a node that follows polls the file for new events.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(10);

/// How long a node that has resigned does not try to lead.
const RESIGNED_FOR: Duration = Duration::from_secs(5);

/// The stream of the events with which a node announces that it leads.
const EPOCHS: &str = "$epoch-information";

/// The outcome of a write.
#[derive(Clone, Debug)]
pub enum WriteOutcome {
    /// The stream's revision, and the position of the write's last event if it has one.
    Done {
        revision: Option<u64>,
        position: Option<u64>,
    },
    WrongRevision {
        current: Option<u64>,
    },
    StreamDeleted,
}

/// A node of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterMember {
    pub address: SocketAddr,
    /// How long an election takes.
    pub election: Duration,
}

/// The leader, as far as a node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    Unknown,
    This,
    Other(SocketAddr),
}

/// The log. A handle: clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    flushed: Arc<RwLock<AllStreams>>,
    grown: watch::Receiver<()>,
    leader: watch::Receiver<Leader>,
    requests: mpsc::Sender<WriterRequest>,
}

/// A request to the writing thread.
#[derive(Debug)]
enum WriterRequest {
    Write(Write, oneshot::Sender<WriteOutcome>),
    Resign,
}

/// How slowly a server flushes.
#[derive(Debug, Clone, Copy)]
pub struct FlushPace {
    /// How long a flush takes at least.
    pub time: Duration,
    /// How many events a second are flushed at most.
    pub events_per_second: Option<NonZeroU32>,
}

impl FlushPace {
    /// How long a flush of so many events takes at least.
    fn time_of(self, events: usize) -> Duration {
        let seconds = Duration::from_secs(events.try_into().unwrap_or(u64::MAX));
        self.events_per_second.map_or(self.time, |rate| self.time.max(seconds / rate.get()))
    }
}

/// The state of the writing thread.
#[derive(Debug)]
struct LogWriter {
    file: File,
    /// The position of the next record; 0 before the file has a header.
    end: u64,
    /// All events, including those that are not flushed yet.
    streams: AllStreams,
    recent: RecentIds,
    /// The events that are not flushed yet, as bytes and as events.
    bytes: Vec<u8>,
    events: Vec<Arc<EventRecord>>,
    flushed: Arc<RwLock<AllStreams>>,
    announce: watch::Sender<()>,
    leader: watch::Sender<Leader>,
    /// Absent where the server is not a node of a cluster.
    member: Option<ClusterMember>,
    pace: FlushPace,
}

impl Log {
    /// Opens or makes the file, and starts the writing thread. A server that is not a node of a
    /// cluster leads from now on.
    pub fn open(path: &Path, member: Option<ClusterMember>, pace: FlushPace) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let flushed = Arc::new(RwLock::new(AllStreams::default()));
        let (announce, grown) = watch::channel(());
        let (leader, seen_leader) = watch::channel(Leader::Unknown);
        let mut writer = LogWriter {
            file,
            end: 0,
            streams: AllStreams::default(),
            recent: RecentIds::new(),
            bytes: Vec::new(),
            events: Vec::new(),
            flushed: Arc::clone(&flushed),
            announce,
            leader,
            member,
            pace,
        };
        writer.take_in()?;
        if member.is_none() {
            writer.file.try_lock().context("another server has it")?;
            writer.begin_to_lead()?;
        }
        let (requests, received) = mpsc::channel();
        std::thread::spawn(move || {
            if let Err(error) = writer.run(&received) {
                // The file must be read again to know what it holds now.
                eprintln!("the file cannot be read or written: {error:#}");
                std::process::exit(1);
            }
        });
        Ok(Self { flushed, grown, leader: seen_leader, requests })
    }

    /// Queues a write, and answers the receiver of its outcome. Writes are done in the order of
    /// these calls. A node that does not lead gives them no outcome.
    pub fn write(&self, write: Write) -> oneshot::Receiver<WriteOutcome> {
        let (answer, outcome) = oneshot::channel();
        // This fails only where the thread has ended, and the server with it.
        let _ = self.requests.send(WriterRequest::Write(write, answer));
        outcome
    }

    /// Gives up the lead, if this node has it.
    pub fn resign(&self) {
        let _ = self.requests.send(WriterRequest::Resign);
    }

    /// All events that are flushed.
    pub fn read(&self) -> RwLockReadGuard<'_, AllStreams> {
        self.flushed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes each time that [`Self::read`] has more events.
    pub fn growth(&self) -> watch::Receiver<()> {
        self.grown.clone()
    }

    /// The leader, and each change of it.
    pub fn leader(&self) -> watch::Receiver<Leader> {
        self.leader.clone()
    }
}

impl LogWriter {
    /// Leads while it can, and follows otherwise, for ever.
    fn run(&mut self, requests: &mpsc::Receiver<WriterRequest>) -> anyhow::Result<()> {
        let mut from = Instant::now();
        loop {
            if *self.leader.borrow() != Leader::This {
                self.follow(requests, from)?;
                self.begin_to_lead()?;
            }
            self.lead(requests)?;
            from = Instant::now() + RESIGNED_FOR;
        }
    }

    /// Takes in what the leader writes, until there is no leader and it is time to lead.
    fn follow(&mut self, requests: &mpsc::Receiver<WriterRequest>, from: Instant) -> anyhow::Result<()> {
        while Instant::now() < from || self.file.try_lock().is_err() {
            self.take_in()?;
            // Only a leader can do requests, so they are dropped.
            let _ = requests.recv_timeout(FOLLOW_INTERVAL);
        }
        Ok(())
    }

    /// Takes in the complete commits that other nodes have written.
    fn take_in(&mut self) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.read_to_end(&mut bytes)?;
        let begin = self.end;
        let mut rest = 0;
        if begin == 0 {
            if bytes.len() < FILE_HEADER.len() {
                return Ok(());
            }
            ensure!(bytes.starts_with(FILE_HEADER), "it is not a file of this server");
            rest = FILE_HEADER.len();
            self.end = rest as u64;
        }
        let mut commit = Vec::new();
        while let Some(message) = record(&bytes[rest..]) {
            let at = begin + rest as u64;
            let event = EventRecord::decode(message).with_context(|| format!("damage at {at}"))?;
            ensure!(event.position == at, "damage at {at}: an event of position {}", event.position);
            rest += RECORD_HEADER_LEN + message.len();
            let ends_commit = event.ends_commit;
            commit.push(Arc::new(event));
            if ends_commit {
                self.end = begin + rest as u64;
                self.events.append(&mut commit);
            }
        }
        let leader = self.events.iter().rev().find_map(|event| epoch_leader(event));
        self.events.iter().for_each(|event| self.streams.push(Arc::clone(event)));
        self.show();
        if let Some(leader) = leader {
            // A node that led before does not lead now.
            let is_this = self.member.is_none_or(|member| member.address == leader);
            self.leader.send_replace(if is_this { Leader::Unknown } else { Leader::Other(leader) });
        }
        Ok(())
    }

    /// Cuts the file off at the log's end, and announces that this node leads. The caller must hold
    /// the lock.
    fn begin_to_lead(&mut self) -> anyhow::Result<()> {
        if let Some(member) = self.member {
            self.leader.send_replace(Leader::Unknown);
            std::thread::sleep(member.election);
            self.take_in()?;
        }
        if self.end == 0 {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(FILE_HEADER)?;
            self.end = FILE_HEADER.len() as u64;
        }
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.sync_all()?;
        self.recent.clear();
        if let Some(member) = self.member {
            let data = json!({ "leader": member.address.to_string() });
            self.push_own(EPOCHS, EPOCHS, &data);
            self.flush()?;
        }
        self.leader.send_replace(Leader::This);
        Ok(())
    }

    /// Does requests until this node has resigned.
    fn lead(&mut self, requests: &mpsc::Receiver<WriterRequest>) -> anyhow::Result<()> {
        loop {
            let first = requests.recv()?;
            let mut answers = Vec::new();
            let mut resigns = false;
            for request in std::iter::once(first).chain(requests.try_iter()).take(WRITES_TOGETHER_MAX) {
                match request {
                    WriterRequest::Write(write, answer) => answers.push((self.apply(&write), answer)),
                    WriterRequest::Resign => resigns = self.member.is_some(),
                }
            }
            self.flush()?;
            for (outcome, answer) in answers {
                // A client may have stopped waiting.
                let _ = answer.send(outcome);
            }
            if resigns {
                self.leader.send_replace(Leader::Unknown);
                self.file.unlock()?;
                return Ok(());
            }
        }
    }

    /// Does a write, but does not flush it.
    fn apply(&mut self, write: &Write) -> WriteOutcome {
        match write_rules::decide(&self.streams, &self.recent, write) {
            WriteDecision::Write { write: (stream, first, events), metadata } => {
                let last = events.len() - 1;
                let mut outcome = WriteOutcome::Done { revision: None, position: None };
                for (index, event) in events.into_iter().enumerate() {
                    let (id, revision) = (event.id, first + index as u64);
                    let event = self.push(&stream, revision, event, index == last && metadata.is_none());
                    outcome = WriteOutcome::Done { revision: Some(event.revision), position: Some(event.position) };
                    self.recent.insert(id, event);
                }
                if let Some((stream, revision, event)) = metadata {
                    self.push(&stream, revision, event, true);
                }
                self.push_statistics();
                outcome
            }
            WriteDecision::Repeated(last) => {
                WriteOutcome::Done { revision: Some(last.revision), position: Some(last.position) }
            }
            WriteDecision::Nothing { current } => WriteOutcome::Done { revision: current, position: None },
            WriteDecision::WrongRevision { current } => WriteOutcome::WrongRevision { current },
            WriteDecision::StreamDeleted => WriteOutcome::StreamDeleted,
        }
    }

    fn push(&mut self, stream: &str, revision: u64, event: ProposedEvent, ends_commit: bool) -> Arc<EventRecord> {
        let event = Arc::new(EventRecord {
            position: self.end,
            stream: stream.to_owned(),
            revision,
            id: event.id.into_bytes().to_vec(),
            event_type: event.event_type,
            is_json: event.is_json,
            created: clock::ticks(),
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

    /// Writes statistics where they are due.
    fn push_statistics(&mut self) {
        const STREAM: &str = "$stats-127.0.0.1:2113";
        let latest = self.streams.events_of(STREAM).last().map_or(0, |event| event.position);
        let since = self.streams.all().iter().rev().take_while(|event| event.position > latest).count();
        if since >= STATISTICS_EVERY_EVENTS {
            self.push_own(STREAM, "$statsCollected", &json!({ "es-checksum": self.end }));
        }
    }

    /// Writes an event of the server itself.
    fn push_own(&mut self, stream: &str, event_type: &str, data: &Value) {
        let event = ProposedEvent {
            id: Uuid::new_v4(),
            event_type: event_type.to_owned(),
            is_json: true,
            custom_metadata: Bytes::new(),
            data: data.to_string().into(),
        };
        let revision = self.streams.events_of(stream).len() as u64;
        self.push(stream, revision, event, true);
    }

    /// Flushes all events to the disk and shows them to readers.
    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.events.is_empty() {
            let started = Instant::now();
            self.file.write_all(&self.bytes)?;
            self.file.sync_data()?;
            std::thread::sleep(self.pace.time_of(self.events.len()).saturating_sub(started.elapsed()));
            self.bytes.clear();
            self.show();
        }
        Ok(())
    }

    /// Shows to readers the events that are in the file.
    fn show(&mut self) {
        if !self.events.is_empty() {
            let mut flushed = self.flushed.write().unwrap_or_else(PoisonError::into_inner);
            self.events.drain(..).for_each(|event| flushed.push(event));
            self.announce.send_replace(());
        }
    }
}

/// The leader that an event announces, if it is one of a new epoch.
fn epoch_leader(event: &EventRecord) -> Option<SocketAddr> {
    if event.stream != EPOCHS {
        return None;
    }
    serde_json::from_slice::<Value>(&event.data).ok()?["leader"].as_str()?.parse().ok()
}

/// The message of the record at the beginning of these bytes, if the record is complete.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (expected, rest) = rest.split_first_chunk()?;
    let message = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (checksum(message) == u64::from_le_bytes(*expected)).then_some(message)
}

/// FNV-1a. It detects torn writes, not intended changes.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
