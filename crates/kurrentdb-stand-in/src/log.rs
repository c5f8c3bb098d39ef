//! The file of events, written by one thread of one server.
//!
//! An event's record is the length of its message, a checksum and the message; its position is where the record begins.
//! Writes that come while the file is being flushed are taken together and flushed once. Nobody is answered, and no
//! reader sees an event, before it is flushed.
//!
//! The nodes of a cluster share the file, as if all that was acknowledged had come to each of them. Whoever holds its lock
//! leads; the system takes the lock from a process that is killed. A node that gets it lets the time of an election pass,
//! in which nobody leads, and then writes an event of the new epoch, by which the others learn who leads. Until then they
//! believe in the leader before. They read what is written by looking for it.
//!
//! When a node begins to lead, what stands behind the last complete commit is cut off: it was being written when the leader
//! ended, and nobody was told of it.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::SocketAddr,
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

/// How often a follower looks for what the leader has written.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(10);

/// How long a node that has resigned leaves the lead to others.
const RESIGNED_FOR: Duration = Duration::from_secs(5);

/// The stream of the events by which a leader says that it leads.
const EPOCHS: &str = "$epoch-information";

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

/// A node of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub address: SocketAddr,
    /// How long an election takes.
    pub election: Duration,
}

/// Who leads, as far as a node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    Unknown,
    This,
    Other(SocketAddr),
}

/// The log, for everybody who reads and writes.
#[derive(Clone, Debug)]
pub struct Log {
    flushed: Arc<RwLock<Streams>>,
    grown: watch::Receiver<()>,
    leader: watch::Receiver<Leader>,
    requests: mpsc::Sender<Request>,
}

/// What the writing thread is asked.
#[derive(Debug)]
enum Request {
    Write(Write, oneshot::Sender<Outcome>),
    Resign,
}

/// The writing thread's own.
#[derive(Debug)]
struct Writer {
    file: File,
    /// Where the next record begins; 0 before the file is begun.
    end: u64,
    /// All events, also those that are not flushed yet.
    streams: Streams,
    recent: RecentIds,
    /// What is not flushed yet, as bytes and as events.
    bytes: Vec<u8>,
    events: Vec<Arc<Event>>,
    flushed: Arc<RwLock<Streams>>,
    announce: watch::Sender<()>,
    leader: watch::Sender<Leader>,
    /// Nothing for a server that is alone.
    member: Option<Member>,
}

impl Log {
    /// Opens a file, or makes it, and starts the writing thread. A server that is alone leads from now on.
    pub fn open(path: &Path, member: Option<Member>) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let flushed = Arc::new(RwLock::new(Streams::default()));
        let (announce, grown) = watch::channel(());
        let (leader, seen_leader) = watch::channel(Leader::Unknown);
        let mut writer = Writer {
            file,
            end: 0,
            streams: Streams::default(),
            recent: RecentIds::new(),
            bytes: Vec::new(),
            events: Vec::new(),
            flushed: Arc::clone(&flushed),
            announce,
            leader,
            member,
        };
        writer.take_in()?;
        if member.is_none() {
            writer.file.try_lock().context("another server has it")?;
            writer.begin_to_lead()?;
        }
        let (requests, asked) = mpsc::channel();
        std::thread::spawn(move || {
            if let Err(error) = writer.run(&asked) {
                // What the file holds now is known only to who reads it anew.
                eprintln!("the file cannot be read or written: {error:#}");
                std::process::exit(1);
            }
        });
        Ok(Self { flushed, grown, leader: seen_leader, requests })
    }

    /// Hands in a write, and gives what its outcome will come from. Writes are done in the order in which they are
    /// handed in; who does not lead leaves them without an outcome.
    pub fn write(&self, write: Write) -> oneshot::Receiver<Outcome> {
        let (answer, outcome) = oneshot::channel();
        // Without the thread the server is at its end: nobody is answered.
        let _ = self.requests.send(Request::Write(write, answer));
        outcome
    }

    /// Leaves the lead to another node, if this one has it.
    pub fn resign(&self) {
        let _ = self.requests.send(Request::Resign);
    }

    /// All events that are flushed.
    pub fn read(&self) -> RwLockReadGuard<'_, Streams> {
        self.flushed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of each change of what [`Self::read`] gives.
    pub fn grown(&self) -> watch::Receiver<()> {
        self.grown.clone()
    }

    /// Who leads, and each change of it.
    pub fn leader(&self) -> watch::Receiver<Leader> {
        self.leader.clone()
    }
}

impl Writer {
    /// Leads when it can and follows when it cannot, for ever.
    fn run(&mut self, requests: &mpsc::Receiver<Request>) -> anyhow::Result<()> {
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

    /// Takes in what the leader writes, until there is none and it is time to lead.
    fn follow(&mut self, requests: &mpsc::Receiver<Request>, from: Instant) -> anyhow::Result<()> {
        while Instant::now() < from || self.file.try_lock().is_err() {
            self.take_in()?;
            // What is asked of a leader is dropped.
            let _ = requests.recv_timeout(FOLLOW_INTERVAL);
        }
        Ok(())
    }

    /// Takes in the complete commits that others have written.
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
            ensure!(bytes.starts_with(FILE_HEADER), "it is no file of this server's");
            rest = FILE_HEADER.len();
            self.end = rest as u64;
        }
        let mut commit = Vec::new();
        while let Some(message) = record(&bytes[rest..]) {
            let at = begin + rest as u64;
            let event = Event::decode(message).with_context(|| format!("damage at {at}"))?;
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
            // That it led before does not make it lead now.
            let is_this = self.member.is_none_or(|member| member.address == leader);
            self.leader.send_replace(if is_this { Leader::Unknown } else { Leader::Other(leader) });
        }
        Ok(())
    }

    /// Makes sure that the file ends where the log does, and says that it leads. It has the lock.
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

    /// Does what is asked until it has resigned.
    fn lead(&mut self, requests: &mpsc::Receiver<Request>) -> anyhow::Result<()> {
        loop {
            let first = requests.recv()?;
            let mut answers = Vec::new();
            let mut resigns = false;
            for request in std::iter::once(first).chain(requests.try_iter()).take(WRITES_TOGETHER_MAX) {
                match request {
                    Request::Write(write, answer) => answers.push((self.take(&write), answer)),
                    Request::Resign => resigns = self.member.is_some(),
                }
            }
            self.flush()?;
            for (outcome, answer) in answers {
                // Who does not wait any more is not told.
                let _ = answer.send(outcome);
            }
            if resigns {
                self.leader.send_replace(Leader::Unknown);
                self.file.unlock()?;
                return Ok(());
            }
        }
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

    /// Writes statistics if it is time to.
    fn push_statistics(&mut self) {
        const STREAM: &str = "$stats-127.0.0.1:2113";
        let latest = self.streams.written(STREAM).last().map_or(0, |event| event.position);
        let since = self.streams.all().iter().rev().take_while(|event| event.position > latest).count();
        if since >= STATISTICS_EVERY_EVENTS {
            self.push_own(STREAM, "$statsCollected", &json!({ "es-checksum": self.end }));
        }
    }

    /// Writes an event of the server's own.
    fn push_own(&mut self, stream: &str, event_type: &str, data: &Value) {
        let event = NewEvent {
            id: Uuid::new_v4(),
            event_type: event_type.to_owned(),
            is_json: true,
            custom_metadata: Bytes::new(),
            data: data.to_string().into(),
        };
        let revision = self.streams.written(stream).len() as u64;
        self.push(stream, revision, event, true);
    }

    /// Brings everything to the disk and shows it to readers.
    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.events.is_empty() {
            self.file.write_all(&self.bytes)?;
            self.file.sync_data()?;
            self.bytes.clear();
            self.show();
        }
        Ok(())
    }

    /// Shows to readers what stands in the file.
    fn show(&mut self) {
        if !self.events.is_empty() {
            let mut flushed = self.flushed.write().unwrap_or_else(PoisonError::into_inner);
            self.events.drain(..).for_each(|event| flushed.push(event));
            self.announce.send_replace(());
        }
    }
}

/// Who leads since an event, if it is one of a new epoch.
fn epoch_leader(event: &Event) -> Option<SocketAddr> {
    if event.stream != EPOCHS {
        return None;
    }
    serde_json::from_slice::<Value>(&event.data).ok()?["leader"].as_str()?.parse().ok()
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
