//! `generate`: a made-up history. The same seed gives the same log, the rules accept every event,
//! and the policies find nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream,
    handover::Facts,
    officer::{PomKind, PomStatus},
    prison::{self, PrisonEvent},
    prisoner::{self, Command, DeallocationTrigger, PrisonerEvent, RecommendationPolicy, decide},
};
use event_log::{EventLog as _, RecordedEvent, StoredEvent, decode, history::push};
use event_log_postgres::PostgresLog;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    TestDatabase, Tool, database, eventually,
    ledger::{Ledger, assert_recorded, history, serve_commands},
    run,
    whole_log::read_recorded,
};

/// 300 people at three prisons in two years, from a seed.
async fn generate_log(seed: &str) -> (TestDatabase, Value) {
    let database = database().await;
    let ran =
        run(&arguments(&database, &["--prisoners", "300", "--years", "2", "--prisons", "3", "--seed", seed])).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    (database, serde_json::from_str(&ran.stdout).expect("one JSON object"))
}

fn arguments<'a>(database: &'a TestDatabase, sizes: &[&'a str]) -> Vec<&'a str> {
    [&["generate", "--json", "--event-store", database.url.as_str()], sizes].concat()
}

fn salt(event: &RecordedEvent) -> String {
    let metadata: Value = serde_json::from_slice(&event.metadata).expect("JSON");
    metadata["salt"].as_str().expect("a salt").to_owned()
}

async fn log(database: &TestDatabase) -> Vec<RecordedEvent> {
    let log = PostgresLog::connect(&database.pool).await.expect("the log");
    read_recorded(&log).await
}

/// The events of each case and of each prison, in the order recorded.
fn streams(events: &[RecordedEvent]) -> BTreeMap<Stream, Vec<StoredEvent>> {
    let mut streams: BTreeMap<Stream, Vec<StoredEvent>> = BTreeMap::new();
    for event in events {
        streams.entry(event.stream.clone()).or_default().push(decode(event).expect("an event"));
    }
    streams
}

fn prisons(streams: &BTreeMap<Stream, Vec<StoredEvent>>) -> BTreeMap<String, prison::History> {
    let mut prisons = BTreeMap::new();
    for (stream, events) in streams {
        let Stream::Prison(code) = stream else { continue };
        let mut history = prison::History::new(code.clone());
        for stored in events {
            push(&mut history, stored.entry.clone()).expect("the next event of the prison");
        }
        prisons.insert(code.to_string(), history);
    }
    prisons
}

#[tokio::test]
async fn the_same_seed_makes_the_same_log_and_another_seed_another() {
    let ((one, said), (same, _), (other, _)) = tokio::join!(generate_log("7"), generate_log("7"), generate_log("8"));
    let (one, same, other) = (log(&one).await, log(&same).await, log(&other).await);
    assert_eq!(said["events"], json!(one.len()));
    assert!(one == same, "the same to the byte, positions and recorded times included");
    assert!(one.iter().zip(&other).all(|(one, other)| one.event_id != other.event_id), "nothing is the same");
    let salts: BTreeSet<String> = one.iter().chain(&other).map(salt).collect();
    assert_eq!(salts.len(), one.len() + other.len(), "each event has a salt of its own");
}

/// Decides every event again: each case as known after each of its events, and each choice of a POM
/// by the roster of its time.
#[tokio::test]
async fn the_rules_accept_every_generated_event() {
    let (database, said) = generate_log("3").await;
    let events = log(&database).await;
    let until: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().expect("an instant");
    for pair in events.windows(2) {
        assert!(pair[0].recorded_at <= pair[1].recorded_at && pair[1].recorded_at < until, "{pair:?}");
    }
    let streams = streams(&events);
    let rosters = prisons(&streams);
    assert_eq!((said["prisons"].as_u64(), rosters.len()), (Some(3), 3));
    let mut cases = 0;
    for (stream, events) in &streams {
        for (index, stored) in events.iter().enumerate() {
            let (entry, metadata) = (&stored.entry, &stored.metadata);
            assert_eq!(entry.revision, index as u64);
            assert!(entry.effective_at <= entry.recorded_at, "{stored:?}");
            let of_command = events[..index].iter().filter(|one| one.entry.command_id == entry.command_id).count();
            assert_eq!(entry.event_id, entry.command_id.event_id(stream, of_command), "{stored:?}");
            assert_eq!(metadata.request_digest.len(), 64);
            assert_eq!(metadata.causation_id.is_some(), is_caused(&entry.event), "{stored:?}");
        }
        let Stream::Prisoner(number) = stream else { continue };
        cases += 1;
        for known in 1..=events.len() {
            assert_legal(number.as_str(), &events[..known]);
        }
        for stored in events {
            assert_allowed(&rosters, stored);
        }
    }
    assert_eq!(said["cases"], json!(cases));
    assert_inactive_poms_hold_nothing(&streams);
}

/// A POM who became inactive must hold nothing afterwards, and only such roles may have ended for
/// this reason.
fn assert_inactive_poms_hold_nothing(streams: &BTreeMap<Stream, Vec<StoredEvent>>) {
    let cases: Vec<(&str, prisoner::History)> = streams
        .iter()
        .filter_map(|(stream, events)| match stream {
            Stream::Prisoner(number) => Some((number.as_str(), history(number.as_str(), events.clone()))),
            Stream::Prison(_) | Stream::Contacts(_) => None,
        })
        .collect();
    let (mut ended, mut ends) = (0, 0);
    for (stream, events) in streams {
        let Stream::Prison(code) = stream else { continue };
        for stored in events {
            let Event::Prison(PrisonEvent::PomStatusChanged(changed)) = &stored.entry.event else { continue };
            if changed.status != PomStatus::Inactive {
                continue;
            }
            for (number, case) in &cases {
                let state = case.known_at_position(stored.entry.position).state();
                let holds = [&state.primary_pom, &state.coworking_pom]
                    .into_iter()
                    .flatten()
                    .any(|role| role.pom.staff_id == changed.staff_id && role.prison == *code);
                let caused = |one: &&StoredEvent| one.metadata.causation_id == Some(stored.entry.event_id);
                let number = Stream::Prisoner(number.parse().expect("a prisoner number"));
                assert_eq!(streams[&number].iter().filter(caused).count(), usize::from(holds), "{number}, {stored:?}");
                ended += usize::from(holds);
            }
        }
    }
    for events in streams.values() {
        ends += events.iter().filter(|one| one.metadata.recorded_by.client == "policy").count();
    }
    assert!(ended > 0 && ended <= ends, "{ended} roles ended, {ends} ends");
}

/// Whether only a policy or the second half of a merge records this event.
fn is_caused(event: &Event) -> bool {
    match event {
        Event::Prisoner(PrisonerEvent::Deallocated(ended)) => ended.trigger == DeallocationTrigger::PomInactive,
        Event::Prisoner(PrisonerEvent::CoworkerDeallocated(ended)) => ended.trigger == DeallocationTrigger::PomInactive,
        Event::Prisoner(PrisonerEvent::PrisonerNumberMerged(_)) => true,
        _ => false,
    }
}

/// Adds a handover plan before everything else. It has no effect on later events but makes the
/// rules check all of them. A retired number takes no commands, so its last event is left out.
fn assert_legal(number: &str, events: &[StoredEvent]) {
    let is_retirement =
        |stored: &StoredEvent| matches!(stored.entry.event, Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(_)));
    let events = match events.split_last() {
        Some((last, before)) if is_retirement(last) => before,
        _ => events,
    };
    let history = history(number, events.to_vec());
    let context = prisoner::Context {
        now: Utc::now(),
        effective_at: DateTime::UNIX_EPOCH,
        prison: None,
        recommendation_policy: RecommendationPolicy::Tier,
    };
    let first = Command::PlanHandover(Facts { indeterminate: true, ..Facts::default() });
    if let Err(refusal) = decide(&history, &first, &context) {
        panic!("{refusal}: {history:#?}");
    }
}

/// A POM with a new role must have been on the roster then, active, of the kind in the event, and
/// with a reason where one is needed.
fn assert_allowed(rosters: &BTreeMap<String, prison::History>, stored: &StoredEvent) {
    let Event::Prisoner(event) = &stored.entry.event else { return };
    let (prison, pom, choice) = match event {
        PrisonerEvent::AllocationMade(made) => (&made.prison, &made.pom, Some(&made.choice)),
        PrisonerEvent::Reallocated(moved) => (&moved.prison, &moved.pom_after, Some(&moved.choice)),
        PrisonerEvent::CoworkerAllocated(joined) => (&joined.prison, &joined.pom, None),
        PrisonerEvent::CoworkerReallocated(moved) => (&moved.prison, &moved.pom_after, None),
        _ => return,
    };
    let at = stored.entry.effective_at;
    let roster = &rosters[prison.as_str()];
    assert!(roster.joined_at(at).is_some(), "{stored:?}");
    let listed = roster.pom_at(pom.staff_id, at).expect("on the roster");
    assert_eq!((listed.status, &listed.name, listed.kind), (PomStatus::Active, &pom.name, pom.kind), "{stored:?}");
    if let Some(choice) = choice {
        assert_eq!(choice.is_override(pom.kind), !choice.override_reasons.is_empty(), "{stored:?}");
    }
}

#[tokio::test]
async fn the_proportions_are_those_of_the_country() {
    let (database, _) = generate_log("4").await;
    let events = log(&database).await;
    let streams = streams(&events);
    let mut types: BTreeMap<&str, f64> = BTreeMap::new();
    let (mut released, mut transferred, mut backdated, mut overridden, mut probation) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut inside = 0;
    for (stream, events) in &streams {
        for stored in events {
            *types.entry(stored.entry.event.type_name()).or_default() += 1.0;
            backdated += f64::from(stored.entry.effective_at < stored.entry.recorded_at);
            match &stored.entry.event {
                Event::Prisoner(PrisonerEvent::Deallocated(ended)) => {
                    released += f64::from(ended.trigger == DeallocationTrigger::Released);
                    transferred += f64::from(ended.trigger == DeallocationTrigger::Transferred);
                }
                Event::Prisoner(PrisonerEvent::AllocationMade(made)) => {
                    overridden += f64::from(!made.choice.override_reasons.is_empty());
                    probation += f64::from(made.pom.kind == PomKind::Probation);
                }
                _ => {}
            }
        }
        if let Stream::Prisoner(number) = stream {
            let state = history(number.as_str(), events.clone()).state();
            inside += usize::from(state.prison.is_some() && state.retired_into.is_none());
        }
    }
    let count = |name: &str| types.get(name).copied().unwrap_or_default();
    let within = |what: &str, share: f64, from: f64, to: f64| {
        assert!((from..=to).contains(&share), "{what}: {share} is not from {from} to {to}; {types:?}");
    };
    let allocations = count("AllocationMade");
    within("people inside at the end", inside as f64, 270.0, 330.0);
    within("events a person and year", events.len() as f64 / 600.0, 4.5, 8.5);
    // Two years. The first begins without cases.
    within("releases a person and year", released / 600.0, 0.3, 0.7);
    within("transfers to allocations", transferred / allocations, 0.1, 0.45);
    within("reallocations to allocations", count("Reallocated") / allocations, 0.1, 0.5);
    within("COMs to allocations", count("CommunityManagerAssigned") / allocations, 0.25, 0.8);
    within("plans to allocations", count("HandoverPlanned") / allocations, 0.5, 1.2);
    within("overrides of the choice", overridden / allocations, 0.01, 0.15);
    within("probation POMs", probation / allocations, 0.1, 0.45);
    within("overrides of responsibility", count("ResponsibilityOverridden") / allocations, 0.005, 0.1);
    within("voids to all", count("EntryVoided") / events.len() as f64, 0.002, 0.03);
    within("backdated to all", backdated / events.len() as f64, 0.03, 0.25);
    within("contacts removed", count("NomisContactRemovalConfirmed") / count("NomisContactFound"), 0.8, 1.0);
    // Beside the types above. With three POMs of a kind a co-working POM seldom changes.
    for name in [
        "Received",
        "TierAssigned",
        "CoworkerAllocated",
        "CoworkerDeallocated",
        "CommunityManagerRemoved",
        "ResponsibilityOverrideRemoved",
        "PrisonerNumberMerged",
        "PrisonerNumberRetired",
        "PrisonJoinedOmic",
        "PomRegistered",
        "PomDetailsChanged",
        "PomStatusChanged",
    ] {
        assert!(count(name) > 0.0, "there is no {name}");
    }
}

/// Makes a POM inactive after everything generated. The program searches the whole log for pending
/// work before it does the first, so pending work from the generated part would appear among the
/// new events.
#[tokio::test]
async fn the_policies_find_nothing_to_do_in_a_generated_log() {
    let (database, said) = generate_log("11").await;
    let before = said["events"].as_u64().expect("a number");
    let rosters = prisons(&streams(&log(&database).await));
    let known = states(&database).await;
    let holds = |staff_id| known.iter().any(|state| state.primary_staff_id() == Some(staff_id));
    let (code, staff_id) = rosters
        .iter()
        .flat_map(|(code, roster)| roster.roster().poms.values().map(move |pom| (code, pom)))
        .find(|(_, pom)| pom.status == PomStatus::Active && holds(pom.staff_id))
        .map(|(code, pom)| (code, pom.staff_id))
        .expect("a POM with cases");

    let program = serve_commands(&database).await;
    let ledger = Ledger { database, program };
    let path = format!("/prisons/{code}/poms/{staff_id}/status");
    let status = assert_recorded(&ledger.client().put(&path, &json!({"status": "INACTIVE"})).await).clone();
    eventually("the POM to hold no cases", async || {
        let now = states(&ledger.database).await;
        let held =
            |state: &prisoner::State| [state.primary_staff_id(), state.coworking_staff_id()].contains(&Some(staff_id));
        (!now.iter().any(held)).then_some(())
    })
    .await;
    let events = ledger.events().await;
    let (first, ends) = events[before as usize..].split_first().expect("the change of status");
    let cause = &status.body["events"][0]["eventId"];
    assert_eq!(&json!(first.entry.event_id), cause, "nothing was recorded before it");
    for end in ends {
        assert_eq!(&json!(end.metadata.causation_id), cause, "{end:?}");
    }
}

async fn states(database: &TestDatabase) -> Vec<prisoner::State> {
    streams(&log(database).await)
        .into_iter()
        .filter_map(|(stream, events)| match stream {
            Stream::Prisoner(number) => Some(history(number.as_str(), events).state()),
            Stream::Prison(_) | Stream::Contacts(_) => None,
        })
        .collect()
}

#[tokio::test]
async fn a_ledger_with_events_is_refused_and_left_unchanged() {
    let ledger = Ledger::empty().await;
    ledger.join_omic("LEI").await;
    let ran = run(&arguments(&ledger.database, &["--prisoners", "10", "--years", "1", "--prisons", "1"])).await;
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(ran.stdout, "");
    assert_eq!(
        ran.stderr,
        "error: this ledger holds events already, up to position 1, and made-up ones must not stand among them: generate into a ledger \
         of its own, with --data-dir or --event-store\n"
    );
    assert_eq!(ledger.event_count().await, 1);
}

/// Two interruptions at any moments: the shorter log must be the beginning of the longer one.
#[tokio::test]
async fn an_interrupted_generate_leaves_the_beginning_of_the_same_history() {
    let (one, other) = tokio::join!(interrupted_after(1), interrupted_after(12_000));
    let (one, other) = (log(&one).await, log(&other).await);
    assert_ne!(one.len(), other.len(), "or it was not interrupted");
    assert!(one.iter().zip(&other).all(|(one, other)| one == other));
    for (stream, events) in streams(&one) {
        if let Stream::Prisoner(number) = stream {
            assert_legal(number.as_str(), &events);
        }
    }
}

/// The log of a full-size country, interrupted after so many events.
async fn interrupted_after(count: u64) -> TestDatabase {
    let database = database().await;
    let head = PostgresLog::connect(&database.pool).await.expect("the log");
    let tool = Tool::start(&arguments(&database, &["--seed", "9"]));
    eventually("some events", async || (head.head().await.expect("the end") >= count).then_some(())).await;
    tool.signal(Signal::SIGINT);
    let ran = tool.wait_for_end().await;
    assert_eq!(ran.status.code(), Some(1));
    let left = head.head().await.expect("the end");
    let expected = format!("error: interrupted: the log holds the first {left} events, a history that ends earlier\n");
    assert_eq!(ran.stderr, expected);
    let again = run(&arguments(&database, &["--seed", "9"])).await;
    assert!(!again.status.success() && again.stderr.contains("holds events already"), "{}", again.stderr);
    database
}
