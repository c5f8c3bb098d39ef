//! `import nomis-contacts --complete`: an empty list is no reason to take every contact for gone.

use std::path::Path;

use crate::support::{DataDir, ToolOutput, database, run};

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
