//! Millions of events, kept small until all of a history's are there.
//!
//! A rebuild reads the log once, in the order recorded, and needs it history by history. As structs
//! five million events would take several gigabytes. Here each goes, as bytes, to the partition
//! that its stream belongs to, and full blocks of a partition are compressed: some 100 bytes an
//! event. The partitions are then emptied one at a time. Metadata that the rows do not need is left
//! out.
//!
//! Promises: the events of a stream come back in the order in which they were put, all from one
//! partition.

use std::{collections::HashMap, hash::BuildHasher as _};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    event::RecordedBy,
    identifier::{CommandId, EventId, Username},
};
use event_log::{
    LogError, RecordedEvent,
    stored_event::{decode_event, decode_metadata},
};
use uuid::Uuid;

use crate::any_history::AnyHistory;

/// Events that a partition should hold: as structs they take some tens of megabytes, once for each
/// partition that is emptied at a time.
const PARTITION_EVENTS: u64 = 30_000;

/// Fewest partitions: several are emptied and written at a time.
const PARTITIONS_MIN: u64 = 8;

/// Most partitions: each has an open block in memory.
const PARTITIONS_MAX: u64 = 256;

/// Length at which a block is compressed. Longer ones compress no better.
const BLOCK_BYTES: usize = 128 * 1024;

/// Events by stream.
#[derive(Debug)]
pub(crate) struct EventBuffer {
    partitions: Vec<BufferPartition>,
    hasher: std::hash::BuildHasherDefault<std::hash::DefaultHasher>,
}

/// A part of the streams, with all their events.
#[derive(Debug, Default)]
pub(crate) struct BufferPartition {
    compressed: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl EventBuffer {
    /// A buffer for about so many events.
    pub(crate) fn new(events: u64) -> Self {
        let partitions = (events / PARTITION_EVENTS).clamp(PARTITIONS_MIN, PARTITIONS_MAX);
        Self { partitions: (0..partitions).map(|_| BufferPartition::default()).collect(), hasher: Default::default() }
    }

    /// Puts an event on its partition.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where its metadata cannot be read.
    pub(crate) fn put(&mut self, recorded: &RecordedEvent) -> Result<(), LogError> {
        let hash = self.hasher.hash_one(&recorded.stream);
        let index = usize::try_from(hash % self.partitions.len() as u64).expect("an index of a vector");
        self.partitions[index].put(recorded)
    }

    /// The partitions.
    pub(crate) fn into_partitions(self) -> Vec<BufferPartition> {
        self.partitions
    }
}

impl BufferPartition {
    fn put(&mut self, recorded: &RecordedEvent) -> Result<(), LogError> {
        let metadata = decode_metadata(recorded)?;
        let mut writer = EventWriter(&mut self.open);
        writer.text(&recorded.stream.to_string());
        writer.number(recorded.position);
        writer.number(recorded.revision);
        writer.bytes(recorded.event_id.0.as_bytes());
        writer.text(&recorded.type_name);
        writer.instant(recorded.recorded_at);
        writer.number(u64::from(metadata.schema_version));
        writer.instant(metadata.effective_at);
        // No username is empty.
        writer.text(metadata.recorded_by.username.as_ref().map_or("", Username::as_str));
        writer.text(&metadata.recorded_by.client);
        writer.bytes(metadata.command_id.0.as_bytes());
        writer.bytes(&recorded.data);
        if self.open.len() >= BLOCK_BYTES {
            self.compressed.push(lz4_flex::compress_prepend_size(&self.open));
            self.open.clear();
        }
        Ok(())
    }

    /// The histories of the partition's streams, by stream.
    ///
    /// # Errors
    /// [`LogError::Damaged`] for the earliest event that cannot be read.
    pub(crate) fn histories(&self) -> Result<Vec<AnyHistory>, LogError> {
        let mut histories: HashMap<Stream, AnyHistory> = HashMap::new();
        let compressed = self
            .compressed
            .iter()
            .map(|block| lz4_flex::decompress_size_prepended(block).expect("memory gives back what was put into it"));
        for block in compressed.chain([self.open.clone()]) {
            let mut reader = EventReader(Bytes::from(block));
            while !reader.0.is_empty() {
                let (stream, entry) = reader.event()?;
                match histories.get_mut(&stream) {
                    Some(history) => history.push(entry)?,
                    None => {
                        let mut history = AnyHistory::new(&stream);
                        history.push(entry)?;
                        histories.insert(stream, history);
                    }
                }
            }
        }
        let mut histories: Vec<_> = histories.into_iter().collect();
        histories.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(histories.into_iter().map(|(_, history)| history).collect())
    }
}

/// Writes the fields of an event one after the other.
struct EventWriter<'a>(&'a mut Vec<u8>);

impl EventWriter<'_> {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("an event is far below 4 GiB");
        self.0.extend_from_slice(&len.to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn instant(&mut self, at: DateTime<Utc>) {
        self.0.extend_from_slice(&at.timestamp().to_le_bytes());
        self.0.extend_from_slice(&at.timestamp_subsec_nanos().to_le_bytes());
    }
}

/// The reason why reading back the bytes of an [`EventWriter`] cannot fail.
const WRITTEN: &str = "a block holds whole events as they were written";

/// Reads the bytes of an [`EventWriter`], in the same order.
struct EventReader(Bytes);

impl EventReader {
    fn event(&mut self) -> Result<(Stream, Entry<Event>), LogError> {
        let stream: Stream = self.text().parse().expect(WRITTEN);
        let position = self.number();
        let revision = self.number();
        let event_id = EventId(self.uuid());
        let type_name = self.text();
        let recorded_at = self.instant();
        let schema_version = u16::try_from(self.number()).expect(WRITTEN);
        let effective_at = self.instant();
        let username = self.text();
        let username = (!username.is_empty()).then(|| username.try_into().expect(WRITTEN));
        // No view has the auth source.
        let recorded_by = RecordedBy { username, client: self.text(), auth_source: None };
        let command_id = CommandId(self.uuid());
        let recorded = RecordedEvent {
            position,
            stream,
            revision,
            event_id,
            type_name,
            recorded_at,
            metadata: Bytes::new(),
            data: self.bytes(),
        };
        let event = decode_event(&recorded, schema_version)?;
        let entry = Entry { event_id, revision, position, effective_at, recorded_at, recorded_by, command_id, event };
        Ok((recorded.stream, entry))
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.0.split_to(N).as_ref().try_into().expect(WRITTEN)
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn bytes(&mut self) -> Bytes {
        let len = u32::from_le_bytes(self.take());
        self.0.split_to(usize::try_from(len).expect(WRITTEN))
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect(WRITTEN)
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_slice(&self.bytes()).expect(WRITTEN)
    }

    fn instant(&mut self) -> DateTime<Utc> {
        let (seconds, nanoseconds) = (i64::from_le_bytes(self.take()), u32::from_le_bytes(self.take()));
        DateTime::from_timestamp(seconds, nanoseconds).expect(WRITTEN)
    }
}

#[cfg(test)]
mod tests {
    use domain::{officer::CommunityManager, prisoner::PrisonerEvent};
    use event_log::{Metadata, Salt, decode, encode};

    use super::*;

    fn recorded(number: usize, revision: u64, position: u64) -> RecordedEvent {
        let at: DateTime<Utc> = "2026-03-01T09:00:00.123456789Z".parse().expect("an instant");
        let username = (!position.is_multiple_of(2)).then(|| "HOMD_LEI".parse().expect("a username"));
        let by = RecordedBy { username, client: "tests".into(), auth_source: None };
        let command_id = CommandId(Uuid::from_u128(u128::from(position)));
        let metadata = Metadata::new(at, by, command_id, "digest".into(), Uuid::nil(), None);
        let event = Event::Prisoner(PrisonerEvent::CommunityManagerAssigned(CommunityManager {
            name: format!("Lee, Sam {position}"),
            email: None,
            team: None,
            ldu: None,
        }));
        let stream = format!("prisoner-A{number:04}BC").parse().expect("a stream");
        let new = encode(&stream, &event, 0, &metadata, at, Salt::from([0; 32]));
        RecordedEvent {
            position,
            stream,
            revision,
            event_id: new.event_id,
            type_name: new.type_name,
            recorded_at: at,
            metadata: new.metadata,
            data: new.data,
        }
    }

    fn entries(history: &AnyHistory) -> &[Entry<PrisonerEvent>] {
        match history {
            AnyHistory::Case(history) => history.entries(),
            AnyHistory::Prison(_) | AnyHistory::Contacts(_) => &[],
        }
    }

    /// Enough events for partitions with several compressed blocks; each comes back as it is read
    /// without a buffer.
    #[test]
    fn events_come_back_by_stream_as_they_were_put() {
        const STREAMS: usize = 100;
        const REVISIONS: u64 = 200;
        let mut buffer = EventBuffer::new(1);
        let mut expected: HashMap<String, Vec<Entry<Event>>> = HashMap::new();
        let mut position = 0;
        for revision in 0..REVISIONS {
            for number in 0..STREAMS {
                position += 3;
                let event = recorded(number, revision, position);
                buffer.put(&event).expect("readable");
                let entry = decode(&event).expect("readable").entry;
                expected.entry(event.stream.to_string()).or_default().push(entry);
            }
        }
        let partitions = buffer.into_partitions();
        assert!(partitions.iter().any(|partition| partition.compressed.len() > 1), "blocks were compressed");
        let histories: Vec<_> =
            partitions.into_iter().flat_map(|partition| partition.histories().expect("readable")).collect();
        assert_eq!(histories.len(), STREAMS);
        for history in &histories {
            let AnyHistory::Case(case) = history else { panic!("a case") };
            let expected = &expected[&Stream::Prisoner(case.number().clone()).to_string()];
            assert_eq!(entries(history).len(), expected.len());
            for (entry, expected) in entries(history).iter().zip(expected) {
                let entry = Entry {
                    event_id: entry.event_id,
                    revision: entry.revision,
                    position: entry.position,
                    effective_at: entry.effective_at,
                    recorded_at: entry.recorded_at,
                    recorded_by: entry.recorded_by.clone(),
                    command_id: entry.command_id,
                    event: Event::Prisoner(entry.event.clone()),
                };
                assert_eq!(&entry, expected);
            }
        }
    }

    #[track_caller]
    fn check_damaged(events: &[RecordedEvent], position: u64) {
        let mut buffer = EventBuffer::new(1);
        let outcome = events.iter().try_for_each(|event| buffer.put(event)).and_then(|()| {
            buffer.into_partitions().into_iter().try_for_each(|partition| partition.histories().map(|_| ()))
        });
        let found = match outcome {
            Err(LogError::Damaged { position, .. }) => Some(position),
            _ => None,
        };
        assert_eq!(found, Some(position));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_position() {
        let good = recorded(1, 0, 10);
        check_damaged(&[good.clone(), RecordedEvent { metadata: Bytes::new(), ..recorded(1, 1, 20) }], 20);
        check_damaged(&[good.clone(), RecordedEvent { data: "{".into(), ..recorded(1, 1, 20) }], 20);
        check_damaged(
            &[good.clone(), RecordedEvent { type_name: "PrisonerTeleported".into(), ..recorded(1, 1, 20) }],
            20,
        );
        check_damaged(&[good, recorded(1, 2, 20)], 20);
    }
}
