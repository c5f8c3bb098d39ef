//! Idempotency keys, in memory.
//!
//! No append on a server spans two streams, so the server cannot keep a key from a second stream.
//! Each process keeps the keys of a day in memory: those of its own requests, those at the log's
//! end when it began, and those that its followers meet. Two processes that are given one key for
//! two streams in one moment may both record it; the process that meets the second counts it.
//!
//! Keys of requests that recorded nothing are in this memory alone, and are lost with the process.
//! The others are saved now and then (`saved_keys`), so that the next start need not read a day of
//! the log.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Mutex,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Stream, identifier::CommandId};
use serde::Deserialize;

use event_log::{Bookmark, KeySpending, RecordedEvent, SpentKey, lock};

/// How long a key is kept, at least, while there is room for the keys of a day.
pub(crate) const KEPT: TimeDelta = TimeDelta::hours(24);

/// Most keys of events that are kept: a national ledger records as many events in a year.
pub(crate) const KEYS_MAX: usize = 500_000;

/// Most bytes of the keys, about, answers included. Where there are more, the oldest are forgotten.
const BYTES_MAX: usize = KEYS_MAX * 256;

/// The memory that a key takes in the collections of this module, about, beside its texts.
const KEY_BYTES: usize = 200;

/// The time on this machine's clock. Events have the times of other machines' clocks.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks for the time")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The keys that this process knows.
#[derive(Default)]
pub(crate) struct KeyMemory {
    state: Mutex<KeyState>,
    /// Held while the log's end is read: others would read the same events.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct KeyState {
    spent: HashMap<CommandId, KnownKey>,
    /// The keys by the time of their use, the earliest first, but for the disorder of recorded
    /// times: so the keys of which the time is over are forgotten without a look at the others.
    times: VecDeque<(DateTime<Utc>, CommandId)>,
    /// The streams on which requests of this process are recording with a key, and how many are.
    under_way: HashMap<CommandId, (String, usize)>,
    bytes: usize,
    has_forgotten_early: bool,
    /// The last event of the log up to which its keys are known, as those that were saved are
    /// before the log's end is read.
    known_to: Option<Bookmark>,
    /// Whether the log's end was read.
    is_complete: bool,
    /// The position up to which the keys were saved.
    saved_to: u64,
    collisions: u64,
}

struct KnownKey {
    spent: SpentKey,
    at: DateTime<Utc>,
}

/// The memory that the use of a key takes, about.
fn bytes_of(spent: &SpentKey) -> usize {
    KEY_BYTES + spent.request.len() + spent.answer.as_ref().map_or(0, String::len)
}

/// The key in an event, with the name of its stream.
pub(crate) struct RecordedKey {
    pub(crate) key: CommandId,
    pub(crate) stream: String,
    pub(crate) at: DateTime<Utc>,
}

impl RecordedKey {
    /// Nothing where no caller sent a key.
    pub(crate) fn of(event: &RecordedEvent) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct KeyMetadata {
            command_id: CommandId,
        }
        // Readers of the event itself report what cannot be read.
        let KeyMetadata { command_id: key } = serde_json::from_slice(&event.metadata).ok()?;
        let recorded = Self { key, stream: event.stream.to_string(), at: event.recorded_at };
        (!key.is_of_the_ledger()).then_some(recorded)
    }
}

impl KeyState {
    fn insert(&mut self, key: CommandId, spent: SpentKey, at: DateTime<Utc>) {
        self.bytes += bytes_of(&spent);
        self.times.push_back((at, key));
        if let Some(before) = self.spent.insert(key, KnownKey { spent, at }) {
            self.bytes -= bytes_of(&before.spent);
        }
        if self.bytes > BYTES_MAX && !std::mem::replace(&mut self.has_forgotten_early, true) {
            tracing::warn!("the memory of idempotency keys is full: the oldest are forgotten within a day");
        }
        while self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the keys of which the time is over, by this process's clock: an event's time is that
    /// of another service's clock, which may be a day ahead.
    fn forget(&mut self, now: DateTime<Utc>) {
        while self.times.front().is_some_and(|&(at, _)| now - at > KEPT) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, key)) = self.times.pop_front() else { return };
        // A key that was spent again since has a later time as well.
        if let Entry::Occupied(known) = self.spent.entry(key)
            && known.get().at == at
        {
            self.bytes -= bytes_of(&known.remove().spent);
        }
    }

    /// Adds the key of an event at a position. Counts it where another stream has it, unless the
    /// event is from before this process.
    fn learn(&mut self, position: u64, recorded: RecordedKey) {
        let RecordedKey { key, stream, at } = recorded;
        let spent = SpentKey { request: stream, answer: None };
        match self.spent.get(&key).filter(|known| at - known.at <= KEPT) {
            Some(known) if known.spent.answer.is_none() && known.spent != spent && self.is_complete => {
                self.collisions += 1;
                tracing::warn!(position, "an idempotency key was recorded on two streams");
            }
            Some(_) => {}
            None => self.insert(key, spent, at),
        }
    }
}

impl KeyMemory {
    /// The last event up to which the keys of the log are known; `None` where none are.
    pub(crate) fn known_to(&self) -> Option<Bookmark> {
        lock(&self.state).known_to
    }

    /// Whether the keys were read up to the log's end, so that an unknown key is free.
    pub(crate) fn is_complete(&self) -> bool {
        lock(&self.state).is_complete
    }

    /// Adds the keys of events, each with its position, up to an event, in their order: the first
    /// use of a key counts.
    pub(crate) fn learn(&self, keys: impl Iterator<Item = (u64, RecordedKey)>, end: Bookmark, now: DateTime<Utc>) {
        let mut state = lock(&self.state);
        state.forget(now);
        for (position, recorded) in keys {
            state.learn(position, recorded);
        }
        state.is_complete = true;
        // A follower may have come further meanwhile.
        if state.known_to.is_none_or(|known_to| known_to.position < end.position) {
            state.known_to = Some(end);
        }
    }

    /// Begins with keys that were saved.
    pub(crate) fn restore(&self, keys: Vec<RecordedKey>, end: Bookmark) {
        let mut state = lock(&self.state);
        for RecordedKey { key, stream, at } in keys {
            state.insert(key, SpentKey { request: stream, answer: None }, at);
        }
        state.known_to = Some(end);
        state.saved_to = end.position;
    }

    /// The keys of events in the order of their use, and the last event up to which they are known.
    /// Nothing where these were saved.
    pub(crate) fn unsaved(&self) -> Option<(Vec<RecordedKey>, Bookmark)> {
        let state = lock(&self.state);
        let end = state.known_to.filter(|known_to| known_to.position > state.saved_to)?;
        let recorded = |&(at, key): &(DateTime<Utc>, CommandId)| {
            let spent = &state.spent.get(&key).filter(|known| known.at == at)?.spent;
            let stream = spent.answer.is_none().then(|| spent.request.clone())?;
            Some(RecordedKey { key, stream, at })
        };
        Some((state.times.iter().filter_map(recorded).collect(), end))
    }

    pub(crate) fn mark_saved(&self, position: u64) {
        lock(&self.state).saved_to = position;
    }

    pub(crate) fn collisions(&self) -> u64 {
        lock(&self.state).collisions
    }

    pub(crate) fn find(&self, key: CommandId) -> Option<SpentKey> {
        lock(&self.state).spent.get(&key).map(|known| known.spent.clone())
    }

    /// Holds a key for a stream while its events are appended: another stream is refused meanwhile.
    ///
    /// # Errors
    /// The use of the key, where that is another request's.
    pub(crate) fn hold(&self, key: CommandId, stream: &Stream, at: DateTime<Utc>) -> Result<HeldKey<'_>, SpentKey> {
        let mut state = lock(&self.state);
        state.forget(at);
        let own = SpentKey::on_stream(stream);
        if let Some(known) = state.spent.get(&key)
            && known.spent != own
        {
            return Err(known.spent.clone());
        }
        let (held_for, count) = state.under_way.entry(key).or_insert_with(|| (own.request.clone(), 0));
        if *held_for != own.request {
            return Err(SpentKey { request: held_for.clone(), answer: None });
        }
        *count += 1;
        Ok(HeldKey { memory: self, key, own, at, is_spent: true })
    }

    /// Spends a key on a request that records nothing.
    pub(crate) fn spend(&self, key: CommandId, spent: SpentKey, at: DateTime<Utc>) -> KeySpending {
        let mut state = lock(&self.state);
        state.forget(at);
        if let Some(known) = state.spent.get(&key) {
            return KeySpending::Before(known.spent.clone());
        }
        if let Some((request, _)) = state.under_way.get(&key) {
            return KeySpending::Before(SpentKey { request: request.clone(), answer: None });
        }
        state.insert(key, spent, at);
        KeySpending::First
    }

    /// Gives a key another answer, where it was spent on this request.
    pub(crate) fn replace_answer(&self, key: CommandId, spent: SpentKey) {
        let mut state = lock(&self.state);
        let more = bytes_of(&spent);
        if let Some(known) = state.spent.get_mut(&key).filter(|known| known.spent.request == spent.request) {
            let before = std::mem::replace(&mut known.spent, spent);
            state.bytes = state.bytes + more - bytes_of(&before);
        }
    }

    /// Adds the keys of events that a follower has met after a position.
    pub(crate) fn observe(&self, after: u64, events: &[RecordedEvent], now: DateTime<Utc>) {
        let mut state = lock(&self.state);
        state.forget(now);
        let (Some(last), Some(Bookmark { position: known_to, .. })) = (events.last(), state.known_to) else { return };
        // A follower that began further on leaves keys out: those are read when they are asked for.
        if after > known_to || last.position <= known_to {
            return;
        }
        for event in events.iter().filter(|event| event.position > known_to) {
            if let Some(recorded) = RecordedKey::of(event) {
                state.learn(event.position, recorded);
            }
        }
        state.known_to = Some(last.into());
    }
}

/// A key that is held for a stream. It is spent in the end, also where it is not known whether the
/// events were recorded, unless it is released.
pub(crate) struct HeldKey<'a> {
    memory: &'a KeyMemory,
    key: CommandId,
    own: SpentKey,
    at: DateTime<Utc>,
    is_spent: bool,
}

impl HeldKey<'_> {
    /// Gives the key back: nothing was recorded with it.
    pub(crate) fn release(mut self) {
        self.is_spent = false;
    }
}

impl Drop for HeldKey<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.memory.state);
        if let Entry::Occupied(mut under_way) = state.under_way.entry(self.key) {
            under_way.get_mut().1 -= 1;
            if under_way.get().1 == 0 {
                under_way.remove();
            }
        }
        if self.is_spent && !state.spent.contains_key(&self.key) {
            state.insert(self.key, self.own.clone(), self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(number: usize) -> CommandId {
        CommandId(Uuid::from_u128(number as u128))
    }

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn spend(memory: &KeyMemory, number: usize, answer: String, hours: i64) -> KeySpending {
        memory.spend(key(number), SpentKey { request: "a request".to_owned(), answer: Some(answer) }, at(hours))
    }

    /// Also where no request comes to this process, and all keys are those of other services.
    #[test]
    fn a_key_is_forgotten_after_a_day_of_this_clock_and_not_before() {
        let memory = KeyMemory::default();
        let learn = |number: usize, hours: i64, now: i64| {
            let recorded = RecordedKey { key: key(number), stream: format!("prisoner-{number}"), at: at(hours) };
            memory.learn([(1, recorded)].into_iter(), Bookmark::START, at(now));
        };
        learn(1, 0, 0);
        learn(2, 24, 24);
        // The clock of the service that recorded it is two days ahead.
        learn(3, 73, 24);
        spend(&memory, 4, String::new(), 24);
        assert!((1..=4).all(|number| memory.find(key(number)).is_some()));
        learn(5, 25, 25);
        assert_eq!(memory.find(key(1)), None);
        assert!((2..=5).all(|number| memory.find(key(number)).is_some()));
        let state = lock(&memory.state);
        assert_eq!((state.times.len(), state.spent.len()), (4, 4));
    }

    #[test]
    fn the_oldest_keys_are_forgotten_where_the_memory_is_full() {
        let memory = KeyMemory::default();
        let answer = || "x".repeat(BYTES_MAX / 100);
        for number in 0..200 {
            assert_eq!(spend(&memory, number, answer(), 0), KeySpending::First);
        }
        assert_eq!((0..101).filter(|&number| memory.find(key(number)).is_some()).count(), 0);
        assert_eq!((101..200).filter(|&number| memory.find(key(number)).is_some()).count(), 99);
        // Answers that are replaced count, and so does the room that they leave.
        for number in 101..200 {
            let spent = SpentKey { request: "a request".to_owned(), answer: Some(String::new()) };
            memory.replace_answer(key(number), spent);
        }
        for number in 200..290 {
            assert_eq!(spend(&memory, number, answer(), 0), KeySpending::First);
        }
        assert_eq!((101..290).filter(|&number| memory.find(key(number)).is_some()).count(), 189);
        assert!(lock(&memory.state).bytes <= BYTES_MAX);
        spend(&memory, 300, String::new(), 25);
        let state = lock(&memory.state);
        assert_eq!((state.spent.len(), state.bytes), (1, KEY_BYTES + "a request".len()));
    }
}
