//! The published format of events: a sample of each, with every member that it can have. A sample
//! that no longer reads, or comes back otherwise, means that the events already recorded no longer
//! do. Add samples; never change one.

use std::collections::BTreeSet;

use domain::{Event, Stream};
use serde_json::Value;

const SAMPLES: &str = include_str!("../data/events.jsonl");

#[test]
fn every_event_reads_and_writes_as_it_always_has() {
    let mut seen = BTreeSet::new();
    for line in SAMPLES.lines() {
        let sample: Value = serde_json::from_str(line).expect("a line of JSON");
        let stream: Stream = sample["stream"].as_str().expect("a stream").parse().expect("a stream");
        let type_name = sample["type"].as_str().expect("a type");
        let event = Event::deserialize_data(&stream, type_name, sample["data"].clone()).expect(line);
        assert_eq!(event.type_name(), type_name);
        let written = event.serialize_data(serde_json::value::Serializer).expect("JSON");
        assert_eq!(written, sample["data"], "{type_name}");
        seen.insert(type_name.to_owned());
    }
    for type_name in Event::type_names() {
        assert!(seen.contains(type_name), "no sample of {type_name}");
    }
}
