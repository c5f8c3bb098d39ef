//! Events as a store may hold them: a type, metadata and data, with line ends between them.
#![no_main]

use chrono::DateTime;
use domain::{event::Stream, identifier::CommandId};
use event_log::{
    RecordedEvent, Salt,
    stored_event::{decode, encode},
};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (type_name, metadata, data) = (part(), part(), part());
    let stream: Stream = "prisoner-A1234BC".parse().expect("a stream");
    let command = CommandId::from_key(Uuid::from_u128(0x7f1d_5d4e_6a0c_4c61_9d3b_0a1f_3f1c_2b3d)).expect("a key");
    let recorded = RecordedEvent {
        position: 1,
        revision: 0,
        event_id: command.event_id(&stream, 0),
        recorded_at: DateTime::UNIX_EPOCH,
        type_name,
        metadata: metadata.into(),
        data: data.into(),
        stream,
    };
    let Ok(read) = decode(&recorded) else { return };
    // What is read and written again means the same.
    let written = encode(&read.stream, &read.entry.event, 0, &read.metadata, recorded.recorded_at, Salt::from([0; 32]));
    let again =
        RecordedEvent { type_name: written.type_name, metadata: written.metadata, data: written.data, ..recorded };
    assert_eq!(decode(&again).expect("it was written by this program").entry.event, read.entry.event);
});
