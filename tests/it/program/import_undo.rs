//! `import undo`: which entries and POMs stay and which go, with policies that act on them, and its
//! report.

mod earlier_schema;
mod inactive_poms;
mod meanwhile;
mod turns;

use std::collections::BTreeMap;

use domain::{
    Event, Stream,
    officer::{PomKind, PomStatus},
    prison::RosterPom,
    prisoner::{DeallocationTrigger, PrisonerEvent},
};
use event_log::{StoredEvent, history};
use serde_json::{Value, json};

use crate::support::{
    DataDir, TestDatabase, ToolOutput, database,
    ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_recorded},
    run,
    whole_log::read_stored,
};

const HEADINGS: &str = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n";

const TWO_CASES: &str = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n\
                         A0002BC,B,\"Okafor, Grace\",485926,PO,01/10/2019\n";

/// Files of a prison, and the stores that they are imported into.
struct Desk<'a> {
    database: &'a TestDatabase,
    dir: DataDir,
}

impl<'a> Desk<'a> {
    fn at(database: &'a TestDatabase) -> Self {
        Self { database, dir: DataDir::new() }
    }

    async fn tool(&self, arguments: &[&str]) -> ToolOutput {
        let stores = self.database.store.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        run(&[arguments, &stores].concat()).await
    }

    /// Imports rows, and answers the run.
    async fn import(&self, rows: &str, more: &[&str]) -> String {
        let file = self.file("cases.csv", &format!("{HEADINGS}{rows}"));
        let import = ["import", "spreadsheet", &file, "--prison", PRISON, "--go-live", "2019-07-01", "--json"];
        let ran = self.tool(&[&import[..], more].concat()).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        let named = ran.stderr.lines().find_map(|line| line.strip_prefix("Run ")?.split(':').next());
        named.unwrap_or_else(|| panic!("{}\n{}", ran.stdout, ran.stderr)).to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let file = self.dir.path().join(name);
        std::fs::write(&file, content).expect("write a file");
        file.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Undoes a run, and answers the lines of the report.
    async fn undo(&self, run: &str) -> Vec<Value> {
        lines(&self.tool(&["import", "undo", run, "--json"]).await)
    }

    async fn events(&self) -> Vec<StoredEvent> {
        read_stored(&*self.database.log().await).await
    }

    /// The POMs on the roster of the prison, by staff id.
    async fn roster(&self) -> BTreeMap<i64, RosterPom> {
        let mut prison = domain::prison::History::new(PRISON.parse().expect("a prison code"));
        for stored in self.events().await {
            if matches!(stored.stream, Stream::Prison(_)) {
                history::push(&mut prison, stored.entry).expect("the next event of the prison");
            }
        }
        prison.roster().poms.iter().map(|(staff_id, pom)| (staff_id.get(), pom.clone())).collect()
    }

    async fn status(&self, staff_id: i64) -> PomStatus {
        self.roster().await[&staff_id].status
    }
}

#[track_caller]
fn lines(ran: &ToolOutput) -> Vec<Value> {
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Each line as its subject and its outcome.
fn outcomes(lines: &[Value]) -> Vec<String> {
    let outcome = |line: &Value| {
        let entry = line["prisonerNumber"].as_str().map(|number| format!("{number} {}", line["revision"]));
        let pom = line["staffId"].as_i64().map(|staff_id| staff_id.to_string());
        let subject = entry.or(pom).or(line["prison"].as_str().map(str::to_owned)).expect("a subject");
        format!("{subject} {}", line["outcome"].as_str().expect("an outcome"))
    };
    lines.iter().map(outcome).collect()
}

#[track_caller]
fn reason_of(lines: &[Value], staff_id: i64) -> &str {
    let line = lines.iter().find(|line| line["staffId"] == staff_id).expect("a line of the POM");
    assert_eq!(line["outcome"], "kept", "{line}");
    line["reason"].as_str().expect("a reason")
}

/// A POM whom a kept entry names must not become inactive: the void of the later entry would give
/// the case back to the POM, the policy would end the role, and the case could never be undone.
#[tokio::test]
async fn runs_undone_in_the_order_first_first_are_undone_as_in_the_order_last_first() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let first = desk.import(TWO_CASES, &[]).await;
    let moved = TWO_CASES.replace("\"Shah, Priya\",485928", "\"Novak, Jan\",485929");
    let later = desk.import(&moved, &["--apply", "2020-01-06"]).await;

    let undone = desk.undo(&first).await;
    let expected = ["A0001BC 0 kept", "A0001BC 1 kept", "A0002BC 0 voided", "A0002BC 1 voided"];
    let poms = ["485926 inactive", "485928 kept", "LEI kept"];
    assert_eq!(outcomes(&undone), [&expected[..], &poms].concat());
    assert!(reason_of(&undone, SHAH).contains("an entry of 1 case"), "{undone:?}");
    assert_eq!(desk.status(SHAH).await, PomStatus::Active);

    assert_eq!(outcomes(&desk.undo(&later).await), ["A0001BC 2 voided", "485929 inactive"]);
    ledger.wait_for_policies().await;
    let holder = ledger.state("A0001BC").await.primary_staff_id().map(|id| id.get());
    assert_eq!(holder, Some(SHAH), "the case is back with the POM of the first run");

    let undone = desk.undo(&first).await;
    let all = ["A0001BC 0", "A0001BC 1", "A0002BC 0", "A0002BC 1"].map(|entry| format!("{entry} voided"));
    assert_eq!(
        outcomes(&undone),
        [&all[..], &["485926 inactive", "485928 inactive", "LEI kept"].map(String::from)].concat()
    );
    ledger.wait_for_policies().await;
    assert!(ledger.state("A0001BC").await.primary_pom.is_none());
    let ended_by_policy = |event: &StoredEvent| {
        matches!(&event.entry.event, Event::Prisoner(PrisonerEvent::Deallocated(ended))
            if ended.trigger == DeallocationTrigger::PomInactive)
    };
    assert!(!desk.events().await.iter().any(ended_by_policy), "no policy had anything to end");
}

/// The later run has the POM on the roster from an earlier day on, by a registration of its own.
#[tokio::test]
async fn an_undo_takes_no_case_from_a_pom_whom_an_earlier_run_registered() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let first = desk.import("A0001BC,C,\"Shah, Priya\",485928,PRO,01/10/2019\n", &[]).await;
    let later = desk.import("A0003BC,C,\"Shah, Priya\",485928,PRO,01/08/2019\n", &[]).await;
    let undone = desk.undo(&later).await;
    assert_eq!(outcomes(&undone), ["A0003BC 0 voided", "A0003BC 1 voided", "485928 kept"]);
    assert_eq!(reason_of(&undone, SHAH), "holds 1 case");
    ledger.wait_for_policies().await;
    assert_eq!(ledger.state("A0001BC").await.primary_staff_id().map(|id| id.get()), Some(SHAH));

    desk.undo(&first).await;
    assert_eq!(desk.status(SHAH).await, PomStatus::Inactive, "the run that registered the POM is undone as well");
}

#[tokio::test]
async fn the_entries_of_one_command_are_kept_together() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    desk.import(TWO_CASES, &[]).await;
    // One command: another tier, and another POM.
    let next = "A0001BC,D,\"Novak, Jan\",485929,PRO,01/07/2019\n";
    let run =
        desk.import(&format!("{next}{}", TWO_CASES.lines().nth(1).expect("a row")), &["--apply", "2020-01-06"]).await;
    assert_eq!(ledger.types("A0001BC").await[2..], ["TierAssigned", "Reallocated"]);
    let moved = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "reason": "Wing move"});
    assert_recorded(&ledger.client().post("/prisoners/A0001BC/reallocations", &moved).await);

    for flags in [&["--dry-run"][..], &[]] {
        let undone = lines(&desk.tool(&[&["import", "undo", &run, "--json"], flags].concat()).await);
        assert_eq!(outcomes(&undone)[..2], ["A0001BC 2 kept", "A0001BC 3 kept"]);
        assert_eq!(undone[0]["reason"], undone[1]["reason"]);
        let reason = undone[0]["reason"].as_str().expect("a reason");
        assert!(reason.contains("The later entry 4 (Reallocated"), "{reason}");
    }
    let tier = ledger.state("A0001BC").await.tier.expect("a tier").tier;
    assert_eq!(tier.to_string(), "D", "the tier of the command stays with its reallocation");
}

#[tokio::test]
async fn a_pom_whom_a_person_has_changed_since_stays_on_the_roster() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let run = desk.import(&format!("{TWO_CASES}A0003BC,C,\"Novak, Jan\",485929,PRO,01/10/2019\n"), &[]).await;
    ledger.status(SHAH, "UNAVAILABLE").await;
    ledger.status(SHAH, "ACTIVE").await;
    let renamed = json!({"name": "Okafor-Bell, Grace"});
    let path = format!("/prisons/{PRISON}/poms/{OKAFOR}");
    assert_recorded(&ledger.client().send(reqwest::Method::PATCH, &path, &[], Some(&renamed)).await);

    let undone = desk.undo(&run).await;
    assert_eq!(outcomes(&undone)[6..], ["485926 kept", "485928 kept", "485929 inactive", "LEI kept"]);
    for (staff_id, event_type) in [(SHAH, "PomStatusChanged"), (OKAFOR, "PomDetailsChanged")] {
        let reason = reason_of(&undone, staff_id);
        assert!(reason.contains(event_type) && reason.contains("is not of this run"), "{reason}");
        assert_eq!(desk.status(staff_id).await, PomStatus::Active);
    }
    let text = desk.tool(&["import", "undo", &run]).await.stdout;
    assert!(text.contains("Okafor-Bell, Grace (staff id 485926) at LEI stays as before: Entry "), "{text}");
}

#[tokio::test]
async fn the_summary_of_a_report_in_json_goes_to_standard_error() {
    let database = database().await;
    let desk = Desk::at(&database);
    let run = desk.import(TWO_CASES, &[]).await;
    let ran = desk.tool(&["import", "undo", &run, "--json"]).await;
    assert_eq!(lines(&ran).len(), 7);
    assert!(ran.stderr.contains("4 entries of cases voided, 0 not."), "{}", ran.stderr);
    assert!(ran.stderr.contains("LEI stays on OMiC with go-live date 2019-07-01"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_run_of_contacts_is_refused_with_a_way_to_correct_it() {
    let database = database().await;
    let desk = Desk::at(&database);
    desk.import(TWO_CASES, &[]).await;
    let contacts = async |rows: &str, more: &[&str]| {
        let file = desk.file("contacts.csv", &format!("Prisoner number,Staff ID,Name,Contact type\n{rows}"));
        let import = ["import", "nomis-contacts", &file, "--prison", PRISON];
        let ran = desk.tool(&[&import[..], more].concat()).await;
        assert!(ran.status.success(), "{}", ran.stderr);
    };
    let outstanding = async || lines(&desk.tool(&["nomis-contacts", "--json"]).await);
    contacts("A0001BC,485926,\"Okafor, Grace\",POM\nA0002BC,485926,\"Okafor, Grace\",POM\n", &[]).await;
    contacts("A0002BC,485926,\"Okafor, Grace\",POM\n", &["--complete"]).await;
    let before = desk.events().await;
    let removal = before.last().expect("the removal");
    let run = removal.metadata.provenance.as_ref().expect("a provenance").run.to_string();

    for flags in [&[][..], &["--dry-run"], &["--json"]] {
        let ran = desk.tool(&[&["import", "undo", &run], flags].concat()).await;
        assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
        for part in [
            "is one of `import nomis-contacts`",
            "0 contacts as seen in NOMIS and 1 contact as gone",
            "import nomis-contacts FILE --prison LEI --complete",
        ] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        let told: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let expected = match flags {
            ["--json"] => vec![json!(["NomisContactRemovalConfirmed", "A0001BC", 485_926, "kept"])],
            _ => Vec::new(),
        };
        let parts = |line: &Value| json!([line["type"], line["prisonerNumber"], line["staffId"], line["outcome"]]);
        assert_eq!(told.iter().map(parts).collect::<Vec<_>>(), expected);
    }
    assert_eq!(desk.events().await.len(), before.len(), "nothing is recorded");
    // The way that the refusal names, with the list as it should have been.
    contacts("A0001BC,485926,\"Okafor, Grace\",POM\n", &["--complete"]).await;
    let left: Vec<Value> = outstanding().await.iter().map(|line| line["prisonerNumber"].clone()).collect();
    assert_eq!(left, ["A0001BC"]);
}

#[tokio::test]
async fn a_corrected_row_gives_an_undone_pom_the_right_name_and_kind() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let wrong = "A0001BC,C,\"Shaw, Priya\",485928,PO,01/10/2019\nA0002BC,C,\"Novak, Jan\",485929,PO,01/10/2019\n";
    let run = desk.import(wrong, &[]).await;
    // One from an earlier day, so that the POM has two registrations.
    let earlier = desk.import("A0003BC,C,\"Shaw, Priya\",485928,PO,01/08/2019\n", &[]).await;
    let renamed = json!({"name": "Novak-Bell, Jan"});
    let path = format!("/prisons/{PRISON}/poms/{NOVAK}");
    assert_recorded(&ledger.client().send(reqwest::Method::PATCH, &path, &[], Some(&renamed)).await);
    desk.undo(&earlier).await;
    desk.undo(&run).await;
    let undone = json!({"status": "INACTIVE", "reason": "import undone"});
    assert_recorded(&ledger.client().put(&format!("/prisons/{PRISON}/poms/{NOVAK}/status"), &undone).await);

    let right = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/10/2019\nA0002BC,C,\"Novak, Jan\",485929,PRO,01/10/2019\n\
                 A0003BC,C,\"Shah, Priya\",485928,PRO,01/08/2019\n\
                 A0005BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n";
    let again = desk.import(right, &[]).await;
    let roster = desk.roster().await;
    let shown = |staff_id: i64| (roster[&staff_id].name.as_str(), roster[&staff_id].kind, roster[&staff_id].status);
    assert_eq!(shown(SHAH), ("Shah, Priya", PomKind::Prison, PomStatus::Active));
    assert_eq!(shown(NOVAK), ("Novak-Bell, Jan", PomKind::Probation, PomStatus::Active), "as a person has it");
    for number in ["A0001BC", "A0003BC", "A0005BC"] {
        let role = ledger.state(number).await.primary_pom.expect("a POM");
        assert_eq!((role.pom.name.as_str(), role.pom.kind), ("Shah, Priya", PomKind::Prison), "{number}");
    }
    let count = desk.events().await.len();
    let file = desk.file("again.csv", &format!("{HEADINGS}{right}"));
    let repeated = lines(&desk.tool(&["import", "spreadsheet", &file, "--prison", PRISON, "--json"]).await);
    assert!(repeated.iter().all(|line| line["outcome"] == "already-recorded"), "{repeated:?}");
    assert_eq!(desk.events().await.len(), count);

    // The POM is as new once more after the next undo.
    desk.undo(&again).await;
    desk.import(wrong, &[]).await;
    assert_eq!(desk.roster().await[&SHAH].name, "Shaw, Priya");
}

/// These tests harm the tables of the log.
mod log_in_postgres {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::support::topology::require_log_in_postgres;

    /// Gives an event an unknown type.
    async fn harm(database: &TestDatabase, stream: &str, type_name: &str) {
        let harmed = read_stored(&*database.log().await)
            .await
            .into_iter()
            .rev()
            .find(|event| event.stream.to_string() == stream && event.entry.event.type_name() == type_name);
        let position = harmed.expect("an event to harm").entry.position;
        let sql = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             UPDATE log.event SET type = type || 'x' WHERE position = {position}; COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.expect("harm the log");
    }

    #[tokio::test]
    async fn a_damaged_case_stays_as_it_is_and_the_others_are_undone() {
        require_log_in_postgres();
        let database = database().await;
        let desk = Desk::at(&database);
        let run = desk.import(&format!("{TWO_CASES}A0003BC,C,\"Novak, Jan\",485929,PRO,01/10/2019\n"), &[]).await;
        harm(&database, "prisoner-A0002BC", "AllocationMade").await;
        let undone = desk.undo(&run).await;
        let expected = [
            "A0001BC 0 voided",
            "A0001BC 1 voided",
            "A0002BC 0 kept",
            "A0002BC 1 kept",
            "A0003BC 0 voided",
            "A0003BC 1 voided",
            "485926 kept",
            "485928 inactive",
            "485929 inactive",
            "LEI kept",
        ];
        assert_eq!(outcomes(&undone), expected);
        let reason = undone[2]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("The entries of A0002BC cannot be read (the event log is damaged"), "{reason}");
        assert!(reason_of(&undone, OKAFOR).contains("an entry of 1 case"), "the POM may hold the case");
    }

    #[tokio::test]
    async fn a_damaged_prison_keeps_its_poms_and_its_cases_are_undone() {
        require_log_in_postgres();
        let database = database().await;
        let desk = Desk::at(&database);
        let run = desk.import(TWO_CASES, &[]).await;
        harm(&database, "prison-LEI", "PomRegistered").await;
        let ran = desk.tool(&["import", "undo", &run, "--json"]).await;
        let undone = lines(&ran);
        assert_eq!(
            outcomes(&undone)[..4],
            ["A0001BC 0", "A0001BC 1", "A0002BC 0", "A0002BC 1"].map(|entry| format!("{entry} voided"))
        );
        assert_eq!(outcomes(&undone)[4..], ["LEI kept"]);
        let reason = undone[4]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("The entries of LEI cannot be read"), "{reason}");
        assert!(ran.stderr.contains("The POMs and the go-live date of LEI stay as before."), "{}", ran.stderr);
    }
}
