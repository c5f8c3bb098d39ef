use domain::{Event, Stream, identifier::PrisonerNumber};
use proptest::prelude::*;

use super::{super::tests::stored_event_about, *};

/// What happens to the index: an event with the day on which it takes effect, the POM and the case;
/// or a policy takes what it can.
#[derive(Debug, Clone)]
enum Step {
    Event(&'static str, u32, i64, u32),
    Taking,
}

fn event() -> impl Strategy<Value = Step> {
    let names = [
        "given",
        "ended",
        "retired",
        "taken over",
        "taken over with a role",
        "inactive",
        "active",
        "corrected to d05",
        "contact",
    ];
    (prop::sample::select(names.to_vec()), 1..10_u32, 1..3_i64, 0..3_u32)
        .prop_map(|(name, day, pom, case)| Step::Event(name, day, pom, case))
}

fn number(case: u32) -> PrisonerNumber {
    PackedPrisonerNumber::new(case * 80_000_000).expect("there are so many").into()
}

fn staff_id(id: i64) -> StaffId {
    id.try_into().expect("a staff id")
}

fn last_event() -> Bookmark {
    Bookmark {
        position: 7,
        event_id: Some(EventId(Uuid::from_u128(5))),
        recorded_at: "2026-01-01T09:00:00.123456Z".parse().ok(),
    }
}

fn take_steps(holders: &mut RoleHolders, steps: &[Step]) {
    for step in steps {
        let Step::Event(name, day, pom, case) = step else {
            holders.take_obligations();
            continue;
        };
        let at = format!("2026-01-{day:02}T09:00:00Z").parse().expect("an instant");
        observe(holders, &stored_event_about(name, at, staff_id(*pom), &number(*case)));
    }
}

fn observe(holders: &mut RoleHolders, stored: &event_log::StoredEvent) {
    match (&stored.stream, &stored.entry.event) {
        (Stream::Prison(code), Event::Prison(event)) => {
            holders.observe_prison(code, event, stored.entry.effective_at);
        }
        (Stream::Prisoner(number), Event::Prisoner(event)) => {
            holders.observe_case(number, event, stored.entry.effective_at);
        }
        (Stream::Contacts(number), Event::Contacts(event)) => holders.contacts.add(number, event),
        other => panic!("{other:?}"),
    }
}

fn saved_and_restored(holders: &RoleHolders) -> RoleHolders {
    let bytes = encode(holders, last_event());
    let (restored, bookmark) = decode(&bytes).expect("what was saved");
    assert_eq!(bookmark, last_event());
    assert_eq!(encode(&restored, bookmark), bytes);
    restored
}

proptest! {
    #[test]
    fn the_index_from_any_snapshot_and_the_rest_equals_the_index_from_the_start(
        steps in prop::collection::vec(event(), 0..40),
    ) {
        let mut whole = RoleHolders::default();
        take_steps(&mut whole, &steps);
        for end in 0..=steps.len() {
            let mut holders = RoleHolders::default();
            take_steps(&mut holders, &steps[..end]);
            let mut restored = saved_and_restored(&holders);
            prop_assert_eq!(&restored, &holders);
            take_steps(&mut restored, &steps[end..]);
            prop_assert_eq!(&restored, &whole);
        }
    }

    /// The process that saved the index ends at any moment, with obligations under way.
    #[test]
    fn no_obligation_under_way_is_lost(
        before in prop::collection::vec(prop_oneof![5 => event(), 1 => Just(Step::Taking)], 0..40),
        after in prop::collection::vec(event(), 0..10),
    ) {
        let mut holders = RoleHolders::default();
        take_steps(&mut holders, &before);
        let mut restored = saved_and_restored(&holders);
        prop_assert!(restored.under_way.is_empty());
        take_steps(&mut restored, &after);
        let events: Vec<_> = before.iter().chain(&after).filter(|step| matches!(step, Step::Event(..))).cloned().collect();
        let mut whole = RoleHolders::default();
        take_steps(&mut whole, &events);
        prop_assert_eq!(&restored.poms, &whole.poms);
        prop_assert!(restored.obligations.is_superset(&whole.obligations));
    }

    #[test]
    fn bytes_with_the_right_digest_that_are_no_index_are_refused(content in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut bytes = [&FORMAT.to_le_bytes()[..], &content].concat();
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        if let Ok((holders, bookmark)) = decode(&bytes) {
            // A number can be written in more bytes than it needs.
            prop_assert_eq!(saved_and_restored(&holders), holders);
            prop_assert!(bookmark.event_id.is_some());
        }
    }

    #[test]
    fn a_packed_number_is_the_number_and_sorts_as_it_does(one in "[A-Z][0-9]{4}[A-Z]{2}", other in "[A-Z][0-9]{4}[A-Z]{2}") {
        let numbers: [PrisonerNumber; 2] = [one, other].map(|number| number.parse().expect("a number"));
        let packed = numbers.each_ref().map(PackedPrisonerNumber::from);
        prop_assert_eq!(packed.map(PrisonerNumber::from), numbers.clone());
        prop_assert_eq!(packed[0].cmp(&packed[1]), numbers[0].cmp(&numbers[1]));
    }
}

#[test]
fn there_are_as_many_packed_numbers_as_prisoner_numbers() {
    let last = PackedPrisonerNumber::from(&"Z9999ZZ".parse().expect("a number")).get();
    assert_eq!(PackedPrisonerNumber::from(&"A0000AA".parse().expect("a number")).get(), 0);
    assert!(PackedPrisonerNumber::new(last).is_some() && PackedPrisonerNumber::new(last + 1).is_none());
}

#[test]
fn an_altered_snapshot_or_one_in_another_format_is_refused() {
    let mut holders = RoleHolders::default();
    take_steps(&mut holders, &[Step::Event("given", 2, 1, 0), Step::Event("inactive", 3, 1, 0)]);
    let bytes = encode(&holders, last_event());
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 4;
        let refused = decode(&altered);
        match refused {
            Err(UnusableSnapshot::OtherFormat(_)) if place < FORMAT_BYTES => {}
            Err(UnusableSnapshot::Digest) if place >= FORMAT_BYTES => {}
            other => panic!("byte {place}: {other:?}"),
        }
        assert!(decode(&bytes[..place]).is_err(), "cut off at byte {place}");
    }
}

/// The index of a sample of every event, as an earlier version of the program saves it. Samples are
/// added at the end: those of an event that changes roles belong here, too, with a new digest.
#[test]
fn the_index_of_the_sample_events_is_that_of_this_format() {
    const SAMPLES: usize = 23;
    let mut holders = RoleHolders::default();
    let template = stored_event_about("given", DateTime::UNIX_EPOCH, staff_id(1), &number(0));
    for line in include_str!("../../../../domain/tests/data/events.jsonl").lines().take(SAMPLES) {
        let sample: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |member: &str| sample[member].as_str().expect("a text").to_owned();
        let stream: Stream = text("stream").parse().expect("a stream");
        let event = Event::deserialize_data(&stream, &text("type"), sample["data"].clone()).expect(line);
        let mut stored = template.clone();
        (stored.stream, stored.entry.event) = (stream, event);
        observe(&mut holders, &stored);
    }
    let bytes = encode(&holders, last_event());
    let digest: String = bytes[bytes.len() - 4..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        (FORMAT, digest.as_str()),
        (4, "0f01003e"),
        "an index that an earlier version saved has other bytes, or another meaning, than one of this version: raise \
         FORMAT, and correct this line"
    );
}
