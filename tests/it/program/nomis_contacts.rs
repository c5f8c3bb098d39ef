//! `import nomis-contacts`: each contact goes to a stream of its person, once; and with
//! `--complete` an empty list is no reason to take every contact for gone.

use std::{fmt::Write as _, path::Path};

use domain::Stream;
use event_log::StoredEvent;
use nix::sys::signal::Signal;

use crate::support::{
    DataDir, TestDatabase, Tool, ToolOutput, database, eventually,
    ledger::{assert_recorded, serve_commands},
    run,
    whole_log::read_stored,
};

const HEADINGS: &str = "Prisoner number,Staff ID,Name,Contact type\n";

async fn import(file: &Path, rows: &str, more: &[&str], stores: &[String]) -> ToolOutput {
    std::fs::write(file, format!("{HEADINGS}{rows}")).expect("write a file");
    let file = file.to_str().expect("a path in UTF-8");
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    run(&[&["import", "nomis-contacts", file, "--prison", "LEI"], more, &stores].concat()).await
}

#[tokio::test]
async fn a_complete_list_without_contacts_is_refused_unless_it_is_said_to_be_empty() {
    let database = database().await;
    let dir = DataDir::new();
    let file = dir.path().join("contacts.csv");
    let stores = database.store.arguments();
    let import = async |rows: &str, more: &[&str]| import(&file, rows, more, &stores).await;
    let contact = "A0001BC,485926,\"Okafor, Grace\",POM\n";
    assert!(import(contact, &[]).await.status.success());

    for rows in ["", "\n\n,,,\n", "Total,1,,\n"] {
        let ran = import(rows, &["--complete"]).await;
        assert_eq!(ran.status.code(), Some(1), "{rows:?}: {}", ran.stdout);
        assert!(ran.stderr.contains("lists no contacts"), "{}", ran.stderr);
        assert!(ran.stderr.contains("say so with --none"), "{}", ran.stderr);
    }
    let ran = import(contact, &["--complete", "--none"]).await;
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("lists 1 contact"), "{}", ran.stderr);
    assert_eq!(import("", &["--none"]).await.status.code(), Some(2), "only of a complete list");

    let ran = import("", &["--complete", "--none"]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    assert!(ran.stdout.contains("1 removal confirmed"), "{}", ran.stdout);
}

/// A row that is refused may be of any contact, so none is taken for gone.
#[tokio::test]
async fn a_contact_whose_name_holds_a_prisoner_number_is_refused_and_removes_none() {
    let database = database().await;
    let dir = DataDir::new();
    let file = dir.path().join("contacts.csv");
    let stores = database.store.arguments();
    assert!(import(&file, "A0001BC,,\"Okafor, Grace\",POM\n", &[], &stores).await.status.success());
    let ran = import(&file, "A0001BC,,\"Okafor, Grace B1234BC\",POM\n", &["--complete"], &stores).await;
    assert!(ran.stdout.contains("it names the prisoner number B1234BC: leave that out"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("removal confirmed"), "{}", ran.stdout);
}

/// So many persons with a contact each, from a number on.
fn rows(from: usize, count: usize) -> String {
    let mut rows = String::new();
    for index in from..from + count {
        writeln!(rows, "A{index:04}BC,485926,\"Okafor, Grace\",POM").expect("a string takes all");
    }
    rows
}

async fn events(database: &TestDatabase) -> Vec<StoredEvent> {
    read_stored(&*database.log().await).await
}

/// The contacts by stream and type, without when and by which run they were recorded.
fn told(events: &[StoredEvent]) -> Vec<String> {
    let mut told: Vec<_> = events
        .iter()
        .map(|event| format!("{} {} {}", event.stream, event.entry.event.type_name(), event.entry.revision))
        .collect();
    told.sort();
    told
}

/// Persons enough that an import takes a while.
const MANY: usize = 3_000;

#[tokio::test]
async fn an_import_that_was_killed_ends_as_one_that_was_not_when_it_is_repeated() {
    let database = database().await;
    let dir = DataDir::new();
    let file = dir.path().join("contacts.csv");
    let stores = database.store.arguments();
    assert!(import(&file, &rows(0, 2), &[], &stores).await.status.success());
    std::fs::write(&file, format!("{HEADINGS}{}", rows(1, MANY))).expect("write a file");
    let stores_of_tool: Vec<&str> = stores.iter().map(String::as_str).collect();
    let path = file.to_str().expect("a path in UTF-8");
    let tool = Tool::start(
        &[&["import", "nomis-contacts", path, "--prison", "LEI", "--complete"], &stores_of_tool[..]].concat(),
    );
    let log = database.log().await;
    let before = log.head().await.expect("the log's end");
    eventually("a part of the import", async || (log.head().await.expect("the log's end") > before).then_some(()))
        .await;
    tool.signal(Signal::SIGKILL);
    drop(tool);
    let ran = import(&file, &rows(1, MANY), &["--complete"], &stores).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let recorded = events(&database).await;
    assert!(recorded.iter().all(|event| matches!(event.stream, Stream::Contacts(_))));
    let mut expected: Vec<_> = (0..=MANY).map(|index| format!("contacts-A{index:04}BC NomisContactFound 0")).collect();
    expected.push("contacts-A0000BC NomisContactRemovalConfirmed 1".to_owned());
    expected.sort();
    assert_eq!(told(&recorded), expected);
}

#[tokio::test]
async fn two_imports_at_once_record_what_one_does() {
    let database = database().await;
    let (dir, stores) = (DataDir::new(), database.store.arguments());
    let (one, other) = (dir.path().join("one.csv"), dir.path().join("other.csv"));
    let rows = rows(0, 300);
    let (one, other) =
        tokio::join!(import(&one, &rows, &["--complete"], &stores), import(&other, &rows, &["--complete"], &stores));
    assert!(one.status.success() && other.status.success(), "{}\n{}", one.stderr, other.stderr);
    let expected: Vec<_> = (0..300).map(|index| format!("contacts-A{index:04}BC NomisContactFound 0")).collect();
    assert_eq!(told(&events(&database).await), expected);
}

/// The index that the tool reads is the policies' snapshot and the events after it.
#[tokio::test]
async fn a_complete_list_finds_contacts_before_and_after_the_policies_snapshot() {
    let database = database().await;
    let dir = DataDir::new();
    let (file, stores) = (dir.path().join("contacts.csv"), database.store.arguments());
    let import = async |rows: &str, more: &[&str]| {
        let ran = import(&file, rows, more, &stores).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        ran.stdout
    };
    import(&rows(0, 1), &[]).await;
    let program = serve_commands(&database).await;
    let contact = serde_json::json!({"prisonerNumber": "A0001BC", "staffId": 7, "contactType": "POM"});
    assert_recorded(&program.client().post("/prisons/LEI/nomis-contacts", &contact).await);
    let elsewhere = serde_json::json!({"prisonerNumber": "A0009BC", "staffId": 7, "contactType": "POM"});
    assert_recorded(&program.client().post("/prisons/MDI/nomis-contacts", &elsewhere).await);
    // A program that ends saves its snapshot.
    assert!(program.stop().await.success());
    let log = database.log().await;
    assert!(log.load_snapshot(command::policies::SNAPSHOT).await.expect("the log").is_some());
    import(&rows(2, 1), &[]).await;
    let told = import(&rows(3, 1), &["--complete"]).await;
    assert!(told.contains("1 recorded, 3 removal confirmed at LEI"), "{told}");
}
