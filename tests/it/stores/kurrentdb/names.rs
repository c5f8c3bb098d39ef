//! Names of persons' streams: they tell nothing without the naming key, and no process with another
//! key reads or writes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
};

use event_log::OrderedError;
use event_log_kurrentdb::{KurrentOrderedWriter, NamingKey, NamingKeyError};
use fancy_regex::Regex;
use kurrentdb::{ReadAllOptions, StreamPosition, TombstoneStreamOptions};

use super::*;
use crate::support::{
    DataDir, Program, ToolOutput, bare_database, database, log_with_key, run_in, server_name_of_generation,
    whole_log::read_recorded,
};

/// Another key than that of the tests' ledgers.
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// The stream of the key's fingerprint.
const FINGERPRINT: &str = ".ledger-naming-key";

fn prisoner(number: &str) -> Stream {
    format!("prisoner-{number}").parse().expect("a stream")
}

/// Writes an event to a stream on the server, with these server's metadata.
async fn write(client: &Client, name: &str, metadata: String) {
    let event = EventData::binary("ContractTried", "{}".into()).metadata(metadata.into());
    client.append_to_stream(name, &AppendToStreamOptions::default(), event).await.expect("write");
}

fn metadata(stream: &Stream, generation: u64) -> String {
    format!(
        r#"{{"eventId":"{}","recordedAt":"2026-03-01T10:00:00.000000Z","appendId":"00000000000000ff","stream":"{stream}","generation":{generation},"ledger":{{}}}}"#,
        Uuid::new_v4()
    )
}

/// The damage at the first event of a log.
async fn first_damage(log: &KurrentLog) -> String {
    match log.read_all(0, 10).await {
        Err(error @ LogError::Damaged { .. }) => error.to_string(),
        read => panic!("{read:?}"),
    }
}

#[tokio::test]
async fn an_event_whose_name_is_not_that_of_its_number_is_damage() {
    let (one, other) = (prisoner("A1234BC"), prisoner("A1234BD"));
    let prison: Stream = "prison-LEI".parse().expect("a stream");
    for (name, stream, generation) in [
        (server_name(&one), &other, 0),
        (server_name(&one), &one, 1),
        (server_name_of_generation(&one, 1), &one, 1),
        (server_name(&one), &prison, 0),
        ("ledger-prison-MDI".to_owned(), &prison, 0),
        ("ledger-prison-LEI".to_owned(), &one, 0),
        ("ledger-prisoner-A1234BC".to_owned(), &one, 0),
    ] {
        let server = StandIn::start();
        write(&client(&server), &name, metadata(stream, generation)).await;
        let damage = first_damage(&log(&server)).await;
        assert!(damage.contains("its stream has another name than the ledger gives it"), "{name}: {damage}");
        assert!(!damage.contains("A1234B"), "{damage}");
    }
    // Without the key the name of a person is not checked. The others are.
    let server = StandIn::start();
    write(&client(&server), &server_name(&one), metadata(&other, 7)).await;
    let read = log_with_key(&server.url(), None).read_all(0, 10).await.expect("read");
    assert_eq!(read.iter().map(|event| &event.stream).collect::<Vec<_>>(), [&other]);
    let server = StandIn::start();
    write(&client(&server), "ledger-prisoner-A1234BC", metadata(&one, 0)).await;
    first_damage(&log_with_key(&server.url(), None)).await;
}

/// Such as those that earlier versions wrote.
#[tokio::test]
async fn an_event_whose_metadata_lack_a_part_is_damage() {
    let stream = prisoner("A1234BC");
    let sound = metadata(&stream, 0);
    let parts = [
        ("\"eventId\":\"", "\"id\":\""),
        (r#","stream":"prisoner-A1234BC""#, ""),
        (r#","generation":0"#, ""),
        ("generation\":0", "generation\":-1"),
        ("prisoner-A1234BC", "prisoner-A1234B"),
        (r#","appendId":"00000000000000ff""#, ""),
    ];
    for (part, instead) in parts {
        let server = StandIn::start();
        let harmed = sound.replace(part, instead);
        assert_ne!(harmed, sound);
        write(&client(&server), &server_name(&stream), harmed).await;
        let damage = first_damage(&log(&server)).await;
        assert!(damage.contains("were not written by a ledger of this version"), "{part}: {damage}");
    }
    let server = StandIn::start();
    write(&client(&server), &server_name(&stream), sound).await;
    assert_eq!(log(&server).read_stream(&stream, 0, 10).await.expect("read").len(), 1);
}

/// Whether an error says that another naming key is the ledger's.
fn is_other_key(error: &LogError) -> bool {
    let LogError::Unavailable(reason) = error else { return false };
    matches!(reason.downcast_ref(), Some(NamingKeyError::Other))
}

#[tokio::test]
async fn a_process_with_another_key_reads_and_writes_nothing() {
    let server = StandIn::start();
    let (run, _) = append_nine(&log(&server)).await;
    let other = log_with_key(&server.url(), Some(OTHER_KEY));
    let refused =
        |what: &str, error: Option<LogError>| assert!(error.as_ref().is_some_and(is_other_key), "{what}: {error:?}");
    refused("a check", other.check_naming_key().await.err());
    refused("a choice", other.choose_naming_key().await.err());
    refused("a stream", other.read_stream(&stream(run, 0), 0, 10).await.err());
    refused("a load", other.load_streams(&[stream(run, 0)]).await.err());
    refused("the log", other.read_all(0, 10).await.err());
    refused("its end", other.learn_keys().await.err());
    let followed = other.follow_all(0).next().await.expect("an item");
    refused("a follower", followed.err());
    let event = contract_event(run, 9);
    match other.append(&stream(run, 5), NoStream, vec![event.clone()]).await {
        Err(AppendError::Log(error)) => refused("an append", Some(error)),
        appended => panic!("{appended:?}"),
    }
    let event = event_log::OrderedEvent { stream: stream(run, 5), revision: 0, event };
    match KurrentOrderedWriter::new(&other).append(std::slice::from_ref(&event)).await {
        Err(OrderedError::Log(error)) => refused("an ordered append", Some(error)),
        appended => panic!("{appended:?}"),
    }

    let without = log_with_key(&server.url(), None);
    assert_eq!(read_recorded(&without).await, read_recorded(&log(&server)).await);
    for error in [
        without.read_stream(&stream(run, 0), 0, 10).await.expect_err("a stream"),
        match without.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await {
            Err(AppendError::Log(error)) => error,
            appended => panic!("{appended:?}"),
        },
    ] {
        assert!(event_log::error_chain(&error).contains("LEDGER_NAMING_KEY_FILE"), "{error:?}");
    }
    assert_eq!(read_recorded(&log(&server)).await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_keys_that_are_chosen_at_once_one_is_the_ledgers() {
    let server = StandIn::start();
    let logs: Vec<KurrentLog> =
        (0..8).map(|_| log_with_key(&server.url(), Some(NamingKey::new_text().as_str()))).collect();
    let chosen = join_all(logs.iter().map(KurrentLog::choose_naming_key)).await;
    let refused = chosen.iter().filter_map(|chosen| chosen.as_ref().err());
    assert_eq!(refused.filter(|error| is_other_key(error)).count(), 7, "{chosen:?}");
    for (log, chosen) in logs.iter().zip(&chosen) {
        assert_eq!(log.check_naming_key().await.is_ok(), chosen.is_ok());
    }
}

/// The stream with the fingerprint was deleted, as one that holds nothing but a cache may be.
#[tokio::test]
async fn a_lost_fingerprint_is_stored_again_by_the_key_that_named_the_streams() {
    let server = StandIn::start();
    append_nine(&log(&server)).await;
    let options = kurrentdb::DeleteStreamOptions::default();
    client(&server).delete_stream(FINGERPRINT, &options).await.expect("delete");
    assert!(!log(&server).has_naming_key().await.expect("look"));
    let other = log_with_key(&server.url(), Some(OTHER_KEY));
    for refused in [other.check_naming_key().await, other.choose_naming_key().await] {
        assert!(refused.as_ref().is_err_and(is_other_key), "{refused:?}");
    }
    log(&server).check_naming_key().await.expect("the key that named them");
    assert!(!log(&server).has_naming_key().await.expect("look"));
    log(&server).choose_naming_key().await.expect("the key that named them");
    assert!(log(&server).has_naming_key().await.expect("look"));
    assert!(is_other_key(&other.choose_naming_key().await.expect_err("another key")));
    // An outage is another error than that.
    client(&server).tombstone_stream(FINGERPRINT, &TombstoneStreamOptions::default()).await.expect("delete");
    log(&server).read_all(0, 1).await.expect_err("it cannot be looked at any more");
}

/// A small history, and a search of everything that the server shows of names, and of the log.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_statistic_or_log_line_tells_a_prisoner_number() {
    let (server, views) = (StandIn::start(), bare_database().await);
    let (url, client) = (server.url(), client(&server));
    let stores = ["--event-store", &*url, "--views", &*views.url, "--log", "debug"];
    let program = Program::serve_with(&stores).await;
    let api = program.client();
    let join = json!({"goLiveDate": "2019-01-01", "estate": "MENS_CLOSED", "effectiveAt": "2019-01-01T00:00:00Z"});
    let pom =
        json!({"staffId": 485_926, "name": "Okafor, Grace", "kind": "PRISON", "effectiveAt": "2019-01-01T00:00:00Z"});
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": "LEI"});
    let allocation = json!({"prison": "LEI", "pom": {"staffId": 485_926}});
    let contact = json!({"prisonerNumber": "A1111AA", "staffId": 485_926, "contactType": "POM"});
    let mut answers = vec![api.post("/prisons/LEI/onboarding", &join).await, api.post("/prisons/LEI/poms", &pom).await];
    for number in ["A1111AA", "A2222AA", "A3333AA"] {
        answers.push(api.post(&format!("/prisoners/{number}/tier"), &tier).await);
        answers.push(api.post(&format!("/prisoners/{number}/allocations"), &allocation).await);
    }
    answers.push(api.post("/prisons/LEI/nomis-contacts", &contact).await);
    answers.push(api.post("/prisoners/A2222AA/merges", &json!({"removedNumber": "A3333AA"})).await);
    for path in ["/prisoners/A1111AA/history", "/prisoners/A2222AA/responsibility?on=2026-02-02&known-at=2026-02-02"] {
        api.get(path).await;
    }
    api.post("/prisoners/A1111AA/allocations", &allocation).await;
    // A stream that is gone, as damage is told in the log.
    let lost = server_name(&prisoner("A1111AA"));
    client.tombstone_stream(lost.as_str(), &TombstoneStreamOptions::default()).await.expect("delete");
    let again = api.post("/prisoners/A1111AA/tier", &json!({"tier": "A", "source": "DELIUS", "prison": "LEI"})).await;
    assert_eq!(again.status, 500, "{}", again.text);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(statuses.iter().all(|status| (200..300).contains(status)), "{statuses:?}: {answers:?}");
    let (_, program_log) = program.stop_and_read_log().await;

    let mut shown = made_up_data(&client, "$stand-in-calls").await.to_string();
    let options = ReadAllOptions::default().position(StreamPosition::Start);
    let mut read = client.read_all(&options).await.expect("read");
    let mut of_persons = 0;
    while let Some(event) = read.next().await.expect("read") {
        let event = event.get_original_event();
        let name = event.stream_id();
        of_persons += usize::from(name.starts_with("ledger-person-"));
        shown += &format!("\n{name}");
        if name.starts_with('$') {
            shown += &String::from_utf8_lossy(&event.data);
        }
    }
    assert!(of_persons > 5 && shown.contains(&lost), "{of_persons}");
    let number = Regex::new("[A-Z][0-9]{4}[A-Z]{2}").expect("an expression");
    let numbers = |text: &str| {
        let found = number.find_iter(text).map(|found| found.expect("a match").as_str().to_owned());
        // That of the comments of the schema, whose statements are logged.
        found.filter(|number| number != "A1234BC").collect::<Vec<_>>()
    };
    assert_eq!(numbers(&shown), Vec::<String>::new(), "{shown}");
    assert_eq!(numbers(&program_log), Vec::<String>::new(), "{program_log}");
    assert!(program_log.contains("DEBUG") && program_log.contains("its stream was deleted for good"), "{program_log}");
}

/// Asserts that a program ends, and what its reason says.
#[track_caller]
fn assert_refused(ran: &ToolOutput, what: &str) {
    assert_eq!(ran.status.code(), Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(what), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_tools_with_another_key_or_none_are_refused() {
    let (mut server, views) = (StandIn::start(), database().await);
    let url = server.url();
    append_nine(&log(&server)).await;
    let stores = ["--event-store", &*url, "--views", &*views.url];
    let serve = |role: &'static str| [&["serve", "--listen", "127.0.0.1:0", "--role", role][..], &stores].concat();
    let tools: [Vec<&str>; 3] = [
        [&["replay"], &stores[..]].concat(),
        [&["history", "A1234BC"], &stores[..]].concat(),
        [&["projections", "verify"], &stores[..]].concat(),
    ];
    let other = [("LEDGER_NAMING_KEY", OTHER_KEY)];
    for arguments in ["command", "projector", "query", "all"].map(serve).iter().chain(&tools) {
        assert_refused(&run_in(&other, arguments).await, "is not that of this ledger");
    }
    for (key, what) in [("", "name its file"), ("0123", "a naming key is 64 hexadecimal digits")] {
        for arguments in [&serve("query"), &tools[1]] {
            let ran = run_in(&[("LEDGER_NAMING_KEY", key)], arguments).await;
            assert_refused(&ran, what);
            assert!(!ran.stderr.contains("0123"), "{}", ran.stderr);
        }
    }
    // To read the whole log takes no key.
    let without = run_in(&[("LEDGER_NAMING_KEY", "")], &["replay", "--raw", "--event-store", &url]).await;
    assert!(without.stderr.contains("names of streams in the log that is read are not checked"), "{}", without.stderr);

    // A service that was started before its server ends when that answers.
    server.kill();
    let service = Program::start_in(&other, &[&["--role", "command"], &stores[..2]].concat()).await;
    server.start_again();
    assert_eq!(service.wait_for_end().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn prepare_makes_the_key_of_a_new_ledger_once() {
    let (server, directory) = (StandIn::start(), DataDir::new());
    let url = server.url();
    let file = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (path, wrong, link) = (file("key"), file("wrong"), file("link"));
    let prepare = async |path: &str| {
        let environment = [("LEDGER_NAMING_KEY", ""), ("LEDGER_NAMING_KEY_FILE", path)];
        run_in(&environment, &["prepare", "--event-store", &url]).await
    };
    assert_refused(&prepare("").await, "--naming-key-file");
    symlink(file("elsewhere"), &link).expect("make a link");
    assert_refused(&prepare(&link).await, "the file of the naming key");
    assert!(!fs::exists(file("elsewhere")).expect("look"));

    let made = prepare(&path).await;
    assert!(made.status.success() && made.stdout.contains("is new, in "), "{made:?}");
    let text = fs::read_to_string(&path).expect("the key");
    assert!(!made.stdout.contains(text.trim()), "{}", made.stdout);
    assert_eq!(fs::metadata(&path).expect("the file").mode() & 0o777, 0o600);
    let key = [("LEDGER_NAMING_KEY", ""), ("LEDGER_NAMING_KEY_FILE", path.as_str())];
    let service = Program::start_in(&key, &["--role", "command", "--event-store", &url]).await.into_ready().await;
    assert!(service.stop().await.success());
    let again = prepare(&path).await;
    assert!(again.status.success() && again.stdout.contains("is that of the ledger"), "{again:?}");
    assert_eq!(fs::read_to_string(&path).expect("the key"), text);

    fs::write(&wrong, OTHER_KEY).expect("write");
    assert_refused(&prepare(&wrong).await, "is not that of this ledger");
    // The file is lost: no other one is made, also where the fingerprint is lost with it.
    assert_refused(&prepare(&file("lost")).await, "put the file back");
    let key = fs::read_to_string(&path).expect("the key");
    append_nine(&log_with_key(&url, Some(key.trim()))).await;
    let options = kurrentdb::DeleteStreamOptions::default();
    client(&server).delete_stream(FINGERPRINT, &options).await.expect("delete");
    assert_refused(&prepare(&file("lost")).await, "put the file back");
    assert!(!fs::exists(file("lost")).expect("look"));
    assert!(prepare(&path).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_prepares_at_once_one_key_wins_and_the_other_is_refused() {
    let (server, directory) = (StandIn::start(), DataDir::new());
    let url = server.url();
    let paths = ["one", "other"].map(|name| directory.path().join(name));
    let ran = join_all(paths.iter().map(async |path| {
        let environment = [("LEDGER_NAMING_KEY", ""), ("LEDGER_NAMING_KEY_FILE", path.to_str().expect("UTF-8"))];
        run_in(&environment, &["prepare", "--event-store", &url]).await
    }))
    .await;
    let won = ran.iter().filter(|ran| ran.status.success()).count();
    assert_eq!(won, 1, "{ran:?}");
    for (ran, path) in ran.iter().zip(&paths) {
        assert_eq!(fs::exists(path).expect("look"), ran.status.success(), "{ran:?}");
    }
}
